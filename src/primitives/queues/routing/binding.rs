//! Exchanges, destinations, and the conditions under which a binding leads from one to the other.

pub(super) use super::super::command::QueueNumber;
use super::arguments::Arguments;
use super::bounds::{self, HASHES_MAX, ROUTING_KEY_BYTES_MAX, WEIGHT_MAX, WORDS_MAX};
use super::refusal::Refusal;
use super::words::words;

/// An exchange of a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ExchangeNumber(pub(crate) u32);

/// Where a binding leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Destination {
    Queue(QueueNumber),
    Exchange(ExchangeNumber),
}

impl Destination {
    /// The one that comes before all others.
    pub(super) const FIRST: Destination = Destination::Queue(QueueNumber(0));
}

/// The type of an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Direct,
    Topic,
    Fanout,
    Headers,
    /// By the routing key, or by the value of the header with this name.
    ConsistentHash {
        header: Option<Box<str>>,
    },
}

impl Kind {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Topic => "topic",
            Kind::Fanout => "fanout",
            Kind::Headers => "headers",
            Kind::ConsistentHash { .. } => "consistent-hash",
        }
    }

    fn takes(&self) -> &'static str {
        match self {
            Kind::Direct => "with a key",
            Kind::Topic => "with a pattern",
            Kind::Fanout => "without a condition",
            Kind::Headers => "with arguments",
            Kind::ConsistentHash { .. } => "with a weight",
        }
    }

    /// Whether an exchange of this kind can have a binding with this condition.
    pub(super) fn check(&self, condition: &Condition) -> Result<(), Refusal> {
        match (self, condition) {
            (Kind::Direct, Condition::Key(key)) => check_key_bytes(key),
            (Kind::Topic, Condition::Pattern(pattern)) => check_pattern(pattern),
            (Kind::Fanout, Condition::Always) => Ok(()),
            (Kind::Headers, Condition::Headers(arguments)) => arguments.check(),
            (Kind::ConsistentHash { .. }, Condition::Weight(weight)) => check_weight(*weight),
            _ => Err(Refusal::Mismatch { exchange: self.name(), takes: self.takes(), given: condition.name() }),
        }
    }
}

/// When a binding matches. Each is for exchanges of one kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Condition {
    // The first, so that ranges of bindings can begin with it.
    Always,
    /// The routing key.
    Key(Box<str>),
    /// Words of a routing key, `*` for any one and `#` for any number of them.
    Pattern(Box<str>),
    Headers(Box<Arguments>),
    /// The share of keys, in relation to the weights of the exchange's other bindings.
    Weight(u32),
}

impl Condition {
    fn name(&self) -> &'static str {
        match self {
            Condition::Always => "without a condition",
            Condition::Key(_) => "with a key",
            Condition::Pattern(_) => "with a pattern",
            Condition::Headers(_) => "with arguments",
            Condition::Weight(_) => "with a weight",
        }
    }
}

/// A way from an exchange to a destination. Two that differ in anything are two bindings.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Binding {
    pub(crate) exchange: ExchangeNumber,
    pub(crate) destination: Destination,
    pub(crate) condition: Condition,
}

impl Binding {
    /// The least that a binding between these can be.
    pub(super) fn first(exchange: ExchangeNumber, destination: Destination) -> Binding {
        Binding { exchange, destination, condition: Condition::Always }
    }
}

pub(super) fn check_key_bytes(key: &str) -> Result<(), Refusal> {
    bounds::check("bytes of a routing key", key.len(), ROUTING_KEY_BYTES_MAX)
}

fn check_pattern(pattern: &str) -> Result<(), Refusal> {
    check_key_bytes(pattern)?;
    bounds::check("words of a pattern", words(pattern).count(), WORDS_MAX)?;
    bounds::check("words `#` of a pattern", words(pattern).filter(|word| *word == "#").count(), HASHES_MAX)
}

fn check_weight(weight: u32) -> Result<(), Refusal> {
    if weight == 0 {
        return Err(Refusal::WeightZero);
    }
    bounds::check("the weight of a binding", weight as usize, WEIGHT_MAX as usize)
}
