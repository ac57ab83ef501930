//! Tasks that are one command each.

use std::process::Command;

use crate::Outcome;
use crate::command::{cargo, require, root, run};

pub(crate) fn fmt(write: bool) -> Outcome {
    require(cargo(&["fmt", "--version"]), "rustfmt", "rustup component add rustfmt")?;
    if write { run(cargo(&["fmt", "--all"])) } else { run(cargo(&["fmt", "--all", "--check"])) }
}

pub(crate) fn lint() -> Outcome {
    require(cargo(&["clippy", "--version"]), "clippy", "rustup component add clippy")?;
    run(cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]))
}

pub(crate) fn kill(rounds: u64) -> Outcome {
    let mut command = cargo(&["test", "--release", "--test", "kill"]);
    command.env("TOWPATH_KILL_ROUNDS", rounds.to_string());
    run(command)
}

pub(crate) fn doc() -> Outcome {
    let mut command = cargo(&["doc", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    run(command)
}

pub(crate) fn bench() -> Outcome {
    run(cargo(&["bench", "--package", "towpath"]))
}

pub(crate) fn ci() -> Outcome {
    let mut command = Command::new("bash");
    command.arg(".ci/run").current_dir(root());
    run(command)
}
