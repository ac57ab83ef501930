//! Compaction: how fast passes go over what is stored, and what heap they take.

use std::path::Path;
use std::time::{Duration, Instant};

use towpath::{AppendOptions, Database, Level, Options, Record, StreamOptions};

use super::heap;

const RECORDS: u64 = 40_000_000;
const BATCH: u64 = 1000;
const BODY_BYTES: usize = 84;

/// As many keys as records, and half as many: the second half supersedes the first.
pub(crate) fn compaction(directory: &Path) {
    for (what, keys) in [("1,000 keys", 1000), ("20 million keys", RECORDS / 2)] {
        let database = Options::new().level(Level::Buffered).open(directory.join(keys.to_string())).expect("opens");
        println!("  {what}:");
        one(&database, keys);
        database.close().expect("closes");
    }
}

fn one(database: &Database, keys: u64) {
    let prices = database.create_stream("prices", StreamOptions::new().compacted()).expect("creates");
    let body = [b'x'; BODY_BYTES];
    let before = heap::in_use();
    let (mut most, started) = (0, Instant::now());
    for batch in 0..RECORDS / BATCH {
        let key = |at: u64| ((batch * BATCH + at) % keys).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        let names: Vec<[u8; 8]> = (0..BATCH).map(key).collect();
        let records: Vec<Record<'_>> = names.iter().map(|name| Record::new(&body).key(name)).collect();
        prices.append_batch(&records, &AppendOptions::new()).expect("appends");
        most = most.max(heap::in_use());
    }
    println!("  {:.1} s to append {RECORDS} records of 92 bytes", started.elapsed().as_secs_f64());
    let beside = database.stats().expect("has figures").compacted_bytes;
    let (alone, mut still, mut last) = (Instant::now(), Instant::now(), beside);
    while still.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(10));
        most = most.max(heap::in_use());
        let now = database.stats().expect("has figures").compacted_bytes;
        if now != last {
            (still, last) = (Instant::now(), now);
        }
    }
    let stats = database.stats().expect("has figures");
    println!(
        "  {} passes decided on {:.0} MB beside the appends, and alone on {:.0} MB in {:.1} s: {:.0} MB/s (target 200)",
        stats.compaction_passes,
        beside as f64 / 1e6,
        (last - beside) as f64 / 1e6,
        (still - alone).as_secs_f64(),
        (last - beside) as f64 / 1e6 / (still - alone).as_secs_f64()
    );
    println!("  heap at most {:.0} MiB above what there was before (target 128)", (most - before) as f64 / 1048576.0);
    println!("  {:.0} MB live of {:.0} MB stored", stats.live_bytes as f64 / 1e6, stats.stored_bytes as f64 / 1e6);
}
