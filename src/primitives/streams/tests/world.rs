//! Generated histories: frames of several commands through the overlay, the same commands one by one, the events read
//! back and replayed, and the twin must all come to the same.

use super::twin::{Twin, TwinRecord};
use super::*;
use crate::base::level::Level;
use crate::engine::machine::Lookup;

/// splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn bytes(&mut self, below: u64) -> Vec<u8> {
        (0..self.below(below)).map(|_| self.next() as u8).collect()
    }
}

#[derive(Clone, Debug)]
struct PlannedGroup {
    partition: u32,
    expect_offset: Option<u64>,
    records: Vec<TwinRecord>,
}

#[derive(Clone, Debug)]
enum Planned {
    Create { name: String, options: Options, ensure: bool },
    Add { name: String, count: u32 },
    Delete { name: String },
    Append { name: String, groups: Vec<PlannedGroup> },
    Trim { name: String, partition: u32, offset: u64 },
    OpenProducer { name: String, producer: String, expire_after: u64 },
    Produce(PlannedProduce),
}

/// A batch of a producer, which may have been fenced, with the sequences of its groups or without.
#[derive(Clone, Debug)]
struct PlannedProduce {
    name: String,
    producer: String,
    is_fenced: bool,
    groups: Vec<PlannedGroup>,
    sequences: Option<Vec<u64>>,
}

fn plan_record(random: &mut Random) -> TwinRecord {
    let large = random.one_in(40);
    let headers = (0..random.below(3)).map(|_| (format!("h{}", random.below(3)), random.bytes(200))).collect();
    TwinRecord {
        key: random.one_in(2).then(|| random.bytes(20)),
        headers,
        body: (!random.one_in(8)).then(|| random.bytes(if large { 50_000 } else { 60 })),
    }
}

fn plan_options(random: &mut Random) -> Options {
    let mut limit = |up_to| random.one_in(3).then(|| 1 + random.below(up_to));
    let retention = Retention { age_micros: limit(500), bytes: limit(3000), records: limit(30) };
    let level = [None, Some(Level::Sync), Some(Level::Buffered)][random.below(3) as usize];
    Options { partitions: 1 + random.below(3) as u32, retention, level, compaction: None }
}

fn plan(random: &mut Random, twin: &Twin) -> Planned {
    let name = format!("s{}", random.below(5));
    let known = twin.streams.get(&name);
    let partitions = known.map_or(3, |stream| stream.partitions.len().max(3)) as u64;
    let partition = random.below(partitions) as u32;
    let twin_partition = known.and_then(|stream| stream.partitions.get(partition as usize));
    let end = twin_partition.map_or(0, |partition| partition.records.len() as u64);
    match random.below(32) {
        20..=21 => Planned::OpenProducer {
            name,
            producer: format!("p{}", random.below(3)),
            expire_after: 1 + random.below(4000),
        },
        22..=31 => plan_produce(random, twin, name),
        0..=2 => {
            let options = known.filter(|_| random.one_in(2)).map(|stream| stream.options);
            let options = options.unwrap_or_else(|| plan_options(random));
            Planned::Create { name, options, ensure: random.one_in(2) }
        }
        3 => Planned::Delete { name },
        7 => Planned::Add { name, count: random.below(4) as u32 },
        4..=6 => Planned::Trim { name, partition, offset: random.below(end + 3) },
        _ => {
            let groups = (0..1 + random.below(3)).map(|_| PlannedGroup {
                partition: if random.one_in(2) { partition } else { random.below(partitions) as u32 },
                expect_offset: random.one_in(6).then_some(end),
                records: (0..random.below(5) + u64::from(!random.one_in(20))).map(|_| plan_record(random)).collect(),
            });
            Planned::Append { name, groups: groups.collect() }
        }
    }
}

fn plan_produce(random: &mut Random, twin: &Twin, name: String) -> Planned {
    let producer = format!("p{}", random.below(3));
    let known = twin.producers.get(&(name.clone(), producer.clone()));
    let (mut groups, mut sequences) = (Vec::new(), Vec::new());
    for _ in 0..1 + random.below(10) / 8 {
        let partition = random.below(3) as u32;
        let end = known.map_or(0, |known| known.end(partition));
        let batches = known.and_then(|known| known.batches.get(&partition)).map_or(&[][..], Vec::as_slice);
        let (sequence, records) = match random.below(8) {
            0..=2 if !batches.is_empty() => {
                let (sequence, records, _) =
                    batches[batches.len() - 1 - random.below(batches.len().min(7) as u64) as usize];
                (sequence, u64::from(records) + u64::from(random.one_in(10)))
            }
            3 => (end + random.below(3), 1 + random.below(3)),
            _ => (end, random.below(4) + u64::from(!random.one_in(20))),
        };
        let expect_offset = random.one_in(40).then_some(0);
        let records = (0..records).map(|_| plan_record(random)).collect();
        groups.push(PlannedGroup { partition, expect_offset, records });
        sequences.push(sequence);
    }
    let sequences = (!random.one_in(4)).then_some(sequences);
    Planned::Produce(PlannedProduce { name, producer, is_fenced: random.one_in(20), groups, sequences })
}

/// What a reply says, without what only one of two states knows.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Said {
    Stream(u64),
    Deleted,
    Ranges(Vec<(u32, u64, u32)>),
    Start(u64),
    Mapping(u32, u32),
    Producer(u64, u64),
    Duplicate(Vec<(u32, u64, u32)>),
    Refused,
}

fn said(outcome: &Outcome) -> Said {
    match outcome {
        Outcome::Refuse { .. } => Said::Refused,
        Outcome::Accept(reply) | Outcome::Unchanged { reply, .. } => match reply {
            Reply::Stream(handle) => Said::Stream(handle.id),
            Reply::Deleted => Said::Deleted,
            Reply::Appended(ranges) => Said::Ranges(ranges_of(ranges)),
            Reply::Duplicate { ranges, .. } => Said::Duplicate(ranges_of(ranges)),
            Reply::Producer(ProducerHandle { number, epoch }) => Said::Producer(*number, *epoch),
            Reply::Trimmed { start } => Said::Start(*start),
            Reply::Extended { epoch, partitions } => Said::Mapping(*epoch, *partitions),
            Reply::Expired | Reply::Groups(_) => unreachable!("not planned"),
        },
        Outcome::Needs(lookup) => unreachable!("{lookup:?} was answered"),
    }
}

fn ranges_of(ranges: &Ranges) -> Vec<(u32, u64, u32)> {
    ranges.iter().map(|range| (range.partition, range.first_offset, range.records)).collect()
}

/// The twin's answer to a batch of a producer; `None` is a refusal. A batch is looked at group by group, as far as it
/// is new on a copy.
fn expected_of_producer(twin: &mut Twin, planned: &PlannedProduce, now: u64) -> Option<Said> {
    let key = (planned.name.clone(), planned.producer.clone());
    let before = twin.producers.get(&key).filter(|_| !planned.is_fenced)?.clone();
    let mut stream = twin.streams.get(&planned.name)?.clone();
    let (mut producer, mut new, mut known) = (before.clone(), Vec::new(), Vec::new());
    for (at, group) in planned.groups.iter().enumerate() {
        let partition = stream.partitions.get_mut(group.partition as usize)?;
        let (end, records) = (producer.end(group.partition), group.records.len() as u32);
        if records == 0 || group.expect_offset.is_some() {
            return None;
        }
        let sequence = planned.sequences.as_ref().map_or(end, |sequences| sequences[at]);
        let remembered = before.window(group.partition).iter().find(|batch| (batch.0, batch.1) == (sequence, records));
        if let Some((_, records, offset)) = remembered.filter(|_| sequence != end) {
            known.push((group.partition, *offset, *records));
            continue;
        }
        let offset = partition.records.len() as u64;
        group.records.iter().for_each(|record| partition.append(now, record.clone()));
        producer.batches.entry(group.partition).or_default().push((sequence, records, offset));
        new.push((group.partition, offset, records));
        if sequence != end {
            return None;
        }
    }
    if known.is_empty() {
        producer.last_used = now;
        twin.streams.insert(planned.name.clone(), stream);
        twin.producers.insert(key, producer);
        return Some(Said::Ranges(new));
    }
    new.is_empty().then_some(Said::Duplicate(known))
}

/// The twin's answer to a planned command.
fn expected(twin: &mut Twin, planned: &Planned, now: u64, lsn: Lsn) -> Said {
    match planned {
        Planned::Create { name, options, ensure } => {
            twin.create(name, *options, *ensure).map_or(Said::Refused, Said::Stream)
        }
        Planned::Add { name, count } => twin.add(name, *count, lsn).map_or(Said::Refused, |(e, p)| Said::Mapping(e, p)),
        Planned::OpenProducer { name, producer, expire_after } => twin
            .open(name, producer, *expire_after, now)
            .map_or(Said::Refused, |(number, epoch)| Said::Producer(number, epoch)),
        Planned::Produce(planned) => expected_of_producer(twin, planned, now).unwrap_or(Said::Refused),
        Planned::Delete { name } => twin.delete(name).map_or(Said::Refused, |_| Said::Deleted),
        Planned::Trim { name, partition, offset } => {
            let stream = twin.streams.get_mut(name);
            let Some(partition) = stream.and_then(|stream| stream.partitions.get_mut(*partition as usize)) else {
                return Said::Refused;
            };
            partition.start = partition.start.max((*offset as usize).min(partition.records.len()));
            Said::Start(partition.start as u64)
        }
        Planned::Append { name, groups } => {
            let Some(stream) = twin.streams.get_mut(name) else { return Said::Refused };
            let mut ranges = Vec::new();
            for group in groups {
                let Some(partition) = stream.partitions.get_mut(group.partition as usize) else {
                    return Said::Refused;
                };
                let end = partition.records.len() as u64;
                if group.records.is_empty() || group.expect_offset.is_some_and(|offset| offset != end) {
                    return Said::Refused;
                }
                ranges.push((group.partition, end, group.records.len() as u32));
                group.records.iter().for_each(|record| partition.append(now, record.clone()));
            }
            Said::Ranges(ranges)
        }
    }
}

/// Decides a planned command, answering lookups from what was stored before the frame.
fn decide_planned(
    state: &State,
    overlay: &Overlay,
    planned: &Planned,
    now: u64,
    stored: &Twin,
    mut take: impl FnMut(&Event<'_>),
) -> Outcome {
    let mut with = |command: &Command<'_>| {
        let mut known = Known::default();
        for _ in 0..4 {
            let (outcome, events) = decide_at(state, overlay, command, at(now), &known);
            let Outcome::Needs(lookup) = outcome else {
                events.iter().for_each(&mut take);
                return outcome;
            };
            known.add(lookup, answer(stored, &lookup));
        }
        panic!("{command:?} asks without end");
    };
    let found = |name: &str| overlay::View::new(state, overlay).find(name);
    let gone = StreamHandle { slot: 0, id: 1 << 40 };
    match planned {
        Planned::Create { name, options, ensure: false } => with(&Command::Create { name, options: *options }),
        Planned::Create { name, options, ensure: true } => with(&Command::Ensure { name, options: *options }),
        Planned::Add { name, count } => {
            let stream = found(name).map_or(gone, |(handle, _)| handle);
            with(&Command::AddPartitions { stream, count: *count })
        }
        Planned::Delete { name } => with(&Command::Delete { name }),
        Planned::Trim { name, partition, offset } => {
            let stream = found(name).map_or(gone, |(handle, _)| handle);
            with(&Command::TrimBefore { stream, partition: *partition, offset: *offset })
        }
        Planned::Append { name, groups } => {
            let (stream, mapping_partitions) = found(name).map_or((gone, 1), |(h, head)| (h, head.partitions()));
            with_groups(groups, |groups| with(&Command::Append(Append { stream, mapping_partitions, groups })))
        }
        Planned::OpenProducer { name, producer, expire_after } => {
            let stream = found(name).map_or(gone, |(handle, _)| handle);
            with(&Command::OpenProducer { stream, name: producer, expire_after_micros: *expire_after })
        }
        Planned::Produce(PlannedProduce { name, producer, is_fenced, groups, sequences }) => {
            let (stream, mapping_partitions) = found(name).map_or((gone, 1), |(h, head)| (h, head.partitions()));
            let producers = overlay::View::new(state, overlay).producers();
            let number = producers.find(stream.id, producer).unwrap_or(u64::MAX);
            let epoch = producers.get(number).map_or(0, |producer| producer.epoch);
            let epoch = if *is_fenced { epoch.checked_sub(1).unwrap_or(7) } else { epoch };
            with_groups(groups, |groups| {
                let append = Append { stream, mapping_partitions, groups };
                let producer = ProducerHandle { number, epoch };
                with(&Command::Produce(Produce { append, producer, sequences: sequences.as_deref() }))
            })
        }
    }
}

fn with_groups<T>(groups: &[PlannedGroup], call: impl FnOnce(&[Group<'_>]) -> T) -> T {
    let headers = groups.iter().map(|group| group.records.iter().map(header_list).collect());
    let headers: Vec<Vec<Vec<Header<'_>>>> = headers.collect();
    let records: Vec<Vec<Record<'_>>> = groups
        .iter()
        .zip(&headers)
        .map(|(group, headers)| {
            let of = |(record, headers)| borrowed(record, headers);
            group.records.iter().zip(headers).map(of).collect()
        })
        .collect();
    let groups: Vec<Group<'_>> = groups
        .iter()
        .zip(&records)
        .map(|(g, records)| Group { partition: g.partition, expect_offset: g.expect_offset, records })
        .collect();
    call(&groups)
}

fn header_list(record: &TwinRecord) -> Vec<Header<'_>> {
    record.headers.iter().map(|(name, value)| Header { name, value }).collect()
}

fn borrowed<'a>(record: &'a TwinRecord, headers: &'a Vec<Header<'a>>) -> Record<'a> {
    Record { key: record.key.as_deref(), headers, body: record.body.as_deref() }
}

fn answer(stored: &Twin, lookup: &Lookup) -> crate::engine::machine::Stretch {
    stored.partition_of_log(lookup.log).expect("a lookup of a log that exists").stretch(lookup)
}

/// The state after `planned`, one by one, on a copy.
fn one_by_one(state: &State, planned: &[Planned], now: u64, lsn: Lsn, stored: &Twin) -> (Vec<Said>, State) {
    let mut copy = reloaded(&all_rows(state));
    let mut twin = stored.clone();
    let mut all = Vec::new();
    for planned in planned {
        let mut events = Vec::new();
        let take = |event: &Event<'_>| events.push(encoded(event));
        let outcome = decide_planned(&copy, &Overlay::default(), planned, now, &twin, take);
        events.iter().for_each(|event| copy.apply(&Event::decode(event).expect("an event that was written"), lsn));
        expected(&mut twin, planned, now, lsn);
        all.push(said(&outcome));
    }
    (all, copy)
}

/// One frame: decided with an overlay, applied if nothing refused.
fn frame(state: &mut State, replayed: &mut State, twin: &mut Twin, planned: &[Planned], now: u64, lsn: Lsn) {
    let before = all_rows(state);
    let (mut overlay, mut after) = (Overlay::default(), twin.clone());
    let (mut all, mut events) = (Vec::new(), Vec::new());
    for planned in planned {
        let first = events.len();
        let take = |event: &Event<'_>| events.push(encoded(event));
        let outcome = decide_planned(state, &overlay, planned, now, twin, take);
        if matches!(
            &outcome,
            Outcome::Refuse { refusal: Refusal::InvalidOption { option: "offset" | "count", .. }, .. }
        ) {
            return;
        }
        assert_eq!(said(&outcome), expected(&mut after, planned, now, lsn), "{planned:?}");
        if said(&outcome) == Said::Refused {
            assert_eq!(events.len(), first, "a refusal has no events");
            assert_eq!(all_rows(state), before, "a dropped overlay leaves nothing");
            return;
        }
        all.push(said(&outcome));
        for event in &events[first..] {
            overlay.foresee(state, &Event::decode(event).expect("an event that was written"));
        }
    }
    let (said_one_by_one, copy) = one_by_one(state, planned, now, lsn, twin);
    assert_eq!(all_rows(state), before, "foreseeing changes nothing");
    let mut touched = Vec::new();
    for bytes in &events {
        let event = Event::decode(bytes).expect("an event that was written");
        assert_eq!(&encoded(&event), bytes);
        assert_reads_as(bytes, &after);
        event.touches(&mut |key| touched.push(key));
        state.apply(&event, lsn);
        replayed.apply(&event, lsn);
    }
    *twin = after;
    twin.assert_agrees(state);
    assert_eq!((said_one_by_one, all_rows(&copy)), (all, all_rows(state)));
    assert_touched(&before, state, &touched);
}

/// Rows that differ were named. A partition without a row is empty.
fn assert_touched(before: &[(RowKey, Vec<u8>)], state: &State, touched: &[RowKey]) {
    let mut stored: std::collections::BTreeMap<RowKey, Vec<u8>> = before.iter().cloned().collect();
    for key in touched {
        match state.row(*key) {
            Some(row) => drop(stored.insert(*key, row)),
            None => drop(stored.remove(key)),
        }
    }
    let stored: Vec<_> = stored.into_iter().collect();
    assert_eq!(all_rows(&reloaded(&stored)), all_rows(state), "rows that are written make the state again");
}

/// An item's records are the twin's.
fn assert_reads_as(item: &[u8], twin: &Twin) {
    let Ok((entry, records)) = read_item(item) else { return };
    let Some(partition) = twin.partition_of_log(entry.log) else { return };
    let mut count = 0;
    for record in records {
        let record = record.expect("a record that was written");
        let (time, twin_record) = &partition.records[record.offset as usize];
        let headers: Result<Vec<_>, _> =
            headers(record.header_block).map(|h| h.map(|h| (h.name.to_owned(), h.value.to_vec()))).collect();
        let (key, body) = (record.key.map(<[u8]>::to_vec), record.body.map(<[u8]>::to_vec));
        assert_eq!(TwinRecord { key, headers: headers.unwrap(), body }, *twin_record);
        assert_eq!(entry.timestamp.0, *time);
        count += 1;
    }
    assert_eq!(count, entry.count);
}

/// Runs the ticks of every partition until none is due, at most a bounded number of times.
fn tick_all(state: &mut State, twin: &mut Twin, now: u64) {
    let mut keys = Vec::new();
    state.logs(&mut |log, _, _| keys.extend(state.log_timer(log).map(|timer| timer.key)));
    for key in keys {
        for _ in 0..40 {
            let due = state.next_due(key);
            if due.is_none_or(|due| matches!(due, Due::At(at) if at.0 > now)) {
                break;
            }
            let Some(log) = log_of_row(key) else {
                let outcome = run(state, &tick(key).expect("a timer's key"), at(now));
                assert_eq!(outcome, Outcome::Accept(Reply::Expired), "a due producer goes");
                continue;
            };
            let mut known = Known::default();
            let events = loop {
                let command = Command::Expire { log };
                match decide_at(state, &Overlay::default(), &command, at(now), &known) {
                    (Outcome::Needs(lookup), _) => known.add(lookup, answer(twin, &lookup)),
                    (outcome, events) => {
                        assert_eq!(outcome, Outcome::Accept(Reply::Expired), "a due tick does something");
                        break events;
                    }
                }
            };
            events.iter().for_each(|event| state.apply(event, FRAME));
            let start = state.log_start(log).unwrap() as usize;
            twin.streams.values_mut().for_each(|stream| {
                if let Some(index) = stream.logs.iter().position(|of| *of == log.0) {
                    let partition = &mut stream.partitions[index];
                    partition.expire(&stream.options.retention, now);
                    assert!(start <= partition.start, "retention takes no more than the limits ask for");
                }
            });
        }
    }
    twin.expire_producers(now);
    for stream in twin.streams.values_mut() {
        stream.partitions.iter_mut().for_each(|partition| partition.expire(&stream.options.retention, now));
    }
    twin.assert_agrees(state);
}

#[test]
fn frames_single_commands_replay_checkpoints_and_the_naive_twin_agree() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let (mut state, mut replayed, mut twin) = (State::default(), State::default(), Twin::new());
        let mut now = 1_000_000;
        for step in 0..120 {
            now = if random.one_in(10) { now - random.below(50) } else { now + random.below(100) };
            let planned: Vec<_> = (0..1 + random.below(4)).map(|_| plan(&mut random, &twin)).collect();
            frame(&mut state, &mut replayed, &mut twin, &planned, now, Lsn(8 * (1 + step)));
            assert_eq!(all_rows(&replayed), all_rows(&state));
            if random.one_in(6) {
                tick_all(&mut state, &mut twin, now);
                replayed = reloaded(&all_rows(&state));
            }
            if step % 30 == 29 {
                state = reloaded(&all_rows(&state));
                twin.assert_agrees(&state);
            }
        }
    }
}
