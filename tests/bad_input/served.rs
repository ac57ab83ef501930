//! Damage in a segment, and what is served all the same. `tests/attached` runs the same tests, where another process
//! maps the segments too.

use std::path::PathBuf;

use towpath::{Error, Start};

use crate::place::{Chance, Place};
use crate::sample::{RECORDS, active, expect_corrupt, flip, open, read_what_is_there, refused, sample, segments, zero};

fn path(place: &Place, file: &str) -> PathBuf {
    place.data().join(file)
}

#[test]
fn a_bit_flipped_in_a_sealed_segment_is_never_served() {
    let place = sample();
    let mut chance = Chance::new(1);
    let sealed = segments(&place, ".idx").len();
    for round in 0..12 {
        let file = segments(&place, ".seg")[round % sealed].clone();
        let (at, bit) = (chance.below(4_000_000), chance.below(8) as u8);
        flip(&path(&place, &file), at, bit);
        let report = place.check();
        assert!(report.problems.iter().any(|problem| problem.contains(&file)), "{file} {at} {:?}", report.problems);
        match open(&place) {
            Ok(db) => {
                let (read, errors) = read_what_is_there(&db);
                errors.iter().for_each(|error| expect_corrupt(error, &file));
                assert!(read >= RECORDS - 20, "{read}: others are served");
                assert!(read == RECORDS || !errors.is_empty(), "{read}: what is not served is told");
                place.close(db);
            }
            Err(error) => expect_corrupt(&error, &file),
        }
        flip(&path(&place, &file), at, bit);
    }
    let (read, errors) = read_what_is_there(&open(&place).unwrap());
    assert!(read == RECORDS && errors.is_empty(), "as it was");
}

#[test]
fn a_damaged_record_hides_no_other_however_many_are_asked_for() {
    let place = sample();
    let file = segments(&place, ".seg")[1].clone();
    flip(&path(&place, &file), 1_500_000, 4);
    let db = open(&place).unwrap();
    let orders = db.stream("orders").unwrap();
    let (mut read, mut told) = (0, Vec::new());
    for partition in 0..orders.partitions() {
        let mut reader = orders.reader(partition, Start::Earliest).unwrap();
        loop {
            match reader.try_receive(1000) {
                Ok(Some(records)) => read += records.len() as u64,
                Ok(None) => break,
                Err(error) => {
                    let lost =
                        format!("offset {0} to {0} of partition {partition} of stream `orders`", reader.position());
                    told.push((error, lost));
                    reader.seek(Start::Offset(reader.position() + 1)).unwrap();
                }
            }
        }
    }
    assert_eq!((read, told.len()), (RECORDS - 1, 1), "{told:?}");
    let (error, lost) = told.remove(0);
    expect_corrupt(&error, &file);
    let Error::Corrupt { offset, from, to, reason, .. } = error else { unreachable!("it is damage") };
    assert!(offset <= 1_500_000 && 1_500_000 < offset + to.get() - from.get(), "{offset}: {from} to {to}");
    assert!(reason.ends_with(&lost), "{reason}");
}

#[test]
fn damage_that_the_ring_can_repair_is_repaired() {
    let place = sample();
    let file = path(&place, &active(&place));
    flip(&file, 5000, 3);
    let db = open(&place).unwrap();
    assert_eq!(read_what_is_there(&db).0, RECORDS);
    place.close(db);
    zero(&path(&place, "staging.ring"));
    assert_eq!(read_what_is_there(&open(&place).unwrap()).0, RECORDS, "the segment itself was repaired");
}

#[test]
fn a_bit_flipped_in_the_active_segment_refuses_the_open() {
    let place = sample();
    let file = active(&place);
    zero(&path(&place, "staging.ring"));
    for (at, bit) in [(0, 0), (40, 7), (5000, 3), (20_000, 1)] {
        flip(&path(&place, &file), at, bit);
        let error = refused(&place);
        expect_corrupt(&error, &file);
        let Error::Corrupt { offset, from, to, .. } = error else { unreachable!() };
        assert!(offset <= at && at < offset + 16_000, "{offset}: the damage is at {at}");
        assert!(from < to, "the range says what is concerned");
        flip(&path(&place, &file), at, bit);
    }
    assert_eq!(read_what_is_there(&open(&place).unwrap()).0, RECORDS);
}
