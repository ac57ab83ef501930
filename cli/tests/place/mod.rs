//! What the tests of the command need: a directory that goes away with the test, and the command run in it.

#![allow(dead_code, reason = "each test file is a crate of its own and uses its part of this")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A directory for one test, removed at its end.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new(name: &str) -> Place {
        Place { folder: tempfile::Builder::new().prefix(&format!("towpath-command-{name}-")).tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Names of what is in it.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn towpath(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        command.env_remove("TOWPATH_DATA").arg("--data").arg(self.data()).args(arguments);
        command
    }

    /// Without `--data`, and with this as the folder for temporary files.
    pub fn temporary(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        command.env_remove("TOWPATH_DATA").env("TMPDIR", self.path()).args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.towpath(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// What it wrote to standard output; it must succeed.
    pub fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn append(&self, arguments: &[&str], input: &[u8]) -> Output {
        self.feed(&[&["stream", "append"], arguments].concat(), input)
    }

    /// Runs it with this on its standard input.
    pub fn feed(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.piped(arguments);
        // It may refuse and end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    pub fn piped(&self, arguments: &[&str]) -> Child {
        let mut command = self.towpath(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The one line that a failed command tells.
pub fn told(output: &Output) -> String {
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("towpath: "), "{text}");
    text
}
