//! How a database is opened.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::bounds::{
    FLUSH_INTERVAL_MICROS_DEFAULT, GEOMETRY_BYTES_MIN, RECONNECT_GRACE_MICROS_DEFAULT, RING_BYTES_DEFAULT,
    SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX,
};
use crate::base::level::Level;
use crate::base::lsn::Geometry;
use crate::base::sync::Arc;
use crate::engine::OpenOptions;
use crate::engine::clock::{Clock, ManualClock};
use crate::processes::link::{Link, OpenMode, Opening};
use crate::storage::disk::clock::random_id;
use crate::storage::disk::host::HostDisk;

use super::database::Database;
use super::error::Error;

/// How a database is opened, and how a new one is made.
///
/// ```
/// use towpath::{Level, Options};
///
/// let directory = std::env::temp_dir().join(format!("towpath-doc-options-{}", std::process::id()));
/// let db = Options::new().level(Level::Buffered).open(&directory)?;
/// db.close()?;
/// # std::fs::remove_dir_all(directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    create: bool,
    ring_bytes: u64,
    segment_bytes: u64,
    level: Level,
    flush_interval: Duration,
    clock: Clock,
    mode: OpenMode,
    reconnect_grace: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// The defaults: created if missing, 8 MiB ring and segments, level [`Level::Sync`], 50 ms flush interval.
    #[must_use]
    pub fn new() -> Options {
        Options {
            create: true,
            ring_bytes: RING_BYTES_DEFAULT,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            level: Level::Sync,
            flush_interval: Duration::from_micros(FLUSH_INTERVAL_MICROS_DEFAULT),
            clock: Clock::Host,
            mode: OpenMode::Auto,
            reconnect_grace: Duration::from_micros(RECONNECT_GRACE_MICROS_DEFAULT),
        }
    }

    /// The least sizes, for tests: see [`Options::open_temporary`].
    #[must_use]
    pub fn temporary() -> Options {
        Options { ring_bytes: GEOMETRY_BYTES_MIN, segment_bytes: GEOMETRY_BYTES_MIN, ..Options::new() }
    }

    /// Whether an empty or missing directory becomes a new database. Default: yes.
    #[must_use]
    pub fn create(self, create: bool) -> Options {
        Options { create, ..self }
    }

    /// Bytes of the staging ring: what may be written faster than the disk takes it. A power of two, at least 4 MiB, at
    /// most a segment. Fixed when the database is created; ignored when an existing one is opened.
    #[must_use]
    pub fn ring_bytes(self, ring_bytes: u64) -> Options {
        Options { ring_bytes, ..self }
    }

    /// Bytes of one segment of the journal. A power of two from 4 MiB to 2 GiB. Fixed when the database is created;
    /// ignored when an existing one is opened.
    #[must_use]
    pub fn segment_bytes(self, segment_bytes: u64) -> Options {
        Options { segment_bytes, ..self }
    }

    /// The level of writes that name none, on streams that name none.
    #[must_use]
    pub fn level(self, level: Level) -> Options {
        Options { level, ..self }
    }

    /// How long what was written at [`Level::Buffered`] may wait for its sync to begin: with the time that the sync
    /// takes, what a power cut can undo at most. Not stored in the database, as the level is not: each open says it.
    #[must_use]
    pub fn flush_interval(self, flush_interval: Duration) -> Options {
        Options { flush_interval, ..self }
    }

    /// Uses a clock that is moved by hand, for tests.
    #[must_use]
    pub fn clock(self, clock: ManualClock) -> Options {
        Options { clock: Clock::Manual(clock), ..self }
    }

    /// Whether this process shares the directory with others, and how. Default: [`OpenMode::Auto`].
    #[must_use]
    pub fn mode(self, mode: OpenMode) -> Options {
        Options { mode, ..self }
    }

    /// How long the sessions of attached processes outlive the death of the host: who has not come back to the next one
    /// by then has lost what it held. Default: 10 seconds. Counts where the database is hosted.
    #[must_use]
    pub fn reconnect_grace(self, reconnect_grace: Duration) -> Options {
        Options { reconnect_grace, ..self }
    }

    /// Opens the database in the directory `path`: hosts it, after recovering it if it was not closed in order, or
    /// attaches to the process that does, as the [mode](Options::mode) says.
    ///
    /// Blocks while it replays what was written since the last checkpoint, at most 64 MiB of journal; where another
    /// process is just doing so, until that serves, at most a minute.
    ///
    /// # Errors
    /// [`Error::Locked`] if a process holds it and cannot be attached to, [`Error::NoHost`],
    /// [`Error::OtherProtocol`], [`Error::NotPermitted`], [`Error::Missing`] if it is not there and must not be
    /// created, [`Error::NotADatabase`], [`Error::UnsupportedFormat`], [`Error::UnsupportedFileSystem`],
    /// [`Error::Corrupt`] if acknowledged data is damaged (nothing is changed then), [`Error::StorageFull`],
    /// [`Error::Io`], [`Error::InvalidOption`] for sizes that are out of bounds.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database, Error> {
        self.open_in(path.as_ref(), None)
    }

    /// Opens a new database in a directory of its own in the system's folder for temporary files; the directory is
    /// removed when the database is closed.
    ///
    /// ```
    /// let db = towpath::Options::temporary().open_temporary()?;
    /// let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// orders.append("one blue mug")?;
    /// db.close()?;
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Options::open`].
    pub fn open_temporary(self) -> Result<Database, Error> {
        let id = random_id().map_err(|source| Error::Io { attempt: "asking for randomness", source })?;
        let name = id.iter().fold(String::from("towpath-"), |name, byte| name + &format!("{byte:02x}"));
        let path = std::env::temp_dir().join(name);
        self.open_in(&path, Some(path.clone())).inspect_err(|_| {
            // It is nobody's, whole or not, and may not even be there; what cannot be removed is the system's.
            let _ = crate::storage::disk::host::remove_tree(&path);
        })
    }

    fn open_in(self, path: &Path, remove_on_close: Option<PathBuf>) -> Result<Database, Error> {
        let (create, level, mode) = (self.create && self.mode != OpenMode::Attach, self.level, self.mode);
        let reconnect_grace_micros = u64::try_from(self.reconnect_grace.as_micros()).unwrap_or(u64::MAX);
        // Before the directory is made: what is refused leaves nothing behind.
        let options = self.open_options(path)?;
        let disk = Arc::new(open_directory(path, create)?);
        let link = Link::open(Opening { disk, options, mode, reconnect_grace_micros })?;
        Database::of_link(link, level, path.to_owned(), remove_on_close)
    }

    fn open_options(self, path: &Path) -> Result<OpenOptions, Error> {
        let geometry = Geometry::new(self.ring_bytes, self.segment_bytes).ok_or_else(|| Error::InvalidOption {
            option: "ring_bytes and segment_bytes",
            reason: format!(
                "{} and {} must be powers of two from {GEOMETRY_BYTES_MIN} to {SEGMENT_BYTES_MAX}, the ring no larger",
                self.ring_bytes, self.segment_bytes
            ),
        })?;
        let id = random_id().map_err(|source| Error::Io { attempt: "asking for randomness", source })?;
        let flush_interval_micros = u64::try_from(self.flush_interval.as_micros()).unwrap_or(u64::MAX);
        Ok(OpenOptions {
            create: self.create,
            flush_interval_micros,
            clock: self.clock,
            path: path.display().to_string(),
            ..OpenOptions::new(geometry, id)
        })
    }
}

pub(super) fn open_directory(path: &Path, create: bool) -> Result<HostDisk, Error> {
    HostDisk::open(path, create).map_err(|source| match source.kind() {
        ErrorKind::NotFound if !create => Error::Missing { path: path.to_owned() },
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            let reason = "it, or a folder above it, is a file".to_owned();
            Error::NotADatabase { path: path.to_owned(), reason }
        }
        kind => {
            let source = io::Error::new(kind, format!("`{}`: {source}", path.display()));
            Error::Io { attempt: "opening the directory", source }
        }
    })
}
