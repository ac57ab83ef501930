//! Exchanges: where messages are published that go to the queues which are bound for them.
//!
//! Names, options and bindings stand here; which binding matches is `routing`'s affair. A binding has a number,
//! under which it has its row. What is deleted is *retired* first: its name is free and nothing comes
//! through it any more; its bindings go in steps.
//!
//! | file            | holds                                               |
//! |-----------------|-----------------------------------------------------|
//! | `options.rs`    | what an exchange may be told                        |
//! | `event.rs`      | facts and their bytes                               |
//! | `changes.rs`    | how facts change exchanges, and which rows          |
//! | `rows.rs`       | the same as rows of the checkpoint                  |
//! | `declaring.rs`  | which exchanges and bindings are accepted           |
//! | `publishing.rs` | publishing: from a routing key to places in queues  |

mod changes;
mod declaring;
mod fact;
mod options;
mod publishing;
mod rows;

pub(crate) use fact::{binding_len, put_binding, take_binding};
pub(crate) use options::ExchangeOptions;
pub(crate) use publishing::Limits;
pub(crate) use rows::exchange_row;

pub(super) use declaring::{alter, bind, declare, delete, unbind, unbind_step};
pub(super) use fact::{EXCHANGE_CHANGES, ExchangeEvent};
pub(super) use publishing::{publish, send_again, send_on};
pub(super) use rows::{KIND_BINDING, KIND_EXCHANGE, ROUTES};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

#[cfg(test)]
use super::dedup::EntryPoint;
use super::dedup::{Horizon, Memory, Shared as Ids};
use super::routing::{Binding, Destination, ExchangeNumber, Scratch, Table};
use crate::base::sync::Arc;

/// The exchange that is always there: a routing key is the name of a queue.
pub(crate) const DEFAULT: ExchangeNumber = ExchangeNumber(0);

/// All exchanges and their bindings.
#[derive(Clone, Debug)]
pub(crate) struct Exchanges {
    names: BTreeMap<Box<str>, ExchangeNumber>,
    all: BTreeMap<ExchangeNumber, Exchange>,
    table: Table,
    bindings: BTreeMap<u64, Binding>,
    /// The next number that is given.
    pub(super) next: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) name: Box<str>,
    pub(crate) options: ExchangeOptions,
    is_retired: bool,
    /// The ids that it remembers, if it does.
    ids: Ids,
}

impl Exchange {
    fn new(name: &str, options: ExchangeOptions, is_retired: bool) -> Exchange {
        let ids = Memory::of(options.dedup);
        Exchange { name: name.into(), options, is_retired, ids }
    }
}

impl Default for Exchanges {
    fn default() -> Exchanges {
        Exchanges {
            names: BTreeMap::new(),
            all: BTreeMap::new(),
            table: Table::default(),
            bindings: BTreeMap::new(),
            next: DEFAULT.0 + 1,
        }
    }
}

impl Exchanges {
    /// The exchange with this name; the default one has none.
    pub(crate) fn find(&self, name: &str) -> Option<ExchangeNumber> {
        if name.is_empty() { Some(DEFAULT) } else { self.names.get(name).copied() }
    }

    /// An exchange that was declared and not deleted.
    pub(crate) fn get(&self, exchange: ExchangeNumber) -> Option<&Exchange> {
        self.all.get(&exchange).filter(|found| !found.is_retired)
    }

    pub(super) fn memory(&self, exchange: ExchangeNumber) -> Option<&Memory> {
        self.all.get(&exchange)?.ids.as_deref()
    }

    pub(super) fn memory_mut(&mut self, exchange: ExchangeNumber) -> Option<&mut Arc<Memory>> {
        self.all.get_mut(&exchange)?.ids.as_mut()
    }

    /// What each exchange remembers that was not deleted, and how far back.
    pub(super) fn memories(&self) -> impl Iterator<Item = (ExchangeNumber, &Memory, Horizon)> {
        let live = self.all.iter().filter(|(_, exchange)| !exchange.is_retired);
        live.filter_map(|(number, exchange)| Some((*number, exchange.ids.as_deref()?, exchange.options.dedup)))
    }

    /// How many ids are remembered no more once this is true.
    pub(super) fn ids_lost_by(&self, event: &ExchangeEvent<'_>) -> usize {
        match event {
            ExchangeEvent::Removed { exchange } => self.memory(*exchange).map_or(0, Memory::len),
            _ => 0,
        }
    }

    #[cfg(test)]
    pub(super) fn entry_points(&self) -> impl Iterator<Item = EntryPoint> {
        self.all.keys().map(|exchange| EntryPoint::Exchange(*exchange))
    }

    /// Names of exchanges behind this one, in order.
    pub(crate) fn names_after(&self, after: &str, max: usize) -> Vec<String> {
        let names = self.names.range::<str, _>((Excluded(after), Unbounded));
        names.take(max).map(|(name, _)| name.to_string()).collect()
    }

    /// Bindings of an exchange, in order, behind this one.
    pub(crate) fn bindings_of(&self, exchange: ExchangeNumber, after: Option<&Binding>, max: usize) -> Vec<&Binding> {
        match after {
            None => self.table.bindings_of(exchange).take(max).collect(),
            Some(after) if after.exchange != exchange => Vec::new(),
            Some(after) => self.table.bindings_behind(Excluded(after.clone()), exchange).take(max).collect(),
        }
    }

    pub(super) fn is_retired(&self, exchange: ExchangeNumber) -> bool {
        self.all.get(&exchange).is_some_and(|found| found.is_retired)
    }

    /// Something that was retired and of which bindings are left.
    pub(super) fn first_retired(&self) -> Option<ExchangeNumber> {
        self.all.iter().find(|(_, exchange)| exchange.is_retired).map(|(number, _)| *number)
    }

    /// An exchange that goes on to this one with what none of its bindings matches.
    fn relies_on(&self, alternate: ExchangeNumber) -> Option<&Exchange> {
        let mut live = self.all.values().filter(|exchange| !exchange.is_retired);
        live.find(|exchange| exchange.options.alternate == Some(alternate))
    }

    /// A number that no binding has.
    fn free_number(&self) -> u64 {
        self.bindings.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    /// Bindings from or to something, with their numbers: as many as one step takes.
    fn step_of(&self, destination: Destination, max: usize) -> Vec<u64> {
        let from = match destination {
            Destination::Exchange(exchange) => Some(self.table.bindings_of(exchange)),
            Destination::Queue(_) => None,
        };
        let bindings = self.table.bindings_to(destination).chain(from.into_iter().flatten()).take(max);
        bindings.filter_map(|binding| self.table.given(binding)).collect()
    }
}

/// Room for routing, which is no part of the state.
#[derive(Default, Debug)]
pub(super) struct Room(pub(super) RefCell<Scratch>);

impl Clone for Room {
    fn clone(&self) -> Room {
        Room::default()
    }
}
