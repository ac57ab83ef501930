//! The directory of the database, and how a command comes to it.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use towpath::{Database, OpenMode, Options};

use crate::exit::Failure;

/// Where the database is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) mode: ModeName,
}

/// Whether a command shares the directory with other processes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum ModeName {
    /// Attach to the process that hosts it; if there is none, host it meanwhile
    Auto,
    /// Attach to the process that hosts it; fail if there is none
    Attach,
    /// Hold it alone; fail if another process has it open
    Exclusive,
}

impl ModeName {
    fn mode(self) -> OpenMode {
        match self {
            ModeName::Auto => OpenMode::Auto,
            ModeName::Attach => OpenMode::Attach,
            ModeName::Exclusive => OpenMode::Exclusive,
        }
    }
}

impl Place {
    /// The same, in the directory that the command was given, if it was given one.
    pub(crate) fn or_in(self, directory: Option<PathBuf>) -> Place {
        Place { directory: directory.unwrap_or(self.directory), ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    /// Opens the database, or makes it.
    pub(crate) fn open(&self) -> Result<Database, Failure> {
        Ok(Options::new().mode(self.mode.mode()).open(&self.directory)?)
    }

    /// Opens a database that must be there: a mistyped directory is told, not created.
    pub(crate) fn open_existing(&self) -> Result<Database, Failure> {
        Ok(Options::new().mode(self.mode.mode()).create(false).open(&self.directory)?)
    }

    /// Attaches to who hosts the database, whatever the mode is: who only looks takes nobody's place.
    pub(crate) fn attach(&self) -> Result<Database, Failure> {
        Ok(Options::new().mode(OpenMode::Attach).create(false).open(&self.directory)?)
    }
}
