//! Waiting at the tail, by thread and by task.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use towpath::{AppendOptions, Error, Level, Record, Records, Start, StreamOptions};

use crate::opening::stream;
use crate::place::executor::block_on;
use crate::place::{Kept, PATIENCE, extent};

/// Counts how often a task was woken.
#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn bodies(records: &Records) -> Vec<String> {
    records.iter().map(|record| Kept::of(&record).text()).collect()
}

#[test]
fn receive_waits_for_the_next_record() {
    let (_db, orders) = stream(StreamOptions::new());
    let mut reader = orders.reader(0, Start::Latest).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || bodies(&reader.receive(10).unwrap()));
        thread::sleep(Duration::from_millis(20));
        orders.append("one blue mug").unwrap();
        assert_eq!(waiting.join().unwrap(), ["one blue mug"]);
    });
}

#[test]
fn every_waiting_reader_is_woken() {
    let (_db, orders) = stream(StreamOptions::new().partitions(2));
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..16)
            .map(|number| {
                let mut reader = orders.reader(number % 2, Start::Earliest).unwrap();
                scope.spawn(move || bodies(&reader.receive(10).unwrap()))
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        for (partition, level) in [(0, Level::Sync), (1, Level::Buffered)] {
            let options = AppendOptions::new().partition(partition).level(level);
            orders.append_with(Record::new(b"one blue mug"), &options).unwrap();
        }
        for reader in waiting {
            assert_eq!(reader.join().unwrap(), ["one blue mug"]);
        }
    });
}

#[test]
fn a_reader_that_follows_sees_every_record_once_in_order() {
    let (_db, orders) = stream(StreamOptions::new());
    thread::scope(|scope| {
        let mut reader = orders.reader(0, Start::Earliest).unwrap();
        let following = scope.spawn(move || {
            let mut offsets = Vec::new();
            while offsets.len() < 3000 {
                offsets.extend(reader.receive(64).unwrap().iter().map(|record| record.offset()));
            }
            offsets
        });
        for number in 0..3000 {
            let level = if number % 100 == 0 { Level::Sync } else { Level::Buffered };
            orders.append_with(Record::new(b"a mug"), &AppendOptions::new().level(level)).unwrap();
        }
        assert_eq!(following.join().unwrap(), (0..3000).collect::<Vec<_>>());
    });
}

#[test]
fn try_receive_does_not_wait() {
    let (_db, orders) = stream(StreamOptions::new());
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    assert!(reader.try_receive(10).unwrap().is_none());
    orders.append("one blue mug").unwrap();
    assert_eq!(bodies(&reader.try_receive(10).unwrap().unwrap()), ["one blue mug"]);
    assert!(reader.try_receive(10).unwrap().is_none());
}

#[test]
fn receive_timeout_gives_up_after_its_time_and_not_before() {
    let (_db, orders) = stream(StreamOptions::new());
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    let start = Instant::now();
    assert!(reader.receive_timeout(10, Duration::from_millis(60)).unwrap().is_none());
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert!(reader.receive_timeout(10, Duration::ZERO).unwrap().is_none());
    orders.append("one blue mug").unwrap();
    assert_eq!(bodies(&reader.receive_timeout(10, Duration::ZERO).unwrap().unwrap()), ["one blue mug"]);
    thread::scope(|scope| {
        let waiting = scope.spawn(move || bodies(&reader.receive_timeout(10, PATIENCE).unwrap().unwrap()));
        thread::sleep(Duration::from_millis(20));
        orders.append("two green plates").unwrap();
        assert_eq!(waiting.join().unwrap(), ["two green plates"]);
    });
}

#[test]
fn receive_async_waits_without_a_runtime() {
    let (_db, orders) = stream(StreamOptions::new());
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            block_on(async {
                let first = bodies(&reader.receive_async(1).await.unwrap());
                let second = bodies(&reader.receive_async(1).await.unwrap());
                [first, second].concat()
            })
        });
        thread::sleep(Duration::from_millis(20));
        orders.append("one blue mug").unwrap();
        orders.append("two green plates").unwrap();
        assert_eq!(waiting.join().unwrap(), ["one blue mug", "two green plates"]);
    });
}

#[test]
fn a_waiting_task_is_woken_by_the_record_and_not_polled_meanwhile() {
    let (_db, orders) = stream(StreamOptions::new());
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut future = pin!(reader.receive_async(10));
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    orders.append("one blue mug").unwrap();
    crate::place::eventually("the task is woken", || wakes.0.load(Ordering::SeqCst) > 0);
    let Poll::Ready(received) = future.as_mut().poll(&mut Context::from_waker(&waker)) else { panic!("pending") };
    assert_eq!(bodies(&received.unwrap()), ["one blue mug"]);
}

#[test]
fn dropping_a_waiting_future_loses_nothing() {
    let (_db, orders) = stream(StreamOptions::new());
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    for number in 0..20 {
        {
            let mut dropped = pin!(reader.receive_async(10));
            assert!(dropped.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            if number % 2 == 0 {
                let woken = wakes.0.load(Ordering::SeqCst);
                orders.append(&format!("order {number}")).unwrap();
                crate::place::eventually("the task is woken", || wakes.0.load(Ordering::SeqCst) > woken);
            }
        }
        if number % 2 == 1 {
            orders.append(&format!("order {number}")).unwrap();
        }
        assert_eq!(reader.position(), number);
        assert_eq!(bodies(&block_on(reader.receive_async(10)).unwrap()), [format!("order {number}")]);
    }
}

#[test]
fn a_waiter_that_left_takes_no_wake_from_another() {
    let (_db, orders) = stream(StreamOptions::new());
    let mut leaving = orders.reader(0, Start::Earliest).unwrap();
    let mut staying = orders.reader(0, Start::Earliest).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes);
    {
        let mut future = pin!(leaving.receive_async(1));
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| bodies(&staying.receive(1).unwrap()));
            thread::sleep(Duration::from_millis(20));
            orders.append("one blue mug").unwrap();
            assert_eq!(waiting.join().unwrap(), ["one blue mug"]);
        });
    }
    assert_eq!(leaving.position(), 0);
    assert_eq!(bodies(&leaving.receive(1).unwrap()), ["one blue mug"]);
}

#[test]
fn a_waiting_reader_ends_when_the_database_is_closed_or_its_stream_deleted() {
    let (db, orders) = stream(StreamOptions::new());
    let audit = db.create_stream("audit", StreamOptions::new()).unwrap();
    thread::scope(|scope| {
        let mut reader = orders.reader(0, Start::Earliest).unwrap();
        let deleted = scope.spawn(move || reader.receive(1).map(|_| ()));
        let mut reader = audit.reader(0, Start::Earliest).unwrap();
        let closed = scope.spawn(move || reader.receive(1).map(|_| ()));
        let mut reader = audit.reader(0, Start::Earliest).unwrap();
        let closed_task = scope.spawn(move || block_on(reader.receive_async(1)).map(|_| ()));
        thread::sleep(Duration::from_millis(20));
        db.delete_stream("orders").unwrap();
        let ended = deleted.join().unwrap();
        assert!(matches!(ended, Err(Error::NotFound { .. })), "{ended:?}");
        db.close().unwrap();
        for waiting in [closed, closed_task] {
            let ended = waiting.join().unwrap();
            assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
        }
    });
}

#[test]
fn a_reader_that_waits_at_the_end_of_a_trimmed_partition_goes_on_with_the_next_record() {
    let (_db, orders) = stream(StreamOptions::new());
    orders.append("one blue mug").unwrap();
    let mut reader = orders.reader(0, Start::Latest).unwrap();
    orders.trim_before(0, 1).unwrap();
    assert_eq!(extent(&orders, 0), (1, 1));
    assert!(reader.try_receive(1).unwrap().is_none());
    orders.append("two green plates").unwrap();
    assert_eq!(bodies(&reader.receive(1).unwrap()), ["two green plates"]);
}
