//! The style of the sources as tests: who may import whom, sizes, calls that have one home, words, and what must be
//! written down. Each violation names file, line, rule and what to do.
//!
//! The rules work on the text with comments and literals blanked out ([`text`]); no compiler is asked.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/tree.rs"]
mod tree;

use rules::Violation;
use tree::Tree;

/// What each layer of `src` may import, besides itself. `Any` layers are above all others.
const LAYERS: &[(&str, Imports)] = &[
    ("base", Imports::Only(&[])),
    ("storage", Imports::Only(&["base"])),
    ("journal", Imports::Only(&["base", "storage"])),
    ("index", Imports::Only(&["base"])),
    ("engine", Imports::Only(&["base", "journal", "index"])),
    ("primitives", Imports::Only(&["base", "engine::machine", "journal::entry"])),
    ("processes", Imports::Only(&["base", "storage", "engine", "primitives"])),
    ("api", Imports::Any),
    ("sim", Imports::Any),
];

/// Imports beyond the table, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("index", "storage::disk", "the storage backend of redb reads and writes through the one door to the files"),
    ("processes", "journal::entry", "an item that another process tells of has the head that it has in the journal"),
    ("engine", "storage", "opening puts the layers below together, and reading goes straight to maps and frames"),
];

enum Imports {
    Only(&'static [&'static str]),
    Any,
}

/// A word of the code that has one home.
struct Home {
    word: &'static str,
    /// Paths begin with one of these.
    homes: &'static [&'static str],
    instead: &'static str,
}

const HOMES: &[Home] = &[
    Home { word: "Instant", homes: CLOCK, instead: "take `Now` as an argument, or ask storage::disk::clock" },
    Home { word: "SystemTime", homes: CLOCK, instead: "take `Now` as an argument, or ask storage::disk::clock" },
    Home { word: "clock_gettime", homes: CLOCK, instead: "take `Now` as an argument, or ask storage::disk::clock" },
    Home { word: "std::thread", homes: FACADE, instead: "use base::sync, which loom can replace" },
    Home { word: "std::sync", homes: FACADE, instead: "use base::sync, which loom can replace" },
    Home { word: "parking_lot", homes: FACADE, instead: "use base::sync, which loom can replace" },
    Home { word: "event_listener", homes: FACADE, instead: "use base::sync, which loom can replace" },
    Home { word: "std::fs", homes: DISK, instead: "go through storage::disk, which the simulator can replace" },
    Home { word: "rustix", homes: DISK, instead: "go through storage::disk, which the simulator can replace" },
    Home { word: "libc", homes: DISK, instead: "go through storage::disk, which the simulator can replace" },
    Home { word: "memmap2", homes: DISK, instead: "go through storage::disk, which the simulator can replace" },
    Home { word: "redb", homes: &["src/index/"], instead: "ask the index; no other layer knows redb" },
];

const CLOCK: &[&str] = &["src/storage/disk/clock.rs", "src/storage/disk/host/clock.rs"];
const FACADE: &[&str] = &["src/base/sync.rs"];
const DISK: &[&str] = &["src/storage/disk/"];

/// Files in which a map or a pointer crosses a boundary.
const UNSAFE_FILES: &[&str] = &[
    "benches/figures/heap.rs",
    "benches/figures/usage.rs",
    "benches/figures/wakes.rs",
    "src/engine/read.rs",
    "src/journal/cleaner.rs",
    "src/journal/commit.rs",
    "src/journal/sidecar.rs",
    "src/journal/tail.rs",
    "src/measure.rs",
    "src/sim/disk/memory.rs",
    "src/sim/disk/tests.rs",
    "src/storage/disk/conformance.rs",
    "src/storage/disk/host/file.rs",
    "src/storage/disk/host/fork.rs",
    "src/storage/disk/host/inherit.rs",
    "src/storage/disk/host/inherit/tests.rs",
    "src/storage/disk/host/lock.rs",
    "src/storage/disk/host/socket/peer.rs",
    "src/storage/disk/map.rs",
    "src/storage/ring.rs",
    "tests/nemesis/forked.rs",
    "tests/place/forking.rs",
];

/// What a method of a handle comes to.
enum Asks {
    /// Operations of `src/processes/operation.rs`, by which it is performed from an attached process too.
    Operations(&'static [&'static str]),
    /// Nothing is asked of the host, for this reason.
    Local(&'static str),
}

use Asks::{Local, Operations};

/// Every public method of a handle. What an operation is used by is also exercised attached: `tests/attached` asks for
/// every operation and runs all tests of streams and queues.
const METHODS: &[(&str, &str, Asks)] = &[
    ("database", "create_stream", Operations(&["Submit", "FindStream"])),
    ("database", "ensure_stream", Operations(&["Submit", "FindStream"])),
    ("database", "stream", Operations(&["FindStream"])),
    ("database", "streams", Operations(&["StreamNames", "FindStream", "DescribeStream", "DescribePartitions"])),
    ("database", "delete_stream", Operations(&["Submit"])),
    ("database", "sync", Operations(&["Sync"])),
    ("database", "sync_async", Operations(&["Sync"])),
    ("database", "checkpoint", Operations(&["Checkpoint"])),
    ("database", "stats", Operations(&["Stats"])),
    ("database", "attached_processes", Operations(&["Processes"])),
    ("database", "close", Operations(&["Sync", "Leave"])),
    ("database", "is_host", Local("a process knows whether it hosts")),
    ("database", "path", Local("as it was opened")),
    ("database", "create_queue", Operations(&["Submit"])),
    ("database", "ensure_queue", Operations(&["Submit"])),
    ("database", "queue", Operations(&["FindQueue"])),
    ("database", "queue_names", Operations(&["QueueNames"])),
    ("database", "delete_queue", Operations(&["FindQueue", "Submit"])),
    ("database", "create_exchange", Operations(&["FindExchange", "Submit"])),
    ("database", "ensure_exchange", Operations(&["FindExchange", "Submit"])),
    ("database", "exchange", Operations(&["FindExchange"])),
    ("database", "exchange_names", Operations(&["ExchangeNames"])),
    ("database", "delete_exchange", Operations(&["FindExchange", "Submit"])),
    ("database/scheduling", "schedule", Operations(&["Submit"])),
    ("database/scheduling", "existing_schedule", Operations(&["DescribeSchedule"])),
    ("database/scheduling", "schedule_names", Operations(&["ScheduleNames"])),
    ("schedule", "name", Local("as it was opened")),
    ("schedule", "describe", Operations(&["DescribeSchedule"])),
    ("schedule", "next_runs", Operations(&["DescribeSchedule"])),
    ("schedule", "pause", Operations(&["Submit"])),
    ("schedule", "resume", Operations(&["Submit"])),
    ("schedule", "remove", Operations(&["Submit"])),
    ("queue/looking", "consumers", Operations(&["DescribeConsumers"])),
    ("queue/looking", "peek", Operations(&["Peek", "Read"])),
    ("queue/looking", "oldest", Operations(&["Peek", "Read"])),
    ("queue/looking", "get", Operations(&["LookAt", "Read"])),
    ("queue/looking", "get_by_id", Operations(&["FindMessage", "LookAt", "Read"])),
    ("queue/looking", "explain", Operations(&["LookAt"])),
    ("queue/looking", "cancel", Operations(&["Submit"])),
    ("queue/looking", "reschedule", Operations(&["Submit"])),
    ("queue/looking", "reschedule_at", Operations(&["Submit"])),
    ("exchange", "name", Local("as it was opened")),
    ("exchange", "publish", Operations(&["Submit"])),
    ("exchange", "publish_with", Operations(&["Submit"])),
    ("exchange", "publish_batch", Operations(&["Submit"])),
    ("exchange", "bind", Operations(&["Submit"])),
    ("exchange", "bind_exchange", Operations(&["Submit"])),
    ("exchange", "unbind", Operations(&["Submit"])),
    ("exchange", "unbind_exchange", Operations(&["Submit"])),
    ("exchange", "describe", Operations(&["DescribeExchange"])),
    ("stream", "name", Local("as it was opened")),
    ("stream", "partitions", Local("as the handle was told last")),
    ("stream", "partition_of", Local("a hash of the key")),
    ("stream", "add_partitions", Operations(&["Submit"])),
    ("stream", "mappings", Operations(&["DescribeStream", "RevealStream"])),
    (
        "stream",
        "ranges_by_mapping",
        Operations(&["DescribeStream", "DescribePartitions", "OffsetForLsn", "RevealStream"]),
    ),
    ("stream", "append", Operations(&["Submit"])),
    ("stream", "append_with", Operations(&["Submit"])),
    ("stream", "submit", Operations(&["Submit"])),
    ("stream", "append_batch", Operations(&["Submit"])),
    ("stream", "submit_batch", Operations(&["Submit"])),
    ("stream", "reader", Operations(&["DescribeStream", "Extent", "OffsetForTime", "OffsetForLsn", "RevealStream"])),
    (
        "stream",
        "reader_with",
        Operations(&["DescribeStream", "Extent", "OffsetForTime", "OffsetForLsn", "RevealStream"]),
    ),
    ("stream", "trim_before", Operations(&["Submit"])),
    ("stream", "offset_for_time", Operations(&["DescribeStream", "OffsetForTime"])),
    ("stream", "describe", Operations(&["DescribeStream", "DescribePartitions", "RevealStream"])),
    ("stream", "producer", Operations(&["Submit"])),
    ("stream", "group", Operations(&["Submit"])),
    ("stream", "existing_group", Operations(&["FindGroup"])),
    ("stream", "group_names", Operations(&["GroupNames"])),
    ("group", "name", Local("as it was opened")),
    ("group", "stream", Local("as it was opened")),
    ("group", "join", Operations(&["Submit"])),
    ("group", "describe", Operations(&["DescribeGroup", "DescribeMembers", "DescribeClaims"])),
    ("group", "lag", Operations(&["DescribeGroup", "DescribeMembers", "DescribeClaims"])),
    ("group", "reset", Operations(&["DescribeStream", "Extent", "OffsetForTime", "OffsetForLsn", "Submit"])),
    ("group", "reset_offsets", Operations(&["Submit"])),
    ("group", "delete", Operations(&["Submit"])),
    ("member", "group", Local("as it joined")),
    ("member", "partitions", Local("as its polls have told")),
    ("member", "poll", Operations(&["WatchMember", "Read", "Submit"])),
    ("member", "try_poll", Operations(&["WatchMember", "Read", "Submit"])),
    ("member", "poll_timeout", Operations(&["WatchMember", "Read", "Submit"])),
    ("member", "poll_async", Operations(&["WatchMember", "Read", "Submit"])),
    ("member/commit", "commit", Operations(&["Submit"])),
    ("member/commit", "commit_with", Operations(&["Submit"])),
    ("member/commit", "commit_offsets", Operations(&["Submit"])),
    ("member/commit", "commit_offsets_async", Operations(&["Submit"])),
    ("member/records", "records", Local("the first record is asked for later")),
    ("member/records", "records_async", Local("the first record is asked for later")),
    ("member/records", "try_next", Operations(&["WatchMember", "Read", "Submit"])),
    ("member/records", "next_timeout", Operations(&["WatchMember", "Read", "Submit"])),
    ("member/records", "next", Operations(&["WatchMember", "Read", "Submit"])),
    ("member/records", "commit", Operations(&["Submit"])),
    ("member/records", "commit_async", Operations(&["Submit"])),
    ("member/records", "member", Local("as it joined")),
    ("member", "seek", Operations(&["DescribeStream", "Extent", "OffsetForTime", "OffsetForLsn", "RevealStream"])),
    ("member", "pause", Local("what a member reads is its own")),
    ("member", "resume", Local("what a member reads is its own")),
    ("member", "lag", Operations(&["DescribeStream", "DescribePartitions", "RevealStream"])),
    ("member", "leave", Operations(&["Submit"])),
    ("producer", "name", Local("as it was opened")),
    ("producer", "stream", Local("as it was opened")),
    ("producer", "epoch", Local("as it was opened")),
    ("producer", "last", Operations(&["LastBatch"])),
    ("producer", "append", Operations(&["Submit"])),
    ("producer", "append_with", Operations(&["Submit"])),
    ("producer", "append_at", Operations(&["Submit"])),
    ("producer", "append_batch", Operations(&["Submit"])),
    ("producer", "append_batch_at", Operations(&["Submit"])),
    ("producer", "submit", Operations(&["Submit"])),
    ("producer", "submit_at", Operations(&["Submit"])),
    ("producer", "submit_batch", Operations(&["Submit"])),
    ("producer", "submit_batch_at", Operations(&["Submit"])),
    ("reader", "position", Local("the position is the reader's own")),
    ("reader", "seek", Operations(&["Extent", "OffsetForTime", "OffsetForLsn", "RevealStream"])),
    ("reader", "receive", Operations(&["Read"])),
    ("reader", "try_receive", Operations(&["Read"])),
    ("reader", "receive_timeout", Operations(&["Read", "Withdraw"])),
    ("reader", "receive_async", Operations(&["Read", "Withdraw"])),
    ("ticket", "is_done", Local("the answer comes by itself")),
    ("ticket", "wait", Local("the answer comes by itself")),
    ("ticket", "wait_timeout", Local("the answer comes by itself")),
    ("queue", "name", Local("as it was opened")),
    ("queue", "send", Operations(&["Submit"])),
    ("queue", "send_at", Operations(&["Submit"])),
    ("queue", "send_batch", Operations(&["Submit"])),
    ("queue", "ack_batch", Operations(&["Submit"])),
    ("queue", "fail_batch", Operations(&["Submit"])),
    ("queue", "release_batch", Operations(&["Submit"])),
    ("queue", "reject_batch", Operations(&["Submit"])),
    ("queue", "pause", Operations(&["Submit"])),
    ("queue", "resume", Operations(&["Submit"])),
    ("queue", "purge", Operations(&["Submit"])),
    ("queue", "receive", Operations(&["Submit", "Read", "WatchQueue"])),
    ("queue", "receive_timeout", Operations(&["Submit", "Read", "WatchQueue"])),
    ("queue", "receive_async", Operations(&["Submit", "Read", "WatchQueue"])),
    ("queue", "receive_batch", Operations(&["Submit", "Read", "WatchQueue"])),
    ("queue", "receive_batch_timeout", Operations(&["Submit", "Read", "WatchQueue"])),
    ("queue", "receive_batch_async", Operations(&["Submit", "Read", "WatchQueue"])),
    ("queue", "try_receive", Operations(&["Submit", "Read"])),
    ("queue", "try_receive_batch", Operations(&["Submit", "Read"])),
    ("queue", "describe", Operations(&["DescribeQueue"])),
    ("subscription", "subscribe", Operations(&["Submit", "DescribeQueue"])),
    ("subscription", "subscribe_async", Operations(&["Submit", "DescribeQueue"])),
    ("subscription", "try_next", Operations(&["Submit", "Read", "DescribeQueue"])),
    ("subscription", "next_timeout", Operations(&["Submit", "Read", "WatchQueue", "DescribeQueue"])),
    ("subscription", "next", Operations(&["Submit", "Read", "WatchQueue", "DescribeQueue"])),
    ("subscription", "stopper", Local("it stops what is in this process")),
    ("subscription", "queue", Local("as it was subscribed to")),
    ("stopper", "stop", Local("it stops what is in this process")),
    ("stopper", "is_stopped", Local("it stops what is in this process")),
    ("worker", "work", Operations(&["Submit", "Read", "WatchQueue", "DescribeQueue"])),
    ("worker", "counts", Local("its own threads count")),
    ("worker", "is_running", Local("its own threads run")),
    ("worker", "stopper", Local("it stops what is in this process")),
    ("worker", "stop", Operations(&["Submit"])),
    ("worker", "join", Operations(&["Submit"])),
    ("delivery", "attempt", Local("as it was handed out")),
    ("delivery", "hand_outs", Local("as it was handed out")),
    ("delivery", "message", Local("as it was handed out")),
    ("delivery", "ack", Operations(&["Submit"])),
    ("delivery", "ack_through", Operations(&["Submit"])),
    ("delivery", "fail", Operations(&["Submit"])),
    ("delivery", "fail_with_delay", Operations(&["Submit"])),
    ("delivery", "release", Operations(&["Submit"])),
    ("delivery", "release_with_delay", Operations(&["Submit"])),
    ("delivery", "reject", Operations(&["Submit"])),
    ("delivery", "extend", Operations(&["Submit"])),
    ("dead_letter", "reason", Local("as it was read")),
    ("dead_letter", "died_at", Local("as it was read")),
    ("dead_letter", "failed_attempts", Local("as it was read")),
    ("dead_letter", "failures", Local("as it was read")),
    ("dead_letter", "sequence", Local("as it was read")),
    ("dead_letter", "priority", Local("as it was read")),
    ("dead_letter", "message", Local("as it was read")),
    ("dead_letter", "dead_letters", Operations(&["DeadLetters", "Read"])),
    ("dead_letter", "history", Local("as it was read")),
    ("dead_letter", "moved_letters", Operations(&["Waiting", "Read"])),
    ("redrive", "redrive", Operations(&["Submit", "FindQueue"])),
    ("redrive", "redrive_by", Local("it is told what to do, and does it with `run`")),
    ("redrive", "stopper", Local("it stops what is in this process")),
    ("redrive", "run", Operations(&["Submit", "FindQueue", "DescribeQueue", "DeadLetters", "Waiting", "Read"])),
    ("dead_letter", "purge_dead", Operations(&["Submit"])),
];

/// The files of handles, and the one list of operations.
const HANDLES: &[&str] = &[
    "database",
    "database/scheduling",
    "schedule",
    "stream",
    "producer",
    "reader",
    "group",
    "member",
    "member/commit",
    "member/records",
    "ticket",
    "queue",
    "queue/looking",
    "subscription",
    "stopper",
    "worker",
    "delivery",
    "dead_letter",
    "redrive",
    "exchange",
];
const OPERATIONS: &str = "src/processes/operation.rs";

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 100;
/// Nine functions in ten are no longer than this.
const FUNCTION_LINES_USUAL: usize = 35;
const LINE_CHARS_MAX: usize = 120;

/// Words that say nothing, in names of files and of what the code declares.
const EMPTY_WORDS: &[&str] = &["manager", "handler", "helper", "helpers", "util", "utils", "common"];

/// Marks of unfinished work. Written in halves, so that this line is not one.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("to", "do!")];

/// Folders whose files are checked.
const FOLDERS: &[&str] = &["src", "cli/src", "cli/tests", "xtask/src", "tests", "examples", "benches", "fuzz"];

/// Files from which every other must be reached by `mod`.
const ROOTS: &[&str] = &["src/lib.rs", "cli/src/main.rs", "xtask/src/main.rs"];

#[test]
fn imports_point_downward_only() {
    expect_none(rules::layers(&Tree::read(&["src"]), LAYERS, EXCEPTIONS));
}

#[test]
fn files_and_lines_are_of_readable_size() {
    expect_none(rules::file_sizes(&Tree::read(FOLDERS), FILE_LINES_MAX, LINE_CHARS_MAX));
}

#[test]
fn functions_are_of_readable_size() {
    expect_none(rules::function_sizes(&Tree::read(FOLDERS), FUNCTION_LINES_MAX, FUNCTION_LINES_USUAL));
}

#[test]
fn clocks_threads_files_and_redb_have_one_home_each() {
    expect_none(rules::homes(&Tree::read(&["src"]), HOMES));
}

#[test]
fn unsafe_code_stands_in_listed_files_only() {
    expect_none(rules::unsafe_code(&Tree::read(FOLDERS), UNSAFE_FILES));
}

#[test]
fn every_event_tag_stands_in_the_format() {
    let format = std::fs::read_to_string(tree::root().join("docs/format.md")).unwrap_or_default();
    expect_none(rules::event_tags(&Tree::read(&["src/primitives"]), &format));
}

#[test]
fn every_method_of_a_handle_has_its_operation() {
    expect_none(rules::methods(&Tree::read(&["src/api", "src/processes"]), HANDLES, METHODS, OPERATIONS));
}

#[test]
fn every_file_is_reached() {
    expect_none(rules::orphans(&Tree::read(&["src", "cli/src", "xtask/src"]), ROOTS));
}

#[test]
fn names_say_something() {
    expect_none(rules::names(&Tree::read(FOLDERS), EMPTY_WORDS));
}

#[test]
fn nothing_is_unfinished() {
    expect_none(rules::unfinished(&Tree::read(FOLDERS), UNFINISHED));
}

fn expect_none(violations: Vec<Violation>) {
    let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(lines.is_empty(), "{} violations:\n{}\n", lines.len(), lines.join("\n"));
}

mod the_rules_see {
    //! Each rule, held against a line that breaks it.

    use super::*;

    fn broken(path: &str, source: &str) -> Tree {
        Tree::of(&[(path, source)])
    }

    #[test]
    fn an_import_that_points_upward() {
        for line in ["use crate::engine::Core;", "fn f() { crate::api::open() }", "use super::super::index::Index;"] {
            assert_eq!(rules::layers(&broken("src/journal/a.rs", line), LAYERS, EXCEPTIONS).len(), 1, "{line}");
        }
        for line in ["use crate::base::lsn::Lsn;", "use super::marks::Marks;", "// crate::api", "\"crate::api\""] {
            assert!(rules::layers(&broken("src/journal/a.rs", line), LAYERS, EXCEPTIONS).is_empty(), "{line}");
        }
        assert_eq!(rules::layers(&broken("src/primitives/a.rs", "use crate::engine::Core;"), LAYERS, &[]).len(), 1);
        assert!(
            rules::layers(&broken("src/primitives/a.rs", "use crate::engine::machine::M;"), LAYERS, &[]).is_empty()
        );
    }

    #[test]
    fn a_word_away_from_its_home() {
        for line in ["use std::sync::Arc;", "let t = Instant::now();", "redb::Database::open(p)", "use std::{fs, io};"]
        {
            assert_eq!(rules::homes(&broken("src/journal/a.rs", line), HOMES).len(), 1, "{line}");
        }
        for line in ["// Instant", "let instantly = 1;", "use crate::base::sync::Arc;"] {
            assert!(rules::homes(&broken("src/journal/a.rs", line), HOMES).is_empty(), "{line}");
        }
        let test = "#[cfg(test)]\nmod tests {\n    use std::sync::Arc;\n}\n";
        assert!(rules::homes(&broken("src/journal/a.rs", test), HOMES).is_empty());
    }

    #[test]
    fn sizes_beyond_the_bounds() {
        let long = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(FUNCTION_LINES_MAX));
        assert_eq!(rules::function_sizes(&broken("src/a.rs", &long), FUNCTION_LINES_MAX, usize::MAX).len(), 1);
        let many = "fn f();\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(rules::file_sizes(&broken("src/a.rs", &many), FILE_LINES_MAX, LINE_CHARS_MAX).len(), 1);
    }

    #[test]
    fn unsafe_code_and_empty_words_and_unfinished_work() {
        assert_eq!(rules::unsafe_code(&broken("src/a.rs", "unsafe { f() }"), &[]).len(), 1);
        assert!(rules::unsafe_code(&broken("src/a.rs", "// unsafe\n#![allow(unsafe_code)]"), &[]).is_empty());
        assert_eq!(rules::names(&broken("src/a.rs", "struct LeaseManager;"), EMPTY_WORDS).len(), 1);
        assert_eq!(rules::names(&broken("src/file_utils.rs", ""), EMPTY_WORDS).len(), 1);
        assert_eq!(rules::unfinished(&broken("src/a.rs", &format!("// {}", UNFINISHED[0])), UNFINISHED).len(), 1);
    }

    #[test]
    fn a_tag_that_the_format_does_not_name() {
        let source = "const TRIMMED: u8 = 0x04;\nconst APPENDED: u8 = LOG_TAG | 0x01;\n";
        let tree = broken("src/primitives/streams/event.rs", source);
        assert_eq!(rules::event_tags(&tree, "").len(), 2);
        assert!(rules::event_tags(&tree, "| 0x04 | trimmed | … |\n| 0x81 | appended | … |").is_empty());
    }

    #[test]
    fn a_method_without_an_operation_and_an_entry_without_a_method() {
        let list = (OPERATIONS, "kinds! {\n    // Writes.\n    Submit = 1, \"submit\";\n    Sync = 2, \"sync\";\n}\n");
        let handle =
            "pub fn open() {}\npub(crate) fn a(&self) {}\npub fn sync(\n    &self,\n) {}\npub fn put(mut self) {}\n";
        let tree = Tree::of(&[list, ("src/api/database.rs", handle)]);
        let check = |table: &[(&str, &str, Asks)]| rules::methods(&tree, &["database"], table, OPERATIONS).len();
        let (sync, put) = (|| Operations(&["Sync"]), || Operations(&["Submit"]));
        assert_eq!(check(&[("database", "sync", sync()), ("database", "put", put())]), 0);
        assert_eq!(check(&[("database", "put", Operations(&["Submit", "Sync"]))]), 1, "a method is missing");
        let stale = ("database", "open", Local("it has no receiver"));
        assert_eq!(check(&[("database", "sync", sync()), ("database", "put", put()), stale]), 1);
        let no_operation = ("database", "put", Operations(&["Submit", "Remove"]));
        assert_eq!(check(&[("database", "sync", sync()), no_operation]), 1);
        assert_eq!(check(&[("database", "sync", sync()), ("database", "put", Local("here"))]), 1, "Submit is unused");
    }

    #[test]
    fn a_file_that_no_mod_reaches() {
        let tree =
            Tree::of(&[("src/lib.rs", "mod a;"), ("src/a/mod.rs", "mod b;"), ("src/a/b.rs", ""), ("src/c.rs", "")]);
        let orphans = rules::orphans(&tree, &["src/lib.rs"]);
        assert_eq!(orphans.len(), 1);
        assert!(orphans[0].to_string().starts_with("src/c.rs"), "{}", orphans[0]);
    }
}
