//! What the events decided so far in one frame would change of groups. A group that changes is copied whole.

use std::collections::BTreeMap;

use super::state::{Cells, Clock, Group, Groups};

/// Copies of what changed; `None` went.
#[derive(Default)]
pub(crate) struct Changes {
    groups: BTreeMap<u64, Option<Group>>,
    clock: Option<Clock>,
}

/// The groups with changes that can be told facts.
pub(crate) struct Layer<'a> {
    pub(crate) stored: &'a Groups,
    pub(crate) changes: &'a mut Changes,
}

impl Cells for Layer<'_> {
    fn clock_mut(&mut self) -> &mut Clock {
        self.changes.clock.get_or_insert(*self.stored.clock())
    }

    fn group_mut(&mut self, number: u64) -> &mut Group {
        let stored = || self.stored.get(number).cloned();
        let changed = self.changes.groups.entry(number).or_insert_with(stored);
        changed.as_mut().expect("a group that a fact names exists")
    }

    fn open(&mut self, number: u64, group: Group) {
        self.changes.groups.insert(number, Some(group));
    }

    fn close(&mut self, number: u64) {
        self.changes.groups.insert(number, None);
    }
}

/// The groups as they stand with an overlay applied.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) stored: &'a Groups,
    pub(crate) changes: Option<&'a Changes>,
}

impl<'a> View<'a> {
    pub(crate) fn get(&self, number: u64) -> Option<&'a Group> {
        match self.changes.and_then(|changes| changes.groups.get(&number)) {
            Some(changed) => changed.as_ref(),
            None => self.stored.get(number),
        }
    }

    pub(crate) fn find(&self, stream: u64, name: &str) -> Option<u64> {
        let is_it = |group: &Group| group.stream == stream && *group.name == *name;
        let stored = self.stored.find(stream, name).filter(|number| self.get(*number).is_some());
        stored.or_else(|| self.came().find(|(_, group)| is_it(group)).map(|(number, _)| number))
    }

    /// Every group, in the order of their numbers: those of this frame have the last ones.
    pub(crate) fn all(self) -> impl Iterator<Item = (u64, &'a Group)> + use<'a> {
        let view = self;
        let stored = view.stored.starting_at(0).filter_map(move |(number, _)| Some((number, view.get(number)?)));
        stored.chain(view.came())
    }

    /// Those of a stream.
    pub(crate) fn of_stream(self, stream: u64) -> impl Iterator<Item = (u64, &'a Group)> + use<'a> {
        self.all().filter(move |(_, group)| group.stream == stream)
    }

    pub(super) fn clock(&self) -> &'a Clock {
        self.changes.and_then(|changes| changes.clock.as_ref()).unwrap_or(self.stored.clock())
    }

    /// The groups that came in this frame.
    fn came(self) -> impl Iterator<Item = (u64, &'a Group)> + use<'a> {
        let (stored, changed) = (self.stored, self.changes.into_iter().flat_map(|changes| &changes.groups));
        let new = changed.filter(move |(number, _)| stored.get(**number).is_none());
        new.filter_map(|(number, group)| Some((*number, group.as_ref()?)))
    }
}
