//! The naive twin: every record in a vector, every answer computed from all of them.

use std::collections::BTreeMap;

use super::*;
use crate::engine::machine::{Lookup, Stretch, Until};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TwinRecord {
    pub(super) key: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Option<Vec<u8>>,
}

impl TwinRecord {
    fn bytes(&self) -> u64 {
        let headers = self.headers.iter().map(|(name, value)| {
            let prefix = |len: usize| if len < 128 { 1 } else { 2 };
            prefix(name.len()) + name.len() + prefix(value.len()) + value.len()
        });
        let headers: usize = headers.sum();
        (self.key.as_ref().map_or(0, Vec::len) + headers + self.body.as_ref().map_or(0, Vec::len)) as u64
    }
}

/// Records with their timestamps, all that ever were, and how many of them are gone.
#[derive(Clone, Default, Debug)]
pub(super) struct TwinPartition {
    pub(super) records: Vec<(u64, TwinRecord)>,
    pub(super) start: usize,
}

impl TwinPartition {
    fn live(&self) -> &[(u64, TwinRecord)] {
        &self.records[self.start..]
    }

    pub(super) fn facts(&self) -> Partition {
        Partition {
            start: self.start as u64,
            end: self.records.len() as u64,
            bytes: self.live().iter().map(|(_, record)| record.bytes()).sum(),
            last_timestamp: Timestamp(self.records.last().map_or(0, |(time, _)| *time)),
            start_timestamp: Timestamp(self.live().first().map_or(0, |(time, _)| *time)),
            ..Partition::default()
        }
    }

    pub(super) fn append(&mut self, now: u64, record: TwinRecord) {
        let last = self.records.last().map_or(0, |(time, _)| *time);
        self.records.push((now.max(last), record));
    }

    pub(super) fn stretch(&self, lookup: &Lookup) -> Stretch {
        let from = lookup.from as usize;
        let (mut end, mut bytes) = (from, 0);
        while let Some((time, record)) = self.records.get(end) {
            let is_over = match lookup.until {
                Until::Offset(offset) => end as u64 >= offset,
                Until::Time(until) => *time >= until.0,
                Until::Bytes(enough) => bytes >= enough,
                Until::Records(_) | Until::RecordsLeft(_) | Until::BytesLeft(_) => unreachable!("not compacted"),
            };
            if is_over {
                break;
            }
            (end, bytes) = (end + 1, bytes + record.bytes());
        }
        let next_timestamp = self.records.get(end).map(|(time, _)| Timestamp(*time));
        Stretch { end: end as u64, bytes, records: (end - from) as u64, next_timestamp }
    }

    /// Drops the first record as long as any limit asks for it.
    pub(super) fn expire(&mut self, retention: &Retention, now: u64) {
        while let Some((time, _)) = self.live().first() {
            let is_old = retention.age_micros.is_some_and(|age| time + age < now);
            let is_many = retention.records.is_some_and(|most| self.live().len() as u64 > most);
            let is_large = retention.bytes.is_some_and(|most| self.facts().bytes > most);
            if !is_old && !is_many && !is_large {
                break;
            }
            self.start += 1;
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct TwinStream {
    pub(super) id: u64,
    pub(super) options: Options,
    pub(super) partitions: Vec<TwinPartition>,
    /// Of each partition.
    pub(super) logs: Vec<u64>,
    /// Of each mapping: the number of partitions, and since when.
    pub(super) mappings: Vec<(u32, Lsn)>,
}

/// A producer with every batch that it ever appended.
#[derive(Clone, Debug)]
pub(super) struct TwinProducer {
    pub(super) number: u64,
    pub(super) epoch: u64,
    pub(super) last_used: u64,
    pub(super) expire_after: u64,
    /// First sequence, records and first offset, by partition.
    pub(super) batches: BTreeMap<u32, Vec<(u64, u32, u64)>>,
}

impl TwinProducer {
    pub(super) fn end(&self, partition: u32) -> u64 {
        self.batches.get(&partition).into_iter().flatten().map(|(_, records, _)| u64::from(*records)).sum()
    }

    /// The last five batches.
    pub(super) fn window(&self, partition: u32) -> &[(u64, u32, u64)] {
        let batches = self.batches.get(&partition).map_or(&[][..], Vec::as_slice);
        &batches[batches.len().saturating_sub(5)..]
    }
}

#[derive(Clone, Debug)]
pub(super) struct Twin {
    pub(super) streams: BTreeMap<String, TwinStream>,
    /// By the names of their stream and of themselves.
    pub(super) producers: BTreeMap<(String, String), TwinProducer>,
    pub(super) next_stream: u64,
    pub(super) next_log: u64,
}

impl Twin {
    pub(super) fn new() -> Twin {
        Twin { streams: BTreeMap::new(), producers: BTreeMap::new(), next_stream: 1, next_log: 1 }
    }

    /// `None` is a mismatch.
    pub(super) fn create(&mut self, name: &str, options: Options, may_alter: bool) -> Option<u64> {
        if let Some(stream) = self.streams.get_mut(name) {
            let may_alter = may_alter && stream.options.partitions == options.partitions;
            if may_alter {
                stream.options = options;
            }
            return (stream.options == options).then_some(stream.id);
        }
        let id = self.next_stream;
        let partitions = vec![TwinPartition::default(); options.partitions as usize];
        let logs = self.give_logs(options.partitions);
        self.next_stream += 1;
        let mappings = vec![(options.partitions, Lsn(0))];
        self.streams.insert(name.to_owned(), TwinStream { id, options, partitions, logs, mappings });
        Some(id)
    }

    fn give_logs(&mut self, count: u32) -> Vec<u64> {
        let first = self.next_log;
        self.next_log += u64::from(count);
        (first..self.next_log).collect()
    }

    /// Epoch and partitions of the new mapping; `None` if nothing can be added.
    pub(super) fn add(&mut self, name: &str, count: u32, lsn: Lsn) -> Option<(u32, u32)> {
        let partitions = self.streams.get(name).filter(|_| count > 0)?.options.partitions + count;
        let logs = self.give_logs(count);
        let stream = self.streams.get_mut(name)?;
        stream.logs.extend(logs);
        stream.options.partitions = partitions;
        stream.partitions.resize(partitions as usize, TwinPartition::default());
        stream.mappings.push((partitions, lsn));
        Some((stream.mappings.len() as u32, partitions))
    }

    pub(super) fn delete(&mut self, name: &str) -> Option<TwinStream> {
        self.producers.retain(|(stream, _), _| stream != name);
        self.streams.remove(name)
    }

    /// The number and the epoch of the producer.
    pub(super) fn open(&mut self, stream: &str, name: &str, expire_after: u64, now: u64) -> Option<(u64, u64)> {
        self.streams.get(stream)?;
        let number = self.next_log;
        let key = (stream.to_owned(), name.to_owned());
        let producer = self.producers.entry(key).and_modify(|producer| producer.epoch += 1).or_insert_with(|| {
            self.next_log += 1;
            TwinProducer { number, epoch: 0, last_used: 0, expire_after: 0, batches: BTreeMap::new() }
        });
        (producer.last_used, producer.expire_after) = (now, expire_after);
        Some((producer.number, producer.epoch))
    }

    pub(super) fn expire_producers(&mut self, now: u64) {
        self.producers.retain(|_, producer| now < producer.last_used + producer.expire_after);
    }

    fn assert_producers_agree(&self, state: &State, logs: &mut BTreeMap<LogId, (u64, u64)>) {
        assert_eq!(state.producers().starting_at(0).count(), self.producers.len());
        for ((stream, name), twin) in &self.producers {
            let producer = state.producers().get(twin.number).expect("a producer that was opened");
            assert_eq!((producer.stream, &*producer.name), (self.streams[stream].id, &**name));
            let told = (producer.epoch, producer.last_used.0, producer.expire_after_micros);
            assert_eq!(told, (twin.epoch, twin.last_used, twin.expire_after));
            let windows = state.producers().windows_of(twin.number).map(|(partition, window)| {
                let batches = window.batches().iter().map(|batch| (batch.sequence, batch.records, batch.first_offset));
                (partition, batches.collect::<Vec<_>>())
            });
            let expected = twin.batches.keys().map(|partition| (*partition, twin.window(*partition).to_vec()));
            assert_eq!(windows.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            assert_eq!(logs.remove(&LogId(twin.number)), Some((0, 0)));
            assert!(state.log_timer(LogId(twin.number)).is_some());
        }
    }

    pub(super) fn partition_of_log(&self, log: LogId) -> Option<&TwinPartition> {
        self.streams.values().find_map(|stream| {
            let index = stream.logs.iter().position(|of| *of == log.0)?;
            stream.partitions.get(index)
        })
    }

    /// Everything that the state says is what the records say.
    pub(super) fn assert_agrees(&self, state: &State) {
        let named: Vec<_> = state.streams().map(|(_, stream)| stream.head().name().to_owned()).collect();
        assert_eq!(named, self.streams.keys().cloned().collect::<Vec<_>>());
        let mut logs = BTreeMap::new();
        state.logs(&mut |log, start, end| assert!(logs.insert(log, (start, end)).is_none()));
        for (name, twin) in &self.streams {
            let handle = state.lookup(name).expect("a stream that was created");
            let stream = state.stream(handle).expect("a stream that was just looked up");
            assert_eq!((handle.id, *stream.head().options()), (twin.id, twin.options));
            assert_eq!(stream.partitions().len(), twin.partitions.len());
            let mappings = stream.head().mappings().iter().map(|mapping| (mapping.partitions, mapping.since));
            assert!(mappings.eq(twin.mappings.iter().copied()), "{name}: {:?}", twin.mappings);
            for (index, partition) in (0..).zip(&twin.partitions) {
                let (log, facts) = state.partition(handle, index).expect("a partition of the stream");
                assert_eq!((log.0, *facts), (twin.logs[index as usize], partition.facts()), "{name} {index}");
                assert_eq!(logs.remove(&log), Some((facts.start, facts.end)));
                assert_eq!(state.log_start(log), Some(facts.start));
                assert_eq!(state.log_timer(log).is_some(), twin.options.retention != Retention::default());
            }
        }
        self.assert_producers_agree(state, &mut logs);
        assert!(logs.is_empty(), "logs without a stream: {logs:?}");
    }
}
