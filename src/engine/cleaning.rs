//! Cleaning: which sealed segments to copy from, and what the checkpoint says of it.
//!
//! The policy is that the store takes at most twice what lives, and a budget. A segment of which most lives is never
//! copied; one that cannot be read in full is *parked*: it stays where it is, is counted, and hinders nothing else.

use std::collections::BTreeSet;

use crate::base::bounds::{CLEANED_BYTES_MAX, FREEZE_CHUNK, JOURNAL_BUDGET_BYTES, SEGMENTS_PER_CLEANING_MAX};
use crate::base::log::LogId;
use crate::base::segment_id::SegmentId;
use crate::base::sync::Ordering;
use crate::index::SegmentRow;
use crate::journal::cleaner::{self, CleaningFault, Source, Target};
use crate::journal::maker::is_full;

use super::Engine;
use super::fault::Fault;
use super::keeper::{Draft, Keeper};
use super::machine::Machine;

/// A segment of which less than this part lives is cleaned as soon as enough of them have gathered.
const SPARSE_PART: u64 = 8;

/// Segments that one checkpoint may find unreadable while it cleans; the rest waits for the next.
pub(super) const PARKED_PER_CHECKPOINT_MAX: usize = 8;

/// Why the chosen segments were not cleaned.
pub(super) enum Uncleaned {
    Unreadable(SegmentId),
    /// There is no room for the survivor; the draft is as it was.
    Full,
    Fault(Fault),
}

impl From<CleaningFault> for Uncleaned {
    fn from(fault: CleaningFault) -> Uncleaned {
        match fault {
            CleaningFault::Unreadable(id) => Uncleaned::Unreadable(id),
            CleaningFault::Io(source) if is_full(&source) => Uncleaned::Full,
            CleaningFault::Io(source) => Uncleaned::Fault(Fault::io("copying live records")(source)),
        }
    }
}

impl From<Fault> for Uncleaned {
    fn from(fault: Fault) -> Uncleaned {
        Uncleaned::Fault(fault)
    }
}

impl<M: Machine> Engine<M> {
    /// Copies what lives out of segments that are mostly dead, as the policy asks. One that cannot be read in full is
    /// parked, and the others are cleaned without it. A full disk hinders no checkpoint: what it removes comes first,
    /// and only if that is nothing, the ballast gives its room to the survivor.
    pub(super) fn clean(&self, keeper: &mut Keeper, draft: &mut Draft) -> Result<bool, Fault> {
        for _ in 0..=PARKED_PER_CHECKPOINT_MAX {
            let victims = self.choose_victims(keeper, draft);
            if victims.is_empty() {
                break;
            }
            match self.clean_these(keeper, draft, &victims) {
                Ok(copied) => return Ok(copied),
                Err(Uncleaned::Unreadable(id)) => {
                    keeper.parked.insert(id);
                }
                Err(Uncleaned::Full) if keeper.ballast && !draft.gives_room(keeper) => self.give_up_ballast(keeper)?,
                Err(Uncleaned::Full) => break,
                Err(Uncleaned::Fault(fault)) => return Err(fault),
            }
        }
        Ok(false)
    }

    fn clean_these(&self, keeper: &Keeper, draft: &mut Draft, victims: &[SegmentId]) -> Result<bool, Uncleaned> {
        let id = SegmentId::Survivor(draft.next_survivor);
        let sources = self.sources(draft, victims)?;
        if sources.is_empty() {
            return Ok(false);
        }
        // The trims that these starts rest on must be durable before anything below them is left out.
        self.wait_durable(self.marks.issued.get(), None)?;
        let (database_id, epoch) = (self.database_id, self.control.lock().state().epoch);
        let target = Target { id, database_id, epoch, measure: M::measure };
        let copied = cleaner::copy(&self.segments, target, &sources)?;
        draft.survivor = copied.is_some().then_some(id);
        for source in &sources {
            self.move_runs(keeper, draft, source)?;
        }
        if let Some(survivor) = &copied {
            draft.add_runs(id, &survivor.stretches, survivor.file_bytes);
            draft.next_survivor += 1;
            self.keeper_counters.copied_bytes.fetch_add(survivor.file_bytes, Ordering::Relaxed);
        }
        self.keeper_counters.cleaned_segments.fetch_add(sources.len() as u64, Ordering::Relaxed);
        Ok(copied.is_some())
    }

    /// The segments to clean: as many of the victims as the checkpoint has room for changes of runs, and at least one
    /// if it has any. Each run is taken from its segment, and may come back in the survivor.
    fn sources(&self, draft: &Draft, victims: &[SegmentId]) -> Result<Vec<Source>, Uncleaned> {
        let mut changes_left = draft.run_changes_left();
        let mut sources = Vec::new();
        for victim in victims {
            if changes_left == 0 {
                break;
            }
            let source = self.source(*victim)?;
            let changes = source.runs().len() * 2;
            if changes > changes_left && !sources.is_empty() {
                break;
            }
            changes_left = changes_left.saturating_sub(changes);
            sources.push(source);
        }
        Ok(sources)
    }

    /// A segment to clean, with what lives of each log in it.
    fn source(&self, id: SegmentId) -> Result<Source, Uncleaned> {
        let opened = Source::open(&self.segments, id, self.database_id)?;
        let logs = opened.logs();
        let mut starts = Vec::with_capacity(logs.len());
        let mut compacted: BTreeSet<LogId> = BTreeSet::new();
        for chunk in logs.chunks(FREEZE_CHUNK) {
            let core = self.core.lock();
            starts.extend(chunk.iter().map(|log| (*log, core.machine.log_start(*log))));
            compacted.extend(chunk.iter().copied().filter(|log| core.machine.compacted_log(*log).is_some()));
        }
        let mut moved = BTreeSet::new();
        for (log, first) in opened.runs().iter().copied().filter(|(log, _)| compacted.contains(log)) {
            let known = self.index.run_at(log, first).map_err(Fault::from)?;
            if known.is_none_or(|known| (known.segment, known.first) != (id, first)) {
                moved.insert((log, first));
            }
        }
        Ok(opened.with_starts(starts).without(moved))
    }

    /// The runs of a cleaned segment are replaced by the survivor's.
    fn move_runs(&self, keeper: &Keeper, draft: &mut Draft, source: &Source) -> Result<(), Fault> {
        for run in source.runs().iter().copied() {
            let known = self.index.run_at(run.0, run.1)?;
            if let Some(known) = known.filter(|known| known.segment == source.id() && known.first == run.1) {
                draft.remove_run(keeper, &known);
            }
        }
        draft.changed.insert(source.id(), None);
        Ok(())
    }

    /// Which segments to clean: those of which little lives, once enough of them have gathered; and, while the store
    /// takes more than twice what lives plus the budget, those of which least lives. Parked ones do not count: nothing
    /// can be done about their room.
    fn choose_victims(&self, keeper: &Keeper, draft: &Draft) -> Vec<SegmentId> {
        let readable = keeper.segments.keys().filter(|id| !keeper.parked.contains(id));
        let rows = readable.filter_map(|id| draft.segment(keeper, *id));
        let mut rows: Vec<SegmentRow> = rows.filter(|row| row.live_bytes > 0).collect();
        rows.sort_unstable_by_key(|row| row.live_bytes * 1024 / row.total_bytes.max(1));
        let live: u64 = rows.iter().map(SegmentRow::living_file_bytes).sum();
        let stored: u64 = rows.iter().map(|row| row.file_bytes).sum();
        let sparse = rows.iter().take_while(|row| row.live_bytes < row.total_bytes / SPARSE_PART).count();
        let crowded = stored > live * 2 + JOURNAL_BUDGET_BYTES;
        let enough = if crowded { 1 } else { SPARSE_PART as usize };
        // What several logs have is copied as long as one has it, so at most all of the files.
        let (mut copied, mut read) = (0, 0);
        let room = self.segments.geometry().segment_bytes();
        let limit = if crowded { rows.len() } else { sparse };
        let chosen: Vec<SegmentId> = rows
            .iter()
            .take(limit)
            .filter(|row| {
                let (copied_with, read_with) = (copied + row.living_file_bytes(), read + row.file_bytes);
                let fits =
                    copied_with <= room && read_with <= CLEANED_BYTES_MAX && row.live_bytes < row.total_bytes / 2;
                if fits {
                    (copied, read) = (copied_with, read_with);
                }
                fits
            })
            .map(|row| row.id)
            .take(SEGMENTS_PER_CLEANING_MAX)
            .collect();
        if chosen.len() >= enough { chosen } else { Vec::new() }
    }
}
