//! The rules: which commands are accepted, and what becomes true by them.
//!
//! A command is checked whole before its first event is given out.

use super::command::{Command, Outcome, QueueNumber, Refusal};
use super::consumers;
use super::dedup::{EntryPoint, forget_by_change};
use super::erasing;
use super::event::Event;
use super::exchanges;
use super::handing;
use super::letters;
use super::looking;
use super::moving;
use super::options::Options;
use super::overlay::Overlay;
use super::queue::Queue;
use super::reply::Reply;
use super::returning;
use super::routing::Destination;
use super::rows::{COUNTERS, news_row, queue_row};
use super::schedules;
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

impl Refused {
    pub(super) fn into_refusal(self) -> Refusal {
        self.refusal
    }
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
        Command::Create { name, options } => create(state, name, options, false, context, emit),
        Command::Ensure { name, options } => create(state, name, options, true, context, emit),
        Command::Pause { queue, is_paused } => {
            let row = queue_row(queue);
            if find(state, queue)?.is_paused == is_paused {
                return Ok(Outcome::Unchanged { reply: Reply::Done, rests_on: Some(row) });
            }
            emit(Event::Paused { queue, is_paused });
            Ok(Outcome::Accept(Reply::Done))
        }
        Command::Delete { queue } => {
            let found = find(state, queue)?;
            schedules::check_no_target(state, Destination::Queue(queue))?;
            erasing::delete(state, found, emit)
        }
        Command::Erase { what } => Ok(erasing::erase(state, what, emit)),
        Command::Publish { exchange, messages, limits } => {
            exchanges::publish(state, exchange, messages, limits, context, emit)
        }
        Command::DeclareExchange { name, options } => exchanges::declare(state, name, options, emit),
        Command::EnsureExchange { name, options } => exchanges::alter(state, name, options, context, emit),
        Command::DeleteExchange { exchange } => {
            schedules::check_no_target(state, Destination::Exchange(exchange))?;
            exchanges::delete(state, exchange, emit)
        }
        Command::Bind { binding } => exchanges::bind(state, binding, emit),
        Command::Unbind { binding } => exchanges::unbind(state, binding, emit),
        Command::Purge { queue, left } => Ok(erasing::purge(find(state, queue)?, left, emit)),
        Command::Bury { queue, letters } => letters::bury(find(state, queue)?, letters, emit),
        Command::Redrive { queue, letters, messages, to } => {
            moving::redrive(state, find(state, queue)?, letters, messages, to, context, emit)
        }
        Command::MoveOn { queue, letters, messages, to, unread } => {
            moving::move_on(state, find(state, queue)?, letters, messages, to, unread, context, emit)
        }
        Command::Cancel { queue, sequence } => looking::cancel(find(state, queue)?, sequence, emit),
        Command::Reschedule { queue, sequence, due } => {
            looking::reschedule(find(state, queue)?, sequence, due, context, emit)
        }
        Command::Schedule { name, plan, message } => {
            schedules::schedule(state, name, plan, message, context.now.wall, emit)
        }
        Command::RemoveSchedule { name } => schedules::remove(state, name, emit),
        Command::PauseSchedule { name, is_paused } => schedules::pause(state, name, is_paused, context.now.wall, emit),
        Command::RunSchedule => Ok(schedules::run(state, context, emit)),
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

/// Creates a queue; one that is there is given these options if that is asked for, and compared with them if not.
fn create<'c>(
    state: &State,
    name: &'c str,
    options: &Options,
    alters: bool,
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    options.check().map_err(|(option, reason)| Refusal::InvalidOption { option, reason })?;
    let found = state.find(name).and_then(|number| state.get(number));
    state.check_target(found.map(|queue| queue.number), &options.dead_letters)?;
    let Some(queue) = found else { return open(state, name, options, context, emit) };
    let (number, rests_on) = (queue.number, queue_row(queue.number));
    if queue.options == *options {
        return Ok(Outcome::Unchanged { reply: Reply::Queue(number), rests_on: Some(rests_on) });
    }
    if !alters {
        let differences = queue.options.differences(options);
        return Err(Refusal::Mismatch { differences }.resting_on(rests_on));
    }
    if !queue.options.dedup.is_alike(options.dedup) {
        let differences = queue.options.differences(&Options { dedup: options.dedup, ..queue.options.clone() });
        return Err(Refusal::Mismatch { differences }.resting_on(rests_on));
    }
    emit(Event::Altered { queue: number, options: options.clone() });
    let (entry, horizons) = (EntryPoint::Queue(number), [queue.options.dedup, options.dedup]);
    forget_by_change(state, entry, horizons, context.now.wall, emit);
    Ok(Outcome::Accept(Reply::Queue(number)))
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
    emit(Event::Created { queue, notes, options: options.clone(), name });
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
