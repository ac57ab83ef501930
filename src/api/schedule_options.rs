//! What a schedule is to do, and what there is to know of it.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::primitives::queues::{self, KeptMessage, LastLeftOut, LastSent, LeftOutReason, QueueNumber, When};
use crate::processes::scheduling::ScheduleFacts;

use super::database::Database;
use super::exchange::Exchange;
use super::queue::Queue;
use super::queue_options::micros;

/// When a schedule runs, and what becomes of runs that are missed or overlap.
///
/// ```
/// use std::time::Duration;
/// use towpath::{MissedRuns, OverlappingRuns, SchedulePlan};
///
/// let weekdays = SchedulePlan::cron("0 9 * * MON-FRI").zone("America/New_York").missed(MissedRuns::Skip);
/// let often = SchedulePlan::every(Duration::from_secs(600)).overlap(OverlappingRuns::Skip);
/// assert_ne!(weekdays, often);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchedulePlan(pub(super) queues::Plan);

impl SchedulePlan {
    fn of(when: When) -> SchedulePlan {
        let (missed, overlap) = (queues::MissedRuns::One, queues::OverlappingRuns::Allow);
        // It gets its target when the schedule is made.
        let target = queues::Target::Queue(QueueNumber(0));
        SchedulePlan(queues::Plan { when, target, missed, overlap })
    }

    /// At the times that a cron pattern names, in UTC unless a [zone](SchedulePlan::zone) is named.
    ///
    /// A pattern has five fields (minutes, hours, day of the month, month, day of the week), or six with the seconds
    /// before them, or seven with the year behind them; or it is `@hourly`, `@daily`, `@weekly`, `@monthly` or
    /// `@yearly`. A field is `*`, or numbers, ranges `1-5` and steps `*/10` or `10-40/5`, with commas between them;
    /// months and days may be named (`JAN`, `MON`), Sunday is 0 and 7. `L` is the last day of the month, `LW` its last
    /// weekday, `15W` the weekday nearest to the 15th, `FRI#2` the second Friday, `FRIL` the last one. Where both days
    /// are restricted, either is enough, unless the day of the week begins with `+`.
    ///
    /// Where clocks are put forward or back, a pattern with one time of the day runs once on that day: at the end of
    /// the hour that is skipped, and in the first of two hours that are alike. One with several times runs at each that
    /// there is.
    #[must_use]
    pub fn cron(pattern: &str) -> SchedulePlan {
        SchedulePlan::of(When::Cron { pattern: pattern.into(), zone: "UTC".into() })
    }

    /// One run after the other, this far apart, a second at least; the first one so long after the schedule was made.
    #[must_use]
    pub fn every(interval: Duration) -> SchedulePlan {
        SchedulePlan::of(When::Every { micros: micros(interval) })
    }

    /// Once, at this time; at once if it has passed. The schedule has ended then, and stays there until it is removed.
    #[must_use]
    pub fn at(time: Timestamp) -> SchedulePlan {
        SchedulePlan::of(When::At(time))
    }

    /// The time zone on whose clocks a cron pattern is read, by its name in the time zone database (`Europe/Berlin`).
    /// Nothing changes for other plans, which need none.
    #[must_use]
    pub fn zone(mut self, name: &str) -> SchedulePlan {
        if let When::Cron { zone, .. } = &mut self.0.when {
            *zone = name.into();
        }
        self
    }

    /// What becomes of runs that were missed.
    #[must_use]
    pub fn missed(mut self, missed: MissedRuns) -> SchedulePlan {
        self.0.missed = match missed {
            MissedRuns::One => queues::MissedRuns::One,
            MissedRuns::Skip => queues::MissedRuns::Skip,
            MissedRuns::All => queues::MissedRuns::All,
        };
        self
    }

    /// What becomes of a run while the message of the one before is unsettled.
    #[must_use]
    pub fn overlap(mut self, overlap: OverlappingRuns) -> SchedulePlan {
        self.0.overlap = match overlap {
            OverlappingRuns::Allow => queues::OverlappingRuns::Allow,
            OverlappingRuns::Skip => queues::OverlappingRuns::Skip,
        };
        self
    }

    /// Its times.
    #[must_use]
    pub fn times(&self) -> ScheduleTimes {
        match &self.0.when {
            When::Cron { pattern, zone } => {
                ScheduleTimes::Cron { pattern: pattern.to_string(), zone: zone.to_string() }
            }
            When::Every { micros } => ScheduleTimes::Every(Duration::from_micros(*micros)),
            When::At(at) => ScheduleTimes::At(*at),
        }
    }

    /// What becomes of runs that were missed.
    #[must_use]
    pub fn missed_runs(&self) -> MissedRuns {
        match self.0.missed {
            queues::MissedRuns::One => MissedRuns::One,
            queues::MissedRuns::Skip => MissedRuns::Skip,
            queues::MissedRuns::All => MissedRuns::All,
        }
    }

    /// What becomes of runs that overlap.
    #[must_use]
    pub fn overlapping_runs(&self) -> OverlappingRuns {
        match self.0.overlap {
            queues::OverlappingRuns::Allow => OverlappingRuns::Allow,
            queues::OverlappingRuns::Skip => OverlappingRuns::Skip,
        }
    }
}

/// The times of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ScheduleTimes {
    /// Those that a pattern names.
    Cron {
        /// The pattern, as it was given.
        pattern: String,
        /// The name of the time zone.
        zone: String,
    },
    /// One after the other, this far apart.
    Every(Duration),
    /// One.
    At(Timestamp),
}

/// What becomes of missed runs: those behind which another of the schedule has come before anybody was there to make
/// them, and those that are more than a minute late.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub enum MissedRuns {
    /// One message makes up for all of them.
    #[default]
    One,
    /// They are left out.
    Skip,
    /// Each sends its message; of more than 1,000 in a row the rest is made up for by one.
    All,
}

/// What becomes of a run while the message of the one before is unsettled in some queue: neither acked, nor dead, nor
/// gone in another way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub enum OverlappingRuns {
    /// It sends its message all the same.
    #[default]
    Allow,
    /// It is left out. A message of such a schedule goes to at most 32 queues.
    Skip,
}

/// Where a schedule sends: a queue, or an exchange with a routing key, not the default one.
///
/// ```
/// use towpath::{Binding, ExchangeOptions, QueueOptions, SchedulePlan};
/// # let db = towpath::Options::temporary().open_temporary()?;
/// let reports = db.create_queue("reports", QueueOptions::new())?;
/// let events = db.create_exchange("events", ExchangeOptions::topic())?;
/// events.bind(&reports, Binding::pattern("report.#"))?;
/// db.schedule("daily", SchedulePlan::cron("@daily"), (&events, "report.daily"), "sales")?;
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScheduleTarget {
    pub(super) database: Database,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) target: queues::Target,
}

impl From<&Queue> for ScheduleTarget {
    fn from(queue: &Queue) -> ScheduleTarget {
        let (database, name) = (queue.database.clone(), queue.name().to_owned());
        ScheduleTarget { database, kind: "queue", name, target: queues::Target::Queue(queue.number) }
    }
}

impl From<(&Exchange, &str)> for ScheduleTarget {
    fn from((exchange, routing_key): (&Exchange, &str)) -> ScheduleTarget {
        let (database, name) = (exchange.database.clone(), exchange.name().to_owned());
        let target = queues::Target::Exchange { exchange: exchange.number, routing_key: routing_key.into() };
        ScheduleTarget { database, kind: "exchange", name, target }
    }
}

/// What there is to know of a schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ScheduleDescription {
    /// Its name.
    pub name: String,
    /// Its plan.
    pub plan: SchedulePlan,
    /// The queue to which it sends; none if it publishes.
    pub queue: Option<String>,
    /// The exchange to which it publishes, and the routing key.
    pub exchange: Option<(String, String)>,
    /// What it sends.
    pub message: ScheduleMessage,
    /// It rests.
    pub is_paused: bool,
    /// The time of its next run; none if it is paused or has ended.
    pub next_run: Option<Timestamp>,
    /// Runs that have sent their message.
    pub sent: u64,
    /// Runs that have not. Of the missed ones of a cron pattern at most 100 are counted for each absence.
    pub left_out: u64,
    /// The last run that has sent its message.
    pub last_sent: Option<SentRun>,
    /// The last run that has not.
    pub last_left_out: Option<LeftOutRun>,
}

/// The message of a schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ScheduleMessage {
    /// Its body.
    pub body: Vec<u8>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its headers, without those that each run adds.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its priority.
    pub priority: u8,
    /// How long it lives.
    pub ttl: Option<Duration>,
    /// Its group.
    pub group: Option<String>,
    /// After so many failed attempts it is dead.
    pub max_attempts: Option<u32>,
}

/// A run that has sent its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SentRun {
    /// The time that the plan names.
    pub scheduled_at: Timestamp,
    /// When it was sent.
    pub sent_at: Timestamp,
}

/// A run that has not sent its message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LeftOutRun {
    /// The time that the plan names.
    pub scheduled_at: Timestamp,
    /// When it was left out.
    pub left_out_at: Timestamp,
    /// Why.
    pub reason: LeftOut,
}

/// Why a run has not sent its message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LeftOut {
    /// It was missed, and the plan says [`MissedRuns::Skip`].
    Missed,
    /// The message of the run before was unsettled, and the plan says [`OverlappingRuns::Skip`].
    Overlap,
    /// The message was refused, for this reason.
    Refused(String),
}

impl ScheduleDescription {
    pub(super) fn of(name: String, facts: ScheduleFacts) -> ScheduleDescription {
        let ScheduleFacts { plan, target, message, is_paused, next, sent, left_out, last_sent, last_left_out, .. } =
            facts;
        let (queue, exchange) = match &plan.target {
            queues::Target::Queue(_) => (Some(target), None),
            queues::Target::Exchange { routing_key, .. } => (None, Some((target, routing_key.to_string()))),
        };
        ScheduleDescription {
            name,
            plan: SchedulePlan(plan),
            queue,
            exchange,
            message: ScheduleMessage::read(&message),
            is_paused,
            next_run: next.filter(|_| !is_paused),
            sent,
            left_out,
            last_sent: last_sent.map(|LastSent { run, at }| SentRun { scheduled_at: run, sent_at: at }),
            last_left_out: last_left_out.map(LeftOutRun::of),
        }
    }
}

impl LeftOutRun {
    fn of(LastLeftOut { run, at, reason, text }: LastLeftOut) -> LeftOutRun {
        let reason = match reason {
            LeftOutReason::Missed => LeftOut::Missed,
            LeftOutReason::Overlap => LeftOut::Overlap,
            LeftOutReason::Refused => LeftOut::Refused(text.into()),
        };
        LeftOutRun { scheduled_at: run, left_out_at: at, reason }
    }
}

impl ScheduleMessage {
    fn read(bytes: &[u8]) -> ScheduleMessage {
        let kept = KeptMessage::read(bytes).expect("it was read when it was told");
        let KeptMessage { priority, ttl_micros, group, max_attempts, headers, record } = kept;
        let header = |header: crate::primitives::streams::Header<'_>| (header.name.to_owned(), header.value.to_vec());
        ScheduleMessage {
            body: record.body.unwrap_or_default().to_vec(),
            key: record.key.map(<[u8]>::to_vec),
            headers: headers.into_iter().map(header).collect(),
            priority,
            ttl: ttl_micros.map(Duration::from_micros),
            group: group.map(str::to_owned),
            max_attempts,
        }
    }
}
