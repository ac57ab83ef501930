//! Checkpoints that fail, and streams that end while one is made.

use super::*;
use crate::base::level::Level;
use crate::engine::tests::Bench;
use crate::primitives::streams::{self, StreamHandle};
use crate::sim::disk::{Cut, Fault as DiskFault, Operations};

fn append_a_segment(bench: &Bench, stream: StreamHandle) {
    for _ in 0..5 {
        bench.append(stream, 0, &vec![7; 1 << 20], Level::Buffered);
    }
}

/// The journal's segments on disk.
fn segments(bench: &Bench) -> Vec<String> {
    let mut paths = bench.disk.paths();
    paths.retain(|path| path.ends_with(".seg"));
    paths
}

#[test]
fn a_stream_that_ends_while_sidecars_are_written_is_gone_for_good_or_still_whole() {
    let bench = Bench::new();
    let orders = bench.create("orders", 1, streams::Retention::default());
    let lsn = bench.append(orders, 0, b"one blue mug", Level::Buffered);
    let gone = bench.create("gone", 1, streams::Retention::default());
    bench.append(gone, 0, b"never seen again", Level::Buffered);
    append_a_segment(&bench, orders);
    {
        let mut keeper = bench.engine.keeper.lock();
        bench.engine.wait_durable(bench.engine.marks.issued.get(), None).expect("nothing fails");
        let mut draft = bench.engine.freeze(&mut keeper);
        bench.submit(streams::Command::Delete { name: "gone" }, Level::Buffered).expect("it exists");
        bench.engine.write_sidecars(&mut draft).expect("nothing fails");
        assert!(draft.runs_added.iter().all(|run| run.log == bench.log(orders, 0)), "nothing refers to what ended");
        let (issued, durable) = (bench.engine.marks.issued.get(), bench.engine.marks.durable.get());
        assert!(durable >= issued, "before an index forgets its records, its end is on disk");
        // Step 4 is taken once more, as one of all.
        draft.runs_added.clear();
        bench.engine.write_draft(&mut keeper, &mut draft, Room::Ample).expect("nothing fails");
        bench.engine.adopt(&mut keeper, draft);
    }
    bench.disk.power_cut_with(Cut::AllLost);
    bench.engine.abandon();
    let bench = Bench::open(bench.disk, bench.clock);
    assert!(bench.engine.core.lock().machine.streams.lookup("gone").is_none());
    let (kept, fault) = bench.read_from(bench.log(orders, 0), 0);
    assert!(fault.is_none() && kept.len() == 6, "{fault:?}");
    assert_eq!(kept[0], (0, lsn, b"one blue mug".to_vec()));
}

#[test]
fn what_was_trimmed_before_a_failed_checkpoint_is_given_back_by_a_later_one() {
    let bench = Bench::new();
    let orders = bench.create("orders", 1, streams::Retention::default());
    append_a_segment(&bench, orders);
    bench.engine.checkpoint().expect("nothing fails");
    let before = segments(&bench);
    bench.trim(orders, 0, 5);
    bench.disk.inject(DiskFault::on(Operations::Writes).path("index.redb").no_space().forever());
    let failed = bench.engine.checkpoint();
    assert!(matches!(failed, Err(Fault::StorageFull)), "{failed:?}");
    assert!(segments(&bench).contains(&before[0]));
    bench.disk.clear_faults();
    for _ in 0..=COMMITS_BEFORE_REMOVAL {
        bench.append(orders, 0, b"one more", Level::Sync);
        bench.engine.checkpoint().expect("there is room again");
    }
    assert!(!segments(&bench).contains(&before[0]), "its room is given back");
    bench.engine.close().expect("nothing fails");
}

#[test]
fn however_many_objects_a_failed_checkpoint_had_they_are_in_the_next() {
    let bench = Bench::new();
    let partitions = 3 * FREEZE_CHUNK as u32;
    let orders = bench.create("orders", partitions, streams::Retention::default());
    for partition in 0..partitions {
        bench.append(orders, partition, b"one blue mug", Level::Buffered);
    }
    bench.disk.inject(DiskFault::on(Operations::Writes).path("index.redb").no_space().forever());
    let failed = bench.engine.checkpoint();
    assert!(matches!(failed, Err(Fault::StorageFull)), "{failed:?}");
    assert!(bench.engine.core.lock().objects.changed() > partitions as usize);
    bench.disk.clear_faults();
    bench.engine.checkpoint().expect("there is room again");
    bench.engine.checkpoint().expect("and nothing fails");
    assert_eq!(bench.engine.core.lock().objects.changed(), 0);
}
