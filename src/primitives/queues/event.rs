//! Decided facts, and their bytes.
//!
//! Integers are varints unless a width is named. `runs` is `count · per run lane · first · count`. `options` as in
//! `options.rs`, messages as in `message.rs`. A moment is a time of the boot clock; 0 means at once.
//!
//! | tag  | event       | fields                                                                            |
//! |------|-------------|-----------------------------------------------------------------------------------|
//! | 0x30 | created     | queue · log of its notes · options · slice(name)                                  |
//! | 0x31 | altered     | queue · options                                                                   |
//! | 0x32 | retired     | queue: its name is free, and it hands nothing out any more                        |
//! | 0x33 | lane opened | queue · lane · priority u8 · log                                                  |
//! | 0x34 | lane closed | queue · lane · log                                                                |
//! | 0x35 | erased      | queue · lane · chunk: what is known of its messages up to that chunk is forgotten |
//! | 0x36 | deleted     | queue · log of its notes                                                          |
//! | 0x37 | handed out  | queue · holder · until · taker (`consumers/mod.rs`) · runs                        |
//! | 0x38 | acked       | queue · runs                                                                      |
//! | 0x39 | returned    | queue · u8 (1 as suspects) · until · pause · runs                                 |
//! | 0x3a | back        | queue · runs: their backoff is over                                               |
//! | 0x3b | extended    | queue · until · runs                                                              |
//! | 0x3c | fell due    | queue · count · per message lane · offset · expiry, 0 for none                    |
//! | 0x3d | expired     | queue · reason u8 · when · end u8 (0 kept, 1 discarded, 2 leaves) · runs          |
//! | 0x3e | gone        | queue · runs                                                                      |
//! | 0x3f | changed     | what u8 · fields: 0 paused (queue · u8), 1 passed (queue · lane · cursor),        |
//! |      |             | 2 trimmed (queue · lane + 1, or 0 for its notes · log · start),                   |
//! |      |             | 3 adopted (from · to), 4 clock began (boot id 16 · namespace u64 · moment ·       |
//! |      |             | logs); 5 is not used;                                                             |
//! |      |             | 6 to 11 are of exchanges (`exchanges/fact.rs`),                                   |
//! |      |             | 12 rescheduled (queue · lane · offset · due), 13 stayed (queue · runs: letters    |
//! |      |             | that were to leave), 25 to 30 are of schedules (`schedules/fact.rs`),             |
//! |      |             | 32 is of ids (`dedup/fact.rs`), 35 to 37 are of consumers (`consumers/fact.rs`)   |
//! | 0xb0 | sent        | head (`journal::entry`, expiry 0) · queue · lane · expires, 0 for never ·         |
//! |      |             | u8 (1 attributes) · messages                                                      |
//! | 0xb1 | failed      | head, of its notes · queue · lane · offset · previous · until · pause · u8        |
//! |      |             | (1 still a suspect) · text                                                        |
//! | 0xb2 | died        | head, of its notes · queue · lane · offset · previous · reason u8 ·               |
//! |      |             | end u8 · text                                                           |
//! | 0xf0 | published   | to several queues, once: see `published.rs`                                       |

use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::log::LogId;
use crate::base::time::{BootTime, ClockIdentity, Timestamp};
use crate::engine::machine::{LOG_TAG, LogAppend, LogChange};
use crate::journal::entry::Entry;

use super::command::{Holder, Place, QueueNumber, Reason};
use super::consumers::{CONSUMER_CHANGES, ConsumerEvent, Taker};
use super::dedup::{REMEMBERED, Remembered};
use super::exchanges::{EXCHANGE_CHANGES, ExchangeEvent};
use super::lane::LaneNumber;
use super::note::Note;
use super::options::{End, Options};
use super::published::{PUBLISHED, Published};
use super::schedules::{SCHEDULE_CHANGES, ScheduleEvent};
use super::sent::Sent;
use super::state::FIRST_LOG;

const CREATED: u8 = 0x30;
const ALTERED: u8 = 0x31;
const RETIRED: u8 = 0x32;
const LANE_OPENED: u8 = 0x33;
const LANE_CLOSED: u8 = 0x34;
const ERASED: u8 = 0x35;
const DELETED: u8 = 0x36;
const HANDED_OUT: u8 = 0x37;
const ACKED: u8 = 0x38;
const RETURNED: u8 = 0x39;
const BACK: u8 = 0x3a;
const EXTENDED: u8 = 0x3b;
const FELL_DUE: u8 = 0x3c;
const EXPIRED: u8 = 0x3d;
const GONE: u8 = 0x3e;
const CHANGED: u8 = 0x3f;
pub(super) const SENT: u8 = LOG_TAG | 0x30;
pub(super) const FAILED: u8 = LOG_TAG | 0x31;
pub(super) const DIED: u8 = LOG_TAG | 0x32;

/// A decided fact.
#[derive(Clone, Debug)]
pub(crate) enum Event<'a> {
    Created {
        queue: QueueNumber,
        notes: LogId,
        options: Options,
        name: &'a str,
    },
    Altered {
        queue: QueueNumber,
        options: Options,
    },
    Retired {
        queue: QueueNumber,
    },
    LaneOpened {
        queue: QueueNumber,
        lane: LaneNumber,
        priority: u8,
        log: LogId,
    },
    LaneClosed {
        queue: QueueNumber,
        lane: LaneNumber,
        log: LogId,
    },
    Erased {
        queue: QueueNumber,
        lane: LaneNumber,
        chunk: u64,
    },
    Deleted {
        queue: QueueNumber,
        notes: LogId,
    },
    HandedOut {
        queue: QueueNumber,
        holder: Holder,
        until: BootTime,
        taker: Taker,
        runs: Vec<Run>,
    },
    Acked {
        queue: QueueNumber,
        runs: Vec<Run>,
    },
    Returned {
        queue: QueueNumber,
        as_suspects: bool,
        until: BootTime,
        pause_micros: u64,
        runs: Vec<Run>,
    },
    Back {
        queue: QueueNumber,
        runs: Vec<Run>,
    },
    Extended {
        queue: QueueNumber,
        until: BootTime,
        runs: Vec<Run>,
    },
    FellDue {
        queue: QueueNumber,
        messages: Vec<(Place, Option<Timestamp>)>,
    },
    Expired {
        queue: QueueNumber,
        reason: Reason,
        at: Timestamp,
        end: End,
        runs: Vec<Run>,
    },
    Gone {
        queue: QueueNumber,
        runs: Vec<Run>,
    },
    Paused {
        queue: QueueNumber,
        is_paused: bool,
    },
    /// What was in line below the cursor is gone.
    Passed {
        queue: QueueNumber,
        lane: LaneNumber,
        cursor: u64,
    },
    /// `None` is the log of its notes.
    Trimmed {
        queue: QueueNumber,
        lane: Option<LaneNumber>,
        log: LogId,
        start: u64,
    },
    Adopted {
        from: Holder,
        to: Holder,
    },
    ClockBegan {
        identity: ClockIdentity,
        at: BootTime,
        logs: u32,
    },
    /// A delayed message is due at this time.
    Rescheduled {
        queue: QueueNumber,
        place: Place,
        due: Timestamp,
    },
    /// Letters that were to be moved on stay in the dead set.
    Stayed {
        queue: QueueNumber,
        runs: Vec<Run>,
    },
    /// Ids are known from now on, or no more.
    Remembered(Remembered),
    OfExchanges(ExchangeEvent<'a>),
    OfSchedules(ScheduleEvent<'a>),
    OfConsumers(ConsumerEvent<'a>),
    Sent(Sent<'a>),
    Published(Published<'a>),
    Noted(Note<'a>),
}

/// Messages of successive sequences of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) lane: LaneNumber,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// Adds a message behind those that there are.
pub(super) fn push_run(runs: &mut Vec<Run>, place: Place) {
    match runs.last_mut() {
        Some(run) if run.lane == place.lane && run.first + run.count == place.offset => run.count += 1,
        _ => runs.push(Run { lane: place.lane, first: place.offset, count: 1 }),
    }
}

fn runs_len(runs: &[Run]) -> usize {
    let run_len = |run: &Run| varint_len(u64::from(run.lane.0)) + varint_len(run.first) + varint_len(run.count);
    varint_len(runs.len() as u64) + runs.iter().map(run_len).sum::<usize>()
}

fn put_runs(runs: &[Run], out: &mut Put<'_>) {
    out.varint(runs.len() as u64);
    for run in runs {
        out.varints([u64::from(run.lane.0), run.first, run.count]);
    }
}

fn take_runs(take: &mut Take<'_>) -> Result<Vec<Run>, Malformed> {
    let count = take.varint()?;
    if count > take.remaining() as u64 {
        return Err(Malformed("more runs than bytes"));
    }
    let mut runs = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let run = Run { lane: LaneNumber(take.varint32()?), first: take.varint()?, count: take.varint()? };
        if run.first.checked_add(run.count).is_none() || run.count == 0 {
            return Err(Malformed("a run that ends before it starts"));
        }
        runs.push(run);
    }
    Ok(runs)
}

pub(super) fn take_bool(take: &mut Take<'_>) -> Result<bool, Malformed> {
    match take.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("neither yes nor no")),
    }
}

pub(super) fn take_queue(take: &mut Take<'_>) -> Result<QueueNumber, Malformed> {
    take.varint32().map(QueueNumber)
}

pub(super) fn take_lane(take: &mut Take<'_>) -> Result<LaneNumber, Malformed> {
    take.varint32().map(LaneNumber)
}

impl<'a> Event<'a> {
    pub(crate) fn encoded_len(&self) -> usize {
        let queue_len = |queue: &QueueNumber| varint_len(u64::from(queue.0));
        let lane_len = |lane: &LaneNumber| varint_len(u64::from(lane.0));
        1 + match self {
            Event::Created { queue, notes, options, name } => {
                queue_len(queue) + varint_len(notes.0) + options.encoded_len() + slice_len(name.len())
            }
            Event::Altered { queue, options } => queue_len(queue) + options.encoded_len(),
            Event::Retired { queue } => queue_len(queue),
            Event::LaneOpened { queue, lane, log, .. } => queue_len(queue) + lane_len(lane) + 1 + varint_len(log.0),
            Event::LaneClosed { queue, lane, log } => queue_len(queue) + lane_len(lane) + varint_len(log.0),
            Event::Erased { queue, lane, chunk } => queue_len(queue) + lane_len(lane) + varint_len(*chunk),
            Event::Deleted { queue, notes } => queue_len(queue) + varint_len(notes.0),
            Event::HandedOut { queue, holder, until, taker, runs } => {
                queue_len(queue) + varint_len(holder.0) + varint_len(until.0) + varint_len(taker.0) + runs_len(runs)
            }
            Event::Acked { queue, runs } | Event::Back { queue, runs } | Event::Gone { queue, runs } => {
                queue_len(queue) + runs_len(runs)
            }
            Event::Returned { queue, until, pause_micros, runs, .. } => {
                queue_len(queue) + 1 + varint_len(until.0) + varint_len(*pause_micros) + runs_len(runs)
            }
            Event::Extended { queue, until, runs } => queue_len(queue) + varint_len(until.0) + runs_len(runs),
            Event::FellDue { queue, messages } => {
                let len = |(place, expiry): &(Place, Option<Timestamp>)| {
                    lane_len(&place.lane) + varint_len(place.offset) + varint_len(expiry.map_or(0, |expiry| expiry.0))
                };
                queue_len(queue) + varint_len(messages.len() as u64) + messages.iter().map(len).sum::<usize>()
            }
            Event::Expired { queue, at, runs, .. } => queue_len(queue) + 1 + varint_len(at.0) + 1 + runs_len(runs),
            Event::Paused { queue, .. } => 1 + queue_len(queue) + 1,
            Event::Passed { queue, lane, cursor } => 1 + queue_len(queue) + lane_len(lane) + varint_len(*cursor),
            Event::Trimmed { queue, lane, log, start } => {
                let lane = lane.map_or(0, |lane| u64::from(lane.0) + 1);
                1 + queue_len(queue) + varint_len(lane) + varint_len(log.0) + varint_len(*start)
            }
            Event::Rescheduled { queue, place, due } => {
                1 + queue_len(queue) + lane_len(&place.lane) + varint_len(place.offset) + varint_len(due.0)
            }
            Event::Adopted { from, to } => 1 + varint_len(from.0) + varint_len(to.0),
            Event::ClockBegan { at, logs, .. } => 1 + 16 + 8 + varint_len(at.0) + varint_len(u64::from(*logs)),
            Event::Stayed { queue, runs } => 1 + queue_len(queue) + runs_len(runs),
            Event::Remembered(fact) => fact.encoded_len(),
            Event::OfExchanges(event) => event.encoded_len(),
            Event::OfSchedules(event) => event.encoded_len(),
            Event::OfConsumers(event) => event.encoded_len(),
            Event::Sent(sent) => sent.encoded_len() - 1,
            Event::Published(published) => published.encoded_len() - 1,
            Event::Noted(note) => note.encoded_len() - 1,
        }
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        match self {
            Event::Sent(sent) => sent.encode(out),
            Event::Noted(note) => note.encode(out),
            Event::HandedOut { queue, holder, until, taker, runs } => {
                put(HANDED_OUT, *queue, [holder.0, until.0, taker.0], out);
                put_runs(runs, out);
            }
            Event::Acked { queue, runs } => {
                put(ACKED, *queue, [], out);
                put_runs(runs, out);
            }
            rare => rare.encode_rare(out),
        }
    }

    #[cold]
    #[inline(never)]
    fn encode_rare(&self, out: &mut Put<'_>) {
        match self {
            Event::Sent(_) | Event::Noted(_) | Event::HandedOut { .. } | Event::Acked { .. } => {
                unreachable!("these are not rare")
            }
            Event::Published(published) => published.encode(out),
            Event::Created { queue, notes, options, name } => {
                put(CREATED, *queue, [notes.0], out);
                options.encode(out);
                out.slice(name.as_bytes());
            }
            Event::Altered { queue, options } => {
                put(ALTERED, *queue, [], out);
                options.encode(out);
            }
            Event::Retired { queue } => put(RETIRED, *queue, [], out),
            Event::LaneOpened { queue, lane, priority, log } => {
                put(LANE_OPENED, *queue, [u64::from(lane.0)], out);
                out.u8(*priority);
                out.varint(log.0);
            }
            Event::LaneClosed { queue, lane, log } => put(LANE_CLOSED, *queue, [u64::from(lane.0), log.0], out),
            Event::Erased { queue, lane, chunk } => put(ERASED, *queue, [u64::from(lane.0), *chunk], out),
            Event::Deleted { queue, notes } => put(DELETED, *queue, [notes.0], out),
            Event::Returned { queue, as_suspects, until, pause_micros, runs } => {
                put(RETURNED, *queue, [], out);
                out.u8(u8::from(*as_suspects));
                out.varint(until.0);
                out.varint(*pause_micros);
                put_runs(runs, out);
            }
            Event::Back { queue, runs } => {
                put(BACK, *queue, [], out);
                put_runs(runs, out);
            }
            Event::Extended { queue, until, runs } => {
                put(EXTENDED, *queue, [until.0], out);
                put_runs(runs, out);
            }
            Event::FellDue { queue, messages } => {
                put(FELL_DUE, *queue, [messages.len() as u64], out);
                for (place, expiry) in messages {
                    out.varints([u64::from(place.lane.0), place.offset, expiry.map_or(0, |expiry| expiry.0)]);
                }
            }
            Event::Expired { queue, reason, at, end, runs } => {
                put(EXPIRED, *queue, [], out);
                out.u8(*reason as u8);
                out.varint(at.0);
                out.u8(*end as u8);
                put_runs(runs, out);
            }
            Event::Gone { queue, runs } => {
                put(GONE, *queue, [], out);
                put_runs(runs, out);
            }
            changed => changed.encode_changed(out),
        }
    }

    fn encode_changed(&self, out: &mut Put<'_>) {
        out.u8(CHANGED);
        match self {
            Event::Paused { queue, is_paused } => {
                put(0, *queue, [], out);
                out.u8(u8::from(*is_paused));
            }
            Event::Passed { queue, lane, cursor } => put(1, *queue, [u64::from(lane.0), *cursor], out),
            Event::Trimmed { queue, lane, log, start } => {
                put(2, *queue, [lane.map_or(0, |lane| u64::from(lane.0) + 1), log.0, *start], out);
            }
            Event::Rescheduled { queue, place, due } => {
                put(12, *queue, [u64::from(place.lane.0), place.offset, due.0], out);
            }
            Event::Adopted { from, to } => {
                out.u8(3);
                out.varints([from.0, to.0]);
            }
            Event::ClockBegan { identity, at, logs } => {
                out.u8(4);
                out.bytes(&identity.boot_id);
                out.u64(identity.time_namespace);
                out.varint(at.0);
                out.varint(u64::from(*logs));
            }
            Event::Stayed { queue, runs } => {
                put(13, *queue, [], out);
                put_runs(runs, out);
            }
            Event::Remembered(fact) => fact.encode(out),
            Event::OfExchanges(event) => event.encode(out),
            Event::OfSchedules(event) => event.encode(out),
            Event::OfConsumers(event) => event.encode(out),
            _ => unreachable!("it has a tag of its own"),
        }
    }

    /// Reads an event back, tag included. Every length inside is checked.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Event<'a>, Malformed> {
        let mut take = Take::new(bytes);
        let event = match take.u8()? {
            SENT => return Sent::decode(take).map(Event::Sent),
            PUBLISHED => return Published::decode(take).map(Event::Published),
            tag @ (FAILED | DIED) => return Note::decode(tag, take).map(Event::Noted),
            HANDED_OUT => Event::HandedOut {
                queue: take_queue(&mut take)?,
                holder: Holder(take.varint()?),
                until: BootTime(take.varint()?),
                taker: Taker(take.varint()?),
                runs: take_runs(&mut take)?,
            },
            ACKED => Event::Acked { queue: take_queue(&mut take)?, runs: take_runs(&mut take)? },
            BACK => Event::Back { queue: take_queue(&mut take)?, runs: take_runs(&mut take)? },
            GONE => Event::Gone { queue: take_queue(&mut take)?, runs: take_runs(&mut take)? },
            RETURNED => Event::Returned {
                queue: take_queue(&mut take)?,
                as_suspects: take_bool(&mut take)?,
                until: BootTime(take.varint()?),
                pause_micros: take.varint()?,
                runs: take_runs(&mut take)?,
            },
            EXTENDED => Event::Extended {
                queue: take_queue(&mut take)?,
                until: BootTime(take.varint()?),
                runs: take_runs(&mut take)?,
            },
            EXPIRED => Event::Expired {
                queue: take_queue(&mut take)?,
                reason: Reason::decode(&mut take)?,
                at: Timestamp(take.varint()?),
                end: End::decode(&mut take)?,
                runs: take_runs(&mut take)?,
            },
            FELL_DUE => Event::FellDue { queue: take_queue(&mut take)?, messages: take_due(&mut take)? },
            tag => Event::decode_rare(tag, &mut take)?,
        };
        take.end()?;
        Ok(event)
    }

    fn decode_rare(tag: u8, take: &mut Take<'a>) -> Result<Event<'a>, Malformed> {
        Ok(match tag {
            CREATED => Event::Created {
                queue: take_queue(take)?,
                notes: LogId(take.varint()?),
                options: Options::decode(take)?,
                name: take.text()?,
            },
            ALTERED => Event::Altered { queue: take_queue(take)?, options: Options::decode(take)? },
            RETIRED => Event::Retired { queue: take_queue(take)? },
            LANE_OPENED => Event::LaneOpened {
                queue: take_queue(take)?,
                lane: take_lane(take)?,
                priority: take.u8()?,
                log: LogId(take.varint()?),
            },
            LANE_CLOSED => {
                Event::LaneClosed { queue: take_queue(take)?, lane: take_lane(take)?, log: LogId(take.varint()?) }
            }
            ERASED => Event::Erased { queue: take_queue(take)?, lane: take_lane(take)?, chunk: take.varint()? },
            DELETED => Event::Deleted { queue: take_queue(take)?, notes: LogId(take.varint()?) },
            CHANGED => match take.u8()? {
                0 => Event::Paused { queue: take_queue(take)?, is_paused: take_bool(take)? },
                1 => Event::Passed { queue: take_queue(take)?, lane: take_lane(take)?, cursor: take.varint()? },
                2 => Event::Trimmed {
                    queue: take_queue(take)?,
                    lane: take.varint32()?.checked_sub(1).map(LaneNumber),
                    log: LogId(take.varint()?),
                    start: take.varint()?,
                },
                3 => Event::Adopted { from: Holder(take.varint()?), to: Holder(take.varint()?) },
                4 => {
                    let identity = ClockIdentity { boot_id: take.array()?, time_namespace: take.u64()? };
                    Event::ClockBegan { identity, at: BootTime(take.varint()?), logs: take.varint32()? }
                }
                12 => Event::Rescheduled {
                    queue: take_queue(take)?,
                    place: Place { lane: take_lane(take)?, offset: take.varint()? },
                    due: Timestamp(take.varint()?),
                },
                13 => Event::Stayed { queue: take_queue(take)?, runs: take_runs(take)? },
                REMEMBERED => Event::Remembered(Remembered::decode(take)?),
                change if EXCHANGE_CHANGES.contains(&change) => {
                    Event::OfExchanges(ExchangeEvent::decode(change, take)?)
                }
                change if SCHEDULE_CHANGES.contains(&change) => {
                    Event::OfSchedules(ScheduleEvent::decode(change, take)?)
                }
                change if CONSUMER_CHANGES.contains(&change) => {
                    Event::OfConsumers(ConsumerEvent::decode(change, take)?)
                }
                _ => return Err(Malformed("a change that there is not")),
            },
            _ => return Err(Malformed("a tag that queues do not have")),
        })
    }

    pub(crate) fn log_change(&self) -> LogChange {
        match self {
            Event::Sent(Sent { entry, bytes, .. }) => appended(entry, *bytes),
            Event::Published(_) => LogChange::AppendToSeveral,
            Event::Noted(note) => appended(&note.entry, note.text.len() as u64),
            Event::Created { notes: log, .. } | Event::LaneOpened { log, .. } => {
                LogChange::Open { first: *log, count: 1 }
            }
            Event::OfSchedules(ScheduleEvent::Began { log }) => LogChange::Open { first: *log, count: 1 },
            Event::LaneClosed { log, .. } | Event::Deleted { notes: log, .. } => {
                LogChange::Close { first: *log, count: 1 }
            }
            Event::Trimmed { log, start, .. } => LogChange::Trim { log: *log, start: *start },
            Event::ClockBegan { logs, .. } => LogChange::Rearm { first: LogId(FIRST_LOG), count: *logs },
            _ => LogChange::None,
        }
    }
}

impl Event<'_> {
    /// What one adds to each of several lanes.
    pub(crate) fn appends(&self, visit: &mut dyn FnMut(LogAppend)) {
        if let Event::Published(published) = self {
            published.sents.iter().for_each(|sent| visit(append_of(&sent.entry, sent.bytes)));
        }
    }
}

fn appended(entry: &Entry, bytes: u64) -> LogChange {
    LogChange::Append(append_of(entry, bytes))
}

fn append_of(entry: &Entry, bytes: u64) -> LogAppend {
    let Entry { log, first, count, timestamp, .. } = *entry;
    LogAppend { log, first, count, timestamp, bytes }
}

fn put<const N: usize>(tag: u8, queue: QueueNumber, fields: [u64; N], out: &mut Put<'_>) {
    out.u8(tag);
    out.varint(u64::from(queue.0));
    fields.into_iter().for_each(|field| out.varint(field));
}

fn take_due(take: &mut Take<'_>) -> Result<Vec<(Place, Option<Timestamp>)>, Malformed> {
    let count = take.varint()?;
    if count > take.remaining() as u64 {
        return Err(Malformed("more messages than bytes"));
    }
    let mut messages = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let (place, expiry) = (Place { lane: take_lane(take)?, offset: take.varint()? }, take.varint()?);
        messages.push((place, (expiry > 0).then_some(Timestamp(expiry))));
    }
    Ok(messages)
}
