//! Moving letters out of a queue: on to where its dead go, or to where they are to be tried again. What leaves and what
//! arrives stand in one frame, so that a letter is in one place at every instant.

use super::command::{Outcome, Place, Refusal};
use super::decide::{Emit, Refused, of_contents};
use super::event::{Event, Run, push_run};
use super::exchanges;
use super::letters::check_count;
use super::message::Message;
use super::queue::Queue;
use super::reply::Reply;
use super::routing::Destination;
use super::sending;
use super::state::State;
use super::trimming;
use crate::engine::machine::Context;

/// Sends letters again: each of them, or none if one is not there any more.
pub(super) fn redrive<'c>(
    state: &State,
    queue: &Queue,
    letters: &[Place],
    messages: &'c [Message<'c>],
    to: Destination,
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    check_count(letters)?;
    let runs = runs_of(letters);
    // One that is named twice would be sent twice.
    let named: u64 = runs.iter().map(|run| run.count).sum();
    let are_there = letters.iter().all(|place| queue.keeps(*place)) && named == letters.len() as u64;
    if !are_there || letters.len() != messages.len() {
        return Err(Refusal::Stale.resting_on(of_contents(queue)));
    }
    sending::check(state, messages)?;
    exchanges::send_again(state, to, messages, context, emit)?;
    emit(Event::Gone { queue: queue.number, runs });
    trimming::trim(queue, emit);
    Ok(Outcome::Accept(Reply::Settled { stale: Vec::new() }))
}

/// Moves letters on that are to leave. One that is led nowhere stays, and so does one that cannot be read.
#[expect(clippy::too_many_arguments, reason = "the parts of one command")]
pub(super) fn move_on<'c>(
    state: &State,
    queue: &Queue,
    letters: &[Place],
    messages: &'c [Message<'c>],
    to: Option<Destination>,
    unread: &[Place],
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    check_count(letters)?;
    check_count(unread)?;
    let leave = |places: &[Place]| places.iter().all(|place| queue.leaving.contains(place));
    let target = queue.options.dead_letters.target().map(|target| target.destination);
    let named: u64 = runs_of(letters).iter().map(|run| run.count).sum();
    let is_so = target == to && leave(letters) && leave(unread) && named == messages.len() as u64;
    if !is_so || letters.len() != messages.len() || letters.len() + unread.len() == 0 {
        return Err(Refusal::Stale.resting_on(of_contents(queue)));
    }
    let mut stay = unread.to_vec();
    if let Some(to) = to.filter(|_| !messages.is_empty()) {
        // How much there is of others must not keep the dead here: as they go there is less.
        sending::check_each(messages)?;
        let lost = exchanges::send_on(state, to, messages, context, emit)?;
        let is_moved = |number: &usize| lost.binary_search(number).is_err();
        let moved: Vec<Place> = (0..letters.len()).filter(is_moved).map(|number| letters[number]).collect();
        stay.extend(lost.iter().map(|number| letters[*number]));
        if !moved.is_empty() {
            emit(Event::Gone { queue: queue.number, runs: runs_of(&moved) });
        }
    } else {
        stay.extend(letters);
    }
    if !stay.is_empty() {
        emit(Event::Stayed { queue: queue.number, runs: runs_of(&stay) });
    }
    trimming::trim(queue, emit);
    Ok(Outcome::Accept(Reply::Done))
}

/// Each place once, in order.
fn runs_of(places: &[Place]) -> Vec<Run> {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut runs = Vec::new();
    sorted.into_iter().for_each(|place| push_run(&mut runs, place));
    runs
}
