//! The questions about single messages of a queue, which hand none out.

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::codec::{Malformed, Take};
use crate::base::log::LogId;
use crate::engine::Refused;
use crate::primitives::Refusal;
use crate::primitives::queues::{
    HandedRun, Lane, LaneNumber, Place, Queue, QueueNumber, Reason, Seen, Standing, State, WaitingMessage, news_row,
};

use super::operation::{Kind, Question};
use super::questions::{put_list, take_list};
use super::server::Host;
use super::wire::{Out, take_option};
use crate::base::time::{Now, Timestamp};

type Answered<T> = Result<T, Refused<Refusal>>;

/// Looks at a queue, if it was not deleted, at what of it may be seen.
fn look<T>(
    host: &Host,
    number: QueueNumber,
    see: impl Fn(&State, &Queue, Now, &dyn Fn(&Lane) -> u64) -> T,
) -> Answered<Option<T>> {
    Ok(host.engine.inspect_shown(|machine, now, shown| {
        let queue = machine.queues.get(number)?;
        Some(see(&machine.queues, queue, now, &|lane: &Lane| shown(lane.log)))
    })?)
}

/// What would be handed out next, up to so many messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Peek {
    pub(crate) queue: QueueNumber,
    /// `None`: the first of each priority.
    pub(crate) max: Option<u32>,
}

impl Question for Peek {
    const KIND: Kind = Kind::Peek;
    type Answer = Option<Vec<HandedRun>>;

    fn answer(&self, host: &Host) -> Answered<Self::Answer> {
        look(host, self.queue, |state, queue, now, shown| match self.max {
            Some(max) => state.peek(queue, max as usize, now, shown),
            None => state.fronts(queue, now, shown),
        })
    }

    fn put(&self, out: &mut Out) {
        out.u32(self.queue.0);
        out.option(self.max, Out::u32);
    }

    fn take(take: &mut Take<'_>) -> Result<Peek, Malformed> {
        Ok(Peek { queue: QueueNumber(take.u32()?), max: take_option(take, Take::u32)? })
    }

    fn put_answer(runs: &Self::Answer, out: &mut Out) {
        out.option(runs.as_ref(), |out, runs| put_list(runs, out, put_run));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Self::Answer, Malformed> {
        take_option(take, |take| take_list(take, HandedRun::decode))
    }
}

fn put_run(out: &mut Out, run: &HandedRun) {
    out.put(run.encoded_len(), |put| run.encode(put));
}

/// One message by its sequence, and how it stands. Waits for the sync of what is written of the queue just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LookAt {
    pub(crate) queue: QueueNumber,
    pub(crate) sequence: u64,
}

impl Question for LookAt {
    const KIND: Kind = Kind::LookAt;
    /// Whether the queue is there, and the message.
    type Answer = Option<Option<Seen>>;

    fn answer(&self, host: &Host) -> Answered<Self::Answer> {
        let seen = look(host, self.queue, |state, queue, now, shown| state.look(queue, self.sequence, now, shown))?;
        host.engine.reveal_object(news_row(self.queue))?;
        Ok(seen)
    }

    fn put(&self, out: &mut Out) {
        out.u32(self.queue.0);
        out.varint(self.sequence);
    }

    fn take(take: &mut Take<'_>) -> Result<LookAt, Malformed> {
        Ok(LookAt { queue: QueueNumber(take.u32()?), sequence: take.varint()? })
    }

    fn put_answer(seen: &Self::Answer, out: &mut Out) {
        out.option(seen.as_ref(), |out, seen| {
            out.option(seen.as_ref(), |out, Seen { run, standing }| {
                put_run(out, run);
                put_standing(out, standing);
            });
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Self::Answer, Malformed> {
        take_option(take, |take| {
            take_option(take, |take| {
                let run = HandedRun::decode(take)?;
                Ok(Seen { run, standing: take_standing(take)? })
            })
        })
    }
}

/// Up to `FREEZE_CHUNK` messages of a queue behind this place that are ready; `None` if it was deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Waiting {
    pub(crate) queue: QueueNumber,
    pub(crate) after: Option<(u8, u64)>,
    pub(crate) max: u32,
}

impl Question for Waiting {
    const KIND: Kind = Kind::Waiting;
    type Answer = Option<Vec<WaitingMessage>>;

    fn answer(&self, host: &Host) -> Answered<Self::Answer> {
        let max = (self.max as usize).min(FREEZE_CHUNK);
        look(host, self.queue, |_, queue, _, shown| queue.waiting_behind(self.after, max, shown))
    }

    fn put(&self, out: &mut Out) {
        out.u32(self.queue.0);
        out.option(self.after, |out, (priority, offset)| {
            out.u8(priority);
            out.varint(offset);
        });
        out.u32(self.max);
    }

    fn take(take: &mut Take<'_>) -> Result<Waiting, Malformed> {
        let queue = QueueNumber(take.u32()?);
        let after = take_option(take, |take| Ok((take.u8()?, take.varint()?)))?;
        Ok(Waiting { queue, after, max: take.u32()? })
    }

    fn put_answer(waiting: &Self::Answer, out: &mut Out) {
        out.option(waiting.as_ref(), |out, waiting| {
            put_list(waiting, out, |out, WaitingMessage { place, priority, log }| {
                out.u8(*priority);
                [u64::from(place.lane.0), place.offset, log.0].into_iter().for_each(|field| out.varint(field));
            });
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Self::Answer, Malformed> {
        take_option(take, |take| {
            take_list(take, |take| {
                let priority = take.u8()?;
                let place = Place { lane: LaneNumber(take.varint32()?), offset: take.varint()? };
                Ok(WaitingMessage { place, priority, log: LogId(take.varint()?) })
            })
        })
    }
}

/// The sequence under which a queue accepted a message with this id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FindMessage {
    pub(crate) queue: QueueNumber,
    pub(crate) id: Box<str>,
}

impl Question for FindMessage {
    const KIND: Kind = Kind::FindMessage;
    /// Whether the queue is there, whether it remembers ids, and the sequence, if it remembers this one.
    type Answer = Option<Option<Option<u64>>>;

    /// Of a message that may not be seen yet it tells the sequence, and nothing else.
    fn answer(&self, host: &Host) -> Answered<Self::Answer> {
        look(host, self.queue, |_, queue, now, _| queue.sequence_of_id(&self.id, now.wall))
    }

    fn put(&self, out: &mut Out) {
        out.u32(self.queue.0);
        out.text(&self.id);
    }

    fn take(take: &mut Take<'_>) -> Result<FindMessage, Malformed> {
        Ok(FindMessage { queue: QueueNumber(take.u32()?), id: take.text()?.into() })
    }

    fn put_answer(found: &Self::Answer, out: &mut Out) {
        out.option(*found, |out, found| out.option(found, |out, found| out.option(found, Out::varint)));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Self::Answer, Malformed> {
        take_option(take, |take| take_option(take, |take| take_option(take, Take::varint)))
    }
}

fn put_standing(out: &mut Out, standing: &Standing) {
    let (tag, value) = match *standing {
        Standing::Behind { messages } => (0, messages),
        Standing::Delayed { until } => (1, until.0),
        Standing::Backoff { micros } => (2, micros),
        Standing::InFlight { micros } => (3, micros),
        Standing::GroupBusy => (4, 0),
        Standing::Paused => (5, 0),
        Standing::Suspect => (6, 0),
        Standing::Expired => (7, 0),
        Standing::Dead { reason } => (8, u64::from(reason as u8)),
        Standing::ConsumersFull => (9, 0),
        Standing::NotActive { .. } => (10, 0),
    };
    out.u8(tag);
    match standing {
        Standing::Dead { .. } => out.u8(value as u8),
        Standing::NotActive { consumer } => out.text(consumer),
        _ => out.varint(value),
    }
}

fn take_standing(take: &mut Take<'_>) -> Result<Standing, Malformed> {
    let tag = take.u8()?;
    if tag == 8 {
        return Ok(Standing::Dead { reason: Reason::decode(take)? });
    }
    if tag == 10 {
        return Ok(Standing::NotActive { consumer: take.text()?.into() });
    }
    let value = take.varint()?;
    Ok(match tag {
        0 => Standing::Behind { messages: value },
        1 => Standing::Delayed { until: Timestamp(value) },
        2 => Standing::Backoff { micros: value },
        3 => Standing::InFlight { micros: value },
        4 => Standing::GroupBusy,
        5 => Standing::Paused,
        6 => Standing::Suspect,
        7 => Standing::Expired,
        9 => Standing::ConsumersFull,
        _ => return Err(Malformed("a message that stands in no way")),
    })
}
