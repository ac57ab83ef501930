//! What was written of messages and notes, to be read again as the engine reads it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::command::{Command, Outcome, QueueNumber};
use super::super::event::Event;
use super::super::history::History;
use super::super::sent::read_messages;
use super::world::World;
use crate::base::bounds::FREEZE_CHUNK;
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::engine::machine::{Found, LogAppend, LogChange, Unfound};
use crate::journal::entry::Entry;

/// Items by log and first offset.
#[derive(Default)]
pub(super) struct Items {
    by_log: BTreeMap<(LogId, u64), Found>,
    /// Records that cannot be read.
    pub(super) damaged: Vec<(LogId, u64)>,
}

impl Items {
    pub(super) fn take(&mut self, event: &Event<'_>, bytes: &[u8]) {
        let mut keep = |append: LogAppend| {
            let LogAppend { log, first, count, timestamp, .. } = append;
            let entry = Entry { log, first, count, timestamp, expiry: 0 };
            self.by_log.insert((log, first), Found { item: Bytes::copy_from_slice(bytes), entry });
        };
        if let LogChange::Append(append) = event.log_change() {
            keep(append);
        }
        event.appends(&mut keep);
    }

    fn read(&self, log: LogId, offset: u64) -> Result<Found, Unfound> {
        if self.damaged.contains(&(log, offset)) {
            return Err(Unfound::Damaged);
        }
        let (_, found) = self.by_log.range((log, 0)..=(log, offset)).next_back().ok_or(Unfound::Damaged)?;
        (offset < found.entry.end()).then(|| found.clone()).ok_or(Unfound::Damaged)
    }

    /// Body of a message, and what it says of what became of it.
    fn message(&self, log: LogId, offset: u64) -> (String, Option<History>) {
        let Found { item, entry } = self.read(log, offset).expect("it was written");
        let mut messages = read_messages(&item, &entry).expect("an item of messages");
        let message = messages.nth((offset - entry.first) as usize).expect("it is in the item").expect("it is read");
        let body = String::from_utf8(message.record.body.expect("it has one").to_vec()).expect("a text");
        (body, message.attributes.history.map(|history| History::decode(history).expect("it was written by us")))
    }
}

impl World {
    /// Does a step of what a timer wants to have read, as the engine does; tells whether there was any.
    pub(super) fn run_errand(&mut self, key: RowKey) -> bool {
        let Some(errand) = self.state.errand(key) else { return false };
        let (items, is_sync) = (std::mem::take(&mut self.items), std::mem::replace(&mut self.is_sync, false));
        let (logs, durable) = (&self.logs, self.durable);
        let shown: BTreeMap<LogId, u64> = {
            let of_log = |log: &LogId| (*log, logs.get(*log).map_or(0, |cell| cell.shown(durable)));
            self.state.logs.keys().map(of_log).collect()
        };
        let mut read = |log, offset| match shown.get(&log) {
            Some(shown) if offset < *shown => items.read(log, offset),
            _ => Err(Unfound::NotYet),
        };
        let mut outcome = None;
        errand.run(&mut read, &mut |command: &Command<'_>| outcome = Some(self.submit(command)));
        let new = std::mem::replace(&mut self.items, items);
        self.items.by_log.extend(new.by_log);
        self.is_sync = is_sync;
        match outcome {
            Some(outcome) => assert!(matches!(outcome, Outcome::Accept(_)), "{outcome:?}"),
            // It is seen at the latest once all that was written is durable.
            None => {
                assert!(self.durable < self.next_frame, "letters that nobody may see are on their way to the disk");
                self.durable = self.next_frame;
            }
        }
        true
    }

    /// What messages that wait say of what became of them, by priority and offset.
    pub(super) fn histories(&self, queue: QueueNumber) -> Vec<((u8, u64), History)> {
        let queue = self.state.get(queue).expect("a queue of the world");
        let (mut histories, mut after) = (Vec::new(), None);
        loop {
            let waiting = queue.waiting_behind(after, FREEZE_CHUNK, &|lane| lane.end);
            let Some(last) = waiting.last() else { return histories };
            after = Some((last.priority, last.place.offset));
            for message in waiting {
                let (_, history) = self.items.message(message.log, message.place.offset);
                histories.extend(history.map(|history| ((message.priority, message.place.offset), history)));
            }
        }
    }

    /// Bodies of what waits in a queue, the higher priority first, then by sequence.
    pub(super) fn bodies(&self, queue: QueueNumber) -> Vec<String> {
        let waiting =
            self.state.get(queue).expect("a queue of the world").waiting_behind(None, usize::MAX, &|lane| lane.end);
        waiting.iter().map(|message| self.items.message(message.log, message.place.offset).0).collect()
    }
}
