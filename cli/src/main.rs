//! The `towpath` command.
//!
//! One file or folder per noun: [`stream`], [`group`], [`queue`], [`dead`], [`exchange`] (with `bind`, `unbind` and
//! `publish`), [`schedule`], [`host`], [`top`], [`stats`], [`check`], [`mod@bench`], [`demo`]. What they share is how
//! they come to the database ([`place`]), how they end ([`exit`], [`signals`]), how they write ([`output`], [`log`])
//! and how they read times and sizes ([`units`]).

mod bench;
mod check;
mod dead;
mod dedup;
mod demo;
mod exchange;
mod exit;
mod group;
mod host;
mod lines;
mod log;
mod notify;
mod output;
mod place;
mod queue;
mod schedule;
mod signals;
mod stats;
mod stream;
mod top;
mod units;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::exit::Failure;
use crate::place::{ModeName, Place};

/// Streams and queues, from the shell, in a directory of this machine: no server to run.
#[derive(Parser)]
#[command(name = "towpath", version, arg_required_else_help = true)]
struct Arguments {
    /// The directory of the database
    #[arg(long, global = true, value_name = "DIR", env = "TOWPATH_DATA", default_value = "./towpath-data")]
    data: PathBuf,
    /// How to share the directory with other processes
    #[arg(long, global = true, value_enum, default_value = "auto")]
    mode: ModeName,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Subcommand)]
enum Noun {
    /// Create, append to, read, describe, trim and delete streams
    #[command(subcommand, arg_required_else_help = true)]
    Stream(stream::Verb),
    /// List, describe, reset and delete consumer groups of streams
    #[command(subcommand, arg_required_else_help = true)]
    Group(group::Verb),
    /// Create, send to, receive from, work on, describe and delete queues
    #[command(subcommand, arg_required_else_help = true)]
    Queue(queue::Verb),
    /// List, send again and delete the dead letters of queues
    #[command(subcommand, arg_required_else_help = true)]
    Dead(dead::Verb),
    /// Declare, list, describe and delete exchanges, which lead messages to queues
    #[command(subcommand, arg_required_else_help = true)]
    Exchange(exchange::Verb),
    /// Lead messages of an exchange on to a queue, or to another exchange; durable when it returns
    ///
    /// What else to pass depends on the type of the exchange. direct: --key with the routing key. topic: --key with a
    /// pattern of words separated by dots, where * is one word and # any number of them; quote it for the shell.
    /// headers: --header and --match. consistent-hash: --weight. fanout: nothing.
    Bind(exchange::Bind),
    /// Remove a binding, named as for `bind`; tells whether it was there
    Unbind(exchange::Unbind),
    /// Publish standard input to an exchange, one message per line
    Publish(exchange::Publish),
    /// Add, list, pause, resume and remove schedules, which send messages at times
    ///
    /// Whichever process hosts the database makes the runs. What was missed while nobody did is made up for by one
    /// message, unless the schedule says otherwise.
    #[command(subcommand, arg_required_else_help = true)]
    Schedule(schedule::Verb),
    /// Tell why a message of a queue is not handed out now, or when it is
    Explain(queue::Explain),
    /// Keep the database open for other processes, until SIGTERM or SIGINT
    ///
    /// Any process that opens a directory hosts it for the others, and another takes over when it ends. A process of
    /// its own for this is of use where those are short or restarted often. It ends with code 0 when it is told to by a
    /// signal, and with another if the disk fails. A connection that is refused is logged to standard error.
    Host(host::Host),
    /// Watch rates, streams and attached processes in the terminal; q ends it
    Top(top::Top),
    /// Show what the database holds and what its host has done since it opened it
    Stats(stats::Stats),
    /// Verify every frame, sidecar and the index; changes nothing and needs the directory alone
    Check(check::Check),
    /// Measure on this machine
    #[command(subcommand, arg_required_else_help = true)]
    Bench(bench::Verb),
    /// Feed and consume a stream from several processes, through real SIGKILLs, and count what is there
    ///
    /// Two processes feed, one reads, and three consume as members of a group, of which one joins and one leaves on the
    /// way. What is there at the end, and what was consumed, is compared with what was fed. Then orders go through a
    /// topic exchange to three queues, on which three processes work; some orders cannot be processed, and one kills.
    ///
    /// Works in a temporary directory that it removes, unless --data or TOWPATH_DATA names one: then in that one, which
    /// must be new or empty, and leaves it there.
    Demo(demo::Demo),
    /// A child process of `demo`
    #[command(hide = true)]
    DemoProcess(demo::Worker),
    /// A child process of `demo`
    #[command(hide = true)]
    DemoPacker(demo::Packer),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Stopped { signal }) => ExitCode::from(128 | signal),
        Err(Failure::Told { code, message }) => {
            eprintln!("towpath: {message}");
            ExitCode::from(code)
        }
    }
}

/// The command, with the exit codes in the help of each verb.
fn command() -> clap::Command {
    fn with_codes(command: clap::Command) -> clap::Command {
        command.after_help(exit::CODES).mut_subcommands(with_codes)
    }
    with_codes(Arguments::command())
}

fn run() -> Result<(), Failure> {
    let matches = command().try_get_matches().map_err(help_or_failure)?;
    let data_was_named = matches.value_source("data") != Some(ValueSource::DefaultValue);
    let Arguments { data, mode, noun } = Arguments::from_arg_matches(&matches).map_err(help_or_failure)?;
    let place = Place { directory: data, mode };
    match noun {
        Noun::Stream(verb) => verb.run(&place),
        Noun::Group(verb) => verb.run(&place),
        Noun::Queue(verb) => verb.run(&place),
        Noun::Dead(verb) => verb.run(&place),
        Noun::Exchange(verb) => verb.run(&place),
        Noun::Bind(bind) => bind.run(&place),
        Noun::Unbind(unbind) => unbind.run(&place),
        Noun::Publish(publish) => publish.run(&place),
        Noun::Schedule(verb) => verb.run(&place),
        Noun::Explain(explain) => explain.run(&place),
        Noun::Host(host) => host.run(place),
        Noun::Top(top) => top.run(place),
        Noun::Stats(stats) => stats.run(&place),
        Noun::Check(check) => check.run(place.path()),
        Noun::Bench(verb) => verb.run(),
        Noun::Demo(demo) => demo.run(data_was_named.then_some(place.directory)),
        Noun::DemoProcess(worker) => worker.run(place.path()),
        Noun::DemoPacker(packer) => packer.run(place.path()),
        Noun::Completions { shell } => completions(shell),
    }
}

/// Help and version are answers, printed here; the rest are mistakes.
fn help_or_failure(error: clap::Error) -> Failure {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        _ => Failure::from(error),
    }
}

fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "towpath", &mut script);
    let mut output = output::Output::new();
    output.bytes(&script)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_directory_named_before_or_after_the_verb_counts_as_named() {
        for line in [["towpath", "--data", "d", "demo"], ["towpath", "demo", "--data", "d"]] {
            let matches = Arguments::command().get_matches_from(line);
            assert_eq!(matches.value_source("data"), Some(ValueSource::CommandLine));
        }
    }
}
