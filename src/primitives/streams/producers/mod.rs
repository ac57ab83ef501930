//! Idempotent producers: who appends under a name that one at a time holds, and whose batches are stored once.
//!
//! A producer belongs to a stream. Its *epoch* is raised whenever it is opened, and only who opened it last may append.
//! In each partition its records are numbered by *sequences*, dense from 0 and going on over epochs; the last batches
//! are remembered there in a *window*, so that one that is sent again is known and answered as it was.
//!
//! A producer goes with its stream, and once nobody has used it for as long as was said when it was opened. For that it
//! takes the number of a log, which never holds a record: what knows when logs are due knows it of producers too.
//!
//! | file         | holds                                                      |
//! |--------------|------------------------------------------------------------|
//! | `state.rs`   | what is known of producers, and how facts change it        |
//! | `event.rs`   | facts and their bytes                                      |
//! | `rows.rs`    | the state as rows of the checkpoint                        |
//! | `decide.rs`  | the rules                                                  |
//! | `overlay.rs` | several commands in one frame                              |

mod decide;
mod event;
mod overlay;
mod rows;
mod state;

pub(super) use decide::{expire, leave, open, produce};
pub(crate) use event::Event;
pub(super) use event::take_number;
pub(super) use overlay::{Changes, Layer, View};
pub(super) use rows::{KIND_PRODUCER, KIND_WINDOW, row};
pub(crate) use rows::{number_of_row, producer_row, window_row};
pub(crate) use state::ProducedBatch;
#[cfg(any(test, feature = "sim"))]
pub(crate) use state::Producer;
#[cfg(all(test, not(loom)))]
pub(super) mod events {
    pub(crate) use super::event::{Expired, Opened, Produced};
}
pub(super) use state::{Cells, Producers, make_true};

/// Names a producer as one who opened it knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ProducerHandle {
    /// Of the producer, and of its log.
    pub(crate) number: u64,
    /// Counts the openings of the producer, from 0.
    pub(crate) epoch: u64,
}
