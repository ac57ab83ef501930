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

use super::routing::{Binding, Destination, ExchangeNumber, Scratch, Table};

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
