//! What must be in the database, and the comparison with what is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use towpath::{Database, Error, Start, Stream};

use crate::child::EVENTS_KEPT;
use crate::report::{Report, STREAMS, read_body};

/// A record as it was found: tag, index in its batch, size of the batch, timestamp.
type Found = (String, u32, u32, u64);

/// What was in the database when it was last looked at.
#[derive(Default)]
pub struct Books {
    partitions: BTreeMap<(usize, u32), BTreeMap<u64, Found>>,
    ends: BTreeMap<(usize, u32), u64>,
    pub acknowledged: u64,
    seen: u64,
    trims: u64,
    rounds: u64,
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Books { acknowledged, seen, trims, rounds, .. } = self;
        write!(f, "{rounds} kills, {acknowledged} records acknowledged, {seen} seen, {trims} trims: nothing lost")
    }
}

impl Books {
    pub fn compare(&mut self, round: u64, reports: &[Report], db: &Database) {
        self.rounds += 1;
        // The first child may have been killed between the creation of two streams.
        let is_first = self.partitions.is_empty();
        for (number, (name, partitions)) in STREAMS.iter().enumerate() {
            let Ok(stream) = db.stream(name) else {
                assert!(reports.is_empty() && is_first, "round {round}: stream `{name}` is gone");
                continue;
            };
            for partition in 0..*partitions {
                let place = format!("round {round}, {name}/{partition}");
                let found = read(&place, &stream, partition);
                let end = stream.describe().unwrap().partitions[partition as usize].end_offset;
                let start = found.keys().next().copied().unwrap_or(end);
                assert!(found.keys().copied().eq(start..end), "{place}: offsets are not those from {start} to {end}");
                check_order(&place, &found);
                self.compare_with_before((number, partition), &place, &found, end);
                self.compare_with_reports((number, partition), &place, &found, (start, end), reports);
                self.partitions.insert((number, partition), found);
                self.ends.insert((number, partition), end);
            }
        }
    }

    /// What an earlier look found is there unchanged, unless it was let go.
    fn compare_with_before(&self, key: (usize, u32), place: &str, found: &BTreeMap<u64, Found>, end: u64) {
        let before = self.ends.get(&key).copied().unwrap_or(0);
        assert!(end >= before, "{place}: ended at {before}, now at {end}");
        for (offset, record) in self.partitions.get(&key).into_iter().flatten() {
            if let Some(now) = found.get(offset) {
                assert_eq!(now, record, "{place}: offset {offset} changed");
            }
        }
    }

    fn compare_with_reports(
        &mut self,
        key: (usize, u32),
        place: &str,
        found: &BTreeMap<u64, Found>,
        (start, end): (u64, u64),
        reports: &[Report],
    ) {
        let mut trimmed = if key.0 == 1 { end.saturating_sub(EVENTS_KEPT) } else { 0 };
        let mut may_start = self.partitions.get(&key).and_then(|before| before.keys().next().copied()).unwrap_or(0);
        for report in reports {
            match report {
                Report::Acknowledged { stream, partition, offset, count, tag } if (*stream, *partition) == key => {
                    self.acknowledged += u64::from(*count);
                    for (index, offset) in (0..*count).zip(*offset..) {
                        let record = found.get(&offset);
                        let held =
                            offset < start || record.is_some_and(|(t, i, c, _)| (t, i, c) == (tag, &index, count));
                        assert!(
                            held,
                            "{place}: {tag} was acknowledged at {offset}, found {record:?} of {start}..{end}"
                        );
                    }
                }
                Report::Seen { stream, partition, offset, tag } if (*stream, *partition) == key => {
                    self.seen += 1;
                    let record = found.get(offset);
                    let held = *offset < start || record.is_some_and(|record| record.0 == *tag);
                    assert!(held, "{place}: {tag} was seen at {offset}, found {record:?} of {start}..{end}");
                }
                Report::Trimmed { stream, partition, offset } if (*stream, *partition) == key => {
                    self.trims += 1;
                    may_start = may_start.max(*offset);
                    assert!(start >= *offset, "{place}: was trimmed to {offset} and starts at {start}");
                }
                _ => {}
            }
        }
        if key == (0, 1) {
            // The last trim may not have been reported; it kept 2,000 of what was there.
            trimmed = end.saturating_sub(2000);
        }
        assert!(start <= may_start.max(trimmed), "{place}: starts at {start}, nothing let go of {may_start}");
    }
}

/// All that is there. The database may still be letting go of what its retention does not keep.
fn read(place: &str, stream: &Stream, partition: u32) -> BTreeMap<u64, Found> {
    let mut reader = stream.reader(partition, Start::Earliest).unwrap();
    let mut found = BTreeMap::new();
    loop {
        match reader.try_receive(1000) {
            Ok(None) => return found,
            Ok(Some(records)) => {
                for record in &records {
                    let (tag, index, count) = read_body(record.body())
                        .unwrap_or_else(|| panic!("{place}: the body at offset {} changed", record.offset()));
                    found.insert(record.offset(), (tag, index, count, record.timestamp().as_micros()));
                }
            }
            Err(Error::OffsetOutOfRange { .. }) => {
                found.clear();
                reader.seek(Start::Earliest).unwrap();
            }
            Err(error) => panic!("{place}: {error}"),
        }
    }
}

/// Each writer's batches follow each other without gap or repetition, each of them whole and in one piece, and time
/// never goes back.
fn check_order(place: &str, found: &BTreeMap<u64, Found>) {
    let mut last: HashMap<&str, u64> = HashMap::new();
    let mut tags = HashSet::new();
    let mut open: Option<(&str, u32, u32)> = None;
    let mut time = 0;
    let first = found.keys().next().copied();
    for (offset, (tag, index, count, timestamp)) in found {
        assert!(*timestamp >= time, "{place}: time goes back at {offset}");
        time = *timestamp;
        match open {
            Some((t, i, c)) => {
                assert_eq!((tag.as_str(), *index, *count), (t, i, c), "{place}: torn at {offset}")
            }
            None => assert!(*index == 0 || Some(*offset) == first, "{place}: a batch without its begin at {offset}"),
        }
        open = (index + 1 < *count).then_some((tag.as_str(), index + 1, *count));
        if *index == 0 {
            assert!(tags.insert(tag), "{place}: {tag} is there twice");
            let (writer, batch) = tag.rsplit_once('.').unwrap();
            let batch: u64 = batch.parse().unwrap();
            if let Some(before) = last.insert(writer, batch) {
                let follows = if writer.contains("batches") || writer.contains("events") {
                    // A batch by key need not have touched this partition.
                    batch > before
                } else {
                    batch == before + 1
                };
                assert!(follows, "{place}: {writer} wrote {before}, then {batch} at {offset}");
            }
        }
    }
    assert_eq!(open, None, "{place}: the last batch is torn");
}
