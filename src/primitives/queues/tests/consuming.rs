//! The rules about consumers, one by one.

use super::super::command::{Command, Holder, Outcome, Refusal, Settlement};
use super::super::consumers::{ConsumerNumber, Joining, Taker, turn_row};
use super::super::looking::Standing;
use super::super::message::Message;
use super::super::options::Options;
use super::super::reply::Reply;
use super::super::rows::news_row;
use super::super::sequence;
use super::bench::{Bench, DRIVER, FAIL, PACKER, RELEASE, at_once, of_group, order};
use crate::base::bounds::CONSUMERS_MAX;
use crate::base::lsn::Lsn;
use crate::engine::machine::Ticket;

const HOST: u64 = 0;

/// A consumer of a process.
#[derive(Clone, Copy)]
struct Who {
    holder: u64,
    number: ConsumerNumber,
}

fn single() -> Options {
    Options { single_active_consumer: true, ..at_once() }
}

fn try_join(bench: &mut Bench, holder: u64, priority: u8, prefetch: u32, name: &str) -> Result<Who, Refusal> {
    let joining = Joining { queue: bench.queue, holder: Holder(holder), priority, prefetch, name };
    match bench.world.submit(&Command::Join(joining)) {
        Outcome::Accept(Reply::Joined { consumer: number }) => Ok(Who { holder, number }),
        Outcome::Refuse { refusal, .. } => Err(refusal),
        other => panic!("{other:?}"),
    }
}

fn join(bench: &mut Bench, holder: u64, priority: u8, prefetch: u32) -> Who {
    try_join(bench, holder, priority, prefetch, "").expect("there is room for one more")
}

fn leave(bench: &mut Bench, who: Who) {
    let (queue, holder) = (bench.queue, Holder(who.holder));
    bench.world.accept(&Command::Leave { queue, holder, consumer: who.number });
}

fn take(bench: &mut Bench, who: Who, max: u32) -> Result<Vec<&'static str>, Reply> {
    bench.told_to(who.holder, Taker::joined(who.number), max)
}

fn takes(bench: &mut Bench, who: Who, bodies: &[&'static str]) {
    assert_eq!(take(bench, who, 10).expect("it is handed some"), bodies);
}

fn waits(bench: &mut Bench, who: Who) {
    assert_eq!(take(bench, who, 10), Err(Reply::NoRoom));
}

fn standing(bench: &Bench, offset: u64) -> Standing {
    let queue = bench.world.state.get(bench.queue).expect("it is there");
    let seen = bench.world.state.look(queue, sequence(4, offset), bench.world.now, &|_| u64::MAX);
    seen.expect("it is there").standing
}

/// Whether somebody who waits for its turn is woken meanwhile.
fn woken(bench: &mut Bench, who: Who, meanwhile: impl FnOnce(&mut Bench)) -> bool {
    bench.world.turns.clear();
    meanwhile(bench);
    bench.world.turns.contains(&turn_row(who.number))
}

#[test]
fn a_consumer_has_no_more_in_flight_than_its_prefetch_and_others_go_on() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["one", "two", "three", "four"]);
    let (two, other) = (join(&mut bench, PACKER, 0, 2), join(&mut bench, PACKER, 0, 1));
    takes(&mut bench, two, &["one", "two"]);
    waits(&mut bench, two);
    takes(&mut bench, other, &["three"]);
    assert!(woken(&mut bench, two, |bench| bench.settle(Settlement::Ack, &["two"])));
    takes(&mut bench, two, &["four"]);
    assert_eq!(bench.take(DRIVER, 1), [""; 0], "there is none left for who has not joined");
}

#[test]
fn whatever_ends_a_hand_out_gives_its_consumer_room() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["one", "two", "three", "four"]);
    let who = join(&mut bench, PACKER, 0, 1);
    for how in [RELEASE, FAIL, Settlement::Reject { error: "no such customer" }, Settlement::Ack] {
        let handed = take(&mut bench, who, 1).expect("it has room");
        assert!(woken(&mut bench, who, |bench| bench.settle(how, &handed)), "{how:?}");
    }
    take(&mut bench, who, 1).expect("it has room");
    let timeout = bench.world.state.get(bench.queue).expect("it is there").options.visibility_micros;
    assert!(woken(&mut bench, who, |bench| bench.world.pass(timeout)), "it is taken back");
    take(&mut bench, who, 1).expect("it has room");
}

#[test]
fn of_a_single_active_consumer_the_others_wait_until_it_has_left_and_settled() {
    let mut bench = Bench::new(single());
    bench.send_plain(&["one", "two", "three"]);
    let (first, second, third) =
        (join(&mut bench, PACKER, 0, 2), join(&mut bench, DRIVER, 0, 2), join(&mut bench, PACKER, 0, 2));
    waits(&mut bench, second);
    takes(&mut bench, first, &["one", "two"]);
    leave(&mut bench, first);
    waits(&mut bench, second);
    assert!(!woken(&mut bench, third, |bench| bench.settle(Settlement::Ack, &["two"])));
    waits(&mut bench, second);
    assert!(woken(&mut bench, second, |bench| bench.settle(RELEASE, &["one"])));
    waits(&mut bench, third);
    takes(&mut bench, second, &["one", "three"]);
}

#[test]
fn a_consumer_that_leaves_with_nothing_in_hand_hands_over_at_once() {
    let mut bench = Bench::new(single());
    bench.send_plain(&["one"]);
    let (first, second) = (join(&mut bench, HOST, 0, 1), join(&mut bench, HOST, 0, 1));
    waits(&mut bench, second);
    assert!(woken(&mut bench, second, |bench| leave(bench, first)));
    takes(&mut bench, second, &["one"]);
}

#[test]
fn a_process_that_dies_hands_over_and_what_it_had_comes_first() {
    let mut bench = Bench::new(single());
    bench.send_plain(&["one", "two"]);
    let (active, next) = (join(&mut bench, PACKER, 0, 1), join(&mut bench, DRIVER, 0, 1));
    takes(&mut bench, active, &["one"]);
    assert!(woken(&mut bench, next, |bench| drop(bench.world.accept(&Command::End { holder: Holder(PACKER) }))));
    takes(&mut bench, next, &["one"]);
    assert_eq!(take(&mut bench, active, 1), Err(Reply::Unjoined), "it has ended with its process");
}

#[test]
fn a_higher_consumer_becomes_active_once_the_lower_one_has_settled() {
    let mut bench = Bench::new(single());
    bench.send_plain(&["one", "two", "three"]);
    let low = join(&mut bench, PACKER, 0, 2);
    takes(&mut bench, low, &["one", "two"]);
    let high = join(&mut bench, DRIVER, 5, 1);
    bench.settle(Settlement::Ack, &["two"]);
    waits(&mut bench, low);
    waits(&mut bench, high);
    assert!(woken(&mut bench, high, |bench| bench.settle(FAIL, &["one"])));
    waits(&mut bench, low);
    takes(&mut bench, high, &["one"]);
}

#[test]
fn order_is_strict_over_every_hand_over() {
    let mut bench = Bench::new(single());
    let bodies: Vec<String> = (0..40).map(|number| format!("entry {number}")).collect();
    let bodies: Vec<&'static str> = bodies.into_iter().map(|body| &*body.leak()).collect();
    bench.send_plain(&bodies);
    let (mut done, mut line) = (Vec::new(), Vec::new());
    (0..8).for_each(|turn| line.push(join(&mut bench, [HOST, PACKER, DRIVER][turn % 3], 0, 3)));
    for who in line {
        let handed = take(&mut bench, who, 3).expect("it is its turn");
        // It is through with the first two, and leaves the third.
        bench.settle(Settlement::Ack, &handed[..2]);
        done.extend_from_slice(&handed[..2]);
        leave(&mut bench, who);
        bench.settle(RELEASE, &handed[2..]);
    }
    assert_eq!(done, bodies[..16]);
}

#[test]
fn who_has_not_joined_is_handed_nothing_where_one_consumer_is_active() {
    let mut bench = Bench::new(single());
    bench.send_plain(&["one"]);
    for taker in [Taker::NOBODY, Taker::unjoined(1), Taker::joined(ConsumerNumber(9))] {
        assert_eq!(bench.told_to(PACKER, taker, 1), Err(Reply::Unjoined));
    }
    let who = join(&mut bench, PACKER, 0, 1);
    assert_eq!(bench.told_to(DRIVER, Taker::joined(who.number), 1), Err(Reply::Unjoined), "it is another's");
    takes(&mut bench, who, &["one"]);
}

#[test]
fn a_queue_that_has_all_consumers_active_again_wakes_who_waited_for_its_turn() {
    let mut bench = Bench::new(single());
    bench.send_plain(&["one", "two"]);
    let (first, second) = (join(&mut bench, PACKER, 0, 1), join(&mut bench, DRIVER, 0, 1));
    takes(&mut bench, first, &["one"]);
    waits(&mut bench, second);
    let all = Command::Ensure { name: "parcels", options: &at_once() };
    assert!(woken(&mut bench, second, |bench| drop(bench.world.accept(&all))));
    takes(&mut bench, second, &["two"]);
}

#[test]
fn consumers_of_a_session_go_on_with_the_host_that_it_becomes_and_over_a_checkpoint() {
    let mut bench = Bench::new(single());
    bench.send_plain(&["one", "two"]);
    let who = join(&mut bench, PACKER, 3, 2);
    assert_eq!(take(&mut bench, who, 1), Ok(vec!["one"]));
    bench.world.reload();
    bench.world.accept(&Command::Adopt { from: Holder(PACKER) });
    bench.world.reload();
    takes(&mut bench, Who { holder: HOST, ..who }, &["two"]);
    bench.world.begin_life();
    assert_eq!(take(&mut bench, Who { holder: HOST, ..who }, 1), Err(Reply::Unjoined), "the next host's is another");
    assert_eq!(join(&mut bench, HOST, 0, 1).number, ConsumerNumber(who.number.0 + 1), "no number is given twice");
}

#[test]
fn acknowledging_through_takes_what_one_consumer_was_handed_before_and_nothing_behind() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["one", "two", "three", "four", "five"]);
    let (mine, other) = (join(&mut bench, PACKER, 0, 9), join(&mut bench, PACKER, 0, 9));
    assert_eq!(take(&mut bench, mine, 2), Ok(vec!["one", "two"]));
    assert_eq!(take(&mut bench, other, 1), Ok(vec!["three"]));
    assert_eq!(take(&mut bench, mine, 2), Ok(vec!["four", "five"]));
    bench.settle(RELEASE, &["one"]);
    assert_eq!(take(&mut bench, mine, 1), Ok(vec!["one"]));
    let through = |bench: &mut Bench, body: &str| {
        let (queue, delivery) = (bench.queue, bench.delivery(body));
        bench.world.submit(&Command::AckThrough { queue, delivery })
    };
    assert_eq!(through(&mut bench, "four"), Outcome::Accept(Reply::AckedThrough { messages: 2 }));
    assert!(matches!(through(&mut bench, "two"), Outcome::Refuse { refusal: Refusal::Stale, .. }));
    assert_eq!(bench.counts().in_flight, 3, "what came after, and what another has");
    assert_eq!(through(&mut bench, "one"), Outcome::Accept(Reply::AckedThrough { messages: 2 }), "five came before it");
    bench.settle(Settlement::Ack, &["three"]);
}

#[test]
fn acknowledging_through_knows_those_who_have_not_joined_apart_and_needs_to_know() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["one", "two", "three"]);
    let (one, other) = (Taker::unjoined(1), Taker::unjoined(2));
    assert_eq!(bench.told_to(PACKER, one, 1), Ok(vec!["one"]));
    assert_eq!(bench.told_to(DRIVER, one, 1), Ok(vec!["two"]), "numbers are those of a process");
    assert_eq!(bench.told_to(PACKER, other, 1), Ok(vec!["three"]));
    let (queue, delivery) = (bench.queue, bench.delivery("three"));
    let through = bench.world.submit(&Command::AckThrough { queue, delivery });
    assert_eq!(through, Outcome::Accept(Reply::AckedThrough { messages: 1 }));
    bench.send_plain(&["four"]);
    bench.take(PACKER, 1);
    let delivery = bench.delivery("four");
    let refused = bench.world.submit(&Command::AckThrough { queue, delivery });
    assert!(matches!(refused, Outcome::Refuse { refusal: Refusal::InvalidOption { .. }, .. }));
}

#[test]
fn it_is_told_that_consumers_are_full_and_who_keeps_the_next_from_being_active() {
    let mut bench = Bench::new(single());
    bench.send_plain(&["one", "two", "three"]);
    let active = try_join(&mut bench, PACKER, 0, 2, "packer-1").expect("there is room");
    assert_eq!(standing(&bench, 1), Standing::Behind { messages: 1 });
    takes(&mut bench, active, &["one", "two"]);
    assert_eq!(standing(&bench, 2), Standing::ConsumersFull);
    let high = join(&mut bench, DRIVER, 1, 1);
    assert_eq!(standing(&bench, 2), Standing::NotActive { consumer: "packer-1".into() });
    leave(&mut bench, active);
    assert_eq!(standing(&bench, 2), Standing::NotActive { consumer: "one that has left".into() });
    bench.settle(Settlement::Ack, &["one", "two"]);
    assert_eq!(standing(&bench, 2), Standing::Behind { messages: 0 });
    takes(&mut bench, high, &["three"]);
}

#[test]
fn consumers_have_bounds_and_names() {
    let mut bench = Bench::new(at_once());
    assert!(matches!(try_join(&mut bench, HOST, 0, 1, "$packer"), Err(Refusal::InvalidName(_))));
    assert!(matches!(try_join(&mut bench, HOST, 0, 0, ""), Err(Refusal::InvalidOption { option: "prefetch", .. })));
    let refused = try_join(&mut bench, HOST, 0, 1025, "").err();
    assert_eq!(refused, Some(Refusal::LimitExceeded { limit: "prefetch", max: 1024, actual: 1025 }));
    (0..CONSUMERS_MAX).for_each(|_| assert_eq!(join(&mut bench, PACKER, 0, 1).holder, PACKER));
    let (limit, max) = ("consumers of all queues", CONSUMERS_MAX as u64);
    let refused = try_join(&mut bench, DRIVER, 0, 1, "").err();
    assert_eq!(refused, Some(Refusal::LimitExceeded { limit, max, actual: max + 1 }));
    bench.world.accept(&Command::End { holder: Holder(PACKER) });
    join(&mut bench, DRIVER, 0, 1);
    bench.world.assert_rows_are_kept();
}

#[test]
fn consumers_go_with_their_queue() {
    let mut bench = Bench::new(single());
    bench.send(&[Message { priority: 9, ..order("one") }]);
    let (first, second) = (join(&mut bench, PACKER, 0, 1), join(&mut bench, DRIVER, 0, 1));
    waits(&mut bench, second);
    let queue = bench.queue;
    assert!(woken(&mut bench, second, |bench| drop(bench.world.accept(&Command::Delete { queue }))));
    assert!(bench.world.state.has_turn(queue, second.number), "it is to learn that the queue is no more");
    let (holder, consumer) = (Holder(first.holder), first.number);
    assert!(matches!(bench.world.submit(&Command::Leave { queue, holder, consumer }), Outcome::Unchanged { .. }));
    bench.world.reload();
}

/// Has a consumer of this priority stand in line, and woken if something was sent since.
fn stands(bench: &mut Bench, who: Who, max: usize) -> Ticket {
    let stand = bench.world.state.stand_of(Taker::joined(who.number), max, false);
    let key = news_row(bench.queue);
    bench.world.watched.enter_line(key, stand, None).expect("it lets nobody go first").0
}

#[test]
fn who_was_woken_with_a_higher_priority_goes_first_as_far_as_it_has_room() {
    let mut bench = Bench::new(at_once());
    let (high, low) = (join(&mut bench, PACKER, 5, 2), join(&mut bench, DRIVER, 0, 9));
    let (ticket, key) = (stands(&mut bench, high, 2), news_row(bench.queue));
    bench.send_plain(&["one", "two"]);
    assert!(bench.world.watched.touch(key, Lsn(1 << 40), false).is_some());
    assert_eq!(take(&mut bench, low, 9), Err(Reply::Yields));
    assert_eq!(bench.told_to(DRIVER, Taker::unjoined(1), 9), Err(Reply::Yields), "who has not joined has priority 0");
    let equal = join(&mut bench, DRIVER, 5, 9);
    assert_eq!(take(&mut bench, equal, 1), Ok(vec!["one"]), "one of the same priority does not wait");
    bench.send_plain(&["three", "four"]);
    takes(&mut bench, low, &["two"]);
    bench.world.watched.leave_line(key, ticket, || false);
    takes(&mut bench, low, &["three", "four"]);
}

#[test]
fn who_sleeps_holds_nobody_up_whatever_its_priority() {
    let mut bench = Bench::new(at_once());
    let (high, low) = (join(&mut bench, PACKER, 5, 2), join(&mut bench, DRIVER, 0, 9));
    bench.send_plain(&["one"]);
    stands(&mut bench, high, 2);
    takes(&mut bench, low, &["one"]);
}

#[test]
fn a_queue_offers_what_somebody_could_be_handed() {
    let mut bench = Bench::new(at_once());
    let offers = |bench: &Bench, durable: u64| {
        let shown = |log| bench.world.logs.get(log).map_or(0, |cell| cell.shown(Lsn(durable)));
        bench.world.state.offers(news_row(bench.queue), bench.world.now, &shown)
    };
    (bench.world.is_sync, bench.world.durable) = (true, Lsn(u64::MAX));
    assert!(!offers(&bench, u64::MAX));
    bench.send(&[of_group("customer-ann", "ann 1"), of_group("customer-ann", "ann 2")]);
    assert!(offers(&bench, u64::MAX) && !offers(&bench, 0), "what may not be shown yet is not offered");
    bench.take(HOST, 1);
    assert!(!offers(&bench, u64::MAX), "the next of the group is not");
    let queue = bench.queue;
    bench.settle(Settlement::Ack, &["ann 1"]);
    bench.world.accept(&Command::Pause { queue, is_paused: true });
    assert!(!offers(&bench, u64::MAX));
    bench.world.accept(&Command::Delete { queue });
    assert!(offers(&bench, u64::MAX), "that it is deleted is for everybody");
}
