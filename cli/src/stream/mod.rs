//! `towpath stream …`: one file per verb that has more to it than a call.

mod append;
mod describe;
mod merge;
mod read;
mod row;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use towpath::{Level, PartitionDescription, Stream, StreamOptions};

use crate::exit::Failure;
use crate::output::{counted, grouped, say};
use crate::place::Place;
use crate::units;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Create a stream; one that exists with the same options is left as it is
    Create(Create),
    /// Append standard input, one record per line
    Append(append::Append),
    /// Write records to standard output
    ///
    /// Records of one partition come in the order of their offsets. Several partitions are merged in the order in which
    /// their batches were appended. `stream append` makes a batch of up to 1,000 lines; within one, records come
    /// partition by partition, so lines of different partitions may not come in the order of the input. With --follow,
    /// partitions are merged as their records arrive; partitions that are added meanwhile are not followed.
    Read(read::Read),
    /// List all streams
    List {
        /// Print one JSON object per stream and line
        #[arg(long)]
        json: bool,
    },
    /// Show the options and partitions of a stream
    Describe {
        /// The stream
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Add partitions to a stream
    ///
    /// Keys are distributed anew: of some the next records go to another partition than those before. Programs that
    /// have the stream open go on with the new number by themselves. Partitions are never taken away.
    AddPartitions {
        /// The stream
        name: String,
        /// How many to add
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
    },
    /// Delete a stream and all its records
    Delete {
        /// The stream
        name: String,
    },
    /// Delete the records before an offset
    Trim(Trim),
}

#[derive(Args)]
pub(crate) struct Create {
    /// The stream: 1 to 255 bytes, no control characters, no leading $
    name: String,
    /// Partitions; records with the same key share one
    #[arg(long, value_name = "N", default_value_t = 1)]
    partitions: u32,
    /// Delete records older than this, such as 90s, 12h or 7d
    #[arg(long, value_name = "D", value_parser = units::duration)]
    retention_age: Option<Duration>,
    /// Keep at most this many bytes per partition, such as 4096, 100MB or 8MiB
    #[arg(long, value_name = "B", value_parser = units::bytes)]
    retention_bytes: Option<u64>,
    /// Keep at most this many records per partition
    #[arg(long, value_name = "N")]
    retention_records: Option<u64>,
    /// Keep of each key the newest record only; records without a key are refused
    #[arg(long)]
    compact: bool,
    /// Keep records without a body this long after compaction [default: 24h]
    #[arg(long, value_name = "D", value_parser = units::duration, requires = "compact")]
    tombstone_retention: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct Trim {
    /// The stream
    name: String,
    /// The first offset to keep
    #[arg(long, value_name = "OFFSET")]
    before: u64,
    /// The partition; may be left out if the stream has one
    #[arg(long, value_name = "P")]
    partition: Option<u32>,
}

/// What holds when an append has returned.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum LevelName {
    /// It is on disk
    Sync,
    /// It survives the death of the process; a power cut may undo the newest 50 ms
    Buffered,
}

impl LevelName {
    pub(crate) fn level(self) -> Level {
        match self {
            LevelName::Sync => Level::Sync,
            LevelName::Buffered => Level::Buffered,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            LevelName::Sync => "sync",
            LevelName::Buffered => "buffered",
        }
    }
}

impl Verb {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        match self {
            Verb::Create(create) => create.run(place),
            Verb::Append(append) => append.run(place),
            Verb::Read(read) => read.run(place),
            Verb::List { json } => describe::list(place, json),
            Verb::Describe { name, json } => describe::describe(place, &name, json),
            Verb::AddPartitions { name, count } => add_partitions(place, &name, count),
            Verb::Delete { name } => delete(place, &name),
            Verb::Trim(trim) => trim.run(place),
        }
    }
}

impl Create {
    fn run(self, place: &Place) -> Result<(), Failure> {
        let mut options = StreamOptions::new().partitions(self.partitions);
        if let Some(age) = self.retention_age {
            options = options.retention_age(age);
        }
        if let Some(bytes) = self.retention_bytes {
            options = options.retention_bytes(bytes);
        }
        if let Some(records) = self.retention_records {
            options = options.retention_records(records);
        }
        if self.compact {
            options = options.compacted();
        }
        if let Some(retention) = self.tombstone_retention {
            options = options.tombstone_retention(retention);
        }
        let database = place.open()?;
        let stream = database.create_stream(&self.name, options)?;
        let partitions = counted(u64::from(stream.partitions()), "partition");
        drop(stream);
        database.close()?;
        say(format!("{} is there, with {partitions}.", self.name))
    }
}

fn add_partitions(place: &Place, name: &str, count: u32) -> Result<(), Failure> {
    let database = place.open_existing()?;
    let mapping = database.stream(name)?.add_partitions(count)?;
    database.close()?;
    let partitions = counted(u64::from(mapping.partitions), "partition");
    say(format!("{name} has {partitions} now; this is its mapping {}.", mapping.epoch))
}

fn delete(place: &Place, name: &str) -> Result<(), Failure> {
    let database = place.open_existing()?;
    database.delete_stream(name)?;
    database.close()?;
    say(format!("{name} is deleted."))
}

impl Trim {
    fn run(self, place: &Place) -> Result<(), Failure> {
        let database = place.open_existing()?;
        let stream = database.stream(&self.name)?;
        let partition = match (self.partition, stream.partitions()) {
            (Some(partition), _) => partition,
            (None, 1) => 0,
            (None, partitions) => {
                return Err(Failure::usage(format!(
                    "{} has {partitions} partitions and each counts its own offsets; name one with --partition",
                    self.name
                )));
            }
        };
        if partition >= stream.partitions() {
            return Err(no_such_partition(&stream, partition));
        }
        stream.trim_before(partition, self.before)?;
        let described = stream.describe()?.partitions[partition as usize];
        drop(stream);
        database.close()?;
        say(format!("{} partition {partition} {}.", self.name, extent(&described)))
    }
}

/// Where a partition begins and ends, as the end of a sentence.
fn extent(partition: &PartitionDescription) -> String {
    let PartitionDescription { start_offset, end_offset, records, .. } = *partition;
    match records {
        0 => format!("is empty and goes on at offset {}", grouped(end_offset)),
        records => format!("begins at offset {} and holds {}", grouped(start_offset), counted(records, "record")),
    }
}

fn no_such_partition(stream: &Stream, partition: u32) -> Failure {
    let last = stream.partitions().saturating_sub(1);
    Failure::not_found(format!("{} has no partition {partition}; its partitions are 0 to {last}", stream.name()))
}
