//! A closed database with sealed segments, sidecars and an active segment, made once and copied for each test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use towpath::{AppendOptions, Database, Error, Level, Record, Start, StreamOptions};

use crate::place::{Kept, Place, copy_tree, fingerprint, noise};

static ORIGINAL: OnceLock<Place> = OnceLock::new();

const PARTITIONS: u32 = 2;

/// The body of each record, by partition and offset.
fn body(partition: u32, offset: u64) -> Vec<u8> {
    let seed = offset * u64::from(PARTITIONS) + u64::from(partition);
    noise(seed, 3000 + (seed as usize * 7919) % 9000)
}

pub fn sample() -> Place {
    let original = ORIGINAL.get_or_init(|| {
        let place = Place::new();
        let db = place.open();
        let orders = db.create_stream("orders", StreamOptions::new().partitions(PARTITIONS)).unwrap();
        for offset in 0..800 {
            for partition in 0..PARTITIONS {
                let options = AppendOptions::new().partition(partition).level(Level::Buffered);
                orders.append_with(Record::new(&body(partition, offset)), &options).unwrap();
            }
        }
        drop(orders);
        place.close(db);
        place
    });
    let place = Place::new();
    copy_tree(&original.data(), &place.data());
    place
}

/// Reads everything that can be read. What is read must be what was written; what is refused is returned.
pub fn read_what_is_there(db: &Database) -> (u64, Vec<Error>) {
    let orders = match db.stream("orders") {
        Ok(orders) => orders,
        Err(error) => return (0, vec![error]),
    };
    let (mut read, mut refused) = (0, Vec::new());
    for partition in 0..PARTITIONS {
        let mut reader = orders.reader(partition, Start::Earliest).unwrap();
        loop {
            match reader.try_receive(16) {
                Ok(Some(records)) => {
                    for record in &records {
                        assert!(Kept::of(&record).body == Some(body(partition, record.offset())), "wrong bytes");
                        read += 1;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    refused.push(error);
                    let next = reader.position() + 1;
                    if reader.seek(Start::Offset(next)).is_err() {
                        break;
                    }
                }
            }
        }
    }
    (read, refused)
}

pub const RECORDS: u64 = 800 * PARTITIONS as u64;

pub fn open(place: &Place) -> Result<Database, Error> {
    place.try_open()
}

/// Opens; it must be refused and must have changed nothing.
#[track_caller]
pub fn refused(place: &Place) -> Error {
    let before = fingerprint(&place.data());
    let Err(error) = open(place) else { panic!("it was opened") };
    let after = fingerprint(&place.data());
    assert_eq!(changes(&before, &after), Vec::<PathBuf>::new(), "a refused open changed files");
    error
}

fn changes(before: &BTreeMap<PathBuf, (u64, u32)>, after: &BTreeMap<PathBuf, (u64, u32)>) -> Vec<PathBuf> {
    let paths = before.keys().chain(after.keys());
    let mut changed: Vec<PathBuf> = paths.filter(|path| before.get(*path) != after.get(*path)).cloned().collect();
    changed.dedup();
    changed
}

/// The damage must be told as damage of `file`.
#[track_caller]
pub fn expect_corrupt(error: &Error, file: &str) {
    assert!(error.is_corruption(), "{error:?}");
    assert!(matches!(error, Error::Corrupt { file: named, .. } if named == file), "not {file}: {error:?}");
}

/// Paths of the journal's segments or sidecars, relative, in order of their numbers.
pub fn segments(place: &Place, ending: &str) -> Vec<String> {
    let folder = place.data().join("segments");
    let mut numbers: Vec<u64> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(ending)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.iter().map(|number| format!("segments/{number}{ending}")).collect()
}

/// The last segment that holds anything.
pub fn active(place: &Place) -> String {
    let holds = |path: &String| fs::read(place.data().join(path)).unwrap().iter().any(|byte| *byte != 0);
    segments(place, ".seg").into_iter().rfind(holds).unwrap()
}

pub fn flip(path: &Path, at: u64, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

pub fn zero(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    fs::write(path, vec![0; length as usize]).unwrap();
}
