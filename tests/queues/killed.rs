//! Processes that are killed: what survives, what comes back, and how.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use towpath::{Database, DeathReason, Delivery, Level, Message, Queue, QueueOptions};

use crate::child::{asked, tell};
use crate::consumer::{
    HOUR, Waiting, counts, drain, expect_nothing, send_all, take, take_now, text, text_of_letter, texts,
};
use crate::place::{Chance, Place, eventually};
use crate::worker::{Worker, options, told_of};

pub const BUSY: &str = "busy";
pub const FILLING: &str = "filling";
pub const FRAGILE: &str = "fragile";

/// A queue of these messages, and a worker that has received so many of them; then it is killed.
fn killed_with(bodies: &[&str], received: usize) -> (Place, Database, Queue) {
    let place = Place::new();
    let mut worker = Worker::start(&place.data());
    for body in bodies {
        assert_eq!(worker.told(&format!("send {body}")), "done");
    }
    let told: Vec<String> = bodies[..received].iter().map(|body| format!("{body} 1/1")).collect();
    assert_eq!(worker.told(&format!("receive {received}")), told.join(", "));
    worker.0.kill();
    let db = place.open();
    let mails = db.queue("mails").unwrap();
    (place, db, mails)
}

#[test]
fn a_message_that_was_alone_in_the_hands_of_a_killed_process_has_failed() {
    let (_place, _db, mails) = killed_with(&["one", "two"], 1);
    assert_eq!(counts(&mails), [2, 0, 0, 0]);
    let both = mails.receive_batch(2).unwrap();
    assert_eq!(both.iter().map(told_of).collect::<Vec<_>>(), ["one 2/2", "two 1/1"]);
    for mail in both {
        mail.reject("no such address").unwrap();
    }
    let letter = &mails.dead_letters(None, 1).unwrap()[0];
    assert_eq!((letter.failed_attempts(), letter.failures().len()), (1 + 1, 2));
    assert!(letter.failures()[1].error.contains("died"), "{:?}", letter.failures()[1]);
}

#[test]
fn several_come_back_uncounted_and_one_at_a_time() {
    let (_place, _db, mails) = killed_with(&["one", "two", "three", "four", "five"], 3);
    assert_eq!(counts(&mails), [5, 0, 0, 0]);
    let first = mails.receive_batch(10).unwrap();
    assert_eq!(first.iter().map(told_of).collect::<Vec<_>>(), ["one 1/2", "four 1/1", "five 1/1"]);
    expect_nothing(&mails);
    assert_eq!(counts(&mails), [2, 0, 3, 0]);
    let [one, four, five] = <[Delivery; 3]>::try_from(first).unwrap();
    four.ack().unwrap();
    five.ack().unwrap();
    expect_nothing(&mails);
    one.ack().unwrap();
    let two = take_now(&mails, "two");
    assert_eq!(told_of(&two), "two 1/2");
    expect_nothing(&mails);
    two.ack().unwrap();
    take_now(&mails, "three").ack().unwrap();
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn settling_a_suspect_in_any_way_wakes_who_waits_for_the_next() {
    let (_place, _db, mails) = killed_with(&["one", "two", "three", "four"], 4);
    let wait = || {
        let mails = mails.clone();
        Waiting::begun(move || take(&mails))
    };
    let one = take_now(&mails, "one");
    let waiting = wait();
    one.ack().unwrap();
    let two = waiting.comes();
    let waiting = wait();
    two.reject("no such address").unwrap();
    let three = waiting.comes();
    assert_eq!(text(&three), "three");
    let waiting = wait();
    three.release().unwrap();
    let three = waiting.comes();
    assert_eq!(told_of(&three), "three 1/3", "it takes its old place");
}

#[test]
fn a_process_has_one_suspect_of_all_queues_and_settling_it_wakes_who_waits_at_another() {
    let place = Place::new();
    let db = place.open();
    let [mails, orders] = ["mails", "orders"].map(|name| db.create_queue(name, options()).unwrap());
    for _ in 0..2 {
        mails.send("a mail").unwrap();
        orders.send(Message::from("an order").group("alice")).unwrap();
    }
    let mut worker = Worker::start(&place.data());
    assert_eq!(worker.told("receive 1"), "a mail 1/1");
    assert_eq!(worker.told("receive_order"), "an order 1/1");
    worker.0.kill();
    eventually("they come back", || (counts(&mails)[0], counts(&orders)[0]) == (2, 2));
    let mail = take_now(&mails, "a mail");
    assert_eq!(told_of(&mail), "a mail 1/2");
    expect_nothing(&orders);
    let consumer = orders.clone();
    let waiting = Waiting::begun(move || take(&consumer));
    mail.ack().unwrap();
    assert_eq!(told_of(&waiting.comes()), "an order 1/2");
}

#[test]
fn a_suspect_that_was_settled_is_none_any_more() {
    let (_place, _db, mails) = killed_with(&["one", "two", "three"], 3);
    take_now(&mails, "one").release().unwrap();
    let both = mails.receive_batch(10).unwrap();
    assert_eq!(texts(&both), ["one", "two"], "the first is cleared, the second a suspect");
    expect_nothing(&mails);
    for mail in both {
        mail.fail_with_delay("busy", Duration::ZERO).unwrap();
    }
    assert_eq!(texts(&mails.receive_batch(10).unwrap()), ["one", "two", "three"]);
}

#[test]
fn a_death_with_a_suspect_counts_for_it_and_for_no_other() {
    let (place, db, mails) = killed_with(&["one", "two", "three"], 2);
    drop(mails);
    db.close().unwrap();
    let mut worker = Worker::start(&place.data());
    assert_eq!(worker.told("receive 3"), "one 1/2, three 1/1");
    worker.0.kill();
    let db = place.open();
    let mails = db.queue("mails").unwrap();
    let mut seen = Vec::new();
    while let Some(mail) = mails.try_receive().unwrap() {
        seen.push(told_of(&mail));
        mail.ack().unwrap();
    }
    assert_eq!(seen, ["one 2/3", "two 1/2", "three 1/2"]);
}

#[test]
fn suspects_stay_suspects_over_reopening_and_checkpoints() {
    let (place, mut db, mails) = killed_with(&["one", "two", "three"], 3);
    drop(mails);
    for checkpoint in [true, false, true] {
        if checkpoint {
            db.checkpoint().unwrap();
        }
        db.close().unwrap();
        db = place.open();
    }
    let mails = db.queue("mails").unwrap();
    let held = mails.receive_batch(3).unwrap();
    assert_eq!(held.iter().map(told_of).collect::<Vec<_>>(), ["one 1/2"]);
}

#[test]
fn what_kills_its_consumer_each_time_is_dead_in_the_end_and_nothing_else_is() {
    let place = Place::new();
    {
        let db = place.open();
        let mails = db.create_queue("mails", options().max_attempts(2)).unwrap();
        send_all(&mails, &["one", "two", "poison", "three", "four", "five"]);
        db.close().unwrap();
    }
    let mut acknowledged = Vec::new();
    for _ in 0..20 {
        let db = place.open();
        let is_done = counts(&db.queue("mails").unwrap())[..3] == [0; 3];
        db.close().unwrap();
        if is_done {
            break;
        }
        let mut worker = Worker::in_role(FRAGILE, &place.data());
        // It acknowledges all that it was handed, unless the poison kills it first.
        while let Some(told) = worker.0.next() {
            acknowledged.push(told);
        }
    }
    acknowledged.sort();
    assert_eq!(acknowledged, ["five", "four", "one", "three", "two"]);
    let db = place.open();
    let mails = db.queue("mails").unwrap();
    assert_eq!(counts(&mails), [0, 0, 0, 1]);
    let letter = &mails.dead_letters(None, 1).unwrap()[0];
    assert_eq!((text_of_letter(letter).as_str(), letter.reason()), ("poison", DeathReason::AttemptsExhausted));
}

/// In the child: takes up to three at once, and dies of the poison.
pub fn be_fragile(db: &Database) {
    let mails = db.queue("mails").unwrap();
    loop {
        let held = mails.try_receive_batch(3).unwrap();
        if held.is_empty() {
            break;
        }
        if texts(&held).iter().any(|body| body == "poison") {
            std::process::abort();
        }
        for mail in held {
            let body = text(&mail);
            mail.ack().unwrap();
            tell(&body);
        }
    }
    db.clone().close().unwrap();
}

/// Everything that a queue may hold, and what is in hand.
fn fill(db: &Database) -> Vec<Delivery> {
    let mails = db.create_queue("mails", options().max_attempts(2)).unwrap();
    send_all(&mails, &["dead", "failed once", "rejected", "one", "in hand"]);
    mails.send(Message::from("grouped 1").group("alice").key(b"customer-7")).unwrap();
    mails.send_at(Level::Buffered, Message::from("grouped 2").group("alice")).unwrap();
    mails.send(Message::from("urgent").priority(9)).unwrap();
    mails.send(Message::from("tomorrow").delay(24 * HOUR)).unwrap();
    mails.send(Message::from("purged").priority(1)).unwrap();
    take_now(&mails, "urgent").release().unwrap();
    let urgent = take_now(&mails, "urgent");
    take_now(&mails, "dead").fail("mailbox full").unwrap();
    take_now(&mails, "dead").fail("mailbox gone").unwrap();
    take_now(&mails, "failed once").fail("busy").unwrap();
    let failed = take_now(&mails, "failed once");
    take_now(&mails, "rejected").reject("no such address").unwrap();
    let one = take_now(&mails, "one");
    let in_hand = take_now(&mails, "in hand");
    urgent.release().unwrap();
    failed.release().unwrap();
    one.release_with_delay(HOUR).unwrap();
    let other = db.create_queue("paused", QueueOptions::new().ttl(HOUR)).unwrap();
    other.send("waits").unwrap();
    other.pause().unwrap();
    let deleted = db.create_queue("deleted", QueueOptions::new()).unwrap();
    deleted.send("with its queue").unwrap();
    db.delete_queue("deleted").unwrap();
    vec![in_hand]
}

/// In the child: fills the database, waits to be told of a checkpoint, and then for its end.
pub fn fill_and_wait(db: &Database) {
    let held = fill(db);
    if asked().as_deref() == Some("checkpoint") {
        db.checkpoint().unwrap();
    }
    tell("filled");
    asked();
    drop(held);
}

#[test]
fn everything_that_was_answered_survives_a_kill() {
    for first in ["checkpoint", "nothing"] {
        let place = Place::new();
        let mut worker = Worker::in_role(FILLING, &place.data());
        assert_eq!(worker.told(first), "filled");
        worker.0.kill();
        let db = place.open();
        assert_eq!(db.queue_names().unwrap(), ["mails", "paused"]);
        let mails = db.queue("mails").unwrap();
        let described = mails.describe().unwrap();
        assert_eq!((described.options, described.is_paused), (options().max_attempts(2), false));
        assert_eq!(counts(&mails), [6, 2, 0, 2], "after {first}");
        let letters = mails.dead_letters(None, 10).unwrap();
        assert_eq!([text_of_letter(&letters[0]), text_of_letter(&letters[1])], ["dead", "rejected"]);
        assert_eq!([letters[0].reason(), letters[1].reason()], [DeathReason::AttemptsExhausted, DeathReason::Rejected]);
        let errors: Vec<&str> = letters[0].failures().iter().map(|failure| failure.error.as_str()).collect();
        assert_eq!(errors, ["mailbox gone", "mailbox full"]);
        let mut seen = Vec::new();
        while let Some(mail) = mails.try_receive().unwrap() {
            seen.push(told_of(&mail));
            mail.ack().unwrap();
        }
        let expected = ["urgent 1/3", "failed once 2/3", "in hand 2/2", "grouped 1 1/1", "grouped 2 1/1", "purged 1/1"];
        assert_eq!(seen, expected);
        let paused = db.queue("paused").unwrap();
        assert!(paused.describe().unwrap().is_paused);
        expect_nothing(&paused);
        paused.resume().unwrap();
        assert_eq!(drain(&paused), ["waits"]);
        let deleted = db.create_queue("deleted", QueueOptions::new()).unwrap();
        assert_eq!(counts(&deleted), [0; 4]);
    }
}

/// In the child: sends and acknowledges until its end, and tells of each once it was answered.
pub fn be_busy(db: &Database) {
    let mails = db.ensure_queue("mails", options().max_attempts(1_000_000).level(Level::Buffered)).unwrap();
    let life = asked().expect("which of its lives it is");
    let consumer = mails.clone();
    thread::spawn(move || {
        let mut chance = Chance::new(3);
        loop {
            for mail in consumer.receive_batch(1 + chance.below(6) as usize).unwrap() {
                let body = text(&mail);
                match chance.below(5) {
                    0 => mail.release().unwrap(),
                    1 => mail.fail("busy").unwrap(),
                    _ => {
                        mail.ack().unwrap();
                        tell(&format!("acknowledged {body}"));
                    }
                }
            }
        }
    });
    for number in 0.. {
        let body = format!("{life}.{number}");
        let group = format!("customer {}", number % 5);
        let message = Message::from(&body).priority((number % 3) as u8);
        if number % 4 == 0 { mails.send(message.group(&group)) } else { mails.send(message) }.unwrap();
        tell(&format!("sent {body}"));
        if number % 100 == 99 {
            db.checkpoint().unwrap();
        }
    }
}

#[test]
fn a_process_killed_amid_its_work_loses_nothing_and_does_nothing_over() {
    let place = Place::new();
    let (mut sent, mut acknowledged) = (BTreeSet::new(), BTreeSet::new());
    for life in 0..6 {
        let mut worker = Worker::in_role(BUSY, &place.data());
        worker.0.ask(&life.to_string());
        let mut lines = Vec::new();
        while lines.len() < 50 + 70 * life {
            lines.push(worker.0.next().expect("it works until it is killed"));
        }
        worker.0.kill();
        lines.extend(worker.0.rest());
        for line in lines {
            let (what, body) = line.split_once(' ').unwrap();
            let is_new = if what == "sent" { &mut sent } else { &mut acknowledged }.insert(body.to_owned());
            assert!(is_new, "{body} was {what} twice");
        }
    }
    let db = place.open();
    let mails = db.queue("mails").unwrap();
    let [ready, delayed, in_flight, dead] = counts(&mails);
    assert_eq!((delayed, in_flight, dead), (0, 0, 0));
    let left = drain(&mails);
    assert_eq!(left.len() as u64, ready);
    let left: BTreeSet<String> = left.into_iter().collect();
    assert_eq!(left.len() as u64, ready, "one was there twice");
    assert!(left.is_disjoint(&acknowledged), "{:?}", left.intersection(&acknowledged).collect::<Vec<_>>());
    // What was sent or acknowledged last may not have been told any more.
    let lost: Vec<_> = sent.iter().filter(|body| !left.contains(*body) && !acknowledged.contains(*body)).collect();
    assert!(lost.len() <= 6, "more than one for each life: {lost:?}");
    eventually("all has gone", || counts(&mails) == [0; 4]);
}
