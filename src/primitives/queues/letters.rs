//! Dead letters: they stay in the dead set of their queue, with their sequence, until they are sent again or let go.

use super::chunk::{Death, bit, bits, chunk_of};
use super::command::{Outcome, Place, QueueNumber, Reason, Refusal};
use super::decide::{Emit, Refused, of_contents};
use super::event::{Event, push_run};
use super::lane::Lane;
use super::options::DeadLetters;
use super::overflow::waiting_in;
use super::queue::Queue;
use super::reply::Reply;
use super::routing::Destination;
use super::rows::COUNTERS;
use super::state::State;
use super::trimming;
use crate::base::bounds::DELIVERIES_PER_CALL_MAX;
use crate::base::log::LogId;
use crate::base::time::Timestamp;

/// A dead letter, as it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Letter {
    pub(crate) place: Place,
    pub(crate) priority: u8,
    /// The log in which its message lies.
    pub(crate) log: LogId,
    pub(crate) reason: Reason,
    pub(crate) at: Timestamp,
    /// Failed attempts.
    pub(crate) failed: u32,
    /// The log of the queue's notes, and the last about this message.
    pub(crate) notes: LogId,
    pub(crate) last_note: Option<u64>,
}

/// A message that may be handed out some time, or is in nobody's hands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WaitingMessage {
    pub(crate) place: Place,
    pub(crate) priority: u8,
    pub(crate) log: LogId,
}

impl Queue {
    /// Messages that wait behind this priority and offset, in the order of [`Queue::letters`], as far as `shown` says
    /// that they may be seen.
    pub(crate) fn waiting_behind(
        &self,
        after: Option<(u8, u64)>,
        max: usize,
        shown: &dyn Fn(&Lane) -> u64,
    ) -> Vec<WaitingMessage> {
        let (priority, from) = after.map_or((u8::MAX, 0), |(priority, offset)| (priority, offset.saturating_add(1)));
        let lanes = self.lanes.iter().filter(|lane| lane.priority <= priority);
        let waiting = lanes.flat_map(|lane| {
            let from = if lane.priority == priority { from } else { 0 };
            let end = shown(lane);
            let (priority, log) = (lane.priority, lane.log);
            let places = waiting_in(lane, from).take_while(move |place| place.offset < end);
            places.map(move |place| WaitingMessage { place, priority, log })
        });
        waiting.take(max).collect()
    }

    /// Dead letters behind this priority and offset, the higher priority first, then in the order of sequences.
    pub(crate) fn letters(&self, after: Option<(u8, u64)>, max: usize) -> Vec<Letter> {
        let (priority, from) = after.map_or((u8::MAX, 0), |(priority, offset)| (priority, offset.saturating_add(1)));
        let lanes = self.lanes.iter().filter(|lane| lane.priority <= priority);
        let letters = lanes.flat_map(|lane| {
            let from = if lane.priority == priority { from } else { 0 };
            lane.dead.range(chunk_of(from)..).flat_map(move |number| {
                let chunk = &lane.chunks[number];
                let offset = move |bit: u64| number * 64 + u64::from(bit.trailing_zeros());
                let dead = bits(chunk.dead).filter(move |bit| offset(*bit) >= from);
                dead.filter_map(move |bit| Some(self.letter(lane, offset(bit), chunk.death(bit)?)))
            })
        });
        letters.take(max).collect()
    }

    /// Whether a message is dead, or waits for a consumer.
    pub(super) fn keeps(&self, place: Place) -> bool {
        let Some(lane) = self.lane(place.lane) else { return false };
        let is_in_flight = lane.chunk(place.offset).is_some_and(|chunk| chunk.flying & bit(place.offset) != 0);
        lane.has(place.offset) && !is_in_flight
    }

    /// The dead letter at this place.
    pub(super) fn letter_at(&self, place: Place) -> Option<Letter> {
        let lane = self.lane(place.lane)?;
        Some(self.letter(lane, place.offset, lane.chunk(place.offset)?.death(bit(place.offset))?))
    }

    fn letter(&self, lane: &Lane, offset: u64, death: &Death) -> Letter {
        let Death { reason, at, failed, last_note, .. } = *death;
        let place = Place { lane: lane.number, offset };
        let (priority, log, notes) = (lane.priority, lane.log, self.notes.log);
        Letter { place, priority, log, reason, at, failed, notes, last_note: last_note.checked_sub(1) }
    }
}

impl State {
    /// Why something cannot be deleted to which dead letters go.
    pub(super) fn is_target(&self, destination: Destination) -> Option<Refusal> {
        let leads_there = |queue: &&Queue| {
            let target = queue.options.dead_letters.target();
            !queue.is_retired && target.is_some_and(|target| target.destination == destination)
        };
        let queue = self.queues.values().find(leads_there)?;
        Some(Refusal::IsTarget { queue: queue.name.to_string() })
    }

    /// The name of where the dead of a queue go, if that is elsewhere.
    pub(crate) fn target_name(&self, queue: &Queue) -> Option<Box<str>> {
        match queue.options.dead_letters.target()?.destination {
            Destination::Queue(to) => self.get(to).map(|queue| queue.name.clone()),
            Destination::Exchange(to) => self.exchanges.get(to).map(|exchange| exchange.name.clone()),
        }
    }

    /// Whether dead letters of another queue go to this one.
    pub(crate) fn receives_letters(&self, queue: QueueNumber) -> bool {
        self.is_target(Destination::Queue(queue)).is_some()
    }

    /// That dead letters may go there.
    pub(super) fn check_target(&self, queue: Option<QueueNumber>, letters: &DeadLetters) -> Result<(), Refused> {
        match letters.target().map(|target| target.destination) {
            None => Ok(()),
            Some(Destination::Queue(to)) if Some(to) == queue => Err(Refusal::OwnTarget.into()),
            Some(Destination::Queue(to)) if self.get(to).is_some() => Ok(()),
            Some(Destination::Exchange(to)) if self.exchanges.get(to).is_some() => Ok(()),
            Some(_) => Err(Refusal::NoDestination.resting_on(COUNTERS)),
        }
    }
}

/// Lets letters go; those that are none are told.
pub(super) fn bury(queue: &Queue, letters: &[Place], emit: Emit<'_, '_>) -> Result<Outcome, Refused> {
    check_count(letters)?;
    let (found, stale) = letters_among(queue, letters);
    if found.is_empty() {
        return Err(Refusal::Stale.resting_on(of_contents(queue)));
    }
    let mut runs = Vec::new();
    found.into_iter().for_each(|place| push_run(&mut runs, place));
    emit(Event::Gone { queue: queue.number, runs });
    trimming::trim(queue, emit);
    Ok(Outcome::Accept(Reply::Settled { stale }))
}

pub(super) fn check_count(letters: &[Place]) -> Result<(), Refused> {
    if letters.len() > DELIVERIES_PER_CALL_MAX {
        let (max, actual) = (DELIVERIES_PER_CALL_MAX as u64, letters.len() as u64);
        return Err(Refusal::LimitExceeded { limit: "dead letters per call", max, actual }.into());
    }
    Ok(())
}

/// Those that are dead or wait, each once and in order, and the places in the list of the others.
fn letters_among(queue: &Queue, letters: &[Place]) -> (Vec<Place>, Vec<u32>) {
    let stale = (0..).zip(letters).filter(|(_, place)| !queue.keeps(**place)).map(|(number, _)| number).collect();
    let mut found: Vec<Place> = letters.iter().copied().filter(|place| queue.keeps(*place)).collect();
    found.sort_unstable();
    found.dedup();
    (found, stale)
}
