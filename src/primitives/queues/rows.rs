//! The rows of the checkpoint.
//!
//! Integers are varints unless a width is named; `options` as in `options.rs`.
//!
//! | kind | id                  | row                                                                     |
//! |------|---------------------|-------------------------------------------------------------------------|
//! | 48   | 0                   | counters: next queue · next log · next exchange · boot id 16 ·          |
//! |      |                     | time namespace u64 · next consumer                                      |
//! | 49   | queue               | notes' log · u8 (1 paused, 2 retired) · options · slice(name)           |
//! | 50   | queue               | its notes: start · end · last timestamp                                 |
//! | 51   | lane                | queue · priority u8 · log · start · cursor · end · last timestamp ·     |
//! |      |                     | bytes                                                                   |
//! | 52   | lane · sequence/32  | per message that is not simply in line or gone: place u8 · state u8 ·   |
//! |      |                     | flags u8 · fields                                                       |
//! | 53   | exchange            | see `exchanges/rows.rs`                                                 |
//! | 54   | binding             | see `exchanges/rows.rs`                                                 |
//! | 55   | 0                   | none: where publishes go, by all exchanges and bindings                  |
//! | 57   | queue               | none: what has news when consumers have reason to look                  |
//! | 58   | log                 | none: the timer of a queue by the wall clock                            |
//! | 59   | log                 | none: the timer of a queue by the boot clock                            |
//! | 56   | log                 | none: the timer of all schedules                                        |
//! | 60   | schedule            | see `schedules/rows.rs`                                                 |
//! | 61   |                     | see `dedup/rows.rs`; so are 62 and 63                                   |
//! | 64   | consumer            | see `consumers/mod.rs`                                                  |
//! | 65   | consumer            | none: what changes when a consumer has room again                       |
//!
//! A message's state is 0 in line, 1 ready, 2 in flight, 3 backoff, 4 delayed, 5 dead, 6 gone; its flags and fields: 1
//! time, 2 group u64, 4 tracked (acquired · failed · max attempts · u8 (1 suspect) · holder · until · pause · ttl ·
//! deadline · first note · last note · taker · handed), 8 death (reason u8 · when · failed · u8 (1 leaves) · first
//! note · last note). The lane of a row stands above the 43 bits of the rest.

use super::chunk::{Chunk, Death, Tracked, bit};
use super::command::{Holder, Place, QueueNumber, Reason};
use super::consumers::{KIND_CONSUMER, Taker};
use super::dedup::{KIND_OF_EXCHANGE, KIND_OF_QUEUE};
use super::event::take_bool;
use super::exchanges::{KIND_BINDING, KIND_EXCHANGE};
use super::lane::{Lane, LaneNumber};
use super::message::GroupHash;
use super::options::Options;
use super::queue::{Notes, Queue};
use super::routing::Destination;
use super::schedules::KIND_SCHEDULE;
use super::state::{Counters, FIRST_LOG, State};
use crate::base::bounds::{LANES_MAX, MESSAGES_PER_CHUNK, MESSAGES_PER_ROW, PRIORITIES, ROW_BYTES_MAX, SEQUENCE_BITS};
use crate::base::codec::{Malformed, Put, Take};
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::sync::Arc;
use crate::base::time::{BootTime, ClockIdentity, Timestamp};

const KIND_COUNTERS: u8 = 48;
const KIND_QUEUE: u8 = 49;
const KIND_NOTES: u8 = 50;
const KIND_LANE: u8 = 51;
const KIND_MESSAGES: u8 = 52;
const KIND_NEWS: u8 = 57;
pub(super) const KIND_WALL: u8 = 58;
pub(super) const KIND_BOOT: u8 = 59;

/// Bits of a row's id below those of its lane.
const ROW_BITS: u32 = SEQUENCE_BITS - MESSAGES_PER_ROW.ilog2();

const TIME: u8 = 1;
const GROUP: u8 = 2;
const TRACKED: u8 = 4;
const DEATH: u8 = 8;

/// Bytes of a message in a row at most.
const MESSAGE_BYTES_MAX: usize = 3 + 9 + 8 + (3 * 5 + 1 + 9 + 10 + 9 + 9 + 10 + 4 * 10);

const _: () = assert!(MESSAGE_BYTES_MAX * MESSAGES_PER_ROW as usize <= ROW_BYTES_MAX);

pub(crate) const COUNTERS: RowKey = RowKey { kind: KIND_COUNTERS, id: 0 };

pub(crate) fn queue_row(queue: QueueNumber) -> RowKey {
    RowKey { kind: KIND_QUEUE, id: u64::from(queue.0) }
}

pub(super) fn notes_row(queue: QueueNumber) -> RowKey {
    RowKey { kind: KIND_NOTES, id: u64::from(queue.0) }
}

pub(super) fn lane_row(lane: LaneNumber) -> RowKey {
    RowKey { kind: KIND_LANE, id: u64::from(lane.0) }
}

/// What changes when consumers of a queue have reason to look. It has no row.
pub(crate) fn news_row(queue: QueueNumber) -> RowKey {
    RowKey { kind: KIND_NEWS, id: u64::from(queue.0) }
}

/// The row that a message stands in.
pub(super) fn message_row(place: Place) -> RowKey {
    RowKey { kind: KIND_MESSAGES, id: (u64::from(place.lane.0) << ROW_BITS) | (place.offset / MESSAGES_PER_ROW) }
}

/// The rows that a chunk stands in.
pub(super) fn chunk_rows(lane: LaneNumber, chunk: u64) -> impl Iterator<Item = RowKey> {
    let first = chunk * MESSAGES_PER_CHUNK;
    let offsets = (first..first + MESSAGES_PER_CHUNK).step_by(MESSAGES_PER_ROW as usize);
    offsets.map(move |offset| message_row(Place { lane, offset }))
}

impl State {
    /// A row as the object stands now; `None` if the object is gone.
    pub(crate) fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        let mut row = Row::default();
        match key.kind {
            KIND_COUNTERS => {
                row.varints([u64::from(self.counters.queue), self.counters.log, u64::from(self.exchanges.next)]);
                row.0.extend_from_slice(&self.clock.boot_id);
                row.0.extend_from_slice(&self.clock.time_namespace.to_le_bytes());
                row.varints([self.consumers.next]);
            }
            KIND_QUEUE => {
                let queue = self.queues.get(&number_of(key)?)?;
                row.varints([queue.notes.log.0]);
                row.0.push(u8::from(queue.is_paused) | u8::from(queue.is_retired) << 1);
                row.put(queue.options.encoded_len(), |out| queue.options.encode(out));
                row.varints([queue.name.len() as u64]);
                row.0.extend_from_slice(queue.name.as_bytes());
            }
            KIND_NOTES => {
                let Notes { start, end, last_timestamp, .. } = &self.queues.get(&number_of(key)?)?.notes;
                row.varints([*start, *end, last_timestamp.0]);
            }
            KIND_LANE => {
                let (queue, lane) = self.lane(LaneNumber(u32::try_from(key.id).ok()?))?;
                row.varints([u64::from(queue.number.0)]);
                row.0.push(lane.priority);
                row.varints([lane.log.0, lane.start, lane.cursor, lane.end, lane.last_timestamp.0, lane.bytes]);
            }
            KIND_MESSAGES => {
                let (_, lane) = self.lane(LaneNumber(u32::try_from(key.id >> ROW_BITS).ok()?))?;
                let first = (key.id & ((1 << ROW_BITS) - 1)) * MESSAGES_PER_ROW;
                let chunk = lane.chunk(first)?;
                (first..first + MESSAGES_PER_ROW).for_each(|offset| put_message(lane, chunk, offset, &mut row));
            }
            KIND_EXCHANGE | KIND_BINDING => return self.exchanges.row(key),
            KIND_OF_QUEUE | KIND_OF_EXCHANGE => return self.row_of_ids(key),
            KIND_SCHEDULE => return self.schedules.row(key),
            KIND_CONSUMER => return self.consumers.row(key),
            _ => return None,
        }
        (!row.0.is_empty()).then_some(row.0)
    }

    /// Every row that there is, in the order of keys.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> Vec<(RowKey, Vec<u8>)> {
        let mut keys = vec![COUNTERS];
        for queue in self.queues.values() {
            keys.extend([queue_row(queue.number), notes_row(queue.number)]);
            for lane in queue.lanes() {
                keys.push(lane_row(lane.number));
                keys.extend(lane.chunks.keys().flat_map(|number| chunk_rows(lane.number, *number)));
            }
        }
        keys.extend(self.exchanges.keys());
        keys.extend(self.keys_of_ids());
        keys.extend(self.schedules.keys());
        keys.extend(self.consumers.keys());
        keys.sort_unstable();
        keys.into_iter().filter_map(|key| Some((key, self.row(key)?))).collect()
    }

    /// Every message that there is, with the log that it lies in, dead or alive.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> Vec<(LogId, u64)> {
        let lanes = self.queues.values().filter(|queue| !queue.is_retired).flat_map(Queue::lanes);
        let of_lane =
            |lane: &Lane| (lane.start..lane.end).filter(|offset| lane.has(*offset)).map(|o| (lane.log, o)).collect();
        lanes.flat_map(|lane| -> Vec<(LogId, u64)> { of_lane(lane) }).collect()
    }

    fn lane(&self, lane: LaneNumber) -> Option<(&Queue, &Lane)> {
        let queue = self.queues.get(self.lanes.get(&lane)?)?;
        Some((queue, queue.lane(lane)?))
    }

    /// Takes a row back. Rows come in the order of their keys.
    pub(crate) fn load(&mut self, key: RowKey, row: &[u8]) -> Result<(), Malformed> {
        let mut take = Take::new(row);
        match key.kind {
            KIND_COUNTERS => {
                self.counters = Counters { queue: take.varint32()?, log: take.varint()? };
                Arc::make_mut(&mut self.exchanges).next = take.varint32()?;
                self.clock = ClockIdentity { boot_id: take.array()?, time_namespace: take.u64()? };
                Arc::make_mut(&mut self.consumers).next = take.varint()?;
                if self.counters.log < FIRST_LOG {
                    return Err(Malformed("a log of queues among those of streams"));
                }
            }
            KIND_QUEUE => self.load_queue(number_of(key).ok_or(Malformed("no queue's number"))?, &mut take)?,
            KIND_NOTES => {
                let queue = number_of(key).and_then(|queue| self.queues.get_mut(&queue));
                let notes = &mut queue.ok_or(Malformed("notes without their queue"))?.notes;
                (notes.start, notes.end) = (take.varint()?, take.varint()?);
                notes.last_timestamp = Timestamp(take.varint()?);
                if notes.start > notes.end {
                    return Err(Malformed("notes that end before they start"));
                }
            }
            KIND_LANE => self.load_lane(key, &mut take)?,
            KIND_MESSAGES => return self.load_messages(key, take),
            KIND_EXCHANGE | KIND_BINDING => Arc::make_mut(&mut self.exchanges).load(key, &mut take)?,
            KIND_OF_QUEUE | KIND_OF_EXCHANGE => self.load_ids(key, &mut take)?,
            KIND_SCHEDULE => {
                let schedules = Arc::make_mut(&mut self.schedules);
                schedules.load(key, &mut take)?;
                let is_free = |log: LogId| log.0 < self.counters.log && !self.logs.contains_key(&log);
                if !schedules.log.is_some_and(|log| log.0 >= FIRST_LOG && is_free(log)) {
                    return Err(Malformed("schedules with the log of another"));
                }
            }
            KIND_CONSUMER => Arc::make_mut(&mut self.consumers).load(key, &mut take)?,
            _ => return Err(Malformed("a row of no kind that queues have")),
        }
        take.end()
    }

    fn load_queue(&mut self, number: QueueNumber, take: &mut Take<'_>) -> Result<(), Malformed> {
        let (notes, flags) = (LogId(take.varint()?), take.u8()?);
        let (options, name) = (Options::decode(take)?, take.text()?);
        let is_known = number.0 < self.counters.queue && (FIRST_LOG..self.counters.log).contains(&notes.0);
        if !is_known || flags > 3 || self.logs.insert(notes, (number, None)).is_some() {
            return Err(Malformed("a queue with a number that was never given"));
        }
        let mut queue = Queue::new(number, name, notes, options);
        (queue.is_paused, queue.is_retired) = (flags & 1 != 0, flags & 2 != 0);
        if queue.is_retired {
            self.retired.insert(number);
            Arc::make_mut(&mut self.exchanges).retire(Destination::Queue(number));
        } else if self.names.insert(name.into(), number).is_some() {
            return Err(Malformed("two queues of one name"));
        }
        self.queues.insert(number, queue);
        Ok(())
    }

    fn load_lane(&mut self, key: RowKey, take: &mut Take<'_>) -> Result<(), Malformed> {
        let number = u32::try_from(key.id).ok().filter(|number| (*number as usize) < LANES_MAX).map(LaneNumber);
        let number = number.ok_or(Malformed("a lane beyond the last"))?;
        let (queue, priority, log) = (QueueNumber(take.varint32()?), take.u8()?, LogId(take.varint()?));
        let mut lane = Lane::new(number, priority, log);
        (lane.start, lane.cursor, lane.end) = (take.varint()?, take.varint()?, take.varint()?);
        (lane.last_timestamp, lane.bytes) = (Timestamp(take.varint()?), take.varint()?);
        let is_in_order = lane.start <= lane.cursor && lane.cursor <= lane.end && lane.end >> SEQUENCE_BITS == 0;
        let is_known = (FIRST_LOG..self.counters.log).contains(&log.0) && !self.logs.contains_key(&log);
        let found = self.queues.get_mut(&queue).filter(|queue| queue.lane_of_priority(priority).is_none());
        let found = found.filter(|_| is_in_order && is_known && priority < PRIORITIES);
        found.ok_or(Malformed("a lane that cannot be"))?.live += lane.end - lane.cursor;
        self.take_lane(queue, lane);
        Ok(())
    }

    fn load_messages(&mut self, key: RowKey, mut take: Take<'_>) -> Result<(), Malformed> {
        let lane =
            u32::try_from(key.id >> ROW_BITS).map(LaneNumber).map_err(|_| Malformed("a lane beyond the last"))?;
        let first = (key.id & ((1 << ROW_BITS) - 1)) * MESSAGES_PER_ROW;
        let queue = self.lanes.get(&lane).and_then(|queue| self.queues.get_mut(queue));
        let queue = queue.ok_or(Malformed("messages without their lane"))?;
        let at = queue.lane_at(lane).expect("it is the queue of this lane");
        let shared = &mut self.shared;
        while take.remaining() > 0 {
            let offset = first + u64::from(take.u8()?);
            let is_within = (queue.lanes[at].start..queue.lanes[at].end).contains(&offset);
            if offset >= first + MESSAGES_PER_ROW || !is_within {
                return Err(Malformed("a message beyond its lane or its row"));
            }
            load_message(queue, at, offset, &mut take, shared)?;
        }
        queue.refresh(at, first / MESSAGES_PER_CHUNK, shared);
        Ok(())
    }
}

fn number_of(key: RowKey) -> Option<QueueNumber> {
    u32::try_from(key.id).ok().map(QueueNumber)
}

#[derive(Default)]
struct Row(Vec<u8>);

impl Row {
    fn varints<const N: usize>(&mut self, values: [u64; N]) {
        self.put(values.iter().map(|value| crate::base::codec::varint_len(*value)).sum(), |out| out.varints(values));
    }

    fn put(&mut self, len: usize, fill: impl FnOnce(&mut Put<'_>)) {
        let at = self.0.len();
        self.0.resize(at + len, 0);
        let mut out = Put::new(&mut self.0[at..]);
        fill(&mut out);
        assert_eq!(out.remaining(), 0, "a row is as long as was foretold");
    }
}

fn put_message(lane: &Lane, chunk: &Chunk, offset: u64, row: &mut Row) {
    let bit = bit(offset);
    let states = [chunk.ready, chunk.flying, chunk.backoff, chunk.delayed, chunk.dead, chunk.gone];
    let state = states.iter().position(|mask| mask & bit != 0).map_or(0, |at| at as u8 + 1);
    let (time, group, tracked) = (chunk.time(bit), chunk.group(bit), chunk.tracked(bit));
    let is_passed = offset < lane.cursor && (state == 0 || state == 6);
    if is_passed || (state == 0 && time.is_none() && tracked.is_none()) {
        return;
    }
    let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    let flags = flag(time.is_some(), TIME)
        | flag(group.is_some(), GROUP)
        | flag(tracked.is_some(), TRACKED)
        | flag(chunk.death(bit).is_some(), DEATH);
    row.0.extend_from_slice(&[(offset % MESSAGES_PER_ROW) as u8, state, flags]);
    time.into_iter().for_each(|time| row.varints([time.0]));
    group.into_iter().for_each(|group| row.0.extend_from_slice(&group.0.to_le_bytes()));
    if let Some(tracked) = tracked {
        row.varints([tracked.acquired, tracked.failed, tracked.max_attempts].map(u64::from));
        row.0.push(u8::from(tracked.is_suspect));
        row.varints([tracked.holder, tracked.until.0, tracked.pause_micros, tracked.ttl_micros, tracked.deadline]);
        row.varints([tracked.first_note, tracked.last_note, tracked.taker.0, tracked.handed]);
    }
    if let Some(death) = chunk.death(bit) {
        row.0.push(death.reason as u8);
        row.varints([death.at.0, u64::from(death.failed), u64::from(death.leaves), death.first_note, death.last_note]);
    }
}

fn load_message(
    queue: &mut Queue,
    at: usize,
    offset: u64,
    take: &mut Take<'_>,
    shared: &mut super::queue::Shared,
) -> Result<(), Malformed> {
    let (state, flags, bit) = (take.u8()?, take.u8()?, bit(offset));
    let has = |flag: u8| flags & flag != 0;
    let time = if has(TIME) { Some(Timestamp(take.varint()?)) } else { None };
    let group = if has(GROUP) { Some(GroupHash(take.u64()?)) } else { None };
    let tracked = if has(TRACKED) { Some(take_tracked(take)?) } else { None };
    let death = if has(DEATH) { Some(take_death(take)?) } else { None };
    let is_ahead = offset >= queue.lanes[at].cursor;
    let fits = match state {
        0 => is_ahead && group.is_none(),
        1 => true,
        2 | 3 => tracked.is_some(),
        4 => time.is_some(),
        5 => death.is_some() && time.is_none() && group.is_none() && tracked.is_none(),
        6 => is_ahead && flags == 0,
        _ => false,
    };
    let chunk = queue.chunk_mut(at, offset / MESSAGES_PER_CHUNK, shared);
    if !fits || (state != 5 && death.is_some()) || flags > 15 || (chunk.exceptions() | chunk.expiring) & bit != 0 {
        return Err(Malformed("a message in a state that cannot be"));
    }
    let mask = [&mut chunk.ready, &mut chunk.flying, &mut chunk.backoff];
    if let Some(mask) = mask.into_iter().nth(usize::from(state).wrapping_sub(1)) {
        *mask |= bit;
    }
    match state {
        4 => chunk.set_due(bit, time.expect("a delayed message has a time")),
        6 => chunk.gone |= bit,
        _ => chunk.set_expiry(bit, time),
    }
    if let Some(tracked) = tracked {
        *chunk.track(bit) = tracked;
    }
    if let Some(death) = death {
        chunk.die(bit, death);
    }
    if let Some(group) = group {
        chunk.set_group(bit, group);
    }
    enter_loaded(queue, at, offset, state, group, shared, tracked.as_ref(), death.as_ref())
}

/// What is derived of a message that was loaded.
#[expect(clippy::too_many_arguments, reason = "the parts of one message, as they were read")]
fn enter_loaded(
    queue: &mut Queue,
    at: usize,
    offset: u64,
    state: u8,
    group: Option<GroupHash>,
    shared: &mut super::queue::Shared,
    tracked: Option<&Tracked>,
    death: Option<&Death>,
) -> Result<(), Malformed> {
    let is_ahead = offset >= queue.lanes[at].cursor;
    let is_live = (1..=4).contains(&state);
    queue.live += u64::from(is_live);
    queue.live -= u64::from(is_ahead && state != 0);
    if state == 2
        && let Some(tracked) = tracked
    {
        let held = shared.held.entry(Holder(tracked.holder)).or_default();
        held.messages += 1;
        held.suspects += u32::from(tracked.is_suspect);
        shared.take(tracked.taker, 1);
    }
    let first_note = tracked.map_or(0, |tracked| tracked.first_note).max(death.map_or(0, |death| death.first_note));
    if first_note > 0 {
        if first_note > queue.notes.end {
            return Err(Malformed("a note that was never made"));
        }
        queue.notes.firsts.insert(first_note - 1);
    }
    if death.is_some_and(|death| death.leaves) {
        queue.leaving.insert(Place { lane: queue.lanes[at].number, offset });
    }
    if let Some(group) = group {
        let lane = queue.lanes[at].number;
        if queue.lane_of_group(group).is_some_and(|other| other != lane) {
            return Err(Malformed("a group in two lanes"));
        }
        queue.enter_group(at, offset, group, state == 4);
        if state == 2 {
            queue.set_group_flying(group, true);
        }
    }
    Ok(())
}

fn take_tracked(take: &mut Take<'_>) -> Result<Tracked, Malformed> {
    Ok(Tracked {
        acquired: take.varint32()?,
        failed: take.varint32()?,
        max_attempts: take.varint32()?,
        is_suspect: take_bool(take)?,
        holder: take.varint()?,
        until: BootTime(take.varint()?),
        pause_micros: take.varint()?,
        ttl_micros: take.varint()?,
        deadline: take.varint()?,
        first_note: take.varint()?,
        last_note: take.varint()?,
        taker: Taker(take.varint()?),
        handed: take.varint()?,
    })
}

fn take_death(take: &mut Take<'_>) -> Result<Death, Malformed> {
    Ok(Death {
        reason: Reason::decode(take)?,
        at: Timestamp(take.varint()?),
        failed: take.varint32()?,
        leaves: take_bool(take)?,
        first_note: take.varint()?,
        last_note: take.varint()?,
    })
}
