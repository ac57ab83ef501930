//! Where a campaign takes place: a folder, or a small file system that can be filled.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate};

use crate::place::Place;

const SMALL_BYTES: u64 = 384 << 20;

/// The least that is tried for when the rest of a disk is taken.
const FILLER_BYTES_MIN: u64 = 4096;

pub struct Ground {
    place: Place,
    is_small: bool,
}

impl Ground {
    /// `small` asks for a file system of its own, which needs root; else, or where it cannot be had, it is a folder.
    pub fn new(small: bool) -> Ground {
        let place = Place::new();
        fs::create_dir(place.beside("books")).expect("a folder for the books");
        fs::create_dir(place.beside("disk")).expect("a folder for the disk");
        let mounted = if small { mount(&place) } else { Err("not asked for".to_owned()) };
        if let (true, Err(reason)) = (small, &mounted) {
            println!("the disk will not be full: a file system of its own cannot be had: {reason}");
        }
        Ground { place, is_small: mounted.is_ok() }
    }

    pub fn data(&self) -> PathBuf {
        self.place.beside("disk").join("data")
    }

    pub fn books(&self) -> PathBuf {
        self.place.beside("books")
    }

    pub fn can_be_filled(&self) -> bool {
        self.is_small
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        let filler = fs::File::create(self.filler()).expect("a file on a disk that is not full yet");
        let (mut taken, mut step) = (0, SMALL_BYTES);
        while step >= FILLER_BYTES_MIN {
            match fallocate(&filler, FallocateFlags::empty(), taken, step) {
                Ok(()) => taken += step,
                Err(_) => step /= 2,
            }
        }
    }

    /// Gives it back.
    pub fn clear(&self) {
        fs::remove_file(self.filler()).expect("the filler");
    }

    fn filler(&self) -> PathBuf {
        self.place.beside("disk").join("filler")
    }

    /// Copies the books and the database, as they are now, for whoever wants to look at them.
    pub fn keep(&self, folder: &Path) {
        crate::place::copy_tree(&self.books(), &folder.join("books"));
        crate::place::copy_tree(&self.data(), &folder.join("data"));
    }
}

/// ext4 without a journal of its own, so that a full disk leaves no room that would come and go.
fn mount(place: &Place) -> Result<(), String> {
    let image = place.beside("image");
    let file = fs::File::create(&image).map_err(|error| error.to_string())?;
    file.set_len(SMALL_BYTES).map_err(|error| error.to_string())?;
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-N", "1024", "-O", "^has_journal"]).arg(&image))?;
    let folder = place.beside("disk");
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&folder)).or_else(|_| {
        let size = format!("size={SMALL_BYTES}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "towpath-test"]).arg(&folder))
    })
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        failed => Err(format!("{command:?}: {failed:?}")),
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.is_small {
            let _ = Command::new("umount").arg(self.place.beside("disk")).output();
        }
    }
}
