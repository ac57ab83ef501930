//! The sources, read and prepared.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::text;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files by their path below the root.
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, File>,
}

pub(crate) struct File {
    pub(crate) text: String,
    /// The text without comments and literals, line by line the same.
    pub(crate) code: String,
    test_ranges: Vec<Range<usize>>,
    /// Only tests compile it.
    is_test: bool,
}

impl Tree {
    /// Every `.rs` file in these folders; a folder that is not there holds none.
    pub(crate) fn read(folders: &[&str]) -> Tree {
        let mut sources = Vec::new();
        for folder in folders {
            collect(&root().join(folder), folder, &mut sources);
        }
        Tree::new(sources)
    }

    pub(crate) fn of(sources: &[(&str, &str)]) -> Tree {
        Tree::new(sources.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    fn new(sources: Vec<(String, String)>) -> Tree {
        let mut files: BTreeMap<String, File> =
            sources.into_iter().map(|(path, text)| (path, File::new(text))).collect();
        let test_paths: Vec<String> = files.iter().flat_map(|(path, file)| test_modules(path, file)).collect();
        for (path, file) in &mut files {
            let below = |test: &String| path == &format!("{test}.rs") || path.starts_with(&format!("{test}/"));
            file.is_test = path.contains("tests/") || test_paths.iter().any(below);
        }
        Tree { files }
    }
}

impl File {
    fn new(text: String) -> File {
        let code = text::code_of(&text);
        let test_ranges = text::test_ranges(&code);
        File { text, code, test_ranges, is_test: false }
    }

    /// Whether only tests compile this byte of the code.
    pub(crate) fn is_test(&self, at: usize) -> bool {
        self.is_test || self.test_ranges.iter().any(|range| range.contains(&at))
    }

    pub(crate) fn line_of(&self, at: usize) -> usize {
        text::line_of(&self.code, at)
    }
}

/// The folder in which the modules lie that the file at `path` declares.
pub(crate) fn module_folder(path: &str) -> String {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    match stem.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder.to_owned(),
        _ => stem.to_owned(),
    }
}

fn test_modules(path: &str, file: &File) -> Vec<String> {
    let folder = module_folder(path);
    let tests = text::declarations(&file.code).into_iter().filter(|declaration| declaration.is_test);
    tests.map(|declaration| format!("{folder}/{}", declaration.name)).collect()
}

fn collect(folder: &Path, name: &str, sources: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(file) = path.file_name().and_then(|file| file.to_str()) else { continue };
        let name = format!("{name}/{file}");
        if path.is_dir() && file != "target" {
            collect(&path, &name, sources);
        } else if file.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {name}: {error}"));
            sources.push((name, text));
        }
    }
}
