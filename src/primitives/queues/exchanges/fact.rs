//! Facts about exchanges, and their bytes: changes among those of queues.
//!
//! | change | event    | fields                                                                             |
//! |--------|----------|------------------------------------------------------------------------------------|
//! | 6      | declared | exchange · options · slice(name)                                                   |
//! | 7      | altered  | exchange · options                                                                 |
//! | 8      | retired  | exchange: its name is free, and nothing comes through it any more                  |
//! | 9      | removed  | exchange: none of its bindings is left                                             |
//! | 10     | bound    | number u64 · binding                                                               |
//! | 11     | unbound  | count · numbers u64                                                                |
//!
//! ```text
//! binding    exchange · u8 (0 to a queue, 1 to an exchange) · its number · condition u8 · fields
//!   0 always, 1 key  slice, 2 pattern  slice, 3 headers  mode u8 · count · per argument slice(name) · slice(value),
//!   4 weight  varint
//! ```

use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};

use super::super::command::QueueNumber;
use super::super::routing::{Arguments, Binding, Condition, Destination, ExchangeNumber, Mode};
use super::options::ExchangeOptions;
use crate::primitives::record::Header;

/// The changes that are of exchanges.
pub(in crate::primitives::queues) const EXCHANGE_CHANGES: std::ops::RangeInclusive<u8> = DECLARED..=UNBOUND;

const DECLARED: u8 = 6;
const ALTERED: u8 = 7;
const RETIRED: u8 = 8;
const REMOVED: u8 = 9;
const BOUND: u8 = 10;
const UNBOUND: u8 = 11;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ExchangeEvent<'a> {
    Declared { exchange: ExchangeNumber, options: ExchangeOptions, name: &'a str },
    Altered { exchange: ExchangeNumber, options: ExchangeOptions },
    Retired { exchange: ExchangeNumber },
    Removed { exchange: ExchangeNumber },
    Bound { number: u64, binding: Binding },
    Unbound { numbers: Vec<u64> },
}

fn len_of(exchange: ExchangeNumber) -> usize {
    varint_len(u64::from(exchange.0))
}

impl<'a> ExchangeEvent<'a> {
    /// With the byte that tells the change.
    pub(in crate::primitives::queues) fn encoded_len(&self) -> usize {
        1 + match self {
            ExchangeEvent::Declared { exchange, options, name } => {
                len_of(*exchange) + options.encoded_len() + slice_len(name.len())
            }
            ExchangeEvent::Altered { exchange, options } => len_of(*exchange) + options.encoded_len(),
            ExchangeEvent::Retired { exchange } | ExchangeEvent::Removed { exchange } => len_of(*exchange),
            ExchangeEvent::Bound { binding, .. } => 8 + binding_len(binding),
            ExchangeEvent::Unbound { numbers } => varint_len(numbers.len() as u64) + 8 * numbers.len(),
        }
    }

    pub(in crate::primitives::queues) fn encode(&self, out: &mut Put<'_>) {
        let head = |change: u8, exchange: &ExchangeNumber, out: &mut Put<'_>| {
            out.u8(change);
            out.varint(u64::from(exchange.0));
        };
        match self {
            ExchangeEvent::Declared { exchange, options, name } => {
                head(DECLARED, exchange, out);
                options.encode(out);
                out.slice(name.as_bytes());
            }
            ExchangeEvent::Altered { exchange, options } => {
                head(ALTERED, exchange, out);
                options.encode(out);
            }
            ExchangeEvent::Retired { exchange } => head(RETIRED, exchange, out),
            ExchangeEvent::Removed { exchange } => head(REMOVED, exchange, out),
            ExchangeEvent::Bound { number, binding } => {
                out.u8(BOUND);
                out.u64(*number);
                put_binding(binding, out);
            }
            ExchangeEvent::Unbound { numbers } => {
                out.u8(UNBOUND);
                out.varint(numbers.len() as u64);
                numbers.iter().for_each(|number| out.u64(*number));
            }
        }
    }

    pub(in crate::primitives::queues) fn decode(change: u8, take: &mut Take<'a>) -> Result<Self, Malformed> {
        let exchange = |take: &mut Take<'a>| take.varint32().map(ExchangeNumber);
        Ok(match change {
            DECLARED => ExchangeEvent::Declared {
                exchange: exchange(take)?,
                options: ExchangeOptions::decode(take)?,
                name: take.text()?,
            },
            ALTERED => ExchangeEvent::Altered { exchange: exchange(take)?, options: ExchangeOptions::decode(take)? },
            RETIRED => ExchangeEvent::Retired { exchange: exchange(take)? },
            REMOVED => ExchangeEvent::Removed { exchange: exchange(take)? },
            BOUND => ExchangeEvent::Bound { number: take.u64()?, binding: take_binding(take)? },
            UNBOUND => {
                let count = take.varint()?;
                if count > (take.remaining() / 8) as u64 {
                    return Err(Malformed("more bindings than bytes"));
                }
                ExchangeEvent::Unbound { numbers: (0..count).map(|_| take.u64()).collect::<Result<_, _>>()? }
            }
            _ => return Err(Malformed("a change that exchanges do not have")),
        })
    }
}

pub(crate) fn binding_len(binding: &Binding) -> usize {
    let destination = match binding.destination {
        Destination::Queue(queue) => queue.0,
        Destination::Exchange(exchange) => exchange.0,
    };
    len_of(binding.exchange)
        + 1
        + varint_len(u64::from(destination))
        + 1
        + match &binding.condition {
            Condition::Always => 0,
            Condition::Key(text) | Condition::Pattern(text) => slice_len(text.len()),
            Condition::Headers(arguments) => {
                let all = arguments.all();
                let len = all.iter().map(|argument| slice_len(argument.name.len()) + slice_len(argument.value.len()));
                1 + varint_len(all.len() as u64) + len.sum::<usize>()
            }
            Condition::Weight(weight) => varint_len(u64::from(*weight)),
        }
}

pub(crate) fn put_binding(binding: &Binding, out: &mut Put<'_>) {
    out.varint(u64::from(binding.exchange.0));
    let (kind, number) = match binding.destination {
        Destination::Queue(queue) => (0, queue.0),
        Destination::Exchange(exchange) => (1, exchange.0),
    };
    out.u8(kind);
    out.varint(u64::from(number));
    match &binding.condition {
        Condition::Always => out.u8(0),
        Condition::Key(key) => {
            out.u8(1);
            out.slice(key.as_bytes());
        }
        Condition::Pattern(pattern) => {
            out.u8(2);
            out.slice(pattern.as_bytes());
        }
        Condition::Headers(arguments) => {
            out.u8(3);
            out.u8(arguments.mode() as u8);
            out.varint(arguments.all().len() as u64);
            for argument in arguments.all() {
                out.slice(argument.name.as_bytes());
                out.slice(&argument.value);
            }
        }
        Condition::Weight(weight) => {
            out.u8(4);
            out.varint(u64::from(*weight));
        }
    }
}

pub(crate) fn take_binding(take: &mut Take<'_>) -> Result<Binding, Malformed> {
    let exchange = ExchangeNumber(take.varint32()?);
    let destination = match (take.u8()?, take.varint32()?) {
        (0, queue) => Destination::Queue(QueueNumber(queue)),
        (1, exchange) => Destination::Exchange(ExchangeNumber(exchange)),
        _ => return Err(Malformed("neither a queue nor an exchange")),
    };
    let condition = match take.u8()? {
        0 => Condition::Always,
        1 => Condition::Key(take.text()?.into()),
        2 => Condition::Pattern(take.text()?.into()),
        3 => Condition::Headers(Box::new(take_arguments(take)?)),
        4 => Condition::Weight(take.varint32()?),
        _ => return Err(Malformed("a condition that bindings do not have")),
    };
    Ok(Binding { exchange, destination, condition })
}

fn take_arguments(take: &mut Take<'_>) -> Result<Arguments, Malformed> {
    let mode = match take.u8()? {
        0 => Mode::All,
        1 => Mode::Any,
        2 => Mode::AllWithX,
        3 => Mode::AnyWithX,
        _ => return Err(Malformed("a mode that there is not")),
    };
    let count = take.varint()?;
    if count > take.remaining() as u64 {
        return Err(Malformed("more arguments than bytes"));
    }
    let argument = |take: &mut Take<'_>| {
        let name: Box<str> = take.text()?.into();
        Ok((name, Box::<[u8]>::from(take.slice()?)))
    };
    let arguments = (0..count).map(|_| argument(take)).collect::<Result<Vec<_>, Malformed>>()?;
    if !arguments.is_sorted_by(|one, next| one < next) {
        return Err(Malformed("arguments that are not in order, or twice"));
    }
    Ok(Arguments::new(mode, arguments.iter().map(|(name, value)| Header { name, value })))
}
