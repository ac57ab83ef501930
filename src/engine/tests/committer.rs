//! When the committer works, and when it sleeps.

use std::time::Duration;

use super::*;
use crate::base::bounds::GEOMETRY_BYTES_MIN;
use crate::engine::workers::{DRAIN_BYTES, Next, Worker};
use crate::{AppendOptions, Database, Record, StreamOptions};

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

#[test]
fn who_waits_for_the_ring_is_served_at_once_however_little_stands_in_it() {
    let clock = ManualClock::starting_at(Timestamp(NOON));
    let options = OpenOptions { flush_interval_micros: HOUR, ..options(&clock) };
    let opened = Database::open_on(SimDisk::new(1).attach(), options, Level::Buffered);
    let db = opened.expect("nothing refuses it");
    let orders = db.create_stream("orders", StreamOptions::new()).expect("a new stream");
    let place = || db.shared.link.engine().positions().issued.0 % GEOMETRY_BYTES_MIN;
    let fill_to = |kibibytes: u64| {
        while place() < kibibytes << 10 {
            orders.append(&[7; 32 << 10][..]).expect("there is room");
        }
    };
    fill_to(1700);
    db.sync().expect("nothing fails");
    fill_to(2150);
    let positions = db.shared.link.engine().positions();
    assert!(positions.issued.since(positions.written) < DRAIN_BYTES, "nobody drains it by itself");
    let bodies = [vec![7; 1 << 20], vec![7; 960 << 10]];
    let patience = AppendOptions::new().timeout(Duration::from_secs(20));
    // The rest of the lap is too short for it, and what is left of the ring behind that too.
    orders.append_batch(&[Record::new(&bodies[0]), Record::new(&bodies[1])], &patience).expect("it is served");
    let positions = db.shared.link.engine().positions();
    assert!(positions.durable < positions.issued, "room takes no sync");
}
