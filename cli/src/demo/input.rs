//! What is fed: the lines of a file, or orders that come out the same in every process.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use towpath::Record;

use super::chance::Chance;
use super::key_of;
use crate::exit::Failure;
use crate::lines::LINE_BYTES_MAX;
use crate::output::grouped;

const CUSTOMERS: u64 = 4_000;
const PIECES_MAX: u64 = 5;
const GOODS: [(&str, u64); 8] = [
    ("blue-mug", 1_290),
    ("tea-towel", 890),
    ("oak-board", 3_450),
    ("lamp", 5_900),
    ("wool-blanket", 7_990),
    ("soap", 450),
    ("candle", 690),
    ("bread-knife", 2_750),
];

/// A source of lines that can be read from the beginning as often as needed.
pub(super) enum Input {
    File(PathBuf),
    Orders(u64),
}

impl Input {
    /// A regular file; a pipe cannot be read again after a restart.
    pub(super) fn file(path: &Path) -> Result<Input, Failure> {
        let metadata = std::fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
        if metadata.is_file() {
            Ok(Input::File(path.to_owned()))
        } else {
            let reason = "is not a regular file, and the feeder reads its input again after each restart";
            Err(Failure::refused(format!("{} {reason}", path.display())))
        }
    }

    pub(super) fn orders(records: u64) -> Input {
        Input::Orders(records)
    }

    /// The lines, from the first.
    pub(super) fn lines(&self) -> Result<Lines, Failure> {
        let source = match self {
            Input::File(path) => {
                let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
                LineSource::File { path: path.clone(), reader: BufReader::with_capacity(256 << 10, file) }
            }
            Input::Orders(records) => LineSource::Orders { next: 0, end: *records },
        };
        Ok(Lines { source, line: Vec::new(), number: 0 })
    }

    pub(super) fn count(&self) -> Result<u64, Failure> {
        let mut lines = self.lines()?;
        let mut count = 0;
        while lines.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot read {}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::not_found(message),
        _ => Failure::failed(message),
    }
}

/// Lends one line after the other.
pub(super) struct Lines {
    source: LineSource,
    line: Vec<u8>,
    /// How many were lent.
    number: u64,
}

enum LineSource {
    File { path: PathBuf, reader: BufReader<File> },
    Orders { next: u64, end: u64 },
}

impl Lines {
    /// The next line without its newline.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.line.clear();
        match &mut self.source {
            LineSource::File { path, reader } => {
                // A line that is too long is not read to its end.
                let mut bounded = reader.take(LINE_BYTES_MAX as u64 + 1);
                let read = bounded.read_until(b'\n', &mut self.line).map_err(|error| cannot_read(path, &error))?;
                if read == 0 {
                    return Ok(None);
                }
                self.number += 1;
                self.line.pop_if(|last| *last == b'\n');
                refuse_what_is_too_long(path, self.number, &self.line)?;
            }
            LineSource::Orders { next, end } => {
                if *next == *end {
                    return Ok(None);
                }
                write_order(*next, &mut self.line)?;
                *next += 1;
            }
        }
        Ok(Some(&self.line))
    }
}

/// A line that cannot be appended is told while the lines are counted, before anything is begun.
fn refuse_what_is_too_long(path: &Path, number: u64, line: &[u8]) -> Result<(), Failure> {
    let (what, max) = match (line.len(), key_of(line).len()) {
        (line, _) if line > LINE_BYTES_MAX => ("is", LINE_BYTES_MAX),
        (_, key) if key > Record::KEY_BYTES_MAX => ("has a first field, which is its key,", Record::KEY_BYTES_MAX),
        _ => return Ok(()),
    };
    let (number, max) = (grouped(number), grouped(max as u64));
    Err(Failure::refused(format!("line {number} of {} {what} longer than {max} bytes", path.display())))
}

/// Such as `customer-0421 order-000123 3 x blue-mug 38.70 EUR`.
fn write_order(number: u64, line: &mut Vec<u8>) -> Result<(), Failure> {
    let mut chance = Chance::seeded(number);
    let customer = chance.below(CUSTOMERS);
    let (good, cents) = GOODS[chance.below(GOODS.len() as u64) as usize];
    let pieces = 1 + chance.below(PIECES_MAX);
    let (euros, cents) = (cents * pieces / 100, cents * pieces % 100);
    write!(line, "customer-{customer:04} order-{number:06} {pieces} x {good} {euros}.{cents:02} EUR")
        .map_err(|error| Failure::failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::key_of;

    fn all(input: &Input) -> Vec<Vec<u8>> {
        let mut lines = input.lines().unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(line.to_vec());
        }
        all
    }

    #[test]
    fn orders_come_out_the_same_each_time_and_differ() {
        let orders = all(&Input::orders(1_000));
        assert_eq!(orders, all(&Input::orders(1_000)));
        let distinct: std::collections::HashSet<_> = orders.iter().collect();
        assert_eq!(distinct.len(), orders.len());
        let text = String::from_utf8(orders[123].clone()).unwrap();
        assert!(text.starts_with("customer-") && text.contains(" order-000123 ") && text.ends_with(" EUR"), "{text}");
        assert_eq!(key_of(&orders[123]), &orders[123][..13]);
    }

    #[test]
    fn lines_of_a_file_are_bytes() {
        let path = std::env::temp_dir().join(format!("towpath-input-{}", std::process::id()));
        std::fs::write(&path, b"a 1\n\xff\r\n\nlast").unwrap();
        let input = Input::file(&path).unwrap();
        assert_eq!(all(&input), [b"a 1".to_vec(), b"\xff\r".to_vec(), Vec::new(), b"last".to_vec()]);
        assert_eq!(input.count().unwrap(), 4);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_cannot_be_read_twice_is_refused() {
        assert!(Input::file(Path::new("/dev/null")).is_err());
    }
}
