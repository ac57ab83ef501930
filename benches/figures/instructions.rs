//! Counting instructions instead of time: what a change does to them shows through any neighbour's noise.
//!
//! callgrind counts each thread of a process for itself. Opening and closing cancel out in the difference between a
//! short and a long run; what other threads do comes in steps of a segment and is told beside.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use towpath::{AppendOptions, Database, Level, Options, Record, Stream, StreamOptions};

use super::child::{Part, below};

pub(crate) const SINGLES: &str = "singles";
pub(crate) const BATCHES: &str = "batches";

/// Records of a short run and of a long one.
const LENGTHS: [u64; 2] = [50_000, 250_000];
const BATCH: u64 = 100;
const BODY: [u8; 100] = [b'x'; 100];

pub(crate) fn instructions(directory: &Path) {
    let probe = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("  valgrind is missing; get it with `apt-get install valgrind`");
        return;
    }
    for (part, what) in [(SINGLES, "an append of 100 bytes"), (BATCHES, "a record in a batch of 100")] {
        let [short, long] = LENGTHS.map(|records| counted(part, records, directory));
        let per_record = |counts: fn(&Counts) -> u64| {
            (counts(&long) as f64 - counts(&short) as f64) / (LENGTHS[1] - LENGTHS[0]) as f64
        };
        let (own, others) = (per_record(|counts| counts.own), per_record(|counts| counts.others));
        println!("  {own:.0} for {what}, and {others:.0} of other threads");
    }
}

/// Instructions of the thread that appends, and of all others.
#[derive(Default)]
struct Counts {
    own: u64,
    others: u64,
}

/// Those of a process that opens a database, appends so many records and closes it.
fn counted(part: &str, records: u64, directory: &Path) -> Counts {
    let folder = directory.join(format!("counts-{part}-{records}"));
    std::fs::create_dir(&folder).expect("it can be made");
    let mut file = OsString::from("--callgrind-out-file=");
    file.push(folder.join("thread"));
    let tool = ["valgrind", "--quiet", "--tool=callgrind", "--separate-threads=yes"].map(OsString::from);
    let data = directory.join(format!("{part}-{records}"));
    let status = below(&[&tool[..], &[file]].concat(), part, records, &data).status().expect("starts");
    assert!(status.success(), "valgrind ends with {status}");
    let mut counts = Counts::default();
    for entry in std::fs::read_dir(&folder).expect("callgrind has written its counts") {
        let path = entry.expect("lists").path();
        let total = total_in(&std::fs::read_to_string(&path).expect("is text"));
        // The main thread is the first.
        if path.to_string_lossy().ends_with("-01") { counts.own += total } else { counts.others += total }
    }
    assert!(counts.own > 0, "callgrind has counted the thread that appends");
    counts
}

fn total_in(told: &str) -> u64 {
    let total = told.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.map_or(0, |count| count.trim().parse().expect("a number"))
}

fn open(part: &Part) -> (Database, Stream) {
    let database = Options::new().level(Level::Buffered).open(&part.directory).expect("opens");
    let stream = database.create_stream("orders", StreamOptions::new()).expect("creates");
    (database, stream)
}

pub(crate) fn append_singles(part: &Part) {
    let (database, stream) = open(part);
    (0..part.count).for_each(|_| assert!(stream.append(&BODY).is_ok()));
    database.close().expect("closes");
}

pub(crate) fn append_batches(part: &Part) {
    let (database, stream) = open(part);
    let records = vec![Record::new(&BODY); BATCH as usize];
    for _ in 0..part.count / BATCH {
        stream.append_batch(&records, &AppendOptions::new()).expect("appends");
    }
    database.close().expect("closes");
}
