//! A directory as text: `file NAME LENGTH`, then `OFFSET HEX` for each stretch that is not zeros.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::place::files_below;

/// Zeros that a stretch may hold, so that a frame is not cut into many.
const GAP_BYTES: usize = 16;
const STRETCH_BYTES_MAX: usize = 512;

pub fn pack(folder: &Path) -> String {
    let mut text = String::new();
    for path in files_below(folder) {
        let name = path.strip_prefix(folder).unwrap().display();
        let bytes = fs::read(&path).unwrap();
        writeln!(text, "file {name} {}", bytes.len()).unwrap();
        let mut at = 0;
        while let Some(start) = bytes[at..].iter().position(|byte| *byte != 0).map(|found| at + found) {
            let mut end = start + 1;
            let most = bytes.len().min(start + STRETCH_BYTES_MAX);
            while let Some(next) = bytes[end..most.min(end + GAP_BYTES).max(end)]
                .iter()
                .position(|byte| *byte != 0)
                .map(|found| end + found)
            {
                end = next + 1;
            }
            write!(text, "{start} ").unwrap();
            bytes[start..end].iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
            text.push('\n');
            at = end;
        }
    }
    text
}

pub fn unpack(text: &str, folder: &Path) {
    let mut open: Option<(String, Vec<u8>)> = None;
    let write = |file: Option<(String, Vec<u8>)>| {
        if let Some((name, bytes)) = file {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["file", name, length] => write(open.replace((name.to_owned(), vec![0; length.parse().unwrap()]))),
            [offset, hex] => {
                let (_, bytes) = open.as_mut().expect("a file before its stretches");
                let offset: usize = offset.parse().unwrap();
                for (at, pair) in hex.as_bytes().chunks(2).enumerate() {
                    bytes[offset + at] = u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
                }
            }
            _ => panic!("neither a file nor a stretch: {line}"),
        }
    }
    write(open);
}
