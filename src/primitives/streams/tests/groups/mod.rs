//! Consumer groups: `rules.rs` states the rules one by one, `bytes.rs` holds events and rows to their bytes, `world.rs`
//! holds the machine against a naive model over generated histories.

mod bytes;
mod rules;
mod world;

use super::*;
use crate::primitives::streams::groups;
use crate::primitives::streams::groups::{
    Assignor, Command as OfGroups, Commit, Event as GroupEvent, GroupOptions, GroupStart, Held, Join, MemberHandle,
    Position, Process, Refusal as GroupRefusal, Reply as GroupReply, row_keys,
};

const SECOND: u64 = 1_000_000;

/// The keys of all rows of groups.
pub(super) fn rows_of(state: &State) -> Vec<RowKey> {
    row_keys(state.groups())
}

fn join(group: u64, process: Process) -> Join<'static> {
    let (session_timeout_micros, rebalance_timeout_micros) = (0, 60 * SECOND);
    Join { group, process, member_id: None, session_timeout_micros, rebalance_timeout_micros }
}

fn with_id(group: u64, process: Process, id: &str) -> Join<'_> {
    Join { member_id: Some(id), session_timeout_micros: 45 * SECOND, ..join(group, process) }
}

/// Who owns each partition and whose it is to be, by their seats.
fn owners(state: &State, group: u64) -> Vec<(u32, u32)> {
    let group = state.groups().get(group).expect("the group is there");
    group.claims().iter().map(|claim| (claim.owner, claim.target)).collect()
}
