//! How facts change memories, which rows they change, and when that wants a tick.

use super::super::event::Run;
use super::super::lane::{Lane, LaneNumber, sequence};
use super::super::queue::{Queue, Shared};
use super::super::state::State;
use super::fact::Remembered;
use super::id::EntryPoint;
use super::living::Living;
use super::memory::Memory;
use super::rows::{id_row, told_row};
use crate::base::bounds::DEDUP_IDS_PER_ROW;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::sync::Arc;

impl State {
    /// Makes a fact of the frame at `lsn` true. One of an entry point that is not there, or remembers nothing, is of
    /// damage, and changes nothing.
    pub(in crate::primitives::queues) fn apply_remembered(&mut self, fact: &Remembered, lsn: Lsn) {
        let memory = match fact.entry {
            EntryPoint::Queue(queue) => self.queues.get_mut(&queue).and_then(|queue| queue.ids.as_mut()),
            EntryPoint::Exchange(exchange) => Arc::make_mut(&mut self.exchanges).memory_mut(exchange),
        };
        let Some(memory) = memory.map(Arc::make_mut) else { return };
        self.shared.ids -= memory.len();
        memory.apply(fact, lsn);
        self.shared.ids += memory.len();
    }

    /// Names the rows that the fact changes. To be asked before it is applied.
    pub(in crate::primitives::queues) fn touch_remembered(&self, fact: &Remembered, visit: &mut dyn FnMut(RowKey)) {
        let Some(memory) = self.memory(fact.entry) else { return };
        let mut visit_rows = |from: u64, end: u64| {
            for row in from / DEDUP_IDS_PER_ROW..end.div_ceil(DEDUP_IDS_PER_ROW) {
                visit(id_row(fact.entry, row * DEDUP_IDS_PER_ROW));
            }
        };
        let count = fact.ids.len() as u64;
        match memory {
            Memory::Window(window) => {
                let end = fact.from.saturating_add(count);
                // Of damage; nothing is beyond what is there.
                let keep = fact.keep.clamp(window.first(), window.end());
                visit_rows(window.first(), if keep > window.first() { keep + 1 } else { keep });
                visit_rows(fact.from, end);
            }
            Memory::Living(living) => {
                visit_rows(0, u64::from(living.slots()).min(fact.keep));
                let freed = 0..u64::from(living.slots()).min(fact.keep);
                let taken = freed.chain(living.next_slots().map(u64::from)).take(fact.ids.len());
                taken.for_each(|slot| visit_rows(slot, slot + 1));
            }
        }
        if count > 0 {
            visit(told_row(fact.entry));
        }
    }

    /// Names the rows of ids that go with their messages, where these go that stand in stretches of lanes.
    pub(in crate::primitives::queues) fn touch_ids(&self, queue: &Queue, runs: &[Run], visit: &mut dyn FnMut(RowKey)) {
        let Some(living) = queue.living() else { return };
        let entry = EntryPoint::Queue(queue.number);
        for run in runs {
            let Some(lane) = queue.lane(run.lane) else { continue };
            let slots = living.slots_of(sequences(lane, run.first, run.first.saturating_add(run.count)));
            slots.into_iter().for_each(|slot| visit(id_row(entry, u64::from(slot))));
        }
    }

    /// Names the log whose timer may be due earlier now that the fact is true.
    pub(in crate::primitives::queues) fn hastened_by(&self, fact: &Remembered, visit: &mut dyn FnMut(LogId)) {
        let count = fact.ids.len();
        // Others are older, and due before.
        if count == 0 || self.memory(fact.entry).is_none_or(|memory| memory.len() > count) {
            return;
        }
        match fact.entry {
            EntryPoint::Queue(queue) => self.queues.get(&queue).into_iter().for_each(|queue| visit(queue.notes.log)),
            EntryPoint::Exchange(_) => self.log_of_exchanges().into_iter().for_each(visit),
        }
    }
}

impl Queue {
    /// The ids of its living messages, if it remembers those.
    pub(in crate::primitives::queues) fn living(&self) -> Option<&Living> {
        match self.ids.as_deref() {
            Some(Memory::Living(living)) => Some(living),
            _ => None,
        }
    }

    /// A message lives no more: its id, if it has taken one, is free.
    pub(in crate::primitives::queues) fn free_id(&mut self, at: usize, offset: u64, shared: &mut Shared) {
        let sequence = sequence(self.lanes[at].priority, offset);
        if let Some(slot) = self.living().and_then(|living| living.slot_of(sequence)) {
            self.let_go_of_id(slot, shared);
        }
    }

    /// The same of all that are in line below this.
    pub(in crate::primitives::queues) fn free_ids_in_line(
        &mut self,
        lane: LaneNumber,
        cursor: u64,
        shared: &mut Shared,
    ) {
        let (Some(living), Some(lane)) = (self.living(), self.lane(lane)) else { return };
        let mut slots = living.slots_of(sequences(lane, lane.cursor, cursor));
        let offset = |slot: u32| living.get(slot).map_or(0, |known| super::super::place_of(known.value).1);
        slots.retain(|slot| lane.is_in_line(offset(*slot)));
        slots.into_iter().for_each(|slot| self.let_go_of_id(slot, shared));
    }

    fn let_go_of_id(&mut self, slot: u32, shared: &mut Shared) {
        if let Some(Memory::Living(living)) = self.ids.as_mut().map(Arc::make_mut) {
            living.let_go(slot);
            shared.ids -= 1;
        }
    }
}

/// The sequences of a lane's messages from one offset up to another.
fn sequences(lane: &Lane, from: u64, end: u64) -> std::ops::Range<u64> {
    let end = end.min(lane.end);
    sequence(lane.priority, from.min(end))..sequence(lane.priority, 0) + end
}
