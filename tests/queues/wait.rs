//! Waiting for a message, by thread and by task.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use towpath::{Backoff, Delivery, Error, Level, Message, Queue, QueueOptions};

use crate::consumer::{
    HOUR, MINUTE, Waiting, clocked, counts, drain, expect_nothing, queue, send_all, take, take_now, text, texts,
};
use crate::place::executor::{block_on, is_pending};
use crate::place::{PATIENCE, eventually};

/// Counts how often a task was woken.
#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A consumer that waits for a message, acknowledges it and tells its text.
fn consumer(queue: &Queue) -> Waiting<String> {
    let queue = queue.clone();
    Waiting::begun(move || {
        let delivery = queue.receive().unwrap();
        let body = text(&delivery);
        delivery.ack().unwrap();
        body
    })
}

#[test]
fn receive_waits_for_the_next_message_at_any_level() {
    let (_db, mails) = queue(QueueOptions::new());
    for level in [Level::Sync, Level::Buffered] {
        let waiting = consumer(&mails);
        mails.send_at(level, "to the customer").unwrap();
        assert_eq!(waiting.comes(), "to the customer");
    }
}

/// Threads that send at `Sync` without pause, until this is dropped.
struct Senders {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    fn start(queue: &Queue, count: usize) -> Senders {
        let is_over = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let (queue, is_over) = (queue.clone(), is_over.clone());
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    queue.send_at(Level::Sync, "one of many").unwrap();
                }
            })
        };
        Senders { threads: (0..count).map(start).collect(), is_over }
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn a_waiting_consumer_gets_a_message_while_others_send_at_sync_without_pause() {
    let receive: [fn(Queue) -> Delivery; 3] = [
        |mails| mails.receive().unwrap(),
        |mails| mails.receive_timeout(2 * PATIENCE).unwrap().unwrap(),
        |mails| block_on(mails.receive_async()).unwrap(),
    ];
    for receive in receive {
        let (_db, mails) = queue(QueueOptions::new());
        let consumer = mails.clone();
        let waiting = Waiting::begun(move || receive(consumer).ack().unwrap());
        let _senders = Senders::start(&mails, 2);
        waiting.comes();
    }
}

#[test]
fn receive_timeout_gives_up_after_its_time_and_not_before() {
    let (_db, mails) = queue(QueueOptions::new());
    let start = Instant::now();
    assert!(mails.receive_timeout(Duration::from_millis(60)).unwrap().is_none());
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert!(mails.receive_timeout(Duration::ZERO).unwrap().is_none());
    mails.send("there").unwrap();
    assert_eq!(text(&mails.receive_timeout(Duration::ZERO).unwrap().unwrap()), "there");
}

#[test]
fn receive_batch_does_not_wait_for_more_than_one() {
    let (_db, mails) = queue(QueueOptions::new());
    let waiting = mails.clone();
    let waiting = Waiting::begun(move || texts(&waiting.receive_batch(10).unwrap()));
    mails.send("one").unwrap();
    assert_eq!(waiting.comes(), ["one"]);
}

#[test]
fn receive_async_waits_without_a_runtime() {
    let (_db, mails) = queue(QueueOptions::new());
    let waiting = mails.clone();
    let waiting = Waiting::begun(move || {
        block_on(async {
            let first = waiting.receive_async().await.unwrap();
            let rest = waiting.receive_batch_async(10).await.unwrap();
            let seen = [vec![text(&first)], texts(&rest)].concat();
            first.ack().unwrap();
            waiting.ack_batch(rest).unwrap();
            seen
        })
    });
    mails.send("one").unwrap();
    eventually("the first is settled or held", || counts(&mails)[0] == 0);
    send_all(&mails, &["two", "three"]);
    assert_eq!(waiting.comes(), ["one", "two", "three"]);
}

#[test]
fn a_waiting_task_is_woken_by_the_message_and_not_polled_meanwhile() {
    let (_db, mails) = queue(QueueOptions::new());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut future = pin!(mails.receive_async());
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    mails.send("to the customer").unwrap();
    eventually("the task is woken", || wakes.0.load(Ordering::SeqCst) > 0);
    assert_eq!(counts(&mails), [1, 0, 0, 0], "nothing is handed out but in poll");
    let deadline = Instant::now() + PATIENCE;
    let mail = loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(received) => break received.unwrap(),
            Poll::Pending => assert!(Instant::now() < deadline, "pending though it was woken"),
        }
    };
    assert_eq!(text(&mail), "to the customer");
    mail.ack().unwrap();
}

#[test]
fn dropping_a_waiting_future_loses_nothing() {
    let (_db, mails) = queue(QueueOptions::new());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    for number in 0..20 {
        let body = format!("mail {number}");
        {
            let mut dropped = pin!(mails.receive_async());
            assert!(dropped.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            if number % 2 == 0 {
                let woken = wakes.0.load(Ordering::SeqCst);
                mails.send(&body).unwrap();
                eventually("the task is woken", || wakes.0.load(Ordering::SeqCst) > woken);
            }
        }
        if number % 2 == 1 {
            mails.send(&body).unwrap();
        }
        let mail = take(&mails);
        assert_eq!((text(&mail), mail.attempt(), mail.hand_outs()), (body, 1, 1));
        mail.ack().unwrap();
    }
}

#[test]
fn a_waiter_that_left_takes_no_wake_from_another() {
    let (_db, mails) = queue(QueueOptions::new());
    let leaving = mails.clone();
    let mut future = Box::pin(leaving.receive_async());
    assert!(is_pending(future.as_mut()));
    let staying = consumer(&mails);
    mails.send("one").unwrap();
    // It was called first, and does not look any more.
    drop(future);
    assert_eq!(staying.comes(), "one");
    let staying = consumer(&mails);
    mails.send("two").unwrap();
    assert_eq!(staying.comes(), "two");
}

#[test]
fn a_delayed_message_wakes_a_waiter_when_it_is_due() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    mails.send(Message::from("a reminder").delay(HOUR)).unwrap();
    let waiting = consumer(&mails);
    clock.advance(HOUR / 2);
    waiting.expect_to_wait();
    clock.advance(HOUR / 2);
    assert_eq!(waiting.comes(), "a reminder");
}

#[test]
fn a_message_with_an_earlier_time_wakes_a_waiter_before_the_others() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    mails.send(Message::from("in an hour").delay(HOUR)).unwrap();
    let waiting = consumer(&mails);
    mails.send(Message::from("in a minute").delay(MINUTE)).unwrap();
    waiting.expect_to_wait();
    clock.advance(MINUTE);
    assert_eq!(waiting.comes(), "in a minute");
}

#[test]
fn by_the_real_clock_a_delay_passes_too() {
    let (_db, mails) = queue(QueueOptions::new());
    let start = Instant::now();
    mails.send(Message::from("a reminder").delay(Duration::from_millis(150))).unwrap();
    expect_nothing(&mails);
    let mail = take(&mails);
    // The wall clock, by which it is due, is read coarsely.
    assert!(start.elapsed() >= Duration::from_millis(130), "{:?}", start.elapsed());
    mail.ack().unwrap();
}

#[test]
fn what_comes_back_wakes_a_waiter_however_it_does() {
    let (clock, _db, mails) = clocked(QueueOptions::new().visibility_timeout(HOUR).backoff(Backoff::none()));
    mails.send("to the customer").unwrap();
    let held = take(&mails);
    let waiting = mails.clone();
    let waiting = Waiting::begun(move || waiting.receive().unwrap());
    held.release().unwrap();
    let held = waiting.comes();
    let waiting = mails.clone();
    let waiting = Waiting::begun(move || waiting.receive().unwrap());
    held.fail("busy").unwrap();
    let held = waiting.comes();
    let waiting = mails.clone();
    let waiting = Waiting::begun(move || waiting.receive().unwrap());
    drop(held);
    let kept = waiting.comes();
    let waiting = mails.clone();
    let waiting = Waiting::begun(move || waiting.receive().unwrap());
    clock.advance(HOUR);
    let last = waiting.comes();
    assert_eq!((last.attempt(), last.hand_outs()), (4, 5));
    drop(kept);
}

#[test]
fn a_backoff_that_passes_wakes_a_waiter() {
    let (clock, _db, mails) = clocked(QueueOptions::new().backoff(Backoff::fixed(MINUTE)));
    mails.send("to the customer").unwrap();
    take(&mails).fail("busy").unwrap();
    let waiting = consumer(&mails);
    clock.advance(MINUTE);
    assert_eq!(waiting.comes(), "to the customer");
}

#[test]
fn a_group_that_becomes_free_wakes_a_waiter() {
    let (_db, orders) = queue(QueueOptions::new());
    for body in ["one", "two", "three"] {
        orders.send(Message::from(body).group("alice")).unwrap();
    }
    let one = take_now(&orders, "one");
    let waiting = consumer(&orders);
    one.ack().unwrap();
    assert_eq!(waiting.comes(), "two");
    let three = take_now(&orders, "three");
    orders.send(Message::from("four").group("alice")).unwrap();
    let waiting = consumer(&orders);
    three.reject("no such article").unwrap();
    assert_eq!(waiting.comes(), "four");
}

#[test]
fn a_redriven_letter_wakes_a_waiter() {
    let (_db, mails) = queue(QueueOptions::new());
    mails.send("to nobody").unwrap();
    take(&mails).reject("no such address").unwrap();
    let waiting = consumer(&mails);
    mails.redrive(&mails.dead_letters(None, 1).unwrap()).unwrap();
    assert_eq!(waiting.comes(), "to nobody");
}

#[test]
fn resuming_wakes_every_waiter() {
    let (_db, mails) = queue(QueueOptions::new());
    mails.pause().unwrap();
    send_all(&mails, &["one", "two", "three"]);
    let waiting = [consumer(&mails), consumer(&mails), consumer(&mails)];
    mails.resume().unwrap();
    let mut seen = waiting.map(Waiting::comes);
    seen.sort();
    assert_eq!(seen, ["one", "three", "two"]);
}

#[test]
fn pausing_holds_up_who_waits_already() {
    let (_db, mails) = queue(QueueOptions::new());
    let waiting = consumer(&mails);
    mails.pause().unwrap();
    mails.send("to the customer").unwrap();
    waiting.expect_to_wait();
    mails.resume().unwrap();
    assert_eq!(waiting.comes(), "to the customer");
}

#[test]
fn deleting_the_queue_wakes_every_waiter() {
    let (db, mails) = queue(QueueOptions::new());
    let waiting = [0, 1, 2].map(|kind| {
        let mails = mails.clone();
        Waiting::begun(move || match kind {
            0 => mails.receive().map(drop),
            1 => mails.receive_batch_timeout(5, HOUR).map(drop),
            _ => block_on(mails.receive_async()).map(drop),
        })
    });
    db.delete_queue("mails").unwrap();
    for waiting in waiting {
        let ended = waiting.comes();
        assert!(matches!(&ended, Err(Error::NotFound { kind: "queue", .. })), "{ended:?}");
    }
}

#[test]
fn closing_the_database_wakes_every_waiter() {
    let (db, mails) = queue(QueueOptions::new());
    let waiting = [0, 1, 2].map(|kind| {
        let mails = mails.clone();
        Waiting::begun(move || match kind {
            0 => mails.receive().map(drop),
            1 => mails.receive_batch_timeout(5, HOUR).map(drop),
            _ => block_on(mails.receive_async()).map(drop),
        })
    });
    db.close().unwrap();
    for waiting in waiting {
        let ended = waiting.comes();
        assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
    }
}

#[test]
fn what_a_close_gives_back_is_not_handed_to_who_waits_in_the_same_process() {
    let (db, mails) = queue(QueueOptions::new());
    mails.send("to the customer").unwrap();
    let held = take(&mails);
    let waiting = mails.clone();
    let waiting = Waiting::begun(move || waiting.receive().map(drop));
    db.close().unwrap();
    let ended = waiting.comes();
    assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
    drop(held);
}

#[test]
fn of_many_who_wait_each_gets_one() {
    let (_db, mails) = queue(QueueOptions::new());
    let waiting: Vec<_> = (0..16).map(|_| consumer(&mails)).collect();
    let bodies: Vec<String> = (10..26).map(|number| format!("mail {number}")).collect();
    let (alone, together) = bodies.split_at(8);
    for body in alone {
        mails.send(body).unwrap();
    }
    let together: Vec<_> = together.iter().map(Message::from).collect();
    mails.send_batch(&together).unwrap();
    let mut seen: Vec<String> = waiting.into_iter().map(Waiting::comes).collect();
    seen.sort();
    assert_eq!(seen, bodies);
    assert_eq!(counts(&mails), [0; 4]);
    assert!(drain(&mails).is_empty());
}

#[test]
fn waiters_of_one_queue_do_not_hear_of_another() {
    let (db, mails) = queue(QueueOptions::new());
    let orders = db.create_queue("orders", QueueOptions::new()).unwrap();
    let (mail, order) = (consumer(&mails), consumer(&orders));
    orders.send("one blue mug").unwrap();
    assert_eq!(order.comes(), "one blue mug");
    mail.expect_to_wait();
    mails.send("to the customer").unwrap();
    assert_eq!(mail.comes(), "to the customer");
}
