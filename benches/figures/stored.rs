//! What is on disk: opening it again, and how much of it there is.

use std::path::Path;
use std::time::Instant;

use towpath::{AppendOptions, Database, Level, Options, Record, Start, StreamOptions};

use super::child::{Part, again};
use super::disk::{bytes_below, median};

pub(crate) const FILL: &str = "fill";

/// Batches that make 5 GB.
const FULL: u64 = 50_000;

const MIB: f64 = (1 << 20) as f64;

/// Fills the directory, then says so and goes on writing until it is killed.
pub(crate) fn fill(part: &Part) {
    let database = Options::new().level(Level::Buffered).open(&part.directory).expect("opens");
    let stream = database.create_stream("orders", StreamOptions::new().partitions(4)).expect("creates");
    let body = vec![b'x'; 1000];
    let records = vec![Record::new(&body); 100];
    for batch in 0..u64::MAX {
        if batch == part.count {
            println!("full");
        }
        stream.append_batch(&records, &AppendOptions::new()).expect("appends");
    }
}

pub(crate) fn reopen(directory: &Path) {
    let data = directory.join("data");
    let mut child = again(FILL, FULL, &data).stdout(std::process::Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("reads");
    std::thread::sleep(std::time::Duration::from_millis(300));
    child.kill().expect("kills");
    child.wait().expect("waits");
    let started = Instant::now();
    let database = Database::open(&data).expect("opens");
    let taken = started.elapsed();
    let stats = database.stats().expect("has figures");
    println!(
        "  {:.1} GB stored; opened in {:.0} ms (target 1,000)",
        bytes_below(&data) as f64 / 1e9,
        taken.as_secs_f64() * 1e3
    );
    println!("  checkpoint at {}, journal ends at {}", stats.checkpoint_lsn, stats.issued_lsn);
    database.close().expect("closes");
}

pub(crate) fn empty(directory: &Path) {
    let (mut created, mut opened) = (Vec::new(), Vec::new());
    for i in 0..7 {
        let data = directory.join(format!("data{i}"));
        let started = Instant::now();
        let database = Database::open(&data).expect("creates");
        created.push(started.elapsed().as_secs_f64() * 1e3);
        database.close().expect("closes");
        let started = Instant::now();
        let database = Database::open(&data).expect("opens");
        opened.push(started.elapsed().as_secs_f64() * 1e3);
        database.close().expect("closes");
    }
    println!("  created in {:.0} ms (target 500), opened in {:.1} ms (target 50)", median(created), median(opened));
    let data = directory.join("data0");
    let before = bytes_below(&data);
    for _ in 0..1000 {
        Database::open(&data).expect("opens").close().expect("closes");
    }
    let after = bytes_below(&data);
    println!(
        "  {:.1} MiB on disk (target 64); after 1,000 openings {:.1} MiB",
        before as f64 / MIB,
        after as f64 / MIB
    );
}

pub(crate) fn retention(directory: &Path) {
    let alone = through_retention(&directory.join("alone"), false);
    let (with, own) = (through_retention(&directory.join("with"), true), 10.0 * 1024.0 * 1000.0);
    println!("  directory {:.0} MB after 10 GB (target 500)", alone as f64 / 1e6);
    let cost = with.saturating_sub(alone) as f64 / own;
    println!(
        "  with a long-lived stream of {:.0} MB: {:.0} MB, {cost:.1} × its own bytes (target 10)",
        own / 1e6,
        with as f64 / 1e6
    );
}

fn through_retention(data: &Path, beside: bool) -> u64 {
    let database = Options::new().level(Level::Buffered).open(data).expect("opens");
    let orders = database.create_stream("orders", StreamOptions::new().retention_bytes(100_000_000)).expect("creates");
    let audit = database.create_stream("audit", StreamOptions::new()).expect("creates");
    let body = vec![b'x'; 1000];
    let records = vec![Record::new(&body); 100];
    let started = Instant::now();
    for batch in 0..100_000_u64 {
        orders.append_batch(&records, &AppendOptions::new()).expect("appends");
        if beside && batch % 10 == 0 {
            audit.append(Record::new(&body)).expect("appends");
        }
    }
    std::thread::sleep(std::time::Duration::from_secs(5));
    let stats = database.stats().expect("has figures");
    println!(
        "  {:.1} s, {} segments cleaned, {:.1} MB copied",
        started.elapsed().as_secs_f64(),
        stats.cleaned_segments,
        stats.copied_bytes as f64 / 1e6
    );
    let held = bytes_below(data);
    if beside {
        let mut reader = audit.reader(0, Start::Earliest).expect("opens");
        let mut found = 0;
        while let Some(records) = reader.try_receive(1000).expect("reads") {
            found += records.iter().filter(|record| record.body() == body).count();
        }
        assert_eq!(found, 10_000, "the long-lived stream is whole");
    }
    database.close().expect("closes");
    held
}
