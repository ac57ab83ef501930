//! Which logs are the partitions of a stream, and since when.
//!
//! A stream is created with a span of successive logs and gets a further span each time partitions are added. A
//! *mapping* is the number of partitions from one such moment to the next; mappings are numbered from 1 by their epoch.
//! An append is decided against the mapping it was routed by, and the journal orders everything: so what stands in a
//! partition below the address at which a mapping began belongs to the mappings before it, and nothing else does.
//!
//! Invariants: a partition keeps its number and its log. Logs of a later span are above those of an earlier one. No
//! mapping began below the address of the one before.

use super::event::Span;
use crate::base::bounds::{MAPPINGS_MAX, PARTITIONS_MAX};
use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::log::LogId;
use crate::base::lsn::Lsn;

/// The number of partitions that a stream had from one moment on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mapping {
    pub(crate) epoch: u32,
    pub(crate) partitions: u32,
    /// Start of the frame that made it so; 0 for the mapping that the stream was created with.
    pub(crate) since: Lsn,
}

/// Every mapping that a stream had, and the logs of its partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mappings {
    created: Span,
    added: Vec<Added>,
    /// Of all spans together.
    partitions: u32,
}

/// Partitions that were added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Added {
    span: Span,
    since: Lsn,
}

impl Mappings {
    pub(crate) fn new(created: Span) -> Mappings {
        Mappings { created, added: Vec::new(), partitions: created.partitions }
    }

    #[inline]
    pub(crate) fn stream(&self) -> u64 {
        self.created.stream
    }

    #[inline]
    pub(crate) fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Of the newest mapping.
    pub(crate) fn epoch(&self) -> u32 {
        1 + self.added.len() as u32
    }

    /// # Panics
    /// If there is no such partition.
    #[inline]
    pub(crate) fn log(&self, partition: u32) -> LogId {
        if partition < self.created.partitions {
            return self.created.log(partition);
        }
        self.log_added(partition).expect("a partition that the stream has")
    }

    pub(crate) fn get(&self, partition: u32) -> Option<LogId> {
        (partition < self.partitions).then(|| self.log(partition))
    }

    #[cold]
    fn log_added(&self, partition: u32) -> Option<LogId> {
        let mut index = partition - self.created.partitions;
        for Added { span, .. } in &self.added {
            if index < span.partitions {
                return Some(span.log(index));
            }
            index -= span.partitions;
        }
        None
    }

    /// By the numbers of their partitions.
    pub(crate) fn spans(&self) -> impl DoubleEndedIterator<Item = Span> {
        std::iter::once(self.created).chain(self.added.iter().map(|added| added.span))
    }

    /// Of all partitions, by their numbers.
    pub(crate) fn logs(&self) -> impl Iterator<Item = LogId> {
        self.spans().flat_map(|span| span.logs())
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Mapping> {
        let first = Mapping { epoch: 1, partitions: self.created.partitions, since: Lsn(0) };
        let later = self.added.iter().scan(first, |last, Added { span, since }| {
            *last = Mapping { epoch: last.epoch + 1, partitions: last.partitions + span.partitions, since: *since };
            Some(*last)
        });
        std::iter::once(first).chain(later)
    }

    pub(super) fn add(&mut self, span: Span, since: Lsn) {
        let last = self.added.last().map_or(self.created, |added| added.span);
        assert!(span.first_log > last.log(last.partitions - 1), "ids of logs are given in order");
        self.partitions += span.partitions;
        self.added.push(Added { span, since });
    }

    /// Takes the newest span back; `false` if it is the one that the stream was created with.
    pub(super) fn remove(&mut self, span: &Span) -> bool {
        if *span == self.created && self.added.is_empty() {
            return false;
        }
        let added = self.added.pop().expect("a span that was added");
        assert_eq!(added.span, *span, "spans go in the order opposite to that in which they came");
        self.partitions -= span.partitions;
        true
    }

    /// Bytes of what was added.
    pub(crate) fn added_len(&self) -> usize {
        self.added.iter().map(|added| added.fields().map(varint_len).into_iter().sum::<usize>()).sum()
    }

    pub(crate) fn put_added(&self, out: &mut Put<'_>) {
        self.added.iter().for_each(|added| out.varints(added.fields()));
    }

    /// The mappings up to this epoch of a stream that was created with this span.
    pub(crate) fn take_added(created: Span, epoch: u32, take: &mut Take<'_>) -> Result<Mappings, Malformed> {
        let mut mappings = Mappings::new(created.checked()?);
        if !(1..=MAPPINGS_MAX).contains(&epoch) {
            return Err(Malformed("a stream without a mapping, or with too many"));
        }
        let (mut next_log, mut least) = (created.first_log.0 + u64::from(created.partitions), Lsn(0));
        for _ in 1..epoch {
            let first_log = LogId(take.varint()?);
            let span = Span { first_log, partitions: take.varint32()?, ..created }.checked()?;
            let since = Lsn(take.varint()?);
            if first_log.0 < next_log || since < least || mappings.partitions + span.partitions > PARTITIONS_MAX {
                return Err(Malformed("partitions that cannot have been added"));
            }
            (next_log, least) = (first_log.0 + u64::from(span.partitions), since);
            mappings.add(span, since);
        }
        Ok(mappings)
    }
}

impl Added {
    fn fields(&self) -> [u64; 3] {
        [self.span.first_log.0, u64::from(self.span.partitions), self.since.0]
    }
}
