//! Commit with leader and followers, some of whom wait for the disk and some of whom do not.

use super::{Journal, append, check};
use crate::base::lsn::Lsn;
use crate::base::sync::{Arc, Mutex};
use crate::journal::commit::Commit;
use crate::journal::follow::{Committer, Unfinished};
use crate::journal::marks::Marks;
use crate::journal::tail::Tail;
use crate::journal::waits::DurableWaits;

use super::disk::ModelFile;

struct Store {
    tail: Mutex<Tail>,
    marks: Arc<Marks>,
    commit: Commit,
    waits: DurableWaits,
    segment: Arc<ModelFile>,
}

impl Store {
    fn new() -> Arc<Store> {
        let Journal { tail, marks, commit, segment } = Journal::new();
        Arc::new(Store { tail: Mutex::new(tail), marks, commit, waits: DurableWaits::new(), segment })
    }

    fn append(&self) -> Lsn {
        append(&mut self.tail.lock()).expect("the ring has room for a few frames").end
    }

    /// An append at `Sync`: what it is told to be durable is.
    fn append_sync(&self) {
        let end = self.append();
        self.follow(end, || Some(None)).expect("nothing fails and there is no deadline");
        let start = super::START.0 % super::SEGMENT_BYTES;
        assert!(self.segment.is_durable(start, end.0 % super::SEGMENT_BYTES), "{end} was acknowledged and not synced");
    }

    /// An append at `Sync` whose caller has no time left once it finds that it must wait.
    fn append_hurried(&self) {
        let end = self.append();
        let told = self.follow(end, || None);
        assert!(matches!(told, Ok(()) | Err(Unfinished::TimedOut)), "{told:?}");
    }

    /// An append at `Buffered`, and the committer that drains the ring beside it.
    fn append_buffered(&self) {
        self.append();
        self.commit.drain(&|| {}).expect("nothing fails");
    }
}

impl Committer for Store {
    fn marks(&self) -> &Marks {
        &self.marks
    }

    fn commit(&self) -> &Commit {
        &self.commit
    }

    fn waits(&self) -> &DurableWaits {
        &self.waits
    }

    fn cut(&self) -> Lsn {
        self.tail.lock().issued()
    }

    fn on_room(&self) {}

    fn on_poison(&self) {}

    fn reveal(&self, _durable: Lsn) {}
}

#[test]
fn loom_commit_leader_and_follower() {
    check(4, || {
        let store = Store::new();
        let other = store.clone();
        let other = loom::thread::spawn(move || other.append_sync());
        store.append_sync();
        other.join().expect("the follower ends");
    });
}

#[test]
fn loom_commit_mixed_levels() {
    check(2, || {
        let store = Store::new();
        let threads = [Store::append_sync, Store::append_buffered].map(|append| {
            let store = store.clone();
            loom::thread::spawn(move || append(&store))
        });
        store.append_sync();
        threads.into_iter().for_each(|thread| thread.join().expect("every writer ends"));
    });
}

#[test]
fn loom_commit_follower_gives_up() {
    check(2, || {
        let store = Store::new();
        let threads = [Store::append_sync, Store::append_hurried].map(|append| {
            let store = store.clone();
            loom::thread::spawn(move || append(&store))
        });
        store.append_sync();
        threads.into_iter().for_each(|thread| thread.join().expect("every writer ends"));
    });
}
