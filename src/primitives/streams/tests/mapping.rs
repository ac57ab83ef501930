//! Adding partitions, rule by rule.

use super::*;
use crate::base::bounds::{LOGS_MAX, MAPPINGS_MAX, PARTITIONS_MAX};
use crate::engine::machine::LogChange;

fn create(state: &mut State, name: &str, partitions: u32) -> StreamHandle {
    run(state, &Command::Create { name, options: Options { partitions, ..Options::default() } }, at(1));
    state.lookup(name).expect("it was just created")
}

fn decided<'c>(state: &State, overlay: &Overlay, command: &Command<'c>) -> (Outcome, Vec<Event<'c>>) {
    decide_at(state, overlay, command, at(2), &Known::default())
}

/// Adds partitions in a frame that starts at `lsn`.
fn add(state: &mut State, stream: StreamHandle, count: u32, lsn: u64) -> Outcome {
    let (outcome, events) = decided(state, &Overlay::default(), &Command::AddPartitions { stream, count });
    events.iter().for_each(|event| state.apply(event, Lsn(lsn)));
    outcome
}

fn append<'a>(stream: StreamHandle, mapping_partitions: u32, groups: &'a [Group<'a>]) -> Command<'a> {
    Command::Append(Append { stream, mapping_partitions, groups })
}

fn to<'a>(partition: u32, records: &'a [Record<'a>]) -> [Group<'a>; 1] {
    [Group { partition, expect_offset: None, records }]
}

fn over(limit: &'static str, max: u64) -> Refusal {
    Refusal::LimitExceeded { limit, max, actual: max + 1 }
}

fn refusal(outcome: Outcome) -> Refusal {
    let Outcome::Refuse { refusal, .. } = outcome else { panic!("not refused: {outcome:?}") };
    refusal
}

/// A stream of two partitions that has got three more, with another between their logs, and a record in each partition.
fn grown() -> (State, StreamHandle) {
    let mut state = State::default();
    let orders = create(&mut state, "s", 2);
    create(&mut state, "t", 1);
    assert_eq!(add(&mut state, orders, 3, 300), Outcome::Accept(Reply::Extended { epoch: 2, partitions: 5 }));
    for partition in 0..5 {
        run(&mut state, &append(orders, 5, &to(partition, &[Record::new(b"one blue mug")])), at(3));
    }
    (state, orders)
}

#[test]
fn partitions_that_are_added_come_behind_those_that_there_are_with_logs_of_their_own() {
    let (state, orders) = grown();
    let stream = state.stream(orders).unwrap();
    let logs: Vec<u64> = stream.head().mappings().logs().map(|log| log.0).collect();
    assert_eq!(logs, [1, 2, 4, 5, 6]);
    assert_eq!((stream.head().partitions(), stream.head().options().partitions), (5, 5));
    for (partition, log) in (0..).zip(logs) {
        assert_eq!(stream.head().log(partition), LogId(log));
        assert_eq!((state.name_of_log(LogId(log)), state.log_start(LogId(log))), (Some(("s", partition)), Some(0)));
    }
    assert_eq!(stream.head().mappings().get(5), None);
    let mappings: Vec<Mapping> = stream.head().mappings().iter().collect();
    let first = Mapping { epoch: 1, partitions: 2, since: Lsn(0) };
    assert_eq!(mappings, [first, Mapping { epoch: 2, partitions: 5, since: Lsn(300) }]);
}

#[test]
fn an_append_that_was_routed_by_an_earlier_mapping_is_refused_and_told_the_newest() {
    let (mut state, orders) = grown();
    let records = [Record::new(b"two green plates")];
    for mapping_partitions in [1, 2, 4, 6] {
        let outcome = run(&mut state, &append(orders, mapping_partitions, &to(0, &records)), at(4));
        let rests_on = Some(stream_row(orders.id));
        let refusal = Refusal::StaleMapping { partitions: 5, mapping_epoch: 2 };
        assert_eq!(outcome, Outcome::Refuse { refusal, rests_on });
    }
    assert!(matches!(run(&mut state, &append(orders, 5, &to(4, &records)), at(4)), Outcome::Accept(_)));
}

#[test]
fn growth_is_bounded_in_partitions_in_mappings_and_over_all_streams() {
    let mut state = State::default();
    let wide = create(&mut state, "wide", PARTITIONS_MAX - 1);
    assert_eq!(refusal(add(&mut state, wide, 2, 8)), over("partitions", u64::from(PARTITIONS_MAX)));
    assert!(matches!(refusal(add(&mut state, wide, u32::MAX, 8)), Refusal::LimitExceeded { .. }));
    assert!(matches!(refusal(add(&mut state, wide, 0, 8)), Refusal::InvalidOption { option: "count", .. }));
    assert!(matches!(add(&mut state, wide, 1, 8), Outcome::Accept(_)));
    let often = create(&mut state, "often", 1);
    for grown in 1..u64::from(MAPPINGS_MAX) {
        assert!(matches!(add(&mut state, often, 1, 8 * grown), Outcome::Accept(_)));
    }
    assert_eq!(refusal(add(&mut state, often, 1, 8)), over("mappings of a stream", u64::from(MAPPINGS_MAX)));
    assert_eq!(all_rows(&reloaded(&all_rows(&state))), all_rows(&state));
}

#[test]
fn what_is_added_counts_among_the_partitions_of_all_streams() {
    let mut state = State::default();
    let (small, wide) = (create(&mut state, "small", 1), create(&mut state, "wide", PARTITIONS_MAX - 2));
    for number in 1..LOGS_MAX as u32 / PARTITIONS_MAX {
        create(&mut state, &format!("full {number}"), PARTITIONS_MAX);
    }
    assert!(matches!(add(&mut state, wide, 1, 8), Outcome::Accept(_)));
    assert_eq!(refusal(add(&mut state, small, 1, 8)), over("partitions of all streams", LOGS_MAX as u64));
    run(&mut state, &Command::Delete { name: "wide" }, at(1));
    assert!(matches!(add(&mut state, small, PARTITIONS_MAX - 1, 8), Outcome::Accept(_)));
}

#[test]
fn a_stream_that_has_grown_goes_span_by_span_and_the_newest_first() {
    let (mut state, _) = grown();
    let (_, events) = decided(&state, &Overlay::default(), &Command::Delete { name: "s" });
    let changes: Vec<LogChange> = events.iter().map(Event::log_change).collect();
    let [added, created] = [(4, 3), (1, 2)].map(|(first, count)| LogChange::Close { first: LogId(first), count });
    assert_eq!(changes, [added, created]);
    events.iter().for_each(|event| state.apply(event, FRAME));
    let mut logs = Vec::new();
    state.logs(&mut |log, _, _| logs.push(log));
    assert_eq!((logs, state.log_count(), state.lookup("s")), (vec![LogId(3)], 1, None));
    let again = create(&mut state, "s", 1);
    assert_eq!(state.stream(again).unwrap().head().log(0), LogId(7), "no log is given twice");
}

#[test]
fn a_change_of_retention_arms_the_timers_of_every_span_and_keeps_the_partitions() {
    let (mut state, orders) = grown();
    let retention = Retention { records: Some(1), ..Retention::default() };
    let options = Options { partitions: 5, retention, ..Options::default() };
    let (_, events) = decided(&state, &Overlay::default(), &Command::Ensure { name: "s", options });
    let changes: Vec<LogChange> = events.iter().map(Event::log_change).collect();
    let [created, added] = [(1, 2), (4, 3)].map(|(first, count)| LogChange::Rearm { first: LogId(first), count });
    assert_eq!(changes, [created, added]);
    for event in &events {
        state.apply(&Event::decode(&encoded(event)).unwrap(), FRAME);
    }
    assert_eq!(*state.stream(orders).unwrap().head().options(), options);
    assert!((0..5).all(|index| state.log_timer(state.partition(orders, index).unwrap().0).is_some()));
}

#[test]
fn in_one_frame_partitions_are_added_before_records_come_and_not_behind_them() {
    let (state, orders) = grown();
    let (records, mut overlay) = ([Record::new(b"two green plates")], Overlay::default());
    let adding = Command::AddPartitions { stream: orders, count: 2 };
    let groups = to(6, &records);
    for command in [adding, append(orders, 7, &groups)] {
        let (outcome, events) = decided(&state, &overlay, &command);
        assert!(matches!(outcome, Outcome::Accept(_)), "{outcome:?}");
        events.iter().for_each(|event| overlay.foresee(&state, event));
    }
    let refused = refusal(decided(&state, &overlay, &adding).0);
    assert!(matches!(refused, Refusal::InvalidOption { option: "count", .. }), "{refused:?}");
    let (outcome, _) = decided(&state, &overlay, &Command::Create { name: "u", options: Options::default() });
    assert!(matches!(outcome, Outcome::Accept(_)), "another stream may come in the same frame");
}

#[test]
fn the_bytes_of_a_streams_row_stay_as_they_are_whether_it_has_grown_or_not() {
    let (state, orders) = grown();
    let never_grown = [1, b't', 3, 1, 1, 0, 0];
    let row = [1, b's', 1, 2, 2, 0, 0, 4, 3, 0xac, 2];
    assert_eq!(state.row(stream_row(orders.id + 1)), Some(never_grown.to_vec()));
    assert_eq!(state.row(stream_row(orders.id)), Some(row.to_vec()));
}

#[test]
fn rows_with_mappings_that_cannot_be_are_malformed() {
    let (state, orders) = grown();
    let counters = state.row(rows::COUNTERS).unwrap();
    let load = |row: &[u8]| {
        let mut state = reloaded(&[(rows::COUNTERS, counters.clone())]);
        state.load(stream_row(orders.id), row)
    };
    assert!(load(&[1, b's', 1, 2, 2, 0, 0, 4, 3, 0xac, 2]).is_ok());
    let no_mapping: &[u8] = &[1, b's', 1, 2, 0, 0, 0];
    let too_many: &[u8] = &[1, b's', 1, 2, 0x81, 1, 0, 0];
    let one_missing: &[u8] = &[1, b's', 1, 2, 3, 0, 0, 4, 3, 0xac, 2];
    let one_more: &[u8] = &[1, b's', 1, 2, 1, 0, 0, 4, 3, 0xac, 2];
    let logs_of_another_span: &[u8] = &[1, b's', 1, 2, 2, 0, 0, 2, 3, 0xac, 2];
    let earlier_than_the_one_before: &[u8] = &[1, b's', 1, 2, 3, 0, 0, 4, 1, 9, 5, 1, 8];
    let too_wide: &[u8] = &[1, b's', 1, 2, 2, 0, 0, 4, 0xff, 0x1f, 9];
    let logs_never_given: &[u8] = &[1, b's', 1, 2, 2, 0, 0, 4, 4, 9];
    for row in [
        no_mapping,
        too_many,
        one_missing,
        one_more,
        logs_of_another_span,
        earlier_than_the_one_before,
        too_wide,
        logs_never_given,
    ] {
        assert!(load(row).is_err(), "{row:?}");
    }
}
