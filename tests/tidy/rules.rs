//! The rules. Each takes the tree and its table and returns what breaks it.

use std::collections::BTreeSet;
use std::fmt;

use crate::text::{declarations, functions, identifier, words};
use crate::tree::{File, Tree, module_folder};
use crate::{Asks, Home, Imports};

/// Where a rule is broken, which, and what to do.
pub(crate) struct Violation {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

fn violation(path: &str, line: usize, what: String) -> Violation {
    Violation { path: path.to_owned(), line, what }
}

/// Imports of each layer against the table and its exceptions. Tests may import anything.
pub(crate) fn layers(tree: &Tree, layers: &[(&str, Imports)], exceptions: &[(&str, &str, &str)]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, file) in &tree.files {
        let Some((layer, _)) = path.strip_prefix("src/").and_then(|path| path.split_once('/')) else { continue };
        let Some((_, imports)) = layers.iter().find(|(name, _)| *name == layer) else {
            violations.push(violation(
                path,
                1,
                format!("`{layer}` is no layer: enter it in the table of tests/tidy.rs"),
            ));
            continue;
        };
        let Imports::Only(allowed) = imports else { continue };
        let excepted = exceptions.iter().filter(|(of, ..)| *of == layer).map(|(_, import, _)| *import);
        let allowed: Vec<&str> = allowed.iter().copied().chain(excepted).chain([layer]).collect();
        for (at, import) in imports_of(path, &file.code) {
            if !file.is_test(at) && !allowed.iter().any(|allowed| is_within(import, allowed)) {
                let what =
                    format!("`{layer}` may import {}, not `{import}`: imports point downward", allowed.join(", "));
                violations.push(violation(path, file.line_of(at), what));
            }
        }
    }
    violations
}

/// Paths from the crate's root: those that begin with `crate::`, and those whose `super::` reach it.
fn imports_of<'a>(path: &str, code: &'a str) -> Vec<(usize, &'a str)> {
    let depth = module_folder(path).matches('/').count();
    let mut imports: Vec<(usize, &str)> =
        words(code, "crate").filter_map(|at| Some((at, code[at..].strip_prefix("crate::")?))).collect();
    for at in words(code, "super") {
        let rest = code[at..].trim_start_matches("super::");
        let steps = (code.len() - at - rest.len()) / "super::".len();
        if steps >= depth && !code[..at].ends_with("super::") && depth > 0 {
            imports.push((at, rest));
        }
    }
    imports.into_iter().map(|(at, rest)| (at, path_of(rest))).collect()
}

/// The path that `code` begins with.
fn path_of(code: &str) -> &str {
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(code.len());
    code[..end].trim_end_matches(':')
}

fn is_within(import: &str, allowed: &str) -> bool {
    import.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

pub(crate) fn file_sizes(tree: &Tree, lines_max: usize, chars_max: usize) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, file) in &tree.files {
        let lines = file.text.lines().count();
        if lines > lines_max {
            let what = format!("{lines} lines, at most {lines_max}: give each of its ideas a file");
            violations.push(violation(path, lines_max + 1, what));
        }
        for (line, text) in (1..).zip(file.text.lines()) {
            let chars = text.chars().count();
            if chars > chars_max {
                violations.push(violation(path, line, format!("{chars} columns, at most {chars_max}: break the line")));
            }
        }
    }
    violations
}

/// No function over the bound; of those that are no tests, nine in ten within the usual.
pub(crate) fn function_sizes(tree: &Tree, lines_max: usize, usual: usize) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut unusual = Vec::new();
    let mut count = 0;
    for (path, file) in &tree.files {
        for function in functions(&file.code) {
            let (name, lines, line) = (function.name, function.lines, file.line_of(function.at));
            if lines > lines_max {
                let what = format!("`{name}` has {lines} lines, at most {lines_max}: take its steps apart");
                violations.push(violation(path, line, what));
            }
            count += usize::from(!file.is_test(function.at));
            if lines > usual && !file.is_test(function.at) {
                let what = format!("`{name}` has {lines} lines, and more than one function in ten has over {usual}");
                unusual.push(violation(path, line, what));
            }
        }
    }
    if unusual.len() * 10 > count {
        violations.extend(unusual);
    }
    violations
}

/// Words that stand away from their home. The simulator and tests may use any.
pub(crate) fn homes(tree: &Tree, homes: &[Home]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, file) in tree.files.iter().filter(|(path, _)| !path.starts_with("src/sim/")) {
        for Home { word, homes, instead } in homes {
            if homes.iter().any(|home| path.starts_with(home)) {
                continue;
            }
            for at in words(&file.code, word).filter(|&at| !file.is_test(at)) {
                violations.push(violation(
                    path,
                    file.line_of(at),
                    format!("`{word}` has its home in {homes:?}: {instead}"),
                ));
            }
        }
        for at in words(&file.code, "std").filter(|&at| file.code[at..].starts_with("std::{") && !file.is_test(at)) {
            let what = "`use std::{…}` hides what it takes from this test: write one `use` per module".to_owned();
            violations.push(violation(path, file.line_of(at), what));
        }
    }
    violations
}

/// `unsafe` outside the listed files, and listed files without it.
pub(crate) fn unsafe_code(tree: &Tree, listed: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, file) in &tree.files {
        let is_listed = listed.contains(&path.as_str());
        match words(&file.code, "unsafe").next() {
            Some(at) if !is_listed => {
                let what = "unsafe code in a file that UNSAFE_FILES of tests/tidy.rs does not list".to_owned();
                violations.push(violation(path, file.line_of(at), what));
            }
            None if is_listed => {
                let what = "no unsafe code here: take the file off UNSAFE_FILES in tests/tidy.rs".to_owned();
                violations.push(violation(path, 1, what));
            }
            _ => {}
        }
    }
    let gone = listed.iter().filter(|path| !tree.files.is_empty() && !tree.files.contains_key(**path));
    violations
        .extend(gone.map(|path| violation(path, 1, "listed in UNSAFE_FILES of tests/tidy.rs and gone".to_owned())));
    violations
}

/// Every `const NAME: u8` of an `event.rs` is a tag, and stands with its name in a row of a table of the format.
pub(crate) fn event_tags(tree: &Tree, format: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, file) in tree.files.iter().filter(|(path, _)| path.ends_with("/event.rs")) {
        for at in words(&file.code, "const") {
            let Some((name, tag)) = tag_of(&file.code[at..]) else { continue };
            let word = name.to_lowercase().replace('_', " ");
            let is_row = |line: &str| line.starts_with('|') && line.contains(&tag) && line.contains(&word);
            if !format.lines().any(is_row) {
                let what =
                    format!("docs/format.md has no row with `{tag}` and `{word}`: every event is specified there");
                violations.push(violation(path, file.line_of(at), what));
            }
        }
    }
    violations
}

/// The name and number of a tag: `const NAME: u8 = 0x04;` or `const NAME: u8 = LOG_TAG | 0x01;`.
fn tag_of(code: &str) -> Option<(&str, String)> {
    let (declared, value) = code.split_once(';')?.0.split_once('=')?;
    let (name, kind) = declared.strip_prefix("const")?.split_once(':')?;
    let number = u8::from_str_radix(value.rsplit("0x").next()?.trim(), 16).ok()?;
    let log_tag = if value.contains("LOG_TAG") { 0x80 } else { 0 };
    (kind.trim() == "u8").then(|| (name.trim(), format!("0x{:02x}", number | log_tag)))
}

/// Public methods of the handles against the table that tells their operations, both ways, and the operations of the
/// table against the list of those that there are, both ways.
pub(crate) fn methods(tree: &Tree, handles: &[&str], table: &[(&str, &str, Asks)], list: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut found = BTreeSet::new();
    for handle in handles {
        let path = format!("src/api/{handle}.rs");
        let Some(file) = tree.files.get(&path) else { continue };
        for (at, name) in public_methods(&file.code).filter(|(at, _)| !file.is_test(*at)) {
            if !table.iter().any(|(of, method, _)| of == handle && *method == name) {
                let what = format!("`{name}` is not in METHODS of tests/tidy.rs: enter its operations");
                violations.push(violation(&path, file.line_of(at), what));
            }
            found.insert((*handle, name));
        }
    }
    let operations: BTreeSet<&str> = tree.files.get(list).map(|file| operations(&file.code)).unwrap_or_default();
    let mut used = BTreeSet::new();
    for (handle, method, asks) in table {
        if !found.contains(&(*handle, *method)) {
            let what = format!("METHODS of tests/tidy.rs tells of `{method}`, which is no public method");
            violations.push(violation(&format!("src/api/{handle}.rs"), 1, what));
        }
        match asks {
            Asks::Operations(asked) => used.extend(asked.iter().copied()),
            Asks::Local(reason) => assert!(!reason.is_empty(), "`{method}` is local for a reason"),
        }
    }
    let told = |operation: &&str, what| violation(list, 1, format!("`{operation}` {what}"));
    violations.extend(used.difference(&operations).map(|operation| told(operation, "is in METHODS and no operation")));
    violations.extend(operations.difference(&used).map(|operation| told(operation, "is used by no method of METHODS")));
    violations
}

/// Where `pub fn` or `pub async fn` with a receiver stands, and its name.
fn public_methods(code: &str) -> impl Iterator<Item = (usize, &str)> {
    words(code, "pub").filter_map(move |at| {
        let rest = code[at + "pub".len()..].trim_start();
        let name = identifier(rest.strip_prefix("async ").unwrap_or(rest).strip_prefix("fn ")?);
        let arguments = code[at..].split_once('(')?.1.split([',', ')']).next()?;
        words(arguments, "self").next().map(|_| (at, name))
    })
}

/// The names of the lines `Name = 1, …` of the macro that lists the operations.
fn operations(code: &str) -> BTreeSet<&str> {
    let list = code.rsplit_once("kinds! {").map_or("", |(_, list)| list.split('}').next().unwrap_or(""));
    list.lines().filter_map(|line| Some(line.split_once('=')?.0.trim())).collect()
}

/// Files that no `mod` reaches from a root.
pub(crate) fn orphans(tree: &Tree, roots: &[&str]) -> Vec<Violation> {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> = roots.iter().map(|root| (*root).to_owned()).collect();
    while let Some(path) = open.pop() {
        let Some(file) = tree.files.get(&path) else { continue };
        if reached.insert(path.clone()) {
            open.extend(modules_of(&path, file));
        }
    }
    let orphans = tree.files.keys().filter(|path| !reached.contains(*path));
    orphans.map(|path| violation(path, 1, "no `mod` reaches this file: declare it or delete it".to_owned())).collect()
}

fn modules_of(path: &str, file: &File) -> Vec<String> {
    let folder = module_folder(path);
    let names = declarations(&file.code).into_iter().map(|declaration| declaration.name);
    names.flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]).collect()
}

/// Empty words in names of files and of declarations.
pub(crate) fn names(tree: &Tree, empty: &[&str]) -> Vec<Violation> {
    const DECLARING: [&str; 10] = ["fn", "struct", "enum", "trait", "mod", "type", "const", "static", "let", "union"];
    let mut violations = Vec::new();
    for (path, file) in &tree.files {
        if let Some(word) = empty_word(path, empty) {
            violations.push(violation(path, 1, format!("`{word}` says nothing: name the file by what it holds")));
        }
        for keyword in DECLARING {
            for at in words(&file.code, keyword) {
                let after = file.code[at + keyword.len()..].trim_start();
                let name = identifier(after.strip_prefix("mut ").unwrap_or(after));
                if let Some(word) = empty_word(name, empty) {
                    let what = format!("`{word}` in `{name}` says nothing: name what it is or does");
                    violations.push(violation(path, file.line_of(at), what));
                }
            }
        }
    }
    violations
}

/// The first word of `name`, in any case style, that is among the empty ones.
fn empty_word<'a>(name: &str, empty: &[&'a str]) -> Option<&'a str> {
    let mut spaced = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() {
            spaced.push(' ');
        }
        spaced.extend(letter.to_lowercase());
    }
    let mut parts = spaced.split(|c: char| !c.is_alphanumeric());
    parts.find_map(|part| empty.iter().copied().find(|word| *word == part))
}

/// Marks of unfinished work, in comments too.
pub(crate) fn unfinished(tree: &Tree, marks: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, file) in &tree.files {
        for (line, text) in (1..).zip(file.text.lines()) {
            for mark in marks.iter().filter(|mark| words(text, mark).next().is_some()) {
                violations.push(violation(path, line, format!("`{mark}`: finish it, or write an issue")));
            }
        }
    }
    violations
}
