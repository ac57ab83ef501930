//! A thread of each process that is a member of one consumer group with all others: it reads what it owns, commits, and
//! joins again when it is told that it is a member no longer.

use std::thread::sleep;
use std::time::Duration;

use towpath::{Error, GroupOptions, Level, Member, MemberOptions, Polled};

use crate::book::{Step, WriteId, add_to_sum};
use crate::content::sum_of;
use crate::place::executor::block_on;
use crate::writers::{Desk, Then};

/// The group, which consumes the first stream.
pub const GROUP: &str = "billing";

const RECORDS_MAX: u64 = 60;

/// The longest rest between two polls: longer than the shorter rebalance timeout now and then.
const REST_MICROS: u64 = 15_000;
const LONG_REST_MICROS: u64 = 400_000;
const LONG_REST_ONE_IN: u64 = 60;

const REBALANCE_MILLIS: [u64; 2] = [100, 60_000];
const SESSION_MILLIS: u64 = 300;

impl Desk<'_> {
    pub fn consume(&mut self) {
        while self.live_as_member() == Then::GoOn {}
    }

    /// From joining to the end of the membership.
    fn live_as_member(&mut self) -> Then {
        let mut member = match self.join() {
            Ok(member) => member,
            Err(error) => return self.fail_as_member("joining", error),
        };
        self.book.tell(&Step::Joined { member: self.thread });
        loop {
            let done = match self.poll(&mut member) {
                Ok(polled) => self.take_in(&mut member, polled),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                return self.fail_as_member("consuming", error);
            }
            if self.chance.below(100) == 0 {
                return match member.leave() {
                    Ok(()) => Then::GoOn,
                    Err(error) => self.fail_as_member("leaving", error),
                };
            }
            self.rest_as_member();
        }
    }

    fn join(&mut self) -> Result<Member, Error> {
        let rebalance = Duration::from_millis(REBALANCE_MILLIS[self.chance.below(2) as usize]);
        let options = MemberOptions::new().rebalance_timeout(rebalance);
        let options = match self.book.process % 4 {
            0 => options.session_timeout(Duration::from_millis(SESSION_MILLIS)),
            1 => options.member_id("till").session_timeout(Duration::from_millis(SESSION_MILLIS)),
            _ => options,
        };
        self.streams[0].group(GROUP, GroupOptions::new())?.join(options)
    }

    /// In any form of asking.
    fn poll(&mut self, member: &mut Member) -> Result<Option<Polled>, Error> {
        let max = 1 + self.chance.below(RECORDS_MAX) as usize;
        match self.chance.below(4) {
            0 => block_on(member.poll_async(max)).map(Some),
            1 => member.poll(max).map(Some),
            2 => member.try_poll(max),
            _ => member.poll_timeout(max, Duration::from_micros(self.chance.below(REST_MICROS))),
        }
    }

    fn take_in(&mut self, member: &mut Member, polled: Option<Polled>) -> Result<(), Error> {
        let Some(polled) = polled else { return Ok(()) };
        for partition in &polled.assigned {
            // It may have been another's meanwhile.
            self.consumed.remove(partition);
            self.book.tell(&Step::Owned { member: self.thread, partition: *partition });
        }
        for records in &polled.records {
            let Some(first) = records.iter().next() else { continue };
            let sum = records.iter().fold(0, |sum, record| add_to_sum(sum, sum_of(&record)));
            let (partition, first, records) = (first.partition(), first.offset(), records.len() as u64);
            self.book.tell(&Step::Polled { member: self.thread, partition, first, records, sum });
            self.consumed.insert(partition, first + records);
        }
        for partition in &polled.revoked {
            self.consumed.remove(partition);
        }
        if self.chance.below(3) > 0 { self.commit(member) } else { Ok(()) }
    }

    /// Commits what was polled of the partitions that it still owns.
    fn commit(&mut self, member: &mut Member) -> Result<(), Error> {
        let offsets: Vec<(u32, u64)> = self.consumed.iter().map(|(partition, next)| (*partition, *next)).collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let level = if self.chance.below(3) == 0 { Level::Sync } else { Level::Buffered };
        let commit = self.next_write_id();
        self.book.tell(&Step::Committing { commit, offsets: offsets.clone() });
        match member.commit_offsets(&offsets, level) {
            Ok(()) => self.told_committed(commit, &[]),
            Err(Error::PartitionsMoved { partitions, .. }) => {
                self.told_committed(commit, &partitions);
                self.consumed.retain(|partition, _| !partitions.contains(partition));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn told_committed(&self, commit: WriteId, moved: &[u32]) {
        self.book.tell(&Step::Committed { commit, moved: moved.to_vec() });
    }

    fn rest_as_member(&mut self) {
        let micros = if self.chance.below(LONG_REST_ONE_IN) == 0 { LONG_REST_MICROS } else { REST_MICROS };
        sleep(Duration::from_micros(self.chance.below(micros)));
    }

    /// A membership may end, with its session say; nobody else's errors are expected.
    fn fail_as_member(&mut self, attempt: &str, error: Error) -> Then {
        self.consumed.clear();
        match error {
            Error::MemberEnded { .. } | Error::OutcomeUnknown | Error::Unconfirmed => Then::GoOn,
            Error::TimedOut | Error::StorageFull => {
                sleep(Duration::from_millis(5));
                Then::GoOn
            }
            error => self.fail(attempt, &error),
        }
    }
}
