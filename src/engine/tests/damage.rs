//! Damage that readers meet is told by file, place and address.

use super::*;
use crate::engine::machine::{Lookup, Until};
use crate::storage::frame::{self, HEADER_BYTES, Seed};

/// A stream whose first record lies in a sealed segment with a sidecar.
fn with_a_sealed_record(bench: &Bench) -> (StreamHandle, Lsn) {
    let stream = bench.create("orders", 1, streams::Retention::default());
    let lsn = bench.append(stream, 0, b"one blue mug", Level::Buffered);
    for _ in 0..5 {
        bench.append(stream, 0, &vec![7; 1 << 20], Level::Buffered);
    }
    bench.engine.checkpoint().expect("nothing fails");
    (stream, lsn)
}

/// Makes the body of the only record in a frame longer than its item, and the frame's checksum hold again.
fn spoil_record(disk: &SimDisk, file: &str, offset: u64) {
    let mut bytes = disk.contents(file);
    let seed = Seed::new(&DATABASE_ID);
    let frame = frame::open(&bytes[offset as usize..], seed).expect("a sound frame");
    let (header, length) = (frame.header, HEADER_BYTES + frame.payload.len());
    let start = offset as usize;
    let body = bytes[start..start + length].windows(12).position(|at| at == b"one blue mug").expect("its body");
    // Body length, key length and length of the header block stand before a record without key and headers.
    bytes[start + body - 3] = 0x7f;
    frame::seal(&mut bytes[start..start + length], &header, seed);
    disk.put(file, &bytes);
}

#[track_caller]
fn expect_named(fault: &Fault, file: &str, frame: u64, lsn: Lsn) {
    let Fault::Corrupt { file: named, offset, from, to, .. } = fault else { panic!("{fault:?}") };
    assert_eq!((named.as_str(), *from), (file, lsn));
    assert!(to >= from, "{from} to {to}");
    assert!(*offset >= frame && *offset < frame + 64, "{offset}: the frame starts at {frame}");
}

#[test]
fn a_record_whose_checksum_holds_and_that_is_not_understood_is_named() {
    let bench = Bench::new();
    let (stream, lsn) = with_a_sealed_record(&bench);
    let ((file, offset), log) = (bench.place(lsn), bench.log(stream, 0));
    bench.engine.close().expect("nothing fails");
    bench.disk.kill();
    spoil_record(&bench.disk, &file, offset);
    let bench = Bench::open(bench.disk, bench.clock);
    let Ok(Read::Items(batch)) = bench.engine.read(log, 0, 1, &mut Cursor::default()) else {
        panic!("its frame is sound")
    };
    let told = crate::Records::of(batch, 0, 0, 1).expect_err("it is not understood");
    assert!(
        matches!(&told, crate::Error::Corrupt { file: named, offset: at, from, .. }
            if *named == file && *at >= offset && *from == lsn),
        "{told:?}"
    );
    let lookup = Lookup { log, from: 0, until: Until::Bytes(1), passes: 0 };
    expect_named(&bench.engine.look_up(lookup).expect_err("it is not understood"), &file, offset, lsn);
}

#[test]
fn a_record_whose_checksum_fails_is_named() {
    let bench = Bench::new();
    let (stream, lsn) = with_a_sealed_record(&bench);
    let (file, offset) = bench.place(lsn);
    bench.disk.flip_bit(&file, offset + 40, 1);
    let (kept, fault) = bench.read_from(bench.log(stream, 0), 0);
    assert!(kept.is_empty());
    expect_named(&fault.expect("it is damaged"), &file, offset, lsn);
}

#[test]
fn a_sealed_segment_or_sidecar_that_went_missing_while_the_database_is_open_is_named() {
    for ending in [".seg", ".idx"] {
        let bench = Bench::new();
        let (stream, lsn) = with_a_sealed_record(&bench);
        let log = bench.log(stream, 0);
        let bench = bench.reopen();
        let file = bench.place(lsn).0.replace(".seg", ending);
        bench.disk.erase(&file);
        let (kept, fault) = bench.read_from(log, 0);
        assert!(kept.is_empty());
        let told = matches!(&fault, Some(Fault::Corrupt { file: named, .. }) if *named == file);
        assert!(told, "{file}: {fault:?}");
        assert_eq!(bench.read_from(log, 5).0.len(), 1, "other segments are read");
    }
}
