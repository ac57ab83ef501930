//! Ids in the order of their arrival: each has a number, one more than the one before.
//!
//! Invariants: the table leads to the newest of an id's numbers and to none that is forgotten. A gap, which is there
//! only while rows are loaded in another order than that of the numbers, is filled with entries that no id leads to.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::id::{IdHash, Known};
use crate::base::bounds::{DEDUP_IDS_MAX, DEDUP_IDS_PER_ROW};
use crate::base::codec::Malformed;
use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;

const GAP: Known = Known { hash: IdHash([0; 16]), at: Timestamp(0), lsn: Lsn(0), value: 0 };

#[derive(Clone, Default, Debug)]
pub(crate) struct Window {
    /// The number of the oldest.
    first: u64,
    known: VecDeque<Known>,
    /// Numbers by the hash of their ids.
    table: HashTable<u64>,
}

impl Window {
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next gets.
    pub(super) fn end(&self) -> u64 {
        self.first + self.known.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn oldest(&self) -> Option<&Known> {
        self.known.front()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Known> {
        self.known.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The last one with this id, and its number.
    pub(super) fn find(&self, hash: &IdHash) -> Option<(u64, &Known)> {
        let is_it = |number: &u64| self.get(*number).is_some_and(|known| known.hash == *hash);
        let number = *self.table.find(hash.spread(), is_it)?;
        Some((number, self.get(number)?))
    }

    /// Ids arrive, the first with this number. Numbers begin anew where none is remembered; others that do not follow
    /// are of damage, and change nothing.
    pub(super) fn push(&mut self, from: u64, known: impl Iterator<Item = Known>) {
        if self.known.is_empty() {
            self.first = from;
        }
        if from == self.end() {
            known.for_each(|known| self.push_one(known));
        }
    }

    fn push_one(&mut self, known: Known) {
        let number = self.end();
        self.known.push_back(known);
        self.lead_to(number, &known.hash);
    }

    /// Leads an id to this number, which is there, unless it is led to a later one.
    fn lead_to(&mut self, number: u64, hash: &IdHash) {
        let Window { first, known, table } = self;
        let hash_of = |number: &u64| known[(*number - *first) as usize].hash;
        match table.find_mut(hash.spread(), |other| hash_of(other) == *hash) {
            Some(other) => *other = number.max(*other),
            None => drop(table.insert_unique(hash.spread(), number, |other| hash_of(other).spread())),
        }
    }

    /// Forgets those below this number.
    pub(super) fn forget_below(&mut self, keep: u64) {
        while self.first < keep
            && let Some(known) = self.known.front()
        {
            let number = self.first;
            if let Ok(found) = self.table.find_entry(known.hash.spread(), |other| *other == number) {
                found.remove();
            }
            self.known.pop_front();
            self.first += 1;
        }
        // What was there in a crowded hour does not stay.
        if self.known.is_empty() {
            (self.known, self.table) = Default::default();
        }
    }

    /// How many of the oldest had arrived before this time, up to `max`.
    pub(super) fn count_until(&self, time: impl Fn(&Known) -> bool, max: usize) -> usize {
        self.known.iter().take(max).take_while(|known| time(known)).count()
    }

    /// Takes a row back, in whatever order they come.
    pub(super) fn load(&mut self, number: u64, row: &[Known]) -> Result<(), Malformed> {
        let end = number.checked_add(row.len() as u64).ok_or(Malformed("an id beyond the last"))?;
        if self.known.is_empty() {
            self.first = number;
        }
        let span = self.end().max(end) - self.first.min(number);
        if span > DEDUP_IDS_MAX as u64 + 2 * DEDUP_IDS_PER_ROW {
            return Err(Malformed("ids farther apart than are remembered"));
        }
        while self.first > number {
            self.known.push_front(GAP);
            self.first -= 1;
        }
        while self.end() < end {
            self.known.push_back(GAP);
        }
        for (number, known) in (number..).zip(row) {
            let place = &mut self.known[(number - self.first) as usize];
            if *place != GAP {
                return Err(Malformed("an id in two rows"));
            }
            *place = *known;
            self.lead_to(number, &known.hash);
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::super::command::QueueNumber;
    use super::super::id::EntryPoint;
    use super::*;

    fn known(id: u64) -> Known {
        let hash = IdHash::of(EntryPoint::Queue(QueueNumber(1)), &format!("order-{id}"));
        Known { hash, at: Timestamp(id), lsn: Lsn(8), value: id }
    }

    #[test]
    fn an_id_is_found_from_its_arrival_until_it_is_forgotten_and_the_newest_of_two_counts() {
        let mut window = Window::default();
        window.push(70, (0..1000).map(known));
        window.push(1070, [known(3)].into_iter());
        assert_eq!(window.find(&known(3).hash).map(|(number, _)| number), Some(1070));
        window.forget_below(500);
        assert_eq!((window.first(), window.end(), window.len()), (500, 1071, 571));
        assert!((0..430).filter(|id| *id != 3).all(|id| window.find(&known(id).hash).is_none()));
        assert!((430..1000).all(|id| window.find(&known(id).hash) == Some((70 + id, &known(id)))));
        assert_eq!(window.find(&known(3).hash), Some((1070, &known(3))), "the older one went without it");
        window.forget_below(u64::MAX);
        assert_eq!((window.len(), window.find(&known(3).hash)), (0, None));
    }

    #[test]
    fn rows_come_back_in_any_order() {
        let ids: Vec<Known> = (0..300).map(known).collect();
        let mut window = Window::default();
        for number in [200, 0, 100] {
            window.load(1000 + number, &ids[number as usize..number as usize + 100]).expect("a row");
        }
        assert!((0..300).all(|id| window.find(&known(id).hash) == Some((1000 + id, &known(id)))));
        assert!(window.load(1299, &ids[..1]).is_err(), "there is one already");
        assert!(window.load(1 << 40, &ids[..1]).is_err(), "far beyond what is remembered");
    }
}
