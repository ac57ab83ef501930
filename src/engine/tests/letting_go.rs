//! A poisoned database is given to the next host while its handles are open.

use std::io;
use std::sync::mpsc;
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::*;
use crate::sim::disk::{Fault as DiskFault, Operations};
use crate::storage::disk::{Access, DirectoryLock, Disk, File, FileSystem, Hold, LockFault, Map};

/// Far beyond what anything here takes; a test that reaches it would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a durable write stops until it is let through.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn shut(&self) {
        self.state.lock().0 = true;
    }

    fn open(&self) {
        self.state.lock().0 = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        state.1 += 1;
        self.changed.notify_all();
        while state.0 {
            self.changed.wait(&mut state);
        }
        state.1 -= 1;
    }

    fn await_somebody(&self) {
        let mut state = self.state.lock();
        while state.1 == 0 {
            assert!(!self.changed.wait_for(&mut state, PATIENCE).timed_out(), "nobody writes");
        }
    }
}

#[derive(Debug)]
struct GatedDisk {
    disk: Arc<dyn Disk>,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl Disk for GatedDisk {
    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, access)?;
        Ok(Arc::new(GatedFile { file, gate: self.gate.clone() }))
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

    fn lock(&self, hold: Hold) -> Result<Box<dyn DirectoryLock>, LockFault> {
        self.disk.lock(hold)
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        self.disk.file_system()
    }
}

impl File for GatedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, buffer)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)
    }

    fn write_durable(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.gate.pass();
        self.file.write_durable(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }

    fn map_read(&self, len: u64) -> io::Result<Map> {
        self.file.map_read(len)
    }

    fn map_write(&self, len: u64) -> io::Result<Map> {
        self.file.map_write(len)
    }
}

fn gated() -> (Bench, Arc<Gate>) {
    let (disk, clock) = (SimDisk::new(1), ManualClock::starting_at(Timestamp(NOON)));
    let gate = Arc::new(Gate::default());
    let gated = GatedDisk { disk: disk.attach(), gate: gate.clone() };
    let engine = Arc::new(Engine::open(Arc::new(gated), options(&clock)).expect("nothing refuses it"));
    (Bench { disk, clock, engine }, gate)
}

/// A checkpoint that cannot be written poisons, though the journal is in order.
fn poison_by_a_checkpoint(bench: &Bench) {
    bench.disk.inject(DiskFault::on(Operations::Changes).path("index.redb"));
    assert!(bench.engine.checkpoint().is_err());
    bench.disk.clear_faults();
    assert!(bench.engine.is_poisoned());
}

/// Begins `end` while a caller is in the middle of a write to the journal and the engine is poisoned; expects it to
/// keep the directory's lock until that write is over.
fn expect_it_to_wait_for_a_write(end: fn(&Engine<Primitives>)) {
    let (bench, gate) = gated();
    let stream = bench.create("orders", 1, streams::Retention::default());
    let log = bench.log(stream, 0);
    let Bench { disk, clock, engine } = bench;
    thread::scope(|scope| {
        gate.shut();
        let writer = Bench { disk: disk.clone(), clock: clock.clone(), engine: engine.clone() };
        let writing = scope.spawn(move || writer.try_append(stream, 0, b"one blue mug", Level::Sync));
        gate.await_somebody();
        engine.marks.poison();
        let (tell, told) = mpsc::channel();
        let ending = engine.clone();
        scope.spawn(move || {
            end(&ending);
            tell.send(()).expect("it is waited for");
        });
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "a write is under way");
        let held = disk.attach().lock(Hold::Attachable);
        assert!(matches!(held, Err(LockFault::Held { .. })), "the next host would meet that write");
        gate.open();
        told.recv_timeout(PATIENCE).expect("it ends once the write has");
        writing.join().expect("it ends").expect("it was on disk");
    });
    let changes = disk.changes();
    let next = Bench::open(disk, clock);
    assert_eq!(next.read_from(log, 0).0.len(), 1);
    assert!(next.disk.changes() > changes, "it is another's directory now");
}

#[test]
fn a_poisoned_database_is_let_go_only_after_the_last_write_under_way() {
    expect_it_to_wait_for_a_write(Engine::let_go);
}

#[test]
fn a_poisoned_database_is_closed_only_after_the_last_write_under_way() {
    expect_it_to_wait_for_a_write(|engine| assert!(matches!(engine.close(), Err(Fault::Poisoned))));
}

#[test]
fn a_database_that_was_let_go_writes_nothing_and_answers_poisoned_until_it_is_closed() {
    let bench = Bench::new();
    let stream = bench.create("orders", 1, streams::Retention::default());
    let log = bench.log(stream, 0);
    bench.append(stream, 0, b"one blue mug", Level::Buffered);
    bench.engine.start().expect("threads can be had");
    poison_by_a_checkpoint(&bench);
    assert_eq!(bench.read_from(log, 0).0.len(), 1, "until it is let go, what is there can be read");
    bench.engine.let_go();
    bench.engine.let_go();
    let next = Bench::open(bench.disk.clone(), bench.clock.clone());
    let changes = next.disk.changes();
    let ends: [Result<(), Fault>; 5] = [
        bench.engine.checkpoint(),
        bench.engine.sync(None),
        bench.engine.extent(log).map(drop),
        bench.engine.offset_for_time(log, Timestamp(0)).map(drop),
        bench.engine.read(log, 0, 1, &mut Cursor::default()).map(drop),
    ];
    for told in ends {
        assert!(matches!(told, Err(Fault::Poisoned)), "{told:?}");
    }
    let told = bench.try_append(stream, 0, b"another", Level::Sync);
    assert!(matches!(told, Err(Refused::Fault(Fault::Poisoned))), "{told:?}");
    assert!(matches!(bench.engine.close(), Err(Fault::Poisoned)));
    assert!(matches!(bench.engine.check_open(), Err(Fault::Closed)));
    assert!(bench.engine.close().is_ok(), "the second time there is nothing to tell");
    assert_eq!(next.disk.changes(), changes, "it has written:\n{}", next.disk.log());
    next.append(stream, 0, b"two green plates", Level::Sync);
    assert_eq!(next.read_from(log, 0).0.len(), 2);
}

#[derive(Default)]
struct Woken(Mutex<usize>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.0.lock() += 1;
    }
}

#[test]
fn whoever_waits_for_the_poison_is_woken_by_it_and_at_once_if_it_is_there_already() {
    let bench = Bench::new();
    let woken = Arc::new(Woken::default());
    bench.engine.when_poisoned(Waker::from(woken.clone()));
    bench.create("orders", 1, streams::Retention::default());
    assert_eq!(*woken.0.lock(), 0);
    poison_by_a_checkpoint(&bench);
    assert!(*woken.0.lock() > 0);
    let late = Arc::new(Woken::default());
    bench.engine.when_poisoned(Waker::from(late.clone()));
    assert_eq!(*late.0.lock(), 1);
}
