//! Models for loom: the engine's own code on a journal so small that loom can try every order of its steps, up to a
//! number of preemptions. `cargo xtask loom` runs them as they are, and with each planted bug, which they must find.
//!
//! What loom sees: every mutex, atomic and event (through `base::sync`), and the bytes of ring and segments (through
//! watched maps). A wake that is lost is a deadlock to it, for it knows no time.

mod commit;
mod disk;
mod lending;
mod line;
mod retire;
mod ring;
mod wake;
mod watched;

use crate::base::lsn::{Geometry, Lsn};
use crate::base::segment_id::SegmentId;
use crate::base::sync::Arc;
use crate::journal::commit::Commit;
use crate::journal::marks::Marks;
use crate::journal::tail::Blocked;
use crate::journal::tail::{Grant, Placed, Start, Tail};
use crate::storage::disk::Map;
use crate::storage::frame::{Kind, Seed};
use crate::storage::ring::Ring;
use crate::storage::segment::{Segments, path};

use disk::{ModelDisk, ModelFile};

const RING_BYTES: u64 = 256;
const SEGMENT_BYTES: u64 = 1024;

/// Bytes of a frame as [`append`] makes it.
const FRAME_BYTES: u64 = 64;

/// Where the journal of a model begins: in the middle of a segment and of a lap.
const START: Lsn = Lsn(SEGMENT_BYTES + RING_BYTES / 2);

const DATABASE_ID: [u8; 16] = *b"a modelled store";

fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Both ends of a journal with one segment.
struct Journal {
    tail: Tail,
    marks: Arc<Marks>,
    commit: Commit,
    segment: Arc<ModelFile>,
}

impl Journal {
    fn new() -> Journal {
        let geometry = Geometry::tiny(RING_BYTES, SEGMENT_BYTES);
        let disk = Arc::new(ModelDisk::new());
        let segment = disk.put(&path(SegmentId::Journal(1)), SEGMENT_BYTES as usize);
        let segments = Arc::new(Segments::new(disk, geometry));
        let marks = Arc::new(Marks::new(START, Lsn(SEGMENT_BYTES * 8), START, 0));
        let ring = Arc::new(Ring::new(Map::watched(RING_BYTES as usize), geometry));
        let start = Start { at: START, came_from: START, previous: 0, epoch: 1 };
        let tail = Tail::new(start, DATABASE_ID, ring.clone(), marks.clone());
        Journal { tail, commit: Commit::new(ring, segments, marks.clone()), marks, segment }
    }
}

fn append(tail: &mut Tail) -> Result<Placed, Blocked> {
    let fill = |lsn: Lsn, payload: &mut [u8]| payload.fill(lsn.0 as u8);
    tail.append(Grant::Publish, Kind::Events, 0, FRAME_BYTES as usize - crate::storage::frame::HEADER_BYTES, fill)
}

fn seed() -> Seed {
    Seed::new(&DATABASE_ID)
}

/// Whatever lies below `written` is whole in the segment.
fn read_written(segment: &ModelFile, written: Lsn) {
    let mut at = START;
    while at < written {
        let place = (at.0 % SEGMENT_BYTES) as usize;
        let bytes = segment.load(place, (written.0 - at.0) as usize);
        let frame = crate::storage::frame::open_at(&bytes, at, seed()).expect("a frame below `written` is whole");
        assert!(frame.payload.iter().all(|byte| *byte == at.0 as u8), "the frame at {at} is another's");
        at = at.plus(frame.extent());
    }
}
