//! The `towpath` command as a shell sees it: what it writes, how it ends.

mod place;

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use place::{Place, code, told};

#[test]
fn lines_come_back_as_they_were_appended() {
    let place = Place::new("lines");
    place.text(&["stream", "create", "access"]);
    let lines = b"first\n\n\xff not text\r\nlast without newline";
    let summary = place.append(&["access"], lines);
    assert!(String::from_utf8_lossy(&summary.stdout).contains("4 records to 1 partition"));
    let output = place.run(&["stream", "read", "access"]);
    assert_eq!(output.stdout, [&lines[..], b"\n"].concat());
}

#[test]
fn records_with_the_same_key_keep_their_order_in_one_partition() {
    let place = Place::new("keys");
    place.text(&["stream", "create", "orders", "--partitions", "4"]);
    let lines: String = (0..3_000).map(|n| format!("{n} customer-{}\n", n % 37)).collect();
    assert!(place.append(&["orders", "--key-field", "2"], lines.as_bytes()).status.success());
    let mut partitions = std::collections::HashMap::new();
    let mut count = 0;
    for line in place.text(&["stream", "read", "orders", "--json"]).lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let (number, key) = record["body"].as_str().unwrap().split_once(' ').unwrap();
        assert_eq!(record["key"], key);
        let (partition, last) = partitions.entry(key.to_owned()).or_insert((record["partition"].clone(), -1));
        assert_eq!(*partition, record["partition"]);
        let number: i64 = number.parse().unwrap();
        assert!(number > *last);
        *last = number;
        count += 1;
    }
    assert_eq!((count, partitions.len()), (3_000, 37));
}

#[test]
fn a_compacted_stream_is_created_as_told_and_takes_no_record_without_a_key() {
    let place = Place::new("compacted");
    place.text(&["stream", "create", "prices", "--compact", "--tombstone-retention", "7d"]);
    let described: serde_json::Value =
        serde_json::from_str(&place.text(&["stream", "describe", "prices", "--json"])).unwrap();
    let micros = 7 * 24 * 3_600 * 1_000_000_u64;
    assert_eq!(described["options"]["tombstone_retention_micros"], micros);
    assert!(place.text(&["stream", "describe", "prices"]).contains("; compacted, tombstones kept 7"));
    let refused = place.append(&["prices"], b"one blue mug\n");
    assert!(!refused.status.success() && told(&refused).contains("each record needs one"), "{}", told(&refused));
    let appended = place.append(&["prices", "--key-field", "1"], b"mug 12\n");
    assert!(appended.status.success(), "{}", told(&appended));
    let alone = place.run(&["stream", "create", "other", "--tombstone-retention", "7d"]);
    assert_eq!(code(&alone), 2, "without compaction it would say nothing");
}

#[test]
fn a_group_goes_on_behind_what_was_printed() {
    let place = Place::new("group");
    place.text(&["stream", "create", "s"]);
    place.append(&["s"], b"a\nb\nc\nd\n");
    let read = |max: &str| place.text(&["stream", "read", "s", "--group", "g", "--max", max]);
    assert_eq!((read("3"), read("9"), read("9")), ("a\nb\nc\n".into(), "d\n".into(), String::new()));
    place.append(&["s"], b"e\n");
    assert_eq!(place.text(&["stream", "read", "s", "--group", "g", "--follow", "--max", "1"]), "e\n");
    let json = |arguments: &[&str]| serde_json::from_str::<serde_json::Value>(&place.text(arguments)).unwrap();
    let group = json(&["group", "describe", "s", "g", "--json"]);
    assert_eq!((&group["lag"], &group["partitions"][0]["committed"]), (&0.into(), &5.into()));
    assert!(place.text(&["group", "describe", "s", "g"]).starts_with("g: 0 members; generation "));
    place.text(&["group", "reset", "s", "g", "--to", "2"]);
    assert_eq!(json(&["group", "list", "s", "--json"])["lag"], 3);
    let listed = json(&["group", "list", "--json"]);
    assert_eq!((&listed["stream"], &listed["name"]), (&"s".into(), &"g".into()), "without a stream: of all");
    assert_eq!(place.text(&["group", "delete", "s", "g"]), "g is deleted.\n");
    let gone = place.run(&["group", "describe", "s", "g"]);
    assert!(code(&gone) == 3 && told(&gone).contains("`towpath group list STREAM`"), "{}", told(&gone));
    assert_eq!(code(&place.run(&["stream", "read", "s", "--group", "g", "--from", "1"])), 2);
}

#[test]
fn reading_begins_and_ends_where_it_is_told() {
    let place = Place::new("range");
    place.text(&["stream", "create", "s"]);
    place.append(&["s"], b"a\nb\nc\nd\n");
    assert_eq!(place.text(&["stream", "read", "s", "--from", "1", "--max", "2"]), "b\nc\n");
    assert_eq!(place.text(&["stream", "read", "s", "--from", "latest"]), "");
    assert_eq!(place.text(&["stream", "read", "s", "--from", "-1h", "--partition", "0"]), "a\nb\nc\nd\n");
    assert_eq!(place.text(&["stream", "read", "s", "--follow", "--max", "3"]), "a\nb\nc\n");
    let trim = |before| place.text(&["stream", "trim", "s", "--before", before]);
    assert_eq!(trim("2"), "s partition 0 begins at offset 2 and holds 2 records.\n");
    assert_eq!(place.text(&["stream", "read", "s"]), "c\nd\n");
    assert_eq!(trim("1"), "s partition 0 begins at offset 2 and holds 2 records.\n", "it never goes back");
    assert_eq!(code(&place.run(&["stream", "read", "s", "--from", "1"])), 4);
    assert_eq!(trim("99"), "s partition 0 is empty and goes on at offset 4.\n");
}

#[test]
fn each_way_to_fail_has_its_code_and_one_line() {
    let place = Place::new("codes");
    assert_eq!(code(&place.run(&["stream", "list"])), 3);
    assert!(!place.data().exists(), "a reading command made a directory");
    place.text(&["stream", "create", "s", "--partitions", "2"]);
    place.text(&["stream", "create", "s", "--partitions", "2"]);
    let output = place.run(&["stream", "create", "s", "--partitions", "3"]);
    assert_eq!(code(&output), 4, "{}", told(&output));
    for missing in [["stream", "read", "none"], ["stream", "describe", "none"], ["stream", "delete", "none"]] {
        let output = place.run(&missing);
        assert_eq!(code(&output), 3, "{}", told(&output));
    }
    for verb in [&["read"][..], &["trim", "--before", "1"]] {
        let output = place.run(&[&["stream"], verb, &["s", "--partition", "9"]].concat());
        assert_eq!(code(&output), 3, "{}", told(&output));
    }
    let output = place.run(&["stream", "read", "s", "--from", "0"]);
    assert_eq!(code(&output), 2, "{}", told(&output));
    assert_eq!(code(&place.run(&["stream", "read", "s", "--from", "tomorrow"])), 2);
}

#[test]
fn mistakes_are_told_in_one_line_that_says_what_to_do() {
    let place = Place::new("mistakes");
    let says = |arguments: &[&str], code_wanted: i32, text: &str| {
        let output = place.run(arguments);
        let line = told(&output);
        assert!(code(&output) == code_wanted && line.contains(text), "{arguments:?}: {line}");
    };
    says(&["stream", "list"], 3, "`towpath stream create` makes one");
    place.text(&["stream", "create", "s"]);
    says(&["stream", "read", "none"], 3, "`towpath stream list` names all");
    says(
        &["stream", "create", "s", "--retention-age", "1h"],
        4,
        "is unlimited, asked for 3600 s); nothing was changed",
    );
    says(&["stream", "read", "s", "--from", "7"], 4, "begins at 0 and ends before 0");
    for rubbish in ["tomorrow", "+5", "-5", "2026-13-01T00:00:00Z"] {
        says(&["stream", "read", "s", "--from", rubbish], 2, "expected earliest, latest, an offset, or a time");
    }
    says(&["stream", "read"], 2, "<NAME>");
    says(&["stream", "append", "s", "--key-separator", ","], 2, "--key-field <N>");
    says(&["strem"], 2, "strem");
    let place = Place::new("file");
    std::fs::write(place.data(), "a letter").unwrap();
    for verb in [&["stream", "create", "s"][..], &["stream", "list"], &["check"]] {
        let output = place.run(verb);
        assert!(code(&output) == 4 && told(&output).contains("is a file"), "{verb:?}: {}", told(&output));
    }
    assert_eq!(std::fs::read(place.data()).unwrap(), b"a letter");
}

#[test]
fn a_noun_alone_is_told_what_is_missing_without_what_is_internal() {
    let place = Place::new("nouns");
    let output = place.run(&[]);
    let line = told(&output);
    assert!(code(&output) == 2 && line.contains("requires a subcommand") && !line.contains("feeder"), "{line}");
    for noun in ["stream", "bench"] {
        let output = place.run(&[noun]);
        assert!(code(&output) == 2 && String::from_utf8(output.stderr).unwrap().contains("Commands:"), "{noun}");
    }
    let bare = Command::new(env!("CARGO_BIN_EXE_towpath")).env_remove("TOWPATH_DATA").output().unwrap();
    let text = String::from_utf8(bare.stderr).unwrap();
    assert!(bare.status.code() == Some(2) && text.contains("Commands:") && !text.contains("feeder"), "{text}");
}

#[test]
fn a_line_that_is_too_long_is_named_by_its_number() {
    let place = Place::new("long");
    place.text(&["stream", "create", "s"]);
    let line = |bytes: usize| "x".repeat(bytes) + "\n";
    for too_long in [(1 << 20) + 1, 5 << 20] {
        let output = place.append(&["s"], ["a\n", &line(1 << 20), &line(too_long), "b\n"].concat().as_bytes());
        let text = told(&output);
        assert!(code(&output) == 4 && text.contains("line 3 is longer than 1,048,576 bytes; 2 lines"), "{text}");
    }
    assert_eq!(place.text(&["stream", "read", "s"]).len(), 2 * (2 + (1 << 20) + 1));
}

#[test]
fn a_key_that_is_too_long_is_named_by_its_line_and_what_comes_before_is_in() {
    let place = Place::new("long-key");
    place.text(&["stream", "create", "s"]);
    let input = format!("a 1\nb 2\n{} 3\nd 4\n", "k".repeat(70_000));
    let output = place.append(&["s", "--key-field", "1"], input.as_bytes());
    let text = told(&output);
    let says = "line 3: a key has at most 65536 bytes, not 70000; choose a shorter one; 2 lines of standard input";
    assert!(code(&output) == 4 && text.contains(says), "{text}");
    assert_eq!(place.text(&["stream", "read", "s"]), "a 1\nb 2\n");
}

#[test]
fn an_append_that_has_returned_is_on_disk_at_any_level() {
    let place = Place::new("on-disk");
    place.text(&["stream", "create", "s"]);
    for level in ["sync", "buffered"] {
        let output = place.append(&["s", "--level", level], b"a\n");
        assert_eq!(output.stdout, b"Appended 1 record to 1 partition of s, on disk.\n");
    }
}

#[test]
fn a_directory_that_lost_its_control_file_is_damaged_and_nobody_is_told_to_make_a_new_one() {
    let place = Place::new("headless");
    place.text(&["stream", "create", "s"]);
    std::fs::remove_file(place.data().join("control")).unwrap();
    for arguments in [&["stream", "list"][..], &["stream", "create", "s"], &["stats"]] {
        let output = place.run(arguments);
        let text = told(&output);
        assert!(code(&output) == 6 && text.contains("the control file is missing"), "{arguments:?}: {text}");
        assert!(text.contains("restore a copy of the directory") && !text.contains("create"), "{text}");
    }
    let output = place.run(&["check"]);
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(code(&output) == 6 && text.contains("the control file is missing"), "{text}");
    assert!(text.contains("restore a copy of the directory"), "{text}");
    assert!(!text.contains("stream create") && !text.contains("run `towpath check`"), "{text}");
}

#[test]
fn a_time_without_a_zone_is_of_the_zone_of_the_system() {
    let place = Place::new("zone");
    place.text(&["stream", "create", "s"]);
    place.append(&["s"], b"a\n");
    let hours = |hours: i64| jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
    let civil = |hours_ahead| hours(hours_ahead).to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let read = |zone: &str, from: &str| {
        let output = place.towpath(&["stream", "read", "s", "--from", from]).env("TZ", zone).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let soon = civil(1).to_string();
    assert_eq!((read("UTC0", &soon).len(), read("EAST-3", &soon).len()), (0, 2));
    let spaced = soon.replace('T', " ");
    assert_eq!((read("WEST3", &spaced).len(), read("EAST-3", &spaced).len()), (0, 2));
    let (tomorrow, yesterday) = (civil(24 + 24).date().to_string(), civil(-24).date().to_string());
    assert_eq!((read("UTC0", &tomorrow).len(), read("UTC0", &yesterday).len()), (0, 2));
}

#[test]
fn a_command_works_beside_another_and_a_check_is_told_that_the_database_is_in_use() {
    let place = Place::new("in-use");
    place.text(&["stream", "create", "s"]);
    place.append(&["s"], b"a\n");
    let mut holder = place.piped(&["stream", "read", "s", "--follow"]);
    holder.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    place.append(&["s"], b"b\n");
    let mut followed = [0; 2];
    holder.stdout.as_mut().unwrap().read_exact(&mut followed).unwrap();
    assert_eq!(&followed, b"b\n");
    let output = place.run(&["check"]);
    assert_eq!(code(&output), 75, "{}", told(&output));
    holder.kill().unwrap();
    holder.wait().unwrap();
    place.text(&["check"]);
}

#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    let place = Place::new("pipe");
    place.text(&["stream", "create", "s"]);
    place.append(&["s"], "some line that fills the pipe\n".repeat(20_000).as_bytes());
    let mut child = place.piped(&["stream", "read", "s"]);
    child.stdout.take().unwrap().read_exact(&mut [0; 100]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), output.stderr.len()), (0, 0));
}

#[test]
fn a_slow_writer_is_not_kept_waiting() {
    let place = Place::new("slow");
    place.text(&["stream", "create", "s"]);
    let mut child = place.piped(&["stream", "append", "s"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\nhal").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(input);
    assert_eq!(place.text(&["stream", "read", "s"]), "one\n");
}

#[test]
fn every_reading_command_speaks_json() {
    let place = Place::new("json");
    place.text(&["stream", "create", "s"]);
    place.append(&["s"], b"\xff\n");
    for arguments in [&["stream", "list"][..], &["stream", "describe", "s"], &["check"], &["stats"]] {
        let text = place.text(&[arguments, &["--json"]].concat());
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
    let record: serde_json::Value = serde_json::from_str(&place.text(&["stream", "read", "s", "--json"])).unwrap();
    assert_eq!((&record["body"], &record["body_base64"]), (&serde_json::Value::Null, &"/w==".into()));
}

#[test]
fn retention_is_described_exactly_in_units_and_in_numbers() {
    let place = Place::new("describe");
    let limits = ["--retention-age", "100d1us", "--retention-bytes", "100MB", "--retention-records", "1500"];
    place.text(&[&["stream", "create", "s"], &limits[..]].concat());
    let text = place.text(&["stream", "describe", "s"]);
    assert!(text.starts_with("s: 1 partition; each keeps at most 100d 1us, 100 MB, 1,500 records;"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&place.text(&["stream", "describe", "s", "--json"])).unwrap();
    let options = &json["options"];
    assert_eq!(
        (&options["retention_age_micros"], &options["retention_bytes"]),
        (&8_640_000_000_001_u64.into(), &100_000_000.into())
    );
}

#[test]
fn partitions_are_added_and_described_mapping_by_mapping() {
    let place = Place::new("grow");
    place.text(&["stream", "create", "s", "--partitions", "2"]);
    assert!(!place.text(&["stream", "describe", "s"]).contains("Mapping"));
    assert_eq!(place.text(&["stream", "add-partitions", "s", "3"]), "s has 5 partitions now; this is its mapping 2.\n");
    let text = place.text(&["stream", "describe", "s"]);
    assert!(text.starts_with("s: 5 partitions;") && text.contains("Mapping 2: 5 partitions since LSN "), "{text}");
    let json: serde_json::Value = serde_json::from_str(&place.text(&["stream", "describe", "s", "--json"])).unwrap();
    let mappings = json["mappings"].as_array().unwrap();
    assert_eq!((mappings.len(), &mappings[0]["since_lsn"], &mappings[1]["partitions"]), (2, &0.into(), &5.into()));
    place.append(&["s", "--key-field", "1"], b"a 1\nb 2\n");
    for (arguments, exit) in [(["none", "1"], 3), (["s", "0"], 2), (["s", "5000"], 4)] {
        let output = place.run(&[&["stream", "add-partitions"], &arguments[..]].concat());
        assert_eq!(code(&output), exit, "{}", told(&output));
    }
    let output = place.run(&["stream", "create", "s", "--partitions", "9"]);
    assert!(told(&output).contains("add-partitions"), "{}", told(&output));
}

#[test]
fn a_small_demonstration_ends_with_exact_books() {
    let place = Place::new("demo");
    let text = place.text(&["demo", "--records", "2000", "--kills", "3"]);
    assert!(text.contains("The books are exact: after 3 kills"), "{text}");
    assert!(text.contains("The queues are exact too"), "{text}");
    let count = |what: &str| {
        let row = text.lines().find(|line| line.trim_start_matches(['│', ' ']).starts_with(what));
        row.and_then(|row| row.split('┆').nth(1)).map(|count| count.trim().to_owned())
    };
    assert_eq!(count("consumed  ").as_deref(), Some("2,000"), "{text}");
    assert_eq!((count("processed  "), count("dead: killed")), (Some("3,667".into()), Some("2".into())), "{text}");
    for promise in ["not consumed", "consumed out of order", "consumed twice", "not processed"] {
        assert_eq!(count(promise).as_deref(), Some("0"), "{text}");
    }
    let output = place.run(&["demo", "--records", "10"]);
    assert_eq!(code(&output), 4, "{}", told(&output));
    let file = place.path().join("input");
    std::fs::write(&file, "k a\nk a\n\nk b\n".repeat(100)).unwrap();
    let text = demo_elsewhere(&file);
    assert!(text.contains("The books are exact") && text.contains("400"), "{text}");
}

#[test]
fn a_line_of_the_demonstration_that_is_too_long_is_named_before_anything_is_begun() {
    let place = Place::new("demo-long");
    let file = place.path().join("input");
    for (line, what) in
        [("x y".repeat(1 << 19), "is longer"), ("x".repeat(70_000), "has a first field, which is its key")]
    {
        std::fs::write(&file, format!("k a\n{line}\nk b\n")).unwrap();
        let output = place.temporary(&["demo", "--input", file.to_str().unwrap()]).output().unwrap();
        let text = told(&output);
        assert!(code(&output) == 4 && text.contains("line 2 of ") && text.contains(what), "{text}");
        assert_eq!(place.names(), ["input"]);
    }
}

#[test]
fn the_demonstration_works_where_the_variable_says() {
    let place = Place::new("demo-variable");
    let mut demo = place.temporary(&["demo", "--records", "500", "--kills", "0"]);
    let output = demo.env("TOWPATH_DATA", place.data()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(place.text(&["stream", "list"]).contains("500"));
}

#[test]
fn a_temporary_database_that_cannot_be_made_leaves_nothing_behind() {
    let place = Place::new("litter");
    let mut shell = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f 1000; exec {} bench append", env!("CARGO_BIN_EXE_towpath"));
    let output = shell.args(["-c", &script]).env("TMPDIR", place.path()).output().unwrap();
    assert_ne!(code(&output), 0, "{}", told(&output));
    assert!(place.names().is_empty(), "{:?}", place.names());
}

/// Without `--data`, in a temporary directory.
fn demo_elsewhere(file: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
    let output = command.args(["demo", "--kills", "1", "--input"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_names_the_exit_codes() {
    let place = Place::new("help");
    assert!(place.text(&["--help"]).contains("75  the database is in use"));
    for verb in ["create", "append", "read", "list", "describe", "add-partitions", "delete", "trim"] {
        assert!(place.text(&["stream", verb, "--help"]).contains("75  the database is in use"), "{verb}");
    }
    assert!(place.text(&["bench", "append", "--help"]).contains("130, 143  stopped by SIGINT"));
    assert!(place.text(&["completions", "bash"]).contains("_towpath"));
}

#[test]
fn lines_are_sent_worked_on_and_come_to_be_dead_letters_that_are_sent_again() {
    let place = Place::new("queue");
    let created = ["queue", "create", "mails", "--max-attempts", "2", "--backoff", "none"];
    place.text(&created);
    let sent = place.feed(&["queue", "send", "mails"], b"ann\nnobody\nbob\n");
    assert!(String::from_utf8_lossy(&sent.stdout).contains("3 messages sent to mails"), "{:?}", sent.stderr);
    let json = |arguments: &[&str]| serde_json::from_str::<serde_json::Value>(&place.text(arguments)).unwrap();
    assert_eq!(json(&["queue", "describe", "mails", "--json"])["ready"], 3);
    let script = "read -r mail; test \"$mail\" != nobody || { echo \"no such address\" >&2; exit 7; }";
    let work = place.text(&["queue", "work", "mails", "--until-empty", "--", "sh", "-c", script]);
    assert_eq!(work, "2 messages done, 2 attempts failed.\n");
    let letter = json(&["dead", "list", "mails", "--json"]);
    let told_of = letter["failures"][0]["error"].as_str().unwrap();
    assert!(told_of.contains("no such address") && told_of.contains('7'), "{told_of}");
    assert_eq!((&letter["body"], &letter["reason"]), (&"nobody".into(), &"attempts exhausted".into()));
    assert!(place.text(&["dead", "list", "mails"]).contains("no such address"));
    let sequence = letter["sequence"].to_string();
    assert!(place.text(&["dead", "show", "mails", &sequence]).contains("2 failed attempts"));
    assert_eq!(place.text(&["dead", "redrive", "mails"]), "1 dead letter of mails sent again.\n");
    assert_eq!(place.text(&["queue", "receive", "mails", "--ack"]), "nobody\n");
    let mails = json(&["queue", "list", "--json"]);
    assert_eq!((&mails["ready"], &mails["in_flight"], &mails["dead"]), (&0.into(), &0.into(), &0.into()));
}

#[test]
fn dead_letters_go_to_the_queue_that_is_named_and_are_listed_and_redriven_there() {
    let place = Place::new("target");
    place.text(&["queue", "create", "failed"]);
    let create = ["queue", "create", "mails", "--max-attempts", "1", "--backoff", "none", "--dead-letter", "failed"];
    place.text(&create);
    place.feed(&["queue", "send", "mails"], b"ann\nnobody\nbob\n");
    let script = "read -r mail; test \"$mail\" != nobody || { echo \"no such address\" >&2; exit 7; }";
    place.text(&["queue", "work", "mails", "--until-empty", "--", "sh", "-c", script]);
    let json = |arguments: &[&str]| serde_json::from_str::<serde_json::Value>(&place.text(arguments)).unwrap();
    // It is moved on by the host, which the commands are one after the other.
    let letter = loop {
        let listed = place.text(&["dead", "list", "failed", "--json"]);
        if !listed.is_empty() {
            break serde_json::from_str::<serde_json::Value>(&listed).unwrap();
        }
    };
    assert_eq!((&letter["body"], &letter["deaths"][0]["queue"]), (&"nobody".into(), &"mails".into()));
    assert_eq!(json(&["queue", "describe", "failed", "--json"])["is_target"], true);
    let shown = place.text(&["dead", "show", "failed", &letter["sequence"].to_string()]);
    assert!(shown.contains("in mails: attempts exhausted") && shown.contains("no such address"), "{shown}");
    let refused = place.run(&["queue", "delete", "failed"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("dead letters of queue `mails` go to queue `failed`"));
    let dry = place.text(&["dead", "redrive", "failed", "--reason", "attempts-exhausted", "--dry-run"]);
    assert_eq!(dry, "1 dead letter of failed would be sent again.\n");
    assert_eq!(place.text(&["dead", "redrive", "failed"]), "1 dead letter of failed sent again.\n");
    assert_eq!(place.text(&["queue", "receive", "mails", "--ack"]), "nobody\n");
}

#[test]
fn messages_are_looked_at_explained_cancelled_and_rescheduled_and_none_is_taken() {
    let place = Place::new("looked-at");
    place.text(&["queue", "create", "mails"]);
    place.feed(&["queue", "send", "mails"], b"ann\nbob\ncarol\n");
    place.feed(&["queue", "send", "mails", "--delay", "1h"], b"dave\n");
    assert_eq!(place.text(&["queue", "receive", "mails", "--peek"]), "ann\nbob\ncarol\n");
    let json = |arguments: &[&str]| serde_json::from_str::<serde_json::Value>(&place.text(arguments)).unwrap();
    let first = json(&["queue", "receive", "mails", "--peek", "--max", "1", "--json"]);
    assert_eq!((&first["sequence"], &first["body"], first.get("attempt")), (&0.into(), &"ann".into(), None));
    assert_eq!(place.text(&["explain", "mails", "0"]), "0 of mails: it is the next\n");
    assert_eq!(place.text(&["explain", "mails", "2"]), "2 of mails: it is behind 2 other messages\n");
    assert_eq!(json(&["explain", "mails", "3", "--json"])["state"], "delayed");
    assert_eq!(place.text(&["queue", "cancel", "mails", "1"]), "1 of mails is cancelled.\n");
    assert_eq!(place.text(&["explain", "mails", "1"]), "1 of mails: it is not there, or no longer\n");
    assert_eq!(code(&place.run(&["queue", "cancel", "mails", "1"])), 4);
    place.text(&["queue", "reschedule", "mails", "3", "--delay", "2h"]);
    let described = json(&["queue", "describe", "mails", "--json"]);
    assert_eq!(
        (&described["ready"], &described["delayed"], &described["in_flight"]),
        (&2.into(), &1.into(), &0.into())
    );
    assert!(described["oldest_age"].as_f64().is_some_and(|age| (0.0..600.0).contains(&age)), "{described}");
    assert!(place.text(&["queue", "describe", "mails"]).contains("the oldest waits for"));
    assert_eq!(place.text(&["queue", "receive", "mails", "--ack"]), "ann\ncarol\n");
    assert_eq!(json(&["queue", "describe", "mails", "--json"])["oldest_age"], serde_json::Value::Null);
}

#[test]
fn a_queue_is_paused_purged_and_deleted_and_a_full_one_refuses() {
    let place = Place::new("full-queue");
    place.text(&["queue", "create", "mails", "--max-messages", "2"]);
    let refused = place.feed(&["queue", "send", "mails"], b"a\nb\nc\n");
    assert!(code(&refused) == 4 && told(&refused).contains("holds 2 messages"), "{}", told(&refused));
    assert!(place.feed(&["queue", "send", "mails", "--priority", "9"], b"a\nb\n").status.success());
    place.text(&["queue", "pause", "mails"]);
    assert_eq!(place.text(&["queue", "receive", "mails", "--ack"]), "");
    place.text(&["queue", "resume", "mails"]);
    let received = place.text(&["queue", "receive", "mails", "--ack", "--max", "1", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&received).unwrap()["priority"], 9);
    assert_eq!(place.text(&["queue", "purge", "mails"]), "1 message of mails deleted.\n");
    assert_eq!(place.text(&["queue", "delete", "mails"]), "mails is deleted.\n");
    let gone = place.run(&["queue", "describe", "mails"]);
    assert!(code(&gone) == 3 && told(&gone).contains("`towpath queue list`"), "{}", told(&gone));
}
