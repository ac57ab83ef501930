//! Reading operations, and turns of the workers: what they show is held against the model.

use super::groups::groups_of;
use super::history::{Change, PartitionContents, Step, StreamContents, Trim};
use super::record::{RecordBytes, read_records};
use super::world::{Done, Stop, World};
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::time::{BootTime, Timestamp};
use crate::engine::read::{Cursor, Read};
use crate::engine::{Engine, Next, Worker};
use crate::primitives::Primitives;
use crate::primitives::streams::Retention;

/// Rounds of the timers where one may come again until the keeper has told what compaction left.
const COMPACTED_ROUNDS_MAX: usize = 300;

/// Turns of one worker until it has nothing to do.
const TURNS_MAX: usize = 10_000;

impl World {
    /// Reads from a random offset of a random partition.
    pub(super) fn read(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(name) = self.any_stream() else { return Ok(()) };
        let number = self.any_partition(&name);
        let Some(log) = log_of(engine, &name, number)? else { return Ok(()) };
        self.learn_holes(engine)?;
        let durable = engine.positions().durable;
        let partition = self.history.now().streams[&name].partitions[number as usize].clone();
        let visible = partition.visible_end(durable);
        let extent = match engine.extent(log) {
            Ok(Some(extent)) => extent,
            Ok(None) => return Err(Stop::Wrong(format!("{name}/{number} has no extent"))),
            Err(fault) => return self.fault(engine, fault, None),
        };
        if (extent.start, extent.end) != (partition.start, visible) {
            return Err(Stop::Wrong(format!("{name}/{number} shows {extent:?}, not {}..{visible}", partition.start)));
        }
        let from = (partition.start + self.random.below(visible.saturating_sub(partition.start) + 2)).saturating_sub(1);
        let records = self.random.pick(&[1, 10, 1000]);
        self.tell(format_args!("read {name}/{number} from {from} of {}..{visible}", partition.start));
        match engine.read(log, from, records, &mut Cursor::default()) {
            Ok(read) => self.check_read(&partition, from, visible, read).map(drop),
            Err(fault) => self.fault(engine, fault, None),
        }
    }

    /// Tells the offset behind the last record that was read; `None` if there was none to read.
    pub(super) fn check_read(
        &mut self,
        partition: &PartitionContents,
        from: u64,
        visible: u64,
        read: Read,
    ) -> Result<Option<u64>, Stop> {
        let batch = match read {
            Read::Items(batch) => batch,
            Read::AtEnd if from == visible => return Ok(None),
            Read::Below { .. } if from < partition.start => return Ok(None),
            other => return Err(Stop::Wrong(format!("reading at {from} before {visible} yields {other:?}"))),
        };
        let mut next = None;
        // Between these offsets lie holes alone.
        let mut due =
            (from..visible).filter(|offset| partition.record(*offset).is_some_and(|record| !record.is_hole()));
        for item in batch.items() {
            for (offset, record) in read_records(&batch, item)? {
                if offset < partition.start || offset >= visible {
                    continue;
                }
                if offset >= from && due.next() != Some(offset) {
                    return Err(Stop::Wrong(format!("a read at {from} yields {offset}, and skips a record before it")));
                }
                let known = partition.record(offset).expect("below the end");
                let record = super::history::RecordContents { epoch: known.epoch, ..record };
                if *known != record || (known.lsn > Lsn(0) && known.lsn != record.lsn) {
                    return Err(Stop::Wrong(format!("offset {offset} reads as {record:?}, not {known:?}")));
                }
                if known.sync {
                    self.history.promise(known.end);
                }
                next = Some(offset + 1);
            }
        }
        if next.is_none_or(|next| next <= from) {
            return Err(Stop::Wrong(format!("a read at {from} before {visible} does not get on")));
        }
        Ok(next)
    }

    pub(super) fn sync(&mut self, engine: &Engine<Primitives>) -> Done {
        self.tell(format_args!("sync"));
        match engine.sync(None) {
            Ok(()) => {
                self.history.promise_everything();
                Ok(())
            }
            Err(fault) => self.fault(engine, fault, None),
        }
    }

    pub(super) fn checkpoint(&mut self, engine: &Engine<Primitives>) -> Done {
        let before = checkpoints(engine);
        // Copying the index costs more than the checkpoint.
        let index = self.random.chance(128).then(|| self.disk.contents("index.redb"));
        self.tell(format_args!("checkpoint"));
        match engine.checkpoint() {
            Ok(()) => {
                self.older_index = index.map(|index| (before + 1, index));
                self.still_well(engine)
            }
            Err(fault) => self.fault(engine, fault, None).and_then(|()| self.still_well(engine)),
        }
    }

    /// One turn of a worker other than the timers.
    pub(super) fn turn(&mut self, engine: &Engine<Primitives>, worker: Worker) -> Done {
        self.tell(format_args!("turn of the {worker:?}"));
        // The committer's own clock is the host's: its sync is due, or not for long.
        let mut flush_at = self.random.chance(128).then_some(BootTime(0));
        engine.step(worker, &mut flush_at);
        self.still_well(engine)
    }

    pub(super) fn turns(&mut self, engine: &Engine<Primitives>, worker: Worker) -> Done {
        for _ in 0..TURNS_MAX {
            if engine.step(worker, &mut None) != Next::Again {
                return self.still_well(engine);
            }
        }
        Err(Stop::Wrong(format!("the {worker:?} finds no end")))
    }

    /// Lets time pass and retention do its work: every partition starts where its limits say, and nowhere later.
    pub(super) fn expire(&mut self, engine: &Engine<Primitives>) -> Done {
        let millis = self.random.pick(&[60, 500, 2_000, 70_000]);
        self.tell(format_args!("{millis} ms pass"));
        self.pass(millis * 1000);
        self.settle_compaction(engine)?;
        for round in 0.. {
            if self.has_compacted_streams() && round > COMPACTED_ROUNDS_MAX {
                break;
            }
            if round > TURNS_MAX {
                return Err(Stop::Wrong("the timers find no end".to_owned()));
            }
            let next = engine.step(Worker::Timers, &mut None);
            self.still_well(engine)?;
            if groups_of(engine)? != self.now().groups {
                self.note_expired(engine, false)?;
            }
            match next {
                Next::Again => {}
                Next::Micros(micros) if micros <= 60_000 => {
                    self.pass(micros);
                }
                _ => break,
            }
        }
        let is_exact = !self.full && !self.faulty;
        self.note_expired(engine, is_exact)?;
        if is_exact {
            self.lapses.check_ended(&self.history.now().groups, self.elapsed)?;
        }
        Ok(())
    }

    /// Enters what the timers have let go into the model.
    fn note_expired(&mut self, engine: &Engine<Primitives>, exactly: bool) -> Done {
        let wall = self.clock.wall();
        // A tick may come before compaction or behind it.
        let before = self.now().clone();
        self.learn_holes(engine)?;
        let mut trims = Vec::new();
        for (name, stream) in &self.now().streams {
            for (number, partition) in (0..).zip(&stream.partitions) {
                let Some(log) = log_of(engine, name, number)? else { continue };
                let found = engine.inspect(|machine| machine.streams.log_start(log));
                let start = found.map_err(|_| Stop::Poisoned)?.unwrap_or_default();
                let due = kept_from(stream, partition, wall);
                let most = kept_from(stream, &before.streams[name].partitions[number as usize], wall);
                // Where the first record has gone by compaction, age may move the start to the first that is there.
                let most = most.max(due).max(first_there(partition));
                if start > most || (exactly && start < due) {
                    return Err(Stop::Wrong(format!("{name}/{number} starts at {start}, its retention says {due}")));
                }
                if start > partition.start {
                    trims.push(Trim { name: name.clone(), partition: number, start });
                }
            }
        }
        let producers = self.expired_producers(engine, wall, exactly)?;
        let groups = self.ticked_groups(engine)?;
        let issued = engine.positions().issued;
        if !(trims.is_empty() && producers.is_empty() && groups.is_empty()) {
            let ticked: Vec<u64> = groups.keys().copied().collect();
            self.tell(format_args!("  -> {trims:?} {producers:?}, groups {ticked:?}"));
            self.history.push(Step { change: Change::Expire { trims, producers, groups }, end: Some(issued) });
        }
        self.issued = self.issued.max(issued);
        Ok(())
    }

    /// The disk has room again: what was blocked goes on by itself, and a write is taken.
    pub(super) fn room(&mut self, engine: &Engine<Primitives>) -> Done {
        self.tell(format_args!("room on the disk"));
        self.disk.set_capacity(u64::MAX);
        self.full = false;
        self.turns(engine, Worker::Maker)?;
        self.turns(engine, Worker::Keeper)?;
        let Some(name) = self.any_stream() else { return Ok(()) };
        let record = self.record_of(&name, 100);
        self.append_at(engine, &name, vec![(0, vec![record])], crate::base::level::Level::Sync, true)
    }
}

pub(super) fn log_of(engine: &Engine<Primitives>, name: &str, partition: u32) -> Result<Option<LogId>, Stop> {
    let look = |machine: &Primitives| {
        let stream = machine.streams.stream(machine.streams.lookup(name)?)?;
        Some(stream.head().log(partition))
    };
    engine.inspect(look).map_err(|_| Stop::Poisoned)
}

pub(super) fn checkpoints(engine: &Engine<Primitives>) -> u64 {
    engine.counters().1.checkpoints.load(crate::base::sync::Ordering::Relaxed)
}

fn first_there(partition: &PartitionContents) -> u64 {
    let holes = partition.records.iter().take_while(|record| record.is_hole()).count();
    partition.start + holes as u64
}

/// Where a partition starts once retention has done its work: the stupid way, record by record.
fn kept_from(stream: &StreamContents, partition: &PartitionContents, wall: Timestamp) -> u64 {
    let Retention { age_micros, bytes, records } = stream.options.retention;
    let there = (partition.start..).zip(&partition.records).filter(|(_, record)| !record.is_hole());
    let mut held = there.clone().count() as u64;
    let mut held_bytes: u64 = there.clone().map(|(_, record)| user_bytes(record)).sum();
    let mut start = partition.start;
    for (offset, record) in there {
        let is_old = age_micros.is_some_and(|age| record.timestamp < wall.minus(age));
        let is_beyond = records.is_some_and(|most| held > most) || bytes.is_some_and(|most| held_bytes > most);
        if !is_old && !is_beyond {
            return if start > partition.start { offset } else { start };
        }
        start = offset + 1;
        held -= 1;
        held_bytes -= user_bytes(record);
    }
    start
}

fn user_bytes(record: &super::history::RecordContents) -> u64 {
    RecordBytes::user_bytes(record.number, record.body_bytes)
}
