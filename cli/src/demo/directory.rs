//! Where the demonstration keeps its database.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::exit::Failure;

/// A directory that was empty or did not exist.
pub(super) struct Directory {
    path: PathBuf,
    /// Removes it when dropped.
    temporary: Option<TempDir>,
}

impl Directory {
    /// The named directory, which must be empty or missing; it stays.
    pub(super) fn named(path: PathBuf) -> Result<Directory, Failure> {
        match fs::read_dir(&path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Ok(false) => {
                let message = format!(
                    "{} is not empty; the demonstration needs a new or empty directory: name one with --data",
                    path.display()
                );
                return Err(Failure::refused(message));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::failed(format!("cannot read {}: {error}", path.display()))),
        }
        Ok(Directory { path, temporary: None })
    }

    /// A new directory under the system's temporary folder, removed when dropped.
    pub(super) fn temporary() -> Result<Directory, Failure> {
        let temporary = tempfile::Builder::new()
            .prefix("towpath-demo-")
            .tempdir()
            .map_err(|error| Failure::failed(format!("cannot create a temporary directory: {error}")))?;
        Ok(Directory { path: temporary.path().to_owned(), temporary: Some(temporary) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Leaves the directory where it is, as evidence.
    pub(super) fn keep(&mut self) {
        self.path = self.temporary.take().map_or_else(|| self.path.clone(), TempDir::keep);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take()
            && let Err(error) = temporary.close()
        {
            eprintln!("towpath: cannot remove {}: {error}", self.path.display());
        }
    }
}
