//! Opening a database: the seven steps of recovery, in order.

use std::io;

use hashbrown::HashSet;

use crate::base::bounds::{FLUSH_INTERVAL_MICROS_DEFAULT, SPARES_IDLE, UNSYNCED_BYTES_MAX};
use crate::base::lsn::{Geometry, Lsn};
use crate::base::planted;
use crate::base::segment_id::SegmentId;
use crate::base::sync::{Arc, AtomicBool, Event, Mutex};
use crate::base::time::{ClockIdentity, ClockReading};
use crate::index::{Index, Meta};
use crate::journal::commit::Commit;
use crate::journal::keymap::PLACES_MAX;
use crate::journal::maker::{Maker, is_full};
use crate::journal::marks::{Marks, Need};
use crate::journal::recovery::{self, End, Known, RecoveryFault};
use crate::journal::tail::{Start, Tail};
use crate::journal::waits::DurableWaits;
use crate::storage::control::{self, Control, ControlFault, ControlState, FORMAT, Jump};
use crate::storage::disk::held::HeldFile;
use crate::storage::disk::host::fork::ForkMark;
use crate::storage::disk::{Access, DirectoryLock, Disk, FileSystem, Hold, LockFault};
use crate::storage::frame::Seed;
use crate::storage::ring::Ring;
use crate::storage::segment::{self, FOLDER, FileName, Segments};

use super::ballast;
use super::clock::{Clock, HybridClock};
use super::create;
use super::fault::Fault;
use super::keeper::Keeper;
use super::machine::Machine;
use super::replay::Replay;
use super::workers::Workers;
use super::{Engine, KeeperCounters};

pub(super) const RING: &str = "staging.ring";
pub(super) const INDEX: &str = "index.redb";

/// What an engine is opened with.
#[derive(Clone, Debug)]
pub(crate) struct OpenOptions {
    /// Create the database if the directory is empty.
    pub(crate) create: bool,
    /// Keep the directory for this process alone, instead of being a host that others may attach to.
    pub(crate) exclusive: bool,
    /// Sizes of a new database.
    pub(crate) geometry: Geometry,
    pub(crate) flush_interval_micros: u64,
    pub(crate) clock: Clock,
    /// The identity of a new database.
    pub(crate) new_id: [u8; 16],
    /// How the directory is named in messages.
    pub(crate) path: String,
    /// Keys that one pass of compaction has room for, and an eighth more.
    pub(crate) key_map_places: usize,
}

impl OpenOptions {
    pub(crate) fn new(geometry: Geometry, new_id: [u8; 16]) -> OpenOptions {
        OpenOptions {
            create: true,
            exclusive: true,
            geometry,
            flush_interval_micros: FLUSH_INTERVAL_MICROS_DEFAULT,
            clock: Clock::Host,
            new_id,
            path: String::new(),
            key_map_places: PLACES_MAX,
        }
    }
}

/// What is open before recovery begins.
pub(super) struct Ground {
    pub(super) disk: Arc<dyn Disk>,
    directory_lock: Box<dyn DirectoryLock>,
    pub(super) control: Control,
    segments: Arc<Segments>,
    pub(super) index: Index,
    /// The index's file: nothing reaches it before recovery knows that it will not refuse.
    index_file: Arc<HeldFile>,
    meta: Meta,
}

/// A database as a check sees it: replayed in memory, nothing written.
pub(super) struct Checked<M: Machine> {
    pub(super) ground: Ground,
    pub(super) state: ControlState,
    pub(super) replayed: Replay<M>,
    pub(super) end: End,
}

/// Reads what `Engine::open` would read, and changes nothing.
pub(super) fn open_for_check<M: Machine>(disk: Arc<dyn Disk>, path: &str) -> Result<Checked<M>, Fault> {
    create::is_there(&*disk, path, false)?;
    let directory_lock = lock(&*disk, Hold::Exclusive)?;
    let ground = ground(disk, directory_lock, path)?;
    let state = ground.control.state().clone();
    let mut replayed = Replay::<M>::from_index(&ground.index, ground.meta, state.geometry)?;
    let ring_file = ground.disk.open(RING, Access::Read).map_err(|e| missing(RING, e))?;
    let end = find_end(&ground, &state, &*ring_file, &mut replayed)?;
    replayed.open_logs();
    Ok(Checked { ground, state, replayed, end })
}

fn lock(disk: &dyn Disk, hold: Hold) -> Result<Box<dyn DirectoryLock>, Fault> {
    disk.lock(hold).map_err(|fault| match fault {
        LockFault::Held { pid, exclusive } => Fault::Locked { pid, exclusive },
        LockFault::Io(e) => Fault::io("locking the directory")(e),
    })
}

impl<M: Machine> Engine<M> {
    /// Opens the database in `disk`, creating it if asked; without its threads.
    pub(crate) fn open(disk: Arc<dyn Disk>, options: OpenOptions) -> Result<Engine<M>, Fault> {
        let ground = prepare(disk, &options)?;
        recover(ground, options)
    }
}

/// Step 1, and creation where there is nothing.
fn prepare(disk: Arc<dyn Disk>, options: &OpenOptions) -> Result<Ground, Fault> {
    if let FileSystem::Network(kind) = disk.file_system().map_err(Fault::io("looking at the file system"))? {
        return Err(Fault::UnsupportedFileSystem { kind });
    }
    // Looked at first because locking leaves a file behind, and then because another process may have been here.
    create::is_there(&*disk, &options.path, options.create)?;
    let hold = if options.exclusive { Hold::Exclusive } else { Hold::Attachable };
    let directory_lock = lock(&*disk, hold)?;
    if !create::is_there(&*disk, &options.path, options.create)? {
        create::create(&disk, options)?;
    }
    ground(disk, directory_lock, &options.path)
}

/// Reads the control file and opens the index. Changes nothing.
fn ground(disk: Arc<dyn Disk>, directory_lock: Box<dyn DirectoryLock>, path: &str) -> Result<Ground, Fault> {
    let control = Control::open(&*disk).map_err(|fault| match fault {
        ControlFault::NotADatabase => {
            Fault::NotADatabase { path: path.to_owned(), reason: "its file `control` is not one of ours".to_owned() }
        }
        ControlFault::Newer { found, incompatible } => {
            Fault::UnsupportedFormat { found, incompatible, supported: FORMAT }
        }
        ControlFault::Damaged => damage(control::PATH, "neither copy passes its checksum"),
        ControlFault::Io(e) => Fault::io("reading the control file")(e),
    })?;
    let state = control.state().clone();
    let file = disk.open(INDEX, Access::Write).map_err(|e| missing(INDEX, e))?;
    if !control.is_clean() {
        file.sync_data().map_err(Fault::io("syncing the index"))?;
        file.drop_cache().map_err(Fault::io("dropping the index from the cache"))?;
    }
    let index_file = HeldFile::over(file).map_err(Fault::io("reading the index"))?;
    let index = Index::open(index_file.clone())?;
    let meta = index.meta()?;
    if meta.database_id != state.database_id {
        return Err(damage(INDEX, "it belongs to another database"));
    }
    let segments = Arc::new(Segments::new(disk.clone(), state.geometry));
    disk.list(FOLDER).map_err(|e| missing(FOLDER, e))?;
    Ok(Ground { disk, directory_lock, control, segments, index, index_file, meta })
}

pub(super) fn damage(file: &str, reason: &str) -> Fault {
    Fault::Corrupt { file: file.to_owned(), offset: 0, from: Lsn(0), to: Lsn(0), reason: reason.to_owned() }
}

fn missing(file: &str, error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => damage(file, "the file is missing"),
        _ => Fault::Io { attempt: "opening a file of the database", source: error },
    }
}

/// Steps 2 to 7.
fn recover<M: Machine>(mut ground: Ground, options: OpenOptions) -> Result<Engine<M>, Fault> {
    let state = ground.control.state().clone();
    let mut replay = Replay::<M>::from_index(&ground.index, ground.meta, state.geometry)?;
    let ring_file = ground.disk.open(RING, Access::Write).map_err(|e| missing(RING, e))?;
    let end = find_end(&ground, &state, &*ring_file, &mut replay)?;
    expect_files(&ground)?;
    ground.index_file.release().map_err(Fault::io("writing the index"))?;
    remove_orphans(&ground)?;
    let is_settled = ground.control.is_clean() && end.from_ring.is_empty();
    if !is_settled && !planted::is("tail_not_settled") {
        recovery::settle(&ground.segments, &end).map_err(Fault::io("settling the journal's end"))?;
    }
    let identity = options.clock.identity().map_err(Fault::io("reading the clock's identity"))?;
    let (earlier, reading) = (state.reading.filter(|_| state.clock == identity), options.clock.reading());
    let clock = HybridClock::new(replay.high(), earlier, reading);
    let start = begin_epoch(&mut ground.control, &end, identity, clock.reading())?;
    let prepared = prepare_segments(&ground, &start, end.at)?;
    let marks = Arc::new(Marks::new(start.at, prepared.end, ground.meta.applied, end.to_replay));
    marks.set_short(Need::Segment, prepared.reserve_missing);
    marks.set_short(Need::Ballast, prepared.ballast_given_up);
    let map = ring_file.map_write(state.geometry.ring_bytes()).map_err(Fault::io("mapping the staging ring"))?;
    let ring = Arc::new(Ring::new(map, state.geometry));
    let tail = Tail::new(start, state.database_id, ring.clone(), marks.clone());
    let keeper = keeper_of(&ground, options.key_map_places)?;
    let core = replay.into_core(tail, clock, reading);
    Ok(Engine {
        core: Mutex::new(core),
        commit: Commit::new(ring, ground.segments.clone(), marks.clone()),
        maker: Maker::new(ground.segments.clone(), marks.clone()),
        marks,
        segments: ground.segments,
        waits: DurableWaits::new(),
        space: Event::new(),
        flush_interval_micros: options.flush_interval_micros,
        index: ground.index,
        keeper: Mutex::new(keeper),
        keeper_counters: KeeperCounters::default(),
        control: Mutex::new(ground.control),
        clock: options.clock,
        clock_identity: identity,
        database_id: state.database_id,
        seed: Seed::new(&state.database_id),
        closed: AtomicBool::new(false),
        let_go: AtomicBool::new(false),
        heir: Mutex::new(None),
        here: ForkMark::new().map_err(Fault::io("marking the process"))?,
        workers: Workers::new(),
        directory_lock: Mutex::new(Some(ground.directory_lock)),
    })
}

/// Steps 3 and 4, replaying on the way.
fn find_end<M: Machine>(
    ground: &Ground,
    state: &ControlState,
    ring_file: &dyn crate::storage::disk::File,
    replay: &mut Replay<M>,
) -> Result<End, Fault> {
    let ring_bytes = state.geometry.ring_bytes();
    if ring_file.len().map_err(Fault::io("reading the staging ring"))? < ring_bytes {
        return Err(damage(RING, "the file is shorter than the ring"));
    }
    let mut ring = vec![0; ring_bytes as usize];
    ring_file.read(0, &mut ring).map_err(Fault::io("reading the staging ring"))?;
    let known = Known {
        database_id: state.database_id,
        scan_from: ground.meta.indexed.max(state.lsn_base),
        applied: ground.meta.applied,
        watermark: state.watermark,
        jump: state.jump,
        epoch: state.epoch,
    };
    recovery::find_end(&ground.segments, &ring, &known, &mut |frame| replay.frame(frame)).map_err(|fault| {
        let geometry = state.geometry;
        let file = |at: Lsn| segment::path(SegmentId::Journal(geometry.segment_of(at)));
        match fault {
            RecoveryFault::Damaged { at, durable } => Fault::Corrupt {
                file: file(at),
                offset: geometry.place_in_segment(at),
                from: at,
                to: durable,
                reason: "acknowledged bytes are missing or damaged".to_owned(),
            },
            RecoveryFault::Undecodable { at, reason } => {
                Fault::Corrupt { file: file(at), offset: geometry.place_in_segment(at), from: at, to: at, reason }
            }
            RecoveryFault::Missing { number } => {
                damage(&segment::path(SegmentId::Journal(number)), "the file is missing")
            }
            RecoveryFault::Short { number, len } => {
                let start = geometry.segment_start(number);
                Fault::Corrupt {
                    file: segment::path(SegmentId::Journal(number)),
                    offset: len,
                    from: start.plus(len),
                    to: geometry.segment_start(number + 1),
                    reason: "the file is shorter than a segment".to_owned(),
                }
            }
            RecoveryFault::Io(e) => Fault::io("reading the journal")(e),
        }
    })
}

/// Every segment that the index refers to is there with its sidecar. What is in them is verified when it is read.
fn expect_files(ground: &Ground) -> Result<(), Fault> {
    let names = ground.disk.list(FOLDER).map_err(Fault::io("listing the segments"))?;
    let there: HashSet<FileName, foldhash::fast::RandomState> =
        names.iter().map(|name| segment::parse_name(name)).collect();
    for row in ground.index.segments()? {
        if !there.contains(&FileName::Segment(row.id)) {
            return Err(damage(&segment::path(row.id), "the file is missing"));
        }
        if !there.contains(&FileName::Sidecar(row.id)) {
            return Err(damage(&segment::sidecar_path(row.id), "the file is missing"));
        }
    }
    Ok(())
}

/// Files of an unfinished step: unknown survivors and sidecars, and what was never renamed into place.
fn remove_orphans(ground: &Ground) -> Result<(), Fault> {
    let io = Fault::io;
    let known: Vec<SegmentId> = ground.index.segments()?.iter().map(|row| row.id).collect();
    for name in ground.disk.list(FOLDER).map_err(io("listing the segments"))? {
        let orphan = match segment::parse_name(&name) {
            FileName::Unfinished => true,
            FileName::Segment(id @ SegmentId::Survivor(_)) | FileName::Sidecar(id) => !known.contains(&id),
            FileName::Segment(SegmentId::Journal(_)) | FileName::Foreign => false,
        };
        if orphan {
            ground.disk.remove(&format!("{FOLDER}/{name}")).map_err(io("removing an orphan"))?;
        }
    }
    Ok(())
}

/// Step 6: a new life with addresses that none before it can have handed out.
fn begin_epoch(control: &mut Control, end: &End, clock: ClockIdentity, reading: ClockReading) -> Result<Start, Fault> {
    let state = control.state().clone();
    let geometry = state.geometry;
    // A copy that cannot be read may have told of one more life, which went no further from the end than this one may.
    let lives = if control.is_alone() { 2 } else { 1 };
    let epoch = end.epoch.max(state.epoch) + lives;
    let beyond = end.at.plus(UNSYNCED_BYTES_MAX).max(end.last_behind.unwrap_or(Lsn(0)).plus(1));
    let beyond = (1..lives).fold(beyond, |at, _| geometry.next_segment_start(at).plus(UNSYNCED_BYTES_MAX));
    let beyond = if planted::is("epoch_inside_issued") { end.at.plus(1) } else { beyond };
    let at = if control.is_clean() && end.last_behind.is_none() { end.at } else { geometry.next_segment_start(beyond) };
    let jump = (at != end.came_from).then_some(Jump { from: end.came_from, to: at, crc: end.crc });
    let reading = Some(reading);
    let state = ControlState { epoch, clean: false, watermark: end.at, clock, jump, reading, ..state };
    control.write(state).map_err(Fault::io("writing the control file"))?;
    Ok(Start { at, came_from: end.came_from, previous: end.crc, epoch })
}

/// What a life begins with.
struct Prepared {
    /// Where the existing segments end.
    end: Lsn,
    reserve_missing: bool,
    ballast_given_up: bool,
}

/// Sees to it that the segments that are written first exist, and removes spares that were made for other addresses.
/// On a full disk one is enough, with the room of the ballast if need be: nothing is published into it, and what is
/// trimmed gives room for the other.
fn prepare_segments(ground: &Ground, start: &Start, end: Lsn) -> Result<Prepared, Fault> {
    let io = Fault::io;
    let geometry = ground.segments.geometry();
    let numbers = recovery::journal_numbers(&*ground.disk).map_err(io("listing the segments"))?;
    let first = geometry.segment_of(start.at);
    if start.at != end {
        let last_used = geometry.segment_of(Lsn(end.0 - 1));
        for number in numbers.iter().filter(|number| **number > last_used) {
            ground.segments.retire(SegmentId::Journal(*number)).map_err(io("removing a void segment"))?;
        }
        ground.disk.sync_dir(FOLDER).map_err(io("syncing the segments folder"))?;
    }
    let mut next = first;
    while start.at == end && numbers.binary_search(&next).is_ok() {
        next += 1;
    }
    // The one that is written and the reserve: the rest is made while the database is open.
    let (mut reserve_missing, mut ballast_given_up) = (false, false);
    while next < first + SPARES_IDLE && !reserve_missing {
        match ground.segments.make(next) {
            Ok(()) => next += 1,
            Err(e) if is_full(&e) && next > first => reserve_missing = true,
            Err(e) if is_full(&e) && !ballast_given_up => {
                ballast::remove(&*ground.disk)?;
                ballast_given_up = true;
            }
            Err(e) => return Err(io("making a segment")(e)),
        }
        // What is left of the ballast is for the checkpoint.
        reserve_missing |= ballast_given_up && next > first;
    }
    Ok(Prepared { end: geometry.segment_start(next), reserve_missing, ballast_given_up })
}

fn keeper_of(ground: &Ground, key_map_places: usize) -> Result<Keeper, Fault> {
    let rows = ground.index.segments()?;
    let geometry = ground.segments.geometry();
    let ballast = ballast::is_whole(&*ground.disk, geometry).map_err(Fault::io("looking at the ballast"))?;
    let known: Vec<SegmentId> = rows.iter().map(|row| row.id).collect();
    let mut keeper = Keeper::new(ground.meta, rows, ballast, key_map_places);
    for number in recovery::journal_numbers(&*ground.disk).map_err(Fault::io("listing the segments"))? {
        let id = SegmentId::Journal(number);
        if geometry.segment_start(number + 1) <= ground.meta.indexed && !known.contains(&id) {
            keeper.plan_removal(id);
        }
    }
    Ok(keeper)
}
