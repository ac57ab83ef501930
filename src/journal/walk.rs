//! Walking the frames of one sealed segment from its first byte.

use crate::base::lsn::{Geometry, Lsn};
use crate::base::segment_id::SegmentId;
use crate::storage::frame::{self, Frame, Kind, NotAFrame, Seed};

use super::recovery::normalise;

/// The frames of a segment in order, each verified, with its place.
///
/// It ends at the first place without a valid frame: the end of the file, where a life ended, or damage. Which of them
/// is for the caller to judge, by what should have been there; `stopped` says where and why.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    id: SegmentId,
    geometry: Geometry,
    seed: Seed,
    at: usize,
    stopped: Option<(u64, NotAFrame)>,
}

impl<'a> Frames<'a> {
    pub(crate) fn of(bytes: &'a [u8], id: SegmentId, geometry: Geometry, seed: Seed) -> Frames<'a> {
        Frames { bytes, id, geometry, seed, at: 0, stopped: None }
    }

    /// Where the walk ended before the end of the file, and why.
    pub(crate) fn stopped(&self) -> Option<(u64, NotAFrame)> {
        self.stopped
    }

    fn open(&self) -> Result<Frame<'a>, NotAFrame> {
        let bytes = &self.bytes[self.at..];
        match self.id {
            SegmentId::Journal(number) => {
                let lsn = self.geometry.segment_start(number).plus(self.at as u64);
                let room = self.geometry.room_to_lap(lsn) as usize;
                frame::open_at(&bytes[..room.min(bytes.len())], lsn, self.seed)
            }
            SegmentId::Survivor(_) => frame::open(bytes, self.seed),
        }
    }

    fn after(&self, frame: &Frame<'_>) -> usize {
        let end = self.at + frame.extent() as usize;
        let SegmentId::Journal(number) = self.id else { return end };
        let start = self.geometry.segment_start(number);
        let next = match frame.header.kind {
            Kind::Padding => {
                let lsn = start.plus(self.at as u64);
                lsn.plus(self.geometry.room_to_lap(lsn))
            }
            _ => normalise(self.geometry, start.plus(end as u64)),
        };
        next.since(start) as usize
    }
}

impl<'a> Iterator for Frames<'a> {
    /// (place, frame)
    type Item = (u32, Frame<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() || self.stopped.is_some() {
            return None;
        }
        match self.open() {
            Ok(frame) => {
                let place = self.at as u32;
                self.at = self.after(&frame);
                Some((place, frame))
            }
            Err(reason) => {
                self.stopped = Some((self.at as u64, reason));
                None
            }
        }
    }
}

/// The address of a place in a segment, for messages; survivors have none of their own.
pub(crate) fn address(id: SegmentId, geometry: Geometry, place: u64) -> Lsn {
    match id {
        SegmentId::Journal(number) => geometry.segment_start(number).plus(place),
        SegmentId::Survivor(_) => Lsn(0),
    }
}
