//! Which objects have changed since the checkpoint, and what their newest facts rest on.
//!
//! A checkpoint *freezes* in O(1): the list of changed objects is taken and the generation grows by one. A frozen
//! object is encoded by the keeper, a chunk at a time, or at its next change, whichever comes first: either way its
//! row is the one it had at the freeze.
//!
//! Invariant: an object is in `dirty` exactly if its mark carries the current generation; it is frozen and not yet
//! encoded exactly if its mark carries the frozen generation.

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::hinted::HintedMap;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;

/// What is known of one changed object.
#[derive(Clone, Copy, Debug)]
struct Mark {
    generation: u64,
    /// End of the last frame that touched it.
    last: Lsn,
    /// End of the last frame written for `Sync` that touched it.
    sync: Lsn,
}

/// A row as it goes into the index; `None` removes it.
pub(crate) type Row = (RowKey, Option<Vec<u8>>);

#[derive(Debug)]
struct Frozen {
    generation: u64,
    keys: Vec<RowKey>,
    rows: Vec<Row>,
}

/// The changed objects.
#[derive(Debug)]
pub(crate) struct Objects {
    generation: u64,
    marks: HintedMap<RowKey, Mark>,
    dirty: Vec<RowKey>,
    frozen: Option<Frozen>,
}

impl Objects {
    pub(crate) fn new() -> Objects {
        Objects { generation: 1, marks: HintedMap::default(), dirty: Vec::new(), frozen: None }
    }

    /// To be called for every object that an event changes, before it is applied. `row` encodes the object as it
    /// stands.
    #[inline]
    pub(crate) fn touch(&mut self, key: RowKey, end: Lsn, sync: bool, row: impl FnOnce() -> Option<Vec<u8>>) {
        let mark = self.marks.get_or_insert(key, Mark { generation: 0, last: end, sync: Lsn(0) });
        mark.last = end;
        if sync {
            mark.sync = end;
        }
        if mark.generation != self.generation {
            if let Some(frozen) = &mut self.frozen
                && mark.generation == frozen.generation
            {
                frozen.rows.push((key, row()));
            }
            mark.generation = self.generation;
            self.dirty.push(key);
        }
    }

    /// What a reply that reveals this object rests on: every frame, or only those written for `Sync`.
    pub(crate) fn rests_on(&self, key: RowKey, all: bool) -> Lsn {
        self.marks.get(&key).map_or(Lsn(0), |mark| if all { mark.last } else { mark.sync })
    }

    /// Objects changed and not yet in the index.
    pub(crate) fn changed(&self) -> usize {
        self.marks.len()
    }

    /// Begins a checkpoint: what is dirty now will be in it, as it is now.
    pub(crate) fn freeze(&mut self) {
        assert!(self.frozen.is_none(), "two checkpoints at once");
        let keys = std::mem::take(&mut self.dirty);
        self.frozen = Some(Frozen { generation: self.generation, keys, rows: Vec::new() });
        self.generation += 1;
    }

    /// Encodes up to `max` frozen objects. Tells whether more are left.
    pub(crate) fn encode_frozen(&mut self, max: usize, mut row: impl FnMut(RowKey) -> Option<Vec<u8>>) -> bool {
        let Some(frozen) = &mut self.frozen else { return false };
        for _ in 0..max {
            let Some(key) = frozen.keys.pop() else { break };
            let mark = self.marks.get_mut(&key).expect("a dirty object has a mark");
            if mark.generation == frozen.generation {
                frozen.rows.push((key, row(key)));
                mark.generation = 0;
            }
        }
        !frozen.keys.is_empty()
    }

    /// Takes the rows once all are encoded. They stay dirty until `forget` or `thaw`.
    pub(crate) fn take_rows(&mut self) -> Vec<Row> {
        let frozen = self.frozen.take().expect("rows are taken from a frozen checkpoint");
        assert!(frozen.keys.is_empty(), "rows taken before all were encoded");
        frozen.rows
    }

    /// The index has these objects now, up to the frames below `durable`: those unchanged since need no mark.
    pub(crate) fn forget(&mut self, keys: &[RowKey], durable: Lsn) {
        assert!(keys.len() <= FREEZE_CHUNK, "{} objects forgotten in one hold of the core lock", keys.len());
        for key in keys {
            if self.marks.get(key).is_some_and(|mark| mark.generation == 0 && mark.last <= durable) {
                self.marks.remove(key);
            }
        }
    }

    /// The index did not take these objects: they are dirty again.
    pub(crate) fn thaw(&mut self, keys: &[RowKey]) {
        assert!(keys.len() <= FREEZE_CHUNK, "{} objects thawed in one hold of the core lock", keys.len());
        for key in keys {
            if let Some(mark) = self.marks.get_mut(key)
                && mark.generation == 0
            {
                mark.generation = self.generation;
                self.dirty.push(*key);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ORDERS: RowKey = RowKey { kind: 3, id: 1 };
    const PAYMENTS: RowKey = RowKey { kind: 3, id: 2 };

    #[test]
    fn an_object_goes_into_the_checkpoint_as_it_was_at_the_freeze() {
        let mut objects = Objects::new();
        objects.touch(ORDERS, Lsn(8), false, || unreachable!());
        objects.touch(PAYMENTS, Lsn(16), false, || unreachable!());
        objects.freeze();
        objects.touch(ORDERS, Lsn(24), false, || Some(b"orders at the freeze".to_vec()));
        assert!(!objects.encode_frozen(10, |key| Some(format!("{key:?} later").into_bytes())));
        let mut rows = objects.take_rows();
        rows.sort();
        assert_eq!(rows[0], (ORDERS, Some(b"orders at the freeze".to_vec())));
        assert_eq!(rows[1].0, PAYMENTS);
        assert_eq!(rows.len(), 2);
        objects.forget(&[ORDERS, PAYMENTS], Lsn(100));
        assert_eq!(objects.changed(), 1, "orders changed again");
    }

    #[test]
    fn a_checkpoint_that_failed_leaves_its_objects_dirty() {
        let mut objects = Objects::new();
        objects.touch(ORDERS, Lsn(8), false, || None);
        objects.freeze();
        objects.encode_frozen(10, |_| None);
        objects.take_rows();
        objects.thaw(&[ORDERS]);
        objects.freeze();
        assert!(!objects.encode_frozen(10, |_| Some(vec![1])));
        assert_eq!(objects.take_rows(), [(ORDERS, Some(vec![1]))]);
    }

    #[test]
    fn a_reply_rests_on_the_sync_frames_or_on_all_of_them() {
        let mut objects = Objects::new();
        objects.touch(ORDERS, Lsn(8), true, || None);
        objects.touch(ORDERS, Lsn(16), false, || None);
        assert_eq!(objects.rests_on(ORDERS, false), Lsn(8));
        assert_eq!(objects.rests_on(ORDERS, true), Lsn(16));
        assert_eq!(objects.rests_on(PAYMENTS, true), Lsn(0));
    }
}
