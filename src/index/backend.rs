//! redb's storage on one of our files.
//!
//! * The file has a physical length, always a whole number of steps, and redb a logical one, never above it. redb asks
//!   for any length (it doubles); the file grows by steps of written zeros, because a sparse or merely allocated range
//!   would make every later sync commit the file system's metadata. It never shrinks, but for zeros just written.
//! * At open the logical length is the physical one. redb computes its layout from the length of the file whenever the
//!   file was not closed, and accepts a longer file when it was.
//! * Bytes that come back after a logical shrink are not zeros. redb relies on that nowhere: it writes whole pages
//!   before it reads them.
//! * A growth that the disk refuses gives half of what it had got back, in whole steps, and keeps the rest: the next
//!   life of the database starts with that room, although it is less than redb asked for.
//! * The first failure is remembered. A full disk may be followed by another life on the same file. Any other failure
//!   retires the backend, and so does a sync that finds the disk full: what was written before it is then unknown.

use std::io::{self, ErrorKind};

use redb::StorageBackend;

use crate::base::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};
use crate::storage::disk::File;

/// The file of the index grows by this.
pub(crate) const INDEX_STEP_BYTES: u64 = 1 << 20;

const REDB_PAGE_BYTES: u64 = 4096;

const _: () = assert!(INDEX_STEP_BYTES.is_multiple_of(REDB_PAGE_BYTES));

/// Why redb was refused something.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Full,
    Io(IoFault),
}

/// An I/O error that can be told more than once.
#[derive(Clone, Debug)]
pub(super) struct IoFault {
    kind: ErrorKind,
    os_code: Option<i32>,
    text: String,
}

impl IoFault {
    fn of(error: &io::Error) -> IoFault {
        IoFault { kind: error.kind(), os_code: error.raw_os_error(), text: error.to_string() }
    }

    pub(super) fn to_error(&self) -> io::Error {
        match self.os_code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.kind, self.text.clone()),
        }
    }
}

/// One life of the storage; the file may see several.
#[derive(Debug)]
pub(super) struct Backend {
    file: Arc<dyn File>,
    // Only redb's single writer changes the lengths; logical <= physical, physical a multiple of the step.
    logical: AtomicU64,
    physical: AtomicU64,
    retired: AtomicBool,
    fault: Mutex<Option<Fault>>,
}

impl Backend {
    pub(super) fn new(file: Arc<dyn File>) -> io::Result<Backend> {
        // A last step that is not whole was being written at a crash: no layout that was committed knows of it.
        let whole = file.len()? / INDEX_STEP_BYTES * INDEX_STEP_BYTES;
        Ok(Backend {
            file,
            logical: AtomicU64::new(whole),
            physical: AtomicU64::new(whole),
            retired: AtomicBool::new(false),
            fault: Mutex::new(None),
        })
    }

    /// Nothing is written through this backend from now on.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.lock().clone()
    }

    /// The disk was full and nothing worse has happened.
    pub(super) fn is_full(&self) -> bool {
        matches!(*self.fault.lock(), Some(Fault::Full))
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.physical.load(Ordering::SeqCst)
    }

    fn allowed(&self) -> io::Result<()> {
        if self.is_retired() { Err(io::Error::other("this storage of the index is retired")) } else { Ok(()) }
    }

    fn full_or_worse<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        {
            self.fault.lock().get_or_insert(Fault::Full);
            return result;
        }
        self.fatal(result)
    }

    fn fatal<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let mut fault = self.fault.lock();
            if !matches!(*fault, Some(Fault::Io(_))) {
                *fault = Some(Fault::Io(IoFault::of(error)));
            }
            self.retire();
        }
        result
    }

    fn grow_to(&self, wanted: u64) -> io::Result<()> {
        let before = self.file_bytes();
        let zeros = vec![0; INDEX_STEP_BYTES as usize];
        let mut reached = before;
        while reached < wanted {
            if let Err(error) = self.full_or_worse(self.file.write(reached, &zeros)) {
                if self.is_full() {
                    self.give_back(before, reached)?;
                }
                return Err(error);
            }
            reached += INDEX_STEP_BYTES;
        }
        self.physical.store(reached, Ordering::SeqCst);
        Ok(())
    }

    fn give_back(&self, before: u64, reached: u64) -> io::Result<()> {
        let steps_kept = ((reached - before) / INDEX_STEP_BYTES).div_ceil(2);
        let kept = before + steps_kept * INDEX_STEP_BYTES;
        self.fatal(self.file.set_len(kept))?;
        self.physical.store(kept, Ordering::SeqCst);
        Ok(())
    }
}

/// redb takes its backend for itself; the index keeps another hand on it.
#[derive(Debug)]
pub(super) struct Door(pub(super) Arc<Backend>);

impl StorageBackend for Door {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.logical.load(Ordering::SeqCst))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.fatal(self.0.file.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.allowed()?;
        if len > self.0.file_bytes() {
            self.0.grow_to(len)?;
        }
        self.0.logical.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.allowed()?;
        let end = offset + data.len() as u64;
        assert!(end <= self.0.logical.load(Ordering::SeqCst), "redb writes to {end}, beyond the length it asked for");
        self.0.full_or_worse(self.0.file.write(offset, data))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.allowed()?;
        self.0.fatal(self.0.file.sync_data())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::faulty_file::FaultyFile;
    use super::*;

    fn on(file: &Arc<FaultyFile>) -> Door {
        Door(Arc::new(Backend::new(file.clone()).unwrap()))
    }

    #[test]
    fn the_file_grows_in_whole_steps_of_written_zeros_and_shrinks_only_logically() {
        let file = FaultyFile::new();
        let door = on(&file);
        door.set_len(INDEX_STEP_BYTES * 2 + 5).unwrap();
        assert_eq!((door.len().unwrap(), file.len().unwrap()), (INDEX_STEP_BYTES * 2 + 5, INDEX_STEP_BYTES * 3));
        assert_eq!(file.bytes_written(), INDEX_STEP_BYTES * 3);
        door.set_len(5).unwrap();
        assert_eq!((door.len().unwrap(), file.len().unwrap()), (5, INDEX_STEP_BYTES * 3));
        door.set_len(INDEX_STEP_BYTES * 3).unwrap();
        assert_eq!(file.bytes_written(), INDEX_STEP_BYTES * 3);
    }

    #[test]
    fn a_growth_that_the_disk_refuses_keeps_half_of_what_it_got() {
        let file = FaultyFile::new();
        let door = on(&file);
        door.set_len(INDEX_STEP_BYTES).unwrap();
        file.set_capacity(INDEX_STEP_BYTES * 6 + 17);
        assert!(door.set_len(INDEX_STEP_BYTES * 9).is_err());
        assert!(door.0.is_full() && !door.0.is_retired());
        assert_eq!(door.len().unwrap(), INDEX_STEP_BYTES);
        assert_eq!(file.len().unwrap(), INDEX_STEP_BYTES * 4);
        assert_eq!(door.0.file_bytes(), INDEX_STEP_BYTES * 4);
    }

    #[test]
    fn an_unfinished_last_step_does_not_count_and_is_written_again() {
        let file = FaultyFile::new();
        on(&file).set_len(INDEX_STEP_BYTES).unwrap();
        file.write(INDEX_STEP_BYTES, &[7; 4096]).unwrap();
        let door = on(&file);
        assert_eq!(door.len().unwrap(), INDEX_STEP_BYTES);
        door.set_len(INDEX_STEP_BYTES + 1).unwrap();
        let mut byte = [1];
        door.read(INDEX_STEP_BYTES, &mut byte).unwrap();
        assert_eq!((byte, file.len().unwrap()), ([0], INDEX_STEP_BYTES * 2));
    }

    #[test]
    fn a_sync_that_finds_the_disk_full_is_no_full_disk_but_a_failure() {
        let file = FaultyFile::new();
        let door = on(&file);
        door.set_len(4096).unwrap();
        file.fail_next_sync(ErrorKind::StorageFull);
        assert!(door.sync_data().is_err());
        assert!(!door.0.is_full() && door.0.is_retired());
        assert!(door.write(0, &[1]).is_err());
    }
}
