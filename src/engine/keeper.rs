//! The keeper: moves state and positions from memory into the index, and gives back the room of what has died.
//!
//! One checkpoint, in this order (law 1):
//! 1. freeze: what is dirty now will be in it, and `applied` is the end of the journal now;
//! 2. encode the frozen rows, a chunk per hold of the core lock; note from where on the trimmed logs live;
//! 3. sync the journal: `durable ≥ applied`, and what was noted in 2 is durable too;
//! 4. write the sidecars of the segments that end at or below `applied`; sync them and their folder;
//! 5. commit rows, runs and segments with `applied` in one index transaction;
//! 6. forget the positions that have sidecars now; give the replay bound room;
//! 7. remove the files that two commits have not referred to.
//!
//! A crash between any two of these leaves at most files that nothing refers to; the next open removes them.
//!
//! A checkpoint that finds the disk full is made once more, with the room of the ballast and without cleaning. If that
//! does not do either, nothing has changed, and it is tried again soon.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::bounds::{CHECKPOINT_BYTES, DIRTY_ROWS_MAX, FREEZE_CHUNK, RUN_CHANGES_PER_CHECKPOINT_MAX};
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::planted;
use crate::base::row::RowKey;
use crate::base::run::Run;
use crate::base::segment_id::SegmentId;
use crate::base::sync::{AtomicU64, MutexGuard, Ordering};
use crate::base::time::{BootTime, Timestamp};
use crate::index::{Checkpoint, Meta, SegmentRow};
use crate::journal::follow::Committer;
use crate::journal::marks::Need;
use crate::journal::sidecar::{self, Stretch};

use super::Engine;
use super::compaction::{Ahead, Compacting, Step};
use super::fault::Fault;
use super::logs::Copied;
use super::machine::Machine;
use super::objects::Row;
use super::workers::{FULL_RETRY_MICROS, Next};

/// What a record costs on disk beside its own bytes, on average; used to judge how much of a segment lives.
pub(super) const RECORD_OVERHEAD_BYTES: u64 = 48;

/// Commits that must not refer to a file before it is removed.
const COMMITS_BEFORE_REMOVAL: u64 = 2;

/// A checkpoint that only gives back room comes this long after the last at the earliest.
const TIDY_MICROS: u64 = 1_000_000;

/// What the keeper has done.
#[derive(Debug, Default)]
pub(crate) struct KeeperCounters {
    pub(crate) checkpoints: AtomicU64,
    pub(crate) sidecars: AtomicU64,
    pub(crate) cleaned_segments: AtomicU64,
    pub(crate) copied_bytes: AtomicU64,
    pub(crate) compaction_passes: AtomicU64,
    pub(crate) compacted_bytes: AtomicU64,
    pub(crate) removed_segments: AtomicU64,
    pub(crate) parked_segments: AtomicU64,
    pub(crate) live_bytes: AtomicU64,
    pub(crate) stored_bytes: AtomicU64,
}

/// What the keeper knows between checkpoints. Mirrors the index.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) meta: Meta,
    /// Every segment that the index refers to.
    pub(crate) segments: BTreeMap<SegmentId, SegmentRow>,
    /// Files to remove once the index has made this many commits.
    pub(crate) removals: VecDeque<(u64, SegmentId)>,
    /// Logs whose dead runs did not all fit into the last checkpoint.
    backlog: Vec<LogId>,
    /// Segments that cleaning could not read in full. They stay as they are for as long as anything in them lives; the
    /// next life tries them again.
    pub(super) parked: BTreeSet<SegmentId>,
    /// The ballast is there.
    pub(super) ballast: bool,
    pub(super) compacting: Compacting,
    last_checkpoint: BootTime,
}

/// What a checkpoint will say, as it is put together.
pub(super) struct Draft {
    applied: Lsn,
    keys: Vec<RowKey>,
    rows: Vec<Row>,
    wall_high: Timestamp,
    trimmed: Vec<(LogId, Option<u64>)>,
    sealed: Vec<u64>,
    runs_added: Vec<Run>,
    runs_removed: BTreeSet<(LogId, u64)>,
    pub(super) changed: BTreeMap<SegmentId, Option<SegmentRow>>,
    pub(super) next_survivor: u64,
    /// Written for this checkpoint.
    pub(super) survivor: Option<SegmentId>,
    /// Bytes of each log that became part of the index.
    grown: BTreeMap<LogId, u64>,
    pub(super) compacted: Option<Step>,
}

/// Whether a checkpoint may take room on the disk that it can do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    Ample,
    Scarce,
}

impl Keeper {
    pub(crate) fn new(meta: Meta, segments: Vec<SegmentRow>, ballast: bool, key_map_places: usize) -> Keeper {
        let segments = segments.into_iter().map(|row| (row.id, row)).collect();
        Keeper {
            meta,
            segments,
            removals: VecDeque::new(),
            backlog: Vec::new(),
            parked: BTreeSet::new(),
            ballast,
            compacting: Compacting::new(key_map_places),
            last_checkpoint: BootTime(0),
        }
    }

    /// Plans the removal of a segment's files, after enough commits that do not refer to it.
    pub(crate) fn plan_removal(&mut self, id: SegmentId) {
        self.removals.push_back((self.meta.commits + COMMITS_BEFORE_REMOVAL, id));
    }

    fn live_and_stored(&self) -> (u64, u64) {
        self.segments.values().fold((0, 0), |(live, stored), row| (live + row.live_bytes, stored + row.file_bytes))
    }
}

impl Draft {
    /// The row of a segment as this checkpoint will leave it.
    pub(super) fn segment(&self, keeper: &Keeper, id: SegmentId) -> Option<SegmentRow> {
        match self.changed.get(&id) {
            Some(row) => *row,
            None => keeper.segments.get(&id).copied(),
        }
    }

    /// A run died or moved: its segment holds less.
    pub(super) fn remove_run(&mut self, keeper: &Keeper, run: &Run) {
        if !self.runs_removed.insert((run.log, run.first)) {
            return;
        }
        if let Some(row) = self.segment(keeper, run.segment) {
            let live_bytes = row.live_bytes.saturating_sub(cost(run.bytes, run.records));
            let row = (live_bytes > 0).then_some(SegmentRow { live_bytes, ..row });
            self.changed.insert(run.segment, row);
        }
    }

    /// Whether the run is not to stay.
    pub(super) fn removes(&self, run: &Run) -> bool {
        self.runs_removed.contains(&(run.log, run.first))
    }

    /// Whether files go with this checkpoint, or soon by an earlier one.
    pub(super) fn gives_room(&self, keeper: &Keeper) -> bool {
        !keeper.removals.is_empty() || self.changed.values().any(Option::is_none)
    }

    /// How many runs more may be removed.
    pub(super) fn run_changes_left(&self) -> usize {
        RUN_CHANGES_PER_CHECKPOINT_MAX.saturating_sub(self.runs_removed.len())
    }

    pub(super) fn add_runs(&mut self, id: SegmentId, stretches: &[Stretch], file_bytes: u64) {
        let live_bytes = stretches.iter().map(|s| cost(s.bytes, s.records)).sum();
        // All of a survivor lives when it is written. What else it has (places that are through with an item) would
        // come into the next copy too.
        let total_bytes = match id {
            SegmentId::Survivor(_) => live_bytes,
            SegmentId::Journal(_) => file_bytes.max(live_bytes),
        };
        let row = SegmentRow { id, total_bytes, live_bytes, file_bytes };
        self.changed.insert(id, Some(row));
        for (slot, s) in stretches.iter().enumerate() {
            *self.grown.entry(s.log).or_default() += s.bytes;
            self.runs_added.push(Run {
                log: s.log,
                first: s.first,
                end: s.end,
                segment: id,
                slot: slot as u32,
                records: s.records,
                bytes: s.bytes,
                min_timestamp: s.min_timestamp,
                max_timestamp: s.max_timestamp,
                min_expiry: s.min_expiry,
            });
        }
    }
}

pub(super) fn cost(bytes: u64, records: u64) -> u64 {
    bytes + records * RECORD_OVERHEAD_BYTES
}

impl<M: Machine> Engine<M> {
    /// One look at whether a checkpoint is due, for replay's sake or to give back the room of what has died; makes it
    /// if so. Tells when to look again.
    pub(crate) fn keep(&self) -> Result<Next, Fault> {
        let mut keeper = self.keeper.lock();
        if self.is_poisoned() {
            return Ok(Next::Idle);
        }
        let wanted = self.workers.take_checkpoint_wanted();
        let unapplied = self.marks.issued.get().since(self.marks.replay_from.get());
        let (changed, trimmed) = {
            let core = self.core.lock();
            (core.objects.changed(), !core.trimmed.is_empty())
        };
        let failed = self.marks.is_short(Need::Checkpoint);
        let due = failed || unapplied >= CHECKPOINT_BYTES || changed >= DIRTY_ROWS_MAX / 2;
        let untidy = trimmed || !keeper.backlog.is_empty() || !keeper.removals.is_empty();
        let rested = self.clock.boot().since(keeper.last_checkpoint);
        if wanted || due || (untidy && rested >= TIDY_MICROS) {
            self.checkpoint_with(&mut keeper)?;
            return Ok(Next::Again);
        }
        self.restore_ballast(&mut keeper)?;
        let compaction = match self.compact_ahead(&mut keeper)? {
            Ahead::Worked => return Ok(Next::Again),
            Ahead::Copying => {
                self.checkpoint_with(&mut keeper)?;
                return Ok(Next::Again);
            }
            Ahead::Nothing { micros } => micros,
        };
        let tidying = match untidy {
            _ if !keeper.ballast => Some(FULL_RETRY_MICROS),
            true => Some(TIDY_MICROS - rested),
            false => None,
        };
        let soonest = tidying.into_iter().chain(compaction).min();
        Ok(soonest.map_or(Next::Idle, Next::Micros))
    }

    /// Moves everything issued so far into the index. Blocks for the writes and syncs of steps 3 to 5.
    pub(crate) fn checkpoint(&self) -> Result<(), Fault> {
        let mut keeper = self.keeper.lock();
        // Under the lock: once closing has made its own, or a poisoned database was let go, the directory may be
        // another's.
        self.check_alive()?;
        let done = self.checkpoint_with(&mut keeper);
        let compaction_waits = keeper.compacting.has_work();
        drop(keeper);
        if compaction_waits || matches!(done, Err(Fault::StorageFull)) {
            self.workers.keeper.nudge();
        }
        self.poison_unless_full(done)
    }

    /// The same, of a database that is closing.
    pub(super) fn checkpoint_last(&self) -> Result<(), Fault> {
        let mut keeper = self.keeper.lock();
        keeper.compacting.end();
        let done = self.checkpoint_with(&mut keeper);
        drop(keeper);
        self.poison_unless_full(done)
    }

    /// A checkpoint that failed is not tried again, unless it failed for want of room.
    pub(super) fn poison_unless_full<T>(&self, done: Result<T, Fault>) -> Result<T, Fault> {
        if done.as_ref().is_err_and(|fault| !matches!(fault, Fault::StorageFull)) {
            self.marks.poison();
            self.after_commit();
        }
        done
    }

    fn checkpoint_with(&self, keeper: &mut MutexGuard<'_, Keeper>) -> Result<(), Fault> {
        keeper.last_checkpoint = self.clock.boot();
        let mut room = Room::Ample;
        loop {
            let mut draft = self.freeze(keeper);
            let Err(fault) = self.write_draft(keeper, &mut draft, room) else {
                self.marks.set_short(Need::Checkpoint, false);
                self.adopt(keeper, draft);
                break;
            };
            let is_full = matches!(fault, Fault::StorageFull);
            let can_save = room == Room::Ample && (keeper.ballast || draft.survivor.is_some());
            if draft.compacted.is_some() {
                // There is room for the survivor and not for the index: it is not to be written again at once.
                keeper.compacting.rest(self.clock.boot());
            }
            self.discard(draft, is_full)?;
            if !is_full || !can_save {
                self.marks.set_short(Need::Checkpoint, is_full);
                self.space.notify(usize::MAX);
                return Err(fault);
            }
            self.give_up_ballast(keeper)?;
            room = Room::Scarce;
        }
        self.remove_dead_files(keeper)?;
        self.restore_ballast(keeper)
    }

    /// What was to be in a checkpoint that failed will be in the next. If it was for want of room, the index is known
    /// not to refer to its survivor.
    fn discard(&self, draft: Draft, is_full: bool) -> Result<(), Fault> {
        for chunk in draft.keys.chunks(FREEZE_CHUNK) {
            self.core.lock().objects.thaw(chunk);
        }
        for chunk in draft.trimmed.chunks(FREEZE_CHUNK) {
            self.core.lock().trimmed.extend(chunk.iter().map(|(log, _)| *log));
        }
        match draft.survivor.filter(|_| is_full) {
            Some(id) => self.segments.retire(id).map_err(Fault::io("removing a survivor")),
            None => Ok(()),
        }
    }

    /// Steps 1 and 2.
    fn freeze(&self, keeper: &mut Keeper) -> Draft {
        let (applied, wall_high, trimmed) = {
            let mut core = self.core.lock();
            core.objects.freeze();
            (core.tail.issued(), core.clock.high(), std::mem::take(&mut core.trimmed))
        };
        let mut logs: Vec<LogId> = trimmed.into_iter().chain(keeper.backlog.drain(..)).collect();
        logs.sort_unstable();
        logs.dedup();
        let mut starts = Vec::with_capacity(logs.len());
        for chunk in logs.chunks(FREEZE_CHUNK) {
            let core = self.core.lock();
            starts.extend(chunk.iter().map(|log| (*log, core.machine.log_start(*log))));
        }
        let mut more = true;
        while more {
            let mut core = self.core.lock();
            let core = &mut *core;
            more = core.objects.encode_frozen(FREEZE_CHUNK, |key| core.machine.row(key));
        }
        let rows = self.core.lock().objects.take_rows();
        Draft {
            applied,
            keys: rows.iter().map(|(key, _)| *key).collect(),
            rows,
            wall_high,
            trimmed: starts,
            sealed: Vec::new(),
            runs_added: Vec::new(),
            runs_removed: BTreeSet::new(),
            changed: BTreeMap::new(),
            next_survivor: keeper.meta.next_survivor,
            survivor: None,
            grown: BTreeMap::new(),
            compacted: None,
        }
    }

    /// Steps 3 to 5.
    fn write_draft(&self, keeper: &mut Keeper, draft: &mut Draft, room: Room) -> Result<(), Fault> {
        if !planted::is("checkpoint_ahead_of_journal") {
            self.wait_durable(self.marks.issued.get(), None)?;
        }
        let fresh = self.write_sidecars(draft)?;
        self.find_dead_runs(keeper, draft)?;
        let cleaned = room == Room::Ample && self.clean_or_compact(keeper, draft)?;
        if fresh || cleaned {
            let folder = self.segments.disk().sync_dir(sidecar::SIDECAR_FOLDER);
            folder.map_err(Fault::io("syncing the segments folder"))?;
        }
        let geometry = self.segments.geometry();
        let meta = Meta {
            applied: draft.applied,
            indexed: geometry.segment_start(geometry.segment_of(draft.applied)).max(keeper.meta.indexed),
            commits: keeper.meta.commits + 1,
            wall_high: draft.wall_high.max(keeper.meta.wall_high),
            next_survivor: draft.next_survivor,
            ..keeper.meta
        };
        let mut checkpoint = Checkpoint::of(meta);
        checkpoint.rows = std::mem::take(&mut draft.rows);
        checkpoint.runs_removed = std::mem::take(&mut draft.runs_removed).into_iter().collect();
        checkpoint.runs_added = std::mem::take(&mut draft.runs_added);
        checkpoint.segments = draft.changed.iter().map(|(id, row)| (*id, *row)).collect();
        self.index.commit(checkpoint)?;
        keeper.meta = meta;
        Ok(())
    }

    /// Step 4: sidecars for the segments that end at or below `applied`.
    fn write_sidecars(&self, draft: &mut Draft) -> Result<bool, Fault> {
        let before = self.segments.geometry().segment_of(draft.applied);
        let sealed = self.core.lock().logs.unindexed_segments(before);
        let mut left_out = false;
        for number in &sealed {
            let id = SegmentId::Journal(*number);
            let mut stretches = self.collect_stretches(*number);
            let logs = stretches.len();
            stretches.retain(|stretch| stretch.records > 0);
            left_out |= stretches.len() < logs;
            if stretches.is_empty() {
                // Nothing in it lives, and nothing will ever refer to it. For a sidecar there may be no room.
                draft.changed.insert(id, None);
                continue;
            }
            sidecar::write(&**self.segments.disk(), id, self.database_id, &stretches)
                .map_err(Fault::io("writing a sidecar"))?;
            self.keeper_counters.sidecars.fetch_add(1, Ordering::Relaxed);
            draft.add_runs(id, &stretches, self.segments.geometry().segment_bytes());
        }
        if left_out {
            // What ended or was trimmed since step 3 may be left out: that must be durable before the index forgets it.
            self.wait_durable(self.marks.issued.get(), None)?;
        }
        draft.sealed = sealed;
        Ok(!draft.sealed.is_empty())
    }

    /// What each log has in a segment; nothing of logs of which nothing in it lives.
    fn collect_stretches(&self, segment: u64) -> Vec<Stretch> {
        let (mut stretches, mut copied): (Vec<Stretch>, _) = (Vec::new(), Copied::default());
        loop {
            let part = self.core.lock().logs.copy_stretches(segment, &mut copied, FREEZE_CHUNK);
            if part.is_empty() {
                break;
            }
            for stretch in part {
                match stretches.last_mut() {
                    Some(last) if last.log == stretch.log && stretch.records > 0 => {
                        last.entries.extend(stretch.entries)
                    }
                    Some(last) if last.log == stretch.log => *last = stretch,
                    _ => stretches.push(stretch),
                }
            }
        }
        for chunk in stretches.chunks_mut(FREEZE_CHUNK) {
            let core = self.core.lock();
            for stretch in chunk {
                // One of a log that has ended is empty as it is.
                if core.machine.log_start(stretch.log).is_some_and(|start| stretch.end <= start) {
                    *stretch = Stretch::empty(stretch.log);
                }
            }
        }
        stretches.sort_unstable_by_key(|stretch| (stretch.log, stretch.first));
        stretches
    }

    /// Runs that lie wholly before the start of their logs. None that this checkpoint adds does: what was dead at its
    /// freeze got no sidecar.
    fn find_dead_runs(&self, keeper: &mut Keeper, draft: &mut Draft) -> Result<(), Fault> {
        const PAGE: usize = 1024;
        for (log, start) in draft.trimmed.clone() {
            let start_or_end = start.unwrap_or(u64::MAX);
            let mut from = 0;
            loop {
                let page = self.index.runs(log, from, PAGE.min(draft.run_changes_left()))?;
                let dead: Vec<Run> = page.iter().copied().take_while(|run| run.end <= start_or_end).collect();
                dead.iter().for_each(|run| draft.remove_run(keeper, run));
                let full = draft.run_changes_left() == 0;
                from = dead.last().map_or(from, |run| run.end);
                if full {
                    keeper.backlog.push(log);
                }
                if full || dead.len() < PAGE {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Step 6: the index has it; memory may forget it.
    fn adopt(&self, keeper: &mut Keeper, draft: Draft) {
        let geometry = self.segments.geometry();
        self.note_growth(keeper, &draft.grown);
        if let Some(step) = draft.compacted {
            keeper.compacting.has_copied(step);
        }
        for chunk in draft.keys.chunks(FREEZE_CHUNK) {
            self.core.lock().objects.forget(chunk, self.marks.durable.get());
        }
        for number in &draft.sealed {
            while self.core.lock().logs.forget_segment(*number, FREEZE_CHUNK) {}
        }
        let sealed: Vec<SegmentId> = draft.sealed.iter().map(|number| SegmentId::Journal(*number)).collect();
        let first = geometry.segment_of(self.marks.applied.get());
        for number in first..geometry.segment_of(draft.applied) {
            // Segments without any record need no sidecar and are dead at once.
            let id = SegmentId::Journal(number);
            if !sealed.contains(&id) && !keeper.segments.contains_key(&id) {
                keeper.plan_removal(id);
            }
        }
        for (id, row) in draft.changed {
            match row {
                Some(row) => {
                    keeper.segments.insert(id, row);
                }
                None => {
                    keeper.segments.remove(&id);
                    keeper.plan_removal(id);
                }
            }
        }
        keeper.parked.retain(|id| keeper.segments.contains_key(id));
        self.keeper_counters.parked_segments.store(keeper.parked.len() as u64, Ordering::Relaxed);
        let (live, stored) = keeper.live_and_stored();
        self.keeper_counters.live_bytes.store(live, Ordering::Relaxed);
        self.keeper_counters.stored_bytes.store(stored, Ordering::Relaxed);
        self.keeper_counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.marks.applied.advance(draft.applied);
        self.marks.replay_from.advance(draft.applied);
        self.space.notify(usize::MAX);
    }

    /// Step 7.
    fn remove_dead_files(&self, keeper: &mut Keeper) -> Result<(), Fault> {
        let early = if planted::is("unlink_after_one_commit") { COMMITS_BEFORE_REMOVAL } else { 0 };
        let commits = keeper.meta.commits + early;
        let mut removed = false;
        while keeper.removals.front().is_some_and(|(at, _)| *at <= commits) {
            let Some((_, id)) = keeper.removals.pop_front() else { break };
            self.segments.retire(id).map_err(Fault::io("removing a dead segment"))?;
            self.keeper_counters.removed_segments.fetch_add(1, Ordering::Relaxed);
            removed = true;
        }
        if removed && self.marks.is_short(Need::Segment) {
            self.workers.maker.nudge();
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
