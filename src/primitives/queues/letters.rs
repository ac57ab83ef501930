//! Dead letters: they stay in the dead set of their queue, with their sequence, until they are sent again or let go.

use super::chunk::{Death, bit, bits, chunk_of};
use super::command::{Outcome, Place, Reason, Refusal};
use super::decide::{Emit, Refused, of_contents};
use super::dedup::{Claims, check_room};
use super::event::{Event, push_run};
use super::lane::Lane;
use super::message::Message;
use super::queue::Queue;
use super::reply::Reply;
use super::sending;
use super::state::State;
use super::trimming;
use crate::base::bounds::DELIVERIES_PER_CALL_MAX;
use crate::base::log::LogId;
use crate::base::time::Timestamp;
use crate::engine::machine::Context;

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

impl Queue {
    /// Dead letters behind this priority and offset, the higher priority first, then in the order of sequences.
    pub(crate) fn letters(&self, after: Option<(u8, u64)>, max: usize) -> Vec<Letter> {
        let (priority, from) = after.map_or((u8::MAX, 0), |(priority, offset)| (priority, offset.saturating_add(1)));
        let lanes = self.lanes.iter().filter(|lane| lane.priority <= priority);
        let letters = lanes.flat_map(|lane| {
            let from = if lane.priority == priority { from } else { 0 };
            let chunks = lane.chunks.range(chunk_of(from)..).filter(|(_, chunk)| chunk.dead != 0);
            chunks.flat_map(move |(number, chunk)| {
                let offset = move |bit: u64| number * 64 + u64::from(bit.trailing_zeros());
                let dead = bits(chunk.dead).filter(move |bit| offset(*bit) >= from);
                dead.filter_map(move |bit| Some(self.letter(lane, offset(bit), chunk.death(bit)?)))
            })
        });
        letters.take(max).collect()
    }

    fn letter(&self, lane: &Lane, offset: u64, death: &Death) -> Letter {
        let Death { reason, at, failed, last_note, .. } = *death;
        let place = Place { lane: lane.number, offset };
        let (priority, log, notes) = (lane.priority, lane.log, self.notes.log);
        Letter { place, priority, log, reason, at, failed, notes, last_note: last_note.checked_sub(1) }
    }
}

/// Lets letters go; those that are none are told.
pub(super) fn bury(queue: &Queue, letters: &[Place], emit: Emit<'_, '_>) -> Result<Outcome, Refused> {
    check_count(letters)?;
    let (dead, stale) = dead_among(queue, letters);
    if dead.is_empty() {
        return Err(Refusal::Stale.resting_on(of_contents(queue)));
    }
    let mut runs = Vec::new();
    dead.into_iter().for_each(|place| push_run(&mut runs, place));
    emit(Event::Gone { queue: queue.number, runs });
    trimming::trim(queue, emit);
    Ok(Outcome::Accept(Reply::Settled { stale }))
}

/// Sends letters again: each of them, or none if one is no letter any more. They enter whatever the queue holds.
pub(super) fn redrive<'c>(
    state: &State,
    queue: &Queue,
    letters: &[Place],
    messages: &'c [Message<'c>],
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    check_count(letters)?;
    let (dead, stale) = dead_among(queue, letters);
    // One that is named twice would take the message of the next.
    if !stale.is_empty() || dead.len() != letters.len() || letters.len() != messages.len() {
        return Err(Refusal::Stale.resting_on(of_contents(queue)));
    }
    let mut claims = Claims::of(queue, context.now.wall);
    if claims.is_some() {
        // It takes at most as many as it sends.
        let claimed = messages.iter().filter(|message| message.id.is_some()).count();
        check_room(state, claimed, 0)?;
    }
    let appended = sending::append(state, queue, messages, context, emit)?;
    let places = appended.places(messages.len());
    if let Some(claims) = &mut claims {
        let sequences = appended.sequences(messages.len()).into_iter().flatten();
        messages.iter().zip(sequences).for_each(|(message, sequence)| claims.add(message, sequence));
    }
    emit(Event::Redriven { queue: queue.number, letters: letters.iter().copied().zip(places).collect() });
    claims.into_iter().for_each(|claims| claims.emit(emit));
    trimming::trim(queue, emit);
    Ok(Outcome::Accept(Reply::Settled { stale }))
}

fn check_count(letters: &[Place]) -> Result<(), Refused> {
    if letters.len() > DELIVERIES_PER_CALL_MAX {
        let (max, actual) = (DELIVERIES_PER_CALL_MAX as u64, letters.len() as u64);
        return Err(Refusal::LimitExceeded { limit: "dead letters per call", max, actual }.into());
    }
    Ok(())
}

/// Those that are dead, each once and in order, and the places in the list of the others.
fn dead_among(queue: &Queue, letters: &[Place]) -> (Vec<Place>, Vec<u32>) {
    let is_dead = |place: &Place| {
        let chunk = queue.lane(place.lane).and_then(|lane| lane.chunk(place.offset));
        chunk.is_some_and(|chunk| chunk.dead & bit(place.offset) != 0)
    };
    let stale = (0..).zip(letters).filter(|(_, place)| !is_dead(place)).map(|(number, _)| number).collect();
    let mut dead: Vec<Place> = letters.iter().copied().filter(is_dead).collect();
    dead.sort_unstable();
    dead.dedup();
    (dead, stale)
}
