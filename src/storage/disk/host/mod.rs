//! The operating system's disk, for Linux.
//!
//! The database directory is opened once and everything in it is reached relative to that descriptor, so that a
//! directory renamed or replaced while the database is open never splits it in two. Files are 0600, folders 0700, and
//! all of them the directory's owner's (`owner.rs`).
//!
//! A call that a signal interrupted did nothing and is made again. A write or sync that failed is not: after it nothing
//! is known of the range, and a second sync that succeeds would prove nothing.

mod file;
mod file_system;
pub(crate) mod fork;
pub(crate) mod inherit;
mod lock;
mod owner;
pub(crate) mod socket;

#[cfg(all(test, not(loom)))]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use super::{Access, DirectoryLock, Disk, File, FileSystem, Hold, LockFault};
use crate::base::sync::Arc;

const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o700);

/// One directory of the host's file system.
#[derive(Debug)]
pub(crate) struct HostDisk {
    directory: OwnedFd,
}

impl HostDisk {
    /// Opens the directory. With `create`, it and the folders above it are made if missing, and their names are durable
    /// on return.
    pub(crate) fn open(path: &Path, create: bool) -> io::Result<HostDisk> {
        if create {
            create_durably(path)?;
        }
        Ok(HostDisk { directory: open_folder(rustix::fs::CWD, path)? })
    }
}

/// How many descriptors this process may have.
pub(crate) fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

impl Disk for HostDisk {
    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
            Access::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        let descriptor =
            retry_on_intr(|| fs::openat(&self.directory, checked(path), flags | OFlags::CLOEXEC, FILE_MODE))?;
        if access == Access::Create {
            self.give_to_owner(&descriptor)?;
        }
        Ok(Arc::new(file::HostFile::new(path, descriptor)))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.names(folder, |kind| kind != FileType::Directory)
    }

    fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        self.names(folder, |kind| kind == FileType::Directory)
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        match retry_on_intr(|| fs::mkdirat(&self.directory, checked(folder), FOLDER_MODE)) {
            // A file may bear the name, which is no folder.
            Err(Errno::EXIST) => self.folder(folder).map(drop),
            outcome => {
                outcome?;
                self.give_to_owner(self.folder(folder)?)
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::renameat(&self.directory, checked(from), &self.directory, checked(to)))?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::unlinkat(&self.directory, checked(path), AtFlags::empty()))?)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let descriptor = self.folder(folder)?;
        Ok(retry_on_intr(|| fs::fsync(&descriptor))?)
    }

    fn lock(&self, hold: Hold) -> Result<Box<dyn DirectoryLock>, LockFault> {
        Ok(Box::new(lock::HostLock::take(&self.directory, hold)?))
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        file_system::of(&self.directory)
    }
}

impl HostDisk {
    /// Names of what is in a folder and of a kind that is wanted. The engine gives nothing a name that is not UTF-8;
    /// what has one is told with replacement characters, which no name of the engine's has.
    fn names(&self, folder: &str, is_wanted: impl Fn(FileType) -> bool) -> io::Result<Vec<String>> {
        let descriptor = self.folder(folder)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&descriptor)? {
            let entry = entry?;
            let name = entry.file_name();
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    FileType::from_raw_mode(fs::statat(&descriptor, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
                }
                known => known,
            };
            if is_wanted(kind) && name != c"." && name != c".." {
                names.push(name.to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    /// Opens a folder anew, because reading or syncing needs a position and an error cursor of its own.
    fn folder(&self, folder: &str) -> io::Result<OwnedFd> {
        let path = if folder.is_empty() { "." } else { checked(folder) };
        open_folder(&self.directory, path)
    }
}

fn open_folder(at: impl std::os::fd::AsFd, path: impl rustix::path::Arg + Copy) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| fs::openat(&at, path, flags, Mode::empty()))?)
}

/// `path` itself. A path that leaves the directory is a mistake of the engine, never of a user.
fn checked(path: &str) -> &str {
    let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    assert!(inside, "path {path:?} is not a name inside the database directory");
    path
}

fn create_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_durably(above)?;
    match retry_on_intr(|| fs::mkdirat(rustix::fs::CWD, path, FOLDER_MODE)) {
        // Another process may be making the same database.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(fault) => return Err(fault.into()),
    }
    let above = open_folder(rustix::fs::CWD, above)?;
    Ok(retry_on_intr(|| fs::fsync(&above))?)
}

/// Removes a directory with all that is in it.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    std::fs::remove_dir_all(path)
}
