//! Append, publish, drain: the ring wraps, fills up, holds the appender back and lets it go on.

use super::{FRAME_BYTES, Journal, START, append, check, read_written};
use crate::base::sync::{Arc, Event, Mutex, wait_listener};
use crate::engine::Nudge;
use crate::journal::commit::Commit;
use crate::journal::marks::Marks;
use crate::journal::tail::{Blocked, Tail};

/// More than the ring holds, so that places are filled a second time.
const FRAMES: u64 = 5;

struct Shared {
    tail: Mutex<Tail>,
    commit: Commit,
    marks: Arc<Marks>,
    nudge: Nudge,
    space: Event,
}

/// What the committing thread does, until everything is written.
fn drain_all(shared: &Shared) {
    let goal = START.plus(FRAMES * FRAME_BYTES);
    loop {
        let listener = shared.nudge.begin_step();
        drop(shared.tail.lock());
        shared.commit.drain(&|| drop(shared.space.notify(usize::MAX))).expect("nothing fails");
        if shared.marks.written.get() == goal {
            break;
        }
        if !shared.nudge.is_pending() {
            wait_listener(listener, None);
        }
    }
}

/// Appends as a caller does: blocked, it listens, tries again, and only then sleeps.
fn append_waiting(shared: &Shared) {
    let mut listener = None;
    loop {
        let appended = append(&mut shared.tail.lock());
        match appended {
            Ok(_) => return shared.nudge.nudge_after_append(),
            Err(blocked) => assert_eq!(blocked, Blocked::Ring),
        }
        match listener.take() {
            None => listener = Some(shared.space.listen()),
            Some(registered) => {
                shared.nudge.nudge();
                wait_listener(registered, None);
            }
        }
    }
}

#[test]
fn loom_ring_wraps_and_holds_back() {
    check(3, || {
        let Journal { tail, marks, commit, segment } = Journal::new();
        let shared =
            Arc::new(Shared { tail: Mutex::new(tail), commit, marks, nudge: Nudge::new(), space: Event::new() });
        let committer = shared.clone();
        let committer = loom::thread::spawn(move || drain_all(&committer));
        for _ in 0..FRAMES {
            append_waiting(&shared);
        }
        read_written(&segment, shared.marks.written.get());
        committer.join().expect("the committer ends");
        read_written(&segment, shared.marks.written.get());
    });
}
