//! Settling deliveries, and extending them. Of several those that are still in flight are settled, and the others told.

use super::chunk::{Tracked, bit};
use super::command::{DeliveryId, Outcome, Place, Refusal, Settlement};
use super::decide::{Emit, Refused, of_contents};
use super::event::{Event, Run, push_run};
use super::queue::Queue;
use super::reply::Reply;
use super::returning::{Return, Returning};
use super::trimming;
use crate::base::bounds::{DELIVERIES_PER_CALL_MAX, DURATION_MICROS_MAX};
use crate::engine::machine::Context;

pub(super) fn settle<'c>(
    queue: &Queue,
    how: &Settlement<'c>,
    deliveries: &'c [DeliveryId],
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    check(how, deliveries)?;
    let mut places: Vec<(Place, u32)> = Vec::with_capacity(deliveries.len());
    let mut stale = Vec::new();
    for (number, delivery) in (0..).zip(deliveries) {
        match in_flight(queue, delivery).is_some() {
            true => places.push((Place { lane: delivery.lane, offset: delivery.offset }, number)),
            false => stale.push(number),
        }
    }
    // Twice in one call is settled once.
    places.sort_unstable();
    let repeated = places.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1);
    stale.extend(repeated);
    stale.sort_unstable();
    places.dedup_by_key(|(place, _)| *place);
    let places: Vec<Place> = places.into_iter().map(|(place, _)| place).collect();
    if places.is_empty() {
        return Err(Refusal::Stale.resting_on(of_contents(queue)));
    }
    match *how {
        Settlement::Ack => emit(Event::Acked { queue: queue.number, runs: runs_of(places) }),
        Settlement::Extend { micros } => {
            let (queue, until) = (queue.number, context.now.boot.plus(micros));
            emit(Event::Extended { queue, until, runs: runs_of(places) });
        }
        Settlement::Fail { error, delay_micros } => {
            give_back(queue, &places, Return::Failed { error, delay_micros, stays_suspect: false }, context, emit);
        }
        Settlement::Release { delay_micros } => {
            give_back(queue, &places, Return::Released { delay_micros }, context, emit);
        }
        Settlement::Reject { error } => {
            give_back(queue, &places, Return::Rejected { error, is_kept: false }, context, emit);
        }
        Settlement::SetApart { error } => {
            give_back(queue, &places, Return::Rejected { error, is_kept: true }, context, emit);
        }
    }
    trimming::trim(queue, emit);
    Ok(Outcome::Accept(Reply::Settled { stale }))
}

fn check(how: &Settlement<'_>, deliveries: &[DeliveryId]) -> Result<(), Refused> {
    if deliveries.len() > DELIVERIES_PER_CALL_MAX {
        let (max, actual) = (DELIVERIES_PER_CALL_MAX as u64, deliveries.len() as u64);
        return Err(Refusal::LimitExceeded { limit: "deliveries per call", max, actual }.into());
    }
    let micros = match *how {
        Settlement::Extend { micros: 0 } => {
            let (option, reason) = ("extension", "nobody settles a message in no time");
            return Err(Refusal::InvalidOption { option, reason }.into());
        }
        Settlement::Extend { micros } | Settlement::Release { delay_micros: micros } => micros,
        Settlement::Fail { delay_micros, .. } => delay_micros.unwrap_or(0),
        Settlement::Ack | Settlement::Reject { .. } | Settlement::SetApart { .. } => 0,
    };
    match micros > DURATION_MICROS_MAX {
        true => Err(Refusal::InvalidOption { option: "delay", reason: "at most 10,000 days are kept" }.into()),
        false => Ok(()),
    }
}

/// What is known of a hand-out, while it is in flight.
pub(super) fn in_flight(queue: &Queue, delivery: &DeliveryId) -> Option<Tracked> {
    let chunk = queue.lane(delivery.lane).and_then(|lane| lane.chunk(delivery.offset));
    let tracked = chunk.filter(|chunk| chunk.flying & bit(delivery.offset) != 0);
    let tracked = tracked.and_then(|chunk| chunk.tracked(bit(delivery.offset)));
    tracked.filter(|tracked| tracked.acquired == delivery.acquired).copied()
}

fn runs_of(places: Vec<Place>) -> Vec<Run> {
    let mut runs = Vec::new();
    places.into_iter().for_each(|place| push_run(&mut runs, place));
    runs
}

fn give_back<'c>(queue: &Queue, places: &[Place], how: Return<'c>, context: &Context<'_>, emit: Emit<'_, 'c>) {
    let mut returning = Returning::of(queue, context.now);
    places.iter().for_each(|place| returning.add(*place, how, emit));
    returning.finish(emit);
}
