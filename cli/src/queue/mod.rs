//! `towpath queue …`: one file per verb that has more to it than a call.

mod consumers;
mod looking;
mod message;
mod send;
mod work;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use towpath::{
    Backoff, Database, DeadLetters, Dedup, Delivery, Error, Overflow, Queue, QueueDescription, QueueOptions,
};

use self::looking::PrintedMessage;
use crate::dedup::DedupOptions;
use crate::exit::Failure;
use crate::output::{Output, base64, counted, grouped, say, say_json, table};
use crate::place::Place;
use crate::signals;
use crate::units;

pub(crate) use looking::Explain;
pub(crate) use message::MessageOptions;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Create a queue; one that exists with the same options is left as it is
    Create(Create),
    /// List all queues
    List {
        /// Print one JSON object per queue and line
        #[arg(long)]
        json: bool,
    },
    /// Show how many messages of each kind a queue has
    Describe {
        /// The queue
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Delete a queue with all its messages, dead ones too; none may be in flight
    Delete {
        /// The queue
        name: String,
    },
    /// Delete the messages of a queue that are ready or delayed
    Purge {
        /// The queue
        name: String,
    },
    /// Hand no messages out until `resume`
    Pause {
        /// The queue
        name: String,
    },
    /// Hand messages out again
    Resume {
        /// The queue
        name: String,
    },
    /// Send standard input, one message per line
    Send(send::Send),
    /// Write messages to standard output and acknowledge them, or only look at them
    Receive(Receive),
    /// Delete a message that waits
    Cancel(looking::Named),
    /// Give a delayed message another time
    Reschedule(looking::Reschedule),
    /// Run a command for each message, which it gets on standard input
    ///
    /// If the command ends with code 0 the message is acknowledged; otherwise it failed, with the end of what the
    /// command wrote to standard error as its error, and comes back after its backoff. Waits for messages until it is
    /// stopped by a signal, which lets the command that runs end first.
    Work(work::Work),
}

#[derive(Args)]
pub(crate) struct Create {
    /// The queue: 1 to 255 bytes, no control characters, no leading $
    name: String,
    /// Failed attempts after which a message is dead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: Option<u32>,
    /// How long a message waits after a failed attempt: none, or a pause such as 5s, the same each time [default: 1s,
    /// then twice as long each time up to 10m, shortened by chance]
    #[arg(long, value_name = "D", value_parser = backoff)]
    backoff: Option<Backoff>,
    /// How long a message may stay unsettled with a consumer, such as 5m [default: 30m]
    #[arg(long, value_name = "D", value_parser = units::duration)]
    visibility_timeout: Option<Duration>,
    /// How long a message lives from when it is ready, such as 90s, 12h or 7d
    #[arg(long, value_name = "D", value_parser = units::duration)]
    ttl: Option<Duration>,
    /// The most messages that are ready or delayed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_messages: Option<u64>,
    /// What a send does to a queue that holds as many
    #[arg(long, value_enum, default_value = "reject", requires = "max_messages")]
    overflow: OverflowName,
    /// Where dead messages go: keep (in the queue's dead set), discard, the name of a queue, or exchange:NAME with, if
    /// need be, :KEY behind it
    #[arg(long, value_name = "TARGET", default_value = "keep", value_parser = dead_letters)]
    dead_letter: DeadLetters,
    #[command(flatten)]
    dedup: DedupOptions,
    /// Store no message whose id another has that is neither settled nor dead
    #[arg(long, conflicts_with_all = ["dedup_for", "dedup_last"])]
    unique_until_settled: bool,
    /// Hand messages to one consumer at a time; the others wait until it is gone and has settled
    #[arg(long)]
    single_active_consumer: bool,
}

/// What a send does to a queue that is full.
#[derive(Clone, Copy, ValueEnum)]
enum OverflowName {
    /// It is refused
    Reject,
    /// The oldest messages of the lowest priority die for it
    DropOldest,
}

fn dead_letters(text: &str) -> Result<DeadLetters, String> {
    Ok(match (text, text.split_once(':')) {
        ("keep", _) => DeadLetters::Keep,
        ("discard", _) => DeadLetters::Discard,
        ("", _) => return Err("name a queue, keep, discard, or exchange:NAME".to_owned()),
        (_, Some(("queue", name))) => DeadLetters::Queue(name.to_owned()),
        (_, Some(("exchange", rest))) => match rest.split_once(':') {
            None => DeadLetters::Exchange { name: rest.to_owned(), routing_key: None },
            Some((name, key)) => DeadLetters::Exchange { name: name.to_owned(), routing_key: Some(key.to_owned()) },
        },
        (name, _) => DeadLetters::Queue(name.to_owned()),
    })
}

#[derive(Args)]
pub(crate) struct Receive {
    /// The queue
    name: String,
    /// Stop after so many messages [default: when there is none]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// Acknowledge each message once it was written
    #[arg(long, required_unless_present = "peek", conflicts_with = "peek")]
    ack: bool,
    /// Show what comes next and take nothing; at most 1,024 messages
    #[arg(long)]
    peek: bool,
    /// Print one JSON object per message and line
    #[arg(long)]
    json: bool,
}

impl Verb {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        match self {
            Verb::Create(create) => create.run(place),
            Verb::List { json } => list(place, json),
            Verb::Describe { name, json } => describe(place, &name, json),
            Verb::Delete { name } => {
                let database = place.open_existing()?;
                database.delete_queue(&name)?;
                database.close()?;
                say(format!("{name} is deleted."))
            }
            Verb::Purge { name } => {
                let purged = with(place, &name, |queue| Ok(queue.purge()?))?;
                say(format!("{} of {name} deleted.", counted(purged, "message")))
            }
            Verb::Pause { name } => {
                with(place, &name, |queue| Ok(queue.pause()?))?;
                say(format!("{name} hands nothing out until it is resumed."))
            }
            Verb::Resume { name } => {
                with(place, &name, |queue| Ok(queue.resume()?))?;
                say(format!("{name} hands messages out."))
            }
            Verb::Send(send) => send.run(place),
            Verb::Receive(receive) if receive.peek => looking::peek(place, &receive.name, receive.max, receive.json),
            Verb::Receive(receive) => receive.run(place),
            Verb::Cancel(named) => looking::cancel(place, &named),
            Verb::Reschedule(reschedule) => reschedule.run(place),
            Verb::Work(work) => work.run(place),
        }
    }
}

/// Opens the queue, does this with it, and closes the database.
pub(crate) fn with<T>(place: &Place, name: &str, act: impl FnOnce(&Queue) -> Result<T, Failure>) -> Result<T, Failure> {
    let database = place.open_existing()?;
    let done = act(&database.queue(name)?)?;
    database.close()?;
    Ok(done)
}

fn backoff(text: &str) -> Result<Backoff, String> {
    if text == "none" { Ok(Backoff::none()) } else { units::duration(text).map(Backoff::fixed) }
}

impl Create {
    fn run(self, place: &Place) -> Result<(), Failure> {
        let mut options = QueueOptions::new();
        if let Some(attempts) = self.max_attempts {
            options = options.max_attempts(attempts);
        }
        if let Some(backoff) = self.backoff {
            options = options.backoff(backoff);
        }
        if let Some(timeout) = self.visibility_timeout {
            options = options.visibility_timeout(timeout);
        }
        if let Some(ttl) = self.ttl {
            options = options.ttl(ttl);
        }
        if let Some(messages) = self.max_messages {
            options = options.max_messages(messages);
        }
        options = options.dead_letters(self.dead_letter).overflow(match self.overflow {
            OverflowName::Reject => Overflow::Reject,
            OverflowName::DropOldest => Overflow::DropOldest,
        });
        options = options.dedup(match self.unique_until_settled {
            true => Dedup::until_settled(),
            false => self.dedup.dedup(),
        });
        options = options.single_active_consumer(self.single_active_consumer);
        let database = place.open()?;
        database.create_queue(&self.name, options)?;
        database.close()?;
        say(format!("{} is there.", self.name))
    }
}

fn list(place: &Place, json: bool) -> Result<(), Failure> {
    let database = place.open_existing()?;
    let described = described(&database)?;
    database.close()?;
    let mut output = Output::new();
    if json {
        for queue in &described {
            output.json(&Printed::new(queue))?;
        }
    } else {
        let mut table = table(&["queue", "ready", "delayed", "in flight", "dead", "paused"], &[1, 2, 3, 4]);
        for queue in &described {
            let counts = [queue.ready, queue.delayed, queue.in_flight, queue.dead].map(grouped);
            let paused = if queue.is_paused { "yes" } else { "" };
            table.add_row([queue.name.clone()].into_iter().chain(counts).chain([paused.to_owned()]));
        }
        output.line(table.to_string())?;
    }
    output.flush()
}

fn described(database: &Database) -> Result<Vec<QueueDescription>, Failure> {
    let mut described = Vec::new();
    for name in database.queue_names()? {
        match database.queue(&name).and_then(|queue| queue.describe()) {
            // It was deleted since its name was read.
            Err(Error::NotFound { .. }) => {}
            queue => described.push(queue?),
        }
    }
    Ok(described)
}

fn describe(place: &Place, name: &str, json: bool) -> Result<(), Failure> {
    let (queue, age, consumers) =
        with(place, name, |queue| Ok((queue.describe()?, looking::oldest_age(queue)?, consumers::of(queue)?)))?;
    if json {
        let oldest_age = age.map(|age| age.as_secs_f64());
        return say_json(&Described { queue: Printed::new(&queue), oldest_age, consumers });
    }
    let oldest = age.map_or_else(String::new, |age| {
        format!("; the oldest waits for {}", units::human_duration(u64::try_from(age.as_micros()).unwrap_or(u64::MAX)))
    });
    let [ready, delayed, in_flight, dead] = [queue.ready, queue.delayed, queue.in_flight, queue.dead].map(grouped);
    let paused = if queue.is_paused { "; paused" } else { "" };
    say(format!("{name}: {ready} ready, {delayed} delayed, {in_flight} in flight, {dead} dead{oldest}{paused}"))?;
    consumers::say_table(&consumers)
}

#[derive(Serialize)]
struct Printed<'a> {
    name: &'a str,
    ready: u64,
    delayed: u64,
    in_flight: u64,
    dead: u64,
    is_paused: bool,
    /// Dead letters of others go to it.
    is_target: bool,
}

/// With the seconds for which the oldest message that is ready has waited, and who consumes.
#[derive(Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    queue: Printed<'a>,
    oldest_age: Option<f64>,
    consumers: Vec<consumers::Printed>,
}

impl<'a> Printed<'a> {
    fn new(queue: &'a QueueDescription) -> Printed<'a> {
        let QueueDescription { ready, delayed, in_flight, dead, is_paused, is_target, .. } = *queue;
        Printed { name: &queue.name, ready, delayed, in_flight, dead, is_paused, is_target }
    }
}

/// Bodies that are text are printed as it, others as base64.
#[derive(Serialize)]
pub(crate) struct PrintedBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl PrintedBody {
    pub(crate) fn new(body: &[u8]) -> PrintedBody {
        match std::str::from_utf8(body) {
            Ok(text) => PrintedBody { body: Some(text.to_owned()), body_base64: None },
            Err(_) => PrintedBody { body: None, body_base64: Some(base64(body)) },
        }
    }
}

impl Receive {
    fn run(self, place: &Place) -> Result<(), Failure> {
        let signals = signals::catch()?;
        let database = place.open_existing()?;
        let queue = database.queue(&self.name)?;
        let (mut output, mut received) = (Output::new(), 0);
        while self.max.is_none_or(|max| received < max) {
            signals.check()?;
            let Some(message) = queue.try_receive()? else { break };
            self.print(&message, &mut output)?;
            // What was not written for sure is not acknowledged.
            output.flush()?;
            message.ack()?;
            received += 1;
        }
        drop(queue);
        Ok(database.close()?)
    }

    fn print(&self, message: &Delivery, output: &mut Output) -> Result<(), Failure> {
        if !self.json {
            return output.line(message.body());
        }
        output.json(&PrintedMessage::new(message, Some(message.attempt())))
    }
}
