//! What an open makes of files that are gone or damaged.

use super::*;
use crate::base::bounds::UNSYNCED_BYTES_MAX;

const ORDERS: u64 = 200;
const CONTROL_BLOCK_BYTES: u64 = 4096;

#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    Close,
    Kill,
}

/// A database with a few synced orders that has ended; the file of the last of them, and up to where addresses were
/// given out.
fn ended(end: End) -> (SimDisk, ManualClock, String, Lsn) {
    let bench = Bench::new();
    let stream = bench.create("orders", 1, streams::Retention::default());
    let append = |n| bench.append(stream, 0, format!("order {n}").as_bytes(), Level::Sync);
    let last = (0..ORDERS).map(append).max().map(|lsn| bench.place(lsn).0).expect("some orders");
    let issued = bench.engine.positions().issued;
    if end == End::Close {
        bench.engine.close().expect("nothing fails");
    } else {
        bench.engine.abandon();
    }
    let Bench { disk, clock, engine } = bench;
    drop(engine);
    disk.kill();
    (disk, clock, last, issued)
}

fn files(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let paths = disk.paths().into_iter().filter(|path| path != "LOCK");
    paths.map(|path| (path.clone(), disk.contents(&path))).collect()
}

#[test]
fn a_missing_active_segment_refuses_the_open_although_the_ring_holds_all_of_it() {
    for end in [End::Close, End::Kill] {
        let (disk, clock, file, _) = ended(end);
        let segment = disk.contents(&file);
        disk.erase(&file);
        let before = files(&disk);
        let refused = Engine::<Primitives>::open(disk.attach(), options(&clock));
        let told = matches!(&refused, Err(Fault::Corrupt { file: named, .. }) if *named == file);
        assert!(told, "{end:?}: {:?}", refused.err());
        assert_eq!(files(&disk), before, "{end:?}: a refused open leaves everything as it was");
        disk.put(&file, &segment);
        let bench = Bench::open(disk, clock);
        let handle = bench.engine.inspect(|machine| machine.streams.lookup("orders")).expect("it is open");
        let (kept, fault) = bench.read_from(bench.log(handle.expect("it was created"), 0), 0);
        assert!(kept.len() as u64 == ORDERS && fault.is_none(), "{end:?}: {} found, {fault:?}", kept.len());
    }
}

#[test]
fn a_killed_database_with_one_damaged_control_copy_is_not_taken_for_a_closed_one() {
    for copy in [0, 1] {
        let (disk, clock, _, issued) = ended(End::Kill);
        disk.flip_bit("control", copy * CONTROL_BLOCK_BYTES + 100, 3);
        let bench = Bench::open(disk, clock);
        let handle = bench.engine.inspect(|machine| machine.streams.lookup("orders")).expect("it is open");
        let lsn = bench.append(handle.expect("it was created"), 0, b"one more order", Level::Sync);
        assert!(lsn >= issued.plus(UNSYNCED_BYTES_MAX), "copy {copy}: {lsn} after {issued}");
        bench.engine.close().expect("nothing fails");
    }
}

#[test]
fn a_damaged_control_copy_may_have_told_of_a_life_whose_addresses_and_epoch_are_not_given_out_again() {
    let (disk, clock, _, _) = ended(End::Kill);
    let before = disk.contents("control");
    // A life that hands out addresses, none of which reaches the disk.
    let bench = Bench::open(disk, clock);
    let handle = bench.engine.inspect(|machine| machine.streams.lookup("orders")).expect("it is open");
    let handle = handle.expect("it was created");
    let given = bench.append(handle, 0, b"an order that a power cut takes", Level::Buffered);
    bench.engine.abandon();
    let Bench { disk, clock, engine } = bench;
    drop(engine);
    disk.power_cut_with(crate::sim::disk::Cut::AllLost);
    let after = disk.contents("control");
    let newer = [0, CONTROL_BLOCK_BYTES].into_iter().find(|at| {
        let block = *at as usize..(at + CONTROL_BLOCK_BYTES) as usize;
        before[block.clone()] != after[block]
    });
    disk.flip_bit("control", newer.expect("the open wrote a copy") + 100, 3);
    let bench = Bench::open(disk, clock);
    let lsn = bench.append(handle, 0, b"one more order", Level::Sync);
    assert!(lsn > given, "{given} was given out before {lsn}");
    bench.engine.close().expect("nothing fails");
}
