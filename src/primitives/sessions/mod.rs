//! Sessions: what an attached process asked for and was answered, so that nothing is applied twice.
//!
//! A process that is attached to another's database sends requests over a socket, and the socket can break between the
//! deed and the answer. Then it sends the same request again, to the same host or to the next one, under the same
//! session and sequence, and is given the first answer. The remembered answer stands in the frame of the deed: both are
//! in the journal or neither is.
//!
//! What is remembered is bounded: the process tells with each request below which sequence it has all answers
//! (`seen_below`) and what lies there is forgotten; it asks for at most [`REQUESTS_REMEMBERED_MAX`] beyond. An answer
//! that does not fit its chunk's row is not kept: asked for again, that it was given is all that is known, and the
//! process reports an unknown outcome.
//!
//! Answers are bytes here: this primitive knows no other. [`super::once`] puts the two together.
//!
//! | file         | holds                                                    |
//! |--------------|----------------------------------------------------------|
//! | `command.rs` | requests, answers, refusals                              |
//! | `event.rs`   | facts and their bytes                                    |
//! | `state.rs`   | what is known of every session, and how facts change it  |
//! | `rows.rs`    | the same as rows of the checkpoint                       |
//! | `decide.rs`  | which commands are accepted, and what was asked before   |
//! | `overlay.rs` | several commands in one frame                            |
//!
//! [`REQUESTS_REMEMBERED_MAX`]: crate::base::bounds::REQUESTS_REMEMBERED_MAX

mod command;
mod decide;
mod event;
mod overlay;
mod rows;
mod state;
#[cfg(all(test, not(loom)))]
mod tests;

pub(crate) use command::{Command, Outcome, Refusal, Reply, Request, SessionId};
pub(crate) use decide::{Recalled, decide, recall, remember};
pub(crate) use event::Event;
pub(crate) use overlay::Overlay;
pub(crate) use state::State;
