//! What the members of the group have consumed, and what is to be thought of it.

use std::collections::HashSet;

use super::Digest;
use super::report::Span;

/// A life of a process: each start of it is another.
pub(super) type Life = u32;

/// Every report of a consumed record, of all lives.
#[derive(Default)]
pub(super) struct Consumed {
    entries: Vec<Entry>,
    killed: HashSet<Life>,
}

struct Entry {
    at_micros: u64,
    life: Life,
    partition: u32,
    offset: u64,
    body: Digest,
}

/// What differs from each record once, in order.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Consumption {
    /// Records that were consumed, each counted once.
    pub(super) records: u64,
    /// There, and consumed by nobody.
    pub(super) missed: u64,
    /// Consumed, and not there at its place.
    pub(super) foreign: u64,
    /// Consumed for the first time behind a later record of its partition, and so of its key.
    pub(super) out_of_order: u64,
    /// Consumed again after the process that consumed it before was killed.
    pub(super) again: u64,
    /// Consumed again though the process that consumed it before was not killed.
    pub(super) twice: u64,
}

impl Consumption {
    pub(super) fn is_exact(&self) -> bool {
        [self.missed, self.foreign, self.out_of_order, self.twice] == [0; 4]
    }
}

impl Consumed {
    pub(super) fn enter(&mut self, life: Life, at_micros: u64, span: &Span) {
        let entries = (span.first_offset..).zip(&span.bodies);
        self.entries.extend(entries.map(|(offset, body)| Entry {
            at_micros,
            life,
            partition: span.partition,
            offset,
            body: *body,
        }));
    }

    pub(super) fn was_killed(&mut self, life: Life) {
        self.killed.insert(life);
    }

    /// Compares with the records that are there, by partition and offset.
    pub(super) fn compare(mut self, found: &[Vec<Digest>]) -> Consumption {
        // The clock is the same for all processes, and within one the reports are in order.
        self.entries.sort_by_key(|entry| entry.at_micros);
        let mut consumption = Consumption::default();
        let mut last: Vec<Vec<Option<Life>>> = found.iter().map(|bodies| vec![None; bodies.len()]).collect();
        let mut next = vec![0; found.len()];
        for entry in &self.entries {
            let (partition, offset) = (entry.partition as usize, entry.offset as usize);
            if found.get(partition).and_then(|bodies| bodies.get(offset)) != Some(&entry.body) {
                consumption.foreign += 1;
                continue;
            }
            match last[partition][offset].replace(entry.life) {
                None => {
                    consumption.records += 1;
                    consumption.out_of_order += u64::from(offset < next[partition]);
                    next[partition] = next[partition].max(offset + 1);
                }
                Some(before) if self.killed.contains(&before) => consumption.again += 1,
                Some(_) => consumption.twice += 1,
            }
        }
        consumption.missed = last.iter().flatten().filter(|life| life.is_none()).count() as u64;
        consumption
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::digest;

    /// Records `a`, `b`, `c` are there, and these were consumed by these lives at these times.
    fn compared(entries: &[(u64, Life, u64, &str)], killed: &[Life]) -> Consumption {
        let mut consumed = Consumed::default();
        for &(at_micros, life, first_offset, body) in entries {
            let span = Span { partition: 0, first_offset, bodies: vec![digest(body.as_bytes())] };
            consumed.enter(life, at_micros, &span);
        }
        killed.iter().for_each(|life| consumed.was_killed(*life));
        consumed.compare(&[["a", "b", "c"].map(|body| digest(body.as_bytes())).to_vec()])
    }

    #[test]
    fn each_once_in_order_is_exact_whoever_tells_of_it_first() {
        let consumption = compared(&[(30, 2, 2, "c"), (10, 1, 0, "a"), (20, 1, 1, "b")], &[]);
        assert_eq!(consumption, Consumption { records: 3, ..Consumption::default() });
        assert!(consumption.is_exact());
    }

    #[test]
    fn only_a_kill_of_who_consumed_it_before_explains_that_a_record_is_consumed_again() {
        let entries = [(10, 1, 0, "a"), (20, 1, 1, "b"), (30, 2, 1, "b"), (40, 2, 2, "c")];
        let after_kill = compared(&entries, &[1]);
        assert_eq!((after_kill.again, after_kill.twice, after_kill.is_exact()), (1, 0, true));
        let without = compared(&entries, &[2]);
        assert_eq!((without.again, without.twice, without.is_exact()), (0, 1, false));
    }

    #[test]
    fn what_is_missed_out_of_order_or_foreign_is_told_apart() {
        let of = |entries| {
            let found = compared(entries, &[1]);
            assert!(!found.is_exact());
            [found.missed, found.out_of_order, found.foreign]
        };
        assert_eq!(of(&[(10, 1, 0, "a"), (20, 1, 1, "b")]), [1, 0, 0]);
        assert_eq!(of(&[(10, 1, 0, "a"), (20, 1, 2, "c"), (30, 1, 1, "b")]), [0, 1, 0]);
        assert_eq!(of(&[(10, 1, 0, "a"), (20, 1, 1, "x"), (30, 1, 7, "c")]), [2, 0, 2]);
    }
}
