//! Compaction: what stays of each key, when a tombstone goes, and what a reader finds.

use std::time::Duration;

use towpath::{Error, Level, Record, Start, Stream, StreamOptions};

use crate::opening::stream;
use crate::place::eventually;

/// So many that a checkpoint is due.
const ROUNDS: u32 = 24;

fn compacted() -> StreamOptions {
    StreamOptions::new().compacted().level(Level::Buffered)
}

/// Offsets and keys that are there, up to the filling.
fn found(stream: &Stream) -> Vec<(u64, String)> {
    let mut reader = stream.reader(0, Start::Earliest).unwrap();
    let mut found = Vec::new();
    while let Some(records) = reader.try_receive(100).unwrap() {
        let kept = records.iter().filter(|record| record.key() != Some(b"filling"));
        found.extend(kept.map(|record| (record.offset(), String::from_utf8(record.key().unwrap().to_vec()).unwrap())));
    }
    found
}

/// Fills segments, so that what came before is sealed.
fn fill(stream: &Stream) {
    let body = vec![7; 900_000];
    for _ in 0..ROUNDS {
        stream.append(Record::new(&body).key(b"filling")).unwrap();
    }
}

#[test]
fn of_each_key_the_newest_record_stays_with_its_offset() {
    let (_db, prices) = stream(compacted());
    for price in ["1", "2", "3"] {
        prices.append(Record::new(price.as_bytes()).key(b"mug")).unwrap();
        prices.append(Record::new(price.as_bytes()).key(b"plate")).unwrap();
    }
    fill(&prices);
    eventually("compaction", || found(&prices).len() == 2);
    assert_eq!(found(&prices), [(4, "mug".to_owned()), (5, "plate".to_owned())]);
    let mut reader = prices.reader(0, Start::Offset(1)).unwrap();
    let records = reader.receive(1).unwrap();
    let first = records.iter().next().unwrap();
    assert_eq!((first.offset(), first.body()), (4, &b"3"[..]), "a compacted-away offset yields the next higher");
    assert_eq!(reader.position(), 5);
    let described = prices.describe().unwrap();
    assert_eq!(described.partitions[0].end_offset, 6 + u64::from(ROUNDS));
    // What is sealed of the filling has been left out too, but for the last of it.
    eventually("the count", || prices.describe().unwrap().partitions[0].records < 2 + u64::from(ROUNDS));
    assert!(described.options.is_compacted());
}

#[test]
fn a_tombstone_takes_its_key_with_it_and_goes_after_its_retention() {
    let (_db, prices) = stream(compacted().tombstone_retention(Duration::from_millis(1)));
    prices.append(Record::new(b"1").key(b"mug")).unwrap();
    prices.append(Record::tombstone(b"mug")).unwrap();
    fill(&prices);
    eventually("compaction", || found(&prices).is_empty());
    let (_db, prices) = stream(compacted());
    prices.append(Record::new(b"1").key(b"mug")).unwrap();
    prices.append(Record::tombstone(b"mug")).unwrap();
    fill(&prices);
    eventually("compaction", || found(&prices).len() == 1);
    assert_eq!(found(&prices), [(1, "mug".to_owned())], "it is kept for 24 hours");
}

#[test]
fn a_reader_across_holes_waits_at_the_end_and_sees_what_comes() {
    let (_db, prices) = stream(compacted());
    for _ in 0..100 {
        prices.append(Record::new(b"1").key(b"mug")).unwrap();
    }
    fill(&prices);
    eventually("compaction", || found(&prices).len() == 1);
    let mut reader = prices.reader(0, Start::Offset(3)).unwrap();
    let mut seen = Vec::new();
    while let Some(records) = reader.receive_timeout(10, Duration::from_millis(50)).unwrap() {
        seen.extend(records.iter().map(|record| record.offset()));
    }
    assert_eq!((seen[0], *seen.last().unwrap()), (99, 99 + u64::from(ROUNDS)));
    let appended = prices.append(Record::new(b"2").key(b"mug")).unwrap();
    assert_eq!(reader.receive(1).unwrap().iter().next().unwrap().offset(), appended.offset);
}

#[test]
fn a_record_without_a_key_is_refused() {
    let (_db, prices) = stream(compacted());
    let refused = prices.append("no key").unwrap_err();
    assert!(matches!(refused, Error::InvalidOption { option: "key", .. }), "{refused:?}");
    assert_eq!(prices.describe().unwrap().partitions[0].end_offset, 0, "nothing is stored");
}

#[test]
fn whether_a_stream_is_compacted_is_settled_at_its_creation() {
    let (db, prices) = stream(compacted());
    let name = prices.name().to_owned();
    let refused = db.ensure_stream(&name, StreamOptions::new().level(Level::Buffered)).unwrap_err();
    assert!(matches!(refused, Error::Mismatch { .. }), "{refused:?}");
    let longer = compacted().tombstone_retention(Duration::from_secs(7));
    db.ensure_stream(&name, longer.clone()).unwrap();
    assert_eq!(prices.describe().unwrap().options, longer);
}
