//! The key of an object's row.

/// Names one row of the index: the kind of object it belongs to, and the object's number within that kind. Ordered by
/// kind, then by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct RowKey {
    pub(crate) kind: u8,
    pub(crate) id: u64,
}
