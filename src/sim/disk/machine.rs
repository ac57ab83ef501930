//! The simulated machine: its files under their names, its faults, and the order in which chance is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::fault::{Faults, Strike};
use super::inode::Inode;
use super::names::{Entry, Names, folder_of};
use super::trace::{Kind, Trace};
use super::{Cut, DiskImage};
use crate::sim::random::Random;
use crate::storage::disk::{FileSystem, Hold};

pub(super) struct Machine {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) names: Names,
    pub(super) next_inode: u64,

    /// Rises with every power cut and kill.
    pub(super) life: u64,
    /// How the directory is held, if it is.
    pub(super) held: Option<Hold>,

    pub(super) capacity: u64,
    pub(super) faults: Faults,
    pub(super) write_back_in_256: u64,
    pub(super) file_system: FileSystem,
    pub(super) dead_writes_panic: bool,

    // Apart, so that a run with other faults or another cut still sees the same write-backs.
    pub(super) background: Random,
    pub(super) chances: Random,
    pub(super) trace: Trace,
}

impl Machine {
    pub(super) fn new(image: DiskImage, seed: u64) -> Machine {
        let DiskImage { inodes, names, next_inode } = image;
        let mut chances = Random::new(seed);
        let mut background = chances.fork();
        Machine {
            inodes,
            names,
            next_inode,
            life: 0,
            held: None,
            capacity: u64::MAX,
            faults: Faults::default(),
            write_back_in_256: background.pick(&[0, 8, 64]),
            file_system: FileSystem::Local,
            dead_writes_panic: cfg!(debug_assertions),
            background,
            chances,
            trace: Trace::default(),
        }
    }

    /// Every operation starts here: it is counted and logged, and fails if its caller is dead or a fault is due.
    pub(super) fn begin(&mut self, life: Option<u64>, kind: Kind, path: &str) -> io::Result<()> {
        match self.begin_range(life, kind, path, 0, 0)? {
            None => Ok(()),
            Some(strike) => Err(strike.error.into()),
        }
    }

    /// As `begin`; what a fault leaves behind is the caller's to work out.
    pub(super) fn begin_range(
        &mut self,
        life: Option<u64>,
        kind: Kind,
        path: &str,
        offset: u64,
        len: u64,
    ) -> io::Result<Option<Strike>> {
        if life.is_some_and(|life| life != self.life) {
            let dead_write = kind.is_change() && self.dead_writes_panic;
            assert!(!dead_write, "{kind:?} of {path:?} by a program that died with its machine");
            return Err(io::Error::other(format!("{path:?} was opened before the simulated machine stopped")));
        }
        self.trace.record(kind, path, offset, len);
        let strike = self.faults.strike(kind, path, &mut self.chances);
        if let Some(strike) = strike {
            self.trace.fail(&format_args!("{:?}", strike.error));
        }
        Ok(strike)
    }

    /// After a write: the kernel may find time to write back.
    pub(super) fn write_back(&mut self) {
        if !self.inodes.is_empty() && self.background.chance(self.write_back_in_256) {
            let at = self.background.below(self.inodes.len() as u64) as usize;
            let inode = self.inodes.values_mut().nth(at).expect("below their number");
            inode.write_back(&mut self.background);
        }
    }

    pub(super) fn cut_power(&mut self, cut: Cut) {
        for inode in self.inodes.values_mut() {
            inode.cut_power(cut, &mut self.chances);
        }
        let chances = &mut self.chances;
        self.names.cut_power(|| match cut {
            Cut::AllLost => false,
            Cut::AllKept => true,
            Cut::BySector => chances.chance(128),
        });
        self.start_anew("power cut");
    }

    pub(super) fn start_anew(&mut self, why: &str) {
        self.life += 1;
        self.held = None;
        self.trace.record(Kind::Stop, why, 0, 0);
        self.collect_garbage();
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<u64> {
        self.check_folder(folder_of(path))?;
        if self.names.get(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::new());
        self.names.add(path, Entry::File(inode));
        Ok(inode)
    }

    pub(super) fn write_holder(&mut self, hold: Hold) -> io::Result<()> {
        if self.names.get("LOCK").is_none() {
            self.create("LOCK")?;
        }
        let (pid, inode) = (self.pid(), self.find("LOCK")?);
        self.inode(inode).set_len(0);
        self.inode(inode).write(0, hold.text(pid).as_bytes());
        Ok(())
    }

    /// Another one in each life.
    pub(super) fn pid(&self) -> u32 {
        1000 + self.life as u32
    }

    pub(super) fn find(&self, path: &str) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Entry::File(inode)) => Ok(inode),
            Some(Entry::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn check_folder(&self, folder: &str) -> io::Result<()> {
        match self.names.get(folder) {
            Some(Entry::Folder) => Ok(()),
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn inode(&mut self, inode: u64) -> &mut Inode {
        self.inodes.get_mut(&inode).expect("an inode lives while it is named or open")
    }

    pub(super) fn named(&mut self, path: &str) -> &mut Inode {
        let inode = self.find(path).unwrap_or_else(|fault| panic!("{path:?}: {fault}"));
        self.inode(inode)
    }

    pub(super) fn allocated(&self) -> u64 {
        let named: BTreeSet<u64> = self.names.files().map(|(_, inode)| inode).collect();
        let counts = |number: &u64, inode: &Inode| inode.handles > 0 || named.contains(number);
        self.inodes.iter().filter(|(number, inode)| counts(number, inode)).map(|(_, inode)| inode.len()).sum()
    }

    /// The greatest length, up to `len`, that the file can have.
    pub(super) fn len_with_room(&self, inode: u64, len: u64) -> u64 {
        let held = self.inodes[&inode].len();
        if len <= held { len } else { len.min(held + self.capacity.saturating_sub(self.allocated())) }
    }

    pub(super) fn collect_garbage(&mut self) {
        let reachable = self.names.reachable();
        self.inodes.retain(|number, inode| inode.handles > 0 || reachable.contains(number));
    }
}
