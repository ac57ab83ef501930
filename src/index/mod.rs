//! The checkpoint: what the database is up to an LSN, in one redb file. This layer is the only one that knows redb.
//!
//! It knows tables, keys and the applied LSN; it knows neither the files of the journal nor the rules of a primitive.
//!
//! What it promises:
//!
//! * A [`Checkpoint`] is written whole or not at all, with its applied LSN, and is durable once [`Index::commit`]
//!   returned. The applied LSN never goes back and commits are numbered without a gap. After a power cut the index
//!   holds the last commit that returned, or the one that was under way.
//! * A full disk is [`IndexError::StorageFull`]: the checkpoint is dropped, what was there stays readable, and a later
//!   commit works once there is room. Any other failure of a commit is final: [`IndexError::Poisoned`] from then on.
//! * The file grows by real zeros in steps of [`INDEX_STEP_BYTES`] and never shrinks.
//! * Reads wait for no commit, unless it found the disk full. They see the last commit that returned or a later one.
//!
//! How redb 4.4 behaves, found by reading it and held by the tests here: the first error of the backend latches, and
//! every later read of an uncached page, every transaction and the close fail with `PreviousIo`, so after a full disk
//! the database must be opened again; `Index` does that inside, behind `gate`. An error of `WriteTransaction::commit`
//! leaves open whether the commit took place, so the reopened index is asked. Opening writes and syncs the header, so
//! what is read after it is durable. Dropping a database commits once more; a retired backend forbids that. Pages are
//! read without a look at their checksums, and what a damaged one makes of redb is a panic: so all are verified when
//! the index is opened, and a panic is caught ([`open`]).

mod backend;
mod checkpoint;
mod error;
#[cfg(all(test, not(loom)))]
mod faulty_file;
mod open;
mod read;
mod tables;
#[cfg(all(test, not(loom)))]
mod twin;

pub(crate) use backend::INDEX_STEP_BYTES;
pub(crate) use checkpoint::Checkpoint;
pub(crate) use error::IndexError;
pub(crate) use tables::{Meta, SegmentRow};

use redb::ReadTransaction;

use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::run::Run;
use crate::base::sync::{Arc, Mutex, MutexGuard};
use crate::base::time::Timestamp;
use crate::storage::disk::File;
use error::Failure;
use open::Open;

/// Told of each row; its first error ends the pass.
pub(crate) type RowVisitor<'a> = dyn FnMut(RowKey, &[u8]) -> Result<(), IndexError> + 'a;

/// Told of each run; its first error ends the pass.
pub(crate) type RunVisitor<'a> = dyn FnMut(&Run) -> Result<(), IndexError> + 'a;

/// Pages that redb keeps in memory, half of them for a commit under way.
pub(crate) const INDEX_CACHE_BYTES: usize = 8 << 20;

/// The open index. Dropping it closes the file, with one last small write unless it was poisoned.
#[derive(Debug)]
pub(crate) struct Index {
    file: Arc<dyn File>,
    // Held for a whole commit, and to open the database again.
    gate: Mutex<Gate>,
    // Taken after `gate`, never before, and held for no longer than a clone.
    // None once closed.
    current: Mutex<Option<Arc<Open>>>,
}

#[derive(Debug)]
struct Gate {
    poisoned: bool,
}

impl Index {
    /// Writes a new index with `meta` and nothing else. `file` must be empty. Durable on return, but for the file's
    /// name. After an error, or a crash before it returned, the file is to be emptied and created again.
    pub(crate) fn create(file: Arc<dyn File>, meta: Meta) -> Result<Index, IndexError> {
        assert_eq!(file.len().map_err(IndexError::Io)?, 0, "an index is created in an empty file");
        let open = Open::on(file.clone())?;
        open.write(|database| checkpoint::write_first(database, &meta))?;
        Ok(Index::around(file, open))
    }

    /// Opens an index, and reads all of it to verify its checksums. redb repairs what a crash left. A file that cannot
    /// be read or trusted is [`IndexError::Damaged`].
    pub(crate) fn open(file: Arc<dyn File>) -> Result<Index, IndexError> {
        let len = file.len().map_err(IndexError::Io)?;
        if len < INDEX_STEP_BYTES {
            return Err(IndexError::Damaged(format!("the file has {len} bytes, too few for any index")));
        }
        let open = Open::on(file.clone())?.verified()?;
        open.read(read::all_tables_exist)?;
        Ok(Index::around(file, open))
    }

    fn around(file: Arc<dyn File>, open: Open) -> Index {
        Index { file, gate: Mutex::new(Gate { poisoned: false }), current: Mutex::new(Some(Arc::new(open))) }
    }

    /// Writes one checkpoint; durable on return. Blocks for the writes and two syncs, and for a commit under way.
    ///
    /// [`IndexError::StorageFull`]: nothing changed, and a later commit may succeed. After any other error the index
    /// refuses commits, and whether this one took place is known only after reopening.
    ///
    /// # Panics
    /// If the checkpoint breaks a bound, does not follow the previous one by number, or goes back in LSN.
    pub(crate) fn commit(&self, mut checkpoint: Checkpoint) -> Result<(), IndexError> {
        checkpoint.check_bounds();
        checkpoint.sort();
        let mut gate = self.gate.lock();
        if gate.poisoned {
            return Err(IndexError::Poisoned);
        }
        let result = self.commit_behind_gate(&gate, &checkpoint);
        if let Err(error) = &result
            && !matches!(error, IndexError::StorageFull)
        {
            self.poison_behind_gate(&mut gate);
        }
        result
    }

    fn commit_behind_gate(&self, gate: &MutexGuard<'_, Gate>, checkpoint: &Checkpoint) -> Result<(), IndexError> {
        let open = self.living(gate)?;
        checkpoint.check_follows(&open.read(read::meta)?);
        let mut open = open;
        loop {
            let bytes_before = open.backend.file_bytes();
            let Err(error) = open.write(|database| checkpoint::write(database, checkpoint)) else { return Ok(()) };
            if !open.backend.is_full() {
                return Err(error);
            }
            // What the disk still gave was kept, and redb learns of it by opening: the room may do for this checkpoint,
            // where redb asked for as much again as it had.
            let gained = open.backend.file_bytes() > bytes_before;
            open = self.reopen(gate, &open)?;
            if open.read(read::meta)?.commits == checkpoint.meta.commits {
                return Ok(());
            }
            if !gained {
                return Err(IndexError::StorageFull);
            }
        }
    }

    /// Refuses commits from now on; closing then writes nothing. Waits for a commit under way. Reads go on.
    pub(crate) fn poison(&self) {
        self.poison_behind_gate(&mut self.gate.lock());
    }

    fn poison_behind_gate(&self, gate: &mut MutexGuard<'_, Gate>) {
        gate.poisoned = true;
        if let Ok(open) = self.current() {
            open.backend.retire();
        }
    }

    /// Lets the file go: everything afterwards is [`IndexError::Closed`]. A read under way keeps its database for as
    /// long as it takes, and nothing is written through that.
    pub(crate) fn close(&self) {
        let _gate = self.gate.lock();
        let open = self.current.lock().take();
        if let Some(open) = open {
            let backend = open.backend.clone();
            if Arc::into_inner(open).is_none() {
                backend.retire();
            }
        }
    }

    pub(crate) fn meta(&self) -> Result<Meta, IndexError> {
        self.read(read::meta)
    }

    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "cold rows and timers beyond memory come with the queues; their tables are in format 1"
        )
    )]
    pub(crate) fn row(&self, key: RowKey) -> Result<Option<Vec<u8>>, IndexError> {
        self.read(|txn| read::row(txn, key))
    }

    /// Every row in the order of keys, all of one commit. Ends with the first error of `f`, or with
    /// [`IndexError::Interrupted`] if a commit meanwhile found the disk full.
    pub(crate) fn for_each_row(&self, f: &mut RowVisitor<'_>) -> Result<(), IndexError> {
        self.stream(|txn| read::for_each_row(txn, f))
    }

    /// The run of `log` that contains `offset`, else its next later run.
    pub(crate) fn run_at(&self, log: LogId, offset: u64) -> Result<Option<Run>, IndexError> {
        self.read(|txn| read::Runs::of(txn, log)?.at(offset))
    }

    pub(crate) fn last_run(&self, log: LogId) -> Result<Option<Run>, IndexError> {
        self.read(|txn| read::Runs::of(txn, log)?.last())
    }

    /// At most `max` runs in the order of offsets, starting with the one that contains `from`, else the next later one.
    pub(crate) fn runs(&self, log: LogId, from: u64, max: usize) -> Result<Vec<Run>, IndexError> {
        self.read(|txn| read::Runs::of(txn, log)?.from(from, max))
    }

    /// The first run, from the one that [`Index::run_at`] finds for `from_offset` on, whose latest timestamp is `time`
    /// or later. Takes about 64 look-ups at most, however many runs there are.
    pub(crate) fn run_for_time(
        &self,
        log: LogId,
        from_offset: u64,
        time: Timestamp,
    ) -> Result<Option<Run>, IndexError> {
        self.read(|txn| read::Runs::of(txn, log)?.for_time(from_offset, time))
    }

    /// Every run in the order of logs and offsets, all of one commit. Ends as [`Index::for_each_row`] does.
    pub(crate) fn for_each_run(&self, f: &mut RunVisitor<'_>) -> Result<(), IndexError> {
        self.stream(|txn| read::for_each_run(txn, f))
    }

    /// Every segment in the order of numbers, the journal's before survivors.
    pub(crate) fn segments(&self) -> Result<Vec<SegmentRow>, IndexError> {
        self.read(read::segments)
    }

    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "cold rows and timers beyond memory come with the queues; their tables are in format 1"
        )
    )]
    /// At most `max` timers after `after`, in the order of due time and key. `(0, RowKey { kind: 0, id: 0 })` is before
    /// the first.
    pub(crate) fn next_timers(&self, after: (u64, RowKey), max: usize) -> Result<Vec<(u64, RowKey)>, IndexError> {
        self.read(|txn| read::next_timers(txn, after, max))
    }

    /// Physical length of the file.
    #[cfg(test)]
    pub(crate) fn file_bytes(&self) -> u64 {
        self.current().map_or(0, |open| open.backend.file_bytes())
    }

    fn current(&self) -> Result<Arc<Open>, IndexError> {
        self.current.lock().clone().ok_or(IndexError::Closed)
    }

    /// Reads, again if a full disk ended the database's life meanwhile. `f` starts anew then.
    fn read<T>(&self, f: impl Fn(&ReadTransaction) -> Result<T, Failure>) -> Result<T, IndexError> {
        let open = self.current()?;
        match open.read(&f) {
            Err(_) if open.backend.is_full() => {
                let gate = self.gate.lock();
                self.living(&gate)?.read(&f)
            }
            result => result,
        }
    }

    fn stream(&self, f: impl FnOnce(&ReadTransaction) -> Result<(), Failure>) -> Result<(), IndexError> {
        let mut open = self.current()?;
        if open.backend.is_retired() {
            open = self.living(&self.gate.lock())?;
        }
        match open.read(f) {
            Err(IndexError::StorageFull) => Err(IndexError::Interrupted),
            result => result,
        }
    }

    /// The database, opened again if a full disk ended its life.
    fn living(&self, gate: &MutexGuard<'_, Gate>) -> Result<Arc<Open>, IndexError> {
        let open = self.current()?;
        let is_over = open.backend.is_retired() && !gate.poisoned && !open.is_broken();
        if is_over { self.reopen(gate, &open) } else { Ok(open) }
    }

    fn reopen(&self, _gate: &MutexGuard<'_, Gate>, dead: &Arc<Open>) -> Result<Arc<Open>, IndexError> {
        assert!(Arc::ptr_eq(dead, &self.current()?), "only behind the gate is a database replaced");
        // First: from here on nothing but the new database writes to the file, however long readers keep the old one.
        dead.backend.retire();
        let open = Arc::new(Open::on(self.file.clone())?);
        *self.current.lock() = Some(open.clone());
        Ok(open)
    }
}
