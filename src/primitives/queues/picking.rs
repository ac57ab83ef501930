//! Which messages are handed out next: the higher priority first, then the lower sequence.
//!
//! A lane has three sources, each in order: what is in line, what is ready though the cursor has passed it, and the
//! heads of groups. Suspects are a fourth, from which a process takes one at a time.

use std::collections::BTreeSet;

use crate::base::time::Timestamp;

use super::chunk::bit;
use super::command::Place;
use super::lane::Lane;
use super::queue::Queue;

/// What is found next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Message {
        place: Place,
        is_suspect: bool,
    },
    /// Its time is over, and it is still there.
    Expired {
        place: Place,
    },
}

/// Goes over what a queue could hand out.
pub(super) struct Candidates<'a> {
    queue: &'a Queue,
    lanes: std::slice::Iter<'a, Lane>,
    now: Timestamp,
    takes_suspects: bool,
    /// For each lane: the first offset that may not be shown yet.
    shown: &'a dyn Fn(&Lane) -> u64,
    at: Option<InLane<'a>>,
}

struct InLane<'a> {
    lane: &'a Lane,
    shown: u64,
    /// From where on each source is yet to be looked at.
    in_line: u64,
    ready: u64,
    suspects: u64,
    heads: u64,
    /// Members of groups whose heads were found to be over.
    followers: BTreeSet<u64>,
}

impl<'a> Candidates<'a> {
    pub(super) fn of(
        queue: &'a Queue,
        now: Timestamp,
        takes_suspects: bool,
        shown: &'a dyn Fn(&Lane) -> u64,
    ) -> Candidates<'a> {
        Candidates { queue, lanes: queue.lanes.iter(), now, takes_suspects, shown, at: None }
    }

    /// From now on the process holds a suspect.
    pub(super) fn take_no_suspects(&mut self) {
        self.takes_suspects = false;
    }
}

impl Iterator for Candidates<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            if self.at.is_none() {
                let lane = self.lanes.next()?;
                let shown = (self.shown)(lane);
                self.at = Some(InLane::of(lane, shown));
            }
            let at = self.at.as_mut().expect("just made");
            match at.next(self.takes_suspects) {
                Some((offset, is_suspect)) => return Some(self.found(offset, is_suspect)),
                None => self.at = None,
            }
        }
    }
}

impl Candidates<'_> {
    fn found(&mut self, offset: u64, is_suspect: bool) -> Found {
        let at = self.at.as_mut().expect("the lane in which it was found");
        let place = Place { lane: at.lane.number, offset };
        let Some(chunk) = at.lane.chunk(offset) else { return Found::Message { place, is_suspect } };
        if chunk.expiry(bit(offset)).is_none_or(|expiry| expiry > self.now) {
            return Found::Message { place, is_suspect };
        }
        let group = chunk.group(bit(offset));
        at.followers.extend(group.and_then(|group| self.queue.behind_head(group, offset)));
        Found::Expired { place }
    }
}

impl<'a> InLane<'a> {
    fn of(lane: &'a Lane, shown: u64) -> InLane<'a> {
        let followers = BTreeSet::new();
        InLane { lane, shown, in_line: lane.cursor, ready: 0, suspects: 0, heads: 0, followers }
    }

    /// The lowest of what the sources have, and whether it is a suspect.
    fn next(&mut self, takes_suspects: bool) -> Option<(u64, bool)> {
        let in_line = self.lane.next_in_line(self.in_line, self.shown);
        let below_shown = |offset: &u64| *offset < self.shown;
        let ready = self.lane.ready_from(self.ready, false).filter(below_shown);
        let suspect = self.lane.ready_from(self.suspects, true).filter(|offset| takes_suspects && below_shown(offset));
        let head = self.next_head(takes_suspects);
        let found = [in_line, ready, suspect, head].into_iter().flatten().min()?;
        if Some(found) == in_line {
            self.in_line = found + 1;
        } else if Some(found) == ready {
            self.ready = found + 1;
        } else if Some(found) == suspect {
            self.suspects = found + 1;
        } else if !self.followers.remove(&found) {
            self.heads = found + 1;
        }
        Some((found, Some(found) == suspect || self.is_suspect(found)))
    }

    fn next_head(&self, takes_suspects: bool) -> Option<u64> {
        let may_be_taken = |offset: &&u64| takes_suspects || !self.is_suspect(**offset);
        let head = self.lane.heads.range(self.heads..self.shown.max(self.heads)).find(may_be_taken);
        let follower = self.followers.range(..self.shown).find(may_be_taken);
        head.into_iter().chain(follower).min().copied()
    }

    fn is_suspect(&self, offset: u64) -> bool {
        let tracked = self.lane.chunk(offset).and_then(|chunk| chunk.tracked(bit(offset)));
        tracked.is_some_and(|tracked| tracked.is_suspect)
    }
}
