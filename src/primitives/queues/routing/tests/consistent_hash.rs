//! Consistent-hash exchanges: which keys go where, and which move.

use super::*;

const KEYS: u32 = 100_000;

fn hashing(weights: &[(u32, u32)]) -> Table {
    let mut table = table(&[(X, Kind::ConsistentHash { header: None })]);
    for (number, weight) in weights {
        bind(&mut table, X, queue(*number), Condition::Weight(*weight));
    }
    table
}

/// The queue of each of many keys.
fn chosen(table: &Table) -> Vec<u32> {
    let mut scratch = Scratch::default();
    let mut choose = |number: u32| {
        let routes = table.route(X, &format!("key-{number}"), &[], &mut scratch).unwrap();
        assert_eq!(routes.len(), 1, "one binding has the key");
        routes[0].0
    };
    (0..KEYS).map(&mut choose).collect()
}

fn count(chosen: &[u32], queue: u32) -> f64 {
    chosen.iter().filter(|number| **number == queue).count() as f64
}

/// Whether a share of the keys is as expected, but for five standard deviations.
fn is_near(count: f64, share: f64) -> bool {
    let keys = f64::from(KEYS);
    (count - keys * share).abs() <= 5.0 * (keys * share * (1.0 - share)).sqrt()
}

#[test]
fn each_binding_has_the_share_of_its_weight() {
    let equal: Vec<(u32, u32)> = (1..=10).map(|number| (number, 1)).collect();
    let many: Vec<(u32, u32)> = (1..=100).map(|number| (number, number)).collect();
    for weights in [&[(1, 1), (2, 1)][..], &[(1, 10), (2, 20), (3, 20)], &[(7, 1), (8, 1000)], &equal, &many] {
        let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
        let chosen = chosen(&hashing(weights));
        for (number, weight) in weights {
            let (count, share) = (count(&chosen, *number), f64::from(*weight) / f64::from(total));
            assert!(is_near(count, share), "{count} keys of {KEYS} for {weight} of {total}");
        }
    }
}

#[test]
fn a_binding_that_comes_takes_its_share_and_moves_nothing_else_and_one_that_goes_leaves_it_so() {
    let weights: Vec<(u32, u32)> = (1..=20).map(|number| (number, 1 + number % 5)).collect();
    let mut table = hashing(&weights);
    let before = chosen(&table);
    let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
    for weight in [1, 5, 60, 1000] {
        bind(&mut table, X, queue(99), Condition::Weight(weight));
        let with = chosen(&table);
        let moved: Vec<(&u32, &u32)> = before.iter().zip(&with).filter(|(before, with)| before != with).collect();
        assert!(moved.iter().all(|(_, now)| **now == 99), "keys move to the new one only");
        assert!(is_near(moved.len() as f64, f64::from(weight) / f64::from(total + weight)), "{}", moved.len());
        assert_eq!(table.remove_queue(QueueNumber(99)), 1);
        assert!(chosen(&table) == before, "and back to where they came from");
    }
}

#[test]
fn a_weight_that_grows_only_gains_and_the_heaviest_binding_to_a_queue_counts() {
    let mut table = hashing(&[(1, 10), (2, 10), (3, 10)]);
    let before = chosen(&table);
    bind(&mut table, X, queue(2), Condition::Weight(30));
    let grown = chosen(&table);
    let is_gain = |(before, grown): (&u32, &u32)| before == grown || *grown == 2;
    assert!(before.iter().zip(&grown).all(is_gain));
    assert!(is_near(count(&grown, 2), 0.6));
    assert_eq!(table.unbind(&binding(X, queue(2), Condition::Weight(10))), Ok(Change::Done));
    assert!(chosen(&table) == grown, "it did not count beside the heavier");
}

#[test]
fn the_key_is_hashed_or_the_first_header_of_the_name() {
    let kind = Kind::ConsistentHash { header: Some("customer".into()) };
    let (mut by_header, mut by_key) = (table(&[(X, kind)]), table(&[(X, Kind::ConsistentHash { header: None })]));
    for number in 0..50 {
        bind(&mut by_header, X, queue(number), Condition::Weight(1));
        bind(&mut by_key, X, queue(number), Condition::Weight(1));
    }
    for value in ["", "1", "2", "a longer value that is hashed by another branch of the hash", "ü"] {
        let expected = routed(&by_key, X, value);
        let headers = [header("other", "x"), header("customer", value), header("customer", "second")];
        assert_eq!(routed_with(&by_header, X, "ignored", &headers), expected, "{value:?}");
        assert_eq!(routed_with(&by_key, X, value, &headers), expected, "{value:?}");
    }
    assert_eq!(routed_with(&by_header, X, "ignored", &[]), routed(&by_key, X, ""), "a missing header is empty");
}

#[test]
fn a_binding_may_lead_to_an_exchange_and_without_bindings_the_alternate_is_gone_to() {
    let mut table = table(&[(Y, Kind::Fanout)]);
    table.declare(X, Kind::ConsistentHash { header: None }, Some(Y)).unwrap();
    bind(&mut table, Y, queue(5), Condition::Always);
    assert_eq!(routed(&table, X, "k"), [5]);
    bind(&mut table, X, queue(1), Condition::Weight(1));
    bind(&mut table, X, Destination::Exchange(Y), Condition::Weight(1));
    let mut found: Vec<Vec<u32>> = (0..50).map(|number| routed(&table, X, &number.to_string())).collect();
    found.sort();
    found.dedup();
    assert_eq!(found, [[1], [5]]);
}

/// Queues by their numbers and weights, and where keys go. The numbers were computed by another implementation, in
/// Python with its own logarithm, and never change.
#[test]
fn keys_stay_where_they_are_from_version_to_version() {
    let equal: Vec<(u32, u32)> = (1..=8).map(|number| (number, 1)).collect();
    let mixed = [(0, 3), (1, 1), (2, 2), (7, 1), (65_536, 4), (u32::MAX, 9)];
    let many: Vec<(u32, u32)> = (1..=1024).map(|number| (number, 1 + number * 13 % 1000)).collect();
    let last = u32::MAX;
    let vectors = [
        (&equal[..], [7, 7, 7, 2, 1, 8, 3, 4, 8, 5, 4, 6, 6, 5, 7, 7]),
        (&mixed, [65_536, last, 65_536, 0, last, last, last, last, last, last, 0, last, 0, last, 7, 65_536]),
        (&many, [863, 797, 525, 491, 444, 138, 677, 384, 560, 825, 297, 979, 477, 915, 607, 688]),
    ];
    for (weights, expected) in vectors {
        let table = hashing(weights);
        let routes: Vec<u32> = (0..16).map(|number| routed(&table, X, &format!("key-{number}"))[0]).collect();
        assert_eq!(routes, expected, "{weights:?}");
    }
}

#[test]
fn keys_of_every_length_stay_where_they_are() {
    let four = hashing(&[(1, 1), (2, 1), (3, 2), (4, 5)]);
    let vectors = [("", 4), ("a", 4), ("b", 3), ("orders.eu.created", 4), ("customer-4711", 3), ("Grüße", 1), ("1", 1)];
    for (key, expected) in vectors {
        assert_eq!(routed(&four, X, key), [expected], "{key:?}");
    }
    // XXH3 takes another branch for each of these lengths.
    let equal: Vec<(u32, u32)> = (1..=8).map(|number| (number, 1)).collect();
    let eight = hashing(&equal);
    for (length, expected) in
        [(1, 7), (3, 1), (4, 6), (8, 3), (9, 3), (16, 1), (17, 1), (128, 3), (129, 8), (240, 8), (241, 4), (255, 3)]
    {
        assert_eq!(routed(&eight, X, &"k".repeat(length)), [expected], "{length} bytes");
    }
}

#[test]
fn an_exchange_and_a_queue_of_one_number_are_two_destinations() {
    let mut table = table(&[(X, Kind::ConsistentHash { header: None }), (Y, Kind::Fanout), (Z, Kind::Fanout)]);
    bind(&mut table, X, queue(1), Condition::Weight(1));
    bind(&mut table, X, Destination::Exchange(Y), Condition::Weight(1));
    bind(&mut table, X, Destination::Exchange(Z), Condition::Weight(2));
    bind(&mut table, Y, queue(22), Condition::Always);
    bind(&mut table, Z, queue(33), Condition::Always);
    let routes: Vec<u32> = (0..12).map(|number| routed(&table, X, &format!("key-{number}"))[0]).collect();
    assert_eq!(routes, [1, 22, 1, 33, 33, 33, 33, 33, 33, 1, 33, 33]);
}

#[test]
fn what_is_being_deleted_leaves_its_keys_to_the_others() {
    let mut table = hashing(&[(1, 1), (2, 1), (3, 2)]);
    let before = chosen(&table);
    table.retire(queue(2));
    let after = chosen(&table);
    assert_eq!(count(&after, 2), 0.0);
    assert!(before.iter().zip(&after).all(|(before, after)| *before == 2 || before == after), "others keep theirs");
}
