//! What becomes of a delivery.

use std::thread;
use std::time::Duration;

use towpath::{Backoff, DeathReason, Error, Jitter, Message, QueueOptions};

use crate::consumer::{
    HOUR, MINUTE, SECOND, TOO_LONG, clocked, counts, drain, expect_nothing, queue, send_all, take, take_now, text,
};
use crate::place::eventually;

fn at_once() -> QueueOptions {
    QueueOptions::new().backoff(Backoff::none())
}

#[test]
fn a_message_in_flight_is_handed_to_nobody_else() {
    let (_db, mails) = queue(QueueOptions::new());
    mails.send("to the customer").unwrap();
    let held = take_now(&mails, "to the customer");
    expect_nothing(&mails);
    assert!(mails.receive_timeout(Duration::from_millis(20)).unwrap().is_none());
    assert_eq!(counts(&mails), [0, 0, 1, 0]);
    held.ack().unwrap();
    assert_eq!(counts(&mails), [0; 4]);
    expect_nothing(&mails);
}

#[test]
fn a_failed_attempt_counts_and_a_release_does_not() {
    let (_db, mails) = queue(at_once());
    mails.send("to the customer").unwrap();
    let seen = |mail: &towpath::Delivery| (mail.attempt(), mail.hand_outs());
    let first = take(&mails);
    assert_eq!(seen(&first), (1, 1));
    first.release().unwrap();
    let second = take_now(&mails, "to the customer");
    assert_eq!(seen(&second), (1, 2));
    second.fail("mailbox full").unwrap();
    let third = take_now(&mails, "to the customer");
    assert_eq!(seen(&third), (2, 3));
    third.release().unwrap();
    assert_eq!(seen(&take_now(&mails, "to the customer")), (2, 4));
}

#[test]
fn a_message_is_dead_after_its_nth_failed_attempt_and_not_later() {
    let (_db, mails) = queue(at_once().max_attempts(3));
    mails.send("to nobody").unwrap();
    for attempt in 1..=3 {
        let mail = take_now(&mails, "to nobody");
        assert_eq!((mail.attempt(), counts(&mails)), (attempt, [0, 0, 1, 0]));
        mail.fail(&format!("attempt {attempt}")).unwrap();
    }
    expect_nothing(&mails);
    assert_eq!(counts(&mails), [0, 0, 0, 1]);
    let letter = &mails.dead_letters(None, 10).unwrap()[0];
    assert_eq!((letter.reason(), letter.failed_attempts()), (DeathReason::AttemptsExhausted, 3));
    let errors: Vec<&str> = letter.failures().iter().map(|failure| failure.error.as_str()).collect();
    assert_eq!(errors, ["attempt 3", "attempt 2", "attempt 1"]);
}

#[test]
fn one_attempt_means_one_and_five_is_what_is_meant_if_nothing_is_said() {
    let (db, mails) = queue(at_once());
    mails.send(Message::from("once").max_attempts(1)).unwrap();
    take_now(&mails, "once").fail("refused").unwrap();
    assert_eq!(counts(&mails), [0, 0, 0, 1]);
    mails.send("five times").unwrap();
    (0..4).for_each(|_| take_now(&mails, "five times").fail("refused").unwrap());
    assert_eq!(counts(&mails), [1, 0, 0, 1]);
    take_now(&mails, "five times").fail("refused").unwrap();
    assert_eq!(counts(&mails), [0, 0, 0, 2]);
    let orders = db.create_queue("orders", at_once().max_attempts(1)).unwrap();
    orders.send(Message::from("a mug").max_attempts(2)).unwrap();
    take_now(&orders, "a mug").fail("out of stock").unwrap();
    take_now(&orders, "a mug").fail("out of stock").unwrap();
    assert_eq!(counts(&orders), [0, 0, 0, 1], "the message's own number counts, the larger too");
}

#[test]
fn a_rejected_message_is_dead_at_its_first_attempt() {
    let (_db, mails) = queue(QueueOptions::new());
    mails.send("to nobody").unwrap();
    take(&mails).reject("no such address").unwrap();
    assert_eq!(counts(&mails), [0, 0, 0, 1]);
    let letter = &mails.dead_letters(None, 10).unwrap()[0];
    assert_eq!((letter.reason(), letter.message().unwrap().body()), (DeathReason::Rejected, &b"to nobody"[..]));
    assert_eq!(letter.failures()[0].error, "no such address");
}

#[test]
fn a_dropped_delivery_has_failed() {
    let (_db, mails) = queue(at_once().max_attempts(2));
    mails.send("to the customer").unwrap();
    drop(take(&mails));
    let again = take_now(&mails, "to the customer");
    assert_eq!((again.attempt(), again.hand_outs()), (2, 2));
    thread::spawn(move || {
        let _held = again;
        // Ends the thread as a panic does, and prints nothing.
        std::panic::resume_unwind(Box::new("no more"));
    })
    .join()
    .unwrap_err();
    assert_eq!(counts(&mails), [0, 0, 0, 1]);
    let letters = mails.dead_letters(None, 1).unwrap();
    let errors: Vec<&str> = letters[0].failures().iter().map(|failure| failure.error.as_str()).collect();
    assert_eq!(errors, ["the consumer panicked", "dropped"]);
}

#[test]
fn dropped_ones_of_a_batch_have_failed_each() {
    let (_db, mails) = queue(at_once());
    send_all(&mails, &["one", "two", "three"]);
    drop(mails.receive_batch(3).unwrap());
    let again = mails.receive_batch(3).unwrap();
    assert_eq!(again.iter().map(|mail| mail.attempt()).collect::<Vec<_>>(), [2, 2, 2]);
    mails.ack_batch(again).unwrap();
}

#[test]
fn a_release_with_a_delay_comes_back_after_it_uncounted() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    mails.send("to the customer").unwrap();
    take(&mails).release_with_delay(MINUTE).unwrap();
    assert_eq!(counts(&mails), [0, 1, 0, 0]);
    clock.advance(MINUTE - SECOND);
    expect_nothing(&mails);
    clock.advance(SECOND);
    assert_eq!(take(&mails).attempt(), 1);
}

/// The pauses after each failed attempt, to the second: where a message is not there and then is.
#[track_caller]
fn expect_pauses(backoff: Backoff, pauses: &[u64]) {
    let (clock, _db, mails) = clocked(QueueOptions::new().backoff(backoff).max_attempts(100));
    mails.send("to the customer").unwrap();
    for pause in pauses {
        take(&mails).fail("connection refused").unwrap();
        assert_eq!(counts(&mails), [0, 1, 0, 0]);
        clock.advance(Duration::from_secs(pause - 1));
        expect_nothing(&mails);
        clock.advance(SECOND);
    }
    assert_eq!(take(&mails).attempt(), pauses.len() as u32 + 1);
}

#[test]
fn a_fixed_backoff_is_the_same_each_time() {
    expect_pauses(Backoff::fixed(Duration::from_secs(10)), &[10, 10, 10]);
}

#[test]
fn a_linear_backoff_grows_by_its_step_up_to_the_most() {
    expect_pauses(Backoff::linear(Duration::from_secs(10), Duration::from_secs(35)), &[10, 20, 30, 35, 35]);
}

#[test]
fn an_exponential_backoff_doubles_up_to_the_most() {
    let backoff = Backoff::exponential(Duration::from_secs(10), MINUTE).jitter(Jitter::None);
    expect_pauses(backoff, &[10, 20, 40, 60, 60]);
}

#[test]
fn no_backoff_is_none_each_time() {
    let (_db, mails) = queue(at_once().max_attempts(50));
    mails.send("to the customer").unwrap();
    (0..49).for_each(|_| take_now(&mails, "to the customer").fail("try again").unwrap());
    assert_eq!(take_now(&mails, "to the customer").attempt(), 50);
}

/// Fails 64 messages and lets this much time pass; tells how many wait still.
fn waiting_after(backoff: Backoff, passes: &[Duration]) -> Vec<u64> {
    let (clock, _db, mails) = clocked(QueueOptions::new().backoff(backoff));
    mails.send_batch(&[Message::from("newsletter"); 64]).unwrap();
    mails.receive_batch(64).unwrap().into_iter().for_each(|mail| mail.fail("too many connections").unwrap());
    let mut waiting = Vec::new();
    for pass in passes {
        clock.advance(*pass);
        // Every one that was due moves on in the same tick.
        let before = counts(&mails)[1];
        thread::sleep(Duration::from_millis(if before == 0 { 0 } else { 100 }));
        waiting.push(counts(&mails)[1]);
    }
    eventually("all are there", || counts(&mails) == [64, 0, 0, 0]);
    waiting
}

#[test]
fn full_jitter_spreads_over_the_whole_pause() {
    let half = MINUTE / 2;
    let waiting = waiting_after(Backoff::exponential(MINUTE, HOUR), &[half, half]);
    assert!((1..64).contains(&waiting[0]), "{waiting:?}");
    let waiting = waiting_after(Backoff::fixed(MINUTE).jitter(Jitter::Full), &[half, half]);
    assert!((1..64).contains(&waiting[0]), "{waiting:?}");
}

#[test]
fn decorrelated_jitter_waits_at_least_the_first_pause_and_at_most_three_times_that() {
    let backoff = Backoff::exponential(MINUTE, HOUR).jitter(Jitter::Decorrelated);
    let waiting = waiting_after(backoff, &[MINUTE - SECOND, MINUTE, MINUTE + SECOND]);
    assert_eq!(waiting[0], 64);
    assert!((1..64).contains(&waiting[1]), "{waiting:?}");
}

#[test]
fn jitter_never_waits_longer_than_the_most() {
    for jitter in [Jitter::None, Jitter::Full, Jitter::Decorrelated] {
        let backoff = Backoff::exponential(MINUTE, MINUTE + SECOND).jitter(jitter);
        let (clock, _db, mails) = clocked(QueueOptions::new().backoff(backoff).max_attempts(100));
        mails.send("to the customer").unwrap();
        for attempt in 1..10 {
            let mail = take(&mails);
            assert_eq!(mail.attempt(), attempt);
            mail.fail("try again").unwrap();
            clock.advance(MINUTE + SECOND);
        }
        take(&mails);
    }
}

#[test]
fn the_default_backoff_lies_between_nothing_and_ten_minutes() {
    let (clock, _db, mails) = clocked(QueueOptions::new().max_attempts(20));
    mails.send("to the customer").unwrap();
    take(&mails).fail("try again").unwrap();
    clock.advance(SECOND);
    take(&mails).fail("try again").unwrap();
    for _ in 0..15 {
        clock.advance(10 * MINUTE);
        take(&mails).fail("try again").unwrap();
    }
}

#[test]
fn a_pause_named_with_the_failure_takes_the_place_of_the_backoff() {
    let (clock, _db, mails) = clocked(QueueOptions::new().backoff(Backoff::fixed(HOUR)));
    mails.send("to the customer").unwrap();
    take(&mails).fail_with_delay("greylisted", MINUTE).unwrap();
    clock.advance(MINUTE - SECOND);
    expect_nothing(&mails);
    clock.advance(SECOND);
    take(&mails).fail_with_delay("greylisted", Duration::ZERO).unwrap();
    assert_eq!(take_now(&mails, "to the customer").attempt(), 3);
}

#[test]
fn a_pause_of_over_ten_thousand_days_is_refused() {
    let (_db, mails) = queue(at_once());
    send_all(&mails, &["one", "two", "three"]);
    let [one, two, three] = [take(&mails), take(&mails), take(&mails)];
    let invalid = |answer| matches!(answer, Err(Error::InvalidOption { .. }));
    assert!(invalid(three.extend(TOO_LONG)) && invalid(three.extend(Duration::ZERO)));
    assert!(invalid(three.extend(Duration::MAX)));
    assert!(invalid(one.fail_with_delay("later", TOO_LONG)) && invalid(two.release_with_delay(Duration::MAX)));
    assert_eq!(counts(&mails), [0, 0, 3, 0], "they are where they were");
    three.ack().unwrap();
}

#[test]
fn a_batch_is_acknowledged_as_one() {
    let (_db, mails) = queue(QueueOptions::new());
    assert_eq!(mails.ack_batch(Vec::new()).unwrap(), 0);
    mails.send_batch(&[Message::from("newsletter"); 5000]).unwrap();
    let mut held = Vec::new();
    while held.len() < 5000 {
        held.extend(mails.receive_batch(1024).unwrap());
    }
    assert_eq!(counts(&mails), [0, 0, 5000, 0]);
    assert_eq!(mails.ack_batch(held).unwrap(), 0);
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn deliveries_of_another_queue_are_not_taken_for_ones_of_this() {
    let (db, mails) = queue(QueueOptions::new());
    let orders = db.create_queue("orders", QueueOptions::new()).unwrap();
    mails.send("to the customer").unwrap();
    orders.send("one blue mug").unwrap();
    let (mail, order) = (take(&mails), take(&orders));
    mails.ack_batch(vec![order]).unwrap_err();
    assert_eq!((counts(&mails), counts(&orders)[3]), ([0, 0, 1, 0], 0));
    assert_eq!(counts(&orders)[..3].iter().sum::<u64>(), 1, "the order is not lost");
    mail.ack().unwrap();
}

#[test]
fn deliveries_of_another_database_are_not_taken_for_ones_of_this() {
    let (_db, mails) = queue(QueueOptions::new());
    let (_other, theirs) = queue(QueueOptions::new());
    mails.send("ours").unwrap();
    theirs.send("theirs").unwrap();
    let (ours, foreign) = (take(&mails), take(&theirs));
    mails.ack_batch(vec![foreign]).unwrap_err();
    ours.ack().unwrap();
    assert_eq!(counts(&theirs)[..3].iter().sum::<u64>(), 1, "theirs is not lost");
}

#[test]
fn settling_lets_messages_go_in_any_order() {
    let (_db, mails) = queue(QueueOptions::new());
    let bodies: Vec<String> = (0..200).map(|number| format!("mail {number}")).collect();
    send_all(&mails, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let held = mails.receive_batch(200).unwrap();
    for (number, mail) in held.into_iter().enumerate().rev() {
        if number % 3 == 0 { mail.ack().unwrap() } else { mail.release().unwrap() }
    }
    let left: Vec<String> = bodies.into_iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, b)| b).collect();
    assert_eq!(counts(&mails)[0], left.len() as u64);
    assert_eq!(drain(&mails), left);
}

#[test]
fn the_message_of_a_delivery_may_be_kept_beyond_it() {
    let (_db, mails) = queue(QueueOptions::new());
    mails.send(Message::from("to the customer").key(b"customer-7")).unwrap();
    let mail = take(&mails);
    let (kept, body) = (mail.message().clone(), mail.body_bytes());
    mail.ack().unwrap();
    drop(mails);
    assert_eq!(
        (text(&kept), kept.key(), &body[..]),
        ("to the customer".to_owned(), Some(&b"customer-7"[..]), kept.body())
    );
}
