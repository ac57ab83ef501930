//! The disk as the engine sees it: one directory of files, and exactly the operations whose effect on a crash is known.
//!
//! There are two implementations: `host`, the operating system's, and `sim::disk`, which forgets what a power cut may
//! forget. What is assumed of either:
//!
//! * A write that returned is seen by every later read and every map, in this process and the next, until a power cut.
//! * After a power cut each 512-byte sector of a file holds its content at the last sync or any content written since.
//! * A file's length, and the bytes of a file, are durable once `sync` or `sync_data` returned; its *name* (creation,
//!   renaming, removal) once `sync_dir` of its folder returned.
//! * `write_durable` makes its own range durable and nothing else: earlier unsynced writes may stay holes.
//! * After a failed write or sync nothing is known of the range, and trying again proves nothing.
//!
//! Paths are relative to the database directory, with `/` between folder and file.

pub(crate) mod clock;
#[cfg(all(test, not(loom)))]
pub(crate) mod conformance;
pub(crate) mod held;
pub(crate) mod host;
mod map;

use std::io;

use crate::base::sync::Arc;
pub(crate) use map::Map;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// It must exist.
    Read,
    /// It must exist.
    Write,
    /// It must not exist.
    Create,
}

/// How a process holds the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    /// For itself alone.
    Exclusive,
    /// As a host that others may attach to.
    Attachable,
}

/// Who holds the directory, by what it wrote into `LOCK`. For the instant between taking the lock and writing, it is
/// what the holder before wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Holder {
    /// 0 if it could not be read.
    pub(crate) pid: u32,
    pub(crate) exclusive: bool,
}

/// Why the directory's lock was not had.
#[derive(Debug)]
pub(crate) enum LockFault {
    /// Another process has it; the fields are those of its [`Holder`].
    Held {
        pid: u32,
        exclusive: bool,
    },
    Io(io::Error),
}

/// What kind of file system the directory lies on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FileSystem {
    Local,
    /// Named as the operating system names it ("nfs", "cifs", "9p", …).
    Network(String),
}

impl Hold {
    /// What `LOCK` says: the process id in the first line, `exclusive` or nothing in the second. The second is there
    /// even if empty, so that none is seen of a holder before.
    pub(crate) fn text(self, pid: u32) -> String {
        match self {
            Hold::Exclusive => format!("{pid}\nexclusive\n"),
            Hold::Attachable => format!("{pid}\n\n"),
        }
    }
}

impl Holder {
    /// Reads what [`Hold::text`] wrote, or a process id alone.
    pub(crate) fn parse(text: &[u8]) -> Holder {
        let mut lines = text.split(|&byte| byte == b'\n');
        let pid = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse().ok()).unwrap_or(0);
        Holder { pid, exclusive: lines.next() == Some(b"exclusive") }
    }
}

/// Keeps the directory's lock until dropped.
pub(crate) trait DirectoryLock: Send + Sync + std::fmt::Debug {}

/// One directory of files.
pub(crate) trait Disk: Send + Sync + std::fmt::Debug {
    /// Opens one file. `NotFound` and `AlreadyExists` are told apart by the error's kind.
    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Names (not paths) of the files in `folder` ("" is the directory itself), in any order. Folders are left out.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Names of the folders in `folder`, as `list` gives those of files.
    fn folders(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Creates a folder unless it exists.
    fn create_folder(&self, folder: &str) -> io::Result<()>;

    /// Renames a file, replacing what bears the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file's name. Open files and maps of it stay valid.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes creations, renamings and removals in `folder` durable.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;

    /// Takes the directory's lock, without waiting. The file `LOCK` is created if missing and tells who holds it how.
    fn lock(&self, hold: Hold) -> Result<Box<dyn DirectoryLock>, LockFault>;

    fn file_system(&self) -> io::Result<FileSystem>;
}

/// One open file. Offsets and lengths are bytes.
pub(crate) trait File: Send + Sync + std::fmt::Debug {
    fn len(&self) -> io::Result<u64>;

    /// Grows the file with zeros, or cuts it.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Fills `buffer` from `offset`; `UnexpectedEof` if the file ends before.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`. Durable after a sync.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; on return this range, and only this, is durable.
    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written to this file durable, with the metadata needed to read it.
    fn sync_data(&self) -> io::Result<()>;

    /// Asks the system to forget cached pages of this file, so that reads come from the device.
    fn drop_cache(&self) -> io::Result<()>;

    /// Maps the first `len` bytes for reading. The file must be at least that long and must never shrink.
    fn map_read(&self, len: u64) -> io::Result<Map>;

    /// Maps the first `len` bytes for reading and writing, shared with every process that maps it. Stores are seen by
    /// later opens of the file although this process dies; a power cut may undo them.
    fn map_write(&self, len: u64) -> io::Result<Map>;
}
