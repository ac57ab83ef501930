//! A run: a log's stretch in one segment.

use super::log::LogId;
use super::segment_id::SegmentId;
use super::time::Timestamp;

/// The expiry of a record that has none.
pub(crate) const NEVER_EXPIRES: u64 = u64::MAX;

/// A log's stretch in one segment: where the records with offsets in `first..end` lie. Not every offset in between need
/// have a record (cleaning leaves the dead ones out). Runs of one log do not overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) log: LogId,
    pub(crate) first: u64,
    /// The first offset after the run; above `first`.
    pub(crate) end: u64,
    pub(crate) segment: SegmentId,
    /// The log's row in the table of the segment's sidecar.
    pub(crate) slot: u32,
    pub(crate) records: u64,
    /// Frame bytes that are attributed to these records.
    pub(crate) bytes: u64,
    pub(crate) min_timestamp: Timestamp,
    /// Never below that of an earlier run of the same log.
    pub(crate) max_timestamp: Timestamp,
    /// The earliest expiry of any record in microseconds of wall-clock time, or [`NEVER_EXPIRES`].
    pub(crate) min_expiry: u64,
}
