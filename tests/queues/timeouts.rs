//! Deliveries that are kept too long, and what settling them late comes to.

use std::time::Duration;

use towpath::{Backoff, DeathReason, ManualClock, Queue, QueueOptions};

use crate::consumer::{
    MINUTE, SECOND, clocked, counts, expect_nothing, expect_stale, queue, send_all, take, take_now, texts,
};
use crate::opening::Opened;
use crate::place::eventually;

/// A queue whose deliveries are taken back after a minute, without a pause.
fn impatient() -> (ManualClock, Opened, Queue) {
    clocked(QueueOptions::new().visibility_timeout(MINUTE).backoff(Backoff::none()))
}

#[test]
fn what_is_kept_too_long_is_taken_back_and_has_failed() {
    let (clock, _db, mails) = impatient();
    mails.send("to the customer").unwrap();
    let held = take(&mails);
    clock.advance(MINUTE - SECOND);
    expect_nothing(&mails);
    assert_eq!(counts(&mails), [0, 0, 1, 0]);
    clock.advance(SECOND);
    let again = take(&mails);
    assert_eq!((again.attempt(), again.hand_outs()), (2, 2));
    drop(held);
}

#[test]
fn a_timeout_of_half_an_hour_is_what_is_meant_if_none_is_named() {
    let (clock, _db, mails) = clocked(QueueOptions::new().backoff(Backoff::none()));
    mails.send("to the customer").unwrap();
    let _held = take(&mails);
    clock.advance(30 * MINUTE - SECOND);
    expect_nothing(&mails);
    clock.advance(SECOND);
    assert_eq!(take(&mails).attempt(), 2);
}

#[test]
fn a_message_that_is_never_settled_is_dead_after_its_attempts() {
    let (clock, _db, mails) =
        clocked(QueueOptions::new().visibility_timeout(MINUTE).backoff(Backoff::none()).max_attempts(2));
    mails.send("to the customer").unwrap();
    let held = [take(&mails), {
        clock.advance(MINUTE);
        take(&mails)
    }];
    clock.advance(MINUTE);
    eventually("it is dead", || counts(&mails) == [0, 0, 0, 1]);
    let letters = mails.dead_letters(None, 1).unwrap();
    assert_eq!((letters[0].reason(), letters[0].failed_attempts()), (DeathReason::AttemptsExhausted, 2));
    held.into_iter().for_each(|late| expect_stale(late.ack()));
}

#[test]
fn what_was_taken_back_waits_for_the_backoff() {
    let (clock, _db, mails) =
        clocked(QueueOptions::new().visibility_timeout(MINUTE).backoff(Backoff::fixed(5 * MINUTE)));
    mails.send("to the customer").unwrap();
    let _held = take(&mails);
    clock.advance(MINUTE);
    eventually("it is taken back", || counts(&mails) == [0, 1, 0, 0]);
    clock.advance(5 * MINUTE - SECOND);
    expect_nothing(&mails);
    clock.advance(SECOND);
    assert_eq!(take(&mails).attempt(), 2);
}

#[test]
fn a_timeout_does_not_disturb_what_was_settled_or_handed_out_later() {
    let (clock, _db, mails) = impatient();
    send_all(&mails, &["one", "two", "three"]);
    let (one, two) = (take_now(&mails, "one"), take_now(&mails, "two"));
    clock.advance(MINUTE / 2);
    one.ack().unwrap();
    two.release().unwrap();
    let later = mails.receive_batch(2).unwrap();
    assert_eq!(texts(&later), ["two", "three"]);
    clock.advance(MINUTE - SECOND);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(counts(&mails), [0, 0, 2, 0]);
    assert_eq!(mails.ack_batch(later).unwrap(), 0);
}

#[test]
fn extend_counts_from_the_call() {
    let (clock, _db, mails) = impatient();
    mails.send("to the customer").unwrap();
    let held = take(&mails);
    clock.advance(MINUTE - SECOND);
    held.extend(MINUTE).unwrap();
    clock.advance(MINUTE - SECOND);
    held.extend(10 * MINUTE).unwrap();
    clock.advance(10 * MINUTE - SECOND);
    expect_nothing(&mails);
    assert_eq!(counts(&mails), [0, 0, 1, 0]);
    clock.advance(SECOND);
    let again = take(&mails);
    assert_eq!(again.attempt(), 2, "extending is not an attempt");
    expect_stale(held.extend(MINUTE));
    expect_stale(held.ack());
    again.ack().unwrap();
}

#[test]
fn extend_may_also_shorten() {
    let (clock, _db, mails) = impatient();
    mails.send("to the customer").unwrap();
    let held = take(&mails);
    held.extend(SECOND).unwrap();
    clock.advance(SECOND);
    assert_eq!(take(&mails).attempt(), 2);
    expect_stale(held.ack());
}

#[test]
fn settling_what_was_taken_back_is_stale_in_every_way() {
    let (clock, _db, mails) = impatient();
    send_all(&mails, &["one", "two", "three", "four", "five"]);
    let late = mails.receive_batch(5).unwrap();
    clock.advance(MINUTE);
    eventually("they are taken back", || counts(&mails) == [5, 0, 0, 0]);
    let [one, two, three, four, five] = <[_; 5]>::try_from(late).unwrap();
    expect_stale(one.ack());
    expect_stale(two.fail("too late"));
    expect_stale(three.release());
    expect_stale(four.reject("too late"));
    expect_stale(five.extend(MINUTE));
    expect_stale(mails.ack_batch(vec![five]));
    assert_eq!(counts(&mails), [5, 0, 0, 0]);
    let again = mails.receive_batch(5).unwrap();
    assert!(again.iter().all(|mail| mail.attempt() == 2), "failing late counts no second time");
}

#[test]
fn settling_late_does_not_disturb_who_has_it_now() {
    let (clock, _db, mails) = impatient();
    mails.send("to the customer").unwrap();
    let (late, dropped) = (take(&mails), {
        clock.advance(MINUTE);
        take(&mails)
    });
    clock.advance(MINUTE);
    let now = take(&mails);
    expect_stale(late.ack());
    drop(dropped);
    assert_eq!((now.attempt(), counts(&mails)), (3, [0, 0, 1, 0]));
    now.ack().unwrap();
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn a_batch_tells_how_many_were_taken_back_and_acknowledges_the_others() {
    let (clock, _db, mails) = impatient();
    send_all(&mails, &["one", "two", "three"]);
    let mut held = mails.receive_batch(2).unwrap();
    clock.advance(MINUTE);
    eventually("they are taken back", || counts(&mails) == [3, 0, 0, 0]);
    let again = take_now(&mails, "one");
    held.extend([take_now(&mails, "two"), take_now(&mails, "three")]);
    assert_eq!(mails.ack_batch(held).unwrap(), 2);
    assert_eq!(counts(&mails), [0, 0, 1, 0]);
    again.ack().unwrap();
}

#[test]
fn a_real_clock_takes_back_too() {
    let (_db, mails) =
        queue(QueueOptions::new().visibility_timeout(Duration::from_millis(50)).backoff(Backoff::none()));
    mails.send("to the customer").unwrap();
    let held = take(&mails);
    let again = take(&mails);
    assert!(again.hand_outs() >= 2);
    expect_stale(held.ack());
}
