//! A small file system of its own, filled to the brim. Needs root; says so otherwise.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use towpath::{AppendOptions, Database, Error, Level, Options, Record, Start, Stream, StreamOptions};

use crate::place::{Kept, Place, drain, eventually, extent, noise};

const MIB: u64 = 1 << 20;
const BODY_BYTES: usize = 32 << 10;

/// A mounted file system, unmounted at the end.
struct Small {
    place: Place,
}

impl Small {
    /// ext4 in a file, or memory where there are no loop devices. `None`, with a printed reason, where mounting is not
    /// allowed.
    fn mount(bytes: u64) -> Option<Small> {
        let place = Place::new();
        fs::create_dir(place.beside("disk")).unwrap();
        if let Err(looped) = mount_file(&place, bytes) {
            let size = format!("size={bytes}");
            let memory = ["-t", "tmpfs", "-o", &size, "towpath-test"];
            if let Err(memory) = run(Command::new("mount").args(memory).arg(place.beside("disk"))) {
                println!("skipped: a full disk needs a file system of its own: {looped}; {memory}");
                return None;
            }
        }
        Some(Small { place })
    }

    fn data(&self) -> std::path::PathBuf {
        self.place.beside("disk").join("data")
    }

    /// Takes what is left but `spare` bytes.
    fn fill(&self, spare: u64) {
        let filler = self.filler();
        let mut bytes = 0;
        let chunk = vec![7; 64 << 10];
        let mut file = fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {
            bytes += chunk.len() as u64;
        }
        file.set_len(bytes.saturating_sub(spare)).unwrap();
    }

    fn filler(&self) -> std::path::PathBuf {
        self.place.beside("disk").join("filler")
    }
}

/// A file system without a journal of its own, so that a small one has room for data.
fn mount_file(place: &Place, bytes: u64) -> Result<(), String> {
    let image = place.beside("image");
    let file = fs::File::create(&image).map_err(|e| e.to_string())?;
    file.set_len(bytes).map_err(|e| e.to_string())?;
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-N", "256", "-O", "^has_journal"]).arg(&image))?;
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(place.beside("disk")))
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        failed => Err(format!("{command:?}: {failed:?}")),
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.place.beside("disk")).output();
    }
}

fn open(path: &Path) -> Result<Database, Error> {
    Options::temporary().open(path)
}

fn body(offset: u64) -> Vec<u8> {
    noise(offset, BODY_BYTES)
}

fn append(orders: &Stream, level: Level) -> Result<u64, Error> {
    let end = extent(orders, 0).1;
    let options = AppendOptions::new().level(level).timeout(Duration::from_secs(20));
    orders.append_with(Record::new(&body(end)), &options).map(|appended| appended.offset)
}

/// Appends until it is refused, which must be for the disk. Returns how many were taken.
fn append_until_full(orders: &Stream) -> u64 {
    for taken in 0..20_000 {
        match append(orders, if taken % 7 == 0 { Level::Sync } else { Level::Buffered }) {
            Ok(_) => {}
            Err(Error::StorageFull) => return taken,
            Err(other) => panic!("after {taken}: {other:?}"),
        }
    }
    panic!("a small disk took 640 MB");
}

#[track_caller]
fn expect_all(orders: &Stream) {
    let (start, end) = extent(orders, 0);
    let kept = drain(&mut orders.reader(0, Start::Earliest).unwrap());
    assert!(kept.iter().map(|record| record.offset).eq(start..end), "{start}..{end}");
    assert!(kept.iter().all(|record: &Kept| record.body.as_deref() == Some(&body(record.offset))));
}

#[test]
fn a_full_disk_refuses_writes_and_goes_on_with_reads_and_trims_and_recovers_by_itself() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    let db = open(&small.data()).unwrap();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let taken = append_until_full(&orders);
    assert!(taken * BODY_BYTES as u64 >= 20 * MIB, "only {taken} records fit");
    for level in [Level::Sync, Level::Buffered] {
        let again = append(&orders, level);
        assert!(matches!(again, Err(Error::StorageFull)), "{again:?}");
        assert!(again.unwrap_err().is_retryable());
    }
    expect_all(&orders);
    let end = extent(&orders, 0).1;
    orders.trim_before(0, end - 10).unwrap();
    assert_eq!(extent(&orders, 0), (end - 10, end));
    expect_all(&orders);
    eventually("it drains and takes writes again", || append(&orders, Level::Sync).is_ok());
    expect_all(&orders);
    for _ in 0..3 {
        append_until_full(&orders);
        let end = extent(&orders, 0).1;
        orders.trim_before(0, end - 5).unwrap();
        eventually("it drains each time", || append(&orders, Level::Sync).is_ok());
    }
    let before = extent(&orders, 0);
    drop(orders);
    db.close().unwrap();
    let db = open(&small.data()).unwrap();
    let orders = db.stream("orders").unwrap();
    assert_eq!(extent(&orders, 0), before);
    expect_all(&orders);
}

#[test]
fn room_that_others_give_back_is_used_without_reopening() {
    let Some(small) = Small::mount(128 * MIB) else { return };
    let db = open(&small.data()).unwrap();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    for _ in 0..100 {
        append(&orders, Level::Buffered).unwrap();
    }
    small.fill(0);
    append_until_full(&orders);
    expect_all(&orders);
    fs::remove_file(small.filler()).unwrap();
    eventually("writes resume", || append(&orders, Level::Sync).is_ok());
    expect_all(&orders);
    drop(orders);
    db.close().unwrap();
    expect_all(&open(&small.data()).unwrap().stream("orders").unwrap());
}

#[test]
fn a_database_on_a_full_disk_closes_and_opens_again() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    let db = open(&small.data()).unwrap();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    append_until_full(&orders);
    small.fill(0);
    let before = extent(&orders, 0);
    drop(orders);
    let closed = db.close();
    assert!(matches!(closed, Ok(()) | Err(Error::StorageFull)), "{closed:?}");
    match open(&small.data()) {
        Ok(db) => {
            let orders = db.stream("orders").unwrap();
            assert_eq!(extent(&orders, 0), before);
            orders.trim_before(0, before.1 - 1).unwrap();
        }
        Err(error) => assert!(matches!(error, Error::StorageFull), "{error:?}"),
    }
    let _ = fs::remove_file(small.filler());
    let db = open(&small.data()).unwrap();
    let orders = db.stream("orders").unwrap();
    assert_eq!(extent(&orders, 0).1, before.1);
    expect_all(&orders);
}

#[test]
fn a_disk_too_small_for_a_database_is_told_as_full_and_left_clean_enough_to_try_again() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    small.fill(6 * MIB);
    for _ in 0..2 {
        let refused = open(&small.data());
        assert!(matches!(refused, Err(Error::StorageFull)), "{refused:?}");
    }
    fs::remove_file(small.filler()).unwrap();
    open(&small.data()).unwrap().close().unwrap();
}
