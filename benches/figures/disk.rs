//! The bare disk, and small arithmetic on measurements.

use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::{ReadWriteFlags, pwritev2};

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A zero-filled, synced file.
pub(crate) fn zero_filled(path: &Path, bytes: u64) -> File {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).expect("creates");
    let zeros = vec![0; 1 << 20];
    for at in (0..bytes).step_by(zeros.len()) {
        file.write_all_at(&zeros, at).expect("writes");
    }
    file.sync_data().expect("syncs");
    file
}

/// Bytes per second that the disk takes: zero-filling 1 GiB and syncing it every 8 MiB, as segments are made.
pub(crate) fn write_bandwidth(directory: &Path) -> f64 {
    const BYTES: u64 = 1 << 30;
    let path = directory.join("bandwidth");
    let file = File::options().write(true).create(true).truncate(true).open(&path).expect("creates");
    let zeros = vec![0; 1 << 20];
    let started = Instant::now();
    for at in (0..BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, at).expect("writes");
        if at % (8 << 20) == 7 << 20 {
            file.sync_data().expect("syncs");
        }
    }
    file.sync_data().expect("syncs");
    let rate = BYTES as f64 / started.elapsed().as_secs_f64();
    std::fs::remove_file(path).expect("removes");
    rate
}

/// One durable write of `bytes` at `at`: the bare system call.
pub(crate) fn durable_write(file: &File, at: u64, bytes: &[u8]) -> Duration {
    let started = Instant::now();
    let written = pwritev2(file, &[IoSlice::new(bytes)], at, ReadWriteFlags::DSYNC).expect("writes");
    assert_eq!(written, bytes.len());
    started.elapsed()
}

/// Bytes on disk of all files below `path`.
pub(crate) fn bytes_below(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).expect("lists");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("lists");
        let metadata = entry.metadata().expect("looks");
        if metadata.is_dir() { bytes_below(&entry.path()) } else { metadata.len() }
    });
    sizes.sum()
}
