//! What is there when the database is opened again after it was closed in order.

use std::time::Duration;

use towpath::{Backoff, Database, DeathReason, ManualClock, Message, Options, Queue, QueueOptions};

use crate::consumer::{
    HOUR, MINUTE, SECOND, counts, drain, expect_nothing, noon, noon_and, reject_all, send_all, take, take_now, text,
    text_of_letter, texts,
};
use crate::place::{Place, eventually};

fn mails(db: &Database) -> Queue {
    db.queue("mails").unwrap()
}

/// Whether a checkpoint comes between.
const BOTH: [bool; 2] = [false, true];

#[test]
fn messages_attempts_delays_groups_dead_letters_and_options_are_there_again() {
    for checkpoint in BOTH {
        let place = Place::new();
        let db = place.open();
        let options = QueueOptions::new().backoff(Backoff::none()).max_attempts(3);
        let queue = db.create_queue("mails", options).unwrap();
        send_all(&queue, &["dead", "failed once", "one"]);
        queue.send(Message::from("grouped 1").group("alice").key(b"customer-7")).unwrap();
        queue.send(Message::from("grouped 2").group("alice")).unwrap();
        queue.send(Message::from("urgent").priority(9)).unwrap();
        queue.send(Message::from("tomorrow").delay(24 * HOUR)).unwrap();
        let urgent = take_now(&queue, "urgent");
        (1..=3).for_each(|attempt| take_now(&queue, "dead").fail(&format!("attempt {attempt}")).unwrap());
        take_now(&queue, "failed once").fail("busy").unwrap();
        if checkpoint {
            db.checkpoint().unwrap();
        }
        urgent.release().unwrap();
        let before = queue.describe().unwrap();
        assert_eq!(counts(&queue), [5, 1, 0, 1]);
        drop(queue);
        place.close(db);
        let db = place.open();
        let queue = mails(&db);
        assert_eq!(queue.describe().unwrap(), before);
        take_now(&queue, "urgent").ack().unwrap();
        let failed = take_now(&queue, "failed once");
        assert_eq!((failed.attempt(), failed.hand_outs()), (2, 2));
        failed.ack().unwrap();
        let rest = queue.receive_batch(10).unwrap();
        assert_eq!(texts(&rest), ["one", "grouped 1"]);
        assert_eq!((rest[1].key(), rest[1].group()), (Some(&b"customer-7"[..]), Some("alice")));
        queue.ack_batch(rest).unwrap();
        take_now(&queue, "grouped 2").ack().unwrap();
        let letters = queue.dead_letters(None, 10).unwrap();
        assert_eq!(
            (text_of_letter(&letters[0]).as_str(), letters[0].reason()),
            ("dead", DeathReason::AttemptsExhausted)
        );
        let errors: Vec<&str> = letters[0].failures().iter().map(|failure| failure.error.as_str()).collect();
        assert_eq!(errors, ["attempt 3", "attempt 2", "attempt 1"]);
        assert_eq!(counts(&queue), [0, 1, 0, 1]);
    }
}

#[test]
fn a_close_releases_what_is_in_flight_uncounted() {
    for checkpoint in BOTH {
        let place = Place::new();
        let db = place.open();
        let queue = db.create_queue("mails", QueueOptions::new()).unwrap();
        send_all(&queue, &["one", "two", "three"]);
        let held = queue.receive_batch(2).unwrap();
        if checkpoint {
            db.checkpoint().unwrap();
        }
        place.close(db);
        drop(held);
        let db = place.open();
        let queue = mails(&db);
        assert_eq!(counts(&queue), [3, 0, 0, 0]);
        let again = queue.receive_batch(3).unwrap();
        assert_eq!(texts(&again), ["one", "two", "three"]);
        let seen: Vec<_> = again.iter().map(|mail| (mail.attempt(), mail.hand_outs())).collect();
        assert_eq!(seen, [(1, 2), (1, 2), (1, 1)]);
        queue.ack_batch(again).unwrap();
    }
}

#[test]
fn a_paused_queue_stays_paused() {
    let place = Place::new();
    let db = place.open();
    let queue = db.create_queue("mails", QueueOptions::new()).unwrap();
    queue.send("to the customer").unwrap();
    queue.pause().unwrap();
    place.close(db);
    let db = place.open();
    let queue = mails(&db);
    assert!(queue.describe().unwrap().is_paused);
    expect_nothing(&queue);
    queue.resume().unwrap();
    place.close(db);
    let db = place.open();
    assert!(!mails(&db).describe().unwrap().is_paused);
    assert_eq!(drain(&mails(&db)), ["to the customer"]);
}

#[test]
fn what_is_gone_stays_gone() {
    for checkpoint in BOTH {
        let place = Place::new();
        let db = place.open();
        let queue = db.create_queue("mails", QueueOptions::new()).unwrap();
        send_all(&queue, &["acknowledged", "dead and purged", "purged", "purged too"]);
        db.create_queue("deleted", QueueOptions::new()).unwrap().send("with its queue").unwrap();
        if checkpoint {
            db.checkpoint().unwrap();
        }
        take_now(&queue, "acknowledged").ack().unwrap();
        take_now(&queue, "dead and purged").reject("no such address").unwrap();
        queue.purge_dead(&queue.dead_letters(None, 1).unwrap()).unwrap();
        assert_eq!(queue.purge().unwrap(), 2);
        let last = queue.send("sent later").unwrap().sequence;
        db.delete_queue("deleted").unwrap();
        place.close(db);
        let db = place.open();
        let queue = mails(&db);
        assert_eq!(db.queue_names().unwrap(), ["mails"]);
        assert_eq!(counts(&queue), [1, 0, 0, 0]);
        assert!(queue.send("sent last").unwrap().sequence > last, "no number is given twice");
        assert_eq!(drain(&queue), ["sent later", "sent last"]);
        let again = db.create_queue("deleted", QueueOptions::new()).unwrap();
        assert_eq!(counts(&again), [0; 4]);
        expect_nothing(&again);
    }
}

#[test]
fn thousands_are_there_in_order_when_it_is_opened_again() {
    for checkpoint in BOTH {
        let place = Place::new();
        let db = place.open();
        let queue = db.create_queue("mails", QueueOptions::new()).unwrap();
        let bodies: Vec<String> = (0..5000).map(|number| format!("mail {number}")).collect();
        for batch in bodies.chunks(1700) {
            queue.send_batch(&batch.iter().map(Message::from).collect::<Vec<_>>()).unwrap();
        }
        let held: Vec<_> = (0..3).flat_map(|_| queue.receive_batch(1000).unwrap()).collect();
        if checkpoint {
            db.checkpoint().unwrap();
        }
        let mut left = Vec::new();
        for (number, mail) in held.into_iter().enumerate() {
            if number % 3 == 0 {
                left.push(text(&mail));
                mail.release().unwrap();
            } else {
                mail.ack().unwrap();
            }
        }
        left.extend_from_slice(&bodies[3000..]);
        place.close(db);
        let db = place.open();
        let queue = mails(&db);
        assert_eq!(counts(&queue), [left.len() as u64, 0, 0, 0]);
        assert!(drain(&queue) == left);
    }
}

/// A database with a clock, opened, left for a while, and opened again.
struct Left {
    place: Place,
    clock: ManualClock,
}

impl Left {
    fn new() -> Left {
        Left { place: Place::new(), clock: ManualClock::starting_at(noon()) }
    }

    fn open(&self) -> Database {
        self.place.open_with(Options::temporary().clock(self.clock.clone()))
    }

    fn leave_for(&self, db: Database, time: Duration) -> Database {
        self.place.close(db);
        self.clock.advance(time);
        self.open()
    }
}

#[test]
fn delays_go_on_while_it_is_closed() {
    let left = Left::new();
    let db = left.open();
    let queue = db.create_queue("mails", QueueOptions::new()).unwrap();
    queue.send(Message::from("in an hour").delay(HOUR)).unwrap();
    queue.send(Message::from("at two").deliver_at(noon_and(2 * HOUR))).unwrap();
    let db = left.leave_for(db, HOUR - SECOND);
    expect_nothing(&mails(&db));
    assert_eq!(counts(&mails(&db)), [0, 2, 0, 0]);
    left.clock.advance(SECOND);
    let mail = take(&mails(&db));
    assert_eq!(text(&mail), "in an hour");
    mail.ack().unwrap();
    let db = left.leave_for(db, HOUR);
    assert_eq!(text(&take(&mails(&db))), "at two");
}

#[test]
fn lives_and_deadlines_go_on_while_it_is_closed() {
    let left = Left::new();
    let db = left.open();
    let queue = db.create_queue("mails", QueueOptions::new().ttl(HOUR)).unwrap();
    queue.send("short-lived").unwrap();
    queue.send(Message::from("until two").delay(HOUR).deadline(noon_and(2 * HOUR))).unwrap();
    let db = left.leave_for(db, HOUR);
    eventually("one is dead", || counts(&mails(&db)) == [1, 0, 0, 1]);
    take_now(&mails(&db), "until two").release().unwrap();
    let db = left.leave_for(db, HOUR);
    expect_nothing(&mails(&db));
    eventually("both are dead", || counts(&mails(&db)) == [0, 0, 0, 2]);
    let letters = mails(&db).dead_letters(None, 10).unwrap();
    assert_eq!(letters[0].reason(), DeathReason::Expired);
}

#[test]
fn a_backoff_goes_on_over_a_close() {
    let left = Left::new();
    let db = left.open();
    let queue = db.create_queue("mails", QueueOptions::new().backoff(Backoff::fixed(MINUTE))).unwrap();
    queue.send("to the customer").unwrap();
    take(&queue).fail("busy").unwrap();
    let db = left.leave_for(db, MINUTE - SECOND);
    expect_nothing(&mails(&db));
    assert_eq!(counts(&mails(&db)), [0, 1, 0, 0]);
    left.clock.advance(SECOND);
    assert_eq!(take(&mails(&db)).attempt(), 2);
}

#[test]
fn attempts_add_up_over_many_opens() {
    let place = Place::new();
    for attempt in 1..=4 {
        let db = place.open();
        let queue = db.create_queue("mails", QueueOptions::new().max_attempts(4).backoff(Backoff::none())).unwrap();
        if attempt == 1 {
            queue.send("to the customer").unwrap();
        }
        let mail = take_now(&queue, "to the customer");
        assert_eq!(mail.attempt(), attempt);
        mail.fail(&format!("attempt {attempt}")).unwrap();
        drop(queue);
        place.close(db);
    }
    let db = place.open();
    let letters = mails(&db).dead_letters(None, 1).unwrap();
    let errors: Vec<&str> = letters[0].failures().iter().map(|failure| failure.error.as_str()).collect();
    assert_eq!(errors, ["attempt 4", "attempt 3", "attempt 2", "attempt 1"]);
    mails(&db).redrive(&letters).unwrap();
    place.close(db);
    let db = place.open();
    reject_all(&mails(&db), "the last");
    assert_eq!(mails(&db).dead_letters(None, 1).unwrap()[0].failures().len(), 5);
}

#[test]
fn a_check_finds_nothing_wrong_with_queues() {
    let place = Place::new();
    let db = place.open();
    let queue = db.create_queue("mails", QueueOptions::new()).unwrap();
    send_all(&queue, &["one", "two", "three"]);
    take_now(&queue, "one").ack().unwrap();
    take_now(&queue, "two").reject("no such address").unwrap();
    db.checkpoint().unwrap();
    queue.send(Message::from("delayed").delay(HOUR)).unwrap();
    drop(queue);
    place.close(db);
    let report = place.check();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}
