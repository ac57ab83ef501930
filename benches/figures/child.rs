//! This program, started again for a part of a figure that wants a process of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set for a child: which part it runs, how often, and where.
const PART: &str = "TOWPATH_FIGURES_PART";

/// What a child was started for.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) count: u64,
    pub(crate) directory: PathBuf,
}

/// The part that this process was started for; `None` if it was not started by itself.
pub(crate) fn part() -> Option<Part> {
    let value = std::env::var(PART).ok()?;
    let mut words = value.splitn(3, ' ');
    let mut word = || words.next().expect("the parent names part, count and directory");
    Some(Part { name: word().to_owned(), count: word().parse().expect("a number"), directory: word().into() })
}

/// This program again, for a part.
pub(crate) fn again(name: &str, count: u64, directory: &Path) -> Command {
    below(&[], name, count, directory)
}

/// The same, run by another program with arguments of its own.
pub(crate) fn below(tool: &[OsString], name: &str, count: u64, directory: &Path) -> Command {
    let this = std::env::current_exe().expect("knows itself").into_os_string();
    let mut words = tool.iter().chain([&this]);
    let mut command = Command::new(words.next().expect("this program at least"));
    command.args(words).env(PART, format!("{name} {count} {}", directory.display()));
    command
}
