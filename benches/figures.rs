//! The figures of `docs/performance.md`: `cargo bench --bench figures -- [NAME…] [--directory DIR]`.
//!
//! Each figure is a ratio against something measured in the same run, in alternating rounds, medians of them. Some take
//! minutes and gigabytes of disk; `--list` names them.
#![expect(unsafe_code, reason = "counts allocations in a global allocator, and asks the system for its counts")]

mod figures {
    pub(crate) mod appends;
    pub(crate) mod child;
    pub(crate) mod compaction;
    pub(crate) mod disk;
    pub(crate) mod groups;
    pub(crate) mod heap;
    pub(crate) mod instructions;
    pub(crate) mod many;
    pub(crate) mod processes;
    pub(crate) mod queues;
    pub(crate) mod routing;
    pub(crate) mod stored;
    pub(crate) mod syncs;
    pub(crate) mod usage;
    pub(crate) mod wakes;
}

use std::path::{Path, PathBuf};

use figures::child::{self, Part};
use figures::{
    appends, compaction, groups, heap, instructions, many, processes, queues, routing, stored, syncs, wakes,
};

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting::new();

type Figure = fn(&Path);
type Child = fn(&Part);

const FIGURES: [(&str, Figure, &str); 22] = [
    ("burst", appends::burst, "Buffered append of 100 bytes, one call each, bursts of 500,000"),
    ("batch", appends::batch, "Buffered append in batches of 100"),
    ("sustained", appends::sustained, "Buffered append of 50 million records, heap, and reading them back"),
    ("sync", syncs::one_thread, "Sync append on one thread beside the bare system call"),
    ("threads", syncs::threads, "Sync append on 64 threads and with 1,024 tickets in flight"),
    ("instructions", instructions::instructions, "instructions per append and per record of a batch, under valgrind"),
    ("reopen", stored::reopen, "reopening after SIGKILL with 5 GB stored"),
    ("partitions", many::partitions, "opening 100,000 partitions with a record in each"),
    ("empty", stored::empty, "an empty database: size, creation, opening, 1,000 times"),
    ("processes", processes::processes, "an attached process: round trip, pipelining, asleep"),
    ("wakes", wakes::wakes, "an append in one process wakes a reader in another"),
    ("groups", groups::consume, "four members of a group consume 64 partitions, and one commits"),
    ("rebalance", groups::rebalance, "a member comes to a hundred others, and goes, with 1,000 partitions"),
    ("many-groups", groups::many, "opening 1,000 groups over 10,000 partitions, and their heap"),
    ("compaction", compaction::compaction, "passes over 40 million records with 20 million keys, and their heap"),
    ("cycles", queues::cycles, "sending, receiving and acknowledging, one by one and in batches of 100"),
    (
        "backlog",
        queues::backlog,
        "50 million messages wait: their heap, a cycle beside them, and the disk when they went",
    ),
    ("delayed", queues::delayed, "the heap of ten million delayed messages, and of some in backoff"),
    ("bindings", routing::bindings, "publishing with 100 bindings and with 100,000"),
    ("fanout", routing::fanout, "publishing to a hundred queues: bytes of journal, and places a second"),
    ("many-queues", queues::many, "opening 10,000 queues with a message each, and their heap"),
    ("retention", stored::retention, "10 GB through 100 MB of retention, with a long-lived stream beside"),
];

/// What a figure has another process do.
const PARTS: [(&str, Child); 11] = [
    (stored::FILL, stored::fill),
    (many::MAKE, many::make_partitions),
    (many::OPEN, many::open),
    (groups::MAKE, groups::make_groups),
    (groups::OPEN, groups::open_groups),
    (instructions::SINGLES, instructions::append_singles),
    (instructions::BATCHES, instructions::append_batches),
    (processes::HOST, processes::host),
    (processes::ECHO, processes::echo),
    (wakes::WAIT, wakes::wait),
    (wakes::RELAY, wakes::relay),
];

fn main() {
    if let Some(part) = child::part() {
        let (_, run) = PARTS.iter().find(|(name, _)| *name == part.name).expect("a part of a figure");
        return run(&part);
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.iter().any(|a| a == "--list") {
        FIGURES.iter().for_each(|(name, _, what)| println!("{name:12} {what}"));
        return;
    }
    let place = arguments.iter().position(|a| a == "--directory");
    let directory = place.and_then(|at| arguments.get(at + 1)).map_or_else(std::env::temp_dir, PathBuf::from);
    let wanted: Vec<&String> = match place {
        Some(at) => arguments.iter().enumerate().filter(|(i, _)| *i != at && *i != at + 1).map(|(_, a)| a).collect(),
        None => arguments.iter().collect(),
    };
    let run = directory.join(format!("towpath-figures-{}", std::process::id()));
    for (name, figure, what) in FIGURES {
        if wanted.is_empty() || wanted.iter().any(|w| *w == name) {
            println!("\n{name}: {what}");
            std::fs::create_dir_all(&run).expect("the directory can be made");
            figure(&run);
            std::fs::remove_dir_all(&run).expect("the directory can be removed");
        }
    }
}
