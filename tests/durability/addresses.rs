//! The address in a receipt is the one that its records tell and are found by, wherever they have come to lie.

use std::collections::BTreeMap;

use towpath::{AppendOptions, Database, Level, Lsn, Record, Start, Stream, StreamOptions};

use crate::place::{Place, eventually, extent, files_below, noise, read_all};

const KEPT: u32 = 0;
const FILLER: u32 = 1;

/// The address in the receipt of each record of [`KEPT`], by offset.
type Receipts = BTreeMap<u64, Lsn>;

fn append(orders: &Stream, sizes: &[(u32, usize)], level: Level, receipts: &mut Receipts) {
    let keys: Vec<Vec<u8>> = sizes.iter().map(|(partition, _)| key_of(orders, *partition)).collect();
    let bodies: Vec<Vec<u8>> = sizes.iter().map(|(_, bytes)| noise(*bytes as u64, *bytes)).collect();
    let records: Vec<Record<'_>> = keys.iter().zip(&bodies).map(|(key, body)| Record::new(body).key(key)).collect();
    let appended = orders.append_batch(&records, &AppendOptions::new().level(level)).unwrap();
    for range in appended.partitions.iter().filter(|range| range.partition == KEPT) {
        let offsets = range.first_offset..range.first_offset + u64::from(range.records);
        receipts.extend(offsets.map(|offset| (offset, appended.receipt.lsn)));
    }
}

fn key_of(orders: &Stream, partition: u32) -> Vec<u8> {
    let mut keys = (0_u32..).map(|number| number.to_le_bytes().to_vec());
    keys.find(|key| orders.partition_of(key) == partition).unwrap()
}

#[track_caller]
fn expect_addresses(orders: &Stream, receipts: &Receipts) {
    let told: Receipts = read_all(orders, KEPT).iter().map(|kept| (kept.offset, kept.lsn)).collect();
    assert!(told == *receipts, "told {told:?}, receipts {receipts:?}");
    let position = |lsn: Lsn| orders.reader(KEPT, Start::Lsn(lsn)).unwrap().position();
    let first_at = |lsn: Lsn| receipts.iter().find(|(_, at)| **at >= lsn).map(|(offset, _)| *offset);
    for lsn in receipts.values().flat_map(|lsn| [lsn.get() - 8, lsn.get(), lsn.get() + 8]).map(Lsn::from_raw) {
        assert_eq!(position(lsn), first_at(lsn).unwrap_or(receipts.len() as u64), "from {lsn}");
    }
}

/// Small and large frames, with one record and several, of one partition and of both; then enough of the other
/// partition to fill a segment.
fn write_a_segment(db: &Database, orders: &Stream, receipts: &mut Receipts) {
    append(orders, &[(KEPT, 10)], Level::Buffered, receipts);
    append(orders, &[(KEPT, 100), (FILLER, 200), (KEPT, 300)], Level::Buffered, receipts);
    append(orders, &[(KEPT, 70_000)], Level::Buffered, receipts);
    append(orders, &[(KEPT, 40_000), (KEPT, 40_001), (KEPT, 50)], Level::Buffered, receipts);
    append(orders, &[(KEPT, 20), (FILLER, 200_000), (KEPT, 30)], Level::Buffered, receipts);
    expect_addresses(orders, receipts);
    for _ in 0..4 {
        append(orders, &[(FILLER, 1_000_000)], Level::Buffered, receipts);
    }
    db.sync().unwrap();
}

fn is_survivor(path: &std::path::Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('s') && name.ends_with(".seg"))
}

#[test]
fn a_record_keeps_its_address_in_the_ring_in_segments_in_survivors_and_over_reopening() {
    let place = Place::new();
    let db = place.open();
    let mut orders = db.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    let mut receipts = Receipts::new();
    for _ in 0..12 {
        write_a_segment(&db, &orders, &mut receipts);
    }
    expect_addresses(&orders, &receipts);
    db.checkpoint().unwrap();
    expect_addresses(&orders, &receipts);
    orders.trim_before(FILLER, extent(&orders, FILLER).1).unwrap();
    db.checkpoint().unwrap();
    eventually("sparse segments are cleaned", || db.stats().unwrap().cleaned_segments >= 8);
    expect_addresses(&orders, &receipts);
    drop(orders);
    db.close().unwrap();
    assert!(files_below(&place.data()).iter().any(|path| is_survivor(path)));
    let db = place.open();
    orders = db.stream("orders").unwrap();
    expect_addresses(&orders, &receipts);
}
