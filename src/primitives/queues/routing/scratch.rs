//! What a publish has reached so far, and the room that its walks take.
//!
//! Numbers of queues and exchanges may be sparse, and none is given back; so what was reached is a small hash set and
//! not a place for each number. An entry is valid if it has the *generation* of the current publish, and the next
//! publish empties the set by taking another generation.

use std::collections::BTreeSet;

use super::binding::{Destination, ExchangeNumber, QueueNumber};
use super::bounds::{self, ROUTES_MAX, STEPS_MAX, STEPS_PER_MESSAGE, VISITS_MAX};
use super::refusal::Refusal;
use super::topic::Walk;

/// Room for publishes, one after the other. It holds nothing between them and is as good for one table as for another.
#[derive(Default, Debug)]
pub(crate) struct Scratch {
    pub(super) reached: Reached,
    pub(super) walk: Walk,
    /// Numbers of the arguments that the message meets, in order.
    pub(super) met: Vec<u32>,
}

/// Destinations so far, each once.
#[derive(Default, Debug)]
pub(super) struct Reached {
    queues: Numbers<ROUTES_SLOTS>,
    /// What stands in `queues`.
    routes: Vec<QueueNumber>,
    exchanges: Numbers<VISITS_SLOTS>,
    /// What stands in `exchanges`; those before `visited` were visited.
    found: Vec<ExchangeNumber>,
    visited: usize,
    matches: usize,
    steps: usize,
    /// Of the publish, which have their steps together.
    messages: usize,
    /// Being deleted; in order.
    gone: Vec<Destination>,
}

impl Reached {
    /// Several messages are routed, one after the other, and have so many steps together.
    pub(super) fn begin(&mut self, gone: &BTreeSet<Destination>, messages: usize) {
        self.gone.clear();
        self.gone.extend(gone);
        self.steps = 0;
        self.messages = messages;
    }

    pub(super) fn clear(&mut self) {
        self.queues.clear();
        self.routes.clear();
        self.exchanges.clear();
        self.found.clear();
        (self.visited, self.matches) = (0, 0);
    }

    /// Counts a binding that matches.
    #[inline]
    pub(super) fn add(&mut self, destination: Destination) -> Result<(), Refusal> {
        self.step(1)?;
        if self.is_gone(destination) {
            return Ok(());
        }
        self.matches += 1;
        match destination {
            Destination::Queue(queue) => self.add_queue(queue),
            Destination::Exchange(exchange) => self.add_exchange(exchange),
        }
    }

    pub(super) fn is_any_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Nothing leads there any more.
    pub(super) fn is_gone(&self, destination: Destination) -> bool {
        self.gone.binary_search(&destination).is_ok()
    }

    #[inline]
    fn add_queue(&mut self, queue: QueueNumber) -> Result<(), Refusal> {
        if self.queues.insert(queue.0) {
            bounds::check("queues of one publish", self.routes.len() + 1, ROUTES_MAX)?;
            self.routes.push(queue);
        }
        Ok(())
    }

    pub(super) fn add_exchange(&mut self, exchange: ExchangeNumber) -> Result<(), Refusal> {
        if self.exchanges.insert(exchange.0) {
            bounds::check("exchanges of one publish", self.found.len() + 1, VISITS_MAX)?;
            self.found.push(exchange);
        }
        Ok(())
    }

    /// An exchange that was not visited yet; from now on it was.
    pub(super) fn next_exchange(&mut self) -> Option<ExchangeNumber> {
        let next = self.found.get(self.visited).copied()?;
        self.visited += 1;
        Some(next)
    }

    #[inline]
    pub(super) fn step(&mut self, steps: usize) -> Result<(), Refusal> {
        self.steps += steps;
        if self.steps > STEPS_MAX {
            let max = STEPS_MAX.max(self.messages.saturating_mul(STEPS_PER_MESSAGE));
            bounds::check("steps of one publish", self.steps.min(max + 1), max)?;
        }
        Ok(())
    }

    /// Bindings that matched so far.
    pub(super) fn matches(&self) -> usize {
        self.matches
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn in_order(&mut self) -> &[QueueNumber] {
        if !self.routes.is_sorted() {
            self.routes.sort_unstable();
        }
        &self.routes
    }
}

/// At most half of the slots are taken.
const ROUTES_SLOTS: usize = 2 * (ROUTES_MAX + 1).next_power_of_two();
const VISITS_SLOTS: usize = 2 * (VISITS_MAX + 1).next_power_of_two();

/// A set of at most half as many numbers as it has slots.
#[derive(Debug)]
struct Numbers<const SLOTS: usize> {
    slots: Box<[Slot; SLOTS]>,
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u32,
    number: u32,
}

/// Nothing was ever there.
const VACANT: Slot = Slot { generation: 0, number: 0 };

impl<const SLOTS: usize> Default for Numbers<SLOTS> {
    fn default() -> Numbers<SLOTS> {
        Numbers { slots: Box::new([VACANT; SLOTS]), generation: 1 }
    }
}

impl<const SLOTS: usize> Numbers<SLOTS> {
    const SHIFT: u32 = u32::BITS - SLOTS.ilog2();

    fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == VACANT.generation {
            self.slots.fill(VACANT);
            self.generation += 1;
        }
    }

    /// `false` if it is in the set already.
    #[inline]
    fn insert(&mut self, number: u32) -> bool {
        // Knuth's multiplicative hashing: successive numbers fall far from each other.
        let mut at = (number.wrapping_mul(0x9e37_79b9) >> Self::SHIFT) as usize;
        loop {
            let slot = &mut self.slots[at % SLOTS];
            if slot.generation != self.generation {
                *slot = Slot { generation: self.generation, number };
                return true;
            }
            if slot.number == number {
                return false;
            }
            at += 1;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once_in_each_generation_also_where_they_begin_anew() {
        let mut numbers = Numbers::<8>::default();
        for generation in [1, 2, u32::MAX - 1, u32::MAX] {
            numbers.generation = generation;
            numbers.clear();
            for number in [7, 0, u32::MAX, 8] {
                assert!(numbers.insert(number), "{number} in the generation behind {generation}");
                assert!(!numbers.insert(number));
            }
        }
        assert_eq!(numbers.generation, 1);
    }
}
