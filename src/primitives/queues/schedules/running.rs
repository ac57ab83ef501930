//! A run: whether it sends its message, and the sending.
//!
//! A run is *missed* if a later one of the same schedule has come too, or if it is late by more than
//! `SCHEDULE_LATE_MICROS`: nobody was there.

use crate::base::bounds::{MISSED_RUNS_MAX, SCHEDULE_ERROR_BYTES_MAX, SCHEDULE_LATE_MICROS, SCHEDULE_PLACES_MAX};
use crate::base::time::Timestamp;
use crate::engine::machine::Context;
use crate::primitives::record::Header;

use super::super::chunk::bit;
use super::super::command::{Outcome, Place, QueueNumber, Refusal};
use super::super::decide::{Emit, Refused};
use super::super::event::Event;
use super::super::exchanges::{self, Limits};
use super::super::message::Origin;
use super::super::reply::Reply;
use super::super::sending;
use super::super::sent::Sent;
use super::super::state::State;
use super::Schedule;
use super::fact::{Reason, ScheduleEvent, Step};
use super::kept::KeptMessage;
use super::plan::{MissedRuns, OverlappingRuns, Target};

/// Headers that the message of a run has before those that it was given.
const NAME_HEADER: &str = "x-schedule";
const RUN_HEADER: &str = "x-scheduled-at";

/// Brings the schedule that is due first past a run.
pub(in crate::primitives::queues) fn run(state: &State, context: &Context<'_>, emit: Emit<'_, '_>) -> Outcome {
    let now = context.now.wall;
    let Some((first, schedule)) = state.schedules.first_due(now) else {
        return Outcome::Unchanged { reply: Reply::Done, rests_on: None };
    };
    let (step, sends) = passing(schedule, first, now);
    let mut leave_out = |reason, text: &str| {
        let (step, text) = (Step { left_out: step.left_out + u64::from(sends), ..step }, cut(text).into());
        emit(Event::OfSchedules(ScheduleEvent::LeftOut { step, reason, text }));
    };
    if !sends {
        leave_out(Reason::Missed, "");
    } else if schedule.plan.overlap == OverlappingRuns::Skip && is_unsettled(state, &schedule.unsettled) {
        leave_out(Reason::Overlap, "");
    } else {
        match send(state, schedule, step.run, context) {
            Err(refusal) => leave_out(Reason::Refused, &said(&refusal)),
            Ok((events, places)) => {
                emit(Event::OfSchedules(ScheduleEvent::Sent { step, places }));
                events.into_iter().for_each(emit);
            }
        }
    }
    Outcome::Accept(Reply::Done)
}

/// Which runs a schedule comes past, and whether one of them is to send the message.
fn passing(schedule: &Schedule, first: Timestamp, now: Timestamp) -> (Step, bool) {
    let (when, missed) = (&schedule.plan.when, schedule.plan.missed);
    let made_up = schedule.history.made_up;
    if missed == MissedRuns::All && made_up < MISSED_RUNS_MAX {
        let next = when.following(first);
        let made_up = if next.is_some_and(|next| next <= now) { made_up + 1 } else { 0 };
        return (Step { number: schedule.number, run: first, at: now, next, left_out: 0, made_up }, true);
    }
    let come = when.come(first, now);
    let is_late = now.0 - come.newest.0 > SCHEDULE_LATE_MICROS;
    let sends = missed != MissedRuns::Skip || !is_late;
    let left_out = come.count - u64::from(sends);
    let (number, run, next) = (schedule.number, come.newest, come.next);
    (Step { number, run, at: now, next, left_out, made_up: 0 }, sends)
}

/// Whether any of these messages is neither gone nor dead.
fn is_unsettled(state: &State, places: &[(QueueNumber, Place)]) -> bool {
    let is_alive = |(queue, place): &(QueueNumber, Place)| {
        let lane = state.get(*queue).and_then(|queue| queue.lane(place.lane));
        let is_dead = |chunk: &super::super::chunk::Chunk| chunk.dead & bit(place.offset) != 0;
        lane.is_some_and(|lane| lane.has(place.offset) && !lane.chunk(place.offset).is_some_and(is_dead))
    };
    places.iter().any(is_alive)
}

type Posted = (Vec<Event<'static>>, Vec<(QueueNumber, Place)>);

/// The facts of sending the message, and the places that are to be looked at before the next run.
fn send(state: &State, schedule: &Schedule, run: Timestamp, context: &Context<'_>) -> Result<Posted, Refusal> {
    let kept = KeptMessage::read(&schedule.message).expect("it was read when the schedule was");
    let run = text_of(run);
    let mut headers = vec![
        Header { name: NAME_HEADER, value: schedule.name.as_bytes() },
        Header { name: RUN_HEADER, value: run.as_bytes() },
    ];
    headers.extend_from_slice(&kept.headers);
    let (mut events, mut places) = (Vec::new(), Vec::new());
    let mut emit = |event: Event<'_>| {
        event.each_sent(|sent| places.extend(places_of(sent)));
        events.push(event.into_owned());
    };
    let outcome = match &schedule.plan.target {
        Target::Queue(queue) => {
            let message = kept.message(&headers, None);
            let queue = state.get(*queue).ok_or(Refusal::NoDestination)?;
            sending::send(state, queue, std::slice::from_ref(&message), context, &mut emit)
        }
        Target::Exchange { exchange, routing_key } => {
            let name = &state.exchanges.get(*exchange).ok_or(Refusal::NoDestination)?.name;
            let message = kept.message(&headers, Some(Origin { exchange: name, routing_key }));
            let messages = std::slice::from_ref(&message);
            exchanges::publish(state, *exchange, messages, Limits::default(), context, &mut emit)
        }
    };
    outcome.map_err(Refused::into_refusal)?;
    match schedule.plan.overlap {
        OverlappingRuns::Allow => places.clear(),
        OverlappingRuns::Skip if places.len() > SCHEDULE_PLACES_MAX => {
            let limit = "queues to which a schedule sends that looks whether its last message is settled";
            return Err(Refusal::LimitExceeded { limit, max: SCHEDULE_PLACES_MAX as u64, actual: places.len() as u64 });
        }
        OverlappingRuns::Skip => {}
    }
    Ok((events, places))
}

fn places_of(sent: &Sent<'_>) -> impl Iterator<Item = (QueueNumber, Place)> {
    let (queue, lane) = (sent.queue, sent.lane);
    (sent.entry.first..sent.entry.end()).map(move |offset| (queue, Place { lane, offset }))
}

/// A time as RFC 3339 has it, in UTC.
fn text_of(time: Timestamp) -> String {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| time.0.to_string(), |time| time.to_string())
}

/// Why a message was refused, for who looks at the schedule.
fn said(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Full { queue, max } => format!("queue `{queue}` holds as many messages as it may: {max}"),
        Refusal::Unroutable { .. } => "no binding leads the message to a queue".to_owned(),
        Refusal::NoDestination | Refusal::NotFound => "what it is sent to is not there any more".to_owned(),
        Refusal::LimitExceeded { limit, max, actual } => format!("{limit}: at most {max}, not {actual}"),
        Refusal::InvalidOption { option, reason } => format!("{option}: {reason}"),
        _ => "the message was refused".to_owned(),
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(SCHEDULE_ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Event<'_> {
    /// Tells what was sent by it.
    fn each_sent(&self, visit: impl FnMut(&Sent<'_>)) {
        match self {
            Event::Sent(sent) => std::slice::from_ref(sent).iter().for_each(visit),
            Event::Published(published) => published.sents().iter().for_each(visit),
            _ => {}
        }
    }

    /// A fact that sending a message comes to, with bytes of its own.
    fn into_owned(self) -> Event<'static> {
        match self {
            Event::Sent(sent) => Event::Sent(sent.into_owned()),
            Event::Published(published) => Event::Published(published.into_owned()),
            Event::LaneOpened { queue, lane, priority, log } => Event::LaneOpened { queue, lane, priority, log },
            // What makes room, and ids that are known from now on.
            Event::Expired { queue, reason, at, end, runs } => Event::Expired { queue, reason, at, end, runs },
            Event::Remembered(fact) => Event::Remembered(fact),
            other => unreachable!("sending does not come to {other:?}"),
        }
    }
}
