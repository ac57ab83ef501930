//! Records on their way from a member to who works on them one by one, and what of them is done.
//!
//! * A record is *done* when the next one is asked for, or when its taker commits.
//! * What is committed of a partition never lies behind its last record that is done.
//! * A partition that is to be given up, or is owned anew, has nothing here that was polled before: it is dropped and
//!   not committed.
//! * Where the member reads on by itself after the delivery has ended is at the first record that is not done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::task::Poll;

use crate::api::commit_options::CommitOptions;
use crate::api::error::Error;
use crate::api::group_outcomes::Polled;
use crate::api::records::{OwnedRecord, Records};
use crate::base::sync::{Arc, AtomicBool, Ordering};
use crate::base::time::BootTime;
use crate::storage::disk::clock;

use super::Member;

/// Records that are polled at a time.
const RECORDS_PER_POLL: usize = 500;

/// How often who has records in hand looks whether partitions are to be given up.
const LOOK_MICROS: u64 = 100_000;

#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub(super) member: &'a mut Member,
    options: CommitOptions,
    /// Polled and not handed out yet: batches, and how many of each were handed out.
    waiting: VecDeque<(Arc<Records>, usize)>,
    /// The record that was handed out last, until it is done.
    at_work: Option<(u32, u64)>,
    /// By partition, the offset behind what is done and not committed yet.
    done: BTreeMap<u32, u64>,
    /// Records that became done since the last commit.
    done_records: u64,
    committed_at: BootTime,
    looked_at: BootTime,
    /// Partitions are to be given up, and a commit that does so is due until it succeeds.
    gives_up: bool,
    /// Partitions of which something was done when they began anew: the next commit tells.
    lost: BTreeSet<u32>,
    is_over: bool,
}

/// How long to wait for a record.
#[derive(Clone, Copy)]
pub(super) enum Wait {
    No,
    Until(Option<BootTime>),
}

impl<'a> Delivery<'a> {
    pub(super) fn new(member: &'a mut Member, options: CommitOptions) -> Delivery<'a> {
        let now = clock::boot();
        Delivery {
            member,
            options,
            waiting: VecDeque::new(),
            at_work: None,
            done: BTreeMap::new(),
            done_records: 0,
            committed_at: now,
            looked_at: now,
            gives_up: false,
            lost: BTreeSet::new(),
            is_over: false,
        }
    }

    /// The record before is done.
    pub(super) fn finish(&mut self) {
        if let Some((partition, offset)) = self.at_work.take() {
            self.done.insert(partition, offset + 1);
            self.done_records += 1;
        }
    }

    /// The next record; `None` if none came in time.
    pub(super) fn next(&mut self, wait: Wait) -> Result<Option<OwnedRecord>, Error> {
        self.finish();
        loop {
            if self.is_commit_due() {
                self.commit_done()?;
            }
            if self.is_look_due()
                && let Some(news) = self.look()?
            {
                self.take_in(news)?;
            }
            if let Some(record) = self.hand_out() {
                return Ok(Some(record));
            }
            let polled = match self.member.try_poll(RECORDS_PER_POLL)? {
                None => {
                    self.commit_done()?;
                    let Wait::Until(deadline) = wait else { return Ok(None) };
                    self.member.poll_until(RECORDS_PER_POLL, true, deadline)?
                }
                polled => polled,
            };
            let Some(polled) = polled else { return Ok(None) };
            self.take_in(polled)?;
        }
    }

    /// Whether a record can be handed out, and nothing is to be done before.
    pub(super) fn is_ready(&self) -> bool {
        !(self.waiting.is_empty() || self.is_commit_due() || self.is_look_due())
    }

    /// Does what is due and polls, without blocking the thread, until there are records or news of partitions. Ends
    /// early once it is to stop.
    pub(super) async fn turn(&mut self, stop: &AtomicBool) -> Result<(), Error> {
        if self.is_commit_due() {
            self.commit_done_async(stop).await?;
        }
        if self.is_look_due()
            && let Some(news) = self.look()?
        {
            return self.take_in_async(news, stop).await;
        }
        if !self.waiting.is_empty() {
            return Ok(());
        }
        let polled = match self.member.try_poll(RECORDS_PER_POLL)? {
            None => {
                self.commit_done_async(stop).await?;
                match unless_stopped(stop, self.member.poll_async(RECORDS_PER_POLL)).await {
                    Some(polled) => polled?,
                    None => return Ok(()),
                }
            }
            Some(polled) => polled,
        };
        self.take_in_async(polled, stop).await
    }

    pub(super) fn hand_out(&mut self) -> Option<OwnedRecord> {
        let (records, handed_out) = self.waiting.front_mut()?;
        let record = OwnedRecord::of(records, *handed_out);
        *handed_out += 1;
        if *handed_out == records.len() {
            self.waiting.pop_front();
        }
        self.at_work = Some((record.partition(), record.offset()));
        Some(record)
    }

    fn is_commit_due(&self) -> bool {
        let is_due = || {
            let micros = u64::try_from(self.options.interval.as_micros()).unwrap_or(u64::MAX);
            self.done_records >= self.options.records || clock::boot().since(self.committed_at) >= micros
        };
        !self.options.is_manual && (self.gives_up || !self.done.is_empty() && is_due())
    }

    /// Without records in hand the next poll tells the same.
    fn is_look_due(&self) -> bool {
        !self.waiting.is_empty() && clock::boot().since(self.looked_at) >= LOOK_MICROS
    }

    fn look(&mut self) -> Result<Option<Polled>, Error> {
        self.looked_at = clock::boot();
        self.member.look()
    }

    /// Commits what is done, unless its taker does. What has moved on is read again by others.
    fn commit_done(&mut self) -> Result<(), Error> {
        if self.options.is_manual {
            return Ok(());
        }
        let committed = self.member.commit_offsets(&self.offsets(), self.options.level);
        self.committed(committed).map(drop)
    }

    async fn commit_done_async(&mut self, stop: &AtomicBool) -> Result<(), Error> {
        if self.options.is_manual {
            return Ok(());
        }
        let (offsets, level) = (self.offsets(), self.options.level);
        match unless_stopped(stop, self.member.commit_offsets_async(&offsets, level)).await {
            Some(committed) => self.committed(committed).map(drop),
            // It is stored or not, and is stored again.
            None => Ok(()),
        }
    }

    /// Commits all that was handed out.
    pub(super) fn commit(&mut self) -> Result<(), Error> {
        self.finish();
        let committed = self.member.commit_offsets(&self.offsets(), self.options.level);
        self.tell_moved(committed)
    }

    pub(super) async fn commit_async(&mut self) -> Result<(), Error> {
        self.finish();
        let committed = self.member.commit_offsets_async(&self.offsets(), self.options.level).await;
        self.tell_moved(committed)
    }

    fn offsets(&self) -> Vec<(u32, u64)> {
        self.done.iter().map(|(partition, offset)| (*partition, *offset)).collect()
    }

    /// Nothing is left to be committed; tells of which partitions nothing was stored.
    fn committed(&mut self, committed: Result<(), Error>) -> Result<BTreeSet<u32>, Error> {
        let moved = match committed {
            Ok(()) => Vec::new(),
            Err(Error::PartitionsMoved { partitions, .. }) => partitions,
            Err(error) => return Err(error),
        };
        self.done.clear();
        (self.gives_up, self.done_records, self.committed_at) = (false, 0, clock::boot());
        self.drop_waiting(&moved);
        Ok(moved.into_iter().collect())
    }

    fn tell_moved(&mut self, committed: Result<(), Error>) -> Result<(), Error> {
        let mut moved = self.committed(committed)?;
        moved.append(&mut self.lost);
        if moved.is_empty() {
            return Ok(());
        }
        let partitions = moved.into_iter().collect();
        Err(Error::PartitionsMoved { group: self.member.group().name().to_owned(), partitions })
    }

    fn take_in(&mut self, polled: Polled) -> Result<(), Error> {
        self.learn(polled);
        if self.gives_up { self.commit_done() } else { Ok(()) }
    }

    async fn take_in_async(&mut self, polled: Polled, stop: &AtomicBool) -> Result<(), Error> {
        self.learn(polled);
        if self.gives_up { self.commit_done_async(stop).await } else { Ok(()) }
    }

    fn learn(&mut self, polled: Polled) {
        let Polled { records, assigned, revoked } = polled;
        // Whoever commits them later by what the member has polled must not pass over what nobody was given.
        let mut undone = self.undone();
        undone.retain(|partition, _| revoked.contains(partition));
        self.member.rewind(&undone);
        self.drop_waiting(&revoked);
        self.drop_waiting(&assigned);
        for partition in assigned {
            if self.done.remove(&partition).is_some() && self.options.is_manual {
                self.lost.insert(partition);
            }
        }
        self.waiting.extend(records.into_iter().map(|records| (Arc::new(records), 0)));
        self.gives_up |= !revoked.is_empty();
    }

    /// By partition, the first record that is not done of those that were polled.
    fn undone(&self) -> BTreeMap<u32, u64> {
        let mut next: BTreeMap<u32, u64> = BTreeMap::new();
        for (records, handed_out) in self.waiting.iter().rev() {
            next.insert(records.partition(), OwnedRecord::of(records, *handed_out).offset());
        }
        next.extend(self.at_work);
        next
    }

    fn drop_waiting(&mut self, partitions: &[u32]) {
        self.waiting.retain(|(records, _)| !partitions.contains(&records.partition()));
    }

    /// What goes on after this error is another member.
    pub(super) fn note(&mut self, error: Error) -> Error {
        use Error::{Closed, Forked, MemberEnded, Poisoned};
        self.is_over |= matches!(error, MemberEnded { .. } | Closed | Forked | Poisoned);
        error
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

/// What the future comes to, unless it is to be left before. It looks for that whenever it is polled.
async fn unless_stopped<F: Future>(stop: &AtomicBool, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| match stop.load(Ordering::Relaxed) {
        true => Poll::Ready(None),
        false => future.as_mut().poll(context).map(Some),
    })
    .await
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        let undone = self.undone();
        self.member.rewind(&undone);
        if !self.options.is_manual {
            self.member.issue_offsets(&self.offsets());
        }
    }
}
