//! `cargo xtask fuzz`: libFuzzer through cargo-fuzz, on the nightly toolchain.

use std::fs;

use clap::Args;

use crate::Outcome;
use crate::command::{cargo_nightly, require, root, run};

/// Targets that the address sanitizer slows down several times and tells nothing about: what is unsafe in them reaches
/// simulated maps, whose ranges are asserted.
const WITHOUT_SANITIZER: [&str; 1] = ["recovery"];

#[derive(Args)]
pub(crate) struct Fuzz {
    /// The target; each in turn if left out
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
}

impl Fuzz {
    pub(crate) fn run(&self) -> Outcome {
        require(cargo_nightly(&["--version"]), "the nightly toolchain", "rustup toolchain install nightly")?;
        require(cargo_nightly(&["fuzz", "--version"]), "cargo-fuzz", "cargo install cargo-fuzz")?;
        let targets = targets()?;
        let chosen = match &self.target {
            None => targets,
            Some(target) if targets.contains(target) => vec![target.clone()],
            Some(target) => return Err(format!("there is no fuzz target {target}; there are {}", targets.join(", "))),
        };
        chosen.iter().try_for_each(|target| self.run_target(target))
    }

    fn run_target(&self, target: &str) -> Outcome {
        let seconds = format!("-max_total_time={}", self.seconds);
        let sanitizer = if WITHOUT_SANITIZER.contains(&target) { "none" } else { "address" };
        let arguments = ["fuzz", "run", "--sanitizer", sanitizer, target, "--", &seconds];
        run(cargo_nightly(&[&arguments[..], &["-timeout=10", "-print_final_stats=1"]].concat()))
    }
}

/// One target for each file.
fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut targets: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    targets.sort();
    Ok(targets)
}
