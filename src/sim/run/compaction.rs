//! Streams with compaction: what it leaves out is held against the model before anything rests on it.

use super::looks::log_of;
use super::observe::read_all;
use super::world::{Done, Stop, World};
use crate::base::sync::Ordering;
use crate::engine::{Engine, Worker};
use crate::primitives::Primitives;
use crate::primitives::streams::Compaction;

/// Turns of the keeper in which a pass comes to its end, unless something hinders it.
const KEEPER_TURNS_MAX: usize = 200;

/// A stream is compacted, and how, by its name: so one that is deleted and created again is as it was.
pub(super) fn compaction_of(name: &str) -> Option<Compaction> {
    let number: u64 = name.strip_prefix("changes-")?.parse().ok()?;
    Some(Compaction { tombstone_retention_micros: [0, 1_000_000, 60_000_000][number as usize % 3] })
}

impl World {
    pub(super) fn has_compacted_streams(&self) -> bool {
        self.now().streams.keys().any(|name| compaction_of(name).is_some())
    }

    /// Enters the holes that compaction has made since this was last asked into the model. A record that went was
    /// superseded, or a tombstone whose time was over.
    pub(super) fn learn_holes(&mut self, engine: &Engine<Primitives>) -> Done {
        let copied = engine.counters().1.compacted_bytes.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.compacted_bytes, copied) == copied {
            return Ok(());
        }
        let compacted = self.now().streams.iter().filter_map(|(name, stream)| {
            let retention = compaction_of(name)?.tombstone_retention_micros;
            Some((name.clone(), stream.partitions.len() as u32, retention))
        });
        for (name, partitions, retention) in compacted.collect::<Vec<_>>() {
            for number in 0..partitions {
                self.learn_holes_of(engine, &name, number, retention)?;
            }
        }
        Ok(())
    }

    fn learn_holes_of(&mut self, engine: &Engine<Primitives>, name: &str, number: u32, retention: u64) -> Done {
        let Some(log) = log_of(engine, name, number)? else { return Ok(()) };
        let look = |machine: &Primitives| {
            let stream = machine.streams.stream(machine.streams.lookup(name)?)?;
            Some(stream.partitions()[number as usize])
        };
        let Some(mut told) = engine.inspect(look).map_err(|_| Stop::Poisoned)? else { return Ok(()) };
        let visible = engine.extent(log).map_err(|_| Stop::Poisoned)?.map_or(told.start, |extent| extent.end);
        told.end = visible;
        let found = match read_all(engine, log, &told, true) {
            Ok(found) => found,
            // Reading may be what the fault strikes.
            Err(_) if self.faulty => return self.still_well(engine),
            Err(reason) => return Err(Stop::Wrong(format!("{name}/{number}: {reason}"))),
        };
        let wall = self.clock.wall();
        let mut gone = Vec::new();
        let known = &self.now().streams[name].partitions[number as usize];
        for (offset, found) in (found.start..).zip(&found.records) {
            let Some(before) = known.record(offset) else { continue };
            if !found.is_hole() || before.is_hole() {
                continue;
            }
            let at = (offset - known.start) as usize;
            let is_over = before.body_bytes == 0 && before.timestamp.0 + retention <= wall.0;
            if !known.may_be_gone(at) || !(known.is_superseded(at) || is_over) {
                return Err(Stop::Wrong(format!("{name}/{number}: compaction has left out {before:?} at {offset}")));
            }
            gone.push(offset);
        }
        if !gone.is_empty() {
            self.tell(format_args!("  compaction of {name}/{number} has left out {} records", gone.len()));
        }
        self.left_out += gone.len() as u64;
        gone.into_iter().for_each(|offset| self.history.leave_out(name, number, offset));
        Ok(())
    }

    /// Lets the keeper tell what is left, on which retention rests.
    pub(super) fn settle_compaction(&mut self, engine: &Engine<Primitives>) -> Done {
        if !self.has_compacted_streams() {
            return Ok(());
        }
        for _ in 0..KEEPER_TURNS_MAX {
            if engine.step(Worker::Keeper, &mut None) != crate::engine::Next::Again {
                break;
            }
        }
        self.still_well(engine)?;
        self.learn_holes(engine)
    }
}
