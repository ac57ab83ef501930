//! The questions about schedules.

use crate::base::bounds::{FREEZE_CHUNK, NAME_BYTES_MAX, RUNS_TOLD_MAX};
use crate::base::codec::{Malformed, Take};
use crate::base::time::Timestamp;
use crate::engine::Refused;
use crate::primitives::Refusal;
use crate::primitives::queues::{
    KeptMessage, LastLeftOut, LastSent, LeftOutReason, Plan, SCHEDULES, Schedule, Target, schedule_row,
};

use super::operation::{Kind, Question};
use super::questions::{put_list, take_list};
use super::server::Host;
use super::wire::{Out, take_option};

type Answered<T> = Result<T, Refused<Refusal>>;

/// Up to `FREEZE_CHUNK` names of schedules behind this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ScheduleNames {
    pub(crate) after: String,
}

impl Question for ScheduleNames {
    const KIND: Kind = Kind::ScheduleNames;
    type Answer = Vec<String>;

    fn answer(&self, host: &Host) -> Answered<Vec<String>> {
        let names = host.engine.inspect(|machine| machine.queues.schedules.names_after(&self.after, FREEZE_CHUNK))?;
        host.engine.reveal_object(SCHEDULES)?;
        Ok(names)
    }

    fn put(&self, out: &mut Out) {
        out.text(&self.after);
    }

    fn take(take: &mut Take<'_>) -> Result<ScheduleNames, Malformed> {
        Ok(ScheduleNames { after: take.text()?.to_owned() })
    }

    fn put_answer(names: &Vec<String>, out: &mut Out) {
        put_list(names, out, |out, name| out.text(name));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Vec<String>, Malformed> {
        take_list(take, |take| take.text().map(str::to_owned))
    }
}

/// A schedule and its next runs; `None` if there is none with this name. Waits for the sync of what is written of it
/// just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DescribeSchedule {
    pub(crate) name: Box<str>,
    /// How many runs are to be told.
    pub(crate) runs: u32,
}

/// What a schedule is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ScheduleFacts {
    pub(crate) plan: Plan,
    /// The name of what it sends to.
    pub(crate) target: String,
    pub(crate) message: Vec<u8>,
    pub(crate) is_paused: bool,
    pub(crate) next: Option<Timestamp>,
    pub(crate) sent: u64,
    pub(crate) left_out: u64,
    pub(crate) last_sent: Option<LastSent>,
    pub(crate) last_left_out: Option<LastLeftOut>,
    pub(crate) runs: Vec<Timestamp>,
}

impl ScheduleFacts {
    /// Without the runs to come, which take time to find.
    fn of(schedule: &Schedule, target: String) -> ScheduleFacts {
        let Schedule { plan, message, is_paused, next, history, .. } = schedule;
        ScheduleFacts {
            plan: plan.clone(),
            target,
            message: message.to_vec(),
            is_paused: *is_paused,
            next: *next,
            sent: history.sent,
            left_out: history.left_out,
            last_sent: history.last_sent,
            last_left_out: history.last_left_out.clone(),
            runs: Vec::new(),
        }
    }
}

impl Question for DescribeSchedule {
    const KIND: Kind = Kind::DescribeSchedule;
    type Answer = Option<ScheduleFacts>;

    fn answer(&self, host: &Host) -> Answered<Option<ScheduleFacts>> {
        let found = host.engine.inspect(|machine| {
            let queues = &machine.queues;
            let schedule = queues.schedules.find(&self.name)?;
            let target = match &schedule.plan.target {
                Target::Queue(queue) => queues.get(*queue).map(|queue| queue.name.to_string()),
                Target::Exchange { exchange, .. } => {
                    queues.exchanges.get(*exchange).map(|found| found.name.to_string())
                }
            };
            Some((schedule.number, ScheduleFacts::of(schedule, target.unwrap_or_default())))
        })?;
        host.engine.reveal_object(found.as_ref().map_or(SCHEDULES, |(number, _)| schedule_row(*number)))?;
        let Some((_, mut facts)) = found else { return Ok(None) };
        let next = facts.next.filter(|_| !facts.is_paused);
        facts.runs = facts.plan.when.runs(next, (self.runs as usize).min(RUNS_TOLD_MAX));
        Ok(Some(facts))
    }

    fn put(&self, out: &mut Out) {
        // A longer name is no schedule's, and what is left of it is none's either.
        out.text(if self.name.len() > NAME_BYTES_MAX { "" } else { &self.name });
        out.u32(self.runs);
    }

    fn take(take: &mut Take<'_>) -> Result<DescribeSchedule, Malformed> {
        Ok(DescribeSchedule { name: take.text()?.into(), runs: take.u32()? })
    }

    fn put_answer(facts: &Option<ScheduleFacts>, out: &mut Out) {
        out.option(facts.as_ref(), |out, facts| {
            out.put(facts.plan.encoded_len(), |put| facts.plan.encode(put));
            out.text(&facts.target);
            out.slice(&facts.message);
            out.bool(facts.is_paused);
            out.option(facts.next, put_time);
            out.varint(facts.sent);
            out.varint(facts.left_out);
            out.option(facts.last_sent, |out, LastSent { run, at }| {
                put_time(out, run);
                put_time(out, at);
            });
            out.option(facts.last_left_out.as_ref(), |out, LastLeftOut { run, at, reason, text }| {
                out.u8(*reason as u8);
                put_time(out, *run);
                put_time(out, *at);
                out.text(text);
            });
            put_list(&facts.runs, out, |out, run| put_time(out, *run));
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<ScheduleFacts>, Malformed> {
        take_option(take, |take| {
            let (plan, target) = (Plan::decode(take)?, take.text()?.to_owned());
            let message = take.slice()?;
            KeptMessage::read(message)?;
            let (is_paused, next) = (take.u8()? == 1, take_option(take, take_time)?);
            let (sent, left_out) = (take.varint()?, take.varint()?);
            let last_sent = take_option(take, |take| Ok(LastSent { run: take_time(take)?, at: take_time(take)? }))?;
            let last_left_out = take_option(take, take_left_out)?;
            let (message, runs) = (message.to_vec(), take_list(take, take_time)?);
            Ok(ScheduleFacts { plan, target, message, is_paused, next, sent, left_out, last_sent, last_left_out, runs })
        })
    }
}

fn put_time(out: &mut Out, time: Timestamp) {
    out.varint(time.0);
}

fn take_time(take: &mut Take<'_>) -> Result<Timestamp, Malformed> {
    take.varint().map(Timestamp)
}

fn take_left_out(take: &mut Take<'_>) -> Result<LastLeftOut, Malformed> {
    let (reason, run, at) = (LeftOutReason::decode(take)?, take_time(take)?, take_time(take)?);
    Ok(LastLeftOut { run, at, reason, text: take.text()?.into() })
}
