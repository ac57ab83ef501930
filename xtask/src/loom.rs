//! `cargo xtask loom`: the models as they are, which must hold, and with each planted bug, which must break its model.

use std::process::Command;

use crate::Outcome;
use crate::command::{self, captured, cargo};
use crate::planted;

/// A planted bug and the model that must find it.
pub(crate) const PLANTED: &[(&str, &str)] = &[("written_early", "loom_commit"), ("mark_relaxed", "loom_marks")];

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
    command
}
