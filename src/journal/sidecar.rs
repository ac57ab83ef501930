//! A sidecar: where the records of each log lie in one sealed segment. Written once, read through a map.
//!
//! | at | bytes | field | |
//! |---|---|---|---|
//! | 0 | 8 | magic | `TOWPIDX\0` |
//! | 8 | 4 | format | version of everything on disk |
//! | 12 | 4 | crc | CRC-32C of everything from byte 16 on |
//! | 16 | 16 | database id | |
//! | 32 | 8 | segment | number; top bit: survivor |
//! | 40 | 4 | runs | |
//! | 44 | 4 | entries | |
//! | 48 | 64 each | runs | by (log, first offset) |
//! | | 8 each | entries | (offset − the run's first) u32, position u32; grouped by run |
//!
//! A run: log u64, first u64, end u64, records u64, bytes u64, least timestamp u64, greatest timestamp u64,
//! first entry u32, entries u32. The least expiry stands in the index only.

use std::io;

use crate::base::crc::crc;
use crate::base::log::LogId;
use crate::base::run::NEVER_EXPIRES;
use crate::base::segment_id::SegmentId;
use crate::base::time::Timestamp;
use crate::storage::control::FORMAT;
use crate::storage::disk::{Access, Disk, Map};
use crate::storage::segment::{FOLDER, sidecar_path};

const MAGIC: [u8; 8] = *b"TOWPIDX\0";
const HEAD_BYTES: usize = 48;
const RUN_BYTES: usize = 64;
const ENTRY_BYTES: usize = 8;

/// Where one item of a log lies: its first offset and its position in the segment (see `journal::item`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    pub(crate) offset: u64,
    pub(crate) position: u32,
}

/// One log's stretch in the segment, while the sidecar is being made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stretch {
    pub(crate) log: LogId,
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) min_timestamp: Timestamp,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) min_expiry: u64,
    /// (offset − first, position), in order of offsets.
    pub(crate) entries: Vec<(u32, u32)>,
}

impl Stretch {
    pub(crate) fn empty(log: LogId) -> Stretch {
        Stretch {
            log,
            first: 0,
            end: 0,
            records: 0,
            bytes: 0,
            min_timestamp: Timestamp(0),
            max_timestamp: Timestamp(0),
            min_expiry: NEVER_EXPIRES,
            entries: Vec::new(),
        }
    }
}

/// Writes a sidecar for `stretches`, which are sorted by (log, first). It is durable on return, but for its name.
pub(crate) fn write(disk: &dyn Disk, id: SegmentId, database_id: [u8; 16], stretches: &[Stretch]) -> io::Result<()> {
    assert!(stretches.is_sorted_by(|a, b| (a.log, a.first) < (b.log, b.first)), "stretches out of order");
    let path = sidecar_path(id);
    match disk.remove(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = disk.open(&path, Access::Create)?;
    let bytes = encode(id, database_id, stretches);
    let written = file.write(0, &bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        // An unfinished sidecar is an orphan; the next open removes it if this cannot.
        let _ = disk.remove(&path);
    }
    written
}

/// The folder that holds sidecars: to be synced after `write`, before the index refers to them.
pub(crate) const SIDECAR_FOLDER: &str = FOLDER;

fn encode(id: SegmentId, database_id: [u8; 16], stretches: &[Stretch]) -> Vec<u8> {
    let entries: usize = stretches.iter().map(|s| s.entries.len()).sum();
    let mut out = Vec::with_capacity(HEAD_BYTES + stretches.len() * RUN_BYTES + entries * ENTRY_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&database_id);
    out.extend_from_slice(&id.to_raw().to_le_bytes());
    out.extend_from_slice(&(stretches.len() as u32).to_le_bytes());
    out.extend_from_slice(&(entries as u32).to_le_bytes());
    let mut first_entry = 0_u32;
    for s in stretches {
        for field in [s.log.0, s.first, s.end, s.records, s.bytes, s.min_timestamp.0, s.max_timestamp.0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&first_entry.to_le_bytes());
        out.extend_from_slice(&(s.entries.len() as u32).to_le_bytes());
        first_entry += s.entries.len() as u32;
    }
    for (delta, position) in stretches.iter().flat_map(|s| &s.entries) {
        out.extend_from_slice(&delta.to_le_bytes());
        out.extend_from_slice(&position.to_le_bytes());
    }
    let sum = crc(&out[16..]);
    out[12..16].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Why a file is not the sidecar of its segment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SidecarFault {
    #[error("the sidecar {path} is damaged: {reason}")]
    Damaged { path: String, reason: &'static str },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An open sidecar. Cheap to clone; stays readable after the file was removed.
#[derive(Clone, Debug)]
pub(crate) struct Sidecar {
    map: Map,
    runs: usize,
    entries: usize,
}

/// One run of an open sidecar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SidecarRun {
    pub(crate) log: LogId,
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) min_timestamp: Timestamp,
    pub(crate) max_timestamp: Timestamp,
    first_entry: usize,
    entries: usize,
}

impl Sidecar {
    /// Maps and verifies the sidecar of a segment.
    pub(crate) fn open(disk: &dyn Disk, id: SegmentId, database_id: [u8; 16]) -> Result<Sidecar, SidecarFault> {
        let file = disk.open(&sidecar_path(id), Access::Read)?;
        let damaged = |reason| SidecarFault::Damaged { path: sidecar_path(id), reason };
        let len = file.len()?;
        if len < HEAD_BYTES as u64 {
            return Err(damaged("the file is shorter than its head"));
        }
        let map = file.map_read(len)?;
        let (runs, entries) = verify(whole(&map), id, database_id).map_err(damaged)?;
        Ok(Sidecar { map, runs, entries })
    }

    fn bytes(&self) -> &[u8] {
        whole(&self.map)
    }

    /// The run in this slot.
    pub(crate) fn run(&self, slot: usize) -> Option<SidecarRun> {
        let at = HEAD_BYTES + slot.checked_mul(RUN_BYTES)?;
        let bytes = self.bytes().get(at..at + RUN_BYTES).filter(|_| slot < self.runs)?;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        Some(SidecarRun {
            log: LogId(u64_at(0)),
            first: u64_at(8),
            end: u64_at(16),
            records: u64_at(24),
            bytes: u64_at(32),
            min_timestamp: Timestamp(u64_at(40)),
            max_timestamp: Timestamp(u64_at(48)),
            first_entry: u32_at(56) as usize,
            entries: u32_at(60) as usize,
        })
    }

    /// Every run with its slot.
    pub(crate) fn runs(&self) -> impl Iterator<Item = SidecarRun> + '_ {
        (0..self.runs).filter_map(|slot| self.run(slot))
    }

    /// The `index`-th entry of a run.
    pub(crate) fn entry(&self, run: &SidecarRun, index: usize) -> Option<Position> {
        let number = run.first_entry.checked_add(index)?;
        if index >= run.entries || number >= self.entries {
            return None;
        }
        let at = HEAD_BYTES + self.runs * RUN_BYTES + number * ENTRY_BYTES;
        let bytes = self.bytes().get(at..at + ENTRY_BYTES)?;
        let (delta, position) = bytes.split_at(4);
        let delta = u32::from_le_bytes(delta.try_into().expect("four bytes"));
        let position = u32::from_le_bytes(position.try_into().expect("four bytes"));
        Some(Position { offset: run.first + u64::from(delta), position })
    }

    /// Which entry of a run to begin at to find `offset`: the last that does not start after it.
    pub(crate) fn seek(&self, run: &SidecarRun, offset: u64) -> usize {
        let after = |i: usize| self.entry(run, i).is_none_or(|entry| entry.offset > offset);
        let (mut low, mut high) = (0, run.entries);
        while low < high {
            let middle = (low + high) / 2;
            if after(middle) { high = middle } else { low = middle + 1 }
        }
        low.saturating_sub(1)
    }
}

impl SidecarRun {
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }
}

#[expect(unsafe_code, reason = "reads a map of a file that is never written again")]
fn whole(map: &Map) -> &[u8] {
    // SAFETY: a sidecar is written and synced before it is mapped, and never written again.
    unsafe { map.bytes(0, map.len()) }
}

fn verify(bytes: &[u8], id: SegmentId, database_id: [u8; 16]) -> Result<(usize, usize), &'static str> {
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if bytes.len() < HEAD_BYTES || bytes[..8] != MAGIC {
        return Err("it does not start as a sidecar does");
    }
    if u32_at(8) > FORMAT {
        return Err("its format is newer");
    }
    if u32_at(12) != crc(&bytes[16..]) {
        return Err("its checksum does not match");
    }
    if bytes[16..32] != database_id || bytes[32..40] != id.to_raw().to_le_bytes() {
        return Err("it belongs to another segment");
    }
    let (runs, entries) = (u32_at(40) as usize, u32_at(44) as usize);
    let len = runs.checked_mul(RUN_BYTES).zip(entries.checked_mul(ENTRY_BYTES)).and_then(|(r, e)| r.checked_add(e));
    if len.and_then(|l| l.checked_add(HEAD_BYTES)) != Some(bytes.len()) {
        return Err("its length does not match");
    }
    Ok((runs, entries))
}
