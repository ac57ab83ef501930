//! When a schedule runs.

use crate::base::bounds::{
    DURATION_MICROS_MAX, RUN_YEARS_MAX, RUNS_COUNTED_MAX, RUNS_TOLD_MAX, SCHEDULE_EVERY_MICROS_MIN,
};
use crate::base::time::Timestamp;

use super::super::command::Refusal;
use super::calendar::{Calendar, CalendarFault};

/// Times at which a schedule runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// Those that a pattern names, on the clocks of a time zone.
    Cron { pattern: Box<str>, zone: Box<str> },
    /// One after the other, this far apart.
    Every { micros: u64 },
    /// One only.
    At(Timestamp),
}

/// The runs of a schedule that have come, of which there is one at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Come {
    pub(super) newest: Timestamp,
    /// How many there are. Of those of a pattern no more than [`RUNS_COUNTED_MAX`] are counted.
    pub(super) count: u64,
    /// The first that has not come.
    pub(super) next: Option<Timestamp>,
}

impl When {
    /// Why there is no such time.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        let invalid = |option, reason| Err(Refusal::InvalidOption { option, reason });
        match self {
            When::Cron { pattern, zone } => match Calendar::of(pattern, zone) {
                Err(CalendarFault::NoSuchZone) => invalid("time zone", "the time zone database has no such name"),
                Err(CalendarFault::Pattern { offset, reason }) => {
                    Err(Refusal::InvalidCron { offset: offset as u64, reason })
                }
                Ok(calendar) if calendar.after(now).is_none() => {
                    let reason = format!("it names no time within the next {RUN_YEARS_MAX} years");
                    Err(Refusal::InvalidCron { offset: 0, reason })
                }
                Ok(_) => Ok(()),
            },
            When::Every { micros } if *micros < SCHEDULE_EVERY_MICROS_MIN => {
                invalid("every", "runs are a second apart at least")
            }
            When::Every { micros } if *micros > DURATION_MICROS_MAX => {
                invalid("every", "runs are at most 10,000 days apart")
            }
            When::At(Timestamp(0)) => invalid("at", "a time is after 1970-01-01T00:00:00Z"),
            When::Every { .. } | When::At(_) => Ok(()),
        }
    }

    fn calendar(&self) -> Option<Calendar> {
        match self {
            // It was looked at when the schedule was made. A zone that a later version does not know has no runs.
            When::Cron { pattern, zone } => Calendar::of(pattern, zone).ok(),
            When::Every { .. } | When::At(_) => None,
        }
    }

    /// The first run of a schedule that is made now.
    pub(super) fn first(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            When::Cron { .. } => self.calendar()?.after(now),
            When::Every { micros } => Some(Timestamp(now.0.saturating_add(*micros))),
            When::At(at) => Some(*at),
        }
    }

    /// The first run behind `now`, if `next` is one; a time that there is only once stays.
    pub(super) fn resumed(&self, next: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match self {
            When::At(_) => Some(next),
            _ if next > now => Some(next),
            When::Every { .. } => self.come(next, now).next,
            When::Cron { .. } => self.calendar()?.after(now),
        }
    }

    /// The run behind this one.
    pub(super) fn following(&self, run: Timestamp) -> Option<Timestamp> {
        match self {
            When::Cron { .. } => self.calendar()?.after(run),
            When::Every { micros } => Some(Timestamp(run.0.checked_add(*micros)?)),
            When::At(_) => None,
        }
    }

    /// Which runs have come, of which `first` is the first.
    pub(super) fn come(&self, first: Timestamp, now: Timestamp) -> Come {
        match self {
            When::Cron { .. } => self
                .calendar()
                .map_or(Come { newest: first, count: 1, next: None }, |calendar| come_by(&calendar, first, now)),
            When::Every { micros } => {
                let more = now.0.saturating_sub(first.0) / micros;
                let newest = Timestamp(first.0 + more * micros);
                Come { newest, count: more + 1, next: self.following(newest) }
            }
            When::At(_) => Come { newest: first, count: 1, next: None },
        }
    }

    /// The runs from this one on, in order.
    pub(crate) fn runs(&self, next: Option<Timestamp>, max: usize) -> Vec<Timestamp> {
        let calendar = self.calendar();
        let following = |run: &Timestamp| match &calendar {
            Some(calendar) => calendar.after(*run),
            None => self.following(*run),
        };
        std::iter::successors(next, following).take(max.min(RUNS_TOLD_MAX)).collect()
    }
}

fn come_by(calendar: &Calendar, first: Timestamp, now: Timestamp) -> Come {
    let (mut newest, mut count) = (first, 1);
    while count < RUNS_COUNTED_MAX {
        match calendar.after(newest).filter(|next| *next <= now) {
            Some(next) => (newest, count) = (next, count + 1),
            None => return Come { newest, count, next: calendar.after(newest) },
        }
    }
    let newest = calendar.until(now).map_or(newest, |last| last.max(newest));
    Come { newest, count, next: calendar.after(now) }
}
