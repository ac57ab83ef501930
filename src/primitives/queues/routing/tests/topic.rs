//! Topic exchanges, rule by rule.

use super::super::binding::Destination::Queue;
use super::super::bounds::{HASHES_MAX, STEPS_MAX, WORDS_MAX};
use super::super::topic::{Trie, Walk};
use super::*;

fn is_match(bound: &str, key: &str) -> bool {
    let mut table = table(&[(X, Kind::Topic)]);
    bind(&mut table, X, queue(1), pattern(bound));
    !routed(&table, X, key).is_empty()
}

#[test]
fn a_pattern_matches_as_its_words_say() {
    let rules = [
        ("an empty pattern matches the empty key only", "", &[""][..], &["a", ".", "a.b"][..]),
        ("a word stands for itself", "a.b", &["a.b"], &["a", "b", "a.c", "a.b.c", "ab", "A.b", ""]),
        ("`*` is exactly one word", "*", &["a", "*", "#"], &["", "a.b", "."]),
        ("`*` may be an empty word, where there is one", "*.b", &["a.b", ".b"], &["b", "", "a.a.b"]),
        ("`#` is any number of words", "#", &["", "a", "a.b", ".", "a.b.c.d.e.f"], &[]),
        ("`#` at the end is also none", "a.#", &["a", "a.b", "a.b.c", "a."], &["", "b", "b.a"]),
        ("`#` at the start is also none", "#.a", &["a", "b.a", "c.b.a", ".a"], &["", "b", "a.b"]),
        ("`#` between is also none", "a.#.b", &["a.b", "a.c.b", "a.b.b", "a.b.a.b"], &["a", "b", "a.b.c", "ab"]),
        ("several `#` are as one", "#.#.#", &["", "a", "a.b"], &[]),
        ("`*` and `#` are one word at least", "*.#", &["a", "a.b", "."], &[""]),
        ("whichever comes first", "#.*", &["a", "a.b", "."], &[""]),
        ("`#` around a word find it anywhere", "#.b.#", &["b", "a.b", "b.c", "a.b.c"], &["", "a", "bb"]),
        ("a wildcard within a word is none", "a*.#b", &["a*.#b"], &["ab.b", "aa.#b", "a*.b"]),
        ("words may be empty", "a..b", &["a..b"], &["a.b", "a.x.b"]),
        ("and be all that there is", ".", &["."], &["", "a", "..", "a."]),
        ("any text is a word", "Grüße.\u{1f6b2}.x y", &["Grüße.\u{1f6b2}.x y"], &["Gr.\u{1f6b2}.x y"]),
        ("what a key has of wildcards are words", "a.#.c", &["a.*.c", "a.#.c", "a.c"], &["#", "*.*.*"]),
    ];
    for (rule, bound, matching, others) in rules {
        for key in matching {
            assert!(is_match(bound, key), "{rule}: {bound:?} matches {key:?}");
        }
        for key in others {
            assert!(!is_match(bound, key), "{rule}: {bound:?} does not match {key:?}");
        }
    }
}

/// The patterns with which RabbitMQ tests its topic exchange (`routing_SUITE`), in their order, from number 1 on.
const RABBITMQ_PATTERNS: [&str; 26] = [
    "a.b.c",
    "a.*.c",
    "a.#.b",
    "a.b.b.c",
    "#",
    "#.#",
    "#.b",
    "*.*",
    "a.*",
    "*.b.c",
    "a.#",
    "a.#.#",
    "b.b.c",
    "a.b.b",
    "a.b",
    "b.c",
    "",
    "*.*.*",
    "vodka.martini",
    "a.b.c",
    "*.#",
    "#.*.#",
    "*.#.#",
    "#.#.#",
    "*",
    "#.b.#",
];

/// The numbers of those that RabbitMQ's test expects to match a key.
const RABBITMQ_MATCHES: [(&str, &[u32]); 12] = [
    ("a.b.c", &[1, 2, 5, 6, 10, 11, 12, 18, 20, 21, 22, 23, 24, 26]),
    ("a.b", &[3, 5, 6, 7, 8, 9, 11, 12, 15, 21, 22, 23, 24, 26]),
    ("a.b.b", &[3, 5, 6, 7, 11, 12, 14, 18, 21, 22, 23, 24, 26]),
    ("", &[5, 6, 17, 24]),
    ("b.c.c", &[5, 6, 18, 21, 22, 23, 24, 26]),
    ("a.a.a.a.a", &[5, 6, 11, 12, 21, 22, 23, 24]),
    ("vodka.gin", &[5, 6, 8, 21, 22, 23, 24]),
    ("vodka.martini", &[5, 6, 8, 19, 21, 22, 23, 24]),
    ("b.b.c", &[5, 6, 10, 13, 18, 21, 22, 23, 24, 26]),
    ("nothing.here.at.all", &[5, 6, 21, 22, 23, 24]),
    ("oneword", &[5, 6, 21, 22, 23, 24, 25]),
    ("args-test", &[5, 6, 21, 22, 23, 24, 25]),
];

/// Those whose bindings RabbitMQ's test takes away in between.
const RABBITMQ_REMOVED: [u32; 5] = [1, 5, 11, 19, 21];

#[test]
fn keys_go_where_rabbitmqs_test_expects_them() {
    let mut table = table(&[(X, Kind::Topic)]);
    for (number, text) in (1..).zip(RABBITMQ_PATTERNS) {
        bind(&mut table, X, queue(number), pattern(text));
    }
    for (key, expected) in RABBITMQ_MATCHES {
        assert_eq!(routed(&table, X, key), expected, "{key:?}");
    }
    for number in RABBITMQ_REMOVED {
        let removed = binding(X, queue(number), pattern(RABBITMQ_PATTERNS[number as usize - 1]));
        assert_eq!(table.unbind(&removed), Ok(Change::Done));
    }
    for (key, before) in RABBITMQ_MATCHES {
        let left: Vec<u32> = before.iter().copied().filter(|number| !RABBITMQ_REMOVED.contains(number)).collect();
        assert_eq!(routed(&table, X, key), left, "{key:?}");
    }
}

#[test]
fn a_queue_with_several_patterns_that_match_gets_one_copy() {
    let mut table = table(&[(X, Kind::Topic)]);
    for text in ["a.b", "*.b", "a.#", "#", "a.c"] {
        bind(&mut table, X, queue(5), pattern(text));
    }
    assert_eq!(routed(&table, X, "a.b"), [5]);
    assert_eq!(routed(&table, X, "c.d"), [5]);
}

#[test]
fn nothing_is_left_of_patterns_that_are_gone() {
    let mut random = Random::new(7);
    let mut trie = Trie::default();
    let mut inserted: Vec<(String, Destination)> = Vec::new();
    for round in 0..20 {
        for number in 0..100 {
            let text: Vec<&str> = (0..random.below(6)).map(|_| random.pick(&["a", "b", "c", "*", "#"])).collect();
            let (text, destination) = (text.join("."), Queue(QueueNumber(round * 100 + number)));
            trie.insert(&text, destination);
            inserted.push((text, destination));
        }
        while inserted.len() > 40 {
            let at = random.below(inserted.len() as u64) as usize;
            let (text, destination) = inserted.swap_remove(at);
            trie.remove(&text, destination);
        }
    }
    inserted.drain(..).for_each(|(text, destination)| trie.remove(&text, destination));
    assert_eq!(trie.size(), 1, "the root alone");
}

/// The steps of a publish through a trie.
fn steps(trie: &Trie, key: &str) -> usize {
    let mut scratch = Scratch::default();
    trie.reach(key, &mut Walk::default(), &mut scratch.reached).unwrap();
    scratch.reached.steps()
}

#[test]
fn no_pattern_and_no_key_make_more_steps_than_nodes_times_words() {
    let many = |word: &str, count: usize| vec![word; count].join(".");
    let hostile = [
        format!("{}.b", many("#.a", HASHES_MAX)),
        format!("{}.b", many("#.*", HASHES_MAX)),
        format!("{}.b", many("#", HASHES_MAX)),
        format!("{}.b", many("#.a.*", HASHES_MAX)),
        format!("{}.b", many("*.#", HASHES_MAX)),
        format!("{}.{}.b", many("#.a", HASHES_MAX), many("a", 64)),
    ];
    let keys = [many("a", WORDS_MAX), many("a.b", WORDS_MAX / 2), format!("{}.b", many("a", WORDS_MAX - 1))];
    let mut all = Trie::default();
    for (number, text) in (0..).zip(&hostile) {
        let mut trie = Trie::default();
        for trie in [&mut trie, &mut all] {
            trie.insert(text, Queue(QueueNumber(number)));
        }
        for key in &keys {
            let nodes = trie.size();
            assert!(steps(&trie, key) <= nodes * 4, "{} steps for {text:?} and {key:?}", steps(&trie, key));
        }
    }
    for key in &keys {
        assert!(steps(&all, key) <= all.size() * 4, "{} steps in all for {key:?}", steps(&all, key));
    }
}

/// Every pattern of so many words out of three: each of them matches a key of one word repeated.
fn everything(length: u32) -> Trie {
    let mut trie = Trie::default();
    for number in 0..3_usize.pow(length) {
        let text: Vec<&str> = (0..length).map(|at| ["a", "*", "#"][number / 3_usize.pow(at) % 3]).collect();
        trie.insert(&text.join("."), Queue(QueueNumber(1)));
    }
    trie
}

#[test]
fn a_publish_that_very_many_bindings_match_is_given_up() {
    let key = vec!["a"; WORDS_MAX].join(".");
    let trie = everything(8);
    let nodes = trie.size();
    let patterns = 3_usize.pow(8);
    assert!(steps(&trie, &key) <= 2 * nodes + patterns, "{} steps over {nodes} nodes", steps(&trie, &key));
    let mut scratch = Scratch::default();
    let given_up = everything(11).reach(&key, &mut scratch.walk, &mut scratch.reached);
    assert_eq!(given_up, Err(over("steps of one publish", STEPS_MAX)));
}

#[test]
fn a_binding_that_does_not_match_costs_a_publish_nothing() {
    let mut trie = Trie::default();
    trie.insert("orders.*.created", Queue(QueueNumber(1)));
    let alone = steps(&trie, "orders.eu.created");
    for number in 0..10_000 {
        trie.insert(&format!("orders.{number}.created"), Queue(QueueNumber(2)));
        trie.insert(&format!("bills.{number}.#"), Queue(QueueNumber(3)));
    }
    assert_eq!(steps(&trie, "orders.eu.created"), alone);
}
