//! What the clocks bring about: a step of it with each tick.

use super::chunk::{bits, chunk_of};
use super::command::{Clock, Outcome, Place};
use super::decide::Emit;
use super::event::{Event, push_run};
use super::handing::Expired;
use super::queue::Queue;
use super::reply::Reply;
use super::returning::{NOT_SETTLED, Return, Returning, clock_began, tracked_of};
use super::rows::news_row;
use super::state::State;
use super::trimming;
use crate::base::bounds::{AWAITED_MICROS, MESSAGES_PER_TICK_MAX};
use crate::base::log::LogId;
use crate::base::time::{Now, Timestamp};
use crate::engine::machine::Context;

pub(super) fn tick(state: &State, log: LogId, clock: Clock, context: &Context<'_>, emit: Emit<'_, '_>) -> Outcome {
    let queue = state.logs.get(&log).and_then(|(queue, _)| state.get(*queue));
    // Moments of another clock say nothing of what is due by this one.
    let began = queue.filter(|_| clock == Clock::Boot).and_then(|_| clock_began(state, context));
    if let Some(began) = began {
        emit(began);
        return Outcome::Accept(Reply::Done);
    }
    let changes = queue.map_or(0, |queue| match clock {
        Clock::Wall => {
            let forgotten = state.forget_due(queue, context.now.wall, emit) as usize;
            forgotten + by_wall(queue, context, emit)
        }
        Clock::Boot => by_boot(queue, context.now, emit),
    });
    match changes {
        0 => Outcome::Unchanged { reply: Reply::Done, rests_on: None },
        _ => Outcome::Accept(Reply::Done),
    }
}

/// Delayed messages fall due, and others expire.
fn by_wall(queue: &Queue, context: &Context<'_>, emit: Emit<'_, '_>) -> usize {
    let now = context.now;
    let is_awaited = context.watched.is_watched(news_row(queue.number));
    let (mut due, mut expired) = (Vec::new(), Expired::default());
    for (time, lane, number) in &queue.wall {
        if *time > now.wall || due.len() + expired.count >= MESSAGES_PER_TICK_MAX {
            break;
        }
        let lane = queue.lane(*lane).expect("what is due has its lane");
        let chunk = &lane.chunks[number];
        for bit in bits((chunk.delayed | chunk.expiring) & !chunk.flying) {
            let Some(time) = chunk.time(bit).filter(|time| *time <= now.wall) else { continue };
            let place = Place { lane: lane.number, offset: number * 64 + u64::from(bit.trailing_zeros()) };
            let deadline = tracked_of(queue, place).deadline;
            // One that is due before its deadline falls due, however late: what it dies of then is told rightly.
            let is_over = deadline > 0 && deadline <= time.0;
            match chunk.due(bit).filter(|_| !is_over) {
                Some(_) => due.push((place, expiry(queue, place, time, is_awaited.then_some(now.wall)))),
                None => expired.add(queue, place),
            }
        }
    }
    let changes = due.len() + expired.count;
    if !due.is_empty() {
        emit(Event::FellDue { queue: queue.number, messages: due });
    }
    expired.emit(queue, now.wall, emit);
    if changes > 0 {
        trimming::trim(queue, emit);
    }
    changes
}

/// When a message expires that was delayed until then; `awaited` is now if somebody waits for it.
fn expiry(queue: &Queue, place: Place, due: Timestamp, awaited: Option<Timestamp>) -> Option<Timestamp> {
    let tracked = tracked_of(queue, place);
    let own = (tracked.ttl_micros > 0).then_some(tracked.ttl_micros);
    let by_ttl = own.into_iter().chain(queue.options.ttl_micros).map(|ttl| match awaited {
        // Its own is kept as 1 if it is 0.
        _ if ttl > 1 => Timestamp(due.0.saturating_add(ttl)),
        Some(now) => Timestamp(now.0.saturating_add(AWAITED_MICROS)),
        None => due,
    });
    let by_deadline = (tracked.deadline > 0).then_some(Timestamp(tracked.deadline));
    by_ttl.chain(by_deadline).min()
}

/// Backoffs are over, and visibility timeouts.
fn by_boot(queue: &Queue, now: Now, emit: Emit<'_, '_>) -> usize {
    let (mut back, mut changes) = (Vec::new(), 0);
    let mut returning = Returning::of(queue, now);
    for (time, lane, number) in &queue.boot {
        if *time > now.boot || changes >= MESSAGES_PER_TICK_MAX {
            break;
        }
        let lane = queue.lane(*lane).expect("what is due has its lane");
        let chunk = &lane.chunks[number];
        for (bit, tracked) in chunk.all_tracked().filter(|(_, tracked)| tracked.until <= now.boot) {
            let place = Place { lane: lane.number, offset: number * 64 + u64::from(bit.trailing_zeros()) };
            assert!(chunk_of(place.offset) == *number, "a message is in its chunk");
            if chunk.backoff & bit != 0 {
                push_run(&mut back, place);
            } else if chunk.flying & bit != 0 {
                let how = Return::Failed { error: NOT_SETTLED, delay_micros: None, stays_suspect: tracked.is_suspect };
                returning.add(place, how, emit);
            } else {
                continue;
            }
            changes += 1;
        }
    }
    returning.finish(emit);
    if !back.is_empty() {
        emit(Event::Back { queue: queue.number, runs: back });
    }
    changes
}
