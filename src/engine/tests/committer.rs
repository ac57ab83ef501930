//! When the committer works, and when it sleeps.

use super::*;
use crate::engine::workers::{Next, Worker};

#[test]
fn a_flush_for_which_nothing_is_left_wakes_nobody() {
    let bench = Bench::new();
    let stream = bench.create("orders", 1, streams::Retention::default());
    bench.append(stream, 0, b"one blue mug", Level::Sync);
    let mut flush_at = None;
    while bench.engine.step(Worker::Committer, &mut flush_at) == Next::Again {}
    // As one does whose time has passed when another's sync was just done.
    bench.engine.core.lock().flush_armed = true;
    assert_eq!(bench.engine.step(Worker::Committer, &mut flush_at), Next::Idle);
    bench.append(stream, 0, b"two green plates", Level::Buffered);
    let next = bench.engine.step(Worker::Committer, &mut flush_at);
    assert!(matches!(next, Next::Micros(_)), "{next:?}");
}
