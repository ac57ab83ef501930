//! How a consumer group is created, and how a member joins it.

use std::time::Duration;

use crate::primitives::streams::groups::{self, Assignor, GroupStart};

/// How long a member may go on with a partition that is being revoked, unless it names another time.
const REBALANCE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// The session timeout of members with an id of their own, unless they name another.
const SESSION_TIMEOUT_OF_STATIC: Duration = Duration::from_secs(45);

/// What a consumer group is created with. A group that exists may be as it is in what is not named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupOptions {
    start: Option<GroupStart>,
    assignor: Option<Assignor>,
}

impl GroupOptions {
    /// From the first record on, partitions shared evenly with as few moves as possible.
    #[must_use]
    pub fn new() -> GroupOptions {
        GroupOptions::default()
    }

    /// Where the group begins.
    #[must_use]
    pub fn start(self, start: GroupStart) -> GroupOptions {
        GroupOptions { start: Some(start), ..self }
    }

    /// How partitions are shared.
    #[must_use]
    pub fn assignor(self, assignor: Assignor) -> GroupOptions {
        GroupOptions { assignor: Some(assignor), ..self }
    }

    pub(super) fn to_machine(self) -> groups::GroupOptions {
        groups::GroupOptions { start: self.start, assignor: self.assignor }
    }
}

/// How a member joins its group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberOptions {
    pub(super) member_id: Option<String>,
    session_timeout: Option<Duration>,
    rebalance_timeout: Duration,
}

impl Default for MemberOptions {
    fn default() -> MemberOptions {
        MemberOptions::new()
    }
}

impl MemberOptions {
    /// No id of its own, no session timeout, 60 s to give up a partition.
    #[must_use]
    pub fn new() -> MemberOptions {
        MemberOptions { member_id: None, session_timeout: None, rebalance_timeout: REBALANCE_TIMEOUT_DEFAULT }
    }

    /// An id of its own, by which the member keeps its partitions while it is away: who joins with the same id within
    /// the session timeout (45 s unless named) goes on with them, and a member that still has the id is over.
    #[must_use]
    pub fn member_id(self, id: impl Into<String>) -> MemberOptions {
        MemberOptions { member_id: Some(id.into()), ..self }
    }

    /// The member is over once it has neither polled nor committed for so long, or up to half as long again. For
    /// programs that may hang while their process lives: the end of a process ends its members, whatever the timeout.
    /// A poll that waits counts all the time, blocking a thread or not.
    #[must_use]
    pub fn session_timeout(self, timeout: Duration) -> MemberOptions {
        MemberOptions { session_timeout: Some(timeout), ..self }
    }

    /// How long the member may go on with a partition that it was told to give up, before it is taken away.
    #[must_use]
    pub fn rebalance_timeout(self, timeout: Duration) -> MemberOptions {
        MemberOptions { rebalance_timeout: timeout, ..self }
    }

    /// 0: none.
    pub(super) fn session_timeout_micros(&self) -> u64 {
        let of_static = self.member_id.as_ref().map(|_| SESSION_TIMEOUT_OF_STATIC);
        self.session_timeout.or(of_static).map_or(0, micros)
    }

    pub(super) fn rebalance_timeout_micros(&self) -> u64 {
        micros(self.rebalance_timeout)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
