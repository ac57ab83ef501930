//! What several test files need: a directory that goes away with the test, and readings of a stream and a directory
//! that two moments can be compared by.

#![allow(dead_code, reason = "each test file is a crate of its own and uses its part of this")]

pub mod executor;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use towpath::{CheckReport, Database, Error, Lsn, OpenMode, Options, Reader, RecordView, Start, Stream, Timestamp};

/// Whether what a [`Place`] opens is in another process than the test.
pub const IS_ATTACHED: bool = false;

/// Far beyond what anything here takes; a test that reaches it would hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A directory for one test, removed at its end.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place::within(&std::env::temp_dir())
    }

    pub fn within(folder: &Path) -> Place {
        Place { folder: tempfile::Builder::new().prefix("towpath-test-").tempdir_in(folder).unwrap() }
    }

    /// Where the database is or will be.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A place beside the database.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens the database with the least sizes.
    pub fn open(&self) -> Database {
        self.try_open().unwrap()
    }

    pub fn try_open(&self) -> Result<Database, Error> {
        Options::temporary().open(self.data())
    }

    /// Closes the database, so that nobody has it open.
    pub fn close(&self, db: Database) {
        db.close().unwrap();
    }

    /// The same, for this process alone.
    pub fn open_alone(&self) -> Database {
        self.open_with(Options::temporary().mode(OpenMode::Exclusive))
    }

    pub fn open_with(&self, options: Options) -> Database {
        options.open(self.data()).unwrap()
    }

    /// Checks what nobody has open.
    pub fn check(&self) -> CheckReport {
        Database::check(self.data()).unwrap()
    }
}

/// A record as a test keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    pub offset: u64,
    pub timestamp: Timestamp,
    pub lsn: Lsn,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// `None` is a tombstone.
    pub body: Option<Vec<u8>>,
}

impl Kept {
    pub fn of(record: &RecordView<'_>) -> Kept {
        Kept {
            offset: record.offset(),
            timestamp: record.timestamp(),
            lsn: record.lsn(),
            key: record.key().map(<[u8]>::to_vec),
            headers: record.headers().map(|header| (header.name.to_owned(), header.value.to_vec())).collect(),
            body: (!record.is_tombstone()).then(|| record.body().to_vec()),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone().expect("a record with a body")).unwrap()
    }
}

/// All that is there now, from where the reader stands.
pub fn drain(reader: &mut Reader) -> Vec<Kept> {
    let mut kept = Vec::new();
    while let Some(records) = reader.try_receive(1000).unwrap() {
        kept.extend(records.iter().map(|record| Kept::of(&record)));
    }
    kept
}

/// All records of a partition.
pub fn read_all(stream: &Stream, partition: u32) -> Vec<Kept> {
    drain(&mut stream.reader(partition, Start::Earliest).unwrap())
}

/// The bodies of a partition as text.
pub fn texts(stream: &Stream, partition: u32) -> Vec<String> {
    read_all(stream, partition).iter().map(Kept::text).collect()
}

/// First offset and end of a partition.
pub fn extent(stream: &Stream, partition: u32) -> (u64, u64) {
    let described = stream.describe().unwrap().partitions[partition as usize];
    (described.start_offset, described.end_offset)
}

/// Waits until `holds` does; the database's own threads are at work meanwhile.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Every file below `folder` but LOCK (whose text names the last opener), by path, with its bytes' checksum and length.
pub fn fingerprint(folder: &Path) -> BTreeMap<PathBuf, (u64, u32)> {
    let mut files = BTreeMap::new();
    for path in files_below(folder) {
        if path.file_name().is_some_and(|name| name != "LOCK") {
            let bytes = fs::read(&path).unwrap();
            files.insert(path, (bytes.len() as u64, crc32c::crc32c(&bytes)));
        }
    }
    files
}

/// What the files below `folder` take on disk. A file that goes away meanwhile takes nothing.
pub fn disk_bytes(folder: &Path) -> u64 {
    files_below(folder).iter().filter_map(|path| fs::metadata(path).ok()).map(|facts| facts.blocks() * 512).sum()
}

/// What the directory lists, but sockets. A database that is open may rename or remove a file meanwhile: such a file is
/// left out.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let Ok(kind) = fs::symlink_metadata(&path).map(|facts| facts.file_type()) else { continue };
            if kind.is_dir() {
                folders.push(path);
            } else if !kind.is_socket() {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Copies a directory that nobody has open, or what there is of one that somebody has.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in files_below(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let copied = fs::copy(&file, target);
        let is_gone = copied.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        assert!(copied.is_ok() || is_gone, "{}: {copied:?}", file.display());
    }
}

/// Bytes that do not repeat and look like nothing, the same for the same seed.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        noise.extend(chance.next().to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// Splitmix64.
pub struct Chance {
    state: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance { state: seed }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
