//! `towpath queue work`: a command for each message.

use std::io::{self, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;
use towpath::{Delivery, Queue};

use crate::exit::Failure;
use crate::output::{counted, say};
use crate::place::Place;
use crate::signals;

/// How long it waits for a message before it looks whether it was stopped.
const LOOK: Duration = Duration::from_millis(200);

/// How often the message of a command that runs is extended, and by how much.
const EXTEND_EVERY: Duration = Duration::from_secs(60);
const EXTEND_BY: Duration = Duration::from_secs(300);

/// What is kept of standard error.
const ERROR_BYTES: usize = 1024;

#[derive(Args)]
pub(crate) struct Work {
    /// The queue
    name: String,
    /// Stop after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// Stop when no message is ready
    #[arg(long, conflicts_with = "max")]
    until_empty: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// How a command ended.
enum Ended {
    Well,
    /// With what it said last.
    Badly(String),
}

impl Work {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        let signals = signals::catch()?;
        let database = place.open_existing()?;
        let queue = database.queue(&self.name)?;
        let (mut done, mut failed) = (0, 0);
        let outcome = loop {
            if self.max.is_some_and(|max| done + failed >= max) {
                break Ok(());
            }
            if let Err(stopped) = signals.check() {
                break Err(stopped);
            }
            let Some(message) = self.next(&queue)? else {
                match self.until_empty {
                    true => break Ok(()),
                    false => continue,
                }
            };
            match self.work(&message)? {
                Ended::Well => {
                    message.ack()?;
                    done += 1;
                }
                Ended::Badly(error) => {
                    message.fail(&error)?;
                    failed += 1;
                }
            }
        };
        drop(queue);
        database.close()?;
        outcome?;
        say(format!("{} done, {} failed.", counted(done, "message"), counted(failed, "attempt")))
    }

    fn next(&self, queue: &Queue) -> Result<Option<Delivery>, Failure> {
        Ok(if self.until_empty { queue.try_receive()? } else { queue.receive_timeout(LOOK)? })
    }

    /// Runs the command for a message. A command that cannot be started ends the work; the message is released.
    fn work(&self, message: &Delivery) -> Result<Ended, Failure> {
        let cannot = |error: io::Error| Failure::failed(format!("cannot run `{}`: {error}", self.command[0]));
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(cannot)?;
        let (mut input, mut errors) = (child.stdin.take(), child.stderr.take());
        let body = message.body_bytes();
        let (sender, ended) = mpsc::channel();
        let fed = thread::spawn(move || {
            // A command that does not read its input to the end ends as it pleases.
            let _ = input.take().map(|mut input| input.write_all(&body));
        });
        let waited = thread::spawn(move || {
            let said = errors.take().map(tail).unwrap_or_default();
            // Nobody hears it if the message could not be extended.
            let _ = sender.send((child.wait(), said));
        });
        let (status, said) = loop {
            match ended.recv_timeout(EXTEND_EVERY) {
                Ok(ended) => break ended,
                Err(mpsc::RecvTimeoutError::Timeout) => message.extend(EXTEND_BY)?,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Failure::failed("the thread that waits for the command ended"));
                }
            }
        };
        let _ = (fed.join(), waited.join());
        Ok(ended_as(status.map_err(cannot)?, &said))
    }
}

fn ended_as(status: ExitStatus, said: &[u8]) -> Ended {
    if status.success() {
        return Ended::Well;
    }
    let said = String::from_utf8_lossy(said);
    Ended::Badly(match said.trim() {
        "" => status.to_string(),
        said => format!("{status}: {said}"),
    })
}

/// The end of what comes, which is passed on to standard error too.
fn tail(mut errors: impl Read) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = errors.read(&mut buffer) {
        // Who closed standard error does not want it.
        let _ = io::stderr().write_all(&buffer[..read]);
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(ERROR_BYTES);
        kept.drain(..surplus);
    }
    kept
}
