//! What calls on consumer groups answer with. These types may grow; nobody but the library makes them.

use super::records::{RecordView, Records};
use crate::primitives::streams::groups::{Assignor, GroupStart};

/// What a poll brought. One that tells of partitions brings no records.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Polled {
    /// At most one batch of each partition.
    pub records: Vec<Records>,
    /// Partitions that the member reads from now on, or reads anew because their offsets were reset.
    pub assigned: Vec<u32>,
    /// Partitions that the member is to give up. Its next poll or commit does so: commit by then what was done of them.
    /// Of those that were taken away already a commit is refused.
    pub revoked: Vec<u32>,
}

impl Polled {
    /// All records, partition by partition.
    pub fn iter(&self) -> impl Iterator<Item = RecordView<'_>> {
        self.records.iter().flatten()
    }
}

/// What there is to know of a consumer group.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// Where it began.
    pub start: GroupStart,
    /// How partitions are shared.
    pub assignor: Assignor,
    /// Counts changes of its members and of who owns what.
    pub generation: u64,
    /// Its members, those that are away too.
    pub members: Vec<MemberDescription>,
    /// Its partitions, by number.
    pub partitions: Vec<GroupPartition>,
}

impl GroupDescription {
    /// Records that are yet to be consumed, in all partitions.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.lag).sum()
    }
}

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MemberDescription {
    /// Its place in the group; another may have it later.
    pub seat: u32,
    /// The id that it gave itself.
    pub member_id: Option<String>,
    /// Its process; `None` while that is away.
    pub pid: Option<u32>,
    /// `false` if its process has ended and it may come back.
    pub is_alive: bool,
}

/// A partition, as its group sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct GroupPartition {
    /// Its number.
    pub partition: u32,
    /// The seat of the member that owns it.
    pub owner: Option<u32>,
    /// The seat of the member that it goes to, while its owner is to give it up.
    pub next_owner: Option<u32>,
    /// The generation in which it got its owner, or lost it.
    pub epoch: u64,
    /// The next offset to be consumed, as it was committed; `None` before the first commit.
    pub committed: Option<u64>,
    /// The first offset that is not there yet.
    pub end_offset: u64,
    /// Offsets from the committed one on, or from the start.
    pub lag: u64,
}

/// How far a partition is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PartitionLag {
    /// Its number.
    pub partition: u32,
    /// The next offset to be read.
    pub next_offset: u64,
    /// The first offset that is not there yet.
    pub end_offset: u64,
}

impl PartitionLag {
    /// How many offsets lie between.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.end_offset.saturating_sub(self.next_offset)
    }
}
