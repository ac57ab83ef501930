//! The naive model: what a user can see of a database, and the writes since it was opened, one after another.
//!
//! A write is a [`Step`]. Whatever happens, what is found after opening again is what some of the first steps make, all
//! of them up to one and none behind it. Which steps must be among them depends on what the writers were told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::record::{COMPACTED, key_of};
use crate::base::bounds::PRODUCER_BATCHES_REMEMBERED;
use crate::base::lsn::Lsn;
use crate::base::time::{BootTime, Timestamp};
use crate::primitives::sessions::{Request, SessionId};
use crate::primitives::streams::Options;
use crate::primitives::streams::groups::Group;

/// Everything that a user can see.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Contents {
    pub(super) streams: BTreeMap<String, StreamContents>,
    pub(super) sessions: BTreeMap<SessionId, SessionContents>,
    pub(super) groups: GroupsContents,
}

/// Consumer groups by number.
pub(super) type GroupsContents = BTreeMap<u64, GroupContents>;

/// A consumer group, as the engine has it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct GroupContents {
    /// By name.
    pub(super) stream: String,
    pub(super) group: Group,
    /// When its tick is due.
    pub(super) due: Option<BootTime>,
}

/// What is remembered of an attached process.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct SessionContents {
    pub(super) seen_below: u64,
    pub(super) requests: BTreeSet<u64>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct StreamContents {
    pub(super) options: Options,
    /// Of the newest mapping.
    pub(super) epoch: u32,
    pub(super) partitions: Vec<PartitionContents>,
    /// By name.
    pub(super) producers: BTreeMap<String, ProducerContents>,
}

#[derive(Clone, Debug)]
pub(super) struct ProducerContents {
    pub(super) number: u64,
    pub(super) epoch: u64,
    pub(super) last_used: Timestamp,
    pub(super) expire_after_micros: u64,
    /// The last batches, by partition.
    pub(super) windows: BTreeMap<u32, VecDeque<BatchContents>>,
}

/// Equal to who uses it: which number it has is not told where the outcome of its opening is unknown.
impl PartialEq for ProducerContents {
    fn eq(&self, other: &ProducerContents) -> bool {
        let facts = |of: &ProducerContents| (of.epoch, of.last_used, of.expire_after_micros);
        facts(self) == facts(other) && self.windows == other.windows
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BatchContents {
    pub(super) sequence: u64,
    pub(super) records: u32,
    pub(super) first_offset: u64,
}

impl ProducerContents {
    /// The sequence that is due in a partition.
    pub(super) fn next_sequence(&self, partition: u32) -> u64 {
        let last = self.windows.get(&partition).and_then(VecDeque::back);
        last.map_or(0, |batch| batch.sequence + u64::from(batch.records))
    }

    pub(super) fn push(&mut self, partition: u32, batch: BatchContents) {
        let window = self.windows.entry(partition).or_default();
        window.push_back(batch);
        if window.len() > PRODUCER_BATCHES_REMEMBERED {
            window.pop_front();
        }
    }
}

#[derive(Clone, Default, Debug)]
pub(super) struct PartitionContents {
    pub(super) start: u64,
    pub(super) records: VecDeque<RecordContents>,
    /// End of the last frame written for `Sync` whose records were let go: what follows waits behind it all the same.
    pub(super) let_go: Lsn,
}

/// Equal to the reader.
impl PartialEq for PartitionContents {
    fn eq(&self, other: &PartitionContents) -> bool {
        let is_same = |at: usize, one: &RecordContents, two: &RecordContents| {
            one == two
                || (one.is_hole() && other.may_be_gone(at))
                || (two.is_hole() && self.may_be_gone(at))
                || (one.is_hole() && two.is_hole())
        };
        let mut pairs = self.records.iter().zip(&other.records).enumerate();
        (self.start, self.records.len()) == (other.start, other.records.len())
            && pairs.all(|(at, (one, two))| is_same(at, one, two))
    }
}

impl RecordContents {
    /// What stands in the place of a record that compaction has left out.
    pub(super) const HOLE: RecordContents = RecordContents {
        number: 0,
        body_bytes: 0,
        timestamp: Timestamp(0),
        epoch: 0,
        lsn: Lsn(0),
        end: Lsn(0),
        sync: false,
    };

    pub(super) fn is_hole(&self) -> bool {
        self.number == 0
    }
}

/// One record. Key, headers and body follow from its number and length.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordContents {
    pub(super) number: u64,
    pub(super) body_bytes: u32,
    pub(super) timestamp: Timestamp,
    /// Of the mapping that it was appended under; 0 where that is not known.
    pub(super) epoch: u32,
    /// Start and end of its frame, and whether it was written for `Sync`: for what readers may see of it in the life
    /// that wrote it.
    pub(super) lsn: Lsn,
    pub(super) end: Lsn,
    pub(super) sync: bool,
}

/// Equal to the reader. Where a record stands is looked at elsewhere.
impl PartialEq for RecordContents {
    fn eq(&self, other: &RecordContents) -> bool {
        let seen = |record: &RecordContents| (record.number, record.body_bytes, record.timestamp, record.epoch);
        seen(self) == seen(other)
    }
}

impl PartitionContents {
    /// Whether compaction may leave out the record in this place: a newer one has its key, or it says that its key is
    /// gone. When it may say so no more is looked at elsewhere.
    pub(super) fn may_be_gone(&self, at: usize) -> bool {
        let record = &self.records[at];
        let is_last = at + 1 == self.records.len();
        record.number & COMPACTED != 0 && !is_last && (record.body_bytes == 0 || self.is_superseded(at))
    }

    pub(super) fn is_superseded(&self, at: usize) -> bool {
        let key = key_of(self.records[at].number);
        self.records.iter().skip(at + 1).any(|record| !record.is_hole() && key_of(record.number) == key)
    }

    pub(super) fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    pub(super) fn record(&self, offset: u64) -> Option<&RecordContents> {
        self.records.get(usize::try_from(offset.checked_sub(self.start)?).ok()?)
    }

    /// The first offset that readers must not see yet.
    pub(super) fn visible_end(&self, durable: Lsn) -> u64 {
        if self.let_go > durable {
            return self.start;
        }
        let hidden = self.records.iter().position(|record| record.sync && record.end > durable);
        hidden.map_or(self.end(), |at| self.start + at as u64)
    }
}

/// What one write changes.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Change {
    Create {
        name: String,
        options: Options,
    },
    Alter {
        name: String,
        options: Options,
    },
    AddPartitions {
        name: String,
        count: u32,
    },
    Delete {
        name: String,
    },
    Append {
        name: String,
        groups: Vec<(u32, Vec<RecordContents>)>,
    },
    Trim(Trim),
    OpenProducer {
        name: String,
        producer: String,
        number: u64,
        timestamp: Timestamp,
        expire_after_micros: u64,
    },
    /// As `Append`, by a producer; its groups begin at the sequences that are due.
    Produce {
        name: String,
        producer: String,
        timestamp: Timestamp,
        groups: Vec<(u32, Vec<RecordContents>)>,
    },
    /// What one round of the timers let go. Each of its trims is a write of its own, some are several; in which order
    /// they came is not told. Producers of streams go too, and groups come to be these.
    Expire {
        trims: Vec<Trim>,
        producers: Vec<(String, String)>,
        groups: GroupsContents,
    },
    /// Consumer groups came to be these, all of them, with another change or alone. `None` if that is not known: then
    /// it is the last change.
    Grouped {
        change: Option<Box<Change>>,
        groups: Option<GroupsContents>,
    },
    OpenSession(SessionId),
    EndSession(SessionId),
    /// A change that a request of an attached process asked for.
    Once(Request, Box<Change>),
}

/// A partition starts later.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Trim {
    pub(super) name: String,
    pub(super) partition: u32,
    pub(super) start: u64,
}

impl Change {
    /// The same, if groups may have changed with it and nobody was told how.
    pub(super) fn with_unknown_groups(self) -> Change {
        match self {
            Change::Delete { .. } | Change::AddPartitions { .. } => {
                Change::Grouped { change: Some(Box::new(self)), groups: None }
            }
            change => change,
        }
    }

    fn leaves_groups_unknown(&self) -> bool {
        match self {
            Change::Grouped { groups, .. } => groups.is_none(),
            Change::Once(_, change) => change.leaves_groups_unknown(),
            _ => false,
        }
    }
}

impl Contents {
    pub(super) fn records(&self) -> u64 {
        let partitions = self.streams.values().flat_map(|stream| &stream.partitions);
        partitions.map(|partition| partition.records.len() as u64).sum()
    }

    pub(super) fn make_true(&mut self, change: &Change) {
        match change {
            Change::Create { name, options } => {
                let partitions = vec![PartitionContents::default(); options.partitions as usize];
                let producers = BTreeMap::new();
                let stream = StreamContents { options: *options, epoch: 1, partitions, producers };
                self.streams.insert(name.clone(), stream);
            }
            Change::Alter { name, options } => self.stream(name).options = *options,
            Change::AddPartitions { name, count } => self.stream(name).add_partitions(*count),
            Change::Delete { name } => drop(self.streams.remove(name)),
            Change::Append { name, groups } => {
                let stream = self.stream(name);
                for (partition, records) in groups {
                    let records = records.iter().map(|record| RecordContents { epoch: stream.epoch, ..*record });
                    stream.partitions[*partition as usize].records.extend(records);
                }
            }
            Change::Trim(trim) => self.trim(trim),
            Change::Expire { trims, producers, groups } => {
                self.groups.extend(groups.clone());
                trims.iter().for_each(|trim| self.trim(trim));
                producers.iter().for_each(|(stream, producer)| drop(self.stream(stream).producers.remove(producer)));
            }
            Change::OpenProducer { name, producer, number, timestamp, expire_after_micros } => {
                self.open_producer(name, producer, *number, *timestamp, *expire_after_micros);
            }
            Change::Produce { name, producer, timestamp, groups } => {
                groups.iter().for_each(|group| self.produce(name, producer, *timestamp, group));
            }
            Change::Grouped { change, groups } => {
                change.iter().for_each(|change| self.make_true(change));
                self.groups = groups.clone().unwrap_or_else(|| self.groups.clone());
            }
            Change::OpenSession(session) => drop(self.sessions.insert(*session, SessionContents::default())),
            Change::EndSession(session) => drop(self.sessions.remove(session)),
            Change::Once(request, change) => {
                self.make_true(change);
                self.session(request.session).remember(request);
            }
        }
    }

    fn open_producer(&mut self, stream: &str, name: &str, number: u64, timestamp: Timestamp, expire_after: u64) {
        let producers = &mut self.stream(stream).producers;
        let opened = producers.entry(name.to_owned()).and_modify(|producer| producer.epoch += 1).or_insert_with(|| {
            ProducerContents {
                number,
                epoch: 0,
                last_used: timestamp,
                expire_after_micros: expire_after,
                windows: BTreeMap::new(),
            }
        });
        (opened.last_used, opened.expire_after_micros) = (timestamp, expire_after);
    }

    fn produce(
        &mut self,
        stream: &str,
        producer: &str,
        timestamp: Timestamp,
        (number, records): &(u32, Vec<RecordContents>),
    ) {
        let stream = self.stream(stream);
        let producer = stream.producers.get_mut(producer).expect("a change names a producer that exists");
        let partition = &mut stream.partitions[*number as usize];
        let (sequence, first_offset) = (producer.next_sequence(*number), partition.end());
        producer.push(*number, BatchContents { sequence, records: records.len() as u32, first_offset });
        producer.last_used = timestamp;
        let epoch = stream.epoch;
        partition.records.extend(records.iter().map(|record| RecordContents { epoch, ..*record }));
    }

    fn trim(&mut self, trim: &Trim) {
        let partition = &mut self.stream(&trim.name).partitions[trim.partition as usize];
        let going = partition.records.drain(..(trim.start - partition.start) as usize);
        let let_go = going.filter(|record| record.sync).map(|record| record.end).max();
        partition.let_go = partition.let_go.max(let_go.unwrap_or_default());
        partition.start = trim.start;
    }

    /// As it was somewhere amid an expiry: as far as it has come in `found`.
    fn amid(
        &self,
        trims: &[Trim],
        producers: &[(String, String)],
        groups: &GroupsContents,
        found: &Contents,
    ) -> Contents {
        let mut amid = self.clone();
        let ticked = groups.iter().filter(|(number, group)| found.groups.get(number) == Some(group));
        amid.groups.extend(ticked.map(|(number, group)| (*number, group.clone())));
        for (stream, producer) in producers {
            if found.streams.get(stream).is_some_and(|found| !found.producers.contains_key(producer)) {
                amid.stream(stream).producers.remove(producer);
            }
        }
        for trim in trims {
            let found = found.streams.get(&trim.name).and_then(|s| s.partitions.get(trim.partition as usize));
            let start = amid.stream(&trim.name).partitions[trim.partition as usize].start;
            if let Some(found) = found.filter(|found| start < found.start && found.start <= trim.start) {
                amid.trim(&Trim { start: found.start, ..trim.clone() });
            }
        }
        amid
    }

    fn session(&mut self, session: SessionId) -> &mut SessionContents {
        self.sessions.get_mut(&session).expect("a request names a session that is open")
    }

    fn stream(&mut self, name: &str) -> &mut StreamContents {
        self.streams.get_mut(name).expect("a change names a stream that exists")
    }
}

impl StreamContents {
    fn add_partitions(&mut self, count: u32) {
        self.epoch += 1;
        self.options.partitions += count;
        self.partitions.resize(self.options.partitions as usize, PartitionContents::default());
    }
}

impl SessionContents {
    fn remember(&mut self, request: &Request) {
        self.seen_below = self.seen_below.max(request.seen_below);
        self.requests.insert(request.sequence);
        self.requests = self.requests.split_off(&self.seen_below);
    }
}

/// One write.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) change: Change,
    /// End of its frame; `None` if its caller was told that the outcome is unknown.
    pub(super) end: Option<Lsn>,
}

/// What was there when the database was opened, and every write since.
#[derive(Clone, Default, Debug)]
pub(super) struct History {
    base: Contents,
    steps: Vec<Step>,
    now: Contents,
    /// Steps that end here or before have been promised to somebody.
    promised: Lsn,
}

impl History {
    /// With every step made true.
    pub(super) fn now(&self) -> &Contents {
        &self.now
    }

    /// Compaction has left a record out.
    pub(super) fn leave_out(&mut self, name: &str, partition: u32, offset: u64) {
        let partition = &mut self.now.stream(name).partitions[partition as usize];
        let at = (offset - partition.start) as usize;
        partition.records[at] = RecordContents::HOLE;
    }

    pub(super) fn push(&mut self, step: Step) {
        if step.end.is_some() {
            assert!(self.steps.iter().all(|step| step.end.is_some()), "nothing is accepted after an unknown outcome");
            self.now.make_true(&step.change);
        }
        self.steps.push(step);
    }

    /// Somebody was told, or has seen, that what ends here or before is safe.
    pub(super) fn promise(&mut self, end: Lsn) {
        self.promised = self.promised.max(end);
    }

    pub(super) fn promise_everything(&mut self) {
        self.promised = self.steps.iter().filter_map(|step| step.end).max().unwrap_or_default().max(self.promised);
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Goes on from what was found, which must be what the first steps make, at least all that were promised. Tells how
    /// many steps were lost.
    pub(super) fn go_on_from(&mut self, found: Contents) -> Result<usize, String> {
        let must = self.steps.iter().take_while(|step| step.end.is_some_and(|end| end <= self.promised)).count();
        let mut then = self.base.clone();
        let mut kept = None;
        for (at, step) in self.steps.iter().enumerate() {
            let is_reached = match &step.change {
                Change::Expire { trims, producers, groups } => then.amid(trims, producers, groups, &found) == found,
                _ => then == found,
            };
            if at >= must && is_reached {
                kept = Some(at);
            }
            then.make_true(&step.change);
            if step.change.leaves_groups_unknown() {
                then.groups = found.groups.clone();
            }
        }
        if then == found {
            kept = Some(self.steps.len());
        }
        let Some(kept) = kept else { return Err(self.disagreement(&found, must)) };
        let lost = self.steps.len() - kept;
        *self = History { base: found.clone(), steps: Vec::new(), now: found, promised: Lsn(0) };
        Ok(lost)
    }

    fn disagreement(&self, found: &Contents, must: usize) -> String {
        let mut then = self.base.clone();
        self.steps.iter().take(must).for_each(|step| then.make_true(&step.change));
        let (least, most, found) = (summary(&then), summary(&self.now), summary(found));
        let count = self.steps.len();
        format!(
            "what is found is not what the first {must} to {count} writes make\nfound:\n{found}\nafter {must}:\n\
             {least}\nafter all:\n{most}"
        )
    }
}

/// Streams with their partitions, one a line, and sessions.
fn summary(contents: &Contents) -> String {
    let mut text = String::new();
    for (name, stream) in &contents.streams {
        for (number, partition) in stream.partitions.iter().enumerate() {
            let (first, last) = (partition.records.front(), partition.records.back());
            let numbers = first.zip(last).map(|(first, last)| (first.number, last.number));
            let (start, end) = (partition.start, partition.end());
            text += &format!("  {name}/{number}: offsets {start}..{end}, first and last records {numbers:?}\n");
        }
        for (producer, contents) in &stream.producers {
            text += &format!("  {name}, producer {producer}: {contents:?}\n");
        }
    }
    for (number, group) in &contents.groups {
        text += &format!("  group {number}: {group:?}\n");
    }
    for (session, SessionContents { seen_below, requests }) in &contents.sessions {
        text += &format!("  {session:?}: seen below {seen_below}, remembers {requests:?}\n");
    }
    text
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn step(change: Change, end: u64) -> Step {
        Step { change, end: Some(Lsn(end)) }
    }

    fn create(name: &str) -> Change {
        Change::Create { name: name.to_owned(), options: Options::default() }
    }

    fn append(name: &str, number: u64) -> Change {
        let (timestamp, lsn, end) = (Timestamp(1), Lsn(0), Lsn(0));
        let record = RecordContents { number, body_bytes: 10, timestamp, epoch: 0, lsn, end, sync: false };
        Change::Append { name: name.to_owned(), groups: vec![(0, vec![record])] }
    }

    fn history() -> History {
        let mut history = History::default();
        history.push(step(create("orders"), 100));
        history.push(step(append("orders", 1), 200));
        history.push(step(append("orders", 2), 300));
        history
    }

    fn contents(changes: &[Change]) -> Contents {
        let mut contents = Contents::default();
        changes.iter().for_each(|change| contents.make_true(change));
        contents
    }

    #[test]
    fn every_prefix_at_or_past_the_promise_is_right() {
        let all = [create("orders"), append("orders", 1), append("orders", 2)];
        for kept in 0..=3 {
            let mut history = history();
            history.promise(Lsn(250));
            assert_eq!(history.go_on_from(contents(&all[..kept])).is_ok(), kept >= 2, "{kept} kept");
        }
    }

    #[test]
    fn a_hole_is_wrong() {
        assert!(history().go_on_from(contents(&[create("orders"), append("orders", 2)])).is_err());
    }

    #[test]
    fn a_write_of_unknown_outcome_may_be_there_or_not() {
        let all = [create("orders"), append("orders", 1), append("orders", 2), append("orders", 3)];
        for kept in 3..=4 {
            let mut history = history();
            history.push(Step { change: append("orders", 3), end: None });
            history.promise_everything();
            assert_eq!(history.go_on_from(contents(&all[..kept])), Ok(4 - kept));
        }
    }
}
