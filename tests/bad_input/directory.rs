//! Directories that hold something else, nothing, or a database of a later version.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use towpath::{Database, Error, Options, StreamOptions};

use crate::place::{Place, fingerprint};
use crate::sample::{RECORDS, expect_corrupt, open, read_what_is_there, refused, sample};

#[test]
fn what_is_not_there_is_missing_unless_it_may_be_created() {
    let place = Place::new();
    for _ in 0..2 {
        let refused = Options::temporary().create(false).open(place.data());
        assert!(matches!(&refused, Err(Error::Missing { path }) if *path == place.data()), "{refused:?}");
        assert!(!place.data().exists());
    }
    fs::create_dir(place.data()).unwrap();
    let refused = Options::temporary().create(false).open(place.data());
    assert!(matches!(&refused, Err(Error::Missing { .. })), "{refused:?}");
    assert!(matches!(Database::check(place.data()), Err(Error::Missing { .. })));
    place.open().close().unwrap();
    Options::temporary().create(false).open(place.data()).unwrap();
}

#[test]
fn folders_above_a_new_database_are_created_too() {
    let place = Place::new();
    let deep = place.beside("a").join("b/c");
    Options::temporary().open(&deep).unwrap().close().unwrap();
    assert!(deep.join("control").exists());
}

#[test]
fn a_directory_with_other_files_is_not_a_database_and_stays_as_it_is() {
    let others: [(&str, &[u8]); 3] = [
        ("letter.txt", b"Dear Carol"),
        ("control", b"left, right, up, down"),
        ("segments/letter.txt", b"part of something else"),
    ];
    for (name, content) in others {
        let place = Place::new();
        let file = place.data().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        let error = refused(&place);
        assert!(matches!(error, Error::NotADatabase { .. }), "{name}: {error:?}");
        let checked = Database::check(place.data());
        assert!(matches!(checked, Err(Error::NotADatabase { .. })), "{name}: {checked:?}");
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}

#[test]
fn a_database_that_lost_its_control_file_is_damaged_and_is_not_made_anew() {
    for others in [&[][..], &["index.redb"], &["segments"]] {
        let place = sample();
        fs::remove_file(place.data().join("control")).unwrap();
        for name in others {
            let path = place.data().join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        let error = refused(&place);
        expect_corrupt(&error, "control");
        let text = error.to_string();
        assert!(text.contains("the control file is missing") && text.contains("restore a copy"), "{text}");
        let existing = Options::temporary().create(false).open(place.data()).unwrap_err();
        assert_eq!(existing.to_string(), text);
        let report = Database::check(place.data()).unwrap();
        assert_eq!(report.problems, ["damage in control: the control file is missing"]);
    }
}

#[test]
fn options_that_are_refused_leave_no_directory_behind() {
    let place = Place::new();
    let refused = Options::new().ring_bytes(5 << 20).open(place.beside("a").join("b"));
    assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{refused:?}");
    assert!(!place.beside("a").exists());
}

#[test]
fn a_directory_with_only_folders_is_not_a_database_and_stays_as_it_is() {
    for name in ["letters", "control", "index.redb", "segments/letters", "segments2"] {
        let place = Place::new();
        let folder = place.data().join(name);
        fs::create_dir_all(&folder).unwrap();
        let error = refused(&place);
        assert!(matches!(error, Error::NotADatabase { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(&format!("folder `{name}`")), "{error}");
        assert_eq!(fs::read_dir(place.data()).unwrap().count(), 1, "{name}: something was put beside it");
        assert!(folder.is_dir());
    }
}

#[test]
fn a_file_whose_name_is_no_text_is_seen_too() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    let file = place.data().join(OsStr::from_bytes(b"letter\xff"));
    fs::write(&file, b"Dear Carol").unwrap();
    assert!(matches!(refused(&place), Error::NotADatabase { .. }));
    assert_eq!(fs::read(&file).unwrap(), b"Dear Carol");
}

#[test]
fn an_own_directory_that_was_half_made_is_completed_and_the_root_of_a_disk_is_taken() {
    let place = Place::new();
    fs::create_dir_all(place.data().join("lost+found")).unwrap();
    place.open().close().unwrap();
    fs::rename(place.data().join("control"), place.data().join("control.new")).unwrap();
    let db = place.open();
    db.create_stream("orders", StreamOptions::new()).unwrap().append("one blue mug").unwrap();
    db.close().unwrap();
    assert!(place.data().join("lost+found").is_dir());
    let foreign = place.data().join("segments/letter.txt");
    fs::rename(place.data().join("control"), place.data().join("control.new")).unwrap();
    fs::write(&foreign, b"Dear Carol").unwrap();
    assert!(matches!(refused(&place), Error::NotADatabase { .. }));
    assert_eq!(fs::read(&foreign).unwrap(), b"Dear Carol");
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused_and_stays() {
    let place = Place::new();
    fs::write(place.data(), b"Dear Carol").unwrap();
    let refused = open(&place);
    assert!(matches!(refused, Err(Error::NotADatabase { .. } | Error::Io { .. })), "{refused:?}");
    assert_eq!(fs::read(place.data()).unwrap(), b"Dear Carol");
}

/// Writes `bytes` into both copies of the control file at `at`, with checksums that hold.
fn patch_control(place: &Place, at: usize, bytes: &[u8]) {
    let path = place.data().join("control");
    let mut content = fs::read(&path).unwrap();
    for copy in content.chunks_exact_mut(4096) {
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32c::crc32c(&copy[..4092]);
        copy[4092..].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(path, content).unwrap();
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let place = sample();
    patch_control(&place, 8, &2_u32.to_le_bytes());
    let error = refused(&place);
    assert!(matches!(error, Error::UnsupportedFormat { found: 2, supported: 1, .. }), "{error:?}");
    assert!(error.to_string().contains('2') && error.to_string().contains("upgrade"), "{error}");
    assert!(matches!(Database::check(place.data()), Err(Error::UnsupportedFormat { .. })));
    patch_control(&place, 8, &1_u32.to_le_bytes());
    assert_eq!(read_what_is_there(&open(&place).unwrap()).0, RECORDS, "it was not touched");
}

#[test]
fn an_unknown_feature_that_must_be_known_is_refused_by_its_bit() {
    let place = sample();
    patch_control(&place, 24, &(1_u64 << 41).to_le_bytes());
    let error = refused(&place);
    assert!(matches!(error, Error::UnsupportedFormat { features, .. } if features == 1 << 41), "{error:?}");
    assert!(error.to_string().contains("0x20000000000"), "{error}");
}

#[test]
fn an_unknown_feature_that_may_be_ignored_is_kept() {
    let place = sample();
    let feature = (1_u64 << 41).to_le_bytes();
    patch_control(&place, 16, &feature);
    let db = open(&place).unwrap();
    assert_eq!(read_what_is_there(&db).0, RECORDS);
    db.close().unwrap();
    let control = fs::read(place.data().join("control")).unwrap();
    assert!(control.chunks_exact(4096).all(|copy| copy[16..24] == feature));
}

#[test]
fn a_database_under_another_name_in_its_directory_is_not_touched() {
    let place = sample();
    fs::write(place.data().join("notes.txt"), b"ours since 2026").unwrap();
    let db = open(&place).unwrap();
    assert_eq!(read_what_is_there(&db).0, RECORDS);
    db.close().unwrap();
    let path = place.data().join("notes.txt");
    assert!(fingerprint(&place.data()).contains_key(&path), "what is not ours is not removed");
}
