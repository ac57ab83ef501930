//! Running other programs from the root of the workspace, and saying how to get those that are missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::Outcome;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// `cargo` with these arguments, in the root, with the toolchain that runs this task.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// `cargo` of the nightly toolchain.
pub(crate) fn cargo_nightly(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).args(arguments).current_dir(root());
    // A cargo that runs this task has told its toolchain to its children; another toolchain must not hear it.
    for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command
}

/// Runs the command to its end; anything but success is an error that quotes it.
pub(crate) fn run(mut command: Command) -> Outcome {
    let shown = shown(&command);
    eprintln!("$ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` failed ({status})")),
        Err(error) => Err(format!("cannot run `{shown}`: {error}")),
    }
}

/// Runs the command to its end and returns what it wrote, whether it succeeded or not.
pub(crate) fn captured(mut command: Command) -> Result<Output, String> {
    let shown = shown(&command);
    eprintln!("$ {shown}");
    command.output().map_err(|error| format!("cannot run `{shown}`: {error}"))
}

/// The command as it could be typed, with the variables that were set for it.
fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut words: Vec<String> =
        variables.map(|(name, value)| format!("{}='{}'", name.display(), value.display())).collect();
    words.push(Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned());
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// An error that says how to get `tool` unless `probe` succeeds.
pub(crate) fn require(mut probe: Command, tool: &str, remedy: &str) -> Outcome {
    match probe.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("{tool} is missing; get it with `{remedy}`")),
    }
}
