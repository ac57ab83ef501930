//! What may be asked of groups, and why it may be refused.

use super::state::Seat;
use crate::engine::machine::Class;
use crate::primitives::streams::command::StreamHandle;

/// A request that may be refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command<'a> {
    /// Creates the group with this name, or finds it; `Mismatch` if an option that is named is not its.
    Open { stream: StreamHandle, name: &'a str, options: GroupOptions },
    /// Ends a group that has no living member.
    Delete { group: u64 },
    /// Makes the caller a member.
    Join(Join<'a>),
    /// Ends a member, which gives up what it owns.
    Leave { member: MemberHandle },
    /// As the end of its process: a member with an id of its own keeps what it owns for a while, another leaves.
    Abandon { member: MemberHandle },
    /// Tells that a member polls.
    Touch { member: MemberHandle },
    /// Stores offsets of partitions that the member owns, and gives up others that are being revoked.
    Commit(Commit<'a>),
    /// Stores offsets whoever owns the partitions; the owners go on from there, under new epochs.
    Reset { group: u64, offsets: &'a [(u32, u64)] },
    /// Ends members and ownerships whose time is over: the tick.
    Expire { group: u64 },
    /// A process has ended, and its members with it.
    EndProcess { process: Process },
    /// An attached process has become the host, and its members are in the host's own process from now on.
    Adopt { process: Process },
    /// The host begins: members of the one before, in its own process, are over. To be asked until there is no more.
    BeginLife,
}

impl Command<'_> {
    pub(crate) fn class(&self) -> Class {
        match self {
            Command::Open { .. } | Command::Join(_) => Class::Publish,
            Command::Delete { .. } | Command::Leave { .. } | Command::Abandon { .. } => Class::Settle,
            Command::Touch { .. } | Command::Commit(_) | Command::Reset { .. } => Class::Settle,
            Command::Expire { .. } | Command::EndProcess { .. } => Class::Settle,
            Command::Adopt { .. } | Command::BeginLife => Class::Settle,
        }
    }
}

/// Where a group begins, partition by partition.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum GroupStart {
    /// At the first record that there is.
    #[default]
    Earliest,
    /// Behind the records that there are when the group is created.
    Latest,
}

/// How partitions are shared among members.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Assignor {
    /// Sizes that differ by at most one, then as few moves as possible.
    #[default]
    Uniform,
    /// Stretches of successive partitions, in the order of the members.
    Range,
}

/// What a group is created with; what is not named may be as it is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct GroupOptions {
    pub(crate) start: Option<GroupStart>,
    pub(crate) assignor: Option<Assignor>,
}

/// Where a member is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Process {
    Host,
    /// The attached process with this session.
    Attached(u64),
}

/// Names a member as it was told when it joined.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct MemberHandle {
    pub(crate) group: u64,
    pub(crate) seat: Seat,
    /// The generation that it began: no other member of the group has it.
    pub(crate) joined: u64,
}

/// A new member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Join<'a> {
    pub(crate) group: u64,
    pub(crate) process: Process,
    /// An id of its own, under which it comes back.
    pub(crate) member_id: Option<&'a str>,
    /// After this long without a poll or a commit it is over; 0: never. With an id of its own, also after this long
    /// without its process.
    pub(crate) session_timeout_micros: u64,
    /// How long it may go on with a partition that is being revoked.
    pub(crate) rebalance_timeout_micros: u64,
}

/// An offset to commit: the next one to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    pub(crate) partition: u32,
    /// Of the ownership under which it was read.
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
}

/// An ownership of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    pub(crate) partition: u32,
    pub(crate) epoch: u64,
}

/// What a member has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Commit<'a> {
    pub(crate) member: MemberHandle,
    pub(crate) positions: &'a [Position],
    /// Partitions that it was told to give up, and has.
    pub(crate) released: &'a [Held],
}

/// Why a command was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// No such group, or it was deleted since.
    NotFound,
    /// The member is over: it left, its time passed, or another joined with its id.
    NotAMember,
    /// The group has members that live.
    InUse { members: u64 },
    /// A committed offset cannot be behind the end of its partition.
    BeyondEnd { partition: u32, offset: u64, start: u64, end: u64 },
}
