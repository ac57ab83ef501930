//! Rules of dead letters that go elsewhere.

use super::super::command::{Command, Holder, Outcome, Place, QueueNumber, Reason, Refusal, Settlement};
use super::super::dedup::Horizon;
use super::super::exchanges::ExchangeOptions;
use super::super::history::History;
use super::super::message::{Message, Origin};
use super::super::options::{DeadLetters, Options, Target};
use super::super::reply::Reply;
use super::super::routing::{Binding, Condition, Destination, ExchangeNumber, Kind};
use super::SECOND;
use super::bench::{Bench, FAIL, at_once, order};

const HOST: u64 = 0;
const REJECT: Settlement<'static> = Settlement::Reject { error: "no such address" };

fn to(queue: QueueNumber) -> DeadLetters {
    DeadLetters::Moved(Target { destination: Destination::Queue(queue), routing_key: None })
}

/// A queue whose dead go to another.
fn with_target(options: Options) -> (Bench, QueueNumber) {
    let mut bench = Bench::new(options.clone());
    let failed = bench.open("failed", at_once());
    alter(&mut bench, "parcels", Options { dead_letters: to(failed), ..options });
    (bench, failed)
}

fn alter(bench: &mut Bench, name: &str, options: Options) {
    bench.world.accept(&Command::Ensure { name, options: &options });
}

fn exchange(bench: &mut Bench) -> ExchangeNumber {
    let options =
        &ExchangeOptions { kind: Kind::Direct, alternate: None, allows_unroutable: false, dedup: Horizon::None };
    match bench.world.accept(&Command::DeclareExchange { name: "morgue", options }) {
        Reply::Exchange(exchange) => exchange,
        other => panic!("{other:?}"),
    }
}

fn history(bench: &Bench, queue: QueueNumber) -> History {
    bench.world.histories(queue).pop().expect("a message that died").1
}

fn deaths(history: &History) -> Vec<(&str, Reason, u64)> {
    history.deaths.iter().map(|deaths| (&*deaths.queue, deaths.reason, deaths.count)).collect()
}

fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refuse { refusal, .. } => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dead_letter_goes_to_its_queues_target_and_tells_what_became_of_it() {
    let (mut bench, failed) = with_target(Options { max_attempts: 2, ..at_once() });
    let origin = Some(Origin { exchange: "orders", routing_key: "order.eu" });
    bench.send(&[Message { origin, priority: 9, ..order("to nobody") }, order("waits")]);
    let sent = bench.wall();
    bench.world.pass(SECOND);
    assert_eq!(bench.fail_next(), "to nobody");
    assert_eq!(bench.fail_next(), "to nobody");
    assert_eq!((bench.counts().dead, bench.world.counts(failed).ready), (1, 0), "it is in one place");
    bench.world.run_timers();
    assert_eq!((bench.counts().dead, bench.counts().ready), (0, 1));
    assert_eq!(bench.world.bodies(failed), ["to nobody"]);
    bench.restart();
    let told = history(&bench, failed);
    assert_eq!(deaths(&told), [("parcels", Reason::AttemptsExhausted, 1)]);
    assert_eq!((told.published, told.first_death.attempts), (sent, 2));
    assert_eq!(told.first_death.origin, Some(("orders".to_owned(), "order.eu".to_owned())));
    assert_eq!(told.errors.iter().map(|(_, text)| &**text).collect::<Vec<_>>(), ["no answer", "no answer"]);
}

#[test]
fn a_letter_leaves_without_the_ttl_that_it_died_of_and_remembers_it() {
    let (mut bench, failed) = with_target(at_once());
    let deadline = Some(crate::base::time::Timestamp(bench.wall().0 + 5 * SECOND));
    bench.send(&[Message { ttl_micros: Some(SECOND), deadline, ..order("a mug") }]);
    bench.world.pass(SECOND);
    assert_eq!(deaths(&history(&bench, failed)), [("parcels", Reason::Expired, 1)]);
    assert_eq!(history(&bench, failed).ttl_micros, Some(SECOND));
    bench.world.pass(100 * SECOND);
    assert_eq!(bench.world.bodies(failed), ["a mug"], "nothing lets it expire any more");
}

#[test]
fn a_letter_that_comes_round_untried_is_dead_where_the_cycle_closes() {
    let (mut bench, failed) = with_target(Options { ttl_micros: Some(SECOND), ..at_once() });
    let parcels = bench.queue;
    alter(&mut bench, "failed", Options { ttl_micros: Some(SECOND), dead_letters: to(parcels), ..at_once() });
    bench.send_plain(&["a mug"]);
    bench.world.pass(SECOND);
    assert_eq!(bench.world.bodies(failed), ["a mug"]);
    bench.world.pass(SECOND);
    assert_eq!((bench.world.counts(failed).dead, bench.counts().ready, bench.counts().dead), (0, 0, 1));
    assert_eq!(bench.dead_reasons(), [Reason::Cycle]);
    bench.world.pass(10 * SECOND);
    bench.restart();
    assert_eq!(bench.dead_reasons(), [Reason::Cycle], "it stays");
}

#[test]
fn a_letter_that_somebody_tries_each_time_goes_round() {
    let (mut bench, failed) = with_target(at_once());
    let parcels = bench.queue;
    alter(&mut bench, "failed", Options { ttl_micros: Some(SECOND), dead_letters: to(parcels), ..at_once() });
    bench.send_plain(&["a mug"]);
    for round in 1..=5 {
        let [place] = bench.places_waiting(parcels)[..] else { panic!("it is in no other queue") };
        let runs = bench.receive_any(parcels);
        bench.world.accept(&Command::Settle { queue: parcels, how: REJECT, deliveries: &runs });
        assert_eq!(bench.world.counts(parcels).dead, 1, "{place:?}");
        bench.world.run_timers();
        let told = history(&bench, failed);
        assert_eq!(told.deaths[0].count, round);
        assert_eq!(told.first_death.count, 1);
        bench.world.pass(SECOND);
    }
    assert_eq!(deaths(&history(&bench, parcels)), [("failed", Reason::Expired, 5), ("parcels", Reason::Rejected, 5)]);
}

#[test]
fn letters_are_published_to_an_exchange_and_those_that_it_leads_nowhere_stay() {
    let mut bench = Bench::new(at_once());
    let (exchange, eu) = (exchange(&mut bench), bench.open("eu", at_once()));
    let condition = Condition::Key("order.eu".into());
    let binding = &Binding { exchange, destination: Destination::Queue(eu), condition };
    bench.world.accept(&Command::Bind { binding });
    let target = Target { destination: Destination::Exchange(exchange), routing_key: None };
    alter(&mut bench, "parcels", Options { dead_letters: DeadLetters::Moved(target), ..at_once() });
    let from = |routing_key| Some(Origin { exchange: "orders", routing_key });
    let messages = [("a mug", from("order.eu")), ("a plate", from("order.us")), ("a cup", None)];
    bench.send(&messages.map(|(body, origin)| Message { origin, ..order(body) }));
    assert_eq!(bench.take(HOST, 3).len(), 3);
    bench.settle(REJECT, &["a mug", "a plate", "a cup"]);
    bench.world.run_timers();
    assert_eq!(bench.world.bodies(eu), ["a mug"]);
    let left: Vec<_> = bench.dead().iter().map(|letter| letter.0).collect();
    assert_eq!(left, ["a plate", "a cup"], "nothing is dropped because it is led nowhere");
    bench.restart();
    bench.world.run_timers();
    assert_eq!(bench.counts().dead, 2);
}

#[test]
fn letters_that_wait_to_leave_stay_once_the_queue_keeps_its_dead() {
    let (mut bench, failed) = with_target(at_once());
    bench.send_plain(&["a mug"]);
    bench.take(HOST, 1);
    bench.settle(REJECT, &["a mug"]);
    alter(&mut bench, "parcels", at_once());
    bench.world.run_timers();
    assert_eq!((bench.counts().dead, bench.world.counts(failed).ready), (1, 0));
}

#[test]
fn a_letter_that_cannot_be_read_stays_and_the_others_leave() {
    let (mut bench, failed) = with_target(at_once());
    bench.send_plain(&["a mug", "a plate"]);
    let log = bench.world.state.queues[&bench.queue].lanes[0].log;
    bench.world.items.damaged.push((log, 0));
    bench.take(HOST, 2);
    bench.settle(REJECT, &["a mug", "a plate"]);
    bench.world.run_timers();
    assert_eq!(bench.world.bodies(failed), ["a plate"]);
    assert_eq!(bench.dead().iter().map(|letter| letter.0).collect::<Vec<_>>(), ["a mug"]);
}

#[test]
fn letters_of_more_than_one_step_leave_in_the_order_of_priority_and_sequence() {
    let (mut bench, failed) = with_target(Options { ttl_micros: Some(SECOND), ..at_once() });
    let bodies: Vec<&'static str> = (0..200).map(|number| &*format!("order {number:03}").leak()).collect();
    bench.send_plain(&bodies);
    bench.send(&[Message { priority: 9, ..order("urgent") }]);
    bench.world.pass(SECOND);
    let arrived = bench.world.bodies(failed);
    assert_eq!(arrived[0], "urgent");
    assert_eq!(arrived[1..], bodies);
    assert_eq!(bench.counts().dead, 0);
}

#[test]
fn nothing_is_deleted_that_dead_letters_go_to() {
    let (mut bench, failed) = with_target(at_once());
    let is_target = Refusal::IsTarget { queue: "parcels".to_owned() };
    assert_eq!(refused(bench.world.submit(&Command::Delete { queue: failed })), is_target);
    let exchange = exchange(&mut bench);
    let target = Target { destination: Destination::Exchange(exchange), routing_key: None };
    alter(&mut bench, "parcels", Options { dead_letters: DeadLetters::Moved(target), ..at_once() });
    assert_eq!(refused(bench.world.submit(&Command::DeleteExchange { exchange })), is_target);
    bench.world.accept(&Command::Delete { queue: failed });
    alter(&mut bench, "parcels", at_once());
    bench.world.accept(&Command::DeleteExchange { exchange });
}

#[test]
fn a_target_is_there_and_is_another_queue() {
    let mut bench = Bench::new(at_once());
    let own = &Options { dead_letters: to(bench.queue), ..at_once() };
    let ensured = bench.world.submit(&Command::Ensure { name: "parcels", options: own });
    assert_eq!(refused(ensured), Refusal::OwnTarget);
    let missing = &Options { dead_letters: to(QueueNumber(99)), ..at_once() };
    for name in ["parcels", "new"] {
        let ensured = bench.world.submit(&Command::Ensure { name, options: missing });
        assert_eq!(refused(ensured), Refusal::NoDestination);
    }
    assert_eq!(bench.world.state.find("new"), None);
}

#[test]
fn a_letter_is_sent_again_from_where_it_was_moved_to() {
    let (mut bench, failed) = with_target(at_once());
    bench.send_plain(&["a mug"]);
    bench.take(HOST, 1);
    bench.settle(REJECT, &["a mug"]);
    bench.world.run_timers();
    let letters: Vec<Place> = bench.places_waiting(failed);
    let again = history(&bench, failed).redriven().encode();
    let messages = [Message { history: Some(&again), ..order("a mug, mended") }];
    let to = Destination::Queue(bench.queue);
    let redrive = Command::Redrive { queue: failed, letters: &letters, messages: &messages, to };
    bench.world.accept(&redrive);
    assert_eq!((bench.world.counts(failed).ready, bench.counts().ready), (0, 1));
    assert_eq!(deaths(&history(&bench, bench.queue)), [("parcels", Reason::Rejected, 1)], "it keeps its history");
    assert_eq!(refused(bench.world.submit(&redrive)), Refusal::Stale, "once");
}

#[test]
fn a_redrive_keeps_to_the_limit_and_a_move_does_not() {
    let (mut bench, failed) = with_target(at_once());
    alter(&mut bench, "failed", Options { max_messages: Some(1), ..at_once() });
    bench.send_plain(&["a mug", "a plate"]);
    bench.take(HOST, 2);
    bench.settle(REJECT, &["a mug", "a plate"]);
    bench.world.run_timers();
    assert_eq!(bench.world.counts(failed).ready, 2, "what dies enters whatever the target holds");
    alter(&mut bench, "parcels", Options { max_messages: Some(1), ..at_once() });
    let letters = bench.places_waiting(failed);
    let to = Destination::Queue(bench.queue);
    let messages = [order("a mug"), order("a plate")];
    let redrive = Command::Redrive { queue: failed, letters: &letters, messages: &messages, to };
    assert_eq!(refused(bench.world.submit(&redrive)), Refusal::Full { queue: "parcels".to_owned(), max: 1 });
    assert_eq!(bench.world.counts(failed).ready, 2, "nothing was done");
}

#[test]
fn a_message_in_flight_is_not_sent_again() {
    let mut bench = Bench::new(at_once());
    bench.send_plain(&["a mug"]);
    let letters = bench.places_waiting(bench.queue);
    bench.take(HOST, 1);
    let (queue, to) = (bench.queue, Destination::Queue(bench.queue));
    let redrive = Command::Redrive { queue, letters: &letters, messages: &[order("a mug")], to };
    assert_eq!(refused(bench.world.submit(&redrive)), Refusal::Stale);
    bench.settle(FAIL, &["a mug"]);
    bench.world.submit(&Command::End { holder: Holder(HOST) });
    assert_eq!(bench.ready(), 1);
}
