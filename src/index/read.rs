//! Questions to one read transaction.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use super::error::Failure;
use super::tables::{self, META, Meta, ROWS, RUN_BYTES, RUNS, RunKeyBytes, SEGMENTS, SegmentRow, TIMERS};
use super::{RowVisitor, RunVisitor};
use crate::base::codec::Malformed;
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::run::Run;
use crate::base::time::Timestamp;

pub(super) fn all_tables_exist(txn: &ReadTransaction) -> Result<(), Failure> {
    txn.open_table(ROWS)?;
    txn.open_table(RUNS)?;
    txn.open_table(SEGMENTS)?;
    txn.open_table(TIMERS)?;
    meta(txn).map(drop)
}

pub(super) fn meta(txn: &ReadTransaction) -> Result<Meta, Failure> {
    let table = txn.open_table(META)?;
    let bytes = table.get(())?.ok_or(Malformed("there is no meta row"))?;
    Ok(tables::meta_from(bytes.value())?)
}

pub(super) fn row(txn: &ReadTransaction, key: RowKey) -> Result<Option<Vec<u8>>, Failure> {
    let bytes = txn.open_table(ROWS)?.get(&tables::row_key_bytes(key))?;
    let row = bytes.map(|bytes| tables::row_from(key, bytes.value()).map(<[u8]>::to_vec));
    Ok(row.transpose()?)
}

pub(super) fn for_each_row(txn: &ReadTransaction, f: &mut RowVisitor<'_>) -> Result<(), Failure> {
    for entry in txn.open_table(ROWS)?.iter()? {
        let (key, bytes) = entry?;
        let key = tables::row_key_from(key.value());
        f(key, tables::row_from(key, bytes.value())?).map_err(Failure::Caller)?;
    }
    Ok(())
}

pub(super) fn for_each_run(txn: &ReadTransaction, f: &mut RunVisitor<'_>) -> Result<(), Failure> {
    for entry in txn.open_table(RUNS)?.iter()? {
        let (key, bytes) = entry?;
        f(&tables::run_from(key.value(), bytes.value())?).map_err(Failure::Caller)?;
    }
    Ok(())
}

pub(super) fn segments(txn: &ReadTransaction) -> Result<Vec<SegmentRow>, Failure> {
    let mut rows = Vec::new();
    for entry in txn.open_table(SEGMENTS)?.iter()? {
        let (key, bytes) = entry?;
        rows.push(tables::segment_row_from(key.value(), bytes.value())?);
    }
    Ok(rows)
}

pub(super) fn next_timers(
    txn: &ReadTransaction,
    after: (u64, RowKey),
    max: usize,
) -> Result<Vec<(u64, RowKey)>, Failure> {
    let after = tables::timer_key_bytes(after.0, after.1);
    let bounds = (std::ops::Bound::Excluded(&after), std::ops::Bound::Unbounded);
    let table = txn.open_table(TIMERS)?;
    let mut timers = Vec::new();
    for entry in table.range::<&tables::TimerKeyBytes>(bounds)?.take(max) {
        timers.push(tables::timer_from(entry?.0.value()));
    }
    Ok(timers)
}

/// The runs of one log. They do not overlap, so the order of first offsets is the order of ends.
pub(super) struct Runs {
    table: ReadOnlyTable<&'static RunKeyBytes, &'static [u8; RUN_BYTES]>,
    log: LogId,
}

impl Runs {
    pub(super) fn of(txn: &ReadTransaction, log: LogId) -> Result<Runs, Failure> {
        Ok(Runs { table: txn.open_table(RUNS)?, log })
    }

    /// Runs whose first offset is in `first..=last`.
    fn range(&self, first: u64, last: u64) -> Result<impl DoubleEndedIterator<Item = Result<Run, Failure>>, Failure> {
        let first = tables::run_key_bytes(self.log, first);
        let last = tables::run_key_bytes(self.log, last);
        let entries = ReadableTable::range::<&RunKeyBytes>(&self.table, &first..=&last)?;
        Ok(entries.map(|entry| {
            let (key, bytes) = entry?;
            Ok(tables::run_from(key.value(), bytes.value())?)
        }))
    }

    fn containing(&self, offset: u64) -> Result<Option<Run>, Failure> {
        let before = self.range(0, offset)?.next_back().transpose()?;
        Ok(before.filter(|run| run.end > offset))
    }

    pub(super) fn at(&self, offset: u64) -> Result<Option<Run>, Failure> {
        match self.containing(offset)? {
            Some(run) => Ok(Some(run)),
            None => self.range(offset, u64::MAX)?.next().transpose(),
        }
    }

    pub(super) fn last(&self) -> Result<Option<Run>, Failure> {
        self.range(0, u64::MAX)?.next_back().transpose()
    }

    pub(super) fn from(&self, offset: u64, max: usize) -> Result<Vec<Run>, Failure> {
        let start = self.containing(offset)?.map_or(offset, |run| run.first);
        self.range(start, u64::MAX)?.take(max).collect()
    }

    pub(super) fn for_time(&self, from_offset: u64, time: Timestamp) -> Result<Option<Run>, Failure> {
        let (Some(first), Some(last)) = (self.at(from_offset)?, self.last()?) else { return Ok(None) };
        if first.max_timestamp >= time {
            return Ok(Some(first));
        }
        if last.max_timestamp < time {
            return Ok(None);
        }
        // Runs that end at or below `low` are too early, `found` is not, and any run between that is not ends in
        // `low + 1..=high`.
        let (mut low, mut high, mut found) = (first.end, last.first, last);
        while low < high {
            let middle = low + (high - low) / 2;
            let run = self.at(middle)?.ok_or(Malformed("the last run of a log is not found by its offsets"))?;
            if run.max_timestamp >= time {
                (high, found) = (middle, run);
            } else {
                low = run.end;
            }
        }
        Ok(Some(found))
    }
}
