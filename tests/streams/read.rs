//! Where readers begin and what they see.

use std::time::Duration;

use towpath::{
    AppendOptions, Error, Header, Level, Lsn, ManualClock, Options, Reader, ReaderOptions, Record, Records, Reset,
    Start, Stream, StreamOptions, Timestamp,
};

use crate::opening::{Opened, database_with, stream};
use crate::place::executor::block_on;
use crate::place::{Kept, PATIENCE, drain, extent, read_all, texts};

const NOON: u64 = 1_790_000_000_000_000;
const SECOND: u64 = 1_000_000;

fn numbered(count: u32) -> (Opened, Stream) {
    let (db, orders) = stream(StreamOptions::new().level(Level::Buffered));
    for number in 0..count {
        orders.append(&format!("order {number}")).unwrap();
    }
    (db, orders)
}

fn first_offset(orders: &Stream, from: Start) -> Option<u64> {
    drain(&mut orders.reader(0, from).unwrap()).first().map(|kept| kept.offset)
}

#[test]
fn earliest_begins_with_the_first_record_that_is_there() {
    let (_db, orders) = numbered(10);
    assert_eq!(first_offset(&orders, Start::Earliest), Some(0));
    orders.trim_before(0, 4).unwrap();
    assert_eq!(first_offset(&orders, Start::Earliest), Some(4));
}

#[test]
fn latest_sees_only_what_comes_after() {
    let (_db, orders) = numbered(10);
    let mut reader = orders.reader(0, Start::Latest).unwrap();
    assert_eq!(reader.position(), 10);
    assert!(reader.try_receive(10).unwrap().is_none());
    orders.append("order 10").unwrap();
    assert_eq!(drain(&mut reader).iter().map(Kept::text).collect::<Vec<_>>(), ["order 10"]);
}

#[test]
fn an_offset_begins_with_that_record_or_at_the_end() {
    let (_db, orders) = numbered(10);
    assert_eq!(first_offset(&orders, Start::Offset(7)), Some(7));
    let mut reader = orders.reader(0, Start::Offset(10)).unwrap();
    assert!(reader.try_receive(1).unwrap().is_none());
    orders.append("order 10").unwrap();
    assert_eq!(drain(&mut reader)[0].offset, 10);
}

#[test]
fn an_offset_that_is_not_there_is_refused_with_what_is() {
    let (_db, orders) = numbered(10);
    orders.trim_before(0, 4).unwrap();
    for wrong in [0, 3, 11, u64::MAX] {
        match orders.reader(0, Start::Offset(wrong)) {
            Err(Error::OffsetOutOfRange { stream, partition, offset, start, end }) => {
                assert_eq!((stream.as_str(), partition, offset, start, end), ("orders", 0, wrong, 4, 10));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_reader_that_retention_overtook_is_told_what_is_there_and_goes_on_after_a_seek() {
    let (_db, orders) = numbered(10);
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    assert_eq!(reader.receive(2).unwrap().len(), 2);
    orders.trim_before(0, 6).unwrap();
    for _ in 0..2 {
        let refused = reader.try_receive(10);
        assert!(matches!(refused, Err(Error::OffsetOutOfRange { offset: 2, start: 6, end: 10, .. })), "{refused:?}");
    }
    assert!(matches!(reader.receive(1), Err(Error::OffsetOutOfRange { .. })), "waiting would be for ever");
    reader.seek(Start::Earliest).unwrap();
    assert_eq!(drain(&mut reader).first().map(|kept| kept.offset), Some(6));
}

/// The rule of Kafka's `auto.offset.reset`: what is out of range, below or behind, goes on at one end or the other.
#[test]
fn with_a_reset_policy_an_offset_that_is_not_there_is_no_error() {
    let (_db, orders) = numbered(10);
    orders.trim_before(0, 4).unwrap();
    let examples = [
        (Reset::Earliest, 0, 4),
        (Reset::Earliest, 3, 4),
        (Reset::Earliest, 4, 4),
        (Reset::Earliest, 10, 10),
        (Reset::Earliest, 11, 4),
        (Reset::Latest, 0, 10),
        (Reset::Latest, 3, 10),
        (Reset::Latest, 7, 7),
        (Reset::Latest, u64::MAX, 10),
    ];
    for (reset, from, position) in examples {
        let options = ReaderOptions::new().reset(reset);
        let mut reader = orders.reader_with(0, Start::Offset(from), options).unwrap();
        assert_eq!(reader.position(), position, "{reset:?} from {from}");
        reader.seek(Start::Earliest).unwrap();
        reader.seek(Start::Offset(from)).unwrap();
        assert_eq!(reader.position(), position, "{reset:?} to {from}");
    }
    assert!(orders.reader_with(1, Start::Offset(0), ReaderOptions::new().reset(Reset::Latest)).is_err());
}

#[test]
fn a_reader_that_retention_overtook_goes_on_where_its_reset_policy_says() {
    let (_db, orders) = numbered(10);
    let open = |reset| orders.reader_with(0, Start::Offset(1), ReaderOptions::new().reset(reset)).unwrap();
    let mut earliest: Vec<Reader> = (0..3).map(|_| open(Reset::Earliest)).collect();
    let mut latest: Vec<Reader> = (0..3).map(|_| open(Reset::Latest)).collect();
    for reader in earliest.iter_mut().chain(&mut latest) {
        assert_eq!(reader.receive(1).unwrap().iter().next().map(|record| record.offset()), Some(1));
    }
    orders.trim_before(0, 6).unwrap();
    let first = |records: Option<Records>| records.and_then(|records| Some(records.iter().next()?.offset()));
    assert_eq!(first(earliest[0].try_receive(10).unwrap()), Some(6));
    assert_eq!(first(Some(earliest[1].receive(10).unwrap())), Some(6));
    assert_eq!(first(Some(block_on(earliest[2].receive_async(10)).unwrap())), Some(6));
    assert_eq!(first(latest[0].try_receive(10).unwrap()), None);
    assert_eq!(latest[0].position(), 10);
    assert_eq!(first(latest[1].receive_timeout(10, Duration::from_millis(2)).unwrap()), None);
    orders.append("order 10").unwrap();
    assert_eq!(first(latest[2].try_receive(10).unwrap()), None, "it goes on behind the end of now");
    orders.append("order 11").unwrap();
    assert_eq!(first(Some(latest[2].receive(10).unwrap())), Some(11));
    assert_eq!(first(latest[1].receive_timeout(10, PATIENCE).unwrap()), Some(10));
}

#[test]
fn a_time_begins_with_the_first_record_of_that_time_or_later() {
    let clock = ManualClock::starting_at(Timestamp::from_micros(NOON));
    let db = database_with(Options::temporary().clock(clock.clone()));
    let orders = db.create_stream("orders", StreamOptions::new().level(Level::Buffered)).unwrap();
    let at = |seconds: u64| Timestamp::from_micros(NOON + seconds * SECOND);
    assert_eq!(orders.offset_for_time(0, at(0)).unwrap(), None, "an empty partition has none");
    for number in 0..100 {
        orders.append(&format!("order {number}")).unwrap();
        orders.append(&format!("second order of second {number}")).unwrap();
        clock.advance(Duration::from_secs(1));
    }
    for checkpointed in [false, true] {
        assert_eq!(orders.offset_for_time(0, Timestamp::from_micros(0)).unwrap(), Some(0));
        for second in [0, 1, 50, 99] {
            assert_eq!(orders.offset_for_time(0, at(second)).unwrap(), Some(2 * second), "{checkpointed}");
            assert_eq!(first_offset(&orders, Start::Time(at(second))), Some(2 * second));
            let between = Timestamp::from_micros(at(second).as_micros() - SECOND / 2);
            assert_eq!(orders.offset_for_time(0, between).unwrap(), Some(2 * second));
        }
        assert_eq!(orders.offset_for_time(0, at(100)).unwrap(), None);
        assert_eq!(orders.reader(0, Start::Time(at(100))).unwrap().position(), 200, "none yet: the end");
        db.checkpoint().unwrap();
    }
    orders.trim_before(0, 51).unwrap();
    assert_eq!(orders.offset_for_time(0, at(3)).unwrap(), Some(51), "of those that are there");
}

#[test]
fn a_time_is_found_in_segments_that_were_sealed_long_ago() {
    let clock = ManualClock::starting_at(Timestamp::from_micros(NOON));
    let db = database_with(Options::temporary().clock(clock.clone()));
    let orders = db.create_stream("orders", StreamOptions::new().level(Level::Buffered)).unwrap();
    let body = vec![b'x'; 64 << 10];
    let mut addresses = Vec::new();
    for _ in 0..300 {
        addresses.push(orders.append(&body).unwrap().lsn());
        clock.advance(Duration::from_secs(1));
    }
    db.checkpoint().unwrap();
    for number in (0..300).step_by(13) {
        let time = Timestamp::from_micros(NOON + number * SECOND);
        assert_eq!(orders.offset_for_time(0, time).unwrap(), Some(number));
        let reader = orders.reader(0, Start::Lsn(addresses[number as usize])).unwrap();
        assert_eq!(reader.position(), number);
    }
}

#[test]
fn an_address_begins_with_the_first_record_written_there_or_later() {
    let (db, orders) = stream(StreamOptions::new().partitions(2).level(Level::Buffered));
    let mut appended = Vec::new();
    for number in 0..60 {
        let body = format!("order {number}");
        let options = AppendOptions::new().partition(number % 2);
        appended.push(orders.append_with(Record::new(body.as_bytes()), &options).unwrap());
    }
    for receipt in &appended {
        assert_eq!(orders.reader(receipt.partition, Start::Lsn(receipt.lsn())).unwrap().position(), receipt.offset);
        let next_of_other = receipt.offset + u64::from(receipt.partition == 1);
        let other = orders.reader(1 - receipt.partition, Start::Lsn(receipt.lsn())).unwrap();
        assert_eq!(other.position(), next_of_other);
    }
    let batch = orders
        .append_batch(&[Record::new(b"a"), Record::new(b"b"), Record::new(b"c")], &AppendOptions::new().partition(0))
        .unwrap();
    assert_eq!(orders.reader(0, Start::Lsn(batch.receipt.lsn)).unwrap().position(), 30);
    let behind = Lsn::from_raw(batch.receipt.lsn.get() + 1);
    assert_eq!(orders.reader(0, Start::Lsn(behind)).unwrap().position(), 33, "none: the end");
    drop(db);
}

#[test]
fn reading_removes_nothing_and_each_reader_goes_its_own_way() {
    let (_db, orders) = numbered(20);
    let mut slow = orders.reader(0, Start::Earliest).unwrap();
    assert_eq!(slow.receive(3).unwrap().len(), 3);
    assert_eq!(texts(&orders, 0).len(), 20);
    assert_eq!(drain(&mut slow).len(), 17);
    assert_eq!(texts(&orders, 0).len(), 20);
}

#[test]
fn a_batch_holds_at_most_as_many_records_as_were_asked_for() {
    let (_db, orders) = stream(StreamOptions::new());
    let records = vec![Record::new(b"a mug"); 100];
    orders.append_batch(&records, &AppendOptions::new()).unwrap();
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    for (asked, position) in [(1, 1), (7, 8), (50, 58)] {
        let received = reader.receive(asked).unwrap();
        assert_eq!((received.len(), reader.position()), (asked, position), "also within one appended batch");
    }
    assert_eq!(drain(&mut reader).first().map(|kept| kept.offset), Some(58));
}

#[test]
fn a_seek_goes_back_and_forth() {
    let (_db, orders) = numbered(10);
    let mut reader = orders.reader(0, Start::Latest).unwrap();
    for offset in [3, 9, 0, 10, 5] {
        reader.seek(Start::Offset(offset)).unwrap();
        assert_eq!(reader.position(), offset);
        assert_eq!(drain(&mut reader).len() as u64, 10 - offset);
    }
    assert!(matches!(reader.seek(Start::Offset(11)), Err(Error::OffsetOutOfRange { .. })));
    assert_eq!(reader.position(), 10, "a refused seek does not move it");
}

#[test]
fn headers_keep_their_order_and_their_duplicates() {
    let (db, orders) = stream(StreamOptions::new());
    let headers = [
        Header { name: "traceparent", value: b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
        Header { name: "x", value: b"2" },
        Header { name: "a", value: b"" },
        Header { name: "x", value: b"1" },
        Header { name: "", value: &[0, 255, 10] },
        Header { name: "größe", value: b"XL" },
    ];
    orders.append(Record::new(b"a mug").key(b"customer-7").headers(&headers)).unwrap();
    orders.append("a plate without headers").unwrap();
    for checkpointed in [false, true] {
        let kept = read_all(&orders, 0);
        let expected: Vec<(String, Vec<u8>)> =
            headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect();
        assert_eq!(kept[0].headers, expected, "{checkpointed}");
        assert!(kept[1].headers.is_empty());
        db.checkpoint().unwrap();
    }
}

#[test]
fn a_tombstone_is_not_an_empty_body_and_no_key_is_not_an_empty_key() {
    let (_db, orders) = stream(StreamOptions::new());
    orders.append(Record::tombstone(b"customer-7")).unwrap();
    orders.append(Record::new(b"").key(b"")).unwrap();
    orders.append(Record::new(b"")).unwrap();
    let kept = read_all(&orders, 0);
    assert_eq!((kept[0].key.as_deref(), kept[0].body.as_deref()), (Some(&b"customer-7"[..]), None));
    assert_eq!((kept[1].key.as_deref(), kept[1].body.as_deref()), (Some(&b""[..]), Some(&b""[..])));
    assert_eq!((kept[2].key.as_deref(), kept[2].body.as_deref()), (None, Some(&b""[..])));
}

#[test]
fn any_bytes_come_back_as_they_were_given() {
    let (db, orders) = stream(StreamOptions::new().level(Level::Buffered));
    let mut chance = crate::place::Chance::new(7);
    let mut written = Vec::new();
    for seed in 0..400 {
        let bytes = if seed % 50 == 0 { chance.below(1 << 20) } else { chance.below(4096) };
        let body = crate::place::noise(seed, bytes as usize);
        let key = crate::place::noise(seed + 1000, chance.below(40) as usize);
        orders.append(Record::new(&body).key(&key)).unwrap();
        written.push((Some(key), Some(body)));
    }
    for sealed in [false, true] {
        let read: Vec<_> = read_all(&orders, 0).into_iter().map(|kept| (kept.key, kept.body)).collect();
        assert!(read == written, "sealed: {sealed}");
        db.checkpoint().unwrap();
    }
}

#[test]
fn a_view_tells_partition_offset_time_and_address() {
    let clock = ManualClock::starting_at(Timestamp::from_micros(NOON));
    let db = database_with(Options::temporary().clock(clock));
    let orders = db.create_stream("orders", StreamOptions::new().partitions(3)).unwrap();
    let appended = orders.append_with(Record::new(b"a mug"), &AppendOptions::new().partition(2)).unwrap();
    let records = orders.reader(2, Start::Earliest).unwrap().receive(1).unwrap();
    let view = records.iter().next().unwrap();
    assert_eq!((view.partition(), view.offset(), view.lsn()), (2, 0, appended.lsn()));
    assert_eq!(view.timestamp(), Timestamp::from_micros(NOON));
    assert_eq!(view.body_bytes(), &b"a mug"[..]);
}

#[test]
fn bodies_stay_readable_after_retention_removed_their_file() {
    let (db, orders) = stream(StreamOptions::new().level(Level::Buffered));
    let bodies: Vec<Vec<u8>> = (0..200).map(|seed| crate::place::noise(seed, 64 << 10)).collect();
    for body in &bodies {
        orders.append(body).unwrap();
    }
    db.checkpoint().unwrap();
    let records = orders.reader(0, Start::Earliest).unwrap().receive(60).unwrap();
    let owned: Vec<_> = records.iter().map(|record| record.body_bytes()).collect();
    orders.trim_before(0, 200).unwrap();
    crate::place::eventually("the segments are removed", || {
        db.checkpoint().unwrap();
        db.stats().unwrap().removed_segments >= 2
    });
    assert_eq!(extent(&orders, 0), (200, 200));
    for ((record, owned), body) in records.iter().zip(&owned).zip(&bodies) {
        assert!(record.body() == body && owned == body);
    }
    db.close().unwrap();
    drop((records, orders));
    assert!(owned.iter().zip(&bodies).all(|(owned, body)| owned == body), "also after the database is closed");
}
