//! A file in memory: for looking at a database without changing a byte of it.

use std::io;

use crate::base::sync::{Arc, Mutex};

use super::{File, Map};

/// A copy of a file. What is written to it stays in memory.
#[derive(Debug)]
pub(crate) struct MemoryFile(Mutex<Vec<u8>>);

impl MemoryFile {
    /// Reads the whole of `file`.
    pub(crate) fn copy_of(file: &dyn File) -> io::Result<Arc<MemoryFile>> {
        let mut bytes = vec![0; file.len()? as usize];
        file.read(0, &mut bytes)?;
        Ok(Arc::new(MemoryFile(Mutex::new(bytes))))
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().resize(len as usize, 0);
        Ok(())
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.lock();
        let end = offset as usize + buffer.len();
        let found = bytes.get(offset as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.lock();
        let (start, end) = (offset as usize, offset as usize + from.len());
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(from);
        Ok(())
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn map_read(&self, _len: u64) -> io::Result<Map> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map_write(&self, _len: u64) -> io::Result<Map> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
