//! Rules of queues that are full.

use super::super::command::{Command, Outcome, Reason, Refusal};
use super::super::message::{Due, Message};
use super::super::options::{DeadLetters, Options, Overflow};
use super::SECOND;
use super::bench::{Bench, FAIL, at_once, later, of_group, order};
use crate::primitives::queues::options::Growth;

const HOST: u64 = 0;

fn dropping(max: u64) -> Options {
    Options { max_messages: Some(max), overflow: Overflow::DropOldest, ..at_once() }
}

#[test]
fn the_oldest_of_the_lowest_priority_dies_for_what_is_sent() {
    let mut bench = Bench::new(dropping(3));
    bench.send(&[Message { priority: 0, ..order("low 1") }, Message { priority: 9, ..order("high") }]);
    bench.send(&[Message { priority: 0, ..order("low 2") }, order("new 1")]);
    assert_eq!(bench.dead(), [("low 1", Reason::Overflow, 0)]);
    bench.send(&[order("new 2"), order("new 3")]);
    assert_eq!(bench.dead().iter().map(|letter| letter.0).collect::<Vec<_>>(), ["new 1", "low 1", "low 2"]);
    bench.restart();
    assert_eq!(bench.take(HOST, 10), ["high", "new 2", "new 3"]);
}

#[test]
fn messages_in_flight_neither_count_nor_make_room() {
    let mut bench = Bench::new(dropping(1));
    bench.send_plain(&["in flight"]);
    bench.take(HOST, 1);
    bench.send_plain(&["waits"]);
    assert_eq!(bench.counts().dead, 0);
    bench.send_plain(&["newer"]);
    assert_eq!(bench.dead(), [("waits", Reason::Overflow, 0)]);
    bench.settle(FAIL, &["in flight"]);
    assert_eq!(bench.counts().ready, 2, "what comes back enters always");
}

#[test]
fn delayed_messages_those_in_backoff_and_those_of_groups_make_room_too() {
    let mut bench = Bench::new(Options { max_attempts: 100, ..later(Growth::Fixed) });
    bench.send_plain(&["in backoff"]);
    assert_eq!(bench.fail_next(), "in backoff");
    bench.send(&[Message { due: Some(Due::In(SECOND)), ..order("delayed") }, of_group("ann", "grouped")]);
    let options = Options { overflow: Overflow::DropOldest, max_messages: Some(3), ..later(Growth::Fixed) };
    bench.world.accept(&Command::Ensure { name: "parcels", options: &options });
    bench.send_plain(&["1", "2", "3"]);
    let dead: Vec<_> = bench.dead().iter().map(|letter| letter.0).collect();
    assert_eq!(dead, ["in backoff", "delayed", "grouped"]);
    bench.world.pass(10 * SECOND);
    assert_eq!(bench.take(HOST, 10), ["1", "2", "3"]);
}

#[test]
fn more_at_once_than_a_queue_may_hold_is_refused() {
    let mut bench = Bench::new(dropping(2));
    bench.send_plain(&["waits"]);
    let messages = [order("1"), order("2"), order("3")];
    let outcome = bench.world.submit(&Command::Send { queue: bench.queue, messages: &messages });
    let is_full = |refusal: &Refusal| *refusal == Refusal::Full { queue: "parcels".to_owned(), max: 2 };
    assert!(matches!(&outcome, Outcome::Refuse { refusal, .. } if is_full(refusal)), "{outcome:?}");
    assert_eq!((bench.ready(), bench.counts().dead), (1, 0));
}

#[test]
fn after_the_limit_was_lowered_the_surplus_goes_with_the_next_message() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["1", "2", "3", "4"]);
    let options = Options { dead_letters: DeadLetters::Discarded, ..dropping(2) };
    bench.world.accept(&Command::Ensure { name: "parcels", options: &options });
    assert_eq!(bench.ready(), 4, "nothing goes by itself");
    bench.send_plain(&["5"]);
    assert_eq!((bench.take(HOST, 10), bench.counts().dead), (vec!["4", "5"], 0));
}

#[test]
fn a_message_that_is_refused_drops_none() {
    let mut bench = Bench::new(dropping(1));
    bench.send_plain(&["waits"]);
    let bad = Message { max_attempts: Some(0), ..order("never tried") };
    assert!(matches!(bench.try_send(&bad), Err(Refusal::InvalidOption { .. })));
    assert_eq!((bench.ready(), bench.counts().dead), (1, 0));
}
