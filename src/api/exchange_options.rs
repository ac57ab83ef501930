//! Options of an exchange, of its bindings, and of publishing to it.

use crate::base::level::Level;
use crate::primitives::queues::{self, Arguments, Condition, Horizon, Kind, Mode};
use crate::primitives::streams::Header;

use super::database::Database;
use super::dedup::Dedup;
use super::error::Error;
use super::exchange::Exchange;

/// How an exchange leads messages to queues.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ExchangeType {
    /// To the queues that are bound with the routing key itself.
    Direct,
    /// To those that are bound with a pattern which the routing key matches. Words are separated by dots; `*` stands
    /// for one word, `#` for any number of them.
    Topic,
    /// To all that are bound.
    Fanout,
    /// To those whose arguments are among the message's headers.
    Headers,
    /// To one of those that are bound: the same for the same routing key, or for the same value of a header, in the
    /// proportion of their weights.
    ConsistentHash,
}

/// What an exchange is to be.
///
/// ```
/// use towpath::{Binding, ExchangeOptions, QueueOptions};
/// # let db = towpath::Options::temporary().open_temporary()?;
/// let orders = db.create_exchange("orders", ExchangeOptions::topic())?;
/// let invoices = db.create_queue("invoices", QueueOptions::new())?;
/// orders.bind(&invoices, Binding::pattern("order.*.paid"))?;
/// assert_eq!(orders.publish("order.eu.paid", "one blue mug")?.queues, 1);
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangeOptions {
    pub(super) kind: Kind,
    pub(super) alternate: Option<String>,
    pub(super) allows_unroutable: bool,
    pub(super) dedup: Horizon,
}

impl ExchangeOptions {
    const fn of(kind: Kind) -> ExchangeOptions {
        ExchangeOptions { kind, alternate: None, allows_unroutable: false, dedup: Horizon::None }
    }

    /// A message goes to the queues that are bound with its routing key.
    #[must_use]
    pub const fn direct() -> ExchangeOptions {
        ExchangeOptions::of(Kind::Direct)
    }

    /// A message goes to the queues that are bound with a pattern which its routing key matches.
    #[must_use]
    pub const fn topic() -> ExchangeOptions {
        ExchangeOptions::of(Kind::Topic)
    }

    /// A message goes to all queues that are bound.
    #[must_use]
    pub const fn fanout() -> ExchangeOptions {
        ExchangeOptions::of(Kind::Fanout)
    }

    /// A message goes to the queues whose arguments are among its headers.
    #[must_use]
    pub const fn headers() -> ExchangeOptions {
        ExchangeOptions::of(Kind::Headers)
    }

    /// A message goes to one of the queues that are bound, the same for the same routing key. When one is bound or
    /// unbound, only the keys move that it gets or had.
    #[must_use]
    pub const fn consistent_hash() -> ExchangeOptions {
        ExchangeOptions::of(Kind::ConsistentHash { header: None })
    }

    /// The same by the value of a header in place of the routing key. Messages without it go together.
    #[must_use]
    pub fn consistent_hash_of(header: &str) -> ExchangeOptions {
        ExchangeOptions::of(Kind::ConsistentHash { header: Some(header.into()) })
    }

    /// Where a message goes on to that no binding matches. The exchange with this name must exist, and is not deleted
    /// while it is needed here. It is not the default one; the empty name stands for none.
    #[must_use]
    pub fn alternate(mut self, exchange: &str) -> ExchangeOptions {
        self.alternate = Some(exchange.to_owned());
        self
    }

    /// A message that leads to no queue is accepted and not stored, in place of being refused.
    #[must_use]
    pub fn allow_unroutable(mut self) -> ExchangeOptions {
        self.allows_unroutable = true;
        self
    }

    /// How far back it remembers the ids of messages that are published to it: for a time, or the last of them; not at
    /// all, unless said. What kind of dedup it is stays as it was when the exchange was created; how long, or how many
    /// ids, may change.
    #[must_use]
    pub fn dedup(mut self, dedup: Dedup) -> ExchangeOptions {
        self.dedup = dedup.0;
        self
    }

    /// Its type.
    #[must_use]
    pub fn exchange_type(&self) -> ExchangeType {
        match self.kind {
            Kind::Direct => ExchangeType::Direct,
            Kind::Topic => ExchangeType::Topic,
            Kind::Fanout => ExchangeType::Fanout,
            Kind::Headers => ExchangeType::Headers,
            Kind::ConsistentHash { .. } => ExchangeType::ConsistentHash,
        }
    }

    /// The name of the alternate exchange.
    #[must_use]
    pub fn alternate_name(&self) -> Option<&str> {
        self.alternate.as_deref()
    }

    /// Whether messages that lead to no queue are accepted.
    #[must_use]
    pub fn allows_unroutable(&self) -> bool {
        self.allows_unroutable
    }
}

/// Which of a binding's arguments a message must have among its headers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum HeaderMatch {
    /// All of them; those whose name starts with `x-` do not count. Without any it matches everything.
    All,
    /// One of them at least; those whose name starts with `x-` do not count. Without any it matches nothing.
    Any,
    /// As `All`, where names that start with `x-` count too.
    AllWithX,
    /// As `Any`, where names that start with `x-` count too.
    AnyWithX,
}

impl HeaderMatch {
    /// The one with this name: `all`, `any`, `all-with-x` or `any-with-x`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if none has it.
    pub fn parse(name: &str) -> Result<HeaderMatch, Error> {
        match Mode::parse(name) {
            Ok(Mode::All) => Ok(HeaderMatch::All),
            Ok(Mode::Any) => Ok(HeaderMatch::Any),
            Ok(Mode::AllWithX) => Ok(HeaderMatch::AllWithX),
            Ok(Mode::AnyWithX) => Ok(HeaderMatch::AnyWithX),
            Err(refusal) => Err(Error::InvalidOption { option: "headers mode", reason: refusal.to_string() }),
        }
    }
}

/// When an exchange leads a message to what is bound to it. Each is for exchanges of one type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding(pub(super) Condition);

impl Binding {
    /// Every message: for fanout exchanges.
    #[must_use]
    pub const fn all() -> Binding {
        Binding(Condition::Always)
    }

    /// Messages with this routing key: for direct exchanges. At most 255 bytes.
    #[must_use]
    pub fn key(key: &str) -> Binding {
        Binding(Condition::Key(key.into()))
    }

    /// Messages whose routing key matches: for topic exchanges. Words are separated by dots; `*` stands for one word,
    /// `#` for any number of them. The empty pattern matches the empty key. At most 255 bytes, 127 words, 8 of them
    /// `#`.
    #[must_use]
    pub fn pattern(pattern: &str) -> Binding {
        Binding(Condition::Pattern(pattern.into()))
    }

    /// Messages with these headers: for headers exchanges. An empty value asks only that the header is there; of
    /// several with one name any may match. At most 64, with 2,048 bytes in all.
    #[must_use]
    pub fn headers(matching: HeaderMatch, arguments: &[(&str, &[u8])]) -> Binding {
        let mode = match matching {
            HeaderMatch::All => Mode::All,
            HeaderMatch::Any => Mode::Any,
            HeaderMatch::AllWithX => Mode::AllWithX,
            HeaderMatch::AnyWithX => Mode::AnyWithX,
        };
        let arguments = arguments.iter().map(|(name, value)| Header { name, value });
        Binding(Condition::Headers(Box::new(Arguments::new(mode, arguments))))
    }

    /// A share of the keys, by this weight among those of all that are bound: for consistent-hash exchanges. 1 to
    /// 1,000.
    #[must_use]
    pub const fn weight(weight: u32) -> Binding {
        Binding(Condition::Weight(weight))
    }
}

/// As it is written in tables: the key or pattern, the arguments, or the weight.
impl std::fmt::Display for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Condition::Always => f.write_str("all"),
            Condition::Key(text) | Condition::Pattern(text) => f.write_str(text),
            Condition::Weight(weight) => write!(f, "weight {weight}"),
            Condition::Headers(arguments) => {
                f.write_str(arguments.mode().name())?;
                arguments.all().iter().try_for_each(|argument| {
                    write!(f, " {}={}", argument.name, String::from_utf8_lossy(&argument.value))
                })
            }
        }
    }
}

/// How a message is published.
///
/// ```
/// use towpath::{ExchangeOptions, PublishOptions};
/// # let db = towpath::Options::temporary().open_temporary()?;
/// let events = db.create_exchange("events", ExchangeOptions::fanout())?;
/// let to_nobody = events.publish_with("", "nobody listens", &PublishOptions::new().allow_unroutable())?;
/// assert_eq!(to_nobody.queues, 0);
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PublishOptions {
    pub(super) level: Option<Level>,
    pub(super) limits: queues::Limits,
}

impl PublishOptions {
    /// At the level of the database; what leads to no queue is refused.
    #[must_use]
    pub fn new() -> PublishOptions {
        PublishOptions::default()
    }

    /// How durable the message is when the call returns.
    #[must_use]
    pub fn level(mut self, level: Level) -> PublishOptions {
        self.level = Some(level);
        self
    }

    /// A message that leads to no queue is not refused; nothing is stored then.
    #[must_use]
    pub fn allow_unroutable(mut self) -> PublishOptions {
        self.limits.allows_unroutable = true;
        self
    }
}

/// What an exchange leads to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BoundTo {
    /// The queue with this name.
    Queue(String),
    /// The exchange with this name.
    Exchange(String),
}

/// What there is to know of an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ExchangeDescription {
    /// Its name.
    pub name: String,
    /// Its options.
    pub options: ExchangeOptions,
    /// Its bindings: those to queues first.
    pub bindings: Vec<(BoundTo, Binding)>,
}

/// What a handle is bound by.
pub(super) trait Bindable {
    fn destination(&self) -> queues::Destination;

    fn database(&self) -> &Database;
}

impl Bindable for super::queue::Queue {
    fn destination(&self) -> queues::Destination {
        queues::Destination::Queue(self.number)
    }

    fn database(&self) -> &Database {
        &self.database
    }
}

impl Bindable for Exchange {
    fn destination(&self) -> queues::Destination {
        queues::Destination::Exchange(self.number)
    }

    fn database(&self) -> &Database {
        &self.database
    }
}
