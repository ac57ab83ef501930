//! How a stream is created, and how one append is made.

use std::time::Duration;

use crate::base::bounds::{PRODUCER_EXPIRY_MICROS_DEFAULT, TOMBSTONE_RETENTION_MICROS_DEFAULT};
use crate::base::level::Level;
use crate::primitives::streams;

/// What a stream is created with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamOptions {
    partitions: u32,
    retention_age: Option<Duration>,
    retention_bytes: Option<u64>,
    retention_records: Option<u64>,
    level: Option<Level>,
    is_compacted: bool,
    tombstone_retention: Duration,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions::new()
    }
}

impl StreamOptions {
    /// One partition, records kept for ever, the database's level, no compaction.
    #[must_use]
    pub fn new() -> StreamOptions {
        StreamOptions {
            partitions: 1,
            retention_age: None,
            retention_bytes: None,
            retention_records: None,
            level: None,
            is_compacted: false,
            tombstone_retention: Duration::from_micros(TOMBSTONE_RETENTION_MICROS_DEFAULT),
        }
    }

    /// The number of partitions, 1 to 4,096. Order holds within a partition.
    #[must_use]
    pub fn partitions(self, partitions: u32) -> StreamOptions {
        StreamOptions { partitions, ..self }
    }

    /// Records older than this are let go, by a tick within about 50 ms.
    #[must_use]
    pub fn retention_age(self, age: Duration) -> StreamOptions {
        StreamOptions { retention_age: Some(age), ..self }
    }

    /// The newest records of each partition that fit into this many bytes (keys, headers, bodies) are kept.
    #[must_use]
    pub fn retention_bytes(self, bytes: u64) -> StreamOptions {
        StreamOptions { retention_bytes: Some(bytes), ..self }
    }

    /// This many of the newest records of each partition are kept.
    #[must_use]
    pub fn retention_records(self, records: u64) -> StreamOptions {
        StreamOptions { retention_records: Some(records), ..self }
    }

    /// The level of appends that name none, through any handle.
    #[must_use]
    pub fn level(self, level: Level) -> StreamOptions {
        StreamOptions { level: Some(level), ..self }
    }

    /// Of each key only the newest record is kept, with the offset that it has. Whether a stream is compacted is
    /// settled when it is created. Each of its records needs a key: an append without is
    /// [`InvalidOption`](crate::Error::InvalidOption). A record without a body ([`Record::tombstone`](crate::Record))
    /// says that its key is gone, and goes itself some time later.
    #[must_use]
    pub fn compacted(self) -> StreamOptions {
        StreamOptions { is_compacted: true, ..self }
    }

    /// How long a compacted stream keeps a record without a body after compaction has come by it; 24 hours if nothing
    /// else is said. Readers that are never further behind learn of everything that went.
    #[must_use]
    pub fn tombstone_retention(self, retention: Duration) -> StreamOptions {
        StreamOptions { tombstone_retention: retention, ..self }
    }

    /// The number of partitions.
    #[must_use]
    pub fn get_partitions(&self) -> u32 {
        self.partitions
    }

    /// How long records are kept; `None`: for ever.
    #[must_use]
    pub fn get_retention_age(&self) -> Option<Duration> {
        self.retention_age
    }

    /// How many bytes a partition keeps; `None`: all.
    #[must_use]
    pub fn get_retention_bytes(&self) -> Option<u64> {
        self.retention_bytes
    }

    /// How many records a partition keeps; `None`: all.
    #[must_use]
    pub fn get_retention_records(&self) -> Option<u64> {
        self.retention_records
    }

    /// The level of appends that name none; `None`: the database's.
    #[must_use]
    pub fn get_level(&self) -> Option<Level> {
        self.level
    }

    /// Whether only the newest record of each key is kept.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        self.is_compacted
    }

    /// How long records without a body are kept, if the stream is compacted.
    #[must_use]
    pub fn get_tombstone_retention(&self) -> Duration {
        self.tombstone_retention
    }

    pub(crate) fn to_machine(&self) -> streams::Options {
        let micros = |age: Duration| u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        streams::Options {
            partitions: self.partitions,
            retention: streams::Retention {
                age_micros: self.retention_age.map(micros),
                bytes: self.retention_bytes,
                records: self.retention_records,
            },
            level: self.level,
            compaction: self
                .is_compacted
                .then(|| streams::Compaction { tombstone_retention_micros: micros(self.tombstone_retention) }),
        }
    }

    pub(crate) fn from_machine(options: &streams::Options) -> StreamOptions {
        StreamOptions {
            partitions: options.partitions,
            retention_age: options.retention.age_micros.map(Duration::from_micros),
            retention_bytes: options.retention.bytes,
            retention_records: options.retention.records,
            level: options.level,
            is_compacted: options.compaction.is_some(),
            tombstone_retention: Duration::from_micros(
                options.compaction.map_or(TOMBSTONE_RETENTION_MICROS_DEFAULT, |kept| kept.tombstone_retention_micros),
            ),
        }
    }
}

/// How a producer is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerOptions {
    pub(super) expire_after: Duration,
}

impl Default for ProducerOptions {
    fn default() -> ProducerOptions {
        ProducerOptions::new()
    }
}

impl ProducerOptions {
    /// Forgotten after 7 days without use.
    #[must_use]
    pub fn new() -> ProducerOptions {
        ProducerOptions { expire_after: Duration::from_micros(PRODUCER_EXPIRY_MICROS_DEFAULT) }
    }

    /// The producer is forgotten, with its epoch and its sequences, once it was neither opened nor had a batch accepted
    /// for so long, by the wall clock; from then on it appends no more until it is opened again, and begins at sequence
    /// 0. Each opening says it anew.
    #[must_use]
    pub fn expire_after(self, expire_after: Duration) -> ProducerOptions {
        ProducerOptions { expire_after }
    }
}

/// How one append is made.
#[derive(Clone, Debug, Default)]
pub struct AppendOptions {
    pub(super) partition: Option<u32>,
    pub(super) expect_offset: Option<u64>,
    pub(super) level: Option<Level>,
    pub(super) timeout: Option<Duration>,
}

impl AppendOptions {
    /// Partition by key, no expectation, the stream's level, no time limit.
    #[must_use]
    pub fn new() -> AppendOptions {
        AppendOptions::default()
    }

    /// Appends to this partition, whatever the keys say.
    #[must_use]
    pub fn partition(self, partition: u32) -> AppendOptions {
        AppendOptions { partition: Some(partition), ..self }
    }

    /// Appends only if the partition ends at this offset: [`WrongOffset`](crate::Error::WrongOffset) otherwise, and
    /// nothing is stored.
    #[must_use]
    pub fn expect_offset(self, offset: u64) -> AppendOptions {
        AppendOptions { expect_offset: Some(offset), ..self }
    }

    /// The level of this append.
    #[must_use]
    pub fn level(self, level: Level) -> AppendOptions {
        AppendOptions { level: Some(level), ..self }
    }

    /// The most that the call may wait: for room, [`TimedOut`](crate::Error::TimedOut) then; for its sync,
    /// [`Unconfirmed`](crate::Error::Unconfirmed) then.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> AppendOptions {
        AppendOptions { timeout: Some(timeout), ..self }
    }
}
