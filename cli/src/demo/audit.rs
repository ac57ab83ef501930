//! The comparison at the end: the input, the books, and what the reopened database holds.

use std::collections::HashMap;
use std::path::Path;

use towpath::{Database, Start};

use super::books::Books;
use super::consumed::Consumption;
use super::input::Input;
use super::{Digest, PARTITIONS, STREAM, digest, key_of};
use crate::exit::Failure;
use crate::signals::Signals;

const READ_RECORDS: usize = 1_000;

/// What was compared and what differs.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Findings {
    pub(super) input: u64,
    pub(super) acknowledged: u64,
    pub(super) found: u64,
    /// Acknowledged, and not there at its place.
    pub(super) lost: u64,
    /// In the input and not there at all, acknowledged or not.
    pub(super) missing: u64,
    /// There more often than in the input.
    pub(super) duplicated: u64,
    /// There and never fed.
    pub(super) foreign: u64,
    /// Behind a line of the same key that came after it in the input.
    pub(super) out_of_order: u64,
    /// Seen by a reader, and not there at its place.
    pub(super) retracted: u64,
    /// What the group made of it.
    pub(super) consumption: Consumption,
}

impl Findings {
    pub(super) fn are_exact(&self) -> bool {
        self.found == self.input
            && [self.lost, self.missing, self.duplicated, self.foreign, self.out_of_order, self.retracted] == [0; 6]
            && self.consumption.is_exact()
    }
}

/// The bodies of one key, in order.
type ByKey = HashMap<Digest, Vec<Digest>>;

/// What the database holds.
struct Holdings {
    /// By partition and offset.
    bodies: Vec<Vec<Digest>>,
    by_key: ByKey,
}

/// Opens the database in `data` and compares it with everything known.
pub(super) fn audit(data: &Path, input: &Input, books: Books, signals: &Signals) -> Result<Findings, Failure> {
    let fed = fed(input, signals)?;
    let holdings = holdings(data, signals)?;
    let mut findings = compare(&fed, &holdings.by_key);
    findings.acknowledged = books.acknowledged.entries();
    findings.lost = books.acknowledged.broken_by(&holdings.bodies);
    findings.retracted = books.seen.broken_by(&holdings.bodies);
    findings.consumption = books.consumed.compare(&holdings.bodies);
    Ok(findings)
}

fn fed(input: &Input, signals: &Signals) -> Result<ByKey, Failure> {
    let mut fed = ByKey::new();
    let mut lines = input.lines()?;
    while let Some(line) = lines.next()? {
        signals.check()?;
        fed.entry(digest(key_of(line))).or_default().push(digest(line));
    }
    Ok(fed)
}

fn holdings(data: &Path, signals: &Signals) -> Result<Holdings, Failure> {
    let database = Database::open(data)?;
    let stream = database.stream(STREAM)?;
    let mut holdings = Holdings { bodies: (0..PARTITIONS).map(|_| Vec::new()).collect(), by_key: ByKey::new() };
    for (partition, bodies) in (0..PARTITIONS).zip(&mut holdings.bodies) {
        let mut reader = stream.reader(partition, Start::Earliest)?;
        while let Some(records) = reader.try_receive(READ_RECORDS)? {
            signals.check()?;
            for record in records.iter() {
                if record.offset() != bodies.len() as u64 {
                    return Err(gap(partition, bodies.len(), record.offset()));
                }
                let body = digest(record.body());
                bodies.push(body);
                holdings.by_key.entry(digest(record.key().unwrap_or_default())).or_default().push(body);
            }
        }
    }
    drop(stream);
    database.close()?;
    Ok(holdings)
}

fn gap(partition: u32, expected: usize, offset: u64) -> Failure {
    Failure::failed(format!("partition {partition} goes on with offset {offset} where {expected} was expected"))
}

fn compare(fed: &ByKey, held: &ByKey) -> Findings {
    let mut findings = Findings::default();
    for (key, fed) in fed {
        compare_key(fed, held.get(key).map_or(&[], Vec::as_slice), &mut findings);
    }
    for (key, held) in held {
        if !fed.contains_key(key) {
            compare_key(&[], held, &mut findings);
        }
    }
    findings
}

fn compare_key(fed: &[Digest], held: &[Digest], findings: &mut Findings) {
    findings.input += fed.len() as u64;
    findings.found += held.len() as u64;
    if fed == held {
        return;
    }
    let mut surplus: HashMap<Digest, (bool, i64)> = HashMap::new();
    for &line in fed {
        let (was_fed, count) = surplus.entry(line).or_default();
        (*was_fed, *count) = (true, *count - 1);
    }
    for &line in held {
        surplus.entry(line).or_default().1 += 1;
    }
    for (was_fed, count) in surplus.into_values() {
        match (was_fed, count) {
            (true, count) if count < 0 => findings.missing += count.unsigned_abs(),
            (true, count) => findings.duplicated += count.unsigned_abs(),
            (false, count) => findings.foreign += count.unsigned_abs(),
        }
    }
    findings.out_of_order += out_of_order(fed, held);
}

/// Lines of `held` that stand behind one which came after them in `fed`.
fn out_of_order(fed: &[Digest], held: &[Digest]) -> u64 {
    let mut rest = fed;
    let mut behind = 0;
    for line in held {
        match rest.iter().position(|candidate| candidate == line) {
            Some(place) => rest = &rest[place + 1..],
            None => behind += u64::from(fed.contains(line)),
        }
    }
    behind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(lines: &[&str]) -> Vec<Digest> {
        lines.iter().map(|line| digest(line.as_bytes())).collect()
    }

    fn findings(fed: &[&str], held: &[&str]) -> Findings {
        let mut findings = Findings::default();
        compare_key(&key(fed), &key(held), &mut findings);
        findings
    }

    #[test]
    fn equal_sequences_are_exact_even_with_equal_lines_in_them() {
        let same = findings(&["a", "b", "a"], &["a", "b", "a"]);
        assert_eq!(same, Findings { input: 3, found: 3, ..Findings::default() });
        assert!(same.are_exact());
    }

    #[test]
    fn each_kind_of_difference_is_told_apart() {
        let count = |fed, held| {
            let f = findings(fed, held);
            assert!(!f.are_exact());
            [f.missing, f.duplicated, f.foreign, f.out_of_order]
        };
        assert_eq!(count(&["a", "b", "c"], &["a", "c"]), [1, 0, 0, 0]);
        assert_eq!(count(&["a", "b"], &["a", "b", "x"]), [0, 0, 1, 0]);
        assert_eq!(count(&["a", "b", "c"], &["a", "c", "b"]), [0, 0, 0, 1]);
        assert_eq!(count(&["a", "b", "a"], &["a", "b", "a", "a"]), [0, 1, 0, 1]);
    }

    #[test]
    fn a_key_that_was_never_fed_is_foreign() {
        let held = ByKey::from([(digest(b"k"), key(&["k 1"]))]);
        assert_eq!(compare(&ByKey::new(), &held).foreign, 1);
    }
}
