//! Acknowledging all that a consumer has up to one delivery.
//!
//! *Up to* is by when they were handed out: all that this consumer has in flight of what was handed to it in frames
//! before that of the one named, and of those in the same frame the ones that stand before it in the queue's order. So
//! what it has in reserve behind that one stays.

use std::cmp::Reverse;

use super::super::chunk::Tracked;
use super::super::command::{DeliveryId, Outcome, Place, Refusal};
use super::super::decide::{Emit, Refused, of_contents};
use super::super::event::{Event, Run, push_run};
use super::super::lane::Lane;
use super::super::queue::Queue;
use super::super::reply::Reply;
use super::super::settling::in_flight;
use super::super::trimming;
use super::Taker;

/// What sorts hand-outs: the frame, and the place in the queue's order.
type HandOut = (u64, Reverse<u8>, u64);

pub(in crate::primitives::queues) fn ack_through(
    queue: &Queue,
    delivery: &DeliveryId,
    emit: Emit<'_, '_>,
) -> Result<Outcome, Refused> {
    let found = queue.lane(delivery.lane).and_then(|lane| Some((lane, in_flight(queue, delivery)?)));
    let (lane, last) = found.ok_or_else(|| Refusal::Stale.resting_on(of_contents(queue)))?;
    if last.taker == Taker::NOBODY {
        let (option, reason) = ("delivery", "it is not told which consumer has it");
        return Err(Refusal::InvalidOption { option, reason }.into());
    }
    let hand_out =
        |lane: &Lane, offset: u64, tracked: &Tracked| -> HandOut { (tracked.handed, Reverse(lane.priority), offset) };
    let end = hand_out(lane, delivery.offset, &last);
    let mut runs: Vec<Run> = Vec::new();
    for lane in queue.lanes() {
        for (offset, chunk, bit) in lane.all_flying() {
            let tracked = chunk.tracked(bit).expect("what is in flight is tracked");
            let is_of_it = (tracked.holder, tracked.taker) == (last.holder, last.taker);
            if is_of_it && hand_out(lane, offset, tracked) <= end {
                push_run(&mut runs, Place { lane: lane.number, offset });
            }
        }
    }
    let acked = runs.iter().map(|run| run.count).sum();
    emit(Event::Acked { queue: queue.number, runs });
    trimming::trim(queue, emit);
    Ok(Outcome::Accept(Reply::AckedThrough { messages: acked }))
}
