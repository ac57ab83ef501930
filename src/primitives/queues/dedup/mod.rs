//! Dedup: a message that says an id is stored once, as far back as its entry point remembers.
//!
//! The entry point is the exchange for what is published and the queue for what is sent to it. That ids were accepted
//! is a fact of its own beside the messages, so that replay knows which of them were judged: what is moved, comes back
//! or is redriven passes, and says its id all the same. What is remembered of an id is its hash, when and where it was
//! written, and what was answered.
//!
//! A *window* remembers ids for a time, or the last of them, in the order of their arrival. Which of them still count
//! is asked of the options and the clock with each message; that older ones are forgotten is said by the facts. A queue
//! that lets one message of an id live at a time remembers the *living*: an id goes with its message.
//!
//! | file           | holds                                                  |
//! |----------------|--------------------------------------------------------|
//! | `horizon.rs`   | how far back ids are remembered                        |
//! | `id.rs`        | ids as they are known, and what is remembered of one   |
//! | `window.rs`    | ids in the order of their arrival                      |
//! | `living.rs`    | ids of the messages that live                          |
//! | `memory.rs`    | what one entry point remembers                         |
//! | `fact.rs`      | facts and their bytes                                  |
//! | `changes.rs`   | how facts change memories, which rows, and when ticks  |
//! | `rows.rs`      | the same as rows of the checkpoint                     |
//! | `judging.rs`   | which messages are known, and what is told of them     |
//! | `forgetting.rs`| what the clock brings about, and deleting              |

mod changes;
mod fact;
mod forgetting;
mod horizon;
mod id;
mod judging;
mod living;
mod memory;
mod rows;
mod window;

pub(crate) use horizon::Horizon;
pub(crate) use id::EntryPoint;

pub(crate) use judging::Told;

pub(super) use fact::{REMEMBERED, Remembered};
pub(super) use forgetting::{forget_by_change, forget_step};
pub(super) use judging::{Claims, Judged, check_room, told_of};
pub(super) use memory::{Memory, Shared};
pub(super) use rows::{KIND_OF_EXCHANGE, KIND_OF_QUEUE};
