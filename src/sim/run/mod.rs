//! Seeded runs of the engine on the simulated disk: operations, a crash, an open, again and again.
//!
//! A run is a few *lives* of one database. In each life random operations are done to the engine and to a naive model
//! (`history.rs`), on one thread, the workers' turns among them; then the process is killed, the power fails, the
//! database is closed, or a fault strikes. What the next open finds must be what some of the first writes make:
//!
//! * after a clean close, or a kill that no fault preceded: all of them;
//! * after a power cut, or a failed sync: at least those that end below `durable`, those confirmed at `Sync`, and those
//!   written for `Sync` that a reader has seen or a refusal has told of.
//!
//! An attached process sends some of the writes and, after each open, what it has not seen answered again: each is
//! applied once (`attached.rs`).
//!
//! Streams with compaction lose records: those that are superseded, and tombstones whose time is over
//! (`compaction.rs`).
//!
//! Producers send again what they do not know to be stored, and sometimes what they do: it is there once
//! (`producing.rs`).
//!
//! Members of consumer groups, in the host's process and in the attached one, read what they own and commit
//! (`members.rs`). A partition has one owner, who alone commits; the next one begins at what was committed; nothing is
//! skipped; no more moves than must (`groups.rs`, `rebalance.rs`). Nobody's time runs out early or is forgotten, under
//! whatever clock (`lapses.rs`): a power cut is a new boot, and the wall clock is set forward now and then.
//!
//! Besides: a record lies, by its address, under the mapping that it was appended under; a batch is whole or absent;
//! bytes are those that were written; readers never see what a `Sync` writer could still lose; no address is handed
//! out twice, in whatever life; a poisoned close writes nothing; a full disk refuses and recovers by itself; retention
//! moves starts exactly; what was closed passes `check`. The open itself is struck by faults and power cuts too, and
//! sometimes finds the index one commit back.
//!
//! Everything a run does follows from its seed.

mod attached;
mod compaction;
mod groups;
mod history;
mod lapses;
mod looks;
mod members;
mod observe;
mod producing;
mod rebalance;
mod record;
#[cfg(all(test, not(loom)))]
mod tests;
mod world;
mod writes;

use std::fmt;
use std::ops::AddAssign;

use self::looks::checkpoints;
use self::observe::observe;
use self::world::{Done, Stop, World};
use super::disk::{Aftermath, Fault as DiskFault, Operations};
use crate::base::bounds::GEOMETRY_BYTES_MIN;
use crate::base::lsn::Geometry;
use crate::base::sync::Ordering;
use crate::base::time::Timestamp;
use crate::engine::check::check;
use crate::engine::clock::{Clock, ManualClock};
use crate::engine::fault::Fault;
use crate::engine::{Engine, OpenOptions, Worker};
use crate::primitives::Primitives;

/// Opens that may fail by a fault before one must succeed.
const FAULTY_OPENS_MAX: usize = 3;

/// What a run came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// Opens that succeeded.
    pub lives: u64,
    /// Operations done.
    pub operations: u64,
    /// Writes that were accepted.
    pub writes: u64,
    /// Writes that a crash took back, as it may.
    pub lost: u64,
    /// Lives that a fault ended.
    pub poisoned: u64,
    /// Opens that a fault stopped.
    pub stopped_opens: u64,
    /// Opens that found the index one commit back.
    pub older_indexes: u64,
    /// Segments whose records were copied into a survivor.
    pub cleaned_segments: u64,
    /// Requests that an attached process sent again.
    pub sent_again: u64,
    /// Requests that had been applied before and were answered as then.
    pub repeated: u64,
    /// Batches that a producer sent again.
    pub produced_again: u64,
    /// Batches of producers that had been accepted before.
    pub duplicates: u64,
    /// Records that members of consumer groups read.
    pub consumed: u64,
    /// Records that compaction has left out.
    pub left_out: u64,
    /// Records read and held against the model.
    pub records_read: u64,
    /// Changes made to the disk.
    pub disk_changes: u64,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Summary) {
        self.lives += other.lives;
        self.operations += other.operations;
        self.writes += other.writes;
        self.lost += other.lost;
        self.poisoned += other.poisoned;
        self.stopped_opens += other.stopped_opens;
        self.older_indexes += other.older_indexes;
        self.cleaned_segments += other.cleaned_segments;
        self.sent_again += other.sent_again;
        self.repeated += other.repeated;
        self.produced_again += other.produced_again;
        self.duplicates += other.duplicates;
        self.consumed += other.consumed;
        self.left_out += other.left_out;
        self.records_read += other.records_read;
        self.disk_changes += other.disk_changes;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} lives, {} operations, {} writes of which crashes took {}, {} lives ended by a fault, {} opens stopped \
             by one, {} indexes one commit older, {} segments cleaned, {} requests sent again of which {} were \
             answered as before, {} batches of producers sent again of which {} were duplicates, {} records consumed \
             by members, {} left out by compaction, {} held against the model",
            self.lives,
            self.operations,
            self.writes,
            self.lost,
            self.poisoned,
            self.stopped_opens,
            self.older_indexes,
            self.cleaned_segments,
            self.sent_again,
            self.repeated,
            self.produced_again,
            self.duplicates,
            self.consumed,
            self.left_out,
            self.records_read,
        )
    }
}

/// Runs one seed.
///
/// # Errors
/// The promise that was broken, with the operations that led there.
pub fn run(seed: u64) -> Result<Summary, String> {
    let clock = ManualClock::starting_at(Timestamp(1_700_000_000_000_000));
    let mut run = Run { world: World::new(seed, clock), summary: Summary::default() };
    match run.lives() {
        Ok(()) => {
            let (disk_changes, world) = (run.world.disk.changes(), &run.world);
            let (sent_again, repeated) = (world.sent_again, world.repeated);
            let (produced_again, duplicates) = (world.produced_again, world.duplicates);
            let (consumed, left_out) = (world.records_consumed, world.left_out);
            let summary = Summary { disk_changes, sent_again, repeated, produced_again, duplicates, ..run.summary };
            Ok(Summary { consumed, left_out, ..summary })
        }
        Err(reason) => {
            let (told, disk) = (run.world.told(), run.world.disk.log());
            Err(format!("{reason}\n\nthe last operations:\n{told}\nthe last calls of the disk:\n{disk}"))
        }
    }
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Close,
    Kill,
    PowerCut,
}

struct Run {
    world: World,
    summary: Summary,
}

impl Run {
    fn lives(&mut self) -> Result<(), String> {
        let lives = 2 + self.world.random.below(4);
        let mut all_kept = true;
        for _ in 0..lives {
            let engine = self.open(&mut all_kept)?;
            all_kept = self.live(engine)?;
        }
        let engine = self.open(&mut all_kept)?;
        engine.close().map_err(|fault| format!("the last close: {fault}"))?;
        drop(engine);
        self.check()
    }

    /// Opens the database; faults may strike a few times before. Then what is found is held against the model.
    fn open(&mut self, all_kept: &mut bool) -> Result<Engine<Primitives>, String> {
        self.world.disk.clear_faults();
        for _ in 0..FAULTY_OPENS_MAX {
            if !self.world.random.chance(64) {
                break;
            }
            self.strike(400);
            let opened = Engine::<Primitives>::open(self.world.disk.attach(), self.options());
            self.world.disk.clear_faults();
            match opened {
                Ok(engine) => {
                    self.world.tell(format_args!("open, past a fault"));
                    engine.abandon();
                }
                Err(fault @ Fault::Corrupt { .. }) => {
                    return Err(format!("a fault at open is taken for damage: {fault}"));
                }
                Err(fault) => self.world.tell(format_args!("open -> {fault}")),
            }
            self.summary.stopped_opens += 1;
            *all_kept = false;
            self.crash();
        }
        let opened = Engine::open(self.world.disk.attach(), self.options());
        let engine = opened.map_err(|fault| format!("open: {fault}"))?;
        self.world.tell(format_args!("open, all kept: {all_kept}"));
        self.summary.lives += 1;
        self.found(&engine, *all_kept)?;
        self.world.faulty = false;
        match self.begin_life(&engine, *all_kept) {
            Ok(()) => Ok(engine),
            Err(Stop::Wrong(reason)) => Err(reason),
            Err(Stop::Poisoned) => Err("poisoned, and nothing was done to the disk".to_owned()),
        }
    }

    /// What everybody does who comes to a new host.
    fn begin_life(&mut self, engine: &Engine<Primitives>, all_kept: bool) -> Done {
        let world = &mut self.world;
        world.end_life_of_consumers(all_kept);
        world.begin_life(engine)?;
        world.come_back(engine)?;
        world.produce_again(engine, all_kept)?;
        if world.random.chance(32) { world.adopt(engine) } else { Ok(()) }
    }

    fn found(&mut self, engine: &Engine<Primitives>, all_kept: bool) -> Result<(), String> {
        let contents = observe(engine)?;
        self.summary.records_read += contents.records();
        if all_kept {
            self.world.history.promise_everything();
        }
        self.summary.lost += self.world.history.go_on_from(contents)? as u64;
        let issued = engine.positions().issued;
        if issued < self.world.issued {
            let before = self.world.issued;
            return Err(format!("the journal goes on at {issued:?}, addresses below {before:?} were handed out"));
        }
        self.world.issued = issued;
        self.world.compacted_bytes = 0;
        self.world.older_index = None;
        Ok(())
    }

    fn options(&self) -> OpenOptions {
        let geometry = Geometry::new(GEOMETRY_BYTES_MIN, GEOMETRY_BYTES_MIN).expect("the least geometry");
        let clock = Clock::Manual(self.world.clock.clone());
        // The least map: several passes, however few keys there are.
        OpenOptions { clock, key_map_places: 8, ..OpenOptions::new(geometry, *b"simulated store ") }
    }

    /// Operations until the life's end. Tells whether all that was accepted must be found.
    fn live(&mut self, engine: Engine<Primitives>) -> Result<bool, String> {
        let operations = 1 + self.world.random.below(self.world.random.clone().pick(&[10, 60, 120]));
        let end = self.world.random.pick(&[End::Close, End::Kill, End::PowerCut, End::PowerCut]);
        self.world.sync_in_256 = self.world.random.pick(&[8, 64, 128, 240]);
        self.world.faulty = self.world.random.chance(80);
        if self.world.faulty {
            self.strike(operations * 4);
        }
        let mut stopped = Ok(());
        for _ in 0..operations {
            self.summary.operations += 1;
            stopped = self.operate(&engine);
            if stopped.is_err() {
                break;
            }
        }
        if self.world.full && stopped.is_ok() {
            stopped = self.world.room(&engine);
        }
        self.world.disk.set_capacity(u64::MAX);
        self.world.full = false;
        self.summary.writes += self.world.history.len() as u64;
        let (_, counters) = engine.counters();
        self.summary.cleaned_segments += counters.cleaned_segments.load(Ordering::Relaxed);
        let parked = counters.parked_segments.load(Ordering::Relaxed);
        if parked > 0 && !self.world.faulty {
            return Err(format!("{parked} segments are taken for damaged"));
        }
        match stopped {
            Err(Stop::Wrong(reason)) => Err(reason),
            Err(Stop::Poisoned) => {
                self.summary.poisoned += 1;
                self.end_poisoned(engine)?;
                Ok(false)
            }
            Ok(()) => self.end(engine, end),
        }
    }

    fn end(&mut self, engine: Engine<Primitives>, end: End) -> Result<bool, String> {
        self.world.tell(format_args!("the life ends: {end:?}"));
        let durable = engine.positions().durable;
        self.world.history.promise(durable);
        if end == End::Close {
            let closed = engine.close();
            drop(engine);
            self.world.disk.clear_faults();
            match closed {
                Ok(()) => {
                    self.world.history.promise_everything();
                    self.check()?;
                }
                Err(fault) if !self.world.faulty => return Err(format!("close: {fault}")),
                Err(fault) => {
                    self.world.tell(format_args!("close -> {fault}"));
                    self.crash();
                    return Ok(false);
                }
            }
            if self.world.random.chance(128) {
                self.power_cut();
            }
            return Ok(true);
        }
        let commits = checkpoints(&engine);
        engine.abandon();
        drop(engine);
        self.world.disk.clear_faults();
        if end == End::Kill {
            self.world.disk.kill();
        } else {
            self.power_cut();
        }
        self.roll_index_back(commits);
        Ok(end == End::Kill && !self.world.faulty)
    }

    /// A poisoned close writes nothing.
    fn end_poisoned(&mut self, engine: Engine<Primitives>) -> Result<(), String> {
        self.world.tell(format_args!("the life ends: poisoned"));
        self.world.history.promise(engine.positions().durable);
        self.world.disk.clear_faults();
        let before = self.world.disk.changes();
        if engine.close().is_ok() {
            return Err("a poisoned database closes as if nothing had happened".to_owned());
        }
        drop(engine);
        if self.world.disk.changes() != before {
            return Err("a poisoned close writes".to_owned());
        }
        self.crash();
        Ok(())
    }

    fn crash(&mut self) {
        if self.world.random.chance(128) {
            self.world.disk.kill();
        } else {
            self.power_cut();
        }
    }

    fn power_cut(&mut self) {
        self.world.disk.power_cut();
        self.world.reboot();
    }

    /// Sometimes the index comes back as it was one commit ago: nothing may be lost by that.
    fn roll_index_back(&mut self, commits: u64) {
        if let Some((count, index)) = self.world.older_index.take()
            && count == commits
            && self.world.random.chance(128)
        {
            self.world.tell(format_args!("the index comes back one commit older"));
            self.world.disk.put("index.redb", &index);
            self.summary.older_indexes += 1;
        }
    }

    /// Arms a fault somewhere in the next calls of the disk.
    fn strike(&mut self, within: u64) {
        let random = &mut self.world.random;
        let operations = random.pick(&[
            Operations::All,
            Operations::Reads,
            Operations::Writes,
            Operations::Syncs,
            Operations::Syncs,
            Operations::Names,
            Operations::Changes,
            Operations::Changes,
        ]);
        let aftermath = random.pick(&[Aftermath::MarkedClean, Aftermath::Reverted, Aftermath::BySeed]);
        let fault = DiskFault::on(operations).aftermath(aftermath);
        let fault = match random.below(9) {
            0 => fault.path("index.redb").after(random.below(40)),
            1 => fault.path("control").after(random.below(4)),
            // What a failed sync leaves in the cache is believed by nobody.
            2 => DiskFault::on(Operations::Syncs).path("index.redb").after(random.below(6)).aftermath(aftermath),
            3 => fault.chance(4),
            4 => DiskFault::on(Operations::SyncsOfData).after(random.below(12)).aftermath(aftermath),
            _ => fault.after(random.below(within)),
        };
        let fault = if random.chance(96) { fault.forever() } else { fault };
        let fault = if random.chance(32) { fault.no_space() } else { fault };
        self.world.tell(format_args!("armed: {fault:?}"));
        self.world.disk.inject(fault);
    }

    fn operate(&mut self, engine: &Engine<Primitives>) -> Done {
        let world = &mut self.world;
        match world.random.below(130) {
            0..=3 => world.create(engine),
            4..=5 => world.alter(engine),
            6 => world.delete(engine),
            7..=8 => world.add_partitions(engine),
            9 => world.append_by_old_mapping(engine),
            10..=13 => world.trim(engine),
            14..=18 => world.append_wrongly(engine),
            19..=26 => world.append_twice(engine),
            27..=38 => world.read(engine),
            39..=42 => world.sync(engine),
            43..=47 => world.checkpoint(engine),
            48..=55 => world.turn(engine, Worker::Committer),
            56..=58 => world.turn(engine, Worker::Maker),
            59..=61 => world.turn(engine, Worker::Keeper),
            62..=66 => world.expire(engine),
            67 if !world.full => {
                let room = world.random.below(8 << 20);
                world.tell(format_args!("the disk has room for {room} bytes more"));
                world.disk.set_capacity(world.disk.allocated() + room);
                world.full = true;
                Ok(())
            }
            68..=72 if world.full => world.room(engine),
            74..=76 => world.attach_or_end(engine),
            77 => world.send_any_again(engine),
            78..=83 => world.produce(engine),
            100..=128 => world.consume(engine),
            129 => {
                world.step_wall();
                Ok(())
            }
            73 if world.body_bytes_max > 100_000 && world.random.chance(128) => world.flood(engine),
            _ => world.append(engine),
        }
    }

    /// What was closed is whole.
    fn check(&mut self) -> Result<(), String> {
        let findings = check::<Primitives>(self.world.disk.attach(), "", &|_, log| format!("{log:?}"))
            .map_err(|fault| format!("check: {fault}"))?;
        match findings.problems.first() {
            None => Ok(()),
            Some(problem) => Err(format!("check finds: {problem}")),
        }
    }
}
