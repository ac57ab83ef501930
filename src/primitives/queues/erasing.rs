//! Purging and deleting, in steps: no step takes longer than a large batch does.

use super::chunk::bits;
use super::command::{Erasing, Outcome, Place, Refusal};
use super::decide::{Emit, Refused, of_contents};
use super::event::{Event, push_run};
use super::exchanges::{self, ExchangeEvent};
use super::lane::Lane;
use super::queue::Queue;
use super::reply::Reply;
use super::routing::Destination;
use super::rows::COUNTERS;
use super::state::State;
use super::trimming;

/// Chunks that one step takes in hand.
const CHUNKS_PER_STEP: usize = 1024;

/// Lets ready and delayed messages go that are below these places, or that are there now, if none is named.
pub(super) fn purge(queue: &Queue, below: &[Place], emit: Emit<'_, '_>) -> Outcome {
    let ends: Vec<Place> = match below {
        [] => queue.lanes.iter().map(|lane| Place { lane: lane.number, offset: lane.end }).collect(),
        _ => below.to_vec(),
    };
    let (mut messages, mut runs, mut left, mut chunks) = (0, Vec::new(), Vec::new(), CHUNKS_PER_STEP);
    let mut passed = Vec::new();
    for end in ends {
        let Some(lane) = queue.lane(end.lane) else { continue };
        let offset = end.offset.min(lane.end);
        let (gone, has_more) = purge_exceptions(lane, offset, &mut chunks, &mut runs);
        messages += gone;
        if has_more {
            left.push(end);
            continue;
        }
        let in_line = lane.in_line_below(offset);
        if in_line > 0 {
            messages += in_line;
            passed.push(Event::Passed { queue: queue.number, lane: lane.number, cursor: offset });
        }
    }
    if messages == 0 {
        return Outcome::Unchanged { reply: Reply::Purged { messages, left }, rests_on: Some(of_contents(queue)) };
    }
    if !runs.is_empty() {
        emit(Event::Gone { queue: queue.number, runs });
    }
    passed.into_iter().for_each(&mut *emit);
    trimming::trim(queue, emit);
    Outcome::Accept(Reply::Purged { messages, left })
}

/// Those that are not in line. Tells how many, and whether there are more.
fn purge_exceptions(lane: &Lane, end: u64, chunks: &mut usize, runs: &mut Vec<super::event::Run>) -> (u64, bool) {
    let mut messages = 0;
    for (number, chunk) in lane.chunks.range(..end.div_ceil(64)) {
        let purged = chunk.ready | chunk.backoff | chunk.delayed;
        if purged == 0 {
            continue;
        }
        if *chunks == 0 {
            return (messages, true);
        }
        *chunks -= 1;
        for bit in bits(purged) {
            let offset = number * 64 + u64::from(bit.trailing_zeros());
            if offset < end {
                push_run(runs, Place { lane: lane.number, offset });
                messages += 1;
            }
        }
    }
    (messages, false)
}

pub(super) fn delete(queue: &Queue, emit: Emit<'_, '_>) -> Result<Outcome, Refused> {
    if queue.flying > 0 {
        return Err(Refusal::InFlight { count: queue.flying }.resting_on(of_contents(queue)));
    }
    emit(Event::Retired { queue: queue.number });
    Ok(Outcome::Accept(Reply::Done))
}

/// Forgets a step of what is left of something deleted: its bindings first.
pub(super) fn erase(state: &State, what: Erasing, emit: Emit<'_, '_>) -> Outcome {
    let exchange = match what {
        Erasing::Exchange(exchange) => Some(exchange).filter(|exchange| state.exchanges.is_retired(*exchange)),
        Erasing::Queue(_) => None,
        Erasing::Any => state.exchanges.first_retired(),
    };
    if let Some(exchange) = exchange {
        if exchanges::unbind_step(state, Destination::Exchange(exchange), emit).is_none() {
            emit(Event::OfExchanges(ExchangeEvent::Removed { exchange }));
            let is_last = what != Erasing::Any;
            return Outcome::Accept(if is_last { Reply::Done } else { Reply::More });
        }
        return Outcome::Accept(Reply::More);
    }
    let retired = match what {
        Erasing::Queue(queue) => state.retired.get(&queue),
        Erasing::Exchange(_) => None,
        Erasing::Any => state.retired.first(),
    };
    let Some(queue) = retired.map(|number| &state.queues[number]) else {
        return Outcome::Unchanged { reply: Reply::Done, rests_on: Some(COUNTERS) };
    };
    if exchanges::unbind_step(state, Destination::Queue(queue.number), emit).is_some() {
        return Outcome::Accept(Reply::More);
    }
    let (number, mut chunks) = (queue.number, CHUNKS_PER_STEP);
    for lane in &queue.lanes {
        let mut numbers = lane.chunks.iter().filter(|(_, chunk)| !chunk.is_empty()).map(|(number, _)| *number);
        let taken = numbers.by_ref().take(chunks.max(1)).fold((0, 0), |(count, _), number| (count + 1, number));
        if taken.0 > 0 {
            emit(Event::Erased { queue: number, lane: lane.number, chunk: taken.1 });
        }
        chunks = chunks.saturating_sub(taken.0);
        if numbers.next().is_some() {
            return Outcome::Accept(Reply::More);
        }
    }
    for lane in &queue.lanes {
        emit(Event::LaneClosed { queue: number, lane: lane.number, log: lane.log });
    }
    emit(Event::Deleted { queue: number, notes: queue.notes.log });
    Outcome::Accept(if state.retired.len() > 1 { Reply::More } else { Reply::Done })
}
