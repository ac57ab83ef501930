//! Mapped memory of a file, shared with other threads and other processes.

#![expect(unsafe_code, reason = "a map is a pointer into memory that others write to")]

use crate::base::sync::Arc;

/// Mapped memory. It stays mapped until the last clone is dropped, whatever becomes of the file's name.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pointer: *mut u8,
    len: usize,
    writable: bool,
    // Keeps the memory mapped; never read.
    _owner: Arc<dyn std::any::Any + Send + Sync>,
}

// SAFETY: the pointer is into memory that `_owner` keeps valid wherever the map is moved; every access through it is
// unsafe or copies under the contracts below.
unsafe impl Send for Map {}
// SAFETY: as for `Send`; the contracts of `bytes` and `write` name what callers must keep apart.
unsafe impl Sync for Map {}

impl Map {
    /// # Safety
    /// `pointer` must be valid for reads of `len` bytes (and for writes, if `writable`) for as long as `owner` lives.
    pub(crate) unsafe fn from_raw(
        pointer: *mut u8,
        len: usize,
        writable: bool,
        owner: Arc<dyn std::any::Any + Send + Sync>,
    ) -> Map {
        Map { pointer, len, writable, _owner: owner }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// # Safety
    /// Nobody may write to the range while the slice lives: it must lie below the `written` watermark (for a segment),
    /// or between `written` and `issued` (for the ring).
    #[inline]
    pub(crate) unsafe fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at <= self.len && len <= self.len - at, "range {at}+{len} outside a map of {}", self.len);
        // SAFETY: the range was just checked to lie inside the map; that nobody writes to it is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.pointer.add(at), len) }
    }

    /// # Safety
    /// Nobody else may read or write the range while the slice lives.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "the map is shared memory; exclusivity of the range is the contract")]
    pub(crate) unsafe fn bytes_mut(&self, at: usize, len: usize) -> &mut [u8] {
        assert!(self.writable, "write to a read-only map");
        assert!(at <= self.len && len <= self.len - at, "range {at}+{len} outside a map of {}", self.len);
        // SAFETY: the range was just checked to lie inside a writable map; exclusivity is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(at), len) }
    }
}
