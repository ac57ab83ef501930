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
            };
            if is_over {
                break;
            }
            (end, bytes) = (end + 1, bytes + record.bytes());
        }
        let next_timestamp = self.records.get(end).map(|(time, _)| Timestamp(*time));
        Stretch { end: end as u64, bytes, next_timestamp }
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
    pub(super) first_log: u64,
    pub(super) options: Options,
    pub(super) partitions: Vec<TwinPartition>,
}

#[derive(Clone, Debug)]
pub(super) struct Twin {
    pub(super) streams: BTreeMap<String, TwinStream>,
    pub(super) next_stream: u64,
    pub(super) next_log: u64,
}

impl Twin {
    pub(super) fn new() -> Twin {
        Twin { streams: BTreeMap::new(), next_stream: 1, next_log: 1 }
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
        let (id, first_log) = (self.next_stream, self.next_log);
        let partitions = vec![TwinPartition::default(); options.partitions as usize];
        self.next_stream += 1;
        self.next_log += u64::from(options.partitions);
        self.streams.insert(name.to_owned(), TwinStream { id, first_log, options, partitions });
        Some(id)
    }

    pub(super) fn partition_of_log(&self, log: LogId) -> Option<&TwinPartition> {
        self.streams.values().find_map(|stream| {
            let index = log.0.checked_sub(stream.first_log)?;
            stream.partitions.get(index as usize)
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
            for (index, partition) in (0..).zip(&twin.partitions) {
                let (log, facts) = state.partition(handle, index).expect("a partition of the stream");
                assert_eq!((log.0, *facts), (twin.first_log + u64::from(index), partition.facts()), "{name} {index}");
                assert_eq!(logs.remove(&log), Some((facts.start, facts.end)));
                assert_eq!(state.log_start(log), Some(facts.start));
                assert_eq!(state.log_timer(log).is_some(), twin.options.retention != Retention::default());
            }
        }
        assert!(logs.is_empty(), "logs without a stream: {logs:?}");
    }
}
