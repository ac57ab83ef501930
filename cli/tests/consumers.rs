//! Consumers of a queue, as the command tells of them.

mod place;

use place::Place;
use towpath::{QueueOptions, SubscriptionOptions};

#[test]
fn describe_shows_who_consumes_and_who_is_active_and_explain_who_is_waited_for() {
    let place = Place::new("consumers");
    place.text(&["queue", "create", "mails", "--single-active-consumer"]);
    assert!(!place.text(&["queue", "describe", "mails"]).contains("consumer"));
    place.feed(&["queue", "send", "mails"], b"ann\nbob\n");
    let database = towpath::Options::new().open(place.data()).unwrap();
    let mails = database.create_queue("mails", QueueOptions::new().single_active_consumer(true)).unwrap();
    let mut packer = mails.subscribe(SubscriptionOptions::new().name("packer")).unwrap();
    let ann = packer.try_next().unwrap().unwrap();
    let json = |arguments: &[&str]| serde_json::from_str::<serde_json::Value>(&place.text(arguments)).unwrap();
    let told = json(&["queue", "describe", "mails", "--json"]);
    let packer_told = &told["consumers"][0];
    assert_eq!((&packer_told["name"], &packer_told["is_active"]), (&"packer".into(), &true.into()));
    assert_eq!((&packer_told["in_flight"], &packer_told["prefetch"]), (&1.into(), &1.into()));
    assert_eq!(json(&["explain", "mails", "1", "--json"])["state"], "consumers_full");
    let driver = mails.subscribe(SubscriptionOptions::new().name("driver").priority(1)).unwrap();
    let explained = json(&["explain", "mails", "1", "--json"]);
    assert_eq!((&explained["state"], &explained["consumer"]), (&"not_active".into(), &"packer".into()));
    let shown = place.text(&["queue", "describe", "mails"]);
    assert!(shown.contains("packer") && shown.contains("driver") && shown.contains(&std::process::id().to_string()));
    ann.ack().unwrap();
    assert_eq!(place.text(&["explain", "mails", "1"]), "1 of mails: it is the next\n");
    drop(driver);
}
