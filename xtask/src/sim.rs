//! `cargo xtask sim`: seeded operations, crashes and reopenings of the real storage code on a simulated disk.
//!
//! The task starts itself again, built with the library and its feature `sim`, so that no other task waits for that.

use clap::Args;

use crate::Outcome;
use crate::command::{captured, cargo, run};
use crate::planted;

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
        return seeds::run(first, count);
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
mod seeds {
    //! Runs seeds on all processors until one fails.

    use std::panic::catch_unwind;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;
    use std::time::Instant;

    use towpath::sim::Summary;

    use crate::Outcome;

    pub(super) fn run(first: u64, count: u64) -> Outcome {
        let start = Instant::now();
        let search = Search {
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            failures: Mutex::default(),
            total: Mutex::default(),
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| search.work(first, count));
            }
        });
        let mut failures = search.failures.into_inner().map_err(|error| error.to_string())?;
        failures.sort();
        match failures.first() {
            None => {
                let total = search.total.into_inner().map_err(|error| error.to_string())?;
                eprintln!("sim: {count} seeds from {first} hold, {} s: {total}", start.elapsed().as_secs());
                Ok(())
            }
            Some((seed, reason)) => {
                Err(format!("seed {seed}: {reason}\nreplay it with `cargo xtask sim --seed {seed}`"))
            }
        }
    }

    struct Search {
        next: AtomicU64,
        stop: AtomicBool,
        failures: Mutex<Vec<(u64, String)>>,
        total: Mutex<Summary>,
    }

    impl Search {
        fn work(&self, first: u64, count: u64) {
            while !self.stop.load(Ordering::Relaxed) {
                let turn = self.next.fetch_add(1, Ordering::Relaxed);
                if turn >= count {
                    return;
                }
                let seed = first.wrapping_add(turn);
                match outcome(seed) {
                    Ok(summary) => *self.total.lock().expect("no seed panics while it adds") += summary,
                    Err(reason) => {
                        self.stop.store(true, Ordering::Relaxed);
                        self.failures.lock().expect("no seed panics while it tells").push((seed, reason));
                    }
                }
            }
        }
    }

    fn outcome(seed: u64) -> Result<Summary, String> {
        catch_unwind(|| towpath::sim::run(seed)).unwrap_or_else(|_| Err("a panic, told above".to_owned()))
    }
}
