//! Subscriptions: messages one by one, taken some at a time.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_core::Stream as _;
use towpath::{Backoff, Delivery, Error, Queue, QueueOptions, Subscription, SubscriptionOptions, SubscriptionStream};

use crate::consumer::{
    HOUR, SECOND, Waiting, clocked, counts, drain, expect_nothing, queue, send_all, take, take_now, text,
};
use crate::place::executor::{block_on, is_pending};
use crate::place::{PATIENCE, Place, eventually};

fn prefetching(queue: &Queue, messages: usize) -> Subscription {
    queue.subscribe(SubscriptionOptions::new().prefetch(messages)).unwrap()
}

fn one_by_one(queue: &Queue) -> Subscription {
    queue.subscribe(SubscriptionOptions::new()).unwrap()
}

/// The next message, which must be this one.
#[track_caller]
fn next(subscription: &mut Subscription, body: &str) -> Delivery {
    let delivery = subscription.next_timeout(PATIENCE).unwrap().expect("a message that does not come");
    assert_eq!(text(&delivery), body);
    delivery
}

/// What the iterator comes to when it is asked for more: an error once, and then nothing.
fn end_of(mut subscription: Subscription) -> Error {
    let error = subscription.next().expect("an end that is told").expect_err("the end");
    assert!(subscription.next().is_none() && subscription.next().is_none());
    error
}

#[test]
fn a_subscription_hands_out_in_the_queues_order_and_waits_for_more() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three"]);
    let subscription = prefetching(&mails, 2);
    assert_eq!(subscription.queue().name(), "mails");
    let waiting = Waiting::begun(move || {
        let settle = |mail: Result<Delivery, Error>| {
            let mail = mail.unwrap();
            let body = text(&mail);
            mail.ack().unwrap();
            body
        };
        subscription.take(4).map(settle).collect::<Vec<_>>()
    });
    mails.send("four").unwrap();
    assert_eq!(waiting.comes(), ["one", "two", "three", "four"]);
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn nothing_is_taken_before_it_is_asked_for_unless_a_prefetch_is_named() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three"]);
    let mut subscription = one_by_one(&mails);
    assert_eq!(counts(&mails), [3, 0, 0, 0]);
    let one = next(&mut subscription, "one");
    assert_eq!(counts(&mails), [2, 0, 1, 0]);
    take_now(&mails, "two").ack().unwrap();
    one.ack().unwrap();
    next(&mut subscription, "three").ack().unwrap();
}

#[test]
fn a_prefetch_takes_as_many_as_it_says_and_more_when_those_were_handed_out() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three", "four", "five"]);
    let mut subscription = prefetching(&mails, 3);
    next(&mut subscription, "one").ack().unwrap();
    assert_eq!(counts(&mails), [2, 0, 2, 0]);
    take_now(&mails, "four").ack().unwrap();
    next(&mut subscription, "two").ack().unwrap();
    next(&mut subscription, "three").ack().unwrap();
    assert_eq!(counts(&mails), [1, 0, 0, 0]);
    next(&mut subscription, "five").ack().unwrap();
}

#[test]
fn what_was_not_handed_out_is_released_when_a_subscription_is_dropped() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three", "four"]);
    let mut subscription = prefetching(&mails, 3);
    let one = next(&mut subscription, "one");
    drop(subscription);
    assert_eq!(counts(&mails), [3, 0, 1, 0]);
    one.ack().unwrap();
    for (body, hand_outs) in [("two", 2), ("three", 2), ("four", 1)] {
        let again = take_now(&mails, body);
        assert_eq!((again.attempt(), again.hand_outs()), (1, hand_outs));
        again.ack().unwrap();
    }
}

#[test]
fn what_was_not_handed_out_is_released_when_the_database_is_closed() {
    let place = Place::new();
    let db = place.open();
    let mails = db.create_queue("mails", QueueOptions::new().backoff(Backoff::none())).unwrap();
    send_all(&mails, &["one", "two", "three"]);
    let mut subscription = prefetching(&mails, 3);
    next(&mut subscription, "one").ack().unwrap();
    place.close(db);
    assert!(matches!(end_of(subscription), Error::Closed));
    let db = place.open();
    let mails = db.queue("mails").unwrap();
    for body in ["two", "three"] {
        let again = take_now(&mails, body);
        assert_eq!((again.attempt(), again.hand_outs()), (1, 2));
        again.ack().unwrap();
    }
    expect_nothing(&mails);
}

#[test]
fn a_prefetch_has_bounds() {
    let (_db, mails) = queue(QueueOptions::new());
    let refused = |prefetch| mails.subscribe(SubscriptionOptions::new().prefetch(prefetch)).unwrap_err();
    assert!(matches!(refused(1025), Error::LimitExceeded { limit: "prefetch", max: 1024, actual: 1025 }));
    assert!(matches!(refused(0), Error::InvalidOption { option: "prefetch", .. }));
    assert!(mails.subscribe_async(SubscriptionOptions::new().prefetch(1025)).is_err());
    drop(prefetching(&mails, 1024));
}

#[test]
fn the_visibility_timeout_counts_from_when_a_message_is_handed_out() {
    // The timeout passes by the clock that stands, whether a message has waited noticeably is seen by the real one.
    let (clock, _db, mails) = clocked(QueueOptions::new().visibility_timeout(SECOND).backoff(Backoff::none()));
    send_all(&mails, &["one", "two", "three"]);
    let mut subscription = prefetching(&mails, 3);
    let mut held = Vec::new();
    for body in ["one", "two", "three"] {
        let mail = next(&mut subscription, body);
        assert_eq!((mail.attempt(), mail.hand_outs()), (1, 1));
        held.push(mail);
        thread::sleep(Duration::from_millis(150));
        clock.advance(SECOND * 9 / 10);
    }
    let mut again = [take(&mails), take(&mails)];
    again.sort_by_key(|mail| mail.sequence());
    assert_eq!([text(&again[0]), text(&again[1])], ["one", "two"], "they were kept too long, the third was not");
    held.pop().unwrap().ack().unwrap();
}

#[test]
fn what_was_taken_back_while_in_reserve_is_not_handed_out_by_the_subscription() {
    let (clock, _db, mails) = clocked(QueueOptions::new().visibility_timeout(SECOND).backoff(Backoff::none()));
    send_all(&mails, &["one", "two", "three"]);
    let mut subscription = prefetching(&mails, 3);
    let one = next(&mut subscription, "one");
    one.extend(HOUR).unwrap();
    thread::sleep(Duration::from_millis(150));
    clock.advance(SECOND);
    eventually("they are taken back", || counts(&mails) == [2, 0, 1, 0]);
    take_now(&mails, "two").ack().unwrap();
    let three = next(&mut subscription, "three");
    assert_eq!((three.attempt(), three.hand_outs()), (2, 2));
    three.ack().unwrap();
    one.ack().unwrap();
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn a_subscription_may_be_asked_without_waiting_and_for_a_while() {
    let (_db, mails) = queue(QueueOptions::new());
    let mut subscription = one_by_one(&mails);
    assert!(subscription.try_next().unwrap().is_none());
    assert!(subscription.next_timeout(Duration::from_millis(5)).unwrap().is_none());
    send_all(&mails, &["one", "two"]);
    assert_eq!(text(&subscription.try_next().unwrap().unwrap()), "one");
    assert_eq!(text(&subscription.next_timeout(Duration::ZERO).unwrap().unwrap()), "two");
}

#[test]
fn deleting_the_queue_ends_its_subscriptions_with_an_error_told_once() {
    let (db, mails) = queue(QueueOptions::new());
    let subscription = one_by_one(&mails);
    let waiting = Waiting::begun(move || end_of(subscription));
    db.delete_queue("mails").unwrap();
    assert!(matches!(waiting.comes(), Error::NotFound { kind: "queue", .. }));
}

#[test]
fn closing_the_database_ends_its_subscriptions_with_an_error_told_once() {
    let (db, mails) = queue(QueueOptions::new());
    let (iterator, mut stream) = (one_by_one(&mails), mails.subscribe_async(SubscriptionOptions::new()).unwrap());
    let iterating = Waiting::begun(move || end_of(iterator));
    let streaming = Waiting::begun(move || block_on(async { (stream.next().await, stream.next().await.is_none()) }));
    db.close().unwrap();
    assert!(matches!(iterating.comes(), Error::Closed));
    assert!(matches!(streaming.comes(), (Some(Err(Error::Closed)), true)));
    assert!(matches!(mails.subscribe(SubscriptionOptions::new()), Err(Error::Closed)));
}

#[test]
fn a_stopper_ends_who_waits_and_has_the_reserve_released() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one"]);
    let mut subscription = one_by_one(&mails);
    let stopper = subscription.stopper();
    let waiting = Waiting::begun(move || {
        next(&mut subscription, "one").ack().unwrap();
        let ended = subscription.next().is_none();
        ended && subscription.next().is_none() && subscription.try_next().unwrap().is_none()
    });
    assert!(!stopper.is_stopped());
    stopper.stop();
    assert!(waiting.comes() && stopper.is_stopped());
    send_all(&mails, &["two", "three"]);
    let mut other = prefetching(&mails, 2);
    next(&mut other, "two").ack().unwrap();
    other.stopper().stop();
    assert!(other.next().is_none());
    assert_eq!(drain(&mails), ["three"]);
}

#[test]
fn several_subscriptions_share_a_queue_and_each_message_goes_to_one() {
    let (_db, mails) = queue(QueueOptions::new());
    let consumers: Vec<_> = [1, 3, 7]
        .map(|prefetch| {
            let subscription = prefetching(&mails, prefetch);
            let stopper = subscription.stopper();
            let waiting = Waiting::begin(move || {
                let mut bodies = Vec::new();
                for mail in subscription {
                    let mail = mail.unwrap();
                    bodies.push(text(&mail));
                    mail.ack().unwrap();
                }
                bodies
            });
            (stopper, waiting)
        })
        .into();
    let bodies: Vec<String> = (1000..1200).map(|number| format!("mail {number}")).collect();
    for bodies in bodies.chunks(9) {
        send_all(&mails, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    }
    eventually("all are acknowledged", || counts(&mails) == [0; 4]);
    consumers.iter().for_each(|(stopper, _)| stopper.stop());
    let mut seen: Vec<String> = consumers.into_iter().flat_map(|(_, waiting)| waiting.comes()).collect();
    seen.sort();
    assert_eq!(seen, bodies);
}

/// Counts how often a task was woken.
#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_stream_waits_without_a_runtime_and_is_woken_by_the_message_alone() {
    let (_db, mails) = queue(QueueOptions::new());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut stream = pin!(mails.subscribe_async(SubscriptionOptions::new().prefetch(2)).unwrap());
    let poll = |stream: Pin<&mut SubscriptionStream>| stream.poll_next(&mut Context::from_waker(&waker));
    assert!(poll(stream.as_mut()).is_pending());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    send_all(&mails, &["one", "two"]);
    eventually("the task is woken", || wakes.0.load(Ordering::SeqCst) > 0);
    assert_eq!(counts(&mails), [2, 0, 0, 0], "nothing is handed out but when it is polled");
    let mut one = None;
    eventually("it is ready", || match poll(stream.as_mut()) {
        Poll::Ready(next) => one.insert(next.unwrap().unwrap()).attempt() == 1,
        Poll::Pending => false,
    });
    let Poll::Ready(Some(Ok(two))) = poll(stream.as_mut()) else { panic!("it was in reserve") };
    assert_eq!((text(&one.unwrap()), text(&two)), ("one".to_owned(), "two".to_owned()));
}

#[test]
fn dropping_a_future_that_waits_for_the_next_message_loses_nothing() {
    let (_db, mails) = queue(QueueOptions::new());
    let mut stream = mails.subscribe_async(SubscriptionOptions::new().prefetch(2)).unwrap();
    assert!(is_pending(pin!(stream.next())));
    send_all(&mails, &["one", "two"]);
    for body in ["one", "two"] {
        let mail = block_on(stream.next()).unwrap().unwrap();
        assert_eq!((text(&mail), mail.hand_outs()), (body.to_owned(), 1));
        mail.ack().unwrap();
    }
    assert!(is_pending(pin!(stream.next())));
    stream.stopper().stop();
    assert!(block_on(stream.next()).is_none());
}
