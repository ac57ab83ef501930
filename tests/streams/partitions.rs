//! Adding partitions to a stream.

use std::collections::BTreeMap;
use std::time::Duration;

use towpath::{
    AppendOptions, Error, Level, MappedRange, Mapping, MappingRanges, Options, Record, Start, Stream, StreamOptions,
};

use crate::opening::{database_with, stream};
use crate::place::{IS_ATTACHED, Place, eventually, extent, texts};

/// Epoch and partitions of each mapping.
fn told(mappings: &[Mapping]) -> Vec<(u32, u32)> {
    mappings.iter().map(|mapping| (mapping.epoch, mapping.partitions)).collect()
}

fn offsets(ranges: &MappingRanges) -> Vec<(u64, u64)> {
    ranges.partitions.iter().map(|MappedRange { start_offset, end_offset, .. }| (*start_offset, *end_offset)).collect()
}

fn keyed(number: usize) -> String {
    format!("customer-{number}")
}

/// Appends one record for each of 40 customers, one by one.
fn append_round(orders: &Stream, round: &str) {
    for number in 0..40 {
        let (key, body) = (keyed(number), format!("{} {round}", keyed(number)));
        let appended = orders.append(Record::new(body.as_bytes()).key(key.as_bytes())).unwrap();
        assert_eq!(appended.partition, orders.partition_of(key.as_bytes()));
    }
}

/// What the customers did, each in the order of the ranges.
fn drained(orders: &Stream) -> BTreeMap<String, Vec<String>> {
    let mut rounds = BTreeMap::<String, Vec<String>>::new();
    for ranges in orders.ranges_by_mapping(1).unwrap() {
        for MappedRange { partition, start_offset, end_offset, .. } in ranges.partitions {
            let mut reader = orders.reader(partition, Start::Offset(start_offset)).unwrap();
            while reader.position() < end_offset {
                let most = usize::try_from(end_offset - reader.position()).unwrap();
                for record in &reader.receive(most).unwrap() {
                    let body = String::from_utf8(record.body().to_vec()).unwrap();
                    let (key, round) = body.split_once(' ').unwrap();
                    rounds.entry(key.to_owned()).or_default().push(round.to_owned());
                }
            }
        }
    }
    rounds
}

#[test]
fn a_stream_that_grows_keeps_its_partitions_and_tells_its_mappings() {
    let (db, orders) = stream(StreamOptions::new().partitions(2));
    let to = |partition| AppendOptions::new().partition(partition);
    orders.append_with(Record::new(b"one blue mug"), &to(1)).unwrap();
    db.create_stream("audit", StreamOptions::new()).unwrap();
    let mapping = orders.add_partitions(3).unwrap();
    assert_eq!((mapping.epoch, mapping.partitions, orders.partitions()), (2, 5, 5));
    let last = orders.append_with(Record::new(b"two green plates"), &to(4)).unwrap();
    assert!(last.offset == 0 && last.lsn() > mapping.since_lsn && mapping.since_lsn.get() > 0);
    let described = orders.describe().unwrap();
    assert_eq!((described.partitions.len(), described.options.get_partitions()), (5, 5));
    assert_eq!(described.mappings, orders.mappings().unwrap());
    assert_eq!((told(&described.mappings), described.mappings[1]), (vec![(1, 2), (2, 5)], mapping));
    let ends: Vec<u64> = described.partitions.iter().map(|partition| partition.end_offset).collect();
    assert_eq!(ends, [0, 1, 0, 0, 1]);
    assert_eq!((texts(&orders, 1), texts(&orders, 4)), (vec!["one blue mug".into()], vec!["two green plates".into()]));
    assert_eq!(db.streams().unwrap()[1].partitions.len(), 5);
    assert_eq!(told(&db.stream("audit").unwrap().mappings().unwrap()), [(1, 1)]);
}

#[test]
fn what_grew_is_another_stream_to_those_who_create_it_and_the_call_that_adds_is_named() {
    let (db, orders) = stream(StreamOptions::new().partitions(2));
    orders.add_partitions(2).unwrap();
    let more = StreamOptions::new().partitions(6);
    for created in [db.create_stream("orders", more.clone()), db.ensure_stream("orders", more)] {
        let Err(error @ Error::Mismatch { .. }) = created else { panic!("{created:?}") };
        assert!(error.to_string().contains("is 4, asked for 6 (`add_partitions` adds some)"), "{error}");
    }
    let fewer = db.ensure_stream("orders", StreamOptions::new().partitions(2)).unwrap_err().to_string();
    assert!(fewer.contains("is 4, asked for 2)") && !fewer.contains("adds"), "{fewer}");
    assert_eq!(db.create_stream("orders", StreamOptions::new().partitions(4)).unwrap().partitions(), 4);
}

#[test]
fn a_handle_that_was_made_before_learns_of_the_new_partitions_by_itself() {
    let (db, orders) = stream(StreamOptions::new().partitions(2));
    let before: Vec<Stream> = (0..6).map(|_| db.stream("orders").unwrap()).collect();
    orders.add_partitions(5).unwrap();
    let key = (0..).map(keyed).find(|key| orders.partition_of(key.as_bytes()) > 1).unwrap();
    let (record, partition) = (Record::new(b"one blue mug").key(key.as_bytes()), orders.partition_of(key.as_bytes()));
    assert!(before.iter().all(|handle| handle.partitions() == 2));
    let (options, batch) = (AppendOptions::new(), [Record::new(b"two").key(b"customer-1"), record]);
    assert_eq!(before[0].append(record).unwrap().partition, partition);
    assert!(before[1].append_batch(&batch, &options).unwrap().partitions.iter().any(|at| at.partition == partition));
    assert_eq!(before[2].append_with(record, &AppendOptions::new().partition(6)).unwrap().partition, 6);
    let mut alone = before[3].submit(record, &options).unwrap().wait();
    let mut together = before[4].submit_batch(&batch, &options).unwrap().wait();
    if IS_ATTACHED {
        // What was on its way is not routed again: others may be behind it.
        assert!(matches!((&alone, &together), (Err(Error::Contended), Err(Error::Contended))), "{alone:?}");
        alone = before[3].submit(record, &options).unwrap().wait();
        together = before[4].submit_batch(&batch, &options).unwrap().wait();
    }
    assert_eq!(alone.unwrap().partition, partition);
    assert!(together.unwrap().partitions.iter().any(|at| at.partition == partition));
    assert!(before[..5].iter().all(|handle| handle.partitions() == 7));
    assert_eq!(texts(&before[5], partition).len(), 4, "a reader asks where its partition is");
    assert_eq!(before[5].partitions(), 7);
    let Err(Error::InvalidOption { reason, .. }) = before[5].reader(7, Start::Earliest) else { panic!("a reader") };
    assert!(reason.contains("0 to 6, not 7"), "{reason}");
}

#[test]
fn records_of_a_key_that_moved_come_in_order_mapping_by_mapping() {
    let (_db, orders) = stream(StreamOptions::new().partitions(3).level(Level::Buffered));
    append_round(&orders, "ordered");
    let places = || (0..40).map(|number| orders.partition_of(keyed(number).as_bytes())).collect::<Vec<u32>>();
    let before = places();
    orders.add_partitions(2).unwrap();
    orders.add_partitions(1).unwrap();
    assert!(places().iter().zip(before).filter(|(now, before)| *now != before).count() > 10, "keys have moved");
    append_round(&orders, "paid");
    orders.add_partitions(5).unwrap();
    append_round(&orders, "left");
    let rounds = drained(&orders);
    assert!(rounds.len() == 40 && rounds.values().all(|rounds| *rounds == ["ordered", "paid", "left"]), "{rounds:?}");
    let all = orders.ranges_by_mapping(1).unwrap();
    let records = |ranges: &MappingRanges| offsets(ranges).iter().map(|(start, end)| end - start).sum::<u64>();
    assert_eq!(all.iter().map(records).collect::<Vec<_>>(), [40, 0, 40, 40]);
    assert!(all.iter().map(|ranges| ranges.is_over).eq([true, true, true, false]));
    assert_eq!(all.iter().map(|ranges| ranges.partitions.len()).collect::<Vec<_>>(), [3, 5, 6, 11]);
    assert_eq!(orders.ranges_by_mapping(0).unwrap(), all);
    assert_eq!(orders.ranges_by_mapping(3).unwrap(), all[2..]);
    assert!(orders.ranges_by_mapping(5).unwrap().is_empty());
}

#[test]
fn ranges_begin_where_retention_and_trims_have_left_something() {
    let (_db, orders) = stream(StreamOptions::new().partitions(1));
    for order in ["one blue mug", "two green plates", "three forks"] {
        orders.append(order).unwrap();
    }
    orders.add_partitions(1).unwrap();
    let to = AppendOptions::new().partition(0);
    orders.append_with(Record::new(b"four spoons"), &to).unwrap();
    orders.trim_before(0, 2).unwrap();
    let ranges = || orders.ranges_by_mapping(1).unwrap().iter().map(offsets).collect::<Vec<_>>();
    assert_eq!(ranges(), [vec![(2, 3)], vec![(3, 4), (0, 0)]]);
    orders.trim_before(0, 4).unwrap();
    assert_eq!(ranges(), [vec![(4, 4)], vec![(4, 4), (0, 0)]]);
}

#[test]
fn partitions_that_were_added_have_the_retention_of_the_stream_and_of_its_changes() {
    let (db, orders) = stream(StreamOptions::new().partitions(1).retention_records(1));
    orders.add_partitions(1).unwrap();
    let to = AppendOptions::new().partition(1);
    for order in ["one blue mug", "two green plates", "three forks"] {
        orders.append_with(Record::new(order.as_bytes()), &to).unwrap();
    }
    eventually("the two older records go", || extent(&orders, 1) == (2, 3));
    db.ensure_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    orders.append_batch(&[Record::new(b"four spoons"); 3], &to).unwrap();
    db.ensure_stream("orders", StreamOptions::new().partitions(2).retention_records(2)).unwrap();
    eventually("the two older records go", || extent(&orders, 1) == (4, 6));
    assert_eq!(orders.describe().unwrap().options.get_partitions(), 2);
}

#[test]
fn growth_has_its_limits() {
    let (_db, orders) = stream(StreamOptions::new().partitions(4000));
    let Err(Error::LimitExceeded { limit, max, actual }) = orders.add_partitions(97) else { panic!("it grew") };
    assert_eq!((limit, max, actual), ("partitions", 4096, 4097));
    assert!(matches!(orders.add_partitions(0), Err(Error::InvalidOption { option: "count", .. })));
    assert_eq!(told(&orders.mappings().unwrap()), [(1, 4000)]);
    let (_db, orders) = stream(StreamOptions::new());
    for epoch in 2..=128 {
        assert_eq!(orders.add_partitions(1).unwrap().epoch, epoch);
    }
    let Err(Error::LimitExceeded { limit, max, actual }) = orders.add_partitions(1) else { panic!("it grew") };
    assert_eq!((limit, max, actual), ("mappings of a stream", 128, 129));
    assert_eq!(orders.append_with(Record::new(b"x"), &AppendOptions::new().partition(127)).unwrap().partition, 127);
}

#[test]
fn a_deleted_stream_does_not_grow_and_one_of_its_name_begins_anew() {
    let (db, orders) = stream(StreamOptions::new().partitions(2));
    orders.add_partitions(2).unwrap();
    append_round(&orders, "ordered");
    db.delete_stream("orders").unwrap();
    assert!(matches!(orders.add_partitions(1), Err(Error::NotFound { .. })));
    assert!(matches!(orders.mappings(), Err(Error::NotFound { .. })));
    assert!(matches!(orders.ranges_by_mapping(1), Err(Error::NotFound { .. })));
    let again = db.create_stream("orders", StreamOptions::new().partitions(3)).unwrap();
    assert_eq!(told(&again.mappings().unwrap()), [(1, 3)]);
    assert!((0..3).all(|partition| extent(&again, partition) == (0, 0)));
}

#[test]
fn mappings_and_their_ranges_survive_reopening_with_a_checkpoint_and_without() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    append_round(&orders, "ordered");
    orders.add_partitions(3).unwrap();
    db.checkpoint().unwrap();
    append_round(&orders, "paid");
    orders.add_partitions(4).unwrap();
    append_round(&orders, "left");
    let (mappings, ranges) = (orders.mappings().unwrap(), orders.ranges_by_mapping(1).unwrap());
    let copy = Place::new();
    db.sync().unwrap();
    crate::place::copy_tree(&place.data(), &copy.data());
    place.close(db);
    for place in [copy, place] {
        let db = place.open();
        let orders = db.stream("orders").unwrap();
        assert_eq!((orders.partitions(), orders.mappings().unwrap()), (9, mappings.clone()));
        assert_eq!(orders.ranges_by_mapping(1).unwrap(), ranges);
        assert!(drained(&orders).values().all(|rounds| *rounds == ["ordered", "paid", "left"]));
        orders.add_partitions(1).unwrap();
        assert_eq!(orders.ranges_by_mapping(1).unwrap()[..3], with_the_last_over(&ranges));
        place.close(db);
        assert!(place.check().problems.is_empty());
    }
}

fn with_the_last_over(ranges: &[MappingRanges]) -> Vec<MappingRanges> {
    let mut ranges = ranges.to_vec();
    ranges[2].is_over = true;
    ranges
}

#[test]
fn a_partition_that_was_added_has_a_timer() {
    let clock = towpath::ManualClock::starting_at(towpath::Timestamp::from_micros(1_790_000_000_000_000));
    let db = database_with(Options::temporary().clock(clock.clone()));
    let options = StreamOptions::new().retention_age(Duration::from_secs(60));
    let orders = db.create_stream("orders", options).unwrap();
    orders.add_partitions(1).unwrap();
    orders.append_with(Record::new(b"one blue mug"), &AppendOptions::new().partition(1)).unwrap();
    clock.advance(Duration::from_secs(61));
    eventually("the record goes", || extent(&orders, 1) == (1, 1));
}
