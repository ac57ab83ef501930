//! Where the demonstration keeps its database.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// A directory that was empty or did not exist.
pub(super) struct Directory {
    path: PathBuf,
    is_temporary: bool,
}

impl Directory {
    /// The named directory, which must be empty or missing; it stays.
    pub(super) fn named(path: PathBuf) -> Result<Directory, Failure> {
        match fs::read_dir(&path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Ok(false) => {
                let message = format!("{} is not empty; the demonstration needs an empty directory", path.display());
                return Err(Failure::refused(message));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::failed(format!("cannot read {}: {error}", path.display()))),
        }
        Ok(Directory { path, is_temporary: false })
    }

    /// A new directory under the system's temporary folder, removed when dropped.
    pub(super) fn temporary() -> Result<Directory, Failure> {
        let path = std::env::temp_dir().join(format!("towpath-demo-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Failure::failed(format!("cannot create {}: {error}", path.display())))?;
        Ok(Directory { path, is_temporary: true })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.is_temporary
    }

    /// Leaves the directory where it is, as evidence.
    pub(super) fn keep(&mut self) {
        self.is_temporary = false;
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("towpath: cannot remove {}: {error}", self.path.display());
        }
    }
}
