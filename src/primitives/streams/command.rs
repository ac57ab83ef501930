//! What may be asked of streams, and why it may be refused.

use std::time::Duration;

use super::groups;
use super::producers::ProducerHandle;
use super::reply::Reply;
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::name::NameFault;
use crate::base::row::RowKey;
use crate::engine::machine::{Class, Lookup, Recount};
use crate::primitives::record::Record;

/// A request that may be refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command<'a> {
    /// A no-op if the stream exists with equal options, `Mismatch` if with others.
    Create { name: &'a str, options: Options },
    /// Creates the stream or applies differences in retention and level; `Mismatch` for another number of partitions.
    Ensure { name: &'a str, options: Options },
    /// Adds partitions behind those that there are.
    AddPartitions { stream: StreamHandle, count: u32 },
    /// Ends the stream with all that is in it.
    Delete { name: &'a str },
    /// Adds records at the ends of partitions: all or none of them.
    Append(Append<'a>),
    /// Lets records below `offset` go.
    TrimBefore { stream: StreamHandle, partition: u32, offset: u64 },
    /// Lets go what retention no longer keeps: the tick.
    Expire { log: LogId },
    /// Takes note of what compaction has left of a partition.
    Compacted(Recount),
    /// Makes the caller the only one who appends under this name; it is forgotten when nobody did so for as long.
    OpenProducer { stream: StreamHandle, name: &'a str, expire_after_micros: u64 },
    /// Adds records as a producer: once, however often it is asked for.
    Produce(Produce<'a>),
    /// Lets a producer go that nobody uses: its tick.
    ExpireProducer { number: u64 },
    /// What is asked of consumer groups.
    Groups(groups::Command<'a>),
}

impl Command<'_> {
    pub(crate) fn class(&self) -> Class {
        match self {
            Command::Create { .. } | Command::Ensure { .. } | Command::AddPartitions { .. } | Command::Append(_) => {
                Class::Publish
            }
            Command::OpenProducer { .. } | Command::Produce(_) => Class::Publish,
            Command::Delete { .. } | Command::TrimBefore { .. } => Class::Settle,
            Command::Expire { .. } | Command::ExpireProducer { .. } | Command::Compacted(_) => Class::Settle,
            Command::Groups(command) => command.class(),
        }
    }
}

/// Names a stream without a look-up by name: by its id, and by the slot that it has in memory in this life. With the
/// slot of another life it is found by its id, which takes longer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct StreamHandle {
    pub(crate) slot: u32,
    pub(crate) id: u64,
}

/// What a stream is created with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    pub(crate) partitions: u32,
    pub(crate) retention: Retention,
    /// `None`: the database's level.
    pub(crate) level: Option<Level>,
    /// `None`: every record is kept, whatever follows it.
    pub(crate) compaction: Option<Compaction>,
}

impl Default for Options {
    fn default() -> Options {
        Options { partitions: 1, retention: Retention::default(), level: None, compaction: None }
    }
}

impl Options {
    /// Whether a stream with these options may be altered to have those.
    pub(super) fn may_become(&self, wanted: &Options) -> bool {
        self.partitions == wanted.partitions && self.compaction.is_some() == wanted.compaction.is_some()
    }

    /// Every option in which a stream with `self` is not what `wanted` asks for.
    pub(crate) fn differences(&self, wanted: &Options) -> Vec<String> {
        let (have, want) = (&self.retention, &wanted.retention);
        let age = |micros: u64| format!("{} s", Duration::from_micros(micros).as_secs_f64());
        let options = [
            ("partitions", self.partitions.to_string(), wanted.partitions.to_string()),
            ("retention age", limit(have.age_micros, age), limit(want.age_micros, age)),
            ("retention bytes", limit(have.bytes, |n| n.to_string()), limit(want.bytes, |n| n.to_string())),
            ("retention records", limit(have.records, |n| n.to_string()), limit(want.records, |n| n.to_string())),
            ("level", level_text(self.level), level_text(wanted.level)),
            ("compaction", compaction_text(self.compaction), compaction_text(wanted.compaction)),
        ];
        let differs = options.into_iter().filter(|(_, have, want)| have != want);
        let texts = differs.map(|(option, have, want)| format!("{option}: is {have}, asked for {want}"));
        let mut texts: Vec<String> = texts.collect();
        if self.partitions < wanted.partitions {
            texts[0] += " (`add_partitions` adds some)";
        }
        texts
    }
}

fn limit(value: Option<u64>, text: impl Fn(u64) -> String) -> String {
    value.map_or_else(|| "unlimited".to_owned(), text)
}

/// How much of each partition is kept; `None` is without limit. The limits hold each for itself.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Retention {
    pub(crate) age_micros: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) records: Option<u64>,
}

impl Retention {
    pub(crate) fn is_unlimited(&self) -> bool {
        *self == Retention::default()
    }
}

/// Of each key only the newest record is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Compaction {
    /// How long a record without a body is kept after those that it supersedes are gone.
    pub(crate) tombstone_retention_micros: u64,
}

fn compaction_text(compaction: Option<Compaction>) -> String {
    compaction.map_or_else(
        || "none".to_owned(),
        |compaction| {
            let kept = Duration::from_micros(compaction.tombstone_retention_micros);
            format!("with tombstones kept {} s", kept.as_secs_f64())
        },
    )
}

fn level_text(level: Option<Level>) -> String {
    match level {
        None => "the database's",
        Some(Level::Sync) => "sync",
        Some(Level::Buffered) => "buffered",
    }
    .to_owned()
}

/// Records for several partitions of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Append<'a> {
    pub(crate) stream: StreamHandle,
    /// The number of partitions that the caller distributed keys over; `StaleMapping` if it is no longer theirs.
    pub(crate) mapping_partitions: u32,
    /// Taken in this order; several may name the same partition.
    pub(crate) groups: &'a [Group<'a>],
}

/// Records that get successive offsets in one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group<'a> {
    pub(crate) partition: u32,
    /// Refused with `WrongOffset` unless this is the offset that the first record gets.
    pub(crate) expect_offset: Option<u64>,
    pub(crate) records: &'a [Record<'a>],
}

/// Records for several partitions of one stream, from a producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Produce<'a> {
    pub(crate) append: Append<'a>,
    pub(crate) producer: ProducerHandle,
    /// Of the first record of each group; without them each goes on where the last one of its partition ended.
    pub(crate) sequences: Option<&'a [u64]>,
}

/// Why a command was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// No such stream, or it was deleted since the handle was made.
    NotFound,
    /// The stream has fewer partitions.
    NoSuchPartition {
        partition: u32,
        partitions: u32,
    },
    /// The stream exists and is not as asked for.
    Mismatch {
        differences: Vec<String>,
    },
    InvalidName(NameFault),
    InvalidOption {
        option: &'static str,
        reason: &'static str,
    },
    /// An append without records, or with a group without records.
    EmptyBatch,
    LimitExceeded {
        limit: &'static str,
        max: u64,
        actual: u64,
    },
    /// The partition does not end where the caller thought.
    WrongOffset {
        partition: u32,
        expected: u64,
        end: u64,
    },
    /// The producer was opened by another since.
    Fenced {
        producer: Box<str>,
        current: u64,
    },
    /// No such producer: nobody used it for long, or it went with its stream.
    NoSuchProducer,
    /// Records of the producer that come before these were not accepted.
    OutOfOrder {
        partition: u32,
        sequence: u64,
        expected: u64,
    },
    /// Some of these records of the producer were accepted, and not all of them as one of the batches remembered.
    Overlapping {
        partition: u32,
        sequence: u64,
        records: u32,
        expected: u64,
    },
    /// What groups refuse beside what streams do.
    Groups(groups::Refusal),
    /// Keys were distributed over another number of partitions than the stream has.
    StaleMapping {
        partitions: u32,
        mapping_epoch: u32,
    },
}

/// The outcome of `decide`, as in `engine::machine::Decision`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Accept(Reply),
    Unchanged { reply: Reply, rests_on: Option<RowKey> },
    Refuse { refusal: Refusal, rests_on: Option<RowKey> },
    Needs(Lookup),
}
