//! What can go wrong with the index, and what it was before the cause was known.

use std::io;

use crate::base::codec::Malformed;

/// Why the index did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    /// `Index::close` was called.
    #[error("the index is closed")]
    Closed,
    /// Nothing changed; the same commit may succeed later.
    #[error("the disk is full: the checkpoint was not written; free some space and it is tried again")]
    StorageFull,
    #[error("reading or writing the index failed: {0}")]
    Io(#[source] io::Error),
    #[error("the index is damaged: {0}")]
    Damaged(String),
    #[error("the index refuses commits since an earlier one failed; reopen the database")]
    Poisoned,
    /// Only from the calls that pass over a whole table.
    #[error("the index was opened again while it was being read, because the disk is full; read it again")]
    Interrupted,
}

/// A failure inside a transaction, before the backend was asked for its cause.
#[derive(Debug)]
pub(super) enum Failure {
    Redb(redb::Error),
    Malformed(Malformed),
    /// The caller's closure said so.
    Caller(IndexError),
}

impl From<Malformed> for Failure {
    fn from(error: Malformed) -> Failure {
        Failure::Malformed(error)
    }
}

macro_rules! failure_from_redb {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::Redb(error.into())
            }
        })+
    };
}

failure_from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::SetDurabilityError
);
