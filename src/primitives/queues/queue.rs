//! One queue: its lanes, its groups, and what is due when.
//!
//! Every change of a message ends in [`Queue::refresh`], which brings what is derived from its chunk up to date.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashMap;

use crate::base::log::LogId;
use crate::base::time::{BootTime, Timestamp};

use super::chunk::{Chunk, Tracked, bit, chunk_of};
use super::command::{Holder, Place, QueueNumber};
use super::consumers::{ConsumerNumber, Taker};
use super::dedup::{Memory, Shared as Ids};
use super::lane::{Lane, LaneNumber};
use super::message::GroupHash;
use super::options::Options;

pub(super) type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) number: QueueNumber,
    pub(crate) name: Box<str>,
    pub(crate) options: Options,
    pub(crate) is_paused: bool,
    /// It was deleted, and what it has left is being forgotten.
    pub(crate) is_retired: bool,
    pub(crate) notes: Notes,
    /// The higher priority first.
    pub(super) lanes: Vec<Lane>,
    pub(super) groups: Map<GroupHash, Group>,
    /// Chunks by when something becomes of one of their messages, by each of the clocks.
    pub(super) wall: BTreeSet<(Timestamp, LaneNumber, u64)>,
    pub(super) boot: BTreeSet<(BootTime, LaneNumber, u64)>,
    /// Messages that are neither gone nor dead.
    pub(super) live: u64,
    pub(super) flying: u64,
    pub(super) waiting: u64,
    pub(super) dead: u64,
    /// Letters that are to be moved on.
    pub(super) leaving: BTreeSet<Place>,
    /// The ids that it remembers, if it does.
    pub(super) ids: Ids,
    /// The frame that last gave a consumer reason to look.
    pub(crate) news: u64,
}

/// The log of what became of its messages.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    pub(crate) log: LogId,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) last_timestamp: Timestamp,
    /// The first note about each message that is there.
    pub(super) firsts: BTreeSet<u64>,
}

/// Messages of which at most one is in flight, in order. All are of one lane, that of the first.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) lane: LaneNumber,
    /// Those that are not delayed, in order.
    members: VecDeque<u64>,
    is_flying: bool,
    /// The one that its lane names as the group's head.
    head: Option<u64>,
    /// Delayed messages that will be members.
    delayed: u64,
}

/// How many messages of each kind a queue has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct QueueCounts {
    pub(crate) ready: u64,
    /// Or in backoff.
    pub(crate) delayed: u64,
    pub(crate) in_flight: u64,
    pub(crate) dead: u64,
}

/// What all queues have together.
#[derive(Clone, Default, Debug)]
pub(super) struct Shared {
    pub(super) in_flight: usize,
    pub(super) chunks: usize,
    /// Ids that are remembered, those of exchanges among them.
    pub(super) ids: usize,
    pub(super) held: Map<Holder, Held>,
    /// What consumers have in flight that have joined, or had.
    pub(super) taken: Map<ConsumerNumber, u32>,
}

/// What one process has in flight.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Held {
    pub(super) messages: u32,
    pub(super) suspects: u32,
}

impl Queue {
    pub(super) fn new(number: QueueNumber, name: &str, notes: LogId, options: Options) -> Queue {
        let ids = Memory::of(options.dedup);
        Queue {
            number,
            name: name.into(),
            options,
            is_paused: false,
            is_retired: false,
            notes: Notes { log: notes, start: 0, end: 0, last_timestamp: Timestamp(0), firsts: BTreeSet::new() },
            lanes: Vec::new(),
            groups: Map::default(),
            wall: BTreeSet::new(),
            boot: BTreeSet::new(),
            live: 0,
            flying: 0,
            waiting: 0,
            dead: 0,
            leaving: BTreeSet::new(),
            ids,
            news: 0,
        }
    }

    pub(crate) fn counts(&self) -> QueueCounts {
        let ready = self.live - self.flying - self.waiting;
        QueueCounts { ready, delayed: self.waiting, in_flight: self.flying, dead: self.dead }
    }

    pub(crate) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    pub(super) fn lane_at(&self, lane: LaneNumber) -> Option<usize> {
        self.lanes.iter().position(|other| other.number == lane)
    }

    pub(super) fn lane(&self, lane: LaneNumber) -> Option<&Lane> {
        self.lanes.iter().find(|other| other.number == lane)
    }

    pub(super) fn lane_of_priority(&self, priority: u8) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.priority == priority)
    }

    pub(super) fn open_lane(&mut self, lane: Lane) {
        let at = self.lanes.partition_point(|other| other.priority > lane.priority);
        self.lanes.insert(at, lane);
    }

    /// The chunk of a message, made if need be.
    pub(super) fn chunk_mut(&mut self, at: usize, number: u64, shared: &mut Shared) -> &mut Chunk {
        self.lanes[at].chunks.entry(number).or_insert_with(|| {
            shared.chunks += 1;
            Chunk::default()
        })
    }

    /// Brings up to date what is derived from a chunk.
    pub(super) fn refresh(&mut self, at: usize, number: u64, shared: &mut Shared) {
        let lane = &mut self.lanes[at];
        let Some(chunk) = lane.chunks.get_mut(&number) else { return };
        let (counts, told) = (chunk.counts(), chunk.told);
        self.flying = self.flying + u64::from(counts.flying) - u64::from(told.flying);
        self.waiting = self.waiting + u64::from(counts.waiting) - u64::from(told.waiting);
        self.dead = self.dead + u64::from(counts.dead) - u64::from(told.dead);
        shared.in_flight = shared.in_flight + counts.flying as usize - told.flying as usize;
        chunk.told = counts;
        let (wall, boot) = (chunk.next_wall(), chunk.next_boot());
        rearm(&mut self.wall, &mut chunk.wall, wall, lane.number, number);
        rearm(&mut self.boot, &mut chunk.boot, boot, lane.number, number);
        let (ready, suspects) = match chunk.ready & !chunk.grouped {
            0 => (0, 0),
            _ => (Lane::ready_bits(chunk, false), Lane::ready_bits(chunk, true)),
        };
        let (flying, is_empty) = (chunk.flying != 0, chunk.is_empty());
        let (waiting, dead) = (chunk.ready | chunk.backoff | chunk.delayed != 0, chunk.dead != 0);
        enter(&mut lane.ready, number, ready != 0);
        enter(&mut lane.suspects, number, suspects != 0);
        enter(&mut lane.flying, number, flying);
        enter(&mut lane.waiting, number, waiting);
        enter(&mut lane.dead, number, dead);
        // The chunk at the cursor is about to be used again.
        if is_empty && number != chunk_of(lane.cursor) {
            lane.chunks.remove(&number);
            shared.chunks -= 1;
        }
    }

    /// Moves the cursor over all that is not in line any more.
    pub(super) fn advance(&mut self, at: usize, shared: &mut Shared) {
        let lane = &mut self.lanes[at];
        let next = lane.next_in_line(lane.cursor, lane.end).unwrap_or(lane.end);
        self.pass(at, next, shared);
    }

    /// Moves the cursor: what was in line below it is gone.
    pub(super) fn pass(&mut self, at: usize, cursor: u64, shared: &mut Shared) {
        let lane = &mut self.lanes[at];
        if cursor == lane.cursor {
            return;
        }
        let before = std::mem::replace(&mut lane.cursor, cursor);
        let touched: Vec<u64> =
            lane.chunks.range(chunk_of(before)..=chunk_of(cursor)).map(|(number, _)| *number).collect();
        for number in touched {
            let chunk = self.lanes[at].chunks.get_mut(&number).expect("just found");
            let ahead = if number == chunk_of(cursor) { !(bit(cursor) - 1) } else { 0 };
            let behind = if number == chunk_of(before) { bit(before) - 1 } else { 0 };
            let first_notes = chunk.pass(!ahead & !behind);
            first_notes.into_iter().for_each(|first_note| self.forget_notes(first_note));
            self.refresh(at, number, shared);
        }
    }

    /// Takes a message out of whatever it is in, dead or alive; tells what was known of it.
    pub(super) fn take_out(&mut self, at: usize, offset: u64, shared: &mut Shared) -> Tracked {
        let (number, bit) = (chunk_of(offset), bit(offset));
        let chunk = self.chunk_mut(at, number, shared);
        let (was_flying, was_delayed, group) = (chunk.flying & bit != 0, chunk.delayed & bit != 0, chunk.group(bit));
        chunk.ready &= !bit;
        chunk.flying &= !bit;
        chunk.backoff &= !bit;
        chunk.set_expiry(bit, None);
        chunk.leave_group(bit);
        let tracked = chunk.untrack(bit).unwrap_or_default();
        if was_flying {
            land(&tracked, shared);
        }
        if let Some(group) = group {
            self.leave_group(group, offset, was_flying, was_delayed);
        }
        tracked
    }

    /// A message that was in line, or taken out, is gone before the cursor has come by.
    pub(super) fn mark_gone(&mut self, at: usize, offset: u64, shared: &mut Shared) {
        if offset >= self.lanes[at].cursor {
            self.chunk_mut(at, chunk_of(offset), shared).gone |= bit(offset);
        }
    }

    /// Nobody asks for what was noted of this message any more.
    pub(super) fn forget_notes(&mut self, first_note: u64) {
        if first_note > 0 {
            self.notes.firsts.remove(&(first_note - 1));
        }
    }

    /// Where the log of the notes is to start, if that is worth a fact.
    pub(super) fn wants_trim_of_notes(&self) -> Option<u64> {
        const TRIM_NOTES: u64 = 1024;
        let floor = self.notes.firsts.first().copied().unwrap_or(self.notes.end);
        (floor - self.notes.start >= TRIM_NOTES).then_some(floor)
    }

    // Groups.

    /// A message becomes a member of its group, in its place; a delayed one will.
    pub(super) fn enter_group(&mut self, at: usize, offset: u64, group: GroupHash, is_delayed: bool) {
        let lane = self.lanes[at].number;
        let new = || Group { lane, members: VecDeque::new(), is_flying: false, head: None, delayed: 0 };
        let found = self.groups.entry(group).or_insert_with(new);
        if is_delayed {
            found.delayed += 1;
        } else {
            found.insert(offset);
        }
        self.rank_group(group);
    }

    /// A delayed message of a group is due.
    pub(super) fn fall_due_in_group(&mut self, offset: u64, group: GroupHash) {
        let found = self.groups.get_mut(&group).expect("a message's group is there");
        found.delayed -= 1;
        found.insert(offset);
        self.rank_group(group);
    }

    fn leave_group(&mut self, group: GroupHash, offset: u64, was_flying: bool, was_delayed: bool) {
        let found = self.groups.get_mut(&group).expect("a message's group is there");
        if was_delayed {
            found.delayed -= 1;
        } else {
            found.remove(offset);
        }
        found.is_flying &= !was_flying;
        self.rank_group(group);
    }

    /// A member is in flight, or no longer.
    pub(super) fn set_group_flying(&mut self, group: GroupHash, is_flying: bool) {
        self.groups.get_mut(&group).expect("a message's group is there").is_flying = is_flying;
        self.rank_group(group);
    }

    /// Names the group's head among those that may be handed out, if it may be.
    pub(super) fn rank_group(&mut self, group: GroupHash) {
        let Some(found) = self.groups.get_mut(&group) else { return };
        let at = self.lanes.iter().position(|lane| lane.number == found.lane).expect("a group's lane is there");
        let lane = &mut self.lanes[at];
        let first = found.members.front().copied().filter(|_| !found.is_flying);
        let head = first.filter(|first| lane.chunk(*first).is_some_and(|chunk| chunk.ready & bit(*first) != 0));
        if head != found.head {
            if let Some(old) = found.head {
                lane.heads.remove(&old);
            }
            lane.heads.extend(head);
            found.head = head;
        }
        if found.members.is_empty() && found.delayed == 0 {
            self.groups.remove(&group);
        }
    }

    /// The member of a group behind this one, if it may be handed out once this one, the head, has gone.
    pub(super) fn behind_head(&self, group: GroupHash, head: u64) -> Option<u64> {
        let Group { lane, members, .. } = self.groups.get(&group)?;
        let next = *members.get(members.partition_point(|member| *member <= head))?;
        let chunk = self.lane(*lane)?.chunk(next)?;
        (chunk.ready & bit(next) != 0).then_some(next)
    }

    /// The lane in which the messages of this group stand, if it has any.
    pub(super) fn lane_of_group(&self, group: GroupHash) -> Option<LaneNumber> {
        self.groups.get(&group).map(|group| group.lane)
    }

    /// A message that is there, dead or alive.
    pub(super) fn has(&self, place: Place) -> bool {
        self.lane(place.lane).is_some_and(|lane| lane.has(place.offset))
    }
}

impl Group {
    fn insert(&mut self, offset: u64) {
        let at = match self.members.back() {
            Some(last) if *last > offset => self.members.partition_point(|other| *other < offset),
            _ => self.members.len(),
        };
        self.members.insert(at, offset);
    }

    fn remove(&mut self, offset: u64) {
        if let Ok(at) = self.members.binary_search(&offset) {
            self.members.remove(at);
        }
    }
}

impl Shared {
    /// Somebody has been handed so many more.
    pub(super) fn take(&mut self, taker: Taker, messages: u32) {
        if let Some(consumer) = taker.consumer() {
            *self.taken.entry(consumer).or_default() += messages;
        }
    }

    fn give_back(&mut self, taker: Taker) {
        let Some(consumer) = taker.consumer() else { return };
        let taken = self.taken.get_mut(&consumer).expect("who has a message in flight has taken one");
        *taken -= 1;
        if *taken == 0 {
            self.taken.remove(&consumer);
        }
    }
}

/// A message is in flight no longer.
pub(super) fn land(tracked: &Tracked, shared: &mut Shared) {
    let holder = Holder(tracked.holder);
    shared.give_back(tracked.taker);
    let held = shared.held.get_mut(&holder).expect("who has a message in flight holds one");
    held.messages -= 1;
    held.suspects -= u32::from(tracked.is_suspect);
    if held.messages == 0 {
        shared.held.remove(&holder);
    }
}

fn enter(chunks: &mut BTreeSet<u64>, number: u64, is_in: bool) {
    if is_in {
        chunks.insert(number);
    } else if !chunks.is_empty() {
        chunks.remove(&number);
    }
}

fn rearm<T: Ord + Copy>(
    due: &mut BTreeSet<(T, LaneNumber, u64)>,
    armed: &mut Option<T>,
    wanted: Option<T>,
    lane: LaneNumber,
    number: u64,
) {
    if *armed != wanted {
        if let Some(old) = *armed {
            due.remove(&(old, lane, number));
        }
        if let Some(new) = wanted {
            due.insert((new, lane, number));
        }
        *armed = wanted;
    }
}
