//! What was done to whom and when. Who asks and is told while nothing is done has a right to an answer: "nobody knows"
//! is for writes that were under way when a host went away or stood still.

use crate::book::{History, Manner, Step};
use crate::checker::{Fate, Write, Writes};

/// How long it may take until all processes are where they were before: who has the directory recovers it, and then
/// waits for others as long as the grace.
const SETTLING_MICROS: u64 = 1_500_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disturbance {
    pub from: u64,
    pub to: u64,
    pub whom: Whom,
}

/// Who may notice that something was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whom {
    All,
    Process(u64),
    /// Who waits for a write that may be refused: a refusal that was not told yet dies with the host.
    WhatMayBeRefused,
}

impl Disturbance {
    /// One that lasts a little longer than what was done.
    pub fn settling(from: u64, to: u64, whom: Whom) -> Disturbance {
        Disturbance { from, to: to + SETTLING_MICROS, whom }
    }

    /// Whether `process`, which waits for a write of this manner, may notice it.
    fn concerns(&self, process: u64, manner: Manner) -> bool {
        match self.whom {
            Whom::All => true,
            Whom::Process(whom) => whom == process,
            Whom::WhatMayBeRefused => manner == Manner::Conditional,
        }
    }

    fn concerns_write(&self, write: &Write) -> bool {
        let is_meanwhile = write.asked_at <= self.to && write.told_at.is_none_or(|told_at| self.from <= told_at);
        is_meanwhile && self.concerns(write.process, write.manner)
    }

    fn concerns_moment(&self, process: u64, at: u64) -> bool {
        (self.from..=self.to).contains(&at) && self.concerns(process, Manner::Plain)
    }
}

/// The times in which processes closed the database. One that was killed meanwhile has not ended it.
pub fn closings(histories: &[History], whom: impl Fn(u64) -> Whom) -> Vec<Disturbance> {
    let mut closings = Vec::new();
    for History { process, lines } in histories {
        let whom = whom(*process);
        let mut began = None;
        for line in lines {
            match line.step {
                Step::Closing => began = Some(line.at),
                Step::Closed => closings.extend(began.take().map(|from| Disturbance::settling(from, line.at, whom))),
                _ => {}
            }
        }
        let last = lines.last().map_or(0, |line| line.at);
        closings.extend(began.map(|from| Disturbance::settling(from, last, whom)));
    }
    closings
}

/// Writes whose outcome nobody knew although nothing was done, and how many were asked and answered undisturbed.
pub fn hold_against<'a>(writes: &'a Writes, disturbances: &[Disturbance]) -> (Vec<&'a Write>, u64) {
    let is_calm = |write: &&Write| !disturbances.iter().any(|disturbance| disturbance.concerns_write(write));
    let calm: Vec<&Write> = writes.values().filter(|write| write.told_at.is_some()).filter(is_calm).collect();
    let unknown = calm.iter().copied().filter(|write| write.fate == Fate::Unknown && write.manner != Manner::Hurried);
    (unknown.collect(), calm.len() as u64)
}

/// Processes that were told that nobody hosts the database although nothing was done, and when.
pub fn hostless(histories: &[History], disturbances: &[Disturbance]) -> Vec<(u64, u64)> {
    let lines = histories.iter().flat_map(|history| history.lines.iter().map(|line| (history.process, line)));
    let told = lines.filter(|(_, line)| line.step == Step::Hostless).map(|(process, line)| (process, line.at));
    told.filter(|(process, at)| !disturbances.iter().any(|done| done.concerns_moment(*process, *at))).collect()
}
