//! How a command ends: one line on standard error and a documented code.

use std::io;

use clap::error::ErrorKind;
use towpath::Error;

/// The codes, for `--help`.
pub(crate) const CODES: &str = "Exit codes:
  0   done
  1   failed
  2   wrong usage
  3   not found; with --mode attach: no process hosts the database
  4   refused (options that differ, a wrong offset, a limit exceeded, a message
      that leads to no queue, an exchange that is an alternate, a cron pattern
      that is not understood, a queue to which a schedule sends, a host of
      another version or of another user)
  5   storage full
  6   damaged data; `towpath check` names the places
  75  the database is in use by another process that does not share it; or
      another one hosts it already, or it is to be checked: try again later; or
      the group has members, or the queue messages in flight
  130, 143  stopped by SIGINT (Ctrl-C) or SIGTERM
After 4 and 5 nothing of the refused call is stored. `stream append`, `queue
send` and `publish` make many calls and tell how many lines are in, after a
signal too.";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const REFUSED: u8 = 4;
const STORAGE_FULL: u8 = 5;
const DAMAGED: u8 = 6;
const IN_USE: u8 = 75;

/// Why a command did not reach its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Told in one line, with the code to exit with.
    Told { code: u8, message: String },
    /// A signal came, and what was open is put away. Told by the code alone: 128 and the signal's number.
    Stopped { signal: u8 },
    /// Whoever read standard output has left, as `head` does. Not an error.
    OutputClosed,
}

impl Failure {
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure::Told { code: FAILED, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::Told { code: USAGE, message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Failure {
        Failure::Told { code: NOT_FOUND, message: message.into() }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Failure {
        Failure::Told { code: REFUSED, message: message.into() }
    }

    pub(crate) fn in_use(message: impl Into<String>) -> Failure {
        Failure::Told { code: IN_USE, message: message.into() }
    }

    pub(crate) fn damaged(message: impl Into<String>) -> Failure {
        Failure::Told { code: DAMAGED, message: message.into() }
    }

    /// The same failure, told with what it means for the caller's work.
    pub(crate) fn with_consequence(self, consequence: &str) -> Failure {
        match self {
            Failure::Told { code, message } => Failure::Told { code, message: format!("{message}; {consequence}") },
            Failure::Stopped { signal } => {
                let name = if signal == 2 { "SIGINT" } else { "SIGTERM" };
                let message = format!("stopped by {name}; {consequence}");
                Failure::Told { code: 128 | signal, message }
            }
            Failure::OutputClosed => Failure::OutputClosed,
        }
    }

    /// The same failure, told with what it is about.
    pub(crate) fn about(self, subject: &str) -> Failure {
        match self {
            Failure::Told { code, message } => Failure::Told { code, message: format!("{subject}: {message}") },
            other => other,
        }
    }

    /// A failure to write to standard output.
    pub(crate) fn output(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::failed(format!("cannot write to standard output: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Told { code: code_of(&error), message: advice(&error).unwrap_or_else(|| one_line(&error)) }
    }
}

/// What to do next in terms of commands, where the library's own text speaks of calls.
fn advice(error: &Error) -> Option<String> {
    match error {
        Error::NotFound { kind: "group", name } => {
            Some(format!("there is no group `{name}`; `towpath group list STREAM` names all of its stream"))
        }
        Error::NotFound { kind, name } => Some(format!("there is no {kind} `{name}`; `towpath {kind} list` names all")),
        Error::Missing { path } => {
            Some(format!("there is no database in `{}`; `towpath stream create` makes one", path.display()))
        }
        Error::Mismatch { kind, name, differences } => {
            let differences = differences.join("; ").replace("`add_partitions`", "`towpath stream add-partitions`");
            Some(format!("{kind} `{name}` exists with other options ({differences}); nothing was changed"))
        }
        Error::OffsetOutOfRange { stream, partition, offset, start, end } => Some(format!(
            "offset {offset} is outside partition {partition} of `{stream}`, which begins at {start} and ends before \
             {end}; `--from earliest` reads all of it"
        )),
        Error::Unroutable { exchange, routing_key } if exchange.is_empty() => Some(format!(
            "the default exchange leads each message to the queue with its key as the name, and there is no queue \
             `{routing_key}`; `towpath queue list` names all"
        )),
        Error::Unroutable { exchange, routing_key } => Some(format!(
            "exchange `{exchange}` leads `{routing_key}` to no queue; `towpath exchange describe` shows its bindings, \
             `towpath bind` adds one, and --allow-unroutable accepts it"
        )),
        Error::IsAlternate { exchange, by } => {
            Some(format!("exchange `{exchange}` is the alternate of `{by}`; `towpath exchange delete` that one first"))
        }
        Error::IsScheduled { kind, name, schedule } => Some(format!(
            "schedule `{schedule}` sends to {kind} `{name}`; `towpath schedule remove` it first, or `add` it anew with \
             another target"
        )),
        Error::NoHost => Some(
            "no process hosts the database; leave `--mode attach` away, or start one that does with `towpath host`"
                .to_owned(),
        ),
        _ => None,
    }
}

impl From<clap::Error> for Failure {
    /// The first paragraph, which says what is wrong; the rest shows the usage again.
    fn from(error: clap::Error) -> Failure {
        let text = error.render().to_string();
        // A list of subcommands follows the first line, with those that are hidden.
        let end = if error.kind() == ErrorKind::MissingSubcommand { "\n" } else { "\n\n" };
        let paragraph = text.split(end).next().unwrap_or_default();
        let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        Failure::usage(format!("{}; see --help", line.trim_start_matches("error: ")))
    }
}

fn code_of(error: &Error) -> u8 {
    match error {
        _ if error.is_corruption() => DAMAGED,
        Error::NotFound { .. } | Error::Missing { .. } | Error::NoHost => NOT_FOUND,
        Error::StorageFull => STORAGE_FULL,
        Error::Locked { .. } | Error::InUse { .. } | Error::MessagesInFlight { .. } => IN_USE,
        Error::Mismatch { .. }
        | Error::InvalidName { .. }
        | Error::InvalidOption { .. }
        | Error::LimitExceeded { .. }
        | Error::Full { .. }
        | Error::Unroutable { .. }
        | Error::IsAlternate { .. }
        | Error::IsScheduled { .. }
        | Error::InvalidCron { .. }
        | Error::WrongOffset { .. }
        | Error::OffsetOutOfRange { .. }
        | Error::NotADatabase { .. }
        | Error::UnsupportedFormat { .. }
        | Error::UnsupportedFileSystem { .. }
        | Error::OtherProtocol { .. }
        | Error::NotPermitted { .. } => REFUSED,
        _ => FAILED,
    }
}

/// The error with its causes in one line. A cause that the text above it already quotes is left out.
fn one_line(error: &Error) -> String {
    let mut line = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_error() {
        let closed = Failure::output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(closed, Failure::OutputClosed));
    }

    #[test]
    fn what_stands_between_processes_has_codes_that_say_what_to_do() {
        for (error, wanted, says) in [
            (Error::NoHost, NOT_FOUND, "`towpath host`"),
            (Error::OtherProtocol { ours: 1, theirs: 2 }, REFUSED, "upgrade this process"),
            (Error::OtherProtocol { ours: 2, theirs: 1 }, REFUSED, "upgrade the process that hosts"),
            (Error::NotPermitted { uid: 1_000 }, REFUSED, "user 1000"),
            (Error::Locked { pid: 4_711 }, IN_USE, "process 4711"),
        ] {
            let Failure::Told { code, message } = Failure::from(error) else { panic!("it is not told") };
            assert!(code == wanted && message.contains(says), "{code}: {message}");
        }
    }

    #[test]
    fn what_is_not_found_has_its_own_code() {
        let failure = Failure::from(Error::NotFound { kind: "stream", name: "orders".into() });
        assert!(matches!(failure, Failure::Told { code: NOT_FOUND, message } if message.contains("orders")));
    }
}
