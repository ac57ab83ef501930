//! Sending: messages are checked, and each goes into the lane of its priority, or of its group.

use super::command::{Outcome, Refusal};
use super::decide::{Emit, Refused, check_lanes};
use super::dedup::{Judged, told_of};
use super::event::Event;
use super::history::History;
use super::lane::{self, LaneNumber};
use super::message::{Due, GroupHash, Message, Origin};
use super::overflow::make_room;
use super::queue::{Map, Queue};
use super::reply::Reply;
use super::routing::ROUTING_KEY_BYTES_MAX;
use super::rows::news_row;
use super::sent::{Given, Sent};
use super::state::State;
use crate::base::bounds::{
    AWAITED_MICROS, BODY_BYTES_MAX, CHUNKS_MAX, DURATION_MICROS_MAX, HEADER_BLOCK_BYTES_MAX, HISTORY_BYTES_MAX,
    KEY_BYTES_MAX, LARGE_FRAME_BYTES, MESSAGE_ID_BYTES_MAX, NAME_BYTES_MAX, PRIORITIES, RECORDS_PER_BATCH_MAX,
    SEQUENCE_BITS,
};
use crate::base::log::LogId;
use crate::base::name;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::engine::machine::Context;
use crate::journal::entry::Entry;

/// Bytes of messages in one item, unless a single message has more: see `streams/decide.rs`.
const ITEM_MESSAGE_BYTES_MAX: usize = LARGE_FRAME_BYTES - 1024;

/// Stands for the priority of a message that is known, and goes into no lane.
const NOT_STORED: u8 = u8::MAX;

pub(super) const SEQUENCES_MAX: u64 = 1 << SEQUENCE_BITS;

pub(super) fn send<'c>(
    state: &State,
    queue: &Queue,
    messages: &'c [Message<'c>],
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    if queue.ids.is_some() {
        return send_judged(state, queue, messages, context, emit);
    }
    let dropped = make_room(queue, messages.len() as u64)?;
    check(state, messages)?;
    let lanes = prepare(state, queue, messages, &Judged::unasked(messages))?;
    dropped.emit(queue, context, emit);
    append(&lanes, messages, context, emit);
    Ok(Outcome::Accept(lanes.reply()))
}

/// Sends those that the queue does not know by their ids.
fn send_judged<'c>(
    state: &State,
    queue: &Queue,
    messages: &'c [Message<'c>],
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    check(state, messages)?;
    let judged = Judged::by_queue(queue, messages, context.now.wall);
    if judged.stored() == 0 {
        let reply = Reply::SentSome { first: None, told: told_of(&judged, |_| 0, true) };
        return Ok(Outcome::Unchanged { reply, rests_on: judged.rests_on() });
    }
    let dropped = make_room(queue, judged.stored() as u64)?;
    judged.check_room(state)?;
    let lanes = prepare(state, queue, messages, &judged)?;
    dropped.emit(queue, context, emit);
    append(&lanes, messages, context, emit);
    let sequences = lanes.sequences(messages.len());
    judged.emit(|number| sequences[number], emit);
    if judged.stores_all() {
        return Ok(Outcome::Accept(lanes.reply()));
    }
    let told = told_of(&judged, |number| sequences[number].expect("it was stored"), true);
    Ok(Outcome::Accept(Reply::SentSome { first: sequences.into_iter().flatten().next(), told }))
}

/// Where those messages will go that are not known, whatever the queue holds.
fn prepare<'a>(
    state: &'a State,
    queue: &'a Queue,
    messages: &[Message<'_>],
    judged: &Judged<'_>,
) -> Result<Lanes<'a>, Refused> {
    let mut lanes = Lanes::new(state, queue);
    lanes.assign(messages, judged);
    check_lanes(state, lanes.opened.len())?;
    let longest = queue.lanes.iter().map(|lane| lane.end).max().unwrap_or(0) + messages.len() as u64;
    if longest > SEQUENCES_MAX {
        let (limit, max) = ("messages that a priority of a queue ever had", SEQUENCES_MAX);
        return Err(Refusal::LimitExceeded { limit, max, actual: longest }.into());
    }
    Ok(lanes)
}

fn append<'c>(lanes: &Lanes<'_>, messages: &'c [Message<'c>], context: &Context<'_>, emit: Emit<'_, 'c>) {
    let queue = lanes.queue;
    for (lane, priority, log) in &lanes.opened {
        emit(Event::LaneOpened { queue: queue.number, lane: *lane, priority: *priority, log: *log });
    }
    let is_awaited = context.watched.is_watched(news_row(queue.number));
    let awaited_micros = if is_awaited { AWAITED_MICROS } else { 0 };
    let sent = context.now.wall;
    let ttl = queue.options.ttl_micros.map(|ttl| if ttl == 0 { awaited_micros } else { ttl });
    let expires = ttl.map(|ttl| Timestamp((sent.0 + ttl).max(1)));
    let mut ends: Map<u8, u64> = Map::default();
    let mut at = 0;
    while at < messages.len() {
        let piece = &messages[at..at + pieced(&messages[at..])];
        let assigned = lanes.priorities.as_ref().map(|priorities| &priorities[at..at + piece.len()]);
        let in_use = assigned.map_or(1 << lanes.only, |assigned| {
            let stored = assigned.iter().filter(|priority| **priority != NOT_STORED);
            stored.fold(0_u32, |mask, priority| mask | 1 << priority)
        });
        for priority in (0..PRIORITIES).rev().filter(|priority| in_use & 1 << priority != 0) {
            let (lane, log, end) = lanes.of(priority);
            let end = ends.entry(priority).or_insert(end);
            let of_piece = assigned.map(|assigned| (Arc::from(assigned), priority));
            let given = Given { messages: piece, assigned: of_piece, awaited_micros };
            let entry = Entry { log, first: *end, count: 0, timestamp: sent, expiry: 0 };
            let event = Sent::new(entry, queue.number, lane, expires, given);
            *end = event.entry.end();
            emit(Event::Sent(event));
        }
        at += piece.len();
    }
}

/// How many of the messages one item takes.
fn pieced(messages: &[Message<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |message: &&Message<'_>| {
        bytes += message.record.user_bytes() + 64 + message.group.map_or(0, str::len);
        bytes += message.history.map_or(0, <[u8]>::len);
        bytes += message.id.map_or(0, str::len);
        bytes += message.origin.map_or(0, |origin| origin.exchange.len() + origin.routing_key.len());
        bytes <= ITEM_MESSAGE_BYTES_MAX
    };
    messages.iter().take_while(fits).count().max(1)
}

pub(super) fn check(state: &State, messages: &[Message<'_>]) -> Result<(), Refused> {
    if messages.is_empty() {
        return Err(Refusal::InvalidOption { option: "messages", reason: "a batch must hold at least one" }.into());
    }
    at_most("messages per batch", messages.len(), RECORDS_PER_BATCH_MAX)?;
    at_most("messages of all queues that are more than waiting in line, by 64", state.shared.chunks, CHUNKS_MAX)?;
    check_each(messages)
}

/// The same, whatever there is already.
pub(super) fn check_each(messages: &[Message<'_>]) -> Result<(), Refused> {
    messages.iter().try_for_each(check_message)
}

fn check_message(message: &Message<'_>) -> Result<(), Refused> {
    let record = &message.record;
    at_most("body bytes", record.body_len(), BODY_BYTES_MAX)?;
    at_most("key bytes", record.key_len(), KEY_BYTES_MAX)?;
    at_most("header block bytes", record.header_block_len(), HEADER_BLOCK_BYTES_MAX)?;
    at_most("priority", usize::from(message.priority), usize::from(PRIORITIES - 1))?;
    if let Some(Origin { exchange, routing_key }) = message.origin {
        at_most("bytes of an exchange's name", exchange.len(), NAME_BYTES_MAX)?;
        at_most("bytes of a routing key", routing_key.len(), ROUTING_KEY_BYTES_MAX)?;
    }
    if let Some(history) = message.history {
        at_most("bytes of a history", history.len(), HISTORY_BYTES_MAX)?;
        let reason = "it was not made by this library";
        History::decode(history).map_err(|_| Refusal::InvalidOption { option: "history", reason })?;
    }
    if let Some(id) = message.id {
        at_most("bytes of a message's id", id.len(), MESSAGE_ID_BYTES_MAX)?;
        if id.is_empty() {
            return Err(Refusal::InvalidOption { option: "id", reason: "an id has at least one byte" }.into());
        }
    }
    if let Some(group) = message.group {
        name::check(group).map_err(Refusal::InvalidName)?;
    }
    let delay = message.due.and_then(|due| match due {
        Due::In(micros) => Some(micros),
        Due::At(_) => None,
    });
    for (option, micros) in [("delay", delay), ("ttl", message.ttl_micros)] {
        if micros.is_some_and(|micros| micros > DURATION_MICROS_MAX) {
            return Err(Refusal::InvalidOption { option, reason: "at most 10,000 days are kept" }.into());
        }
    }
    if message.max_attempts == Some(0) {
        return Err(
            Refusal::InvalidOption { option: "max attempts", reason: "a message is tried once at least" }.into()
        );
    }
    Ok(())
}

fn at_most(limit: &'static str, actual: usize, max: usize) -> Result<(), Refused> {
    let (max, actual) = (max as u64, actual as u64);
    if actual <= max { Ok(()) } else { Err(Refusal::LimitExceeded { limit, max, actual }.into()) }
}

/// The lanes that a batch goes into.
pub(super) struct Lanes<'a> {
    state: &'a State,
    queue: &'a Queue,
    opened: Vec<(LaneNumber, u8, LogId)>,
    /// The priority that each message is given, if they are not all of one; `NOT_STORED` for those that are known.
    priorities: Option<Vec<u8>>,
    /// The priority of all, or of the first that is stored.
    only: u8,
}

impl<'a> Lanes<'a> {
    fn new(state: &'a State, queue: &'a Queue) -> Lanes<'a> {
        Lanes { state, queue, opened: Vec::new(), priorities: None, only: 0 }
    }

    fn assign(&mut self, messages: &[Message<'_>], judged: &Judged<'_>) {
        self.only = messages[0].priority;
        let are_alike = |message: &Message<'_>| message.priority == self.only && message.group.is_none();
        if judged.stores_all() && messages.iter().all(are_alike) {
            return self.open(self.only);
        }
        let mut begun: Map<GroupHash, u8> = Map::default();
        let priority = |(number, message): (usize, &Message<'_>)| match judged.stores(number) {
            true => self.priority_of(message, &mut begun),
            false => NOT_STORED,
        };
        let priorities: Vec<u8> = messages.iter().enumerate().map(priority).collect();
        let mut stored = priorities.iter().copied().filter(|priority| *priority != NOT_STORED);
        self.only = stored.clone().next().expect("one of them is stored");
        stored.by_ref().for_each(|priority| self.open(priority));
        if priorities.iter().any(|priority| *priority != self.only) {
            self.priorities = Some(priorities);
        }
    }

    /// A group has the priority of the message that began it.
    fn priority_of(&self, message: &Message<'_>, begun: &mut Map<GroupHash, u8>) -> u8 {
        let Some(group) = message.group.map(GroupHash::of) else { return message.priority };
        let lane = self.queue.lane_of_group(group).and_then(|lane| self.queue.lane(lane));
        *begun.entry(group).or_insert_with(|| lane.map_or(message.priority, |lane| lane.priority))
    }

    fn open(&mut self, priority: u8) {
        let is_open = self.queue.lane_of_priority(priority).is_some()
            || self.opened.iter().any(|(_, opened, _)| *opened == priority);
        if !is_open {
            let taken = self.opened.len() as u32;
            let log = LogId(self.state.counters.log + u64::from(taken));
            self.opened.push((self.state.free_lane(taken), priority, log));
        }
    }

    /// Number, log and end of a lane, as they were before the batch.
    fn of(&self, priority: u8) -> (LaneNumber, LogId, u64) {
        if let Some(lane) = self.queue.lane_of_priority(priority) {
            return (lane.number, lane.log, lane.end);
        }
        let opened =
            self.opened.iter().find(|(_, opened, _)| *opened == priority).expect("it was opened for the batch");
        (opened.0, opened.2, 0)
    }

    /// Where the first went.
    fn reply(&self) -> Reply {
        let (_, _, offset) = self.of(self.only);
        Reply::Sent { priority: self.only, offset }
    }

    /// The sequences that they got, those of them that were stored.
    pub(super) fn sequences(&self, messages: usize) -> Vec<Option<u64>> {
        let mut ends: Map<u8, u64> = Map::default();
        let place = |number: usize| {
            let priority = self.priorities.as_ref().map_or(self.only, |priorities| priorities[number]);
            if priority == NOT_STORED {
                return None;
            }
            let (_, _, end) = self.of(priority);
            let end = ends.entry(priority).or_insert(end);
            *end += 1;
            Some(lane::sequence(priority, *end - 1))
        };
        (0..messages).map(place).collect()
    }
}
