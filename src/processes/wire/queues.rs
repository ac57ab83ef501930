//! Writes to queues as bytes.
//!
//! ```text
//! kind u8 · fields
//!   1 create, 2 ensure   name · options
//!   3 delete             queue
//!   4 erase              queue
//!   5 send               queue · count · messages
//!   6 receive            queue · max · taker
//!   7 settle             queue · how u8 · fields · count · deliveries
//!     how                1 ack, 2 fail (error · delay (option u8, varint)), 3 release (delay), 4 reject (error),
//!                        5 extend (duration), 6 set apart (error)
//!   8 pause              queue · u8
//!   9 purge              queue · count · stretches
//!   10 bury              queue · count · places
//!   11 redrive           queue · u8 (0 to a queue, 1 to an exchange) · its number · count · places · count ·
//!                        messages
//!   12 release
//! message                priority u8 · due u8 (0 none, 1 at, 2 in) · its varint · ttl · deadline · group · attempts
//!                        · origin (exchange · routing key) · history · id (each option u8, then it) · record
//!   13 to 19             of exchanges (`exchanges.rs`)
//!   40 to 42             of schedules (`schedules.rs`)
//!   20 cancel            queue · sequence
//!   21 reschedule        queue · sequence · due u8 (1 at, 2 in) · its varint
//!   35 join              queue · priority u8 · prefetch · name
//!   36 leave             queue · consumer
//!   37 ack through       queue · delivery
//! delivery               lane · offset · acquired
//! place                  lane · offset
//! stretch                lane · from · end
//! ```
//!
//! Numbers are varints unless a width is named. Options are as in `primitives/queues/options.rs`, records as in an item
//! (`primitives/record.rs`). In whose name is received and released is not said: it is the one that asks.

use crate::base::bounds::{DELIVERIES_PER_CALL_MAX, HEADERS_PER_BATCH_MAX, RECORDS_PER_BATCH_MAX};
use crate::base::codec::{Malformed, Take};
use crate::base::time::Timestamp;
use crate::primitives::queues::{
    Command as C, ConsumerNumber, DeliveryId, Destination, DueTime, Erasing, ExchangeNumber, Holder, Joining,
    LaneNumber, Message, Options, Origin, Place, QueueNumber, Settlement, Stretch, Taker,
};
use crate::primitives::streams::{Header, Record, take_record};
use crate::processes::questions::put_list;

use super::exchanges::{self, put_of_exchanges, with_command_of_exchanges};
use super::schedules::{self, put_of_schedules, with_command_of_schedules};
use super::{Out, take_option};

pub(super) fn put_of_queues(command: &C<'_>, out: &mut Out) {
    match command {
        C::Create { name, options } => put_definition(1, name, options, out),
        C::Ensure { name, options } => put_definition(2, name, options, out),
        C::Delete { queue } => put_head(3, *queue, out),
        C::Erase { what: Erasing::Queue(queue) } => put_head(4, *queue, out),
        C::Send { queue, messages } => {
            put_head(5, *queue, out);
            put_list(messages, out, put_message);
        }
        C::Receive { queue, max, taker, .. } => {
            put_head(6, *queue, out);
            out.varint(u64::from(*max));
            out.varint(taker.0);
        }
        C::Join(Joining { queue, priority, prefetch, name, .. }) => {
            put_head(35, *queue, out);
            out.u8(*priority);
            out.varint(u64::from(*prefetch));
            out.text(name);
        }
        C::Leave { queue, consumer, .. } => {
            put_head(36, *queue, out);
            out.varint(consumer.0);
        }
        C::AckThrough { queue, delivery } => {
            put_head(37, *queue, out);
            put_delivery(out, delivery);
        }
        C::Settle { queue, how, deliveries } => {
            put_head(7, *queue, out);
            put_settlement(how, out);
            put_list(deliveries, out, put_delivery);
        }
        C::Pause { queue, is_paused } => {
            put_head(8, *queue, out);
            out.bool(*is_paused);
        }
        C::Purge { queue, left } => {
            put_head(9, *queue, out);
            put_list(left, out, |out, Stretch { lane, from, end }| {
                [u64::from(lane.0), *from, *end].into_iter().for_each(|field| out.varint(field));
            });
        }
        C::Bury { queue, letters } => {
            put_head(10, *queue, out);
            put_list(letters, out, put_place);
        }
        C::Redrive { queue, letters, messages, to } => {
            put_head(11, *queue, out);
            put_destination(*to, out);
            put_list(letters, out, put_place);
            put_list(messages, out, put_message);
        }
        C::Release { .. } => out.u8(12),
        C::Cancel { queue, sequence } => {
            put_head(20, *queue, out);
            out.varint(*sequence);
        }
        C::Reschedule { queue, sequence, due } => {
            put_head(21, *queue, out);
            out.varint(*sequence);
            put_due(Some(*due), out);
        }
        other => {
            let is_put = put_of_exchanges(other, out) || put_of_schedules(other, out);
            assert!(is_put, "only the host itself says {other:?}");
        }
    }
}

fn put_head(kind: u8, queue: QueueNumber, out: &mut Out) {
    out.u8(kind);
    out.varint(u64::from(queue.0));
}

fn put_definition(kind: u8, name: &str, options: &Options, out: &mut Out) {
    out.u8(kind);
    out.text(name);
    out.put(options.encoded_len(), |put| options.encode(put));
}

fn put_delivery(out: &mut Out, delivery: &DeliveryId) {
    out.varint(u64::from(delivery.lane.0));
    out.varint(delivery.offset);
    out.varint(u64::from(delivery.acquired));
}

fn put_place(out: &mut Out, place: &Place) {
    out.varint(u64::from(place.lane.0));
    out.varint(place.offset);
}

fn put_settlement(how: &Settlement<'_>, out: &mut Out) {
    match how {
        Settlement::Ack => out.u8(1),
        Settlement::Fail { error, delay_micros } => {
            out.u8(2);
            out.text(error);
            out.option(*delay_micros, Out::varint);
        }
        Settlement::Release { delay_micros } => {
            out.u8(3);
            out.varint(*delay_micros);
        }
        Settlement::Reject { error } => {
            out.u8(4);
            out.text(error);
        }
        Settlement::Extend { micros } => {
            out.u8(5);
            out.varint(*micros);
        }
        Settlement::SetApart { error } => {
            out.u8(6);
            out.text(error);
        }
    }
}

fn put_due(due: Option<DueTime>, out: &mut Out) {
    match due {
        None => out.u8(0),
        Some(DueTime::At(at)) => {
            out.u8(1);
            out.varint(at.0);
        }
        Some(DueTime::In(micros)) => {
            out.u8(2);
            out.varint(micros);
        }
    }
}

fn put_destination(to: Destination, out: &mut Out) {
    let (kind, number) = match to {
        Destination::Queue(queue) => (0, queue.0),
        Destination::Exchange(exchange) => (1, exchange.0),
    };
    out.u8(kind);
    out.varint(u64::from(number));
}

fn take_destination(take: &mut Take<'_>) -> Result<Destination, Malformed> {
    match (take.u8()?, take.varint32()?) {
        (0, queue) => Ok(Destination::Queue(QueueNumber(queue))),
        (1, exchange) => Ok(Destination::Exchange(ExchangeNumber(exchange))),
        _ => Err(Malformed("neither a queue nor an exchange")),
    }
}

fn take_due(take: &mut Take<'_>) -> Result<Option<DueTime>, Malformed> {
    Ok(match take.u8()? {
        0 => None,
        1 => Some(DueTime::At(Timestamp(take.varint()?))),
        2 => Some(DueTime::In(take.varint()?)),
        _ => return Err(Malformed("neither at a time nor in a time")),
    })
}

pub(super) fn put_message(out: &mut Out, message: &Message<'_>) {
    out.u8(message.priority);
    put_due(message.due, out);
    out.option(message.ttl_micros, Out::varint);
    out.option(message.deadline, |out, deadline| out.varint(deadline.0));
    out.option(message.group, Out::text);
    out.option(message.max_attempts, |out, attempts| out.varint(u64::from(attempts)));
    out.option(message.origin, |out, origin| {
        out.text(origin.exchange);
        out.text(origin.routing_key);
    });
    out.option(message.history, |out, history| out.slice(history));
    out.option(message.id, Out::text);
    let record = &message.record;
    out.put(record.encoded_len(record.user_bytes()), |put| record.encode(put));
}

pub(super) fn with_command_of_queues<T>(mut take: Take<'_>, then: impl FnOnce(C<'_>) -> T) -> Result<T, Malformed> {
    let kind = take.u8()?;
    let take = &mut take;
    if exchanges::KINDS.contains(&kind) {
        return with_command_of_exchanges(kind, take, then);
    }
    if schedules::KINDS.contains(&kind) {
        return with_command_of_schedules(kind, take, then);
    }
    if kind == 12 {
        take.end()?;
        return Ok(then(C::Release { holder: Holder::HOST }));
    }
    if kind <= 2 {
        let (name, options) = (take.text()?, Options::decode(take)?);
        take.end()?;
        return match kind {
            1 => Ok(then(C::Create { name, options: &options })),
            2 => Ok(then(C::Ensure { name, options: &options })),
            _ => Err(Malformed("a command that queues do not have")),
        };
    }
    let queue = QueueNumber(take.varint32()?);
    let (places, stretches, deliveries, parsed, messages);
    let command = match kind {
        3 => C::Delete { queue },
        4 => C::Erase { what: Erasing::Queue(queue) },
        5 => {
            parsed = Parsed::take(take)?;
            messages = parsed.messages();
            C::Send { queue, messages: &messages }
        }
        6 => {
            let max = take.varint32()?;
            C::Receive { queue, holder: Holder::HOST, max, taker: Taker(take.varint()?) }
        }
        7 => {
            let how = take_settlement(take)?;
            deliveries = take_each(take, take_delivery)?;
            C::Settle { queue, how, deliveries: &deliveries }
        }
        8 => C::Pause { queue, is_paused: take.u8()? == 1 },
        9 => {
            stretches = take_each(take, |take| {
                Ok(Stretch { lane: LaneNumber(take.varint32()?), from: take.varint()?, end: take.varint()? })
            })?;
            C::Purge { queue, left: &stretches }
        }
        10 => {
            places = take_each(take, take_place)?;
            C::Bury { queue, letters: &places }
        }
        11 => {
            let to = take_destination(take)?;
            places = take_each(take, take_place)?;
            parsed = Parsed::take(take)?;
            messages = parsed.messages();
            C::Redrive { queue, letters: &places, messages: &messages, to }
        }
        20 => C::Cancel { queue, sequence: take.varint()? },
        21 => {
            let sequence = take.varint()?;
            let due = take_due(take)?.ok_or(Malformed("a message is rescheduled to some time"))?;
            C::Reschedule { queue, sequence, due }
        }
        35 => {
            let (priority, prefetch, name) = (take.u8()?, take.varint32()?, take.text()?);
            C::Join(Joining { queue, holder: Holder::HOST, priority, prefetch, name })
        }
        36 => C::Leave { queue, holder: Holder::HOST, consumer: ConsumerNumber(take.varint()?) },
        37 => C::AckThrough { queue, delivery: take_delivery(take)? },
        _ => return Err(Malformed("a command that queues do not have")),
    };
    take.end()?;
    Ok(then(command))
}

fn take_delivery(take: &mut Take<'_>) -> Result<DeliveryId, Malformed> {
    let (lane, offset) = (LaneNumber(take.varint32()?), take.varint()?);
    Ok(DeliveryId { lane, offset, acquired: take.varint32()? })
}

fn take_place(take: &mut Take<'_>) -> Result<Place, Malformed> {
    Ok(Place { lane: LaneNumber(take.varint32()?), offset: take.varint()? })
}

fn take_each<'a, T>(
    take: &mut Take<'a>,
    one: impl Fn(&mut Take<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = take.varint()?;
    // One more is refused with the limit's name.
    if count > DELIVERIES_PER_CALL_MAX as u64 + 1 {
        return Err(Malformed("more than a call names"));
    }
    (0..count).map(|_| one(take)).collect()
}

fn take_settlement<'a>(take: &mut Take<'a>) -> Result<Settlement<'a>, Malformed> {
    Ok(match take.u8()? {
        1 => Settlement::Ack,
        2 => Settlement::Fail { error: take.text()?, delay_micros: take_option(take, Take::varint)? },
        3 => Settlement::Release { delay_micros: take.varint()? },
        4 => Settlement::Reject { error: take.text()? },
        5 => Settlement::Extend { micros: take.varint()? },
        6 => Settlement::SetApart { error: take.text()? },
        _ => return Err(Malformed("a settlement that there is not")),
    })
}

/// Messages and all their headers, which lie one after the other.
pub(super) struct Parsed<'a> {
    /// Each with the number of its headers.
    messages: Vec<(Message<'a>, usize)>,
    headers: Vec<Header<'a>>,
}

impl<'a> Parsed<'a> {
    /// It grows with what is there, not with what is announced.
    pub(super) fn take(take: &mut Take<'a>) -> Result<Parsed<'a>, Malformed> {
        let mut parsed = Parsed { messages: Vec::new(), headers: Vec::new() };
        for number in 0..take.varint()? {
            if number == RECORDS_PER_BATCH_MAX as u64 {
                return Err(Malformed("more messages than a batch has"));
            }
            let before = parsed.headers.len();
            let message = take_message(take, &mut parsed.headers)?;
            parsed.messages.push((message, parsed.headers.len() - before));
        }
        Ok(parsed)
    }

    pub(super) fn messages(&self) -> Vec<Message<'_>> {
        let mut rest = &self.headers[..];
        let messages = self.messages.iter().map(|(message, count)| {
            let (headers, after) = rest.split_at(*count);
            rest = after;
            let record: Record<'_> = message.record;
            Message { record: record.headers(headers), ..*message }
        });
        messages.collect()
    }
}

fn take_message<'a>(take: &mut Take<'a>, headers: &mut Vec<Header<'a>>) -> Result<Message<'a>, Malformed> {
    let priority = take.u8()?;
    let due = take_due(take)?;
    let (ttl_micros, deadline) = (take_option(take, Take::varint)?, take_option(take, Take::varint)?.map(Timestamp));
    let (group, max_attempts) = (take_option(take, Take::text)?, take_option(take, Take::varint32)?);
    let origin = take_option(take, |take| Ok(Origin { exchange: take.text()?, routing_key: take.text()? }))?;
    let history = take_option(take, Take::slice)?;
    let id = take_option(take, Take::text)?;
    let record = take_record(take, |header| {
        if headers.len() == HEADERS_PER_BATCH_MAX {
            return Err(Malformed("more headers than a batch has"));
        }
        headers.push(header);
        Ok(())
    })?;
    Ok(Message { record, priority, due, ttl_micros, deadline, group, max_attempts, origin, history, id })
}
