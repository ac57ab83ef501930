//! Files, maps, frames, checksums and torn tails: the only door to the operating system.
//!
//! This layer knows bytes and where they lie. It does not know what a record means.

pub(crate) mod control;
pub(crate) mod disk;
pub(crate) mod frame;
pub(crate) mod ring;
pub(crate) mod segment;
