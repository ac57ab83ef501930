//! What a queue may be told of how it keeps and hands out its messages, and the bytes of that.
//!
//! ```text
//! options  level u8 (0 the database's, 1 sync, 2 buffered) · max attempts · visibility · backoff ·
//!          ttl + 1 or 0 · max messages + 1 or 0 · overflow u8 (0 refused, 1 the oldest goes) ·
//!          dead letters · dedup, as in `dedup/horizon.rs` · single active consumer u8
//! dead     u8 (0 kept, 1 discarded, 2 to a queue, 3 to an exchange) · its number, if there is one ·
//!          u8 (1 a routing key) · slice(routing key), if it is an exchange
//! backoff  kind u8 (0 none, 1 fixed, 2 linear, 3 exponential) · first · most · jitter u8 (0 none, 1 full,
//!          2 decorrelated)
//! ```
//!
//! Integers are varints unless a width is named; durations are in microseconds.

use std::time::Duration;

use crate::base::bounds::{
    BACKOFF_MICROS_DEFAULT, BACKOFF_MICROS_MAX_DEFAULT, DURATION_MICROS_MAX, MAX_ATTEMPTS_DEFAULT,
    VISIBILITY_MICROS_DEFAULT,
};
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::level::Level;
use crate::base::sync::Arc;

use super::dedup::Horizon;
use super::event::{take_bool, take_queue};
use super::routing::{Destination, ExchangeNumber, ROUTING_KEY_BYTES_MAX};

/// Options of a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    /// The database's, if none.
    pub(crate) level: Option<Level>,
    pub(crate) max_attempts: u32,
    pub(crate) visibility_micros: u64,
    pub(crate) backoff: Backoff,
    pub(crate) ttl_micros: Option<u64>,
    /// Ready and delayed; a `send` beyond is refused.
    pub(crate) max_messages: Option<u64>,
    pub(crate) overflow: Overflow,
    pub(crate) dead_letters: DeadLetters,
    /// How far back the ids of messages are remembered.
    pub(crate) dedup: Horizon,
    /// One consumer at a time is handed messages.
    pub(crate) single_active_consumer: bool,
}

/// What becomes of a message that dies.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) enum DeadLetters {
    /// It stays in the queue's own dead set.
    #[default]
    Kept,
    /// It goes for good.
    Discarded,
    /// It is moved on.
    Moved(Target),
}

/// Where dead letters are moved to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) destination: Destination,
    /// What they are published to an exchange with; that of the message itself, if none.
    pub(crate) routing_key: Option<Arc<str>>,
}

/// What a send does to a queue that holds as many messages as it may.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(u8)]
pub(crate) enum Overflow {
    /// It is refused.
    #[default]
    Reject = 0,
    /// The oldest messages of the lowest priority die.
    DropOldest = 1,
}

/// Where a dead message ends, as a fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum End {
    /// In the dead set.
    Kept = 0,
    /// Nowhere.
    Discarded = 1,
    /// In the dead set, until it is moved on.
    Leaves = 2,
}

impl End {
    pub(super) fn decode(take: &mut Take<'_>) -> Result<End, Malformed> {
        match take.u8()? {
            0 => Ok(End::Kept),
            1 => Ok(End::Discarded),
            2 => Ok(End::Leaves),
            _ => Err(Malformed("an end that messages do not have")),
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            level: None,
            max_attempts: MAX_ATTEMPTS_DEFAULT,
            visibility_micros: VISIBILITY_MICROS_DEFAULT,
            backoff: Backoff::default(),
            ttl_micros: None,
            max_messages: None,
            overflow: Overflow::Reject,
            dead_letters: DeadLetters::Kept,
            dedup: Horizon::None,
            single_active_consumer: false,
        }
    }
}

/// How long a message that failed waits before it is handed out again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Backoff {
    pub(crate) growth: Growth,
    /// The pause after the first failed attempt.
    pub(crate) first_micros: u64,
    pub(crate) most_micros: u64,
    pub(crate) jitter: JitterKind,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            growth: Growth::Exponential,
            first_micros: BACKOFF_MICROS_DEFAULT,
            most_micros: BACKOFF_MICROS_MAX_DEFAULT,
            jitter: JitterKind::Full,
        }
    }
}

/// How pauses grow with the number of failed attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Growth {
    /// There are none.
    None = 0,
    Fixed = 1,
    Linear = 2,
    Exponential = 3,
}

/// How chance shortens pauses, so that messages that failed together do not all come back together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum JitterKind {
    None = 0,
    /// Anything up to the pause.
    Full = 1,
    /// Anything between the first pause and three times the last one.
    Decorrelated = 2,
}

impl Backoff {
    /// The pause after the `failed`-th failed attempt; `last` is the one before. `chance` is any number.
    pub(crate) fn pause_micros(&self, failed: u32, last: u64, chance: u64) -> u64 {
        let Backoff { growth, first_micros: first, most_micros: most, jitter } = *self;
        let grown = match growth {
            Growth::None => return 0,
            Growth::Fixed => first,
            Growth::Linear => first.saturating_mul(u64::from(failed)),
            Growth::Exponential => {
                first.saturating_mul(1_u64.checked_shl(failed.saturating_sub(1)).unwrap_or(u64::MAX))
            }
        };
        let pause = grown.min(most);
        match jitter {
            JitterKind::None => pause,
            JitterKind::Full => between(0, pause, chance),
            JitterKind::Decorrelated => {
                let least = first.min(most);
                between(least, last.max(first).saturating_mul(3).min(most).max(least), chance)
            }
        }
    }
}

fn between(least: u64, most: u64, chance: u64) -> u64 {
    let width = u128::from(most - least) + 1;
    least + ((u128::from(mixed(chance)) * width) >> 64) as u64
}

/// Spreads a number over all 64 bits (the finaliser of splitmix64).
pub(super) const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What is wrong with an option: which, and why.
pub(super) type Fault = (&'static str, &'static str);

impl Options {
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let durations = [
            ("visibility timeout", self.visibility_micros),
            ("backoff", self.backoff.first_micros),
            ("backoff", self.backoff.most_micros),
            ("ttl", self.ttl_micros.unwrap_or(0)),
        ];
        if let Some((option, _)) = durations.into_iter().find(|(_, micros)| *micros > DURATION_MICROS_MAX) {
            return Err((option, "at most 10,000 days are kept"));
        }
        if self.max_attempts == 0 {
            return Err(("max attempts", "a message is tried once at least"));
        }
        if self.visibility_micros == 0 {
            return Err(("visibility timeout", "nobody settles a message in no time"));
        }
        let key = self.dead_letters.target().and_then(|target| target.routing_key.as_ref());
        if key.is_some_and(|key| key.len() > ROUTING_KEY_BYTES_MAX) {
            return Err(("routing key of dead letters", "it has at most 255 bytes"));
        }
        if self.overflow == Overflow::DropOldest && self.max_messages.is_none() {
            return Err(("overflow", "a queue without max messages is never full"));
        }
        if self.max_messages == Some(0) {
            return Err(("max messages", "a queue that may hold nothing is of no use"));
        }
        self.dedup.check()
    }

    /// One sentence for each option in which the queue as it is differs from the one asked for.
    pub(super) fn differences(&self, asked: &Options) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differ = |option: &str, is: String, asked: String| {
            if is != asked {
                differences.push(format!("{option} is {is}, not {asked}"));
            }
        };
        differ("its level", level(self.level), level(asked.level));
        differ("max attempts", self.max_attempts.to_string(), asked.max_attempts.to_string());
        let duration = |micros| format!("{:?}", Duration::from_micros(micros));
        differ("its visibility timeout", duration(self.visibility_micros), duration(asked.visibility_micros));
        differ("its backoff", format!("{:?}", self.backoff), format!("{:?}", asked.backoff));
        let ttl = |ttl: Option<u64>| ttl.map_or("unlimited".to_owned(), duration);
        differ("its ttl", ttl(self.ttl_micros), ttl(asked.ttl_micros));
        let count = |count: Option<u64>| count.map_or("unlimited".to_owned(), |count| count.to_string());
        differ("max messages", count(self.max_messages), count(asked.max_messages));
        let overflow = |overflow| match overflow {
            Overflow::Reject => "to refuse".to_owned(),
            Overflow::DropOldest => "to drop the oldest".to_owned(),
        };
        differ("what it does when it is full", overflow(self.overflow), overflow(asked.overflow));
        differ("what becomes of dead letters", self.dead_letters.told(), asked.dead_letters.told());
        differ("its dedup", self.dedup.to_string(), asked.dedup.to_string());
        let active = |is_single| if is_single { "a single active consumer" } else { "all consumers" }.to_owned();
        let (is, wanted) = (active(self.single_active_consumer), active(asked.single_active_consumer));
        differ("who is handed messages", is, wanted);
        differences
    }

    fn integers(&self) -> [u64; 6] {
        let Backoff { first_micros, most_micros, .. } = self.backoff;
        let or_none = |limit: Option<u64>| limit.map_or(0, |limit| limit.saturating_add(1));
        let (ttl, messages) = (or_none(self.ttl_micros), or_none(self.max_messages));
        [u64::from(self.max_attempts), self.visibility_micros, first_micros, most_micros, ttl, messages]
    }

    pub(crate) fn encoded_len(&self) -> usize {
        let dead_letters = self.dead_letters.encoded_len();
        6 + self.integers().into_iter().map(varint_len).sum::<usize>() + dead_letters + self.dedup.encoded_len()
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        out.u8(match self.level {
            None => 0,
            Some(Level::Sync) => 1,
            Some(Level::Buffered) => 2,
        });
        let [max_attempts, visibility, first, most, ttl, messages] = self.integers();
        out.varint(max_attempts);
        out.varint(visibility);
        out.u8(self.backoff.growth as u8);
        out.varint(first);
        out.varint(most);
        out.u8(self.backoff.jitter as u8);
        out.varint(ttl);
        out.varint(messages);
        out.u8(self.overflow as u8);
        self.dead_letters.encode(out);
        self.dedup.encode(out);
        out.u8(u8::from(self.single_active_consumer));
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Options, Malformed> {
        let level = match take.u8()? {
            0 => None,
            1 => Some(Level::Sync),
            2 => Some(Level::Buffered),
            _ => return Err(Malformed("a level that there is not")),
        };
        let (max_attempts, visibility_micros) = (take.varint32()?, take.varint()?);
        let growth = match take.u8()? {
            0 => Growth::None,
            1 => Growth::Fixed,
            2 => Growth::Linear,
            3 => Growth::Exponential,
            _ => return Err(Malformed("a growth of pauses that there is not")),
        };
        let (first_micros, most_micros) = (take.varint()?, take.varint()?);
        let jitter = match take.u8()? {
            0 => JitterKind::None,
            1 => JitterKind::Full,
            2 => JitterKind::Decorrelated,
            _ => return Err(Malformed("a jitter that there is not")),
        };
        let (ttl, messages) = (take.varint()?, take.varint()?);
        let overflow = match take.u8()? {
            0 => Overflow::Reject,
            1 => Overflow::DropOldest,
            _ => return Err(Malformed("an overflow that there is not")),
        };
        let dead_letters = DeadLetters::decode(take)?;
        let options = Options {
            level,
            max_attempts,
            visibility_micros,
            backoff: Backoff { growth, first_micros, most_micros, jitter },
            ttl_micros: ttl.checked_sub(1),
            max_messages: messages.checked_sub(1),
            overflow,
            dead_letters,
            dedup: Horizon::decode(take)?,
            single_active_consumer: take_bool(take)?,
        };
        options.check().map_err(|(_, reason)| Malformed(reason))?;
        Ok(options)
    }
}

impl DeadLetters {
    /// Where one that dies ends.
    pub(super) fn end(&self) -> End {
        match self {
            DeadLetters::Kept => End::Kept,
            DeadLetters::Discarded => End::Discarded,
            DeadLetters::Moved(_) => End::Leaves,
        }
    }

    pub(crate) fn target(&self) -> Option<&Target> {
        match self {
            DeadLetters::Moved(target) => Some(target),
            DeadLetters::Kept | DeadLetters::Discarded => None,
        }
    }

    fn told(&self) -> String {
        match self {
            DeadLetters::Kept => "kept".to_owned(),
            DeadLetters::Discarded => "discarded".to_owned(),
            DeadLetters::Moved(Target { destination: Destination::Queue(queue), .. }) => {
                format!("moved to the queue with number {}", queue.0)
            }
            DeadLetters::Moved(Target { destination: Destination::Exchange(exchange), routing_key }) => {
                let key = routing_key.as_ref().map_or(String::new(), |key| format!(" with the key \"{key}\""));
                format!("published to the exchange with number {}{key}", exchange.0)
            }
        }
    }

    fn encoded_len(&self) -> usize {
        match self.target() {
            None => 0,
            Some(Target { destination: Destination::Queue(queue), .. }) => varint_len(u64::from(queue.0)),
            Some(Target { destination: Destination::Exchange(exchange), routing_key }) => {
                let key_len = routing_key.as_ref().map_or(0, |key| slice_len(key.len()));
                varint_len(u64::from(exchange.0)) + 1 + key_len
            }
        }
    }

    fn encode(&self, out: &mut Put<'_>) {
        match self {
            DeadLetters::Kept => out.u8(0),
            DeadLetters::Discarded => out.u8(1),
            DeadLetters::Moved(Target { destination: Destination::Queue(queue), .. }) => {
                out.u8(2);
                out.varint(u64::from(queue.0));
            }
            DeadLetters::Moved(Target { destination: Destination::Exchange(exchange), routing_key }) => {
                out.u8(3);
                out.varint(u64::from(exchange.0));
                out.u8(u8::from(routing_key.is_some()));
                routing_key.iter().for_each(|key| out.slice(key.as_bytes()));
            }
        }
    }

    fn decode(take: &mut Take<'_>) -> Result<DeadLetters, Malformed> {
        let (destination, routing_key) = match take.u8()? {
            0 => return Ok(DeadLetters::Kept),
            1 => return Ok(DeadLetters::Discarded),
            2 => (Destination::Queue(take_queue(take)?), None),
            3 => {
                let exchange = Destination::Exchange(ExchangeNumber(take.varint32()?));
                (exchange, if take_bool(take)? { Some(Arc::from(take.text()?)) } else { None })
            }
            _ => return Err(Malformed("an end of dead letters that there is not")),
        };
        Ok(DeadLetters::Moved(Target { destination, routing_key }))
    }
}

fn level(level: Option<Level>) -> String {
    level.map_or("the database's".to_owned(), |level| format!("{level:?}"))
}
