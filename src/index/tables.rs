//! Tables of the index and the bytes in them. Keys are big-endian, so that their bytes sort as their numbers do; values
//! are little-endian.
//!
//! ```text
//! table     key                               value
//! meta      nothing                           16 database id, u32 format, u64 applied LSN, u64 indexed LSN,
//!                                             u64 commits, u64 highest wall time, u64 next survivor number
//! rows      u8 kind, u64 id                   the object's bytes, at most ROW_BYTES_MAX
//! runs      u64 log, u64 first offset         u64 end offset, u64 segment, u32 slot, u64 records, u64 bytes,
//!                                             u64 earliest timestamp, u64 latest timestamp, u64 earliest expiry
//! segments  u64 segment                       u64 total bytes, u64 live bytes, u64 file bytes
//! timers    u64 due, u8 kind, u64 id          nothing
//! ```
//!
//! Each value but a timer's ends with a u32: CRC-32C of the value before it, xor that of the key rotated left by one
//! bit. redb looks at its own checksums only when it repairs; a value that was damaged since is found here, and never
//! served.
//!
//! A segment is its number, with the top bit set for a survivor. Times are microseconds since 1970-01-01 UTC, except
//! `due`, whose clock is the owner's.

use redb::TableDefinition;

use crate::base::codec::{Malformed, Put, Take};
use crate::base::crc::crc;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::run::Run;
use crate::base::segment_id::SegmentId;
use crate::base::time::Timestamp;

pub(super) const META: TableDefinition<'_, (), &[u8; META_BYTES]> = TableDefinition::new("meta");
pub(super) const ROWS: TableDefinition<'_, &RowKeyBytes, &[u8]> = TableDefinition::new("rows");
pub(super) const RUNS: TableDefinition<'_, &RunKeyBytes, &[u8; RUN_BYTES]> = TableDefinition::new("runs");
pub(super) const SEGMENTS: TableDefinition<'_, &[u8; 8], &[u8; SEGMENT_ROW_BYTES]> = TableDefinition::new("segments");
pub(super) const TIMERS: TableDefinition<'_, &TimerKeyBytes, ()> = TableDefinition::new("timers");

pub(super) const META_BYTES: usize = 60 + CRC_BYTES;
pub(super) const RUN_BYTES: usize = 60 + CRC_BYTES;
pub(super) const SEGMENT_ROW_BYTES: usize = 24 + CRC_BYTES;

const CRC_BYTES: usize = 4;

pub(super) type RowKeyBytes = [u8; 9];
pub(super) type RunKeyBytes = [u8; 16];
pub(super) type TimerKeyBytes = [u8; 17];

/// What the index knows of the whole database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Meta {
    pub(crate) database_id: [u8; 16],
    pub(crate) format: u32,
    /// Everything in the journal below it is in the index.
    pub(crate) applied: Lsn,
    /// Every journal segment that ends at or below it has its sidecar.
    pub(crate) indexed: Lsn,
    /// Number of this checkpoint, counted from the one that created the index.
    pub(crate) commits: u64,
    pub(crate) wall_high: Timestamp,
    pub(crate) next_survivor: u64,
}

/// What is known of one sealed segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentRow {
    pub(crate) id: SegmentId,
    /// Frame bytes that were attributed to records when it was sealed.
    pub(crate) total_bytes: u64,
    /// Those of them that still live.
    pub(crate) live_bytes: u64,
    /// Length of its file.
    pub(crate) file_bytes: u64,
}

impl SegmentRow {
    /// Bytes of the file that live, as far as that can be told: a body that several logs have is counted in each.
    pub(crate) fn living_file_bytes(&self) -> u64 {
        let living = u128::from(self.file_bytes) * u128::from(self.live_bytes) / u128::from(self.total_bytes.max(1));
        u64::try_from(living).unwrap_or(u64::MAX)
    }
}

pub(super) fn meta_bytes(meta: &Meta) -> [u8; META_BYTES] {
    let mut out = [0; META_BYTES];
    let mut put = Put::new(&mut out);
    put.bytes(&meta.database_id);
    put.u32(meta.format);
    put.u64(meta.applied.get());
    put.u64(meta.indexed.get());
    put.u64(meta.commits);
    put.u64(meta.wall_high.as_micros());
    put.u64(meta.next_survivor);
    assert_eq!(put.remaining(), CRC_BYTES);
    sealed(&[], out)
}

pub(super) fn meta_from(bytes: &[u8; META_BYTES]) -> Result<Meta, Malformed> {
    let mut take = Take::new(opened(&[], bytes)?);
    let meta = Meta {
        database_id: take.array()?,
        format: take.u32()?,
        applied: Lsn::from_raw(take.u64()?),
        indexed: Lsn::from_raw(take.u64()?),
        commits: take.u64()?,
        wall_high: Timestamp::from_micros(take.u64()?),
        next_survivor: take.u64()?,
    };
    take.end()?;
    Ok(meta)
}

pub(super) fn row_key_bytes(key: RowKey) -> RowKeyBytes {
    let mut out = [key.kind; 9];
    out[1..].copy_from_slice(&key.id.to_be_bytes());
    out
}

pub(super) fn row_key_from(bytes: &RowKeyBytes) -> RowKey {
    RowKey { kind: bytes[0], id: big_endian(&bytes[1..]) }
}

pub(super) fn run_key_bytes(log: LogId, first: u64) -> RunKeyBytes {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&log.0.to_be_bytes());
    out[8..].copy_from_slice(&first.to_be_bytes());
    out
}

pub(super) fn run_bytes(run: &Run) -> [u8; RUN_BYTES] {
    let mut out = [0; RUN_BYTES];
    let mut put = Put::new(&mut out);
    put.u64(run.end);
    put.u64(run.segment.to_raw());
    put.u32(run.slot);
    put.u64(run.records);
    put.u64(run.bytes);
    put.u64(run.min_timestamp.as_micros());
    put.u64(run.max_timestamp.as_micros());
    put.u64(run.min_expiry);
    assert_eq!(put.remaining(), CRC_BYTES);
    sealed(&run_key_bytes(run.log, run.first), out)
}

pub(super) fn run_from(key: &RunKeyBytes, bytes: &[u8; RUN_BYTES]) -> Result<Run, Malformed> {
    let mut take = Take::new(opened(key, bytes)?);
    let run = Run {
        log: LogId(big_endian(&key[..8])),
        first: big_endian(&key[8..]),
        end: take.u64()?,
        segment: SegmentId::from_raw(take.u64()?),
        slot: take.u32()?,
        records: take.u64()?,
        bytes: take.u64()?,
        min_timestamp: Timestamp::from_micros(take.u64()?),
        max_timestamp: Timestamp::from_micros(take.u64()?),
        min_expiry: take.u64()?,
    };
    take.end()?;
    if run.first < run.end { Ok(run) } else { Err(Malformed("a run ends before it starts")) }
}

pub(super) fn segment_key_bytes(id: SegmentId) -> [u8; 8] {
    id.to_raw().to_be_bytes()
}

pub(super) fn segment_row_bytes(row: &SegmentRow) -> [u8; SEGMENT_ROW_BYTES] {
    let mut out = [0; SEGMENT_ROW_BYTES];
    let mut put = Put::new(&mut out);
    put.u64(row.total_bytes);
    put.u64(row.live_bytes);
    put.u64(row.file_bytes);
    assert_eq!(put.remaining(), CRC_BYTES);
    sealed(&segment_key_bytes(row.id), out)
}

pub(super) fn segment_row_from(key: &[u8; 8], bytes: &[u8; SEGMENT_ROW_BYTES]) -> Result<SegmentRow, Malformed> {
    let mut take = Take::new(opened(key, bytes)?);
    let id = SegmentId::from_raw(u64::from_be_bytes(*key));
    let row = SegmentRow { id, total_bytes: take.u64()?, live_bytes: take.u64()?, file_bytes: take.u64()? };
    take.end()?;
    Ok(row)
}

pub(super) fn timer_key_bytes(due: u64, key: RowKey) -> TimerKeyBytes {
    let mut out = [0; 17];
    out[..8].copy_from_slice(&due.to_be_bytes());
    out[8..].copy_from_slice(&row_key_bytes(key));
    out
}

pub(super) fn timer_from(bytes: &TimerKeyBytes) -> (u64, RowKey) {
    (big_endian(&bytes[..8]), RowKey { kind: bytes[8], id: big_endian(&bytes[9..]) })
}

/// An object's row with its checksum behind it.
pub(super) fn row_bytes(key: RowKey, row: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(row.len() + CRC_BYTES);
    out.extend_from_slice(row);
    out.extend_from_slice(&sum(&row_key_bytes(key), row).to_le_bytes());
    out
}

/// The object's row in a value.
pub(super) fn row_from(key: RowKey, value: &[u8]) -> Result<&[u8], Malformed> {
    opened(&row_key_bytes(key), value)
}

fn sealed<const N: usize>(key: &[u8], mut value: [u8; N]) -> [u8; N] {
    let sum = sum(key, &value[..N - CRC_BYTES]);
    value[N - CRC_BYTES..].copy_from_slice(&sum.to_le_bytes());
    value
}

fn opened<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Malformed> {
    let (body, stored) = value.split_last_chunk::<CRC_BYTES>().ok_or(Malformed("a value without a checksum"))?;
    if sum(key, body) == u32::from_le_bytes(*stored) { Ok(body) } else { Err(Malformed("a value's checksum")) }
}

fn sum(key: &[u8], value: &[u8]) -> u32 {
    crc(value) ^ crc(key).rotate_left(1)
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const NUMBERS: [u64; 6] = [0, 1, 255, 256, 1 << 40, u64::MAX];

    #[test]
    fn keys_come_back_and_sort_as_their_numbers_do() {
        let rows: Vec<RowKey> = [0, 1, 255].iter().flat_map(|&kind| NUMBERS.map(|id| RowKey { kind, id })).collect();
        let timers: Vec<_> = NUMBERS.iter().flat_map(|&due| rows.iter().map(move |&key| (due, key))).collect();
        assert!(rows.is_sorted_by_key(|&key| row_key_bytes(key)));
        assert!(timers.is_sorted_by_key(|&(due, key)| timer_key_bytes(due, key)));
        assert!(rows.iter().all(|&key| row_key_from(&row_key_bytes(key)) == key));
        assert!(timers.iter().all(|&(due, key)| timer_from(&timer_key_bytes(due, key)) == (due, key)));
    }

    #[test]
    fn a_flipped_bit_of_a_value_is_found() {
        let run = super::super::twin::run(7, 10, 20, 5);
        let (key, value) = (run_key_bytes(run.log, run.first), run_bytes(&run));
        for bit in 0..value.len() * 8 {
            let mut damaged = value;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(run_from(&key, &damaged).is_err(), "bit {bit}");
        }
        let key = RowKey { kind: 3, id: 9 };
        let mut row = row_bytes(key, b"a partition");
        assert_eq!(row_from(key, &row), Ok(&b"a partition"[..]));
        assert!(row_from(RowKey { kind: 3, id: 8 }, &row).is_err(), "a row under another's key");
        row[0] ^= 1;
        assert!(row_from(key, &row).is_err());
    }

    #[test]
    fn a_run_that_ends_before_it_starts_is_malformed() {
        let run = super::super::twin::run(7, 10, 20, 5);
        assert_eq!(run_from(&run_key_bytes(run.log, run.first), &run_bytes(&run)), Ok(run));
        assert!(run_from(&run_key_bytes(run.log, 20), &run_bytes(&run)).is_err());
    }
}
