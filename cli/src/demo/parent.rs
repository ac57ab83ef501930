//! The parent: starts the feeder, keeps the books, kills, starts again, and judges at the end.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::audit::audit;
use super::books::Books;
use super::chance::Chance;
use super::directory::Directory;
use super::report::{Report, receive};
use super::table::{Summary, print};
use super::{Demo, PARTITIONS};
use crate::exit::Failure;
use crate::output::progress;
use crate::signals::{self, Signals};

/// A kill comes up to this much later than the report that it was drawn for.
const KILL_DELAY_MICROS_MAX: u64 = 2_000;

/// Feeds, kills, judges and prints. `Ok` only if the books are exact.
pub(super) fn run(demo: &Demo, data: Option<PathBuf>) -> Result<(), Failure> {
    let signals = signals::catch()?;
    let input = demo.source.open()?;
    let lines = input.count()?;
    let mut directory = match data {
        Some(path) => Directory::named(path)?,
        None => Directory::temporary()?,
    };
    let bar = progress(lines, "acknowledged");
    let mut feeding = Feeding::new(lines, demo.kills, bar);
    let start = Instant::now();
    while feeding.live_one_life(demo, directory.path(), signals)? == Ending::Killed {}
    let elapsed = start.elapsed();
    feeding.bar.finish_and_clear();
    let findings = audit(directory.path(), &input, &feeding.books, signals)?;
    if !findings.are_exact() {
        directory.keep();
    }
    let summary = Summary {
        findings,
        kills: feeding.kills,
        elapsed,
        slowest_reopening: feeding.slowest_reopening,
        level: demo.level,
        kept_in: (!directory.is_temporary()).then(|| directory.path().to_owned()),
    };
    print(&summary)?;
    match summary.findings.are_exact() {
        true => Ok(()),
        false => Err(Failure::failed("the books are not exact: the table names what differs")),
    }
}

#[derive(PartialEq, Eq)]
enum Ending {
    Finished,
    Killed,
}

struct Feeding {
    books: Books,
    /// Acknowledged records after which the next kills come, the last one first.
    kill_points: Vec<u64>,
    kills: u32,
    chance: Chance,
    slowest_reopening: Duration,
    bar: ProgressBar,
}

impl Feeding {
    fn new(lines: u64, kills: u32, bar: ProgressBar) -> Feeding {
        let mut chance = Chance::unpredictable();
        let mut kill_points: Vec<u64> = (0..kills).map(|_| chance.below(lines)).collect();
        kill_points.sort_unstable_by(|one, other| other.cmp(one));
        let books = Books::new(PARTITIONS);
        Feeding { books, kill_points, kills: 0, chance, slowest_reopening: Duration::ZERO, bar }
    }

    /// One life of the feeder, from its start to its end. Everything that it got into the pipe is entered, whether it
    /// lives or not: a report is in the pipe only after the append has returned.
    fn live_one_life(&mut self, demo: &Demo, data: &Path, signals: &Signals) -> Result<Ending, Failure> {
        let mut life = Life::start(demo, data)?;
        let mut ending = Ending::Finished;
        while let Some(report) = life.next_report(signals)? {
            let is_done = report == Report::Done;
            self.enter(&report);
            if ending == Ending::Finished && self.is_time_to_kill(is_done) {
                thread::sleep(Duration::from_micros(self.chance.below(KILL_DELAY_MICROS_MAX)));
                life.kill()?;
                ending = Ending::Killed;
            } else if is_done {
                life.allow_to_close();
            }
        }
        let status = life.wait()?;
        // Ctrl-C at a terminal comes to the feeder too.
        signals.check()?;
        match ending {
            Ending::Killed => Ok(ending),
            Ending::Finished if status.success() => Ok(ending),
            Ending::Finished => Err(Failure::failed(format!("the feeder ended by itself ({status}); see above"))),
        }
    }

    fn enter(&mut self, report: &Report) {
        match report {
            Report::Opened { micros } if self.kills > 0 => {
                self.slowest_reopening = self.slowest_reopening.max(Duration::from_micros(*micros));
            }
            Report::Acknowledged(span) => {
                self.books.acknowledged.enter(span);
                self.bar.set_position(self.books.acknowledged.entries());
            }
            Report::Seen(span) => self.books.seen.enter(span),
            Report::Opened { .. } | Report::Done => {}
        }
    }

    /// A feeder that has finished before its last kill is killed while it waits with the database open.
    fn is_time_to_kill(&mut self, is_done: bool) -> bool {
        let is_time =
            self.kill_points.last().is_some_and(|&point| is_done || self.books.acknowledged.entries() > point);
        if is_time {
            self.kill_points.pop();
            self.kills += 1;
        }
        is_time
    }
}

/// A feeder that runs.
struct Life {
    child: Child,
    reports: BufReader<std::process::ChildStdout>,
    /// The feeder closes the database when this is closed.
    permission: Option<ChildStdin>,
}

impl Life {
    fn start(demo: &Demo, data: &Path) -> Result<Life, Failure> {
        let cannot = |error: io::Error| Failure::failed(format!("cannot start the feeder: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.arg("--data").arg(data).arg("demo-feeder").arg("--level").arg(demo.level.name());
        match &demo.source.input {
            Some(file) => command.arg("--input").arg(file),
            None => command.arg("--records").arg(demo.source.records.to_string()),
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(cannot)?;
        let permission = child.stdin.take();
        let reports = child.stdout.take().ok_or_else(|| cannot(io::Error::other("it has no standard output")))?;
        Ok(Life { child, reports: BufReader::new(reports), permission })
    }

    /// The next report; fails when a signal came to this process.
    fn next_report(&mut self, signals: &Signals) -> Result<Option<Report>, Failure> {
        if self.reports.buffer().is_empty() {
            signals.wait_for_input(self.reports.get_ref())?;
        }
        receive(&mut self.reports).map_err(|error| self.failure(&error))
    }

    fn allow_to_close(&mut self) {
        self.permission = None;
    }

    /// SIGKILL: no code of the feeder runs after this.
    fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().map_err(|error| self.failure(&error))
    }

    fn wait(&mut self) -> Result<ExitStatus, Failure> {
        self.permission = None;
        self.child.wait().map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::failed(format!("cannot attend the feeder (process {}): {error}", self.child.id()))
    }
}

impl Drop for Life {
    /// A feeder whose parent gave up must not go on in a directory that is about to be removed.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
