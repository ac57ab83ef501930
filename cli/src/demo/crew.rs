//! The processes of the demonstration, as their parent sees them.
//!
//! A thread for each life of a process takes its reports out of the pipe, so that none waits for another. All that it
//! got into the pipe is told, whether it lives or not, and then that it has ended.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::report::{Report, receive};
use super::{Demo, Role};
use crate::exit::Failure;
use crate::signals::Signals;

/// Reports that may wait for the parent.
const REPORTS_MAX: usize = 256;

/// How long the parent listens before it looks whether a signal came.
const LOOK: Duration = Duration::from_millis(20);

/// What was heard of a process.
pub(super) enum News {
    Report(Report),
    Ended,
    /// Its reports cannot be read.
    Failed(io::Error),
}

pub(super) struct Crew<'a> {
    demo: &'a Demo,
    data: PathBuf,
    members: Vec<Member>,
    sender: SyncSender<(Role, News)>,
    receiver: Receiver<(Role, News)>,
}

struct Member {
    role: Role,
    child: Child,
    /// It closes the database when this is closed.
    permission: Option<ChildStdin>,
}

impl<'a> Crew<'a> {
    pub(super) fn new(demo: &'a Demo, data: &Path) -> Crew<'a> {
        let (sender, receiver) = sync_channel(REPORTS_MAX);
        Crew { demo, data: data.to_owned(), members: Vec::new(), sender, receiver }
    }

    pub(super) fn start(&mut self, role: Role) -> Result<(), Failure> {
        let cannot = |error: io::Error| Failure::failed(format!("cannot start the {}: {error}", role.name()));
        let mut child = self.command(role).map_err(cannot)?.spawn().map_err(cannot)?;
        let (permission, reports) = (child.stdin.take(), child.stdout.take());
        self.members.push(Member { role, child, permission });
        let reports = reports.ok_or_else(|| cannot(io::Error::other("it has no standard output")))?;
        let sender = self.sender.clone();
        thread::spawn(move || pass_on(role, reports, &sender));
        Ok(())
    }

    fn command(&self, role: Role) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--data").arg(&self.data).arg("demo-process").args(["--role", role.argument()]);
        command.arg("--level").arg(self.demo.level.name());
        match &self.demo.source.input {
            Some(file) => command.arg("--input").arg(file),
            None => command.arg("--records").arg(self.demo.source.records.to_string()),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(command)
    }

    /// What is heard next, if anything is soon; fails when a signal came to this process.
    pub(super) fn listen(&self, signals: &Signals) -> Result<Option<(Role, News)>, Failure> {
        signals.check()?;
        match self.receiver.recv_timeout(LOOK) {
            Ok(heard) => Ok(Some(heard)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the crew keeps a sender"),
        }
    }

    /// SIGKILL: no code of the process runs after this.
    pub(super) fn kill(&mut self, role: Role) -> Result<(), Failure> {
        self.member(role)?.child.kill().map_err(|error| failure(role, &error))
    }

    /// Lets it close the database and end.
    pub(super) fn allow_to_close(&mut self, role: Role) -> Result<(), Failure> {
        self.member(role)?.permission = None;
        Ok(())
    }

    /// Takes out a process that has ended. Fails if it was not killed and did not succeed.
    pub(super) fn bury(&mut self, role: Role, was_killed: bool) -> Result<(), Failure> {
        let status = self.member(role)?.child.wait().map_err(|error| failure(role, &error))?;
        self.members.retain(|member| member.role != role);
        match was_killed || status.success() {
            true => Ok(()),
            false => Err(Failure::failed(format!("the {} ended by itself ({status}); see above", role.name()))),
        }
    }

    fn member(&mut self, role: Role) -> Result<&mut Member, Failure> {
        let member = self.members.iter_mut().find(|member| member.role == role);
        member.ok_or_else(|| Failure::failed(format!("the {} does not run; this is a bug", role.name())))
    }
}

impl Drop for Member {
    /// A process whose parent gave up must not go on in a directory that is about to be removed.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pass_on(role: Role, reports: ChildStdout, sender: &SyncSender<(Role, News)>) {
    let mut reports = BufReader::new(reports);
    loop {
        let news = match receive(&mut reports) {
            Ok(Some(report)) => News::Report(report),
            Ok(None) => News::Ended,
            Err(error) => News::Failed(error),
        };
        let is_last = !matches!(news, News::Report(_));
        if sender.send((role, news)).is_err() || is_last {
            return;
        }
    }
}

pub(super) fn failure(role: Role, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot attend the {}: {error}", role.name()))
}
