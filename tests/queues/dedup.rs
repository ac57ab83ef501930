//! Dedup: a message that says an id is stored once, as far back as its queue or exchange remembers.

use std::time::Duration;

use towpath::{
    Backoff, Binding, Dedup, Error, ExchangeOptions, Explanation, Level, Message, PublishOptions, Queue, QueueOptions,
};

use crate::consumer::{MINUTE, SECOND, clocked, counts, drain, queue, take_now};
use crate::place::Place;

fn payment(id: &str) -> Message<'_> {
    Message::from("40.00 EUR").id(id)
}

fn within_a_minute() -> QueueOptions {
    QueueOptions::new().dedup(Dedup::within(MINUTE))
}

#[test]
fn what_is_sent_again_gets_the_receipt_of_the_original() {
    let (clock, _db, mails) = clocked(within_a_minute());
    let original = mails.send(payment("payment-17")).unwrap();
    assert!(!original.duplicate && original.duplicates.is_empty());
    let again = mails.send_at(Level::Buffered, payment("payment-17")).unwrap();
    assert!(again.duplicate);
    assert_eq!((again.sequence, again.messages, again.lsn()), (original.sequence, 0, original.lsn()));
    assert_eq!(counts(&mails), [1, 0, 0, 0]);
    mails.send(Message::from("says no id")).unwrap();
    mails.send(Message::from("says no id")).unwrap();
    clock.advance(MINUTE);
    assert!(!mails.send(payment("payment-17")).unwrap().duplicate);
    assert_eq!(counts(&mails), [4, 0, 0, 0]);
}

#[test]
fn a_consumer_is_told_the_id_and_a_message_is_found_by_it() {
    let (_db, mails) = queue(within_a_minute().backoff(Backoff::none()));
    let sent = mails.send(payment("payment-17")).unwrap();
    assert_eq!(mails.get_by_id("payment-17").unwrap().unwrap().sequence(), sent.sequence);
    let delivery = mails.receive().unwrap();
    assert_eq!(delivery.id(), Some("payment-17"));
    assert!(matches!(mails.explain(sent.sequence).unwrap(), Explanation::InFlight { .. }));
    delivery.reject("no such account").unwrap();
    let letters = mails.dead_letters(None, 1).unwrap();
    assert_eq!(letters[0].message().unwrap().id(), Some("payment-17"));
    mails.redrive(&letters).unwrap();
    let redriven = mails.receive().unwrap();
    assert_eq!(redriven.id(), Some("payment-17"), "it passes, and keeps its id");
    assert!(mails.get_by_id("payment-17").unwrap().is_none(), "the original is gone");
    redriven.ack().unwrap();
    let unknown = "x".repeat(1000);
    assert!(mails.get_by_id(&unknown).unwrap().is_none() && mails.get_by_id("").unwrap().is_none());
}

#[test]
fn each_message_of_a_batch_is_told_by_itself() {
    let (_db, mails) = queue(QueueOptions::new().dedup(Dedup::last(100)));
    let old = mails.send(payment("old")).unwrap();
    let batch = [payment("old"), payment("new"), Message::from("says no id"), payment("new")];
    let sent = mails.send_batch(&batch).unwrap();
    assert!(!sent.duplicate);
    assert_eq!((sent.messages, sent.sequence), (2, old.sequence), "the sequence of the first, which is a duplicate");
    let told: Vec<_> = sent.duplicates.iter().map(|known| (known.message, known.sequence, known.lsn)).collect();
    assert_eq!(told, [(0, old.sequence, old.lsn()), (3, old.sequence + 1, sent.lsn())]);
    let all = mails.send_batch(&batch[..2]).unwrap();
    assert!(all.duplicate && all.messages == 0 && all.duplicates.len() == 2);
    assert_eq!((all.sequence, all.lsn()), (old.sequence, old.lsn()));
    assert_eq!(counts(&mails), [3, 0, 0, 0]);
}

#[test]
fn an_id_lives_as_long_as_its_message() {
    let (_db, mails) = queue(QueueOptions::new().dedup(Dedup::until_settled()).backoff(Backoff::none()));
    let sent = mails.send(payment("nightly")).unwrap();
    mails.receive().unwrap().fail("busy").unwrap();
    assert!(mails.send(payment("nightly")).unwrap().duplicate);
    assert_eq!(mails.get_by_id("nightly").unwrap().unwrap().sequence(), sent.sequence);
    mails.receive().unwrap().ack().unwrap();
    assert!(mails.get_by_id("nightly").unwrap().is_none());
    assert!(!mails.send(payment("nightly")).unwrap().duplicate);
    mails.purge().unwrap();
    assert!(!mails.send(payment("nightly")).unwrap().duplicate);
}

#[test]
fn an_exchange_remembers_what_was_published_to_it_and_not_what_its_queues_know() {
    let (db, mails) = queue(within_a_minute());
    let options = ExchangeOptions::fanout().dedup(Dedup::last(10));
    let events = db.create_exchange("events", options.clone()).unwrap();
    let audit = db.create_queue("audit", QueueOptions::new()).unwrap();
    events.bind(&mails, Binding::all()).unwrap();
    events.bind(&audit, Binding::all()).unwrap();
    assert_eq!(events.describe().unwrap().options, options);
    let sent = mails.send(payment("payment-17")).unwrap();
    let published = events.publish("", payment("payment-17")).unwrap();
    assert!(!published.duplicate && published.queues == 2);
    events.unbind(&audit, Binding::all()).unwrap();
    let again = events.publish("", payment("payment-17")).unwrap();
    assert!(again.duplicate && published.lsn() > sent.lsn());
    assert_eq!((again.queues, again.lsn()), (2, published.lsn()), "as many queues as got the original");
    let batch = [("", payment("payment-17")), ("", payment("payment-18"))];
    let some = events.publish_batch(&batch, &PublishOptions::new()).unwrap();
    assert_eq!((some.queues, some.duplicate, some.duplicates.len()), (3, false, 1));
    assert_eq!((some.duplicates[0].message, some.duplicates[0].lsn), (0, published.lsn()));
    assert_eq!((counts(&mails), counts(&audit)), ([3, 0, 0, 0], [1, 0, 0, 0]));
    let direct = db.exchange("").unwrap();
    assert!(
        !direct.publish("mails", payment("payment-17")).unwrap().duplicate,
        "the default exchange remembers nothing"
    );
}

#[test]
fn what_was_refused_leaves_no_trace() {
    let (_db, mails) = queue(within_a_minute().max_messages(1));
    mails.send(payment("first")).unwrap();
    assert!(matches!(mails.send(payment("second")), Err(Error::Full { .. })));
    assert!(mails.send(payment("first")).unwrap().duplicate, "what is known needs no room");
    take_now(&mails, "40.00 EUR").ack().unwrap();
    assert!(!mails.send(payment("second")).unwrap().duplicate);
}

#[test]
fn ids_are_remembered_over_restarts_with_a_checkpoint_or_without() {
    for checkpoint in [false, true] {
        let place = Place::new();
        let db = place.open();
        let names =
            [("times", Dedup::within(60 * MINUTE)), ("counts", Dedup::last(3)), ("lives", Dedup::until_settled())];
        let open = |name, dedup| db.create_queue(name, QueueOptions::new().dedup(dedup)).unwrap();
        let events = db.create_exchange("events", ExchangeOptions::fanout().dedup(Dedup::last(3))).unwrap();
        let queues = names.map(|(name, dedup)| open(name, dedup));
        queues.iter().for_each(|queue| events.bind(queue, Binding::all()).unwrap());
        let sent = queues.each_ref().map(|queue| queue.send(payment("before")).unwrap());
        let published = events.publish("", payment("published")).unwrap();
        if checkpoint {
            db.checkpoint().unwrap();
        }
        queues.iter().for_each(|queue| drop(queue.send(payment("behind")).unwrap()));
        let options = queues[0].describe().unwrap().options;
        drop((queues, events));
        place.close(db);
        let db = place.open();
        for ((name, _), sent) in names.iter().zip(sent) {
            let queue = db.queue(name).unwrap();
            let again = queue.send(payment("before")).unwrap();
            assert!(again.duplicate && queue.send(payment("behind")).unwrap().duplicate, "{name}");
            assert_eq!((again.sequence, again.lsn()), (sent.sequence, sent.lsn()));
        }
        assert_eq!(db.queue("times").unwrap().describe().unwrap().options, options);
        let again = db.exchange("events").unwrap().publish("", payment("published")).unwrap();
        assert!(again.duplicate && again.lsn() == published.lsn() && again.queues == 3);
        db.delete_queue("times").unwrap();
        let anew = db.create_queue("times", QueueOptions::new().dedup(Dedup::last(5))).unwrap();
        assert!(!anew.send(payment("before")).unwrap().duplicate, "a queue that is deleted takes its ids with it");
        drop(anew);
        place.close(db);
    }
}

#[test]
fn the_kind_of_dedup_stays_and_its_amount_may_change() {
    let (db, mails) = queue(within_a_minute());
    for other in [Dedup::none(), Dedup::last(60), Dedup::until_settled()] {
        let refused = db.ensure_queue("mails", QueueOptions::new().dedup(other));
        let Err(error @ Error::Mismatch { .. }) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains("dedup"), "{error}");
    }
    mails.send(payment("payment-17")).unwrap();
    let longer = QueueOptions::new().dedup(Dedup::within(2 * MINUTE));
    assert!(matches!(db.create_queue("mails", longer.clone()), Err(Error::Mismatch { .. })));
    db.ensure_queue("mails", longer).unwrap();
    assert!(mails.send(payment("payment-17")).unwrap().duplicate);
    db.create_exchange("events", ExchangeOptions::fanout().dedup(Dedup::last(5))).unwrap();
    let other = ExchangeOptions::fanout().dedup(Dedup::within(SECOND));
    assert!(matches!(db.ensure_exchange("events", other), Err(Error::Mismatch { .. })));
    db.ensure_exchange("events", ExchangeOptions::fanout().dedup(Dedup::last(6))).unwrap();
}

#[track_caller]
fn is_invalid<T: std::fmt::Debug>(refused: Result<T, Error>, named: &str) {
    assert!(matches!(&refused, Err(Error::InvalidOption { option, .. }) if *option == named), "{refused:?}");
}

#[test]
fn an_id_has_1_to_255_bytes_and_means_nothing_where_nobody_remembers_it() {
    let (db, mails) = queue(QueueOptions::new());
    let long = "x".repeat(256);
    is_invalid(mails.send(payment("")), "id");
    assert!(matches!(mails.send(payment(&long)), Err(Error::LimitExceeded { max: 255, actual: 256, .. })));
    let send = |queue: &Queue| queue.send(payment(&long[1..])).unwrap();
    assert!(!send(&mails).duplicate && !send(&mails).duplicate);
    assert_eq!(mails.receive().unwrap().id(), Some(&long[1..]));
    is_invalid(mails.get_by_id("payment-17"), "id");
    for dedup in [Dedup::within(Duration::ZERO), Dedup::within(Duration::MAX), Dedup::last(0), Dedup::last(u64::MAX)] {
        is_invalid(db.create_queue("other", QueueOptions::new().dedup(dedup)), "dedup");
        is_invalid(db.create_exchange("other", ExchangeOptions::direct().dedup(dedup)), "dedup");
    }
    is_invalid(db.create_exchange("other", ExchangeOptions::direct().dedup(Dedup::until_settled())), "dedup");
    drain(&mails);
}

#[test]
fn of_many_who_send_one_id_at_once_one_stores_it() {
    let (_db, mails) = queue(QueueOptions::new().dedup(Dedup::last(1000)));
    let ids: Vec<String> = (0..50).map(|number| format!("payment-{number}")).collect();
    let stored: u64 = std::thread::scope(|threads| {
        let sender = || ids.iter().map(|id| mails.send_at(Level::Buffered, payment(id)).unwrap().messages).sum::<u64>();
        let senders: Vec<_> = (0..4).map(|_| threads.spawn(sender)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    assert_eq!((stored, counts(&mails)), (50, [50, 0, 0, 0]));
}
