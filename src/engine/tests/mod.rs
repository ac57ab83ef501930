//! The engine with streams on a simulated disk; its workers' steps are taken by hand unless a test starts them.

mod cleaning;
mod closing;
mod committer;
mod compaction;
mod consumers;
mod damage;
mod full_disk;
mod groups;
mod ids;
mod letting_go;
mod poison;
mod queues;
mod recovery;
mod reveal;
mod scheduling;
mod timers;

use std::sync::Arc;

use super::clock::{Clock, ManualClock};
use super::fault::Fault;
use super::read::{Cursor, Read};
use super::{Engine, OpenOptions, Refused, Submitted};
use crate::base::bounds::{GEOMETRY_BYTES_MIN, UNSYNCED_BYTES_MAX};
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::lsn::{Geometry, Lsn};
use crate::base::time::Timestamp;
use crate::primitives::streams::{self, StreamHandle};
use crate::primitives::{Command, Primitives, Refusal, Reply};
use crate::sim::disk::SimDisk;
use crate::storage::segment;

const DATABASE_ID: [u8; 16] = *b"orders-database!";
const NOON: u64 = 1_790_000_000_000_000;
const HOUR: u64 = 3_600_000_000;

/// An open engine, its disk and its clock.
pub(super) struct Bench {
    pub(super) disk: SimDisk,
    pub(super) clock: ManualClock,
    pub(super) engine: Arc<Engine<Primitives>>,
}

/// A record as it was read: offset, address, body.
pub(super) type Kept = (u64, Lsn, Vec<u8>);

fn options(clock: &ManualClock) -> OpenOptions {
    let geometry = Geometry::new(GEOMETRY_BYTES_MIN, GEOMETRY_BYTES_MIN).expect("the least geometry");
    let clock = Clock::Manual(clock.clone());
    // The least map: several passes, however few keys there are.
    OpenOptions { clock, key_map_places: 8, ..OpenOptions::new(geometry, DATABASE_ID) }
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::open(SimDisk::new(1), ManualClock::starting_at(Timestamp(NOON)))
    }

    pub(super) fn open(disk: SimDisk, clock: ManualClock) -> Bench {
        let engine = Arc::new(Engine::open(disk.attach(), options(&clock)).expect("nothing refuses it"));
        Bench { disk, clock, engine }
    }

    /// Closes, and opens the same directory again.
    fn reopen(self) -> Bench {
        self.engine.close().expect("nothing fails");
        Bench::open(self.disk, self.clock)
    }

    pub(super) fn create(&self, name: &str, partitions: u32, retention: streams::Retention) -> StreamHandle {
        let options = streams::Options { partitions, retention, ..streams::Options::default() };
        let submitted = self.submit(streams::Command::Create { name, options }, Level::Sync).expect("a new stream");
        match submitted.reply {
            Reply::Streams(streams::Reply::Stream(handle)) => handle,
            other => panic!("a stream was asked for: {other:?}"),
        }
    }

    pub(super) fn submit(
        &self,
        command: streams::Command<'_>,
        level: Level,
    ) -> Result<Submitted<Reply>, Refused<Refusal>> {
        self.engine.submit(&Command::Streams(command), level, None)
    }

    /// Appends one record and tells its address.
    pub(super) fn append(&self, stream: StreamHandle, partition: u32, body: &[u8], level: Level) -> Lsn {
        self.try_append(stream, partition, body, level).expect("there is room")
    }

    fn try_append(
        &self,
        stream: StreamHandle,
        partition: u32,
        body: &[u8],
        level: Level,
    ) -> Result<Lsn, Refused<Refusal>> {
        let partitions = self.partitions(stream);
        let records = [streams::Record::new(body)];
        let groups = [streams::Group { partition, expect_offset: None, records: &records }];
        let append = streams::Append { stream, mapping_partitions: partitions, groups: &groups };
        self.submit(streams::Command::Append(append), level).map(|submitted| submitted.lsn)
    }

    /// Appends one record to each partition, as one frame.
    fn append_to_each(&self, stream: StreamHandle) {
        let mapping_partitions = self.partitions(stream);
        let records = [streams::Record::new(b"")];
        let group = |partition| streams::Group { partition, expect_offset: None, records: &records };
        let groups: Vec<streams::Group<'_>> = (0..mapping_partitions).map(group).collect();
        let append = streams::Append { stream, mapping_partitions, groups: &groups };
        self.submit(streams::Command::Append(append), Level::Buffered).expect("there is room");
    }

    pub(super) fn trim(&self, stream: StreamHandle, partition: u32, offset: u64) {
        let trim = streams::Command::TrimBefore { stream, partition, offset };
        self.submit(trim, Level::Buffered).expect("nothing refuses it");
    }

    fn partitions(&self, stream: StreamHandle) -> u32 {
        self.engine.core.lock().machine.streams.stream(stream).expect("it exists").head().partitions()
    }

    pub(super) fn log(&self, stream: StreamHandle, partition: u32) -> LogId {
        self.engine.core.lock().machine.streams.stream(stream).expect("it exists").head().log(partition)
    }

    /// Reads from `from` on to the end, or to the first fault.
    pub(super) fn read_from(&self, log: LogId, from: u64) -> (Vec<Kept>, Option<Fault>) {
        let (mut kept, mut at, mut cursor) = (Vec::new(), from, Cursor::default());
        loop {
            match self.engine.read(log, at, 1, &mut cursor) {
                Ok(Read::Items(batch)) => {
                    for item in batch.items() {
                        let (_, records) = streams::read_item(batch.bytes(item)).expect("an item of a stream");
                        let records = records.map(|record| record.expect("a record that was written"));
                        kept.extend(records.map(|r| (r.offset, item.lsn, r.body.unwrap_or_default().to_vec())));
                        at = item.entry.end();
                    }
                }
                Ok(_) => return (kept, None),
                Err(fault) => return (kept, Some(fault)),
            }
        }
    }

    /// Path and offset of the frame at an address, while it is in a segment of the journal.
    pub(super) fn place(&self, lsn: Lsn) -> (String, u64) {
        let geometry = self.engine.segments.geometry();
        let number = crate::base::segment_id::SegmentId::Journal(geometry.segment_of(lsn));
        (segment::path(number), geometry.place_in_segment(lsn))
    }
}
