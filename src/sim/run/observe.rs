//! Reading everything that a database shows, as the model's [`Contents`].

use std::collections::BTreeMap;

use super::groups::groups_of;
use super::history::{
    BatchContents, Contents, PartitionContents, ProducerContents, RecordContents, SessionContents, StreamContents,
};
use super::record::{key_of, read_records};
use crate::base::bounds::FREEZE_CHUNK;
use crate::base::log::LogId;
use crate::engine::Engine;
use crate::engine::read::{Cursor, Read};
use crate::primitives::{Primitives, streams};

const RECORDS_PER_READ: usize = 100;

/// What the engine says of one stream before its records are read.
struct Told {
    name: String,
    options: streams::Options,
    mappings: Vec<streams::Mapping>,
    logs: Vec<(LogId, streams::Partition)>,
    producers: BTreeMap<String, ProducerContents>,
}

/// Reads every record of every stream, what is remembered of sessions, and groups.
pub(super) fn observe(engine: &Engine<Primitives>) -> Result<Contents, String> {
    let mut contents = Contents::default();
    for told in streams_of(engine)? {
        let mut partitions = Vec::new();
        for (number, (log, partition)) in told.logs.iter().enumerate() {
            let read = read_all(engine, *log, partition, told.options.compaction.is_some());
            let mut read = read.map_err(|reason| format!("{}/{number}: {reason}", told.name))?;
            find_epochs(engine, *log, &told.mappings, &mut read)?;
            partitions.push(read);
        }
        let Told { name, options, mappings, producers, .. } = told;
        let epoch = mappings.len() as u32;
        contents.streams.insert(name, StreamContents { options, epoch, partitions, producers });
    }
    let sessions = |machine: &Primitives| {
        let ids = machine.sessions.ids_after(None, FREEZE_CHUNK).into_iter();
        let remembered = ids.filter_map(|session| Some((session, machine.sessions.remembered(session)?)));
        remembered
            .map(|(session, (seen_below, requests))| {
                let requests = requests.into_iter().map(|(sequence, _)| sequence).collect();
                (session, SessionContents { seen_below, requests })
            })
            .collect()
    };
    contents.sessions = engine.inspect(sessions).map_err(|fault| fault.to_string())?;
    contents.groups = groups_of(engine).map_err(|stop| format!("groups: {stop:?}"))?;
    Ok(contents)
}

fn streams_of(engine: &Engine<Primitives>) -> Result<Vec<Told>, String> {
    let look = |machine: &Primitives| {
        let tell = |id: u64, stream: &streams::Stream| {
            let head = stream.head();
            let logs = (0..).zip(stream.partitions()).map(|(number, partition)| (head.log(number), *partition));
            let (mappings, producers) = (head.mappings().iter().collect(), producers_of(machine, id));
            let (name, options) = (head.name().to_owned(), *head.options());
            Told { name, options, mappings, logs: logs.collect(), producers }
        };
        machine.streams.streams().map(|(handle, stream)| tell(handle.id, stream)).collect()
    };
    engine.inspect(look).map_err(|fault| fault.to_string())
}

/// Notes under which mapping each record was appended, as the borders between them tell.
fn find_epochs(
    engine: &Engine<Primitives>,
    log: LogId,
    mappings: &[streams::Mapping],
    partition: &mut PartitionContents,
) -> Result<(), String> {
    for mapping in mappings {
        let border = engine.offset_for_lsn(log, mapping.since).map_err(|fault| fault.to_string())?;
        let border = border.ok_or("a log without an end")?;
        let from = border.saturating_sub(partition.start) as usize;
        partition.records.iter_mut().skip(from).for_each(|record| record.epoch = mapping.epoch);
    }
    Ok(())
}

fn producers_of(machine: &Primitives, stream: u64) -> BTreeMap<String, ProducerContents> {
    let producers = machine.streams.producers();
    let of_stream = producers.starting_at(0).filter(|(_, producer)| producer.stream == stream);
    let tell = |(number, producer): (u64, &streams::Producer)| {
        let batch = |batch: &streams::ProducedBatch| BatchContents {
            sequence: batch.sequence,
            records: batch.records,
            first_offset: batch.first_offset,
        };
        let windows = producers
            .windows_of(number)
            .map(|(partition, window)| (partition, window.batches().iter().map(batch).collect()));
        let contents = ProducerContents {
            number,
            epoch: producer.epoch,
            last_used: producer.last_used,
            expire_after_micros: producer.expire_after_micros,
            windows: windows.collect(),
        };
        (producer.name.to_string(), contents)
    };
    of_stream.map(tell).collect()
}

/// Reads every record of a log, with holes where a stream with compaction has none.
pub(super) fn read_all(
    engine: &Engine<Primitives>,
    log: LogId,
    told: &streams::Partition,
    is_compacted: bool,
) -> Result<PartitionContents, String> {
    let mut partition = PartitionContents { start: told.start, ..PartitionContents::default() };
    let mut cursor = Cursor::default();
    while partition.end() < told.end {
        let at = partition.end();
        let batch = match engine.read(log, at, RECORDS_PER_READ, &mut cursor).map_err(|fault| fault.to_string())? {
            Read::Items(batch) => batch,
            other => return Err(format!("offset {at} of {}..{} reads as {other:?}", told.start, told.end)),
        };
        for item in batch.items() {
            for (offset, record) in read_records(&batch, item)? {
                while is_compacted && partition.end() < offset {
                    partition.records.push_back(RecordContents::HOLE);
                }
                if offset >= partition.start && offset != partition.end() {
                    return Err(format!("offset {offset} is read where {} is due", partition.end()));
                }
                let last = partition.records.iter().rev().find(|last| !last.is_hole());
                if last.is_some_and(|last| last.timestamp > record.timestamp) {
                    return Err(format!("the timestamp at offset {offset} is earlier than the one before it"));
                }
                if offset >= partition.start {
                    partition.records.push_back(record);
                }
            }
        }
        if partition.end() == at {
            return Err(format!("reading at offset {at} yields nothing behind it"));
        }
    }
    if is_compacted {
        check_cleaned(&partition, told.compacted.cleaned)?;
    }
    Ok(partition)
}

/// Below the cleaned end no key has two records, unless one of them was the last.
fn check_cleaned(partition: &PartitionContents, cleaned: u64) -> Result<(), String> {
    let mut newest = BTreeMap::new();
    for (offset, record) in (partition.start..cleaned).zip(&partition.records) {
        let key = key_of(record.number);
        if !record.is_hole() && offset + 1 < cleaned && newest.insert(key, offset).is_some() {
            return Err(format!("key {key} has two records below {cleaned}, where no key should, one at {offset}"));
        }
    }
    Ok(())
}
