//! What a process tells of itself while it lives: a line for each step, in a file of its own, written by one system
//! call before the next step begins. SIGKILL loses at most the line that was just being made.
//!
//! ```text
//! w at thread write stream partition:records,…       a write was asked for
//! o … | t …                                          one that may be refused | one with little time
//! k at thread write lsn partition:first:records,…    it was acknowledged
//! x | u | c at thread write                          refused | its outcome is unknown | made and not confirmed
//! b at reader stream partition offset                a reader begins
//! r at reader first records sum                      it got these
//! j at member                                        a thread has joined the consumer group
//! a at member partition                              it was told that it owns a partition
//! p at member partition first records sum            it got these
//! m at member commit partition:offset,…              it is about to commit these
//! y at member commit partition,…                     they were stored, but for those of these partitions
//! h at pid epoch issued                              who hosts, and how far its journal goes
//! d at stream partition end                          where a partition ends
//! n at                                               it was told that nobody hosts the database
//! f at pid                                           this process was forked
//! q at                                               it begins to close the database
//! z at                                               it has closed it
//! e at                                               it ends in order
//! ! at text                                          what nobody expects
//! ```
//!
//! Times are microseconds of the clock that all processes of a machine share.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// A partition of a stream.
pub type Place = (usize, u32);

/// A write of a process: its thread, and its number there.
pub type WriteId = (u32, u64);

/// Records in one partition: where the first is, and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    pub partition: u32,
    pub first: u64,
    pub records: u32,
}

/// What may become of a write besides that it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Nothing, unless something is done to somebody.
    Plain,
    /// It may be refused.
    Conditional,
    /// Its time may run out.
    Hurried,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Records for each partition.
    Asked {
        write: WriteId,
        stream: usize,
        counts: Vec<(u32, u32)>,
        manner: Manner,
    },
    Acknowledged {
        write: WriteId,
        lsn: u64,
        ranges: Vec<Range>,
    },
    /// Nothing was written.
    Refused {
        write: WriteId,
    },
    Unknown {
        write: WriteId,
    },
    /// It was made; where is not told.
    Unconfirmed {
        write: WriteId,
    },
    Begun {
        reader: u32,
        place: Place,
        offset: u64,
    },
    Received {
        reader: u32,
        first: u64,
        records: u64,
        sum: u64,
    },
    Joined {
        member: u32,
    },
    Owned {
        member: u32,
        partition: u32,
    },
    Polled {
        member: u32,
        partition: u32,
        first: u64,
        records: u64,
        sum: u64,
    },
    Committing {
        commit: WriteId,
        offsets: Vec<(u32, u64)>,
    },
    /// Of partitions that have moved on nothing was stored.
    Committed {
        commit: WriteId,
        moved: Vec<u32>,
    },
    Hosted {
        pid: u64,
        epoch: u64,
        issued: u64,
    },
    Ended {
        place: Place,
        end: u64,
    },
    Forked {
        pid: u32,
    },
    Hostless,
    Closing,
    Closed,
    Left,
    Unexpected {
        text: String,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    pub at: u64,
    pub step: Step,
}

/// What one process told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    pub process: u64,
    pub lines: Vec<Line>,
}

pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// Adds a record to the sum of those that came before.
pub fn add_to_sum(sum: u64, body: u32) -> u64 {
    sum.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(body)).rotate_left(7)
}

/// Where a process writes.
#[derive(Debug)]
pub struct Book {
    pub process: u64,
    file: File,
}

impl Book {
    pub fn create(folder: &Path, process: u64) -> Book {
        let path = folder.join(process.to_string());
        let file = OpenOptions::new().create(true).append(true).open(path).expect("a book");
        Book { process, file }
    }

    pub fn tell(&self, step: &Step) {
        let line = Line { at: now(), step: step.clone() }.text();
        (&self.file).write_all(line.as_bytes()).expect("a line in the book");
    }
}

impl History {
    /// The whole lines of a book.
    pub fn read(folder: &Path, process: u64) -> History {
        let text = std::fs::read_to_string(folder.join(process.to_string())).expect("a book");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(|line| Line::parse(line).unwrap_or_else(|| panic!("no line of a book: {line}")));
        History { process, lines: lines.collect() }
    }

    /// Those of all processes that wrote in `folder`.
    pub fn read_all(folder: &Path) -> Vec<History> {
        let mut processes: Vec<u64> = std::fs::read_dir(folder)
            .expect("the books")
            .map(|entry| entry.expect("a book").file_name().to_string_lossy().parse().expect("a number"))
            .collect();
        processes.sort_unstable();
        processes.into_iter().map(|process| History::read(folder, process)).collect()
    }

    pub fn has_left(&self) -> bool {
        self.lines.iter().any(|line| line.step == Step::Left)
    }
}

impl Manner {
    fn letter(self) -> char {
        match self {
            Manner::Plain => 'w',
            Manner::Conditional => 'o',
            Manner::Hurried => 't',
        }
    }

    fn of(letter: &str) -> Manner {
        match letter {
            "o" => Manner::Conditional,
            "t" => Manner::Hurried,
            _ => Manner::Plain,
        }
    }
}

impl Line {
    fn text(&self) -> String {
        let at = self.at;
        match &self.step {
            Step::Asked { write: (thread, write), stream, counts, manner } => {
                let counts: Vec<String> = counts.iter().map(|(partition, n)| format!("{partition}:{n}")).collect();
                let letter = manner.letter();
                format!("{letter} {at} {thread} {write} {stream} {}\n", counts.join(","))
            }
            Step::Acknowledged { write: (thread, write), lsn, ranges } => {
                let text = |range: &Range| format!("{}:{}:{}", range.partition, range.first, range.records);
                let ranges: Vec<String> = ranges.iter().map(text).collect();
                format!("k {at} {thread} {write} {lsn} {}\n", ranges.join(","))
            }
            Step::Refused { write: (thread, write) } => format!("x {at} {thread} {write}\n"),
            Step::Unknown { write: (thread, write) } => format!("u {at} {thread} {write}\n"),
            Step::Unconfirmed { write: (thread, write) } => format!("c {at} {thread} {write}\n"),
            Step::Begun { reader, place: (stream, partition), offset } => {
                format!("b {at} {reader} {stream} {partition} {offset}\n")
            }
            Step::Received { reader, first, records, sum } => format!("r {at} {reader} {first} {records} {sum}\n"),
            Step::Joined { member } => format!("j {at} {member}\n"),
            Step::Owned { member, partition } => format!("a {at} {member} {partition}\n"),
            Step::Polled { member, partition, first, records, sum } => {
                format!("p {at} {member} {partition} {first} {records} {sum}\n")
            }
            Step::Committing { commit: (member, commit), offsets } => {
                let offsets: Vec<String> = offsets.iter().map(|(partition, at)| format!("{partition}:{at}")).collect();
                format!("m {at} {member} {commit} {}\n", offsets.join(","))
            }
            Step::Committed { commit: (member, commit), moved } => {
                // The bracket keeps an empty list a word.
                let moved: Vec<String> = moved.iter().map(u32::to_string).collect();
                format!("y {at} {member} {commit} [{}\n", moved.join(","))
            }
            Step::Hosted { pid, epoch, issued } => format!("h {at} {pid} {epoch} {issued}\n"),
            Step::Ended { place: (stream, partition), end } => format!("d {at} {stream} {partition} {end}\n"),
            Step::Forked { pid } => format!("f {at} {pid}\n"),
            Step::Hostless => format!("n {at}\n"),
            Step::Closing => format!("q {at}\n"),
            Step::Closed => format!("z {at}\n"),
            Step::Left => format!("e {at}\n"),
            Step::Unexpected { text } => format!("! {at} {}\n", text.replace('\n', " / ")),
        }
    }

    fn parse(line: &str) -> Option<Line> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: usize| -> Option<u64> { words.get(word)?.parse().ok() };
        let small = |word: usize| -> Option<u32> { words.get(word)?.parse().ok() };
        let place = |word: usize| -> Option<Place> { Some((number(word)? as usize, small(word + 1)?)) };
        let write = || -> Option<WriteId> { Some((small(2)?, number(3)?)) };
        let step = match words[0] {
            "w" | "o" | "t" => Step::Asked {
                write: write()?,
                stream: number(4)? as usize,
                counts: parts(words.get(5)?, count)?,
                manner: Manner::of(words[0]),
            },
            "k" => Step::Acknowledged { write: write()?, lsn: number(4)?, ranges: parts(words.get(5)?, range)? },
            "x" => Step::Refused { write: write()? },
            "u" => Step::Unknown { write: write()? },
            "c" => Step::Unconfirmed { write: write()? },
            "b" => Step::Begun { reader: small(2)?, place: place(3)?, offset: number(5)? },
            "r" => Step::Received { reader: small(2)?, first: number(3)?, records: number(4)?, sum: number(5)? },
            "j" => Step::Joined { member: small(2)? },
            "a" => Step::Owned { member: small(2)?, partition: small(3)? },
            "p" => Step::Polled {
                member: small(2)?,
                partition: small(3)?,
                first: number(4)?,
                records: number(5)?,
                sum: number(6)?,
            },
            "m" => Step::Committing { commit: write()?, offsets: parts(words.get(4)?, offset)? },
            "y" => {
                let moved = words.get(4)?.strip_prefix('[')?.split(',').filter(|word| !word.is_empty());
                let moved = moved.map(|word| word.parse().ok()).collect::<Option<Vec<u32>>>()?;
                Step::Committed { commit: write()?, moved }
            }
            "h" => Step::Hosted { pid: number(2)?, epoch: number(3)?, issued: number(4)? },
            "d" => Step::Ended { place: place(2)?, end: number(4)? },
            "f" => Step::Forked { pid: small(2)? },
            "n" => Step::Hostless,
            "q" => Step::Closing,
            "z" => Step::Closed,
            "e" => Step::Left,
            "!" => Step::Unexpected { text: words.get(2..)?.join(" ") },
            _ => return None,
        };
        Some(Line { at: number(1)?, step })
    }
}

fn parts<T>(text: &str, part: impl Fn(&[u64]) -> Option<T>) -> Option<Vec<T>> {
    let numbers = |part: &str| part.split(':').map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>();
    text.split(',').map(|text| part(&numbers(text)?)).collect()
}

fn count(numbers: &[u64]) -> Option<(u32, u32)> {
    match *numbers {
        [partition, records] => Some((partition as u32, records as u32)),
        _ => None,
    }
}

fn offset(numbers: &[u64]) -> Option<(u32, u64)> {
    match *numbers {
        [partition, offset] => Some((partition as u32, offset)),
        _ => None,
    }
}

fn range(numbers: &[u64]) -> Option<Range> {
    match *numbers {
        [partition, first, records] => Some(Range { partition: partition as u32, first, records: records as u32 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_reads_as_it_was_written_and_a_torn_one_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::create(folder.path(), 7);
        let ranges = vec![Range { partition: 0, first: 5, records: 2 }, Range { partition: 2, first: 9, records: 1 }];
        let steps = [
            Step::Asked { write: (1, 2), stream: 0, counts: vec![(0, 2), (2, 1)], manner: Manner::Plain },
            Step::Asked { write: (1, 3), stream: 0, counts: vec![(0, 1)], manner: Manner::Conditional },
            Step::Asked { write: (1, 4), stream: 0, counts: vec![(0, 1)], manner: Manner::Hurried },
            Step::Acknowledged { write: (1, 2), lsn: 4096, ranges },
            Step::Refused { write: (1, 3) },
            Step::Unknown { write: (1, 4) },
            Step::Unconfirmed { write: (1, 5) },
            Step::Begun { reader: 9, place: (1, 0), offset: 3 },
            Step::Received { reader: 9, first: 3, records: 2, sum: u64::MAX },
            Step::Joined { member: 8 },
            Step::Owned { member: 8, partition: 2 },
            Step::Polled { member: 8, partition: 2, first: 7, records: 1, sum: 3 },
            Step::Committing { commit: (8, 1), offsets: vec![(2, 8), (0, 1)] },
            Step::Committed { commit: (8, 1), moved: vec![] },
            Step::Committed { commit: (8, 2), moved: vec![0, 2] },
            Step::Hosted { pid: 40, epoch: 3, issued: 8192 },
            Step::Ended { place: (0, 1), end: 12 },
            Step::Forked { pid: 41 },
            Step::Unexpected { text: "the mug is gone".to_owned() },
            Step::Hostless,
            Step::Closing,
            Step::Closed,
            Step::Left,
        ];
        steps.iter().for_each(|step| book.tell(step));
        (&book.file).write_all(b"k 17 1 6 40").unwrap();
        let history = History::read(folder.path(), 7);
        assert!(history.lines.iter().map(|line| &line.step).eq(&steps));
        assert!(history.has_left());
    }
}
