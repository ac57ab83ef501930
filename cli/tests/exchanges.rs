//! Exchanges, bindings and publishing as a shell sees them.

mod place;

use place::{Place, code, told};

/// A place with these queues.
fn with_queues(name: &str, queues: &[&str]) -> Place {
    let place = Place::new(name);
    queues.iter().for_each(|queue| drop(place.text(&["queue", "create", queue])));
    place
}

fn json(place: &Place, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&place.text(arguments)).unwrap()
}

fn publish(place: &Place, arguments: &[&str], input: &[u8]) -> String {
    let output = place.feed(&[&["publish"], arguments].concat(), input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What is in a queue, which is empty then.
fn taken(place: &Place, queue: &str) -> String {
    place.text(&["queue", "receive", queue, "--ack"])
}

fn fails(place: &Place, arguments: &[&str], code_wanted: i32, says: &str) {
    let output = place.run(arguments);
    let line = told(&output);
    assert!(code(&output) == code_wanted && line.contains(says), "{arguments:?}: {line}");
}

#[test]
fn a_topic_exchange_leads_lines_by_patterns_and_the_rest_to_its_alternate() {
    let place = with_queues("topic", &["invoices", "audit", "leftovers"]);
    place.text(&["exchange", "declare", "unclaimed", "--type", "fanout"]);
    let declare = ["exchange", "declare", "orders", "--type", "topic", "--alternate", "unclaimed"];
    assert_eq!(
        (place.text(&declare), place.text(&declare)),
        ("orders is there.\n".into(), "orders is there.\n".into())
    );
    let bound = place.text(&["bind", "orders", "invoices", "--key", "order.*.paid"]);
    assert_eq!(bound, "invoices is bound to orders.\n");
    place.text(&["bind", "orders", "audit", "--key", "order.#"]);
    place.text(&["bind", "unclaimed", "leftovers"]);
    let published = publish(&place, &["orders", "order.eu.paid"], b"a mug\na plate");
    assert_eq!(published, "2 messages published to orders, 4 places in queues, on disk.\n");
    publish(&place, &["orders", "order.eu.open"], b"a cup\n");
    publish(&place, &["orders", "newsletter"], b"spring\n");
    assert_eq!(
        publish(&place, &["orders", "order"], b""),
        "0 messages published to orders, 0 places in queues, on disk.\n"
    );
    assert_eq!(taken(&place, "invoices"), "a mug\na plate\n");
    assert_eq!(taken(&place, "audit"), "a mug\na plate\na cup\n");
    assert_eq!(taken(&place, "leftovers"), "spring\n");
}

#[test]
fn exchanges_are_listed_and_described_for_people_and_programs() {
    let place = with_queues("described", &["invoices"]);
    place.text(&["exchange", "declare", "rest", "--type", "fanout", "--allow-unroutable"]);
    place.text(&["exchange", "declare", "orders", "--type", "topic", "--alternate", "rest"]);
    place.text(&["bind", "orders", "invoices", "--key", "order.*.paid"]);
    place.text(&["bind", "orders", "rest", "--exchange", "--key", "#"]);
    let described = json(&place, &["exchange", "describe", "orders", "--json"]);
    assert_eq!(
        described,
        serde_json::json!({
            "name": "orders", "type": "topic", "alternate": "rest", "allows_unroutable": false,
            "bindings": [
                {"to": "queue", "name": "invoices", "binding": "order.*.paid"},
                {"to": "exchange", "name": "rest", "binding": "#"},
            ],
        })
    );
    let text = place.text(&["exchange", "describe", "orders"]);
    assert!(
        text.starts_with("orders: topic; alternate rest; 2 bindings.\n") && text.contains("order.*.paid"),
        "{text}"
    );
    let text = place.text(&["exchange", "describe", "rest"]);
    assert_eq!(text, "rest: fanout; allows what leads to no queue; 0 bindings.\n");
    assert!(place.text(&["exchange", "describe", ""]).starts_with("the default exchange: direct; leads each message"));
    let listed = place.text(&["exchange", "list", "--json"]);
    let listed: Vec<serde_json::Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((listed.len(), &listed[0], &listed[1]["name"]), (2, &described, &"rest".into()));
    let table = place.text(&["exchange", "list"]);
    let row = table.lines().find(|line| line.contains("orders")).unwrap();
    let cells: Vec<&str> = row.split(['│', '┆']).map(str::trim).collect();
    assert_eq!(cells, ["", "orders", "topic", "rest", "2", ""]);
}

#[test]
fn unbinding_tells_whether_it_was_bound() {
    let place = with_queues("unbind", &["q"]);
    place.text(&["exchange", "declare", "e", "--type", "headers"]);
    place.text(&["bind", "e", "q", "--header", "region=eu", "--header", "kind=mug", "--match", "any"]);
    let unbind = |arguments: &[&str]| place.text(&[&["unbind", "e", "q"], arguments].concat());
    assert!(unbind(&["--header", "region=eu"]).starts_with("q was not bound to e like this;"));
    let any = ["--match", "any", "--header", "region=eu", "--header", "kind=mug"];
    assert_eq!(unbind(&any), "q was bound to e; this binding is removed.\n");
    assert!(unbind(&any).starts_with("q was not bound"));
    assert_eq!(json(&place, &["exchange", "describe", "e", "--json"])["bindings"], serde_json::json!([]));
    for to in ["bind", "unbind"] {
        fails(&place, &[to, "e", "none", "--match", "all"], 3, "`towpath queue list` names all");
        fails(&place, &[to, "e", "q", "--exchange", "--match", "all"], 3, "`towpath exchange list` names all");
        fails(&place, &[to, "none", "q"], 3, "`towpath exchange list` names all");
        fails(&place, &[to, "", "q"], 4, "it is the default exchange");
    }
}

#[test]
fn each_type_says_what_a_binding_of_it_takes() {
    let place = with_queues("unfit", &["q"]);
    for (kind, fits, others, pass) in [
        ("direct", &["--key", "k"][..], [&["--weight", "2"][..], &[]], "pass --key with the routing key"),
        ("topic", &["--key", "a.*"], [&["--header", "a=b"], &[]], "pass --key with a pattern"),
        ("fanout", &[], [&["--key", "k"], &["--match", "any"]], "pass no --key"),
        ("headers", &["--header", "a=b"], [&["--key", "k"], &[]], "pass --header or --match"),
        ("consistent-hash", &["--weight", "2"], [&["--key", "k"], &["--header", "a=b"]], "pass --weight or nothing"),
    ] {
        place.text(&["exchange", "declare", kind, "--type", kind]);
        place.text(&[&["bind", kind, "q"], fits].concat());
        for other in others {
            fails(&place, &[&["bind", kind, "q"], other].concat(), 2, pass);
            fails(&place, &[&["unbind", kind, "q"], other].concat(), 2, &format!("{kind} is of type {kind}"));
        }
    }
    let long = ["a"; 128].join(".");
    fails(&place, &["bind", "topic", "q", "--key", &long], 4, "words of a pattern");
    fails(&place, &["bind", "headers", "q", "--header", "region"], 2, "expected a name and a value");
    fails(&place, &["bind", "consistent-hash", "q", "--weight", "0"], 2, "--weight");
    fails(&place, &["bind", "headers", "q", "--match", "some"], 2, "any-with-x");
    fails(&place, &["exchange", "declare", "x", "--type", "topic", "--hash-header", "h"], 2, "--type consistent-hash");
    fails(&place, &["exchange", "declare", "x", "--type", "ring"], 2, "consistent-hash");
}

#[test]
fn headers_lead_messages_by_themselves_and_by_their_hash() {
    let place = with_queues("headers", &["mugs", "either", "one", "two"]);
    place.text(&["exchange", "declare", "by-header", "--type", "headers", "--allow-unroutable"]);
    place.text(&["bind", "by-header", "mugs", "--header", "kind=mug", "--header", "region="]);
    place.text(&[
        "bind",
        "by-header",
        "either",
        "--match",
        "any-with-x",
        "--header",
        "kind=mug",
        "--header",
        "x-hurry=1",
    ]);
    publish(&place, &["by-header", "", "--header", "kind=mug", "--header", "region=eu"], b"both\n");
    publish(&place, &["by-header", "", "--header", "x-hurry=1"], b"hurry\n");
    let nowhere = publish(&place, &["by-header", "", "--header", "kind=plate"], b"plate\n");
    assert_eq!(nowhere, "1 message published to by-header, which led them to no queue.\n");
    assert_eq!((taken(&place, "mugs"), taken(&place, "either")), ("both\n".into(), "both\nhurry\n".into()));
    place.text(&["exchange", "declare", "shared", "--type", "consistent-hash", "--hash-header", "customer"]);
    place.text(&["bind", "shared", "one"]);
    place.text(&["bind", "shared", "two", "--weight", "3"]);
    for key in ["a", "b", "c"] {
        publish(&place, &["shared", key, "--header", "customer=ann"], b"order\n");
    }
    let mut taken = [taken(&place, "one"), taken(&place, "two")];
    taken.sort();
    assert_eq!(taken, [String::new(), "order\n".repeat(3)], "one customer's go together, whatever the key");
}

#[test]
fn what_leads_nowhere_or_to_a_full_queue_is_refused_and_says_how_much_is_in() {
    let place = with_queues("refused", &["q"]);
    place.text(&["queue", "create", "small", "--max-messages", "1500"]);
    place.text(&["exchange", "declare", "e", "--type", "direct"]);
    let refused = place.feed(&["publish", "e", "k"], b"a\nb\n");
    let line = told(&refused);
    assert!(code(&refused) == 4 && line.contains("exchange `e` leads `k` to no queue; `towpath exchange"), "{line}");
    assert!(line.contains("; 0 lines of standard input published before"), "{line}");
    let allowed = publish(&place, &["e", "k", "--allow-unroutable"], b"a\n");
    assert_eq!(allowed, "1 message published to e, which led them to no queue.\n");
    place.text(&["bind", "e", "small", "--key", "k"]);
    place.text(&["bind", "e", "q", "--key", "k"]);
    let refused = place.feed(&["publish", "e", "k"], "a line\n".repeat(2_500).as_bytes());
    let line = told(&refused);
    assert!(code(&refused) == 4 && line.contains("`small` holds") && line.contains("; 1,000 lines of"), "{line}");
    let ready = |queue: &str| json(&place, &["queue", "describe", queue, "--json"])["ready"].clone();
    assert_eq!((ready("small"), ready("q")), (1_000.into(), 1_000.into()), "all of a batch or nothing of it");
    let missing = place.feed(&["publish", "none", "k"], b"a\n");
    assert!(code(&missing) == 3 && told(&missing).contains("`towpath exchange list` names all"));
}

#[test]
fn the_default_exchange_leads_to_the_queue_that_the_key_names() {
    let place = with_queues("default", &["q"]);
    let published = publish(&place, &["", "q", "--level", "buffered", "--priority", "9"], b"a\n");
    assert_eq!(published, "1 message published to the default exchange, 1 place in queues, on disk.\n");
    let message = json(&place, &["queue", "receive", "q", "--ack", "--json"]);
    assert_eq!((&message["body"], &message["priority"]), (&"a".into(), &9.into()));
    let refused = place.feed(&["publish", "", "none"], b"a\n");
    let line = told(&refused);
    assert!(code(&refused) == 4 && line.contains("there is no queue `none`; `towpath queue list` names all"), "{line}");
}

#[test]
fn an_exchange_goes_with_its_bindings_unless_it_is_an_alternate() {
    let place = with_queues("delete", &["q"]);
    fails(&place, &["exchange", "declare", "e", "--type", "topic", "--alternate", "rest"], 3, "no exchange `rest`");
    fails(&place, &["exchange", "declare", "e", "--type", "topic", "--alternate", ""], 2, "name another");
    place.text(&["exchange", "declare", "rest", "--type", "fanout"]);
    place.text(&["exchange", "declare", "e", "--type", "topic", "--alternate", "rest"]);
    fails(&place, &["exchange", "declare", "e", "--type", "direct"], 4, "nothing was changed");
    fails(&place, &["exchange", "delete", "rest"], 4, "`rest` is the alternate of `e`; `towpath exchange delete`");
    assert_eq!(place.text(&["exchange", "delete", "e"]), "e is deleted.\n");
    place.text(&["exchange", "delete", "rest"]);
    assert_eq!(place.text(&["exchange", "list", "--json"]), "");
    fails(&place, &["exchange", "describe", "e"], 3, "`towpath exchange list` names all");
    fails(&place, &["exchange", "delete", ""], 4, "it is the default exchange");
}

#[test]
fn a_batch_for_more_queues_than_one_publish_takes_is_published_in_parts() {
    let place = with_queues("wide", &[]);
    let database = towpath::Database::open(place.data()).unwrap();
    let exchange = database.create_exchange("e", towpath::ExchangeOptions::fanout()).unwrap();
    for number in 0..70 {
        let queue = database.create_queue(&format!("q{number}"), towpath::QueueOptions::new()).unwrap();
        exchange.bind(&queue, towpath::Binding::all()).unwrap();
    }
    database.close().unwrap();
    let published = publish(&place, &["e", ""], "a line\n".repeat(1_000).as_bytes());
    assert_eq!(published, "1,000 messages published to e, 70,000 places in queues, on disk.\n");
    assert_eq!(json(&place, &["queue", "describe", "q69", "--json"])["ready"], 1_000);
}

#[test]
fn help_says_what_each_type_takes_and_names_the_exit_codes() {
    let place = Place::new("help");
    for verb in [&["bind"][..], &["unbind"], &["publish"], &["exchange", "declare"], &["exchange", "delete"]] {
        assert!(place.text(&[verb, &["--help"]].concat()).contains("75  the database is in use"), "{verb:?}");
    }
    assert!(place.text(&["bind", "--help"]).contains("topic: --key with a"));
    let refused = place.run(&["exchange"]);
    assert!(code(&refused) == 2 && String::from_utf8(refused.stderr).unwrap().contains("Commands:"));
}
