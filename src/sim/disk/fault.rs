//! Faults to come: which operation fails, how, and what a failed sync leaves.

use std::io;

use super::trace::Kind;
use crate::sim::random::Random;

/// Operations that a fault counts and strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operations {
    All,
    Reads,
    /// `write`, `write_durable` and `set_len`.
    Writes,
    /// `sync_data`, `write_durable` and `sync_dir`.
    Syncs,
    /// `sync_data`: what was written before may be lost with it.
    SyncsOfData,
    /// Creating, renaming and removing.
    Names,
    /// Everything that can leave a trace on the device: all but reading, listing, mapping and plain opening.
    Changes,
}

impl Operations {
    pub(super) fn include(self, kind: Kind) -> bool {
        match self {
            Operations::All => true,
            Operations::Reads => kind == Kind::Read,
            Operations::Writes => matches!(kind, Kind::Write | Kind::WriteDurable | Kind::SetLen),
            Operations::Syncs => matches!(kind, Kind::SyncData | Kind::WriteDurable | Kind::SyncDir),
            Operations::SyncsOfData => kind == Kind::SyncData,
            Operations::Names => matches!(kind, Kind::Create | Kind::CreateFolder | Kind::Rename | Kind::Remove),
            Operations::Changes => kind.is_change(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultError {
    Io,
    NoSpace,
}

impl From<FaultError> for io::Error {
    fn from(error: FaultError) -> io::Error {
        io::Error::from_raw_os_error(match error {
            FaultError::Io => libc::EIO,
            FaultError::NoSpace => libc::ENOSPC,
        })
    }
}

/// What a failed sync leaves in the cache. In neither case does a later sync write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Aftermath {
    /// Nothing reached the device; reads see the new bytes until the cache is dropped or the power fails.
    MarkedClean,
    /// Nothing reached the device; reads see the old bytes.
    Reverted,
    /// Each sector may have reached the device; the others are marked clean, or reverted.
    BySeed,
}

/// By default: EIO from the next operation of the named sort on any path, once, with an aftermath chosen by the seed.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    operations: Operations,
    path: Option<String>,
    skip: u64,
    in_256: u64,
    forever: bool,
    error: FaultError,
    aftermath: Aftermath,
}

impl Fault {
    pub(crate) fn on(operations: Operations) -> Fault {
        Fault {
            operations,
            path: None,
            skip: 0,
            in_256: 256,
            forever: false,
            error: FaultError::Io,
            aftermath: Aftermath::BySeed,
        }
    }

    /// Only operations through this path count.
    pub(crate) fn path(self, path: &str) -> Fault {
        Fault { path: Some(path.to_owned()), ..self }
    }

    /// This many operations succeed first.
    pub(crate) fn after(self, skip: u64) -> Fault {
        Fault { skip, ..self }
    }

    /// After those, an operation fails `in_256` times out of 256.
    pub(crate) fn chance(self, in_256: u64) -> Fault {
        Fault { in_256, ..self }
    }

    /// It strikes again and again.
    pub(crate) fn forever(self) -> Fault {
        Fault { forever: true, ..self }
    }

    pub(crate) fn no_space(self) -> Fault {
        Fault { error: FaultError::NoSpace, ..self }
    }

    pub(crate) fn aftermath(self, aftermath: Aftermath) -> Fault {
        Fault { aftermath, ..self }
    }
}

/// A fault that met its operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strike {
    pub(super) error: FaultError,
    pub(super) aftermath: Aftermath,
}

#[derive(Clone, Default, Debug)]
pub(super) struct Faults {
    armed: Vec<Fault>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.armed.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.armed.clear();
    }

    /// Every fault counts every operation that it includes; the first that is due strikes.
    pub(super) fn strike(&mut self, kind: Kind, path: &str, random: &mut Random) -> Option<Strike> {
        let mut strike = None;
        self.armed.retain_mut(|fault| {
            let meant = fault.operations.include(kind) && fault.path.as_deref().is_none_or(|only| only == path);
            if !meant || fault.skip > 0 {
                fault.skip -= u64::from(meant);
                return true;
            }
            if strike.is_some() || !random.chance(fault.in_256) {
                return true;
            }
            strike = Some(Strike { error: fault.error, aftermath: fault.aftermath });
            fault.forever
        });
        strike
    }
}
