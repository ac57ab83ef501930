//! Programs that append as producers. They number their batches themselves, outlive the crashes of the database, and
//! send again whatever they do not know to be stored.
//!
//! The model says beforehand what a batch must come to: stored, a duplicate with the offsets that it has, or refused.

use super::history::{BatchContents, Change, ProducerContents, RecordContents};
use super::world::{Answer, Done, Stop, World, answer, command, handle};
use super::writes::{Groups, place, with_groups};
use crate::base::level::Level;
use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;
use crate::engine::Engine;
use crate::primitives::Primitives;
use crate::primitives::streams::{Append, Command, Produce, ProducerHandle, Refusal, Reply};

/// Programs at the same time.
const WRITERS_MAX: usize = 4;

/// One program.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    stream: String,
    producer: String,
    /// `None` until it was told.
    handle: Option<ProducerHandle>,
    /// The batch that it sent last, until it sends another.
    last: Option<Batch>,
}

/// Groups with their sequences.
#[derive(Clone, Debug)]
struct Batch {
    groups: Groups,
    sequences: Vec<u64>,
}

/// What a batch must come to.
#[derive(PartialEq, Debug)]
enum Fate {
    Stored,
    /// It has these offsets.
    Duplicate(Vec<(u32, BatchContents)>),
    NoSuchProducer,
    Fenced {
        current: u64,
    },
    /// The stream is another of the same name, with fewer partitions.
    NoSuchPartition,
    OutOfOrder,
    Overlapping,
}

impl World {
    /// A program opens its producer, or sends a batch: a new one, the last one again, or one that must be refused.
    pub(super) fn produce(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(stream) = self.any_stream() else { return Ok(()) };
        let at = self.writer_of(stream);
        if self.writers[at].handle.is_none() || self.random.chance(32) {
            return self.open_producer(engine, at);
        }
        let again = self.writers[at].last.clone().filter(|_| self.random.chance(96));
        let is_again = again.is_some();
        let batch = again.unwrap_or_else(|| self.new_batch(at));
        self.produced_again += u64::from(is_again);
        self.send_batch(engine, at, batch)
    }

    /// After an open: every program sends its last batch again, some as a new epoch. A power cut ends programs too:
    /// they know what they sent, and must open their producers again, whose numbers may be others' now.
    pub(super) fn produce_again(&mut self, engine: &Engine<Primitives>, all_kept: bool) -> Done {
        for at in 0..self.writers.len() {
            self.writers[at].handle = self.writers[at].handle.filter(|_| all_kept);
            let is_there = self.now().streams.contains_key(&self.writers[at].stream);
            let Some(batch) = self.writers[at].last.clone().filter(|_| is_there) else { continue };
            if self.random.chance(128) {
                self.open_producer(engine, at)?;
            }
            if self.writers[at].handle.is_some() {
                self.produced_again += 1;
                self.send_batch(engine, at, batch)?;
            }
        }
        Ok(())
    }

    /// The program that appends to this stream under one of two names.
    fn writer_of(&mut self, stream: String) -> usize {
        let producer = self.random.pick(&["web", "import"]).to_owned();
        let is_it = |writer: &Writer| writer.stream == stream && writer.producer == producer;
        if let Some(at) = self.writers.iter().position(is_it) {
            return at;
        }
        if self.writers.len() == WRITERS_MAX {
            self.writers.remove(0);
        }
        self.writers.push(Writer { stream, producer, handle: None, last: None });
        self.writers.len() - 1
    }

    fn open_producer(&mut self, engine: &Engine<Primitives>, at: usize) -> Done {
        let Writer { stream: name, producer, .. } = self.writers[at].clone();
        let expire_after_micros = self.random.pick(&[1_000_000, 70_000_000, 604_800_000_000]);
        let (level, timestamp, stream) = (self.level(), self.clock.wall(), handle(engine, &name)?);
        self.tell(format_args!("open producer {producer} of {name}, for {expire_after_micros} us {level:?}"));
        let known = self.now().streams[&name].producers.get(&producer).map(|known| (known.number, known.epoch + 1));
        let open = Command::OpenProducer { stream, name: &producer, expire_after_micros };
        self.sending = None;
        let change =
            |number| Change::OpenProducer { name, producer: producer.clone(), number, timestamp, expire_after_micros };
        match answer(engine.submit(&command(open), level, None)) {
            Answer::Reply(Reply::Producer(handle), lsn, end) => {
                let (number, epoch) = known.unwrap_or((handle.number, 0));
                if handle != (ProducerHandle { number, epoch }) {
                    return Err(Stop::Wrong(format!("{handle:?} is opened where {known:?} is due")));
                }
                self.writers[at].handle = Some(handle);
                self.stored(level, lsn, end, change(number))
            }
            Answer::Fault(fault) => self.fault(engine, fault, Some(change(known.map_or(0, |(number, _)| number)))),
            _ => Err(Stop::Wrong("opening a producer was refused".to_owned())),
        }
    }

    /// A batch at the sequences that are due, or now and then elsewhere.
    fn new_batch(&mut self, at: usize) -> Batch {
        let Writer { stream, producer, .. } = self.writers[at].clone();
        let mut groups = self.groups(&stream);
        groups.sort_by_key(|(partition, _)| *partition);
        groups.dedup_by_key(|(partition, _)| *partition);
        let known = self.now().streams[&stream].producers.get(&producer).cloned();
        let due = |partition| known.as_ref().map_or(0, |known: &ProducerContents| known.next_sequence(partition));
        let mut sequences: Vec<u64> = groups.iter().map(|(partition, _)| due(*partition)).collect();
        match self.random.below(16) {
            0 => sequences[0] += 1,
            1 => sequences[0] = sequences[0].saturating_sub(1),
            _ => {}
        }
        Batch { groups, sequences }
    }

    fn send_batch(&mut self, engine: &Engine<Primitives>, at: usize, mut batch: Batch) -> Done {
        let Writer { stream: name, producer: writer, handle: producer, .. } = self.writers[at].clone();
        let producer = producer.expect("it was opened");
        let (level, timestamp, stream) = (self.level(), self.clock.wall(), handle(engine, &name)?);
        batch.groups.iter_mut().flat_map(|(_, records)| records).for_each(|record| record.timestamp = timestamp);
        let fate = self.fate_of(&name, &writer, producer, &batch);
        self.tell(format_args!("produce {name} as {writer} {producer:?} at {:?} {level:?}: {fate:?}", batch.sequences));
        let mapping_partitions = self.now().streams[&name].options.partitions;
        self.sending = None;
        let result = with_groups(&batch.groups, &vec![None; batch.groups.len()], |groups| {
            let append = Append { stream, mapping_partitions, groups };
            let produce = Produce { append, producer, sequences: Some(&batch.sequences) };
            engine.submit(&command(Command::Produce(produce)), level, None)
        });
        self.writers[at].last = Some(batch.clone());
        let change = |groups| Change::Produce { name: name.clone(), producer: writer, timestamp, groups };
        match (answer(result), fate) {
            (Answer::Reply(Reply::Appended(_), lsn, end), Fate::Stored) => {
                place(&mut batch.groups, lsn, end, level);
                self.stored(level, lsn, end, change(batch.groups))
            }
            (Answer::Reply(Reply::Duplicate { ranges, lsn }, ..), Fate::Duplicate(known)) => {
                let told = ranges.iter().map(|range| (range.partition, range.first_offset, range.records));
                let known: Vec<_> = known.iter().map(|(at, batch)| (*at, batch.first_offset, batch.records)).collect();
                if told.collect::<Vec<_>>() != known {
                    return Err(Stop::Wrong(format!("a duplicate is told to be at {ranges:?}, not {known:?}")));
                }
                self.duplicates += 1;
                self.duplicate_told(&name, &known, lsn, level)
            }
            (Answer::Refused(refusal), fate) if is_refused_so(&refusal, &fate) => Ok(()),
            (Answer::Fault(fault), Fate::Stored) => self.fault(engine, fault, Some(change(batch.groups))),
            (Answer::Fault(fault), _) => self.fault(engine, fault, None),
            (Answer::Refused(refusal), fate) => {
                Err(Stop::Wrong(format!("a batch is refused by {refusal:?}: {fate:?}")))
            }
            (_, fate) => Err(Stop::Wrong(format!("a batch was answered otherwise than by {fate:?}"))),
        }
    }

    /// Who is told of a duplicate knows of the frame that it stands in.
    fn duplicate_told(&mut self, name: &str, known: &[(u32, u64, u32)], lsn: Lsn, level: Level) -> Done {
        let partitions = &self.history.now().streams[name].partitions;
        let record = |(at, offset, _): &(u32, u64, u32)| partitions[*at as usize].record(*offset).copied();
        let records: Vec<RecordContents> = known.iter().filter_map(record).collect();
        if records.iter().any(|record| record.lsn > lsn) {
            return Err(Stop::Wrong(format!("a duplicate is told to be at {lsn:?}, its records are {records:?}")));
        }
        for record in records.iter().filter(|record| record.sync || level == Level::Sync) {
            self.history.promise(record.end);
        }
        Ok(())
    }

    fn fate_of(&self, stream: &str, producer: &str, handle: ProducerHandle, batch: &Batch) -> Fate {
        let known = self.now().streams[stream].producers.get(producer);
        let Some(known) = known.filter(|known| known.number == handle.number) else { return Fate::NoSuchProducer };
        if known.epoch != handle.epoch {
            return Fate::Fenced { current: known.epoch };
        }
        let partitions = self.now().streams[stream].options.partitions;
        if batch.groups.iter().any(|(partition, _)| *partition >= partitions) {
            return Fate::NoSuchPartition;
        }
        let (mut before, mut new) = (Vec::new(), 0);
        for ((partition, records), sequence) in batch.groups.iter().zip(&batch.sequences) {
            let (due, records) = (known.next_sequence(*partition), records.len() as u32);
            let window = known.windows.get(partition).into_iter().flatten();
            let same = window.copied().find(|batch| (batch.sequence, batch.records) == (*sequence, records));
            match same {
                Some(batch) => before.push((*partition, batch)),
                None if *sequence == due => new += 1,
                None if *sequence > due => return Fate::OutOfOrder,
                None => return Fate::Overlapping,
            }
        }
        match (before.is_empty(), new) {
            (true, _) => Fate::Stored,
            (false, 0) => Fate::Duplicate(before),
            (false, _) => Fate::Overlapping,
        }
    }

    /// Producers that the timers have let go, each with the name of its stream before its own.
    pub(super) fn expired_producers(
        &self,
        engine: &Engine<Primitives>,
        wall: Timestamp,
        exactly: bool,
    ) -> Result<Vec<(String, String)>, Stop> {
        let mut expired = Vec::new();
        for (stream, contents) in &self.now().streams {
            for (name, producer) in &contents.producers {
                let found = engine.inspect(|machine| machine.streams.producers().get(producer.number).is_some());
                let is_there = found.map_err(|_| Stop::Poisoned)?;
                let is_due = producer.last_used.0 + producer.expire_after_micros <= wall.0;
                if !is_there && !is_due || exactly && is_there && is_due {
                    return Err(Stop::Wrong(format!(
                        "the producer {name} of {stream} is there: {is_there}, {producer:?}"
                    )));
                }
                if !is_there {
                    expired.push((stream.clone(), name.clone()));
                }
            }
        }
        Ok(expired)
    }
}

fn is_refused_so(refusal: &Refusal, fate: &Fate) -> bool {
    match (refusal, fate) {
        (Refusal::NoSuchProducer, Fate::NoSuchProducer) => true,
        (Refusal::Fenced { current: told, .. }, Fate::Fenced { current }) => told == current,
        (Refusal::NoSuchPartition { .. }, Fate::NoSuchPartition) => true,
        (Refusal::OutOfOrder { .. }, Fate::OutOfOrder) | (Refusal::Overlapping { .. }, Fate::Overlapping) => true,
        _ => false,
    }
}
