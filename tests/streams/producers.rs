//! Producers: what is stored once, who may append, and what is remembered.

use std::time::Duration;

use towpath::{
    AppendOptions, Error, Level, ManualClock, Options, Producer, ProducerOptions, Record, Stream, StreamOptions,
    Timestamp,
};

use crate::opening::{database_with, refusal_of, stream};
use crate::place::executor::block_on;
use crate::place::{Place, eventually, read_all, texts};

fn open(stream: &Stream, name: &str) -> Producer {
    stream.producer(name, ProducerOptions::new()).unwrap()
}

fn to(partition: u32) -> AppendOptions {
    AppendOptions::new().partition(partition)
}

#[test]
fn what_is_sent_again_is_answered_as_it_was_and_stored_once() {
    let (_db, orders) = stream(StreamOptions::new());
    let web = open(&orders, "web");
    let first = web.append_at(0, Record::new(b"one blue mug"), &to(0)).unwrap();
    let again = web.append_at(0, Record::new(b"one blue mug"), &to(0)).unwrap();
    assert!(!first.duplicate && again.duplicate);
    assert_eq!((again.partition, again.offset, again.lsn()), (0, 0, first.lsn()));
    assert_eq!(web.append("two green plates").unwrap().offset, 1);
    assert_eq!(texts(&orders, 0), ["one blue mug", "two green plates"]);
}

#[test]
fn the_last_five_batches_are_known_and_the_sixth_last_is_refused() {
    let (_db, orders) = stream(StreamOptions::new());
    let web = open(&orders, "web");
    let batch = [Record::new(b"a fork"), Record::new(b"a spoon")];
    for number in 0..6 {
        web.append_batch_at(|_| 2 * number, &batch, &to(0)).unwrap();
    }
    for number in 1..6 {
        let again = web.append_batch_at(|_| 2 * number, &batch, &to(0)).unwrap();
        assert_eq!((again.duplicate, again.partitions[0].first_offset), (true, 2 * number));
    }
    let sixth_last = web.append_batch_at(|_| 0, &batch, &to(0)).unwrap_err();
    assert!(matches!(sixth_last, Error::Overlapping { partition: 0, sequence: 0, records: 2, expected: 12, .. }));
    assert_eq!((sixth_last.code(), sixth_last.is_retryable()), (-28, false));
    assert_eq!(orders.describe().unwrap().partitions[0].end_offset, 12);
}

#[test]
fn a_gap_and_a_batch_that_is_cut_otherwise_are_refused() {
    let (_db, orders) = stream(StreamOptions::new());
    let web = open(&orders, "web");
    let gap = web.append_at(1, Record::new(b"two green plates"), &to(0)).unwrap_err();
    assert!(matches!(&gap, Error::OutOfOrder { stream, partition: 0, sequence: 1, expected: 0 } if stream == "orders"));
    assert_eq!(gap.code(), -27);
    let batch = [Record::new(b"one blue mug"), Record::new(b"two green plates"), Record::new(b"three forks")];
    web.append_batch_at(|_| 0, &batch, &to(0)).unwrap();
    for (sequence, records) in [(0, 2), (1, 2), (2, 1), (1, 3)] {
        let cut = web.append_batch_at(|_| sequence, &batch[..records], &to(0)).unwrap_err();
        assert!(matches!(cut, Error::Overlapping { expected: 3, .. }), "{cut}");
    }
    assert_eq!(texts(&orders, 0).len(), 3);
}

#[test]
fn who_opens_a_producer_fences_who_had_it_and_goes_on_where_that_one_was() {
    let (_db, orders) = stream(StreamOptions::new());
    let first = open(&orders, "web");
    first.append_batch(&[Record::new(b"one blue mug"), Record::new(b"two green plates")], &to(0)).unwrap();
    let second = open(&orders, "web");
    assert_eq!((first.epoch(), second.epoch(), second.name()), (0, 1, "web"));
    let fenced = first.append("three forks").unwrap_err();
    assert!(matches!(&fenced, Error::Fenced { kind: "producer", name, current: 1 } if name == "web"), "{fenced}");
    assert_eq!(fenced.code(), -26);
    let fenced = first.append_at(9, Record::new(b"three forks"), &to(0)).unwrap_err();
    assert!(matches!(fenced, Error::Fenced { .. }), "before anything else is looked at");
    let last = second.last(0).unwrap().unwrap();
    assert_eq!((last.sequence, last.records, last.first_offset, last.next_sequence()), (0, 2, 0, 2));
    assert_eq!(read_all(&orders, 0)[0].lsn, last.lsn);
    let batch = [Record::new(b"one blue mug"), Record::new(b"two green plates")];
    assert!(second.append_batch_at(|_| last.sequence, &batch, &to(0)).unwrap().duplicate);
    assert_eq!(second.append("three forks").unwrap().offset, 2);
    let other = open(&orders, "app");
    assert_eq!((other.epoch(), other.last(0).unwrap(), other.append("four spoons").unwrap().offset), (0, None, 3));
}

#[test]
fn a_batch_over_several_partitions_is_new_or_known_in_all_of_them() {
    let (_db, orders) = stream(StreamOptions::new().partitions(8));
    let web = open(&orders, "web");
    let keys: Vec<String> = (0..40).map(|number| format!("customer-{number}")).collect();
    let batch: Vec<Record<'_>> = keys.iter().map(|key| Record::new(b"one blue mug").key(key.as_bytes())).collect();
    let options = AppendOptions::new();
    let first = web.append_batch_at(|_| 0, &batch, &options).unwrap();
    assert!(first.partitions.len() > 1 && !first.duplicate);
    let again = web.append_batch_at(|_| 0, &batch, &options).unwrap();
    assert!(again.duplicate && again.partitions == first.partitions);
    let (known, rest) = first.partitions.split_first().unwrap();
    let due = |partition| {
        if partition == known.partition {
            0
        } else {
            u64::from(rest.iter().find(|range| range.partition == partition).unwrap().records)
        }
    };
    assert!(matches!(web.append_batch_at(due, &batch, &options), Err(Error::Overlapping { .. })));
    let ends: u64 = orders.describe().unwrap().partitions.iter().map(|partition| partition.end_offset).sum();
    assert_eq!(ends, 40, "nothing of a refused batch is stored");
    assert!(!web.append_batch(&batch, &options).unwrap().duplicate);
}

#[test]
fn what_a_producer_cannot_mean_is_refused() {
    let (_db, orders) = stream(StreamOptions::new().partitions(2));
    let web = open(&orders, "web");
    let option = |error| match error {
        Error::InvalidOption { option, .. } => option,
        other => panic!("{other}"),
    };
    let record = Record::new(b"one blue mug");
    assert_eq!(option(web.append_with(record, &to(0).expect_offset(0)).unwrap_err()), "expect_offset");
    assert_eq!(option(web.append_at(0, record, &AppendOptions::new()).unwrap_err()), "partition");
    assert_eq!(option(web.append_batch_at(|_| 0, &[record], &AppendOptions::new()).unwrap_err()), "partition");
    assert_eq!(option(web.append_with(record, &to(7)).unwrap_err()), "partition");
    assert_eq!(option(web.append_batch(&[], &AppendOptions::new()).unwrap_err()), "records");
    assert_eq!(option(web.last(2).unwrap_err()), "partition");
    let never = ProducerOptions::new().expire_after(Duration::ZERO);
    assert_eq!(option(orders.producer("web", never).unwrap_err()), "expire_after");
    let invalid = orders.producer("$web", ProducerOptions::new()).unwrap_err();
    assert!(matches!(&invalid, Error::InvalidName { name, .. } if name == "$web"));
    assert!(!web.append_at(0, record.key(b"customer-7"), &AppendOptions::new()).unwrap().duplicate);
}

#[test]
fn tickets_of_a_producer_tell_of_duplicates_too() {
    let (_db, orders) = stream(StreamOptions::new());
    let web = open(&orders, "web");
    let record = Record::new(b"one blue mug");
    let tickets: Vec<_> = (0..20).map(|number| web.submit_at(number, record, &to(0)).unwrap()).collect();
    for (number, ticket) in (0..).zip(tickets) {
        let appended = ticket.wait().unwrap();
        assert_eq!((appended.offset, appended.duplicate, appended.receipt.level), (number, false, Level::Sync));
    }
    assert!(block_on(web.submit_at(19, record, &to(0)).unwrap()).unwrap().duplicate);
    assert!(block_on(web.submit_batch_at(|_| 19, &[record], &to(0)).unwrap()).unwrap().duplicate);
    assert_eq!(web.submit(record, &to(0)).unwrap().wait().unwrap().offset, 20);
    assert_eq!(web.submit_batch(&[record], &to(0)).unwrap().wait().unwrap().partitions[0].first_offset, 21);
    assert!(matches!(refusal_of(web.submit_at(30, record, &to(0))), Error::OutOfOrder { expected: 22, .. }));
}

#[test]
fn what_is_remembered_outlives_closing_and_checkpoints() {
    let place = Place::new();
    for life in 0..4 {
        let db = place.open();
        let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
        let web = open(&orders, "web");
        assert_eq!(web.epoch(), life);
        assert_eq!(web.last(0).unwrap().map_or(0, |last| last.next_sequence()), life);
        if life > 0 {
            assert!(web.append_at(life - 1, Record::new(b"one blue mug"), &to(0)).unwrap().duplicate);
        }
        web.append_at(life, Record::new(b"one blue mug"), &to(0)).unwrap();
        if life % 2 == 0 {
            db.checkpoint().unwrap();
        }
        db.close().unwrap();
    }
    let report = place.check();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

#[test]
fn a_producer_goes_with_its_stream_and_is_not_that_of_another_of_the_same_name() {
    let (db, orders) = stream(StreamOptions::new());
    let web = open(&orders, "web");
    web.append("one blue mug").unwrap();
    db.delete_stream("orders").unwrap();
    assert!(matches!(web.append("two green plates"), Err(Error::NotFound { kind: "stream", .. })));
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    assert!(matches!(web.append("two green plates"), Err(Error::NotFound { .. })));
    assert!(matches!(web.last(0), Err(Error::NotFound { kind: "producer", .. })));
    let web = open(&orders, "web");
    assert_eq!((web.epoch(), web.append("two green plates").unwrap().offset), (0, 0));
}

#[test]
fn a_producer_that_nobody_uses_is_forgotten() {
    let clock = ManualClock::starting_at(Timestamp::from_micros(1_790_000_000_000_000));
    let db = database_with(Options::temporary().clock(clock.clone()));
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let hour = Duration::from_secs(3600);
    let web = orders.producer("web", ProducerOptions::new().expire_after(2 * hour)).unwrap();
    let app = orders.producer("app", ProducerOptions::new()).unwrap();
    clock.advance(hour);
    web.append("one blue mug").unwrap();
    clock.advance(hour);
    assert_eq!(web.append("two green plates").unwrap().offset, 1, "its use counts, not its age");
    clock.advance(hour);
    clock.advance(hour);
    eventually("it is forgotten", || web.last(0).is_err());
    let forgotten = web.append("three forks").unwrap_err();
    assert!(matches!(&forgotten, Error::NotFound { kind: "producer", name } if name == "web"));
    assert!(forgotten.to_string().contains("open it again"), "{forgotten}");
    let late = refusal_of(web.submit(Record::new(b"three forks"), &to(0)));
    assert!(matches!(late, Error::NotFound { kind: "producer", .. }));
    assert_eq!(app.append("three forks").unwrap().offset, 2, "the other has a week");
    let web = open(&orders, "web");
    assert_eq!((web.epoch(), web.last(0).unwrap()), (0, None));
}

#[test]
fn what_is_numbered_by_keys_is_refused_once_partitions_were_added_and_known_where_they_are_named() {
    let (db, orders) = stream(StreamOptions::new().partitions(2));
    let wide = db.create_stream("wide", StreamOptions::new().partitions(7)).unwrap();
    let moves = |key: &String| orders.partition_of(key.as_bytes()) != wide.partition_of(key.as_bytes());
    let key = (0..).map(|number| format!("customer-{number}")).find(moves).unwrap();
    let (was, is) = (orders.partition_of(key.as_bytes()), wide.partition_of(key.as_bytes()));
    let (record, by_key) = (Record::new(b"one blue mug").key(key.as_bytes()), AppendOptions::new());
    let opened = |name: &&str| open(&db.stream("orders").unwrap(), name);
    let producers: Vec<Producer> = ["web", "app", "import", "audit"].iter().map(opened).collect();
    for producer in &producers {
        assert_eq!(producer.append_at(0, record, &by_key).unwrap().partition, was);
    }
    orders.add_partitions(5).unwrap();
    let [web, app, import, audit] = &producers[..] else { unreachable!() };
    let refused = [
        web.append_at(0, record, &by_key).unwrap_err(),
        app.append_batch_at(|_| 0, &[record], &by_key).unwrap_err(),
        import.submit_at(0, record, &by_key).and_then(|ticket| ticket.wait()).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(&error, Error::InvalidOption { option: "partition", .. }) && !error.is_retryable(), "{error}");
    }
    for producer in &producers {
        assert!(producer.append_at(0, record, &to(was)).unwrap().duplicate);
    }
    assert_eq!(texts(&orders, is).len(), 0);
    assert_eq!(audit.append(record).unwrap().partition, is, "without a number it goes where its key is now");
}
