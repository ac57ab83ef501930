//! Purging and deleting, in steps: no step takes longer than a large batch does.

use super::chunk::{bits, chunk_of};
use super::command::{Erasing, Outcome, Place, Refusal, Stretch};
use super::decide::{Emit, Refused, of_contents};
use super::dedup::{EntryPoint, forget_step};
use super::event::{Event, Run, push_run};
use super::exchanges::{self, ExchangeEvent};
use super::lane::Lane;
use super::queue::Queue;
use super::reply::Reply;
use super::routing::Destination;
use super::rows::COUNTERS;
use super::state::State;
use super::trimming;
use crate::base::bounds::DEDUP_PURGED_PER_STEP_MAX;

/// Chunks that one step takes in hand.
const CHUNKS_PER_STEP: usize = 1024;

/// Lets ready and delayed messages go that are in these stretches, or that are there now, if none is named.
pub(super) fn purge(queue: &Queue, left: &[Stretch], emit: Emit<'_, '_>) -> Outcome {
    let whole = |lane: &Lane| Stretch { lane: lane.number, from: 0, end: lane.end };
    let mut stretches: Vec<Stretch> = match left {
        [] => queue.lanes.iter().map(whole).collect(),
        _ => left.to_vec(),
    };
    // A lane that is named twice would be counted twice.
    stretches.sort_unstable_by_key(|stretch| stretch.lane);
    stretches.dedup_by_key(|stretch| stretch.lane);
    let (mut runs, mut passed, mut left, mut chunks) = (Vec::new(), Vec::new(), Vec::new(), CHUNKS_PER_STEP);
    let mut messages = 0;
    for stretch in stretches {
        let Some(lane) = queue.lane(stretch.lane) else { continue };
        let step = match queue.living() {
            Some(_) => stretch.from.max(lane.cursor).saturating_add(DEDUP_PURGED_PER_STEP_MAX),
            None => stretch.end,
        };
        let of_step = Stretch { end: stretch.end.min(step), ..stretch };
        let cursor = purge_exceptions(lane, &of_step, &mut chunks, &mut runs);
        if cursor < stretch.end.min(lane.end) {
            left.push(Stretch { from: cursor, ..stretch });
        }
        let in_line = lane.in_line_below(cursor);
        if in_line > 0 {
            messages += in_line;
            passed.push((lane, cursor));
        }
    }
    messages += runs.iter().map(|run| run.count).sum::<u64>();
    if messages == 0 {
        return Outcome::Unchanged { reply: Reply::Purged { messages, left }, rests_on: Some(of_contents(queue)) };
    }
    if !runs.is_empty() {
        emit(Event::Gone { queue: queue.number, runs });
    }
    passed.iter().for_each(|(lane, cursor)| {
        emit(Event::Passed { queue: queue.number, lane: lane.number, cursor: *cursor });
    });
    trimming::trim(queue, emit);
    // Nobody may come by again who would tell how much has gone.
    for (lane, cursor) in passed {
        if let Some(start) = lane.wants_trim_at(cursor) {
            emit(Event::Trimmed { queue: queue.number, lane: Some(lane.number), log: lane.log, start });
        }
    }
    Outcome::Accept(Reply::Purged { messages, left })
}

/// Those that are not in line. Every chunk that is looked at counts, since one that only says something of messages in
/// line is as much work as others. Tells how far this step goes.
fn purge_exceptions(lane: &Lane, stretch: &Stretch, chunks: &mut usize, runs: &mut Vec<Run>) -> u64 {
    let end = stretch.end.min(lane.end);
    // The cursor is not before what an earlier step has done: what is in line is never left behind.
    let from = stretch.from.min(lane.cursor).min(end);
    for (number, chunk) in lane.chunks.range(chunk_of(from)..end.div_ceil(64)) {
        if *chunks == 0 {
            return number * 64;
        }
        *chunks -= 1;
        for bit in bits(chunk.ready | chunk.backoff | chunk.delayed) {
            let offset = number * 64 + u64::from(bit.trailing_zeros());
            if offset < end {
                push_run(runs, Place { lane: lane.number, offset });
            }
        }
    }
    end
}

pub(super) fn delete(state: &State, queue: &Queue, emit: Emit<'_, '_>) -> Result<Outcome, Refused> {
    if let Some(refusal) = state.is_target(Destination::Queue(queue.number)) {
        return Err(refusal.resting_on(COUNTERS));
    }
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
        if forget_step(state, EntryPoint::Exchange(exchange), emit).is_some() {
            return Outcome::Accept(Reply::More);
        }
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
    if forget_step(state, EntryPoint::Queue(queue.number), emit).is_some() {
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
