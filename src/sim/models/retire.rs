//! A segment is retired while a reader searches, opens and reads it.

use super::check;
use super::disk::ModelDisk;
use crate::base::lsn::Geometry;
use crate::base::segment_id::SegmentId;
use crate::base::sync::{Arc, Mutex};
use crate::engine::read::{search_again, unopened};
use crate::storage::disk::File;
use crate::storage::segment::{SegmentFile, Segments, path};

const OLD: SegmentId = SegmentId::Survivor(1);
const NEW: SegmentId = SegmentId::Survivor(2);

struct Store {
    disk: Arc<ModelDisk>,
    segments: Segments,
    /// Where the one record lies: what the index says.
    run: Mutex<SegmentId>,
}

impl Store {
    fn new() -> Arc<Store> {
        let disk = Arc::new(ModelDisk::new());
        disk.put(&path(OLD), 64).write(0, b"a record").expect("nothing fails");
        let segments = Segments::new(disk.clone(), Geometry::tiny(super::RING_BYTES, super::SEGMENT_BYTES));
        Arc::new(Store { disk, segments, run: Mutex::new(OLD) })
    }

    fn read(&self) {
        let opened = search_again(|| {
            let run = *self.run.lock();
            self.segments.get(run).map(Some).map_err(|error| unopened(self.segments.geometry(), run, error))
        });
        let segment: SegmentFile = opened.expect("the record is somewhere at any time");
        assert_eq!(segment.map.load(0, 8), b"a record");
    }

    /// The index has the survivor before the old segment goes.
    fn clean(&self) {
        self.disk.put(&path(NEW), 64).write(0, b"a record").expect("nothing fails");
        *self.run.lock() = NEW;
        self.segments.retire(OLD).expect("nothing fails");
    }
}

#[test]
fn loom_retire_under_a_reader() {
    check(3, || {
        let store = Store::new();
        let reader = store.clone();
        let reader = loom::thread::spawn(move || reader.read());
        store.read();
        store.clean();
        reader.join().expect("the reader ends");
        assert!(!store.segments.is_open(OLD), "a retired segment stays open for ever");
    });
}
