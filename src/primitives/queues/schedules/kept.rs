//! The message of a schedule, and its bytes.
//!
//! ```text
//! message  priority u8 · attributes (`message.rs`: ttl, group, max attempts) · record
//! ```

use crate::base::bounds::{PRIORITIES, SCHEDULE_MESSAGE_BYTES_MAX};
use crate::base::codec::{Malformed, Put, Take};
use crate::base::sync::Arc;
use crate::primitives::record::{Header, Record, take_record};

use super::super::command::Refusal;
use super::super::message::{Attributes, Message, Origin};

/// A message as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeptMessage<'a> {
    pub(crate) priority: u8,
    pub(crate) ttl_micros: Option<u64>,
    pub(crate) group: Option<&'a str>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) headers: Vec<Header<'a>>,
    /// Without headers.
    pub(crate) record: Record<'a>,
}

/// The bytes of a message, or why it cannot be a schedule's.
pub(super) fn keep(message: &Message<'_>) -> Result<Arc<[u8]>, Refusal> {
    let reason = "a message of a schedule is ready when the schedule runs, and each run is like the others";
    let given =
        [("delay", message.due.is_some()), ("deadline", message.deadline.is_some()), ("id", message.id.is_some())];
    for (option, is_given) in given {
        if is_given {
            return Err(Refusal::InvalidOption { option, reason });
        }
    }
    let Message { record, priority, ttl_micros, group, max_attempts, .. } = *message;
    let attributes = Attributes { ttl_micros, group, max_attempts, ..Attributes::default() };
    let len = 1 + attributes.encoded_len() + record.encoded_len(record.user_bytes());
    if len > SCHEDULE_MESSAGE_BYTES_MAX {
        let (limit, max) = ("bytes of a schedule's message", SCHEDULE_MESSAGE_BYTES_MAX as u64);
        return Err(Refusal::LimitExceeded { limit, max, actual: len as u64 });
    }
    let mut bytes = vec![0; len];
    let mut out = Put::new(&mut bytes);
    out.u8(priority);
    attributes.encode(&mut out);
    record.encode(&mut out);
    assert_eq!(out.remaining(), 0, "a message is as long as was foretold");
    Ok(bytes.into())
}

impl<'a> KeptMessage<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<KeptMessage<'a>, Malformed> {
        let mut take = Take::new(bytes);
        let (priority, attributes) = (take.u8()?, Attributes::decode(&mut take)?);
        let Attributes { ttl_micros, group, max_attempts, .. } = attributes;
        let is_of_schedule = attributes == Attributes { ttl_micros, group, max_attempts, ..Attributes::default() };
        let is_of_schedule = is_of_schedule && priority < PRIORITIES;
        if !is_of_schedule || bytes.len() > SCHEDULE_MESSAGE_BYTES_MAX {
            return Err(Malformed("a message that no schedule has"));
        }
        let mut headers = Vec::new();
        let record = take_record(&mut take, |header| {
            headers.push(header);
            Ok(())
        })?;
        take.end()?;
        Ok(KeptMessage { priority, ttl_micros, group, max_attempts, headers, record })
    }

    /// The message of one run, which has these headers.
    pub(super) fn message<'m>(&'m self, headers: &'m [Header<'m>], origin: Option<Origin<'m>>) -> Message<'m> {
        let KeptMessage { priority, ttl_micros, group, max_attempts, record, .. } = *self;
        let plain = Message::plain(record.headers(headers));
        Message { priority, ttl_micros, group, max_attempts, origin, ..plain }
    }
}
