//! The simulated disk and the harness that holds the engine against a naive model.

pub(crate) mod disk;
mod fuzz;
#[cfg(all(test, loom))]
mod models;
mod protocol;
pub(crate) mod random;
mod run;

pub use fuzz::{fuzz_frame, fuzz_recovery};
pub use protocol::fuzz_protocol;
pub use run::{Summary, run};
