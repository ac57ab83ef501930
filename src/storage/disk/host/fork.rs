//! Telling a forked child from its parent without a system call.
//!
//! One page of memory that the kernel wipes in the child of a fork: the parent reads what it wrote there, the child
//! reads zero.
#![expect(unsafe_code, reason = "maps a page and asks the kernel to wipe it at a fork")]

use std::io;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::base::sync::{AtomicU64, Ordering};

const PAGE_BYTES: usize = 4096;

/// What a process that is no fork of the one that made the mark reads.
const HERE: u64 = 0x7077_6f74_6874_6170;

/// A mark that a forked child does not inherit.
#[derive(Debug)]
pub(crate) struct ForkMark {
    page: *mut std::ffi::c_void,
}

// SAFETY: the page is only read after `new`, through an atomic.
unsafe impl Send for ForkMark {}
// SAFETY: as above.
unsafe impl Sync for ForkMark {}

impl ForkMark {
    pub(crate) fn new() -> io::Result<ForkMark> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nobody's memory.
        let page = unsafe { mmap_anonymous(std::ptr::null_mut(), PAGE_BYTES, protection, flags)? };
        let mark = ForkMark { page };
        // SAFETY: the range is the page that was just mapped, and nothing else lives in it.
        unsafe { madvise(page, PAGE_BYTES, Advice::LinuxWipeOnFork)? };
        mark.word().store(HERE, Ordering::SeqCst);
        Ok(mark)
    }

    /// Whether this process is the one that made the mark.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.word().load(Ordering::Relaxed) == HERE
    }

    #[inline]
    fn word(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped, aligned and at least eight bytes long until `drop`; all accesses are atomic.
        unsafe { &*self.page.cast::<AtomicU64>() }
    }
}

impl Drop for ForkMark {
    fn drop(&mut self) {
        // SAFETY: the page was mapped in `new`, and `&mut self` says that nobody reads it any more.
        // An error would mean that the arguments are wrong; there is nobody to tell.
        let _ = unsafe { munmap(self.page, PAGE_BYTES) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_does_not_inherit_the_mark() {
        let mark = ForkMark::new().unwrap();
        assert!(mark.is_here());
        // SAFETY: the child only reads memory and leaves at once, without running anything of the parent's.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = i32::from(mark.is_here());
            // SAFETY: ends the child without running destructors or handlers of the parent.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for the child that was just made; `status` is ours.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(waited, child);
        assert_eq!(status, 0, "the child read the parent's mark");
        assert!(mark.is_here());
    }
}
