//! Dead letters that go to another queue or to an exchange, and are sent again from there.

use towpath::{
    Backoff, Binding, DeadLetter, DeadLetters, DeathReason, Edit, Error, ExchangeOptions, Header, Message, Overflow,
    Queue, QueueOptions,
};

use crate::consumer::{
    MINUTE, SECOND, clocked, counts, expect_nothing, noon_and, queue, send_all, take, take_now, text, text_of_letter,
};
use crate::opening::Opened;
use crate::place::eventually;

fn to(name: &str) -> QueueOptions {
    QueueOptions::new().backoff(Backoff::none()).dead_letters(DeadLetters::Queue(name.to_owned()))
}

/// A queue whose dead go to another.
fn with_failed() -> (Opened, Queue, Queue) {
    let (db, failed) = queue(QueueOptions::new());
    let orders = db.create_queue("orders", to("mails")).unwrap();
    (db, orders, failed)
}

fn arrive(queue: &Queue, count: u64) {
    eventually("the letters have arrived", || counts(queue)[0] == count);
}

fn letters(queue: &Queue) -> Vec<DeadLetter> {
    queue.moved_letters(None, usize::MAX).unwrap()
}

#[test]
fn a_dead_letter_arrives_whole_with_what_became_of_it() {
    let (_db, orders, failed) = with_failed();
    let headers = [Header { name: "traceparent", value: b"00-ab-cd-01" }];
    orders.send(Message::from("a mug").key(b"customer-7").headers(&headers).priority(9).group("ann")).unwrap();
    let sent = orders.peek(1).unwrap()[0].timestamp();
    take(&orders).fail("out of stock").unwrap();
    take(&orders).reject("no such address").unwrap();
    let letter = take(&failed);
    let message = letter.message();
    assert_eq!(
        (text(message), message.key(), message.group()),
        ("a mug".to_owned(), Some(&b"customer-7"[..]), Some("ann"))
    );
    assert_eq!((message.headers().collect::<Vec<_>>(), message.priority()), (headers.to_vec(), 9));
    let history = message.history().unwrap();
    let first = history.first_death();
    assert_eq!(
        (first.queue.as_str(), first.reason, first.count, first.attempts),
        ("orders", DeathReason::Rejected, 1, 2)
    );
    assert_eq!((first.exchange, history.first_published()), (None, sent));
    let errors: Vec<String> = history.errors().into_iter().map(|failure| failure.error).collect();
    assert_eq!(errors, ["no such address", "out of stock"]);
    assert_eq!(letter.attempt(), 1, "it begins anew");
    letter.ack().unwrap();
    assert_eq!((counts(&orders), counts(&failed)), ([0; 4], [0; 4]));
}

#[test]
fn what_expires_leaves_for_the_target_too() {
    let (clock, db, failed) = clocked(QueueOptions::new());
    let orders = db.create_queue("orders", to("mails").ttl(MINUTE)).unwrap();
    orders.send("a mug").unwrap();
    clock.advance(2 * MINUTE);
    arrive(&failed, 1);
    let letter = &letters(&failed)[0];
    assert_eq!((letter.reason(), text_of_letter(letter)), (DeathReason::Expired, "a mug".to_owned()));
    assert!(letter.died_at() > noon_and(MINUTE));
}

#[test]
fn letters_are_published_with_their_own_routing_key_or_with_that_of_the_queue() {
    let (db, eu) = queue(QueueOptions::new());
    let us = db.create_queue("us", QueueOptions::new()).unwrap();
    let morgue = db.create_exchange("morgue", ExchangeOptions::direct()).unwrap();
    morgue.bind(&eu, Binding::key("order.eu")).unwrap();
    morgue.bind(&us, Binding::key("dead.us")).unwrap();
    let exchange = |routing_key: Option<&str>| {
        let (name, routing_key) = ("morgue".to_owned(), routing_key.map(str::to_owned));
        QueueOptions::new().dead_letters(DeadLetters::Exchange { name, routing_key })
    };
    let orders = db.create_exchange("orders", ExchangeOptions::fanout()).unwrap();
    let first = db.create_queue("first", exchange(None)).unwrap();
    let second = db.create_queue("second", exchange(Some("dead.us"))).unwrap();
    orders.bind(&first, Binding::all()).unwrap();
    orders.bind(&second, Binding::all()).unwrap();
    orders.publish("order.eu", "a mug").unwrap();
    take(&first).reject("broken").unwrap();
    take(&second).reject("broken").unwrap();
    let (of_eu, of_us) = (take(&eu), take(&us));
    assert_eq!((of_eu.exchange(), of_eu.routing_key()), (Some("morgue"), Some("order.eu")));
    assert_eq!((of_us.exchange(), of_us.routing_key()), (Some("morgue"), Some("dead.us")));
    let first_death = of_us.message().history().unwrap().first_death();
    assert_eq!(
        (first_death.exchange.as_deref(), first_death.routing_key.as_deref()),
        (Some("orders"), Some("order.eu"))
    );
}

#[test]
fn a_letter_that_the_exchange_leads_nowhere_stays_in_the_dead_set() {
    let (db, _) = queue(QueueOptions::new());
    db.create_exchange("morgue", ExchangeOptions::topic()).unwrap();
    let to_morgue = DeadLetters::Exchange { name: "morgue".to_owned(), routing_key: None };
    let orders = db.create_queue("orders", QueueOptions::new().dead_letters(to_morgue)).unwrap();
    orders.send("a mug").unwrap();
    take(&orders).reject("broken").unwrap();
    eventually("it is a letter", || orders.dead_letters(None, 1).unwrap().len() == 1);
    assert_eq!(counts(&orders), [0, 0, 0, 1]);
}

#[test]
fn letters_that_were_moved_are_sent_again_to_where_they_died_first() {
    let (_db, orders, failed) = with_failed();
    send_all(&orders, &["a mug", "a plate"]);
    for _ in 0..2 {
        take(&orders).reject("broken").unwrap();
    }
    failed.send("an order that never died").unwrap();
    arrive(&failed, 3);
    let moved = letters(&failed);
    assert_eq!(moved.iter().map(text_of_letter).collect::<Vec<_>>(), ["a mug", "a plate"]);
    failed.redrive(&moved[..1]).unwrap();
    let again = take_now(&orders, "a mug");
    assert_eq!(again.message().history().unwrap().first_death().queue, "orders");
    again.reject("still broken").unwrap();
    arrive(&failed, 3);
    let history = letters(&failed).last().unwrap().history();
    assert_eq!((history.deaths()[0].count, history.errors().len()), (2, 2), "one entry for each queue and reason");
    assert!(matches!(failed.redrive(&moved[..1]), Err(Error::Stale { .. })));
}

#[test]
fn letters_are_chosen_by_reason_header_sequence_and_number() {
    let (_db, mails) = queue(QueueOptions::new().max_attempts(1));
    let eu = [Header { name: "region", value: b"eu" }];
    for number in 0..6 {
        let body = format!("mail {number}");
        let message = Message::from(&body);
        mails.send(if number < 4 { message.headers(&eu) } else { message }).unwrap();
    }
    for number in 0..6 {
        let mail = take(&mails);
        if number % 2 == 0 { mail.reject("no such address").unwrap() } else { mail.fail("greylisted").unwrap() }
    }
    let rejected = || mails.redrive_by().reason(DeathReason::Rejected);
    assert_eq!(rejected().dry_run().run().unwrap().chosen, 3);
    assert_eq!(counts(&mails), [0, 0, 0, 6], "a dry run sends none");
    assert_eq!(rejected().header("region", "eu").limit(1).run().unwrap().redriven, 1);
    take_now(&mails, "mail 0").ack().unwrap();
    let third = mails.dead_letters(None, 3).unwrap()[2].sequence();
    assert_eq!(mails.redrive_by().sequences(third, third).run().unwrap().redriven, 1);
    take_now(&mails, "mail 3").ack().unwrap();
    assert_eq!(mails.redrive_by().sent_before(noon_and(SECOND)).run().unwrap().redriven, 0);
    assert_eq!(mails.redrive_by().rate(1_000).run().unwrap().redriven, 4);
    assert_eq!(counts(&mails), [4, 0, 0, 0]);
}

#[test]
fn a_letter_is_changed_before_it_is_sent_again_and_goes_where_it_is_told() {
    let (db, mails) = queue(QueueOptions::new());
    let mended = db.create_queue("mended", QueueOptions::new()).unwrap();
    mails.send("to nobdy").unwrap();
    take(&mails).reject("no such address").unwrap();
    let edit = |letter: &DeadLetter| {
        let body = text_of_letter(letter).replace("nobdy", "nobody");
        Edit::new().body(body).headers(vec![("mended-by".to_owned(), b"ann".to_vec())])
    };
    assert_eq!(mails.redrive_by().to(&mended).edit(edit).run().unwrap().redriven, 1);
    expect_nothing(&mails);
    let mail = take_now(&mended, "to nobody");
    assert_eq!(mail.headers().map(|header| header.name).collect::<Vec<_>>(), ["mended-by"]);
    assert_eq!(mail.message().history().unwrap().first_death().queue, "mails");
}

#[test]
fn a_redrive_that_was_stopped_or_found_no_room_goes_on_with_the_rest() {
    let (_db, mails) = queue(QueueOptions::new().max_messages(2));
    for round in ["1", "2", "3"] {
        mails.send(round).unwrap();
        take(&mails).reject("broken").unwrap();
    }
    let call = mails.redrive_by();
    call.stopper().stop();
    assert_eq!(call.run().unwrap().redriven, 0);
    assert!(matches!(mails.redrive_by().run(), Err(Error::Full { max: 2, .. })));
    assert_eq!(counts(&mails), [2, 0, 0, 1], "as many as there is room for");
    take_now(&mails, "1").ack().unwrap();
    assert_eq!(mails.redrive_by().run().unwrap().redriven, 1);
}

#[test]
fn a_redriven_letter_has_its_ttl_again() {
    let (clock, _db, mails) = clocked(QueueOptions::new());
    mails.send(Message::from("a mug").ttl(MINUTE)).unwrap();
    clock.advance(2 * MINUTE);
    eventually("it has expired", || counts(&mails) == [0, 0, 0, 1]);
    assert_eq!(mails.redrive_by().run().unwrap().redriven, 1);
    clock.advance(2 * MINUTE);
    eventually("it has expired again", || counts(&mails) == [0, 0, 0, 1]);
}

#[test]
fn what_dead_letters_go_to_is_there_and_stays_there() {
    let (db, orders, _) = with_failed();
    let refused = db.delete_queue("mails").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "dead letters of queue `orders` go to queue `mails`; give that queue another target first"
    );
    for options in [to("nowhere"), to("orders")] {
        assert!(db.ensure_queue("orders", options).is_err());
    }
    let missing = db.create_queue("new", to("nowhere"));
    assert!(matches!(missing, Err(Error::NotFound { kind: "queue", name }) if name == "nowhere"));
    assert!(matches!(
        db.create_queue("itself", to("itself")),
        Err(Error::InvalidOption { option: "dead letters", .. })
    ));
    let described = orders.describe().unwrap();
    assert_eq!((described.options, described.is_target), (to("mails"), false));
    assert!(db.queue("mails").unwrap().describe().unwrap().is_target);
    let mismatch = db.create_queue("orders", QueueOptions::new()).unwrap_err().to_string();
    assert!(mismatch.contains("dead letters is moved to the queue"), "{mismatch}");
    db.ensure_queue("orders", QueueOptions::new()).unwrap();
    db.delete_queue("mails").unwrap();
}

#[test]
fn a_full_queue_drops_its_oldest_if_it_is_told_to() {
    let (_db, mails) = queue(QueueOptions::new().max_messages(2).overflow(Overflow::DropOldest));
    send_all(&mails, &["1", "2"]);
    mails.send("3").unwrap();
    let dead = mails.dead_letters(None, 10).unwrap();
    assert_eq!((text_of_letter(&dead[0]), dead[0].reason()), ("1".to_owned(), DeathReason::Overflow));
    take_now(&mails, "2").ack().unwrap();
    take_now(&mails, "3").ack().unwrap();
}

#[test]
fn a_redrive_goes_over_no_more_letters_than_there_were() {
    let (_db, mails) = queue(QueueOptions::new().max_messages(2).overflow(Overflow::DropOldest));
    for mail in ["1", "2", "3", "4"] {
        mails.send(mail).unwrap();
    }
    let redriven = mails.redrive_by().run().unwrap();
    assert_eq!((redriven.chosen, redriven.redriven), (2, 2));
    assert_eq!(counts(&mails), [2, 0, 0, 2], "those that died for them are for another time");
    take_now(&mails, "1").ack().unwrap();
}

#[test]
fn what_was_sent_again_to_its_own_queue_is_no_letter_there() {
    let (db, work) = queue(QueueOptions::new());
    let back = DeadLetters::Queue("mails".to_owned());
    let retry = db.create_queue("retry", QueueOptions::new().dead_letters(back)).unwrap();
    let to_retry = DeadLetters::Queue("retry".to_owned());
    db.ensure_queue("mails", QueueOptions::new().dead_letters(to_retry)).unwrap();
    work.send("a mug").unwrap();
    take(&work).reject("broken").unwrap();
    take(&retry).reject("not yet").unwrap();
    arrive(&work, 1);
    assert!(work.moved_letters(None, 10).unwrap().is_empty());
    assert_eq!(work.redrive_by().run().unwrap().chosen, 0, "it waits to be tried");
}
