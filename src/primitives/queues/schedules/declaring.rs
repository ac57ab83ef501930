//! Which schedules are accepted.

use crate::base::bounds::{BODY_BYTES_MAX, SCHEDULE_MESSAGE_BYTES_MAX, SCHEDULES_MAX};
use crate::base::log::LogId;
use crate::base::name;
use crate::base::time::Timestamp;

use super::super::command::{Outcome, Refusal};
use super::super::decide::{Emit, Refused};
use super::super::event::Event;
use super::super::exchanges::{DEFAULT as DEFAULT_EXCHANGE, exchange_row};
use super::super::message::{Message, Origin};
use super::super::reply::Reply;
use super::super::routing::Destination;
use super::super::rows::queue_row;
use super::super::sending;
use super::super::state::State;
use super::fact::ScheduleEvent;
use super::kept::keep;
use super::plan::{Plan, Target};
use super::rows::{SCHEDULES, schedule_row};
use super::{Schedule, Schedules};

/// Makes a schedule, or gives the one with this name this plan and message. Its next run stays what it is unless the
/// plan names other times.
pub(in crate::primitives::queues) fn schedule<'c>(
    state: &State,
    name: &'c str,
    plan: &Plan,
    message: &Message<'_>,
    now: Timestamp,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    name::check(name).map_err(Refusal::InvalidName)?;
    let bytes = keep(message)?;
    check_message(state, plan, message)?;
    let schedules = &*state.schedules;
    let found = schedules.find(name);
    if let Some(found) = found.filter(|found| found.plan == *plan && found.message == bytes) {
        let rests_on = Some(schedule_row(found.number));
        return Ok(Outcome::Unchanged { reply: Reply::Done, rests_on });
    }
    let next = match found.filter(|found| found.plan.when == plan.when) {
        Some(found) => found.next,
        None => {
            plan.when.check(now)?;
            plan.when.first(now)
        }
    };
    check_target(state, &plan.target)?;
    if found.is_none() && schedules.all.len() >= SCHEDULES_MAX {
        let (max, actual) = (SCHEDULES_MAX as u64, schedules.all.len() as u64 + 1);
        return Err(Refusal::LimitExceeded { limit: "schedules", max, actual }.resting_on(SCHEDULES));
    }
    if schedules.log.is_none() {
        emit(Event::OfSchedules(ScheduleEvent::Began { log: LogId(state.counters.log) }));
    }
    let number = found.map_or_else(|| schedules.free_number(), |found| found.number);
    let (plan, message) = (plan.clone(), bytes);
    emit(Event::OfSchedules(ScheduleEvent::Scheduled { number, next, plan, message, name }));
    Ok(Outcome::Accept(Reply::Done))
}

/// Each run would be refused for what is refused here.
fn check_message(state: &State, plan: &Plan, message: &Message<'_>) -> Result<(), Refused> {
    let origin = match &plan.target {
        Target::Queue(_) => None,
        Target::Exchange { routing_key, .. } => Some(Origin { exchange: "", routing_key }),
    };
    sending::check(state, &[Message { origin, ..*message }])
}

fn check_target(state: &State, target: &Target) -> Result<(), Refused> {
    match target {
        Target::Queue(queue) => match state.get(*queue) {
            Some(_) => Ok(()),
            None => Err(Refusal::NoDestination.resting_on(queue_row(*queue))),
        },
        Target::Exchange { exchange: DEFAULT_EXCHANGE, .. } => {
            let reason = "it is the default exchange; name the queue itself";
            Err(Refusal::InvalidOption { option: "target", reason }.into())
        }
        Target::Exchange { exchange, .. } => match state.exchanges.get(*exchange) {
            Some(_) => Ok(()),
            None => Err(Refusal::NoDestination.resting_on(exchange_row(*exchange))),
        },
    }
}

fn find<'s>(schedules: &'s Schedules, name: &str) -> Result<&'s Schedule, Refused> {
    schedules.find(name).ok_or_else(|| Refusal::NotFound.resting_on(SCHEDULES))
}

pub(in crate::primitives::queues) fn remove(state: &State, name: &str, emit: Emit<'_, '_>) -> Result<Outcome, Refused> {
    let number = find(&state.schedules, name)?.number;
    emit(Event::OfSchedules(ScheduleEvent::Removed { number }));
    Ok(Outcome::Accept(Reply::Done))
}

/// Lets a schedule rest, or go on with the first run that is to come.
pub(in crate::primitives::queues) fn pause(
    state: &State,
    name: &str,
    is_paused: bool,
    now: Timestamp,
    emit: Emit<'_, '_>,
) -> Result<Outcome, Refused> {
    let schedule = find(&state.schedules, name)?;
    if schedule.is_paused == is_paused {
        let rests_on = Some(schedule_row(schedule.number));
        return Ok(Outcome::Unchanged { reply: Reply::Done, rests_on });
    }
    let next = match is_paused {
        true => schedule.next,
        false => schedule.next.and_then(|next| schedule.plan.when.resumed(next, now)),
    };
    emit(Event::OfSchedules(ScheduleEvent::Paused { number: schedule.number, is_paused, next }));
    Ok(Outcome::Accept(Reply::Done))
}

/// What a schedule sends to is not deleted.
pub(in crate::primitives::queues) fn check_no_target(state: &State, destination: Destination) -> Result<(), Refused> {
    let is_target = |schedule: &&Schedule| match (&schedule.plan.target, destination) {
        (Target::Queue(target), Destination::Queue(queue)) => *target == queue,
        (Target::Exchange { exchange: target, .. }, Destination::Exchange(exchange)) => *target == exchange,
        _ => false,
    };
    match state.schedules.all.values().find(is_target) {
        Some(schedule) => Err(Refusal::IsScheduled { schedule: schedule.name.to_string() }.resting_on(SCHEDULES)),
        None => Ok(()),
    }
}

const _: () = assert!(SCHEDULE_MESSAGE_BYTES_MAX <= BODY_BYTES_MAX);
