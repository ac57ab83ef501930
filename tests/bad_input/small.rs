//! A small file system of its own, filled to the brim. Needs root; says so otherwise.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use towpath::{AppendOptions, Error, Level, Record, Start, Stream};

use crate::place::{Kept, Place, drain, extent, noise};

pub const MIB: u64 = 1 << 20;
pub const BODY_BYTES: usize = 32 << 10;

/// A mounted file system with a place on it, unmounted at the end.
pub struct Small {
    /// `None` only while it is unmounted.
    place: Option<Place>,
    disk: tempfile::TempDir,
}

impl Small {
    /// ext4 in a file, or memory where there are no loop devices. `None`, with a printed reason, where mounting is not
    /// allowed.
    pub fn mount(bytes: u64) -> Option<Small> {
        let disk = tempfile::Builder::new().prefix("towpath-test-").tempdir().unwrap();
        let root = disk.path().join("disk");
        fs::create_dir(&root).unwrap();
        if let Err(looped) = mount_file(disk.path(), bytes) {
            let size = format!("size={bytes}");
            let memory = ["-t", "tmpfs", "-o", &size, "towpath-test"];
            if let Err(memory) = run(Command::new("mount").args(memory).arg(&root)) {
                println!("skipped: a full disk needs a file system of its own: {looped}; {memory}");
                return None;
            }
        }
        let place = Some(Place::within(&root));
        Some(Small { place, disk })
    }

    pub fn place(&self) -> &Place {
        self.place.as_ref().expect("it is mounted")
    }

    /// Takes what is left but `spare` bytes.
    pub fn fill(&self, spare: u64) {
        let filler = self.filler();
        let mut bytes = 0;
        let chunk = vec![7; 64 << 10];
        let mut file = fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {
            bytes += chunk.len() as u64;
        }
        file.set_len(bytes.saturating_sub(spare)).unwrap();
    }

    pub fn filler(&self) -> std::path::PathBuf {
        self.disk.path().join("disk/filler")
    }
}

/// A file system without a journal of its own, so that a small one has room for data.
fn mount_file(folder: &Path, bytes: u64) -> Result<(), String> {
    let image = folder.join("image");
    let file = fs::File::create(&image).map_err(|e| e.to_string())?;
    file.set_len(bytes).map_err(|e| e.to_string())?;
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-N", "256", "-O", "^has_journal"]).arg(&image))?;
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(folder.join("disk")))
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        failed => Err(format!("{command:?}: {failed:?}")),
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.place = None;
        let _ = Command::new("umount").arg(self.disk.path().join("disk")).output();
    }
}

fn body(offset: u64) -> Vec<u8> {
    noise(offset, BODY_BYTES)
}

pub fn append(orders: &Stream, level: Level) -> Result<u64, Error> {
    let end = extent(orders, 0).1;
    let options = AppendOptions::new().level(level).timeout(Duration::from_secs(20));
    orders.append_with(Record::new(&body(end)), &options).map(|appended| appended.offset)
}

/// Appends until it is refused, which must be for the disk. Returns how many were taken.
pub fn append_until_full(orders: &Stream) -> u64 {
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
pub fn expect_all(orders: &Stream) {
    let (start, end) = extent(orders, 0);
    let kept = drain(&mut orders.reader(0, Start::Earliest).unwrap());
    assert!(kept.iter().map(|record| record.offset).eq(start..end), "{start}..{end}");
    assert!(kept.iter().all(|record: &Kept| record.body.as_deref() == Some(&body(record.offset))));
}
