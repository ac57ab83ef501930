//! `towpath host`: a process that does nothing but keep the database open for the others.

use std::path::PathBuf;
use std::process;
use std::time::Duration;

use clap::Args;
use towpath::{Database, Error};

use crate::exit::Failure;
use crate::log;
use crate::notify;
use crate::output::say;
use crate::place::{ModeName, Place};
use crate::signals::{self, Signals};

/// Between two looks whether it has become the host, and whether the disk still serves.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(crate) struct Host {
    /// The directory, instead of --data DIR
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// If another process hosts it, attach, and host it when that one goes away
    #[arg(long)]
    wait: bool,
    /// Log everything that the library tells, not only warnings; RUST_LOG says it more finely
    #[arg(long, short)]
    verbose: bool,
}

impl Host {
    pub(crate) fn run(self, place: Place) -> Result<(), Failure> {
        let place = place.or_in(self.directory);
        if place.mode != ModeName::Auto {
            return Err(Failure::usage("a host serves other processes: leave --mode away"));
        }
        log::to_stderr(self.verbose);
        let database = place.open()?;
        let signals = signals::catch()?;
        if !database.is_host() && !self.wait {
            return Err(hosted_already(&place, database));
        }
        let ended = serve(&place, &database, signals);
        let _ = notify::tell(notify::STOPPING);
        let closed = database.close();
        match ended {
            // This is how it is meant to end.
            Err(Failure::Stopped { .. }) => Ok(closed?),
            ended => ended,
        }
    }
}

fn hosted_already(place: &Place, database: Database) -> Failure {
    let host = database.stats().map(|stats| stats.host_pid);
    let closed = database.close();
    match host.and_then(|pid| closed.map(|()| pid)) {
        Err(error) => error.into(),
        Ok(pid) => Failure::in_use(format!(
            "process {pid} hosts {} already; with --wait this one takes over when that one goes away",
            place.path().display()
        )),
    }
}

/// Returns when a signal came, or when the database must be opened again.
fn serve(place: &Place, database: &Database, signals: &Signals) -> Result<(), Failure> {
    let directory = place.path().display();
    if !database.is_host() {
        let host = database.stats()?.host_pid;
        say(format!("Process {} waits for process {host}, which hosts {directory}.", process::id()))?;
        ready()?;
        while !database.is_host() {
            signals.wait_timeout(LOOK)?;
            // Fails where no host was found and this process could not be it.
            database.stats()?;
        }
    }
    say(format!("Process {} hosts {directory}.", process::id()))?;
    ready()?;
    loop {
        signals.wait_timeout(LOOK)?;
        // Nothing is left to sync as a rule; a database whose disk has failed says so.
        match database.sync() {
            Err(error) if error.is_poisoned() || matches!(error, Error::Closed | Error::NoHost) => {
                return Err(error.into());
            }
            _ => {}
        }
    }
}

fn ready() -> Result<(), Failure> {
    notify::tell(notify::READY).map_err(|error| Failure::failed(format!("cannot tell NOTIFY_SOCKET: {error}")))
}
