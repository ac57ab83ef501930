//! `towpath dead …`: the dead letters of queues: those of the dead set and, in a queue that is where the dead of others
//! go, the messages that came from there.

mod redrive;

use clap::Subcommand;
use serde::Serialize;
use towpath::{DeadLetter, DeathReason, Deaths, Queue};

use crate::exit::Failure;
use crate::output::{Output, counted, grouped, say, table};
use crate::place::Place;
use crate::queue::{PrintedBody, with};
use crate::units;

/// Letters that are taken in hand at once.
const LETTERS_AT_ONCE: usize = 256;

/// Characters of a body or an error in a table.
const SHOWN: usize = 60;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// List the dead letters of a queue, with the last error of each
    List {
        /// The queue
        queue: String,
        /// Print one JSON object per letter and line, with all errors that are kept
        #[arg(long)]
        json: bool,
    },
    /// Show one dead letter with all errors that are kept
    Show {
        /// The queue
        queue: String,
        /// Its number in the queue
        sequence: u64,
    },
    /// Send dead letters of a queue again
    ///
    /// Each goes to the queue in which it died first, with its history, as a message without failed attempts.
    Redrive(redrive::Redrive),
    /// Delete the dead letters of a queue
    Purge {
        /// The queue
        queue: String,
    },
}

impl Verb {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        match self {
            Verb::List { queue, json } => list(place, &queue, json),
            Verb::Show { queue, sequence } => show(place, &queue, sequence),
            Verb::Redrive(redrive) => redrive.run(place),
            Verb::Purge { queue } => {
                let letters = take_all(place, &queue, |queue, letters| {
                    queue.purge_dead(&letters)?;
                    Ok(letters.len())
                })?;
                say(format!("{} of {queue} deleted.", counted(letters, "dead letter")))
            }
        }
    }
}

/// Does this with every letter that was there when it began, a step at a time. Each step tells how many it took; so
/// does this of all.
fn take_all(
    place: &Place,
    name: &str,
    mut act: impl FnMut(&Queue, Vec<DeadLetter>) -> Result<usize, Failure>,
) -> Result<u64, Failure> {
    with(place, name, |queue| {
        let described = queue.describe()?;
        let mut taken = 0;
        for (kind, mut left) in [(Kind::Dead, described.dead), (Kind::Moved, described.ready + described.delayed)] {
            let mut last = None;
            while left > 0 {
                let letters = kind.some(queue, last.as_ref(), LETTERS_AT_ONCE.min(left as usize))?;
                let Some(letter) = letters.last() else { break };
                last = Some(letter.clone());
                left -= (letters.len() as u64).min(left);
                taken += act(queue, letters)? as u64;
            }
        }
        Ok(taken)
    })
}

/// Letters of a queue.
#[derive(Clone, Copy)]
enum Kind {
    /// In its dead set.
    Dead,
    /// That came from where they died, and wait.
    Moved,
}

impl Kind {
    fn some(self, queue: &Queue, after: Option<&DeadLetter>, max: usize) -> Result<Vec<DeadLetter>, Failure> {
        Ok(match self {
            Kind::Dead => queue.dead_letters(after, max)?,
            // Of others there are none, and a look at all that wait would take long.
            Kind::Moved if !queue.describe()?.is_target => Vec::new(),
            Kind::Moved => queue.moved_letters(after, max)?,
        })
    }
}

fn for_each(queue: &Queue, mut visit: impl FnMut(&DeadLetter) -> Result<(), Failure>) -> Result<(), Failure> {
    for kind in [Kind::Dead, Kind::Moved] {
        let mut last: Option<DeadLetter> = None;
        loop {
            let letters = kind.some(queue, last.as_ref(), LETTERS_AT_ONCE)?;
            letters.iter().try_for_each(&mut visit)?;
            match letters.into_iter().next_back() {
                None => break,
                letter => last = letter,
            }
        }
    }
    Ok(())
}

fn list(place: &Place, name: &str, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    let mut table = table(&["sequence", "reason", "died", "attempts", "last error", "body"], &[0, 3]);
    with(place, name, |queue| {
        for_each(queue, |letter| {
            if json {
                return output.json(&Printed::new(letter));
            }
            let error = letter.failures().first().map_or("", |failure| &failure.error);
            table.add_row([
                letter.sequence().to_string(),
                reason(letter.reason()).to_owned(),
                units::rfc3339(letter.died_at()),
                grouped(u64::from(letter.failed_attempts())),
                shown(error),
                match letter.message() {
                    Ok(message) => shown(&String::from_utf8_lossy(message.body())),
                    Err(_) => "(cannot be read)".to_owned(),
                },
            ]);
            Ok(())
        })
    })?;
    if !json {
        output.line(table.to_string())?;
    }
    output.flush()
}

fn show(place: &Place, name: &str, sequence: u64) -> Result<(), Failure> {
    let mut found = None;
    with(place, name, |queue| {
        for_each(queue, |letter| {
            if letter.sequence() == sequence {
                found = Some(letter.clone());
            }
            Ok(())
        })
    })?;
    let missing = || Failure::not_found(format!("{name} has no dead letter {sequence}; `towpath dead list` names all"));
    let letter = found.ok_or_else(missing)?;
    let mut output = Output::new();
    let (reason, attempts) = (reason(letter.reason()), counted(u64::from(letter.failed_attempts()), "failed attempt"));
    output.line(format!("{sequence}: {reason} at {}, {attempts}", units::rfc3339(letter.died_at())))?;
    for failure in letter.failures() {
        output.line(format!("  {} {}", units::rfc3339(failure.timestamp), failure.error))?;
    }
    output.line("died:")?;
    for deaths in letter.history().deaths() {
        output.line(format!("  {}", told(&deaths)))?;
    }
    output.line("")?;
    output.line(letter.message()?.body())?;
    output.flush()
}

pub(crate) fn reason(reason: DeathReason) -> &'static str {
    match reason {
        DeathReason::Rejected => "rejected",
        DeathReason::AttemptsExhausted => "attempts exhausted",
        DeathReason::Expired => "expired",
        DeathReason::Deadline => "deadline",
        DeathReason::Overflow => "overflow",
        DeathReason::Cycle => "cycle",
        _ => "dead",
    }
}

/// One entry of a history.
fn told(deaths: &Deaths) -> String {
    let Deaths { queue, count, last_at, exchange, routing_key, .. } = deaths;
    let times = if *count == 1 { String::new() } else { format!(" {count} times, the last") };
    let came = match (exchange, routing_key) {
        (Some(exchange), Some(key)) => format!(", published to \"{exchange}\" with \"{key}\""),
        _ => String::new(),
    };
    format!("in {queue}: {}{times} at {}{came}", reason(deaths.reason), units::rfc3339(*last_at))
}

/// The beginning of the first line.
fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[derive(Serialize)]
struct Printed {
    sequence: u64,
    reason: &'static str,
    died: String,
    failed_attempts: u32,
    failures: Vec<PrintedFailure>,
    deaths: Vec<PrintedDeaths>,
    #[serde(flatten)]
    body: Option<PrintedBody>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

#[derive(Serialize)]
struct PrintedDeaths {
    queue: String,
    reason: &'static str,
    count: u64,
    first: String,
    last: String,
    attempts: u64,
    exchange: Option<String>,
    routing_key: Option<String>,
}

impl PrintedDeaths {
    fn new(deaths: Deaths) -> PrintedDeaths {
        let (first, last) = (units::rfc3339(deaths.first_at), units::rfc3339(deaths.last_at));
        let Deaths { queue, count, attempts, exchange, routing_key, .. } = deaths;
        PrintedDeaths { queue, reason: reason(deaths.reason), count, first, last, attempts, exchange, routing_key }
    }
}

#[derive(Serialize)]
struct PrintedFailure {
    at: String,
    error: String,
}

impl Printed {
    fn new(letter: &DeadLetter) -> Printed {
        let failures = letter.failures().iter();
        let printed = |failure: &towpath::Failure| PrintedFailure {
            at: units::rfc3339(failure.timestamp),
            error: failure.error.clone(),
        };
        Printed {
            sequence: letter.sequence(),
            reason: reason(letter.reason()),
            died: units::rfc3339(letter.died_at()),
            failed_attempts: letter.failed_attempts(),
            failures: failures.map(printed).collect(),
            deaths: letter.history().deaths().into_iter().map(PrintedDeaths::new).collect(),
            body: letter.message().ok().map(|message| PrintedBody::new(message.body())),
            unreadable: letter.message().err().map(|error| error.to_string()),
        }
    }
}
