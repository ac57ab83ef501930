//! What is there after closing, dropping, forking and opening again, what it takes on disk, and who may have it open.
//! `tests/attached` runs some of it from an attached process.

#[path = "../place/mod.rs"]
mod place;

mod addresses;
mod fork;
#[path = "../place/forking.rs"]
mod forking;
mod reopening;

use std::process::Command;
use std::time::Duration;

use towpath::{Database, Error, Level, Options, StreamOptions};

use place::{Place, disk_bytes, texts};
use reopening::{everything, fill};

const MIB: u64 = 1 << 20;

#[test]
fn dropping_the_last_handle_closes() {
    let place = Place::new();
    let (before, orders) = {
        let db = place.open();
        fill(&db);
        (everything(&db), db.stream("orders").unwrap())
    };
    assert!(matches!(place_check(&place), Err(Error::Locked { .. })), "a stream's handle keeps it open");
    drop(orders);
    assert!(everything(&place.open()) == before);
}

#[test]
fn what_was_buffered_is_on_disk_after_a_close() {
    let place = Place::new();
    let options = || Options::temporary().flush_interval(Duration::from_secs(3600)).level(Level::Buffered);
    let db = options().open(place.data()).unwrap();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    for number in 0..1000 {
        orders.append(&format!("order {number}")).unwrap();
    }
    db.close().unwrap();
    // The ring's content is not needed: the close has written everything to the segments and the index.
    let ring = place.data().join("staging.ring");
    let length = std::fs::metadata(&ring).unwrap().len();
    std::fs::write(&ring, vec![0; length as usize]).unwrap();
    let orders = place.open().stream("orders").unwrap();
    assert_eq!(texts(&orders, 0), (0..1000).map(|number| format!("order {number}")).collect::<Vec<_>>());
}

#[test]
fn an_empty_database_takes_at_most_64_mebibytes() {
    let place = Place::new();
    let db = Database::open(place.data()).unwrap();
    let open = disk_bytes(&place.data());
    assert!(open <= 64 * MIB, "{} MiB while open", open / MIB);
    db.close().unwrap();
    let closed = disk_bytes(&place.data());
    assert!(closed <= 64 * MIB, "{} MiB after the close", closed / MIB);
}

#[test]
fn opening_and_closing_a_hundred_times_does_not_grow() {
    let place = Place::new();
    for _ in 0..5 {
        place.open().close().unwrap();
    }
    let before = disk_bytes(&place.data());
    for _ in 0..100 {
        place.open().close().unwrap();
    }
    assert!(disk_bytes(&place.data()) <= before, "{before} became {}", disk_bytes(&place.data()));
}

#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let db = place.open();
    for path in place::files_below(&place.data()) {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    for folder in [place.data(), place.data().join("segments")] {
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
    }
    drop(db);
}

/// Set for the child that tries to open.
const DATA: &str = "TOWPATH_SECOND_OPENER";

#[test]
fn a_second_opener_is_told_who_holds_the_directory_alone() {
    let place = Place::new();
    let db = place.open_alone();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let child = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child_opens_what_is_held", "--exact", "--nocapture"]).env(DATA, place.data());
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = child();
    assert!(said.contains(&format!("#locked by {}#", std::process::id())), "{said}");
    assert!(matches!(place_check(&place), Err(Error::Locked { pid }) if pid == std::process::id()));
    orders.append("one blue mug").unwrap();
    drop(orders);
    db.close().unwrap();
    assert!(child().contains("#opened#"), "it is free once it is closed");
    assert_eq!(texts(&place.open().stream("orders").unwrap(), 0), ["one blue mug"]);
}

fn place_check(place: &Place) -> Result<(), Error> {
    Database::check(place.data()).map(|_| ())
}

#[test]
fn what_is_held_alone_opens_no_second_time_in_one_process_either() {
    let place = Place::new();
    let db = place.open_alone();
    let refused = Database::open(place.data());
    assert!(matches!(refused, Err(Error::Locked { pid }) if pid == std::process::id()), "{refused:?}");
    assert!(refused.unwrap_err().is_retryable());
    db.close().unwrap();
    place.open();
}

/// Does nothing unless it is the child.
#[test]
fn child_opens_what_is_held() {
    let Some(data) = std::env::var_os(DATA) else { return };
    match Options::temporary().open(data) {
        Ok(_) => println!("#opened#"),
        Err(Error::Locked { pid }) => println!("#locked by {pid}#"),
        Err(other) => println!("#{other:?}#"),
    }
}

#[test]
fn a_temporary_database_leaves_nothing_behind() {
    let db = Options::temporary().open_temporary().unwrap();
    let path = db.path().to_owned();
    assert!(path.exists());
    db.create_stream("orders", StreamOptions::new()).unwrap().append("one blue mug").unwrap();
    db.close().unwrap();
    assert!(!path.exists());
}
