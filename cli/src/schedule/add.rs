//! `towpath schedule add`.

use std::io::Read;
use std::time::Duration;

use clap::{Args, ValueEnum};
use towpath::{Message, MissedRuns, OverlappingRuns, SchedulePlan, ScheduleTarget, Timestamp};

use crate::exit::Failure;
use crate::output::say;
use crate::place::Place;
use crate::units;

/// A message has at most 2 KiB: what is longer is refused, whatever follows.
const INPUT_BYTES_MAX: u64 = 64 << 10;

#[derive(Args)]
#[command(group = clap::ArgGroup::new("times").required(true).args(["cron", "every", "at"]))]
#[command(group = clap::ArgGroup::new("target").required(true).args(["queue", "exchange"]))]
pub(crate) struct Add {
    /// The schedule: 1 to 255 bytes, no control characters, no leading $
    name: String,
    /// At the times that this pattern names, such as '30 2 * * MON-FRI' or @daily
    #[arg(long, value_name = "PATTERN")]
    cron: Option<String>,
    /// This far apart, such as 10m; a second at least
    #[arg(long, value_name = "D", value_parser = units::duration)]
    every: Option<Duration>,
    /// Once, at this time, such as 2026-03-01T12:00:00Z or '2026-03-01 13:00[Europe/Berlin]'
    #[arg(long, value_name = "T", value_parser = units::time)]
    at: Option<Timestamp>,
    /// The time zone of the pattern, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Send to this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Publish to this exchange
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,
    /// The routing key of an exchange [default: the empty one]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// What becomes of runs that nobody was there to make
    #[arg(long, value_enum, default_value = "one")]
    missed: MissedName,
    /// What becomes of a run while the message of the one before is unsettled
    #[arg(long, value_enum, default_value = "allow")]
    overlap: OverlapName,
    /// What is sent; without it, all of standard input
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// The priority of the messages, from 0 to 31 [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=31))]
    priority: Option<u8>,
    /// How long each message lives
    #[arg(long, value_name = "D", value_parser = units::duration)]
    ttl: Option<Duration>,
}

/// What becomes of missed runs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MissedName {
    /// One message makes up for all of them
    One,
    /// They are left out
    Skip,
    /// Each sends its message
    All,
}

/// What becomes of runs that overlap.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OverlapName {
    /// They send their message all the same
    Allow,
    /// They are left out
    Skip,
}

impl Add {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        let plan = self.plan()?;
        let body = match &self.body {
            Some(body) => body.clone().into_bytes(),
            None => from_standard_input()?,
        };
        let mut message = Message::new(&body);
        if let Some(priority) = self.priority {
            message = message.priority(priority);
        }
        if let Some(ttl) = self.ttl {
            message = message.ttl(ttl);
        }
        let database = place.open_existing()?;
        let target: ScheduleTarget = match (&self.queue, &self.exchange) {
            (Some(queue), _) => (&database.queue(queue)?).into(),
            (None, exchange) => {
                let exchange = database.exchange(exchange.as_deref().unwrap_or_default())?;
                (&exchange, self.key.as_deref().unwrap_or_default()).into()
            }
        };
        let schedule = database.schedule(&self.name, plan, target, message)?;
        let next = schedule.next_runs(1)?;
        database.close()?;
        match next.first() {
            Some(next) => say(format!("{} is there; it runs at {}.", self.name, units::rfc3339(*next))),
            None => say(format!("{} is there; it does not run now.", self.name)),
        }
    }

    fn plan(&self) -> Result<SchedulePlan, Failure> {
        if self.zone.is_some() && self.cron.is_none() {
            return Err(Failure::usage("--zone is for --cron; leave it away"));
        }
        if self.key.is_some() && self.exchange.is_none() {
            return Err(Failure::usage("--key is for --exchange; leave it away"));
        }
        let plan = match (&self.cron, self.every, self.at) {
            (Some(pattern), ..) => SchedulePlan::cron(pattern).zone(self.zone.as_deref().unwrap_or("UTC")),
            (None, Some(interval), _) => SchedulePlan::every(interval),
            (None, None, Some(time)) => SchedulePlan::at(time),
            (None, None, None) => return Err(Failure::usage("name the times with --cron, --every or --at")),
        };
        let missed = match self.missed {
            MissedName::One => MissedRuns::One,
            MissedName::Skip => MissedRuns::Skip,
            MissedName::All => MissedRuns::All,
        };
        let overlap = match self.overlap {
            OverlapName::Allow => OverlappingRuns::Allow,
            OverlapName::Skip => OverlappingRuns::Skip,
        };
        Ok(plan.missed(missed).overlap(overlap))
    }
}

/// All of it, without a newline at its end.
fn from_standard_input() -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_end(&mut body);
    read.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    if body.last() == Some(&b'\n') {
        body.pop();
    }
    Ok(body)
}
