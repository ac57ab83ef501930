//! The rules, one by one.

use super::super::event::Compacted;
use super::*;
use crate::base::bounds::{
    BODY_BYTES_MAX, HEADER_BLOCK_BYTES_MAX, KEY_BYTES_MAX, LARGE_FRAME_BYTES, LOGS_MAX, PARTITIONS_MAX,
    RECORDS_PER_BATCH_MAX,
};
use crate::base::codec::Put;
use crate::base::level::Level;
use crate::base::name::NameFault;
use crate::engine::machine::{Class, LogChange, Lookup, Stretch, Until};
use crate::journal::entry::Entry;

fn with_stream(options: Options) -> (State, StreamHandle) {
    let mut state = State::default();
    run(&mut state, &Command::Create { name: "s", options }, at(1));
    let handle = state.lookup("s").unwrap();
    (state, handle)
}

fn partitions(partitions: u32) -> Options {
    Options { partitions, ..Options::default() }
}

fn keeping(retention: Retention) -> Options {
    Options { retention, ..Options::default() }
}

fn group<'a>(partition: u32, records: &'a [Record<'a>]) -> Group<'a> {
    Group { partition, expect_offset: None, records }
}

fn append<'a>(stream: StreamHandle, mapping_partitions: u32, groups: &'a [Group<'a>]) -> Command<'a> {
    Command::Append(Append { stream, mapping_partitions, groups })
}

/// Appends records with bodies of ten bytes to the only partition, one a microsecond from `from` on.
fn fill(state: &mut State, stream: StreamHandle, records: u64, from: u64) {
    for i in 0..records {
        let outcome = run(state, &append(stream, 1, &[group(0, &[Record::new(b"0123456789")])]), at(from + i));
        assert!(matches!(outcome, Outcome::Accept(_)));
    }
}

fn refused(outcome: Outcome) -> (Refusal, Option<RowKey>) {
    match outcome {
        Outcome::Refuse { refusal, rests_on } => (refusal, rests_on),
        other => panic!("not refused: {other:?}"),
    }
}

fn refusal(state: &mut State, command: &Command<'_>) -> Refusal {
    refused(run(state, command, at(5))).0
}

#[test]
fn creating_what_exists_is_a_no_op_with_equal_options_and_a_mismatch_that_lists_what_differs() {
    let (mut state, handle) = with_stream(partitions(2));
    let same = run(&mut state, &Command::Create { name: "s", options: partitions(2) }, at(2));
    let rests_on = Some(stream_row(handle.id));
    assert_eq!(same, Outcome::Unchanged { reply: Reply::Stream(handle), rests_on });
    let retention = Retention { age_micros: Some(1_500_000), ..Retention::default() };
    let options = Options { partitions: 3, retention, level: Some(Level::Buffered), ..Options::default() };
    let differences = vec![
        "partitions: is 2, asked for 3 (`add_partitions` adds some)".to_owned(),
        "retention age: is unlimited, asked for 1.5 s".to_owned(),
        "level: is the database's, asked for buffered".to_owned(),
    ];
    let other = run(&mut state, &Command::Create { name: "s", options }, at(2));
    assert_eq!(refused(other), (Refusal::Mismatch { differences }, rests_on));
}

#[test]
fn ensuring_applies_retention_and_level_and_is_a_mismatch_only_for_partitions() {
    let (mut state, handle) = with_stream(partitions(2));
    let retention = Retention { records: Some(9), ..Retention::default() };
    let options = Options { partitions: 2, retention, level: Some(Level::Sync), ..Options::default() };
    let command = Command::Ensure { name: "s", options };
    assert_eq!(run(&mut state, &command, at(2)), Outcome::Accept(Reply::Stream(handle)));
    assert_eq!(*state.stream(handle).unwrap().head().options(), options);
    assert!(matches!(run(&mut state, &command, at(2)), Outcome::Unchanged { .. }));
    let command = Command::Ensure { name: "s", options: partitions(3) };
    let differences = vec!["partitions: is 2, asked for 3 (`add_partitions` adds some)".to_owned()];
    assert_eq!(refusal(&mut state, &command), Refusal::Mismatch { differences });
    assert_eq!(*state.stream(handle).unwrap().head().options(), options);
    assert!(matches!(run(&mut state, &Command::Ensure { name: "t", options }, at(2)), Outcome::Accept(_)));
}

#[test]
fn altering_asks_for_the_timers_of_every_partition_to_be_armed_anew() {
    let (state, handle) = with_stream(partitions(3));
    let retention = Retention { records: Some(9), ..Retention::default() };
    let command = Command::Ensure { name: "s", options: Options { retention, ..partitions(3) } };
    let (_, events) = decide_at(&state, &Overlay::default(), &command, at(2), &Known::default());
    let first = state.stream(handle).unwrap().head().log(0);
    assert_eq!(events[0].log_change(), LogChange::Rearm { first, count: 3 });
}

#[test]
fn names_and_options_out_of_bounds_are_refused() {
    let mut state = State::default();
    let mut create = |name: &str, options| refusal(&mut state, &Command::Create { name, options });
    assert_eq!(create("$x", partitions(1)), Refusal::InvalidName(NameFault::Reserved));
    assert_eq!(create("", partitions(1)), Refusal::InvalidName(NameFault::Empty));
    assert!(matches!(create("s", partitions(0)), Refusal::InvalidOption { option: "partitions", .. }));
    let (max, actual) = (u64::from(PARTITIONS_MAX), u64::from(PARTITIONS_MAX) + 1);
    let over = Refusal::LimitExceeded { limit: "partitions", max, actual };
    assert_eq!(create("s", partitions(PARTITIONS_MAX + 1)), over);
    let nothing = Some(0);
    for (option, retention) in [
        ("retention_age", Retention { age_micros: nothing, ..Retention::default() }),
        ("retention_bytes", Retention { bytes: nothing, ..Retention::default() }),
        ("retention_records", Retention { records: nothing, ..Retention::default() }),
    ] {
        let Refusal::InvalidOption { option: named, .. } = create("s", keeping(retention)) else {
            panic!("{option} of nothing was not refused");
        };
        assert_eq!(named, option);
    }
}

#[test]
fn partitions_of_all_streams_together_are_bounded() {
    let mut state = State::default();
    let streams = LOGS_MAX / PARTITIONS_MAX as usize;
    for n in 0..streams {
        let command = Command::Create { name: &format!("s{n}"), options: partitions(PARTITIONS_MAX) };
        assert!(matches!(run(&mut state, &command, at(1)), Outcome::Accept(_)));
    }
    let one_more = Command::Create { name: "t", options: partitions(1) };
    let (max, actual) = (LOGS_MAX as u64, LOGS_MAX as u64 + 1);
    let over = Refusal::LimitExceeded { limit: "partitions of all streams", max, actual };
    assert_eq!(refusal(&mut state, &one_more), over);
    run(&mut state, &Command::Delete { name: "s0" }, at(1));
    assert!(matches!(run(&mut state, &one_more, at(1)), Outcome::Accept(_)));
}

#[test]
fn a_handle_of_a_deleted_stream_finds_nothing_even_where_another_took_its_slot() {
    let (mut state, old) = with_stream(partitions(1));
    let old_log = state.stream(old).unwrap().head().log(0);
    assert_eq!(run(&mut state, &Command::Delete { name: "s" }, at(2)), Outcome::Accept(Reply::Deleted));
    assert_eq!(refusal(&mut state, &Command::Delete { name: "s" }), Refusal::NotFound);
    run(&mut state, &Command::Create { name: "s", options: partitions(1) }, at(3));
    let new = state.lookup("s").unwrap();
    assert_eq!((new.slot, new.id), (old.slot, old.id + 1));
    assert_ne!(state.stream(new).unwrap().head().log(0), old_log);
    let records = [Record::new(b"x")];
    let gone = (Refusal::NotFound, Some(stream_row(old.id)));
    assert_eq!(refused(run(&mut state, &append(old, 1, &[group(0, &records)]), at(4))), gone);
    let trim = Command::TrimBefore { stream: old, partition: 0, offset: 1 };
    assert_eq!(refused(run(&mut state, &trim, at(4))), gone);
    assert_eq!((state.row(partition_row(old_log)), state.log_start(old_log)), (None, None));
    assert_eq!((state.log_timer(old_log), state.next_due(partition_row(old_log))), (None, None));
    let tick = run(&mut state, &Command::Expire { log: old_log }, at(4));
    assert_eq!(tick, Outcome::Unchanged { reply: Reply::Expired, rests_on: None });
}

#[test]
fn an_append_that_cannot_be_is_refused_whole() {
    let (mut state, stream) = with_stream(partitions(2));
    let one = [Record::new(b"x")];
    let mut refuse = |mapping, groups: &[Group<'_>]| refusal(&mut state, &append(stream, mapping, groups));
    assert_eq!(refuse(3, &[group(0, &one)]), Refusal::StaleMapping { partitions: 2, mapping_epoch: 1 });
    assert_eq!(refuse(2, &[group(2, &one)]), Refusal::NoSuchPartition { partition: 2, partitions: 2 });
    assert_eq!(refuse(2, &[]), Refusal::EmptyBatch);
    assert_eq!(refuse(2, &[group(0, &[])]), Refusal::EmptyBatch);
    assert_eq!(refuse(2, &[group(0, &one), group(1, &[])]), Refusal::EmptyBatch);
    let wrong = Group { expect_offset: Some(7), ..group(1, &one) };
    let expected = Refusal::WrongOffset { partition: 1, expected: 7, end: 0 };
    assert_eq!(refuse(2, &[wrong]), expected);
    assert_eq!(refuse(2, &[group(0, &one), wrong]), expected);
    let again = Group { expect_offset: Some(0), ..group(0, &one) };
    assert_eq!(refuse(2, &[again, again]), Refusal::WrongOffset { partition: 0, expected: 0, end: 1 });
    let batch = vec![Record::new(b"x"); RECORDS_PER_BATCH_MAX];
    let (max, actual) = (RECORDS_PER_BATCH_MAX as u64, RECORDS_PER_BATCH_MAX as u64 + 1);
    let over = Refusal::LimitExceeded { limit: "records per batch", max, actual };
    assert_eq!(refuse(2, &[group(0, &batch), group(1, &one)]), over);
    assert_eq!(*state.partition(stream, 0).unwrap().1, Partition::default());
}

#[test]
fn a_body_a_key_and_a_header_block_may_reach_their_limits_and_not_pass_them() {
    let (mut state, stream) = with_stream(partitions(1));
    let bytes = vec![7; BODY_BYTES_MAX + 1];
    let header = |len| [Header { name: "n", value: &bytes[..len] }];
    let block = HEADER_BLOCK_BYTES_MAX - 2 - 3;
    let (fits, passes) = (header(block), header(block + 1));
    let mut send = |record| run(&mut state, &append(stream, 1, &[group(0, &[record])]), at(1));
    let body = Record::new(&bytes[..BODY_BYTES_MAX]);
    for record in [body, body.key(&bytes[..KEY_BYTES_MAX]), body.headers(&fits)] {
        assert!(matches!(send(record), Outcome::Accept(_)));
    }
    let over = |limit, max| Refusal::LimitExceeded { limit, max: max as u64, actual: max as u64 + 1 };
    assert_eq!(refused(send(Record::new(&bytes))).0, over("body bytes", BODY_BYTES_MAX));
    assert_eq!(refused(send(body.key(&bytes[..KEY_BYTES_MAX + 1]))).0, over("key bytes", KEY_BYTES_MAX));
    assert_eq!(refused(send(body.headers(&passes))).0, over("header block bytes", HEADER_BLOCK_BYTES_MAX));
}

#[test]
fn groups_of_one_partition_in_one_command_follow_each_other() {
    let (mut state, stream) = with_stream(partitions(2));
    let (one, three) = ([Record::new(b"x")], [Record::new(b"y"); 3]);
    let then = Group { expect_offset: Some(3), ..group(0, &one) };
    let outcome = run(&mut state, &append(stream, 2, &[group(0, &three), group(1, &one), then]), at(1));
    let range = |partition, first_offset, records| Range { partition, first_offset, records };
    let ranges = Ranges { first: range(0, 0, 3), rest: vec![range(1, 0, 1), range(0, 3, 1)] };
    assert_eq!(outcome, Outcome::Accept(Reply::Appended(ranges)));
}

#[test]
fn two_appends_under_one_expected_offset_in_one_frame_are_one_too_many() {
    let (state, stream) = with_stream(partitions(1));
    let records = [Record::new(b"x")];
    let groups = [Group { expect_offset: Some(0), ..group(0, &records) }];
    let command = append(stream, 1, &groups);
    let mut overlay = Overlay::default();
    let (first, events) = decide_at(&state, &overlay, &command, at(1), &Known::default());
    assert!(matches!(first, Outcome::Accept(_)));
    events.iter().for_each(|event| overlay.foresee(&state, event));
    let (second, events) = decide_at(&state, &overlay, &command, at(1), &Known::default());
    assert_eq!(refused(second).0, Refusal::WrongOffset { partition: 0, expected: 0, end: 1 });
    assert!(events.is_empty());
    drop(overlay);
    let (again, _) = decide_at(&state, &Overlay::default(), &command, at(1), &Known::default());
    assert!(matches!(again, Outcome::Accept(_)));
}

#[test]
fn a_stream_may_be_made_filled_deleted_and_made_again_in_one_frame() {
    let mut state = State::default();
    let mut overlay = Overlay::default();
    let mut events = Vec::new();
    let mut step = |overlay: &mut Overlay, command: &Command<'static>| {
        let (outcome, decided) = decide_at(&state, overlay, command, at(1), &Known::default());
        decided.iter().for_each(|event| overlay.foresee(&state, event));
        events.extend(decided);
        match outcome {
            Outcome::Accept(Reply::Stream(handle)) => handle,
            Outcome::Accept(_) => StreamHandle { slot: 0, id: 0 },
            other => panic!("{other:?}"),
        }
    };
    let create = Command::Create { name: "s", options: partitions(1) };
    const RECORDS: &[Record<'_>] = &[Record::new(b"x")];
    const GROUPS: &[Group<'_>] = &[Group { partition: 0, expect_offset: Some(0), records: RECORDS }];
    let first = step(&mut overlay, &create);
    step(&mut overlay, &append(first, 1, GROUPS));
    step(&mut overlay, &Command::Delete { name: "s" });
    let second = step(&mut overlay, &create);
    step(&mut overlay, &append(second, 1, GROUPS));
    let other = step(&mut overlay, &Command::Create { name: "t", options: partitions(2) });
    events.iter().for_each(|event| state.apply(event, FRAME));
    assert!(state.stream(first).is_none());
    assert_eq!((state.lookup("s"), state.lookup("t")), (Some(second), Some(other)));
    assert_eq!(state.partition(second, 0).unwrap().1.end, 1);
}

#[test]
fn timestamps_never_decrease_within_a_partition() {
    let (mut state, stream) = with_stream(partitions(2));
    let records = [Record::new(b"x")];
    run(&mut state, &append(stream, 2, &[group(0, &records)]), at(100));
    run(&mut state, &append(stream, 2, &[group(0, &records), group(1, &records)]), at(40));
    assert_eq!(state.partition(stream, 0).unwrap().1.last_timestamp, Timestamp(100));
    assert_eq!(state.partition(stream, 1).unwrap().1.last_timestamp, Timestamp(40));
}

#[test]
fn a_group_is_split_into_items_of_bounded_size_and_only_a_single_record_is_larger() {
    let (state, stream) = with_stream(partitions(1));
    let (small, large) = (vec![1; 1000], vec![2; 200_000]);
    let mut records = vec![Record::new(&small); 150];
    records.insert(75, Record::new(&large));
    let groups = [group(0, &records)];
    let command = append(stream, 1, &groups);
    let (_, events) = decide_at(&state, &Overlay::default(), &command, at(1), &Known::default());
    let mut next = 0;
    for event in &events {
        let Event::Appended(appended) = event else { panic!("{event:?}") };
        assert_eq!(appended.entry.first, next);
        next = appended.entry.end();
        assert!(event.encoded_len() <= LARGE_FRAME_BYTES || appended.entry.count == 1);
    }
    assert_eq!((next, events.len()), (151, 5));
}

fn stretch_of(until: Until, log: LogId, end: u64, next: Option<u64>) -> (Lookup, Stretch) {
    let stretch = Stretch { end, bytes: 10 * end, records: end, next_timestamp: next.map(Timestamp) };
    (Lookup { log, from: 0, until, passes: 0 }, stretch)
}

fn knowing(facts: &[(Lookup, Stretch)]) -> Known {
    let mut known = Known::default();
    facts.iter().for_each(|(lookup, stretch)| known.add(*lookup, *stretch));
    known
}

#[test]
fn a_trim_asks_what_goes_unless_nothing_or_everything_does() {
    let (mut state, stream) = with_stream(partitions(1));
    fill(&mut state, stream, 10, 100);
    let log = state.stream(stream).unwrap().head().log(0);
    let trim = |offset| Command::TrimBefore { stream, partition: 0, offset };
    let (lookup, stretch) = stretch_of(Until::Offset(4), log, 4, Some(104));
    assert_eq!(run(&mut state, &trim(4), at(200)), Outcome::Needs(lookup));
    let known = knowing(&[(lookup, stretch)]);
    let (outcome, events) = decide_at(&state, &Overlay::default(), &trim(4), at(200), &known);
    assert_eq!(outcome, Outcome::Accept(Reply::Trimmed { start: 4 }));
    assert_eq!(events[0].log_change(), LogChange::Trim { log, start: 4 });
    events.iter().for_each(|event| state.apply(event, FRAME));
    let left = *state.partition(stream, 0).unwrap().1;
    assert_eq!((left.start, left.bytes, left.start_timestamp), (4, 60, Timestamp(104)));
    let rests_on = Some(partition_row(log));
    for offset in [0, 3, 4] {
        let unchanged = Outcome::Unchanged { reply: Reply::Trimmed { start: 4 }, rests_on };
        assert_eq!(run(&mut state, &trim(offset), at(200)), unchanged);
    }
    let everything = Outcome::Accept(Reply::Trimmed { start: 10 });
    assert_eq!(run(&mut state, &trim(1000), at(200)), everything);
    let left = *state.partition(stream, 0).unwrap().1;
    assert_eq!((left.start, left.end, left.bytes, left.start_timestamp), (10, 10, 0, Timestamp(0)));
    fill(&mut state, stream, 1, 300);
    assert_eq!(state.partition(stream, 0).unwrap().1.start_timestamp, Timestamp(300));
}

#[test]
fn an_answer_that_saw_no_record_where_one_has_come_since_is_asked_for_anew() {
    let (mut state, stream) = with_stream(keeping(Retention { bytes: Some(1), ..Retention::default() }));
    fill(&mut state, stream, 2, 100);
    let log = state.stream(stream).unwrap().head().log(0);
    let tick = Command::Expire { log };
    let (bytes, old) = stretch_of(Until::Bytes(19), log, 2, None);
    assert_eq!(run(&mut state, &tick, at(100)), Outcome::Needs(bytes));
    fill(&mut state, stream, 1, 102);
    let (offset, new) = stretch_of(Until::Offset(2), log, 2, Some(102));
    let (outcome, _) = decide_at(&state, &Overlay::default(), &tick, at(103), &knowing(&[(bytes, old)]));
    assert_eq!(outcome, Outcome::Needs(offset));
    let known = knowing(&[(bytes, old), (offset, new)]);
    let (outcome, events) = decide_at(&state, &Overlay::default(), &tick, at(103), &known);
    assert_eq!(outcome, Outcome::Accept(Reply::Expired));
    events.iter().for_each(|event| state.apply(event, FRAME));
    assert_eq!(state.partition(stream, 0).unwrap().1.start_timestamp, Timestamp(102));
}

#[test]
fn a_trim_in_one_frame_with_an_append_ends_where_that_begins_or_takes_all_of_it() {
    let (mut state, stream) = with_stream(partitions(1));
    fill(&mut state, stream, 2, 100);
    let log = state.stream(stream).unwrap().head().log(0);
    let records = [Record::new(b"0123456789"); 3];
    let groups = [group(0, &records)];
    let (known, mut overlay) = (knowing(&[stretch_of(Until::Offset(2), log, 2, None)]), Overlay::default());
    let (_, events) = decide_at(&state, &overlay, &append(stream, 1, &groups), at(300), &known);
    events.iter().for_each(|event| overlay.foresee(&state, event));
    let trim = |offset| {
        let command = Command::TrimBefore { stream, partition: 0, offset };
        let (outcome, events) = decide_at(&state, &overlay, &command, at(300), &known);
        let trimmed = events.first().map(|event| match event {
            Event::Trimmed(trimmed) => (trimmed.start, trimmed.bytes, trimmed.start_timestamp),
            other => panic!("{other:?}"),
        });
        (outcome, trimmed)
    };
    assert_eq!(trim(2).1, Some((2, 20, Some(Timestamp(300)))));
    assert_eq!(trim(5).1, Some((5, 50, None)));
    assert!(matches!(refused(trim(3).0).0, Refusal::InvalidOption { option: "offset", .. }));
    let (tick, _) = decide_at(&state, &overlay, &Command::Expire { log }, at(300), &known);
    assert_eq!(tick, Outcome::Unchanged { reply: Reply::Expired, rests_on: None });
}

#[test]
fn retention_is_due_at_once_over_a_count_and_one_microsecond_past_an_age() {
    let (mut state, stream) =
        with_stream(keeping(Retention { age_micros: Some(50), bytes: Some(1000), records: Some(3) }));
    let key = partition_row(state.stream(stream).unwrap().head().log(0));
    assert_eq!(state.next_due(key), None);
    fill(&mut state, stream, 3, 100);
    assert_eq!(state.next_due(key), Some(Due::At(Timestamp(151))));
    let log = log_of_row(key).unwrap();
    let tick = |state: &mut State, now| run(state, &Command::Expire { log }, at(now));
    assert_eq!(tick(&mut state, 150), Outcome::Unchanged { reply: Reply::Expired, rests_on: None });
    let (lookup, _) = stretch_of(Until::Time(Timestamp(101)), log, 1, None);
    assert_eq!(tick(&mut state, 151), Outcome::Needs(lookup));
    assert_eq!(tick(&mut state, 153), Outcome::Accept(Reply::Expired), "all of it is too old: nothing to ask");
    assert_eq!((state.log_start(log), state.next_due(key)), (Some(3), None));
    fill(&mut state, stream, 4, 200);
    assert_eq!(state.next_due(key), Some(Due::Soon));
}

#[test]
fn of_several_limits_the_furthest_start_wins() {
    let (mut state, stream) =
        with_stream(keeping(Retention { age_micros: Some(50), bytes: Some(70), records: Some(5) }));
    fill(&mut state, stream, 10, 100);
    let log = state.stream(stream).unwrap().head().log(0);
    let facts = [
        stretch_of(Until::Time(Timestamp(102)), log, 2, Some(102)),
        stretch_of(Until::Offset(5), log, 5, Some(105)),
        stretch_of(Until::Bytes(30), log, 3, Some(103)),
    ];
    let tick = Command::Expire { log };
    let (_, events) = decide_at(&state, &Overlay::default(), &tick, at(152), &knowing(&facts));
    assert_eq!(events[0].log_change(), LogChange::Trim { log, start: 5 });
}

#[test]
fn a_trim_that_lags_behind_appends_and_the_clock_still_gets_on() {
    let retention = Retention { age_micros: Some(1000), bytes: Some(10_000), records: Some(1000) };
    let (mut state, stream) = with_stream(keeping(retention));
    fill(&mut state, stream, 2000, 0);
    let log = state.stream(stream).unwrap().head().log(0);
    let (mut known, mut now) = (Known::default(), 2000);
    for round in 0.. {
        assert!(round <= 3, "each limit is asked for once");
        let tick = Command::Expire { log };
        let (outcome, events) = decide_at(&state, &Overlay::default(), &tick, at(now), &known);
        let Outcome::Needs(lookup) = outcome else {
            events.iter().for_each(|event| state.apply(event, FRAME));
            break;
        };
        let end = match lookup.until {
            Until::Offset(end) => end,
            Until::Time(time) => time.0,
            Until::Bytes(bytes) => bytes.div_ceil(10),
            until => panic!("{until:?} of a stream without compaction"),
        };
        let (_, stretch) = stretch_of(lookup.until, log, end, Some(end));
        known.add(lookup, stretch);
        fill(&mut state, stream, 300, now);
        now += 300;
    }
    assert!((1000..=1900).contains(&state.log_start(log).unwrap()));
}

fn events_of_every_kind<'a>(records: &'a [Record<'a>]) -> Vec<Event<'a>> {
    let span = Span { stream: 300, first_log: LogId(7), partitions: 200 };
    let retention = Retention { age_micros: Some(1 << 40), bytes: None, records: Some(5) };
    let options = Options { partitions: 200, retention, level: Some(Level::Buffered), ..Options::default() };
    let bytes = records.iter().map(Record::user_bytes).sum::<usize>() as u64;
    let encoded = records.iter().map(|record| record.encoded_len(record.user_bytes())).sum();
    let (log, timestamp, count) = (LogId(300), Timestamp(1 << 50), records.len() as u32);
    let entry = Entry { log, first: 9, count, timestamp, expiry: 0 };
    let trimmed = Trimmed { log: LogId(1000), start: 77, bytes: 1 << 33, start_timestamp: None, holes: 0 };
    let compaction = Some(Compaction { tombstone_retention_micros: 1 << 40 });
    let compacted = Compacted { log: LogId(1000), through: 300, records: 12, bytes: 1 << 20 };
    vec![
        Event::Created { span, options, name: "näme" },
        Event::Altered { span, options: Options { level: None, ..options } },
        Event::Deleted { span },
        Event::Trimmed(trimmed),
        Event::Trimmed(Trimmed { start_timestamp: Some(Timestamp(200)), ..trimmed }),
        Event::Appended(Appended::given(entry, bytes, encoded, records)),
        Event::Extended { span: Span { partitions: 3, ..span } },
        Event::Trimmed(Trimmed { holes: 300, ..trimmed }),
        Event::Created { span, options: Options { compaction, ..options }, name: "compacted" },
        Event::Compacted(compacted),
    ]
}

#[test]
fn every_event_comes_back_and_no_truncation_or_change_of_its_bytes_is_a_panic() {
    let headers = [Header { name: "a", value: b"1" }, Header { name: "a", value: &[9; 200] }];
    let records = [
        Record::new(b"body").key(b"key").headers(&headers),
        Record::tombstone(b"k"),
        Record::new(b""),
        Record::new(&[5; 300]).key(b""),
    ];
    for event in events_of_every_kind(&records) {
        let bytes = encoded(&event);
        let back = Event::decode(&bytes).expect("an event that was written");
        assert_eq!(encoded(&back), bytes);
        assert_eq!(back.log_change(), event.log_change());
        for len in 0..bytes.len() {
            assert!(Event::decode(&bytes[..len]).is_err(), "{event:?} cut to {len} bytes");
        }
        let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert!(Event::decode(&longer).is_err());
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at].wrapping_add(1)] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = Event::decode(&changed);
                let _ = measure(&changed, &mut |_, _| {});
                if let Ok((_, records)) = read_item(&changed) {
                    records.take(100).flatten().for_each(|record| {
                        assert!(super::headers(record.header_block).count() <= 1 + record.header_block.len())
                    });
                }
            }
        }
    }
}

#[test]
fn the_bytes_of_an_event_stay_as_they_are() {
    let records = [Record::new(b"xy").key(b"k").headers(&[Header { name: "n", value: b"v" }]), Record::tombstone(b"t")];
    let hex = |event: &Event<'_>| encoded(event).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let events = events_of_every_kind(&records);
    let expected = [
        "01 ac02 07 c801 05 808080808020 05 02 05 6ec3a46d65",
        "02 ac02 07 c801 05 808080808020 05 00",
        "03 ac02 07 c801",
        "04 e807 4d 8080808020 00",
        "04 e807 4d 8080808020 01 c801",
        "81 ac02 09 02 0000000000000400 00 03 02 04 6b 016e 0176 7879 00 02 00 74",
        "0c ac02 07 03",
        "04 e807 4d 8080808020 02 ac02",
        "01 ac02 07 c801 0d 808080808020 05 808080808020 02 09 636f6d706163746564",
        "0d e807 ac02 0c 808040",
    ];
    for (event, expected) in events.iter().zip(expected) {
        assert_eq!(hex(event), expected.replace(' ', ""), "{event:?}");
    }
}

#[test]
fn records_that_do_not_fill_an_item_exactly_are_an_error_and_then_the_end() {
    let records = [Record::new(b"ab"), Record::new(b"cd")];
    let bytes = encoded(&events_of_every_kind(&records)[5]);
    let (mut entry, _) = read_item(&bytes).unwrap();
    let body = &bytes[1 + entry.encoded_len()..];
    for count in [1, 3, u32::MAX] {
        entry.count = count;
        let read: Vec<_> = crate::primitives::record::records(&entry, body).collect();
        assert!(read.last().unwrap().is_err() && read.len() <= 3);
        assert!(read[..read.len() - 1].iter().all(Result::is_ok));
    }
}

#[test]
fn measuring_tells_offset_and_bytes_of_each_record() {
    let records = [Record::new(b"abc").key(b"k"), Record::tombstone(b"xy"), Record::new(b"")];
    let bytes = encoded(&events_of_every_kind(&records)[5]);
    let mut seen = Vec::new();
    measure(&bytes, &mut |offset, bytes| seen.push((offset, bytes))).unwrap();
    assert_eq!(seen, [(9, 4), (10, 2), (11, 0)]);
    assert!(measure(&bytes[..bytes.len() - 1], &mut |_, _| {}).is_err());
}

#[test]
fn rows_that_cannot_be_are_malformed() {
    let (mut state, stream) = with_stream(partitions(2));
    fill_two(&mut state, stream);
    let rows = all_rows(&state);
    for (at, (key, row)) in rows.iter().enumerate() {
        for len in 0..row.len() {
            let mut state = reloaded(&rows[..at]);
            assert!(state.load(*key, &row[..len]).is_err());
        }
    }
    let mut again = reloaded(&rows);
    assert!(again.load(rows[1].0, &rows[1].1).is_err(), "a stream twice");
    assert!(State::default().load(rows[1].0, &rows[1].1).is_err(), "a stream with ids that were never given");
    assert!(reloaded(&rows[..1]).load(rows[2].0, &rows[2].1).is_err(), "a partition without its stream");
    assert!(State::default().load(RowKey { kind: 9, id: 0 }, &[]).is_err());
    let mut backwards = vec![0; 5];
    Put::new(&mut backwards).bytes(&[2, 1, 0, 0, 0]);
    assert!(again.load(rows[2].0, &backwards).is_err());
}

fn fill_two(state: &mut State, stream: StreamHandle) {
    let records = [Record::new(b"x")];
    run(state, &append(stream, 2, &[group(0, &records), group(1, &records)]), at(1));
}

#[test]
fn only_what_adds_to_the_store_counts_as_publishing() {
    let gone = StreamHandle { slot: 0, id: 0 };
    assert_eq!(append(gone, 1, &[]).class(), Class::Publish);
    assert_eq!(Command::Create { name: "s", options: partitions(1) }.class(), Class::Publish);
    assert_eq!(Command::Delete { name: "s" }.class(), Class::Settle);
    assert_eq!(Command::TrimBefore { stream: gone, partition: 0, offset: 0 }.class(), Class::Settle);
    assert_eq!(Command::Expire { log: LogId(1) }.class(), Class::Settle);
}
