//! An open file of the host, and maps of it.

#![expect(unsafe_code, reason = "a map hands out a pointer into memory that the kernel manages")]

use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, OwnedFd};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{self, Advice};
use rustix::io::{ReadWriteFlags, pread, pwritev2, retry_on_intr};

use super::super::{File, Map};
use crate::base::sync::Arc;

#[derive(Debug)]
pub(super) struct HostFile {
    // For messages only: the file may be renamed while it is open.
    #[allow(dead_code, reason = "read through Debug")]
    path: Box<str>,
    descriptor: OwnedFd,
}

impl HostFile {
    pub(super) fn new(path: &str, descriptor: OwnedFd) -> HostFile {
        HostFile { path: path.into(), descriptor }
    }

    /// Writes all of `bytes`. A short write is not a failure: the kernel reports one as the next call's error.
    fn write_all(&self, mut offset: u64, mut bytes: &[u8], flags: ReadWriteFlags) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = retry_on_intr(|| pwritev2(&self.descriptor, &[IoSlice::new(bytes)], offset, flags))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// The length to map, once the file is known to hold it: a page past its end is SIGBUS when touched.
    fn checked_len(&self, len: u64) -> io::Result<usize> {
        let held = self.len()?;
        if len == 0 || len > held {
            let text = format!("cannot map {len} bytes of a file of {held}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory.into())
    }
}

impl File for HostFile {
    fn len(&self) -> io::Result<u64> {
        let found = retry_on_intr(|| fs::fstat(&self.descriptor))?;
        Ok(u64::try_from(found.st_size).expect("the kernel reports no negative lengths"))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::ftruncate(&self.descriptor, len))?)
    }

    fn read(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = retry_on_intr(|| pread(&self.descriptor, &mut *buffer, offset))?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset += read as u64;
            buffer = &mut buffer[read..];
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all(offset, bytes, ReadWriteFlags::empty())
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all(offset, bytes, ReadWriteFlags::DSYNC)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::fdatasync(&self.descriptor))?)
    }

    fn drop_cache(&self) -> io::Result<()> {
        let whole: Option<NonZeroU64> = None;
        Ok(retry_on_intr(|| fs::fadvise(&self.descriptor, 0, whole, Advice::DontNeed))?)
    }

    fn map_read(&self, len: u64) -> io::Result<Map> {
        let len = self.checked_len(len)?;
        let mapped = MmapOptions::new().len(len).map_raw_read_only(self.descriptor.as_raw_fd())?;
        Ok(into_map(mapped, false))
    }

    fn map_write(&self, len: u64) -> io::Result<Map> {
        let len = self.checked_len(len)?;
        #[cfg(not(planted = "acknowledged_before_journal"))]
        let mapped = MmapOptions::new().len(len).map_raw(self.descriptor.as_raw_fd())?;
        #[cfg(planted = "acknowledged_before_journal")]
        // SAFETY: the copy is this process's own, and the file is as long as the map for as long as it is mapped.
        let mapped = MmapRaw::from(unsafe { MmapOptions::new().len(len).map_copy(self.descriptor.as_raw_fd())? });
        Ok(into_map(mapped, true))
    }
}

fn into_map(mapped: MmapRaw, writable: bool) -> Map {
    let (pointer, len) = (mapped.as_mut_ptr(), mapped.len());
    // SAFETY: `mapped` unmaps only when dropped, which the owner prevents. It maps `len` bytes, which the file holds
    // and, by the contract of `map_read` and `map_write`, never loses; for writing exactly if it was made by `map_raw`.
    unsafe { Map::from_raw(pointer, len, writable, Arc::new(mapped)) }
}
