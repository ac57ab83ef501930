//! Telling what a directory holds, and making a database where it holds nothing.
//!
//! A database exists from the moment on at which its control file bears its name. Until then that file is
//! `control.new`, which is durable before anything else is made and goes after everything else has gone. So what is
//! found without either is not a database whose creation was broken off, and is left alone.

use std::io;

use crate::base::bounds::SPARES_IDLE;
use crate::base::lsn::Lsn;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::index::{Index, Meta};
use crate::storage::control::{self, Control, ControlState, FORMAT};
use crate::storage::disk::host::socket::{SOCKET, SOCKET_UNFINISHED};
use crate::storage::disk::{Access, Disk};
use crate::storage::segment::{self, FOLDER, FileName, Segments};

use super::ballast::{self, BALLAST};
use super::fault::Fault;
use super::open::{INDEX, OpenOptions, RING, damage};

/// The control file of a database that is being created.
const UNFINISHED: &str = "control.new";

/// What processes leave that meet in a directory; it says nothing of what else is there.
const MEETING: [&str; 3] = ["LOCK", SOCKET, SOCKET_UNFINISHED];

/// Names that a directory may hold beside those of a database: file systems keep what they found there.
const NOBODYS: &str = "lost+found";

/// Whether the directory holds a database. If not, it holds nothing, or one whose creation was broken off and may be
/// made anew. A database that lost its control file is damaged, what holds anything else is refused, and what must not
/// be created is `Missing`.
pub(super) fn is_there(disk: &dyn Disk, path: &str, create: bool) -> Result<bool, Fault> {
    let names = disk.list("").map_err(Fault::io("listing the directory"))?;
    if names.iter().any(|name| name == control::PATH) {
        return Ok(true);
    }
    if is_headless(disk, &names)? {
        return Err(damage(control::PATH, "the control file is missing"));
    }
    if let Some(foreign) = foreign(disk, &names)? {
        let reason = format!("it has no control file, and {foreign}");
        return Err(Fault::NotADatabase { path: path.to_owned(), reason });
    }
    if create { Ok(false) } else { Err(Fault::Missing { path: path.to_owned() }) }
}

/// Whether what is in a directory without a control file was a whole database: an index or segments, and no sign of a
/// creation that was broken off.
fn is_headless(disk: &dyn Disk, names: &[String]) -> Result<bool, Fault> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has(UNFINISHED) || has(INDEX) {
        return Ok(!has(UNFINISHED));
    }
    if !disk.folders("").map_err(Fault::io("listing the directory"))?.iter().any(|name| name == FOLDER) {
        return Ok(false);
    }
    let inside = disk.list(FOLDER).map_err(Fault::io("listing the segments"))?;
    Ok(inside.iter().any(|name| matches!(segment::parse_name(name), FileName::Segment(_) | FileName::Sidecar(_))))
}

/// What is in a directory without a control file that must not be touched.
fn foreign(disk: &dyn Disk, names: &[String]) -> Result<Option<String>, Fault> {
    let is_begun = names.iter().any(|name| name == UNFINISHED);
    let made: &[&str] = if is_begun { &[UNFINISHED, INDEX, RING, BALLAST] } else { &[] };
    if let Some(name) = names.iter().map(String::as_str).find(|name| !made.contains(name) && !MEETING.contains(name)) {
        return Ok(Some(format!("a file `{name}`")));
    }
    let folders = disk.folders("").map_err(Fault::io("listing the directory"))?;
    if let Some(name) = folders.iter().find(|name| ![FOLDER, NOBODYS].contains(&name.as_str())) {
        return Ok(Some(format!("a folder `{name}`")));
    }
    if !folders.iter().any(|name| name == FOLDER) {
        return Ok(None);
    }
    let inside = disk.list(FOLDER).map_err(Fault::io("listing the segments"))?;
    if let Some(name) = inside.iter().find(|name| !is_begun || segment::parse_name(name) == FileName::Foreign) {
        return Ok(Some(format!("a file `{FOLDER}/{name}`")));
    }
    let deeper = disk.folders(FOLDER).map_err(Fault::io("listing the segments"))?;
    Ok(deeper.first().map(|name| format!("a folder `{FOLDER}/{name}`")))
}

/// Makes every file of an empty database; the control file gets its name last.
pub(super) fn create(disk: &Arc<dyn Disk>, options: &OpenOptions) -> Result<(), Fault> {
    let io = |source| Fault::io("creating the database")(source);
    remove_unfinished(&**disk).map_err(io)?;
    let start = Lsn(options.geometry.segment_bytes());
    Control::create(&**disk, UNFINISHED, first_state(options, start).map_err(io)?).map_err(io)?;
    disk.sync_dir("").map_err(io)?;
    disk.create_folder(FOLDER).map_err(io)?;
    zero_filled(&**disk, RING, options.geometry.ring_bytes()).map_err(io)?;
    zero_filled(&**disk, BALLAST, ballast::bytes(options.geometry)).map_err(io)?;
    let segments = Segments::new(disk.clone(), options.geometry);
    (1..=SPARES_IDLE).try_for_each(|number| segments.make(number)).map_err(io)?;
    let meta = Meta {
        database_id: options.new_id,
        format: FORMAT,
        applied: start,
        indexed: start,
        commits: 1,
        wall_high: Timestamp(0),
        next_survivor: 1,
    };
    drop(Index::create(disk.open(INDEX, Access::Create).map_err(io)?, meta)?);
    disk.sync_dir("").map_err(io)?;
    disk.rename(UNFINISHED, control::PATH).map_err(io)?;
    disk.sync_dir("").map_err(io)
}

fn first_state(options: &OpenOptions, start: Lsn) -> io::Result<ControlState> {
    Ok(ControlState {
        compatible: 0,
        incompatible: 0,
        database_id: options.new_id,
        geometry: options.geometry,
        epoch: 0,
        clean: true,
        watermark: start,
        clock: options.clock.identity()?,
        lsn_base: start,
        jump: None,
        reading: Some(options.clock.reading()),
    })
}

/// Removes what a creation left that was broken off; what says that it was one goes after all else has gone for good.
fn remove_unfinished(disk: &dyn Disk) -> io::Result<()> {
    if disk.folders("")?.iter().any(|name| name == FOLDER) {
        disk.list(FOLDER)?.iter().try_for_each(|name| disk.remove(&format!("{FOLDER}/{name}")))?;
        disk.sync_dir(FOLDER)?;
    }
    let names = disk.list("")?;
    names
        .iter()
        .filter(|name| [INDEX, RING, BALLAST].contains(&name.as_str()))
        .try_for_each(|name| disk.remove(name))?;
    disk.sync_dir("")?;
    if names.iter().any(|name| name == UNFINISHED) { disk.remove(UNFINISHED) } else { Ok(()) }
}

pub(super) fn zero_filled(disk: &dyn Disk, path: &str, bytes: u64) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let file = disk.open(path, Access::Create)?;
    let zeros = vec![0; PIECE];
    for at in (0..bytes).step_by(PIECE) {
        file.write(at, &zeros)?;
    }
    file.sync_data()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::bounds::GEOMETRY_BYTES_MIN;
    use crate::base::lsn::Geometry;
    use crate::engine::Engine;
    use crate::engine::clock::{Clock, ManualClock};
    use crate::primitives::Primitives;
    use crate::sim::disk::{Fault as DiskFault, Operations, SimDisk};
    use crate::storage::disk::{DirectoryLock, File, FileSystem, Hold, LockFault};

    fn options() -> OpenOptions {
        let geometry = Geometry::new(GEOMETRY_BYTES_MIN, GEOMETRY_BYTES_MIN).expect("the least geometry");
        let clock = Clock::Manual(ManualClock::starting_at(Timestamp(1_700_000_000_000_000)));
        OpenOptions { clock, ..OpenOptions::new(geometry, *b"a created store ") }
    }

    fn open(disk: &SimDisk) -> Result<Engine<Primitives>, Fault> {
        Engine::open(disk.attach(), options())
    }

    /// Begins to create, and loses the power after as many changes.
    fn break_off(disk: &SimDisk, after: u64) {
        disk.inject(DiskFault::on(Operations::Changes).after(after).forever());
        assert!(open(disk).is_err(), "creation has more changes");
        disk.clear_faults();
        disk.power_cut();
    }

    #[test]
    fn a_creation_that_was_broken_off_twice_is_completed() {
        for seed in 0..75 {
            let disk = SimDisk::new(seed);
            disk.tolerate_dead_writes();
            break_off(&disk, seed % 37);
            break_off(&disk, seed % 11);
            open(&disk).unwrap_or_else(|fault| panic!("seed {seed}: {fault}")).close().unwrap();
        }
    }

    #[test]
    fn a_stale_socket_is_no_reason_to_leave_a_directory_alone() {
        let disk = SimDisk::new(1);
        disk.put("LOCK", b"4711\n");
        disk.put("host.sock", b"");
        disk.put("host.sock.new", b"");
        open(&disk).unwrap().close().unwrap();
    }

    #[test]
    fn what_the_lock_was_waited_for_is_found() {
        let disk = SimDisk::new(1);
        let found = Engine::<Primitives>::open(Arc::new(Overtaken { disk: disk.attach(), first: disk }), options());
        found.unwrap().close().unwrap();
    }

    /// A disk on which another process creates a database just before the lock is taken.
    #[derive(Debug)]
    struct Overtaken {
        disk: Arc<dyn Disk>,
        first: SimDisk,
    }

    impl Disk for Overtaken {
        fn lock(&self, hold: Hold) -> Result<Box<dyn DirectoryLock>, LockFault> {
            let first = Engine::<Primitives>::open(
                self.first.attach(),
                OpenOptions { new_id: *b"the first of two", ..options() },
            );
            first.unwrap().close().unwrap();
            self.disk.lock(hold)
        }

        fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
            assert_ne!(access, Access::Create, "{path}: what the first made is made again");
            self.disk.open(path, access)
        }

        fn list(&self, folder: &str) -> io::Result<Vec<String>> {
            self.disk.list(folder)
        }

        fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
            self.disk.folders(folder)
        }

        fn create_folder(&self, folder: &str) -> io::Result<()> {
            self.disk.create_folder(folder)
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.disk.rename(from, to)
        }

        fn remove(&self, path: &str) -> io::Result<()> {
            self.disk.remove(path)
        }

        fn sync_dir(&self, folder: &str) -> io::Result<()> {
            self.disk.sync_dir(folder)
        }

        fn file_system(&self) -> io::Result<FileSystem> {
            self.disk.file_system()
        }
    }
}
