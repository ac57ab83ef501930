//! The questions about queues, and waiting for what one has to hand out.

use crate::base::bounds::{FREEZE_CHUNK, NAME_BYTES_MAX};
use crate::base::codec::{Malformed, Take};
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::sync::Arc;
use crate::base::time::{BootTime, Timestamp};
use crate::engine::fault::Fault;
use crate::engine::{Engine, Refused, micros_left};
use crate::primitives::queues::{
    self, KNOWS_NOTHING, LaneNumber, Letter, Options, Place, QueueCounts, QueueNumber, Reason, Taker, news_row,
    queue_row, turn_row,
};
use crate::primitives::{Primitives, Refusal};

use super::link::{Link, Station, answered};
use super::operation::{Kind, Question};
use super::questions::{put_list, take_list, unreadable};
use super::server::Host;
pub(crate) use super::waiting::Called;
use super::waiting::{Line, Waiting};
use super::wire::{Out, take_option};

type Answered<T> = Result<T, Refused<Refusal>>;

/// The queue with this name. Waits for the sync of what creates or deletes it just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FindQueue {
    pub(crate) name: Box<str>,
}

impl Question for FindQueue {
    const KIND: Kind = Kind::FindQueue;
    type Answer = Option<QueueNumber>;

    fn answer(&self, host: &Host) -> Answered<Option<QueueNumber>> {
        let found = host.engine.inspect(|machine| machine.queues.find(&self.name))?;
        host.engine.reveal_object(found.map_or(queues::COUNTERS, queue_row))?;
        Ok(found)
    }

    fn put(&self, out: &mut Out) {
        // A longer name is no queue's, and what is left of it is none's either.
        out.text(if self.name.len() > NAME_BYTES_MAX { "" } else { &self.name });
    }

    fn take(take: &mut Take<'_>) -> Result<FindQueue, Malformed> {
        Ok(FindQueue { name: take.text()?.into() })
    }

    fn put_answer(found: &Option<QueueNumber>, out: &mut Out) {
        out.option(*found, |out, queue| out.u32(queue.0));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<QueueNumber>, Malformed> {
        take_option(take, |take| take.u32().map(QueueNumber))
    }
}

/// Up to `FREEZE_CHUNK` names of queues behind this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct QueueNames {
    pub(crate) after: String,
}

impl Question for QueueNames {
    const KIND: Kind = Kind::QueueNames;
    type Answer = Vec<String>;

    fn answer(&self, host: &Host) -> Answered<Vec<String>> {
        let names = host.engine.inspect(|machine| machine.queues.names_after(&self.after, FREEZE_CHUNK))?;
        host.engine.reveal_object(queues::COUNTERS)?;
        Ok(names)
    }

    fn put(&self, out: &mut Out) {
        out.text(&self.after);
    }

    fn take(take: &mut Take<'_>) -> Result<QueueNames, Malformed> {
        Ok(QueueNames { after: take.text()?.to_owned() })
    }

    fn put_answer(names: &Vec<String>, out: &mut Out) {
        put_list(names, out, |out, name| out.text(name));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Vec<String>, Malformed> {
        take_list(take, |take| take.text().map(str::to_owned))
    }
}

/// A queue as a whole, if it was not deleted. Waits for the sync of what is written of it just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DescribeQueue {
    pub(crate) queue: QueueNumber,
}

/// What a queue is as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct QueueFacts {
    pub(crate) options: Options,
    /// The name of where its dead go, if that is elsewhere.
    pub(crate) target: Option<Box<str>>,
    /// Whether the dead of others come here.
    pub(crate) is_target: bool,
    pub(crate) is_paused: bool,
    pub(crate) counts: QueueCounts,
}

impl Question for DescribeQueue {
    const KIND: Kind = Kind::DescribeQueue;
    type Answer = Option<QueueFacts>;

    fn answer(&self, host: &Host) -> Answered<Option<QueueFacts>> {
        let facts = host.engine.inspect(|machine| {
            let queue = machine.queues.get(self.queue)?;
            let (options, is_paused, counts) = (queue.options.clone(), queue.is_paused, queue.counts());
            let (target, is_target) = (machine.queues.target_name(queue), machine.queues.receives_letters(self.queue));
            Some(QueueFacts { options, target, is_target, is_paused, counts })
        })?;
        host.engine.reveal_object(queue_row(self.queue))?;
        host.engine.reveal_object(news_row(self.queue))?;
        Ok(facts)
    }

    fn put(&self, out: &mut Out) {
        out.u32(self.queue.0);
    }

    fn take(take: &mut Take<'_>) -> Result<DescribeQueue, Malformed> {
        Ok(DescribeQueue { queue: QueueNumber(take.u32()?) })
    }

    fn put_answer(facts: &Option<QueueFacts>, out: &mut Out) {
        out.option(facts.as_ref(), |out, QueueFacts { options, target, is_target, is_paused, counts }| {
            out.put(options.encoded_len(), |put| options.encode(put));
            out.option(target.as_deref(), Out::text);
            out.bool(*is_target);
            out.bool(*is_paused);
            let QueueCounts { ready, delayed, in_flight, dead } = *counts;
            [ready, delayed, in_flight, dead].into_iter().for_each(|count| out.varint(count));
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<QueueFacts>, Malformed> {
        take_option(take, |take| {
            let options = Options::decode(take)?;
            let target = take_option(take, Take::text)?.map(Box::from);
            let (is_target, is_paused) = (take.u8()? == 1, take.u8()? == 1);
            let (ready, delayed) = (take.varint()?, take.varint()?);
            let counts = QueueCounts { ready, delayed, in_flight: take.varint()?, dead: take.varint()? };
            Ok(QueueFacts { options, target, is_target, is_paused, counts })
        })
    }
}

/// Up to `FREEZE_CHUNK` dead letters of a queue behind this place; `None` if it was deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeadLetters {
    pub(crate) queue: QueueNumber,
    pub(crate) after: Option<(u8, u64)>,
    pub(crate) max: u32,
}

impl Question for DeadLetters {
    const KIND: Kind = Kind::DeadLetters;
    type Answer = Option<Vec<Letter>>;

    fn answer(&self, host: &Host) -> Answered<Option<Vec<Letter>>> {
        let max = (self.max as usize).min(FREEZE_CHUNK);
        let letters = host.engine.inspect(|machine| Some(machine.queues.get(self.queue)?.letters(self.after, max)))?;
        host.engine.reveal_object(news_row(self.queue))?;
        Ok(letters)
    }

    fn put(&self, out: &mut Out) {
        out.u32(self.queue.0);
        out.option(self.after, |out, (priority, offset)| {
            out.u8(priority);
            out.varint(offset);
        });
        out.u32(self.max);
    }

    fn take(take: &mut Take<'_>) -> Result<DeadLetters, Malformed> {
        let queue = QueueNumber(take.u32()?);
        let after = take_option(take, |take| Ok((take.u8()?, take.varint()?)))?;
        Ok(DeadLetters { queue, after, max: take.u32()? })
    }

    fn put_answer(letters: &Option<Vec<Letter>>, out: &mut Out) {
        out.option(letters.as_ref(), |out, letters| put_list(letters, out, put_letter));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<Vec<Letter>>, Malformed> {
        take_option(take, |take| take_list(take, take_letter))
    }
}

fn put_letter(out: &mut Out, letter: &Letter) {
    out.varint(u64::from(letter.place.lane.0));
    out.u8(letter.priority);
    out.varint(letter.log.0);
    out.varint(letter.place.offset);
    out.u8(letter.reason as u8);
    out.varint(letter.at.0);
    out.varint(u64::from(letter.failed));
    out.varint(letter.notes.0);
    out.option(letter.last_note, Out::varint);
}

fn take_letter(take: &mut Take<'_>) -> Result<Letter, Malformed> {
    let (lane, priority, log) = (LaneNumber(take.varint32()?), take.u8()?, LogId(take.varint()?));
    let place = Place { lane, offset: take.varint()? };
    Ok(Letter {
        place,
        priority,
        log,
        reason: Reason::decode(take)?,
        at: Timestamp(take.varint()?),
        failed: take.varint32()?,
        notes: LogId(take.varint()?),
        last_note: take_option(take, Take::varint)?,
    })
}

/// Asks whether there is reason to ask a queue again for messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WatchQueue {
    pub(crate) queue: QueueNumber,
    /// What the queue said when it had nothing.
    pub(crate) known: u64,
    /// In whose name it asks, and how many messages it would take.
    pub(crate) taker: Taker,
    pub(crate) max: u32,
    pub(crate) awaits: Awaits,
    /// The answer waits until there is.
    pub(crate) waits: bool,
}

/// What a consumer waits for who was handed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Awaits {
    /// Other news than it knows.
    News,
    /// Room, or to be the active one.
    Turn,
    /// Others, who go first.
    Others,
}

impl WatchQueue {
    fn look_at_queue(&self, machine: &Primitives, rests_on: &mut dyn FnMut(RowKey)) -> Option<()> {
        match (self.awaits, self.taker.consumer()) {
            (Awaits::Turn, Some(consumer)) => {
                rests_on(turn_row(consumer));
                return machine.queues.has_turn(self.queue, consumer).then_some(());
            }
            (Awaits::Others, _) => return None,
            _ => {}
        }
        let news = machine.queues.get(self.queue).map(|queue| queue.news);
        if self.known != KNOWS_NOTHING && news == Some(self.known) {
            return None;
        }
        rests_on(news_row(self.queue));
        Some(())
    }

    pub(crate) fn look(&self, engine: &Engine<Primitives>) -> Result<bool, Fault> {
        Ok(engine.observe(|machine, rests_on| self.look_at_queue(machine, rests_on))?.is_some())
    }

    /// `None` if there is reason already.
    pub(super) fn wait(&self, engine: &Arc<Engine<Primitives>>) -> Result<Option<Waiting>, Fault> {
        let look = |machine: &Primitives, rests_on: &mut dyn FnMut(RowKey)| self.look_at_queue(machine, rests_on);
        let line = match (self.awaits, self.taker.consumer()) {
            (Awaits::Turn, Some(consumer)) => Line::of_object(engine, turn_row(consumer), look)?,
            _ => {
                let (max, yields) = (self.max as usize, self.awaits == Awaits::Others);
                let stand = |machine: &Primitives| machine.queues.stand_of(self.taker, max, yields);
                Line::in_line(engine, news_row(self.queue), stand, look)?
            }
        };
        Ok(line.map(|line| Waiting::in_lines(line, Vec::new())))
    }
}

impl Question for WatchQueue {
    const KIND: Kind = Kind::WatchQueue;
    type Answer = bool;

    /// Does not wait, whatever was asked: who waits does so in its own way.
    fn answer(&self, host: &Host) -> Answered<bool> {
        Ok(self.look(&host.engine)?)
    }

    fn put(&self, out: &mut Out) {
        out.u32(self.queue.0);
        out.varint(self.known);
        out.varint(self.taker.0);
        out.varint(u64::from(self.max));
        out.u8(self.awaits as u8);
        out.bool(self.waits);
    }

    fn take(take: &mut Take<'_>) -> Result<WatchQueue, Malformed> {
        let (queue, known) = (QueueNumber(take.u32()?), take.varint()?);
        let (taker, max) = (Taker(take.varint()?), take.varint32()?);
        let awaits = match take.u8()? {
            0 => Awaits::News,
            1 => Awaits::Turn,
            2 => Awaits::Others,
            _ => return Err(Malformed("what nobody waits for")),
        };
        Ok(WatchQueue { queue, known, taker, max, awaits, waits: take.u8()? == 1 })
    }

    fn put_answer(has_news: &bool, out: &mut Out) {
        out.bool(*has_news);
    }

    fn take_answer(take: &mut Take<'_>) -> Result<bool, Malformed> {
        take.u8().map(|byte| byte == 1)
    }
}

/// What a queue said when it had nothing. It says nothing of the queue of another host, whose news may have the same
/// number: they begin at 0 when a queue is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) news: u64,
    pub(crate) taker: Taker,
    pub(crate) max: u32,
    pub(crate) awaits: Awaits,
    /// As [`Link::host`] told before the queue was asked.
    pub(crate) host: u64,
}

impl Known {
    fn watch(self, queue: QueueNumber) -> WatchQueue {
        let Known { news, taker, max, awaits, .. } = self;
        WatchQueue { queue, known: news, taker, max, awaits, waits: true }
    }
}

impl Link {
    /// Tells the hosts apart that this process asks, one after the other.
    pub(crate) fn host(&self) -> Answered<u64> {
        Ok(match self.station()? {
            Station::Host(_) => u64::MAX,
            Station::Attached(client) => client.host(),
        })
    }

    /// Waits until there is reason to ask the queue again; `None` once the deadline has passed. What it gives is to be
    /// dropped once the queue was asked.
    pub(crate) fn wait_for_queue(
        &self,
        queue: QueueNumber,
        known: Known,
        deadline: Option<BootTime>,
    ) -> Answered<Option<Called>> {
        let watch = known.watch(queue);
        let Ok(left) = micros_left(deadline) else { return Ok(None) };
        let nobody = || Some(Called::by_nobody());
        match self.station()? {
            // Who was woken asks the queue, and does not look here again: more may have been sent at `Sync` meanwhile,
            // and to wait for the last of it would be to wait for as long as anybody sends.
            Station::Host(station) => {
                if known.host != u64::MAX {
                    return Ok(nobody());
                }
                Ok(watch.wait(station.engine())?.map_or_else(nobody, |waiting| waiting.be_called(left)))
            }
            Station::Attached(client) => {
                let asked = client.watch(&watch, known.host).and_then(|pending| {
                    let call = pending.call();
                    Ok(pending.wait(deadline)?.map(|bytes| (bytes, call)))
                });
                match answered(asked) {
                    Some(told) => told?.map_or(Ok(None), |(bytes, call)| {
                        let called = Called::by_host(call());
                        Ok(taken(&bytes)?.then_some(called))
                    }),
                    // What was known of another host's queue is not known of this one's.
                    None => Ok(nobody()),
                }
            }
        }
    }

    /// The same for a future, without a deadline.
    pub(crate) async fn wait_for_queue_async(&self, queue: QueueNumber, known: Known) -> Answered<Called> {
        let watch = known.watch(queue);
        match self.station()? {
            Station::Host(_) if known.host != u64::MAX => Ok(Called::by_nobody()),
            Station::Host(station) => match watch.wait(station.engine())? {
                None => Ok(Called::by_nobody()),
                Some(mut waiting) => {
                    (&mut waiting).await;
                    Ok(waiting.into_called())
                }
            },
            Station::Attached(client) => {
                let called = match client.watch(&watch, known.host) {
                    Ok(pending) => {
                        let call = pending.call();
                        pending.await.map(|_| Called::by_host(call()))
                    }
                    Err(unasked) => Err(unasked),
                };
                answered(called).unwrap_or_else(|| Ok(Called::by_nobody()))
            }
        }
    }
}

fn taken(bytes: &[u8]) -> Answered<bool> {
    Ok(WatchQueue::take_answer(&mut Take::new(bytes)).map_err(unreadable)?)
}
