//! The one durable sequence: order, durability, recovery, cleaning.
//!
//! Frames are appended to the [`tail`] under the core lock, staged in the ring, and moved to segments by whoever
//! [`commit`]s. [`recovery`] finds the end of it after any crash. Sealed segments stay as the store: a [`sidecar`] says
//! where the records of each log lie in one, and [`cleaner`] copies what lives out of those that are mostly dead;
//! [`compactor`] copies of one log what no later record supersedes, which a [`keymap`] tells.
//!
//! This layer knows logs and records as stretches of bytes. It does not know what a record means, nor the index.

pub(crate) mod cleaner;
pub(crate) mod commit;
pub(crate) mod compactor;
pub(crate) mod entry;
pub(crate) mod follow;
pub(crate) mod item;
pub(crate) mod keymap;
pub(crate) mod maker;
pub(crate) mod marks;
pub(crate) mod recovery;
pub(crate) mod sidecar;
pub(crate) mod tail;
pub(crate) mod waits;
pub(crate) mod walk;
