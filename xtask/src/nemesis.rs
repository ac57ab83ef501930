//! `cargo xtask nemesis`: the nemesis of `tests/nemesis` for as long as wanted, and the bugs that it must find.
//!
//! Planted bugs are built beside what `cargo test` left in `target`: the library and the nemesis alone are built anew,
//! and without optimization, because that takes longer than finding the bug.

use std::process::Command;

use clap::Args;

use crate::Outcome;
use crate::command::{captured, cargo, root, run};
use crate::planted;

/// A planted bug, and what the nemesis must say of it; nothing where that depends on how the race goes.
pub(crate) const PLANTED: &[(&str, &str)] = &[
    ("child_keeps_lock", "nobody has taken the directory"),
    ("served_without_greeting", "without a greeting was answered"),
    ("request_replayed", "is there twice"),
    ("host_writes_after_unlock", ""),
    ("acknowledged_before_journal", "acknowledged at"),
];

/// Within these a planted bug must be found. The books are compared often: most bugs show there only.
const PLANTED_KILLS: u64 = 120;
const PLANTED_SECONDS: u64 = 120;
const PLANTED_CAMPAIGN: &str = "8";

#[derive(Args)]
pub(crate) struct Nemesis {
    /// The seed of the first campaign, to replay one that failed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How many hosts are killed
    #[arg(long, value_name = "N", default_value_t = 1000)]
    kills: u64,
    /// Within what time they must be
    #[arg(long, value_name = "N", default_value_t = 900)]
    seconds: u64,
    /// Run each planted bug instead, which the nemesis must find
    #[arg(long)]
    planted: bool,
}

impl Nemesis {
    pub(crate) fn run(&self) -> Outcome {
        planted::check_tables()?;
        if !self.planted {
            let mut nemesis = nemesis(&["--release"], self.kills, self.seconds, self.seed);
            nemesis.env("TOWPATH_NEMESIS_KEEP", root().join("target/nemesis-kept"));
            return run(nemesis);
        }
        for (name, finding) in PLANTED {
            self.find(name, finding)?;
        }
        eprintln!("nemesis: each of {} planted bugs was found", PLANTED.len());
        Ok(())
    }

    /// Passes only if the nemesis compiles with the bug, runs, and fails for it.
    fn find(&self, name: &str, finding: &str) -> Outcome {
        let mut build = cargo(&["test", "--quiet", "--package", "towpath", "--test", "nemesis", "--no-run"]);
        plant(&mut build, name)?;
        run(build)?;
        let mut nemesis = nemesis(&[], PLANTED_KILLS, PLANTED_SECONDS, self.seed);
        plant(&mut nemesis, name)?;
        nemesis.env("TOWPATH_NEMESIS_CAMPAIGN", PLANTED_CAMPAIGN);
        let output = captured(nemesis)?;
        let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if output.status.success() || !told.contains("TOWPATH_NEMESIS_SEED=") || !told.contains(finding) {
            return Err(format!("the planted bug `{name}` survived {PLANTED_KILLS} kills:\n{told}"));
        }
        eprintln!("nemesis: found the planted bug `{name}`");
        Ok(())
    }
}

fn plant(command: &mut Command, name: &str) -> Outcome {
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    planted::plant(command, name)
}

fn nemesis(profile: &[&str], kills: u64, seconds: u64, seed: Option<u64>) -> Command {
    let mut command = cargo(&["test", "--package", "towpath", "--test", "nemesis"]);
    command.args(profile);
    command.args(["--", "the_books_of_eight_processes", "--nocapture"]);
    command.env("TOWPATH_NEMESIS_KILLS", kills.to_string());
    command.env("TOWPATH_NEMESIS_SECONDS", seconds.to_string());
    if let Some(seed) = seed {
        command.env("TOWPATH_NEMESIS_SEED", seed.to_string());
    }
    command
}
