//! The rules of producers.
//!
//! They are those of Kafka's idempotent producer (KIP-98, KIP-360) with three differences: sequences go on over epochs,
//! so that one who starts again may send again what it does not know to be stored; what is older than the window is
//! refused instead of taken for known; and a batch over several partitions is new in all of them or in none.

use super::event::{Event, Expired, Opened, Produced};
use super::rows::{producer_row, window_row};
use super::state::Producer;
use super::{ProducedBatch, ProducerHandle};
use crate::base::bounds::{PRODUCER_PARTITIONS_MAX, PRODUCERS_MAX, RECORDS_PER_BATCH_MAX};
use crate::base::lsn::Lsn;
use crate::base::name;
use crate::base::time::{Now, Timestamp};
use crate::primitives::streams::command::{Group, Outcome, Produce, Refusal, StreamHandle};
use crate::primitives::streams::decide::{Refused, append, check_group, check_mapping, fill_item, find, within};
use crate::primitives::streams::event::Event as StreamEvent;
use crate::primitives::streams::overlay::View;
use crate::primitives::streams::reply::{Range, Ranges, Reply};
use crate::primitives::streams::rows::COUNTERS;
use crate::primitives::streams::state::{Head, Map, Partition};

/// Raises the epoch of the producer with this name, which comes to be if it is not there.
pub(crate) fn open<'c>(
    view: &View<'_>,
    stream: StreamHandle,
    name: &'c str,
    expire_after_micros: u64,
    now: Now,
    emit: &mut impl FnMut(StreamEvent<'c>),
) -> Result<Outcome, Refused> {
    name::check(name).map_err(Refusal::InvalidName)?;
    if expire_after_micros == 0 {
        let reason = "a producer that goes at once remembers nothing";
        return Err(Refusal::InvalidOption { option: "expire_after", reason }.into());
    }
    let (_, head) = find(view, stream)?;
    let (producers, stream) = (view.producers(), head.stream());
    let (number, epoch) = match producers.find(stream, name) {
        Some(number) => (number, producers.get(number).expect("a name's producer is there").epoch + 1),
        None => {
            make_room(view, now, emit)?;
            (view.counters().log, 0)
        }
    };
    let opened = Opened { number, stream, epoch, timestamp: now.wall, expire_after_micros, name };
    emit(StreamEvent::Producers(Event::Opened(opened)));
    Ok(Outcome::Accept(Reply::Producer(ProducerHandle { number, epoch })))
}

/// Refuses one more producer than there may be, unless one that has expired can go for it.
fn make_room<'c>(view: &View<'_>, now: Now, emit: &mut impl FnMut(StreamEvent<'c>)) -> Result<(), Refused> {
    let producers = view.producers();
    let count = producers.count();
    if count < PRODUCERS_MAX {
        return Ok(());
    }
    let Some((expired, _)) = producers.all().find(|(_, producer)| producer.due() <= now.wall) else {
        return within("producers", PRODUCERS_MAX, count + 1).map_err(|refusal| refusal.resting_on(COUNTERS));
    };
    let_go(view, expired, emit);
    Ok(())
}

/// The tick: a producer that was not used for long goes.
pub(crate) fn expire<'c>(view: &View<'_>, number: u64, now: Now, emit: &mut impl FnMut(StreamEvent<'c>)) -> Outcome {
    if view.producers().get(number).is_none_or(|producer| now.wall < producer.due()) {
        return Outcome::Unchanged { reply: Reply::Expired, rests_on: None };
    }
    let_go(view, number, emit);
    Outcome::Accept(Reply::Expired)
}

/// The producers of a stream go, before it does.
pub(crate) fn leave<'c>(view: &View<'_>, stream: u64, emit: &mut impl FnMut(StreamEvent<'c>)) {
    view.producers().of_stream(stream).into_iter().for_each(|number| let_go(view, number, emit));
}

fn let_go<'c>(view: &View<'_>, number: u64, emit: &mut impl FnMut(StreamEvent<'c>)) {
    let mut last = Expired { number, word: 0, bits: 0, is_last: true };
    for partition in view.producers().partitions_of(number) {
        let word = partition / u64::BITS;
        if word != last.word && last.bits != 0 {
            emit(StreamEvent::Producers(Event::Expired(Expired { is_last: false, ..last })));
            last.bits = 0;
        }
        (last.word, last.bits) = (word, last.bits | 1 << (partition % u64::BITS));
    }
    emit(StreamEvent::Producers(Event::Expired(last)));
}

/// Appends what is new; answers what is not as it was.
pub(crate) fn produce<'c>(
    view: &View<'_>,
    command: &Produce<'c>,
    now: Now,
    emit: &mut impl FnMut(StreamEvent<'c>),
) -> Result<Outcome, Refused> {
    let (slot, head) = find(view, command.append.stream)?;
    current(view, head, command.producer)?;
    check_mapping(head, &command.append)?;
    check_groups(head, command)?;
    match known(view, command)? {
        Known::Duplicate(reply) => {
            Ok(Outcome::Unchanged { reply, rests_on: Some(producer_row(command.producer.number)) })
        }
        Known::New(sequences) => {
            check_windows(view, command)?;
            let accepted = Accepted { view, slot, head, command, now };
            Ok(Outcome::Accept(accepted.store(&sequences, emit)))
        }
    }
}

/// Who opened the producer last.
fn current<'a>(view: &View<'a>, head: &Head, handle: ProducerHandle) -> Result<&'a Producer, Refused> {
    let row = producer_row(handle.number);
    let producer = view.producers().get(handle.number).filter(|producer| producer.stream == head.stream());
    let producer = producer.ok_or_else(|| Refusal::NoSuchProducer.resting_on(row))?;
    if producer.epoch != handle.epoch {
        let fenced = Refusal::Fenced { producer: producer.name.clone(), current: producer.epoch };
        return Err(fenced.resting_on(row));
    }
    Ok(producer)
}

fn check_groups(head: &Head, command: &Produce<'_>) -> Result<(), Refused> {
    let groups = command.append.groups;
    if groups.iter().any(|group| group.expect_offset.is_some()) {
        let reason = "the sequences of a producer say where its records go";
        return Err(Refusal::InvalidOption { option: "expect_offset", reason }.into());
    }
    if command.sequences.is_some_and(|sequences| sequences.len() != groups.len()) {
        let reason = "there must be one for each partition of the batch";
        return Err(Refusal::InvalidOption { option: "sequences", reason }.into());
    }
    within("records per batch", RECORDS_PER_BATCH_MAX, groups.iter().map(|group| group.records.len()).sum())?;
    groups.iter().try_for_each(|group| check_group(head, group).map(drop))?;
    if groups.is_empty() { Err(Refusal::EmptyBatch.into()) } else { Ok(()) }
}

/// What the windows say of a batch.
enum Known {
    /// All of it is new; each group begins at its sequence.
    New(Vec<u64>),
    /// All of it was accepted before.
    Duplicate(Reply),
}

/// Whether a batch is new, or what became of it; groups of one partition follow each other.
fn known(view: &View<'_>, command: &Produce<'_>) -> Result<Known, Refused> {
    let number = command.producer.number;
    let (mut ends, mut sequences, mut before) = (Map::<u32, u64>::default(), Vec::new(), Vec::new());
    for (at, group) in command.append.groups.iter().enumerate() {
        let window = view.producers().window(number, group.partition);
        let end = ends.entry(group.partition).or_insert_with(|| window.map_or(0, |window| window.next_sequence()));
        let sequence = command.sequences.map_or(*end, |sequences| sequences[at]);
        let records = group.records.len() as u32;
        let known = window.filter(|_| sequence < *end).and_then(|window| window.find(sequence, records));
        match known {
            Some(batch) => before.push((group.partition, *batch)),
            None if sequence == *end => {
                *end += u64::from(records);
                sequences.push(sequence);
            }
            None => return Err(misplaced(number, group, sequence, *end)),
        }
    }
    match before.first() {
        None => Ok(Known::New(sequences)),
        Some(_) if sequences.is_empty() => Ok(Known::Duplicate(duplicate(&before))),
        Some((partition, batch)) => {
            let ProducedBatch { sequence, records, .. } = *batch;
            let expected = ends[partition];
            let mixed = Refusal::Overlapping { partition: *partition, sequence, records, expected };
            Err(mixed.resting_on(window_row(number, *partition)))
        }
    }
}

/// A group that is neither the next nor one that is remembered.
fn misplaced(number: u64, group: &Group<'_>, sequence: u64, expected: u64) -> Refused {
    let partition = group.partition;
    let refusal = if sequence > expected {
        Refusal::OutOfOrder { partition, sequence, expected }
    } else {
        Refusal::Overlapping { partition, sequence, records: group.records.len() as u32, expected }
    };
    refusal.resting_on(window_row(number, partition))
}

fn duplicate(before: &[(u32, ProducedBatch)]) -> Reply {
    let range = |(partition, batch): &(u32, ProducedBatch)| Range {
        partition: *partition,
        first_offset: batch.first_offset,
        records: batch.records,
    };
    let lsn = before.iter().map(|(_, batch)| batch.lsn).max().unwrap_or(Lsn(0));
    let mut ranges = before.iter().map(range);
    let first = ranges.next().expect("a batch has a group");
    Reply::Duplicate { ranges: Ranges { first, rest: ranges.collect() }.into(), lsn }
}

/// Refuses more windows than there may be.
fn check_windows(view: &View<'_>, command: &Produce<'_>) -> Result<(), Refused> {
    let producers = view.producers();
    let is_new = |partition: &u32| producers.window(command.producer.number, *partition).is_none();
    let mut new: Vec<u32> = command.append.groups.iter().map(|group| group.partition).filter(is_new).collect();
    if new.is_empty() {
        return Ok(());
    }
    new.sort_unstable();
    new.dedup();
    let windows = producers.window_count() + new.len();
    let checked = within("partitions of all producers", PRODUCER_PARTITIONS_MAX, windows);
    checked.map_err(|refusal| refusal.resting_on(COUNTERS))
}

/// A batch that is new.
struct Accepted<'a, 'c> {
    view: &'a View<'a>,
    slot: u32,
    head: &'a Head,
    command: &'a Produce<'c>,
    now: Now,
}

impl<'c> Accepted<'_, 'c> {
    /// Gives out the records of each group, and behind them that they were produced.
    fn store(&self, sequences: &[u64], emit: &mut impl FnMut(StreamEvent<'c>)) -> Reply {
        let mut partitions = Map::<u32, Partition>::default();
        let groups = self.command.append.groups.iter().zip(sequences);
        let mut ranges = groups.map(|(group, sequence)| {
            let stored = || self.view.partition(self.slot, self.head, group.partition);
            let partition = partitions.entry(group.partition).or_insert_with(stored);
            let (log, item) = (self.head.log(group.partition), fill_item(group.records));
            let range = append(log, partition, group, item, self.now, emit);
            emit(StreamEvent::Producers(Event::Produced(self.produced(&range, *sequence, self.now.wall))));
            range
        });
        let first = ranges.next().expect("a batch has a group");
        let rest = ranges.collect();
        Reply::Appended(Ranges { first, rest })
    }

    fn produced(&self, range: &Range, sequence: u64, timestamp: Timestamp) -> Produced {
        let ProducerHandle { number, epoch } = self.command.producer;
        let Range { partition, first_offset, records } = *range;
        Produced { number, epoch, sequence, first_offset, timestamp, partition, records }
    }
}
