//! A disk in memory that forgets what a power cut may forget, fails when told to, and does both by its seed alone.
//!
//! Every file has two images: the page cache, which reads and maps see, and the device. What this model grants an
//! engine, and nothing more:
//!
//! * A sector (512 bytes) is on the device once a sync of its file, or a `write_durable` that touches it, returned. Any
//!   other content that it had since may be there too: chance writes sectors back at any time, and at a power cut every
//!   sector that differs is kept or lost by itself. Sectors are never torn.
//! * A file's length is treated alike. A name is durable after `sync_dir`; before that each change of a name is kept or
//!   lost by itself, unless a later one makes no sense without it.
//! * A failed write may have written any prefix. A failed sync leaves sectors clean and not on the device, or reverted.
//! * Killing the process loses nothing that was written or stored, and releases the lock.
//!
//! After a power cut or a kill, everything opened before is dead: calls fail and maps show memory that is no file's.
//! Stores through maps are found by comparing; whoever stops the machine while a thread stores finds part of it.
//!
//! [`SimDisk`] is the bench: it controls the machine and outlives it. An engine under test gets [`SimDisk::attach`],
//! which dies with the machine, so that a thread left over from before cannot write to the disk of afterwards.

mod fault;
mod file;
mod inode;
mod machine;
mod memory;
mod names;
mod sectors;
mod trace;

#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;

pub(crate) use fault::{Aftermath, Fault, Operations};
#[cfg(all(test, not(loom)))]
pub(crate) use sectors::SECTOR_BYTES;
#[cfg(all(test, not(loom)))]
pub(crate) use trace::Counts;

use file::SimFile;
use inode::Inode;
use machine::Machine;
use names::{Entry, Names, folder_of};
use trace::Kind;

use crate::base::sync::{Arc, Mutex};
use crate::storage::disk::{Access, DirectoryLock, Disk, File, FileSystem, Hold, LockFault};

/// What a power cut does to what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    AllLost,
    AllKept,
    BySector,
}

/// The machine with its disk; clones share it.
#[derive(Clone)]
pub(crate) struct SimDisk {
    machine: Arc<Mutex<Machine>>,
    /// The life it is bound to; `None` for the bench.
    life: Option<u64>,
}

/// Both images of every file, at one moment.
#[derive(Clone)]
pub(crate) struct DiskImage {
    inodes: BTreeMap<u64, Inode>,
    names: Names,
    next_inode: u64,
}

/// Control over the machine.
impl SimDisk {
    pub(crate) fn new(seed: u64) -> SimDisk {
        SimDisk::from_snapshot(&DiskImage { inodes: BTreeMap::new(), names: Names::default(), next_inode: 1 }, seed)
    }

    /// A machine of its own, whose disk is in the state that `image` shows: running, nothing open.
    pub(crate) fn from_snapshot(image: &DiskImage, seed: u64) -> SimDisk {
        SimDisk { machine: Arc::new(Mutex::new(Machine::new(image.clone(), seed))), life: None }
    }

    /// A copy of the whole disk as it is now, cache and device.
    pub(crate) fn snapshot(&self) -> DiskImage {
        let mut machine = self.machine.lock();
        machine.inodes.values_mut().for_each(Inode::find_stores);
        DiskImage { inodes: machine.inodes.clone(), names: machine.names.clone(), next_inode: machine.next_inode }
    }

    /// The disk as this life of the machine sees it: dead after the next power cut or kill.
    pub(crate) fn attach(&self) -> Arc<dyn Disk> {
        let life = self.machine.lock().life;
        Arc::new(SimDisk { machine: self.machine.clone(), life: Some(life) })
    }

    /// Cuts the power in a way that the seed chooses, and starts the machine again.
    pub(crate) fn power_cut(&self) {
        let cut = self.machine.lock().chances.pick(&[Cut::AllLost, Cut::AllKept, Cut::BySector, Cut::BySector]);
        self.power_cut_with(cut);
    }

    pub(crate) fn power_cut_with(&self, cut: Cut) {
        self.machine.lock().cut_power(cut);
    }

    /// SIGKILL: the page cache survives with all mapped stores, the lock is released.
    pub(crate) fn kill(&self) {
        let mut machine = self.machine.lock();
        machine.inodes.values_mut().for_each(Inode::kill);
        machine.start_anew("kill");
    }

    /// Faults stay, across power cuts too, until they have struck or are cleared.
    pub(crate) fn inject(&self, fault: Fault) {
        self.machine.lock().faults.add(fault);
    }

    pub(crate) fn clear_faults(&self) {
        self.machine.lock().faults.clear();
    }

    /// What grows a file beyond this in all fails with ENOSPC. Files count their length while named or open.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.machine.lock().capacity = bytes;
    }

    pub(crate) fn allocated(&self) -> u64 {
        self.machine.lock().allocated()
    }

    /// Operations so far that can leave a trace on the device: as many as there are places to fail or to stop at.
    pub(crate) fn changes(&self) -> u64 {
        self.machine.lock().trace.changes()
    }

    /// The last operations, one a line, for the message of a failed test.
    pub(crate) fn log(&self) -> String {
        self.machine.lock().trace.log()
    }
}

/// Control that tests of single parts need.
#[cfg(all(test, not(loom)))]
impl SimDisk {
    /// Reads that touch the range fail with EIO until [`SimDisk::make_readable`]. Maps cannot be made to fail.
    pub(crate) fn make_unreadable(&self, path: &str, range: std::ops::Range<u64>) {
        self.machine.lock().named(path).unreadable.push(range);
    }

    pub(crate) fn make_readable(&self, path: &str) {
        self.machine.lock().named(path).unreadable.clear();
    }

    /// How often a write is followed by write-back of some file; chosen by the seed at first.
    pub(crate) fn set_write_back(&self, in_256: u64) {
        self.machine.lock().write_back_in_256 = in_256;
    }

    pub(crate) fn set_file_system(&self, file_system: FileSystem) {
        self.machine.lock().file_system = file_system;
    }

    /// A write through a dead handle is an error, and not (as it is by default in debug builds) a panic: for tests that
    /// stop the machine under a running engine.
    pub(crate) fn tolerate_dead_writes(&self) {
        self.machine.lock().dead_writes_panic = false;
    }

    pub(crate) fn counts(&self, path: &str) -> Counts {
        self.machine.lock().trace.counts(path)
    }
}

/// What someone could do who has the device in another machine.
impl SimDisk {
    /// Paths of all files.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.machine.lock().names.files().map(|(path, _)| path.to_owned()).collect()
    }

    /// The page cache of a file.
    pub(crate) fn contents(&self, path: &str) -> Vec<u8> {
        self.machine.lock().named(path).contents()
    }

    /// Flips a bit, in open maps too.
    pub(crate) fn flip_bit(&self, path: &str, offset: u64, bit: u32) {
        self.machine.lock().named(path).flip_bit(offset, bit);
    }

    pub(crate) fn truncate(&self, path: &str, len: u64) {
        let mut bytes = self.contents(path);
        bytes.truncate(len as usize);
        self.machine.lock().named(path).replace(bytes);
    }

    /// Puts a file in place, in a folder that exists, with its bytes and its name durable.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let mut machine = self.machine.lock();
        if machine.names.get(path).is_none() {
            machine.create(path).expect("the folder exists");
            machine.names.sync(folder_of(path));
        }
        machine.named(path).replace(bytes.to_vec());
    }

    /// Removes a file. All names as they are now become durable.
    pub(crate) fn erase(&self, path: &str) {
        let mut machine = self.machine.lock();
        machine.names.erase(path);
        machine.collect_garbage();
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let mut machine = self.machine.lock();
        let kind = if access == Access::Create { Kind::Create } else { Kind::Open };
        machine.begin(self.life, kind, path)?;
        let inode = if access == Access::Create { machine.create(path)? } else { machine.find(path)? };
        machine.inode(inode).handles += 1;
        let life = machine.life;
        let writable = access != Access::Read;
        Ok(Arc::new(SimFile { machine: self.machine.clone(), life, inode, path: path.into(), writable }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut machine = self.machine.lock();
        machine.begin(self.life, Kind::List, folder)?;
        machine.check_folder(folder)?;
        let inside = machine.names.files().map(|(path, _)| path).filter(|path| folder_of(path) == folder);
        Ok(inside.map(|path| path.rsplit('/').next().expect("splitting yields a part").to_owned()).collect())
    }

    fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut machine = self.machine.lock();
        machine.begin(self.life, Kind::List, folder)?;
        machine.check_folder(folder)?;
        let inside = machine.names.folders().filter(|path| folder_of(path) == folder);
        Ok(inside.map(|path| path.rsplit('/').next().expect("splitting yields a part").to_owned()).collect())
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.begin(self.life, Kind::CreateFolder, folder)?;
        machine.check_folder(folder_of(folder))?;
        match machine.names.get(folder) {
            None => machine.names.add(folder, Entry::Folder),
            Some(Entry::Folder) => {}
            Some(Entry::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.begin(self.life, Kind::Rename, from)?;
        machine.find(from)?;
        machine.check_folder(folder_of(to))?;
        if machine.names.get(to) == Some(Entry::Folder) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        machine.names.rename(from, to);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.begin(self.life, Kind::Remove, path)?;
        machine.find(path)?;
        machine.names.remove(path);
        Ok(())
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.begin(self.life, Kind::SyncDir, folder)?;
        machine.check_folder(folder)?;
        machine.names.sync(folder);
        machine.collect_garbage();
        Ok(())
    }

    fn lock(&self, hold: Hold) -> Result<Box<dyn DirectoryLock>, LockFault> {
        let mut machine = self.machine.lock();
        machine.begin(self.life, Kind::Lock, "LOCK").map_err(LockFault::Io)?;
        if let Some(held) = machine.held {
            return Err(LockFault::Held { pid: machine.pid(), exclusive: held == Hold::Exclusive });
        }
        machine.write_holder(hold).map_err(LockFault::Io)?;
        machine.held = Some(hold);
        Ok(Box::new(SimLock { machine: self.machine.clone(), life: machine.life }))
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        Ok(self.machine.lock().file_system.clone())
    }
}

struct SimLock {
    machine: Arc<Mutex<Machine>>,
    life: u64,
}

impl DirectoryLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut machine = self.machine.lock();
        if machine.life == self.life {
            machine.held = None;
        }
    }
}

impl fmt::Debug for SimLock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SimLock(life {})", self.life)
    }
}

/// Short, because engines print their disk in messages.
impl fmt::Debug for SimDisk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SimDisk(life {:?})", self.life)
    }
}
