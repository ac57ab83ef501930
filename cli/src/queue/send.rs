//! `towpath queue send`: standard input, one message per line (see [`lines`](crate::lines)). A failure or a signal
//! tells how many lines are in the queue, so that the rest can be fed again.

use std::ops::Range;

use clap::Args;
use towpath::{Message, Queue};

use super::MessageOptions;
use crate::dedup::known;
use crate::exit::Failure;
use crate::lines::{self, TakesLines};
use crate::output::{counted, say};
use crate::place::Place;

#[derive(Args)]
pub(crate) struct Send {
    /// The queue
    name: String,
    #[command(flatten)]
    options: MessageOptions,
}

impl Send {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        let database = place.open_existing()?;
        let queue = database.queue(&self.name)?;
        let mut sender = Sender { queue: &queue, options: &self.options, sent: 0, duplicates: 0 };
        let outcome = lines::from_standard_input(&mut sender);
        let (sent, duplicates) = (sender.sent, sender.duplicates);
        drop(queue);
        let closed = database.close();
        outcome.map_err(|failure| {
            failure.with_consequence(&format!("{} of standard input sent before", counted(sent, "line")))
        })?;
        closed?;
        say(format!("{} sent to {}, on disk{}.", counted(sent, "message"), self.name, known(duplicates)))
    }
}

struct Sender<'a> {
    queue: &'a Queue,
    options: &'a MessageOptions,
    sent: u64,
    /// Of those, how many were there before.
    duplicates: u64,
}

impl TakesLines for Sender<'_> {
    fn take(&mut self, bytes: &[u8], lines: &[Range<usize>]) -> Result<(), Failure> {
        let ids = self.options.ids.of(self.sent, lines.len());
        let lines = lines.iter().zip(&ids);
        let messages: Vec<Message<'_>> =
            lines.map(|(line, id)| self.options.message(&bytes[line.clone()], id.as_deref())).collect();
        self.duplicates += self.queue.send_batch(&messages)?.duplicates.len() as u64;
        self.sent += messages.len() as u64;
        Ok(())
    }

    fn taken(&self) -> u64 {
        self.sent
    }
}
