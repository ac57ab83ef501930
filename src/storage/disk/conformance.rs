//! What every [`Disk`] does while nothing fails. Each rule is given an empty disk; `host` and `sim::disk` both run all.

#![expect(unsafe_code, reason = "maps are read and written through pointers")]

use std::io::{self, ErrorKind};

use super::{Access, Disk, File, Hold, LockFault};
use crate::base::sync::Arc;

pub(crate) type Rule = (&'static str, fn(&dyn Disk));

pub(crate) const RULES: [Rule; 12] = [
    ("opening tells missing files from existing ones", opening_tells_missing_from_existing),
    ("a write is seen by every later read", a_write_is_seen_by_every_later_read),
    ("a file opened for reading is not written", a_file_opened_for_reading_is_not_written),
    ("a write past the end leaves zeros before it", a_write_past_the_end_leaves_zeros_before_it),
    ("a read past the end fails whole", a_read_past_the_end_fails),
    ("lengths grow with zeros and are cut", lengths_grow_with_zeros_and_are_cut),
    ("folders are listed without what lies below", folders_are_listed_by_themselves),
    ("a rename replaces", a_rename_replaces),
    ("a removed file stays open", a_removed_file_stays_open),
    ("maps and calls see one file", maps_and_calls_see_one_file),
    ("maps lie within their file", maps_lie_within_their_file),
    ("one holder has the lock", one_holder_has_the_lock),
];

/// Runs every rule on a disk that `make` makes for it.
pub(crate) fn check<D: Disk>(mut make: impl FnMut() -> D) {
    for (name, rule) in RULES {
        println!("{name}");
        rule(&make());
    }
}

fn create(disk: &dyn Disk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.open(path, Access::Create).unwrap();
    file.write(0, bytes).unwrap();
    file
}

fn read(file: &dyn File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0xEE; len];
    file.read(offset, &mut bytes).map(|()| bytes)
}

fn kind<T>(outcome: io::Result<T>) -> ErrorKind {
    outcome.map(drop).unwrap_err().kind()
}

fn opening_tells_missing_from_existing(disk: &dyn Disk) {
    assert_eq!(kind(disk.open("a", Access::Read)), ErrorKind::NotFound);
    assert_eq!(kind(disk.open("a", Access::Write)), ErrorKind::NotFound);
    assert_eq!(kind(disk.open("folder/a", Access::Create)), ErrorKind::NotFound);
    let file = disk.open("a", Access::Create).unwrap();
    assert_eq!(file.len().unwrap(), 0);
    assert_eq!(kind(disk.open("a", Access::Create)), ErrorKind::AlreadyExists);
    disk.open("a", Access::Read).unwrap();
    assert_eq!(kind(disk.remove("b")), ErrorKind::NotFound);
    assert_eq!(kind(disk.rename("b", "c")), ErrorKind::NotFound);
}

fn a_write_is_seen_by_every_later_read(disk: &dyn Disk) {
    let file = create(disk, "a", &[1; 5000]);
    file.write(4000, &[2; 2000]).unwrap();
    file.write_durable(10, &[3; 5]).unwrap();
    file.sync_data().unwrap();
    file.drop_cache().unwrap();
    let again = disk.open("a", Access::Read).unwrap();
    assert_eq!(again.len().unwrap(), 6000);
    assert_eq!(read(&*again, 9, 7).unwrap(), [1, 3, 3, 3, 3, 3, 1]);
    assert_eq!(read(&*again, 3999, 2).unwrap(), [1, 2]);
    assert_eq!(read(&*again, 5999, 1).unwrap(), [2]);
    disk.sync_dir("").unwrap();
}

fn a_file_opened_for_reading_is_not_written(disk: &dyn Disk) {
    create(disk, "a", &[1; 100]);
    let file = disk.open("a", Access::Read).unwrap();
    assert!(file.write(0, &[2]).is_err());
    assert!(file.write_durable(0, &[2]).is_err());
    assert!(file.set_len(5).is_err());
    assert_eq!(kind(file.map_write(100)), ErrorKind::PermissionDenied);
    assert_eq!(read(&*file, 0, 100).unwrap(), [1; 100]);
}

fn a_write_past_the_end_leaves_zeros_before_it(disk: &dyn Disk) {
    let file = create(disk, "a", &[1; 3]);
    file.write(10_000, &[2]).unwrap();
    assert_eq!(file.len().unwrap(), 10_001);
    assert_eq!(read(&*file, 2, 3).unwrap(), [1, 0, 0]);
    assert_eq!(read(&*file, 9_998, 3).unwrap(), [0, 0, 2]);
}

fn a_read_past_the_end_fails(disk: &dyn Disk) {
    let file = create(disk, "a", &[1; 100]);
    assert_eq!(kind(read(&*file, 50, 51)), ErrorKind::UnexpectedEof);
    assert_eq!(kind(read(&*file, 1000, 1)), ErrorKind::UnexpectedEof);
    assert_eq!(read(&*file, 50, 50).unwrap(), [1; 50]);
    assert!(read(&*file, 1000, 0).unwrap().is_empty());
    file.write(1000, &[]).unwrap();
    assert_eq!(file.len().unwrap(), 100);
}

fn lengths_grow_with_zeros_and_are_cut(disk: &dyn Disk) {
    let file = create(disk, "a", &[1; 1000]);
    file.set_len(100).unwrap();
    file.set_len(200).unwrap();
    assert_eq!(read(&*file, 99, 2).unwrap(), [1, 0]);
    assert_eq!(read(&*file, 100, 100).unwrap(), [0; 100]);
    assert_eq!(kind(read(&*file, 200, 1)), ErrorKind::UnexpectedEof);
}

fn folders_are_listed_by_themselves(disk: &dyn Disk) {
    assert_eq!(kind(disk.list("segments")), ErrorKind::NotFound);
    assert!(disk.folders("").unwrap().is_empty());
    disk.create_folder("segments").unwrap();
    disk.create_folder("segments").unwrap();
    create(disk, "segments/1.seg", b"");
    create(disk, "segments/2.seg", b"");
    create(disk, "control", b"");
    let sorted = |folder| {
        let mut names = disk.list(folder).unwrap();
        names.sort();
        names
    };
    assert_eq!(sorted(""), ["control"]);
    assert_eq!(disk.folders("").unwrap(), ["segments"]);
    assert!(disk.folders("segments").unwrap().is_empty());
    assert_eq!(sorted("segments"), ["1.seg", "2.seg"]);
    assert_eq!(kind(disk.create_folder("control")), ErrorKind::NotADirectory);
    disk.sync_dir("segments").unwrap();
    assert_eq!(kind(disk.sync_dir("elsewhere")), ErrorKind::NotFound);
}

fn a_rename_replaces(disk: &dyn Disk) {
    disk.create_folder("segments").unwrap();
    let renamed = create(disk, "new", b"new");
    let replaced = create(disk, "segments/a", b"old");
    disk.rename("new", "segments/a").unwrap();
    assert_eq!(kind(disk.open("new", Access::Read)), ErrorKind::NotFound);
    assert_eq!(read(&*disk.open("segments/a", Access::Read).unwrap(), 0, 3).unwrap(), b"new");
    assert_eq!(read(&*replaced, 0, 3).unwrap(), b"old");
    renamed.write(0, b"NEW").unwrap();
    assert_eq!(read(&*disk.open("segments/a", Access::Read).unwrap(), 0, 3).unwrap(), b"NEW");
}

fn a_removed_file_stays_open(disk: &dyn Disk) {
    let file = create(disk, "a", &[1; 4096]);
    let map = file.map_read(4096).unwrap();
    disk.remove("a").unwrap();
    assert!(disk.list("").unwrap().is_empty());
    file.write(0, &[2]).unwrap();
    assert_eq!(read(&*file, 0, 2).unwrap(), [2, 1]);
    create(disk, "a", &[3; 4096]);
    drop(file);
    // SAFETY: nothing writes to the file any more.
    assert_eq!(unsafe { map.bytes(0, 2) }, [2, 1]);
}

fn maps_and_calls_see_one_file(disk: &dyn Disk) {
    let file = create(disk, "a", &[1; 8192]);
    let (stored, seen) = (file.map_write(8192).unwrap(), file.map_read(8000).unwrap());
    assert_eq!((stored.len(), seen.len()), (8192, 8000));
    // SAFETY: no slice of the map is alive, and no other thread knows it.
    unsafe { stored.bytes_mut(5000, 3) }.copy_from_slice(b"abc");
    file.write(5003, b"def").unwrap();
    // SAFETY: nothing writes while the slice lives.
    assert_eq!(unsafe { seen.bytes(5000, 6) }, b"abcdef");
    assert_eq!(read(&*file, 4999, 4).unwrap(), [1, b'a', b'b', b'c']);
    file.sync_data().unwrap();
    drop((file, stored));
    assert_eq!(read(&*disk.open("a", Access::Read).unwrap(), 5000, 6).unwrap(), b"abcdef");
    // SAFETY: as above; a map outlives its file.
    assert_eq!(unsafe { seen.bytes(5000, 6) }, b"abcdef");
}

fn maps_lie_within_their_file(disk: &dyn Disk) {
    let file = create(disk, "a", &[1; 4096]);
    assert_eq!(kind(file.map_read(4097)), ErrorKind::InvalidInput);
    assert_eq!(kind(file.map_write(4097)), ErrorKind::InvalidInput);
    assert_eq!(kind(file.map_read(0)), ErrorKind::InvalidInput);
}

fn one_holder_has_the_lock(disk: &dyn Disk) {
    for hold in [Hold::Exclusive, Hold::Attachable] {
        let lock = disk.lock(hold).unwrap();
        let Err(LockFault::Held { pid, exclusive }) = disk.lock(hold) else { panic!("two holders of one lock") };
        assert_eq!(exclusive, hold == Hold::Exclusive);
        let file = disk.open("LOCK", Access::Read).unwrap();
        let text = read(&*file, 0, file.len().unwrap() as usize).unwrap();
        assert_eq!(String::from_utf8(text).unwrap().lines().next(), Some(&*pid.to_string()));
        drop(file);
        assert!(disk.lock(hold).is_err());
        drop(lock);
        drop(disk.lock(hold).unwrap());
    }
    assert_eq!(disk.list("").unwrap(), ["LOCK"]);
}
