//! Planted bugs: lines under `cfg(planted = "NAME")`, or behind `planted::is("NAME")`, that weaken one ordering or drop
//! one step. The run that guards the line must fail with it, or it guards nothing.
//!
//! Those that the simulator looks for are asked for by name while it runs, so that one build has them all. The others
//! are each a build of its own: loom's models are small, and what is at stake there may be a single instruction.
//!
//! The `cfg` is given to the packages of the workspace only, through a wrapper around the compiler, so that their
//! dependencies are built once for all planted bugs. Lints are silent: a dropped step leaves things unused.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::command::root;
use crate::{loom, nemesis, sim};

/// Makes `command`, a `cargo`, compile the workspace with the planted bug, and what it runs have it.
pub(crate) fn plant(command: &mut Command, name: &str) -> Outcome {
    let cfg = if sim::PLANTED.contains(&name) { "by_name" } else { name };
    command.env("TOWPATH_PLANTED", name);
    let wrapper = wrapper(cfg).map_err(|error| format!("cannot write the compiler wrapper for `{name}`: {error}"))?;
    command.env("RUSTC_WORKSPACE_WRAPPER", wrapper);
    Ok(())
}

/// Cargo tells outputs of different wrappers apart by their path, hence one file for each name.
fn wrapper(name: &str) -> std::io::Result<PathBuf> {
    let folder = root().join("target/planted");
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    let script = format!("#!/bin/sh\nexec \"$@\" --cap-lints allow --cfg 'planted=\"{name}\"'\n");
    if fs::read_to_string(&path).ok().as_deref() != Some(&script) {
        fs::write(&path, script)?;
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Every planted bug of the sources stands in one of the tables, and every one of the tables in the sources.
pub(crate) fn check_tables() -> Outcome {
    let mut sources = BTreeSet::new();
    collect(&root().join("src"), &mut sources).map_err(|error| format!("cannot read the sources: {error}"))?;
    let with_finding = loom::PLANTED.iter().chain(nemesis::PLANTED).map(|(name, _)| *name);
    let tables: BTreeSet<String> = with_finding.chain(sim::PLANTED.iter().copied()).map(str::to_owned).collect();
    if let Some(name) = sources.difference(&tables).next() {
        return Err(format!(
            "src plants `{name}`, which no run looks for: enter it in xtask/src/loom.rs, sim.rs or nemesis.rs"
        ));
    }
    match tables.difference(&sources).next() {
        Some(name) => Err(format!("xtask names the planted bug `{name}`, which src does not have: remove it")),
        None => Ok(()),
    }
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(names_in(&fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

fn names_in(source: &str) -> impl Iterator<Item = String> {
    let of = |mark| source.split(mark).skip(1).filter_map(|rest: &str| Some(rest.split_once('"')?.0.to_owned()));
    of("planted = \"").chain(of("planted::is(\"")).filter(|name| name != "by_name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_every_form() {
        let source = "#[cfg(planted = \"one\")]\n#[cfg(not(planted = \"two\"))]\nif cfg!(planted = \"three\") {}\n\
                      if planted::is(\"four\") {}";
        assert_eq!(names_in(source).collect::<Vec<_>>(), ["one", "two", "three", "four"]);
    }
}
