//! Which logs are due, and when the next may be.

use std::collections::BTreeMap;

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::log::LogId;
use crate::base::run::{NEVER_EXPIRES, Run};
use crate::base::time::Timestamp;
use crate::engine::Engine;
use crate::engine::fault::Fault;
use crate::engine::keeper::Keeper;
use crate::engine::machine::{CompactedLog, Machine};
use crate::journal::keymap::KeyMap;

use super::{Aim, Pass};

/// A log is due once this part of its sealed bytes was not seen by a pass.
const DIRTY_PART: u64 = 2;

/// Logs looked at in one step.
const LOOKS_PER_STEP: usize = 64;

/// Runs taken from the index at a time.
pub(super) const RUNS_PER_PAGE: usize = 256;

/// What was found when a log was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    /// Bytes that may still be sealed before it is due.
    slack: u64,
    expires: u64,
}

/// A log as the index has it.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    bytes: u64,
    dirty_bytes: u64,
    dirty_records: u64,
    end: u64,
    expires: u64,
}

impl<M: Machine> Engine<M> {
    /// Lists logs that there were at open, for as long as there are more. What a crash may have left untold of them is
    /// counted first.
    pub(super) fn list_logs(&self, keeper: &mut Keeper) -> bool {
        let Some(mut cursor) = keeper.compacting.listing else { return false };
        let mut logs = Vec::new();
        let more = {
            let core = self.core.lock();
            let more = core.machine.next_logs(&mut cursor, FREEZE_CHUNK, &mut |log| logs.push(log));
            logs.retain(|log| core.machine.compacted_log(*log).is_some());
            more
        };
        keeper.compacting.unlooked.extend(logs.iter().copied());
        keeper.compacting.recounts.extend(logs.into_iter().map(|log| (log, 0)));
        keeper.compacting.listing = more.then_some(cursor);
        true
    }

    /// Logs have more in the index than before.
    pub(in crate::engine) fn note_growth(&self, keeper: &mut Keeper, grown: &BTreeMap<LogId, u64>) {
        let grown: Vec<(LogId, u64)> = grown.iter().map(|(log, bytes)| (*log, *bytes)).collect();
        for chunk in grown.chunks(FREEZE_CHUNK) {
            let core = self.core.lock();
            for (log, bytes) in chunk.iter().filter(|(log, _)| core.machine.compacted_log(*log).is_some()) {
                match keeper.compacting.facts.get_mut(log) {
                    Some(facts) if facts.slack > *bytes => facts.slack -= bytes,
                    _ => drop(keeper.compacting.unlooked.insert(*log)),
                }
            }
        }
    }

    /// Finds out whether some of the logs that may be due are.
    pub(super) fn look_at_some(&self, keeper: &mut Keeper) -> Result<bool, Fault> {
        for at in 0..LOOKS_PER_STEP {
            let Some(log) = keeper.compacting.unlooked.pop_first() else { return Ok(at > 0) };
            self.look(keeper, log)?;
        }
        Ok(true)
    }

    fn look(&self, keeper: &mut Keeper, log: LogId) -> Result<(), Fault> {
        let compacting = &mut keeper.compacting;
        if let Some(before) = compacting.facts.remove(&log) {
            compacting.expiring.remove(&(before.expires, log));
        }
        compacting.due.remove(&log);
        let Some((seen, from)) = self.unseen(keeper, log) else {
            keeper.compacting.noted.remove(&log);
            keeper.compacting.expired.remove(&log);
            return Ok(());
        };
        let Some(sealed) = self.sealed(keeper, log, &seen, from)? else { return Ok(()) };
        let slack = sealed.bytes.saturating_sub(sealed.dirty_bytes * DIRTY_PART);
        let compacting = &mut keeper.compacting;
        if sealed.dirty_records > 0 && slack == 0 {
            compacting.due.insert(log);
        }
        compacting.facts.insert(log, Facts { slack, expires: sealed.expires });
        if sealed.expires != NEVER_EXPIRES {
            compacting.expiring.insert((sealed.expires, log));
        }
        Ok(())
    }

    /// A log, and from where on no pass has seen it; `None` if there is no such log.
    fn unseen(&self, keeper: &Keeper, log: LogId) -> Option<(CompactedLog, u64)> {
        let seen = self.core.lock().machine.compacted_log(log)?;
        let noted = keeper.compacting.noted.get(&log).copied().unwrap_or_default();
        Some((seen, seen.cleaned.max(noted).max(seen.start)))
    }

    fn sealed(&self, keeper: &Keeper, log: LogId, seen: &CompactedLog, from: u64) -> Result<Option<Sealed>, Fault> {
        let tried = keeper.compacting.expired.get(&log).copied().unwrap_or_default();
        let mut sealed: Option<Sealed> = None;
        self.each_run(log, seen.start, &mut |run| {
            let none = Sealed { bytes: 0, dirty_bytes: 0, dirty_records: 0, end: 0, expires: NEVER_EXPIRES };
            let so_far = sealed.get_or_insert(none);
            so_far.bytes += run.bytes;
            if run.end > from {
                (so_far.dirty_bytes, so_far.dirty_records) =
                    (so_far.dirty_bytes + run.bytes, so_far.dirty_records + run.records);
            }
            so_far.end = run.end;
            if run.min_expiry > tried {
                so_far.expires = so_far.expires.min(run.min_expiry);
            }
        })?;
        Ok(sealed)
    }

    fn each_run(&self, log: LogId, from: u64, visit: &mut dyn FnMut(&Run)) -> Result<(), Fault> {
        let mut from = from;
        loop {
            let page = self.index.runs(log, from, RUNS_PER_PAGE)?;
            page.iter().for_each(&mut *visit);
            match page.last() {
                Some(last) if page.len() == RUNS_PER_PAGE => from = last.end,
                _ => return Ok(()),
            }
        }
    }

    /// Begins a pass over a log that is due; `false` if none is.
    pub(super) fn begin_pass(&self, keeper: &mut Keeper, now: Timestamp) -> Result<bool, Fault> {
        if let Some(log) = keeper.compacting.due.pop_first() {
            let Some((seen, from)) = self.unseen(keeper, log) else { return Ok(true) };
            let Some(sealed) = self.sealed(keeper, log, &seen, from)? else { return Ok(true) };
            let map = KeyMap::new(from, sealed.dirty_records, keeper.compacting.key_map_places);
            let aim = Aim::Superseded { map, through: from, sealed_end: sealed.end, noted: false };
            keeper.compacting.pass = Some(Pass { log, aim, next: seen.start, is_whole: true });
            self.count_pass();
            return Ok(true);
        }
        let expired = keeper.compacting.expiring.first().copied().filter(|(at, _)| *at <= now.0);
        let Some((at, log)) = expired else { return Ok(false) };
        keeper.compacting.expiring.remove(&(at, log));
        let Some(seen) = self.core.lock().machine.compacted_log(log) else { return Ok(true) };
        keeper.compacting.pass = Some(Pass { log, aim: Aim::Expired { at: now.0 }, next: seen.start, is_whole: true });
        self.count_pass();
        Ok(true)
    }
}
