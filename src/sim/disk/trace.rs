//! What was done to the simulated disk: counters per path, and the last operations for messages of failed tests.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};

/// Operations that the log keeps.
const LOG_OPERATIONS_MAX: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Open,
    List,
    Read,
    Map,
    DropCache,
    Lock,
    Create,
    CreateFolder,
    Rename,
    Remove,
    Write,
    WriteDurable,
    SetLen,
    SyncData,
    SyncDir,
    Stop,
}

impl Kind {
    pub(super) fn is_change(self) -> bool {
        !matches!(self, Kind::Open | Kind::List | Kind::Read | Kind::Map | Kind::DropCache | Kind::Lock | Kind::Stop)
    }
}

/// How often a path was used since the disk was made. Failed operations count.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) reads: u64,
    pub(crate) bytes_read: u64,
    pub(crate) writes: u64,
    pub(crate) bytes_written: u64,
    /// `sync_data`, `write_durable` (a write as well) and `sync_dir`.
    pub(crate) syncs: u64,
}

#[derive(Clone, Debug)]
struct Operation {
    number: u64,
    kind: Kind,
    path: String,
    offset: u64,
    len: u64,
    failure: Option<String>,
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>8} {:?} {:?} at {} len {}", self.number, self.kind, self.path, self.offset, self.len)?;
        self.failure.as_ref().map_or(Ok(()), |failure| write!(out, " -> {failure}"))
    }
}

#[derive(Clone, Default, Debug)]
pub(super) struct Trace {
    counts: BTreeMap<String, Counts>,
    log: VecDeque<Operation>,
    operations: u64,
    changes: u64,
}

impl Trace {
    pub(super) fn record(&mut self, kind: Kind, path: &str, offset: u64, len: u64) {
        self.operations += 1;
        self.changes += u64::from(kind.is_change());
        self.count(kind, path, len);
        if self.log.len() == LOG_OPERATIONS_MAX {
            self.log.pop_front();
        }
        let number = self.operations;
        self.log.push_back(Operation { number, kind, path: path.to_owned(), offset, len, failure: None });
    }

    /// The last operation recorded has failed.
    pub(super) fn fail(&mut self, failure: &dyn fmt::Display) {
        if let Some(last) = self.log.back_mut() {
            last.failure = Some(failure.to_string());
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn counts(&self, path: &str) -> Counts {
        self.counts.get(path).copied().unwrap_or_default()
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn log(&self) -> String {
        self.log.iter().fold(String::new(), |mut text, operation| {
            let _ = writeln!(text, "{operation}");
            text
        })
    }

    fn count(&mut self, kind: Kind, path: &str, len: u64) {
        if !self.counts.contains_key(path) {
            self.counts.insert(path.to_owned(), Counts::default());
        }
        let counts = self.counts.get_mut(path).expect("just inserted");
        let (reads, writes) = (kind == Kind::Read, matches!(kind, Kind::Write | Kind::WriteDurable));
        counts.reads += u64::from(reads);
        counts.bytes_read += if reads { len } else { 0 };
        counts.writes += u64::from(writes);
        counts.bytes_written += if writes { len } else { 0 };
        counts.syncs += u64::from(matches!(kind, Kind::SyncData | Kind::WriteDurable | Kind::SyncDir));
    }
}
