//! `cargo xtask loom`: the models as they are, which must hold, and with each planted bug, which must break its model.

use std::process::Command;

use crate::Outcome;
use crate::command::{self, captured, cargo};
use crate::planted;

/// A planted bug and the model that must find it.
pub(crate) const PLANTED: &[(&str, &str)] = &[
    ("written_early", "loom_ring"),
    ("mark_relaxed", "loom_ring"),
    ("never_nudged", "loom_ring"),
    ("leader_forgets_followers", "loom_commit"),
    ("follower_sleeps_at_once", "loom_commit"),
    ("nobody_leads_next", "loom_commit"),
    ("lead_swallowed", "loom_commit"),
    ("registered_late", "loom_wake"),
    ("alive_before_lock", "loom_wake"),
    ("object_registered_late", "loom_watched"),
    ("object_barrier_forgotten", "loom_watched"),
    ("wake_kept", "loom_line"),
    ("looked_before_silence", "loom_lending"),
    ("busy_is_served", "loom_lending"),
    ("close_before_remove", "loom_retire"),
    ("search_once", "loom_retire"),
];

pub(crate) fn run() -> Outcome {
    planted::check_tables()?;
    run_models()?;
    for (name, model) in PLANTED {
        find(name, model)?;
    }
    eprintln!("loom: every model holds, and each of {} planted bugs was found", PLANTED.len());
    Ok(())
}

fn run_models() -> Outcome {
    command::run(test(&["loom_"]))
}

/// Passes only if the model compiles with the bug, runs, and fails.
fn find(name: &str, model: &str) -> Outcome {
    let mut build = test(&["--no-run"]);
    planted::plant(&mut build, name)?;
    command::run(build)?;
    let mut test = test(&[model]);
    planted::plant(&mut test, name)?;
    let output = captured(test)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        let reason = if text.contains(" 0 passed") { "no such model ran" } else { "the model holds with it" };
        return Err(format!("the planted bug `{name}` survived `{model}`: {reason}"));
    }
    eprintln!("loom: `{model}` found the planted bug `{name}`");
    Ok(())
}

fn test(arguments: &[&str]) -> Command {
    let mut command = cargo(&["test", "--release", "--package", "towpath", "--lib", "--target-dir", "target/loom"]);
    command.args(arguments).env("RUSTFLAGS", "--cfg loom");
    // Each planted bug is a build of its own, and linking for speed would take longer than the models run.
    for (name, value) in [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("DEBUG", "0"), ("OPT_LEVEL", "1")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    command
}
