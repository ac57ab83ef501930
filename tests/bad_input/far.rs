//! A directory on a network file system. One of that name is mounted, which this process serves itself: its root is an
//! empty directory. Needs root and FUSE; says so otherwise.
//!
//! The messages are those of `linux/fuse.h`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use towpath::{Database, Error, OpenMode, Options};

use crate::place::Place;

const REQUEST_BYTES_MAX: usize = 1 << 20;
const VERSION: [u32; 2] = [7, 31];
const DIRECTORY: u32 = 0o040_755;

/// Requests that are answered, by their numbers; two more have no answer.
const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const RELEASEDIR: u32 = 29;
const FORGET: u32 = 2;
const BATCH_FORGET: u32 = 42;

/// A mounted file system, unmounted at the end.
struct Far {
    place: Place,
    serving: Option<JoinHandle<()>>,
}

impl Far {
    fn mount() -> Result<Far, String> {
        let place = Place::new();
        fs::create_dir(place.beside("far")).unwrap();
        let kernel = OpenOptions::new().read(true).write(true).open("/dev/fuse").map_err(|error| error.to_string())?;
        // The program that mounts hands it to the kernel.
        fcntl_setfd(&kernel, FdFlags::empty()).map_err(|error| error.to_string())?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", kernel.as_raw_fd());
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "fuse.sshfs", "-o", &options, "far"]).arg(place.beside("far"));
        let output = mount.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(format!("{output:?}"));
        }
        Ok(Far { place, serving: Some(thread::spawn(move || serve(kernel))) })
    }

    fn path(&self) -> PathBuf {
        self.place.beside("far")
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// Until it is unmounted.
fn serve(mut kernel: File) {
    let mut request = vec![0; REQUEST_BYTES_MAX];
    while let Ok(length) = kernel.read(&mut request) {
        let number = |at: usize| u32::from_le_bytes(*request[at..length].first_chunk().unwrap());
        let kind = number(4);
        if matches!(kind, FORGET | BATCH_FORGET) {
            continue;
        }
        let (error, body) = answer(kind).map_or_else(|error| (-error.raw_os_error(), Vec::new()), |body| (0, body));
        let mut frame = (16 + body.len() as u32).to_le_bytes().to_vec();
        frame.extend(error.to_le_bytes());
        frame.extend(&request[8..16]);
        frame.extend(body);
        let _ = kernel.write_all(&frame);
    }
}

fn answer(kind: u32) -> Result<Vec<u8>, Errno> {
    match kind {
        INIT => Ok([VERSION.map(u32::to_le_bytes).concat(), vec![0; 56]].concat()),
        GETATTR => Ok([&[0; 16 + 60][..], &DIRECTORY.to_le_bytes(), &2_u32.to_le_bytes(), &[0; 20]].concat()),
        STATFS => Ok(vec![0; 80]),
        OPENDIR => Ok(vec![0; 16]),
        RELEASEDIR => Ok(Vec::new()),
        LOOKUP => Err(Errno::NOENT),
        _ => Err(Errno::NOSYS),
    }
}

#[track_caller]
fn expect_refused(mode: OpenMode, path: &Path) {
    let refused = Options::temporary().mode(mode).open(path).map(drop).unwrap_err();
    assert!(matches!(&refused, Error::UnsupportedFileSystem { kind } if kind == "fuse.sshfs"), "{mode:?}: {refused:?}");
    let text = refused.to_string();
    assert!(text.contains("network file system (fuse.sshfs)") && text.contains("use a local disk"), "{text}");
}

#[test]
fn a_directory_on_a_network_file_system_is_refused() {
    let far = match Far::mount() {
        Ok(far) => far,
        Err(why) => return println!("skipped: a file system in this process needs root and FUSE: {why}"),
    };
    for mode in [OpenMode::Auto, OpenMode::Exclusive] {
        expect_refused(mode, &far.path());
    }
    assert!(matches!(Database::open(far.path()), Err(Error::UnsupportedFileSystem { .. })));
}
