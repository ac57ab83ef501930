//! What the parent was told while the feeder lived and died.

use super::Digest;
use super::consumed::Consumed;
use super::report::Span;

/// Per partition and offset: what was acknowledged, what a reader saw, and what members of the group consumed.
pub(super) struct Books {
    pub(super) acknowledged: Ledger,
    pub(super) seen: Ledger,
    pub(super) consumed: Consumed,
}

impl Books {
    pub(super) fn new(partitions: u32) -> Books {
        let (acknowledged, seen) = (Ledger::new(partitions), Ledger::new(partitions));
        Books { acknowledged, seen, consumed: Consumed::default() }
    }
}

/// Records by partition and offset.
pub(super) struct Ledger {
    partitions: Vec<Vec<Option<Digest>>>,
    entries: u64,
    contradictions: u64,
}

impl Ledger {
    pub(super) fn new(partitions: u32) -> Ledger {
        Ledger { partitions: (0..partitions).map(|_| Vec::new()).collect(), entries: 0, contradictions: 0 }
    }

    /// Enters records. One that stands at the same place with another body is a contradiction.
    pub(super) fn enter(&mut self, span: &Span) {
        let Some(partition) = self.partitions.get_mut(span.partition as usize) else {
            self.contradictions += span.bodies.len() as u64;
            return;
        };
        for (offset, &body) in (span.first_offset as usize..).zip(&span.bodies) {
            if partition.len() <= offset {
                partition.resize(offset + 1, None);
            }
            match partition[offset].replace(body) {
                None => self.entries += 1,
                Some(before) => self.contradictions += u64::from(before != body),
            }
        }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Entries that `found` does not hold at the same place, and entries that contradicted each other.
    pub(super) fn broken_by(&self, found: &[Vec<Digest>]) -> u64 {
        let mut broken = self.contradictions;
        for (partition, entries) in self.partitions.iter().enumerate() {
            let found = found.get(partition).map_or(&[][..], Vec::as_slice);
            for (offset, entry) in entries.iter().enumerate() {
                broken += u64::from(entry.is_some() && found.get(offset) != entry.as_ref());
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::digest;

    fn span(first_offset: u64, bodies: &[&str]) -> Span {
        Span { partition: 0, first_offset, bodies: bodies.iter().map(|body| digest(body.as_bytes())).collect() }
    }

    #[test]
    fn entries_that_are_found_again_are_kept() {
        let mut ledger = Ledger::new(1);
        ledger.enter(&span(0, &["a"]));
        ledger.enter(&span(2, &["c"]));
        ledger.enter(&span(0, &["a"]));
        assert_eq!(ledger.entries(), 2);
        assert_eq!(ledger.broken_by(&[span(0, &["a", "b", "c"]).bodies]), 0);
    }

    #[test]
    fn a_missing_or_changed_entry_breaks_the_promise() {
        let mut ledger = Ledger::new(1);
        ledger.enter(&span(0, &["a", "b", "c"]));
        assert_eq!(ledger.broken_by(&[span(0, &["a", "b"]).bodies]), 1);
        assert_eq!(ledger.broken_by(&[span(0, &["a", "x", "c"]).bodies]), 1);
        assert_eq!(ledger.broken_by(&[]), 3);
    }

    #[test]
    fn an_offset_told_twice_with_different_bodies_is_counted() {
        let mut ledger = Ledger::new(1);
        ledger.enter(&span(0, &["a"]));
        ledger.enter(&span(0, &["b"]));
        assert_eq!(ledger.broken_by(&[span(0, &["b"]).bodies]), 1);
    }
}
