//! An engine on the simulated disk with the model beside it, and how one learns that they disagree.

use std::collections::VecDeque;
use std::fmt;

use super::attached::{Attached, Sending};
use super::history::{Change, Contents, History, Step};
use super::lapses::Lapses;
use super::members::Consumer;
use super::producing::Writer;
use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;
use crate::engine::clock::ManualClock;
use crate::engine::fault::Fault;
use crate::engine::{Engine, Refused, Submitted};
use crate::journal::follow::Committer;
use crate::primitives::streams::groups::Position;
use crate::primitives::{Command, Primitives, Refusal, Reply, streams};
use crate::sim::disk::SimDisk;
use crate::sim::random::Random;

/// Operations that the message of a failed run shows.
const TOLD_MAX: usize = 40;

/// How far the wall clock is set forward in one run: nothing of it is doubted.
const STEPS_MICROS_MAX: u64 = 3_000_000_000;

/// Why a life ends before its time.
#[derive(Debug)]
pub(super) enum Stop {
    /// The engine is poisoned, by a fault that was meant.
    Poisoned,
    /// The engine broke a promise.
    Wrong(String),
}

impl From<String> for Stop {
    fn from(reason: String) -> Stop {
        Stop::Wrong(reason)
    }
}

pub(super) type Done = Result<(), Stop>;

pub(super) struct World {
    pub(super) disk: SimDisk,
    pub(super) clock: ManualClock,
    pub(super) random: Random,
    pub(super) history: History,
    pub(super) next_number: u64,
    pub(super) body_bytes_max: u32,
    /// How many of 256 writes are for `Sync`.
    pub(super) sync_in_256: u64,
    /// Where the next frame may start: no address below was not handed out before, in any life.
    pub(super) issued: Lsn,
    /// A fault is meant to strike in this life.
    pub(super) faulty: bool,
    /// The disk is meant to be full.
    pub(super) full: bool,
    /// The index as it was one commit ago, and how many checkpoints there have been since the open.
    pub(super) older_index: Option<(u64, Vec<u8>)>,
    /// A process that is attached, if one is, and the request of it that was sent last.
    pub(super) attached: Option<Attached>,
    pub(super) sending: Option<Sending>,
    pub(super) sent_again: u64,
    pub(super) repeated: u64,
    /// Programs with a producer each. They outlive crashes, as if their source told them what they have sent.
    pub(super) writers: Vec<Writer>,
    pub(super) produced_again: u64,
    pub(super) duplicates: u64,
    /// Programs that are members of consumer groups.
    pub(super) consumers: Vec<Consumer>,
    /// Positions in partitions of groups that are owned no more.
    pub(super) ghosts: VecDeque<(u64, Position)>,
    pub(super) records_consumed: u64,
    pub(super) lapses: Lapses,
    /// Microseconds that have passed since the run began, whatever any clock says.
    pub(super) elapsed: u64,
    /// The machine was started anew since the last open.
    pub(super) is_rebooted: bool,
    /// How far the wall clock may still be set forward in this run.
    steps_left_micros: u64,
    /// What compaction had read when its holes were last looked for, and records that it has left out.
    pub(super) compacted_bytes: u64,
    pub(super) left_out: u64,
    told: VecDeque<String>,
}

impl World {
    pub(super) fn new(seed: u64, clock: ManualClock) -> World {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(random.next());
        let body_bytes_max = random.pick(&[100, 5_000, 300_000, 1 << 20]);
        World {
            disk,
            clock,
            random,
            history: History::default(),
            next_number: 1,
            body_bytes_max,
            sync_in_256: 128,
            issued: Lsn(0),
            faulty: false,
            full: false,
            older_index: None,
            attached: None,
            sending: None,
            sent_again: 0,
            repeated: 0,
            writers: Vec::new(),
            produced_again: 0,
            duplicates: 0,
            consumers: Vec::new(),
            ghosts: VecDeque::new(),
            records_consumed: 0,
            lapses: Lapses::default(),
            elapsed: 0,
            is_rebooted: false,
            steps_left_micros: STEPS_MICROS_MAX,
            compacted_bytes: 0,
            left_out: 0,
            told: VecDeque::new(),
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, micros: u64) {
        self.elapsed += micros;
        self.clock.advance(std::time::Duration::from_micros(micros));
    }

    /// Somebody sets the wall clock forward, by less than what would be doubted.
    pub(super) fn step_wall(&mut self) {
        let micros = self.random.below(STEPS_MICROS_MAX).min(self.steps_left_micros);
        self.steps_left_micros -= micros;
        self.tell(format_args!("the wall clock is set forward by {micros} us"));
        self.clock.step_wall(Timestamp(self.clock.wall().0 + micros));
    }

    /// The machine starts anew, with another boot clock.
    pub(super) fn reboot(&mut self) {
        self.pass(1_000);
        self.tell(format_args!("the machine starts anew"));
        self.clock = ManualClock::starting_at(self.clock.wall());
        self.is_rebooted = true;
    }

    /// For the message of a failed run.
    pub(super) fn tell(&mut self, what: fmt::Arguments<'_>) {
        if self.told.len() == TOLD_MAX {
            self.told.pop_front();
        }
        self.told.push_back(what.to_string());
    }

    pub(super) fn told(&self) -> String {
        self.told.iter().map(|what| format!("  {what}\n")).collect()
    }

    pub(super) fn now(&self) -> &Contents {
        self.history.now()
    }

    /// A stream that exists, by name.
    pub(super) fn any_stream(&mut self) -> Option<String> {
        let names: Vec<String> = self.now().streams.keys().cloned().collect();
        (!names.is_empty()).then(|| names[self.random.below(names.len() as u64) as usize].clone())
    }

    pub(super) fn any_partition(&mut self, name: &str) -> u32 {
        let partitions = self.now().streams[name].partitions.len() as u64;
        self.random.below(partitions) as u32
    }

    /// The engine took a frame: it starts where nothing ever did.
    pub(super) fn accepted(&mut self, lsn: Lsn, end: Lsn, change: Change) -> Done {
        if lsn < self.issued || end <= lsn {
            return Err(Stop::Wrong(format!(
                "a frame at {lsn:?}..{end:?}, where addresses below {:?} were handed out",
                self.issued
            )));
        }
        self.issued = end;
        let change = self.as_sent(change, Some((lsn, end)));
        self.history.push(Step { change, end: Some(end) });
        Ok(())
    }

    /// Nothing was stored, or at most what `unknown` says if the engine is poisoned.
    pub(super) fn fault(&mut self, engine: &Engine<Primitives>, fault: Fault, unknown: Option<Change>) -> Done {
        self.tell(format_args!("  -> {fault}"));
        if engine.marks().is_poisoned() {
            if let Some(change) = unknown.filter(|_| matches!(fault, Fault::OutcomeUnknown)) {
                let change = self.as_sent(change, None);
                self.history.push(Step { change, end: None });
            }
            return self.meant_to_fail(&fault).and(Err(Stop::Poisoned));
        }
        match fault {
            Fault::OutcomeUnknown | Fault::Poisoned => Err(Stop::Wrong(format!("`{fault}` from an engine that lives"))),
            Fault::StorageFull if self.full => Ok(()),
            fault => self.meant_to_fail(&fault),
        }
    }

    pub(super) fn meant_to_fail(&self, fault: &Fault) -> Done {
        let is_meant = self.faulty && !matches!(fault, Fault::Corrupt { .. });
        if is_meant { Ok(()) } else { Err(Stop::Wrong(format!("`{fault}`, and nothing was done to the disk"))) }
    }

    /// The engine is well, or poisoned by a fault that was meant.
    pub(super) fn still_well(&self, engine: &Engine<Primitives>) -> Done {
        match engine.marks().is_poisoned() {
            false => Ok(()),
            true if self.faulty => Err(Stop::Poisoned),
            true => Err(Stop::Wrong("the engine is poisoned, and nothing was done to the disk".to_owned())),
        }
    }
}

/// What became of a command.
pub(super) enum Answer {
    Reply(streams::Reply, Lsn, Lsn),
    Refused(streams::Refusal),
    Fault(Fault),
    /// Of a session, which no command of a stream should have.
    Other,
}

pub(super) fn answer(result: Result<Submitted<Reply>, Refused<Refusal>>) -> Answer {
    match result {
        Ok(Submitted { reply: Reply::Streams(reply), lsn, rests_on, .. }) => Answer::Reply(reply, lsn, rests_on),
        Err(Refused::Refusal(Refusal::Streams(refusal))) => Answer::Refused(refusal),
        Err(Refused::Fault(fault)) => Answer::Fault(fault),
        _ => Answer::Other,
    }
}

pub(super) fn handle(engine: &Engine<Primitives>, name: &str) -> Result<streams::StreamHandle, Stop> {
    let found = engine.inspect(|machine| machine.streams.lookup(name));
    match found {
        Ok(Some(handle)) => Ok(handle),
        Ok(None) => Err(Stop::Wrong(format!("the stream {name} is gone"))),
        Err(_) => Err(Stop::Poisoned),
    }
}

pub(super) fn command(command: streams::Command<'_>) -> Command<'_> {
    Command::Streams(command)
}
