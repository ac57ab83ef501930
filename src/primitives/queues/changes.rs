//! How facts change one queue.

use super::chunk::{Chunk, Death, Tracked, bit, bits, chunk_of};
use super::command::{Holder, Place, Reason};
use super::consumers::Taker;
use super::event::Run;
use super::lane::LaneNumber;
use super::message::{Attributes, GroupHash};
use super::note::{Fate, Note};
use super::options::End;
use super::queue::{Queue, Shared, land};
use super::sent::Sent;
use crate::base::time::{BootTime, Timestamp};

/// To whom messages are handed out, until when, and in which frame.
pub(super) struct HandedTo {
    pub(super) holder: Holder,
    pub(super) taker: Taker,
    pub(super) until: BootTime,
    pub(super) frame: u64,
}

impl Queue {
    /// Goes over stretches of messages chunk by chunk, and refreshes each chunk.
    pub(super) fn each_chunk(
        &mut self,
        runs: &[Run],
        shared: &mut Shared,
        mut apply: impl FnMut(&mut Queue, usize, u64, u64, &mut Shared),
    ) {
        for run in runs {
            let Some(at) = self.lane_at(run.lane) else { continue };
            let (mut first, end) = (run.first, (run.first + run.count).min(self.lanes[at].end));
            while first < end {
                let number = chunk_of(first);
                let next = end.min((number + 1) * 64);
                let below_next = if next % 64 == 0 { u64::MAX } else { bit(next) - 1 };
                apply(self, at, number, below_next & !(bit(first) - 1), shared);
                self.refresh(at, number, shared);
                first = next;
            }
        }
    }

    pub(super) fn apply_sent(&mut self, sent: &Sent<'_>, shared: &mut Shared) {
        let Some(at) = self.lane_at(sent.lane) else { return };
        let lane = &mut self.lanes[at];
        lane.end = sent.entry.end();
        lane.last_timestamp = sent.entry.timestamp;
        lane.bytes = lane.bytes.saturating_add(sent.bytes);
        self.live += u64::from(sent.entry.count);
        if sent.is_plain() {
            return;
        }
        sent.for_each(|offset, attributes| self.enter(at, offset, &attributes, sent, shared));
        for number in chunk_of(sent.entry.first)..=chunk_of(sent.entry.end() - 1) {
            self.refresh(at, number, shared);
        }
        self.advance(at, shared);
    }

    /// A message that needs a state of its own.
    fn enter(&mut self, at: usize, offset: u64, attributes: &Attributes<'_>, sent: &Sent<'_>, shared: &mut Shared) {
        let Attributes { due, ttl_micros, deadline, group, max_attempts, .. } = *attributes;
        let own = ttl_micros.map(|ttl| Timestamp(sent.entry.timestamp.0.saturating_add(ttl)));
        let expiry = [sent.expires, own, deadline].into_iter().flatten().min();
        if due.or(expiry).is_none() && group.is_none() && max_attempts.is_none() {
            return;
        }
        let (chunk, bit) = (self.chunk_mut(at, chunk_of(offset), shared), bit(offset));
        if max_attempts.is_some() || deadline.is_some() || (due.is_some() && ttl_micros.is_some()) {
            let tracked = chunk.track(bit);
            tracked.max_attempts = max_attempts.unwrap_or(0);
            tracked.deadline = deadline.map_or(0, |deadline| deadline.0.max(1));
            tracked.ttl_micros = ttl_micros.filter(|_| due.is_some()).map_or(0, |ttl| ttl.max(1));
        }
        match due {
            Some(due) => chunk.set_due(bit, deadline.map_or(due, |deadline| due.min(deadline))),
            None => chunk.set_expiry(bit, expiry),
        }
        if let Some(group) = group.map(GroupHash::of) {
            chunk.set_group(bit, group);
            if due.is_none() {
                chunk.ready |= bit;
            }
            self.enter_group(at, offset, group, due.is_some());
        }
    }

    pub(super) fn apply_handed_out(&mut self, at: usize, number: u64, mask: u64, to: &HandedTo, shared: &mut Shared) {
        let chunk = self.chunk_mut(at, number, shared);
        chunk.ready &= !mask;
        chunk.flying |= mask;
        let mut suspects = 0;
        for bit in bits(mask) {
            let tracked = chunk.track(bit);
            tracked.acquired += 1;
            (tracked.holder, tracked.until) = (to.holder.0, to.until);
            (tracked.taker, tracked.handed) = (to.taker, to.frame);
            suspects += u32::from(tracked.is_suspect);
        }
        let groups: Vec<GroupHash> = bits(mask & chunk.grouped).filter_map(|bit| chunk.group(bit)).collect();
        for group in groups {
            self.set_group_flying(group, true);
        }
        shared.take(to.taker, mask.count_ones());
        let held = shared.held.entry(to.holder).or_default();
        held.messages += mask.count_ones();
        held.suspects += suspects;
    }

    pub(super) fn apply_gone(&mut self, runs: &[Run], shared: &mut Shared) {
        self.each_chunk(runs, shared, |queue, at, number, mask, shared| {
            for bit in bits(mask) {
                queue.let_go(at, number * 64 + u64::from(bit.trailing_zeros()), shared);
            }
        });
        for of_lane in runs.chunk_by(|a, b| a.lane == b.lane) {
            let at = self.lane_at(of_lane[0].lane);
            at.into_iter().for_each(|at| self.advance(at, shared));
        }
    }

    /// A message goes for good, dead or alive.
    fn let_go(&mut self, at: usize, offset: u64, shared: &mut Shared) {
        if !self.lanes[at].has(offset) {
            return;
        }
        let death = self.chunk_mut(at, chunk_of(offset), shared).bury(bit(offset));
        match death {
            Some(death) => {
                self.forget_notes(death.first_note);
                self.leaving.remove(&Place { lane: self.lanes[at].number, offset });
            }
            None => {
                let tracked = self.take_out(at, offset, shared);
                self.forget_notes(tracked.first_note);
                self.live -= 1;
                self.free_id(at, offset, shared);
            }
        }
        self.mark_gone(at, offset, shared);
    }

    /// A message that was in flight may be handed out again, at once or after a pause.
    pub(super) fn give_back(
        &mut self,
        at: usize,
        offset: u64,
        pause: Option<(BootTime, u64)>,
        as_suspect: bool,
        shared: &mut Shared,
    ) {
        let (chunk, bit) = (self.chunk_mut(at, chunk_of(offset), shared), bit(offset));
        if chunk.flying & bit == 0 {
            return;
        }
        chunk.flying &= !bit;
        let tracked = chunk.track(bit);
        land(tracked, shared);
        tracked.is_suspect = as_suspect;
        (tracked.holder, tracked.taker, tracked.handed) = (0, Taker::NOBODY, 0);
        match pause {
            None => chunk.ready |= bit,
            Some((until, micros)) => {
                (tracked.until, tracked.pause_micros) = (until, micros);
                chunk.backoff |= bit;
            }
        }
        if let Some(group) = chunk.group(bit) {
            self.set_group_flying(group, false);
        }
    }

    pub(super) fn apply_noted(&mut self, note: &Note<'_>, shared: &mut Shared) {
        let number = note.entry.first;
        self.notes.end = note.entry.end();
        self.notes.last_timestamp = note.entry.timestamp;
        let Some(at) = self.lane_at(note.place.lane).filter(|_| self.has(note.place)) else { return };
        let offset = note.place.offset;
        match note.fate {
            Fate::Failed { until, pause_micros, stays_suspect } => {
                let pause = (until != BootTime(0)).then_some((until, pause_micros));
                self.give_back(at, offset, pause, stays_suspect, shared);
                let tracked = self.chunk_mut(at, chunk_of(offset), shared).track(bit(offset));
                tracked.failed += 1;
                tracked.pause_micros = pause_micros;
                tracked.last_note = number + 1;
                if tracked.first_note == 0 {
                    tracked.first_note = number + 1;
                    self.notes.firsts.insert(number);
                }
            }
            Fate::Died { reason, end } => {
                self.die(at, offset, (reason, note.entry.timestamp, end), number + 1, shared);
            }
        }
        self.refresh(at, chunk_of(offset), shared);
        self.advance(at, shared);
    }

    /// A message is dead; `note` tells of it, if it is not 0.
    pub(super) fn die(
        &mut self,
        at: usize,
        offset: u64,
        death: (Reason, Timestamp, End),
        note: u64,
        shared: &mut Shared,
    ) {
        let (reason, time, end) = death;
        let is_live = |chunk: &Chunk| chunk.dead & bit(offset) == 0;
        if !self.lanes[at].has(offset) || !self.lanes[at].chunk(offset).is_none_or(is_live) {
            return;
        }
        let Tracked { mut failed, first_note, last_note, .. } = self.take_out(at, offset, shared);
        self.live -= 1;
        self.free_id(at, offset, shared);
        failed += u32::from(reason == Reason::AttemptsExhausted || reason == Reason::Rejected);
        if end == End::Discarded {
            self.forget_notes(first_note);
            self.mark_gone(at, offset, shared);
            return;
        }
        let first_note = if first_note == 0 { note } else { first_note };
        if first_note > 0 {
            self.notes.firsts.insert(first_note - 1);
        }
        let last_note = if note == 0 { last_note } else { note };
        let leaves = end == End::Leaves;
        if leaves {
            self.leaving.insert(Place { lane: self.lanes[at].number, offset });
        }
        let death = Death { reason, at: time, failed, leaves, first_note, last_note };
        self.chunk_mut(at, chunk_of(offset), shared).die(bit(offset), death);
    }

    pub(super) fn apply_fell_due(&mut self, place: Place, expiry: Option<Timestamp>, shared: &mut Shared) {
        let (Some(at), bit) = (self.lane_at(place.lane), bit(place.offset)) else { return };
        let number = chunk_of(place.offset);
        let chunk = self.chunk_mut(at, number, shared);
        if chunk.delayed & bit != 0 {
            chunk.set_expiry(bit, None);
            chunk.set_expiry(bit, expiry);
            chunk.ready |= bit;
            if let Some(group) = chunk.group(bit) {
                self.fall_due_in_group(place.offset, group);
            }
        }
        self.refresh(at, number, shared);
    }

    /// A letter that was to be moved on stays.
    pub(super) fn stay(&mut self, at: usize, offset: u64) {
        if let Some(death) =
            self.lanes[at].chunks.get_mut(&chunk_of(offset)).and_then(|chunk| chunk.death_mut(bit(offset)))
        {
            death.leaves = false;
            self.leaving.remove(&Place { lane: self.lanes[at].number, offset });
        }
    }

    /// Forgets what is known of the messages of a lane up to this chunk.
    pub(super) fn erase(&mut self, lane: LaneNumber, last: u64, shared: &mut Shared) {
        let Some(at) = self.lane_at(lane) else { return };
        let numbers: Vec<u64> = self.lanes[at].chunks.range(..=last).map(|(number, _)| *number).collect();
        for number in numbers {
            let Some(chunk) = self.lanes[at].chunks.get_mut(&number) else { continue };
            let flying: Vec<Tracked> = bits(chunk.flying).filter_map(|bit| chunk.tracked(bit).copied()).collect();
            let (told, wall, boot) = (chunk.told, chunk.wall.take(), chunk.boot.take());
            *chunk = Chunk::default();
            (chunk.told, chunk.wall, chunk.boot) = (told, wall, boot);
            flying.iter().for_each(|tracked| land(tracked, shared));
            self.refresh(at, number, shared);
        }
    }
}
