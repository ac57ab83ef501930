//! One simulated file: what the page cache holds, what the device holds, and which sectors differ.
//!
//! * Beyond `len` the cache is zeros, as is what the device image lacks.
//! * A sector that differs from the device is either *dirty* (the next sync writes it) or *lost*: a failed sync marked
//!   it clean, so that reads see it and no later sync writes it.
//! * Stores through maps leave no trace. `find_stores` finds them by comparing, before anything depends on them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::Cut;
use super::fault::Aftermath;
use super::memory::{Memory, PAGE_BYTES, is_zeros};
use super::sectors::{SECTOR_BYTES, Sectors, touched};
use crate::base::sync::Arc;
use crate::sim::random::Random;
use crate::storage::disk::Map;

type Sector = [u8; SECTOR_BYTES as usize];

/// Sectors that one write-back in the background takes at most.
const WRITE_BACK_SECTORS_MAX: u64 = 16;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Mapped {
    Never,
    ForReading,
    ForWriting,
}

#[derive(Debug)]
pub(super) struct Inode {
    cache: Arc<Memory>,
    len: u64,

    device: Vec<u8>,
    device_len: u64,

    dirty: Sectors,
    /// With their content when they were lost: a mapped store since then makes them dirty again.
    lost: BTreeMap<u64, Box<Sector>>,

    /// Since the machine or the process started.
    mapped: Mapped,
    /// Buffers that a growing file left, and read maps may still show.
    outgrown: Vec<Arc<Memory>>,

    pub(super) handles: u32,
    pub(super) unreadable: Vec<Range<u64>>,
}

/// What the page cache and the device hold, in memory of its own and not open.
impl Clone for Inode {
    fn clone(&self) -> Inode {
        Inode {
            cache: self.cache.copy(self.len),
            device: sparse_copy(&self.device),
            dirty: self.dirty.clone(),
            lost: self.lost.clone(),
            mapped: Mapped::Never,
            outgrown: Vec::new(),
            handles: 0,
            unreadable: self.unreadable.clone(),
            ..*self
        }
    }
}

/// A copy that touches no page of zeros.
fn sparse_copy(bytes: &[u8]) -> Vec<u8> {
    let mut copy = vec![0; bytes.len()];
    for (to, from) in copy.chunks_mut(PAGE_BYTES).zip(bytes.chunks(PAGE_BYTES)) {
        if !is_zeros(from) {
            to.copy_from_slice(from);
        }
    }
    copy
}

impl Inode {
    pub(super) fn new() -> Inode {
        Inode {
            cache: Memory::new(0),
            len: 0,
            device: Vec::new(),
            device_len: 0,
            dirty: Sectors::default(),
            lost: BTreeMap::new(),
            mapped: Mapped::Never,
            outgrown: Vec::new(),
            handles: 0,
            unreadable: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(out.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        if self.unreadable.iter().any(|bad| bad.start < end && offset < bad.end) {
            return Err(super::fault::FaultError::Io.into());
        }
        if end > self.len && !out.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !out.is_empty() {
            self.cache.read(offset, out);
        }
        Ok(())
    }

    pub(super) fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.cache.read(0, &mut bytes);
        bytes
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        if end > self.len {
            self.set_len(end);
        }
        self.store(offset, bytes);
        self.soil(offset..end);
    }

    /// # Panics
    /// If maps would be left pointing past the end of the file, or at memory that is no longer its cache.
    pub(super) fn set_len(&mut self, len: u64) {
        if len > self.len {
            assert!(
                self.mapped < Mapped::ForWriting,
                "a file with a writable map must not grow: its map would go stale"
            );
            self.make_room(len);
        }
        if len < self.len {
            assert!(self.mapped == Mapped::Never, "a mapped file must not shrink: its map would be SIGBUS");
            self.cache.zero(len, self.len);
            self.lost.retain(|sector, _| sector * SECTOR_BYTES < len);
            // What is zeroed here must be zeros on the device too, should the file grow again before the next sync.
            self.soil(len..self.len.max(self.device_len));
        }
        self.len = len;
    }

    /// The range, widened to sectors, is on the device on return; and so is the length, as far as the range needs it.
    pub(super) fn sync_range(&mut self, range: Range<u64>) {
        self.find_stores();
        self.device_len = self.device_len.max(range.end);
        for sector in self.dirty.within(touched(range)) {
            self.write_sector(sector);
        }
    }

    pub(super) fn sync(&mut self) {
        self.find_stores();
        for sector in self.dirty_sectors() {
            self.write_sector(sector);
        }
        self.dirty.clear();
        self.device.truncate(self.len as usize);
        self.device_len = self.len;
    }

    /// What the kernel does on its own: some dirty sectors reach the device early.
    pub(super) fn write_back(&mut self, random: &mut Random) {
        self.find_stores();
        let dirty = self.dirty_sectors();
        if dirty.is_empty() {
            return;
        }
        let first = random.below(dirty.len() as u64) as usize;
        let count = 1 + random.below(WRITE_BACK_SECTORS_MAX) as usize;
        for &sector in dirty[first..].iter().take(count) {
            self.write_sector(sector);
            self.device_len = self.device_len.max(self.len.min((sector + 1) * SECTOR_BYTES));
        }
    }

    /// A sync of `range` that failed.
    pub(super) fn fail_sync(&mut self, range: Range<u64>, aftermath: Aftermath, random: &mut Random) {
        self.find_stores();
        let mut dirty = self.dirty_sectors();
        dirty.retain(|sector| touched(range.clone()).contains(sector));
        let clean = match aftermath {
            Aftermath::MarkedClean => true,
            Aftermath::Reverted => false,
            Aftermath::BySeed => {
                dirty.retain(|&sector| !(random.chance(128) && self.write_sector(sector)));
                random.chance(128)
            }
        };
        for sector in dirty {
            self.dirty.remove(sector);
            if clean {
                self.lost.insert(sector, Box::new(self.cached(sector)));
            } else {
                self.forget(sector);
            }
        }
    }

    /// Reads come from the device, except where the cache is still to be written.
    pub(super) fn drop_cache(&mut self) {
        self.find_stores();
        for sector in std::mem::take(&mut self.lost).into_keys() {
            self.forget(sector);
        }
    }

    pub(super) fn map(&mut self, len: u64, writable: bool) -> io::Result<Map> {
        if len == 0 || len > self.len {
            let text = format!("cannot map {len} bytes of a file of {}", self.len);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.mapped = self.mapped.max(if writable { Mapped::ForWriting } else { Mapped::ForReading });
        Ok(self.cache.map(len, writable))
    }

    /// The power fails: of what was not synced, chance keeps some.
    pub(super) fn cut_power(&mut self, cut: Cut, random: &mut Random) {
        self.find_stores();
        let len = match cut {
            Cut::AllLost => self.device_len,
            Cut::AllKept => self.len,
            Cut::BySector => {
                let (least, most) = (self.len.min(self.device_len), self.len.max(self.device_len));
                let between = least + random.below(most - least + 1);
                // A cut is one change; growth comes in as many steps as there were writes.
                let middle = if self.len > self.device_len { between } else { self.len };
                random.pick(&[self.len, self.device_len, middle])
            }
        };
        let in_256 = random.pick(&[32, 128, 224]);
        for sector in self.dirty_sectors() {
            let kept = match cut {
                Cut::AllLost => false,
                Cut::AllKept => true,
                Cut::BySector => random.chance(in_256),
            };
            if kept {
                self.write_sector(sector);
            }
        }
        self.device.resize(len as usize, 0);
        if self.is_unseen() && len <= self.len {
            self.restore_differing(len);
        } else {
            self.overwrite_all();
        }
    }

    /// The process dies: the cache stays, its maps do not.
    pub(super) fn kill(&mut self) {
        self.find_stores();
        if !self.is_unseen() {
            self.cache = self.cache.copy(self.len);
        }
        self.mapped = Mapped::Never;
        self.outgrown.clear();
        self.handles = 0;
    }

    /// Flips a bit in the cache, in every map and on the device.
    pub(super) fn flip_bit(&mut self, offset: u64, bit: u32) {
        self.find_stores();
        let mut byte = [0];
        self.cache.read(offset, &mut byte);
        self.store(offset, &[byte[0] ^ (1 << bit)]);
        if let Some(held) = self.device.get_mut(offset as usize) {
            *held ^= 1 << bit;
        }
    }

    /// The contents become `bytes`, on the device as well.
    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        assert!(self.mapped == Mapped::Never, "stop the machine before replacing a file that it has mapped");
        self.device = bytes;
        let handles = self.handles;
        self.overwrite_all();
        self.handles = handles;
    }

    /// Finds what was stored through maps since the last time.
    pub(super) fn find_stores(&mut self) {
        if self.mapped != Mapped::ForWriting {
            return;
        }
        for sector in 0..self.len.div_ceil(SECTOR_BYTES) {
            let cached = self.cached(sector);
            let lost = self.lost.get(&sector).is_some_and(|lost| **lost == cached);
            if !lost && cached != self.on_device(sector) {
                self.lost.remove(&sector);
                self.dirty.insert(sector);
            }
        }
    }

    /// No map shows the cache any more.
    fn is_unseen(&self) -> bool {
        Arc::strong_count(&self.cache) == 1 && self.outgrown.iter().all(|memory| Arc::strong_count(memory) == 1)
    }

    /// As `overwrite_all`, and touches only what differs: most of what a machine has written is on the device.
    fn restore_differing(&mut self, len: u64) {
        self.cache.zero(len, self.len);
        self.len = len;
        self.device_len = len;
        let dirty = self.dirty_sectors();
        for sector in dirty.into_iter().chain(std::mem::take(&mut self.lost).into_keys()) {
            if sector * SECTOR_BYTES < len {
                self.forget(sector);
            }
        }
        self.dirty.clear();
        self.mapped = Mapped::Never;
        self.outgrown.clear();
        self.handles = 0;
    }

    /// The device's image is all there is.
    fn overwrite_all(&mut self) {
        self.len = self.device.len() as u64;
        self.device_len = self.len;
        self.cache = Memory::new(self.len);
        self.cache.write(0, &self.device);
        self.dirty.clear();
        self.lost.clear();
        self.mapped = Mapped::Never;
        self.outgrown.clear();
        self.handles = 0;
    }

    fn make_room(&mut self, len: u64) {
        if len <= self.cache.capacity() {
            return;
        }
        let grown = Memory::new(len.max(self.cache.capacity() * 2));
        grown.copy_from(&self.cache, self.len);
        let outgrown = std::mem::replace(&mut self.cache, grown);
        if self.mapped == Mapped::ForReading {
            self.outgrown.push(outgrown);
        }
    }

    /// Into the cache, and into what older maps show of it.
    fn store(&mut self, offset: u64, bytes: &[u8]) {
        self.cache.write(offset, bytes);
        // A buffer that only this list holds has no map left.
        self.outgrown.retain(|memory| Arc::strong_count(memory) > 1);
        for memory in &self.outgrown {
            let shown = memory.capacity().saturating_sub(offset).min(bytes.len() as u64);
            if shown > 0 {
                memory.write(offset, &bytes[..shown as usize]);
            }
        }
    }

    fn soil(&mut self, range: Range<u64>) {
        for sector in touched(range) {
            self.dirty.insert(sector);
            self.lost.remove(&sector);
        }
    }

    /// Dirty sectors of the file as long as it is now: what was cut off needs no writing.
    fn dirty_sectors(&self) -> Vec<u64> {
        let end = self.len.div_ceil(SECTOR_BYTES);
        self.dirty.iter().take_while(|&sector| sector < end).collect()
    }

    /// Always true, for use in conditions.
    fn write_sector(&mut self, sector: u64) -> bool {
        let at = (sector * SECTOR_BYTES) as usize;
        let cached = self.cached(sector);
        if self.device.len() < at + cached.len() {
            self.device.resize(at + cached.len(), 0);
        }
        self.device[at..at + cached.len()].copy_from_slice(&cached);
        self.dirty.remove(sector);
        true
    }

    /// The cache of a sector becomes what the device holds.
    fn forget(&mut self, sector: u64) {
        let held = self.on_device(sector);
        let at = sector * SECTOR_BYTES;
        let len = SECTOR_BYTES.min(self.len - at) as usize;
        self.store(at, &held[..len]);
    }

    fn cached(&self, sector: u64) -> Sector {
        let mut bytes = [0; SECTOR_BYTES as usize];
        self.cache.read(sector * SECTOR_BYTES, &mut bytes);
        bytes
    }

    fn on_device(&self, sector: u64) -> Sector {
        let mut bytes = [0; SECTOR_BYTES as usize];
        let held = self.device.get((sector * SECTOR_BYTES) as usize..).unwrap_or_default();
        let len = held.len().min(bytes.len());
        bytes[..len].copy_from_slice(&held[..len]);
        bytes
    }
}
