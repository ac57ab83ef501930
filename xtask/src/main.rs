//! `cargo xtask NAME`: what the project needs beyond `cargo run` and `cargo test`. Each task says what it lacks and how
//! to get it.

mod checks;
mod command;
mod fuzz;
mod loom;
mod nemesis;
mod planted;
#[cfg(any(feature = "sim", test))]
mod search;
mod sim;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the project
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the formatting
    Fmt {
        /// Change the files instead
        #[arg(long)]
        write: bool,
    },
    /// Run clippy on everything, warnings denied
    Lint,
    /// Run the loom models, then each planted bug, which its model must find
    Loom,
    /// Run the simulator: real storage code on a disk that crashes
    Sim(sim::Sim),
    /// Fuzz one target, or each in turn
    Fuzz(fuzz::Fuzz),
    /// Kill writers and compare what was acknowledged with what is there
    Kill {
        /// How often a process is killed
        #[arg(long, value_name = "N", default_value_t = 50)]
        rounds: u64,
    },
    /// Kill, stop and fork eight processes on one directory, and hold their books against each other
    Nemesis(nemesis::Nemesis),
    /// Build the documentation, warnings denied
    Doc,
    /// Run the benchmarks
    Bench,
    /// Run everything that must hold before a change goes in
    Ci,
}

/// What went wrong, and what to do about it.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Fmt { write } => checks::fmt(write),
        Task::Lint => checks::lint(),
        Task::Loom => loom::run(),
        Task::Sim(sim) => sim.run(),
        Task::Fuzz(fuzz) => fuzz.run(),
        Task::Kill { rounds } => checks::kill(rounds),
        Task::Nemesis(nemesis) => nemesis.run(),
        Task::Doc => checks::doc(),
        Task::Bench => checks::bench(),
        Task::Ci => checks::ci(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
