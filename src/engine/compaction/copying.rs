//! The second stage of a pass: a step of it in a checkpoint.

use crate::base::bounds::COMPACTION_SLICE_BYTES;
use crate::base::planted;
use crate::base::run::Run;
use crate::base::segment_id::SegmentId;
use crate::base::sync::Ordering;
use crate::base::time::Timestamp;
use crate::engine::Engine;
use crate::engine::cleaning::{PARKED_PER_CHECKPOINT_MAX, Uncleaned};
use crate::engine::fault::Fault;
use crate::engine::keeper::{Draft, Keeper, RECORD_OVERHEAD_BYTES};
use crate::engine::machine::{CompactedLog, Machine, RecordPart};
use crate::journal::cleaner::{CleaningFault, Target};
use crate::journal::compactor::{self, Decided, Fate, Manner, SealedRun};
use crate::journal::entry::Entry;

use super::due::RUNS_PER_PAGE;
use super::{Aim, Pass, Step};

/// What is copied in one step.
#[derive(Default)]
struct Plan {
    runs: Vec<Decided>,
    sources: Vec<Run>,
    read_bytes: u64,
    kept_bytes: u64,
}

/// What the fates of records depend on.
struct Rules<'a> {
    pass: &'a Pass,
    seen: CompactedLog,
    now: Timestamp,
    /// The last offset of the log that the index knows.
    last: u64,
    /// Every run below could be read.
    may_stamp: bool,
}

impl Rules<'_> {
    fn fate(&self, entry: &Entry, record: &RecordPart<'_>) -> Fate {
        let is_expired = record.is_tombstone && entry.expiry != 0 && entry.expiry <= self.now.0;
        let is_forgotten = planted::is("tombstone_left_out_at_once") && record.is_tombstone;
        match &self.pass.aim {
            _ if record.offset < self.seen.start => Fate::Go,
            _ if record.offset == self.last => Fate::Keep,
            _ if is_expired || is_forgotten => Fate::Go,
            Aim::Expired { .. } => Fate::Keep,
            Aim::Superseded { through, .. } if record.offset >= *through => Fate::Keep,
            Aim::Superseded { map, .. } => {
                let newest = record.key.and_then(|key| map.newest(key));
                if newest.is_some_and(|newest| newest > record.offset) {
                    Fate::Go
                } else if record.is_tombstone && entry.expiry == 0 && self.may_stamp {
                    Fate::Stamp
                } else {
                    Fate::Keep
                }
            }
        }
    }

    fn concerns(&self, run: &Run) -> bool {
        match self.pass.aim {
            Aim::Expired { .. } => run.min_expiry <= self.now.0,
            Aim::Superseded { .. } => true,
        }
    }

    fn is_behind(&self, run: &Run) -> bool {
        matches!(self.pass.aim, Aim::Superseded { through, .. } if run.first >= through)
    }
}

impl<M: Machine> Engine<M> {
    /// What a checkpoint copies: they take turns, so that neither waits for ever. Tells whether there is a survivor.
    pub(in crate::engine) fn clean_or_compact(&self, keeper: &mut Keeper, draft: &mut Draft) -> Result<bool, Fault> {
        let rests = keeper.compacting.rests_until > self.clock.boot();
        let may_compact = keeper.compacting.is_copying() && !rests;
        let compacts_first = may_compact && !std::mem::take(&mut keeper.compacting.is_after_copy);
        if compacts_first {
            // Cleaning does not know what this checkpoint has moved already.
            self.compact(keeper, draft)?;
            keeper.compacting.is_after_copy = true;
            return Ok(draft.survivor.is_some());
        }
        let cleaned = self.clean(keeper, draft)?;
        if !cleaned && may_compact {
            self.compact(keeper, draft)?;
        }
        Ok(draft.survivor.is_some())
    }

    /// Takes the pass a step further, if there is room.
    fn compact(&self, keeper: &mut Keeper, draft: &mut Draft) -> Result<(), Fault> {
        let Some(pass) = keeper.compacting.pass.take() else { return Ok(()) };
        let stepped = self.step_of(keeper, draft, &pass);
        keeper.compacting.pass = Some(pass);
        let step = stepped?;
        if step.is_none() {
            keeper.compacting.rest(self.clock.boot());
        }
        draft.compacted = step;
        Ok(())
    }

    /// `None` if there is no room.
    fn step_of(&self, keeper: &mut Keeper, draft: &mut Draft, pass: &Pass) -> Result<Option<Step>, Fault> {
        for _ in 0..=PARKED_PER_CHECKPOINT_MAX {
            let (plan, step) = self.plan(keeper, draft, pass)?;
            match self.copy_planned(keeper, draft, pass, plan) {
                Ok(()) => return Ok(Some(step)),
                Err(Uncleaned::Unreadable(id)) => drop(keeper.parked.insert(id)),
                Err(Uncleaned::Full) if keeper.ballast && !draft.gives_room(keeper) => self.give_up_ballast(keeper)?,
                Err(Uncleaned::Full) => return Ok(None),
                Err(Uncleaned::Fault(fault)) => return Err(fault),
            }
        }
        Ok(None)
    }

    /// Decides on as many runs as one step takes, from where the pass stands.
    fn plan(&self, keeper: &mut Keeper, draft: &Draft, pass: &Pass) -> Result<(Plan, Step), Fault> {
        let mut plan = Plan::default();
        let mut step = Step { next: pass.next, is_whole: pass.is_whole, is_last: true };
        let seen = self.core.lock().machine.compacted_log(pass.log);
        let (Some(seen), Some(last)) = (seen, self.index.last_run(pass.log)?) else { return Ok((plan, step)) };
        let now = self.believed_wall();
        let mut rules = Rules { pass, seen, now, last: last.end - 1, may_stamp: pass.is_whole };
        let mut follows = false;
        loop {
            let page = self.index.runs(pass.log, step.next, RUNS_PER_PAGE)?;
            for run in &page {
                if rules.is_behind(run) {
                    return Ok((plan, step));
                }
                if !plan.has_room(draft, self.segments.geometry().segment_bytes()) {
                    step.is_last = false;
                    return Ok((plan, step));
                }
                if draft.removes(run) || !rules.concerns(run) {
                    (step.next, follows) = (run.end, false);
                    continue;
                }
                rules.may_stamp = step.is_whole;
                match self.decide_on(keeper, &rules, run) {
                    None => (step.is_whole, follows) = (false, false),
                    Some((_, fates)) if !fates.is_copy_due(&rules, run) => follows = false,
                    Some((sealed, fates)) => {
                        if !plan.runs.is_empty()
                            && plan.kept_bytes + fates.kept_bytes > self.segments.geometry().segment_bytes()
                        {
                            step.is_last = false;
                            return Ok((plan, step));
                        }
                        plan.kept_bytes += fates.kept_bytes;
                        plan.runs.push(Decided { run: sealed, fates: fates.fates, follows });
                        plan.sources.push(*run);
                        follows = true;
                    }
                }
                plan.read_bytes += run.bytes;
                step.next = run.end;
            }
            if page.len() < RUNS_PER_PAGE {
                return Ok((plan, step));
            }
        }
    }

    /// The fates of a run's records; `None` if it cannot be read: then its segment is parked.
    fn decide_on(&self, keeper: &mut Keeper, rules: &Rules<'_>, run: &Run) -> Option<(SealedRun, Fates)> {
        if keeper.parked.contains(&run.segment) {
            return None;
        }
        let mut fates = Fates::default();
        let place = (run.log, run.first);
        let opened = SealedRun::open(&self.segments, run.segment, run.slot, place, self.database_id);
        let read = opened.and_then(|sealed| {
            sealed.each_record(self.segments.geometry(), self.seed, M::visit_records, &mut |entry, record| {
                fates.push(rules.fate(entry, record), record, rules.seen.start);
            })?;
            Ok(sealed)
        });
        match read {
            Ok(sealed) => Some((sealed, fates)),
            Err(_) => {
                keeper.parked.insert(run.segment);
                None
            }
        }
    }

    /// Nothing of the draft has changed if this fails.
    fn copy_planned(&self, keeper: &Keeper, draft: &mut Draft, pass: &Pass, plan: Plan) -> Result<(), Uncleaned> {
        self.keeper_counters.compacted_bytes.fetch_add(plan.read_bytes, Ordering::Relaxed);
        if plan.runs.is_empty() {
            return Ok(());
        }
        let retention = self.core.lock().machine.compacted_log(pass.log).map(|log| log.tombstone_retention_micros);
        let expiry = self.believed_wall().0.saturating_add(retention.unwrap_or_default()).max(1);
        // The trim that the start rests on must be durable before anything below it is left out.
        self.wait_durable(self.marks.issued.get(), None)?;
        let id = SegmentId::Survivor(draft.next_survivor);
        let (database_id, epoch) = (self.database_id, self.control.lock().state().epoch);
        let target = Target { id, database_id, epoch, measure: M::measure };
        let geometry = self.segments.geometry();
        let manner = Manner { geometry, seed: self.seed, visit: M::visit_records, expiry };
        let copied = compactor::copy(&self.segments, target, manner, &plan.runs).map_err(|fault| match fault {
            CleaningFault::Unreadable(_) => Uncleaned::Unreadable(plan.runs[0].run.id()),
            fault => fault.into(),
        })?;
        draft.survivor = copied.is_some().then_some(id);
        plan.sources.iter().for_each(|run| draft.remove_run(keeper, run));
        if let Some(survivor) = &copied {
            draft.add_runs(id, &survivor.stretches, survivor.file_bytes);
            draft.next_survivor += 1;
            self.keeper_counters.copied_bytes.fetch_add(survivor.file_bytes, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Plan {
    fn has_room(&self, draft: &Draft, segment_bytes: u64) -> bool {
        // Each run goes, and may come back; and a run is copied however little room there is.
        let changes = (self.sources.len() + 1) * 2;
        let is_first = self.runs.is_empty();
        (is_first || (self.kept_bytes < segment_bytes && changes <= draft.run_changes_left()))
            && self.read_bytes < COMPACTION_SLICE_BYTES
    }
}

/// The fates of a run's records, in the order of their offsets.
#[derive(Default)]
struct Fates {
    fates: Vec<Fate>,
    kept_bytes: u64,
    changed: u64,
}

impl Fates {
    fn push(&mut self, fate: Fate, record: &RecordPart<'_>, start: u64) {
        self.fates.push(fate);
        if fate != Fate::Go {
            self.kept_bytes += record.bytes + RECORD_OVERHEAD_BYTES;
        }
        self.changed += u64::from(fate != Fate::Keep && record.offset >= start);
    }

    /// Whether anything but what was trimmed is to change.
    fn is_copy_due(&self, rules: &Rules<'_>, run: &Run) -> bool {
        self.changed > 0 && run.end > rules.seen.start
    }
}
