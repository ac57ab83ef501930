//! Holds what all processes told against what the database holds in the end. A pure function.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use crate::book::{History, Manner, Place, Range, Step, WriteId, add_to_sum};
use crate::content::{Content, Found};
use crate::disturbances::{Disturbance, hold_against, hostless};

/// Problems that are told; the first says enough.
const PROBLEMS_MAX: usize = 10;

/// What became of a write, as its caller knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    Acknowledged {
        lsn: u64,
        ranges: Vec<Range>,
    },
    Refused,
    Unconfirmed,
    /// Its caller was told that nobody knows.
    Unknown,
    /// Its caller died before it was told anything.
    Open,
}

/// A write of one process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    pub process: u64,
    pub id: WriteId,
    pub stream: usize,
    pub counts: Vec<(u32, u32)>,
    pub manner: Manner,
    pub fate: Fate,
    pub asked_at: u64,
    /// `None` if its caller died first.
    pub told_at: Option<u64>,
}

/// What was compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compared {
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
    pub open: u64,
    /// Those that were asked and answered while nothing was done to anybody whom it concerns.
    pub undisturbed: u64,
    pub received: u64,
    pub hosts: u64,
    /// The longest time that a write took, in microseconds.
    pub longest: u64,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compared { acknowledged, refused, unknown, open, undisturbed, received, hosts, longest } = self;
        let longest = longest / 1000;
        write!(
            f,
            "{acknowledged} writes acknowledged, {refused} refused, {unknown} unknown, {open} open, {undisturbed} of \
             them undisturbed, {received} records received, {hosts} hosts, longest write {longest} ms"
        )
    }
}

impl std::ops::AddAssign for Compared {
    fn add_assign(&mut self, other: Compared) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.open += other.open;
        self.undisturbed += other.undisturbed;
        self.received += other.received;
        self.hosts += other.hosts;
        self.longest = self.longest.max(other.longest);
    }
}

/// What the books are held against.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The longest time, in microseconds, that a write may take.
    pub patience: u64,
    pub disturbances: &'a [Disturbance],
}

/// Everything that must hold.
pub fn check(histories: &[History], content: &Content, terms: Terms<'_>) -> Result<Compared, String> {
    // What the processes found wrong is told last: the comparison says it better.
    let (mut problems, mut of_processes) = (Problems::default(), Problems::default());
    let writes = writes_of(histories, &mut of_processes);
    expect_content(&writes, content, &mut problems);
    expect_order(content, &mut problems);
    expect_real_time(&writes, &mut problems);
    let received = expect_readers(histories, content, &mut problems);
    let hosts = expect_hosts(histories, &mut problems);
    expect_ends(histories, content, &mut problems);
    let longest = expect_patience(&writes, terms.patience, &mut problems);
    let undisturbed = expect_outcomes(&writes, terms.disturbances, &mut problems);
    for (process, at) in hostless(histories, terms.disturbances) {
        problems.add(format!("process {process}: nobody hosts the database at {at}, although nothing was done"));
    }
    let count = |wanted: fn(&Fate) -> bool| writes.values().filter(|write| wanted(&write.fate)).count() as u64;
    let compared = Compared {
        acknowledged: count(|fate| matches!(fate, Fate::Acknowledged { .. } | Fate::Unconfirmed)),
        refused: count(|fate| *fate == Fate::Refused),
        unknown: count(|fate| *fate == Fate::Unknown),
        open: count(|fate| *fate == Fate::Open),
        undisturbed,
        received,
        hosts,
        longest,
    };
    problems.told.extend(of_processes.told);
    problems.into_result().map(|()| compared)
}

#[derive(Default)]
pub struct Problems {
    told: Vec<String>,
    more: usize,
}

impl Problems {
    pub fn add(&mut self, problem: String) {
        if self.told.len() < PROBLEMS_MAX {
            self.told.push(problem);
        } else {
            self.more += 1;
        }
    }

    pub fn unless(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.add(problem());
        }
    }

    pub fn into_result(self) -> Result<(), String> {
        match self.told.is_empty() {
            true => Ok(()),
            false => Err(format!("{}\nand {} more", self.told.join("\n"), self.more)),
        }
    }
}

/// All writes by process and id.
pub type Writes = BTreeMap<(u64, WriteId), Write>;

fn writes_of(histories: &[History], problems: &mut Problems) -> Writes {
    let mut writes = Writes::new();
    for History { process, lines } in histories {
        for line in lines {
            let (id, fate) = match &line.step {
                Step::Asked { write, stream, counts, manner } => {
                    let write = Write {
                        process: *process,
                        id: *write,
                        stream: *stream,
                        counts: counts.clone(),
                        manner: *manner,
                        fate: Fate::Open,
                        asked_at: line.at,
                        told_at: None,
                    };
                    writes.insert((*process, write.id), write);
                    continue;
                }
                Step::Acknowledged { write, lsn, ranges } => {
                    (write, Fate::Acknowledged { lsn: *lsn, ranges: ranges.clone() })
                }
                Step::Refused { write } => (write, Fate::Refused),
                Step::Unknown { write } => (write, Fate::Unknown),
                Step::Unconfirmed { write } => (write, Fate::Unconfirmed),
                Step::Unexpected { text } => {
                    problems.add(format!("process {process}: {text}"));
                    continue;
                }
                _ => continue,
            };
            match writes.get_mut(&(*process, *id)) {
                Some(write) => (write.fate, write.told_at) = (fate, Some(line.at)),
                None => problems.add(format!("process {process}: write {id:?} was answered and not asked for")),
            }
        }
    }
    writes
}

/// The records of one write, in the order of partitions and offsets.
type Parts<'a> = Vec<(u32, u64, &'a Found)>;

/// Each write is there as often as its caller was told.
fn expect_content(writes: &Writes, content: &Content, problems: &mut Problems) {
    let mut found: HashMap<(u64, WriteId), Parts<'_>> = HashMap::new();
    let mut seen = HashSet::new();
    for ((stream, partition), records) in content {
        for (offset, record) in (0_u64..).zip(records) {
            let tag = &record.tag;
            problems.unless(seen.insert(*tag), || format!("{tag:?} is there twice: again at {partition}/{offset}"));
            let id = (tag.process, (tag.thread, tag.write));
            let is_its_stream = writes.get(&id).is_some_and(|write| write.stream == *stream);
            problems.unless(is_its_stream, || format!("nobody asked for {tag:?} at {partition}/{offset}"));
            found.entry(id).or_default().push((*partition, offset, record));
        }
    }
    for (id, write) in writes {
        let parts = found.remove(id).unwrap_or_default();
        if let Err(problem) = expect_write(write, &parts) {
            problems.add(format!("process {} write {:?}: {problem}", write.process, write.id));
        }
    }
}

fn expect_write(write: &Write, parts: &Parts<'_>) -> Result<(), String> {
    let total: u32 = write.counts.iter().map(|(_, records)| records).sum();
    if parts.is_empty() {
        return match &write.fate {
            Fate::Acknowledged { ranges, .. } => Err(format!("acknowledged at {ranges:?} and lost")),
            Fate::Unconfirmed => Err("it was said to be made, and is lost".to_owned()),
            Fate::Refused | Fate::Unknown | Fate::Open => Ok(()),
        };
    }
    if write.fate == Fate::Refused {
        return Err(format!("refused, and there at {:?}", parts[0]));
    }
    if parts.len() as u32 != total {
        return Err(format!("{} of {total} records are there", parts.len()));
    }
    let mut rest = &parts[..];
    for (partition, records) in &write.counts {
        let (own, others) = rest.split_at_checked(*records as usize).ok_or("records in other partitions")?;
        rest = others;
        let first = own[0].1;
        let is_whole = own.iter().zip(first..).all(|(part, offset)| (part.0, part.1) == (*partition, offset));
        let in_order = own.iter().is_sorted_by_key(|part| part.2.tag.index);
        if !is_whole || !in_order {
            return Err(format!("torn in partition {partition}"));
        }
        if let Fate::Acknowledged { lsn, ranges } = &write.fate {
            let wanted = Range { partition: *partition, first, records: *records };
            if !ranges.contains(&wanted) || own.iter().any(|part| part.2.lsn != *lsn) {
                return Err(format!("acknowledged at {ranges:?} and LSN {lsn}, found as {own:?}"));
            }
        }
    }
    Ok(())
}

/// In each partition every thread's writes follow each other as it made them, and neither time nor addresses go back.
fn expect_order(content: &Content, problems: &mut Problems) {
    for (place, records) in content {
        let mut last: HashMap<(u64, u32), (u64, u32)> = HashMap::new();
        for (offset, pair) in (1_u64..).zip(records.windows(2)) {
            let goes_on = pair[0].timestamp <= pair[1].timestamp && pair[0].lsn <= pair[1].lsn;
            problems.unless(goes_on, || format!("{place:?}: time or addresses go back at {offset}: {pair:?}"));
        }
        for (offset, record) in (0_u64..).zip(records) {
            let tag = record.tag;
            let this = (tag.write, tag.index);
            if let Some(before) = last.insert((tag.process, tag.thread), this) {
                problems.unless(before < this, || format!("{place:?}: {tag:?} at {offset} follows {before:?}"));
            }
        }
    }
}

/// A write that was asked for after another was acknowledged has the higher address, and no two have one.
fn expect_real_time(writes: &Writes, problems: &mut Problems) {
    let acknowledged = || {
        writes.values().filter_map(|write| match (&write.fate, write.told_at) {
            (Fate::Acknowledged { lsn, .. }, Some(told_at)) => Some((write, *lsn, told_at)),
            _ => None,
        })
    };
    let mut answers: Vec<(u64, u64)> = acknowledged().map(|(_, lsn, told_at)| (told_at, lsn)).collect();
    answers.sort_unstable();
    let mut asked: Vec<(&Write, u64)> = acknowledged().map(|(write, lsn, _)| (write, lsn)).collect();
    asked.sort_unstable_by_key(|(write, _)| write.asked_at);
    let (mut answers, mut newest) = (answers.into_iter().peekable(), 0);
    for (write, lsn) in asked {
        while let Some((_, told)) = answers.next_if(|(told_at, _)| *told_at < write.asked_at) {
            newest = newest.max(told);
        }
        problems.unless(lsn > newest, || {
            let Write { process, id, .. } = write;
            format!("process {process} write {id:?} got LSN {lsn} after {newest} had been acknowledged")
        });
    }
    let mut lsns = HashSet::new();
    for (write, lsn, _) in acknowledged() {
        problems.unless(lsns.insert(lsn), || format!("LSN {lsn} was given twice: again to {write:?}"));
    }
}

/// A reader gets every offset once and in order, with what is there. Returns how many records were received.
fn expect_readers(histories: &[History], content: &Content, problems: &mut Problems) -> u64 {
    let mut received = 0;
    for History { process, lines } in histories {
        let mut readers: HashMap<u32, (Place, u64)> = HashMap::new();
        for line in lines {
            match line.step {
                Step::Begun { reader, place, offset } => drop(readers.insert(reader, (place, offset))),
                Step::Received { reader, first, records, sum } => {
                    let Some((place, next)) = readers.get_mut(&reader) else {
                        problems.add(format!("process {process}: reader {reader} has not begun"));
                        continue;
                    };
                    problems.unless(first == *next, || {
                        format!("process {process}: reader {reader} of {place:?} got {first} instead of {next}")
                    });
                    *next = first + records;
                    received += records;
                    let there = content.get(place).and_then(|all| all.get(first as usize..*next as usize));
                    let wanted = there.map(|there| there.iter().fold(0, |sum, found| add_to_sum(sum, found.sum)));
                    problems.unless(wanted == Some(sum), || {
                        format!(
                            "process {process}: reader {reader} got other records of {place:?} than {first}..{next}"
                        )
                    });
                }
                _ => {}
            }
        }
    }
    received
}

/// Each epoch has one host, a process never sees an earlier epoch again, and each host goes on where the last ended.
/// Returns how many epochs were seen.
fn expect_hosts(histories: &[History], problems: &mut Problems) -> u64 {
    // Of each epoch: its host, and the least and greatest end of the journal that it told.
    let mut epochs: BTreeMap<u64, (u64, u64, u64)> = BTreeMap::new();
    for History { process, lines } in histories {
        let mut last = 0;
        for line in lines {
            let Step::Hosted { pid, epoch, issued } = line.step else { continue };
            problems.unless(epoch >= last, || format!("process {process}: epoch {epoch} after {last}"));
            last = epoch;
            let (host, least, greatest) = epochs.entry(epoch).or_insert((pid, issued, issued));
            problems.unless(*host == pid, || format!("epoch {epoch} has two hosts: {host} and {pid}"));
            (*least, *greatest) = ((*least).min(issued), (*greatest).max(issued));
        }
    }
    for ((epoch, (_, _, greatest)), (next, (_, least, _))) in epochs.iter().zip(epochs.iter().skip(1)) {
        problems.unless(greatest <= least, || {
            format!("the journal of epoch {epoch} went to {greatest}, that of {next} begins before {least}")
        });
    }
    epochs.len() as u64
}

/// The end that a process sees of a partition never goes back.
fn expect_ends(histories: &[History], content: &Content, problems: &mut Problems) {
    for History { process, lines } in histories {
        let mut ends: HashMap<Place, u64> = HashMap::new();
        for line in lines {
            let Step::Ended { place, end } = line.step else { continue };
            let last = ends.insert(place, end).unwrap_or(0);
            let in_the_end = content.get(&place).map_or(0, |records| records.len() as u64);
            problems.unless(last <= end && end <= in_the_end, || {
                format!("process {process}: {place:?} ended at {last}, then at {end}, and at {in_the_end} at last")
            });
        }
    }
}

/// Nobody stands still for longer than `patience`. Returns the longest time that a write took.
fn expect_patience(writes: &Writes, patience: u64, problems: &mut Problems) -> u64 {
    let mut longest = 0;
    for Write { process, id, asked_at, told_at, .. } in writes.values() {
        let took = told_at.map_or(0, |told_at| told_at - asked_at);
        longest = longest.max(took);
        problems.unless(took <= patience, || format!("process {process} write {id:?} took {} ms", took / 1000));
    }
    longest
}

/// Nobody is told that nobody knows unless something was done meanwhile. Returns how many writes were undisturbed.
fn expect_outcomes(writes: &Writes, disturbances: &[Disturbance], problems: &mut Problems) -> u64 {
    let (unknown, undisturbed) = hold_against(writes, disturbances);
    for Write { process, id, asked_at, told_at, .. } in unknown {
        problems.add(format!(
            "process {process} write {id:?}: nobody knows what became of it, although nothing was done from {asked_at} \
             to {told_at:?}"
        ));
    }
    undisturbed
}

/// For each moment in `kills`: microseconds until the first acknowledgement of a write that was asked for after it.
pub fn failovers(histories: &[History], kills: &[u64]) -> Vec<u64> {
    let writes = writes_of(histories, &mut Problems::default());
    let told = |write: &Write| match write.fate {
        Fate::Acknowledged { .. } => Some((write.asked_at, write.told_at?)),
        _ => None,
    };
    let mut acknowledged: Vec<(u64, u64)> = writes.values().filter_map(told).collect();
    acknowledged.sort_unstable();
    // From each write on: the earliest acknowledgement.
    let mut earliest = u64::MAX;
    let mut first_after = BTreeMap::new();
    for (asked_at, told_at) in acknowledged.into_iter().rev() {
        earliest = earliest.min(told_at);
        first_after.insert(asked_at, earliest);
    }
    kills.iter().filter_map(|kill| Some(first_after.range(kill..).next()?.1 - kill)).collect()
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
