//! Mapped memory of a file, shared with other threads and other processes.

#![expect(unsafe_code, reason = "a map is a pointer into memory that others write to")]

use crate::base::sync::Arc;

/// Mapped memory. It stays mapped until the last clone is dropped, whatever becomes of the file's name.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pointer: *mut u8,
    len: usize,
    writable: bool,
    #[cfg(loom)]
    watch: Option<Arc<watch::Watch>>,
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
        Map {
            pointer,
            len,
            writable,
            #[cfg(loom)]
            watch: None,
            _owner: owner,
        }
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
        #[cfg(loom)]
        self.watch.iter().for_each(|watch| watch.read(at, len));
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
        #[cfg(loom)]
        self.watch.iter().for_each(|watch| watch.write(at, len));
        // SAFETY: the range was just checked to lie inside a writable map; exclusivity is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(at), len) }
    }
}

#[cfg(loom)]
mod watch {
    //! Maps of which loom sees the accesses. It cannot see raw memory, so each word of the map has a cell beside it
    //! that stands for its bytes: an access that no ordering keeps apart from a write is reported as a causality
    //! violation.

    use loom::cell::UnsafeCell;
    use memmap2::{MmapMut, MmapRaw};

    use super::Map;
    use crate::base::bounds::ALIGN_BYTES;
    use crate::base::sync::Arc;

    #[derive(Debug)]
    pub(super) struct Watch(Vec<UnsafeCell<()>>);

    // SAFETY: the cells hold nothing, and loom checks every access to them.
    unsafe impl Sync for Watch {}

    impl Watch {
        fn words(&self, at: usize, len: usize) -> &[UnsafeCell<()>] {
            &self.0[at / ALIGN_BYTES as usize..(at + len).div_ceil(ALIGN_BYTES as usize)]
        }

        pub(super) fn read(&self, at: usize, len: usize) {
            self.words(at, len).iter().for_each(|word| word.with(|_| ()));
        }

        pub(super) fn write(&self, at: usize, len: usize) {
            self.words(at, len).iter().for_each(|word| word.with_mut(|_| ()));
        }
    }

    impl Map {
        /// Zeros of its own, watched.
        pub(crate) fn watched(len: usize) -> Map {
            let owner = Arc::new(MmapRaw::from(MmapMut::map_anon(len).expect("memory for a model")));
            let words = (0..len.div_ceil(ALIGN_BYTES as usize)).map(|_| UnsafeCell::new(())).collect();
            // SAFETY: the mapping is `len` bytes long, writable, and lives as long as `owner`.
            let map = unsafe { Map::from_raw(owner.as_mut_ptr(), len, true, owner.clone()) };
            Map { watch: Some(Arc::new(Watch(words))), ..map }
        }

        /// What `write` does to a file behind the map.
        pub(crate) fn store(&self, at: usize, bytes: &[u8]) {
            // SAFETY: loom reports whoever accesses the range without an ordering, and runs one thread at a time.
            unsafe { self.bytes_mut(at, bytes.len()) }.copy_from_slice(bytes);
        }

        /// What `read` does.
        pub(crate) fn load(&self, at: usize, len: usize) -> Vec<u8> {
            // SAFETY: as for `store`.
            unsafe { self.bytes(at, len) }.to_vec()
        }
    }
}
