//! Writing operations, done to the engine and to the model.

use super::compaction::compaction_of;
use super::history::{Change, RecordContents, Trim};
use super::record::{COMPACTED, RecordBytes};
use super::world::{Answer, Done, Stop, World, command, handle};
use crate::base::level::Level;
use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;
use crate::engine::{Engine, Refused};
use crate::primitives::streams::{Append, Command, Group, Header, Options, Record, Refusal, Reply, Retention};
use crate::primitives::{Primitives, Refusal as AnyRefusal};

/// Streams that are there at most.
const STREAMS_MAX: usize = 4;

/// Partitions that a stream grows to at most.
const STREAM_PARTITIONS_MAX: u32 = 8;

/// Bytes of records in one append, so that frames stay within their bound.
const APPEND_BYTES_MAX: u32 = 1_500_000;

/// Appends of a flood, and bodies of its records: more than eight of the least segments.
const FLOOD_APPENDS: usize = 30;
const FLOOD_BODY_BYTES: u32 = 460_000;

/// Records per partition of one append, as they are given out and as the model has them.
pub(super) type Groups = Vec<(u32, Vec<RecordContents>)>;

impl World {
    pub(super) fn create(&mut self, engine: &Engine<Primitives>) -> Done {
        if self.now().streams.len() >= STREAMS_MAX {
            return Ok(());
        }
        let name =
            format!("{}-{}", self.random.pick(&["orders", "payments", "clicks", "changes"]), self.random.below(3));
        let options = Options { compaction: compaction_of(&name), ..self.options() };
        let level = self.level();
        self.tell(format_args!("create {name} {options:?} {level:?}"));
        let exists = self.now().streams.get(&name).map(|stream| stream.options);
        let answer = self.send(engine, Command::Create { name: &name, options }, level, true);
        let change = Change::Create { name, options };
        match (answer, exists) {
            (Answer::Reply(Reply::Stream(_), lsn, end), None) => self.stored(level, lsn, end, change),
            (Answer::Reply(Reply::Stream(_), ..), Some(same)) if same == options => Ok(()),
            (Answer::Refused(Refusal::Mismatch { .. }), Some(other)) if other != options => Ok(()),
            (Answer::Fault(fault), _) => self.fault(engine, fault, exists.is_none().then_some(change)),
            _ => Err(Stop::Wrong(format!("creating what is {exists:?} with {options:?} was answered otherwise"))),
        }
    }

    pub(super) fn alter(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(name) = self.any_stream() else { return Ok(()) };
        let before = self.now().streams[&name].options;
        let options = Options { partitions: before.partitions, compaction: compaction_of(&name), ..self.options() };
        let level = self.level();
        self.tell(format_args!("ensure {name} {options:?} {level:?}"));
        let answer = self.send(engine, Command::Ensure { name: &name, options }, level, true);
        let change = Change::Alter { name, options };
        match answer {
            Answer::Reply(..) if before == options => Ok(()),
            Answer::Reply(_, lsn, end) => self.stored(level, lsn, end, change),
            Answer::Fault(fault) => self.fault(engine, fault, (before != options).then_some(change)),
            _ => Err(Stop::Wrong("ensuring was refused".to_owned())),
        }
    }

    pub(super) fn add_partitions(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(name) = self.any_stream() else { return Ok(()) };
        let before = self.now().streams[&name].clone();
        let (count, level) = (self.random.pick(&[0, 1, 1, 2]), self.level());
        if before.options.partitions + count > STREAM_PARTITIONS_MAX {
            return Ok(());
        }
        let is_refused = count == 0;
        self.tell(format_args!("add {count} partitions to {name} {level:?}"));
        let stream = handle(engine, &name)?;
        let answer = self.send(engine, Command::AddPartitions { stream, count }, level, true);
        let change = Change::AddPartitions { name, count };
        match answer {
            Answer::Refused(Refusal::InvalidOption { .. }) if is_refused => Ok(()),
            Answer::Reply(Reply::Extended { epoch, partitions }, lsn, end)
                if (epoch, partitions) == (before.epoch + 1, before.options.partitions + count) =>
            {
                self.stored_of_stream(engine, level, (lsn, end), change)
            }
            Answer::Fault(fault) => self.fault(engine, fault, (!is_refused).then(|| change.with_unknown_groups())),
            _ => Err(Stop::Wrong(format!("adding {count} partitions to {before:?} was answered otherwise"))),
        }
    }

    /// An append that was routed by the mapping before the newest.
    pub(super) fn append_by_old_mapping(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(name) = self.any_stream() else { return Ok(()) };
        let (stream, partitions) = (handle(engine, &name)?, self.now().streams[&name].options.partitions);
        let groups = vec![(0, vec![self.record_of(&name, 100)])];
        self.tell(format_args!("append by an old mapping {}", told(&name, &groups)));
        let answer = with_groups(&groups, &[None], |groups| {
            let append = Append { stream, mapping_partitions: partitions - 1, groups };
            self.send(engine, Command::Append(append), Level::Buffered, true)
        });
        match answer {
            Answer::Refused(Refusal::StaleMapping { partitions: told, .. }) if told == partitions => Ok(()),
            Answer::Fault(fault) => self.fault(engine, fault, None),
            _ => Err(Stop::Wrong(format!("an append for {} of {partitions} partitions is stored", partitions - 1))),
        }
    }

    pub(super) fn delete(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(name) = self.any_stream() else { return Ok(()) };
        let level = self.level();
        self.tell(format_args!("delete {name} {level:?}"));
        let answer = self.send(engine, Command::Delete { name: &name }, level, true);
        let change = Change::Delete { name };
        match answer {
            Answer::Reply(_, lsn, end) => self.stored_of_stream(engine, level, (lsn, end), change),
            Answer::Fault(fault) => self.fault(engine, fault, Some(change.with_unknown_groups())),
            _ => Err(Stop::Wrong("deleting was refused".to_owned())),
        }
    }

    pub(super) fn trim(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(name) = self.any_stream() else { return Ok(()) };
        let number = self.any_partition(&name);
        let partition = &self.history.now().streams[&name].partitions[number as usize];
        let (start, end) = (partition.start, partition.end());
        let offset = start + self.random.below(end - start + 1);
        self.trim_at(engine, name, number, offset)
    }

    fn trim_at(&mut self, engine: &Engine<Primitives>, name: String, number: u32, offset: u64) -> Done {
        let stream = handle(engine, &name)?;
        let partition = &self.history.now().streams[&name].partitions[number as usize];
        let (start, end) = (partition.start, partition.end());
        let rests_on = partition.records.iter().filter(|r| r.sync).map(|r| r.end).max();
        let level = self.level();
        self.tell(format_args!("trim {name}/{number} before {offset}, of {start}..{end} {level:?}"));
        let trim = Command::TrimBefore { stream, partition: number, offset };
        let answer = self.send(engine, trim, level, true);
        let change = Change::Trim(Trim { name, partition: number, start: offset });
        match answer {
            Answer::Reply(..) if offset <= start => {
                // Who is told where the partition starts knows of what was written of it.
                self.history.promise(rests_on.unwrap_or_default());
                Ok(())
            }
            Answer::Reply(Reply::Trimmed { start }, lsn, end) if start == offset => {
                self.stored(level, lsn, end, change)
            }
            Answer::Fault(fault) => self.fault(engine, fault, (offset > start).then_some(change)),
            _ => Err(Stop::Wrong(format!("trimming before {offset} of {start}..{end} was answered otherwise"))),
        }
    }

    /// One append, of one or several groups; waits for its level, or not.
    pub(super) fn append(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(name) = self.any_stream() else { return self.create(engine) };
        let groups = self.groups(&name);
        let (level, waits) = (self.level(), self.random.chance(192));
        self.append_at(engine, &name, groups, level, waits)
    }

    pub(super) fn append_at(
        &mut self,
        engine: &Engine<Primitives>,
        name: &str,
        mut groups: Groups,
        level: Level,
        waits: bool,
    ) -> Done {
        self.tell(format_args!("append {} {level:?}, waits: {waits}", told(name, &groups)));
        let stream = handle(engine, name)?;
        let mapping_partitions = self.now().streams[name].options.partitions;
        let answer = with_groups(&groups, &vec![None; groups.len()], |groups| {
            self.send(engine, Command::Append(Append { stream, mapping_partitions, groups }), level, waits)
        });
        match answer {
            Answer::Reply(Reply::Appended(_), lsn, end) => {
                place(&mut groups, lsn, end, level);
                let level = if waits { level } else { Level::Buffered };
                self.stored(level, lsn, end, Change::Append { name: name.to_owned(), groups })
            }
            Answer::Fault(fault) => self.fault(engine, fault, Some(Change::Append { name: name.to_owned(), groups })),
            _ => Err(Stop::Wrong("an append was answered otherwise".to_owned())),
        }
    }

    /// An append that expects an offset at which the partition does not end.
    pub(super) fn append_wrongly(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(name) = self.any_stream() else { return Ok(()) };
        let groups = self.groups(&name);
        let partition = &self.history.now().streams[&name].partitions[groups[0].0 as usize];
        let (end, rests_on) = (partition.end(), partition.records.iter().filter(|r| r.sync).map(|r| r.end).max());
        self.tell(format_args!("append wrongly {}", told(&name, &groups)));
        let stream = handle(engine, &name)?;
        let mapping_partitions = self.now().streams[&name].options.partitions;
        let mut expect = vec![None; groups.len()];
        expect[0] = Some(end + 1);
        let answer = with_groups(&groups, &expect, |groups| {
            let append = Append { stream, mapping_partitions, groups };
            self.send(engine, Command::Append(append), Level::Buffered, true)
        });
        match answer {
            Answer::Refused(Refusal::WrongOffset { end: told, .. }) if told == end => {
                // Who is told where the partition ends knows of its last record.
                self.history.promise(rests_on.unwrap_or_default());
                Ok(())
            }
            Answer::Fault(fault) => self.fault(engine, fault, None),
            _ => Err(Stop::Wrong(format!("an append that expects {} at {end} is not refused", end + 1))),
        }
    }

    /// Two appends in one frame, each with the offset that it expects: the second counts on the first, or is wrong and
    /// takes the first with it.
    pub(super) fn append_twice(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(name) = self.any_stream() else { return Ok(()) };
        let number = self.any_partition(&name);
        let groups: Vec<Groups> = (0..2).map(|_| vec![(number, self.records(&name, 2))]).collect();
        let (level, is_right) = (self.level(), self.random.chance(192));
        self.tell(format_args!("append twice {} {level:?}, right: {is_right}", told(&name, &groups[0])));
        let stream = handle(engine, &name)?;
        let mapping_partitions = self.now().streams[&name].options.partitions;
        let first = self.now().streams[&name].partitions[number as usize].end();
        let second = first + groups[0][0].1.len() as u64 + u64::from(!is_right);
        let result = with_groups(&groups[0], &[Some(first)], |one| {
            with_groups(&groups[1], &[Some(second)], |two| {
                let both =
                    [one, two].map(|groups| command(Command::Append(Append { stream, mapping_partitions, groups })));
                engine.submit_all(&both, level, None)
            })
        });
        let mut groups = groups.concat();
        self.sending = None;
        match result {
            Ok(submitted) if is_right && submitted.reply.len() == 2 => {
                place(&mut groups, submitted.lsn, submitted.rests_on, level);
                let change = Change::Append { name, groups };
                self.stored(level, submitted.lsn, submitted.rests_on, change)
            }
            Err(Refused::Refusal(AnyRefusal::Streams(Refusal::WrongOffset { .. }))) if !is_right => Ok(()),
            Err(Refused::Fault(fault)) => {
                self.fault(engine, fault, is_right.then_some(Change::Append { name, groups }))
            }
            _ => Err(Stop::Wrong(format!("two appends in one frame, right: {is_right}, were answered otherwise"))),
        }
    }

    /// Fills segments with records that are let go at once, and a few between them that stay: room that only copying
    /// gives back.
    pub(super) fn flood(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(name) = self.any_stream() else { return Ok(()) };
        let partition = self.any_partition(&name);
        self.tell(format_args!("flood of {name}/{partition}"));
        for _ in 0..FLOOD_APPENDS {
            let records = (0..3).map(|_| self.record_of(&name, FLOOD_BODY_BYTES)).collect();
            self.append_at(engine, &name, vec![(partition, records)], Level::Buffered, true)?;
            let Some(other) = self.any_stream() else { return Ok(()) };
            let (number, record) = (self.any_partition(&other), self.record_of(&other, 100));
            self.append_at(engine, &other, vec![(number, vec![record])], Level::Buffered, true)?;
        }
        let end = self.now().streams[&name].partitions[partition as usize].end();
        let offset = end.saturating_sub(self.random.below(3));
        self.trim_at(engine, name, partition, offset)?;
        self.checkpoint(engine)?;
        self.checkpoint(engine)
    }

    pub(super) fn stored(&mut self, level: Level, lsn: Lsn, end: Lsn, change: Change) -> Done {
        self.accepted(lsn, end, change)?;
        if level == Level::Sync {
            self.history.promise(end);
        }
        Ok(())
    }

    pub(super) fn level(&mut self) -> Level {
        if self.random.chance(self.sync_in_256) { Level::Sync } else { Level::Buffered }
    }

    fn options(&mut self) -> Options {
        let records = self.random.pick(&[None, None, None, Some(1), Some(7), Some(60)]);
        let bytes = self.random.pick(&[None, None, None, None, Some(1_000), Some(2_000_000)]);
        let age_micros = self.random.pick(&[None, None, None, Some(1_000_000), Some(60_000_000)]);
        let partitions = 1 + self.random.below(3) as u32;
        Options { partitions, retention: Retention { age_micros, bytes, records }, ..Options::default() }
    }

    /// Records for one to three partitions of a stream.
    pub(super) fn groups(&mut self, name: &str) -> Groups {
        let count = self.random.pick(&[1, 1, 1, 2, 3]);
        let records_max = self.random.pick(&[1, 1, 3, 30]);
        (0..count).map(|_| (self.any_partition(name), self.records(name, records_max))).collect()
    }

    fn records(&mut self, name: &str, records_max: u64) -> Vec<RecordContents> {
        let mut bytes_left = APPEND_BYTES_MAX / 3;
        let count = 1 + self.random.below(records_max);
        let mut records = Vec::new();
        for _ in 0..count {
            let body_bytes = self.body_bytes().min(bytes_left);
            bytes_left -= body_bytes;
            records.push(self.record_of(name, if body_bytes < 16 { 0 } else { body_bytes }));
        }
        records
    }

    pub(super) fn record_of(&mut self, name: &str, body_bytes: u32) -> RecordContents {
        let compacted = if compaction_of(name).is_some() { COMPACTED } else { 0 };
        let number = self.next_number | compacted;
        self.next_number += 1;
        let timestamp: Timestamp = self.clock.wall();
        RecordContents { number, body_bytes, timestamp, epoch: 0, lsn: Lsn(0), end: Lsn(0), sync: false }
    }

    fn body_bytes(&mut self) -> u32 {
        match self.random.below(16) {
            0 => 0,
            1 => 16,
            2..=9 => 16 + self.random.below(200) as u32,
            _ => 16 + self.random.below(u64::from(self.body_bytes_max)) as u32,
        }
    }
}

fn told(name: &str, groups: &Groups) -> String {
    let group = |(partition, records): &(u32, Vec<RecordContents>)| {
        let bytes: u64 = records.iter().map(|record| u64::from(record.body_bytes)).sum();
        format!(" /{partition}: {} records from {}, {bytes} bytes", records.len(), records[0].number)
    };
    groups.iter().fold(name.to_owned(), |text, of_one| text + &group(of_one))
}

/// Notes in which frame the records stand.
pub(super) fn place(groups: &mut Groups, lsn: Lsn, end: Lsn, level: Level) {
    for record in groups.iter_mut().flat_map(|(_, records)| records) {
        (record.lsn, record.end, record.sync) = (lsn, end, level == Level::Sync);
    }
}

/// Builds the groups of an append around the bytes of their records.
pub(super) fn with_groups<T>(groups: &Groups, expect: &[Option<u64>], call: impl FnOnce(&[Group<'_>]) -> T) -> T {
    let records: Vec<&RecordContents> = groups.iter().flat_map(|(_, records)| records).collect();
    let bytes: Vec<RecordBytes> = records.iter().map(|r| RecordBytes::of(r.number, r.body_bytes)).collect();
    let headers: Vec<Vec<Header<'_>>> = bytes.iter().map(RecordBytes::headers).collect();
    let records: Vec<Record<'_>> = bytes.iter().zip(&headers).map(|(bytes, headers)| bytes.record(headers)).collect();
    let mut rest = &records[..];
    let mut given = Vec::new();
    for ((partition, of_group), expect_offset) in groups.iter().zip(expect) {
        let (records, after) = rest.split_at(of_group.len());
        given.push(Group { partition: *partition, expect_offset: *expect_offset, records });
        rest = after;
    }
    call(&given)
}
