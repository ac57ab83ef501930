//! The simulated disk and the harness that holds the engine against a naive model.

pub(crate) mod disk;
pub(crate) mod random;
