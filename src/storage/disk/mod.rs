//! The disk as the engine sees it: one directory of files, with exactly the operations whose effect on a crash is known.
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

pub(crate) mod host;

use std::io;

use crate::base::sync::Arc;

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

/// Why the directory's lock was not had.
#[derive(Debug)]
pub(crate) enum LockFault {
    /// Another process has it; 0 if its process id could not be read.
    Held { pid: u32 },
    Io(io::Error),
}

/// What kind of file system the directory lies on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FileSystem {
    Local,
    /// Named as the operating system names it ("nfs", "cifs", "9p", …).
    Network(String),
}

/// Keeps the directory's lock until dropped.
pub(crate) trait DirectoryLock: Send + Sync + std::fmt::Debug {}

/// One directory of files.
pub(crate) trait Disk: Send + Sync + std::fmt::Debug {
    /// Opens one file. `NotFound` and `AlreadyExists` are told apart by the error's kind.
    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Names (not paths) of the files in `folder` ("" is the directory itself), in any order. Folders are left out.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Creates a folder unless it exists.
    fn create_folder(&self, folder: &str) -> io::Result<()>;

    /// Renames a file, replacing what bears the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file's name. Open files and maps of it stay valid.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes creations, renamings and removals in `folder` durable.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;

    /// Takes the directory's lock, without waiting. The file `LOCK` is created if missing and holds the process id.
    fn lock(&self) -> Result<Box<dyn DirectoryLock>, LockFault>;

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

    /// Maps the first `len` bytes for reading and writing, shared with every other process that maps it. Stores are seen
    /// by later opens of the file although this process dies; a power cut may undo them.
    fn map_write(&self, len: u64) -> io::Result<Map>;
}

/// Mapped memory. It stays mapped until the last clone is dropped, whatever becomes of the file's name.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pointer: *mut u8,
    len: usize,
    writable: bool,
    // Keeps the memory mapped; never read.
    _owner: Arc<dyn std::any::Any + Send + Sync>,
}

// SAFETY: the pointer is into memory that `_owner` keeps valid wherever the map is moved; every access through it is
// unsafe or copies under the contracts below.
unsafe impl Send for Map {}
// SAFETY: as for `Send`; the contracts of `bytes` and `write` name what callers must keep apart.
unsafe impl Sync for Map {}

impl Map {
    /// # Safety
    /// `pointer` must be valid for reads of `len` bytes (and for writes, if `writable`) for as long as `owner` lives.
    pub(crate) unsafe fn from_raw(
        pointer: *mut u8,
        len: usize,
        writable: bool,
        owner: Arc<dyn std::any::Any + Send + Sync>,
    ) -> Map {
        Map { pointer, len, writable, _owner: owner }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// # Safety
    /// Nobody may write to the range while the slice lives: it must lie below the `written` watermark (for a segment), or
    /// between `written` and `issued` (for the ring).
    #[inline]
    pub(crate) unsafe fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at <= self.len && len <= self.len - at, "range {at}+{len} outside a map of {}", self.len);
        // SAFETY: the range was just checked to lie inside the map; that nobody writes to it is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.pointer.add(at), len) }
    }

    /// # Safety
    /// Nobody else may read or write the range while the slice lives.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "the map is shared memory; exclusivity of the range is the contract")]
    pub(crate) unsafe fn bytes_mut(&self, at: usize, len: usize) -> &mut [u8] {
        assert!(self.writable, "write to a read-only map");
        assert!(at <= self.len && len <= self.len - at, "range {at}+{len} outside a map of {}", self.len);
        // SAFETY: the range was just checked to lie inside a writable map; exclusivity is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(at), len) }
    }
}
