//! Files in watched memory, which know what of them was synced.

use std::collections::BTreeMap;
use std::io;

use crate::base::bounds::ALIGN_BYTES;
use crate::base::sync::{Arc, Mutex, UnseenMutex};
use crate::storage::disk::{Access, DirectoryLock, Disk, File, FileSystem, Hold, LockFault, Map};

#[derive(Debug)]
pub(super) struct ModelFile {
    map: Map,
    synced: UnseenMutex<Synced>,
}

/// By words.
#[derive(Debug)]
struct Synced {
    written: Vec<bool>,
    durable: Vec<bool>,
}

impl ModelFile {
    pub(super) fn load(&self, at: usize, len: usize) -> Vec<u8> {
        self.map.load(at, len)
    }

    pub(super) fn is_durable(&self, at: u64, end: u64) -> bool {
        self.synced.lock().expect("no model panics here").durable[words(at, end - at)].iter().all(|word| *word)
    }
}

fn words(at: u64, len: u64) -> std::ops::Range<usize> {
    (at / ALIGN_BYTES) as usize..(at + len).div_ceil(ALIGN_BYTES) as usize
}

impl File for ModelFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.map.len() as u64)
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.copy_from_slice(&self.map.load(offset as usize, buffer.len()));
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.map.store(offset as usize, bytes);
        self.synced.lock().expect("no model panics here").written[words(offset, bytes.len() as u64)].fill(true);
        Ok(())
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes)?;
        self.synced.lock().expect("no model panics here").durable[words(offset, bytes.len() as u64)].fill(true);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().expect("no model panics here");
        synced.durable = synced.written.clone();
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn map_read(&self, _len: u64) -> io::Result<Map> {
        Ok(self.map.clone())
    }

    fn map_write(&self, _len: u64) -> io::Result<Map> {
        Ok(self.map.clone())
    }
}

#[derive(Debug)]
pub(super) struct ModelDisk(Mutex<BTreeMap<String, Arc<ModelFile>>>);

impl ModelDisk {
    pub(super) fn new() -> ModelDisk {
        ModelDisk(Mutex::new(BTreeMap::new()))
    }

    pub(super) fn put(&self, path: &str, len: usize) -> Arc<ModelFile> {
        let count = words(0, len as u64).len();
        let synced = Synced { written: vec![false; count], durable: vec![false; count] };
        let file = Arc::new(ModelFile { map: Map::watched(len), synced: UnseenMutex::new(synced) });
        self.0.lock().insert(path.to_owned(), file.clone());
        file
    }
}

impl Disk for ModelDisk {
    fn open(&self, path: &str, _access: Access) -> io::Result<Arc<dyn File>> {
        match self.0.lock().get(path) {
            Some(file) => Ok(file.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, _folder: &str) -> io::Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }

    fn folders(&self, _folder: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn create_folder(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.lock().remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _hold: Hold) -> Result<Box<dyn DirectoryLock>, LockFault> {
        Err(LockFault::Held { pid: 0, exclusive: true })
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        Ok(FileSystem::Local)
    }
}
