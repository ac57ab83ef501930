//! The rules that keep clocks, damage and sizes from doing harm.

use super::super::command::{Clock, Command, Outcome, Reason, Settlement};
use super::super::options::Options;
use super::super::reply::Reply;
use super::SECOND;
use super::bench::{Bench, PACKER, at_once};
use super::world::World;
use crate::base::log::LogId;
use crate::base::time::{BootTime, ClockIdentity};

const OTHER_CLOCK: ClockIdentity = ClockIdentity { boot_id: [9; 16], time_namespace: 1 };

#[test]
fn a_database_without_queues_has_no_fact_of_queues() {
    let mut world = World::new();
    assert!(matches!(world.submit(&Command::BeginLife), Outcome::Unchanged { .. }));
    assert!(world.rows.is_empty());
    world.accept(&Command::Create { name: "parcels", options: at_once() });
    assert_eq!(world.state.clock, world.clock, "its moments are by this clock");
    world.clock = OTHER_CLOCK;
    world.reload();
    assert_eq!(world.submit(&Command::BeginLife), Outcome::Accept(Reply::More));
    assert_eq!(world.state.clock, OTHER_CLOCK);
}

#[test]
fn a_tick_by_another_clock_begins_the_moments_anew_and_fails_nothing() {
    let mut bench = Bench::new(Options { visibility_micros: 10 * SECOND, ..at_once() });
    bench.send_plain(&["parcel"]);
    bench.take(PACKER, 1);
    bench.world.clock = OTHER_CLOCK;
    bench.world.now.boot = BootTime(1000 * SECOND);
    let notes = bench.world.state.get(bench.queue).expect("it is there").notes.log;
    let tick = Command::Tick { log: LogId(notes.0 + 1), clock: Clock::Boot };
    assert_eq!(bench.world.accept(&tick), Reply::Done);
    assert_eq!(bench.counts().in_flight, 1);
    assert!(matches!(bench.world.submit(&tick), Outcome::Unchanged { .. }), "once");
    bench.world.pass(10 * SECOND);
    assert_eq!(bench.counts().ready, 1, "it was not settled in time by the clock that there is");
}

#[test]
fn what_cannot_be_read_is_kept_although_the_dead_are_discarded() {
    let mut bench = Bench::new(Options { discards_dead: true, ..at_once() });
    bench.send_plain(&["torn", "unwanted"]);
    bench.take(PACKER, 2);
    bench.settle(Settlement::SetApart { error: "its checksum does not hold" }, &["torn"]);
    bench.settle(Settlement::Reject { error: "no such customer" }, &["unwanted"]);
    assert_eq!(bench.dead(), [("torn", Reason::Rejected, 1)]);
    bench.restart();
    assert_eq!(bench.dead(), [("torn", Reason::Rejected, 1)]);
}
