//! Exchanges and bindings as rows of the checkpoint.
//!
//! | kind | id       | row                                       |
//! |------|----------|-------------------------------------------|
//! | 53   | exchange | u8 (1 retired) · options · slice(name)    |
//! | 54   | binding  | as in `fact.rs`                           |

use crate::base::codec::{Malformed, Put, Take, slice_len};
use crate::base::row::RowKey;

use super::super::event::take_bool;
use super::super::routing::{Change, Destination, ExchangeNumber};
use super::fact::{binding_len, put_binding, take_binding};
use super::options::ExchangeOptions;
use super::{Exchange, Exchanges};

pub(in crate::primitives::queues) const KIND_EXCHANGE: u8 = 53;
pub(in crate::primitives::queues) const KIND_BINDING: u8 = 54;

/// Numbers that bindings have are below.
const NUMBERS: u64 = 1 << 48;

/// An exchange. It changes with its bindings too: where a publish goes is told of it.
pub(crate) fn exchange_row(exchange: ExchangeNumber) -> RowKey {
    RowKey { kind: KIND_EXCHANGE, id: u64::from(exchange.0) }
}

/// Where publishes go, by all exchanges together. It has no row.
pub(in crate::primitives::queues) const ROUTES: RowKey = RowKey { kind: 55, id: 0 };

pub(super) fn binding_row(number: u64) -> RowKey {
    RowKey { kind: KIND_BINDING, id: number }
}

impl Exchanges {
    pub(in crate::primitives::queues) fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        if key.kind == KIND_BINDING {
            let binding = self.bindings.get(&key.id)?;
            return Some(filled(binding_len(binding), |out| put_binding(binding, out)));
        }
        let Exchange { name, options, is_retired, .. } = self.all.get(&ExchangeNumber(u32::try_from(key.id).ok()?))?;
        Some(filled(1 + options.encoded_len() + slice_len(name.len()), |out| {
            out.u8(u8::from(*is_retired));
            options.encode(out);
            out.slice(name.as_bytes());
        }))
    }

    /// Takes a row back. All exchanges come before the bindings.
    pub(in crate::primitives::queues) fn load(&mut self, key: RowKey, take: &mut Take<'_>) -> Result<(), Malformed> {
        if key.kind == KIND_BINDING {
            let binding = take_binding(take)?;
            if key.id >= NUMBERS || self.table.bind_as(binding.clone(), key.id) != Ok(Change::Done) {
                return Err(Malformed("a binding that cannot be"));
            }
            self.bindings.insert(key.id, binding);
            return Ok(());
        }
        let number = u32::try_from(key.id).ok().filter(|number| (1..self.next).contains(number));
        let number = ExchangeNumber(number.ok_or(Malformed("an exchange that was never declared"))?);
        let (is_retired, options, name) = (take_bool(take)?, ExchangeOptions::decode(take)?, take.text()?);
        let declared = self.table.declare(number, options.kind.clone(), options.alternate);
        declared.map_err(|_| Malformed("an exchange that cannot be"))?;
        if is_retired {
            self.retire(Destination::Exchange(number));
        } else if self.names.insert(name.into(), number).is_some() {
            return Err(Malformed("two exchanges with one name"));
        }
        self.all.insert(number, Exchange::new(name, options, is_retired));
        Ok(())
    }

    /// The keys of all rows.
    #[cfg(test)]
    pub(in crate::primitives::queues) fn keys(&self) -> impl Iterator<Item = RowKey> {
        let exchanges = self.all.keys().map(|number| exchange_row(*number));
        exchanges.chain(self.bindings.keys().map(|number| binding_row(*number)))
    }
}

fn filled(len: usize, fill: impl FnOnce(&mut Put<'_>)) -> Vec<u8> {
    let mut row = vec![0; len];
    let mut out = Put::new(&mut row);
    fill(&mut out);
    assert_eq!(out.remaining(), 0, "a row is as long as was foretold");
    row
}
