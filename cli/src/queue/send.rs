//! `towpath queue send`: standard input, one message per line (see [`lines`](crate::lines)). A failure or a signal tells
//! how many lines are in the queue, so that the rest can be fed again.

use std::ops::Range;
use std::time::Duration;

use clap::Args;
use towpath::{Message, Queue};

use crate::exit::Failure;
use crate::lines::{self, TakesLines};
use crate::output::{counted, say};
use crate::place::Place;
use crate::units;

#[derive(Args)]
pub(crate) struct Send {
    /// The queue
    name: String,
    /// From 0 to 31, the higher ones first [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=31))]
    priority: Option<u8>,
    /// How long each message waits before it is ready, such as 10m
    #[arg(long, value_name = "D", value_parser = units::duration)]
    delay: Option<Duration>,
    /// How long each message lives once it is ready
    #[arg(long, value_name = "D", value_parser = units::duration)]
    ttl: Option<Duration>,
    /// The group of the messages, of which one is in flight at a time
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

impl Send {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        let database = place.open_existing()?;
        let queue = database.queue(&self.name)?;
        let mut sender = Sender { queue: &queue, how: &self, sent: 0 };
        let outcome = lines::from_standard_input(&mut sender);
        let sent = sender.sent;
        drop(queue);
        let closed = database.close();
        outcome.map_err(|failure| {
            failure.with_consequence(&format!("{} of standard input sent before", counted(sent, "line")))
        })?;
        closed?;
        say(format!("{} sent to {}, on disk.", counted(sent, "message"), self.name))
    }

    fn message<'a>(&'a self, line: &'a [u8]) -> Message<'a> {
        let mut message = Message::new(line);
        if let Some(priority) = self.priority {
            message = message.priority(priority);
        }
        if let Some(delay) = self.delay {
            message = message.delay(delay);
        }
        if let Some(ttl) = self.ttl {
            message = message.ttl(ttl);
        }
        match &self.group {
            Some(group) => message.group(group),
            None => message,
        }
    }
}

struct Sender<'a> {
    queue: &'a Queue,
    how: &'a Send,
    sent: u64,
}

impl TakesLines for Sender<'_> {
    fn take(&mut self, bytes: &[u8], lines: &[Range<usize>]) -> Result<(), Failure> {
        let messages: Vec<Message<'_>> = lines.iter().map(|line| self.how.message(&bytes[line.clone()])).collect();
        self.queue.send_batch(&messages)?;
        self.sent += messages.len() as u64;
        Ok(())
    }

    fn taken(&self) -> u64 {
        self.sent
    }
}
