//! What calls on a stream answer with. These types may grow; nobody but the library makes them.

use crate::base::level::Level;
use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;

use super::mapping::Mapping;
use super::stream_options::StreamOptions;

/// Proof of a write: where in the journal it stands, and how durable it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Receipt {
    /// Its address; orders it among all writes of the database.
    pub lsn: Lsn,
    /// How durable it is; for a ticket, once that was waited for.
    pub level: Level,
}

/// Where a record was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Appended {
    /// The partition.
    pub partition: u32,
    /// The record's number in the partition, from 0.
    pub offset: u64,
    /// A [`Producer`](crate::Producer) had appended it before: this is where it went then, and nothing was stored now.
    pub duplicate: bool,
    /// Address and level.
    pub receipt: Receipt,
}

impl Appended {
    /// The address of the write.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.receipt.lsn
    }
}

/// Where a batch was appended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AppendedBatch {
    /// One stretch for each partition that got records, by partition. A partition's records have its offsets in the
    /// order in which they stood in the batch.
    pub partitions: Vec<AppendedRange>,
    /// A [`Producer`](crate::Producer) had appended all of it before: this is where it went then, and nothing was
    /// stored now.
    pub duplicate: bool,
    /// Address and level.
    pub receipt: Receipt,
}

/// Records of one batch in one partition; their offsets follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AppendedRange {
    /// The partition.
    pub partition: u32,
    /// The offset of the first.
    pub first_offset: u64,
    /// How many.
    pub records: u32,
}

/// A batch that a [`Producer`](crate::Producer) has appended to one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ProducedBatch {
    /// The sequence of its first record.
    pub sequence: u64,
    /// How many records.
    pub records: u32,
    /// The offset of its first record; those of the others follow.
    pub first_offset: u64,
    /// The address of the write.
    pub lsn: Lsn,
}

impl ProducedBatch {
    /// The sequence at which the next batch begins.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.sequence.saturating_add(u64::from(self.records))
    }
}

/// What there is to know of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StreamDescription {
    /// Its name.
    pub name: String,
    /// Its options; the number of partitions is that of the newest mapping.
    pub options: StreamOptions,
    /// Its mappings, oldest first.
    pub mappings: Vec<Mapping>,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionDescription>,
}

/// What there is to know of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// Its number.
    pub partition: u32,
    /// Offset of the first record that is there.
    pub start_offset: u64,
    /// Offset behind the last record that readers see.
    pub end_offset: u64,
    /// How many records there are: as many as offsets between, less those that compaction has left out.
    pub records: u64,
    /// Bytes of keys, headers and bodies.
    pub bytes: u64,
    /// When the newest record was appended; `None` if there never was one.
    pub last_timestamp: Option<Timestamp>,
}
