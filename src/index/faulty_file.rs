//! A file in memory for tests: it has a capacity, fails when told to, and knows what a power cut would leave of it.

use std::io::{self, ErrorKind};

use crate::base::sync::{Arc, Mutex};
use crate::storage::disk::{File, Map};

const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
pub(super) struct FaultyFile(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Content at the last sync.
    synced: Vec<u8>,
    capacity: Option<u64>,
    bytes_written: u64,
    syncs: u64,
    fail_write: Option<(u64, ErrorKind)>,
    fail_sync: Option<ErrorKind>,
    fail_reads: bool,
    /// Writes and syncs until the power is cut, the seed of what is kept, and what was kept.
    cut: Option<(u64, u64)>,
    kept: Option<Vec<u8>>,
}

impl FaultyFile {
    pub(super) fn new() -> Arc<FaultyFile> {
        FaultyFile::with(Vec::new())
    }

    pub(super) fn with(bytes: Vec<u8>) -> Arc<FaultyFile> {
        Arc::new(FaultyFile(Mutex::new(State { synced: bytes.clone(), bytes, ..State::default() })))
    }

    pub(super) fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = Some(bytes);
    }

    /// The write after `writes` more fails, and every one after it until `heal`.
    pub(super) fn fail_write_after(&self, writes: u64, kind: ErrorKind) {
        self.0.lock().fail_write = Some((writes, kind));
    }

    pub(super) fn fail_next_sync(&self, kind: ErrorKind) {
        self.0.lock().fail_sync = Some(kind);
    }

    pub(super) fn fail_reads(&self) {
        self.0.lock().fail_reads = true;
    }

    pub(super) fn heal(&self) {
        let mut state = self.0.lock();
        (state.capacity, state.fail_write, state.fail_sync, state.fail_reads) = (None, None, None, false);
    }

    pub(super) fn bytes_written(&self) -> u64 {
        self.0.lock().bytes_written
    }

    pub(super) fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    pub(super) fn content(&self) -> Vec<u8> {
        self.0.lock().bytes.clone()
    }

    /// After `operations` more writes, growths and syncs, what a power cut would leave is kept for `after_cut`.
    pub(super) fn cut_after(&self, operations: u64, seed: u64) {
        self.0.lock().cut = Some((operations, seed));
    }

    pub(super) fn after_cut(&self) -> Option<Arc<FaultyFile>> {
        self.0.lock().kept.take().map(FaultyFile::with)
    }
}

impl State {
    fn count_operation(&mut self) {
        match &mut self.cut {
            Some((0, seed)) => {
                let seed = *seed;
                self.cut = None;
                self.kept = Some(self.left_by_power_cut(seed));
            }
            Some((operations, _)) => *operations -= 1,
            None => {}
        }
    }

    /// Each sector holds what it held at the last sync or what was written since, and so does the length.
    fn left_by_power_cut(&self, seed: u64) -> Vec<u8> {
        let mut dice = Dice(seed);
        let mut kept = self.synced.clone();
        let unsynced_sectors = self.bytes.len().saturating_sub(kept.len()).div_ceil(SECTOR_BYTES) as u64;
        kept.resize((kept.len() + dice.below(unsynced_sectors + 1) as usize * SECTOR_BYTES).min(self.bytes.len()), 0);
        for (sector, written) in kept.chunks_mut(SECTOR_BYTES).zip(self.bytes.chunks(SECTOR_BYTES)) {
            if dice.below(2) == 0 {
                let len = sector.len().min(written.len());
                sector[..len].copy_from_slice(&written[..len]);
            }
        }
        kept
    }
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.count_operation();
        state.bytes.resize(len as usize, 0);
        Ok(())
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock();
        if state.fail_reads {
            return Err(io::Error::other("planted read failure"));
        }
        let from = state.bytes.get(offset as usize..offset as usize + buffer.len());
        buffer.copy_from_slice(from.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        state.count_operation();
        match &mut state.fail_write {
            Some((0, kind)) => return Err((*kind).into()),
            Some((writes, _)) => *writes -= 1,
            None => {}
        }
        let end = offset + bytes.len() as u64;
        // As a host's file system does, a write that finds the disk full leaves what it could write.
        let room = state.capacity.unwrap_or(u64::MAX).max(state.bytes.len() as u64);
        let written = (end.min(room) - offset.min(room)) as usize;
        let new_len = state.bytes.len().max(offset as usize + written);
        state.bytes.resize(new_len, 0);
        state.bytes[offset as usize..offset as usize + written].copy_from_slice(&bytes[..written]);
        state.bytes_written += written as u64;
        if written < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn write_durable(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.count_operation();
        state.syncs += 1;
        if let Some(kind) = state.fail_sync.take() {
            return Err(kind.into());
        }
        state.synced = state.bytes.clone();
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn map_read(&self, _: u64) -> io::Result<Map> {
        Err(ErrorKind::Unsupported.into())
    }

    fn map_write(&self, _: u64) -> io::Result<Map> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// Numbers that a seed decides (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
