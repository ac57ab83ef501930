//! A disk without room: what is refused, what goes on, and how it drains.

use super::*;
use crate::sim::disk::{Fault as DiskFault, Operations};

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
