//! The page cache of one simulated file: memory whose address never changes, so that maps can point into it.
//!
//! Bytes are copied in and out through raw pointers, never borrowed: an engine stores through a map of this memory
//! while the simulated disk reads other parts of it. As on a real machine, whoever cuts the power while a thread is
//! storing finds some of what it stored.

#![expect(unsafe_code, reason = "memory shared with maps is reached by pointer, as the kernel reaches it")]

use memmap2::{MmapMut, MmapRaw};

use crate::base::sync::Arc;
use crate::storage::disk::Map;

/// Page-aligned zeros at first.
#[derive(Debug)]
pub(super) struct Memory {
    pages: MmapRaw,
}

pub(super) const PAGE_BYTES: usize = 4096;
const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// Whether the bytes, a page at most, are all zero.
pub(super) fn is_zeros(bytes: &[u8]) -> bool {
    bytes == &ZEROS[..bytes.len()]
}

/// Address space costs nothing until it is touched.
const RESERVED_BYTES: u64 = 8 << 20;

impl Memory {
    /// At least `bytes`, rounded up to whole pages, and as many as most files will ever have: growing means copying.
    pub(super) fn new(bytes: u64) -> Arc<Memory> {
        let rounded = bytes.max(RESERVED_BYTES).next_multiple_of(PAGE_BYTES as u64);
        let pages = MmapMut::map_anon(usize::try_from(rounded).expect("sizes fit the address space"));
        Arc::new(Memory { pages: pages.expect("memory for a simulated file").into() })
    }

    /// A copy of the first `len` bytes in memory of its own. Pages of zeros are there already: most of a file is zeros,
    /// and touching them all would be most of what copying a disk costs.
    pub(super) fn copy(&self, len: u64) -> Arc<Memory> {
        let copy = Memory::new(len);
        let mut page = ZEROS;
        for at in (0..len).step_by(PAGE_BYTES) {
            let page = &mut page[..PAGE_BYTES.min((len - at) as usize)];
            self.read(at, page);
            if !is_zeros(page) {
                copy.write(at, page);
            }
        }
        copy
    }

    pub(super) fn copy_from(&self, other: &Memory, len: u64) {
        let len = len as usize;
        assert!(len <= self.pages.len() && len <= other.pages.len());
        // SAFETY: both are `len` bytes of mapped memory, just checked, and `&self` and `&other` keep them mapped.
        // `copy` tolerates that they are the same.
        unsafe { std::ptr::copy(other.pages.as_ptr(), self.pages.as_mut_ptr(), len) };
    }

    pub(super) fn capacity(&self) -> u64 {
        self.pages.len() as u64
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) {
        let at = self.place(offset, out.len());
        // SAFETY: the range lies inside the memory (`place`), and `out` is a buffer of the caller's, elsewhere.
        unsafe { std::ptr::copy(self.pages.as_ptr().add(at), out.as_mut_ptr(), out.len()) };
    }

    /// `bytes` may lie in this very memory: the engine writes to its segment what it reads from a map.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) {
        let at = self.place(offset, bytes.len());
        // SAFETY: the range lies inside the memory (`place`); `copy` allows the two ranges to overlap.
        unsafe { std::ptr::copy(bytes.as_ptr(), self.pages.as_mut_ptr().add(at), bytes.len()) };
    }

    pub(super) fn zero(&self, from: u64, to: u64) {
        let len = (to - from) as usize;
        let at = self.place(from, len);
        // SAFETY: the range lies inside the memory (`place`).
        unsafe { std::ptr::write_bytes(self.pages.as_mut_ptr().add(at), 0, len) };
    }

    /// Maps the first `len` bytes. `file` is kept alive with the map.
    pub(super) fn map(self: &Arc<Memory>, len: u64, writable: bool) -> Map {
        let len = self.place(0, len as usize) + len as usize;
        // SAFETY: the memory is mapped for reading and writing, holds `len` bytes (`place`) and is owned by the map.
        unsafe { Map::from_raw(self.pages.as_mut_ptr(), len, writable, self.clone()) }
    }

    fn place(&self, offset: u64, len: usize) -> usize {
        let end = offset.checked_add(len as u64).expect("ranges end below 2^64");
        assert!(end <= self.capacity(), "range {offset}+{len} outside memory of {}", self.capacity());
        offset as usize
    }
}
