//! Another process: this test program once more, in a role.

#![allow(dead_code, reason = "each test file is a crate of its own and uses its part of this")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use towpath::{Database, Options};

use crate::place::eventually;

/// Set for the child.
const ROLE: &str = "TOWPATH_TEST_ROLE";
const DATA: &str = "TOWPATH_TEST_DATA";
const GRACE: &str = "TOWPATH_TEST_GRACE_MICROS";

/// Begins every line that a child tells; what the test harness says of itself begins otherwise.
const TELLS: &str = "> ";

const HOST: &str = "host";

/// The test that every program with children has.
const TEST: &str = "child_plays_its_role";

const GRACE_USUAL: Duration = Duration::from_secs(10);

fn command(program: &Path, role: &str, data: &Path, grace: Duration) -> Command {
    let mut command = Command::new(program);
    command.args([TEST, "--exact", "--nocapture"]);
    command.env(ROLE, role).env(DATA, data).env(GRACE, grace.as_micros().to_string());
    command
}

/// A child in its role; killed when dropped.
pub struct ChildProcess {
    child: Child,
    asks: Option<ChildStdin>,
    tells: BufReader<ChildStdout>,
}

impl ChildProcess {
    /// One that hosts the database, or attaches to who does, until it is ended.
    pub fn host(data: &Path) -> ChildProcess {
        ChildProcess::try_host(data).unwrap()
    }

    /// The same; tells why it could not open the database.
    pub fn try_host(data: &Path) -> Result<ChildProcess, String> {
        ChildProcess::start_host(data, GRACE_USUAL)
    }

    /// The same, with as long for others to come back once it hosts.
    pub fn host_with_grace(data: &Path, grace: Duration) -> ChildProcess {
        ChildProcess::start_host(data, grace).unwrap()
    }

    fn start_host(data: &Path, grace: Duration) -> Result<ChildProcess, String> {
        let mut host = ChildProcess::start_with_grace(HOST, data, grace);
        match host.next() {
            Some(told) if told == "open" => Ok(host),
            told => Err(told.expect("it tells what came of opening")),
        }
    }

    pub fn start(role: &str, data: &Path) -> ChildProcess {
        ChildProcess::start_with_grace(role, data, GRACE_USUAL)
    }

    pub fn start_with_grace(role: &str, data: &Path, grace: Duration) -> ChildProcess {
        ChildProcess::spawn(&mut command(&std::env::current_exe().unwrap(), role, data, grace))
    }

    /// As another user, who may execute the program there.
    pub fn start_as(uid: u32, program: &Path, role: &str, data: &Path) -> ChildProcess {
        ChildProcess::spawn(command(program, role, data, GRACE_USUAL).uid(uid).gid(uid).current_dir("/"))
    }

    fn spawn(command: &mut Command) -> ChildProcess {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, tells) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        ChildProcess { child, asks, tells }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next that it tells; `None` when it has ended.
    pub fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.tells.read_line(&mut line).unwrap() > 0 {
            if let Some(told) = line.strip_prefix(TELLS).and_then(|told| told.strip_suffix('\n')) {
                return Some(told.to_owned());
            }
            line.clear();
        }
        None
    }

    /// All that it tells until it ends.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Lets it go on by a line.
    pub fn ask(&mut self, line: &str) {
        writeln!(self.asks.as_mut().expect("it was not ended"), "{line}").unwrap();
    }

    /// Ends it in order.
    pub fn end(mut self) {
        let status = self.wait();
        assert!(status.success(), "{status}");
    }

    /// Has it see the end of its input, and waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.asks = None;
        self.child.wait().unwrap()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it, and returns when each of its threads stands still: until then they go on with what they were at.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        eventually("all its threads are stopped", || threads_of(self.pid()).iter().all(|state| state == "T"));
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

/// The state of each thread of a process, as a letter.
fn threads_of(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let state = |status: String| Some(status.rsplit_once(") ")?.1.split(' ').next()?.to_owned());
    // A thread may end before it is stopped.
    tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok().and_then(state)).collect()
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and that is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays the role that this process was started in, if it is a child. `others` are the roles besides the host.
pub fn play(others: impl FnOnce(&str, PathBuf)) {
    let (Ok(role), Some(data)) = (std::env::var(ROLE), std::env::var_os(DATA)) else { return };
    // A thread that fails ends the child, which the parent takes for the failure it is.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(1);
    }));
    match role.as_str() {
        HOST => {
            let db = match options().open(&data) {
                Ok(db) => db,
                Err(error) => return tell(&format!("{error:?}")),
            };
            tell("open");
            asked();
            db.close().unwrap();
        }
        role => others(role, data.into()),
    }
}

/// In the child: opens the database with the least sizes.
pub fn open(data: &Path) -> Database {
    options().open(data).unwrap()
}

pub fn options() -> Options {
    let grace = std::env::var(GRACE).expect("set for children").parse().expect("a number");
    Options::temporary().reconnect_grace(Duration::from_micros(grace))
}

/// In the child: tells the parent. Past the harness, which keeps what is printed.
pub fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{TELLS}{line}\n").as_bytes()).and_then(|()| out.flush()).expect("the parent listens");
}

/// In the child: waits for the next line of the parent; `None` at the end.
pub fn asked() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).expect("a pipe");
    (read > 0).then(|| line.trim_end().to_owned())
}
