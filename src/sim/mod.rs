//! The simulated disk and the harness that holds the engine against a naive model.

pub(crate) mod disk;
#[cfg(all(test, loom))]
mod models;
pub(crate) mod random;
