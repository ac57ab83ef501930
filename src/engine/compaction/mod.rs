//! Compaction: when a log is due, and what the keeper does for it between and in its checkpoints.
//!
//! A pass has two stages. It notes, a slice at a time, the newest offset of each key in the part of the log that no
//! pass has seen, as far as its map has room. Then it goes over the runs below the end of that part, from the start
//! of the log on, and copies those of which a record is superseded or a tombstone's time is over (`copying.rs`); each
//! step of that is part of a checkpoint, as cleaning is. After the last one it tells the machine what is left
//! (`recount.rs`).
//!
//! Only runs that the index knows are read and moved, so nothing that is not sealed is touched, and whatever
//! supersedes a record is durable before that goes. The last record that the index knows of a log stays whatever it
//! is: a reader at a hole finds a record behind it. A run that cannot be read is parked with its segment; the pass
//! goes on without it, and is not *whole*: then the part that it noted does not count as cleaned in the next life.
//!
//! A tombstone gets its expiry when a pass comes by that has found every run below it readable: so none is left that it
//! supersedes, and once the expiry has passed it may go without looking at any other.

mod copying;
mod due;
mod noting;
mod recount;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::bounds::COMPACTION_SLICE_BYTES;
use crate::base::log::LogId;
use crate::base::sync::Ordering;
use crate::base::time::{BootTime, Timestamp};
use crate::journal::keymap::KeyMap;

use super::Engine;
use super::fault::Fault;
use super::keeper::Keeper;
use super::machine::{LogCursor, Machine};
use super::workers::FULL_RETRY_MICROS;

use self::due::Facts;

/// What the keeper knows of compaction between checkpoints.
#[derive(Debug)]
pub(crate) struct Compacting {
    key_map_places: usize,
    /// How far the logs that there were at open have been listed; `None` once they all are.
    listing: Option<LogCursor>,
    /// Logs that may be due.
    unlooked: BTreeSet<LogId>,
    facts: BTreeMap<LogId, Facts>,
    due: BTreeSet<LogId>,
    /// When the first tombstone of a log's runs may go.
    expiring: BTreeSet<(u64, LogId)>,
    /// Where the last pass of this life over a log ended, whole or not.
    noted: BTreeMap<LogId, u64>,
    /// When a pass last looked for tombstones alone. Runs in which one was due and could not go are not a reason for
    /// another.
    expired: BTreeMap<LogId, u64>,
    pass: Option<Pass>,
    /// Logs of which is to be told what is left, and through where they are cleaned.
    recounts: BTreeMap<LogId, u64>,
    /// Nothing is tried before: there was no room.
    rests_until: BootTime,
    /// Whether the last survivor was of compaction: then cleaning comes first.
    is_after_copy: bool,
    ended: bool,
}

/// A pass over one log.
#[derive(Debug)]
struct Pass {
    log: LogId,
    aim: Aim,
    /// Where the next step of copying begins.
    next: u64,
    /// Every run so far could be read.
    is_whole: bool,
}

/// What a pass leaves out.
#[derive(Debug)]
enum Aim {
    /// Only tombstones whose time is over by then.
    Expired { at: u64 },
    /// Those, and what the map supersedes. It holds the keys up to `through`, once it is `noted`.
    Superseded { map: KeyMap, through: u64, sealed_end: u64, noted: bool },
}

/// How far a checkpoint takes the pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    next: u64,
    is_whole: bool,
    is_last: bool,
}

/// What was done outside of checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ahead {
    /// There is more to do.
    Worked,
    /// The next step is a checkpoint's.
    Copying,
    /// Nothing is to be done before so many microseconds, or at all.
    Nothing { micros: Option<u64> },
}

impl Compacting {
    pub(super) fn new(key_map_places: usize) -> Compacting {
        Compacting {
            key_map_places,
            listing: Some(LogCursor::default()),
            unlooked: BTreeSet::new(),
            facts: BTreeMap::new(),
            due: BTreeSet::new(),
            expiring: BTreeSet::new(),
            noted: BTreeMap::new(),
            expired: BTreeMap::new(),
            pass: None,
            recounts: BTreeMap::new(),
            rests_until: BootTime(0),
            is_after_copy: false,
            ended: false,
        }
    }

    /// The database closes: nothing is begun any more.
    pub(super) fn end(&mut self) {
        (self.ended, self.pass) = (true, None);
    }

    pub(super) fn has_work(&self) -> bool {
        let waits =
            self.pass.is_some() || !self.unlooked.is_empty() || !self.due.is_empty() || !self.recounts.is_empty();
        waits && !self.ended
    }

    fn is_copying(&self) -> bool {
        self.pass.as_ref().is_some_and(|pass| match pass.aim {
            Aim::Expired { .. } => true,
            Aim::Superseded { noted, .. } => noted,
        })
    }

    /// A step of the pass is in the index.
    pub(super) fn has_copied(&mut self, step: Step) {
        let Some(pass) = &mut self.pass else { return };
        (pass.next, pass.is_whole) = (step.next, step.is_whole);
        if !step.is_last {
            return;
        }
        let Some(pass) = self.pass.take() else { return };
        let mut cleaned = 0;
        match pass.aim {
            Aim::Expired { at } => drop(self.expired.insert(pass.log, at)),
            Aim::Superseded { through, .. } => {
                self.noted.insert(pass.log, through);
                cleaned = if pass.is_whole { through } else { 0 };
            }
        }
        self.recounts.insert(pass.log, cleaned);
        self.unlooked.insert(pass.log);
    }

    pub(super) fn rest(&mut self, now: BootTime) {
        self.rests_until = now.plus(FULL_RETRY_MICROS);
    }
}

impl<M: Machine> Engine<M> {
    /// One unit of what compaction does outside of checkpoints.
    pub(super) fn compact_ahead(&self, keeper: &mut Keeper) -> Result<Ahead, Fault> {
        let boot = self.clock.boot();
        if keeper.compacting.ended {
            return Ok(Ahead::Nothing { micros: None });
        }
        let rests = keeper.compacting.rests_until.since(boot);
        if rests > 0 {
            return Ok(Ahead::Nothing { micros: keeper.compacting.has_work().then_some(rests) });
        }
        if self.list_logs(keeper) || self.recount_next(keeper)? || self.look_at_some(keeper)? {
            return Ok(Ahead::Worked);
        }
        let now = self.believed_wall();
        if keeper.compacting.pass.is_none() && !self.begin_pass(keeper, now)? {
            let next = keeper.compacting.expiring.first();
            return Ok(Ahead::Nothing { micros: next.map(|(at, _)| at.saturating_sub(now.0).max(1)) });
        }
        if keeper.compacting.is_copying() {
            return Ok(Ahead::Copying);
        }
        self.note_some(keeper, COMPACTION_SLICE_BYTES)?;
        Ok(Ahead::Worked)
    }

    /// The wall clock, as far as it is believed.
    fn believed_wall(&self) -> Timestamp {
        let wall = self.clock.wall();
        self.core.lock().clock.stamp(wall, || self.clock.reading()).wall
    }

    fn count_pass(&self) {
        self.keeper_counters.compaction_passes.fetch_add(1, Ordering::Relaxed);
    }
}
