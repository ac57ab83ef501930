//! `towpath bind` and `towpath unbind`. The type of the exchange says what a binding is made of.

use clap::{Args, ValueEnum};
use towpath::{Binding, Database, Exchange, ExchangeType, HeaderMatch};

use super::{NamedValue, spoken, type_name};
use crate::exit::Failure;
use crate::output::say;
use crate::place::Place;

#[derive(Args)]
pub(crate) struct Bind {
    #[command(flatten)]
    named: Named,
}

#[derive(Args)]
pub(crate) struct Unbind {
    #[command(flatten)]
    named: Named,
}

/// A binding as it is named on the command line.
#[derive(Args)]
struct Named {
    /// The exchange that is published to
    #[arg(value_name = "EXCHANGE")]
    from: String,
    /// The queue, or with --exchange the exchange, that gets the messages
    #[arg(value_name = "QUEUE")]
    to: String,
    /// QUEUE names an exchange, which leads the messages on
    #[arg(id = "to_exchange", long = "exchange")]
    to_exchange: bool,
    /// direct: the routing key; topic: a pattern such as 'order.*.paid' or 'order.#'
    #[arg(long, value_name = "PATTERN")]
    key: Option<String>,
    /// headers: a header that messages have, as name=value, or name= for any value; may be repeated
    #[arg(long = "header", value_name = "K=V")]
    headers: Vec<NamedValue>,
    /// headers: how many of the headers a message must have [default: all]
    #[arg(long = "match", value_enum, value_name = "HOW")]
    matching: Option<MatchName>,
    /// consistent-hash: the share of the keys, from 1 to 1000 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    weight: Option<u32>,
}

/// Which of a binding's headers a message must have.
#[derive(Clone, Copy, ValueEnum)]
enum MatchName {
    /// All of them, but for those whose name starts with x-
    All,
    /// One of them at least, but for those whose name starts with x-
    Any,
    /// All of them
    AllWithX,
    /// One of them at least
    AnyWithX,
}

impl MatchName {
    fn matching(self) -> HeaderMatch {
        match self {
            MatchName::All => HeaderMatch::All,
            MatchName::Any => HeaderMatch::Any,
            MatchName::AllWithX => HeaderMatch::AllWithX,
            MatchName::AnyWithX => HeaderMatch::AnyWithX,
        }
    }
}

impl Bind {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        let Named { from, to, .. } = &self.named;
        let database = place.open_existing()?;
        let exchange = database.exchange(from)?;
        let binding = self.named.binding(&exchange)?;
        match self.named.destination(&database)? {
            Destination::Queue(queue) => exchange.bind(&queue, binding)?,
            Destination::Exchange(to) => exchange.bind_exchange(&to, binding)?,
        }
        drop(exchange);
        database.close()?;
        say(format!("{to} is bound to {from}."))
    }
}

impl Unbind {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        let Named { from, to, .. } = &self.named;
        let database = place.open_existing()?;
        let exchange = database.exchange(from)?;
        let binding = self.named.binding(&exchange)?;
        let was_bound = match self.named.destination(&database)? {
            Destination::Queue(queue) => exchange.unbind(&queue, binding)?,
            Destination::Exchange(to) => exchange.unbind_exchange(&to, binding)?,
        };
        drop(exchange);
        database.close()?;
        say(match was_bound {
            true => format!("{to} was bound to {from}; this binding is removed."),
            false => format!("{to} was not bound to {from} like this; `towpath exchange describe` shows how it is."),
        })
    }
}

enum Destination {
    Queue(towpath::Queue),
    Exchange(Exchange),
}

impl Named {
    fn destination(&self, database: &Database) -> Result<Destination, Failure> {
        Ok(match self.to_exchange {
            true => Destination::Exchange(database.exchange(&self.to)?),
            false => Destination::Queue(database.queue(&self.to)?),
        })
    }

    fn binding(&self, exchange: &Exchange) -> Result<Binding, Failure> {
        let kind = exchange.describe()?.options.exchange_type();
        let headers = self.matching.is_some() || !self.headers.is_empty();
        Ok(match (kind, &self.key, headers, self.weight) {
            // It takes none of any kind, which the library says.
            _ if self.from.is_empty() => Binding::all(),
            (ExchangeType::Direct, Some(key), false, None) => Binding::key(key),
            (ExchangeType::Topic, Some(pattern), false, None) => Binding::pattern(pattern),
            (ExchangeType::Fanout, None, false, None) => Binding::all(),
            (ExchangeType::Headers, None, true, None) => self.of_headers(),
            (ExchangeType::ConsistentHash, None, false, weight) => Binding::weight(weight.unwrap_or(1)),
            _ => return Err(unfit(&self.from, kind)),
        })
    }

    fn of_headers(&self) -> Binding {
        let arguments: Vec<(&str, &[u8])> =
            self.headers.iter().map(|header| (header.name.as_str(), header.value.as_bytes())).collect();
        Binding::headers(self.matching.map_or(HeaderMatch::All, MatchName::matching), &arguments)
    }
}

/// What to pass for a binding of an exchange of this type.
fn unfit(exchange: &str, kind: ExchangeType) -> Failure {
    let pass = match kind {
        ExchangeType::Direct => "pass --key with the routing key, and nothing else",
        ExchangeType::Topic => "pass --key with a pattern, and nothing else",
        ExchangeType::Fanout => {
            "it gives everything to all that are bound; pass no --key, --header, --match or --weight"
        }
        ExchangeType::Headers => "pass --header or --match, and nothing else",
        ExchangeType::ConsistentHash => "pass --weight or nothing",
        _ => "this version of the command cannot bind to it",
    };
    Failure::usage(format!("{} is of type {}: {pass}", spoken(exchange), type_name(kind)))
}
