//! Nothing that was acknowledged, at any level, is lost, moved, changed or doubled by SIGKILL, and nothing that a
//! reader saw is taken back.
//!
//! A child (this program again) writes and reads as fast as it can and reports every acknowledgement over a pipe. The
//! parent kills it at a random moment, then opens the database, which it never does meanwhile, and compares. The next
//! child goes on with what is there.
//!
//! `TOWPATH_KILL_ROUNDS` sets how often, `TOWPATH_KILL_SEED` repeats the moments of an earlier run.

#[path = "../place/mod.rs"]
mod place;

mod books;
mod child;
mod report;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use towpath::Database;

use books::Books;
use place::{Chance, Place};
use report::Report;

const ROUNDS: u64 = 50;
const LONGEST_LIFE_MICROS: u64 = 300_000;

/// Set for the child: where the database is, and which round this is.
const DATA: &str = "TOWPATH_KILL_DATA";
const ROUND: &str = "TOWPATH_KILL_ROUND";

#[test]
fn nothing_acknowledged_is_lost_by_sigkill() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse().expect("a number"));
    let rounds = number("TOWPATH_KILL_ROUNDS").unwrap_or(ROUNDS);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number("TOWPATH_KILL_SEED").unwrap_or(now.as_nanos() as u64);
    println!("{rounds} rounds, TOWPATH_KILL_SEED={seed}");
    let (place, mut books, mut chance) = (Place::new(), Books::default(), Chance::new(seed));
    for round in 0..rounds {
        let life = Duration::from_micros(chance.below(LONGEST_LIFE_MICROS));
        let reports = live_and_die(&place, round, life);
        books.compare(round, &reports, &place.open());
        if round % 10 == 9 {
            let checked = Database::check(place.data()).unwrap();
            assert!(checked.problems.is_empty(), "round {round}: {:?}", checked.problems);
        }
    }
    println!("{books}");
    assert!(rounds < ROUNDS || books.acknowledged > 1000, "the children hardly got to write: {books}");
}

/// What one child reported before it was killed.
fn live_and_die(place: &Place, round: u64, life: Duration) -> Vec<Report> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_writes_until_it_is_killed", "--exact", "--nocapture"])
        .env(DATA, place.data())
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = BufReader::new(child.stdout.take().unwrap());
    let reading = std::thread::spawn(move || read_reports(pipe));
    std::thread::sleep(life);
    kill(&mut child);
    reading.join().unwrap()
}

fn kill(child: &mut Child) {
    let ended = child.try_wait().unwrap();
    assert!(ended.is_none(), "the child ended by itself: {ended:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Every whole line; what the test harness says of itself is no report.
fn read_reports(mut pipe: impl BufRead) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut line = String::new();
    while pipe.read_line(&mut line).unwrap() > 0 {
        if line.ends_with('\n') {
            reports.extend(Report::parse(line.trim_end()));
        }
        line.clear();
    }
    reports
}

/// Does nothing unless it is the child.
#[test]
fn child_writes_until_it_is_killed() {
    if let (Some(data), Ok(round)) = (std::env::var_os(DATA), std::env::var(ROUND)) {
        child::run(data.as_ref(), round.parse().unwrap());
    }
}
