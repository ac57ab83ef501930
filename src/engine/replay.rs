//! Step 7 of recovery: state and positions, rebuilt in memory from the index and the frames that the walk shows.

use crate::base::log::LogId;
use crate::base::lsn::{Geometry, Lsn};
use crate::base::time::{ClockReading, Timestamp};
use crate::index::{Index, Meta};
use crate::journal::item::Items;
use crate::journal::tail::Tail;
use crate::storage::frame::{Frame, Kind};

use super::clock::HybridClock;
use super::core::{Afterwards, Core, EventPlace, successive};
use super::fault::Fault;
use super::logs::Logs;
use super::machine::{LogAppend, LogChange, Machine};
use super::objects::Objects;
use super::open::{INDEX, damage};
use super::timers::Timers;
use super::watched::Watched;

/// State and positions as they are built from the index and the journal.
pub(super) struct Replay<M: Machine> {
    pub(super) machine: M,
    pub(super) logs: Logs,
    objects: Objects,
    trimmed: Vec<LogId>,
    applied: Lsn,
    geometry: Geometry,
    high: Timestamp,
    /// Appends below `applied` in segments without sidecar: the state knows them, only their places are missing.
    known: Vec<(LogAppend, u64, u32)>,
    opened: bool,
    /// Of the frames that were shown, in segments without sidecar.
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// What an event adds to logs.
fn each_append<M: Machine>(event: &M::Event<'_>, visit: &mut dyn FnMut(LogAppend)) {
    match M::log_change(event) {
        LogChange::Append(append) => visit(append),
        LogChange::AppendToSeveral => M::appends(event, visit),
        _ => {}
    }
}

impl<M: Machine> Replay<M> {
    pub(super) fn from_index(index: &Index, meta: Meta, geometry: Geometry) -> Result<Replay<M>, Fault> {
        let mut machine = M::default();
        let mut malformed = None;
        index.for_each_row(&mut |key, row| {
            if let Err(fault) = machine.load(key, row) {
                malformed.get_or_insert_with(|| format!("row {key:?}: {fault}"));
            }
            Ok(())
        })?;
        if let Some(reason) = malformed {
            return Err(damage(INDEX, &reason));
        }
        Ok(Replay {
            machine,
            logs: Logs::default(),
            objects: Objects::new(),
            trimmed: Vec::new(),
            applied: meta.applied,
            geometry,
            high: meta.wall_high,
            known: Vec::new(),
            opened: false,
            records: 0,
            bytes: 0,
        })
    }

    pub(super) fn frame(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        self.bytes += frame.extent();
        if frame.header.kind != Kind::Events {
            return Ok(());
        }
        let lsn = frame.header.lsn;
        let segment = self.geometry.segment_of(lsn);
        let place = self.geometry.place_in_segment(lsn) as u32;
        for item in Items::of(frame, place) {
            let item = item.map_err(|fault| fault.to_string())?;
            let event = M::decode(item.bytes).map_err(|fault| fault.to_string())?;
            each_append::<M>(&event, &mut |append| {
                self.high = self.high.max(append.timestamp);
                self.records += u64::from(append.count);
                if lsn < self.applied {
                    self.known.push((append, segment, item.position));
                }
            });
            if lsn >= self.applied {
                self.open_logs();
                let end = lsn.plus(frame.extent());
                self.apply(&event, EventPlace { segment, position: item.position, lsn, end, sync: false });
            }
        }
        Ok(())
    }

    /// Once the walk reaches `applied`, or its end: the logs that the index knows, with the places found so far.
    pub(super) fn open_logs(&mut self) {
        if std::mem::replace(&mut self.opened, true) {
            return;
        }
        let (machine, logs) = (&self.machine, &mut self.logs);
        machine.logs(&mut |log, _, end| logs.open(log, end, machine.log_timer(log)));
        for (append, segment, position) in std::mem::take(&mut self.known) {
            self.logs.place_known(&append, segment, position);
        }
    }

    fn apply(&mut self, event: &M::Event<'_>, place: EventPlace) {
        let (machine, objects) = (&self.machine, &mut self.objects);
        machine.touches(event, &mut |key| objects.touch(key, place.end, place.sync, || machine.row(key)));
        self.machine.apply(event, place.lsn);
        match M::log_change(event) {
            LogChange::None | LogChange::Rearm { .. } => {}
            LogChange::Append(_) | LogChange::AppendToSeveral => each_append::<M>(event, &mut |append| {
                self.logs.append(&append, place.segment, place.position, None);
            }),
            LogChange::Open { first, count } => {
                successive(first, count).for_each(|log| self.logs.open(log, 0, None));
            }
            LogChange::Close { first, count } => {
                for log in successive(first, count) {
                    self.logs.close(log);
                    self.trimmed.push(log);
                }
            }
            LogChange::Trim { log, .. } => self.trimmed.push(log),
        }
    }

    /// The greatest timestamp that was given.
    pub(super) fn high(&self) -> Timestamp {
        self.high
    }

    pub(super) fn into_core(mut self, tail: Tail, clock: HybridClock, reading: ClockReading) -> Core<M> {
        self.open_logs();
        let mut core = Core {
            machine: self.machine,
            tail,
            clock,
            logs: self.logs,
            objects: self.objects,
            watched: Watched::default(),
            timers: Timers::default(),
            boot_timers: Timers::default(),
            trimmed: self.trimmed.into_iter().collect(),
            flush_armed: false,
        };
        let now = core.clock.stamp(reading.wall, || reading);
        let mut logs = Vec::new();
        core.machine.logs(&mut |log, _, _| logs.push(log));
        for log in logs {
            let timer = core.machine.log_timer(log);
            if let Some(cell) = core.logs.get_mut(log) {
                cell.timer = timer;
                cell.continue_after(core.machine.log_last_timestamp(log));
            }
            core.arm_timer(log, now, now.wall, &mut Afterwards::default());
        }
        core
    }
}
