//! Compaction beside a plain list of everything that was appended, through crashes and damage.

use std::collections::BTreeMap;

use super::*;
use crate::base::sync::Ordering;
use crate::engine::machine::{CompactedLog, Machine};
use crate::engine::{Next, Worker};
use crate::sim::random::Random;

const RETENTION: u64 = 60_000_000;
const KEYS: u64 = 20;

/// What was appended: key, and body unless it is a tombstone.
type Appended = (u64, Option<Vec<u8>>);

struct Compacted {
    bench: Bench,
    log: LogId,
    stream: StreamHandle,
    appended: Vec<Appended>,
    random: Random,
}

fn turns(bench: &Bench) {
    bench.engine.checkpoint().expect("nothing fails");
    for _ in 0..10_000 {
        if bench.engine.step(Worker::Keeper, &mut None) != Next::Again {
            return;
        }
    }
    panic!("the keeper finds no end");
}

impl Compacted {
    fn new(seed: u64, retention: streams::Retention) -> Compacted {
        let bench = Bench::new();
        let compaction = Some(streams::Compaction { tombstone_retention_micros: RETENTION });
        let options = streams::Options { retention, compaction, ..streams::Options::default() };
        let submitted = bench.submit(streams::Command::Create { name: "changes", options }, Level::Sync);
        let Reply::Streams(streams::Reply::Stream(stream)) = submitted.expect("a new stream").reply else { panic!() };
        let log = bench.log(stream, 0);
        Compacted { bench, log, stream, appended: Vec::new(), random: Random::new(seed) }
    }

    /// Appends batches until a segment or two have come to be full.
    fn append_some(&mut self) {
        for _ in 0..40 {
            let count = 1 + self.random.below(8);
            let batch: Vec<Appended> = (0..count).map(|_| self.any_record()).collect();
            self.append(batch);
        }
    }

    fn any_record(&mut self) -> Appended {
        let (key, is_tombstone) = (self.random.below(KEYS), self.random.chance(32));
        let body = vec![key as u8; self.random.below(60_000) as usize];
        (key, (!is_tombstone).then_some(body))
    }

    fn append(&mut self, batch: Vec<Appended>) {
        let keys: Vec<[u8; 8]> = batch.iter().map(|(key, _)| key.to_le_bytes()).collect();
        let record = |(key, (_, body)): (&'_ [u8; 8], &'_ Appended)| match body {
            Some(_) => (key.to_vec(), false),
            None => (key.to_vec(), true),
        };
        let parts: Vec<(Vec<u8>, bool)> = keys.iter().zip(&batch).map(record).collect();
        let records: Vec<streams::Record<'_>> = parts
            .iter()
            .zip(&batch)
            .map(|((key, _), (_, body))| match body {
                Some(body) => streams::Record::new(body).key(key),
                None => streams::Record::tombstone(key),
            })
            .collect();
        let groups = [streams::Group { partition: 0, expect_offset: None, records: &records }];
        let append = streams::Append { stream: self.stream, mapping_partitions: 1, groups: &groups };
        self.bench.submit(streams::Command::Append(append), Level::Buffered).expect("there is room");
        self.appended.extend(batch);
    }

    fn facts(&self) -> CompactedLog {
        self.bench.engine.core.lock().machine.compacted_log(self.log).expect("it is compacted")
    }

    /// What is read from `from` on: offset, key, body.
    fn read(&self, from: u64) -> Vec<(u64, Appended)> {
        let (mut read, mut at, mut cursor) = (Vec::new(), from, Cursor::default());
        while let Read::Items(batch) = self.bench.engine.read(self.log, at, 7, &mut cursor).expect("nothing is damaged")
        {
            for item in batch.items() {
                let (_, records) = streams::read_item(batch.bytes(item)).expect("an item of a stream");
                for record in records.map(|record| record.expect("a record that was written")) {
                    let key = u64::from_le_bytes(record.key.expect("a key").try_into().expect("eight bytes"));
                    if record.offset >= at {
                        read.push((record.offset, (key, record.body.map(<[u8]>::to_vec))));
                    }
                }
                at = at.max(item.entry.end());
            }
        }
        read
    }

    /// What is read, from any offset, is what was appended, but for what may be gone.
    fn check(&mut self) {
        let facts = self.facts();
        assert_eq!(facts.end, self.appended.len() as u64);
        let read = self.read(facts.start);
        let newest: BTreeMap<u64, u64> = (0..).zip(&self.appended).map(|(at, (key, _))| (*key, at)).collect();
        let mut below: BTreeMap<u64, u64> = BTreeMap::new();
        let mut found = read.iter().peekable();
        for (offset, appended) in (0..).zip(&self.appended).skip(facts.start as usize) {
            if let Some((_, same)) = found.next_if(|(at, _)| *at == offset) {
                assert!(same == appended, "another record at {offset}");
                let before = below.insert(appended.0, offset).filter(|_| offset < facts.cleaned);
                let last_sealed = before.is_some_and(|before| before + 1 == facts.cleaned);
                assert!(
                    before.is_none() || last_sealed,
                    "{before:?} and {offset} have one key below {}",
                    facts.cleaned
                );
            } else {
                let is_superseded = newest[&appended.0] > offset;
                assert!(is_superseded || appended.1.is_none(), "offset {offset} is gone");
            }
        }
        assert!(found.next().is_none(), "records out of order");
        let from = facts.start + self.random.below(facts.end - facts.start + 1);
        let behind: Vec<u64> = read.iter().map(|(offset, _)| *offset).filter(|offset| *offset >= from).collect();
        assert_eq!(self.read(from).iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), behind, "read from {from}");
        self.check_counts(&facts, &read);
    }

    fn check_counts(&self, facts: &CompactedLog, read: &[(u64, Appended)]) {
        let bytes: u64 = read.iter().map(|(_, (_, body))| 8 + body.as_ref().map_or(0, Vec::len) as u64).sum();
        assert_eq!((facts.records, facts.bytes), (read.len() as u64, bytes), "what is told is what is there");
    }

    fn passes(&self) -> u64 {
        self.bench.engine.counters().1.compaction_passes.load(Ordering::Relaxed)
    }

    fn crash(self, power: bool) -> Compacted {
        if power {
            self.bench.engine.sync(None).expect("nothing fails");
        }
        self.bench.engine.abandon();
        let Bench { disk, clock, engine } = self.bench;
        drop(engine);
        if power {
            disk.power_cut();
        } else {
            disk.kill();
        }
        Compacted { bench: Bench::open(disk, clock), ..self }
    }
}

#[test]
fn what_is_read_is_a_superset_of_the_newest_of_each_key_through_passes_and_crashes() {
    let mut passes = 0;
    for seed in 0..6 {
        let mut compacted = Compacted::new(seed, streams::Retention::default());
        for round in 0..6 {
            compacted.append_some();
            // A crash may come between any two steps of the keeper.
            let steps = compacted.random.below(30);
            compacted.bench.engine.checkpoint().expect("nothing fails");
            for _ in 0..steps {
                compacted.bench.engine.step(Worker::Keeper, &mut None);
            }
            passes += compacted.passes();
            if round % 2 == 1 {
                compacted = compacted.crash(seed % 2 == 0);
            }
            turns(&compacted.bench);
            compacted.check();
            compacted.bench.clock.advance(std::time::Duration::from_micros(compacted.random.below(2 * RETENTION)));
        }
        compacted.bench.engine.close().expect("nothing fails");
    }
    assert!(passes > 20, "{passes} passes");
}

#[test]
fn a_tombstone_goes_once_its_time_is_over_and_keeps_its_key_gone_until_then() {
    let mut compacted = Compacted::new(1, streams::Retention::default());
    compacted.append(vec![(1, Some(vec![1; 100])), (2, Some(vec![2; 100])), (1, None)]);
    let fill = |compacted: &mut Compacted| (0..12).for_each(|_| compacted.append(vec![(3, Some(vec![3; 900_000]))]));
    fill(&mut compacted);
    turns(&compacted.bench);
    let keys =
        |compacted: &Compacted| compacted.read(0).iter().take(2).map(|(at, (key, _))| (*at, *key)).collect::<Vec<_>>();
    assert_eq!(keys(&compacted), [(1, 2), (2, 1)], "the tombstone stays, what it supersedes goes");
    compacted.bench.clock.advance(std::time::Duration::from_micros(RETENTION - 1_000_000));
    turns(&compacted.bench);
    assert_eq!(keys(&compacted)[1], (2, 1));
    compacted.bench.clock.advance(std::time::Duration::from_micros(2_000_000));
    turns(&compacted.bench);
    assert_eq!(keys(&compacted)[0], (1, 2));
    assert_ne!(keys(&compacted)[1].0, 2, "its time is over");
    compacted.check();
}

/// Seed 315 of the simulator.
#[test]
fn a_tombstone_that_cannot_go_is_looked_for_once() {
    let mut compacted = Compacted::new(1, streams::Retention::default());
    compacted.append(vec![(1, Some(vec![1; 100])), (1, None), (2, Some(vec![2; 100]))]);
    (0..12).for_each(|_| compacted.append(vec![(3, Some(vec![3; 900_000]))]));
    turns(&compacted.bench);
    assert_eq!(compacted.read(0)[0].0, 1, "the tombstone stays for its time");
    compacted.bench.trim(compacted.stream, 0, 2);
    turns(&compacted.bench);
    let before = compacted.passes();
    for _ in 0..3 {
        compacted.bench.clock.advance(std::time::Duration::from_micros(2 * RETENTION));
        turns(&compacted.bench);
    }
    assert!(compacted.passes() <= before + 1, "{} passes, {before} before", compacted.passes());
    compacted.check();
}

#[test]
fn retention_counts_what_compaction_has_left() {
    let most = 25;
    let retention = streams::Retention { records: Some(most), ..streams::Retention::default() };
    let mut compacted = Compacted::new(3, retention);
    for _ in 0..4 {
        compacted.append_some();
        turns(&compacted.bench);
        for _ in 0..100 {
            compacted.bench.clock.advance(std::time::Duration::from_millis(60));
            compacted.bench.engine.step(Worker::Timers, &mut None);
        }
        turns(&compacted.bench);
        let facts = compacted.facts();
        assert!(facts.records <= most, "{facts:?}");
        compacted.check();
        assert!(facts.start == 0 || compacted.read(facts.start).len() as u64 == most, "no more went than had to");
    }
}

#[test]
fn times_addresses_and_trims_are_found_across_holes() {
    let mut compacted = Compacted::new(4, streams::Retention::default());
    let mut times = Vec::new();
    for _ in 0..4 {
        compacted.append_some();
        compacted.bench.clock.advance(std::time::Duration::from_secs(1));
        times.push((compacted.bench.clock.wall(), compacted.appended.len() as u64));
    }
    turns(&compacted.bench);
    let read = compacted.read(0);
    assert!((read.len() as u64) < compacted.facts().end, "there are holes");
    for (time, end) in &times[..3] {
        let found = compacted.bench.engine.offset_for_time(compacted.log, *time).expect("nothing fails");
        let first = read.iter().map(|(offset, _)| *offset).find(|offset| offset >= end);
        assert_eq!(found, first);
    }
    let hole = (0..).find(|at| read.iter().all(|(offset, _)| offset != at)).expect("there are holes");
    compacted.bench.trim(compacted.stream, 0, hole);
    assert_eq!(compacted.facts().start, hole, "a trim moves the start exactly");
    compacted.check();
    turns(&compacted.bench);
    compacted = compacted.crash(false);
    turns(&compacted.bench);
    compacted.check();
}

#[test]
fn a_run_that_cannot_be_read_stays_and_the_others_are_compacted() {
    let mut compacted = Compacted::new(5, streams::Retention::default());
    compacted.append(vec![(7, Some(vec![7; 1000]))]);
    (0..30).for_each(|_| compacted.append(vec![(3, Some(vec![3; 900_000]))]));
    compacted.bench.engine.checkpoint().expect("nothing fails");
    let sealed: Vec<String> = compacted.bench.disk.paths().into_iter().filter(|path| path.ends_with(".idx")).collect();
    compacted.bench.disk.flip_bit(&sealed[0], 100, 0);
    turns(&compacted.bench);
    let parked = compacted.bench.engine.counters().1.parked_segments.load(Ordering::Relaxed);
    let facts = compacted.facts();
    assert!(parked == 1 && facts.cleaned == 0, "{parked} parked, {facts:?}");
    let behind = compacted.read(20);
    assert!(behind.len() < 15, "{} records are left", behind.len());
}

#[test]
fn a_record_without_a_key_is_refused_and_whether_a_stream_is_compacted_is_settled() {
    let compacted = Compacted::new(6, streams::Retention::default());
    let refused = compacted.bench.try_append(compacted.stream, 0, b"no key", Level::Sync);
    let Err(Refused::Refusal(Refusal::Streams(streams::Refusal::InvalidOption { option: "key", .. }))) = refused else {
        panic!("{refused:?}")
    };
    let options = streams::Options::default();
    for command in
        [streams::Command::Ensure { name: "changes", options }, streams::Command::Create { name: "changes", options }]
    {
        let refused = compacted.bench.submit(command, Level::Sync).map(|_| ());
        assert!(
            matches!(refused, Err(Refused::Refusal(Refusal::Streams(streams::Refusal::Mismatch { .. })))),
            "{refused:?}"
        );
    }
}

#[test]
fn a_full_disk_hinders_no_checkpoint_and_compaction_goes_on_once_there_is_room() {
    let mut compacted = Compacted::new(8, streams::Retention::default());
    (0..4).for_each(|_| compacted.append_some());
    compacted.bench.disk.set_capacity(compacted.bench.disk.allocated());
    for _ in 0..200 {
        compacted.bench.engine.step(Worker::Keeper, &mut None);
    }
    compacted.bench.engine.checkpoint().expect("what it can do without is left out");
    compacted.bench.disk.set_capacity(u64::MAX);
    compacted.bench.clock.advance(std::time::Duration::from_secs(2));
    turns(&compacted.bench);
    compacted.bench.clock.advance(std::time::Duration::from_secs(2));
    turns(&compacted.bench);
    assert!(compacted.facts().cleaned > 0);
    compacted.check();
}
