//! The mappings of a stream, and what was appended under each.

use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::primitives::streams;
use crate::processes::questions::OffsetForLsn;

use super::error::Error;
use super::outcomes::PartitionDescription;
use super::stream::Stream;

/// Over how many partitions the keys of a stream were distributed from one moment on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Mapping {
    /// Its number: 1 for the one that the stream was created with, one more each time partitions were added.
    pub epoch: u32,
    /// How many partitions there were, all earlier ones among them.
    pub partitions: u32,
    /// What has this address or a later one was appended under this mapping or a later one, and everything else under
    /// an earlier one. 0 for the first.
    pub since_lsn: Lsn,
}

/// What was appended under one mapping and is there still.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MappingRanges {
    /// The mapping.
    pub mapping: Mapping,
    /// Whether a later one has begun: then nothing is appended under this one any more.
    pub is_over: bool,
    /// One stretch for each partition of the mapping, by partition; it may be empty.
    pub partitions: Vec<MappedRange>,
}

/// What was appended to one partition under one mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MappedRange {
    /// The partition.
    pub partition: u32,
    /// The offset of the first record.
    pub start_offset: u64,
    /// The offset behind the last.
    pub end_offset: u64,
}

impl Mapping {
    pub(crate) fn from_machine(mapping: streams::Mapping) -> Mapping {
        let streams::Mapping { epoch, partitions, since } = mapping;
        Mapping { epoch, partitions, since_lsn: since }
    }
}

/// The ranges of the mappings from an epoch on. `described` was asked for before `mappings`: what it shows was appended
/// under one of them.
pub(super) fn ranges(
    stream: &Stream,
    from_epoch: u32,
    described: &[PartitionDescription],
    mappings: &streams::Mappings,
) -> Result<Vec<MappingRanges>, Error> {
    let (mut all, mut partitions_before) = (Vec::<MappingRanges>::new(), 0);
    for mapping in mappings.iter().map(Mapping::from_machine) {
        if mapping.epoch >= from_epoch {
            let mut partitions = Vec::with_capacity(mapping.partitions as usize);
            for (partition, log) in (0..mapping.partitions).zip(mappings.logs()) {
                let described = described.get(partition as usize);
                let (start, end) = described.map_or((0, 0), |found| (found.start_offset, found.end_offset));
                // A partition that came with this mapping has nothing before it.
                let is_older = partition < partitions_before;
                let start_offset = if is_older { border(stream, log, mapping.since_lsn)? } else { start };
                partitions.push(MappedRange { partition, start_offset, end_offset: end.max(start_offset) });
            }
            if let Some(before) = all.last_mut() {
                end_before(before, &partitions);
            }
            all.push(MappingRanges { mapping, is_over: false, partitions });
        }
        partitions_before = mapping.partitions;
    }
    Ok(all)
}

/// A mapping ends where the next begins.
fn end_before(ranges: &mut MappingRanges, next: &[MappedRange]) {
    ranges.is_over = true;
    for (range, next) in ranges.partitions.iter_mut().zip(next) {
        range.end_offset = next.start_offset.max(range.start_offset);
    }
}

/// The offset of the first record of a partition with this address or a later one.
fn border(stream: &Stream, log: LogId, lsn: Lsn) -> Result<u64, Error> {
    let offset = stream.database.ask(&OffsetForLsn { log, lsn })?;
    offset.ok_or_else(|| stream.not_found())
}
