//! Writing to a person or to a program: plain lines, JSON lines, tables, and a progress bar for a terminal.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::exit::Failure;

const BUFFER_BYTES: usize = 64 << 10;

/// Standard output, buffered. A reader that has left ends the command quietly.
pub(crate) struct Output {
    writer: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new() -> Output {
        Output { writer: BufWriter::with_capacity(BUFFER_BYTES, io::stdout()) }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(Failure::output)
    }

    /// The bytes as they are, and a newline.
    pub(crate) fn line(&mut self, line: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.bytes(line.as_ref())?;
        self.bytes(b"\n")
    }

    /// One JSON value on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, value).map_err(|error| Failure::output(error.into()))?;
        self.bytes(b"\n")
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(Failure::output)
    }
}

/// Writes one line and flushes it.
pub(crate) fn say(line: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(line)?;
    output.flush()
}

/// Writes one JSON value as a line and flushes it.
pub(crate) fn say_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut output = Output::new();
    output.json(value)?;
    output.flush()
}

/// A table with a header; the columns named in `numbers` are aligned to the right.
pub(crate) fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    for &column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The fields of a serializable value as a two-column table; nested fields are named `outer.inner`.
pub(crate) fn field_table(value: &impl Serialize) -> Result<Table, Failure> {
    let value = serde_json::to_value(value).map_err(|error| Failure::failed(error.to_string()))?;
    let mut table = table(&["what", "value"], &[1]);
    let mut rows = Vec::new();
    flatten("", &value, &mut rows);
    for (name, value) in rows {
        table.add_row([name, value]);
    }
    Ok(table)
}

fn flatten(name: &str, value: &serde_json::Value, rows: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                flatten(&name, value, rows);
            }
        }
        serde_json::Value::Number(number) => {
            let text = number.as_u64().map_or_else(|| number.to_string(), grouped);
            rows.push((name.replace('_', " "), text));
        }
        serde_json::Value::String(text) => rows.push((name.replace('_', " "), text.clone())),
        serde_json::Value::Array(values) => rows.push((name.replace('_', " "), grouped(values.len() as u64))),
        other => rows.push((name.replace('_', " "), other.to_string())),
    }
}

/// A number with its digits in groups of three: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 record`, `2 records`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A progress bar over `total` of `unit` if standard error is a terminal; otherwise it draws nothing.
pub(crate) fn progress(total: u64, unit: &'static str) -> ProgressBar {
    let template = match unit {
        "bytes" => "{elapsed_precise} {wide_bar} {bytes}/{total_bytes} {eta}",
        _ => "{elapsed_precise} {wide_bar} {human_pos}/{human_len} {msg} {eta}",
    };
    drawn(ProgressBar::with_draw_target(Some(total), target()), template).with_message(unit)
}

/// A sign of life for work whose length is not known, under the same condition.
pub(crate) fn spinner(message: &'static str) -> ProgressBar {
    let bar = drawn(ProgressBar::with_draw_target(None, target()), "{spinner} {msg} {elapsed_precise}");
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar.with_message(message)
}

fn target() -> ProgressDrawTarget {
    if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

fn drawn(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Bytes as base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_gives_the_vectors_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(1_000, "record"), "1,000 records");
    }

    #[test]
    fn nested_fields_are_named_by_their_path() {
        let table = field_table(&serde_json::json!({"journal": {"live_bytes": 12_345}, "problems": []})).unwrap();
        let text = table.to_string();
        assert!(text.contains("journal.live bytes") && text.contains("12,345"), "{text}");
    }
}
