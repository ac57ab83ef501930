//! The places of `tests/place`, where what is opened is attached to a host.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use towpath::{CheckReport, Database, Error, OpenMode, Options};

use crate::child::ChildProcess;

#[path = "../place/mod.rs"]
mod base;

pub use base::*;

pub const IS_ATTACHED: bool = true;

/// A directory for one test, and the host that the test is attached to.
pub struct Place {
    host: Mutex<Option<Host>>,
    directory: base::Place,
}

#[expect(dead_code, reason = "what hosts the database does so until it is dropped")]
enum Host {
    Child(ChildProcess),
    Here(Database),
}

impl Place {
    pub fn new() -> Place {
        Place { host: Mutex::new(None), directory: base::Place::new() }
    }

    pub fn within(folder: &Path) -> Place {
        Place { host: Mutex::new(None), directory: base::Place::within(folder) }
    }

    pub fn data(&self) -> PathBuf {
        self.directory.data()
    }

    /// Has another process host the database, and attaches to it. The host before it ends first.
    pub fn open(&self) -> Database {
        self.try_open().unwrap()
    }

    /// The same. What refuses to be hosted by another process refuses this one too, and says why.
    pub fn try_open(&self) -> Result<Database, Error> {
        self.end_host();
        match ChildProcess::try_host(&self.data()) {
            Ok(host) => Ok(self.attach(Options::temporary(), Host::Child(host))),
            Err(told) => match Options::temporary().open(self.data()) {
                Ok(_) => panic!("only another process was refused: {told}"),
                Err(error) => Err(error),
            },
        }
    }

    /// Leaves the host, and has it close the database.
    pub fn close(&self, db: Database) {
        db.close().unwrap();
        self.end_host();
    }

    /// The same, with a host in this process.
    pub fn open_with(&self, options: Options) -> Database {
        self.end_host();
        let host = Host::Here(options.clone().open(self.data()).unwrap());
        self.attach(options, host)
    }

    pub fn check(&self) -> CheckReport {
        self.end_host();
        self.directory.check()
    }

    fn attach(&self, options: Options, host: Host) -> Database {
        *self.host.lock().unwrap() = Some(host);
        let attached = options.mode(OpenMode::Attach).open(self.data()).unwrap();
        assert!(!attached.is_host());
        attached
    }

    fn end_host(&self) {
        if let Some(Host::Child(child)) = self.host.lock().unwrap().take() {
            child.end();
        }
    }
}
