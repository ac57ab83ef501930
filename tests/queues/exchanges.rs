//! Exchanges: where what is published goes.

use std::collections::BTreeSet;

use towpath::{
    Binding, BoundTo, Database, Error, Exchange, ExchangeOptions, ExchangeType, Header, HeaderMatch, Level, Message,
    PublishOptions, Queue, QueueOptions,
};

use crate::place::Place;

struct Opened {
    place: Place,
    db: Database,
}

impl Opened {
    fn db(&self) -> &Database {
        &self.db
    }

    fn reopened(self) -> Opened {
        self.place.close(self.db);
        let db = self.place.open();
        Opened { place: self.place, db }
    }
}

fn fresh() -> Opened {
    let place = Place::new();
    let db = place.open();
    Opened { place, db }
}

fn queue(opened: &Opened, name: &str) -> Queue {
    opened.db().create_queue(name, QueueOptions::new()).unwrap()
}

fn exchange(opened: &Opened, name: &str, options: ExchangeOptions) -> Exchange {
    opened.db().create_exchange(name, options).unwrap()
}

/// Takes everything that is ready.
fn drained(queue: &Queue) -> Vec<String> {
    let deliveries = queue.try_receive_batch(1000).unwrap();
    let bodies = deliveries.iter().map(|delivery| String::from_utf8(delivery.body().to_vec()).unwrap()).collect();
    deliveries.into_iter().for_each(|delivery| delivery.ack().unwrap());
    bodies
}

#[test]
fn a_direct_exchange_leads_to_the_queues_bound_with_the_routing_key() {
    let opened = fresh();
    let (orders, mails, bills) =
        (exchange(&opened, "orders", ExchangeOptions::direct()), queue(&opened, "mails"), queue(&opened, "bills"));
    orders.bind(&mails, Binding::key("created")).unwrap();
    orders.bind(&bills, Binding::key("created")).unwrap();
    orders.bind(&bills, Binding::key("paid")).unwrap();
    assert_eq!(orders.publish("created", "one blue mug").unwrap().queues, 2);
    assert_eq!(orders.publish("paid", "two green plates").unwrap().queues, 1);
    assert_eq!(
        (drained(&mails), drained(&bills)),
        (vec!["one blue mug".into()], vec!["one blue mug".into(), "two green plates".into()])
    );
}

#[test]
fn a_topic_exchange_leads_by_words_star_for_one_and_hash_for_any_number() {
    let opened = fresh();
    let orders = exchange(&opened, "orders", ExchangeOptions::topic());
    let patterns = ["order.*.paid", "order.#", "#.paid", "*", ""];
    let queues: Vec<Queue> = patterns.iter().enumerate().map(|(n, _)| queue(&opened, &format!("queue-{n}"))).collect();
    for (pattern, queue) in patterns.iter().zip(&queues) {
        orders.bind(queue, Binding::pattern(pattern)).unwrap();
    }
    let reached = |key: &str| -> Vec<&str> {
        orders.publish(key, "an order").unwrap();
        let got = queues.iter().map(|queue| drained(queue).len());
        patterns.iter().zip(got).filter(|(_, count)| *count > 0).map(|(pattern, _)| *pattern).collect()
    };
    assert_eq!(reached("order.eu.paid"), ["order.*.paid", "order.#", "#.paid"]);
    assert_eq!(reached("order"), ["order.#", "*"]);
    assert_eq!(reached("order.eu.north.paid"), ["order.#", "#.paid"]);
    assert_eq!(reached("paid"), ["#.paid", "*"]);
    assert_eq!(reached(""), [""], "the empty key has no words");
}

#[test]
fn a_fanout_exchange_leads_to_all_and_each_queue_gets_one_copy() {
    let opened = fresh();
    let news = exchange(&opened, "news", ExchangeOptions::fanout());
    let queues: Vec<Queue> = (0..50).map(|n| queue(&opened, &format!("reader-{n}"))).collect();
    queues.iter().for_each(|queue| news.bind(queue, Binding::all()).unwrap());
    assert_eq!(news.publish("any", "a new catalogue").unwrap().queues, 50);
    assert!(queues.iter().all(|queue| drained(queue) == ["a new catalogue"]));
}

#[test]
fn a_headers_exchange_leads_by_all_or_any_of_the_arguments() {
    let opened = fresh();
    let orders = exchange(&opened, "orders", ExchangeOptions::headers());
    let (both, either, named) = (queue(&opened, "both"), queue(&opened, "either"), queue(&opened, "named"));
    let arguments: &[(&str, &[u8])] = &[("country", b"de"), ("size", b"xl")];
    orders.bind(&both, Binding::headers(HeaderMatch::All, arguments)).unwrap();
    orders.bind(&either, Binding::headers(HeaderMatch::Any, arguments)).unwrap();
    orders.bind(&named, Binding::headers(HeaderMatch::All, &[("country", b"")])).unwrap();
    let headers = [Header { name: "country", value: b"de" }, Header { name: "size", value: b"s" }];
    orders.publish("", Message::from("to Berlin").headers(&headers)).unwrap();
    assert_eq!((drained(&both).len(), drained(&either).len(), drained(&named).len()), (0, 1, 1));
    let refused = HeaderMatch::parse("some").unwrap_err();
    assert!(refused.to_string().contains("`some`") && refused.to_string().contains("any-with-x"), "{refused}");
}

#[test]
fn a_consistent_hash_exchange_leads_a_key_to_one_queue_and_always_the_same() {
    let opened = fresh();
    let work = exchange(&opened, "work", ExchangeOptions::consistent_hash());
    let queues: Vec<Queue> = (0..4).map(|n| queue(&opened, &format!("shard-{n}"))).collect();
    queues.iter().for_each(|queue| work.bind(queue, Binding::weight(1)).unwrap());
    for round in 0..2 {
        for customer in 0..100 {
            let body = format!("customer-{customer}");
            assert_eq!(work.publish(&body, &format!("{body} {round}")).unwrap().queues, 1);
        }
    }
    for queue in &queues {
        let bodies = drained(queue);
        let customers: BTreeSet<&str> = bodies.iter().map(|body| body.split_once(' ').unwrap().0).collect();
        assert!(bodies.len() > 20 && bodies.len() == 2 * customers.len(), "{} of {}", customers.len(), bodies.len());
    }
}

#[test]
fn the_default_exchange_leads_to_the_queue_with_the_name_of_the_key() {
    let opened = fresh();
    let (base, mails) = (opened.db().exchange("").unwrap(), queue(&opened, "mails"));
    assert_eq!(base.publish("mails", "to the customer").unwrap().queues, 1);
    let mail = mails.receive().unwrap();
    assert_eq!((mail.exchange(), mail.routing_key()), (Some(""), Some("mails")));
    mail.ack().unwrap();
    assert!(
        matches!(base.publish("bills", "nobody's"), Err(Error::Unroutable { routing_key: key, .. }) if key == "bills")
    );
    assert!(matches!(base.bind(&mails, Binding::key("mails")), Err(Error::InvalidOption { .. })));
    assert!(matches!(opened.db().delete_exchange(""), Err(Error::InvalidOption { .. })));
}

#[test]
fn a_consumer_is_told_the_exchange_and_the_routing_key() {
    let opened = fresh();
    let (orders, mails) = (exchange(&opened, "orders", ExchangeOptions::topic()), queue(&opened, "mails"));
    orders.bind(&mails, Binding::pattern("order.*")).unwrap();
    orders.publish("order.created", Message::from("one blue mug").key(b"4711")).unwrap();
    mails.send("by hand").unwrap();
    let published = mails.receive().unwrap();
    assert_eq!((published.exchange(), published.routing_key()), (Some("orders"), Some("order.created")));
    assert_eq!((published.key(), published.body()), (Some(&b"4711"[..]), &b"one blue mug"[..]));
    let sent = mails.receive().unwrap();
    assert_eq!((sent.exchange(), sent.routing_key()), (None, None));
    published.reject("not ours").unwrap();
    mails.redrive(&mails.dead_letters(None, 10).unwrap()).unwrap();
    assert_eq!(mails.receive().unwrap().routing_key(), Some("order.created"), "a redriven message keeps it");
}

#[test]
fn bindings_between_exchanges_may_form_a_circle_and_a_queue_still_gets_one_copy() {
    let opened = fresh();
    let (first, second) =
        (exchange(&opened, "first", ExchangeOptions::fanout()), exchange(&opened, "second", ExchangeOptions::topic()));
    let (mails, bills) = (queue(&opened, "mails"), queue(&opened, "bills"));
    first.bind_exchange(&second, Binding::all()).unwrap();
    second.bind_exchange(&first, Binding::pattern("#")).unwrap();
    first.bind(&mails, Binding::all()).unwrap();
    second.bind(&mails, Binding::pattern("a.#")).unwrap();
    second.bind(&bills, Binding::pattern("a.*")).unwrap();
    assert_eq!(second.publish("a.b", "an order").unwrap().queues, 2);
    assert_eq!((drained(&mails).len(), drained(&bills).len()), (1, 1));
    assert!(first.unbind_exchange(&second, Binding::all()).unwrap());
    assert_eq!(first.publish("a.b", "an order").unwrap().queues, 1);
}

#[test]
fn what_no_binding_matches_goes_to_the_alternate_exchange() {
    let opened = fresh();
    let (lost, found) = (exchange(&opened, "lost", ExchangeOptions::fanout()), queue(&opened, "found"));
    lost.bind(&found, Binding::all()).unwrap();
    let orders = exchange(&opened, "orders", ExchangeOptions::direct().alternate("lost"));
    assert_eq!(orders.publish("nobody's", "an order").unwrap().queues, 1);
    assert_eq!(drained(&found), ["an order"]);
    let refused = opened.db().delete_exchange("lost").unwrap_err();
    assert!(
        matches!(&refused, Error::IsAlternate { exchange, by } if exchange == "lost" && by == "orders"),
        "{refused}"
    );
    opened.db().ensure_exchange("orders", ExchangeOptions::direct()).unwrap();
    opened.db().delete_exchange("lost").unwrap();
    assert!(matches!(orders.publish("nobody's", "an order"), Err(Error::Unroutable { .. })));
}

#[test]
fn what_leads_nowhere_is_refused_unless_that_is_allowed() {
    let opened = fresh();
    let orders = exchange(&opened, "orders", ExchangeOptions::direct());
    let refused = orders.publish("created", "one blue mug").unwrap_err();
    assert!(
        matches!(&refused, Error::Unroutable { exchange: x, routing_key: key } if x == "orders" && key == "created")
    );
    let allowed = PublishOptions::new().allow_unroutable();
    assert_eq!(orders.publish_with("created", "one blue mug", &allowed).unwrap().queues, 0);
    let lenient = exchange(&opened, "lenient", ExchangeOptions::direct().allow_unroutable());
    assert_eq!(lenient.publish("created", "one blue mug").unwrap().queues, 0);
}

#[test]
fn one_full_queue_refuses_the_whole_publish_and_is_named() {
    let opened = fresh();
    let (news, wide) = (exchange(&opened, "news", ExchangeOptions::fanout()), queue(&opened, "wide"));
    let narrow = opened.db().create_queue("narrow", QueueOptions::new().max_messages(1)).unwrap();
    news.bind(&wide, Binding::all()).unwrap();
    news.bind(&narrow, Binding::all()).unwrap();
    news.publish("", "one").unwrap();
    let refused = news.publish("", "two").unwrap_err();
    assert!(matches!(&refused, Error::Full { queue, max: 1 } if queue == "narrow"), "{refused}");
    assert_eq!((wide.describe().unwrap().ready, narrow.describe().unwrap().ready), (1, 1));
}

#[test]
fn a_batch_is_published_whole_or_not_at_all() {
    let opened = fresh();
    let (orders, mails) = (exchange(&opened, "orders", ExchangeOptions::direct()), queue(&opened, "mails"));
    orders.bind(&mails, Binding::key("created")).unwrap();
    let options = PublishOptions::new().level(Level::Buffered);
    let batch =
        [("created", Message::from("one")), ("paid", Message::from("two")), ("created", Message::from("three"))];
    let refused = orders.publish_batch(&batch, &options).unwrap_err();
    assert!(matches!(refused, Error::Unroutable { routing_key, .. } if routing_key == "paid"));
    assert_eq!(mails.describe().unwrap().ready, 0);
    orders.bind(&mails, Binding::key("paid")).unwrap();
    assert_eq!(orders.publish_batch(&batch, &options).unwrap().queues, 3);
    assert_eq!(drained(&mails), ["one", "two", "three"]);
    assert!(matches!(orders.publish_batch(&[], &options), Err(Error::InvalidOption { .. })));
}

#[test]
fn each_queue_keeps_its_own_rules_of_what_was_published_to_several() {
    let opened = fresh();
    let news = exchange(&opened, "news", ExchangeOptions::fanout());
    let (mails, bills) = (queue(&opened, "mails"), queue(&opened, "bills"));
    news.bind(&mails, Binding::all()).unwrap();
    news.bind(&bills, Binding::all()).unwrap();
    news.publish("", Message::from("urgent").priority(9).group("customer-ann")).unwrap();
    news.publish("", Message::from("usual").group("customer-ann")).unwrap();
    let first = mails.receive().unwrap();
    assert_eq!((first.body(), first.priority()), (&b"urgent"[..], 9));
    assert!(mails.try_receive().unwrap().is_none(), "one of a group is in flight");
    assert_eq!(bills.receive().unwrap().body(), b"urgent", "the other queue has its own");
    first.reject("not ours").unwrap();
    assert_eq!(mails.receive().unwrap().body(), b"usual");
    assert_eq!((mails.describe().unwrap().dead, bills.describe().unwrap().dead), (1, 0));
}

#[test]
fn a_message_that_several_queues_have_stays_readable_from_each_until_the_last_is_done() {
    let mut opened = fresh();
    let news = exchange(&opened, "news", ExchangeOptions::fanout());
    let body = "a long catalogue ".repeat(3000);
    for name in ["mails", "bills", "parcels"] {
        news.bind(&queue(&opened, name), Binding::all()).unwrap();
    }
    for _ in 0..20 {
        news.publish("", &body).unwrap();
    }
    for name in ["mails", "bills", "parcels"] {
        opened.db().checkpoint().unwrap();
        opened = opened.reopened();
        let queue = opened.db().queue(name).unwrap();
        let bodies = drained(&queue);
        assert!(bodies.len() == 20 && bodies.iter().all(|found| *found == body), "{name}: {}", bodies.len());
    }
}

#[test]
fn exchanges_and_bindings_are_there_after_the_database_was_reopened() {
    let opened = fresh();
    let (orders, mails) = (exchange(&opened, "orders", ExchangeOptions::topic()), queue(&opened, "mails"));
    exchange(&opened, "news", ExchangeOptions::fanout().allow_unroutable());
    orders.bind(&mails, Binding::pattern("order.#")).unwrap();
    orders.bind_exchange(&opened.db().exchange("news").unwrap(), Binding::pattern("news")).unwrap();
    let opened = opened.reopened();
    assert_eq!(opened.db().exchange_names().unwrap(), ["news", "orders"]);
    let orders = opened.db().exchange("orders").unwrap();
    let described = orders.describe().unwrap();
    assert_eq!(described.options.exchange_type(), ExchangeType::Topic);
    let bindings = [
        (BoundTo::Queue("mails".to_owned()), Binding::pattern("order.#")),
        (BoundTo::Exchange("news".to_owned()), Binding::pattern("news")),
    ];
    assert_eq!(described.bindings, bindings);
    assert_eq!(orders.publish("order.created", "one blue mug").unwrap().queues, 1);
    assert_eq!(drained(&opened.db().queue("mails").unwrap()), ["one blue mug"]);
}

#[test]
fn declaring_an_exchange_again_is_no_change_and_with_other_options_a_mismatch() {
    let opened = fresh();
    exchange(&opened, "orders", ExchangeOptions::topic());
    exchange(&opened, "orders", ExchangeOptions::topic());
    let refused = opened.db().create_exchange("orders", ExchangeOptions::direct().allow_unroutable()).unwrap_err();
    let Error::Mismatch { differences, .. } = &refused else { panic!("{refused}") };
    assert_eq!(differences, &["type: topic, not direct", "allow unroutable: no, not yes"]);
    opened.db().ensure_exchange("orders", ExchangeOptions::topic().allow_unroutable()).unwrap();
    let refused = opened.db().ensure_exchange("orders", ExchangeOptions::fanout()).unwrap_err();
    assert!(matches!(refused, Error::Mismatch { .. }), "the type stays what it is: {refused}");
}

#[test]
fn bad_names_and_bindings_are_refused_and_say_why() {
    let opened = fresh();
    let (db, mails) = (opened.db(), queue(&opened, "mails"));
    assert!(matches!(db.create_exchange("", ExchangeOptions::topic()), Err(Error::InvalidName { .. })));
    assert!(matches!(db.exchange("nobody's"), Err(Error::NotFound { kind: "exchange", .. })));
    let missing = db.create_exchange("orders", ExchangeOptions::topic().alternate("nobody's")).unwrap_err();
    assert!(matches!(&missing, Error::NotFound { kind: "exchange", name } if name == "nobody's"));
    let orders = exchange(&opened, "orders", ExchangeOptions::topic());
    let refused = orders.bind(&mails, Binding::all()).unwrap_err().to_string();
    assert!(refused.contains("topic exchange takes bindings with a pattern"), "{refused}");
    let refused = orders.bind(&mails, Binding::pattern(&["#"; 9].join("."))).unwrap_err();
    assert!(matches!(refused, Error::LimitExceeded { max: 8, actual: 9, .. }), "{refused}");
    let refused = orders.publish(&"k".repeat(256), "too long").unwrap_err();
    assert!(matches!(refused, Error::LimitExceeded { max: 255, actual: 256, .. }), "{refused}");
    assert!(matches!(orders.unbind(&mails, Binding::key("created")), Err(Error::InvalidOption { .. })));
    let base = db.exchange("").unwrap();
    assert!(matches!(orders.bind_exchange(&base, Binding::pattern("#")), Err(Error::InvalidOption { .. })));
    let unnamed = db.create_exchange("unnamed", ExchangeOptions::topic().alternate("")).unwrap();
    assert_eq!(unnamed.describe().unwrap().options.alternate_name(), None);
    let hashed = exchange(&opened, "hashed", ExchangeOptions::consistent_hash());
    assert!(matches!(hashed.bind(&mails, Binding::weight(0)), Err(Error::InvalidOption { .. })));
}

#[test]
fn a_deleted_queue_leaves_no_binding_behind_and_a_deleted_exchange_neither() {
    let opened = fresh();
    let news = exchange(&opened, "news", ExchangeOptions::fanout());
    let (mails, bills) = (queue(&opened, "mails"), queue(&opened, "bills"));
    news.bind(&mails, Binding::all()).unwrap();
    news.bind(&bills, Binding::all()).unwrap();
    opened.db().delete_queue("mails").unwrap();
    assert!(matches!(news.bind(&mails, Binding::all()), Err(Error::NotFound { kind: "queue", .. })));
    assert_eq!(news.publish("", "one").unwrap().queues, 1);
    assert_eq!(news.describe().unwrap().bindings.len(), 1);
    let other = exchange(&opened, "other", ExchangeOptions::fanout());
    other.bind_exchange(&news, Binding::all()).unwrap();
    opened.db().delete_exchange("news").unwrap();
    assert!(matches!(news.publish("", "two"), Err(Error::NotFound { kind: "exchange", .. })));
    assert!(other.describe().unwrap().bindings.is_empty());
    let again = exchange(&opened, "news", ExchangeOptions::topic());
    assert!(again.describe().unwrap().bindings.is_empty());
    assert_eq!(drained(&bills), ["one"]);
}

#[test]
fn a_binding_is_there_once_and_unbinding_tells_whether_it_was() {
    let opened = fresh();
    let (orders, mails) = (exchange(&opened, "orders", ExchangeOptions::direct()), queue(&opened, "mails"));
    orders.bind(&mails, Binding::key("created")).unwrap();
    orders.bind(&mails, Binding::key("created")).unwrap();
    assert_eq!(orders.describe().unwrap().bindings.len(), 1);
    assert!(orders.unbind(&mails, Binding::key("created")).unwrap());
    assert!(!orders.unbind(&mails, Binding::key("created")).unwrap());
}
