//! Schedules as a shell sees them.

mod place;

use place::{Place, code, told};

fn with_reports(name: &str) -> Place {
    let place = Place::new(name);
    place.text(&["queue", "create", "reports"]);
    place
}

fn json(place: &Place, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&place.text(arguments)).unwrap()
}

fn fails(place: &Place, arguments: &[&str], code_wanted: i32, says: &str) {
    let output = place.run(arguments);
    let line = told(&output);
    assert!(code(&output) == code_wanted && line.contains(says), "{arguments:?}: {line}");
}

/// What `schedule add` is told beside name and times.
const REPORT: [&str; 4] = ["--queue", "reports", "--body", "sales"];

#[test]
fn a_schedule_is_added_listed_paused_resumed_and_removed() {
    let place = with_reports("schedules");
    let nightly = ["schedule", "add", "nightly", "--cron", "30 2 1 1 *", "--zone", "Europe/Berlin"];
    let added = place.text(&[&nightly[..], &REPORT, &["--missed", "skip", "--overlap", "skip"]].concat());
    assert!(
        added.starts_with("nightly is there; it runs at 20") && added.ends_with("-01-01T01:30:00.000000Z.\n"),
        "{added}"
    );
    let listed = json(&place, &["schedule", "list", "--json"]);
    let told = |field: &str| listed[field].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (told("name"), told("cron"), told("zone")),
        ("nightly".into(), "30 2 1 1 *".into(), "Europe/Berlin".into())
    );
    assert_eq!(
        (told("queue"), told("body"), told("missed"), told("overlap")),
        ("reports".into(), "sales".into(), "skip".into(), "skip".into())
    );
    assert_eq!((listed["paused"].as_bool(), listed["sent"].as_u64()), (Some(false), Some(0)));
    assert_eq!(place.text(&["schedule", "pause", "nightly"]), "nightly is paused.\n");
    assert!(place.text(&["schedule", "list"]).contains("paused"));
    assert!(place.text(&["schedule", "describe", "nightly"]).contains("Next run: paused."));
    assert_eq!(place.text(&["schedule", "resume", "nightly"]), "nightly goes on.\n");
    let described = json(&place, &["schedule", "describe", "nightly", "--runs", "2", "--json"]);
    assert_eq!(described["next_runs"].as_array().map(Vec::len), Some(2));
    fails(&place, &["queue", "delete", "reports"], 4, "`towpath schedule remove` it first");
    assert_eq!(place.text(&["schedule", "remove", "nightly"]), "nightly is removed.\n");
    assert_eq!(place.text(&["schedule", "list", "--json"]), "");
    fails(&place, &["schedule", "pause", "nightly"], 3, "there is no schedule `nightly`");
}

#[test]
fn a_time_that_has_passed_is_made_up_for_by_whoever_opens_the_database_next() {
    let place = with_reports("passed");
    let output =
        place.feed(&["schedule", "add", "launch", "--at", "2026-01-01T00:00:00Z", "--queue", "reports"], b"go\n");
    assert!(output.status.success(), "{}", told(&output));
    let described = || json(&place, &["schedule", "describe", "launch", "--json"]);
    let has_run = |_: &u32| described()["sent"].as_u64() == Some(1);
    assert!((0..500).any(|attempt| has_run(&attempt)), "it is made soon after a process has opened the database");
    assert!(described()["next_run"].is_null());
    assert_eq!(place.text(&["queue", "receive", "reports", "--ack"]), "go\n");
    assert!(place.text(&["schedule", "describe", "launch"]).contains("Next run: ended."));
}

#[test]
fn an_exchange_is_named_with_its_key() {
    let place = with_reports("exchange");
    place.text(&["exchange", "declare", "events", "--type", "topic"]);
    let every = ["schedule", "add", "often", "--every", "10m", "--exchange", "events", "--key", "report.sales"];
    place.text(&[&every[..], &["--body", "sales", "--priority", "9", "--ttl", "1h"]].concat());
    let line = place.text(&["schedule", "describe", "often"]);
    let says = "often: every 10m; to exchange events, key report.sales; missed runs: one, overlap: allow.";
    assert!(line.starts_with(says), "{line}");
}

fn add<'a>(times: &[&'a str]) -> Vec<&'a str> {
    [&["schedule", "add", "nightly"], times, &REPORT].concat()
}

#[test]
fn what_cannot_be_is_refused_with_what_is_wrong() {
    let place = with_reports("refused");
    fails(&place, &add(&["--cron", "0 25 * * *"]), 4, "at byte 2: hours: `25`");
    fails(&place, &add(&["--cron", "@daily", "--zone", "Europe/Atlantis"]), 4, "time zone");
    fails(&place, &add(&["--every", "1ms"]), 4, "a second apart");
    fails(&place, &add(&["--at", "yesterday"]), 2, "expected a time");
    fails(&place, &add(&[]), 2, "required");
    fails(&place, &add(&["--every", "1h", "--cron", "@daily"]), 2, "cannot be used with");
    fails(&place, &add(&["--every", "1h", "--zone", "Europe/Berlin"]), 2, "--zone is for --cron");
    fails(&place, &add(&["--every", "1h", "--key", "report"]), 2, "--key is for --exchange");
    let no_queue = ["schedule", "add", "nightly", "--every", "1h", "--queue", "mails", "--body", "x"];
    fails(&place, &no_queue, 3, "there is no queue `mails`");
    assert_eq!(place.text(&["schedule", "list", "--json"]), "");
}
