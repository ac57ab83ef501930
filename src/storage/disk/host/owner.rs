//! Whose the directory is: only that user and root host it, or attach.
//!
//! What root creates in another user's directory is given to that user at once, as SQLite does with its journals.
//! Otherwise a look at a database by root would lock its owner out.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::process::geteuid;

use super::HostDisk;

/// Who may do everything.
const ROOT: u32 = 0;

impl HostDisk {
    /// Whether this user may host the database, or be attached to it.
    pub(crate) fn admits(&self, uid: u32) -> io::Result<bool> {
        Ok(uid == ROOT || uid == retry_on_intr(|| fs::fstat(&self.directory))?.st_uid)
    }

    /// Gives what this process has just created to the owner of the directory.
    pub(super) fn give_to_owner(&self, created: impl AsFd) -> io::Result<()> {
        give_to_owner(&self.directory, created)
    }

    /// The same for what was created by name and cannot be opened: a socket. What else has come to bear the name stays
    /// whose it is.
    pub(super) fn give_socket_to_owner(&self, name: &str) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = retry_on_intr(|| fs::openat(&self.directory, name, flags, Mode::empty()))?;
        let kind = FileType::from_raw_mode(retry_on_intr(|| fs::fstat(&socket))?.st_mode);
        if kind == FileType::Socket { self.give_to_owner(socket) } else { Ok(()) }
    }
}

pub(super) fn give_to_owner(directory: impl AsFd, created: impl AsFd) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (owner, found) = (retry_on_intr(|| fs::fstat(&directory))?, retry_on_intr(|| fs::fstat(&created))?);
    if (owner.st_uid, owner.st_gid) == (found.st_uid, found.st_gid) {
        return Ok(());
    }
    let (uid, gid) = (fs::Uid::from_raw(owner.st_uid), fs::Gid::from_raw(owner.st_gid));
    Ok(retry_on_intr(|| fs::chownat(&created, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH))?)
}
