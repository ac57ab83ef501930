//! `towpath stream list` and `towpath stream describe`.

use serde::Serialize;
use towpath::{Level, Mapping, PartitionDescription, StreamDescription, StreamOptions};

use crate::exit::Failure;
use crate::output::{Output, counted, grouped, say_json, table};
use crate::place::Place;
use crate::units::{human_bytes, human_duration, rfc3339};

pub(crate) fn list(place: &Place, json: bool) -> Result<(), Failure> {
    let database = place.open_existing()?;
    let streams = database.streams()?;
    database.close()?;
    let mut output = Output::new();
    if json {
        for stream in &streams {
            output.json(&Printed::new(stream))?;
        }
    } else {
        let mut table = table(&["stream", "partitions", "records", "bytes"], &[1, 2, 3]);
        for stream in streams.iter().map(Printed::new) {
            let numbers = [stream.partitions.len() as u64, stream.records, stream.bytes].map(grouped);
            table.add_row([stream.name.to_owned()].into_iter().chain(numbers));
        }
        output.line(table.to_string())?;
    }
    output.flush()
}

pub(crate) fn describe(place: &Place, name: &str, json: bool) -> Result<(), Failure> {
    let database = place.open_existing()?;
    let stream = database.stream(name)?.describe()?;
    database.close()?;
    if json {
        return say_json(&Printed::new(&stream));
    }
    let mut output = Output::new();
    output.line(format!("{name}: {}.", sentence(&PrintedOptions::new(&stream.options))))?;
    for mapping in stream.mappings.iter().skip(1) {
        let partitions = counted(u64::from(mapping.partitions), "partition");
        output.line(format!("Mapping {}: {partitions} since LSN {}.", mapping.epoch, mapping.since_lsn.get()))?;
    }
    let mut table =
        table(&["partition", "first offset", "end offset", "records", "bytes", "last append"], &[0, 1, 2, 3, 4]);
    for partition in stream.partitions.iter().map(PrintedPartition::new) {
        let PrintedPartition { partition, start_offset, end_offset, records, bytes, last_timestamp } = partition;
        let numbers = [u64::from(partition), start_offset, end_offset, records, bytes].map(grouped);
        table.add_row(numbers.into_iter().chain([last_timestamp.unwrap_or_else(|| "never".to_owned())]));
    }
    output.line(table.to_string())?;
    output.flush()
}

/// The options in a sentence, such as `4 partitions; each keeps at most 1h 30m, 8 MiB; level sync`.
fn sentence(options: &PrintedOptions) -> String {
    let age = options.retention_age_micros.map(human_duration);
    let bytes = options.retention_bytes.map(human_bytes);
    let records = options.retention_records.map(|records| counted(records, "record"));
    let limits: Vec<String> = [age, bytes, records].into_iter().flatten().collect();
    let partitions = counted(u64::from(options.partitions), "partition");
    let kept = if limits.is_empty() { "everything".to_owned() } else { format!("at most {}", limits.join(", ")) };
    let compaction = options.tombstone_retention_micros.map(human_duration);
    let compaction = compaction.map_or_else(String::new, |kept| format!("; compacted, tombstones kept {kept}"));
    format!("{partitions}; each keeps {kept}{compaction}; level {}", options.level.unwrap_or("of the database"))
}

#[derive(Serialize)]
struct Printed<'a> {
    name: &'a str,
    options: PrintedOptions,
    records: u64,
    bytes: u64,
    mappings: Vec<PrintedMapping>,
    partitions: Vec<PrintedPartition>,
}

impl<'a> Printed<'a> {
    fn new(stream: &'a StreamDescription) -> Printed<'a> {
        let partitions: Vec<PrintedPartition> = stream.partitions.iter().map(PrintedPartition::new).collect();
        Printed {
            name: &stream.name,
            options: PrintedOptions::new(&stream.options),
            records: partitions.iter().map(|partition| partition.records).sum(),
            bytes: partitions.iter().map(|partition| partition.bytes).sum(),
            mappings: stream.mappings.iter().map(PrintedMapping::new).collect(),
            partitions,
        }
    }
}

#[derive(Serialize)]
struct PrintedMapping {
    epoch: u32,
    partitions: u32,
    since_lsn: u64,
}

impl PrintedMapping {
    fn new(mapping: &Mapping) -> PrintedMapping {
        let Mapping { epoch, partitions, since_lsn, .. } = *mapping;
        PrintedMapping { epoch, partitions, since_lsn: since_lsn.get() }
    }
}

/// What is null has no limit, or is as the database says.
#[derive(Serialize)]
struct PrintedOptions {
    partitions: u32,
    retention_age_micros: Option<u64>,
    retention_bytes: Option<u64>,
    retention_records: Option<u64>,
    level: Option<&'static str>,
    /// Stands there if the stream is compacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    tombstone_retention_micros: Option<u64>,
}

impl PrintedOptions {
    fn new(options: &StreamOptions) -> PrintedOptions {
        PrintedOptions {
            partitions: options.get_partitions(),
            retention_age_micros: options
                .get_retention_age()
                .map(|age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX)),
            retention_bytes: options.get_retention_bytes(),
            retention_records: options.get_retention_records(),
            level: options.get_level().map(|level| match level {
                Level::Sync => "sync",
                Level::Buffered => "buffered",
            }),
            tombstone_retention_micros: options
                .is_compacted()
                .then(|| u64::try_from(options.get_tombstone_retention().as_micros()).unwrap_or(u64::MAX)),
        }
    }
}

#[derive(Serialize)]
struct PrintedPartition {
    partition: u32,
    start_offset: u64,
    end_offset: u64,
    records: u64,
    bytes: u64,
    last_timestamp: Option<String>,
}

impl PrintedPartition {
    fn new(described: &PartitionDescription) -> PrintedPartition {
        PrintedPartition {
            partition: described.partition,
            start_offset: described.start_offset,
            end_offset: described.end_offset,
            records: described.records,
            bytes: described.bytes,
            last_timestamp: described.last_timestamp.map(rfc3339),
        }
    }
}
