//! Making and finding schedules.

use crate::base::level::Level;
use crate::engine::Refused;
use crate::primitives::queues::{self, When};
use crate::primitives::{Command, Refusal};
use crate::processes::scheduling::{DescribeSchedule, ScheduleNames};

use super::super::error::Error;
use super::super::message::Message;
use super::super::schedule::Schedule;
use super::super::schedule_options::{SchedulePlan, ScheduleTarget};
use super::{Database, refusal_of};

impl Database {
    /// Makes a schedule, or gives the one with this name this plan, target and message. From then on the database sends
    /// the message at the times of the plan, whichever process hosts it; see [`Schedule`] for what is promised. Durable
    /// on return.
    ///
    /// A schedule that is made again alike is not touched, so that a program may do so each time it starts. One that
    /// gets another message or target keeps its next run, one that gets other times begins anew; a paused one stays
    /// paused.
    ///
    /// ```
    /// use towpath::{QueueOptions, SchedulePlan};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// let reports = db.create_queue("reports", QueueOptions::new())?;
    /// let nightly = SchedulePlan::cron("30 2 * * *").zone("Europe/Berlin");
    /// let schedule = db.schedule("nightly report", nightly, &reports, "of yesterday")?;
    /// assert_eq!(schedule.next_runs(3)?.len(), 3);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidCron`] with the place in the pattern; [`Error::InvalidOption`] for a time zone that is not
    /// known, runs that are less than a second apart, a message that is delayed or has a deadline, or a target of
    /// another database; [`Error::LimitExceeded`] beyond 10,000 schedules or 2 KiB of a message; [`Error::NotFound`] if
    /// the target was deleted, [`Error::InvalidName`], and what any write may meet.
    pub fn schedule<'a>(
        &self,
        name: &str,
        plan: SchedulePlan,
        target: impl Into<ScheduleTarget>,
        message: impl Into<Message<'a>>,
    ) -> Result<Schedule, Error> {
        let target = target.into();
        if !target.database.is_same(self) {
            let reason =
                format!("{} `{}` is of another database, or of another handle of it", target.kind, target.name);
            return Err(Error::InvalidOption { option: "target", reason });
        }
        let plan = queues::Plan { target: target.target, ..plan.0 };
        // Before it is sent: a host takes what cannot be for a request that it does not understand.
        if plan.when == (When::Every { micros: 0 }) {
            let reason = "runs are a second apart at least".to_owned();
            return Err(Error::InvalidOption { option: "every", reason });
        }
        let command = queues::Command::Schedule { name, plan: &plan, message: &message.into().0 };
        let submitted = self.shared.link.submit(&Command::Queues(command), Level::Sync, None);
        submitted.map(|_| Schedule::new(self.clone(), name)).map_err(|refused| match (refused, &plan.when) {
            (Refused::Refusal(Refusal::Queues(queues::Refusal::NoDestination)), _) => {
                Error::NotFound { kind: target.kind, name: target.name }
            }
            (
                refused @ Refused::Refusal(Refusal::Queues(queues::Refusal::InvalidCron { .. })),
                When::Cron { pattern, .. },
            ) => refusal_of("schedule", refused, pattern),
            (refused, _) => refusal_of("schedule", refused, name),
        })
    }

    /// Opens a schedule that exists. Waits as [`Database::queue`] does.
    ///
    /// # Errors
    /// As for [`Database::stream`].
    pub fn existing_schedule(&self, name: &str) -> Result<Schedule, Error> {
        match self.ask(&DescribeSchedule { name: name.into(), runs: 0 })? {
            Some(_) => Ok(Schedule::new(self.clone(), name)),
            None => Err(Error::NotFound { kind: "schedule", name: name.to_owned() }),
        }
    }

    /// The names of all schedules, in order. One that is made or removed meanwhile may be in it or not.
    ///
    /// # Errors
    /// As for [`Database::stream`].
    pub fn schedule_names(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let more = self.ask(&ScheduleNames { after: names.last().cloned().unwrap_or_default() })?;
            if more.is_empty() {
                return Ok(names);
            }
            names.extend(more);
        }
    }
}
