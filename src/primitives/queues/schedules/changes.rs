//! How facts change schedules, and which rows they change.

use crate::base::row::RowKey;
use crate::base::time::Timestamp;

use super::super::rows::COUNTERS;
use super::fact::{ScheduleEvent, Step};
use super::rows::{SCHEDULES, schedule_row};
use super::{History, LastLeftOut, LastSent, Schedule, ScheduleNumber, Schedules};

impl Schedules {
    /// Makes a fact true. One that does not fit, which only damage makes, changes nothing.
    pub(in crate::primitives::queues) fn apply(&mut self, event: &ScheduleEvent<'_>) {
        match event {
            ScheduleEvent::Began { log } => self.log = Some(*log),
            ScheduleEvent::Scheduled { number, next, plan, message, name } => {
                let before = self.take(*number);
                let (is_paused, history) = before.map_or((false, History::default()), |b| (b.is_paused, b.history));
                let (plan, message, unsettled) = (plan.clone(), message.clone(), Vec::new());
                let (number, name) = (*number, (*name).into());
                self.put(Schedule { number, name, plan, message, is_paused, next: *next, history, unsettled });
            }
            ScheduleEvent::Removed { number } => drop(self.take(*number)),
            ScheduleEvent::Paused { number, is_paused, next } => self.change(*number, |schedule| {
                (schedule.is_paused, schedule.next) = (*is_paused, *next);
            }),
            ScheduleEvent::Sent { step, places } => self.pass(step, |schedule, run, at| {
                schedule.history.sent += 1;
                schedule.history.last_sent = Some(LastSent { run, at });
                schedule.unsettled.clone_from(places);
            }),
            ScheduleEvent::LeftOut { step, reason, text } => self.pass(step, |schedule, run, at| {
                let left_out = LastLeftOut { run, at, reason: *reason, text: text.clone() };
                schedule.history.last_left_out = Some(left_out);
            }),
        }
    }

    fn pass(&mut self, step: &Step, apply: impl FnOnce(&mut Schedule, Timestamp, Timestamp)) {
        self.change(step.number, |schedule| {
            schedule.next = step.next;
            schedule.history.made_up = step.made_up;
            schedule.history.left_out = schedule.history.left_out.saturating_add(step.left_out);
            apply(schedule, step.run, step.at);
        });
    }

    fn change(&mut self, number: ScheduleNumber, apply: impl FnOnce(&mut Schedule)) {
        if let Some(mut schedule) = self.take(number) {
            apply(&mut schedule);
            self.put(schedule);
        }
    }

    fn take(&mut self, number: ScheduleNumber) -> Option<Schedule> {
        let schedule = self.all.remove(&number)?;
        self.names.remove(&schedule.name);
        if let Some(next) = schedule.next {
            self.due.remove(&(next, number));
        }
        Some(schedule)
    }

    pub(super) fn put(&mut self, schedule: Schedule) {
        if let Some(next) = schedule.next.filter(|_| !schedule.is_paused) {
            self.due.insert((next, schedule.number));
        }
        self.names.insert(schedule.name.clone(), schedule.number);
        self.all.insert(schedule.number, schedule);
    }

    /// Names every row that the event changes. To be asked before it is applied.
    pub(in crate::primitives::queues) fn touches(&self, event: &ScheduleEvent<'_>, visit: &mut dyn FnMut(RowKey)) {
        match event {
            ScheduleEvent::Began { .. } => {
                visit(COUNTERS);
                visit(SCHEDULES);
            }
            ScheduleEvent::Scheduled { number, .. } | ScheduleEvent::Removed { number } => {
                // Which names there are is told of all together.
                visit(SCHEDULES);
                visit(schedule_row(*number));
            }
            ScheduleEvent::Paused { number, .. } => visit(schedule_row(*number)),
            ScheduleEvent::Sent { step, .. } | ScheduleEvent::LeftOut { step, .. } => visit(schedule_row(step.number)),
        }
    }
}
