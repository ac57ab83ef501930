//! `towpath dead …`: the dead letters of queues.

use clap::Subcommand;
use serde::Serialize;
use towpath::{DeadLetter, DeathReason, Queue};

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
    /// Send the dead letters of a queue again, behind what is in it, and take them from the dead set
    Redrive {
        /// The queue
        queue: String,
    },
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
            Verb::Redrive { queue } => {
                let mut unreadable = 0;
                let letters = take_all(place, &queue, |queue, letters| {
                    let (readable, others): (Vec<_>, Vec<_>) =
                        letters.into_iter().partition(|letter| letter.message().is_ok());
                    unreadable += others.len() as u64;
                    queue.redrive(&readable)?;
                    Ok(readable.len())
                })?;
                say(format!("{} of {queue} sent again.", counted(letters, "dead letter")))?;
                match unreadable {
                    0 => Ok(()),
                    _ => say(format!("{} cannot be read, and stay.", counted(unreadable, "dead letter"))),
                }
            }
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
        let (mut taken, mut left, mut last) = (0, queue.describe()?.dead, None);
        while left > 0 {
            let letters = queue.dead_letters(last.as_ref(), LETTERS_AT_ONCE.min(left as usize))?;
            let Some(letter) = letters.last() else { break };
            last = Some(letter.clone());
            left -= (letters.len() as u64).min(left);
            taken += act(queue, letters)? as u64;
        }
        Ok(taken)
    })
}

fn for_each(queue: &Queue, mut visit: impl FnMut(&DeadLetter) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut last: Option<DeadLetter> = None;
    loop {
        let letters = queue.dead_letters(last.as_ref(), LETTERS_AT_ONCE)?;
        letters.iter().try_for_each(&mut visit)?;
        match letters.into_iter().next_back() {
            None => return Ok(()),
            letter => last = letter,
        }
    }
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
        _ => "dead",
    }
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
    #[serde(flatten)]
    body: Option<PrintedBody>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
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
            body: letter.message().ok().map(|message| PrintedBody::new(message.body())),
            unreadable: letter.message().err().map(|error| error.to_string()),
        }
    }
}
