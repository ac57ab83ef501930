//! The handle of a schedule.

use crate::base::level::Level;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::primitives::Command;
use crate::primitives::queues::{self, Command as OfQueues};
use crate::processes::scheduling::{DescribeSchedule, ScheduleFacts};

use super::database::{Database, refusal_of};
use super::error::Error;
use super::schedule_options::ScheduleDescription;

/// A schedule: at the times of its plan the database sends its message to a queue, or publishes it to an exchange.
///
/// Made by [`Database::schedule`] or [`Database::existing_schedule`]. Cheap to clone; usable from any thread. Dropping
/// it changes nothing.
///
/// # What is promised
/// Each run sends one message, to all of its queues or to none, and sends it once, at crashes too. A run that cannot
/// send is *left out* and counted, with the reason ([`Schedule::describe`]): because it was missed or overlapped and
/// the plan says so, or because the message was refused, by a full queue say. It is not tried again; the next run is.
///
/// A run is *missed* if a later one of the same schedule has come before anybody was there to make it, or if it is more
/// than a minute late: [`MissedRuns`](crate::MissedRuns) says what becomes of it. Runs of a paused schedule are not
/// missed: there are none.
///
/// # What a consumer sees
/// The message, with two headers before its own: `x-schedule` is the name of the schedule, `x-scheduled-at` the time
/// that the plan names, as in `2026-03-01T02:30:00Z`. Where one message makes up for several runs, it is the last of
/// them.
///
/// # Clocks
/// Runs go by the wall clock. Where it is set back, time stands still until it has caught up: no run comes twice. On a
/// leap forward of more than an hour that the machine's other clock does not confirm nothing runs for ten minutes.
///
/// ```
/// use std::time::Duration;
/// use towpath::{ManualClock, Options, QueueOptions, SchedulePlan, Timestamp};
///
/// let clock = ManualClock::starting_at(Timestamp::from_micros(1_790_000_000_000_000));
/// let db = Options::temporary().clock(clock.clone()).open_temporary()?;
/// let reports = db.create_queue("reports", QueueOptions::new())?;
/// db.schedule("hourly", SchedulePlan::every(Duration::from_secs(3600)), &reports, "sales")?;
/// clock.advance(Duration::from_secs(3600));
/// let report = reports.receive()?;
/// assert_eq!(report.body(), b"sales");
/// assert_eq!(report.headers().next().map(|header| header.value), Some(&b"hourly"[..]));
/// report.ack()?;
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    database: Database,
    name: Arc<str>,
}

impl Schedule {
    pub(super) fn new(database: Database, name: &str) -> Schedule {
        Schedule { database, name: name.into() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does, and what became of its runs. Waits for nothing, unless some of it is just being written: then for
    /// the sync of that.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was removed, [`Error::Poisoned`], [`Error::Closed`], [`Error::Forked`].
    pub fn describe(&self) -> Result<ScheduleDescription, Error> {
        Ok(ScheduleDescription::of(self.name().to_owned(), self.facts(0)?))
    }

    /// The times of its next runs, at most so many of them, and at most 1,000. None if it is paused or has ended.
    ///
    /// # Errors
    /// As for [`Schedule::describe`].
    pub fn next_runs(&self, max: usize) -> Result<Vec<Timestamp>, Error> {
        Ok(self.facts(max)?.runs)
    }

    fn facts(&self, runs: usize) -> Result<ScheduleFacts, Error> {
        let runs = u32::try_from(runs).unwrap_or(u32::MAX);
        let found = self.database.ask(&DescribeSchedule { name: self.name().into(), runs })?;
        found.ok_or_else(|| Error::NotFound { kind: "schedule", name: self.name().to_owned() })
    }

    /// Lets it rest until it is resumed, by whoever and whenever: over restarts too. Nothing changes if it rests
    /// already. Durable on return.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was removed, and what any write may meet.
    pub fn pause(&self) -> Result<(), Error> {
        self.submit(OfQueues::PauseSchedule { name: &self.name, is_paused: true })
    }

    /// Lets it go on with the first run that is to come; one that runs at one time only, and was to run meanwhile, has
    /// missed that. Nothing changes if it does not rest. Durable on return.
    ///
    /// # Errors
    /// As for [`Schedule::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        self.submit(OfQueues::PauseSchedule { name: &self.name, is_paused: false })
    }

    /// Removes it. Messages that it has sent stay. Durable on return.
    ///
    /// # Errors
    /// As for [`Schedule::pause`].
    pub fn remove(self) -> Result<(), Error> {
        self.submit(OfQueues::RemoveSchedule { name: &self.name })
    }

    fn submit(&self, command: queues::Command<'_>) -> Result<(), Error> {
        let submitted = self.database.shared.link.submit(&Command::Queues(command), Level::Sync, None);
        submitted.map(drop).map_err(|refused| refusal_of("schedule", refused, self.name()))
    }
}
