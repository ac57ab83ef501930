//! The rules of ids, one by one.

use super::super::command::{Command, Erasing, Outcome, Refusal, Settlement};
use super::super::decide::decide;
use super::super::dedup::{Horizon, Told};
use super::super::exchanges::{ExchangeOptions, Limits};
use super::super::message::{Message, Origin};
use super::super::options::Options;
use super::super::overlay::Overlay;
use super::super::reply::Reply;
use super::super::routing::{Binding, Condition, Destination, ExchangeNumber, Kind};
use super::SECOND;
use super::bench::{Bench, at_once, order};
use crate::base::bounds::{DEDUP_IDS_MAX, RECORDS_PER_BATCH_MAX};
use crate::base::lsn::Lsn;
use crate::engine::machine::{Context, Known};

const MINUTE: u64 = 60 * SECOND;

fn within_a_minute() -> Bench {
    Bench::new(Options { dedup: Horizon::For { micros: MINUTE }, ..at_once() })
}

fn until_settled() -> Bench {
    Bench::new(Options { dedup: Horizon::UntilSettled, ..at_once() })
}

fn with_id(id: &'static str, body: &'static str) -> Message<'static> {
    Message { id: Some(id), ..order(body) }
}

fn submit(bench: &mut Bench, messages: &[Message<'_>]) -> Outcome {
    bench.world.submit(&Command::Send { queue: bench.queue, messages })
}

fn remembered(bench: &Bench) -> usize {
    bench.world.state.shared.ids
}

#[test]
fn what_is_sent_again_within_the_time_is_not_stored_and_gets_the_receipt_of_the_original() {
    let mut bench = within_a_minute();
    bench.send_plain(&["says no id"]);
    let frame = bench.world.next_frame;
    let original = bench.send_with_id("payment-17", order("40.00")).expect("it is new");
    bench.world.pass(MINUTE - 1);
    let again = submit(&mut bench, &[with_id("payment-17", "40.00, again")]);
    let told = vec![Told { message: 0, count: 1, value: original, lsn: frame }];
    let reply = Reply::SentSome { first: None, told };
    assert!(matches!(&again, Outcome::Unchanged { reply: told, rests_on: Some(_) } if *told == reply), "{again:?}");
    assert_eq!(bench.take(0, 10), ["says no id", "40.00"]);
    bench.settle(Settlement::Ack, &["40.00"]);
    assert_eq!(bench.send_with_id("payment-17", order("40.00")), Err(original), "that it is gone changes nothing");
    assert!(bench.send_with_id("payment-18", order("8.50")).is_ok());
    bench.world.pass(1);
    assert!(bench.send_with_id("payment-17", order("next month")).is_ok(), "the time counts since the original");
}

#[test]
fn of_the_last_ids_the_oldest_is_forgotten_for_a_new_one_and_a_duplicate_is_no_new_one() {
    let mut bench = Bench::new(Options { dedup: Horizon::Last { count: 2 }, ..at_once() });
    let first = bench.send_with_id("a", order("a")).expect("it is new");
    let second = bench.send_with_id("b", order("b")).expect("it is new");
    assert_eq!(bench.send_with_id("a", order("a")), Err(first));
    assert_eq!(bench.send_with_id("b", order("b")), Err(second));
    bench.world.pass(1000 * MINUTE);
    assert!(bench.send_with_id("c", order("c")).is_ok());
    assert_eq!(bench.send_with_id("b", order("b")), Err(second));
    assert!(bench.send_with_id("a", order("a again")).is_ok(), "it was sent again, and is no newer for that");
    assert!(bench.send_with_id("b", order("b again")).is_ok());
    assert_eq!(remembered(&bench), 2);
}

#[test]
fn each_message_of_a_batch_is_judged_by_itself_and_in_order() {
    let mut bench = Bench::new(Options { dedup: Horizon::Last { count: 2 }, ..at_once() });
    let old = bench.send_with_id("old", order("old")).expect("it is new");
    let frame = Lsn(bench.world.next_frame.0 - 64);
    let batch = [
        with_id("old", "known"),
        with_id("new", "new"),
        order("says no id"),
        with_id("new", "as the second"),
        with_id("newer", "pushes out the old one"),
        with_id("old", "new again"),
    ];
    let outcome = submit(&mut bench, &batch);
    let told = vec![
        Told { message: 0, count: 1, value: old, lsn: frame },
        Told { message: 3, count: 1, value: old + 1, lsn: Lsn(0) },
    ];
    assert_eq!(outcome, Outcome::Accept(Reply::SentSome { first: Some(old + 1), told }));
    assert_eq!(bench.counts().ready, 5);
    let all = submit(&mut bench, &[with_id("newer", "a"), with_id("old", "b")]);
    let Outcome::Unchanged { reply: Reply::SentSome { first: None, told }, .. } = all else { panic!("{all:?}") };
    assert_eq!((told.len(), told[0].count, told[0].value), (1, 2, old + 3), "they follow each other, as the originals");
}

#[test]
fn an_id_lives_as_long_as_its_message() {
    let mut bench = until_settled();
    let sent = bench.send_with_id("order-1", order("first")).expect("it is new");
    bench.take(0, 1);
    assert_eq!(bench.send_with_id("order-1", order("while it is in flight")), Err(sent));
    bench.settle(Settlement::Release { delay_micros: SECOND }, &["first"]);
    assert_eq!(bench.send_with_id("order-1", order("while it waits")), Err(sent));
    bench.world.pass(SECOND);
    bench.take(0, 1);
    bench.settle(Settlement::Ack, &["first"]);
    let second = bench.send_with_id("order-1", order("second")).expect("nobody has the id");
    bench.restart();
    assert_eq!(bench.send_with_id("order-1", order("after a restart")), Err(second));
    assert_eq!(bench.purge(&[]).0, 1);
    let third = bench.send_with_id("order-1", order("third")).expect("it was purged");
    bench.world.accept(&Command::Cancel { queue: bench.queue, sequence: third });
    let short = Message { ttl_micros: Some(SECOND), ..order("fourth") };
    assert!(bench.send_with_id("order-1", short).is_ok(), "it was cancelled");
    bench.world.pass(SECOND);
    assert!(bench.send_with_id("order-1", order("fifth")).is_ok(), "it has expired");
    bench.take(0, 1);
    bench.settle(Settlement::Reject { error: "torn" }, &["fifth"]);
    assert!(bench.send_with_id("order-1", order("sixth")).is_ok(), "the dead do not live");
}

#[test]
fn a_redriven_letter_passes_and_has_its_id_if_nobody_else_has_it() {
    for is_taken in [false, true] {
        let mut bench = until_settled();
        bench.send_with_id("order-1", order("letter")).expect("it is new");
        bench.take(0, 1);
        bench.settle(Settlement::Reject { error: "torn" }, &["letter"]);
        if is_taken {
            bench.send_with_id("order-1", order("another")).expect("the dead do not live");
        }
        bench.redrive(with_id("order-1", "redriven"));
        assert_eq!(bench.counts().ready, 1 + u64::from(is_taken));
        bench.restart();
        assert!(bench.send_with_id("order-1", order("again")).is_err());
        bench.take(0, 10);
        if is_taken {
            bench.settle(Settlement::Ack, &["another"]);
            assert!(bench.send_with_id("order-1", order("again")).is_ok(), "the redriven one never had it");
        } else {
            bench.settle(Settlement::Ack, &["redriven"]);
            assert!(bench.send_with_id("order-1", order("again")).is_ok());
        }
    }
}

#[test]
fn what_is_redriven_passes_where_ids_are_remembered_for_a_time() {
    let mut bench = within_a_minute();
    let original = bench.send_with_id("order-1", order("letter")).expect("it is new");
    bench.take(0, 1);
    bench.settle(Settlement::Reject { error: "torn" }, &["letter"]);
    bench.redrive(with_id("order-1", "redriven"));
    assert_eq!(bench.take(0, 10), ["redriven"]);
    assert_eq!(bench.send_with_id("order-1", order("again")), Err(original), "the receipt is that of the original");
}

#[test]
fn what_was_refused_leaves_no_trace() {
    let dedup = Horizon::For { micros: MINUTE };
    let mut bench = Bench::new(Options { dedup, max_messages: Some(1), ..at_once() });
    let first = bench.send_with_id("a", order("a")).expect("there is room");
    let full = |outcome: Outcome| matches!(outcome, Outcome::Refuse { refusal: Refusal::Full { .. }, .. });
    assert!(full(submit(&mut bench, &[with_id("b", "b")])));
    assert_eq!(bench.send_with_id("a", order("a")), Err(first), "a full queue knows what it has");
    assert!(full(submit(&mut bench, &[with_id("a", "a"), with_id("c", "c")])));
    bench.take(0, 1);
    bench.settle(Settlement::Ack, &["a"]);
    assert!(bench.send_with_id("b", order("b")).is_ok());
    assert_eq!(remembered(&bench), 2);
}

#[test]
fn an_id_has_bytes_and_not_too_many_and_is_only_kept_where_nobody_remembers_ids() {
    let mut bench = Bench::new(at_once());
    let refusal = |outcome: Outcome| match outcome {
        Outcome::Refuse { refusal, .. } => refusal,
        other => panic!("{other:?}"),
    };
    let empty = refusal(submit(&mut bench, &[with_id("", "nameless")]));
    assert!(matches!(empty, Refusal::InvalidOption { option: "id", .. }), "{empty:?}");
    let long = "x".repeat(256);
    let too_long = refusal(submit(&mut bench, &[Message { id: Some(&long), ..order("long") }]));
    assert_eq!(too_long, Refusal::LimitExceeded { limit: "bytes of a message's id", max: 255, actual: 256 });
    for _ in 0..2 {
        assert!(
            submit(&mut bench, &[Message { id: Some(&long[1..]), ..order("longest") }]) != Outcome::Accept(Reply::Done)
        );
    }
    assert_eq!((bench.counts().ready, remembered(&bench)), (2, 0));
}

#[test]
fn an_idle_queue_or_exchange_gives_back_what_it_remembers() {
    let mut bench = within_a_minute();
    let exchange = declare(&mut bench, Horizon::For { micros: MINUTE });
    let ids = ["a", "b", "c"];
    assert!(ids.into_iter().all(|id| bench.send_with_id(id, order("sent")).is_ok()));
    publish(&mut bench, exchange, &[posted("d", "published")]);
    assert_eq!(remembered(&bench), 4);
    bench.world.pass(MINUTE + MINUTE / 8 - 1);
    assert_eq!(remembered(&bench), 4, "ticks are few");
    bench.restart();
    bench.world.pass(1);
    assert_eq!(remembered(&bench), 0);
    bench.restart();
    assert!(ids.into_iter().all(|id| bench.send_with_id(id, order("sent")).is_ok()));
}

#[test]
fn the_ids_of_exchanges_go_with_the_timer_of_a_queue_whichever_is_left() {
    let mut bench = Bench::new(at_once());
    let mails = bench.open("mails", at_once());
    let exchange = declare(&mut bench, Horizon::For { micros: MINUTE });
    publish(&mut bench, exchange, &[posted("a", "published")]);
    bench.world.accept(&Command::Delete { queue: bench.queue });
    bench.world.pass(2 * MINUTE);
    assert_eq!(remembered(&bench), 0);
    assert_eq!(bench.world.counts(mails).ready, 0);
}

#[test]
fn the_kind_of_dedup_stays_and_its_amount_may_change() {
    let mut bench = within_a_minute();
    let ensure = |bench: &mut Bench, dedup| {
        let options = &Options { dedup, ..at_once() };
        bench.world.submit(&Command::Ensure { name: "parcels", options })
    };
    for other in [Horizon::None, Horizon::Last { count: 9 }, Horizon::UntilSettled] {
        let outcome = ensure(&mut bench, other);
        let Outcome::Refuse { refusal: Refusal::Mismatch { differences }, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(differences, [format!("its dedup is for 60s, not {other}")]);
    }
    bench.send_with_id("a", order("a")).expect("it is new");
    bench.world.pass(MINUTE / 2);
    bench.send_with_id("b", order("b")).expect("it is new");
    assert!(matches!(ensure(&mut bench, Horizon::For { micros: MINUTE / 4 }), Outcome::Accept(_)));
    assert!(bench.send_with_id("a", order("a")).is_ok(), "too long ago, now");
    assert!(bench.send_with_id("b", order("b")).is_err());
    bench.world.pass(MINUTE / 4);
    assert!(matches!(ensure(&mut bench, Horizon::For { micros: MINUTE }), Outcome::Accept(_)));
    assert!(bench.send_with_id("b", order("b")).is_ok(), "what was forgotten stays forgotten");
    for wrong in [Horizon::For { micros: 0 }, Horizon::Last { count: 0 }, Horizon::Last { count: 1 << 21 }] {
        let outcome = ensure(&mut bench, wrong);
        assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::InvalidOption { option: "dedup", .. }, .. }));
    }
}

#[test]
fn of_two_sends_in_one_frame_the_second_knows_the_first() {
    let bench = within_a_minute();
    let (known, mut overlay, messages) = (Known::default(), Overlay::default(), [with_id("a", "a")]);
    let world = &bench.world;
    let context = Context {
        now: world.now,
        known: &known,
        clock: &world.clock,
        watched: &world.watched,
        logs: &world.logs,
        durable: world.durable,
    };
    let send = Command::Send { queue: bench.queue, messages: &messages };
    let mut events = Vec::new();
    let first = decide(&world.state, &overlay, &send, &context, |event| events.push(event));
    assert_eq!(first, Outcome::Accept(Reply::Sent { priority: 4, offset: 0 }));
    events.iter().for_each(|event| overlay.foresee(&world.state, event));
    let second = decide(&world.state, &overlay, &send, &context, |_| panic!("nothing is stored"));
    let told = vec![Told { message: 0, count: 1, value: 0, lsn: Lsn(0) }];
    assert!(matches!(second, Outcome::Unchanged { reply, .. } if reply == Reply::SentSome { first: None, told }));
    assert_eq!(world.state.shared.ids, 0, "that is of what is decided, and not true yet");
}

#[test]
fn with_as_many_ids_as_are_remembered_a_new_one_is_refused_and_none_is_forgotten() {
    let mut bench = until_settled();
    let ids: Vec<String> = (0..DEDUP_IDS_MAX).map(|number| format!("order-{number}")).collect();
    let with_id = |id| Message { id: Some(id), ..order("parcel") };
    for ids in ids.chunks(RECORDS_PER_BATCH_MAX) {
        let messages: Vec<Message<'_>> = ids.iter().map(|id| with_id(id)).collect();
        assert!(matches!(submit(&mut bench, &messages), Outcome::Accept(_)));
    }
    let refused = submit(&mut bench, &[with_id("one more")]);
    let (limit, max) = ("ids that all queues and exchanges remember", DEDUP_IDS_MAX as u64);
    let expected = Refusal::LimitExceeded { limit, max, actual: max + 1 };
    assert!(matches!(&refused, Outcome::Refuse { refusal, .. } if *refusal == expected), "{refused:?}");
    bench.send(&[order("says no id")]);
    assert!(matches!(submit(&mut bench, &[with_id(&ids[0])]), Outcome::Unchanged { .. }), "the first is known");
    // Purging takes no more in hand at once than a large batch does, and so does what deleting leaves.
    let (purged, left) = bench.purge(&[]);
    assert_eq!(purged, 65_536);
    assert_eq!(bench.purge(&left).0, 65_536);
    assert_eq!(remembered(&bench), DEDUP_IDS_MAX - 2 * 65_536);
    bench.restart();
    bench.world.accept(&Command::Delete { queue: bench.queue });
    let mut steps = 1;
    while bench.world.accept(&Command::Erase { what: Erasing::Any }) == Reply::More {
        steps += 1;
    }
    assert!(steps > 10 && remembered(&bench) == 0, "{steps} steps");
}

// Exchanges.

fn declare(bench: &mut Bench, dedup: Horizon) -> ExchangeNumber {
    let options = &ExchangeOptions { kind: Kind::Fanout, alternate: None, allows_unroutable: true, dedup };
    let declared = bench.world.accept(&Command::DeclareExchange { name: "events", options });
    let Reply::Exchange(exchange) = declared else { panic!("{declared:?}") };
    let (destination, condition) = (Destination::Queue(bench.queue), Condition::Always);
    bench.world.accept(&Command::Bind { binding: &Binding { exchange, destination, condition } });
    exchange
}

fn posted(id: &'static str, body: &'static str) -> Message<'static> {
    Message { origin: Some(Origin { exchange: "events", routing_key: "order.created" }), ..with_id(id, body) }
}

fn publish(bench: &mut Bench, exchange: ExchangeNumber, messages: &[Message<'_>]) -> Outcome {
    bench.world.submit(&Command::Publish { exchange, messages, limits: Limits::default() })
}

#[test]
fn an_exchange_knows_what_was_published_to_it_and_the_queues_behind_it_do_not_ask() {
    let mut bench = within_a_minute();
    let exchange = declare(&mut bench, Horizon::Last { count: 100 });
    bench.send_with_id("a", order("sent")).expect("it is new");
    let frame = bench.world.next_frame;
    let published = publish(&mut bench, exchange, &[posted("a", "published")]);
    assert_eq!(published, Outcome::Accept(Reply::Published { queues: 1 }), "the exchange does not know it");
    let again = publish(&mut bench, exchange, &[posted("a", "again"), posted("b", "new"), posted("b", "twice")]);
    let told = |message, lsn| Told { message, count: 1, value: 1, lsn };
    let told = vec![told(0, frame), told(2, Lsn(0))];
    assert_eq!(again, Outcome::Accept(Reply::PublishedSome { queues: 1, told }));
    assert_eq!(bench.counts().ready, 3);
    assert!(bench.send_with_id("b", order("sent")).is_ok(), "the queue does not know what was published");
    bench.restart();
    let known = publish(&mut bench, exchange, &[posted("b", "after a restart")]);
    assert!(matches!(known, Outcome::Unchanged { reply: Reply::PublishedSome { queues: 0, .. }, rests_on: Some(_) }));
}

#[test]
fn what_goes_to_no_queue_leaves_no_trace() {
    let mut bench = Bench::new(at_once());
    let exchange = declare(&mut bench, Horizon::For { micros: MINUTE });
    let (destination, condition) = (Destination::Queue(bench.queue), Condition::Always);
    let binding = &Binding { exchange, destination, condition };
    bench.world.accept(&Command::Unbind { binding });
    let lost = publish(&mut bench, exchange, &[posted("a", "to nobody")]);
    assert!(matches!(lost, Outcome::Unchanged { reply: Reply::Published { queues: 0 }, .. }));
    bench.world.accept(&Command::Bind { binding });
    assert_eq!(publish(&mut bench, exchange, &[posted("a", "again")]), Outcome::Accept(Reply::Published { queues: 1 }));
}

#[test]
fn a_message_that_goes_nowhere_hides_none_behind_it_in_its_batch() {
    let mut bench = Bench::new(at_once());
    let dedup = Horizon::Last { count: 1 };
    let options = &ExchangeOptions { kind: Kind::Direct, alternate: None, allows_unroutable: true, dedup };
    let declared = bench.world.accept(&Command::DeclareExchange { name: "events", options });
    let Reply::Exchange(exchange) = declared else { panic!("{declared:?}") };
    let (destination, condition) = (Destination::Queue(bench.queue), Condition::Key("order.created".into()));
    bench.world.accept(&Command::Bind { binding: &Binding { exchange, destination, condition } });
    let nowhere =
        |id| Message { origin: Some(Origin { exchange: "events", routing_key: "nowhere" }), ..posted(id, "") };
    let batch = [nowhere("a"), posted("a", "stored"), nowhere("b"), posted("a", "twice")];
    let told = vec![Told { message: 3, count: 1, value: 1, lsn: Lsn(0) }];
    let published = publish(&mut bench, exchange, &batch);
    assert_eq!(published, Outcome::Accept(Reply::PublishedSome { queues: 1, told }));
    assert_eq!((bench.counts().ready, remembered(&bench)), (1, 1));
}

#[test]
fn where_one_message_of_an_id_lives_a_published_one_passes_and_has_its_id_if_nobody_has_it() {
    let mut bench = until_settled();
    let exchange = declare(&mut bench, Horizon::None);
    publish(&mut bench, exchange, &[posted("a", "first"), posted("a", "second")]);
    assert_eq!(bench.counts().ready, 2);
    assert_eq!(bench.send_with_id("a", order("third")), Err(0));
    assert_eq!(remembered(&bench), 1);
    bench.world.accept(&Command::Cancel { queue: bench.queue, sequence: 0 });
    assert!(bench.send_with_id("a", order("third")).is_ok(), "the second never had it");
}

#[test]
fn an_exchange_remembers_for_a_time_or_the_last_and_not_until_something_is_settled() {
    let mut bench = Bench::new(at_once());
    let dedup = Horizon::UntilSettled;
    let options = &ExchangeOptions { kind: Kind::Fanout, alternate: None, allows_unroutable: true, dedup };
    let outcome = bench.world.submit(&Command::DeclareExchange { name: "events", options });
    assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::InvalidOption { option: "dedup", .. }, .. }));
    let exchange = declare(&mut bench, Horizon::Last { count: 5 });
    let ensured = ExchangeOptions { dedup: Horizon::None, ..options.clone() };
    let outcome = bench.world.submit(&Command::EnsureExchange { name: "events", options: &ensured });
    let Outcome::Refuse { refusal: Refusal::Mismatch { differences }, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(differences, ["dedup: by the last 5 ids, not none"]);
    publish(&mut bench, exchange, &[posted("a", "published")]);
    bench.world.accept(&Command::DeleteExchange { exchange });
    while bench.world.accept(&Command::Erase { what: Erasing::Exchange(exchange) }) == Reply::More {}
    assert_eq!(remembered(&bench), 0);
}
