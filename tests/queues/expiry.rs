//! Messages that live for a time: ttl and deadline.

use std::time::Duration;

use towpath::{Backoff, DeathReason, ManualClock, Message, Queue, QueueOptions};

use crate::consumer::{
    HOUR, MINUTE, SECOND, Waiting, clocked, counts, expect_nothing, noon, noon_and, send_all, take, take_now, text,
    text_of_letter,
};
use crate::place::eventually;

fn living(ttl: Duration) -> QueueOptions {
    QueueOptions::new().ttl(ttl).backoff(Backoff::none())
}

/// It is dead for this reason, without a consumer's doing.
#[track_caller]
fn expect_dead(mails: &Queue, body: &str, reason: DeathReason) {
    eventually("it leaves", || counts(mails) == [0, 0, 0, 1]);
    let letters = mails.dead_letters(None, 10).unwrap();
    assert_eq!((text_of_letter(&letters[0]).as_str(), letters[0].reason()), (body, reason));
}

/// So long after now it is handed out to nobody, from the first moment on.
#[track_caller]
fn expect_gone_after(clock: &ManualClock, mails: &Queue, time: Duration) {
    clock.advance(time - SECOND);
    take(mails).release().unwrap();
    clock.advance(SECOND);
    expect_nothing(mails);
}

#[test]
fn a_message_that_outlives_the_queues_ttl_is_dead() {
    let (clock, _db, mails) = clocked(living(MINUTE));
    mails.send("your code is 1234").unwrap();
    expect_gone_after(&clock, &mails, MINUTE);
    expect_dead(&mails, "your code is 1234", DeathReason::Expired);
    let letter = &mails.dead_letters(None, 1).unwrap()[0];
    assert_eq!((letter.failed_attempts(), letter.failures().len()), (0, 0));
    assert!(letter.died_at() >= noon_and(MINUTE) && letter.died_at() <= noon_and(MINUTE + SECOND));
}

#[test]
fn the_shorter_of_the_queues_ttl_and_the_messages_counts() {
    for (of_queue, of_message) in [(HOUR, MINUTE), (MINUTE, HOUR)] {
        let (clock, _db, mails) = clocked(living(of_queue));
        mails.send(Message::from("your code is 1234").ttl(of_message)).unwrap();
        expect_gone_after(&clock, &mails, MINUTE);
        expect_dead(&mails, "your code is 1234", DeathReason::Expired);
    }
    let (clock, _db, mails) = clocked(QueueOptions::new());
    mails.send(Message::from("your code is 1234").ttl(MINUTE)).unwrap();
    expect_gone_after(&clock, &mails, MINUTE);
}

#[test]
fn only_what_has_outlived_its_time_goes() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    for minutes in [3, 1, 2] {
        let body = format!("for {minutes} minutes");
        mails.send(Message::from(&body).ttl(minutes * MINUTE)).unwrap();
    }
    mails.send("for ever").unwrap();
    clock.advance(2 * MINUTE);
    eventually("two leave", || counts(&mails) == [2, 0, 0, 2]);
    take_now(&mails, "for 3 minutes").ack().unwrap();
    clock.advance(1000 * HOUR);
    take_now(&mails, "for ever").ack().unwrap();
}

#[test]
fn a_ttl_begins_when_the_message_becomes_ready() {
    let (clock, _db, mails) = clocked(living(MINUTE));
    mails.send(Message::from("tomorrow's code").delay(HOUR)).unwrap();
    clock.advance(HOUR);
    expect_gone_after(&clock, &mails, MINUTE);
    expect_dead(&mails, "tomorrow's code", DeathReason::Expired);
}

#[test]
fn returns_do_not_extend_a_ttl() {
    let (clock, _db, mails) = clocked(living(MINUTE));
    mails.send("your code is 1234").unwrap();
    for _ in 0..3 {
        clock.advance(MINUTE / 4);
        take_now(&mails, "your code is 1234").fail("busy").unwrap();
    }
    clock.advance(MINUTE / 4);
    expect_nothing(&mails);
    expect_dead(&mails, "your code is 1234", DeathReason::Expired);
    let letters = mails.dead_letters(None, 1).unwrap();
    assert_eq!((letters[0].failed_attempts(), letters[0].failures()[0].error.as_str()), (3, "busy"));
}

#[test]
fn a_ttl_passes_in_backoff_too() {
    let (clock, _db, mails) = clocked(living(MINUTE).backoff(Backoff::fixed(HOUR)));
    mails.send("your code is 1234").unwrap();
    take(&mails).fail("busy").unwrap();
    assert_eq!(counts(&mails), [0, 1, 0, 0]);
    clock.advance(MINUTE);
    expect_dead(&mails, "your code is 1234", DeathReason::Expired);
}

#[test]
fn a_ttl_that_passes_in_flight_takes_effect_on_return() {
    let (clock, _db, mails) = clocked(living(MINUTE));
    send_all(&mails, &["acknowledged", "released"]);
    let (acked, released) = (take_now(&mails, "acknowledged"), take_now(&mails, "released"));
    clock.advance(2 * MINUTE);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(counts(&mails), [0, 0, 2, 0]);
    acked.ack().unwrap();
    released.release().unwrap();
    expect_nothing(&mails);
    expect_dead(&mails, "released", DeathReason::Expired);
}

#[test]
fn a_ttl_that_passes_in_flight_takes_effect_when_it_is_taken_back() {
    let (clock, _db, mails) = clocked(living(MINUTE).visibility_timeout(2 * MINUTE));
    mails.send("your code is 1234").unwrap();
    let _held = take(&mails);
    clock.advance(2 * MINUTE);
    expect_dead(&mails, "your code is 1234", DeathReason::Expired);
    expect_nothing(&mails);
}

#[test]
fn a_message_that_lives_for_no_time_is_for_a_consumer_who_waits_or_for_nobody() {
    let (clock, _db, mails) = clocked(living(Duration::ZERO));
    let consumer = mails.clone();
    let waiting = Waiting::begun(move || take(&consumer));
    mails.send("a call comes in").unwrap();
    let mail = waiting.comes();
    assert_eq!(text(&mail), "a call comes in");
    mail.ack().unwrap();
    mails.send("another call").unwrap();
    clock.advance(MINUTE);
    expect_nothing(&mails);
    expect_dead(&mails, "another call", DeathReason::Expired);
}

#[test]
fn a_message_that_lives_for_no_time_and_fails_is_dead() {
    let (clock, _db, mails) = clocked(QueueOptions::new().backoff(Backoff::none()));
    let consumer = mails.clone();
    let waiting = Waiting::begun(move || take(&consumer));
    mails.send(Message::from("a call comes in").ttl(Duration::ZERO)).unwrap();
    let mail = waiting.comes();
    clock.advance(MINUTE);
    mail.fail("hung up").unwrap();
    expect_nothing(&mails);
    expect_dead(&mails, "a call comes in", DeathReason::Expired);
}

#[test]
fn a_deadline_holds_wherever_the_message_stands() {
    let deadline = noon_and(MINUTE);
    for delay in [Duration::ZERO, MINUTE / 2, HOUR] {
        let (clock, _db, mails) = clocked(QueueOptions::new());
        mails.send(Message::from("a flash sale").delay(delay).deadline(deadline)).unwrap();
        clock.advance(MINUTE);
        expect_nothing(&mails);
        expect_dead(&mails, "a flash sale", DeathReason::Deadline);
    }
    let (clock, _db, mails) = clocked(QueueOptions::new().backoff(Backoff::fixed(HOUR)));
    mails.send(Message::from("a flash sale").deadline(deadline)).unwrap();
    take(&mails).fail("busy").unwrap();
    clock.advance(MINUTE);
    expect_dead(&mails, "a flash sale", DeathReason::Deadline);
}

#[test]
fn a_deadline_that_passes_in_flight_takes_effect_on_return() {
    let (clock, _db, mails) = clocked(QueueOptions::new().backoff(Backoff::none()));
    for body in ["acknowledged", "failed"] {
        mails.send(Message::from(body).deadline(noon_and(MINUTE))).unwrap();
    }
    let (acked, failed) = (take_now(&mails, "acknowledged"), take_now(&mails, "failed"));
    clock.advance(MINUTE);
    acked.ack().unwrap();
    failed.fail("busy").unwrap();
    expect_nothing(&mails);
    expect_dead(&mails, "failed", DeathReason::Deadline);
}

#[test]
fn a_message_whose_deadline_has_passed_is_dead_when_it_is_sent() {
    let (_clock, _db, mails) = clocked(QueueOptions::new());
    mails.send(Message::from("yesterday's sale").deadline(noon())).unwrap();
    expect_nothing(&mails);
    expect_dead(&mails, "yesterday's sale", DeathReason::Deadline);
}

#[test]
fn before_its_deadline_a_message_is_handed_out() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    mails.send(Message::from("a flash sale").deadline(noon_and(MINUTE)).ttl(HOUR)).unwrap();
    clock.advance(MINUTE - SECOND);
    take_now(&mails, "a flash sale").ack().unwrap();
    clock.advance(HOUR);
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn expired_messages_are_not_counted_as_waiting_and_let_others_in() {
    let (clock, _db, mails) = clocked(living(MINUTE).max_messages(2));
    send_all(&mails, &["one", "two"]);
    mails.send("three").unwrap_err();
    clock.advance(MINUTE);
    eventually("they leave", || counts(&mails) == [0, 0, 0, 2]);
    mails.send("three").unwrap();
}

#[test]
fn thousands_expire_at_once() {
    let (clock, _db, mails) = clocked(living(MINUTE));
    mails.send_batch(&[Message::from("your code is 1234"); 10_000]).unwrap();
    clock.advance(MINUTE);
    expect_nothing(&mails);
    eventually("they leave", || counts(&mails) == [0, 0, 0, 10_000]);
}

#[test]
fn a_changed_ttl_holds_for_what_becomes_ready_after_it() {
    let (clock, db, mails) = clocked(living(HOUR));
    mails.send("before").unwrap();
    mails.send(Message::from("delayed").delay(MINUTE)).unwrap();
    db.ensure_queue("mails", living(MINUTE)).unwrap();
    mails.send("after").unwrap();
    clock.advance(MINUTE);
    eventually("one leaves and one becomes ready", || counts(&mails) == [2, 0, 0, 1]);
    clock.advance(MINUTE);
    eventually("the delayed one leaves", || counts(&mails) == [1, 0, 0, 2]);
    take_now(&mails, "before").ack().unwrap();
}
