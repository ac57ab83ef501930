//! What all exchanges have in common: bindings between them, alternates, binding and unbinding.

use super::*;

fn to(exchange: ExchangeNumber) -> Destination {
    Destination::Exchange(exchange)
}

#[test]
fn a_direct_exchange_routes_by_the_whole_key_and_a_fanout_whatever_it_is() {
    let mut table = table(&[(X, Kind::Direct), (Y, Kind::Fanout)]);
    for (number, text) in [(3, "a"), (1, "a"), (2, "a.b"), (1, ""), (4, "*"), (5, "#")] {
        bind(&mut table, X, queue(number), key(text));
    }
    for number in [9, 7, 8] {
        bind(&mut table, Y, queue(number), Condition::Always);
    }
    for (text, expected) in [("a", &[1, 3][..]), ("a.b", &[2]), ("", &[1]), ("*", &[4]), ("#", &[5]), ("A", &[])] {
        assert_eq!(routed(&table, X, text), expected, "{text:?}");
        assert_eq!(routed(&table, Y, text), [7, 8, 9], "{text:?}");
    }
}

#[test]
fn a_queue_that_is_reached_on_several_ways_gets_one_copy() {
    let mut table = table(&[(X, Kind::Fanout), (Y, Kind::Direct), (Z, Kind::Topic)]);
    for (exchange, destination, condition) in [
        (X, to(Y), Condition::Always),
        (X, to(Z), Condition::Always),
        (X, queue(1), Condition::Always),
        (Y, queue(1), key("k")),
        (Y, queue(2), key("k")),
        (Z, queue(2), pattern("#")),
        (Z, queue(3), pattern("k")),
        (Z, queue(3), pattern("k.#")),
    ] {
        bind(&mut table, exchange, destination, condition);
    }
    assert_eq!(routed(&table, X, "k"), [1, 2, 3]);
    assert_eq!(routed(&table, Y, "k"), [1, 2]);
    assert_eq!(routed(&table, X, "other"), [1, 2]);
}

#[test]
fn exchanges_may_lead_in_a_circle_and_to_themselves() {
    let mut table = table(&[(X, Kind::Fanout), (Y, Kind::Topic), (Z, Kind::Direct)]);
    for (exchange, destination, condition) in [
        (X, to(X), Condition::Always),
        (X, to(Y), Condition::Always),
        (Y, to(Z), pattern("#")),
        (Z, to(X), key("round")),
        (Z, queue(1), key("round")),
        (Y, queue(2), pattern("*")),
    ] {
        bind(&mut table, exchange, destination, condition);
    }
    for start in [X, Y, Z] {
        assert_eq!(routed(&table, start, "round"), [1, 2], "from {start:?}");
    }
    assert!(routed(&table, X, "two.words").is_empty());
}

#[test]
fn the_alternate_exchange_gets_what_no_binding_matched() {
    let mut table = table(&[(Y, Kind::Fanout), (Z, Kind::Direct)]);
    table.declare(X, Kind::Direct, Some(Y)).unwrap();
    bind(&mut table, X, queue(1), key("k"));
    bind(&mut table, Y, queue(2), Condition::Always);
    assert_eq!((routed(&table, X, "k"), routed(&table, X, "other")), (vec![1], vec![2]));
    // What was matched and led nowhere was matched.
    bind(&mut table, X, to(Z), key("nowhere"));
    assert!(routed(&table, X, "nowhere").is_empty());
    // An alternate of an alternate.
    table.set_alternate(X, Some(Z)).unwrap();
    table.set_alternate(Z, Some(Y)).unwrap();
    assert_eq!((routed(&table, X, "other"), routed(&table, X, "nowhere")), (vec![2], vec![2]));
    // In a circle, and to itself.
    table.set_alternate(Z, Some(X)).unwrap();
    assert!(routed(&table, X, "other").is_empty());
    table.set_alternate(X, Some(X)).unwrap();
    assert!(routed(&table, X, "other").is_empty());
    table.set_alternate(X, None).unwrap();
    assert!(routed(&table, X, "other").is_empty());
}

#[test]
fn each_exchange_on_the_way_has_its_own_alternate() {
    let mut table = table(&[(X, Kind::Fanout), (Z, Kind::Fanout)]);
    table.declare(Y, Kind::Headers, Some(Z)).unwrap();
    bind(&mut table, X, to(Y), Condition::Always);
    bind(&mut table, X, queue(1), Condition::Always);
    bind(&mut table, Y, queue(2), asked(Mode::Any, &[("a", "1")]));
    bind(&mut table, Z, queue(3), Condition::Always);
    assert_eq!(routed_with(&table, X, "", &[header("a", "1")]), [1, 2]);
    assert_eq!(routed_with(&table, X, "", &[header("a", "2")]), [1, 3]);
}

#[test]
fn an_alternate_that_is_gone_is_none_until_it_is_there() {
    let mut table = table(&[(Y, Kind::Fanout)]);
    table.declare(X, Kind::Direct, Some(Z)).unwrap();
    assert!(routed(&table, X, "k").is_empty());
    table.declare(Z, Kind::Fanout, None).unwrap();
    bind(&mut table, Z, queue(1), Condition::Always);
    assert_eq!(routed(&table, X, "k"), [1]);
    assert_eq!(table.remove_exchange(Z), Ok(1));
    assert!(routed(&table, X, "k").is_empty());
    assert_eq!(table.describe(X), Some((&Kind::Direct, Some(Z))));
}

#[test]
fn the_same_binding_again_changes_nothing() {
    let mut table = table(&[(X, Kind::Direct)]);
    let same = binding(X, queue(1), key("k"));
    assert_eq!(table.check_bind(&same), Ok(Change::Done));
    assert_eq!(table.bind(same.clone()), Ok(Change::Done));
    assert_eq!(table.check_bind(&same), Ok(Change::AlreadySo));
    assert_eq!(table.bind(same.clone()), Ok(Change::AlreadySo));
    assert_eq!((table.binding_count(), table.contains(&same)), (1, true));
    assert_eq!(table.unbind(&same), Ok(Change::Done));
    assert_eq!(table.unbind(&same), Ok(Change::AlreadySo));
    assert_eq!((table.binding_count(), table.contains(&same), routed(&table, X, "k")), (0, false, vec![]));
}

#[test]
fn what_is_not_there_is_said_to_be_unknown() {
    let mut table = table(&[(X, Kind::Direct)]);
    let unknown = Refusal::UnknownExchange(Y);
    assert_eq!(table.declare(X, Kind::Fanout, None), Err(Refusal::ExchangeExists(X)));
    assert_eq!(table.bind(binding(Y, queue(1), Condition::Always)), Err(unknown.clone()));
    assert_eq!(table.bind(binding(X, to(Y), key("k"))), Err(unknown.clone()));
    assert_eq!(table.unbind(&binding(Y, queue(1), Condition::Always)), Err(unknown.clone()));
    assert_eq!(table.set_alternate(Y, None), Err(unknown.clone()));
    assert_eq!(table.remove_exchange(Y), Err(unknown.clone()));
    assert_eq!(refused(&table, Y, "k"), unknown);
    assert_eq!(table.remove_queue(QueueNumber(1)), 0);
    assert_eq!(table.describe(Y), None);
    assert_eq!((table.bindings_of(Y).count(), table.bindings_to(to(Y)).count()), (0, 0));
}

#[test]
fn a_binding_is_for_one_kind_of_exchange() {
    let kinds =
        [Kind::Direct, Kind::Topic, Kind::Fanout, Kind::Headers, Kind::ConsistentHash { header: Some("h".into()) }];
    let conditions = [key("k"), pattern("k"), Condition::Always, asked(Mode::All, &[("a", "1")]), Condition::Weight(1)];
    for (of_kind, kind) in kinds.iter().enumerate() {
        for (of_condition, condition) in conditions.iter().enumerate() {
            let mut table = table(&[(X, kind.clone())]);
            let bound = table.bind(binding(X, queue(1), condition.clone()));
            assert_eq!(bound.is_ok(), of_kind == of_condition, "{kind:?} {condition:?}");
            let is_mismatch = matches!(bound, Err(Refusal::Mismatch { exchange, .. }) if exchange == kind.name());
            assert_eq!(is_mismatch, of_kind != of_condition);
        }
    }
    let mut table = table(&[(X, Kind::Topic)]);
    let refusal = table.bind(binding(X, queue(1), key("k"))).unwrap_err();
    assert_eq!(refusal.to_string(), "a topic exchange takes bindings with a pattern, this one is with a key");
}

#[test]
fn with_a_queue_or_an_exchange_go_all_bindings_that_it_is_part_of() {
    let mut table = table(&[(X, Kind::Topic), (Y, Kind::Fanout), (Z, Kind::Direct)]);
    for (exchange, destination, condition) in [
        (X, queue(1), pattern("a")),
        (X, queue(1), pattern("b")),
        (X, queue(2), pattern("#")),
        (X, to(Y), pattern("*")),
        (Y, queue(1), Condition::Always),
        (Y, to(Y), Condition::Always),
        (Y, to(Z), Condition::Always),
        (Z, queue(1), key("a")),
        (Z, to(X), key("a")),
    ] {
        bind(&mut table, exchange, destination, condition);
    }
    let sources: Vec<u32> = table.bindings_to(queue(1)).map(|binding| binding.exchange.0).collect();
    assert_eq!(sources, [1, 1, 2, 3]);
    assert_eq!(table.remove_exchange(Y), Ok(4));
    assert_eq!((table.binding_count(), table.bindings_to(to(Z)).count(), routed(&table, X, "a")), (5, 0, vec![1, 2]));
    assert_eq!(table.remove_queue(QueueNumber(1)), 3);
    assert_eq!((table.bindings_to(queue(1)).count(), routed(&table, Z, "a")), (0, vec![2]));
    let left: Vec<&Binding> = table.bindings_of(X).collect();
    assert_eq!(left, [&binding(X, queue(2), pattern("#"))]);
}
