//! What the fuzz targets call: arbitrary bytes as a frame, and as damage done to a database.

use std::cell::OnceCell;

use super::disk::{DiskImage, SimDisk};
use crate::base::codec::{Put, Take};
use crate::base::crc::crc;
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::lsn::{Geometry, Lsn};
use crate::base::time::Timestamp;
use crate::engine::check::check;
use crate::engine::clock::{Clock, ManualClock};
use crate::engine::machine::Machine;
use crate::engine::read::{Cursor, Read};
use crate::engine::{Engine, OpenOptions};
use crate::journal::entry::Entry;
use crate::journal::item::{Items, open_item};
use crate::primitives::{Command, Primitives, Reply, streams};
use crate::storage::frame::{self, FLAG_ITEM_CHECKSUMS, HEADER_BYTES, Header, Kind, Seed};

const DATABASE_ID: [u8; 16] = *b"a fuzzed store  ";

/// Reads arbitrary bytes as a frame, as an item and, inside a frame made to pass its checksum, as items, entries,
/// events and records.
///
/// # Panics
/// If a decoder does, or if something decodes and encodes to something else.
pub fn fuzz_frame(bytes: &[u8]) {
    let seed = Seed::new(&DATABASE_ID);
    if let Ok(frame) = frame::open(bytes, seed) {
        reseal(&frame, seed);
    }
    let _ = open_item(bytes, seed);
    let _ = Entry::decode(&mut Take::new(bytes));
    let _ = read_event(bytes);
    let Some((flags, payload)) = bytes.split_first() else { return };
    let mut sealed = vec![0; HEADER_BYTES];
    sealed.extend_from_slice(payload);
    let (lsn, kind) = (Lsn(4096), Kind::Events);
    let flags = flags & FLAG_ITEM_CHECKSUMS;
    let header = Header { lsn, epoch: 3, previous: 7, durable: Lsn(64), kind, flags };
    frame::seal(&mut sealed, &header, seed);
    let frame = frame::open_at(&sealed, lsn, seed).expect("a sealed frame is one");
    assert_eq!(frame.header, header);
    reseal(&frame, seed);
    for item in Items::of(&frame, 4096).flatten() {
        let _ = read_event(item.bytes);
    }
}

/// What was opened is sealed to the same checksum.
fn reseal(frame: &frame::Frame<'_>, seed: Seed) {
    let mut again = vec![0; HEADER_BYTES];
    again.extend_from_slice(frame.payload);
    if frame.header.lsn.is_aligned() {
        assert_eq!(frame::seal(&mut again, &frame.header, seed), frame.crc);
    }
}

/// Decodes an event; what decodes is encoded to as many bytes or, where integers were longer than they need be, to
/// fewer, which decode to the same.
fn read_event(item: &[u8]) -> Option<()> {
    let once = encode(item)?;
    assert!(once.len() <= item.len(), "an event grew");
    assert!(once.len() < item.len() || once == item, "an event came back as another");
    assert_eq!(encode(&once).as_ref(), Some(&once), "an event does not come back");
    let (_, records) = streams::read_item(item).ok()?;
    for record in records {
        let _headers = streams::headers(record.ok()?.header_block).count();
    }
    Some(())
}

fn encode(item: &[u8]) -> Option<Vec<u8>> {
    let event = Primitives::decode(item).ok()?;
    let mut out = vec![0; Primitives::encoded_len(&event)];
    let mut put = Put::new(&mut out);
    Primitives::encode(&event, &mut put);
    let unused = put.remaining();
    out.truncate(out.len() - unused);
    Some(out)
}

/// Small, so that much of the directory means something and an execution takes little time.
const RING_BYTES: u64 = 16 << 10;
const SEGMENT_BYTES: u64 = 16 << 10;

const PARTITIONS: u64 = 2;

/// Records of the sample: how many there are, up to where a checkpoint has come, and how many are on disk.
const RECORDS: u32 = 400;
const CHECKPOINTED: u32 = 300;
const SYNCED: u32 = 370;

/// A small database, and what was written to it.
pub(super) struct Sample {
    pub(super) image: DiskImage,
    paths: Vec<String>,
}

thread_local! {
    static SAMPLE: OnceCell<Sample> = const { OnceCell::new() };
}

/// Takes the bytes as damage to the files of a small database that was killed, then checks, opens and reads it.
///
/// # Panics
/// If checking, opening or reading does; if a check or a refused open changed a file; or if a record is read that is
/// not the one that was written there.
pub fn fuzz_recovery(bytes: &[u8]) {
    SAMPLE.with(|sample| {
        let sample = sample.get_or_init(Sample::new);
        let disk = SimDisk::from_snapshot(&sample.image, 1);
        let mut damage = Damage { bytes: Take::new(bytes) };
        while damage.strike(&disk, &sample.paths).is_some() {}
        let before = fingerprint(&disk);
        let _ = check::<Primitives>(disk.attach(), "", &|_, log| format!("{log:?}"));
        assert_eq!(fingerprint(&disk), before, "a check changed files");
        match Engine::<Primitives>::open(disk.attach(), options(false)) {
            Ok(engine) => {
                read_all(&engine);
                engine.abandon();
            }
            Err(_) => assert_eq!(fingerprint(&disk), before, "a refused open changed files"),
        }
    });
}

/// Every file but LOCK, whose text names the last opener, with its length and checksum.
fn fingerprint(disk: &SimDisk) -> Vec<(String, usize, u32)> {
    let paths = disk.paths().into_iter().filter(|path| path != "LOCK");
    paths.map(|path| (disk.contents(&path), path)).map(|(bytes, path)| (path, bytes.len(), crc(&bytes))).collect()
}

fn body(number: u64) -> Vec<u8> {
    format!("order {number} of {}", number * 7).into_bytes()
}

pub(super) fn options(create: bool) -> OpenOptions {
    let geometry = Geometry::tiny(RING_BYTES, SEGMENT_BYTES);
    let clock = Clock::Manual(ManualClock::starting_at(Timestamp(1_700_000_000_000_000)));
    OpenOptions { create, clock, ..OpenOptions::new(geometry, DATABASE_ID) }
}

impl Sample {
    /// Some records in sealed segments with sidecars, some in segments behind the checkpoint, some in the ring only.
    pub(super) fn new() -> Sample {
        let disk = SimDisk::new(1);
        let engine = Engine::<Primitives>::open(disk.attach(), options(true)).expect("an empty disk");
        let options = streams::Options { partitions: PARTITIONS as u32, ..streams::Options::default() };
        let create = Command::Streams(streams::Command::Create { name: "orders", options });
        let created = engine.submit(&create, Level::Sync, None).expect("a new stream");
        let Reply::Streams(streams::Reply::Stream(stream)) = created.reply else { panic!("a stream was asked for") };
        for number in 0..RECORDS {
            let body = body(u64::from(number));
            let records = [streams::Record::new(&body)];
            let groups =
                [streams::Group { partition: number % PARTITIONS as u32, expect_offset: None, records: &records }];
            let append = streams::Append { stream, mapping_partitions: PARTITIONS as u32, groups: &groups };
            let level = if number < SYNCED { Level::Sync } else { Level::Buffered };
            engine.submit(&Command::Streams(streams::Command::Append(append)), level, None).expect("there is room");
            if number == CHECKPOINTED / 2 || number == CHECKPOINTED {
                engine.checkpoint().expect("nothing fails");
            }
        }
        engine.abandon();
        drop(engine);
        disk.kill();
        // Much of the image, and never read.
        disk.erase("ballast");
        let mut paths = disk.paths();
        paths.sort_unstable();
        assert!(paths.iter().any(|path| path.ends_with(".idx")), "no segment was sealed: {paths:?}");
        Sample { image: disk.snapshot(), paths }
    }
}

/// Reads every partition as far as it goes: what is there is what was written there.
fn read_all(engine: &Engine<Primitives>) {
    let mut logs: Vec<(LogId, u64)> = Vec::new();
    let seen = engine.inspect(|machine| machine.logs(&mut |log, start, _| logs.push((log, start))));
    seen.expect("it was just opened");
    logs.sort_unstable();
    for (partition, (log, start)) in (0..).zip(logs) {
        let (mut at, mut cursor) = (start, Cursor::default());
        while let Ok(Read::Items(batch)) = engine.read(log, at, 64, &mut cursor) {
            for item in batch.items() {
                let from = at;
                let (_, records) = streams::read_item(batch.bytes(item)).expect("what is read passed its checksum");
                for record in records.flatten().skip_while(|record| record.offset < from) {
                    assert_eq!(record.offset, at, "a record is left out");
                    assert_eq!(
                        record.body,
                        Some(&body(at * PARTITIONS + partition)[..]),
                        "another record than was written"
                    );
                    at += 1;
                }
            }
        }
    }
}

/// Files that a directory may hold beside those of the sample.
const NAMES: [&str; 8] = [
    "segments/7.seg",
    "segments/0.idx",
    "segments/s1.seg",
    "segments/s1.idx",
    "segments/9.new",
    "segments/x",
    "control.new",
    "notes.txt",
];

struct Damage<'a> {
    bytes: Take<'a>,
}

impl Damage<'_> {
    /// One change to one file, as the next bytes say; `None` if they are used up.
    fn strike(&mut self, disk: &SimDisk, paths: &[String]) -> Option<()> {
        let (kind, which) = (self.bytes.u8().ok()?, self.bytes.u8().ok()?);
        if kind % 8 == 7 {
            let content = self.content()?;
            disk.put(NAMES[usize::from(which) % NAMES.len()], content);
            return Some(());
        }
        let path = &paths[usize::from(which) % paths.len()];
        if !disk.paths().contains(path) {
            return Some(());
        }
        let mut file = disk.contents(path);
        let offset = self.bytes.u32().ok()? as usize;
        // Most of a file is never looked at: half of the strikes fall on its beginning.
        let reach = if kind & 8 == 0 { 8192.min(file.len()) } else { file.len() };
        let offset = offset % reach.max(1);
        match kind % 8 {
            0..=3 => {
                let content = self.content()?;
                let len = content.len().min(file.len() - offset.min(file.len()));
                file[offset..offset + len].copy_from_slice(&content[..len]);
                disk.put(path, &file);
            }
            4 if !file.is_empty() => disk.flip_bit(path, offset as u64, u32::from(kind >> 5)),
            5 => disk.truncate(path, offset as u64),
            6 => disk.erase(path),
            _ => {}
        }
        Some(())
    }

    fn content(&mut self) -> Option<&[u8]> {
        let len = usize::from(self.bytes.u8().ok()?);
        self.bytes.bytes(len.min(self.bytes.remaining())).ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sim::random::Random;

    /// Calls a target with as many inputs of random bytes.
    fn try_random(inputs: u64, len_max: u64, target: fn(&[u8])) {
        for seed in 0..inputs {
            let mut random = Random::new(seed);
            let len = random.below(len_max);
            let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            target(&bytes);
        }
    }

    #[test]
    fn random_bytes_are_frames_or_refused() {
        try_random(20_000, 200, fuzz_frame);
    }

    #[test]
    fn a_damaged_directory_is_refused_or_serves_what_was_written() {
        fuzz_recovery(&[]);
        try_random(300, 60, fuzz_recovery);
    }
}
