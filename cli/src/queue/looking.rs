//! Looking at single messages: `queue receive --peek`, `explain`, `queue cancel`, `queue reschedule`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use towpath::{Error, Explanation, Queue, StoredMessage, Timestamp};

use super::{PrintedBody, with};
use crate::dead;
use crate::exit::Failure;
use crate::output::{Output, counted, say, say_json};
use crate::place::Place;
use crate::units;

/// Messages that are looked at, at most and unless told otherwise.
const PEEKED_MAX: u64 = 1_024;

#[derive(Serialize)]
pub(super) struct PrintedMessage<'a> {
    sequence: u64,
    priority: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    sent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(flatten)]
    body: PrintedBody,
}

impl<'a> PrintedMessage<'a> {
    pub(super) fn new(message: &'a StoredMessage, attempt: Option<u32>) -> PrintedMessage<'a> {
        PrintedMessage {
            sequence: message.sequence(),
            priority: message.priority(),
            attempt,
            sent: units::rfc3339(message.timestamp()),
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            group: message.group(),
            id: message.id(),
            body: PrintedBody::new(message.body()),
        }
    }
}

/// Prints what would be received next.
pub(super) fn peek(place: &Place, name: &str, max: Option<u64>, json: bool) -> Result<(), Failure> {
    let max = max.unwrap_or(PEEKED_MAX).min(PEEKED_MAX) as usize;
    let messages = with(place, name, |queue| Ok(queue.peek(max)?))?;
    let mut output = Output::new();
    for message in &messages {
        match json {
            true => output.json(&PrintedMessage::new(message, None))?,
            false => output.line(message.body())?,
        }
    }
    output.flush()
}

/// How long the oldest message has waited that is ready.
pub(super) fn oldest_age(queue: &Queue) -> Result<Option<Duration>, Failure> {
    let age = |sent: Timestamp| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_micros(sent.as_micros()))
    };
    Ok(queue.oldest()?.map(age))
}

/// A message by its number.
#[derive(Args)]
pub(crate) struct Named {
    /// The queue
    queue: String,
    /// The message's sequence, as `queue receive --peek --json` shows it
    sequence: u64,
}

impl Named {
    /// What is wrong with this message, where the library speaks of any.
    fn failure(&self, error: Error) -> Failure {
        let Named { queue, sequence } = self;
        match error {
            Error::Stale { .. } => {
                Failure::refused(format!("{sequence} of {queue} does not wait: it is not there any more, or dead"))
            }
            Error::MessagesInFlight { .. } => {
                Failure::refused(format!("a consumer has {sequence} of {queue}; `towpath explain` tells for how long"))
            }
            error => error.into(),
        }
    }
}

#[derive(Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    named: Named,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Reschedule {
    #[command(flatten)]
    named: Named,
    /// When it becomes ready from now on, such as 90s, 12h or 7d
    #[arg(long, value_name = "D", value_parser = units::duration)]
    delay: Duration,
}

#[derive(Serialize)]
struct Printed {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<String>,
}

impl Explain {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        let Named { queue, sequence } = self.named;
        let explained = with(place, &queue, |queue| Ok(queue.explain(sequence)?))?;
        if self.json {
            return say_json(&printed(explained));
        }
        say(format!("{sequence} of {queue}: {}", told(explained)))
    }
}

fn printed(explained: Explanation) -> Printed {
    let state =
        |state| Printed { state, behind: None, until: None, remaining_seconds: None, reason: None, consumer: None };
    let remains =
        |state: Printed, remaining: Duration| Printed { remaining_seconds: Some(remaining.as_secs_f64()), ..state };
    match explained {
        Explanation::Behind { messages } => Printed { behind: Some(messages), ..state("ready") },
        Explanation::Delayed { until } => Printed { until: Some(units::rfc3339(until)), ..state("delayed") },
        Explanation::Backoff { remaining } => remains(state("backoff"), remaining),
        Explanation::InFlight { remaining } => remains(state("in_flight"), remaining),
        Explanation::GroupBusy => state("group_busy"),
        Explanation::Paused => state("paused"),
        Explanation::Suspect => state("suspect"),
        Explanation::ConsumersFull => state("consumers_full"),
        Explanation::NotActive { consumer } => Printed { consumer: Some(consumer), ..state("not_active") },
        Explanation::Expired => state("expired"),
        Explanation::Dead { reason } => Printed { reason: Some(dead::reason(reason)), ..state("dead") },
        Explanation::Gone => state("gone"),
        _ => state("unknown to this program"),
    }
}

fn told(explained: Explanation) -> String {
    let human = |duration: Duration| units::human_duration(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    match explained {
        Explanation::Behind { messages: 0 } => "it is the next".to_owned(),
        Explanation::Behind { messages } => format!("it is behind {}", counted(messages, "other message")),
        Explanation::Delayed { until } => format!("it is delayed until {}", units::rfc3339(until)),
        Explanation::Backoff { remaining } => format!("it failed, and comes back in {}", human(remaining)),
        Explanation::InFlight { remaining } => format!("a consumer has it, for {} more", human(remaining)),
        Explanation::GroupBusy => "another of its group comes first".to_owned(),
        Explanation::Paused => "the queue is paused".to_owned(),
        Explanation::Suspect => {
            "a process that had it has died, and it waits until whoever tries such a message is done".to_owned()
        }
        Explanation::ConsumersFull => "each consumer has as many messages as it takes".to_owned(),
        Explanation::NotActive { consumer } => {
            format!("the next consumer is active once {consumer} has settled what it has")
        }
        Explanation::Expired => "its time is over".to_owned(),
        Explanation::Dead { reason } => format!("it is dead: {}", dead::reason(reason)),
        _ => "it is not there, or no longer".to_owned(),
    }
}

pub(super) fn cancel(place: &Place, named: &Named) -> Result<(), Failure> {
    let Named { queue, sequence } = named;
    with(place, queue, |queue| queue.cancel(*sequence).map_err(|error| named.failure(error)))?;
    say(format!("{sequence} of {queue} is cancelled."))
}

impl Reschedule {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let Named { queue, sequence } = &self.named;
        let moved = |queue: &Queue| queue.reschedule(*sequence, self.delay).map_err(|error| self.named.failure(error));
        with(place, queue, moved)?;
        say(format!("{sequence} of {queue} has another time."))
    }
}
