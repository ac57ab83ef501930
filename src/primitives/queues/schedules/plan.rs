//! What a schedule is to do, and the bytes of that.
//!
//! ```text
//! plan    when u8 · fields · target u8 (0 queue, 1 exchange) · its number · of an exchange slice(routing key) ·
//!         missed u8 (0 one, 1 skip, 2 all) · overlap u8 (0 allow, 1 skip)
//!   0 cron  slice(pattern) · slice(zone), 1 every  microseconds, 2 at  time
//! ```
//!
//! Integers are varints unless a width is named.

use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::time::Timestamp;

use super::super::command::QueueNumber;
use super::super::routing::ExchangeNumber;
use super::when::When;

/// What a schedule does and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) when: When,
    pub(crate) target: Target,
    pub(crate) missed: MissedRuns,
    pub(crate) overlap: OverlappingRuns,
}

/// Where a schedule's messages go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Queue(QueueNumber),
    Exchange { exchange: ExchangeNumber, routing_key: Box<str> },
}

/// What becomes of runs that were missed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(u8)]
pub(crate) enum MissedRuns {
    #[default]
    One = 0,
    Skip = 1,
    All = 2,
}

/// What becomes of a run while the message of the one before is unsettled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(u8)]
pub(crate) enum OverlappingRuns {
    #[default]
    Allow = 0,
    Skip = 1,
}

const NO_TIME_APART: Malformed = Malformed("runs that are no time apart");

impl Plan {
    pub(crate) fn encoded_len(&self) -> usize {
        let when = match &self.when {
            When::Cron { pattern, zone } => slice_len(pattern.len()) + slice_len(zone.len()),
            When::Every { micros } => varint_len(*micros),
            When::At(at) => varint_len(at.0),
        };
        let target = match &self.target {
            Target::Queue(queue) => varint_len(u64::from(queue.0)),
            Target::Exchange { exchange, routing_key } => {
                varint_len(u64::from(exchange.0)) + slice_len(routing_key.len())
            }
        };
        1 + when + 1 + target + 2
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        match &self.when {
            When::Cron { pattern, zone } => {
                out.u8(0);
                out.slice(pattern.as_bytes());
                out.slice(zone.as_bytes());
            }
            When::Every { micros } => {
                out.u8(1);
                out.varint(*micros);
            }
            When::At(at) => {
                out.u8(2);
                out.varint(at.0);
            }
        }
        match &self.target {
            Target::Queue(queue) => {
                out.u8(0);
                out.varint(u64::from(queue.0));
            }
            Target::Exchange { exchange, routing_key } => {
                out.u8(1);
                out.varint(u64::from(exchange.0));
                out.slice(routing_key.as_bytes());
            }
        }
        out.u8(self.missed as u8);
        out.u8(self.overlap as u8);
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Plan, Malformed> {
        let when = match take.u8()? {
            0 => When::Cron { pattern: take.text()?.into(), zone: take.text()?.into() },
            1 => When::Every { micros: Some(take.varint()?).filter(|micros| *micros > 0).ok_or(NO_TIME_APART)? },
            2 => When::At(Timestamp(take.varint()?)),
            _ => return Err(Malformed("neither cron nor every nor at")),
        };
        let target = match take.u8()? {
            0 => Target::Queue(QueueNumber(take.varint32()?)),
            1 => Target::Exchange { exchange: ExchangeNumber(take.varint32()?), routing_key: take.text()?.into() },
            _ => return Err(Malformed("neither a queue nor an exchange")),
        };
        let missed = match take.u8()? {
            0 => MissedRuns::One,
            1 => MissedRuns::Skip,
            2 => MissedRuns::All,
            _ => return Err(Malformed("what becomes of missed runs that there is not")),
        };
        let overlap = match take.u8()? {
            0 => OverlappingRuns::Allow,
            1 => OverlappingRuns::Skip,
            _ => return Err(Malformed("what becomes of overlapping runs that there is not")),
        };
        Ok(Plan { when, target, missed, overlap })
    }
}
