//! Writes to exchanges as bytes: of the commands of queues those from 13 to 19.
//!
//! ```text
//! kind u8 · fields
//!   13 publish           exchange · u8 (1 allows unroutable) · count · messages
//!   14 declare, 15 ensure  name · options
//!   16 delete            exchange
//!   17 erase             exchange
//!   18 bind, 19 unbind   binding
//! ```
//!
//! Options and bindings are as in `primitives/queues/exchanges`, messages as they are sent to a queue.

use crate::base::codec::{Malformed, Take};
use crate::primitives::queues::{
    Command as C, Erasing, ExchangeNumber, ExchangeOptions, Limits, binding_len, put_binding, take_binding,
};
use crate::processes::questions::put_list;

use super::Out;
use super::queues::{Parsed, put_message};

pub(super) const KINDS: std::ops::RangeInclusive<u8> = 13..=19;

/// `false` if it is no command of exchanges.
pub(super) fn put_of_exchanges(command: &C<'_>, out: &mut Out) -> bool {
    let head = |kind: u8, exchange: ExchangeNumber, out: &mut Out| {
        out.u8(kind);
        out.varint(u64::from(exchange.0));
    };
    match command {
        C::Publish { exchange, messages, limits } => {
            head(13, *exchange, out);
            out.bool(limits.allows_unroutable);
            put_list(messages, out, put_message);
        }
        C::DeclareExchange { name, options } => put_definition(14, name, options, out),
        C::EnsureExchange { name, options } => put_definition(15, name, options, out),
        C::DeleteExchange { exchange } => head(16, *exchange, out),
        C::Erase { what: Erasing::Exchange(exchange) } => head(17, *exchange, out),
        C::Bind { binding } | C::Unbind { binding } => {
            out.u8(if matches!(command, C::Bind { .. }) { 18 } else { 19 });
            out.put(binding_len(binding), |put| put_binding(binding, put));
        }
        _ => return false,
    }
    true
}

fn put_definition(kind: u8, name: &str, options: &ExchangeOptions, out: &mut Out) {
    out.u8(kind);
    out.text(name);
    out.put(options.encoded_len(), |put| options.encode(put));
}

pub(super) fn with_command_of_exchanges<T>(
    kind: u8,
    take: &mut Take<'_>,
    then: impl FnOnce(C<'_>) -> T,
) -> Result<T, Malformed> {
    let exchange = |take: &mut Take<'_>| take.varint32().map(ExchangeNumber);
    let (parsed, messages, options, binding);
    let command = match kind {
        13 => {
            let exchange = exchange(take)?;
            let limits = Limits { allows_unroutable: take.u8()? == 1 };
            parsed = Parsed::take(take)?;
            messages = parsed.messages();
            C::Publish { exchange, messages: &messages, limits }
        }
        14 | 15 => {
            let name = take.text()?;
            options = ExchangeOptions::decode(take)?;
            match kind {
                14 => C::DeclareExchange { name, options: &options },
                _ => C::EnsureExchange { name, options: &options },
            }
        }
        16 => C::DeleteExchange { exchange: exchange(take)? },
        17 => C::Erase { what: Erasing::Exchange(exchange(take)?) },
        18 | 19 => {
            binding = take_binding(take)?;
            match kind {
                18 => C::Bind { binding: &binding },
                _ => C::Unbind { binding: &binding },
            }
        }
        _ => return Err(Malformed("a command that exchanges do not have")),
    };
    take.end()?;
    Ok(then(command))
}
