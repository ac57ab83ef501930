//! `cargo xtask sim`: seeded operations, crashes and reopenings of the real storage code on a simulated disk.
//!
//! The task starts itself again, built with the library and its feature `sim`, so that no other task waits for that. A
//! seed that does not end within `SEED_SECONDS_MAX` fails the run; so a planted bug is found that makes one hang.

use clap::Args;

use crate::Outcome;
use crate::command::{captured, cargo, run};
use crate::planted;
#[cfg(feature = "sim")]
use crate::search::{SEED_SECONDS_MAX, search};

/// Planted bugs that some seed must find.
pub(crate) const PLANTED: &[&str] = &[
    "range_sync_leaves_hole",
    "newest_segment_synced_only",
    "failed_sync_forgiven",
    "undurable_records_shown",
    "checkpoint_ahead_of_journal",
    "unlink_after_one_commit",
    "survivor_not_synced",
    "segment_name_not_synced",
    "tail_not_settled",
    "epoch_inside_issued",
    "request_applied_twice",
    "producer_window_not_persisted",
    "members_outlive_session",
    "past_owner_commits",
    "revoked_before_released",
    "commit_not_in_checkpoint",
    "moment_of_any_clock",
    "older_record_supersedes",
    "compacted_item_loses_its_timestamp",
    "tombstone_left_out_at_once",
];

#[derive(Args)]
pub(crate) struct Sim {
    /// How many seeds [default: 2000, or 1 if --seed is given]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed, to replay one that failed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Then run each planted bug, which some seed must find
    #[arg(long)]
    planted: bool,
}

const SEEDS_DEFAULT: u64 = 2_000;

impl Sim {
    pub(crate) fn run(&self) -> Outcome {
        let count = self.seeds.unwrap_or(if self.seed.is_some() { 1 } else { SEEDS_DEFAULT });
        let first = self.seed.unwrap_or(0);
        #[cfg(feature = "sim")]
        return run_seeds(first, count);
        #[cfg(not(feature = "sim"))]
        self.run_built(first, count)
    }

    #[cfg_attr(feature = "sim", expect(dead_code, reason = "the task that starts itself again has no feature"))]
    fn run_built(&self, first: u64, count: u64) -> Outcome {
        planted::check_tables()?;
        run(built(first, count))?;
        if self.planted {
            for name in PLANTED {
                find(name, first, count)?;
            }
            eprintln!("sim: each of {} planted bugs was found", PLANTED.len());
        }
        Ok(())
    }
}

/// Passes only if the simulator compiles with the bug, runs, and fails.
fn find(name: &str, first: u64, count: u64) -> Outcome {
    let mut build = cargo(&["build", "--profile", "sim", "--quiet", "--package", "xtask", "--features", "sim"]);
    build.args(["--target-dir", "target/sim"]);
    planted::plant(&mut build, name)?;
    run(build)?;
    let mut sim = built(first, count);
    planted::plant(&mut sim, name)?;
    let output = captured(sim)?;
    if output.status.success() {
        return Err(format!("the planted bug `{name}` survived {count} seeds"));
    }
    eprintln!("sim: found the planted bug `{name}`");
    Ok(())
}

fn built(first: u64, count: u64) -> std::process::Command {
    let mut command = cargo(&["run", "--profile", "sim", "--quiet", "--package", "xtask", "--features", "sim"]);
    command.args(["--target-dir", "target/sim", "--", "sim"]);
    command.args(["--seed", &first.to_string(), "--seeds", &count.to_string()]);
    command
}

#[cfg(feature = "sim")]
fn run_seeds(first: u64, count: u64) -> Outcome {
    let start = std::time::Instant::now();
    let bound = std::time::Duration::from_secs(SEED_SECONDS_MAX);
    match search(first, count, bound, towpath::sim::run) {
        Ok(total) => {
            eprintln!("sim: {count} seeds from {first} hold, {} s: {total}", start.elapsed().as_secs());
            Ok(())
        }
        Err((seed, reason)) => Err(format!("seed {seed}: {reason}\nreplay it with `cargo xtask sim --seed {seed}`")),
    }
}
