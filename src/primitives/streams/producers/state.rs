//! What is known of producers, and how facts change it.
//!
//! Invariants: a producer's number, and its name within its stream, are entered together and leave together. A window
//! has its producer and at least one batch; each of its batches begins at the sequence at which the one before ended.

use std::collections::BTreeMap;

use super::event::Event;
use super::rows::window_row;
use crate::base::bounds::{PARTITIONS_MAX, PRODUCER_BATCHES_REMEMBERED};
use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;
use crate::primitives::streams::state::Map;

/// Every producer of every stream.
#[derive(Default)]
pub(crate) struct Producers {
    by_number: BTreeMap<u64, Producer>,
    /// By stream, then by name.
    names: Map<u64, BTreeMap<Box<str>, u64>>,
    /// By the id of their row: those of a producer lie together.
    windows: BTreeMap<u64, Window>,
}

/// One producer, apart from what it has appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Producer {
    pub(crate) stream: u64,
    pub(crate) name: Box<str>,
    pub(crate) epoch: u64,
    /// When it was opened last, or a batch of it was accepted last.
    pub(crate) last_used: Timestamp,
    pub(crate) expire_after_micros: u64,
}

impl Producer {
    /// When it goes, if it is not used before.
    pub(crate) fn due(&self) -> Timestamp {
        Timestamp(self.last_used.0.saturating_add(self.expire_after_micros))
    }
}

/// A batch of a producer in one partition, as it was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct ProducedBatch {
    /// Of its first record.
    pub(crate) sequence: u64,
    pub(crate) first_offset: u64,
    /// Where its frame starts.
    pub(crate) lsn: Lsn,
    pub(crate) records: u32,
}

impl ProducedBatch {
    /// The sequence behind its last record.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.sequence.saturating_add(u64::from(self.records))
    }
}

/// The last batches of a producer in one partition, oldest first.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Window {
    batches: [ProducedBatch; PRODUCER_BATCHES_REMEMBERED],
    len: usize,
}

impl Window {
    pub(crate) fn batches(&self) -> &[ProducedBatch] {
        &self.batches[..self.len]
    }

    pub(crate) fn last(&self) -> Option<&ProducedBatch> {
        self.batches().last()
    }

    /// The sequence at which the next batch begins.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.last().map_or(0, ProducedBatch::next_sequence)
    }

    /// The remembered batch that begins here and has as many records.
    pub(super) fn find(&self, sequence: u64, records: u32) -> Option<&ProducedBatch> {
        self.batches().iter().find(|batch| (batch.sequence, batch.records) == (sequence, records))
    }

    /// Takes a batch in at the end; the oldest is forgotten once there are too many.
    pub(super) fn push(&mut self, batch: ProducedBatch) {
        let follows = self.len == 0 || batch.sequence == self.next_sequence();
        assert!(follows && batch.records > 0, "a batch must begin where the one before ended");
        if self.len == self.batches.len() {
            self.batches.rotate_left(1);
        } else {
            self.len += 1;
        }
        self.batches[self.len - 1] = batch;
    }
}

/// Something that holds producers and can be told facts. What a fact names exists.
pub(crate) trait Cells {
    fn contains(&self, number: u64) -> bool;
    fn producer_mut(&mut self, number: u64) -> &mut Producer;
    fn open(&mut self, number: u64, producer: Producer);
    /// Its windows went before.
    fn close(&mut self, number: u64);
    /// The window with this row, empty if there was none.
    fn window_mut(&mut self, row: u64) -> &mut Window;
    fn drop_window(&mut self, row: u64);
}

/// Makes a fact true; `lsn` is where its frame starts.
pub(crate) fn make_true(cells: &mut impl Cells, event: &Event<'_>, lsn: Lsn) {
    match event {
        Event::Opened(opened) if cells.contains(opened.number) => {
            let producer = cells.producer_mut(opened.number);
            assert!(producer.epoch < opened.epoch, "an epoch goes up only");
            (producer.epoch, producer.last_used) = (opened.epoch, opened.timestamp);
            producer.expire_after_micros = opened.expire_after_micros;
        }
        Event::Opened(opened) => cells.open(opened.number, opened.producer()),
        Event::Produced(produced) => {
            let producer = cells.producer_mut(produced.number);
            assert_eq!(producer.epoch, produced.epoch, "only the newest epoch appends");
            producer.last_used = produced.timestamp;
            let row = window_row(produced.number, produced.partition).id;
            cells.window_mut(row).push(produced.batch(lsn));
        }
        Event::Expired(expired) => {
            expired.partitions().for_each(|partition| cells.drop_window(window_row(expired.number, partition).id));
            if expired.is_last {
                cells.close(expired.number);
            }
        }
    }
}

impl<C: Cells> Cells for &mut C {
    fn contains(&self, number: u64) -> bool {
        (**self).contains(number)
    }

    fn producer_mut(&mut self, number: u64) -> &mut Producer {
        (**self).producer_mut(number)
    }

    fn open(&mut self, number: u64, producer: Producer) {
        (**self).open(number, producer);
    }

    fn close(&mut self, number: u64) {
        (**self).close(number);
    }

    fn window_mut(&mut self, row: u64) -> &mut Window {
        (**self).window_mut(row)
    }

    fn drop_window(&mut self, row: u64) {
        (**self).drop_window(row);
    }
}

impl Cells for Producers {
    fn contains(&self, number: u64) -> bool {
        self.by_number.contains_key(&number)
    }

    fn producer_mut(&mut self, number: u64) -> &mut Producer {
        self.by_number.get_mut(&number).expect("a producer that a fact names exists")
    }

    fn open(&mut self, number: u64, producer: Producer) {
        let before = self.names.entry(producer.stream).or_default().insert(producer.name.clone(), number);
        assert_eq!(before, None, "a producer's name is its own in its stream");
        self.by_number.insert(number, producer);
    }

    fn close(&mut self, number: u64) {
        let producer = self.by_number.remove(&number).expect("the producer to let go exists");
        let names = self.names.get_mut(&producer.stream).expect("a producer's name is entered");
        names.remove(&producer.name);
        if names.is_empty() {
            self.names.remove(&producer.stream);
        }
    }

    fn window_mut(&mut self, row: u64) -> &mut Window {
        self.windows.entry(row).or_default()
    }

    fn drop_window(&mut self, row: u64) {
        self.windows.remove(&row).expect("a window that is let go exists");
    }
}

impl Producers {
    pub(crate) fn get(&self, number: u64) -> Option<&Producer> {
        self.by_number.get(&number)
    }

    /// `None` also for a number or a partition that there is not.
    pub(crate) fn window(&self, number: u64, partition: u32) -> Option<&Window> {
        let is_possible = self.by_number.contains_key(&number) && partition < PARTITIONS_MAX;
        is_possible.then(|| self.window_of_row(window_row(number, partition).id)).flatten()
    }

    /// Producers with their numbers, from this one on.
    pub(crate) fn starting_at(&self, number: u64) -> impl Iterator<Item = (u64, &Producer)> {
        self.by_number.range(number..).map(|(number, producer)| (*number, producer))
    }

    /// The partitions in which a producer has a window, in order, with these.
    pub(crate) fn windows_of(&self, number: u64) -> impl Iterator<Item = (u32, &Window)> {
        let (first, last) = (window_row(number, 0).id, window_row(number + 1, 0).id);
        self.windows.range(first..last).map(move |(row, window)| ((row - first) as u32, window))
    }

    pub(super) fn window_of_row(&self, row: u64) -> Option<&Window> {
        self.windows.get(&row)
    }

    /// Numbers of a stream's producers, by name.
    pub(super) fn named(&self, stream: u64) -> impl Iterator<Item = (&str, u64)> {
        self.names.get(&stream).into_iter().flatten().map(|(name, number)| (&**name, *number))
    }

    pub(super) fn find(&self, stream: u64, name: &str) -> Option<u64> {
        self.names.get(&stream)?.get(name).copied()
    }

    pub(super) fn count(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn window_count(&self) -> usize {
        self.windows.len()
    }
}
