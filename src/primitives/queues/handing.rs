//! Handing messages out.

use super::chunk::bit;
use super::command::{Holder, Outcome, Place, Reason, Refusal};
use super::consumers::{self, Room, Taker};
use super::decide::{Emit, Refused, of_contents};
use super::event::{Event, Run, push_run};
use super::lane::Lane;
use super::picking::{Candidates, Found};
use super::queue::Queue;
use super::reply::{HandedRun, Reply};
use super::returning::reason_of_expiry;
use super::state::State;
use crate::base::bounds::{HANDED_RUNS_MAX, IN_FLIGHT_MAX, MESSAGES_PER_RECEIVE_MAX, MESSAGES_PER_TICK_MAX};
use crate::base::time::Timestamp;
use crate::engine::machine::Context;

/// Says that a waiter must look again in any case: something is there and may not be shown yet.
pub(crate) const KNOWS_NOTHING: u64 = u64::MAX;

pub(super) fn receive<'c>(
    state: &State,
    queue: &Queue,
    holder: Holder,
    taker: Taker,
    max: u32,
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    let shown = |lane: &Lane| context.shown(lane.log);
    if queue.is_paused {
        return Ok(nothing(queue, false));
    }
    let max = (max as usize).clamp(1, MESSAGES_PER_RECEIVE_MAX);
    let max = match consumers::room(state, queue, holder, taker, max, context) {
        Room::Unjoined => return Ok(Outcome::Unchanged { reply: Reply::Unjoined, rests_on: None }),
        Room::Yields => return Ok(Outcome::Unchanged { reply: Reply::Yields, rests_on: None }),
        Room::Of(0) => return Ok(Outcome::Unchanged { reply: Reply::NoRoom, rests_on: None }),
        Room::Of(max) => max,
    };
    let max = max.min(IN_FLIGHT_MAX.saturating_sub(state.shared.in_flight));
    let has_suspect = state.shared.held.get(&holder).is_some_and(|held| held.suspects > 0);
    let mut candidates = Candidates::of(queue, context.now.wall, !has_suspect, &shown);
    let (mut handed, mut expired) = (Vec::new(), Expired::default());
    while handed.len() < max.max(1) && expired.count < MESSAGES_PER_TICK_MAX {
        match candidates.next() {
            None => break,
            Some(Found::Expired { place }) => expired.add(queue, place),
            Some(Found::Message { .. }) if max == 0 => {
                let (max, actual) = (IN_FLIGHT_MAX as u64, state.shared.in_flight as u64 + 1);
                let limit = "messages in flight of all queues";
                return Err(Refusal::LimitExceeded { limit, max, actual }.resting_on(of_contents(queue)));
            }
            Some(Found::Message { place, is_suspect }) => {
                handed.push(place);
                if is_suspect {
                    candidates.take_no_suspects();
                }
            }
        }
    }
    let has_hidden = queue.lanes.iter().any(|lane| shown(lane) < lane.end);
    let may_have_more = expired.count == MESSAGES_PER_TICK_MAX;
    let is_unchanged = handed.is_empty() && expired.count == 0;
    expired.emit(queue, context.now.wall, emit);
    if handed.is_empty() {
        let outcome = nothing(queue, has_hidden || may_have_more);
        return Ok(match outcome {
            Outcome::Unchanged { reply, .. } if !is_unchanged => Outcome::Accept(reply),
            outcome => outcome,
        });
    }
    let mut told = told(queue, &handed);
    if holder != Holder::HOST && told.len() > HANDED_RUNS_MAX {
        told.truncate(HANDED_RUNS_MAX);
        handed.truncate(told.iter().map(|run| run.count as usize).sum());
    }
    let mut runs: Vec<Run> = Vec::new();
    handed.into_iter().for_each(|place| push_run(&mut runs, place));
    let until = context.now.boot.plus(queue.options.visibility_micros);
    emit(Event::HandedOut { queue: queue.number, holder, until, taker, runs });
    Ok(Outcome::Accept(Reply::Handed(told)))
}

fn nothing(queue: &Queue, looks_again: bool) -> Outcome {
    let known = if looks_again { KNOWS_NOTHING } else { queue.news };
    Outcome::Unchanged { reply: Reply::Nothing { known }, rests_on: None }
}

/// What is told of the messages that are handed out.
pub(super) fn told(queue: &Queue, handed: &[Place]) -> Vec<HandedRun> {
    let mut runs: Vec<HandedRun> = Vec::new();
    for place in handed {
        let lane = queue.lane(place.lane).expect("a message was found in its lane");
        let tracked = lane.chunk(place.offset).and_then(|chunk| chunk.tracked(bit(place.offset)));
        let (acquired, failed) = tracked.map_or((1, 0), |tracked| (tracked.acquired + 1, tracked.failed));
        match runs.last_mut() {
            Some(run)
                if run.lane == place.lane
                    && run.first + u64::from(run.count) == place.offset
                    && (run.acquired, run.failed) == (acquired, failed) =>
            {
                run.count += 1;
            }
            _ => runs.push(HandedRun {
                lane: place.lane,
                priority: lane.priority,
                log: lane.log,
                first: place.offset,
                count: 1,
                acquired,
                failed,
            }),
        }
    }
    runs
}

/// Messages whose time is over, by the reason of their death.
#[derive(Default)]
pub(super) struct Expired {
    of_ttl: Vec<Run>,
    of_deadline: Vec<Run>,
    pub(super) count: usize,
}

impl Expired {
    pub(super) fn add(&mut self, queue: &Queue, place: Place) {
        let runs = match reason_of_expiry(queue, place) {
            Reason::Deadline => &mut self.of_deadline,
            _ => &mut self.of_ttl,
        };
        push_run(runs, place);
        self.count += 1;
    }

    pub(super) fn emit(self, queue: &Queue, now: Timestamp, emit: Emit<'_, '_>) {
        for (reason, runs) in [(Reason::Expired, self.of_ttl), (Reason::Deadline, self.of_deadline)] {
            if !runs.is_empty() {
                let (queue, at, end) = (queue.number, now, queue.options.dead_letters.end());
                emit(Event::Expired { queue, reason, at, end, runs });
            }
        }
    }
}
