//! How facts change exchanges, and which rows they change.

use crate::base::row::RowKey;

use super::super::routing::{Change, Destination};
use super::super::rows::COUNTERS;
use super::fact::ExchangeEvent;
use super::rows::{ROUTES, binding_row, exchange_row};
use super::{Exchange, Exchanges};

impl Exchanges {
    /// Makes a fact true. One that does not fit, which only damage makes, changes nothing.
    pub(in crate::primitives::queues) fn apply(&mut self, event: &ExchangeEvent<'_>) {
        match event {
            ExchangeEvent::Declared { exchange, options, name } => {
                self.next = self.next.max(exchange.0.saturating_add(1));
                if self.table.declare(*exchange, options.kind.clone(), options.alternate).is_ok() {
                    let declared = Exchange::new(name, options.clone(), false);
                    self.names.insert(declared.name.clone(), *exchange);
                    self.all.insert(*exchange, declared);
                }
            }
            ExchangeEvent::Altered { exchange, options } => {
                if let Some(found) = self.all.get_mut(exchange)
                    && self.table.set_alternate(*exchange, options.alternate).is_ok()
                {
                    found.options = options.clone();
                }
            }
            ExchangeEvent::Retired { exchange } => {
                if let Some(found) = self.all.get_mut(exchange) {
                    found.is_retired = true;
                    self.names.remove(&found.name);
                    self.retire(Destination::Exchange(*exchange));
                }
            }
            ExchangeEvent::Removed { exchange } => {
                self.all.remove(exchange);
                self.forget(Destination::Exchange(*exchange));
                // Its bindings went before.
                let _ = self.table.remove_exchange(*exchange);
            }
            ExchangeEvent::Bound { number, binding } => {
                if !self.bindings.contains_key(number)
                    && self.table.bind_as(binding.clone(), *number) == Ok(Change::Done)
                {
                    self.bindings.insert(*number, binding.clone());
                }
            }
            ExchangeEvent::Unbound { numbers } => {
                for number in numbers {
                    if let Some(binding) = self.bindings.remove(number) {
                        // Both of them were entered together.
                        let _ = self.table.unbind(&binding);
                    }
                }
            }
        }
    }

    /// What is bound to it gets nothing any more.
    pub(in crate::primitives::queues) fn retire(&mut self, destination: Destination) {
        self.table.retire(destination);
    }

    pub(in crate::primitives::queues) fn forget(&mut self, destination: Destination) {
        self.table.forget(destination);
    }

    /// Names every row that the event changes. To be asked before it is applied.
    pub(in crate::primitives::queues) fn touches(&self, event: &ExchangeEvent<'_>, visit: &mut dyn FnMut(RowKey)) {
        visit(ROUTES);
        match event {
            ExchangeEvent::Declared { exchange, .. }
            | ExchangeEvent::Retired { exchange }
            | ExchangeEvent::Removed { exchange } => {
                visit(COUNTERS);
                visit(exchange_row(*exchange));
            }
            ExchangeEvent::Altered { exchange, .. } => visit(exchange_row(*exchange)),
            ExchangeEvent::Bound { number, binding } => {
                visit(binding_row(*number));
                visit(exchange_row(binding.exchange));
            }
            ExchangeEvent::Unbound { numbers } => {
                for number in numbers {
                    visit(binding_row(*number));
                    self.bindings.get(number).into_iter().for_each(|binding| visit(exchange_row(binding.exchange)));
                }
            }
        }
    }
}
