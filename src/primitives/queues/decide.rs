//! The rules: which commands are accepted, and what becomes true by them.
//!
//! A command is checked whole before its first event is given out.

use super::command::{Command, Outcome, QueueNumber, Refusal};
use super::consumers;
use super::erasing;
use super::event::Event;
use super::exchanges;
use super::handing;
use super::letters;
use super::looking;
use super::options::Options;
use super::overlay::Overlay;
use super::queue::Queue;
use super::reply::Reply;
use super::returning;
use super::rows::{COUNTERS, news_row, queue_row};
use super::sending;
use super::settling;
use super::state::State;
use super::ticking;
use crate::base::bounds::{LANES_MAX, PRIORITY_DEFAULT, QUEUES_MAX};
use crate::base::log::LogId;
use crate::base::name;
use crate::base::row::RowKey;
use crate::engine::machine::Context;

/// A refusal, and the object that it reveals.
pub(super) struct Refused {
    refusal: Refusal,
    rests_on: Option<RowKey>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused { refusal, rests_on: None }
    }
}

impl Refusal {
    pub(super) fn resting_on(self, row: RowKey) -> Refused {
        Refused { refusal: self, rests_on: Some(row) }
    }

    fn limit(limit: &'static str, max: usize, actual: usize) -> Refusal {
        Refusal::LimitExceeded { limit, max: max as u64, actual: actual as u64 }
    }
}

/// The facts of a command that is being decided.
pub(super) type Emit<'e, 'c> = &'e mut dyn FnMut(Event<'c>);

/// Decides one command on the state with `overlay` applied; `emit` takes the events of an accepted one.
pub(crate) fn decide<'c>(
    state: &State,
    overlay: &Overlay,
    command: &Command<'c>,
    context: &Context<'_>,
    mut emit: impl FnMut(Event<'c>),
) -> Outcome {
    let state = overlay.over(state);
    let decided = decide_on(state, command, context, &mut emit);
    decided.unwrap_or_else(|Refused { refusal, rests_on }| Outcome::Refuse { refusal, rests_on })
}

fn decide_on<'c>(
    state: &State,
    command: &Command<'c>,
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    match *command {
        Command::Send { queue, messages } => sending::send(state, find(state, queue)?, messages, context, emit),
        Command::Receive { queue, holder, taker, max } => {
            handing::receive(state, find(state, queue)?, holder, taker, max, context, emit)
        }
        Command::Join(joining) => consumers::join(state, find(state, joining.queue)?, joining, emit),
        Command::Leave { queue, holder, consumer } => Ok(consumers::leave(state, queue, holder, consumer, emit)),
        Command::AckThrough { queue, delivery } => consumers::ack_through(find(state, queue)?, &delivery, emit),
        Command::Settle { queue, how, deliveries } => {
            settling::settle(find(state, queue)?, &how, deliveries, context, emit)
        }
        Command::Create { name, options } => create(state, name, &options, context, emit),
        Command::Ensure { name, options } => ensure(state, name, &options, context, emit),
        Command::Pause { queue, is_paused } => {
            let row = queue_row(queue);
            if find(state, queue)?.is_paused == is_paused {
                return Ok(Outcome::Unchanged { reply: Reply::Done, rests_on: Some(row) });
            }
            emit(Event::Paused { queue, is_paused });
            Ok(Outcome::Accept(Reply::Done))
        }
        Command::Delete { queue } => erasing::delete(find(state, queue)?, emit),
        Command::Erase { what } => Ok(erasing::erase(state, what, emit)),
        Command::Publish { exchange, messages, limits } => {
            exchanges::publish(state, exchange, messages, limits, context, emit)
        }
        Command::DeclareExchange { name, options } => exchanges::declare(state, name, options, emit),
        Command::EnsureExchange { name, options } => exchanges::alter(state, name, options, emit),
        Command::DeleteExchange { exchange } => exchanges::delete(state, exchange, emit),
        Command::Bind { binding } => exchanges::bind(state, binding, emit),
        Command::Unbind { binding } => exchanges::unbind(state, binding, emit),
        Command::Purge { queue, left } => Ok(erasing::purge(find(state, queue)?, left, emit)),
        Command::Bury { queue, letters } => letters::bury(find(state, queue)?, letters, emit),
        Command::Redrive { queue, letters, messages } => {
            letters::redrive(state, find(state, queue)?, letters, messages, context, emit)
        }
        Command::Cancel { queue, sequence } => looking::cancel(find(state, queue)?, sequence, emit),
        Command::Reschedule { queue, sequence, due } => {
            looking::reschedule(find(state, queue)?, sequence, due, context, emit)
        }
        Command::Tick { log, clock } => Ok(ticking::tick(state, log, clock, context, emit)),
        Command::Release { holder } => Ok(returning::release_all(state, holder, context.now, emit)),
        Command::End { holder } => Ok(returning::end(state, holder, context.now, emit)),
        Command::Adopt { from } => Ok(returning::adopt(state, from, emit)),
        Command::BeginLife => Ok(returning::begin_life(state, context, emit)),
    }
}

fn find(state: &State, queue: QueueNumber) -> Result<&Queue, Refused> {
    state.get(queue).ok_or_else(|| Refusal::NotFound.resting_on(COUNTERS))
}

fn check_options(options: &Options) -> Result<(), Refused> {
    options.check().map_err(|(option, reason)| Refusal::InvalidOption { option, reason }.into())
}

fn create<'c>(
    state: &State,
    name: &'c str,
    options: &Options,
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    check_options(options)?;
    let Some(queue) = state.find(name).and_then(|number| state.get(number)) else {
        return open(state, name, options, context, emit);
    };
    let rests_on = queue_row(queue.number);
    if queue.options != *options {
        let differences = queue.options.differences(options);
        return Err(Refusal::Mismatch { differences }.resting_on(rests_on));
    }
    Ok(Outcome::Unchanged { reply: Reply::Queue(queue.number), rests_on: Some(rests_on) })
}

fn ensure<'c>(
    state: &State,
    name: &'c str,
    options: &Options,
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    check_options(options)?;
    match state.find(name).and_then(|number| state.get(number)) {
        None => open(state, name, options, context, emit),
        Some(queue) if queue.options == *options => {
            let rests_on = Some(queue_row(queue.number));
            Ok(Outcome::Unchanged { reply: Reply::Queue(queue.number), rests_on })
        }
        Some(queue) => {
            emit(Event::Altered { queue: queue.number, options: *options });
            Ok(Outcome::Accept(Reply::Queue(queue.number)))
        }
    }
}

fn open<'c>(
    state: &State,
    name: &'c str,
    options: &Options,
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    name::check(name).map_err(Refusal::InvalidName)?;
    let queues = state.queues.len() + 1;
    if queues > QUEUES_MAX {
        return Err(Refusal::limit("queues", QUEUES_MAX, queues).resting_on(COUNTERS));
    }
    check_lanes(state, 1)?;
    let (queue, notes) = (QueueNumber(state.counters.queue), LogId(state.counters.log));
    returning::clock_began(state, context).into_iter().for_each(&mut *emit);
    emit(Event::Created { queue, notes, options: *options, name });
    // Its timer is by the boot clock, the one of its notes by the wall clock.
    let log = LogId(notes.0 + 1);
    emit(Event::LaneOpened { queue, lane: state.free_lane(0), priority: PRIORITY_DEFAULT, log });
    Ok(Outcome::Accept(Reply::Queue(queue)))
}

pub(super) fn check_lanes(state: &State, more: usize) -> Result<(), Refused> {
    let lanes = state.lanes.len() + more;
    match lanes > LANES_MAX {
        true => Err(Refusal::limit("priorities in use of all queues", LANES_MAX, lanes).into()),
        false => Ok(()),
    }
}

/// What a refusal rests on that tells how many messages a queue has.
pub(super) fn of_contents(queue: &Queue) -> RowKey {
    news_row(queue.number)
}
