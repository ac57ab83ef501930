//! The rules that keep clocks, damage and sizes from doing harm.

use super::super::command::{
    Clock, Command, DeliveryId, Erasing, Holder, Outcome, Place, QueueNumber, Reason, Refusal, Settlement, Stretch,
};
use super::super::consumers::Taker;
use super::super::dedup::Horizon;
use super::super::event::{Event, Run};
use super::super::exchanges::ExchangeOptions;
use super::super::lane::LaneNumber;
use super::super::message::{Message, Origin};
use super::super::options::{DeadLetters, Options};
use super::super::reply::Reply;
use super::super::routing::{Binding, Condition, Destination, Kind};
use super::SECOND;
use super::bench::{Bench, PACKER, RELEASE, at_once, order};
use super::world::World;
use crate::base::log::LogId;
use crate::base::time::{BootTime, ClockIdentity};

const OTHER_CLOCK: ClockIdentity = ClockIdentity { boot_id: [9; 16], time_namespace: 1 };

#[test]
fn a_database_without_queues_has_no_fact_of_queues() {
    let mut world = World::new();
    assert!(matches!(world.submit(&Command::BeginLife), Outcome::Unchanged { .. }));
    assert!(world.rows.is_empty());
    world.accept(&Command::Create { name: "parcels", options: &at_once() });
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
    let mut bench = Bench::new(Options { dead_letters: DeadLetters::Discarded, ..at_once() });
    bench.send_plain(&["torn", "unwanted"]);
    bench.take(PACKER, 2);
    bench.settle(Settlement::SetApart { error: "its checksum does not hold" }, &["torn"]);
    bench.settle(Settlement::Reject { error: "no such customer" }, &["unwanted"]);
    assert_eq!(bench.dead(), [("torn", Reason::Rejected, 1)]);
    bench.restart();
    assert_eq!(bench.dead(), [("torn", Reason::Rejected, 1)]);
}

#[test]
fn a_step_of_a_purge_takes_no_more_in_hand_than_a_large_batch() {
    // Messages with a ttl stand in line, and something is known of each.
    let mut bench = Bench::new(Options { ttl_micros: Some(SECOND), ..at_once() });
    let batch = vec![order("parcel"); 1000];
    let send = Command::Send { queue: bench.queue, messages: &batch };
    (0..140).for_each(|_| drop(bench.world.accept(&send)));
    let (mut left, mut steps) = (Vec::new(), Vec::new());
    loop {
        let (messages, rest) = bench.purge(&left);
        steps.push(messages);
        left = rest;
        if left.is_empty() {
            break;
        }
    }
    assert_eq!(steps, [1024 * 64, 1024 * 64, 140_000 - 2 * 1024 * 64]);
    assert_eq!(bench.counts().ready, 0);
    bench.world.assert_rows_are_kept();
}

#[test]
fn a_purge_comes_by_more_dead_letters_than_a_step_looks_at() {
    let mut bench = Bench::new(Options { ttl_micros: Some(SECOND), ..at_once() });
    let batch = vec![order("parcel"); 1000];
    let send = Command::Send { queue: bench.queue, messages: &batch };
    (0..70).for_each(|_| drop(bench.world.accept(&send)));
    bench.world.pass(SECOND);
    bench.send_plain(&["late"]);
    assert_eq!((bench.counts().dead, bench.counts().ready), (70_000, 1));
    let (messages, left) = bench.purge(&[]);
    assert_eq!((messages, left.len()), (0, 1), "the first step has come by dead letters only");
    assert_eq!(bench.purge(&left), (1, Vec::new()));
    assert_eq!((bench.counts().dead, bench.counts().ready), (70_000, 0));
}

#[test]
fn a_lane_that_is_named_twice_is_purged_once() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["one", "two"]);
    let lane = bench.world.lane(bench.queue, 4).expect("the usual priority");
    let (whole, hostile) = (Stretch { lane, from: 0, end: 2 }, Stretch { lane, from: u64::MAX, end: u64::MAX });
    assert_eq!(bench.purge(&[whole, hostile, whole]), (2, Vec::new()));
    assert_eq!(bench.counts().ready, 0);
}

#[test]
fn a_redrive_names_each_letter_once_and_a_message_for_each() {
    let mut bench = Bench::new(Options { max_attempts: 1, ..at_once() });
    bench.send_plain(&["one", "two"]);
    bench.fail_next();
    bench.fail_next();
    let [one, two] = bench.places_of_dead()[..] else { panic!("two are dead") };
    let messages = [order("one"), order("two"), order("three")];
    let refusals: [(&[Place], &[Message<'_>]); 3] =
        [(&[one, one, two], &messages[..2]), (&[one, one, two], &messages), (&[one, two], &messages)];
    for (letters, messages) in refusals {
        let refused = bench.world.submit(&Command::Redrive {
            queue: bench.queue,
            letters,
            messages,
            to: Destination::Queue(bench.queue),
        });
        assert!(matches!(refused, Outcome::Refuse { refusal: Refusal::Stale, .. }), "{refused:?}");
    }
    assert_eq!((bench.counts().ready, bench.counts().dead), (0, 2));
}

#[test]
fn what_is_asked_or_told_of_messages_that_cannot_be_is_of_none() {
    let mut bench = Bench::new(Options { max_attempts: 1, ..at_once() });
    bench.send_plain(&["dead", "held"]);
    bench.fail_next();
    bench.take(PACKER, 1);
    let queue = bench.world.state.get(bench.queue).expect("it is there");
    assert_eq!(queue.letters(Some((4, u64::MAX)), 10), []);
    let lane = bench.world.lane(bench.queue, 4).expect("the usual priority");
    for lane in [lane, LaneNumber(9)] {
        let runs = vec![Run { lane, first: 1, count: u64::MAX - 1 }];
        let event = Event::Acked { queue: bench.queue, runs };
        let mut rows = 0;
        bench.world.state.touches(&event, &mut |_| rows += 1);
        assert!(rows <= 4, "{rows} rows");
    }
}

#[test]
fn an_attached_process_is_handed_no_more_than_its_kept_answer_can_tell() {
    let mut bench = Bench::new(at_once());
    let batch = vec![order("parcel"); 200];
    bench.world.accept(&Command::Send { queue: bench.queue, messages: &batch });
    let receive =
        |holder| Command::Receive { queue: QueueNumber(1), holder: Holder(holder), taker: Taker::NOBODY, max: 1024 };
    let Reply::Handed(runs) = bench.world.accept(&receive(0)) else { panic!("all are there") };
    let lane = runs[0].lane;
    let every_other = |first: u64| -> Vec<DeliveryId> {
        (first..200).step_by(2).map(|offset| DeliveryId { lane, offset, acquired: 1 }).collect()
    };
    bench.try_settle(Settlement::Ack, &every_other(0));
    bench.try_settle(RELEASE, &every_other(1));
    let Reply::Handed(runs) = bench.world.accept(&receive(PACKER)) else { panic!("half are there") };
    assert!(runs.len() == 64 && runs.iter().all(|run| run.count == 1));
    assert_eq!((bench.counts().in_flight, bench.counts().ready), (64, 36));
}

#[test]
fn bindings_go_whatever_went_before_them() {
    let mut bench = Bench::new(at_once());
    let options =
        &ExchangeOptions { kind: Kind::Direct, alternate: None, allows_unroutable: false, dedup: Horizon::None };
    let declare = Command::DeclareExchange { name: "orders", options };
    let Reply::Exchange(exchange) = bench.world.accept(&declare) else { panic!("no exchange") };
    let queue = bench.queue;
    let binding =
        |key: &str| Binding { exchange, destination: Destination::Queue(queue), condition: Condition::Key(key.into()) };
    for key in ["created", "paid", "sent"] {
        bench.world.accept(&Command::Bind { binding: &binding(key) });
    }
    for key in ["paid", "created"] {
        let unbound = bench.world.accept(&Command::Unbind { binding: &binding(key) });
        assert_eq!(unbound, Reply::Unbound { was_bound: true });
        bench.restart();
    }
    bench.world.accept(&Command::Bind { binding: &binding("late") });
    bench.world.accept(&Command::Delete { queue });
    while bench.world.accept(&Command::Erase { what: Erasing::Queue(queue) }) == Reply::More {}
    assert!(bench.world.state.exchanges.bindings_of(exchange, None, 10).is_empty());
    bench.world.assert_rows_are_kept();
}

#[test]
fn an_origin_has_bounds_and_a_sequence_no_bits_to_spare() {
    let mut bench = Bench::new(at_once());
    let long = "k".repeat(256);
    for (exchange, routing_key) in [(&long[..], "key"), ("orders", &long[..])] {
        let messages = &[Message { origin: Some(Origin { exchange, routing_key }), ..order("first") }];
        let refused = bench.world.submit(&Command::Send { queue: bench.queue, messages });
        assert!(matches!(refused, Outcome::Refuse { refusal: Refusal::LimitExceeded { max: 255, .. }, .. }));
    }
    bench.send_plain(&["first"]);
    let look = |sequence| {
        let queue = bench.world.state.get(bench.queue).expect("a queue");
        bench.world.state.look(queue, sequence, bench.world.now, &|_| u64::MAX)
    };
    assert!(look(0).is_some() && look(1 << 60).is_none() && look(32 << 48).is_none());
    let queue = bench.world.state.get(bench.queue).expect("a queue");
    assert!(bench.world.state.peek(queue, 0, bench.world.now, &|_| u64::MAX).is_empty());
}

#[test]
fn a_purge_moves_the_start_behind_what_was_in_line() {
    let mut bench = Bench::new(at_once());
    let messages = vec![order("parcel"); 20_000];
    bench.world.accept(&Command::Send { queue: bench.queue, messages: &messages });
    assert_eq!(bench.purge(&[]), (20_000, Vec::new()));
    let lane = bench.world.state.queues[&bench.queue].lane_of_priority(4).expect("a lane in use");
    assert_eq!((lane.start, lane.end), (20_000, 20_000));
}

#[test]
fn a_binding_whose_arguments_are_out_of_order_is_malformed() {
    let bound = |arguments: &[&[u8]]| {
        let count = u8::try_from(arguments.len()).expect("few");
        let head = [&[0x3f, 10][..], &[0; 8], &[1, 0, 7, 3, 0, count]].concat();
        Event::decode(&[head, arguments.concat()].concat()).map(|_| ())
    };
    let (first, second): (&[u8], &[u8]) = (b"\x01a\x01x", b"\x01b\x00");
    assert_eq!(bound(&[first, second]), Ok(()));
    assert!(bound(&[second, first]).is_err() && bound(&[first, first]).is_err());
}

#[test]
fn an_event_is_of_no_queue_that_is_through_with_it() {
    let head = |lives: u8| [&[0xf0, 1, lives, 9, 0, 1][..], &[0; 8], &[0, 1, 0, 0, 0]].concat();
    let message: &[u8] = &[1, 0, 0];
    assert!(Event::decode(&[&head(1)[..], message].concat()).is_ok());
    assert!(Event::decode(&[&head(0)[..], message].concat()).is_err(), "only copies have such marks");
}
