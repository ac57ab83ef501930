//! What the host keeps for a process, and when it lets go of it.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::primitives::queues::Taker;
use crate::processes::queueing::{Awaits, Known};
use crate::{OpenMode, Options, QueueOptions};

const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn eventually<T>(mut look: impl FnMut() -> Poll<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Poll::Ready(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn who_was_called_and_leaves_without_looking_leaves_the_wake_to_the_next() {
    let place = tempfile::tempdir().expect("a directory");
    let host = Options::new().open(place.path()).expect("a new database");
    let mails = host.create_queue("mails", QueueOptions::new()).expect("a new queue");
    let attached = Options::new().mode(OpenMode::Attach).open(place.path()).expect("there is a host");
    let number = host.shared.link.engine().inspect(|machine| machine.queues.find("mails"));
    let number = number.expect("it is open").expect("it was created");
    let link = &attached.shared.link;
    let known =
        Known { news: 0, taker: Taker::NOBODY, max: 1, awaits: Awaits::News, host: link.host().expect("it is open") };
    let mut context = Context::from_waker(Waker::noop());
    let mut first = pin!(link.wait_for_queue_async(number, known));
    assert!(first.as_mut().poll(&mut context).is_pending());
    attached.queue("mails").expect("what was asked before it was heard before it");
    let mut next = pin!(mails.receive_async());
    assert!(next.as_mut().poll(&mut context).is_pending());

    mails.send("to the customer").expect("there is room");
    let called = eventually(|| first.as_mut().poll(&mut context)).expect("there is a host");
    assert!(next.as_mut().poll(&mut context).is_pending(), "one was woken");
    drop(called);
    let delivery = eventually(|| next.as_mut().poll(&mut context)).expect("nothing fails");
    delivery.ack().expect("it is in flight");
}
