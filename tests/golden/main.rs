//! Directories written by earlier versions, which this one must open and read in full.
//!
//! Each folder `format-N…` beside this file holds one directory: `files`, a text with a line for each file and each
//! stretch of it that is not zeros. What is in it is written down below, not read from it.
//!
//! `TOWPATH_BLESS=1 cargo test --test golden` writes the folders of the current format again: only for a format that no
//! release has written yet.

#[path = "../place/mod.rs"]
mod place;

mod packed;

use std::path::PathBuf;
use std::time::Duration;

use towpath::{
    AppendOptions, Database, Error, Header, ManualClock, Options, ProducerOptions, Record, Stream, StreamOptions,
    Timestamp,
};

use place::{Kept, Place, eventually, extent, read_all};

const NOON: u64 = 1_790_000_000_000_000;
const RECORDS: u64 = 24;
/// Two of them take a large frame, whose items carry a head of their own.
const DRAWING_BYTES: usize = 40_000;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn open(place: &Place) -> Result<Database, Error> {
    let clock = ManualClock::starting_at(Timestamp::from_micros(NOON + 3_600_000_000));
    Options::temporary().clock(clock).open(place.data())
}

type Order = (Option<Vec<u8>>, Vec<(String, Vec<u8>)>, Option<Vec<u8>>);

/// Key, headers and body of the record at an offset of `orders`.
fn order(partition: u32, offset: u64) -> Order {
    let key = (!offset.is_multiple_of(3)).then(|| format!("customer-{}", offset % 5).into_bytes());
    let headers = (0..offset % 4).map(|n| (format!("header {n}"), vec![n as u8; offset as usize])).collect();
    let body = match offset % 6 {
        5 if key.is_some() => None,
        4 => Some(Vec::new()),
        _ => Some(format!("order {offset} of partition {partition}").repeat(offset as usize).into_bytes()),
    };
    (key, headers, body)
}

/// Makes what `expect_content` finds: single records and batches, trims, retention, a deleted stream.
fn write_content(place: &Place) {
    let clock = ManualClock::starting_at(Timestamp::from_micros(NOON));
    let db = Options::temporary().clock(clock.clone()).open(place.data()).unwrap();
    let options = StreamOptions::new().partitions(2).retention_age(Duration::from_secs(7 * 24 * 3600));
    let orders = db.create_stream("orders", options).unwrap();
    for offset in 0..RECORDS {
        for partition in 0..2 {
            let (key, headers, body) = order(partition, offset);
            let headers: Vec<Header<'_>> = headers.iter().map(|(name, value)| Header { name, value }).collect();
            let record = match (&key, &body) {
                (Some(key), None) => Record::tombstone(key),
                (Some(key), Some(body)) => Record::new(body).key(key),
                (None, body) => Record::new(body.as_deref().unwrap_or_default()),
            };
            orders.append_with(record.headers(&headers), &AppendOptions::new().partition(partition)).unwrap();
        }
        clock.advance(Duration::from_secs(1));
        if offset == RECORDS / 2 {
            db.checkpoint().unwrap();
        }
    }
    orders.trim_before(1, 7).unwrap();
    let audit = db.create_stream("audit", StreamOptions::new().retention_records(4)).unwrap();
    let bodies: Vec<String> = (0..10).map(|number| format!("login {number}")).collect();
    let batch: Vec<Record<'_>> = bodies.iter().map(|body| Record::new(body.as_bytes())).collect();
    audit.append_batch(&batch, &AppendOptions::new()).unwrap();
    clock.advance(Duration::from_secs(1));
    eventually("retention has held", || extent(&audit, 0) == (6, 10));
    let drawings = db.create_stream("drawings", StreamOptions::new()).unwrap();
    drawings.append_batch(&[Record::new(&[0; DRAWING_BYTES]); 2], &AppendOptions::new()).unwrap();
    let imported = db.create_stream("imported", StreamOptions::new()).unwrap();
    imported.append("before it grew").unwrap();
    imported.add_partitions(3).unwrap();
    let producer = imported.producer("import", ProducerOptions::new()).unwrap();
    for line in 0..7 {
        producer.append_at(line, Record::new(b"a line"), &AppendOptions::new().partition(2)).unwrap();
    }
    db.create_stream("gone", StreamOptions::new()).unwrap().append("never seen again").unwrap();
    db.delete_stream("gone").unwrap();
    db.sync().unwrap();
}

fn expect_content(db: &Database) {
    let names = db.streams().unwrap().into_iter().map(|described| described.name);
    assert!(names.filter(|name| name != "notes").eq(["audit", "drawings", "imported", "orders"]));
    let orders = db.stream("orders").unwrap();
    let options = orders.describe().unwrap().options;
    assert_eq!(options.get_retention_age(), Some(Duration::from_secs(7 * 24 * 3600)));
    for (partition, start) in [(0, 0), (1, 7)] {
        assert_eq!(extent(&orders, partition), (start, RECORDS));
        for kept in read_all(&orders, partition) {
            let Kept { offset, timestamp, key, headers, body, .. } = kept;
            assert_eq!((key, headers, body), order(partition, offset), "{partition}/{offset}");
            assert_eq!(timestamp.as_micros(), NOON + offset * 1_000_000);
        }
    }
    let audit = db.stream("audit").unwrap();
    assert_eq!(place::texts(&audit, 0), ["login 6", "login 7", "login 8", "login 9"]);
    let drawings = read_all(&db.stream("drawings").unwrap(), 0);
    assert!(drawings.len() == 2 && drawings.iter().all(|kept| kept.body == Some(vec![0; DRAWING_BYTES])));
    let address = drawings[0].lsn.get();
    assert!(
        drawings[1].lsn.get() == address && address.is_multiple_of(8),
        "a batch has one address: that of its frame"
    );
    expect_imported(&db.stream("imported").unwrap());
}

/// A stream that has grown, and a producer that may send again what it sent last.
fn expect_imported(imported: &Stream) {
    let mappings = imported.mappings().unwrap();
    let grown: Vec<(u32, u32)> = mappings.iter().map(|mapping| (mapping.epoch, mapping.partitions)).collect();
    assert_eq!(grown, [(1, 1), (2, 4)]);
    let before = &read_all(imported, 0)[0];
    assert!(before.lsn < mappings[1].since_lsn && before.body.as_deref() == Some(b"before it grew"));
    let producer = imported.producer("import", ProducerOptions::new()).unwrap();
    let send = |line| producer.append_at(line, Record::new(b"a line"), &AppendOptions::new().partition(2));
    for line in 2..7 {
        let again = send(line).unwrap();
        assert!(again.duplicate && again.offset == line, "{again:?}");
    }
    let refused = send(8).unwrap_err();
    assert!(matches!(refused, Error::OutOfOrder { .. }), "{refused}");
    assert_eq!(extent(imported, 2), (0, 7));
}

/// Writes a golden folder again if that was asked for, and unpacks it.
fn unpack(name: &str, make: impl FnOnce(&Place)) -> Place {
    let file = folder(name).join("files");
    if std::env::var_os("TOWPATH_BLESS").is_some() {
        let place = Place::new();
        make(&place);
        std::fs::create_dir_all(folder(name)).unwrap();
        std::fs::write(&file, packed::pack(&place.data())).unwrap();
    }
    let place = Place::new();
    packed::unpack(&std::fs::read_to_string(&file).unwrap(), &place.data());
    place
}

/// Opens it, finds everything, and can go on with it.
fn expect_golden(place: &Place) {
    let report = Database::check(place.data()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    for round in 0..2 {
        let db = open(place).unwrap();
        expect_content(&db);
        let notes = db.create_stream("notes", StreamOptions::new()).unwrap();
        assert_eq!(notes.append("still alive").unwrap().offset, round);
        assert_eq!(place::texts(&notes, 0).len() as u64, round + 1);
        drop(notes);
        db.close().unwrap();
    }
}

#[test]
fn format_1_after_a_close_is_read_in_full() {
    expect_golden(&unpack("format-1-closed", write_content));
}

#[test]
fn format_1_after_a_crash_is_read_in_full() {
    let place = unpack("format-1-crashed", |target| {
        // A copy taken while nothing is written is what a crash leaves.
        let origin = Place::new();
        write_content_and_copy(&origin, target);
    });
    expect_golden(&place);
}

/// Copies the directory of the open database, as a crash at this moment would leave it.
fn write_content_and_copy(origin: &Place, target: &Place) {
    write_content(origin);
    let db = open(origin).unwrap();
    let notes = db.create_stream("notes", StreamOptions::new()).unwrap();
    notes.append("written in the life that crashed").unwrap();
    db.delete_stream("notes").unwrap();
    db.sync().unwrap();
    place::copy_tree(&origin.data(), &target.data());
}
