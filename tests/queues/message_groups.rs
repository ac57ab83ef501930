//! Groups of messages: one at a time, in the order of sending.

use std::time::Duration;

use towpath::{Backoff, Level, Message, Queue, QueueOptions};

use crate::consumer::{
    HOUR, MINUTE, clocked, counts, drain, expect_nothing, queue, send_all, take, take_now, text, texts,
};
use crate::place::{Chance, eventually};

fn send_in(queue: &Queue, group: &str, bodies: &[&str]) {
    for body in bodies {
        queue.send(Message::from(*body).group(group)).unwrap();
    }
}

#[test]
fn of_a_group_one_message_is_in_flight_and_other_groups_go_on() {
    let (_db, orders) = queue(QueueOptions::new());
    send_in(&orders, "alice", &["alice 1", "alice 2"]);
    send_in(&orders, "bob", &["bob 1", "bob 2"]);
    send_all(&orders, &["of nobody 1", "of nobody 2"]);
    let held = orders.receive_batch(10).unwrap();
    assert_eq!(texts(&held), ["alice 1", "bob 1", "of nobody 1", "of nobody 2"]);
    assert_eq!([held[0].group(), held[1].group(), held[2].group()], [Some("alice"), Some("bob"), None]);
    assert_eq!(counts(&orders), [2, 0, 4, 0], "those that wait for their turn are ready");
    expect_nothing(&orders);
    orders.ack_batch(held).unwrap();
    assert_eq!(texts(&orders.receive_batch(10).unwrap()), ["alice 2", "bob 2"]);
}

#[test]
fn every_way_of_settling_lets_the_group_go_on_where_it_stands() {
    let (_db, orders) = queue(QueueOptions::new().backoff(Backoff::none()));
    send_in(&orders, "alice", &["one", "two", "three"]);
    take_now(&orders, "one").release().unwrap();
    take_now(&orders, "one").fail("busy").unwrap();
    take_now(&orders, "one").reject("no such article").unwrap();
    take_now(&orders, "two").ack().unwrap();
    drop(take_now(&orders, "three"));
    take_now(&orders, "three").ack().unwrap();
    assert_eq!(counts(&orders), [0, 0, 0, 1]);
}

#[test]
fn a_head_in_backoff_blocks_its_group_and_no_other() {
    let (clock, _db, orders) = clocked(QueueOptions::new().backoff(Backoff::fixed(MINUTE)));
    send_in(&orders, "alice", &["alice 1", "alice 2"]);
    send_in(&orders, "bob", &["bob 1"]);
    take_now(&orders, "alice 1").fail("busy").unwrap();
    take_now(&orders, "bob 1").ack().unwrap();
    expect_nothing(&orders);
    clock.advance(MINUTE);
    let first = take(&orders);
    assert_eq!((text(&first).as_str(), first.attempt()), ("alice 1", 2));
    first.ack().unwrap();
    take_now(&orders, "alice 2").ack().unwrap();
}

#[test]
fn a_released_head_goes_before_those_behind_it_after_its_pause() {
    let (clock, _db, orders) = clocked(QueueOptions::new());
    send_in(&orders, "alice", &["one", "two"]);
    take_now(&orders, "one").release_with_delay(MINUTE).unwrap();
    expect_nothing(&orders);
    clock.advance(MINUTE);
    let one = take(&orders);
    assert_eq!(text(&one), "one");
    one.ack().unwrap();
    take_now(&orders, "two").ack().unwrap();
}

#[test]
fn a_first_delay_does_not_block_the_group() {
    let (clock, _db, orders) = clocked(QueueOptions::new());
    orders.send(Message::from("in an hour").group("alice").delay(HOUR)).unwrap();
    send_in(&orders, "alice", &["now", "after that"]);
    take_now(&orders, "now").ack().unwrap();
    clock.advance(HOUR);
    eventually("it is due", || counts(&orders) == [2, 0, 0, 0]);
    assert_eq!(drain(&orders), ["in an hour", "after that"]);
}

#[test]
fn a_delayed_one_that_becomes_due_waits_while_its_group_is_busy() {
    let (clock, _db, orders) = clocked(QueueOptions::new().visibility_timeout(2 * HOUR));
    orders.send(Message::from("in an hour").group("alice").delay(HOUR)).unwrap();
    send_in(&orders, "alice", &["now"]);
    orders.send(Message::from("of bob").group("bob").delay(HOUR)).unwrap();
    let now = take_now(&orders, "now");
    clock.advance(HOUR);
    let of_bob = take(&orders);
    assert_eq!(text(&of_bob), "of bob");
    expect_nothing(&orders);
    now.ack().unwrap();
    take_now(&orders, "in an hour").ack().unwrap();
}

#[test]
fn a_group_goes_in_the_order_of_sending_though_priorities_differ() {
    let (_db, orders) = queue(QueueOptions::new());
    for (body, priority) in [("one", 2), ("two", 9), ("three", 0)] {
        orders.send(Message::from(body).group("alice").priority(priority)).unwrap();
    }
    let mut seen = Vec::new();
    while let Some(order) = orders.try_receive().unwrap() {
        assert!(orders.try_receive().unwrap().is_none(), "two of one group in flight");
        seen.push(text(&order));
        order.ack().unwrap();
    }
    assert_eq!(seen, ["one", "two", "three"]);
}

#[test]
fn a_group_has_the_place_of_its_head() {
    let (_db, orders) = queue(QueueOptions::new());
    send_in(&orders, "alice", &["alice 1", "alice 2"]);
    send_all(&orders, &["of nobody"]);
    orders.send(Message::from("urgent").group("bob").priority(9)).unwrap();
    assert_eq!(drain(&orders), ["urgent", "alice 1", "alice 2", "of nobody"]);
}

#[test]
fn a_head_that_expires_or_dies_lets_the_next_one_go() {
    let (clock, _db, orders) = clocked(QueueOptions::new().visibility_timeout(MINUTE).max_attempts(1));
    orders.send(Message::from("short-lived").group("alice").ttl(MINUTE)).unwrap();
    send_in(&orders, "alice", &["never settled", "the last"]);
    clock.advance(MINUTE);
    let held = take(&orders);
    assert_eq!(text(&held), "never settled");
    clock.advance(MINUTE);
    let last = take(&orders);
    assert_eq!((text(&last).as_str(), counts(&orders)), ("the last", [0, 0, 1, 2]));
    drop(held);
}

#[test]
fn groups_are_forgotten_and_begin_anew() {
    let (_db, orders) = queue(QueueOptions::new().level(Level::Buffered));
    for round in 0..3 {
        for customer in 0..500 {
            orders.send(Message::from("a mug").group(&format!("customer {customer}"))).unwrap();
        }
        let held = orders.receive_batch(1000).unwrap();
        assert_eq!(held.len(), 500, "round {round}");
        orders.ack_batch(held).unwrap();
    }
}

#[test]
fn a_purged_group_begins_anew() {
    let (_db, orders) = queue(QueueOptions::new());
    send_in(&orders, "alice", &["one", "two", "three"]);
    let one = take_now(&orders, "one");
    assert_eq!(orders.purge().unwrap(), 2);
    send_in(&orders, "alice", &["four"]);
    expect_nothing(&orders);
    one.ack().unwrap();
    take_now(&orders, "four").ack().unwrap();
    send_in(&orders, "alice", &["five"]);
    assert_eq!(orders.purge().unwrap(), 1);
    send_in(&orders, "alice", &["six"]);
    take_now(&orders, "six").ack().unwrap();
}

#[test]
fn groups_are_names_of_their_own() {
    let (db, orders) = queue(QueueOptions::new());
    let returns = db.create_queue("returns", QueueOptions::new()).unwrap();
    send_in(&orders, "alice", &["an order"]);
    send_in(&returns, "alice", &["a return"]);
    let held = (take_now(&orders, "an order"), take_now(&returns, "a return"));
    assert_eq!((counts(&orders), counts(&returns)), ([0, 0, 1, 0], [0, 0, 1, 0]));
    drop(held);
}

#[test]
fn thousands_of_many_groups_in_one_batch_come_in_order_within_each() {
    let (_db, orders) = queue(QueueOptions::new().backoff(Backoff::none()).max_attempts(1000));
    let mut chance = Chance::new(11);
    let sent: Vec<(String, String)> =
        (0..4000).map(|number| (format!("customer {}", chance.below(300)), format!("order {number}"))).collect();
    let batch: Vec<_> = sent.iter().map(|(group, body)| Message::from(body).group(group)).collect();
    orders.send_batch(&batch).unwrap();
    let mut seen: Vec<(String, String)> = Vec::new();
    while seen.len() < sent.len() {
        let held = orders.try_receive_batch(200).unwrap();
        assert!(!held.is_empty(), "{} of {} came", seen.len(), sent.len());
        let mut groups: Vec<&str> = held.iter().map(|order| order.group().unwrap()).collect();
        groups.sort_unstable();
        groups.dedup();
        assert_eq!(groups.len(), held.len(), "two of one group in flight");
        for order in held {
            match chance.below(4) {
                0 => order.release().unwrap(),
                1 => order.fail_with_delay("busy", Duration::ZERO).unwrap(),
                _ => {
                    seen.push((order.group().unwrap().to_owned(), text(&order)));
                    order.ack().unwrap();
                }
            }
        }
    }
    let (mut expected, mut seen_by_group) = (sent, seen);
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    seen_by_group.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(expected == seen_by_group);
}
