//! `towpath exchange …`, and what goes with exchanges: `towpath bind`, `unbind` and `publish`.

mod bind;
mod describe;
mod publish;

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use towpath::{ExchangeOptions, ExchangeType};

use crate::dedup::DedupOptions;
use crate::exit::Failure;
use crate::output::say;
use crate::place::Place;

pub(crate) use bind::{Bind, Unbind};
pub(crate) use publish::Publish;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Declare an exchange; one that exists with the same options is left as it is
    Declare(Declare),
    /// List all exchanges
    List {
        /// Print one JSON object per exchange and line, with its bindings
        #[arg(long)]
        json: bool,
    },
    /// Show an exchange with its bindings
    Describe {
        /// The exchange
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Delete an exchange with its bindings; it may be the alternate of no other
    Delete {
        /// The exchange
        name: String,
    },
}

#[derive(Args)]
pub(crate) struct Declare {
    /// The exchange: 1 to 255 bytes, no control characters, no leading $
    name: String,
    /// How it leads messages to queues
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: TypeName,
    /// The header that a consistent-hash exchange goes by [default: the routing key]
    #[arg(long, value_name = "H")]
    hash_header: Option<String>,
    /// The exchange to which messages go on that no binding matches
    #[arg(long, value_name = "NAME", value_parser = alternate)]
    alternate: Option<String>,
    /// Accept messages that lead to no queue, and store nothing of them
    #[arg(long)]
    allow_unroutable: bool,
    #[command(flatten)]
    dedup: DedupOptions,
}

/// The types of exchanges.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TypeName {
    /// To the queues that are bound with the routing key
    Direct,
    /// To the queues that are bound with a pattern which the routing key matches
    Topic,
    /// To all queues that are bound
    Fanout,
    /// To the queues whose arguments are among the message's headers
    Headers,
    /// To one of the queues that are bound, the same for the same key
    ConsistentHash,
}

/// The default exchange leads by names of queues and is no alternate; the empty name is more likely an unset variable.
fn alternate(name: &str) -> Result<String, &'static str> {
    if name.is_empty() { Err("the default exchange is no alternate; name another") } else { Ok(name.to_owned()) }
}

/// A header, written as `name=value`.
#[derive(Clone, Debug)]
pub(crate) struct NamedValue {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for NamedValue {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<NamedValue, &'static str> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(NamedValue { name: name.into(), value: value.into() }),
            _ => Err("expected a name and a value, such as region=eu"),
        }
    }
}

impl Verb {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        match self {
            Verb::Declare(declare) => declare.run(place),
            Verb::List { json } => describe::list(place, json),
            Verb::Describe { name, json } => describe::describe(place, &name, json),
            Verb::Delete { name } => {
                let database = place.open_existing()?;
                database.delete_exchange(&name)?;
                database.close()?;
                say(format!("{name} is deleted."))
            }
        }
    }
}

impl Declare {
    fn run(self, place: &Place) -> Result<(), Failure> {
        let options = self.options()?;
        let database = place.open()?;
        database.create_exchange(&self.name, options)?;
        database.close()?;
        say(format!("{} is there.", self.name))
    }

    fn options(&self) -> Result<ExchangeOptions, Failure> {
        let mut options = match (self.kind, &self.hash_header) {
            (TypeName::ConsistentHash, Some(header)) => ExchangeOptions::consistent_hash_of(header),
            (_, Some(_)) => return Err(Failure::usage("--hash-header is for --type consistent-hash; leave it away")),
            (TypeName::ConsistentHash, None) => ExchangeOptions::consistent_hash(),
            (TypeName::Direct, None) => ExchangeOptions::direct(),
            (TypeName::Topic, None) => ExchangeOptions::topic(),
            (TypeName::Fanout, None) => ExchangeOptions::fanout(),
            (TypeName::Headers, None) => ExchangeOptions::headers(),
        };
        if let Some(alternate) = &self.alternate {
            options = options.alternate(alternate);
        }
        options = options.dedup(self.dedup.dedup());
        Ok(if self.allow_unroutable { options.allow_unroutable() } else { options })
    }
}

/// The name of a type as `declare` takes it.
fn type_name(kind: ExchangeType) -> &'static str {
    match kind {
        ExchangeType::Direct => "direct",
        ExchangeType::Topic => "topic",
        ExchangeType::Fanout => "fanout",
        ExchangeType::Headers => "headers",
        ExchangeType::ConsistentHash => "consistent-hash",
        _ => "unknown",
    }
}

/// How an exchange is told to people.
fn spoken(name: &str) -> &str {
    if name.is_empty() { "the default exchange" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_name_and_any_value() {
        let parsed = |text: &str| text.parse::<NamedValue>().map(|header| (header.name, header.value)).ok();
        let some = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(parsed("region=eu"), some("region", "eu"));
        assert_eq!(parsed("query=a=b"), some("query", "a=b"));
        assert_eq!(parsed("region="), some("region", ""));
        assert_eq!((parsed("region"), parsed("=eu"), parsed("")), (None, None, None));
    }
}
