//! Ids and dedup as a shell sees them.

mod place;

use place::{Place, code, told};

fn fed(place: &Place, arguments: &[&str], input: &[u8]) -> String {
    let output = place.feed(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_input_that_is_fed_twice_with_ids_is_stored_once() {
    let place = Place::new("twice");
    place.text(&["queue", "create", "imports", "--dedup-for", "1h"]);
    let send = ["queue", "send", "imports", "--id-prefix", "monday-"];
    assert_eq!(fed(&place, &send, b"a mug\na plate\n"), "2 messages sent to imports, on disk.\n");
    let again = fed(&place, &send, b"a mug\na plate\na cup\n");
    assert_eq!(again, "3 messages sent to imports, on disk; 2 messages there before.\n");
    let first = place.text(&["queue", "receive", "imports", "--max", "1", "--ack", "--json"]);
    assert!(first.contains("\"id\":\"monday-1\""), "{first}");
    assert_eq!(place.text(&["queue", "receive", "imports", "--ack"]), "a plate\na cup\n");
}

#[test]
fn an_exchange_takes_an_input_once_and_a_queue_one_message_of_an_id_at_a_time() {
    let place = Place::new("exchange");
    place.text(&["queue", "create", "jobs", "--unique-until-settled"]);
    place.text(&["exchange", "declare", "events", "--type", "fanout", "--dedup-last", "1000"]);
    place.text(&["bind", "events", "jobs"]);
    let publish = ["publish", "events", "", "--id-prefix", "job-"];
    fed(&place, &publish, b"sweep\n");
    let again = fed(&place, &publish, b"sweep\n");
    assert_eq!(again, "1 message published to events, 1 place in queues, on disk; 1 message there before.\n");
    let send = ["queue", "send", "jobs", "--id-prefix", "job-"];
    assert_eq!(fed(&place, &send, b"sweep\n"), "1 message sent to jobs, on disk; 1 message there before.\n");
    assert_eq!(place.text(&["queue", "receive", "jobs", "--ack"]), "sweep\n");
    assert_eq!(fed(&place, &send, b"sweep\n"), "1 message sent to jobs, on disk.\n");
}

#[test]
fn a_queue_has_one_kind_of_dedup() {
    let place = Place::new("kinds");
    let both = place.run(&["queue", "create", "jobs", "--dedup-last", "5", "--unique-until-settled"]);
    assert_eq!(code(&both), 2, "{}", told(&both));
    place.text(&["queue", "create", "jobs", "--dedup-last", "5"]);
    let other = place.run(&["queue", "create", "jobs", "--dedup-for", "10s"]);
    assert!(told(&other).contains("dedup is by the last 5 ids, not for 10s"), "{}", told(&other));
}
