//! Schedules as rows of the checkpoint.
//!
//! | kind | id       | row                                                                                |
//! |------|----------|------------------------------------------------------------------------------------|
//! | 60   | 0        | log: it carries the timer of all schedules                                         |
//! | 60   | schedule | u8 (1 paused) · next · sent · left out · made up · last run that sent · when ·     |
//! |      |          | u8 (0 none was left out, else the reason) [· run · when · slice(text)] · count ·   |
//! |      |          | per place queue · lane · offset · plan · slice(message) · slice(name)              |
//! | 56   | log      | none: the timer                                                                    |
//!
//! Times that there are not are 0. Plans are as in `plan.rs`, messages as in `kept.rs`.

use crate::base::bounds::{
    CRON_BYTES_MAX, NAME_BYTES_MAX, ROW_BYTES_MAX, SCHEDULE_ERROR_BYTES_MAX, SCHEDULE_MESSAGE_BYTES_MAX,
    SCHEDULE_PLACES_MAX, ZONE_BYTES_MAX,
};
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::time::Timestamp;

use super::super::event::take_bool;
use super::super::routing::ROUTING_KEY_BYTES_MAX;
use super::fact::{Reason, place_fields, take_message, take_places, take_time};
use super::plan::Plan;
use super::{History, LastLeftOut, LastSent, Schedule, ScheduleNumber, Schedules};

pub(in crate::primitives::queues) const KIND_SCHEDULE: u8 = 60;
pub(in crate::primitives::queues) const KIND_TIMER: u8 = 56;

/// What all schedules have together. It changes with the names that there are too.
pub(crate) const SCHEDULES: RowKey = RowKey { kind: KIND_SCHEDULE, id: 0 };

pub(crate) fn schedule_row(schedule: ScheduleNumber) -> RowKey {
    RowKey { kind: KIND_SCHEDULE, id: u64::from(schedule.0) }
}

const NUMBERS_BYTES_MAX: usize = 1 + 10 * 9 + 2;
const TEXTS_BYTES_MAX: usize = CRON_BYTES_MAX + ZONE_BYTES_MAX + ROUTING_KEY_BYTES_MAX + NAME_BYTES_MAX + 5 * 3 + 5;
const PLACES_BYTES_MAX: usize = SCHEDULE_PLACES_MAX * (5 + 5 + 7);

const _: () = assert!(
    NUMBERS_BYTES_MAX + TEXTS_BYTES_MAX + SCHEDULE_ERROR_BYTES_MAX + PLACES_BYTES_MAX + SCHEDULE_MESSAGE_BYTES_MAX
        <= ROW_BYTES_MAX
);

impl Schedule {
    fn numbers(&self) -> [u64; 6] {
        let History { sent, left_out, made_up, last_sent, .. } = &self.history;
        let (run, at) = last_sent.map_or((0, 0), |last| (last.run.0, last.at.0));
        [self.next.map_or(0, |next| next.0), *sent, *left_out, *made_up, run, at]
    }

    fn encoded_len(&self) -> usize {
        let left_out = self.history.last_left_out.as_ref();
        let left_out = left_out.map_or(0, |l| varint_len(l.run.0) + varint_len(l.at.0) + slice_len(l.text.len()));
        let places: usize = self.unsettled.iter().flat_map(place_fields).map(varint_len).sum();
        let numbers: usize = self.numbers().into_iter().map(varint_len).sum();
        let texts = self.plan.encoded_len() + slice_len(self.message.len()) + slice_len(self.name.len());
        1 + numbers + 1 + left_out + varint_len(self.unsettled.len() as u64) + places + texts
    }

    fn encode(&self, out: &mut Put<'_>) {
        out.u8(u8::from(self.is_paused));
        out.varints(self.numbers());
        match &self.history.last_left_out {
            None => out.u8(0),
            Some(LastLeftOut { run, at, reason, text }) => {
                out.u8(*reason as u8);
                out.varints([run.0, at.0]);
                out.slice(text.as_bytes());
            }
        }
        out.varint(self.unsettled.len() as u64);
        self.unsettled.iter().for_each(|place| out.varints(place_fields(place)));
        self.plan.encode(out);
        out.slice(&self.message);
        out.slice(self.name.as_bytes());
    }

    fn decode(number: ScheduleNumber, take: &mut Take<'_>) -> Result<Schedule, Malformed> {
        let (is_paused, next) = (take_bool(take)?, take_time(take)?);
        let (sent, left_out, made_up) = (take.varint()?, take.varint()?, take.varint()?);
        let (run, at) = (take_time(take)?, Timestamp(take.varint()?));
        let last_sent = run.map(|run| LastSent { run, at });
        let last_left_out = take_left_out(take)?;
        let unsettled = take_places(take)?;
        let (plan, message, name) = (Plan::decode(take)?, take_message(take)?, take.text()?.into());
        let history = History { sent, left_out, made_up, last_sent, last_left_out };
        Ok(Schedule { number, name, plan, message, is_paused, next, history, unsettled })
    }
}

fn take_left_out(take: &mut Take<'_>) -> Result<Option<LastLeftOut>, Malformed> {
    let mut ahead = Take::new(take.rest());
    if ahead.u8()? == 0 {
        take.u8()?;
        return Ok(None);
    }
    let (reason, run, at) = (Reason::decode(take)?, Timestamp(take.varint()?), Timestamp(take.varint()?));
    Ok(Some(LastLeftOut { run, at, reason, text: take.text()?.into() }))
}

impl Schedules {
    pub(in crate::primitives::queues) fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        if key == SCHEDULES {
            let log = self.log?;
            return Some(filled(varint_len(log.0), |out| out.varint(log.0)));
        }
        let schedule = self.all.get(&ScheduleNumber(u32::try_from(key.id).ok()?))?;
        Some(filled(schedule.encoded_len(), |out| schedule.encode(out)))
    }

    /// Takes a row back.
    pub(in crate::primitives::queues) fn load(&mut self, key: RowKey, take: &mut Take<'_>) -> Result<(), Malformed> {
        if key == SCHEDULES {
            self.log = Some(LogId(take.varint()?));
            return Ok(());
        }
        let number = u32::try_from(key.id).map_err(|_| Malformed("a schedule beyond the last"))?;
        let schedule = Schedule::decode(ScheduleNumber(number), take)?;
        if self.log.is_none() || self.names.contains_key(&schedule.name) {
            return Err(Malformed("a schedule that cannot be"));
        }
        self.put(schedule);
        Ok(())
    }

    /// The keys of all rows.
    #[cfg(test)]
    pub(in crate::primitives::queues) fn keys(&self) -> impl Iterator<Item = RowKey> {
        [SCHEDULES].into_iter().chain(self.all.keys().map(|number| schedule_row(*number)))
    }
}

fn filled(len: usize, fill: impl FnOnce(&mut Put<'_>)) -> Vec<u8> {
    let mut row = vec![0; len];
    let mut out = Put::new(&mut row);
    fill(&mut out);
    assert_eq!(out.remaining(), 0, "a row is as long as was foretold");
    row
}
