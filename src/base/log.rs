//! The number of a log.

/// One log: a stream partition, one priority of one queue, or one idempotency scope's answers. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LogId(pub(crate) u64);
