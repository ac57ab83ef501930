//! What is there after closing, dropping, forking and opening again, what it takes on disk, and who may have it open.

#[path = "../place/mod.rs"]
mod place;

mod addresses;
mod fork;
#[path = "../place/forking.rs"]
mod forking;

use std::process::Command;
use std::time::{Duration, Instant};

use towpath::{AppendOptions, Database, Error, Header, Level, Options, Record, StreamOptions};

use place::{Kept, Place, disk_bytes, eventually, extent, noise, read_all, texts};

const MIB: u64 = 1 << 20;

/// Streams of several kinds with a few thousand records over several segments.
fn fill(db: &Database) {
    let orders = db.create_stream("orders", StreamOptions::new().partitions(3)).unwrap();
    let audit = db.create_stream("audit", StreamOptions::new().retention_records(100)).unwrap();
    let buffered = AppendOptions::new().level(Level::Buffered);
    for number in 0..600 {
        let (key, body) = (noise(number, 8), noise(number, (number as usize * 97) % 40_000));
        let headers = [Header { name: "number", value: &number.to_le_bytes() }];
        orders.append_with(Record::new(&body).key(&key).headers(&headers), &buffered).unwrap();
        audit.append_with(Record::new(b"login of carol"), &buffered).unwrap();
    }
    orders.append(Record::tombstone(b"customer-7")).unwrap();
    orders.trim_before(1, 20).unwrap();
    eventually("retention has held", || extent(&audit, 0) == (500, 600));
}

fn everything(db: &Database) -> Vec<(String, Vec<Vec<Kept>>)> {
    let read = |name: &str| {
        let stream = db.stream(name).unwrap();
        (0..stream.partitions()).map(|partition| read_all(&stream, partition)).collect()
    };
    db.streams().unwrap().iter().map(|described| (described.name.clone(), read(&described.name))).collect()
}

#[test]
fn everything_is_there_after_a_close() {
    let place = Place::new();
    let db = place.open();
    fill(&db);
    let (before, described) = (everything(&db), db.streams().unwrap());
    db.close().unwrap();
    for _ in 0..2 {
        let db = place.open();
        assert!(everything(&db) == before);
        assert_eq!(db.streams().unwrap(), described);
        db.close().unwrap();
    }
}

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
fn what_is_buffered_is_synced_within_the_flush_interval_without_being_asked() {
    let db = Options::temporary().flush_interval(Duration::from_millis(10)).open_temporary().unwrap();
    let orders = db.create_stream("orders", StreamOptions::new().level(Level::Buffered)).unwrap();
    for _ in 0..5 {
        let lsn = orders.append("one blue mug").unwrap().lsn().get();
        eventually("it is durable", || db.stats().unwrap().durable_lsn > lsn);
    }
}

#[test]
fn a_ticket_outlives_the_close_with_a_true_answer() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let submit = |_| orders.submit(Record::new(b"one blue mug"), &AppendOptions::new()).unwrap();
    let tickets: Vec<_> = (0..50).map(submit).collect();
    db.close().unwrap();
    let answers: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait()).collect();
    drop(orders);
    let held = extent(&place.open().stream("orders").unwrap(), 0).1;
    assert_eq!(held, 50, "a close flushes");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[test]
fn addresses_and_offsets_go_on_after_reopening() {
    let place = Place::new();
    let mut last = 0;
    for offset in 0..5 {
        let db = place.open();
        let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
        let appended = orders.append("one blue mug").unwrap();
        assert_eq!(appended.offset, offset);
        assert!(appended.lsn().get() > last, "no address is handed out twice");
        last = appended.lsn().get();
    }
}

#[test]
fn the_sizes_it_was_created_with_hold_whatever_is_asked_for_later() {
    let place = Place::new();
    place.open().close().unwrap();
    let db = Options::new().ring_bytes(16 << 20).segment_bytes(32 << 20).open(place.data()).unwrap();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let large = vec![7; 1 << 20];
    let refused = orders.append_batch(&[Record::new(&large); 3], &AppendOptions::new());
    assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "half of a 4 MiB ring still is the limit");
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
fn writing_one_record_each_time_it_is_opened_grows_by_little() {
    let place = Place::new();
    let write = || {
        let db = place.open();
        db.create_stream("orders", StreamOptions::new()).unwrap().append("one blue mug").unwrap();
        db.close().unwrap();
    };
    (0..5).for_each(|_| write());
    let before = disk_bytes(&place.data());
    (0..50).for_each(|_| write());
    let after = disk_bytes(&place.data());
    assert!(after <= before + 4 * MIB, "{before} became {after}: at most one more segment for a few kilobytes");
    assert_eq!(texts(&place.open().stream("orders").unwrap(), 0).len(), 55);
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

#[test]
fn a_close_waits_for_nobody_who_waits() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let mut reader = orders.reader(0, towpath::Start::Earliest).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || reader.receive(1).map(|_| ()));
        std::thread::sleep(Duration::from_millis(10));
        db.close().unwrap();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Closed)));
    });
    assert!(start.elapsed() < place::PATIENCE);
    drop(orders);
    place.open();
}
