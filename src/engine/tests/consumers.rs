//! Consumers on the simulated disk: what they are told and when, and what becomes of what they had.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::base::time::{BootTime, Now};
use crate::engine::core::Afterwards;
use crate::primitives::queues::{Command as C, Holder, Message, QueueNumber, Taker};
use crate::primitives::streams::Record;
use crate::processes::queueing::{Awaits, Known};
use crate::{Database, Queue, QueueOptions};

/// A database whose threads sync nothing by themselves, with a queue.
fn unhurried() -> (Database, Queue) {
    let clock = ManualClock::starting_at(Timestamp(NOON));
    let options = OpenOptions { flush_interval_micros: HOUR, ..options(&clock) };
    let opened = Database::open_on(SimDisk::new(1).attach(), options, Level::Sync);
    let db = opened.expect("nothing refuses it");
    let mails = db.create_queue("mails", QueueOptions::new()).expect("a new queue");
    db.checkpoint().expect("nothing fails");
    (db, mails)
}

fn number(db: &Database, name: &str) -> QueueNumber {
    let engine = db.shared.link.engine();
    engine.inspect(|machine| machine.queues.find(name)).expect("it is open").expect("it exists")
}

fn plain(body: &[u8]) -> Message<'_> {
    Message::plain(Record::new(body))
}

/// Sends a message for a `Sync` caller who has not waited yet, and tells where its frame ends.
fn issue(db: &Database, body: &[u8]) -> Lsn {
    let send = C::Send { queue: number(db, "mails"), messages: &[plain(body)] };
    let issued = db.shared.link.engine().issue(&Command::Queues(send), Level::Sync, None).expect("it is accepted");
    assert!(db.shared.link.engine().positions().durable < issued.rests_on, "nobody syncs it meanwhile");
    issued.rests_on
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_waiting_consumer_gets_what_is_on_disk_although_more_is_being_written() {
    let (db, mails) = unhurried();
    let mut received = pin!(mails.receive_async());
    assert!(poll(received.as_mut()).is_pending());
    let first = issue(&db, b"one");
    assert!(poll(received.as_mut()).is_pending(), "it is not on disk yet");
    db.shared.link.engine().wait_durable(first, None).expect("nothing fails");
    issue(&db, b"two");
    let Poll::Ready(delivery) = poll(received.as_mut()) else { panic!("it waits for the second message") };
    let delivery = delivery.expect("nothing fails");
    assert_eq!(delivery.body(), b"one");
    delivery.ack().expect("it is in flight");
}

#[test]
fn what_a_dead_host_had_is_taken_back_before_any_timer_fires() {
    for _ in 0..12 {
        let (disk, clock) = (SimDisk::new(1), ManualClock::starting_at(Timestamp(NOON)));
        let open = || Database::open_on(disk.attach(), options(&clock), Level::Buffered).expect("nothing refuses it");
        let db = open();
        let mails = db.create_queue("mails", QueueOptions::new()).expect("a new queue");
        for body in ["one", "two", "three"] {
            mails.send(body).expect("there is room");
        }
        let held = mails.receive_batch(3).expect("nothing fails");
        assert_eq!(held.len(), 3);
        db.shared.link.engine().abandon();
        drop((held, mails, db));
        clock.advance(std::time::Duration::from_micros(2 * HOUR));
        let db = open();
        let mails = db.queue("mails").expect("it is there");
        let counts = mails.describe().expect("it is there");
        assert_eq!((counts.ready, counts.delayed), (3, 0), "none has failed");
        let again = mails.receive().expect("one is there");
        assert_eq!((again.attempt(), again.hand_outs()), (1, 2));
    }
}

#[test]
fn what_was_known_of_the_queue_of_another_host_is_not_known_of_this_one() {
    let (disk, clock) = (SimDisk::new(1), ManualClock::starting_at(Timestamp(NOON)));
    let open = || Database::open_on(disk.attach(), options(&clock), Level::Buffered).expect("nothing refuses it");
    let db = open();
    db.create_queue("mails", QueueOptions::new()).expect("a new queue").send("one").expect("there is room");
    db.close().expect("nothing fails");
    let db = open();
    let mails = number(&db, "mails");
    let deadline = crate::engine::deadline_in(Some(std::time::Duration::from_millis(10)));
    let told = |host| {
        let known = Known { news: 0, taker: Taker::NOBODY, max: 1, awaits: Awaits::News, host };
        db.shared.link.wait_for_queue(mails, known, deadline).expect("it is open").is_some()
    };
    assert!(told(0), "it was attached to another host then");
    assert!(!told(db.shared.link.host().expect("it is open")), "nothing is new since it was loaded");
}

#[test]
fn logs_are_armed_again_among_those_that_there_are() {
    let bench = Bench::new();
    bench.create("orders", 3, streams::Retention::default());
    let mut after = Afterwards::default();
    let now = Now { wall: Timestamp(NOON), boot: BootTime(1) };
    // As many as a number can say: to look up each would take minutes.
    (0..1000).for_each(|_| bench.engine.core.lock().rearm(LogId(0), u32::MAX, now, &mut after));
}

#[test]
fn what_a_host_hands_out_while_it_closes_comes_back_uncounted() {
    let (disk, clock) = (SimDisk::new(1), ManualClock::starting_at(Timestamp(NOON)));
    let open = || Database::open_on(disk.attach(), options(&clock), Level::Buffered).expect("nothing refuses it");
    let db = open();
    let mails = db.create_queue("mails", QueueOptions::new()).expect("a new queue");
    mails.send("one").expect("there is room");
    // It gave back what it had, and a thread that had asked before receives one more.
    let engine = db.shared.link.engine();
    let release = Command::Queues(C::Release { holder: Holder::HOST });
    engine.submit(&release, Level::Buffered, None).expect("nothing fails");
    let held = mails.receive().expect("one is there");
    engine.close_after(Some(&release)).expect("nothing fails");
    drop((held, mails, db));
    let db = open();
    let mails = db.queue("mails").expect("it is there");
    let again = mails.try_receive().expect("nothing fails").expect("it came back at once");
    assert_eq!((again.attempt(), again.hand_outs()), (1, 2));
}
