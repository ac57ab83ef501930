//! Exchanges and bindings.
//!
//! Invariants: a binding stands in `bindings` if and only if it stands in the index of its exchange. Its exchange is in
//! the table, and so is its destination if that is an exchange. `sources` has a destination with an exchange if and
//! only if there is a binding between them. An alternate exchange may be missing: it may come later, or be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::Map;
#[cfg(all(test, not(loom)))]
use super::binding::QueueNumber;
use super::binding::{Binding, Destination, ExchangeNumber, Kind};
use super::bounds::{self, BINDINGS_MAX, EXCHANGES_MAX, HASH_BINDINGS_MAX, HASHED_NAME_BYTES_MAX};
use super::index::Index;
use super::refusal::Refusal;

/// All exchanges and bindings.
#[derive(Clone, Default, Debug)]
pub(crate) struct Table {
    exchanges: Map<ExchangeNumber, Exchange>,
    /// Every binding, with its number in the index of its exchange, and the one that the caller gave it.
    bindings: BTreeMap<Binding, (u32, u64)>,
    /// Which exchanges have bindings to a destination.
    sources: BTreeSet<(Destination, ExchangeNumber)>,
    /// Destinations that are being deleted: the bindings to them match no longer, and go one by one.
    gone: BTreeSet<Destination>,
}

#[derive(Clone, Debug)]
pub(super) struct Exchange {
    kind: Kind,
    pub(super) index: Index,
    pub(super) alternate: Option<ExchangeNumber>,
}

/// What binding or unbinding comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Done,
    /// It is bound, or is not, as asked for; nothing changes.
    AlreadySo,
}

impl Table {
    /// Adds an exchange without bindings. The alternate exchange need not be there.
    ///
    /// # Errors
    /// `ExchangeExists`. `LimitExceeded` if there are as many as there may be, or if the name of the header to hash is
    /// too long.
    pub(crate) fn declare(
        &mut self,
        exchange: ExchangeNumber,
        kind: Kind,
        alternate: Option<ExchangeNumber>,
    ) -> Result<(), Refusal> {
        if self.exchanges.contains_key(&exchange) {
            return Err(Refusal::ExchangeExists(exchange));
        }
        self.check_declare(&kind)?;
        self.exchanges.insert(exchange, Exchange { index: Index::new(&kind), kind, alternate });
        Ok(())
    }

    /// Whether there may be another exchange, and of this kind.
    pub(crate) fn check_declare(&self, kind: &Kind) -> Result<(), Refusal> {
        if let Kind::ConsistentHash { header: Some(name) } = kind {
            bounds::check("bytes of the name of a header to hash", name.len(), HASHED_NAME_BYTES_MAX)?;
        }
        bounds::check("exchanges", self.exchanges.len() + 1, EXCHANGES_MAX)
    }

    /// # Errors
    /// `UnknownExchange` if there is no such exchange; the alternate need not be there.
    pub(crate) fn set_alternate(
        &mut self,
        exchange: ExchangeNumber,
        alternate: Option<ExchangeNumber>,
    ) -> Result<(), Refusal> {
        let found = self.exchanges.get_mut(&exchange).ok_or(Refusal::UnknownExchange(exchange))?;
        found.alternate = alternate;
        Ok(())
    }

    /// The type of an exchange, and its alternate.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn describe(&self, exchange: ExchangeNumber) -> Option<(&Kind, Option<ExchangeNumber>)> {
        self.exchange(exchange).map(|found| (&found.kind, found.alternate))
    }

    pub(super) fn exchange(&self, exchange: ExchangeNumber) -> Option<&Exchange> {
        self.exchanges.get(&exchange)
    }

    /// Whether the exchange takes bindings with such a condition.
    pub(crate) fn check_condition(&self, binding: &Binding) -> Result<(), Refusal> {
        let exchange = self.exchange(binding.exchange).ok_or(Refusal::UnknownExchange(binding.exchange))?;
        exchange.kind.check(&binding.condition)
    }

    /// What [`bind_as`](Table::bind_as) would answer.
    pub(crate) fn check_bind(&self, binding: &Binding) -> Result<Change, Refusal> {
        let exchange = self.exchange(binding.exchange).ok_or(Refusal::UnknownExchange(binding.exchange))?;
        if let Destination::Exchange(to) = binding.destination
            && !self.exchanges.contains_key(&to)
        {
            return Err(Refusal::UnknownExchange(to));
        }
        self.check_condition(binding)?;
        if self.bindings.contains_key(binding) {
            return Ok(Change::AlreadySo);
        }
        if let Index::ConsistentHash { bindings, .. } = &exchange.index {
            bounds::check("bindings of a consistent-hash exchange", bindings.len() + 1, HASH_BINDINGS_MAX)?;
        }
        bounds::check("bindings of all exchanges", self.bindings.len() + 1, BINDINGS_MAX)?;
        Ok(Change::Done)
    }

    /// Adds a binding with a number of the caller's, unless there is this one already.
    ///
    /// # Errors
    /// `UnknownExchange` if its exchange, or the one that it leads to, is not there. `Mismatch` if its condition is not
    /// for this kind of exchange. `WeightZero`, and `LimitExceeded` for what is too large in it or too many with it.
    pub(crate) fn bind_as(&mut self, binding: Binding, given: u64) -> Result<Change, Refusal> {
        let change = self.check_bind(&binding)?;
        if change == Change::Done {
            let exchange = self.exchanges.get_mut(&binding.exchange).expect("it was checked");
            let number = exchange.index.insert(&binding.condition, binding.destination);
            self.sources.insert((binding.destination, binding.exchange));
            self.bindings.insert(binding, (number, given));
        }
        Ok(change)
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn bind(&mut self, binding: Binding) -> Result<Change, Refusal> {
        self.bind_as(binding, 0)
    }

    /// Removes a binding, if it is there.
    ///
    /// # Errors
    /// `UnknownExchange` if its exchange is not there.
    pub(crate) fn unbind(&mut self, binding: &Binding) -> Result<Change, Refusal> {
        let exchange = self.exchanges.get_mut(&binding.exchange).ok_or(Refusal::UnknownExchange(binding.exchange))?;
        let Some((number, _)) = self.bindings.remove(binding) else { return Ok(Change::AlreadySo) };
        exchange.index.remove(&binding.condition, binding.destination, number);
        if self.between(binding.exchange, binding.destination).next().is_none() {
            self.sources.remove(&(binding.destination, binding.exchange));
        }
        Ok(Change::Done)
    }

    /// Removes an exchange with all bindings from it and to it; how many these were. Where it is an alternate, it is a
    /// missing one from now on.
    ///
    /// # Errors
    /// `UnknownExchange` if there is no such exchange.
    pub(crate) fn remove_exchange(&mut self, exchange: ExchangeNumber) -> Result<usize, Refusal> {
        if !self.exchanges.contains_key(&exchange) {
            return Err(Refusal::UnknownExchange(exchange));
        }
        let removed = self.remove_destination(Destination::Exchange(exchange));
        // Its index goes as a whole.
        self.exchanges.remove(&exchange);
        let bindings: Vec<Binding> = self.bindings_of(exchange).cloned().collect();
        for binding in &bindings {
            self.bindings.remove(binding);
            self.sources.remove(&(binding.destination, exchange));
        }
        Ok(removed + bindings.len())
    }

    /// Removes all bindings to a queue; how many these were.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn remove_queue(&mut self, queue: QueueNumber) -> usize {
        self.remove_destination(Destination::Queue(queue))
    }

    fn remove_destination(&mut self, destination: Destination) -> usize {
        let bindings: Vec<Binding> = self.bindings_to(destination).cloned().collect();
        for binding in &bindings {
            assert_eq!(self.unbind(binding), Ok(Change::Done), "a binding of a listing is there");
        }
        bindings.len()
    }

    /// Bindings that lead there match no longer.
    pub(crate) fn retire(&mut self, destination: Destination) {
        self.gone.insert(destination);
    }

    /// Of what was retired nothing is left.
    pub(crate) fn forget(&mut self, destination: Destination) {
        self.gone.remove(&destination);
    }

    pub(super) fn gone(&self) -> &BTreeSet<Destination> {
        &self.gone
    }

    /// The number that a binding was given, if it is there.
    pub(crate) fn given(&self, binding: &Binding) -> Option<u64> {
        self.bindings.get(binding).map(|(_, given)| *given)
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn contains(&self, binding: &Binding) -> bool {
        self.bindings.contains_key(binding)
    }

    /// Bindings of all exchanges.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn binding_count(&self) -> usize {
        self.bindings.len()
    }

    /// The bindings of an exchange, by their destinations: queues first, and each by number.
    pub(crate) fn bindings_of(&self, exchange: ExchangeNumber) -> impl Iterator<Item = &Binding> {
        self.bindings_behind(Bound::Included(Binding::first(exchange, Destination::FIRST)), exchange)
    }

    /// The same, from one of them on.
    pub(crate) fn bindings_behind(
        &self,
        from: Bound<Binding>,
        exchange: ExchangeNumber,
    ) -> impl Iterator<Item = &Binding> {
        let from = self.bindings.range((from, Bound::Unbounded));
        from.map(|(binding, _)| binding).take_while(move |binding| binding.exchange == exchange)
    }

    /// The bindings that lead to a destination, by their exchanges.
    pub(crate) fn bindings_to(&self, destination: Destination) -> impl Iterator<Item = &Binding> {
        let (first, last) = (ExchangeNumber(0), ExchangeNumber(u32::MAX));
        let sources = self.sources.range((destination, first)..=(destination, last));
        sources.flat_map(move |(_, exchange)| self.between(*exchange, destination))
    }

    fn between(&self, exchange: ExchangeNumber, destination: Destination) -> impl Iterator<Item = &Binding> {
        let from = self.bindings.range(Binding::first(exchange, destination)..);
        let is_between = move |binding: &&Binding| (binding.exchange, binding.destination) == (exchange, destination);
        from.map(|(binding, _)| binding).take_while(is_between)
    }
}
