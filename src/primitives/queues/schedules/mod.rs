//! Schedules: messages that are sent at times which a plan names.
//!
//! A schedule has its message with it, and the time of its next run, which was decided when the one before was: replay
//! never asks the calendar. A run is one frame: that it was, when the next one is, and the message in its queues. So it
//! is there whole or not at all, and it happens once.
//!
//! All schedules have one timer, by the wall clock, and one empty log, which carries it. A tick is one run of the
//! schedule that is due first.
//!
//! | file           | holds                                                |
//! |----------------|------------------------------------------------------|
//! | `plan.rs`      | what a schedule is to do                             |
//! | `when.rs`      | at which times it runs                               |
//! | `calendar.rs`  | which times a cron pattern names                     |
//! | `kept.rs`      | its message                                          |
//! | `fact.rs`      | facts and their bytes                                |
//! | `changes.rs`   | how facts change schedules, and which rows           |
//! | `rows.rs`      | the same as rows of the checkpoint                   |
//! | `declaring.rs` | which schedules are accepted                         |
//! | `running.rs`   | a run: whether it sends its message, and the sending |

mod calendar;
mod changes;
mod declaring;
mod fact;
mod kept;
mod plan;
mod rows;
mod running;
#[cfg(all(test, not(loom)))]
mod tests;
mod when;

pub(crate) use fact::Reason as LeftOutReason;
pub(crate) use kept::KeptMessage;
pub(crate) use plan::{MissedRuns, OverlappingRuns, Plan, Target};
pub(crate) use rows::{SCHEDULES, schedule_row};
pub(crate) use when::When;

pub(super) use declaring::{check_no_target, pause, remove, schedule};
pub(super) use fact::{SCHEDULE_CHANGES, ScheduleEvent};
pub(super) use rows::{KIND_SCHEDULE, KIND_TIMER};
pub(super) use running::run;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use crate::base::log::LogId;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;

use super::command::{Place, QueueNumber};

/// Names a schedule in facts and rows. Another may have the number later, once nothing of the first is left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ScheduleNumber(pub(crate) u32);

/// All schedules.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Schedules {
    names: BTreeMap<Box<str>, ScheduleNumber>,
    all: BTreeMap<ScheduleNumber, Schedule>,
    /// Those that have a next run and are not paused.
    due: BTreeSet<(Timestamp, ScheduleNumber)>,
    /// The log that carries their timer, from the first schedule on.
    pub(super) log: Option<LogId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    pub(crate) number: ScheduleNumber,
    pub(crate) name: Box<str>,
    pub(crate) plan: Plan,
    /// As `kept.rs` writes it.
    pub(crate) message: Arc<[u8]>,
    pub(crate) is_paused: bool,
    /// None if there are no more. That of a paused one is decided anew when it is resumed.
    pub(crate) next: Option<Timestamp>,
    pub(crate) history: History,
    /// Where the last message went, if the plan asks whether it is settled.
    unsettled: Vec<(QueueNumber, Place)>,
}

/// What became of the runs of a schedule.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct History {
    /// Runs that sent their message.
    pub(crate) sent: u64,
    /// Runs that did not.
    pub(crate) left_out: u64,
    /// How many of those that were missed have been made up for, one after the other, since the last that was in time.
    made_up: u64,
    pub(crate) last_sent: Option<LastSent>,
    pub(crate) last_left_out: Option<LastLeftOut>,
}

/// The last run that sent its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LastSent {
    /// The time that the plan names.
    pub(crate) run: Timestamp,
    /// When it was sent.
    pub(crate) at: Timestamp,
}

/// The last run that did not send its message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LastLeftOut {
    pub(crate) run: Timestamp,
    pub(crate) at: Timestamp,
    pub(crate) reason: LeftOutReason,
    /// What refused it, if anything did.
    pub(crate) text: Box<str>,
}

impl Schedules {
    pub(crate) fn find(&self, name: &str) -> Option<&Schedule> {
        self.all.get(self.names.get(name)?)
    }

    /// Names behind this one, in order.
    pub(crate) fn names_after(&self, after: &str, max: usize) -> Vec<String> {
        let names = self.names.range::<str, _>((Excluded(after), Unbounded));
        names.take(max).map(|(name, _)| name.to_string()).collect()
    }

    /// When the first run is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The schedule that is due first, if it is.
    fn first_due(&self, now: Timestamp) -> Option<(Timestamp, &Schedule)> {
        let (at, number) = self.due.first().filter(|(at, _)| *at <= now)?;
        Some((*at, &self.all[number]))
    }

    /// A number that no schedule has.
    fn free_number(&self) -> ScheduleNumber {
        let last = self.all.last_key_value().map_or(0, |(last, _)| last.0);
        match last.checked_add(1) {
            Some(next) => ScheduleNumber(next),
            None => (1..).map(ScheduleNumber).find(|free| !self.all.contains_key(free)).expect("few numbers are taken"),
        }
    }
}
