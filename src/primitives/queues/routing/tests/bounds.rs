//! What is refused, and at which number.

use super::super::bounds::{
    ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, BINDINGS_MAX, EXCHANGES_MAX, HASH_BINDINGS_MAX, HASHED_NAME_BYTES_MAX,
    HASHES_MAX, ROUTES_MAX, ROUTING_KEY_BYTES_MAX, STEPS_MAX, VISITS_MAX, WEIGHT_MAX, WORDS_MAX,
};
use super::*;

fn bound(kind: Kind, condition: Condition) -> Result<Change, Refusal> {
    table(&[(X, kind)]).bind(binding(X, queue(1), condition))
}

fn many(word: &str, count: usize) -> String {
    vec![word; count].join(".")
}

#[test]
fn keys_and_patterns_are_bounded_in_bytes_words_and_hashes() {
    let bytes = over("bytes of a routing key", ROUTING_KEY_BYTES_MAX);
    let long = |longer| "k".repeat(ROUTING_KEY_BYTES_MAX + longer);
    assert_eq!(bound(Kind::Direct, key(&long(0))), Ok(Change::Done));
    assert_eq!(bound(Kind::Direct, key(&long(1))), Err(bytes.clone()));
    assert_eq!(bound(Kind::Topic, pattern(&long(0))), Ok(Change::Done));
    assert_eq!(bound(Kind::Topic, pattern(&long(1))), Err(bytes.clone()));
    let words = over("words of a pattern", WORDS_MAX);
    assert_eq!(bound(Kind::Topic, pattern(&many("*", WORDS_MAX))), Ok(Change::Done));
    assert_eq!(bound(Kind::Topic, pattern(&many("*", WORDS_MAX + 1))), Err(words));
    let hashes = over("words `#` of a pattern", HASHES_MAX);
    assert_eq!(bound(Kind::Topic, pattern(&many("#.#a", HASHES_MAX))), Ok(Change::Done));
    assert_eq!(bound(Kind::Topic, pattern(&many("#.a", HASHES_MAX + 1))), Err(hashes.clone()));
    assert_eq!(hashes.to_string(), "words `#` of a pattern: at most 8, not 9");
}

#[test]
fn a_routing_key_is_bounded_in_bytes_and_at_a_topic_exchange_in_words() {
    let mut table = table(&[(X, Kind::Topic), (Y, Kind::Fanout), (Z, Kind::Fanout)]);
    for (number, text) in ["#", &many("*", WORDS_MAX), &format!("#.{}", many("a", WORDS_MAX - 1))].iter().enumerate() {
        bind(&mut table, X, queue(number as u32), pattern(text));
    }
    bind(&mut table, Y, queue(1), Condition::Always);
    bind(&mut table, Z, Destination::Exchange(X), Condition::Always);
    assert_eq!(routed(&table, X, &many("a", WORDS_MAX)).len(), 3);
    assert_eq!(routed(&table, X, &many("a", WORDS_MAX - 1)).len(), 2);
    let words = over("words of a routing key at a topic exchange", WORDS_MAX);
    let too_many = many("a", WORDS_MAX + 1);
    assert_eq!(refused(&table, X, &too_many), words);
    assert_eq!(refused(&table, Z, &too_many), words);
    assert_eq!(routed(&table, Y, &too_many), [1]);
    let dots = ".".repeat(ROUTING_KEY_BYTES_MAX);
    assert!(matches!(refused(&table, X, &dots), Refusal::LimitExceeded { actual: 256, .. }));
    assert_eq!(routed(&table, Y, &dots), [1]);
    assert_eq!(refused(&table, Y, &format!("{dots}.")), over("bytes of a routing key", ROUTING_KEY_BYTES_MAX));
}

#[test]
fn arguments_are_bounded_in_number_and_bytes() {
    let names: Vec<String> = (0..=ARGUMENTS_MAX).map(|number| number.to_string()).collect();
    let numbered: Vec<(&str, &str)> = names.iter().map(|name| (&name[..], "")).collect();
    assert_eq!(bound(Kind::Headers, asked(Mode::All, &numbered[1..])), Ok(Change::Done));
    let refusal = over("arguments of a binding", ARGUMENTS_MAX);
    assert_eq!(bound(Kind::Headers, asked(Mode::All, &numbered)), Err(refusal));
    let value = "v".repeat(ARGUMENT_BYTES_MAX);
    assert_eq!(bound(Kind::Headers, asked(Mode::Any, &[("n", &value[1..])])), Ok(Change::Done));
    let refusal = over("bytes of a binding's arguments", ARGUMENT_BYTES_MAX);
    assert_eq!(bound(Kind::Headers, asked(Mode::Any, &[("n", &value)])), Err(refusal));
}

#[test]
fn weights_are_bounded_and_so_are_the_bindings_that_have_them() {
    let kind = Kind::ConsistentHash { header: None };
    assert_eq!(bound(kind.clone(), Condition::Weight(WEIGHT_MAX)), Ok(Change::Done));
    let refusal = over("the weight of a binding", WEIGHT_MAX as usize);
    assert_eq!(bound(kind.clone(), Condition::Weight(WEIGHT_MAX + 1)), Err(refusal));
    assert_eq!(bound(kind.clone(), Condition::Weight(0)), Err(Refusal::WeightZero));
    let named = |bytes| Kind::ConsistentHash { header: Some("n".repeat(bytes).into()) };
    let refusal = over("bytes of the name of a header to hash", HASHED_NAME_BYTES_MAX);
    assert_eq!(Table::default().declare(X, named(HASHED_NAME_BYTES_MAX), None), Ok(()));
    assert_eq!(Table::default().declare(X, named(HASHED_NAME_BYTES_MAX + 1), None), Err(refusal));
    let mut table = table(&[(X, kind)]);
    for number in 0..HASH_BINDINGS_MAX as u32 {
        bind(&mut table, X, queue(number), Condition::Weight(number % 3 + 1));
    }
    let one_more = binding(X, queue(HASH_BINDINGS_MAX as u32), Condition::Weight(1));
    let refusal = over("bindings of a consistent-hash exchange", HASH_BINDINGS_MAX);
    assert_eq!(table.bind(one_more.clone()), Err(refusal));
    assert_eq!(table.bind(binding(X, queue(0), Condition::Weight(1))), Ok(Change::AlreadySo));
    assert_eq!(table.remove_queue(QueueNumber(7)), 1);
    assert_eq!(table.bind(one_more), Ok(Change::Done));
}

#[test]
fn a_publish_reaches_no_more_queues_than_it_may() {
    let mut table = table(&[(X, Kind::Fanout), (Y, Kind::Direct)]);
    bind(&mut table, X, Destination::Exchange(Y), Condition::Always);
    for number in 0..ROUTES_MAX as u32 {
        bind(&mut table, X, queue(number.wrapping_mul(0x9e37_79b9)), Condition::Always);
        bind(&mut table, Y, queue(number.wrapping_mul(0x9e37_79b9)), key("same"));
    }
    bind(&mut table, Y, queue(1), key("more"));
    let mut scratch = Scratch::default();
    for _ in 0..3 {
        let mut expected: Vec<u32> = (0..ROUTES_MAX as u32).map(|number| number.wrapping_mul(0x9e37_79b9)).collect();
        expected.sort_unstable();
        let routes = table.route(X, "same", &[], &mut scratch).unwrap();
        assert!(routes.iter().map(|queue| queue.0).eq(expected));
        let refusal = over("queues of one publish", ROUTES_MAX);
        assert_eq!(table.route(X, "more", &[], &mut scratch), Err(refusal));
        assert_eq!(table.route(Y, "more", &[], &mut scratch), Ok(&[QueueNumber(1)][..]));
    }
}

#[test]
fn a_publish_visits_no_more_exchanges_than_it_may() {
    let last = VISITS_MAX as u32;
    let exchanges: Vec<_> = (1..=last + 1).map(|number| (ExchangeNumber(number), Kind::Fanout)).collect();
    let mut table = table(&exchanges);
    for number in 1..=last {
        bind(&mut table, ExchangeNumber(number), Destination::Exchange(ExchangeNumber(number + 1)), Condition::Always);
    }
    bind(&mut table, ExchangeNumber(last + 1), queue(1), Condition::Always);
    assert_eq!(routed(&table, ExchangeNumber(2), ""), [1]);
    assert_eq!(refused(&table, ExchangeNumber(1), ""), over("exchanges of one publish", VISITS_MAX));
}

#[test]
fn a_publish_takes_no_more_steps_than_it_may() {
    let exchanges: Vec<_> = (1..=VISITS_MAX as u32).map(|number| (ExchangeNumber(number), Kind::Fanout)).collect();
    let mut table = table(&exchanges);
    // Everything leads to the same thousand queues.
    let queues = (STEPS_MAX / VISITS_MAX) as u32;
    for (exchange, _) in &exchanges {
        (0..queues).for_each(|number| bind(&mut table, *exchange, queue(number), Condition::Always));
    }
    let first = ExchangeNumber(1);
    for (exchange, _) in &exchanges[1..] {
        bind(&mut table, first, Destination::Exchange(*exchange), Condition::Always);
    }
    assert_eq!(refused(&table, first, ""), over("steps of one publish", STEPS_MAX));
    assert_eq!(table.remove_queue(QueueNumber(3)), VISITS_MAX);
    assert_eq!(routed(&table, first, "").len(), queues as usize - 1);
}

#[test]
fn there_are_no_more_exchanges_and_bindings_than_there_may_be() {
    let mut table = Table::default();
    for number in 0..EXCHANGES_MAX as u32 {
        table.declare(ExchangeNumber(number), Kind::Direct, None).unwrap();
    }
    let refusal = Err(over("exchanges", EXCHANGES_MAX));
    assert_eq!(table.declare(ExchangeNumber(u32::MAX), Kind::Direct, None), refusal);
    for number in 0..BINDINGS_MAX as u32 {
        bind(&mut table, ExchangeNumber(number % 1000), queue(number / 1000), key(""));
    }
    let one_more = binding(X, queue(u32::MAX), key(""));
    assert_eq!(table.bind(one_more.clone()), Err(over("bindings of all exchanges", BINDINGS_MAX)));
    assert_eq!(table.bind(binding(X, queue(0), key(""))), Ok(Change::AlreadySo));
    assert_eq!(table.remove_exchange(Y), Ok(BINDINGS_MAX / 1000));
    assert_eq!(table.bind(one_more), Ok(Change::Done));
}

#[test]
fn messages_of_one_publish_have_their_steps_together() {
    let mut table = table(&[(X, Kind::Fanout)]);
    let mut scratch = Scratch::default();
    table.bind(binding(X, queue(1), Condition::Always)).unwrap();
    table.begin_publish(10, &mut scratch);
    let refused = (0..=STEPS_MAX).find_map(|_| table.route_next(X, "", &[], &mut scratch).map(<[_]>::len).err());
    assert!(matches!(refused, Some(Refusal::LimitExceeded { limit: "steps of one publish", .. })), "{refused:?}");
    table.begin_publish(1, &mut scratch);
    assert_eq!(table.route_next(X, "", &[], &mut scratch).map(<[_]>::len), Ok(1), "the next one begins anew");
}
