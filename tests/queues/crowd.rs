//! Many at once: nothing is lost and nothing is handed to two.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use towpath::{Backoff, Level, Message, Queue, QueueOptions};

use crate::consumer::{Waiting, counts, queue, text};
use crate::place::Chance;
use crate::place::executor::block_on;

const PRODUCERS: usize = 4;
const EACH: usize = 400;
const ALL: usize = PRODUCERS * EACH;

fn produce(queue: &Queue, producer: usize) {
    let mut number = 0;
    while number < EACH {
        let (body, group) = (format!("order {producer} {number:04}"), format!("customer {}", number % 7));
        let message = Message::from(&body);
        match number % 10 {
            0 => {
                let more = [number + 1, number + 2].map(|number| format!("order {producer} {number:04}"));
                queue.send_batch(&[message, Message::from(&more[0]), Message::from(&more[1])]).unwrap();
                number += 2;
            }
            3 => drop(queue.send_at(Level::Sync, message.priority((number % 32) as u8)).unwrap()),
            4 | 5 => drop(queue.send(message.group(&group)).unwrap()),
            6 => drop(queue.send(message.delay(Duration::from_millis(number as u64 % 20))).unwrap()),
            _ => drop(queue.send(message).unwrap()),
        }
        number += 1;
    }
}

/// Receives until all are settled; gives what it has acknowledged.
fn consume(queue: &Queue, consumer: u64, settled: &AtomicUsize) -> Vec<String> {
    let mut chance = Chance::new(consumer);
    let mut acknowledged = Vec::new();
    while settled.load(Ordering::SeqCst) < ALL {
        let held = match chance.below(2) {
            0 => queue.receive_timeout(Duration::from_millis(20)).unwrap().into_iter().collect(),
            _ => queue.receive_batch_timeout(1 + chance.below(8) as usize, Duration::from_millis(20)).unwrap(),
        };
        for delivery in held {
            match chance.below(8) {
                0 => delivery.release().unwrap(),
                1 => delivery.fail("busy").unwrap(),
                2 => drop(delivery),
                3 => delivery.release_with_delay(Duration::from_millis(chance.below(10))).unwrap(),
                _ => {
                    acknowledged.push(text(&delivery));
                    delivery.ack().unwrap();
                    settled.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }
    acknowledged
}

#[test]
fn producers_and_consumers_at_once_lose_nothing_and_double_nothing() {
    let options = QueueOptions::new().level(Level::Buffered).max_attempts(1_000_000);
    let (db, orders) = queue(options.backoff(Backoff::fixed(Duration::from_millis(3))));
    let settled = Arc::new(AtomicUsize::new(0));
    let consumers: Vec<_> = (0..4)
        .map(|consumer| {
            let (orders, settled) = (orders.clone(), settled.clone());
            Waiting::begin(move || consume(&orders, consumer, &settled))
        })
        .collect();
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let orders = orders.clone();
            Waiting::begin(move || produce(&orders, producer))
        })
        .collect();
    producers.into_iter().for_each(Waiting::comes);
    db.checkpoint().unwrap();
    let acknowledged: Vec<String> = consumers.into_iter().flat_map(Waiting::comes).collect();
    let distinct: BTreeSet<&String> = acknowledged.iter().collect();
    assert_eq!((acknowledged.len(), distinct.len()), (ALL, ALL));
    assert_eq!(counts(&orders), [0; 4]);
}

#[test]
fn tasks_and_threads_share_a_queue() {
    let (_db, orders) = queue(QueueOptions::new().level(Level::Buffered));
    let take_until_the_end = |asynchronous: bool| {
        let orders = orders.clone();
        Waiting::begin(move || {
            let mut seen = Vec::new();
            loop {
                let order = if asynchronous { block_on(orders.receive_async()) } else { orders.receive() }.unwrap();
                let body = text(&order);
                if body == "the end" {
                    order.release().unwrap();
                    return seen;
                }
                seen.push(body);
                order.ack().unwrap();
            }
        })
    };
    let consumers = [false, true, false, true].map(take_until_the_end);
    let bodies: Vec<String> = (1000..2000).map(|number| format!("order {number}")).collect();
    for body in &bodies {
        orders.send(body).unwrap();
    }
    orders.send(Message::from("the end").priority(0)).unwrap();
    let mut seen: Vec<String> = consumers.into_iter().flat_map(Waiting::comes).collect();
    seen.sort();
    assert_eq!(seen, bodies);
}

#[test]
fn counts_add_up_at_every_moment() {
    let (_db, orders) = queue(QueueOptions::new().level(Level::Buffered).backoff(Backoff::none()));
    orders.send_batch(&[Message::from("one blue mug"); 50]).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let (orders, stop) = (orders.clone(), stop.clone());
            Waiting::begin(move || {
                while !stop.load(Ordering::SeqCst) {
                    orders.try_receive_batch(5).unwrap().into_iter().for_each(|order| order.release().unwrap());
                }
            })
        })
        .collect();
    for _ in 0..300 {
        assert_eq!(counts(&orders).iter().sum::<u64>(), 50);
    }
    stop.store(true, Ordering::SeqCst);
    consumers.into_iter().for_each(Waiting::comes);
    assert_eq!(counts(&orders), [50, 0, 0, 0]);
}
