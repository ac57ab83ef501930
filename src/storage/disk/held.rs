//! A file whose writes are held back until they are let through: opening an index writes to it, and an open that is
//! refused must not have changed a byte.

use std::io;

use crate::base::sync::{Arc, AtomicBool, Mutex, Ordering};

use super::{File, Map};

/// Reads see what was written; the file sees it only after [`HeldFile::release`], in the same order with the same
/// syncs.
#[derive(Debug)]
pub(crate) struct HeldFile {
    file: Arc<dyn File>,
    /// Set last by `release`, never cleared.
    released: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    len: u64,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

impl HeldFile {
    pub(crate) fn over(file: Arc<dyn File>) -> io::Result<Arc<HeldFile>> {
        let held = Held { len: file.len()?, steps: Vec::new() };
        Ok(Arc::new(HeldFile { file, released: AtomicBool::new(false), held: Mutex::new(held) }))
    }

    /// Does what was held back; from now on nothing is. After an error the file is as after a crash on the way.
    pub(crate) fn release(&self) -> io::Result<()> {
        let mut held = self.held.lock();
        for step in held.steps.drain(..) {
            match step {
                Step::Write(offset, bytes) => self.file.write(offset, &bytes)?,
                Step::SetLen(len) => self.file.set_len(len)?,
                Step::Sync => self.file.sync_data()?,
            }
        }
        self.released.store(true, Ordering::Release);
        Ok(())
    }

    /// Runs `then` on what is held back; `None` once nothing is.
    fn with_held<T>(&self, then: impl FnOnce(&mut Held) -> T) -> Option<T> {
        if self.released.load(Ordering::Acquire) {
            return None;
        }
        let mut held = self.held.lock();
        // It may have been released while this waited.
        (!self.released.load(Ordering::Acquire)).then(|| then(&mut held))
    }
}

impl Held {
    fn read(&self, file: &dyn File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = file.len()?.clamp(offset, end) - offset;
        let (from_file, beyond) = buffer.split_at_mut(there as usize);
        file.read(offset, from_file)?;
        beyond.fill(0);
        for step in &self.steps {
            match step {
                Step::Write(at, bytes) => {
                    let (from, to) = ((*at).max(offset), (at + bytes.len() as u64).min(end));
                    if from < to {
                        let written = &bytes[(from - at) as usize..(to - at) as usize];
                        buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(written);
                    }
                }
                Step::SetLen(len) => buffer[(*len).clamp(offset, end).saturating_sub(offset) as usize..].fill(0),
                Step::Sync => {}
            }
        }
        Ok(())
    }
}

impl File for HeldFile {
    fn len(&self) -> io::Result<u64> {
        self.with_held(|held| Ok(held.len)).unwrap_or_else(|| self.file.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let hold = |held: &mut Held| {
            held.len = len;
            held.steps.push(Step::SetLen(len));
        };
        self.with_held(hold).map_or_else(|| self.file.set_len(len), Ok)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.with_held(|held| held.read(&*self.file, offset, buffer)) {
            Some(read) => read,
            None => self.file.read(offset, buffer),
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let hold = |held: &mut Held| {
            held.len = held.len.max(offset + bytes.len() as u64);
            held.steps.push(Step::Write(offset, bytes.to_vec()));
        };
        self.with_held(hold).map_or_else(|| self.file.write(offset, bytes), Ok)
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes)?;
        self.sync_data()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with_held(|held| held.steps.push(Step::Sync)).map_or_else(|| self.file.sync_data(), Ok)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }

    fn map_read(&self, _len: u64) -> io::Result<Map> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map_write(&self, _len: u64) -> io::Result<Map> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::host::HostDisk;
    use crate::storage::disk::{Access, Disk};

    #[test]
    fn reads_see_what_is_held_back_and_the_file_only_after_the_release() {
        let folder = tempfile::tempdir().unwrap();
        let disk = HostDisk::open(folder.path(), true).unwrap();
        let file = disk.open("index", Access::Create).unwrap();
        file.write(0, b"one blue mug").unwrap();
        let held = HeldFile::over(file.clone()).unwrap();
        held.write(4, b"green").unwrap();
        held.sync_data().unwrap();
        held.write(12, b" and a plate").unwrap();
        held.set_len(18).unwrap();
        held.set_len(20).unwrap();
        let read = |file: &dyn File| {
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read(0, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(read(&*held), b"one greenmug and a\0\0");
        assert_eq!(read(&*file), b"one blue mug");
        assert!(held.read(15, &mut [0; 6]).is_err());
        held.release().unwrap();
        assert_eq!(read(&*file), b"one greenmug and a\0\0");
        held.write(0, b"ONE").unwrap();
        assert_eq!(read(&*file), b"ONE greenmug and a\0\0");
        assert_eq!(read(&*held), read(&*file));
    }
}
