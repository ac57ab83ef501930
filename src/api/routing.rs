//! Which stream a handle and its clones stand for, and where records go.
//!
//! Partitions may be added at any time, by any process. A handle keeps the number that it was told last: one relaxed
//! load, by which a whole append is routed. The host refuses an append that was routed by an older number and tells the
//! newer one; then the append is routed again. So nothing is stored under another mapping than it was routed by.

use crate::base::bounds::{HEADERS_PER_BATCH_MAX, RECORDS_PER_BATCH_MAX, REROUTES_MAX};
use crate::base::log::LogId;
use crate::base::sync::{Arc, AtomicU32, Ordering};
use crate::engine::Refused;
use crate::primitives::streams::{self, Append, Group, Mappings, Record, StreamHandle};
use crate::primitives::{Command, Refusal};
use crate::processes::questions::FoundStream;

use super::error::Error;
use super::sticky::{Spread, Sticky};
use super::stream_options::AppendOptions;

/// What the clones of a handle share.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(super) name: Arc<str>,
    pub(super) handle: StreamHandle,
    /// Of the newest mapping that this handle was told of; never less than before.
    partitions: AtomicU32,
    /// As they were when the handle was made.
    mappings: Mappings,
    sticky: Sticky,
}

impl Routing {
    pub(super) fn new(name: &str, found: FoundStream, spread: &Spread) -> Routing {
        let FoundStream { handle, mappings } = found;
        let partitions = mappings.partitions();
        let sticky = Sticky::new(partitions, spread);
        Routing { name: name.into(), handle, partitions: AtomicU32::new(partitions), mappings, sticky }
    }

    #[inline]
    pub(super) fn partitions(&self) -> u32 {
        self.partitions.load(Ordering::Relaxed)
    }

    pub(super) fn learn(&self, partitions: u32) {
        self.partitions.fetch_max(partitions, Ordering::Relaxed);
    }

    /// Learns from a refusal that there are more partitions; `false` if it was refused for another reason.
    pub(super) fn learn_from(&self, refused: &Refused<Refusal>) -> bool {
        let Refused::Refusal(Refusal::Streams(streams::Refusal::StaleMapping { partitions, .. })) = *refused else {
            return false;
        };
        self.learn(partitions);
        true
    }

    /// What was refused is tried again as long as it was refused because partitions had been added.
    #[cold]
    #[inline(never)]
    pub(super) fn again<T>(
        &self,
        mut refused: Refused<Refusal>,
        attempt: impl Fn() -> Result<Result<T, Refused<Refusal>>, Error>,
    ) -> Result<Result<T, Refused<Refusal>>, Error> {
        for _ in 0..REROUTES_MAX {
            if !self.learn_from(&refused) {
                break;
            }
            match attempt()? {
                Err(again) => refused = again,
                done => return Ok(done),
            }
        }
        Ok(Err(refused))
    }

    /// The log of a partition that was there when the handle was made.
    pub(super) fn log(&self, partition: u32) -> Option<LogId> {
        self.mappings.get(partition)
    }

    #[inline]
    fn append_of<'a>(&self, mapping_partitions: u32, groups: &'a [Group<'a>]) -> Append<'a> {
        Append { stream: self.handle, mapping_partitions, groups }
    }

    /// Makes the command that appends one record, and does this with it.
    #[inline(always)]
    pub(super) fn with_record<T>(
        &self,
        record: &Record<'_>,
        options: &AppendOptions,
        act: impl FnOnce(&Command<'_>) -> T,
    ) -> T {
        let (partitions, partition) = self.place_of(record, options);
        let groups = [group_of(std::slice::from_ref(record), partition, options)];
        act(&Command::Streams(streams::Command::Append(self.append_of(partitions, &groups))))
    }

    /// Finds the place of one record, and does this with it.
    pub(super) fn route_record<T>(
        &self,
        record: &Record<'_>,
        options: &AppendOptions,
        act: impl FnOnce(Append<'_>) -> T,
    ) -> T {
        let (partitions, partition) = self.place_of(record, options);
        let groups = [group_of(std::slice::from_ref(record), partition, options)];
        act(self.append_of(partitions, &groups))
    }

    /// How many partitions there are, and to which of them a record goes.
    #[inline(always)]
    fn place_of(&self, record: &Record<'_>, options: &AppendOptions) -> (u32, u32) {
        let partitions = self.partitions();
        let partition = match (options.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => streams::partition_of(key, partitions),
            (None, None) if partitions == 1 => 0,
            (None, None) => self.sticky.of_record(record.user_bytes(), partitions),
        };
        (partitions, partition)
    }

    /// Makes the command that appends these records, sorted by partition, and does this with it.
    pub(super) fn with_batch<T>(
        &self,
        records: &[Record<'_>],
        options: &AppendOptions,
        act: impl FnOnce(&Command<'_>) -> T,
    ) -> Result<T, Error> {
        self.route_batch(records, options, |append| act(&Command::Streams(streams::Command::Append(append))))
    }

    /// Finds the places of these records, sorts them by partition, and does this with them.
    pub(super) fn route_batch<T>(
        &self,
        records: &[Record<'_>],
        options: &AppendOptions,
        act: impl FnOnce(Append<'_>) -> T,
    ) -> Result<T, Error> {
        if records.len() > RECORDS_PER_BATCH_MAX {
            let (max, actual) = (RECORDS_PER_BATCH_MAX as u64, records.len() as u64);
            return Err(Error::LimitExceeded { limit: "records per batch", max, actual });
        }
        check_headers(records)?;
        let partitions = self.partitions();
        let act = |groups: &[Group<'_>]| Ok(act(self.append_of(partitions, groups)));
        if let Some(partition) = self.one_partition(partitions, records, options) {
            return act(&[group_of(records, partition, options)]);
        }
        let places = self.batch_partitions(partitions, records);
        if places.windows(2).all(|pair| pair[0] == pair[1]) {
            return act(&[group_of(records, places.first().copied().unwrap_or(0), options)]);
        }
        if options.expect_offset.is_some() {
            let reason = "`expect_offset` needs all records in one partition".to_owned();
            return Err(Error::InvalidOption { option: "expect_offset", reason });
        }
        let mut order: Vec<u32> = (0..records.len() as u32).collect();
        order.sort_by_key(|&i| places[i as usize]);
        let sorted: Vec<Record<'_>> = order.iter().map(|&i| records[i as usize]).collect();
        let mut groups = Vec::new();
        let mut from = 0;
        for stretch in order.chunk_by(|&a, &b| places[a as usize] == places[b as usize]) {
            let to = from + stretch.len();
            groups.push(group_of(&sorted[from..to], places[stretch[0] as usize], options));
            from = to;
        }
        act(&groups)
    }

    /// The partition of a whole batch, if it takes no look at a key to know it.
    fn one_partition(&self, partitions: u32, records: &[Record<'_>], options: &AppendOptions) -> Option<u32> {
        match options.partition {
            Some(partition) => Some(partition),
            None if partitions == 1 || records.is_empty() => Some(0),
            None => records.iter().all(|record| record.key.is_none()).then(|| self.sticky.of_batch(partitions)),
        }
    }

    /// The partition of each record of a batch, by their keys. Those without one share a partition, and only they count
    /// as a use of it.
    fn batch_partitions(&self, partitions: u32, records: &[Record<'_>]) -> Vec<u32> {
        let mut sticky = None;
        let place = |record: &Record<'_>| match record.key {
            Some(key) => streams::partition_of(key, partitions),
            None => *sticky.get_or_insert_with(|| self.sticky.of_batch(partitions)),
        };
        records.iter().map(place).collect()
    }
}

#[inline]
fn group_of<'a>(records: &'a [Record<'a>], partition: u32, options: &AppendOptions) -> Group<'a> {
    Group { partition, expect_offset: options.expect_offset, records }
}

#[inline]
pub(super) fn check_headers(records: &[Record<'_>]) -> Result<(), Error> {
    let (max, actual) = (HEADERS_PER_BATCH_MAX, records.iter().map(|record| record.headers.len()).sum::<usize>());
    if actual <= max {
        return Ok(());
    }
    Err(Error::LimitExceeded { limit: "headers per batch", max: max as u64, actual: actual as u64 })
}
