//! A disk without room: what is refused, what goes on, and how it drains.

use std::time::Duration;

use super::*;
use crate::base::bounds::{REPLAY_BYTES_MAX, RING_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT};
use crate::engine::ballast::BALLAST;
use crate::engine::check::check;
use crate::engine::workers::{Next, Worker};
use crate::engine::{deadline_in, micros_left};
use crate::primitives::queues;
use crate::sim::disk::{Cut, Fault as DiskFault, Operations};

/// Records in the journal.
const MEGABYTES: u64 = 20;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Killed and opened again.
fn kill(bench: Bench) -> Bench {
    bench.disk.kill();
    bench.engine.abandon();
    Bench::open(bench.disk, bench.clock)
}

#[test]
fn the_void_after_a_crash_counts_towards_no_bound() {
    let bench = Bench::new();
    let stream = bench.create("orders", 1, streams::Retention::default());
    bench.append(stream, 0, b"one blue mug", Level::Sync);
    let mut bench = bench;
    for life in 1..=3 {
        bench.disk.clear_faults();
        bench = kill(bench);
        // No checkpoint ends, so each life is replayed by the next; what it jumped over is not.
        bench.disk.inject(DiskFault::on(Operations::Writes).path("index.redb").no_space().forever());
        let positions = bench.engine.positions();
        assert!(positions.issued.since(positions.applied) > life * UNSYNCED_BYTES_MAX, "each life begins far behind");
        assert!(positions.issued.since(positions.replay_from) < 4096, "{positions:?}");
        bench.append(stream, 0, b"another mug", Level::Sync);
        bench.trim(stream, 0, life);
    }
    bench.disk.clear_faults();
    bench.engine.checkpoint().expect("there is room");
    let positions = bench.engine.positions();
    assert_eq!(positions.replay_from, positions.applied);
    bench.engine.close().expect("nothing fails");
}

/// Six segments of records of a megabyte, none of them in the index yet; nobody gets a byte more.
fn fill(bench: &Bench) -> StreamHandle {
    let stream = bench.create("orders", 1, streams::Retention::default());
    for _ in 0..MEGABYTES {
        bench.append(stream, 0, &vec![7; 1 << 20], Level::Buffered);
    }
    bench.disk.set_capacity(bench.disk.allocated());
    stream
}

fn is_there(bench: &Bench, path: &str) -> bool {
    bench.disk.paths().iter().any(|found| found == path)
}

#[test]
fn a_full_disk_drains_with_the_room_of_the_ballast_which_is_made_again() {
    let bench = Bench::new();
    let stream = fill(&bench);
    let before = bench.disk.allocated();
    bench.trim(stream, 0, MEGABYTES - 1);
    bench.engine.checkpoint().expect("the ballast gives its room");
    for _ in 0..3 {
        bench.engine.checkpoint().expect("it goes on");
    }
    assert!(is_there(&bench, BALLAST), "{:?}", bench.disk.paths());
    assert!(bench.disk.allocated() <= before - 4 * GEOMETRY_BYTES_MIN, "what died is gone");
    bench.append(stream, 0, b"one more", Level::Sync);
    let bench = bench.reopen();
    let (kept, fault) = bench.read_from(bench.log(stream, 0), MEGABYTES - 1);
    assert!(fault.is_none() && kept.len() == 2, "{fault:?}");
}

#[test]
fn what_died_before_it_was_indexed_goes_without_a_byte_of_room() {
    let bench = Bench::new();
    let quiet = bench.create("quiet", 1, streams::Retention::default());
    bench.append(quiet, 0, b"one blue mug", Level::Buffered);
    let stream = fill(&bench);
    bench.append(quiet, 0, b"another", Level::Buffered);
    bench.trim(stream, 0, MEGABYTES - 1);
    bench.trim(quiet, 0, 1);
    // Somebody takes every byte that is given back, the ballast's too.
    bench.disk.erase(BALLAST);
    bench.engine.keeper.lock().ballast = false;
    bench.disk.set_capacity(0);
    for _ in 0..3 {
        bench.engine.checkpoint().expect("nothing has to be written but what the index overwrites");
    }
    let left: Vec<String> = bench.disk.paths().into_iter().filter(|path| path.ends_with(".seg")).collect();
    assert!(left.len() <= 3, "{left:?}");
    bench.disk.power_cut_with(Cut::AllLost);
    bench.engine.abandon();
    bench.disk.set_capacity(u64::MAX);
    let bench = Bench::open(bench.disk, bench.clock);
    for (stream, from) in [(quiet, 1), (stream, MEGABYTES - 1)] {
        let (kept, fault) = bench.read_from(bench.log(stream, 0), from);
        assert!(fault.is_none() && kept.len() == 1, "{fault:?}");
    }
    // In the next segment one log lives and the other does not.
    bench.append(quiet, 0, b"a third", Level::Buffered);
    for _ in 0..5 {
        bench.append(stream, 0, &vec![7; 1 << 20], Level::Buffered);
    }
    bench.trim(stream, 0, MEGABYTES + 5);
    bench.engine.close().expect("nothing fails");
    drop(bench.engine);
    let findings = check::<Primitives>(bench.disk.attach(), "", &|_, log| format!("{log:?}")).expect("it can be read");
    assert!(findings.sidecars > 0);
    assert_eq!(findings.problems, [""; 0]);
}

#[test]
fn while_the_ballast_is_given_up_segments_are_made_for_nothing_but_the_reserve() {
    let bench = Bench::new();
    let stream = fill(&bench);
    let body = vec![7; 1 << 20];
    while bench.try_append(stream, 0, &body, Level::Buffered).is_ok() {}
    bench.engine.checkpoint().expect("the ballast gives its room");
    assert!(!is_there(&bench, BALLAST));
    let prepared = bench.engine.positions().prepared;
    for _ in 0..3 {
        bench.engine.step(Worker::Maker, &mut None);
        let refused = bench.try_append(stream, 0, &body, Level::Buffered);
        assert!(matches!(refused, Err(Refused::Fault(Fault::StorageFull))), "{refused:?}");
    }
    assert_eq!(bench.engine.positions().prepared, prepared, "the room that the ballast left is not for publishes");
    bench.disk.set_capacity(u64::MAX);
    bench.append(stream, 0, &body, Level::Sync);
    assert!(is_there(&bench, BALLAST), "it goes before other segments");
}

/// The ballast was given up, and the disk has room again but fails when the ballast is made.
fn failing_ballast(operations: Operations) -> (Bench, StreamHandle) {
    let bench = Bench::new();
    let stream = fill(&bench);
    while bench.try_append(stream, 0, &vec![7; 1 << 20], Level::Buffered).is_ok() {}
    bench.engine.checkpoint().expect("the ballast gives its room");
    assert!(!is_there(&bench, BALLAST));
    bench.disk.set_capacity(u64::MAX);
    bench.disk.inject(DiskFault::on(operations).path(BALLAST));
    (bench, stream)
}

#[test]
fn a_ballast_that_cannot_be_made_for_another_reason_than_room_poisons() {
    for operations in [Operations::Writes, Operations::Syncs] {
        let (bench, stream) = failing_ballast(operations);
        assert_eq!(bench.engine.step(Worker::Keeper, &mut None), Next::Idle, "nothing is tried again");
        let refused = bench.try_append(stream, 0, b"one more", Level::Sync);
        assert!(matches!(refused, Err(Refused::Fault(Fault::Poisoned))), "{operations:?}: {refused:?}");
    }
}

#[test]
fn an_append_that_has_the_ballast_made_and_finds_the_disk_failing_poisons() {
    let (bench, stream) = failing_ballast(Operations::Writes);
    let refused = bench.try_append(stream, 0, &vec![7; 1 << 20], Level::Sync);
    assert!(matches!(refused, Err(Refused::Fault(Fault::Io { .. }))), "{refused:?}");
    let refused = bench.try_append(stream, 0, b"one more", Level::Sync);
    assert!(matches!(refused, Err(Refused::Fault(Fault::Poisoned))), "{refused:?}");
}

#[test]
fn an_append_that_waits_for_a_checkpoint_is_refused_when_the_disk_has_no_room_for_one() {
    let (disk, clock) = (SimDisk::new(1), ManualClock::starting_at(Timestamp(NOON)));
    let geometry = Geometry::new(RING_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT).expect("the default");
    let options = OpenOptions { geometry, ..options(&clock) };
    let engine = Arc::new(Engine::open(disk.attach(), options).expect("nothing refuses it"));
    let bench = Bench { disk, clock, engine };
    let stream = bench.create("orders", 1, streams::Retention::default());
    let body = vec![7; 1 << 20];
    let mut taken = 0;
    while taken < 10 {
        bench.append(stream, 0, &body, Level::Buffered);
        taken += 1;
    }
    bench.engine.maker.expect_load();
    while bench.engine.step(Worker::Maker, &mut None) == Next::Again {}
    // There are segments to fill, and nothing for the index.
    bench.disk.inject(DiskFault::on(Operations::Writes).path("index.redb").no_space().forever());
    bench.engine.start().expect("threads start");
    let append = || {
        let records = [streams::Record::new(&body)];
        let groups = [streams::Group { partition: 0, expect_offset: None, records: &records }];
        let append = streams::Append { stream, mapping_partitions: 1, groups: &groups };
        let deadline = deadline_in(Some(PATIENCE));
        bench.engine.submit(&Command::Streams(streams::Command::Append(append)), Level::Buffered, deadline)
    };
    let refused = loop {
        match append() {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Refused::Fault(Fault::StorageFull)), "{refused:?}");
    assert!(taken << 20 > REPLAY_BYTES_MAX / 2 && bench.engine.maker.ready() > 1, "segments are left");
    bench.trim(stream, 0, 1);
    bench.disk.clear_faults();
    let end = deadline_in(Some(PATIENCE));
    while append().is_err() {
        assert!(micros_left(end).is_ok(), "it goes on by itself");
    }
    bench.engine.close().expect("nothing fails");
}

/// Killed on a disk of which others then take some bytes more.
fn killed_on_a_full_disk(taken_by_others: u64) {
    let bench = Bench::new();
    let stream = fill(&bench);
    let mut end = MEGABYTES;
    while bench.try_append(stream, 0, &vec![7; 1 << 20], Level::Buffered).is_ok() {
        end += 1;
    }
    bench.disk.set_capacity(bench.disk.allocated() - taken_by_others);
    let bench = kill(bench);
    let (kept, fault) = bench.read_from(bench.log(stream, 0), 0);
    assert!(fault.is_none() && kept.len() as u64 == end, "{fault:?}");
    let refused = bench.try_append(stream, 0, b"one more", Level::Sync);
    assert!(matches!(refused, Err(Refused::Fault(Fault::StorageFull))), "{refused:?}");
    bench.trim(stream, 0, end - 1);
    for _ in 0..4 {
        bench.engine.checkpoint().expect("there is room for what gives room back");
    }
    bench.append(stream, 0, b"one more", Level::Sync);
    assert!(is_there(&bench, BALLAST), "{:?}", bench.disk.paths());
    let bench = bench.reopen();
    let (kept, fault) = bench.read_from(bench.log(stream, 0), end - 1);
    assert!(fault.is_none() && kept.len() == 2, "{fault:?}");
}

#[test]
fn a_database_that_was_killed_on_a_full_disk_opens_with_one_segment_and_drains() {
    killed_on_a_full_disk(0);
}

#[test]
fn a_database_that_was_killed_on_a_full_disk_opens_with_the_room_of_the_ballast_and_drains() {
    killed_on_a_full_disk(GEOMETRY_BYTES_MIN);
}

#[test]
fn on_a_full_disk_no_more_is_handed_out_than_can_be_settled() {
    let bench = Bench::new();
    let submit = |command| bench.engine.submit(&Command::Queues(command), Level::Buffered, None);
    let options = &queues::Options { visibility_micros: 1 << 40, ..queues::Options::default() };
    let created = submit(queues::Command::Create { name: "orders", options }).expect("there is room");
    let Reply::Queues(queues::Reply::Queue(queue)) = created.reply else { panic!("it is created") };
    let order = queues::Message::plain(streams::Record::new(b"one blue mug"));
    let orders = vec![order; 1000];
    for _ in 0..100 {
        submit(queues::Command::Send { queue, messages: &orders }).expect("there is room");
    }
    bench.disk.set_capacity(bench.disk.allocated());
    let filler = [queues::Message::plain(streams::Record::new(&[7; 60_000]))];
    let is_full = |refused| matches!(refused, Refused::Fault(Fault::StorageFull));
    while submit(queues::Command::Send { queue, messages: &filler }).map_err(is_full).is_ok() {}
    let (mut deliveries, holder) = (Vec::new(), queues::Holder::HOST);
    let refused = loop {
        match submit(queues::Command::Receive { queue, holder, taker: queues::Taker::NOBODY, max: 1000 }) {
            Ok(submitted) => {
                let Reply::Queues(queues::Reply::Handed(runs)) = submitted.reply else { panic!("orders are left") };
                for run in runs {
                    let delivery = |offset| queues::DeliveryId { lane: run.lane, offset, acquired: run.acquired };
                    deliveries.extend((run.first..run.first + u64::from(run.count)).map(delivery));
                }
            }
            Err(refused) => break refused,
        }
    };
    assert!(is_full(refused));
    assert!(deliveries.len() > 10_000, "{} are in flight", deliveries.len());
    for delivery in deliveries {
        let how = queues::Settlement::Ack;
        let settle = queues::Command::Settle { queue, how, deliveries: &[delivery] };
        bench.engine.submit(&Command::Queues(settle), Level::Buffered, None).expect("there is room to settle it");
    }
}
