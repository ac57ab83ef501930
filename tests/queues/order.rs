//! Which message is next.

use std::time::Duration;

use towpath::{Level, Message, QueueOptions, Timestamp};

use crate::consumer::{
    HOUR, MINUTE, SECOND, clocked, counts, drain, expect_nothing, noon, noon_and, queue, send_all, take, take_now,
    text, texts,
};
use crate::place::Chance;

#[test]
fn messages_come_in_the_order_in_which_they_were_sent() {
    let (_db, mails) = queue(QueueOptions::new().level(Level::Buffered));
    let bodies: Vec<String> = (0..300).map(|number| format!("mail {number}")).collect();
    for body in &bodies {
        mails.send(body).unwrap();
    }
    assert_eq!(drain(&mails), bodies);
    expect_nothing(&mails);
}

#[test]
fn a_higher_priority_goes_first_and_4_is_what_is_meant_if_none_is_named() {
    let (_db, mails) = queue(QueueOptions::new());
    for (body, priority) in [("newsletter", 0), ("receipt", 3), ("reset of a password", 31), ("alarm", 5)] {
        mails.send(Message::from(body).priority(priority)).unwrap();
    }
    mails.send("greeting").unwrap();
    mails.send(Message::from("second alarm").priority(5)).unwrap();
    let first = take_now(&mails, "reset of a password");
    assert_eq!(first.priority(), 31);
    first.ack().unwrap();
    assert_eq!(drain(&mails), ["alarm", "second alarm", "greeting", "receipt", "newsletter"]);
}

#[test]
fn a_higher_priority_goes_first_though_it_was_sent_while_others_were_received() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three"]);
    take_now(&mails, "one").ack().unwrap();
    mails.send(Message::from("urgent").priority(9)).unwrap();
    assert_eq!(drain(&mails), ["urgent", "two", "three"]);
}

#[test]
fn sequences_grow_within_a_priority_and_are_told_to_sender_and_consumer_alike() {
    let (_db, mails) = queue(QueueOptions::new());
    let sent = ["one", "two", "three"].map(|body| mails.send(body).unwrap());
    assert!(sent[0].sequence < sent[1].sequence && sent[1].sequence < sent[2].sequence);
    assert!(sent[0].lsn() < sent[1].lsn());
    for sent in sent {
        let mail = take(&mails);
        assert_eq!((mail.sequence(), mail.lsn(), sent.messages), (sent.sequence, sent.lsn(), 1));
        mail.ack().unwrap();
    }
}

#[test]
fn a_batch_tells_the_sequence_of_its_first_message_whatever_the_others_are() {
    let (_db, mails) = queue(QueueOptions::new());
    mails.send(Message::from("before").priority(1)).unwrap();
    let batch = [Message::from("low").priority(1), Message::from("high").priority(9), Message::from("usual")];
    let sent = mails.send_batch(&batch).unwrap();
    assert_eq!(sent.messages, 3);
    let received = mails.receive_batch(10).unwrap();
    assert_eq!(texts(&received), ["high", "usual", "before", "low"]);
    assert_eq!(received[3].sequence(), sent.sequence);
    assert!(received.iter().filter(|mail| text(mail) != "before").all(|mail| mail.lsn() == sent.lsn()));
    mails.ack_batch(received).unwrap();
}

#[test]
fn a_message_that_comes_back_takes_its_old_place() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three"]);
    let [one, two] = [take_now(&mails, "one"), take_now(&mails, "two")];
    two.release().unwrap();
    mails.send("four").unwrap();
    one.fail_with_delay("connection reset", Duration::ZERO).unwrap();
    assert_eq!(drain(&mails), ["one", "two", "three", "four"]);
}

#[test]
fn a_batch_is_received_in_order_and_as_large_as_asked_for() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three", "four", "five"]);
    let first = mails.receive_batch(2).unwrap();
    assert_eq!(texts(&first), ["one", "two"]);
    let rest = mails.try_receive_batch(10).unwrap();
    assert_eq!(texts(&rest), ["three", "four", "five"]);
    assert!(mails.try_receive_batch(10).unwrap().is_empty());
    assert!(mails.receive_batch_timeout(10, Duration::from_millis(1)).unwrap().is_empty());
    assert_eq!(counts(&mails), [0, 0, 5, 0]);
    assert_eq!(mails.ack_batch(first).unwrap() + mails.ack_batch(rest).unwrap(), 0);
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn a_batch_that_begins_before_what_was_received_last_is_whole() {
    let (_db, mails) = queue(QueueOptions::new().level(Level::Buffered));
    let bodies: Vec<String> = (0..200).map(|number| format!("mail {number}")).collect();
    for body in &bodies {
        mails.send(body).unwrap();
    }
    let (first, next) = (mails.receive_batch(100).unwrap(), take(&mails));
    first.into_iter().chain([next]).for_each(|mail| mail.release().unwrap());
    let again = mails.receive_batch(150).unwrap();
    assert_eq!(texts(&again), bodies[..150]);
    mails.ack_batch(again).unwrap();
    assert_eq!(drain(&mails), bodies[150..]);
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn asking_for_0_means_1_and_for_more_than_1024_means_1024() {
    let (_db, mails) = queue(QueueOptions::new());
    mails.send_batch(&[Message::from("newsletter"); 1200]).unwrap();
    let one = mails.receive_batch(0).unwrap();
    assert_eq!(one.len(), 1);
    let most = mails.receive_batch(usize::MAX).unwrap();
    assert!((1..=1024).contains(&most.len()), "{}", most.len());
    mails.ack_batch(most).unwrap();
    mails.ack_batch(one).unwrap();
    while let Some(mail) = mails.try_receive().unwrap() {
        mail.ack().unwrap();
    }
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn a_delayed_message_is_not_there_before_its_time_and_enters_by_priority_and_sequence() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    mails.send(Message::from("reminder").delay(HOUR)).unwrap();
    mails.send(Message::from("urgent reminder").delay(HOUR).priority(9)).unwrap();
    assert_eq!(counts(&mails), [0, 2, 0, 0]);
    clock.advance(HOUR - SECOND);
    mails.send("sent later").unwrap();
    take_now(&mails, "sent later").release().unwrap();
    assert_eq!(counts(&mails), [1, 2, 0, 0]);
    clock.advance(SECOND);
    crate::place::eventually("both are due", || counts(&mails) == [3, 0, 0, 0]);
    assert_eq!(drain(&mails), ["urgent reminder", "reminder", "sent later"]);
}

#[test]
fn delayed_messages_come_by_their_times_whatever_the_order_of_sending() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    for minutes in [5, 1, 3, 2, 4] {
        let body = format!("at minute {minutes}");
        mails.send(Message::from(&body).delay(minutes * MINUTE)).unwrap();
    }
    for minute in 1..=5 {
        clock.advance(MINUTE);
        let mail = take(&mails);
        assert_eq!(text(&mail), format!("at minute {minute}"));
        mail.ack().unwrap();
        expect_nothing(&mails);
    }
}

#[test]
fn deliver_at_names_the_time_and_one_that_has_passed_means_at_once() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    mails.send(Message::from("at one o'clock").deliver_at(noon_and(HOUR))).unwrap();
    mails.send(Message::from("at noon").deliver_at(noon())).unwrap();
    mails.send(Message::from("long ago").deliver_at(Timestamp::from_micros(0))).unwrap();
    mails.send(Message::from("no delay").delay(Duration::ZERO)).unwrap();
    assert_eq!(drain(&mails), ["at noon", "long ago", "no delay"]);
    clock.advance(HOUR);
    assert_eq!(text(&take(&mails)), "at one o'clock");
}

#[test]
fn a_step_of_the_wall_clock_that_boot_time_does_not_confirm_makes_nothing_due() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    mails.send(Message::from("tomorrow").deliver_at(noon_and(24 * HOUR))).unwrap();
    clock.step_wall(noon_and(48 * HOUR));
    for _ in 0..9 {
        clock.advance(MINUTE);
        mails.send("meanwhile").unwrap();
        take_now(&mails, "meanwhile").ack().unwrap();
    }
    assert_eq!(counts(&mails), [0, 1, 0, 0]);
    for _ in 0..3 {
        clock.advance(MINUTE);
        mails.send(Message::from("meanwhile").priority(9)).unwrap();
        take_now(&mails, "meanwhile").ack().unwrap();
    }
    assert_eq!(text(&take(&mails)), "tomorrow");
}

#[test]
fn thousands_of_every_priority_in_a_few_batches_come_in_order() {
    let (_db, mails) = queue(QueueOptions::new());
    let mut chance = Chance::new(7);
    let sent: Vec<(u8, String)> = (0..6000).map(|number| (chance.below(32) as u8, format!("mail {number}"))).collect();
    for batch in sent.chunks(2500) {
        let batch: Vec<_> = batch.iter().map(|(priority, body)| Message::from(body).priority(*priority)).collect();
        assert_eq!(mails.send_batch(&batch).unwrap().messages, batch.len() as u64);
    }
    assert_eq!(counts(&mails), [6000, 0, 0, 0]);
    let mut expected = sent;
    expected.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    let mut received = Vec::new();
    while received.len() < 6000 {
        let batch = mails.try_receive_batch(1024).unwrap();
        assert!(!batch.is_empty(), "{} of 6000 came", received.len());
        received.extend(batch.iter().map(|mail| (mail.priority(), text(mail))));
        assert_eq!(mails.ack_batch(batch).unwrap(), 0);
    }
    assert!(received == expected);
    assert_eq!(counts(&mails), [0; 4]);
}
