//! Looking at messages without handing them out: what comes next, and why one does not come.

use super::chunk::{Chunk, Tracked, bit};
use super::command::{Outcome, Place, Reason, Refusal};
use super::decide::{Emit, Refused, of_contents};
use super::event::{Event, Run};
use super::handing::told;
use super::lane::{self, Lane, place_of};
use super::message::Due;
use super::picking::{Candidates, Found};
use super::queue::Queue;
use super::reply::{HandedRun, Reply};
use super::state::State;
use super::trimming;
use crate::base::bounds::{BEHIND_MAX, DURATION_MICROS_MAX, MESSAGES_PER_RECEIVE_MAX};
use crate::base::time::{BootTime, Now, Timestamp};
use crate::engine::machine::Context;

/// How a message stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It is handed out when those before it are; counted up to `BEHIND_MAX`.
    Behind {
        messages: u64,
    },
    Delayed {
        until: Timestamp,
    },
    /// It comes back in so many microseconds.
    Backoff {
        micros: u64,
    },
    /// It is taken back in so many microseconds.
    InFlight {
        micros: u64,
    },
    /// Another of its group comes first, or is in flight.
    GroupBusy,
    /// The queue hands nothing out.
    Paused,
    /// It is a suspect, and whoever may take one holds one.
    Suspect,
    /// Each consumer that has joined has as many in flight as it takes.
    ConsumersFull,
    /// The consumer whose turn it is is not active yet: this one has yet to settle what it has.
    NotActive {
        consumer: Box<str>,
    },
    /// Its time is over; it leaves with the next tick.
    Expired,
    Dead {
        reason: Reason,
    },
}

/// A message that is there, and how it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) run: HandedRun,
    pub(crate) standing: Standing,
}

impl State {
    /// What would be handed out next, in order, as far as `shown` says that it may be seen.
    pub(crate) fn peek(&self, queue: &Queue, max: usize, now: Now, shown: &dyn Fn(&Lane) -> u64) -> Vec<HandedRun> {
        let max = max.min(MESSAGES_PER_RECEIVE_MAX);
        let candidates = Candidates::of(queue, now.wall, true, shown);
        let waiting = candidates.take(BEHIND_MAX + max).filter_map(|found| match found {
            Found::Message { place, .. } => Some(place),
            Found::Expired { .. } => None,
        });
        let places: Vec<Place> = waiting.take(max).collect();
        told(queue, &places)
    }

    /// The message with this sequence, if it is there and may be seen.
    pub(crate) fn look(&self, queue: &Queue, sequence: u64, now: Now, shown: &dyn Fn(&Lane) -> u64) -> Option<Seen> {
        let (lane, offset) = find(queue, sequence)?;
        if offset >= shown(lane) {
            return None;
        }
        let place = Place { lane: lane.number, offset };
        let run = *told(queue, &[place]).first()?;
        let tracked = lane.chunk(offset).and_then(|chunk| chunk.tracked(bit(offset))).copied().unwrap_or_default();
        // What is told counts the next hand-out.
        let run = HandedRun { acquired: tracked.acquired, ..run };
        Some(Seen { run, standing: self.standing(queue, lane, offset, &tracked, now, shown) })
    }

    fn standing(
        &self,
        queue: &Queue,
        lane: &Lane,
        offset: u64,
        tracked: &Tracked,
        now: Now,
        shown: &dyn Fn(&Lane) -> u64,
    ) -> Standing {
        let nothing = Chunk::default();
        let (chunk, bit) = (lane.chunk(offset).unwrap_or(&nothing), bit(offset));
        let micros = |until: BootTime| until.0.saturating_sub(now.boot.0);
        if let Some(death) = chunk.death(bit) {
            return Standing::Dead { reason: death.reason };
        }
        if chunk.flying & bit != 0 {
            return Standing::InFlight { micros: micros(tracked.until) };
        }
        if let Some(until) = chunk.due(bit) {
            return Standing::Delayed { until };
        }
        if chunk.backoff & bit != 0 {
            return Standing::Backoff { micros: micros(tracked.until) };
        }
        if chunk.expiry(bit).is_some_and(|expiry| expiry <= now.wall) {
            return Standing::Expired;
        }
        if queue.is_paused {
            return Standing::Paused;
        }
        if chunk.group(bit).is_some() && !lane.heads.contains(&offset) {
            return Standing::GroupBusy;
        }
        if tracked.is_suspect && self.shared.held.values().any(|held| held.suspects > 0) {
            return Standing::Suspect;
        }
        if let Some(standing) = self.consumers_stand(queue) {
            return standing;
        }
        let place = Place { lane: lane.number, offset };
        let is_this = |found: &Found| matches!(found, Found::Message { place: other, .. } if *other == place);
        let before = Candidates::of(queue, now.wall, true, shown).take(BEHIND_MAX).take_while(|found| !is_this(found));
        let messages = before.filter(|found| matches!(found, Found::Message { .. })).count() as u64;
        Standing::Behind { messages }
    }

    /// The first message of each priority that waits and may be seen.
    pub(crate) fn fronts(&self, queue: &Queue, now: Now, shown: &dyn Fn(&Lane) -> u64) -> Vec<HandedRun> {
        let front = |lane: &Lane| {
            let only = |other: &Lane| if other.number == lane.number { shown(other) } else { 0 };
            let mut candidates = Candidates::of(queue, now.wall, true, &only).take(BEHIND_MAX);
            candidates.find_map(|found| match found {
                Found::Message { place, .. } => Some(place),
                Found::Expired { .. } => None,
            })
        };
        let places: Vec<Place> = queue.lanes.iter().filter_map(front).collect();
        told(queue, &places)
    }
}

/// The lane and offset of a message that is there, dead or alive.
fn find(queue: &Queue, sequence: u64) -> Option<(&Lane, u64)> {
    let (priority, offset) = place_of(sequence);
    // A number with more bits is no message's.
    let lane = queue.lane_of_priority(priority).filter(|_| lane::sequence(priority, offset) == sequence)?;
    lane.has(offset).then_some((lane, offset))
}

/// Lets a message go that waits.
pub(super) fn cancel(queue: &Queue, sequence: u64, emit: Emit<'_, '_>) -> Result<Outcome, Refused> {
    let (lane, offset) = waiting(queue, sequence)?;
    emit(Event::Gone { queue: queue.number, runs: vec![Run { lane: lane.number, first: offset, count: 1 }] });
    trimming::trim(queue, emit);
    Ok(Outcome::Accept(Reply::Done))
}

/// A message that is neither dead nor in flight.
fn waiting(queue: &Queue, sequence: u64) -> Result<(&Lane, u64), Refused> {
    let stale = || Refusal::Stale.resting_on(of_contents(queue));
    let (lane, offset) = find(queue, sequence).ok_or_else(stale)?;
    let chunk = lane.chunk(offset);
    if chunk.is_some_and(|chunk| chunk.flying & bit(offset) != 0) {
        return Err(Refusal::InFlight { count: 1 }.resting_on(of_contents(queue)));
    }
    match chunk.is_some_and(|chunk| chunk.dead & bit(offset) != 0) {
        true => Err(stale()),
        false => Ok((lane, offset)),
    }
}

/// Gives a delayed message another time.
pub(super) fn reschedule(
    queue: &Queue,
    sequence: u64,
    due: Due,
    context: &Context<'_>,
    emit: Emit<'_, '_>,
) -> Result<Outcome, Refused> {
    let (lane, offset) = waiting(queue, sequence)?;
    let chunk = lane.chunk(offset).filter(|chunk| chunk.delayed & bit(offset) != 0);
    let Some(chunk) = chunk else {
        let reason = "the message is not delayed: it is ready, or in backoff";
        return Err(Refusal::InvalidOption { option: "sequence", reason }.resting_on(of_contents(queue)));
    };
    let due = match due {
        Due::In(micros) if micros > DURATION_MICROS_MAX => {
            let (option, reason) = ("delay", "at most 10,000 days are kept");
            return Err(Refusal::InvalidOption { option, reason }.into());
        }
        Due::In(micros) => Timestamp(context.now.wall.0.saturating_add(micros)),
        Due::At(at) => at,
    };
    let deadline = chunk.tracked(bit(offset)).map_or(0, |tracked| tracked.deadline);
    let due = if deadline > 0 { due.min(Timestamp(deadline)) } else { due };
    // One that is due at once becomes ready with the next tick.
    let due = due.max(Timestamp(1));
    emit(Event::Rescheduled { queue: queue.number, place: Place { lane: lane.number, offset }, due });
    Ok(Outcome::Accept(Reply::Done))
}
