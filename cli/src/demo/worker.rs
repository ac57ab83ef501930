//! A child process: opens the database, does the work of its role, and stays until its parent lets it go.

use std::io::{self, Read, Stdout};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use towpath::{Database, StreamOptions};

use super::consumer::consume;
use super::feeder::Feeder;
use super::reader;
use super::report::{Report, Sender, now_micros};
use super::{PARTITIONS, Role, STREAM, Source};
use crate::exit::Failure;
use crate::stream::LevelName;

/// Between two looks whether this process has become the host.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    source: Source,
    #[arg(long, value_enum)]
    level: LevelName,
    #[arg(long, value_enum)]
    role: Role,
}

/// Where the reports go.
pub(super) type Reports = Arc<Sender<Stdout>>;

impl Worker {
    /// Ends when standard input does: the parent decides whether the database is closed or killed.
    pub(crate) fn run(&self, data: &Path) -> Result<(), Failure> {
        let input = self.source.open()?;
        let reports: Reports = Arc::new(Sender::new(io::stdout()));
        let database = Database::open(data)?;
        let stream = database.create_stream(STREAM, StreamOptions::new().partitions(PARTITIONS))?;
        tell(&reports, &Report::Opened)?;
        tell_of_hosting(&database, &reports);
        match self.role {
            Role::Host => {}
            Role::Feeder1 | Role::Feeder2 => {
                let name = self.role.argument();
                Feeder::new(&input, &stream, name, reports.clone(), self.level.level())?.feed(self.role.feeds())?;
            }
            Role::Reader => reader::follow(&input, &stream, &reports)?,
            Role::Member1 | Role::Member2 | Role::Member3 => consume(self.role, input.count()?, &stream, &reports)?,
        }
        tell(&reports, &Report::Done)?;
        wait_for_parent()?;
        Ok(database.close()?)
    }
}

pub(super) fn tell(reports: &Reports, report: &Report) -> Result<(), Failure> {
    reports.send(report).map_err(Failure::output)
}

/// Tells the parent once this process hosts the database.
fn tell_of_hosting(database: &Database, reports: &Reports) {
    let (database, reports) = (database.clone(), reports.clone());
    thread::spawn(move || {
        while !database.is_host() {
            thread::sleep(LOOK);
        }
        // A parent that has left needs no report.
        let _ = reports.send(&Report::Hosting { at_micros: now_micros() });
    });
}

fn wait_for_parent() -> Result<(), Failure> {
    io::stdin()
        .read_to_end(&mut Vec::new())
        .map(|_| ())
        .map_err(|error| Failure::failed(format!("cannot wait for the parent: {error}")))
}

/// The outcome of all threads: the first failure, if there is one.
pub(super) fn joined(threads: Vec<thread::ScopedJoinHandle<'_, Result<(), Failure>>>) -> Result<(), Failure> {
    let panicked = || Failure::failed("a thread of the demonstration panicked; this is a bug");
    let outcomes: Vec<_> =
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect();
    outcomes.into_iter().collect()
}
