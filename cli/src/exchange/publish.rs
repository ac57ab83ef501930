//! `towpath publish`: standard input, one message per line (see [`lines`](crate::lines)). A failure or a signal tells
//! how many lines are published, so that the rest can be fed again.

use std::ops::Range;

use clap::Args;
use towpath::{Error, Exchange, Header, Message, PublishOptions};

use super::{NamedValue, spoken};
use crate::dedup::known;
use crate::exit::Failure;
use crate::lines::{self, TakesLines};
use crate::output::{counted, say};
use crate::place::Place;
use crate::queue::MessageOptions;
use crate::stream::LevelName;

#[derive(Args)]
pub(crate) struct Publish {
    /// The exchange; "" is the default one, which leads to the queue that KEY names
    #[arg(value_name = "EXCHANGE")]
    name: String,
    /// The routing key of all messages, which may be empty
    key: String,
    /// A header of all messages, as name=value; may be repeated
    #[arg(long = "header", value_name = "K=V")]
    headers: Vec<NamedValue>,
    /// Accept messages that lead to no queue, and store nothing of them
    #[arg(long)]
    allow_unroutable: bool,
    /// What must hold before the next batch is read [default: sync]
    #[arg(long, value_enum)]
    level: Option<LevelName>,
    #[command(flatten)]
    options: MessageOptions,
}

impl Publish {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        let headers = self.headers.iter().map(|header| Header { name: &header.name, value: header.value.as_bytes() });
        let headers: Vec<Header<'_>> = headers.collect();
        let database = place.open_existing()?;
        let exchange = database.exchange(&self.name)?;
        let summary = Summary::default();
        let mut publisher = Publisher { exchange: &exchange, how: &self, headers: &headers, summary };
        let outcome = lines::from_standard_input(&mut publisher);
        let summary = publisher.summary;
        drop(exchange);
        let closed = database.close();
        outcome.map_err(|failure| {
            let published = counted(summary.messages, "line");
            failure.with_consequence(&format!("{published} of standard input published before"))
        })?;
        closed?;
        say(summary.sentence(spoken(&self.name)))
    }

    fn publish_options(&self) -> PublishOptions {
        let mut options = PublishOptions::new();
        if self.allow_unroutable {
            options = options.allow_unroutable();
        }
        match self.level {
            Some(level) => options.level(level.level()),
            None => options,
        }
    }
}

struct Publisher<'a> {
    exchange: &'a Exchange,
    how: &'a Publish,
    headers: &'a [Header<'a>],
    summary: Summary,
}

impl TakesLines for Publisher<'_> {
    fn take(&mut self, bytes: &[u8], lines: &[Range<usize>]) -> Result<(), Failure> {
        let ids = self.how.options.ids.of(self.summary.messages, lines.len());
        let options = &self.how.options;
        let messages = lines.iter().zip(&ids).map(|(line, id)| {
            let message = options.message(&bytes[line.clone()], id.as_deref()).headers(self.headers);
            (self.how.key.as_str(), message)
        });
        let messages: Vec<(&str, Message<'_>)> = messages.collect();
        self.publish(&messages)
    }

    fn taken(&self) -> u64 {
        self.summary.messages
    }
}

impl Publisher<'_> {
    /// A batch that comes to very many queues takes more places than one publish may; its halves may not.
    fn publish(&mut self, messages: &[(&str, Message<'_>)]) -> Result<(), Failure> {
        match self.exchange.publish_batch(messages, &self.how.publish_options()) {
            Ok(published) => {
                self.summary.messages += messages.len() as u64;
                self.summary.places += published.queues;
                self.summary.duplicates += published.duplicates.len() as u64;
                Ok(())
            }
            Err(Error::LimitExceeded { .. }) if messages.len() > 1 => {
                let (first, second) = messages.split_at(messages.len() / 2);
                self.publish(first)?;
                self.publish(second)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[derive(Default)]
struct Summary {
    messages: u64,
    /// In queues: a message has one in each that it came to.
    places: u64,
    /// Messages that were published before.
    duplicates: u64,
}

impl Summary {
    /// Told after the database was closed: everything is on disk then, at any level.
    fn sentence(&self, exchange: &str) -> String {
        let messages = counted(self.messages, "message");
        match self.places {
            0 if self.messages > 0 => format!("{messages} published to {exchange}, which led them to no queue."),
            places => {
                let (places, known) = (counted(places, "place"), known(self.duplicates));
                format!("{messages} published to {exchange}, {places} in queues, on disk{known}.")
            }
        }
    }
}
