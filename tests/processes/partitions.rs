//! Keys keep their order for who reads mapping by mapping, while several threads and processes append, partitions are
//! added and hosts are killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use towpath::{Level, OpenMode, Options, Record, Start, Stream, StreamOptions};

use crate::child::{self, ChildProcess, asked, tell};
use crate::place::{PATIENCE, Place, eventually};

/// A child that appends until it is told to end.
pub const WRITER: &str = "writer";

/// Each writer has its own.
const KEYS: u64 = 24;

/// In the child.
pub fn write_until_told(data: &Path) {
    let db = child::open(data);
    let orders = db.stream("orders").unwrap();
    tell("open");
    let stop = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| write(&orders, &std::process::id().to_string(), &stop));
        asked();
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    drop(orders);
    tell(&format!("{} {written}", std::process::id()));
    asked();
    db.close().unwrap();
}

/// Appends numbers, each under one of the keys in turn. Tells how many.
fn write(orders: &Stream, name: &str, stop: &AtomicBool) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let (key, body) = (format!("{name}-{}", number % KEYS), number.to_string());
        orders.append(Record::new(body.as_bytes()).key(key.as_bytes())).unwrap();
        number += 1;
    }
    number
}

/// A reader that goes mapping by mapping, and the numbers it has seen of each key.
#[derive(Default)]
struct Drain {
    epoch: u32,
    next: Vec<u64>,
    seen: BTreeMap<String, Vec<u64>>,
    /// By key, the partitions in which it was seen.
    places: BTreeMap<String, Vec<u32>>,
}

impl Drain {
    /// Reads what there is now.
    fn go_on(&mut self, orders: &Stream) {
        for ranges in orders.ranges_by_mapping(self.epoch).unwrap() {
            self.epoch = ranges.mapping.epoch;
            self.next.resize(ranges.partitions.len(), 0);
            for range in ranges.partitions {
                let from = self.next[range.partition as usize].max(range.start_offset);
                if from < range.end_offset {
                    self.read(orders, range.partition, from, range.end_offset);
                }
            }
        }
    }

    fn read(&mut self, orders: &Stream, partition: u32, from: u64, end: u64) {
        let mut reader = orders.reader(partition, Start::Offset(from)).unwrap();
        while reader.position() < end {
            let most = usize::try_from(end - reader.position()).unwrap();
            for record in &reader.receive(most).unwrap() {
                let key = String::from_utf8(record.key().unwrap().to_vec()).unwrap();
                let number = std::str::from_utf8(record.body()).unwrap().parse().unwrap();
                let places = self.places.entry(key.clone()).or_default();
                if places.last() != Some(&partition) {
                    places.push(partition);
                }
                self.seen.entry(key).or_default().push(number);
            }
        }
        self.next[partition as usize] = end;
    }

    /// Each number of each writer once, and those of a key in order.
    fn expect_all(&self, written: &BTreeMap<String, u64>) {
        for (key, numbers) in &self.seen {
            let (name, first) = key.rsplit_once('-').unwrap();
            let expected = (first.parse().unwrap()..written[name]).step_by(KEYS as usize);
            assert!(numbers.iter().copied().eq(expected), "{key}: {numbers:?} of {}", written[name]);
        }
        assert_eq!(self.seen.values().map(|numbers| numbers.len() as u64).sum::<u64>(), written.values().sum());
    }
}

#[test]
fn keys_keep_their_order_mapping_by_mapping_while_all_write_and_hosts_are_killed() {
    let place = Place::new();
    let mut host = ChildProcess::host(&place.data());
    let db = Options::temporary().mode(OpenMode::Attach).reconnect_grace(PATIENCE).open(place.data()).unwrap();
    let options = StreamOptions::new().partitions(2).level(Level::Buffered);
    let orders = db.create_stream("orders", options).unwrap();
    let mut writers: Vec<ChildProcess> = (0..3).map(|_| ChildProcess::start(WRITER, &place.data())).collect();
    assert!(writers.iter_mut().all(|writer| writer.next().as_deref() == Some("open")));
    let (stop, done) = (&AtomicBool::new(false), &AtomicBool::new(false));
    let other = db.stream("orders").unwrap();
    let (written, followed) = thread::scope(|scope| {
        let here = [("here", &orders), ("there", &other)]
            .map(|(name, orders)| (name, scope.spawn(move || write(orders, name, stop))));
        let follower = scope.spawn(|| {
            let mut drain = Drain::default();
            while !done.load(Ordering::Relaxed) {
                drain.go_on(&orders);
            }
            drain.go_on(&orders);
            drain
        });
        for added in [1, 3, 2, 5] {
            thread::sleep(Duration::from_millis(100));
            db.stream("orders").unwrap().add_partitions(added).unwrap();
            if added == 3 {
                host.kill();
            }
        }
        thread::sleep(Duration::from_millis(100));
        stop.store(true, Ordering::Relaxed);
        let mut written: BTreeMap<String, u64> = BTreeMap::new();
        written.extend(here.map(|(name, writer)| (name.to_owned(), writer.join().unwrap())));
        for writer in &mut writers {
            writer.ask("stop");
            let told = writer.next().unwrap();
            let (name, count) = told.split_once(' ').unwrap();
            written.insert(name.to_owned(), count.parse().unwrap());
        }
        done.store(true, Ordering::Relaxed);
        (written, follower.join().unwrap())
    });
    assert!(written.values().all(|count| *count > KEYS), "{written:?}");
    followed.expect_all(&written);
    assert!(followed.places.values().filter(|places| places.len() > 1).count() > KEYS as usize, "keys have moved");
    let mappings = orders.mappings().unwrap();
    assert!(mappings.iter().map(|mapping| mapping.partitions).eq([2, 3, 6, 8, 13]));
    writers.iter_mut().for_each(ChildProcess::kill);
    drop((orders, other, db));
    expect_the_same_after_reopening(&place, &written);
}

fn expect_the_same_after_reopening(place: &Place, written: &BTreeMap<String, u64>) {
    let db = place.open();
    eventually("this process hosts", || db.is_host());
    let mut drain = Drain::default();
    drain.go_on(&db.stream("orders").unwrap());
    drain.expect_all(written);
    assert_eq!(drain.epoch, 5);
    db.close().unwrap();
    assert!(place.check().problems.is_empty());
}
