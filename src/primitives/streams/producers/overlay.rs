//! What the events decided so far in one frame would change of producers.

use std::collections::BTreeMap;

use super::rows::window_row;
use super::state::{Cells, Producer, Producers, Window};

/// Copies of what changed; `None` went.
#[derive(Default)]
pub(crate) struct Changes {
    producers: BTreeMap<u64, Option<Producer>>,
    /// By the id of their row.
    windows: BTreeMap<u64, Option<Window>>,
}

/// The producers with changes that can be told facts.
pub(crate) struct Layer<'a> {
    pub(crate) stored: &'a Producers,
    pub(crate) changes: &'a mut Changes,
}

impl Cells for Layer<'_> {
    fn contains(&self, number: u64) -> bool {
        View { stored: self.stored, changes: Some(self.changes) }.get(number).is_some()
    }

    fn producer_mut(&mut self, number: u64) -> &mut Producer {
        let stored = || self.stored.get(number).cloned();
        let changed = self.changes.producers.entry(number).or_insert_with(stored);
        changed.as_mut().expect("a producer that a fact names exists")
    }

    fn open(&mut self, number: u64, producer: Producer) {
        self.changes.producers.insert(number, Some(producer));
    }

    fn close(&mut self, number: u64) {
        self.changes.producers.insert(number, None);
    }

    fn window_mut(&mut self, row: u64) -> &mut Window {
        let stored = || self.stored.window_of_row(row).copied();
        self.changes.windows.entry(row).or_insert_with(stored).get_or_insert_default()
    }

    fn drop_window(&mut self, row: u64) {
        self.changes.windows.insert(row, None);
    }
}

/// The producers as they stand with an overlay applied.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) stored: &'a Producers,
    pub(crate) changes: Option<&'a Changes>,
}

impl<'a> View<'a> {
    pub(crate) fn get(&self, number: u64) -> Option<&'a Producer> {
        match self.changes.and_then(|changes| changes.producers.get(&number)) {
            Some(changed) => changed.as_ref(),
            None => self.stored.get(number),
        }
    }

    pub(crate) fn window(&self, number: u64, partition: u32) -> Option<&'a Window> {
        let row = window_row(number, partition).id;
        match self.changes.and_then(|changes| changes.windows.get(&row)) {
            Some(changed) => changed.as_ref(),
            None => self.stored.window_of_row(row),
        }
    }

    pub(crate) fn find(&self, stream: u64, name: &str) -> Option<u64> {
        let is_it = |producer: &Producer| producer.stream == stream && *producer.name == *name;
        let stored = self.stored.find(stream, name).filter(|number| self.get(*number).is_some());
        stored.or_else(|| self.added().find(|(_, producer)| is_it(producer)).map(|(number, _)| number))
    }

    /// The numbers of a stream's producers.
    pub(crate) fn of_stream(&self, stream: u64) -> Vec<u64> {
        let stored = self.stored.named(stream).map(|(_, number)| number).filter(|number| self.get(*number).is_some());
        let added = self.added().filter(|(_, producer)| producer.stream == stream).map(|(number, _)| number);
        stored.chain(added).collect()
    }

    /// Every producer, those that came in this frame last.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, &'a Producer)> {
        let view = *self;
        let stored = self.stored.starting_at(0).filter_map(move |(number, _)| Some((number, view.get(number)?)));
        stored.chain(self.added())
    }

    /// The partitions in which a producer has a window, in order.
    pub(crate) fn partitions_of(&self, number: u64) -> Vec<u32> {
        let first = window_row(number, 0).id;
        let mut partitions: Vec<u32> = self.stored.windows_of(number).map(|(partition, _)| partition).collect();
        if let Some(changes) = self.changes {
            let changed = changes.windows.range(first..window_row(number + 1, 0).id);
            partitions.extend(changed.map(|(row, _)| (row - first) as u32));
            partitions.sort_unstable();
            partitions.dedup();
            partitions.retain(|partition| self.window(number, *partition).is_some());
        }
        partitions
    }

    pub(crate) fn count(&self) -> usize {
        if self.changes.is_none() { self.stored.count() } else { self.all().count() }
    }

    pub(crate) fn window_count(&self) -> usize {
        let mut count = self.stored.window_count();
        for (row, changed) in self.changes.into_iter().flat_map(|changes| &changes.windows) {
            count = count + usize::from(changed.is_some()) - usize::from(self.stored.window_of_row(*row).is_some());
        }
        count
    }

    /// The producers that came in this frame.
    fn added(&self) -> impl Iterator<Item = (u64, &'a Producer)> {
        let (stored, changed) = (self.stored, self.changes.into_iter().flat_map(|changes| &changes.producers));
        let added = changed.filter(move |(number, _)| stored.get(**number).is_none());
        added.filter_map(|(number, producer)| Some((*number, producer.as_ref()?)))
    }
}
