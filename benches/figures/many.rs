//! Many partitions: how long it takes to open a database with a large index.

use std::path::Path;
use std::time::Instant;

use towpath::{AppendOptions, Database, Level, Options, Record, StreamOptions};

use super::child::{Part, again};
use super::disk::{bytes_below, median};

pub(crate) const MAKE: &str = "make-partitions";
pub(crate) const OPEN: &str = "open";

const STREAMS: u64 = 25;
const PARTITIONS: u32 = 4_000;
const ROUNDS: usize = 7;

pub(crate) fn partitions(directory: &Path) {
    let data = directory.join("data");
    let made = again(MAKE, STREAMS, &data).status().expect("starts");
    assert!(made.success(), "the partitions are made: {made}");
    let index = std::fs::metadata(data.join("index.redb")).expect("is there").len();
    let opened = (0..ROUNDS).map(|_| {
        let output = again(OPEN, 1, &data).output().expect("starts");
        assert!(output.status.success(), "it opens: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("milliseconds")
    });
    println!(
        "  {} partitions, {:.1} MB, of them {:.1} MB index; opened in {:.0} ms (target 1,000)",
        STREAMS * u64::from(PARTITIONS),
        bytes_below(&data) as f64 / 1e6,
        index as f64 / 1e6,
        median(opened.collect())
    );
}

/// Streams with one record in each partition, closed cleanly.
pub(crate) fn make_partitions(part: &Part) {
    let database = Options::new().level(Level::Buffered).open(&part.directory).expect("opens");
    let body = [b'x'; 100];
    for number in 0..part.count {
        let options = StreamOptions::new().partitions(PARTITIONS);
        let stream = database.create_stream(&format!("orders-{number}"), options).expect("creates");
        for partition in 0..PARTITIONS {
            let place = AppendOptions::new().partition(partition);
            stream.append_with(Record::new(&body), &place).expect("appends");
        }
    }
    database.close().expect("closes");
}

pub(crate) fn open(part: &Part) {
    let started = Instant::now();
    let database = Database::open(&part.directory).expect("opens");
    println!("{}", started.elapsed().as_secs_f64() * 1e3);
    database.close().expect("closes");
}
