//! Ids of the messages of a queue that live: at most one message of each. Every id has a slot, the lowest that is free
//! when it comes, so that replay and a loaded checkpoint give the same ones.

use std::collections::BTreeSet;

use hashbrown::HashTable;

use super::super::options::mixed;
use super::id::{IdHash, Known};
use crate::base::bounds::DEDUP_IDS_MAX;
use crate::base::codec::Malformed;

#[derive(Clone, Default, Debug)]
pub(crate) struct Living {
    slots: Vec<Option<Known>>,
    free: BTreeSet<u32>,
    by_id: HashTable<u32>,
    /// By the sequences of their messages.
    by_message: HashTable<u32>,
}

impl Living {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Slots that are, or were, in use.
    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The lowest slot with an id; 0 if there is none.
    pub(super) fn first_in_use(&self) -> u64 {
        self.slots.iter().position(Option::is_some).unwrap_or(0) as u64
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Known> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn find(&self, hash: &IdHash) -> Option<(u32, &Known)> {
        let is_it = |slot: &u32| self.get(*slot).is_some_and(|known| known.hash == *hash);
        let slot = *self.by_id.find(hash.spread(), is_it)?;
        Some((slot, self.get(slot)?))
    }

    /// The slot of the id that the message with this sequence has taken.
    pub(super) fn slot_of(&self, sequence: u64) -> Option<u32> {
        let is_it = |slot: &u32| self.get(*slot).is_some_and(|known| known.value == sequence);
        self.by_message.find(mixed(sequence), is_it).copied()
    }

    /// The slots that the next ids get.
    pub(super) fn next_slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.free.iter().copied().chain(self.slots()..)
    }

    /// A message takes an id. One that another has, which only damage makes, stays with that.
    pub(super) fn take(&mut self, known: Known) {
        let slot = self.next_slots().next().expect("there are more numbers than slots");
        self.free.remove(&slot);
        if slot == self.slots() {
            self.slots.push(None);
        }
        if !self.put(slot, known) {
            self.free.insert(slot);
        }
    }

    fn put(&mut self, slot: u32, known: Known) -> bool {
        if self.find(&known.hash).is_some() || self.slot_of(known.value).is_some() {
            return false;
        }
        let Living { slots, by_id, by_message, .. } = self;
        slots[slot as usize] = Some(known);
        let of = |slot: &u32| slots[*slot as usize].expect("a slot that a table leads to is in use");
        by_id.insert_unique(known.hash.spread(), slot, |slot| of(slot).hash.spread());
        by_message.insert_unique(mixed(known.value), slot, |slot| mixed(of(slot).value));
        true
    }

    /// The message is alive no more: whoever comes next may have its id.
    pub(super) fn let_go(&mut self, slot: u32) {
        let Some(known) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        if let Ok(found) = self.by_id.find_entry(known.hash.spread(), |other| *other == slot) {
            found.remove();
        }
        if let Ok(found) = self.by_message.find_entry(mixed(known.value), |other| *other == slot) {
            found.remove();
        }
        self.free.insert(slot);
        // What was there in a crowded hour does not stay.
        if self.len() == 0 {
            *self = Living::default();
        }
    }

    /// Slots of ids whose messages have sequences in this range, in no order.
    pub(super) fn slots_of(&self, sequences: std::ops::Range<u64>) -> Vec<u32> {
        if self.len() == 0 {
            return Vec::new();
        }
        if sequences.end.saturating_sub(sequences.start) <= u64::from(self.slots()) {
            return sequences.filter_map(|sequence| self.slot_of(sequence)).collect();
        }
        let is_within = |slot: &u32| self.get(*slot).is_some_and(|known| sequences.contains(&known.value));
        (0..self.slots()).filter(is_within).collect()
    }

    /// Takes an id back from a row.
    pub(super) fn load(&mut self, slot: u64, known: Known) -> Result<(), Malformed> {
        if slot >= DEDUP_IDS_MAX as u64 {
            return Err(Malformed("an id beyond the last slot"));
        }
        let slot = slot as u32;
        while self.slots() <= slot {
            self.free.insert(self.slots());
            self.slots.push(None);
        }
        if !self.free.remove(&slot) || !self.put(slot, known) {
            return Err(Malformed("an id that two messages have"));
        }
        Ok(())
    }
}
