//! Law 4 for what is told of streams besides records: it waits for the frames it rests on, or leaves out what they say.

use super::*;
use crate::{AppendOptions, Database, Error, Record, Start, Stream, StreamOptions};

/// A database whose threads sync nothing by themselves, with a stream that has records: the flush interval is long, and
/// by the clock, which stands still, the last checkpoint was just made.
fn unhurried() -> (Database, Stream) {
    let clock = ManualClock::starting_at(Timestamp(NOON));
    let options = OpenOptions { flush_interval_micros: HOUR, ..options(&clock) };
    let opened = Database::open_on(SimDisk::new(1).attach(), options, Level::Sync);
    let db = opened.expect("nothing refuses it");
    let orders = db.create_stream("orders", StreamOptions::new().partitions(2)).expect("a new stream");
    orders.append_with(Record::new(b"one blue mug"), &AppendOptions::new().partition(0)).expect("there is room");
    db.checkpoint().expect("nothing fails");
    (db, orders)
}

/// Writes a fact for a `Sync` caller who has not waited yet, and tells where its frame ends.
fn issue(db: &Database, command: streams::Command<'_>) -> Lsn {
    let issued = db.shared.link.engine().issue(&Command::Streams(command), Level::Sync, None).expect("it is accepted");
    assert!(db.shared.link.engine().positions().durable < issued.rests_on, "nobody syncs it meanwhile");
    issued.rests_on
}

#[track_caller]
fn expect_durable(db: &Database, end: Lsn) {
    assert!(db.shared.link.engine().positions().durable >= end, "it was revealed before it was on disk");
}

#[test]
fn a_stream_is_found_and_listed_once_its_creation_is_on_disk() {
    let (db, _orders) = unhurried();
    let options = streams::Options { partitions: 1, ..streams::Options::default() };
    let end = issue(&db, streams::Command::Create { name: "audit", options });
    assert_eq!(db.stream("audit").expect("it was created").partitions(), 1);
    expect_durable(&db, end);
    let end = issue(&db, streams::Command::Create { name: "payments", options });
    let names: Vec<String> = db.streams().expect("it is open").into_iter().map(|stream| stream.name).collect();
    assert_eq!(names, ["audit", "orders", "payments"]);
    expect_durable(&db, end);
}

#[test]
fn new_options_of_a_stream_are_told_once_they_are_on_disk() {
    let (db, orders) = unhurried();
    let retention = streams::Retention { records: Some(7), ..streams::Retention::default() };
    let options = streams::Options { partitions: 2, retention, ..streams::Options::default() };
    let end = issue(&db, streams::Command::Ensure { name: "orders", options });
    assert_eq!(orders.describe().expect("it exists").options.get_retention_records(), Some(7));
    expect_durable(&db, end);
}

#[test]
fn a_deleted_stream_is_missed_once_its_deletion_is_on_disk() {
    type Look = fn(&Database, &Stream) -> Result<(), Error>;
    let looks: [Look; 6] = [
        |db, _| db.stream("orders").map(drop),
        |db, _| db.delete_stream("orders"),
        |_, orders| orders.describe().map(drop),
        |_, orders| orders.reader(0, Start::Earliest).map(drop),
        |_, orders| orders.append_with(Record::new(b"x"), &AppendOptions::new().level(Level::Buffered)).map(drop),
        |_, orders| orders.trim_before(0, 1),
    ];
    for (number, look) in looks.iter().enumerate() {
        let (db, orders) = unhurried();
        let end = issue(&db, streams::Command::Delete { name: "orders" });
        let told = look(&db, &orders);
        assert!(matches!(told, Err(Error::NotFound { .. })), "{number}: {told:?}");
        expect_durable(&db, end);
    }
    let (db, orders) = unhurried();
    let mut reader = orders.reader(0, Start::Earliest).expect("it exists");
    let end = issue(&db, streams::Command::Delete { name: "orders" });
    assert!(matches!(reader.try_receive(1), Err(Error::NotFound { .. })));
    expect_durable(&db, end);
    let (db, _orders) = unhurried();
    let end = issue(&db, streams::Command::Delete { name: "orders" });
    assert!(db.streams().expect("it is open").is_empty());
    expect_durable(&db, end);
}

#[test]
fn a_buffered_no_op_is_answered_once_what_it_rests_on_is_on_disk() {
    let (db, orders) = unhurried();
    let partition = AppendOptions::new().partition(0);
    let waiting = orders.submit(Record::new(b"two green plates"), &partition).expect("there is room");
    let end = db.shared.link.engine().positions().issued;
    orders.trim_before(1, 0).expect("nothing of that partition is on its way");
    assert!(!waiting.is_done());
    orders.trim_before(0, 0).expect("it does nothing");
    expect_durable(&db, end);
    let buffered = partition.clone().level(Level::Buffered);
    orders.append_with(Record::new(b"three red cups"), &buffered).expect("there is room");
    let end = db.shared.link.engine().positions().issued;
    orders.trim_before(0, 0).expect("it does nothing");
    assert!(db.shared.link.engine().positions().durable < end, "it rests on nothing written at `Sync`");
}

#[test]
fn a_description_leaves_out_what_is_not_on_disk_yet() {
    let (db, orders) = unhurried();
    let before = orders.describe().expect("it exists");
    let partition = AppendOptions::new().partition(0);
    let waiting = orders.submit(Record::new(b"two green plates"), &partition).expect("there is room");
    let buffered = partition.clone().level(Level::Buffered);
    orders.append_with(Record::new(b"three red cups"), &buffered).expect("there is room");
    assert_eq!(orders.describe().expect("it exists"), before);
    assert_eq!((before.partitions[0].end_offset, before.partitions[0].bytes), (1, 12));
    assert_eq!((before.partitions[1].last_timestamp, before.partitions[1].bytes), (None, 0));
    drop(waiting);
    db.sync().expect("nothing fails");
    let after = orders.describe().expect("it exists").partitions[0];
    assert_eq!((after.end_offset, after.bytes), (3, 12 + 16 + 14));
}

#[test]
fn the_last_timestamp_is_that_of_the_last_visible_record_over_reopening_too() {
    let bench = Bench::new();
    let stream = bench.create("orders", 2, streams::Retention::default());
    bench.append(stream, 0, b"one blue mug", Level::Sync);
    let log = bench.log(stream, 0);
    let bench = bench.reopen();
    bench.clock.advance(std::time::Duration::from_secs(60));
    let records = [streams::Record::new(b"two green plates")];
    let groups = [streams::Group { partition: 0, expect_offset: None, records: &records }];
    let append = streams::Append { stream, mapping_partitions: 2, groups: &groups };
    let command = Command::Streams(streams::Command::Append(append));
    bench.engine.issue(&command, Level::Sync, None).expect("there is room");
    let hidden = bench.engine.extent(log).expect("it is open").expect("it exists").hidden.expect("one is hidden");
    assert_eq!((hidden.bytes, hidden.last_timestamp), (16, Some(Timestamp(NOON))));
}
