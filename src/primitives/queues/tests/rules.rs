//! The rules, one by one.

use super::super::command::{Command, Erasing, Holder, Outcome, QueueNumber, Reason, Refusal, Settlement, Stretch};
use super::super::looking::Standing;
use super::super::message::{Due, Message};
use super::super::options::{Backoff, DeadLetters, Growth, JitterKind, Options};
use super::super::reply::Reply;
use super::super::{QueueCounts, place_of, sequence};
use super::SECOND;
use super::bench::{Bench, DRIVER, FAIL, PACKER, RELEASE, at_once, later, of_group, order};
use crate::base::time::{BootTime, ClockIdentity, Timestamp};

const HOST: u64 = 0;

#[test]
fn the_higher_priority_comes_first_then_the_lower_sequence() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["first", "second"]);
    bench.send(&[Message { priority: 0, ..order("whenever") }, Message { priority: 31, ..order("now") }]);
    bench.send_plain(&["third"]);
    assert_eq!(bench.take(HOST, 10), ["now", "first", "second", "third", "whenever"]);
    assert!(sequence(4, 1) > sequence(4, 0) && place_of(sequence(31, 9)) == (31, 9));
}

#[test]
fn a_message_that_comes_back_takes_its_old_place() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["first", "second", "third"]);
    assert_eq!(bench.take(HOST, 2), ["first", "second"]);
    bench.settle(FAIL, &["second"]);
    bench.settle(RELEASE, &["first"]);
    assert_eq!(bench.take(HOST, 10), ["first", "second", "third"]);
}

#[test]
fn a_delayed_message_enters_by_its_sequence_when_it_is_due() {
    let mut bench = Bench::new(at_once());
    let due = Timestamp(bench.wall().0 + 2 * SECOND);
    bench.send(&[
        Message { due: Some(Due::In(SECOND)), ..order("in a second") },
        Message { due: Some(Due::At(due)), ..order("in two") },
        Message { due: Some(Due::At(Timestamp(1))), ..order("was due long ago") },
        order("at once"),
    ]);
    assert_eq!(bench.counts(), QueueCounts { ready: 2, delayed: 2, in_flight: 0, dead: 0 });
    assert_eq!(bench.take(HOST, 1), ["was due long ago"]);
    bench.world.pass(SECOND);
    assert_eq!(bench.take(HOST, 10), ["in a second", "at once"]);
    bench.world.pass(SECOND);
    assert_eq!(bench.take(HOST, 10), ["in two"]);
}

#[test]
fn of_a_group_one_is_in_flight_and_they_come_in_order() {
    let mut bench = Bench::new(at_once());
    let of_ann = |body| of_group("customer-ann", body);
    bench.send(&[of_ann("ann 1"), of_ann("ann 2"), of_group("customer-bob", "bob 1"), order("nobody's")]);
    assert_eq!(bench.take(HOST, 10), ["ann 1", "bob 1", "nobody's"]);
    assert_eq!(bench.take(PACKER, 10), [""; 0]);
    bench.settle(RELEASE, &["ann 1"]);
    assert_eq!(bench.take(PACKER, 10), ["ann 1"]);
    bench.settle(Settlement::Ack, &["ann 1"]);
    assert_eq!(bench.take(PACKER, 10), ["ann 2"]);
}

#[test]
fn a_head_in_backoff_blocks_its_group_and_a_first_delay_does_not() {
    let mut bench = Bench::new(later(Growth::Fixed));
    let of_ann = |body| of_group("customer-ann", body);
    bench.send(&[Message { due: Some(Due::In(SECOND / 2)), ..of_ann("ann 1, later") }, of_ann("ann 2")]);
    bench.send(&[of_ann("ann 3"), of_group("customer-bob", "bob 1")]);
    assert_eq!(bench.fail_next(), "ann 2");
    assert_eq!(bench.take(HOST, 10), ["bob 1"], "other groups go on");
    bench.world.pass(SECOND / 2);
    // It has the lower sequence, so it is the head now, and what waits behind it does not block it.
    assert_eq!(bench.take(HOST, 10), ["ann 1, later"]);
    bench.settle(Settlement::Ack, &["ann 1, later"]);
    assert_eq!(bench.take(HOST, 10), [""; 0]);
    bench.world.pass(SECOND / 2);
    assert_eq!(bench.take(HOST, 10), ["ann 2"]);
}

#[test]
fn a_group_has_the_priority_of_the_message_that_began_it_as_long_as_it_has_messages() {
    let mut bench = Bench::new(at_once());
    let of_ann = |priority, body| Message { priority, ..of_group("customer-ann", body) };
    bench.send(&[of_ann(4, "ann 1"), of_ann(31, "ann 2"), Message { priority: 9, ..order("urgent") }]);
    assert_eq!(bench.take(HOST, 10), ["urgent", "ann 1"]);
    bench.settle(Settlement::Ack, &["ann 1"]);
    bench.restart();
    assert_eq!(bench.take(PACKER, 10), ["urgent", "ann 2"], "the host died with what it had");
    bench.settle(Settlement::Reject { error: "torn" }, &["ann 2"]);
    bench.send(&[order("usual"), of_ann(31, "ann 3")]);
    assert_eq!(bench.take(PACKER, 10), ["ann 3", "usual"], "the dead are no members");
}

#[test]
fn what_is_not_settled_within_the_visibility_timeout_has_failed() {
    let mut bench = Bench::new(Options { visibility_micros: 10 * SECOND, max_attempts: 2, ..at_once() });
    bench.send_plain(&["parcel"]);
    assert_eq!(bench.take(HOST, 1), ["parcel"]);
    let first = bench.delivery("parcel");
    bench.world.pass(10 * SECOND - 1);
    assert_eq!(bench.counts().in_flight, 1);
    bench.world.pass(1);
    assert!(bench.is_stale(first));
    assert_eq!(bench.take(HOST, 1), ["parcel"]);
    bench.world.pass(10 * SECOND);
    assert_eq!(bench.dead(), [("parcel", Reason::AttemptsExhausted, 2)]);
}

#[test]
fn an_extension_counts_from_the_call() {
    let mut bench = Bench::new(Options { visibility_micros: 10 * SECOND, ..at_once() });
    bench.send_plain(&["longer", "shorter"]);
    bench.take(HOST, 2);
    bench.world.pass(9 * SECOND);
    bench.settle(Settlement::Extend { micros: 5 * SECOND }, &["longer"]);
    bench.settle(Settlement::Extend { micros: SECOND / 2 }, &["shorter"]);
    bench.world.pass(SECOND / 2);
    assert_eq!(bench.take(PACKER, 10), ["shorter"]);
    bench.world.pass(5 * SECOND - SECOND / 2 - 1);
    assert_eq!(bench.take(PACKER, 10), [""; 0]);
    bench.world.pass(1);
    assert_eq!(bench.take(PACKER, 10), ["longer"]);
}

#[test]
fn a_message_is_dead_after_the_last_of_its_attempts_has_failed() {
    let mut bench = Bench::new(Options { max_attempts: 3, ..at_once() });
    bench.send(&[Message { max_attempts: Some(1), ..order("once") }, order("thrice")]);
    assert_eq!([bench.fail_next(), bench.fail_next(), bench.fail_next()], ["once", "thrice", "thrice"]);
    assert_eq!(bench.dead(), [("once", Reason::AttemptsExhausted, 1)]);
    bench.take(HOST, 1);
    bench.settle(RELEASE, &["thrice"]);
    assert_eq!(bench.fail_next(), "thrice", "what was not tried does not count");
    assert_eq!(bench.dead().last(), Some(&("thrice", Reason::AttemptsExhausted, 3)));
    assert_eq!(bench.world.letters(bench.queue)[1].5, ["no answer"; 3]);
}

#[test]
fn pauses_grow_as_the_queue_says() {
    for (growth, pauses) in [
        (Growth::None, [0, 0, 0, 0]),
        (Growth::Fixed, [1, 1, 1, 1]),
        (Growth::Linear, [1, 2, 3, 4]),
        (Growth::Exponential, [1, 2, 4, 5]),
    ] {
        let mut bench = Bench::new(later(growth));
        bench.send_plain(&["parcel"]);
        for pause in pauses {
            bench.fail_next();
            if pause > 0 {
                bench.world.pass(pause * SECOND - 1);
                assert_eq!(bench.take(HOST, 1), [""; 0], "{growth:?}");
                bench.world.pass(1);
            }
            assert_eq!(bench.ready(), 1, "{growth:?} {pause}");
        }
    }
}

#[test]
fn jitter_keeps_pauses_within_their_bounds_and_apart() {
    for (jitter, least) in [(JitterKind::Full, 0), (JitterKind::Decorrelated, SECOND)] {
        let backoff = Backoff { growth: Growth::Fixed, first_micros: SECOND, most_micros: 2 * SECOND, jitter };
        let mut bench = Bench::new(Options { backoff, ..Options::default() });
        bench.send_plain(&["a", "b", "c", "d", "e", "f"]);
        (0..6).for_each(|_| assert!(!bench.fail_next().is_empty()));
        let pauses: Vec<u64> = bench.world.pauses.values().copied().collect();
        let most = if jitter == JitterKind::Full { SECOND } else { 2 * SECOND };
        assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{jitter:?} {pauses:?}");
        assert!(pauses.iter().max().zip(pauses.iter().min()).is_some_and(|(most, least)| most - least > 1000));
    }
}

#[test]
fn a_delay_that_is_asked_for_takes_the_place_of_the_backoff() {
    let mut bench = Bench::new(later(Growth::Fixed));
    bench.send_plain(&["failed", "released"]);
    bench.take(HOST, 2);
    bench.settle(Settlement::Fail { error: "come later", delay_micros: Some(3 * SECOND) }, &["failed"]);
    bench.settle(Settlement::Release { delay_micros: 2 * SECOND }, &["released"]);
    bench.world.pass(2 * SECOND);
    assert_eq!(bench.take(HOST, 2), ["released"]);
    bench.world.pass(SECOND);
    assert_eq!(bench.take(HOST, 2), ["failed"]);
}

#[test]
fn a_message_expires_by_the_smaller_ttl_wherever_it_stands() {
    let mut bench = Bench::new(Options { ttl_micros: Some(5 * SECOND), ..later(Growth::Fixed) });
    let with_ttl = |ttl, body| Message { ttl_micros: Some(ttl * SECOND), ..order(body) };
    bench.send(&[with_ttl(2, "its own"), with_ttl(9, "the queue's"), order("fails at last")]);
    bench.world.pass(2 * SECOND);
    assert_eq!(bench.dead(), [("its own", Reason::Expired, 0)]);
    bench.take(HOST, 2);
    bench.world.pass(2 * SECOND + SECOND / 2);
    bench.settle(FAIL, &["fails at last"]);
    bench.settle(RELEASE, &["the queue's"]);
    bench.world.pass(SECOND / 2);
    let expected = [("its own", Reason::Expired, 0), ("the queue's", Reason::Expired, 0)];
    assert_eq!(bench.dead()[..2], expected, "a return does not extend it");
    assert_eq!(bench.dead()[2], ("fails at last", Reason::Expired, 1), "nor does a backoff");
}

#[test]
fn a_ttl_that_is_reached_in_flight_takes_effect_on_return() {
    let mut bench = Bench::new(Options { ttl_micros: Some(SECOND), ..at_once() });
    bench.send_plain(&["acknowledged", "released", "failed"]);
    bench.take(HOST, 10);
    bench.world.pass(3 * SECOND);
    assert_eq!(bench.counts(), QueueCounts { ready: 0, delayed: 0, in_flight: 3, dead: 0 });
    bench.settle(Settlement::Ack, &["acknowledged"]);
    bench.settle(RELEASE, &["released"]);
    bench.settle(FAIL, &["failed"]);
    assert_eq!(bench.dead(), [("released", Reason::Expired, 0), ("failed", Reason::Expired, 0)]);
}

#[test]
fn the_ttl_of_a_delayed_message_begins_when_it_is_due() {
    let mut bench = Bench::new(Options { ttl_micros: Some(2 * SECOND), ..at_once() });
    bench.send(&[Message { due: Some(Due::In(10 * SECOND)), ..order("tomorrow") }]);
    bench.world.pass(11 * SECOND);
    assert_eq!(bench.ready(), 1);
    bench.world.pass(SECOND);
    assert_eq!(bench.dead(), [("tomorrow", Reason::Expired, 0)]);
}

#[test]
fn what_lives_for_no_time_is_for_a_consumer_who_waits() {
    let mut bench = Bench::new(at_once());
    let now_or_never = |body| Message { ttl_micros: Some(0), ..order(body) };
    bench.send(&[now_or_never("nobody waits")]);
    assert_eq!(bench.take(HOST, 1), [""; 0]);
    bench.world.set_awaited(bench.queue, true);
    bench.send(&[now_or_never("somebody waits")]);
    assert_eq!(bench.take(HOST, 1), ["somebody waits"]);
    assert_eq!(bench.dead(), [("nobody waits", Reason::Expired, 0)]);
}

#[test]
fn a_deadline_ends_a_message_even_before_it_is_due() {
    let mut bench = Bench::new(at_once());
    let deadline = Some(Timestamp(bench.wall().0 + 2 * SECOND));
    bench.send(&[
        Message { deadline, ..order("ready") },
        Message { deadline, due: Some(Due::In(9 * SECOND)), ..order("delayed") },
        Message { deadline, ttl_micros: Some(SECOND), ..order("short-lived") },
        Message { deadline: Some(Timestamp(1)), ..order("too late") },
    ]);
    assert_eq!(bench.take(HOST, 1), ["ready"]);
    bench.settle(RELEASE, &["ready"]);
    bench.world.pass(2 * SECOND);
    let of_deadline = |body| (body, Reason::Deadline, 0);
    let expired = ("short-lived", Reason::Expired, 0);
    assert_eq!(bench.dead(), [of_deadline("ready"), of_deadline("delayed"), expired, of_deadline("too late")]);
}

#[test]
fn a_message_that_was_alone_with_a_process_that_died_has_failed() {
    let mut bench = Bench::new(Options { max_attempts: 2, ..at_once() });
    bench.send_plain(&["poison"]);
    for _ in 0..2 {
        assert_eq!(bench.take(PACKER, 1), ["poison"]);
        bench.die(PACKER);
    }
    assert_eq!(bench.dead(), [("poison", Reason::AttemptsExhausted, 2)]);
}

#[test]
fn several_come_back_as_suspects_of_which_a_process_holds_one_at_a_time() {
    let mut bench = Bench::new(Options { max_attempts: 2, ..at_once() });
    bench.send_plain(&["harmless", "poison", "never tried"]);
    bench.take(PACKER, 2);
    bench.die(PACKER);
    assert_eq!(bench.take(PACKER, 10), ["harmless", "never tried"], "one suspect, and what is none");
    assert_eq!(bench.take(DRIVER, 10), ["poison"]);
    assert_eq!(bench.take(HOST, 10), [""; 0]);
    bench.die(DRIVER);
    assert_eq!(bench.take(PACKER, 10), [""; 0], "it holds a suspect already");
    assert_eq!(bench.take(HOST, 10), ["poison"], "and is still one");
    bench.die(HOST);
    assert_eq!(bench.dead(), [("poison", Reason::AttemptsExhausted, 2)], "deaths while holding a suspect count");
}

#[test]
fn a_settled_suspect_is_cleared() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["released", "failed", "third"]);
    bench.take(PACKER, 3);
    bench.die(PACKER);
    assert_eq!(bench.take(PACKER, 3), ["released"]);
    bench.settle(RELEASE, &["released"]);
    assert_eq!(bench.take(PACKER, 3), ["released", "failed"]);
    bench.settle(FAIL, &["failed"]);
    assert_eq!(bench.take(PACKER, 3), ["failed", "third"]);
}

#[test]
fn a_process_holds_one_suspect_of_all_queues() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["parcel 1", "parcel 2"]);
    bench.take(PACKER, 2);
    let (parcels, letters) = (bench.queue, bench.open("letters", at_once()));
    bench.queue = letters;
    bench.send_plain(&["letter 1"]);
    bench.take(PACKER, 1);
    bench.die(PACKER);
    assert_eq!(bench.take(DRIVER, 10), ["letter 1"]);
    bench.queue = parcels;
    assert_eq!(bench.take(DRIVER, 10), [""; 0]);
}

#[test]
fn who_leaves_in_order_has_tried_nothing() {
    let mut bench = Bench::new(Options { max_attempts: 1, ..at_once() });
    bench.send_plain(&["first", "second"]);
    bench.take(PACKER, 1);
    bench.world.accept(&Command::Release { holder: Holder(PACKER) });
    assert_eq!(bench.take(PACKER, 10), ["first", "second"]);
    bench.world.accept(&Command::Release { holder: Holder(PACKER) });
    assert_eq!((bench.take(DRIVER, 10).len(), bench.counts().dead), (2, 0));
}

#[test]
fn a_hand_out_is_settled_once_and_not_after_it_was_taken_back() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["parcel", "other"]);
    bench.take(HOST, 2);
    let first = bench.delivery("parcel");
    bench.settle(RELEASE, &["parcel"]);
    assert!(bench.is_stale(first));
    bench.take(PACKER, 1);
    assert!(bench.is_stale(first), "it is in flight, and not as this hand-out");
    let (second, other) = (bench.delivery("parcel"), bench.delivery("other"));
    let settled = bench.try_settle(Settlement::Ack, &[first, second, other, second]);
    assert_eq!(settled, Outcome::Accept(Reply::Settled { stale: vec![0, 3] }));
    assert!(bench.is_stale(second));
}

#[test]
fn a_paused_queue_hands_nothing_out_and_takes_settlements() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["first", "second"]);
    bench.take(HOST, 1);
    let pause = |is_paused| Command::Pause { queue: QueueNumber(1), is_paused };
    bench.world.accept(&pause(true));
    bench.settle(RELEASE, &["first"]);
    bench.restart();
    let known = bench.told(HOST, 1).expect_err("it is paused");
    bench.world.accept(&pause(false));
    assert_ne!(bench.world.news(bench.queue), known, "who waits looks again");
    assert_eq!(bench.take(HOST, 10), ["first", "second"]);
}

#[test]
fn a_purge_takes_what_is_ready_or_delayed_and_was_there() {
    let mut bench = Bench::new(later(Growth::Fixed));
    bench.send_plain(&["in flight", "in backoff", "ready", "dead"]);
    bench.send(&[Message { due: Some(Due::In(SECOND)), ..order("delayed") }]);
    bench.take(HOST, 4);
    bench.settle(FAIL, &["in backoff"]);
    bench.settle(RELEASE, &["ready"]);
    bench.settle(Settlement::Reject { error: "torn" }, &["dead"]);
    let lane = bench.world.lane(bench.queue, 4).expect("the usual priority");
    bench.send_plain(&["sent meanwhile"]);
    assert_eq!(bench.purge(&[Stretch { lane, from: 0, end: 5 }]), (3, Vec::new()));
    assert_eq!(bench.counts(), QueueCounts { ready: 1, delayed: 0, in_flight: 1, dead: 1 });
    assert_eq!(bench.take(HOST, 10), ["sent meanwhile"]);
}

#[test]
fn a_full_queue_refuses_and_takes_back_what_returns() {
    let mut bench = Bench::new(Options { max_messages: Some(2), ..later(Growth::Fixed) });
    bench.send(&[order("ready"), Message { due: Some(Due::In(SECOND)), ..order("delayed") }]);
    assert_eq!(bench.try_send(&order("third")), Err(Refusal::Full { queue: "parcels".to_owned(), max: 2 }));
    bench.take(HOST, 1);
    bench.send_plain(&["third"]);
    bench.settle(FAIL, &["ready"]);
    assert_eq!(bench.counts(), QueueCounts { ready: 1, delayed: 2, in_flight: 0, dead: 0 });
    assert_eq!(bench.try_send(&order("fourth")), Err(Refusal::Full { queue: "parcels".to_owned(), max: 2 }));
}

#[test]
fn dead_letters_stand_by_priority_and_sequence_whenever_they_died() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["first", "second"]);
    bench.send(&[Message { priority: 9, ..order("urgent") }]);
    bench.take(HOST, 3);
    for body in ["second", "first", "urgent"] {
        bench.settle(Settlement::Reject { error: "torn" }, &[body]);
    }
    let bodies: Vec<_> = bench.dead().iter().map(|letter| letter.0).collect();
    assert_eq!(bodies, ["urgent", "first", "second"]);
    let letters = bench.places_of_dead();
    bench.world.accept(&Command::Bury { queue: bench.queue, letters: &letters[..2] });
    bench.restart();
    assert_eq!(bench.dead(), [("second", Reason::Rejected, 1)]);
    let again = bench.world.submit(&Command::Bury { queue: bench.queue, letters: &letters[..2] });
    assert!(matches!(again, Outcome::Refuse { refusal: Refusal::Stale, .. }));
}

#[test]
fn a_redriven_letter_is_a_new_message_without_failures() {
    let mut bench = Bench::new(Options { max_attempts: 2, ..at_once() });
    bench.send_plain(&["parcel", "waits"]);
    (0..2).for_each(|_| assert!(!bench.fail_next().is_empty()));
    bench.redrive(order("parcel again"));
    assert_eq!((bench.counts().ready, bench.dead().len()), (2, 0));
    bench.restart();
    assert_eq!(bench.take(HOST, 10), ["waits", "parcel again"], "it is the last now");
    bench.settle(FAIL, &["parcel again"]);
    assert_eq!(bench.fail_next(), "parcel again", "two attempts anew");
    assert_eq!(bench.world.letters(bench.queue)[0].5, ["no answer"; 2], "what was said before is in its history");
}

#[test]
fn a_queue_that_discards_its_dead_keeps_none() {
    let mut bench = Bench::new(Options { dead_letters: DeadLetters::Discarded, max_attempts: 1, ..at_once() });
    bench.send(&[order("failed"), Message { ttl_micros: Some(SECOND), ..order("expired") }]);
    bench.fail_next();
    bench.world.pass(SECOND);
    assert_eq!(bench.counts(), QueueCounts::default());
}

#[test]
fn who_becomes_the_host_keeps_what_it_has_in_flight() {
    let mut bench = Bench::new(Options { max_attempts: 1, ..at_once() });
    bench.send_plain(&["parcel"]);
    bench.take(PACKER, 1);
    bench.world.accept(&Command::Adopt { from: Holder(PACKER) });
    bench.die(PACKER);
    assert_eq!(bench.counts().in_flight, 1);
    bench.restart();
    assert_eq!(bench.dead(), [("parcel", Reason::AttemptsExhausted, 1)], "it was the host that died with it");
}

#[test]
fn the_next_host_takes_back_what_the_last_one_had_and_leaves_what_others_have() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["the host's", "the packer's"]);
    bench.take(HOST, 1);
    bench.take(PACKER, 1);
    bench.restart();
    assert_eq!(bench.counts(), QueueCounts { ready: 1, delayed: 0, in_flight: 1, dead: 0 });
    bench.settle(Settlement::Ack, &["the packer's"]);
    assert_eq!(bench.take(HOST, 10), ["the host's"]);
}

#[test]
fn pauses_and_timeouts_begin_anew_by_another_clock() {
    let mut bench = Bench::new(Options { visibility_micros: 4 * SECOND, ..later(Growth::Fixed) });
    bench.send_plain(&["failed", "the packer's"]);
    bench.fail_next();
    bench.take(PACKER, 1);
    bench.world.pass(SECOND / 2);
    bench.world.clock = ClockIdentity { boot_id: [9; 16], time_namespace: 1 };
    bench.world.now.boot = BootTime(10);
    bench.restart();
    bench.world.pass(SECOND - 1);
    assert_eq!(bench.counts(), QueueCounts { ready: 0, delayed: 1, in_flight: 1, dead: 0 });
    bench.world.pass(1);
    assert_eq!(bench.take(HOST, 10), ["failed"]);
    bench.world.pass(3 * SECOND - 1);
    bench.settle(Settlement::Ack, &["the packer's"]);
}

#[test]
fn a_queue_is_deleted_once_nothing_is_in_flight_and_erased_in_steps() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["parcel", "other"]);
    bench.send(&[Message { priority: 9, ..of_group("customer-ann", "urgent") }]);
    bench.take(HOST, 2);
    let delete = Command::Delete { queue: bench.queue };
    let refused = bench.world.submit(&delete);
    assert!(matches!(refused, Outcome::Refuse { refusal: Refusal::InFlight { count: 2 }, .. }));
    bench.settle(RELEASE, &["parcel", "urgent"]);
    bench.world.accept(&delete);
    assert_eq!(bench.try_send(&order("late")), Err(Refusal::NotFound));
    let (old, new) = (bench.queue, bench.open("parcels", at_once()));
    assert!(new > old && bench.world.state.find("parcels") == Some(new));
    bench.world.reload();
    while bench.world.accept(&Command::Erase { what: Erasing::Any }) == Reply::More {}
    bench.world.reload();
    bench.queue = new;
    assert_eq!(bench.take(HOST, 10), [""; 0]);
}

#[test]
fn what_is_not_durable_yet_is_handed_to_nobody() {
    let mut bench = Bench::new(at_once());
    bench.world.is_sync = true;
    bench.send_plain(&["durable"]);
    bench.world.durable = bench.world.next_frame;
    bench.send(&[order("not yet"), of_group("customer-ann", "nor this")]);
    assert_eq!(bench.take(HOST, 10), ["durable"]);
    bench.world.durable = bench.world.next_frame;
    assert_eq!(bench.take(HOST, 10), ["not yet", "nor this"]);
}

#[test]
fn a_suspect_that_waits_for_another_and_a_message_whose_time_is_over_say_so() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["first", "second"]);
    bench.take(PACKER, 2);
    bench.die(PACKER);
    let standing = |bench: &Bench, offset| {
        let queue = bench.world.state.get(bench.queue).expect("a queue");
        let seen = bench.world.state.look(queue, sequence(4, offset), bench.world.now, &|_| u64::MAX);
        seen.expect("it is there").standing
    };
    assert_eq!(standing(&bench, 1), Standing::Behind { messages: 1 });
    assert_eq!(bench.take(DRIVER, 2), ["first"]);
    assert_eq!(standing(&bench, 1), Standing::Suspect);
    bench.settle(Settlement::Ack, &["first"]);
    assert_eq!(standing(&bench, 1), Standing::Behind { messages: 0 });
    bench.send(&[Message { ttl_micros: Some(SECOND), ..order("third") }]);
    bench.world.now.wall.0 += SECOND;
    assert_eq!(standing(&bench, 2), Standing::Expired);
}
