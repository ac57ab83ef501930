//! Answers to what machines ask about records that are not in memory: how far a stretch from the start of a log goes.
//!
//! Whole runs are skipped by what the index and memory know of them; only the run in which the stretch ends is read.

use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::run::Run;
use crate::base::time::Timestamp;

use super::Engine;
use super::fault::Fault;
use super::machine::{Lookup, Machine, Stretch, Until};
use super::read::{Cursor, Read, Sight};

/// Records read at a time.
const RECORDS_PER_READ: usize = 1024;

/// How often it is counted again what a stretch leaves, because compaction came between.
const COUNTS_MAX: usize = 8;

/// A run, in a sealed segment or not.
#[derive(Clone, Copy, Debug)]
struct RunFacts {
    first: u64,
    end: u64,
    bytes: u64,
    records: u64,
    max_timestamp: Timestamp,
}

impl From<Run> for RunFacts {
    fn from(run: Run) -> RunFacts {
        let Run { first, end, bytes, records, max_timestamp, .. } = run;
        RunFacts { first, end, bytes, records, max_timestamp }
    }
}

impl<M: Machine> Engine<M> {
    pub(crate) fn look_up(&self, lookup: Lookup) -> Result<Stretch, Fault> {
        self.while_held(|| self.find_stretch(lookup))
    }

    pub(super) fn find_stretch(&self, lookup: Lookup) -> Result<Stretch, Fault> {
        match lookup.until {
            Until::RecordsLeft(most) => self.find_leaving(lookup, most, |stretch| stretch.records, Until::Records),
            Until::BytesLeft(most) => self.find_leaving(lookup, most, |stretch| stretch.bytes, Until::Bytes),
            _ => self.go_along(lookup),
        }
    }

    /// The stretch that is to leave at most so much behind it, by how much it takes from the start. Compaction may
    /// leave records out while it is counted: then the parts are less than the whole was, and it is counted again.
    /// Otherwise less would be left than may stay.
    fn find_leaving(
        &self,
        lookup: Lookup,
        most: u64,
        amount: impl Fn(&Stretch) -> u64,
        until: impl Fn(u64) -> Until,
    ) -> Result<Stretch, Fault> {
        let end = Until::Offset(self.end_of(lookup.log).unwrap_or(lookup.from));
        for _ in 0..COUNTS_MAX {
            let all = amount(&self.go_along(Lookup { until: end, ..lookup })?);
            let found = self.go_along(Lookup { until: until(all.saturating_sub(most)), ..lookup })?;
            let left = self.go_along(Lookup { from: found.end, until: end, ..lookup })?;
            if amount(&found) + amount(&left) == all {
                return Ok(found);
            }
        }
        Err(Fault::Contended)
    }

    fn go_along(&self, lookup: Lookup) -> Result<Stretch, Fault> {
        let mut stretch = Stretch { end: lookup.from, bytes: 0, records: 0, next_timestamp: None };
        loop {
            let run = self.run_facts(lookup.log, stretch.end)?;
            // Where no run begins, compaction has left nothing up to the next.
            let Some(run) = run.filter(|run| !ends_within(run, &lookup, &stretch)) else {
                return self.measure(&lookup, stretch);
            };
            if run.first >= stretch.end {
                stretch.bytes += run.bytes;
                stretch.records += run.records;
                stretch.end = run.end;
            } else {
                // The stretch begins inside this run: its records are counted one by one.
                let rest = Lookup { until: Until::Offset(run.end), ..lookup };
                stretch = self.measure(&rest, stretch)?;
            }
            if self.end_of(lookup.log).is_none_or(|end| stretch.end >= end) {
                return Ok(Stretch { next_timestamp: None, ..stretch });
            }
        }
    }

    /// The first offset of a log with this timestamp or a later one; `None` if there is none.
    pub(crate) fn offset_for_time(&self, log: LogId, time: Timestamp) -> Result<Option<u64>, Fault> {
        self.while_held(|| self.find_time(log, time))
    }

    fn find_time(&self, log: LogId, time: Timestamp) -> Result<Option<u64>, Fault> {
        let Some(extent) = self.extent(log)? else { return Ok(None) };
        let mut from = extent.start;
        if let Some(run) = self.index.run_for_time(log, extent.start, time)? {
            from = from.max(run.first);
        } else if let Some(last) = self.index.last_run(log)? {
            from = from.max(last.end);
        }
        let found = self.find_stretch(Lookup { log, from, until: Until::Time(time), passes: 0 })?;
        Ok((found.end < extent.end).then_some(found.end))
    }

    /// The first offset written at this address or a later one, the end if there is none; `None` if there is no such
    /// log. Halves the log by reading one item at a time: addresses grow with offsets.
    pub(crate) fn offset_for_lsn(&self, log: LogId, lsn: Lsn) -> Result<Option<u64>, Fault> {
        let Some(extent) = self.extent(log)? else { return Ok(None) };
        let (mut low, mut high) = (extent.start, extent.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.read(log, middle, 1, &mut Cursor::default())? {
                Read::Items(batch) => match batch.items().first() {
                    Some(item) if item.lsn < lsn => low = item.entry.end(),
                    Some(item) => high = item.entry.first.max(low).min(middle),
                    None => high = middle,
                },
                Read::Below { start, .. } if start > low => low = start.min(high),
                _ => high = middle,
            }
        }
        Ok(Some(low))
    }

    /// The offset of a log's next record, whoever may see those before it.
    fn end_of(&self, log: LogId) -> Option<u64> {
        self.core.lock().logs.get(log).map(|cell| cell.end)
    }

    /// The run that holds `offset`.
    fn run_facts(&self, log: LogId, offset: u64) -> Result<Option<RunFacts>, Fault> {
        let recent = {
            let core = self.core.lock();
            core.logs.get(log).and_then(|cell| cell.recent_stretch(offset)).map(|positions| RunFacts {
                first: positions.first,
                end: positions.end,
                bytes: positions.bytes,
                records: positions.records,
                max_timestamp: positions.max_timestamp,
            })
        };
        match recent {
            Some(facts) => Ok(Some(facts)),
            None => Ok(self.index.run_at(log, offset)?.map(RunFacts::from)),
        }
    }

    /// Goes on record by record from where the stretch stands.
    fn measure(&self, lookup: &Lookup, mut stretch: Stretch) -> Result<Stretch, Fault> {
        let mut cursor = Cursor::default();
        loop {
            let batch = match self.read_as(Sight::Everything, lookup.log, stretch.end, RECORDS_PER_READ, &mut cursor)? {
                Read::Items(batch) => batch,
                Read::AtEnd | Read::Below { .. } | Read::Gone => {
                    return Ok(Stretch { next_timestamp: None, ..stretch });
                }
            };
            for item in batch.items() {
                let (mut ended, timestamp) = (false, item.entry.timestamp);
                let measured = M::measure(batch.bytes(item), &mut |offset, bytes| {
                    if ended || offset < stretch.end {
                        return;
                    }
                    if reached(lookup, &stretch, offset, timestamp) {
                        ended = true;
                        stretch.next_timestamp = Some(timestamp);
                        stretch.end = match lookup.until {
                            Until::Offset(end) => end,
                            _ => offset,
                        };
                    } else {
                        (stretch.end, stretch.bytes) = (offset + 1, stretch.bytes + bytes);
                        stretch.records += 1;
                    }
                });
                measured.map_err(|fault| batch.not_understood(item, &fault))?;
                if ended {
                    return Ok(stretch);
                }
            }
        }
    }
}

/// Whether the stretch may end before the end of this run.
fn ends_within(run: &RunFacts, lookup: &Lookup, stretch: &Stretch) -> bool {
    match lookup.until {
        Until::Offset(offset) => offset < run.end,
        Until::Time(time) => run.max_timestamp >= time,
        Until::Bytes(bytes) => stretch.bytes + run.bytes >= bytes,
        Until::Records(records) => stretch.records + run.records >= records,
        Until::RecordsLeft(_) | Until::BytesLeft(_) => unreachable!("it is asked by what it takes"),
    }
}

/// Whether the stretch ends before the record at `offset`.
fn reached(lookup: &Lookup, stretch: &Stretch, offset: u64, timestamp: Timestamp) -> bool {
    match lookup.until {
        Until::Offset(end) => offset >= end,
        Until::Time(time) => timestamp >= time,
        Until::Bytes(bytes) => stretch.bytes >= bytes,
        Until::Records(records) => stretch.records >= records,
        Until::RecordsLeft(_) | Until::BytesLeft(_) => unreachable!("it is asked by what it takes"),
    }
}
