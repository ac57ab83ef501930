//! Finding the end of the journal after any crash.
//!
//! The walk begins at a known frame boundary and takes at each address the valid frame from the segment, else from the
//! ring. Where there is neither it follows a *jump*: a later life that says, in its segment header or in the control
//! file, that it went on from exactly this address and checksum. Otherwise the walk ends, at X.
//!
//! Then every 8-byte address behind X is tested for further valid frames. The highest durable LSN that any of them, the
//! control file or the index knows is D. If X < D, bytes that were acknowledged are missing: damage, and nothing is
//! changed. Otherwise what lies at X was never acknowledged: it is torn, and the journal ends there.
//!
//! Files are read, never mapped, here: a map of a bad page would end the process.

use std::io;

use crate::base::lsn::{Geometry, Lsn};
use crate::base::segment_id::SegmentId;
use crate::storage::control::Jump;
use crate::storage::disk::{Disk, File};
use crate::storage::frame::{self, Frame, HEADER_BYTES, Kind, Seed};
use crate::storage::segment::{self, FileName, SegmentHeader, Segments};

/// What recovery starts from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) database_id: [u8; 16],
    /// Where the walk begins: a frame boundary at or below `applied`.
    pub(crate) scan_from: Lsn,
    /// The index holds everything below.
    pub(crate) applied: Lsn,
    /// The control file's watermark and jump.
    pub(crate) watermark: Lsn,
    pub(crate) jump: Option<Jump>,
    pub(crate) epoch: u32,
}

/// Where the journal ends.
#[derive(Debug)]
pub(crate) struct End {
    /// X: the first address without a frame.
    pub(crate) at: Lsn,
    /// Where the last frame ended: before `at` if a life jumped to `at` and left no frame there.
    pub(crate) came_from: Lsn,
    /// D: everything below was known to be durable.
    pub(crate) durable: Lsn,
    /// Checksum of the last frame; 0 if there is none.
    pub(crate) crc: u32,
    /// The highest epoch seen in any frame or the control file.
    pub(crate) epoch: u32,
    /// The address of the last valid frame behind X, which no later life may reach.
    pub(crate) last_behind: Option<Lsn>,
    /// Frames that stood only in the ring.
    pub(crate) from_ring: Vec<(Lsn, Vec<u8>)>,
    /// Frames that the walk passed.
    pub(crate) frames: u64,
    /// Bytes of the walk at or above `applied`: what it jumped over is not among them.
    pub(crate) to_replay: u64,
}

/// Why the journal's end was not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryFault {
    #[error("damaged at {at}, known durable up to {durable}")]
    Damaged { at: Lsn, durable: Lsn },
    #[error("segment {number} is missing")]
    Missing { number: u64 },
    #[error("segment {number} has only {len} bytes")]
    Short { number: u64, len: u64 },
    #[error("frame at {at}: {reason}")]
    Undecodable { at: Lsn, reason: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Called for every frame from `scan_from` to X, in order; an error says that the frame's content is not understood.
pub(crate) type Visit<'a> = dyn FnMut(&Frame<'_>) -> Result<(), String> + 'a;

/// Finds the end of the journal, showing every frame on the way to `visit`.
pub(crate) fn find_end(
    segments: &Segments,
    ring: &[u8],
    known: &Known,
    visit: &mut Visit<'_>,
) -> Result<End, RecoveryFault> {
    let mut images = Images::new(segments)?;
    let mut walk = Walk {
        seed: Seed::new(&known.database_id),
        geometry: segments.geometry(),
        ring,
        at: normalise(segments.geometry(), known.scan_from),
        came_from: normalise(segments.geometry(), known.scan_from),
        crc: None,
        epoch: 0,
        from_ring: Vec::new(),
        frames: 0,
        applied: known.applied,
        to_replay: 0,
    };
    loop {
        while walk.step(&mut images, visit)? {}
        if !walk.follow_jump(&mut images, known)? {
            break;
        }
    }
    let behind = look_behind(&walk, &mut images)?;
    let durable = behind.durable.max(known.watermark).max(known.applied);
    if walk.at < durable {
        return Err(RecoveryFault::Damaged { at: walk.at, durable });
    }
    Ok(End {
        at: walk.at,
        came_from: walk.came_from,
        durable,
        crc: walk.crc.unwrap_or(0),
        epoch: walk.epoch.max(known.epoch).max(behind.epoch),
        last_behind: behind.last,
        from_ring: walk.from_ring,
        frames: walk.frames,
        to_replay: walk.to_replay,
    })
}

/// The address where the frame after one that ended at `at` starts: a remainder of a lap that cannot hold a header is
/// skipped.
pub(crate) fn normalise(geometry: Geometry, at: Lsn) -> Lsn {
    let room = geometry.room_to_lap(at);
    if room < HEADER_BYTES as u64 { at.plus(room) } else { at }
}

/// Writes again, with the same bytes, everything that may not be on disk: `[durable, at)` and what came from the ring;
/// then syncs every segment touched. (After a failed sync a page may read well and not be on disk.)
pub(crate) fn settle(segments: &Segments, end: &End) -> io::Result<()> {
    let geometry = segments.geometry();
    let first = end.from_ring.first().map_or(end.at, |(lsn, _)| *lsn).min(end.durable);
    if first >= end.at {
        return Ok(());
    }
    for number in geometry.segment_of(first)..=geometry.segment_of(Lsn(end.at.0 - 1)) {
        let start = geometry.segment_start(number);
        let from = first.max(start);
        let to = end.at.min(geometry.segment_start(number + 1));
        let file = match segments.get(SegmentId::Journal(number)) {
            // A life that jumped left a gap of segments that never were.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            segment => segment?.file,
        };
        let mut bytes = vec![0; to.since(from) as usize];
        file.read(geometry.place_in_segment(from), &mut bytes)?;
        for (lsn, frame) in end.from_ring.iter().filter(|(lsn, _)| *lsn >= from && *lsn < to) {
            let at = lsn.since(from) as usize;
            bytes[at..at + frame.len()].copy_from_slice(frame);
        }
        file.write(geometry.place_in_segment(from), &bytes)?;
        file.sync_data()?;
    }
    Ok(())
}

struct Walk<'a> {
    seed: Seed,
    geometry: Geometry,
    ring: &'a [u8],
    at: Lsn,
    came_from: Lsn,
    /// Checksum of the frame before `at`; `None` before the first.
    crc: Option<u32>,
    epoch: u32,
    from_ring: Vec<(Lsn, Vec<u8>)>,
    frames: u64,
    applied: Lsn,
    to_replay: u64,
}

impl Walk<'_> {
    /// Passes one frame, if there is one.
    fn step(&mut self, images: &mut Images<'_>, visit: &mut Visit<'_>) -> Result<bool, RecoveryFault> {
        let image = images.image(self.geometry.segment_of(self.at))?;
        let place = self.geometry.place_in_segment(self.at) as usize;
        let here = image.get(place..).unwrap_or_default();
        let room = self.geometry.room_to_lap(self.at) as usize;
        let staged = &self.ring[self.geometry.place_in_ring(self.at) as usize..];
        let (frame, from_ring) = match (self.valid(&here[..room.min(here.len())]), self.valid(staged)) {
            (Some(frame), _) => (frame, false),
            (None, Some(frame)) => (frame, true),
            (None, None) => return Ok(false),
        };
        visit(&frame).map_err(|reason| RecoveryFault::Undecodable { at: self.at, reason })?;
        if from_ring {
            // A segment and its name are durable before the first of its addresses is given out.
            if image.is_empty() {
                return Err(RecoveryFault::Missing { number: self.geometry.segment_of(self.at) });
            }
            self.from_ring.push((self.at, staged[..frame.extent() as usize].to_vec()));
        }
        (self.crc, self.epoch) = (Some(frame.crc), frame.header.epoch);
        self.frames += 1;
        let begin = self.at.max(self.applied);
        self.at = match frame.header.kind {
            Kind::Padding => self.at.plus(room as u64),
            _ => normalise(self.geometry, self.at.plus(frame.extent())),
        };
        self.came_from = self.at;
        self.to_replay += self.at.since(begin);
        Ok(true)
    }

    /// The frame that must lie at `at`: valid, following the last one, of no earlier life.
    fn valid<'b>(&self, bytes: &'b [u8]) -> Option<Frame<'b>> {
        let frame = frame::open_at(bytes, self.at, self.seed).ok()?;
        let follows = self.crc.is_none_or(|crc| crc == frame.header.previous);
        (follows && frame.header.epoch >= self.epoch).then_some(frame)
    }

    /// Goes on where a later life says that it went on from here.
    fn follow_jump(&mut self, images: &mut Images<'_>, known: &Known) -> Result<bool, RecoveryFault> {
        let crc = self.crc.unwrap_or(0);
        for number in images.numbers_after(self.geometry.segment_of(self.at)) {
            let start = self.geometry.segment_start(number);
            if start > self.at && self.header_continues(images, start, crc)? {
                self.at = start;
                return Ok(true);
            }
        }
        if let Some(jump) = known.jump
            && jump.from == self.came_from
            && jump.crc == crc
            && jump.to > self.at
        {
            self.at = jump.to;
            return Ok(true);
        }
        Ok(false)
    }

    fn header_continues(&self, images: &mut Images<'_>, start: Lsn, crc: u32) -> Result<bool, RecoveryFault> {
        let segment = images.image(self.geometry.segment_of(start))?;
        let staged = &self.ring[self.geometry.place_in_ring(start) as usize..];
        Ok([segment, staged].into_iter().any(|bytes| {
            frame::open_at(bytes, start, self.seed).is_ok_and(|frame| {
                let header = SegmentHeader::decode(frame.payload);
                frame.header.kind == Kind::SegmentHeader
                    && frame.header.epoch > self.epoch
                    && header.is_some_and(|h| h.end_before == self.came_from && h.crc_before == crc)
            })
        }))
    }
}

/// What the bytes behind X say.
struct Behind {
    durable: Lsn,
    last: Option<Lsn>,
    epoch: u32,
}

fn look_behind(walk: &Walk<'_>, images: &mut Images<'_>) -> Result<Behind, RecoveryFault> {
    let mut behind = Behind { durable: Lsn(0), last: None, epoch: 0 };
    let geometry = walk.geometry;
    let current = geometry.segment_of(walk.at);
    let mut numbers = vec![current];
    numbers.extend(images.numbers_after(current));
    for number in numbers {
        let start = geometry.segment_start(number);
        let image = images.image(number)?;
        let from = walk.at.since(start).min(image.len() as u64) as usize;
        for at in occupied_places(image, from) {
            let room = geometry.room_to_lap(start.plus(at as u64)) as usize;
            let bytes = &image[at..image.len().min(at + room)];
            behind.note(walk, bytes, start.plus(at as u64));
        }
    }
    for at in occupied_places(walk.ring, 0) {
        let bytes = &walk.ring[at..];
        let Some(lsn) = bytes.get(8..16).and_then(|b| b.first_chunk()).map(|b| Lsn(u64::from_le_bytes(*b))) else {
            continue;
        };
        if lsn.is_aligned() && geometry.place_in_ring(lsn) == at as u64 && lsn >= walk.at {
            behind.note(walk, bytes, lsn);
        }
    }
    Ok(behind)
}

impl Behind {
    fn note(&mut self, walk: &Walk<'_>, bytes: &[u8], lsn: Lsn) {
        let Ok(frame) = frame::open_at(bytes, lsn, walk.seed) else { return };
        self.last = self.last.max(Some(lsn));
        self.epoch = self.epoch.max(frame.header.epoch);
        if frame.header.epoch >= walk.epoch {
            self.durable = self.durable.max(frame.header.durable);
        }
    }
}

/// Aligned places from `from` on that do not hold 8 zero bytes, where a frame might start.
fn occupied_places(bytes: &[u8], from: usize) -> impl Iterator<Item = usize> + '_ {
    (from..bytes.len().saturating_sub(HEADER_BYTES - 1)).step_by(8).filter(|&at| bytes[at..at + 8] != [0; 8])
}

/// Reads segments, one at a time.
struct Images<'a> {
    segments: &'a Segments,
    numbers: Vec<u64>,
    held: Option<u64>,
    image: Vec<u8>,
}

impl<'a> Images<'a> {
    fn new(segments: &'a Segments) -> io::Result<Images<'a>> {
        Ok(Images { segments, numbers: journal_numbers(&**segments.disk())?, held: None, image: Vec::new() })
    }

    fn numbers_after(&self, number: u64) -> Vec<u64> {
        self.numbers.iter().copied().filter(|n| *n > number).collect()
    }

    /// The bytes of a segment; none if it does not exist.
    fn image(&mut self, number: u64) -> Result<&[u8], RecoveryFault> {
        if self.held != Some(number) {
            self.held = None;
            self.image.clear();
            if self.numbers.binary_search(&number).is_ok() {
                self.load(number)?;
            }
            self.held = Some(number);
        }
        Ok(&self.image)
    }

    /// A segment gets its name once it has its full length: a shorter one was cut.
    fn load(&mut self, number: u64) -> Result<(), RecoveryFault> {
        let path = segment::path(SegmentId::Journal(number));
        let file = self.segments.disk().open(&path, crate::storage::disk::Access::Read)?;
        let (len, full) = (file.len()?, self.segments.geometry().segment_bytes());
        if len < full {
            return Err(RecoveryFault::Short { number, len });
        }
        self.image.resize(full as usize, 0);
        Ok(read_all(&*file, &mut self.image)?)
    }
}

fn read_all(file: &dyn File, into: &mut [u8]) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    for (i, piece) in into.chunks_mut(PIECE).enumerate() {
        file.read((i * PIECE) as u64, piece)?;
    }
    Ok(())
}

/// Numbers of the journal segments that exist, in order.
pub(crate) fn journal_numbers(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk
        .list(segment::FOLDER)?
        .iter()
        .filter_map(|name| match segment::parse_name(name) {
            FileName::Segment(SegmentId::Journal(number)) => Some(number),
            _ => None,
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}
