//! The commit: one redb transaction, two-phase, with quick repair. Quick repair stores the allocator's state with every
//! commit, so that opening after a crash does not walk the whole file; two phases make the newest commit valid without
//! looking at its pages.

use redb::{Database, Durability, WriteTransaction};

use super::error::Failure;
use super::tables::{self, META, Meta, ROWS, RUNS, SEGMENTS, SegmentRow, TIMERS};
use crate::base::bounds::ROW_BYTES_MAX;
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::run::Run;
use crate::base::segment_id::SegmentId;

/// What changed since the checkpoint before. In each list the last entry for a key counts.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    /// `commits` is one more than before; `applied` is not below what it was.
    pub(crate) meta: Meta,
    /// Rows to write, or to remove with `None`.
    pub(crate) rows: Vec<(RowKey, Option<Vec<u8>>)>,
    /// Logs and first offsets of runs. They go before the added ones come, so a run can be replaced by others.
    pub(crate) runs_removed: Vec<(LogId, u64)>,
    pub(crate) runs_added: Vec<Run>,
    pub(crate) segments: Vec<(SegmentId, Option<SegmentRow>)>,
    /// Due time (above 0), whose timer, and whether it is added or removed.
    pub(crate) timers: Vec<(u64, RowKey, bool)>,
}

impl Checkpoint {
    /// A checkpoint that changes nothing but `meta`.
    pub(crate) fn of(meta: Meta) -> Checkpoint {
        Checkpoint {
            meta,
            rows: Vec::new(),
            runs_removed: Vec::new(),
            runs_added: Vec::new(),
            segments: Vec::new(),
            timers: Vec::new(),
        }
    }

    pub(super) fn check_bounds(&self) {
        for (key, row) in &self.rows {
            let len = row.as_ref().map_or(0, Vec::len);
            assert!(len <= ROW_BYTES_MAX, "row {key:?} has {len} bytes, above the bound of {ROW_BYTES_MAX}");
        }
        for run in &self.runs_added {
            assert!(run.first < run.end && run.min_timestamp <= run.max_timestamp, "not a run: {run:?}");
        }
        for (id, row) in &self.segments {
            assert!(row.is_none_or(|row| row.id == *id), "segment {id:?} with the row of another: {row:?}");
            assert!(row.is_none_or(|row| row.live_bytes <= row.total_bytes), "more lives than there is: {row:?}");
        }
        assert!(self.timers.iter().all(|&(due, ..)| due > 0), "a timer is due at 0");
    }

    pub(super) fn check_follows(&self, before: &Meta) {
        let meta = &self.meta;
        assert_eq!(meta.commits, before.commits + 1, "checkpoints are numbered without a gap");
        assert!(meta.applied >= before.applied, "applied goes back from {} to {}", before.applied, meta.applied);
        assert!(meta.indexed >= before.indexed, "indexed goes back from {} to {}", before.indexed, meta.indexed);
        assert!(meta.next_survivor >= before.next_survivor, "a survivor's number would be used again");
        assert_eq!(meta.database_id, before.database_id, "the checkpoint is of another database");
    }

    /// Neighbours of a table share its pages: written one after the other, each page is touched once.
    pub(super) fn sort(&mut self) {
        self.rows.sort_by_key(|(key, _)| *key);
        self.runs_removed.sort_unstable();
        self.runs_added.sort_by_key(|run| (run.log, run.first));
        self.segments.sort_by_key(|(id, _)| *id);
        self.timers.sort_by_key(|&(due, key, _)| (due, key));
    }
}

pub(super) fn write_first(database: &Database, meta: &Meta) -> Result<(), Failure> {
    let txn = begin(database)?;
    txn.open_table(META)?.insert((), &tables::meta_bytes(meta))?;
    txn.open_table(ROWS)?;
    txn.open_table(RUNS)?;
    txn.open_table(SEGMENTS)?;
    txn.open_table(TIMERS)?;
    Ok(txn.commit()?)
}

pub(super) fn write(database: &Database, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let txn = begin(database)?;
    txn.open_table(META)?.insert((), &tables::meta_bytes(&checkpoint.meta))?;
    write_rows(&txn, &checkpoint.rows)?;
    write_runs(&txn, checkpoint)?;
    write_segments(&txn, &checkpoint.segments)?;
    write_timers(&txn, &checkpoint.timers)?;
    Ok(txn.commit()?)
}

fn begin(database: &Database) -> Result<WriteTransaction, Failure> {
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    txn.set_two_phase_commit(true);
    txn.set_quick_repair(true);
    Ok(txn)
}

fn write_rows(txn: &WriteTransaction, rows: &[(RowKey, Option<Vec<u8>>)]) -> Result<(), Failure> {
    let mut table = txn.open_table(ROWS)?;
    for (key, row) in rows {
        let key_bytes = tables::row_key_bytes(*key);
        match row {
            Some(bytes) => drop(table.insert(&key_bytes, tables::row_bytes(*key, bytes).as_slice())?),
            None => drop(table.remove(&key_bytes)?),
        }
    }
    Ok(())
}

fn write_runs(txn: &WriteTransaction, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let mut table = txn.open_table(RUNS)?;
    for &(log, first) in &checkpoint.runs_removed {
        table.remove(&tables::run_key_bytes(log, first))?;
    }
    for run in &checkpoint.runs_added {
        table.insert(&tables::run_key_bytes(run.log, run.first), &tables::run_bytes(run))?;
    }
    Ok(())
}

fn write_segments(txn: &WriteTransaction, segments: &[(SegmentId, Option<SegmentRow>)]) -> Result<(), Failure> {
    let mut table = txn.open_table(SEGMENTS)?;
    for (id, row) in segments {
        let key = tables::segment_key_bytes(*id);
        match row {
            Some(row) => drop(table.insert(&key, &tables::segment_row_bytes(row))?),
            None => drop(table.remove(&key)?),
        }
    }
    Ok(())
}

fn write_timers(txn: &WriteTransaction, timers: &[(u64, RowKey, bool)]) -> Result<(), Failure> {
    let mut table = txn.open_table(TIMERS)?;
    for &(due, key, add) in timers {
        let key = tables::timer_key_bytes(due, key);
        if add { drop(table.insert(&key, ())?) } else { drop(table.remove(&key)?) }
    }
    Ok(())
}
