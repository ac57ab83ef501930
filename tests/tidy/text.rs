//! Rust as text: comments and literals blanked out, words, functions and test modules found.

use std::ops::Range;

/// `source` with the contents of comments, strings and characters replaced by spaces. Lines keep their numbers.
pub(crate) fn code_of(source: &str) -> String {
    let mut rest = source;
    let mut code = String::with_capacity(source.len());
    while let Some(first) = rest.chars().next() {
        let previous_is_word = code.chars().next_back().is_some_and(is_word);
        let length = if previous_is_word { 0 } else { raw_string(rest) };
        let length = if length > 0 { length } else { comment(rest).max(string(rest)).max(character(rest)) };
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// Bytes of the comment that `text` begins with, or 0.
fn comment(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if !text.starts_with("/*") {
        return 0;
    }
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let step = &text.as_bytes()[at..];
        if step.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if step.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Bytes of the string that `text` begins with, or 0.
fn string(text: &str) -> usize {
    if !text.starts_with('"') {
        return 0;
    }
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    text.len()
}

/// Bytes of the raw string that `text` begins with, or 0.
fn raw_string(text: &str) -> usize {
    let Some(body) = text.trim_start_matches(['b', 'c']).strip_prefix('r') else { return 0 };
    let hashes = body.bytes().take_while(|&byte| byte == b'#').count();
    let Some(body) = body[hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    let before = text.len() - body.len();
    before + body.find(&end).map_or(body.len(), |at| at + end.len())
}

/// Bytes of the character that `text` begins with, or 0; a lifetime is none.
fn character(text: &str) -> usize {
    let Some(body) = text.strip_prefix('\'') else { return 0 };
    if body.starts_with('\\') {
        return body.char_indices().skip(2).find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 2);
    }
    let mut letters = body.char_indices();
    letters.next();
    letters.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 2)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `pattern` stands in `code` with no letter before or after it.
pub(crate) fn words<'a>(code: &'a str, pattern: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(pattern).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + pattern.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The identifier that `code` begins with.
pub(crate) fn identifier(code: &str) -> &str {
    &code[..code.find(|c| !is_word(c)).unwrap_or(code.len())]
}

/// The number of the line that holds this byte, from 1.
pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code[..at].bytes().filter(|&byte| byte == b'\n').count() + 1
}

/// A function with a body.
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) at: usize,
    pub(crate) lines: usize,
}

/// Every function of the code, nested ones too.
pub(crate) fn functions(code: &str) -> Vec<Function<'_>> {
    let mut functions = Vec::new();
    for at in words(code, "fn") {
        let name = identifier(code[at + 2..].trim_start());
        if let (false, Some(end)) = (name.is_empty(), body_end(code, at)) {
            functions.push(Function { name, at, lines: code[at..end].lines().count() });
        }
    }
    functions
}

/// Where the block ends that follows `from`; `None` if a semicolon comes first.
fn body_end(code: &str, from: usize) -> Option<usize> {
    let mut brackets = 0i32;
    let mut braces = 0i32;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            b';' if brackets == 0 && braces == 0 => return None,
            _ => {}
        }
    }
    None
}

/// A `mod` without a body.
pub(crate) struct Declaration<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_test: bool,
}

/// Every `mod name;` of the code.
pub(crate) fn declarations(code: &str) -> Vec<Declaration<'_>> {
    let mut declarations = Vec::new();
    for at in words(code, "mod") {
        let after = code[at + 3..].trim_start();
        let name = identifier(after);
        if !name.is_empty() && after[name.len()..].trim_start().starts_with(';') {
            declarations.push(Declaration { name, is_test: has_test_attribute(&code[..at]) });
        }
    }
    declarations
}

/// The stretches of the code that only tests compile: what follows an attribute `cfg(test)` or `cfg(all(test, …))`.
pub(crate) fn test_ranges(code: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (at, _) in code.match_indices("#[cfg(") {
        if ranges.last().is_some_and(|range| range.contains(&at)) {
            continue;
        }
        let attribute = &code[at..at + code[at..].find(']').map_or(0, |end| end + 1)];
        if names_test(attribute) {
            let end = body_end(code, at + attribute.len());
            let line = code[at + attribute.len()..].find(';').map(|end| at + attribute.len() + end + 1);
            ranges.extend(end.or(line).map(|end| at..end));
        }
    }
    ranges
}

fn names_test(attribute: &str) -> bool {
    words(attribute, "test").next().is_some() && !attribute.contains("not(test")
}

/// Whether the attributes right before the line that `code` ends in name `test`.
fn has_test_attribute(code: &str) -> bool {
    let before = &code[..code.rfind('\n').unwrap_or(0)];
    before.lines().rev().take_while(|line| line.trim_start().starts_with("#[")).any(names_test)
}

#[test]
fn literals_and_comments_are_blank_and_lifetimes_are_not() {
    let code =
        code_of("let a = \"x\\\"y\"; // z\nlet b: &'a str = r#\"q\"#; let c = '\\''; let d = '\"'; /* /* e */ */ f");
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(words.join(" "), "let a = ; let b: &'a str = ; let c = ; let d = ; f");
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn functions_are_measured_from_their_name_to_their_brace() {
    let code = "fn a(x: [u8; 4]) -> u8 {\n    x[0]\n}\ntrait T { fn b(); fn c() {} }\ntype F = fn(u8);";
    let found: Vec<(&str, usize)> = functions(code).iter().map(|function| (function.name, function.lines)).collect();
    assert_eq!(found, [("a", 3), ("c", 1)]);
}

#[test]
fn test_modules_are_found() {
    let code =
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(all(test, loom))]\nmod models;\n";
    let ranges = test_ranges(code);
    assert_eq!(ranges.len(), 2);
    assert!(ranges[0].contains(&code.find("fn b").unwrap()) && !ranges[0].contains(&code.find("fn c").unwrap()));
    assert!(declarations(code)[0].is_test);
}
