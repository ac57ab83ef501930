//! Why the engine cannot do what it was asked, in its own terms; the api turns these into its public errors.

use std::io;

use crate::base::lsn::Lsn;
use crate::index::IndexError;

/// A failure that is not the machine's refusal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("there is no room on the disk")]
    StorageFull,
    #[error("an earlier I/O error stopped this database until it is opened again")]
    Poisoned,
    #[error("an I/O error came between the write and its confirmation")]
    OutcomeUnknown,
    /// Nothing was written.
    #[error("the time allowed for the call has passed")]
    TimedOut,
    /// The frame is in the ring and on its way to the disk.
    #[error("the time allowed for the call has passed before the write was on disk")]
    Unconfirmed,
    #[error("the database is closed")]
    Closed,
    #[error("this process is a fork of the one that opened the database")]
    Forked,
    #[error("the frame would hold {actual} bytes, at most {max} are possible")]
    FrameTooLarge { max: u64, actual: u64 },
    #[error("other writers changed what this call rests on, again and again")]
    Contended,
    #[error("damage in {file}{}: {reason}", if *offset == 0 { String::new() } else { format!(" at {offset}") })]
    Corrupt { file: String, offset: u64, from: Lsn, to: Lsn, reason: String },
    /// A file that the index named is not there: it was cleaned away since, or else it is lost, which is this damage.
    #[error("{0}")]
    FileGone(Box<Fault>),
    #[error("the directory is held by process {pid}{}", if *exclusive { " for itself alone" } else { "" })]
    Locked { pid: u32, exclusive: bool },
    #[error("no process hosts the database")]
    NoHost,
    #[error("the host speaks protocol {theirs}")]
    OtherProtocol { theirs: u32 },
    #[error("{max} processes are attached already")]
    TooManyProcesses { max: u64 },
    #[error("user {uid} neither owns the directory nor is root")]
    Stranger { uid: u64 },
    #[error("{path} is not a database: {reason}")]
    NotADatabase { path: String, reason: String },
    #[error("format {found} with features {incompatible:#x}, this program reads up to format {supported}")]
    UnsupportedFormat { found: u32, incompatible: u64, supported: u32 },
    #[error("the file system is {kind}")]
    UnsupportedFileSystem { kind: String },
    #[error("there is no database at {path}")]
    Missing { path: String },
    #[error("{attempt}: {source}")]
    Io { attempt: &'static str, source: io::Error },
}

impl Fault {
    pub(crate) fn io(attempt: &'static str) -> impl FnOnce(io::Error) -> Fault {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::StorageFull,
            _ => Fault::Io { attempt, source },
        }
    }
}

impl From<IndexError> for Fault {
    fn from(error: IndexError) -> Fault {
        match error {
            IndexError::StorageFull => Fault::StorageFull,
            IndexError::Poisoned => Fault::Poisoned,
            IndexError::Closed => Fault::Closed,
            IndexError::Io(source) => Fault::Io { attempt: "reading or writing the index", source },
            damaged => Fault::Corrupt {
                file: "index.redb".to_owned(),
                offset: 0,
                from: Lsn(0),
                to: Lsn(0),
                reason: damaged.to_string(),
            },
        }
    }
}
