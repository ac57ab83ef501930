//! Appending at `Buffered`.

use std::path::Path;
use std::time::{Duration, Instant};

use towpath::{AppendOptions, Database, Level, Options, Record, Start, Stream, StreamOptions, measure};

use super::disk::{median, write_bandwidth};
use super::heap;

const BODY: [u8; 100] = [b'x'; 100];
const ROUNDS: usize = 7;

fn open(directory: &Path) -> (Database, Stream) {
    let database = Options::new().level(Level::Buffered).open(directory.join("data")).expect("opens");
    let stream = database.create_stream("orders", StreamOptions::new()).expect("creates");
    (database, stream)
}

fn append(stream: &Stream, records: u64) -> Duration {
    let started = Instant::now();
    for _ in 0..records {
        stream.append(&BODY).expect("appends");
    }
    started.elapsed()
}

pub(crate) fn burst(directory: &Path) {
    const RECORDS: u64 = 500_000;
    let (database, stream) = open(directory);
    append(&stream, RECORDS);
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        database.sync().expect("syncs");
        std::thread::sleep(Duration::from_millis(500));
        let bare = measure::bare_ring(RECORDS, BODY.len()).expect("measures").as_secs_f64();
        let taken = append(&stream, RECORDS).as_secs_f64();
        rates.push(RECORDS as f64 / taken / 1e6);
        ratios.push(bare / taken);
    }
    println!("  {:.2} million/s (target 10); {:.3} of the bare ring (target 0.25)", median(rates), median(ratios));
    database.close().expect("closes");
}

pub(crate) fn batch(directory: &Path) {
    const BATCHES: u64 = 10_000;
    let (database, stream) = open(directory);
    let records = vec![Record::new(&BODY); 100];
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        database.sync().expect("syncs");
        std::thread::sleep(Duration::from_millis(500));
        let started = Instant::now();
        for _ in 0..BATCHES / 2 {
            stream.append_batch(&records, &AppendOptions::new()).expect("appends");
        }
        rates.push(BATCHES as f64 / 2.0 * 100.0 / started.elapsed().as_secs_f64() / 1e6);
    }
    println!("  {:.2} million records/s in bursts of 500,000 (target 20)", median(rates));
    database.close().expect("closes");
}

pub(crate) fn sustained(directory: &Path) {
    const RECORDS: u64 = 50_000_000;
    let bandwidth = write_bandwidth(directory);
    let (database, stream) = open(directory);
    let empty = heap::in_use();
    let before = database.stats().expect("has figures");
    let fifths: Vec<f64> =
        (0..5).map(|_| RECORDS as f64 / 5.0 / append(&stream, RECORDS / 5).as_secs_f64() / 1e6).collect();
    let used = heap::in_use().saturating_sub(empty);
    let after = database.stats().expect("has figures");
    let per_record = (after.issued_lsn - before.issued_lsn) as f64 / RECORDS as f64 * 2.0;
    let whole = 5.0 / fifths.iter().map(|rate| 1.0 / rate).sum::<f64>();
    let ceiling = bandwidth / per_record / 1e6;
    println!(
        "  disk: {:.2} GB/s before; {per_record:.0} bytes a record (zero-filled once, written once)",
        bandwidth / 1e9
    );
    println!(
        "  {whole:.2} million/s: {:.2} of what the disk allows (target 0.6); fifths {fifths:.2?}",
        whole / ceiling
    );
    println!("  last fifth {:.2} of the first (target 0.8)", fifths[4] / fifths[0]);
    println!("  heap above the empty database: {:.1} MiB (target 64)", used as f64 / f64::from(1 << 20));
    read_back(&stream, RECORDS);
    database.close().expect("closes");
}

fn read_back(stream: &Stream, records: u64) {
    let mut rates = Vec::new();
    for _ in 0..3 {
        let mut reader = stream.reader(0, Start::Earliest).expect("opens");
        let (started, mut read) = (Instant::now(), 0_u64);
        while read < records / 5 {
            let batch = reader.try_receive(1000).expect("reads").expect("there are records");
            read += batch.iter().map(|record| record.body().len() as u64 / 100).sum::<u64>();
        }
        rates.push(read as f64 / started.elapsed().as_secs_f64() / 1e6);
    }
    println!("  reading back in batches of 1,000: {:.2} million records/s (target 10)", median(rates));
}
