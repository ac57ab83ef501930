//! When records that a member hands out one by one are committed.

use std::time::Duration;

use crate::base::level::Level;

/// Records after which a commit is due, unless another number is named.
const RECORDS_DEFAULT: u64 = 1_000;

/// The time after which a commit is due, unless another is named.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// When [`Member::records`](crate::Member::records) commits the records that are done.
///
/// A record is done when the one after it is asked for. What is done is committed once there is enough of it or it has
/// waited for long enough, both looked at whenever a record is asked for; before a wait for more; when partitions are
/// revoked; and at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitOptions {
    pub(super) records: u64,
    pub(super) interval: Duration,
    pub(super) level: Level,
    pub(super) is_manual: bool,
}

impl Default for CommitOptions {
    fn default() -> CommitOptions {
        CommitOptions::new()
    }
}

impl CommitOptions {
    /// After 1,000 records or a second, whichever comes first, at [`Level::Buffered`].
    #[must_use]
    pub fn new() -> CommitOptions {
        CommitOptions { records: RECORDS_DEFAULT, interval: INTERVAL_DEFAULT, level: Level::Buffered, is_manual: false }
    }

    /// Nothing is committed but by [`MemberRecords::commit`](crate::MemberRecords::commit), not even when partitions
    /// are revoked: what was not committed by then is read again by their next owner.
    #[must_use]
    pub fn manual() -> CommitOptions {
        CommitOptions { is_manual: true, ..CommitOptions::new() }
    }

    /// A commit is due after so many records; with 1 after each.
    #[must_use]
    pub fn every_records(self, records: u64) -> CommitOptions {
        CommitOptions { records, ..self }
    }

    /// A commit is due when the last one is so long ago.
    #[must_use]
    pub fn every(self, interval: Duration) -> CommitOptions {
        CommitOptions { interval, ..self }
    }

    /// At this level: at [`Level::Sync`] a commit waits for the disk.
    #[must_use]
    pub fn level(self, level: Level) -> CommitOptions {
        CommitOptions { level, ..self }
    }
}
