//! Files that are not as they were left.

use std::fs;
use std::path::PathBuf;

use towpath::{Database, Error};

use crate::place::{Chance, Place, fingerprint};
use crate::sample::{RECORDS, active, expect_corrupt, flip, open, read_what_is_there, refused, sample, segments, zero};

const FLIPS: u32 = 80;
const FLIPS_MAX: u32 = 2000;

fn path(place: &Place, file: &str) -> PathBuf {
    place.data().join(file)
}

#[test]
fn the_sample_is_sound() {
    let place = sample();
    let before = fingerprint(&place.data());
    let report = Database::check(place.data()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(report.records, RECORDS);
    assert!(segments(&place, ".idx").len() >= 2 && report.sidecars >= 2);
    assert!(fingerprint(&place.data()) == before, "a check changes nothing");
    assert_eq!(read_what_is_there(&open(&place).unwrap()).0, RECORDS);
}

#[test]
fn a_bit_flipped_in_a_sidecar_refuses_or_is_not_needed() {
    let place = sample();
    let mut chance = Chance::new(2);
    for file in segments(&place, ".idx") {
        let length = fs::metadata(path(&place, &file)).unwrap().len();
        for _ in 0..3 {
            let (at, bit) = (chance.below(length), chance.below(8) as u8);
            flip(&path(&place, &file), at, bit);
            let report = Database::check(place.data()).unwrap();
            assert!(report.problems.iter().any(|problem| problem.contains(&file)), "{:?}", report.problems);
            match open(&place) {
                Ok(db) => {
                    let (read, errors) = read_what_is_there(&db);
                    errors.iter().for_each(|error| expect_corrupt(error, &file));
                    assert!(read == RECORDS || !errors.is_empty());
                }
                Err(error) => expect_corrupt(&error, &file),
            }
            flip(&path(&place, &file), at, bit);
        }
    }
}

#[test]
fn a_bit_flipped_in_the_index_is_never_served() {
    let original = sample();
    let mut place = Place::new();
    crate::place::copy_tree(&original.data(), &place.data());
    let index = fs::read(path(&place, "index.redb")).unwrap();
    let used: Vec<usize> = (0..index.len()).filter(|at| index[*at] != 0).collect();
    let mut chance = Chance::new(3);
    let (mut refusals, mut opens, mut flips) = (0, 0, 0);
    // How much of the file is in use depends on how often it was written.
    while flips < FLIPS || refusals.min(opens) < 3 {
        flips += 1;
        assert!(flips < FLIPS_MAX, "{refusals} refused, {opens} opened");
        let file = path(&place, "index.redb");
        let (at, bit) = (used[chance.below(used.len() as u64) as usize], chance.below(8));
        let mut damaged = index.clone();
        damaged[at] ^= 1 << bit;
        fs::write(&file, &damaged).unwrap();
        let found = Database::check(place.data()).unwrap().problems;
        match open(&place) {
            Ok(db) => {
                if opens % 10 == 0 {
                    let (read, errors) = read_what_is_there(&db);
                    assert_eq!((read, errors.len()), (RECORDS, 0), "byte {at}, bit {bit}: {errors:?}");
                }
                opens += 1;
                db.close().unwrap();
                place = Place::new();
                crate::place::copy_tree(&original.data(), &place.data());
            }
            Err(error) => {
                expect_corrupt(&error, "index.redb");
                assert!(fs::read(&file).unwrap() == damaged, "byte {at}, bit {bit}: a refused open changed the index");
                assert!(!found.is_empty(), "byte {at}, bit {bit}: a check finds nothing");
                refusals += 1;
            }
        }
    }
}

#[test]
fn one_damaged_control_copy_is_no_loss_and_two_refuse_the_open() {
    for bits in [vec![100], vec![4096 + 100], vec![100, 4096 + 100]] {
        let place = sample();
        for bit in &bits {
            flip(&path(&place, "control"), *bit, 2);
        }
        if bits.len() == 1 {
            assert_eq!(read_what_is_there(&open(&place).unwrap()).0, RECORDS);
        } else {
            expect_corrupt(&refused(&place), "control");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    for file in ["index.redb", "staging.ring"] {
        let place = sample();
        fs::remove_file(path(&place, file)).unwrap();
        expect_corrupt(&refused(&place), file);
    }
}

#[test]
fn a_missing_folder_of_segments_is_named() {
    let place = sample();
    fs::remove_dir_all(path(&place, "segments")).unwrap();
    expect_corrupt(&refused(&place), "segments");
    let problems = Database::check(place.data()).unwrap().problems;
    assert!(problems.len() == 1 && problems[0].starts_with("damage in segments: "), "{problems:?}");
}

#[test]
fn a_check_names_what_is_missing_and_what_the_next_open_mends() {
    let place = sample();
    let sidecar = segments(&place, ".idx")[0].clone();
    fs::remove_file(path(&place, &sidecar)).unwrap();
    let problems = Database::check(place.data()).unwrap().problems;
    assert!(problems.iter().any(|problem| problem.contains(&sidecar)), "{problems:?}");
    let place = sample();
    flip(&path(&place, "control"), 100, 0);
    let problems = Database::check(place.data()).unwrap().problems;
    assert!(problems.len() == 1 && problems[0].starts_with("control: "), "{problems:?}");
    open(&place).unwrap().close().unwrap();
    assert_eq!(Database::check(place.data()).unwrap().problems, Vec::<String>::new());
    let place = sample();
    flip(&path(&place, &active(&place)), 5000, 3);
    let problems = Database::check(place.data()).unwrap().problems;
    assert!(problems.len() == 1 && problems[0].contains("staging ring"), "{problems:?}");
}

#[test]
fn a_truncated_file_is_named() {
    for file in ["index.redb", "staging.ring", "control"] {
        for keep in [0, 1, 2] {
            let place = sample();
            let length = fs::metadata(path(&place, file)).unwrap().len();
            let shortened = fs::OpenOptions::new().write(true).open(path(&place, file)).unwrap();
            shortened.set_len(length / 4 * keep / 2).unwrap();
            let error = refused(&place);
            let named = matches!(&error, Error::Corrupt { file: named, .. } if named == file);
            let unknown = file == "control" && matches!(error, Error::NotADatabase { .. });
            assert!(named || unknown, "{file} × {keep}/8: {error:?}");
        }
    }
}

#[test]
fn a_segment_or_sidecar_that_is_missing_or_truncated_is_named() {
    for ending in [".seg", ".idx"] {
        for shorten in [None, Some(0), Some(100), Some(5000)] {
            let place = sample();
            let file = segments(&place, ending)[1].clone();
            match shorten {
                None => fs::remove_file(path(&place, &file)).unwrap(),
                Some(length) => {
                    let length = length.min(fs::metadata(path(&place, &file)).unwrap().len() - 1);
                    fs::OpenOptions::new().write(true).open(path(&place, &file)).unwrap().set_len(length).unwrap();
                }
            }
            let before = fingerprint(&place.data());
            match open(&place) {
                Ok(db) => {
                    let (read, errors) = read_what_is_there(&db);
                    assert!(read < RECORDS && read > RECORDS / 3, "{file} to {shorten:?}: {read}");
                    errors.iter().for_each(|error| expect_corrupt(error, &file));
                    assert!(!errors.is_empty());
                }
                Err(error) => {
                    expect_corrupt(&error, &file);
                    assert!(fingerprint(&place.data()) == before, "a refused open changed files");
                }
            }
        }
    }
}

#[test]
fn the_active_segment_missing_or_truncated_refuses_the_open() {
    for shorten in [None, Some(0), Some(6000)] {
        let place = sample();
        let file = active(&place);
        zero(&path(&place, "staging.ring"));
        match shorten {
            None => fs::remove_file(path(&place, &file)).unwrap(),
            Some(length) => {
                fs::OpenOptions::new().write(true).open(path(&place, &file)).unwrap().set_len(length).unwrap();
            }
        }
        expect_corrupt(&refused(&place), &file);
    }
}

#[test]
fn a_check_of_a_damaged_database_says_so_and_changes_nothing() {
    let place = sample();
    flip(&path(&place, &segments(&place, ".seg")[0]), 100_000, 5);
    flip(&path(&place, &segments(&place, ".idx")[1]), 60, 5);
    let before = fingerprint(&place.data());
    let report = Database::check(place.data()).unwrap();
    assert!(report.problems.len() >= 2, "{:?}", report.problems);
    let damaged = format!("{} at ", segments(&place, ".seg")[0]);
    let places: Vec<u64> =
        report.problems.iter().filter_map(|p| p.strip_prefix(&damaged)?.split(':').next()?.parse().ok()).collect();
    assert!(
        places.iter().any(|at| *at <= 100_000 && 100_000 < at + 16_000),
        "the place is named: {:?}",
        report.problems
    );
    assert!(fingerprint(&place.data()) == before);
}

#[test]
fn what_damage_concerns_is_named_by_stream_and_partition() {
    let place = sample();
    flip(&path(&place, &segments(&place, ".seg")[0]), 100_000, 5);
    let report = Database::check(place.data()).unwrap();
    let nowhere = |problem: &&String| problem.ends_with(" leads nowhere");
    let named = report.problems.iter().find(nowhere).unwrap_or_else(|| panic!("{:?}", report.problems));
    assert!(named.contains(" of partition ") && named.contains(" of stream `orders` "), "{named}");
    assert!(!report.problems.iter().any(|problem| problem.contains("LogId")), "{:?}", report.problems);
}

#[test]
fn damage_is_told_once_with_one_advice() {
    let place = sample();
    zero(&path(&place, "index.redb"));
    let text = refused(&place).to_string();
    assert_eq!(text.matches("restore").count(), 1, "{text}");
    assert!(!text.contains("salvage") && !text.contains("LSN 0"), "{text}");
    let report = Database::check(place.data()).unwrap();
    assert!(!report.problems.is_empty() && !report.problems.iter().any(|problem| problem.contains("restore")));
}
