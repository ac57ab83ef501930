//! Names of simulated files and folders: as the running machine sees them, and as the device holds them.
//!
//! Changes become durable in any order, with two exceptions. A change that concerns the same file, the same name or the
//! folder of an earlier one cannot be durable without it; and each change is atomic, so that a renamed file is found
//! under the old name or the new one.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Folder,
    File(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Add { path: String, entry: Entry },
    Rename { from: String, to: String, entry: Entry },
    Remove { path: String, entry: Entry },
}

impl Change {
    fn paths(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Change::Add { path, .. } | Change::Remove { path, .. } => (path, None),
            Change::Rename { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(first).chain(second).map(String::as_str)
    }

    fn entry(&self) -> Entry {
        match self {
            Change::Add { entry, .. } | Change::Rename { entry, .. } | Change::Remove { entry, .. } => *entry,
        }
    }

    fn touches(&self, folder: &str) -> bool {
        self.paths().any(|path| folder_of(path) == folder)
    }

    fn needs(&self, earlier: &Change) -> bool {
        let same_file = self.entry() == earlier.entry() && self.entry() != Entry::Folder;
        let inside = |folder: &str, path: &str| earlier.entry() == Entry::Folder && is_below(path, folder);
        same_file || earlier.paths().any(|old| self.paths().any(|new| old == new || inside(old, new)))
    }
}

#[derive(Clone, Default, Debug)]
pub(super) struct Names {
    live: BTreeMap<String, Entry>,
    durable: BTreeMap<String, Entry>,
    /// `live` is `durable` with these applied in order.
    pending: Vec<Change>,
}

impl Names {
    pub(super) fn get(&self, path: &str) -> Option<Entry> {
        if path.is_empty() { Some(Entry::Folder) } else { self.live.get(path).copied() }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.live.iter().filter_map(|(path, entry)| match entry {
            Entry::File(inode) => Some((path.as_str(), *inode)),
            Entry::Folder => None,
        })
    }

    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        self.live.iter().filter(|(_, entry)| **entry == Entry::Folder).map(|(path, _)| path.as_str())
    }

    pub(super) fn add(&mut self, path: &str, entry: Entry) {
        self.change(Change::Add { path: path.to_owned(), entry });
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if from != to {
            let entry = self.live[from];
            self.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), entry });
        }
    }

    pub(super) fn remove(&mut self, path: &str) {
        let entry = self.live[path];
        self.change(Change::Remove { path: path.to_owned(), entry });
    }

    /// Changes in `folder` become durable, with the earlier ones that they need.
    pub(super) fn sync(&mut self, folder: &str) {
        let mut kept: Vec<Change> = Vec::new();
        let mut rest: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.pending).into_iter().rev() {
            if change.touches(folder) || kept.iter().any(|later| later.needs(&change)) {
                kept.push(change);
            } else {
                rest.push(change);
            }
        }
        kept.iter().rev().for_each(|change| apply(&mut self.durable, change));
        rest.reverse();
        self.pending = rest;
    }

    /// After a power cut there are the durable names, and those changes that `keep` chooses as far as they make sense.
    pub(super) fn cut_power(&mut self, mut keep: impl FnMut() -> bool) {
        let mut gone: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            if gone.iter().any(|earlier| change.needs(earlier)) || !keep() {
                gone.push(change);
            } else {
                apply(&mut self.durable, &change);
            }
        }
        self.live = self.durable.clone();
    }

    /// Makes everything durable and forgets one name, as if by someone with the device in another machine.
    pub(super) fn erase(&mut self, path: &str) {
        self.live.remove(path);
        self.pending.clear();
        self.durable = self.live.clone();
    }

    /// Files that some crash or the running machine could still find.
    pub(super) fn reachable(&self) -> BTreeSet<u64> {
        let pending = self.pending.iter().map(Change::entry);
        let held = self.live.values().chain(self.durable.values()).copied();
        held.chain(pending)
            .filter_map(|entry| if let Entry::File(inode) = entry { Some(inode) } else { None })
            .collect()
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.live, &change);
        self.pending.push(change);
    }
}

fn apply(table: &mut BTreeMap<String, Entry>, change: &Change) {
    match change {
        Change::Add { path, entry } => {
            table.insert(path.clone(), *entry);
        }
        Change::Rename { from, to, entry } => {
            table.remove(from);
            table.insert(to.clone(), *entry);
        }
        Change::Remove { path, .. } => {
            table.remove(path);
        }
    }
}

/// "" for the directory itself.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
