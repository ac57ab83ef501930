//! Facts about schedules, and their bytes: changes among those of queues.
//!
//! | change | event     | fields                                                                            |
//! |--------|-----------|-----------------------------------------------------------------------------------|
//! | 25     | began     | log: it carries the timer of all schedules                                        |
//! | 26     | scheduled | schedule · next · plan · slice(message) · slice(name)                             |
//! | 27     | removed   | schedule                                                                          |
//! | 28     | paused    | schedule · u8 (1 paused) · next                                                   |
//! | 29     | sent      | step · count · per place queue · lane · offset; the messages are the frame's      |
//! |        |           | next events                                                                       |
//! | 30     | left out  | step · reason u8 (1 missed, 2 overlap, 3 refused) · slice(text)                   |
//!
//! A step is schedule · run · when · next · left out · made up. `next` is the time of the next run, 0 if there is none.
//! Plans are as in `plan.rs`, messages as in `kept.rs`.

use crate::base::bounds::SCHEDULE_PLACES_MAX;
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::log::LogId;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;

use super::super::command::{Place, QueueNumber};
use super::super::event::{take_bool, take_lane, take_queue};
use super::ScheduleNumber;
use super::kept::KeptMessage;
use super::plan::Plan;

/// The changes that are of schedules.
pub(in crate::primitives::queues) const SCHEDULE_CHANGES: std::ops::RangeInclusive<u8> = BEGAN..=LEFT_OUT;

const BEGAN: u8 = 25;
const SCHEDULED: u8 = 26;
const REMOVED: u8 = 27;
const PAUSED: u8 = 28;
const SENT: u8 = 29;
const LEFT_OUT: u8 = 30;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ScheduleEvent<'a> {
    Began { log: LogId },
    Scheduled { number: ScheduleNumber, next: Option<Timestamp>, plan: Plan, message: Arc<[u8]>, name: &'a str },
    Removed { number: ScheduleNumber },
    Paused { number: ScheduleNumber, is_paused: bool, next: Option<Timestamp> },
    Sent { step: Step, places: Vec<(QueueNumber, Place)> },
    LeftOut { step: Step, reason: Reason, text: Box<str> },
}

/// A schedule has come past a run, and perhaps past others with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(super) number: ScheduleNumber,
    /// The time that the plan names.
    pub(super) run: Timestamp,
    pub(super) at: Timestamp,
    pub(super) next: Option<Timestamp>,
    /// How many runs sent nothing.
    pub(super) left_out: u64,
    /// How many of those that were missed have been made up for, this one among them.
    pub(super) made_up: u64,
}

/// Why a run sent no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Reason {
    /// It came too late.
    Missed = 1,
    /// The message of the run before was not settled.
    Overlap = 2,
    /// The message was refused.
    Refused = 3,
}

impl Reason {
    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Reason, Malformed> {
        match take.u8()? {
            1 => Ok(Reason::Missed),
            2 => Ok(Reason::Overlap),
            3 => Ok(Reason::Refused),
            _ => Err(Malformed("a reason to leave a run out that there is not")),
        }
    }
}

fn time(time: Option<Timestamp>) -> u64 {
    time.map_or(0, |time| time.0)
}

pub(super) fn take_time(take: &mut Take<'_>) -> Result<Option<Timestamp>, Malformed> {
    take.varint().map(|time| (time > 0).then_some(Timestamp(time)))
}

pub(super) fn place_fields((queue, place): &(QueueNumber, Place)) -> [u64; 3] {
    [u64::from(queue.0), u64::from(place.lane.0), place.offset]
}

pub(super) fn take_places(take: &mut Take<'_>) -> Result<Vec<(QueueNumber, Place)>, Malformed> {
    let count = take.varint()?;
    if count > SCHEDULE_PLACES_MAX as u64 {
        return Err(Malformed("more places than a schedule looks at"));
    }
    let place = |take: &mut Take<'_>| Ok(Place { lane: take_lane(take)?, offset: take.varint()? });
    (0..count).map(|_| Ok((take_queue(take)?, place(take)?))).collect()
}

/// The bytes of a message that can be read.
pub(super) fn take_message(take: &mut Take<'_>) -> Result<Arc<[u8]>, Malformed> {
    let bytes = take.slice()?;
    KeptMessage::read(bytes)?;
    Ok(bytes.into())
}

fn take_number(take: &mut Take<'_>) -> Result<ScheduleNumber, Malformed> {
    let number = take.varint32()?;
    if number > 0 { Ok(ScheduleNumber(number)) } else { Err(Malformed("a schedule without a number")) }
}

impl Step {
    fn fields(&self) -> [u64; 6] {
        [u64::from(self.number.0), self.run.0, self.at.0, time(self.next), self.left_out, self.made_up]
    }

    fn decode(take: &mut Take<'_>) -> Result<Step, Malformed> {
        let (number, run, at) = (take_number(take)?, Timestamp(take.varint()?), Timestamp(take.varint()?));
        Ok(Step { number, run, at, next: take_time(take)?, left_out: take.varint()?, made_up: take.varint()? })
    }
}

fn len_of(fields: &[u64]) -> usize {
    fields.iter().copied().map(varint_len).sum()
}

impl<'a> ScheduleEvent<'a> {
    /// With the byte that tells the change.
    pub(in crate::primitives::queues) fn encoded_len(&self) -> usize {
        1 + match self {
            ScheduleEvent::Began { log } => varint_len(log.0),
            ScheduleEvent::Scheduled { number, next, plan, message, name } => {
                let slices = slice_len(message.len()) + slice_len(name.len());
                len_of(&[u64::from(number.0), time(*next)]) + plan.encoded_len() + slices
            }
            ScheduleEvent::Removed { number } => varint_len(u64::from(number.0)),
            ScheduleEvent::Paused { number, next, .. } => len_of(&[u64::from(number.0), time(*next)]) + 1,
            ScheduleEvent::Sent { step, places } => {
                let places_len: usize = places.iter().map(|place| len_of(&place_fields(place))).sum();
                len_of(&step.fields()) + varint_len(places.len() as u64) + places_len
            }
            ScheduleEvent::LeftOut { step, text, .. } => len_of(&step.fields()) + 1 + slice_len(text.len()),
        }
    }

    pub(in crate::primitives::queues) fn encode(&self, out: &mut Put<'_>) {
        match self {
            ScheduleEvent::Began { log } => {
                out.u8(BEGAN);
                out.varint(log.0);
            }
            ScheduleEvent::Scheduled { number, next, plan, message, name } => {
                out.u8(SCHEDULED);
                out.varints([u64::from(number.0), time(*next)]);
                plan.encode(out);
                out.slice(message);
                out.slice(name.as_bytes());
            }
            ScheduleEvent::Removed { number } => {
                out.u8(REMOVED);
                out.varint(u64::from(number.0));
            }
            ScheduleEvent::Paused { number, is_paused, next } => {
                out.u8(PAUSED);
                out.varint(u64::from(number.0));
                out.u8(u8::from(*is_paused));
                out.varint(time(*next));
            }
            ScheduleEvent::Sent { step, places } => {
                out.u8(SENT);
                out.varints(step.fields());
                out.varint(places.len() as u64);
                places.iter().for_each(|place| out.varints(place_fields(place)));
            }
            ScheduleEvent::LeftOut { step, reason, text } => {
                out.u8(LEFT_OUT);
                out.varints(step.fields());
                out.u8(*reason as u8);
                out.slice(text.as_bytes());
            }
        }
    }

    pub(in crate::primitives::queues) fn decode(
        change: u8,
        take: &mut Take<'a>,
    ) -> Result<ScheduleEvent<'a>, Malformed> {
        Ok(match change {
            BEGAN => ScheduleEvent::Began { log: LogId(take.varint()?) },
            SCHEDULED => ScheduleEvent::Scheduled {
                number: take_number(take)?,
                next: take_time(take)?,
                plan: Plan::decode(take)?,
                message: take_message(take)?,
                name: take.text()?,
            },
            REMOVED => ScheduleEvent::Removed { number: take_number(take)? },
            PAUSED => ScheduleEvent::Paused {
                number: take_number(take)?,
                is_paused: take_bool(take)?,
                next: take_time(take)?,
            },
            SENT => ScheduleEvent::Sent { step: Step::decode(take)?, places: take_places(take)? },
            LEFT_OUT => ScheduleEvent::LeftOut {
                step: Step::decode(take)?,
                reason: Reason::decode(take)?,
                text: take.text()?.into(),
            },
            _ => return Err(Malformed("a change that schedules do not have")),
        })
    }
}
