//! What the events decided so far in one frame would change.
//!
//! The overlay copies what a fact changes and leaves the state alone; dropping it undoes everything. A frame with one
//! command never fills it, and reading through an empty one costs one test for `None`.

use super::command::StreamHandle;
use super::event::{Event, Span};
use super::groups;
use super::producers;
use super::state::{Cells, Counters, Head, Map, Partition, State, make_true};
use crate::base::log::LogId;
use crate::base::lsn::Lsn;

/// What the events decided so far in one frame would change; empty by default.
#[derive(Default)]
pub(crate) struct Overlay(Option<Box<Changes>>);

/// The address of a frame that is still being decided. Nothing that is decided rests on it.
const NOT_WRITTEN: Lsn = Lsn(u64::MAX);

/// Copies of what changed, and the rest as the state has it.
struct Changes {
    counters: Counters,
    log_count: usize,
    names: Map<Box<str>, Option<u32>>,
    /// By slot; `None` is a slot that was left and not taken again.
    heads: Map<u32, Option<Head>>,
    partitions: Map<LogId, Partition>,
    /// Slots taken beyond those that were left here, and slots left here: the stack of the state's free slots, ahead.
    taken: usize,
    left: Vec<u32>,
    producers: producers::Changes,
    groups: groups::Changes,
}

impl Overlay {
    /// Makes a fact true here.
    pub(crate) fn foresee(&mut self, state: &State, event: &Event<'_>) {
        let changes = self.0.get_or_insert_with(|| Box::new(Changes::none(state)));
        make_true(&mut Layer { state, changes }, event, NOT_WRITTEN);
    }
}

impl Changes {
    fn none(state: &State) -> Changes {
        Changes {
            counters: state.counters(),
            log_count: state.log_count(),
            names: Map::default(),
            heads: Map::default(),
            partitions: Map::default(),
            taken: 0,
            left: Vec::new(),
            producers: producers::Changes::default(),
            groups: groups::Changes::default(),
        }
    }
}

/// The state with an overlay that can be told facts.
struct Layer<'a> {
    state: &'a State,
    changes: &'a mut Changes,
}

impl Cells for Layer<'_> {
    fn partition_mut(&mut self, log: LogId) -> &mut Partition {
        let stored = || self.state.of_log(log).map(|(_, partition)| *partition).unwrap_or_default();
        self.changes.partitions.entry(log).or_insert_with(stored)
    }

    fn head_mut(&mut self, span: &Span) -> &mut Head {
        let slot = View { state: self.state, changes: Some(self.changes) }.slot_of(span);
        let stored = || self.state.at(slot).map(|stream| stream.head.clone());
        self.changes.heads.entry(slot).or_insert_with(stored).as_mut().expect("a stream's slot is taken")
    }

    fn counters_mut(&mut self) -> &mut Counters {
        &mut self.changes.counters
    }

    fn open(&mut self, head: Head) {
        let slot = View { state: self.state, changes: Some(self.changes) }.next_slot();
        if self.changes.left.pop().is_none() {
            self.changes.taken += 1;
        }
        self.changes.log_count += head.partitions() as usize;
        self.changes.names.insert(head.name.clone(), Some(slot));
        self.changes.heads.insert(slot, Some(head));
    }

    fn extend(&mut self, span: &Span, since: Lsn) {
        self.changes.log_count += span.partitions as usize;
        self.head_mut(span).add(*span, since);
    }

    fn close(&mut self, span: &Span) {
        let slot = View { state: self.state, changes: Some(self.changes) }.slot_of(span);
        self.changes.log_count -= span.partitions as usize;
        let head = self.head_mut(span);
        if head.remove(span) {
            return;
        }
        let name = head.name.clone();
        self.changes.names.insert(name, None);
        self.changes.heads.insert(slot, None);
        self.changes.left.push(slot);
    }

    fn producers(&mut self) -> impl producers::Cells {
        producers::Layer { stored: self.state.producers(), changes: &mut self.changes.producers }
    }

    fn groups(&mut self) -> impl groups::Cells {
        groups::Layer { stored: self.state.groups(), changes: &mut self.changes.groups }
    }
}

/// The state as it stands with an overlay applied.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    state: &'a State,
    changes: Option<&'a Changes>,
}

impl<'a> View<'a> {
    #[inline]
    pub(super) fn new(state: &'a State, overlay: &'a Overlay) -> View<'a> {
        View { state, changes: overlay.0.as_deref() }
    }

    #[inline]
    fn at(&self, slot: u32) -> Option<&'a Head> {
        match self.changes.and_then(|changes| changes.heads.get(&slot)) {
            Some(changed) => changed.as_ref(),
            None => self.state.at(slot).map(|stream| &stream.head),
        }
    }

    /// The stream, unless it was deleted since the handle was made, or has another slot in this life.
    #[inline]
    pub(super) fn head(&self, handle: StreamHandle) -> Option<&'a Head> {
        self.at(handle.slot).filter(|head| head.mappings.stream() == handle.id)
    }

    /// The handle that the stream has in this life; `None` if it was deleted.
    pub(super) fn renewed(&self, handle: StreamHandle) -> Option<StreamHandle> {
        if self.head(handle).is_some() {
            return Some(handle);
        }
        let renewed = StreamHandle { slot: self.state.slot_of_id(handle.id)?, ..handle };
        self.head(renewed).map(|_| renewed)
    }

    pub(super) fn find(&self, name: &str) -> Option<(StreamHandle, &'a Head)> {
        let slot = match self.changes.and_then(|changes| changes.names.get(name)) {
            Some(changed) => (*changed)?,
            None => self.state.slot_of_name(name)?,
        };
        self.at(slot).map(|head| (head.handle(slot), head))
    }

    /// A partition of the stream in `slot`, by its index, which is in range.
    #[inline(always)]
    pub(super) fn partition(&self, slot: u32, head: &Head, partition: u32) -> Partition {
        let Some(changes) = self.changes else {
            return self.state.at(slot).expect("a stream's slot is taken").partitions[partition as usize];
        };
        let log = head.log(partition);
        let stored = || self.stored(log).unwrap_or_default();
        changes.partitions.get(&log).copied().unwrap_or_else(stored)
    }

    /// The partition that a log is, with the stream it belongs to, where this frame has changed neither.
    pub(super) fn unchanged(&self, log: LogId) -> Option<(&'a Head, Partition)> {
        let place = self.state.place(log)?;
        let is_changed = |c: &Changes| c.heads.contains_key(&place.slot) || c.partitions.contains_key(&log);
        if self.changes.is_some_and(is_changed) {
            return None;
        }
        self.state.of_log(log).map(|(stream, partition)| (&stream.head, *partition))
    }

    /// Whether this frame appends to a stream.
    pub(super) fn has_appended(&self, head: &Head) -> bool {
        let Some(changes) = self.changes else { return false };
        let is_longer = |log| {
            let changed = changes.partitions.get(&log);
            changed.is_some_and(|changed| changed.end > self.stored(log).map_or(0, |stored| stored.end))
        };
        head.mappings.logs().any(is_longer)
    }

    /// The partition that a log is, as it was before this frame.
    pub(super) fn stored(&self, log: LogId) -> Option<Partition> {
        self.state.of_log(log).map(|(_, partition)| *partition)
    }

    pub(super) fn producers(&self) -> producers::View<'a> {
        producers::View { stored: self.state.producers(), changes: self.changes.map(|changes| &changes.producers) }
    }

    pub(super) fn groups(&self) -> groups::View<'a> {
        groups::View { stored: self.state.groups(), changes: self.changes.map(|changes| &changes.groups) }
    }

    pub(super) fn counters(&self) -> Counters {
        self.changes.map_or(self.state.counters(), |changes| changes.counters)
    }

    pub(super) fn log_count(&self) -> usize {
        self.changes.map_or(self.state.log_count(), |changes| changes.log_count)
    }

    /// The slot that the next stream will take, here and, once these events are applied, in the state.
    pub(super) fn next_slot(&self) -> u32 {
        match self.changes {
            None => self.state.slot_ahead(0),
            Some(changes) => changes.left.last().copied().unwrap_or_else(|| self.state.slot_ahead(changes.taken)),
        }
    }

    /// The stream with this id, and its slot.
    pub(super) fn by_id(&self, stream: u64) -> Option<(u32, &'a Head)> {
        let is_it = |head: &Option<Head>| head.as_ref().is_some_and(|head| head.mappings.stream() == stream);
        let changed = self.changes.and_then(|changes| changes.heads.iter().find(|(_, head)| is_it(head)));
        let slot = changed.map(|(slot, _)| *slot).or_else(|| self.state.slot_of_id(stream))?;
        self.at(slot).filter(|head| head.mappings.stream() == stream).map(|head| (slot, head))
    }

    fn slot_of(&self, span: &Span) -> u32 {
        self.by_id(span.stream).expect("a stream that a fact names exists").0
    }
}
