//! What was once wrong.

use super::super::command::{Reason, Settlement, Stretch};
use super::super::message::{Due, Message};
use super::super::options::{DeadLetters, Options};
use super::SECOND;
use super::bench::{Bench, DRIVER, FAIL, PACKER, at_once, of_group, order};
use crate::base::time::{Now, Timestamp};

#[test]
fn a_purged_message_with_a_ttl_is_forgotten_and_the_checkpoint_can_be_loaded() {
    let mut bench = Bench::new(at_once());
    let with_ttl = |body| Message { ttl_micros: Some(SECOND), ..order(body) };
    bench.send(&[with_ttl("first"), with_ttl("second"), Message { max_attempts: Some(9), ..order("third") }]);
    assert_eq!(bench.purge(&[]).0, 3);
    bench.world.reload();
    bench.world.pass(2 * SECOND);
    assert_eq!(bench.counts().dead, 0);
}

#[test]
fn notes_of_a_redriven_message_go_with_it_when_it_is_purged() {
    let mut bench = Bench::new(Options { max_attempts: 1, ..at_once() });
    bench.send_plain(&["parcel"]);
    bench.fail_next();
    bench.redrive(order("parcel again"));
    assert_eq!(bench.purge(&[]).0, 1);
    assert_eq!(bench.world.state.get(bench.queue).map(|queue| queue.notes.firsts.len()), Some(0));
    bench.world.reload();
}

#[test]
fn a_purge_up_to_a_delayed_message_leaves_the_cursor_where_the_checkpoint_has_it() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["in flight", "ready"]);
    let lane = bench.world.lane(bench.queue, 4).expect("the usual priority");
    assert_eq!(bench.take(0, 1), ["in flight"]);
    bench.send(&[Message { due: Some(Due::In(SECOND)), ..order("delayed") }, order("behind it")]);
    assert_eq!(bench.purge(&[Stretch { lane, from: 0, end: 2 }]).0, 1);
    bench.settle(Settlement::Ack, &["in flight"]);
    bench.world.reload();
    bench.world.pass(SECOND);
    assert_eq!(bench.take(0, 10), ["delayed", "behind it"]);
}

#[test]
fn messages_that_expire_in_another_order_than_they_stand_leave_no_stale_rows() {
    let mut bench = Bench::new(Options { dead_letters: DeadLetters::Discarded, ..at_once() });
    // Four chunks. The last half of the last one goes first, and leaves a row that says so.
    for number in 0..256 {
        let ttl = if number < 224 { 5 - number / 64 } else { 1 };
        bench.send(&[Message { ttl_micros: Some(ttl * SECOND), ..order("short-lived") }]);
    }
    bench.world.pass(SECOND);
    assert_eq!(bench.ready(), 224);
    // One tick finds all others, the last chunk first, and the cursor passes everything.
    bench.world.pass(9 * SECOND);
    assert_eq!(bench.ready(), 0);
    bench.world.reload();
}

#[test]
fn what_was_due_before_its_deadline_and_found_after_both_died_of_the_deadline() {
    let mut bench = Bench::new(at_once());
    let now = bench.wall().0;
    let deadline = Some(Timestamp(now + 2 * SECOND));
    bench.send(&[
        Message { due: Some(Due::In(SECOND)), deadline, ..order("late") },
        Message { due: Some(Due::In(SECOND)), deadline, ttl_micros: Some(SECOND / 2), ..order("short-lived") },
    ]);
    // The host's clock jumps past all of it.
    bench.world.now = Now { wall: Timestamp(now + 60 * SECOND), ..bench.world.now };
    bench.world.run_timers();
    assert_eq!(bench.dead(), [("late", Reason::Deadline, 0), ("short-lived", Reason::Expired, 0)]);
}

#[test]
fn the_next_of_a_group_is_handed_out_at_once_when_its_head_has_expired() {
    let mut bench = Bench::new(at_once());
    let of_ann = |body| of_group("customer-ann", body);
    let short = |body| Message { ttl_micros: Some(SECOND), ..of_ann(body) };
    bench.send(&[short("ann 1"), short("ann 2"), of_ann("ann 3"), of_ann("ann 4")]);
    // No tick has come yet.
    bench.world.now.wall = Timestamp(bench.wall().0 + SECOND);
    assert_eq!(bench.take(0, 10), ["ann 3"]);
    assert_eq!(bench.dead(), [("ann 1", Reason::Expired, 0), ("ann 2", Reason::Expired, 0)]);
}

#[test]
fn who_waits_looks_again_for_a_suspect_once_another_has_been_settled() {
    for how in [Settlement::Ack, Settlement::Reject { error: "torn" }, FAIL] {
        let mut bench = Bench::new(at_once());
        let (parcels, letters) = (bench.queue, bench.open("letters", at_once()));
        bench.send_plain(&["parcel 1", "parcel 2"]);
        bench.take(PACKER, 2);
        bench.queue = letters;
        bench.send_plain(&["letter"]);
        bench.take(PACKER, 1);
        bench.die(PACKER);
        bench.queue = parcels;
        assert_eq!(bench.take(DRIVER, 10), ["parcel 1"]);
        let of_parcels = bench.told(DRIVER, 10).expect_err("it has a suspect");
        bench.queue = letters;
        let of_letters = bench.told(DRIVER, 10).expect_err("it has a suspect");
        bench.queue = parcels;
        bench.settle(how, &["parcel 1"]);
        assert_ne!(bench.world.news(parcels), of_parcels, "{how:?}");
        assert_ne!(bench.world.news(letters), of_letters, "{how:?}");
    }
}

#[test]
fn a_delayed_message_that_lives_for_no_time_is_for_who_waits_when_it_is_due() {
    for waits_when_sent in [false, true] {
        let mut bench = Bench::new(at_once());
        bench.world.set_awaited(bench.queue, waits_when_sent);
        let now_or_never =
            |seconds, body| Message { due: Some(Due::In(seconds * SECOND)), ttl_micros: Some(0), ..order(body) };
        bench.send(&[now_or_never(1, "nobody waits"), now_or_never(2, "somebody waits")]);
        bench.world.set_awaited(bench.queue, false);
        bench.world.pass(SECOND);
        assert_eq!(bench.dead(), [("nobody waits", Reason::Expired, 0)]);
        bench.world.set_awaited(bench.queue, true);
        bench.world.pass(SECOND);
        assert_eq!(bench.take(0, 10), ["somebody waits"]);
    }
}
