//! Looking at messages without taking them, and changing those that wait.

use std::time::Duration;

use towpath::{Backoff, DeathReason, Error, Explanation, Message, QueueOptions};

use crate::consumer::{SECOND, clocked, noon_and, take, text};

#[test]
fn peek_tells_what_comes_next_in_order_and_takes_nothing() {
    let (_clock, _db, mails) = clocked(QueueOptions::new());
    mails.send("second").unwrap();
    mails.send(Message::from("first").priority(9)).unwrap();
    mails.send(Message::from("later").delay(SECOND)).unwrap();
    let bodies: Vec<String> = mails.peek(10).unwrap().iter().map(text).collect();
    assert_eq!(bodies, ["first", "second"]);
    assert_eq!(mails.peek(1).unwrap().len(), 1);
    let counts = mails.describe().unwrap();
    assert_eq!((counts.ready, counts.in_flight), (2, 0));
    mails.pause().unwrap();
    assert_eq!(mails.peek(10).unwrap().len(), 2);
}

#[test]
fn the_oldest_message_that_waits_is_told_whatever_its_priority() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    assert_eq!(mails.oldest().unwrap(), None);
    mails.send(Message::from("low").priority(0)).unwrap();
    clock.advance(10 * SECOND);
    mails.send(Message::from("high").priority(9)).unwrap();
    assert_eq!(mails.oldest().unwrap(), Some(noon_and(Duration::ZERO)));
    take(&mails).ack().unwrap();
    take(&mails).ack().unwrap();
    assert_eq!(mails.oldest().unwrap(), None);
}

#[test]
fn a_message_is_found_by_its_sequence_in_every_state() {
    let (_clock, _db, mails) = clocked(QueueOptions::new());
    let ready = mails.send("ready").unwrap().sequence;
    let delayed = mails.send(Message::from("delayed").delay(SECOND)).unwrap().sequence;
    let urgent = mails.send(Message::from("urgent").priority(9)).unwrap().sequence;
    let body = |sequence| mails.get(sequence).unwrap().map(|message| text(&message));
    let held = take(&mails);
    assert_eq!((held.sequence(), body(urgent).as_deref()), (urgent, Some("urgent")));
    held.reject("not ours").unwrap();
    assert_eq!(body(urgent).as_deref(), Some("urgent"), "a dead letter keeps its sequence");
    assert_eq!((body(ready).as_deref(), body(delayed).as_deref()), (Some("ready"), Some("delayed")));
    take(&mails).ack().unwrap();
    assert_eq!((body(ready), body(999), body(u64::MAX)), (None, None, None));
}

#[test]
fn a_message_behind_others_says_how_many() {
    let (_clock, _db, mails) = clocked(QueueOptions::new());
    let sent: Vec<u64> = (0..5).map(|number| mails.send(&format!("mail {number}")).unwrap().sequence).collect();
    mails.send(Message::from("urgent").priority(9)).unwrap();
    assert_eq!(mails.explain(sent[0]).unwrap(), Explanation::Behind { messages: 1 });
    assert_eq!(mails.explain(sent[4]).unwrap(), Explanation::Behind { messages: 5 });
    assert_eq!(mails.explain(999).unwrap(), Explanation::Gone);
}

#[test]
fn a_delayed_message_says_until_when_and_one_in_backoff_or_in_flight_for_how_long() {
    let options = QueueOptions::new().backoff(Backoff::fixed(10 * SECOND)).visibility_timeout(60 * SECOND);
    let (clock, _db, mails) = clocked(options);
    let delayed = mails.send(Message::from("delayed").delay(5 * SECOND)).unwrap().sequence;
    let tried = mails.send("tried").unwrap().sequence;
    assert_eq!(mails.explain(delayed).unwrap(), Explanation::Delayed { until: noon_and(5 * SECOND) });
    let held = take(&mails);
    clock.advance(2 * SECOND);
    assert_eq!(mails.explain(tried).unwrap(), Explanation::InFlight { remaining: 58 * SECOND });
    held.fail("no answer").unwrap();
    clock.advance(SECOND);
    assert_eq!(mails.explain(tried).unwrap(), Explanation::Backoff { remaining: 9 * SECOND });
}

#[test]
fn a_message_of_a_busy_group_a_paused_queue_and_the_dead_say_so() {
    let (_clock, _db, mails) = clocked(QueueOptions::new().backoff(Backoff::none()));
    mails.send(Message::from("ann 1").group("ann")).unwrap();
    let next = mails.send(Message::from("ann 2").group("ann")).unwrap().sequence;
    assert_eq!(mails.explain(next).unwrap(), Explanation::GroupBusy);
    let held = take(&mails);
    assert_eq!(mails.explain(next).unwrap(), Explanation::GroupBusy);
    let first = held.sequence();
    held.reject("not ours").unwrap();
    assert_eq!(mails.explain(first).unwrap(), Explanation::Dead { reason: DeathReason::Rejected });
    assert_eq!(mails.explain(next).unwrap(), Explanation::Behind { messages: 0 });
    mails.pause().unwrap();
    assert_eq!(mails.explain(next).unwrap(), Explanation::Paused);
}

#[test]
fn a_cancelled_message_is_never_handed_out() {
    let (clock, _db, mails) = clocked(QueueOptions::new().backoff(Backoff::fixed(SECOND)));
    let sent: Vec<u64> = (0..4).map(|number| mails.send(&format!("mail {number}")).unwrap().sequence).collect();
    let delayed = mails.send(Message::from("later").delay(SECOND)).unwrap().sequence;
    take(&mails).fail("no answer").unwrap();
    for sequence in [sent[0], sent[2], delayed] {
        mails.cancel(sequence).unwrap();
        assert_eq!(mails.explain(sequence).unwrap(), Explanation::Gone);
        assert!(matches!(mails.cancel(sequence), Err(Error::Stale { .. })));
    }
    clock.advance(10 * SECOND);
    let held = take(&mails);
    assert_eq!(text(&held), "mail 1");
    assert!(matches!(mails.cancel(sent[1]), Err(Error::MessagesInFlight { count: 1, .. })));
    assert_eq!(text(&take(&mails)), "mail 3");
    held.reject("not ours").unwrap();
    assert!(matches!(mails.cancel(sent[1]), Err(Error::Stale { .. })), "dead letters are purged");
}

#[test]
fn a_delayed_message_is_rescheduled_and_no_other() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    let sooner = mails.send(Message::from("sooner").delay(60 * SECOND)).unwrap().sequence;
    let later = mails.send(Message::from("later").delay(SECOND)).unwrap().sequence;
    let ready = mails.send("ready").unwrap().sequence;
    mails.reschedule(sooner, 2 * SECOND).unwrap();
    mails.reschedule_at(later, noon_and(30 * SECOND)).unwrap();
    assert_eq!(mails.explain(later).unwrap(), Explanation::Delayed { until: noon_and(30 * SECOND) });
    assert!(matches!(mails.reschedule(ready, SECOND), Err(Error::InvalidOption { .. })));
    take(&mails).ack().unwrap();
    clock.advance(2 * SECOND);
    let first = mails.receive_timeout(60 * SECOND).unwrap().unwrap();
    assert_eq!(first.sequence(), sooner);
    assert!(matches!(mails.reschedule(sooner, SECOND), Err(Error::MessagesInFlight { .. })));
    clock.advance(28 * SECOND);
    assert_eq!(mails.receive_timeout(60 * SECOND).unwrap().unwrap().sequence(), later);
}
