//! An open file of the simulated disk.

use std::fmt;
use std::io;

use super::fault::{FaultError, Strike};
use super::machine::Machine;
use super::trace::Kind;
use crate::base::sync::{Arc, Mutex, MutexGuard};
use crate::storage::disk::{File, Map};

pub(super) struct SimFile {
    pub(super) machine: Arc<Mutex<Machine>>,
    pub(super) life: u64,
    pub(super) inode: u64,
    pub(super) path: Box<str>,
    pub(super) writable: bool,
}

impl SimFile {
    /// Starts an operation that a fault fails without any other trace.
    fn begin(&self, kind: Kind, offset: u64, len: u64) -> io::Result<MutexGuard<'_, Machine>> {
        match self.begin_struck(kind, offset, len)? {
            (machine, None) => Ok(machine),
            (_, Some(strike)) => Err(strike.error.into()),
        }
    }

    fn begin_struck(&self, kind: Kind, offset: u64, len: u64) -> io::Result<(MutexGuard<'_, Machine>, Option<Strike>)> {
        let mut machine = self.machine.lock();
        let strike = machine.begin_range(Some(self.life), kind, &self.path, offset, len)?;
        Ok((machine, strike))
    }

    /// As the kernel answers a write through a descriptor that was opened for reading.
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) }
    }

    /// Into the cache: all of `bytes`, or as much of it as a full disk takes, or as a fault lets through.
    fn write_cache(
        &self,
        machine: &mut Machine,
        strike: Option<Strike>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), FaultError> {
        let end = offset + bytes.len() as u64;
        let room = machine.len_with_room(self.inode, end).saturating_sub(offset);
        let taken = bytes.len().min(room as usize);
        let (taken, outcome) = match strike {
            Some(strike) => {
                let prefix = machine.chances.below(taken as u64 + 1) as usize;
                (machine.chances.pick(&[0, prefix, taken]), Err(strike.error))
            }
            None if taken < bytes.len() => (taken, Err(FaultError::NoSpace)),
            None => (taken, Ok(())),
        };
        machine.inode(self.inode).write(offset, &bytes[..taken]);
        machine.write_back();
        if let Err(error) = outcome {
            machine.trace.fail(&format_args!("{error:?} after {taken} bytes"));
        }
        outcome
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut machine = self.machine.lock();
        if machine.life != self.life {
            return Err(io::Error::other(format!("{:?} was opened before the simulated machine stopped", self.path)));
        }
        Ok(machine.inode(self.inode).len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut machine = self.begin(Kind::SetLen, 0, len)?;
        // ftruncate(2) answers EINVAL where write(2) answers EBADF.
        self.check_writable().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        if machine.len_with_room(self.inode, len) < len {
            machine.trace.fail(&"NoSpace");
            return Err(FaultError::NoSpace.into());
        }
        machine.inode(self.inode).set_len(len);
        Ok(())
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut machine = self.begin(Kind::Read, offset, buffer.len() as u64)?;
        machine.inode(self.inode).read(offset, buffer)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut machine, strike) = self.begin_struck(Kind::Write, offset, bytes.len() as u64)?;
        self.check_writable()?;
        Ok(self.write_cache(&mut machine, strike, offset, bytes)?)
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut machine, strike) = self.begin_struck(Kind::WriteDurable, offset, bytes.len() as u64)?;
        self.check_writable()?;
        let outcome = self.write_cache(&mut machine, strike, offset, bytes);
        let machine = &mut *machine;
        let inode = machine.inodes.get_mut(&self.inode).expect("an open file has an inode");
        let range = offset..inode.len().min(offset + bytes.len() as u64).max(offset);
        match (outcome, strike) {
            (Ok(()), _) if range.is_empty() => {}
            (Ok(()), _) => inode.sync_range(range),
            (Err(_), Some(strike)) => inode.fail_sync(range, strike.aftermath, &mut machine.chances),
            // A full disk refused the rest; what it took is as after a plain write.
            (Err(_), None) => {}
        }
        Ok(outcome?)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut machine, strike) = self.begin_struck(Kind::SyncData, 0, 0)?;
        let machine = &mut *machine;
        let inode = machine.inodes.get_mut(&self.inode).expect("an open file has an inode");
        let Some(strike) = strike else {
            inode.sync();
            return Ok(());
        };
        inode.fail_sync(0..inode.len(), strike.aftermath, &mut machine.chances);
        Err(strike.error.into())
    }

    fn drop_cache(&self) -> io::Result<()> {
        let mut machine = self.begin(Kind::DropCache, 0, 0)?;
        machine.inode(self.inode).drop_cache();
        Ok(())
    }

    fn map_read(&self, len: u64) -> io::Result<Map> {
        let mut machine = self.begin(Kind::Map, 0, len)?;
        machine.inode(self.inode).map(len, false)
    }

    fn map_write(&self, len: u64) -> io::Result<Map> {
        let mut machine = self.begin(Kind::Map, 0, len)?;
        self.check_writable().map_err(|_| io::Error::from(io::ErrorKind::PermissionDenied))?;
        machine.inode(self.inode).map(len, true)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut machine = self.machine.lock();
        if machine.life == self.life {
            let inode = machine.inode(self.inode);
            inode.handles -= 1;
            if inode.handles == 0 {
                machine.collect_garbage();
            }
        }
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SimFile({:?})", self.path)
    }
}
