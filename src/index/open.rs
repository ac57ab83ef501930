//! One life of the redb database on the file.
//!
//! redb asserts what it takes for granted of its pages, and reads them without a look at their checksums: on a damaged
//! file it panics. The checksums of all are verified at the start of a life. A panic is caught here, and a database
//! that panicked is never touched again: its destructor would begin with what the panic left.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Builder, Database, ReadTransaction, ReadableDatabase};

use super::INDEX_CACHE_BYTES;
use super::backend::{Backend, Door, Fault};
use super::error::{Failure, IndexError};
use crate::base::sync::{Arc, AtomicBool, Ordering};
use crate::storage::disk::File;

/// A retired one is replaced by the next; nothing is written through it.
#[derive(Debug)]
pub(super) struct Open {
    /// `None` only while it is dropped.
    database: Option<Database>,
    pub(super) backend: Arc<Backend>,
    broken: AtomicBool,
}

impl Open {
    pub(super) fn on(file: Arc<dyn File>) -> Result<Open, IndexError> {
        let backend = Arc::new(Backend::new(file).map_err(IndexError::Io)?);
        let door = Door(backend.clone());
        let opened = caught(|| Builder::new().set_cache_size(INDEX_CACHE_BYTES).create_with_backend(door));
        match opened.inspect_err(|_| backend.retire())? {
            Ok(database) => Ok(Open { database: Some(database), backend, broken: AtomicBool::new(false) }),
            Err(error) => Err(explain(&backend, Failure::Redb(error.into()))),
        }
    }

    /// Reads every page and compares it with its checksum.
    pub(super) fn verified(mut self) -> Result<Open, IndexError> {
        let database = self.database.as_mut().expect("it is there until it is dropped");
        let error = match caught(|| database.check_integrity()) {
            Ok(Ok(true)) => return Ok(self),
            Ok(Ok(false)) => IndexError::Damaged("its checksums do not hold".to_owned()),
            Ok(Err(error)) => self.explain(Failure::Redb(error.into())),
            Err(panic) => panic,
        };
        self.give_up();
        Err(error)
    }

    pub(super) fn read<T>(&self, f: impl FnOnce(&ReadTransaction) -> Result<T, Failure>) -> Result<T, IndexError> {
        self.guarded(|database| database.begin_read().map_err(Failure::from).and_then(|txn| f(&txn)))
    }

    pub(super) fn write(&self, f: impl FnOnce(&Database) -> Result<(), Failure>) -> Result<(), IndexError> {
        self.guarded(f)
    }

    fn guarded<T>(&self, f: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, IndexError> {
        if self.is_broken() {
            return Err(IndexError::Damaged("an assertion over it broke before".to_owned()));
        }
        let database = self.database.as_ref().expect("it is there until it is dropped");
        caught(|| f(database)).inspect_err(|_| self.give_up())?.map_err(|failure| self.explain(failure))
    }

    /// Whether it panicked, or failed its verification.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    fn give_up(&self) {
        self.broken.store(true, Ordering::SeqCst);
        self.backend.retire();
    }

    fn explain(&self, failure: Failure) -> IndexError {
        explain(&self.backend, failure)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.is_broken() {
            // What it holds is lost until the process ends; the file is closed with the last handle to it.
            std::mem::forget(self.database.take());
        }
    }
}

fn caught<T>(call: impl FnOnce() -> T) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        IndexError::Damaged(format!("an assertion over it broke: {}", text.unwrap_or("without a text")))
    })
}

/// redb says `PreviousIo` for whatever follows a failure; the backend remembers the failure itself.
fn explain(backend: &Backend, failure: Failure) -> IndexError {
    match (failure, backend.fault()) {
        (Failure::Caller(error), _) => error,
        (Failure::Malformed(error), _) => IndexError::Damaged(error.to_string()),
        (Failure::Redb(_), Some(Fault::Full)) => IndexError::StorageFull,
        (Failure::Redb(_), Some(Fault::Io(io))) => IndexError::Io(io.to_error()),
        (Failure::Redb(error), None) => IndexError::Damaged(error.to_string()),
    }
}
