//! Consumer groups: members that share the partitions of a stream among them, and how far each partition is consumed.
//!
//! A group belongs to a stream and has a *claim* on each of its partitions: who owns it, whose it is to be, and the
//! committed offset, the next one to read. An ownership has an *epoch*, the generation in which it began, and only the
//! owner of that epoch commits. A member has a *seat*, which another takes once it has left.
//!
//! A rebalance moves only what must move. What is free goes to whom it is assigned at once. What a living member owns
//! is *being revoked*: the owner goes on until it releases the partition, or its rebalance timeout has passed. Every
//! change of members, partitions or owners is a new *generation*.
//!
//! Deadlines are on the boot clock. A [`Moment`] says on which one, and under another it counts as having been when
//! that one began. A group goes with its stream. Like a producer it takes the number of a log, which never holds a
//! record: what knows when logs are due knows it of groups too.
//!
//! | file         | holds                                                      |
//! |--------------|------------------------------------------------------------|
//! | `command.rs` | requests, refusals                                         |
//! | `reply.rs`   | answers and their bytes                                    |
//! | `event.rs`   | facts and their bytes                                      |
//! | `state.rs`   | what is known of groups, and how facts change it           |
//! | `rows.rs`    | the state as rows of the checkpoint                        |
//! | `assign.rs`  | which member is to own which partition                     |
//! | `decide.rs`  | which commands are accepted                                |
//! | `settle.rs`  | what becomes of claims when members come and go            |
//! | `overlay.rs` | several commands in one frame                              |
//!
//! [`Moment`]: state::Moment

mod assign;
mod command;
mod decide;
mod event;
mod overlay;
mod reply;
mod rows;
mod settle;
mod state;

pub use command::{Assignor, GroupStart};
pub(crate) use command::{Command, Commit, GroupOptions, Held, Join, MemberHandle, Position, Process, Refusal};
pub(super) use decide::{check_growth, decide, grow, leave_with_stream};
pub(crate) use event::Event;
pub(super) use overlay::{Changes, Layer, View};
pub(crate) use reply::Reply;
#[cfg(all(test, not(loom)))]
pub(super) use rows::row_keys;
pub(crate) use rows::{claims_row, group_row, member_row, number_of_row};
pub(super) use rows::{is_kind, load, row};
pub(crate) use state::TOUCHES_TOLD;
pub(super) use state::{Cells, make_true};
#[cfg(all(test, not(loom)))]
pub(super) mod events {
    pub(crate) use super::event::{Assigned, Change, Committed, Created, Deleted, Joined, Reset};
}
#[cfg(any(test, feature = "sim"))]
pub(crate) use state::Group;
pub(crate) use state::{Claim, Groups, Member, Owned, Seat};
