//! What a queue may be told of how it keeps and hands out its messages, and the bytes of that.
//!
//! ```text
//! options  level u8 (0 the database's, 1 sync, 2 buffered) · max attempts · visibility · backoff ·
//!          ttl + 1 or 0 · max messages + 1 or 0 · dead letters u8 (0 kept, 1 discarded) ·
//!          single active consumer u8
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
use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::level::Level;

/// Options of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    /// The database's, if none.
    pub(crate) level: Option<Level>,
    pub(crate) max_attempts: u32,
    pub(crate) visibility_micros: u64,
    pub(crate) backoff: Backoff,
    pub(crate) ttl_micros: Option<u64>,
    /// Ready and delayed; a `send` beyond is refused.
    pub(crate) max_messages: Option<u64>,
    /// A dead message goes for good.
    pub(crate) discards_dead: bool,
    /// One consumer at a time is handed messages.
    pub(crate) single_active_consumer: bool,
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
            discards_dead: false,
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
        if self.max_messages == Some(0) {
            return Err(("max messages", "a queue that may hold nothing is of no use"));
        }
        Ok(())
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
        let dead = |discards| if discards { "discarded".to_owned() } else { "kept".to_owned() };
        differ("what becomes of dead letters", dead(self.discards_dead), dead(asked.discards_dead));
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
        5 + self.integers().into_iter().map(varint_len).sum::<usize>()
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
        out.u8(u8::from(self.discards_dead));
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
        let discards_dead = match take.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed("dead letters that are neither kept nor discarded")),
        };
        let options = Options {
            level,
            max_attempts,
            visibility_micros,
            backoff: Backoff { growth, first_micros, most_micros, jitter },
            ttl_micros: ttl.checked_sub(1),
            max_messages: messages.checked_sub(1),
            discards_dead,
            single_active_consumer: super::event::take_bool(take)?,
        };
        options.check().map_err(|(_, reason)| Malformed(reason))?;
        Ok(options)
    }
}

fn level(level: Option<Level>) -> String {
    level.map_or("the database's".to_owned(), |level| format!("{level:?}"))
}
