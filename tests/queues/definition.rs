//! Creating, changing, pausing, purging, listing and deleting queues.

use std::time::Duration;

use towpath::{Backoff, Error, Jitter, Level, Message, QueueOptions, StreamOptions};

use crate::consumer::{
    HOUR, MINUTE, clocked, counts, drain, expect_nothing, queue, reject_all, send_all, take, take_now, text_of_letter,
};
use crate::opening::database;
use crate::place::executor::block_on;

fn not_found<T>(answer: Result<T, Error>) -> bool {
    matches!(answer, Err(Error::NotFound { kind: "queue", name }) if name == "mails")
}

/// Options of which each is another than it is unless told otherwise.
fn unusual() -> QueueOptions {
    QueueOptions::new()
        .level(Level::Buffered)
        .max_attempts(7)
        .visibility_timeout(MINUTE)
        .backoff(Backoff::linear(MINUTE, HOUR).jitter(Jitter::Full))
        .ttl(HOUR)
        .max_messages(1000)
        .discard_dead()
}

#[test]
fn creating_what_exists_with_equal_options_changes_nothing() {
    let (db, mails) = queue(unusual());
    mails.send("to the customer").unwrap();
    let described = mails.describe().unwrap();
    assert_eq!((described.name.as_str(), &described.options, described.is_paused), ("mails", &unusual(), false));
    let again = db.create_queue("mails", unusual()).unwrap();
    assert_eq!((again.name(), again.describe().unwrap()), ("mails", described.clone()));
    assert_eq!(db.ensure_queue("mails", unusual()).unwrap().describe().unwrap(), described);
    assert_eq!(db.queue("mails").unwrap().describe().unwrap(), described);
    take_now(&again, "to the customer").ack().unwrap();
}

#[test]
fn creating_what_exists_with_other_options_lists_every_difference_and_changes_nothing() {
    let (db, mails) = queue(QueueOptions::new());
    let before = mails.describe().unwrap();
    let Err(Error::Mismatch { kind, name, differences }) = db.create_queue("mails", unusual()) else {
        panic!("other options were taken");
    };
    assert_eq!((kind, name.as_str()), ("queue", "mails"));
    assert_eq!(differences.len(), 7, "each option differs: {differences:?}");
    assert_eq!(mails.describe().unwrap(), before);
    let Err(Error::Mismatch { differences, .. }) = db.create_queue("mails", QueueOptions::new().max_attempts(6)) else {
        panic!("another number of attempts was taken");
    };
    assert_eq!(differences.len(), 1);
    assert!(differences[0].contains('5') && differences[0].contains('6'), "{differences:?}");
}

#[test]
fn ensure_creates_what_is_missing_and_changes_what_differs() {
    let (db, mails) = queue(QueueOptions::new().backoff(Backoff::none()));
    send_all(&mails, &["one", "two"]);
    take_now(&mails, "one").fail("busy").unwrap();
    let ensured = db.ensure_queue("mails", unusual().max_attempts(2)).unwrap();
    assert_eq!(ensured.describe().unwrap().options, unusual().max_attempts(2));
    assert_eq!(counts(&mails), [2, 0, 0, 0]);
    take_now(&mails, "one").fail("busy").unwrap();
    assert_eq!(counts(&mails), [1, 0, 0, 0], "what is there goes by the new options");
    let other = db.ensure_queue("orders", unusual()).unwrap();
    assert_eq!(other.describe().unwrap().options, unusual());
}

#[test]
fn a_queue_that_was_not_created_is_not_found() {
    let db = database();
    assert!(not_found(db.queue("mails")) && not_found(db.delete_queue("mails")));
}

#[test]
fn a_queue_and_a_stream_may_have_the_same_name() {
    let (db, mails) = queue(QueueOptions::new());
    db.create_stream("mails", StreamOptions::new()).unwrap().append("a record").unwrap();
    mails.send("a message").unwrap();
    assert_eq!(db.queue_names().unwrap(), ["mails"]);
    db.delete_stream("mails").unwrap();
    take_now(&mails, "a message").ack().unwrap();
}

#[test]
fn queues_are_listed_by_name_however_many_there_are() {
    let db = database();
    assert!(db.queue_names().unwrap().is_empty());
    let mut names: Vec<String> = (0..600).map(|number| format!("queue {}", number * 7919 % 600)).collect();
    for name in &names {
        db.create_queue(name, QueueOptions::new()).unwrap();
    }
    names.sort();
    assert_eq!(db.queue_names().unwrap(), names);
    db.delete_queue(&names[0]).unwrap();
    assert_eq!(db.queue_names().unwrap(), names[1..]);
}

#[test]
fn names_have_1_to_255_bytes_of_utf_8_without_control_characters_or_a_leading_dollar() {
    let db = database();
    let long = "ü".repeat(127) + "x";
    for name in ["m", "mails.eu-west/2026", "Aufträge 注文 📦", "a$b", " ", long.as_str()] {
        db.create_queue(name, QueueOptions::new()).unwrap();
        assert_eq!(db.queue(name).unwrap().name(), name);
    }
    for name in ["", "$mails", "mails\n", "ma\0ils", "ma\u{7f}ils", "ma\u{85}ils"] {
        let refused = db.create_queue(name, QueueOptions::new());
        assert!(matches!(refused, Err(Error::InvalidName { .. })), "{name:?}: {refused:?}");
        let refused = db.ensure_queue(name, QueueOptions::new());
        assert!(matches!(refused, Err(Error::InvalidName { .. })), "{name:?}: {refused:?}");
    }
    let refused = db.create_queue(&"x".repeat(256), QueueOptions::new());
    assert!(matches!(refused, Err(Error::LimitExceeded { max: 255, actual: 256, .. })), "{refused:?}");
    assert_eq!(db.queue_names().unwrap().len(), 6);
}

#[test]
fn a_queue_with_messages_in_flight_is_not_deleted() {
    let (db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three"]);
    let held = mails.receive_batch(2).unwrap();
    let refused = db.delete_queue("mails");
    let Err(Error::MessagesInFlight { queue, count }) = refused else { panic!("{refused:?}") };
    assert_eq!((queue.as_str(), count), ("mails", 2));
    assert_eq!(counts(&mails), [1, 0, 2, 0]);
    mails.ack_batch(held).unwrap();
    db.delete_queue("mails").unwrap();
    assert!(db.queue_names().unwrap().is_empty());
}

#[test]
fn handles_of_a_deleted_queue_answer_not_found() {
    let (db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["rejected"]);
    reject_all(&mails, "no such address");
    send_all(&mails, &["ready"]);
    mails.send(Message::from("delayed").delay(HOUR)).unwrap();
    let letters = mails.dead_letters(None, 1).unwrap();
    db.delete_queue("mails").unwrap();
    for is_there_again in [false, true] {
        if is_there_again {
            let new = db.create_queue("mails", QueueOptions::new()).unwrap();
            assert_eq!(counts(&new), [0; 4], "a name that is used again begins anew");
            send_all(&new, &["of the new one"]);
        }
        assert!(not_found(mails.send("too late")) && not_found(mails.send_batch(&[Message::from("too late")])));
        assert!(not_found(mails.send_at(Level::Buffered, "too late")));
        assert!(not_found(mails.receive()) && not_found(mails.try_receive()));
        assert!(not_found(mails.receive_timeout(MINUTE)) && not_found(mails.receive_batch(2)));
        assert!(not_found(mails.try_receive_batch(2)) && not_found(mails.receive_batch_timeout(2, MINUTE)));
        assert!(not_found(block_on(mails.receive_async())) && not_found(block_on(mails.receive_batch_async(2))));
        assert!(not_found(mails.pause()) && not_found(mails.resume()) && not_found(mails.purge()));
        assert!(not_found(mails.describe()) && not_found(mails.dead_letters(None, 1)));
        assert!(not_found(mails.redrive(&letters)) && not_found(mails.purge_dead(&letters)));
    }
    assert_eq!(drain(&db.queue("mails").unwrap()), ["of the new one"]);
}

#[test]
fn a_queue_of_thousands_is_deleted_and_made_again() {
    let db = database();
    for round in 0..3 {
        let mails = db.create_queue("mails", QueueOptions::new()).unwrap();
        assert_eq!(counts(&mails), [0; 4]);
        for priority in [0, 9] {
            let message = Message::from("newsletter").priority(priority);
            mails.send_batch(&vec![message; 5000]).unwrap();
            mails.send_batch(&vec![message.delay(HOUR); 1000]).unwrap();
        }
        let held = mails.receive_batch(1000).unwrap();
        assert!(held.iter().all(|mail| mail.priority() == 9));
        held.into_iter().for_each(|mail| mail.reject("no such address").unwrap());
        assert_eq!(counts(&mails), [9000, 2000, 0, 1000], "round {round}");
        db.delete_queue("mails").unwrap();
    }
    assert!(db.queue_names().unwrap().is_empty());
}

#[test]
fn a_paused_queue_hands_nothing_out_and_takes_everything_else() {
    let (db, mails) = queue(QueueOptions::new().backoff(Backoff::none()));
    send_all(&mails, &["one", "two"]);
    let (one, two) = (take_now(&mails, "one"), take_now(&mails, "two"));
    mails.pause().unwrap();
    mails.pause().unwrap();
    assert!(mails.describe().unwrap().is_paused);
    mails.send("three").unwrap();
    expect_nothing(&mails);
    assert!(mails.receive_timeout(Duration::from_millis(20)).unwrap().is_none());
    two.extend(HOUR).unwrap();
    one.ack().unwrap();
    two.fail("busy").unwrap();
    expect_nothing(&mails);
    assert_eq!(counts(&mails), [2, 0, 0, 0]);
    db.ensure_queue("mails", QueueOptions::new()).unwrap();
    expect_nothing(&mails);
    mails.resume().unwrap();
    mails.resume().unwrap();
    assert!(!mails.describe().unwrap().is_paused);
    assert_eq!(drain(&mails), ["two", "three"]);
}

#[test]
fn time_passes_in_a_paused_queue() {
    let (clock, _db, mails) = clocked(QueueOptions::new().visibility_timeout(MINUTE).backoff(Backoff::none()));
    mails.send("kept").unwrap();
    let _kept = take(&mails);
    mails.send(Message::from("short-lived").ttl(MINUTE)).unwrap();
    mails.send(Message::from("delayed").delay(MINUTE)).unwrap();
    mails.pause().unwrap();
    clock.advance(MINUTE);
    crate::place::eventually("all have moved on", || counts(&mails) == [2, 0, 0, 1]);
    expect_nothing(&mails);
    mails.resume().unwrap();
    assert_eq!(drain(&mails), ["kept", "delayed"]);
}

#[test]
fn purge_lets_go_of_what_is_ready_or_delayed_and_of_nothing_else() {
    let (_db, mails) = queue(QueueOptions::new().backoff(Backoff::fixed(HOUR)));
    send_all(&mails, &["rejected", "in flight", "in backoff", "one", "two"]);
    take_now(&mails, "rejected").reject("no such address").unwrap();
    let held = take_now(&mails, "in flight");
    take_now(&mails, "in backoff").fail("busy").unwrap();
    mails.send(Message::from("urgent").priority(9)).unwrap();
    mails.send(Message::from("delayed").delay(HOUR)).unwrap();
    assert_eq!(counts(&mails), [3, 2, 1, 1]);
    assert_eq!(mails.purge().unwrap(), 5);
    assert_eq!(counts(&mails), [0, 0, 1, 1]);
    assert_eq!(mails.purge().unwrap(), 0);
    expect_nothing(&mails);
    held.release().unwrap();
    mails.send("sent later").unwrap();
    assert_eq!(drain(&mails), ["in flight", "sent later"]);
    assert_eq!(text_of_letter(&mails.dead_letters(None, 1).unwrap()[0]), "rejected");
}

#[test]
fn a_purged_message_is_not_due_later() {
    let (clock, _db, mails) = clocked(QueueOptions::new().ttl(HOUR));
    mails.send(Message::from("delayed").delay(MINUTE)).unwrap();
    mails.send("ready").unwrap();
    assert_eq!(mails.purge().unwrap(), 2);
    clock.advance(2 * HOUR);
    mails.send("the mark").unwrap();
    assert_eq!(drain(&mails), ["the mark"]);
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn thousands_are_purged_between_others_in_flight() {
    let (_db, mails) = queue(QueueOptions::new());
    mails.send_batch(&vec![Message::from("newsletter"); 10_000]).unwrap();
    let mut held: Vec<_> = (0..5).flat_map(|_| mails.receive_batch(1000).unwrap()).collect();
    let (mut kept, mut number) = (Vec::new(), 0);
    held.drain(..).for_each(|mail| {
        number += 1;
        if number % 2 == 0 { kept.push(mail) } else { mail.release().unwrap() }
    });
    assert_eq!(counts(&mails), [7500, 0, 2500, 0]);
    assert_eq!(mails.purge().unwrap(), 7500);
    assert_eq!(counts(&mails), [0, 0, 2500, 0]);
    kept.into_iter().for_each(|mail| mail.release().unwrap());
    assert_eq!(drain(&mails).len(), 2500);
}

#[test]
fn a_closed_database_answers_closed() {
    let (db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two"]);
    let (one, two) = (take_now(&mails, "one"), take_now(&mails, "two"));
    db.close().unwrap();
    assert!(matches!(mails.send("three"), Err(Error::Closed)) && matches!(mails.receive(), Err(Error::Closed)));
    assert!(matches!(mails.try_receive(), Err(Error::Closed)) && matches!(mails.describe(), Err(Error::Closed)));
    assert!(matches!(mails.pause(), Err(Error::Closed)) && matches!(mails.purge(), Err(Error::Closed)));
    assert!(matches!(mails.dead_letters(None, 1), Err(Error::Closed)));
    assert!(matches!(one.ack(), Err(Error::Closed)) && matches!(mails.ack_batch(vec![two]), Err(Error::Closed)));
}
