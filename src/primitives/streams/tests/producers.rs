//! The rules of producers, one by one.

use super::*;
use crate::base::bounds::{PARTITIONS_MAX, PRODUCER_PARTITIONS_MAX, PRODUCERS_MAX};
use crate::base::level::Level;
use crate::engine::machine::{Class, Events, LogChange, LogCursor};
use crate::primitives::record::Record;
use crate::primitives::streams::producers::Event as ProducerEvent;

const WEEK: u64 = 7 * 24 * 3_600 * 1_000_000;
const BODY: Record<'_> = Record::new(b"one blue mug");

/// A stream of four partitions with the producer `web`.
fn with_producer() -> (State, StreamHandle, ProducerHandle) {
    let mut state = State::default();
    let options = Options { partitions: 4, level: Some(Level::Buffered), ..Options::default() };
    run(&mut state, &Command::Create { name: "orders", options }, at(1));
    let stream = state.lookup("orders").expect("it was created");
    let producer = open(&mut state, stream, "web", 2);
    (state, stream, producer)
}

fn open(state: &mut State, stream: StreamHandle, name: &str, now: u64) -> ProducerHandle {
    match run(state, &Command::OpenProducer { stream, name, expire_after_micros: WEEK }, at(now)) {
        Outcome::Accept(Reply::Producer(producer)) => producer,
        other => panic!("not opened: {other:?}"),
    }
}

/// Sends one group for each of these: partition, sequence, records.
fn send(
    state: &mut State,
    stream: StreamHandle,
    producer: ProducerHandle,
    groups: &[(u32, u64, usize)],
    now: u64,
) -> Outcome {
    let records = vec![BODY; 10];
    let group = |(partition, _, count): &(u32, u64, usize)| Group {
        partition: *partition,
        expect_offset: None,
        records: &records[..*count],
    };
    let sequences: Vec<u64> = groups.iter().map(|(_, sequence, _)| *sequence).collect();
    let groups: Vec<Group<'_>> = groups.iter().map(group).collect();
    let append = Append { stream, mapping_partitions: 4, groups: &groups };
    run(state, &Command::Produce(Produce { append, producer, sequences: Some(&sequences) }), at(now))
}

/// Of each group the offset, and whether the batch is a duplicate.
fn sent(outcome: Outcome) -> (Vec<u64>, bool) {
    let offsets = |ranges: &Ranges| ranges.iter().map(|range| range.first_offset).collect();
    match outcome {
        Outcome::Accept(Reply::Appended(ranges)) => (offsets(&ranges), false),
        Outcome::Unchanged { reply: Reply::Duplicate { ranges, .. }, .. } => (offsets(&ranges), true),
        other => panic!("refused: {other:?}"),
    }
}

fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refuse { refusal, .. } => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn each_of_the_last_five_batches_is_known_with_its_offsets_and_address_and_the_sixth_last_is_not() {
    let (mut state, stream, web) = with_producer();
    for batch in 0..6 {
        assert_eq!(sent(send(&mut state, stream, web, &[(0, 2 * batch, 2)], 10 + batch)), (vec![2 * batch], false));
    }
    for batch in 1..6 {
        let outcome = send(&mut state, stream, web, &[(0, 2 * batch, 2)], 100);
        let first = Range { partition: 0, first_offset: 2 * batch, records: 2 };
        let reply = Reply::Duplicate { ranges: Ranges { first, rest: vec![] }.into(), lsn: FRAME };
        assert_eq!(outcome, Outcome::Unchanged { reply, rests_on: Some(producer_row(web.number)) });
    }
    let sixth_last = refused(send(&mut state, stream, web, &[(0, 0, 2)], 100));
    assert_eq!(sixth_last, Refusal::Overlapping { partition: 0, sequence: 0, records: 2, expected: 12 });
    assert_eq!(state.partition(stream, 0).expect("it is there").1.end, 12);
}

/// `testDuplicateAppends` and `testNonSequentialAppend` of Apache Kafka's `UnifiedLogTest`: single records 0 to 5, then
/// three at 6. Where Kafka refuses a batch as out of order that lies before the next sequence, it is `Overlapping`
/// here.
#[test]
fn the_window_of_five_batches_is_kafkas() {
    let (mut state, stream, web) = with_producer();
    for sequence in 0..6 {
        assert_eq!(sent(send(&mut state, stream, web, &[(0, sequence, 1)], 10)), (vec![sequence], false));
    }
    assert_eq!(sent(send(&mut state, stream, web, &[(0, 6, 3)], 10)), (vec![6], false));
    // Sequence, records, and the first offset of what is a duplicate.
    let examples = [(6, 3, Some(6)), (7, 2, None), (2, 1, Some(2)), (1, 1, None)];
    for (sequence, records, offset) in examples {
        let outcome = send(&mut state, stream, web, &[(0, sequence, records)], 10);
        match offset {
            Some(offset) => assert_eq!(sent(outcome), (vec![offset], true)),
            None => {
                let records = records as u32;
                assert_eq!(refused(outcome), Refusal::Overlapping { partition: 0, sequence, records, expected: 9 });
            }
        }
    }
    assert_eq!(sent(send(&mut state, stream, web, &[(0, 9, 1)], 10)), (vec![9], false));
    assert_eq!(sent(send(&mut state, stream, web, &[(0, 9, 1)], 10)), (vec![9], true));
    let gap = refused(send(&mut state, stream, web, &[(0, 11, 1)], 10));
    assert_eq!(gap, Refusal::OutOfOrder { partition: 0, sequence: 11, expected: 10 });
}

#[test]
fn a_gap_is_out_of_order_and_the_first_sequence_is_zero() {
    let (mut state, stream, web) = with_producer();
    let first = refused(send(&mut state, stream, web, &[(1, 5, 1)], 10));
    assert_eq!(first, Refusal::OutOfOrder { partition: 1, sequence: 5, expected: 0 });
    send(&mut state, stream, web, &[(1, 0, 3)], 10);
    let gap = refused(send(&mut state, stream, web, &[(1, 4, 1)], 10));
    assert_eq!(gap, Refusal::OutOfOrder { partition: 1, sequence: 4, expected: 3 });
    assert_eq!(sent(send(&mut state, stream, web, &[(1, 3, 1)], 10)), (vec![3], false));
    assert!(matches!(refused(send(&mut state, stream, web, &[(1, u64::MAX, 1)], 10)), Refusal::OutOfOrder { .. }));
}

#[test]
fn a_batch_that_is_cut_otherwise_is_refused() {
    let (mut state, stream, web) = with_producer();
    send(&mut state, stream, web, &[(0, 0, 4)], 10);
    send(&mut state, stream, web, &[(0, 4, 4)], 10);
    for (sequence, records) in [(0, 3), (0, 5), (1, 4), (3, 1), (4, 3), (7, 2), (0, 8)] {
        let refusal = refused(send(&mut state, stream, web, &[(0, sequence, records)], 10));
        let records = records as u32;
        assert_eq!(refusal, Refusal::Overlapping { partition: 0, sequence, records, expected: 8 });
    }
}

#[test]
fn an_older_epoch_is_fenced_before_its_batch_is_looked_at_and_sequences_go_on() {
    let (mut state, stream, first) = with_producer();
    send(&mut state, stream, first, &[(0, 0, 2)], 10);
    let second = open(&mut state, stream, "web", 20);
    assert_eq!((second.number, second.epoch), (first.number, 1));
    for group in [(0, 0, 2), (0, 2, 1), (0, 9, 1), (77, 0, 0)] {
        let fenced = refused(send(&mut state, stream, first, &[group], 30));
        assert_eq!(fenced, Refusal::Fenced { producer: "web".into(), current: 1 });
    }
    assert_eq!(sent(send(&mut state, stream, second, &[(0, 0, 2)], 30)), (vec![0], true));
    assert_eq!(sent(send(&mut state, stream, second, &[(0, 2, 1)], 30)), (vec![2], false));
    let other = open(&mut state, stream, "app", 40);
    assert_eq!((other.epoch, sent(send(&mut state, stream, other, &[(0, 0, 1)], 50))), (0, (vec![3], false)));
}

#[test]
fn a_batch_over_several_partitions_is_new_or_known_in_all_of_them() {
    let (mut state, stream, web) = with_producer();
    let both = [(0, 0, 2), (3, 0, 1)];
    assert_eq!(sent(send(&mut state, stream, web, &both, 10)), (vec![0, 0], false));
    assert_eq!(sent(send(&mut state, stream, web, &both, 10)), (vec![0, 0], true));
    let rows = all_rows(&state);
    let mixed = refused(send(&mut state, stream, web, &[(1, 0, 1), (0, 0, 2)], 10));
    assert_eq!(mixed, Refusal::Overlapping { partition: 0, sequence: 0, records: 2, expected: 2 });
    assert!(matches!(
        refused(send(&mut state, stream, web, &[(0, 2, 1), (3, 5, 1)], 10)),
        Refusal::OutOfOrder { partition: 3, .. }
    ));
    assert_eq!(all_rows(&state), rows, "nothing of a refused batch is stored");
    assert_eq!(sent(send(&mut state, stream, web, &[(2, 0, 2), (2, 2, 3)], 10)), (vec![0, 2], false));
    assert!(matches!(refused(send(&mut state, stream, web, &[(1, 0, 1), (1, 0, 1)], 10)), Refusal::Overlapping { .. }));
}

#[test]
fn without_sequences_a_batch_goes_on_where_the_last_ended_and_expecting_an_offset_is_refused() {
    let (mut state, stream, web) = with_producer();
    let groups = [Group { partition: 2, expect_offset: None, records: &[BODY] }];
    let produce = |groups: &'static [u64]| Some(groups).filter(|groups| !groups.is_empty());
    let command = |groups, sequences| {
        let append = Append { stream, mapping_partitions: 4, groups };
        Command::Produce(Produce { append, producer: web, sequences })
    };
    for offset in 0..7 {
        assert_eq!(sent(run(&mut state, &command(&groups, produce(&[])), at(10))), (vec![offset], false));
    }
    let last = state.producers().window(web.number, 2).and_then(|window| window.last().copied());
    assert_eq!(last.map(|batch| (batch.sequence, batch.first_offset)), Some((6, 6)));
    let expecting = [Group { expect_offset: Some(7), ..groups[0] }];
    let refusal = refused(run(&mut state, &command(&expecting, None), at(10)));
    assert!(matches!(refusal, Refusal::InvalidOption { option: "expect_offset", .. }));
    let too_many = refused(run(&mut state, &command(&groups, produce(&[7, 8])), at(10)));
    assert!(matches!(too_many, Refusal::InvalidOption { option: "sequences", .. }));
    assert_eq!(refused(run(&mut state, &command(&[], None), at(10))), Refusal::EmptyBatch);
    assert_eq!(state.level(&command(&groups, None)), Some(Level::Buffered));
}

#[test]
fn the_item_of_a_producer_is_that_of_anybody() {
    let (state, stream, web) = with_producer();
    let groups = [Group { partition: 0, expect_offset: None, records: &[BODY, BODY] }];
    let append = Append { stream, mapping_partitions: 4, groups: &groups };
    let plain = Command::Append(append);
    let (_, plain) = decide_at(&state, &Overlay::default(), &plain, at(9), &Known::default());
    let produce = Command::Produce(Produce { append, producer: web, sequences: None });
    let (_, produced) = decide_at(&state, &Overlay::default(), &produce, at(9), &Known::default());
    assert_eq!((plain.len(), produced.len()), (1, 2));
    assert_eq!(encoded(&plain[0]), encoded(&produced[0]));
}

#[test]
fn a_producer_goes_once_it_was_not_used_for_long_and_its_name_begins_anew() {
    let (mut state, stream, web) = with_producer();
    send(&mut state, stream, web, &[(0, 0, 2), (3, 0, 2)], 1000);
    let key = producer_row(web.number);
    assert_eq!(state.next_due(key), Some(Due::At(Timestamp(1000 + WEEK))));
    let tick = Command::ExpireProducer { number: web.number };
    let early = run(&mut state, &tick, at(999 + WEEK));
    assert_eq!(early, Outcome::Unchanged { reply: Reply::Expired, rests_on: None });
    let (outcome, events) = decide_at(&state, &Overlay::default(), &tick, at(1000 + WEEK), &Known::default());
    assert_eq!((outcome, events.len()), (Outcome::Accept(Reply::Expired), 1));
    assert_eq!(events[0].log_change(), LogChange::Close { first: LogId(web.number), count: 1 });
    let mut touched = Vec::new();
    events[0].touches(&mut |key| touched.push(key));
    assert_eq!(touched, [key, window_row(web.number, 0), window_row(web.number, 3)]);
    events.iter().for_each(|event| state.apply(event, FRAME));
    assert_eq!((state.next_due(key), state.row(key), state.log_start(LogId(web.number))), (None, None, None));
    assert_eq!(refused(send(&mut state, stream, web, &[(0, 2, 1)], 2000 + WEEK)), Refusal::NoSuchProducer);
    let again = open(&mut state, stream, "web", 2000 + WEEK);
    assert_eq!((again.epoch, again.number > web.number), (0, true));
    assert_eq!(sent(send(&mut state, stream, again, &[(0, 0, 1)], 2000 + WEEK)), (vec![2], false));
}

#[test]
fn a_producer_of_every_partition_goes_in_events_of_64_and_with_its_stream() {
    let mut state = State::default();
    let options = Options { partitions: PARTITIONS_MAX, ..Options::default() };
    run(&mut state, &Command::Create { name: "wide", options }, at(1));
    let stream = state.lookup("wide").expect("it was created");
    let web = open(&mut state, stream, "web", 1);
    open(&mut state, stream, "idle", 1);
    let groups: Vec<Group<'_>> =
        (0..PARTITIONS_MAX).map(|partition| Group { partition, expect_offset: None, records: &[BODY] }).collect();
    let append = Append { stream, mapping_partitions: PARTITIONS_MAX, groups: &groups };
    run(&mut state, &Command::Produce(Produce { append, producer: web, sequences: None }), at(2));
    let delete = Command::Delete { name: "wide" };
    let (_, events) = decide_at(&state, &Overlay::default(), &delete, at(3), &Known::default());
    assert_eq!(events.len(), 64 + 1 + 1);
    events.iter().for_each(|event| state.apply(event, FRAME));
    assert_eq!(state.producers().starting_at(0).count(), 0);
    assert!(state.producers().window(web.number, 0).is_none());
    state.logs(&mut |log, _, _| panic!("{log:?} is left"));
}

#[test]
fn beyond_the_bound_no_partition_is_added_to_those_of_all_producers_and_what_is_known_goes_on() {
    let mut state = State::default();
    let options = Options { partitions: PARTITIONS_MAX, ..Options::default() };
    run(&mut state, &Command::Create { name: "wide", options }, at(1));
    let stream = state.lookup("wide").expect("it was created");
    let groups: Vec<Group<'_>> =
        (0..PARTITIONS_MAX).map(|partition| Group { partition, expect_offset: None, records: &[BODY] }).collect();
    let produce = |state: &mut State, producer, groups: &[Group<'_>]| {
        let append = Append { stream, mapping_partitions: PARTITIONS_MAX, groups };
        run(state, &Command::Produce(Produce { append, producer, sequences: None }), at(2))
    };
    let full = PRODUCER_PARTITIONS_MAX / PARTITIONS_MAX as usize;
    let producers: Vec<ProducerHandle> =
        (0..=full).map(|number| open(&mut state, stream, &format!("p{number}"), 1)).collect();
    for producer in &producers[..full] {
        assert!(matches!(produce(&mut state, *producer, &groups), Outcome::Accept(_)));
    }
    let (max, actual) = (PRODUCER_PARTITIONS_MAX as u64, PRODUCER_PARTITIONS_MAX as u64 + 2);
    let one_more = refused(produce(&mut state, producers[full], &groups[..2]));
    assert_eq!(one_more, Refusal::LimitExceeded { limit: "partitions of all producers", max, actual });
    assert!(matches!(produce(&mut state, producers[0], &groups), Outcome::Accept(_)));
    let left = Command::ExpireProducer { number: producers[1].number };
    assert!(matches!(run(&mut state, &left, at(1 + 2 * WEEK)), Outcome::Accept(_)));
    assert!(matches!(produce(&mut state, producers[full], &groups), Outcome::Accept(_)));
}

#[test]
fn the_first_batch_in_a_partition_changes_what_is_counted() {
    let (mut state, stream, web) = with_producer();
    let mut touched = |partition, records| {
        let groups = [Group { partition, expect_offset: None, records }];
        let append = Append { stream, mapping_partitions: 4, groups: &groups };
        let produce = Command::Produce(Produce { append, producer: web, sequences: None });
        let (_, events) = decide_at(&state, &Overlay::default(), &produce, at(9), &Known::default());
        let mut touched = Vec::new();
        events[1].touches(&mut |key| touched.push(key));
        events.iter().for_each(|event| state.apply(event, FRAME));
        touched
    };
    let rows = [producer_row(web.number), window_row(web.number, 2)];
    assert_eq!(touched(2, &[BODY]), [COUNTERS, rows[0], rows[1]]);
    assert_eq!(touched(2, &[BODY]), rows);
}

#[test]
fn beyond_the_bound_a_new_producer_takes_the_place_of_an_expired_one_or_is_refused() {
    let (mut state, stream, web) = with_producer();
    for number in 1..PRODUCERS_MAX as u64 {
        open(&mut state, stream, &format!("p{number}"), 2 + number);
    }
    let one_more = Command::OpenProducer { stream, name: "one more", expire_after_micros: WEEK };
    let (max, actual) = (PRODUCERS_MAX as u64, PRODUCERS_MAX as u64 + 1);
    let full = refused(run(&mut state, &one_more, at(10_000)));
    assert_eq!(full, Refusal::LimitExceeded { limit: "producers", max, actual });
    open(&mut state, stream, "p7", 10_000);
    assert!(matches!(run(&mut state, &one_more, at(2 + WEEK)), Outcome::Accept(_)));
    assert!(state.producers().get(web.number).is_none(), "it was the only one that had expired");
    let (mut cursor, mut logs) = (LogCursor::default(), 0);
    while state.next_logs(&mut cursor, 100, &mut |_| logs += 1) {}
    assert_eq!(logs, 4 + PRODUCERS_MAX, "a pass over all logs meets every producer");
}

#[test]
fn names_and_options_that_cannot_be_are_refused() {
    let (mut state, stream, _) = with_producer();
    let open = |name, expire_after_micros| Command::OpenProducer { stream, name, expire_after_micros };
    assert!(matches!(refused(run(&mut state, &open("", WEEK), at(3))), Refusal::InvalidName(_)));
    let at_once = refused(run(&mut state, &open("web", 0), at(3)));
    assert!(matches!(at_once, Refusal::InvalidOption { option: "expire_after", .. }));
    let gone = StreamHandle { slot: 9, id: 99 };
    let nowhere = Command::OpenProducer { stream: gone, name: "web", expire_after_micros: WEEK };
    assert_eq!(refused(run(&mut state, &nowhere, at(3))), Refusal::NotFound);
    assert_eq!(nowhere.class(), Class::Publish);
    assert_eq!(Command::ExpireProducer { number: 1 }.class(), Class::Settle);
}

fn events_of_every_kind() -> Vec<Event<'static>> {
    use crate::primitives::streams::producers::events::{Expired, Opened, Produced};
    let (number, timestamp) = (300, Timestamp(1 << 50));
    let opened = Opened { number, stream: 5, epoch: 0, timestamp, expire_after_micros: WEEK, name: "wéb" };
    let produced =
        Produced { number, epoch: 2, sequence: 1000, first_offset: 1 << 33, timestamp, partition: 200, records: 3 };
    let expired = Expired { number, word: 63, bits: 1 << 63 | 5, is_last: false };
    [
        ProducerEvent::Opened(opened),
        ProducerEvent::Produced(produced),
        ProducerEvent::Expired(expired),
        ProducerEvent::Expired(Expired { word: 0, bits: 0, is_last: true, ..expired }),
    ]
    .map(Event::Producers)
    .into()
}

#[test]
fn the_bytes_of_an_event_stay_as_they_are() {
    let hex = |event: &Event<'_>| encoded(event).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = [
        "05 ac02 05 00 8080808080808002 80c08e87cd11 04 77c3a962",
        "06 ac02 c801 02 e807 03 8080808020 8080808080808002",
        "07 ac02 3f 0500000000000080 00",
        "07 ac02 00 0000000000000000 01",
    ];
    for (event, expected) in events_of_every_kind().iter().zip(expected) {
        assert_eq!(hex(event), expected.replace(' ', ""), "{event:?}");
    }
}

#[test]
fn every_event_comes_back_and_no_truncation_or_change_of_its_bytes_is_a_panic() {
    for event in events_of_every_kind() {
        let bytes = encoded(&event);
        let back = Event::decode(&bytes).expect("an event that was written");
        assert_eq!((encoded(&back), back.log_change()), (bytes.clone(), event.log_change()));
        assert!((0..bytes.len()).all(|len| Event::decode(&bytes[..len]).is_err()), "{event:?} cut");
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at].wrapping_add(1)] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(event) = Event::decode(&changed) {
                    event.touches(&mut |_| {});
                }
            }
        }
    }
}

#[test]
fn rows_that_cannot_be_are_malformed() {
    let (mut state, stream, web) = with_producer();
    send(&mut state, stream, web, &[(0, 0, 2)], 10);
    send(&mut state, stream, web, &[(0, 2, 2)], 11);
    let rows = all_rows(&state);
    let first = rows.iter().position(|(key, _)| key.kind == 4).expect("the producer has a row");
    for (at, (key, row)) in rows.iter().enumerate().skip(first) {
        for len in 0..row.len() {
            assert!(reloaded(&rows[..at]).load(*key, &row[..len]).is_err(), "{key:?} cut to {len}");
        }
    }
    let (producer, window) = (&rows[first], &rows[first + 1]);
    assert!(reloaded(&rows[..first]).load(window.0, &window.1).is_err(), "a window without its producer");
    assert!(reloaded(&rows).load(producer.0, &producer.1).is_err(), "a producer twice");
    assert!(reloaded(&rows[..1]).load(producer.0, &producer.1).is_err(), "a producer without its stream");
    let unknown = RowKey { id: producer.0.id + 1, ..producer.0 };
    assert!(reloaded(&rows[..first]).load(unknown, &producer.1).is_err(), "a number that was never given");
    let beyond = window_row(web.number, 4);
    assert!(reloaded(&rows[..=first]).load(beyond, &window.1).is_err(), "a partition that there is not");
    for row in [&[0, 0][..], &[0, 6, 1, 0, 8], &[0, 1, 0, 0, 8]] {
        assert!(reloaded(&rows[..=first]).load(window.0, row).is_err());
    }
}

#[test]
fn an_append_without_a_producer_has_one_event_and_allocates_no_list_of_them() {
    let (state, stream, _) = with_producer();
    let groups = [Group { partition: 0, expect_offset: None, records: &[BODY] }];
    let append = Command::Append(Append { stream, mapping_partitions: 4, groups: &groups });
    let mut events = Events::default();
    let context = Context {
        now: at(3),
        known: &Known::default(),
        clock: &CLOCK,
        watched: &Watched::default(),
        logs: &Logs::default(),
        durable: Lsn(0),
    };
    decide(&state, &Overlay::default(), &append, &context, |event| events.push(event));
    assert!(events.only().is_some());
}
