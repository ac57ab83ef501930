//! What the clock brings about, and deleting: ids that count no more are forgotten, a step at a time.

use super::super::decide::Emit;
use super::super::event::Event;
use super::super::queue::Queue;
use super::super::state::State;
use super::fact::Remembered;
use super::horizon::Horizon;
use super::id::EntryPoint;
use super::memory::Memory;
use crate::base::bounds::{DEDUP_IDS_PER_FACT_MAX, DEDUP_PURGED_PER_STEP_MAX};
use crate::base::log::LogId;
use crate::base::time::Timestamp;

impl Queue {
    fn ids_due(&self) -> Option<Timestamp> {
        self.ids.as_deref().and_then(|memory| memory.due(self.options.dedup))
    }
}

impl State {
    /// The log whose timer is that of exchanges too, which have none of their own: that of the first queue.
    pub(in crate::primitives::queues) fn log_of_exchanges(&self) -> Option<LogId> {
        self.queues.values().find(|queue| !queue.is_retired).map(|queue| queue.notes.log)
    }

    /// When the tick of a queue by the wall clock is to forget ids.
    pub(in crate::primitives::queues) fn ids_due(&self, queue: &Queue) -> Option<Timestamp> {
        // Where nothing is remembered the exchanges need not be looked at.
        let is_first = self.shared.ids > 0 && self.log_of_exchanges() == Some(queue.notes.log);
        let memories = self.exchanges.memories().filter(|_| is_first);
        let of_exchanges = memories.filter_map(|(_, memory, horizon)| memory.due(horizon));
        of_exchanges.chain(queue.ids_due()).min()
    }

    /// Forgets a step of what is due with the tick of a queue; tells how many.
    pub(in crate::primitives::queues) fn forget_due(&self, queue: &Queue, now: Timestamp, emit: Emit<'_, '_>) -> u64 {
        let mut forgotten = 0;
        if queue.ids_due().is_some_and(|due| due <= now) {
            let (entry, memory) = (EntryPoint::Queue(queue.number), queue.ids.as_deref().expect("its ids are due"));
            forgotten += forget_past(entry, memory, queue.options.dedup, now, emit);
        }
        if self.log_of_exchanges() == Some(queue.notes.log) {
            let is_due = |memory: &Memory, horizon| memory.due(horizon).is_some_and(|due| due <= now);
            let due = self.exchanges.memories().filter(|(_, memory, horizon)| is_due(memory, *horizon));
            for (exchange, memory, horizon) in due {
                forgotten += forget_past(EntryPoint::Exchange(exchange), memory, horizon, now, emit);
            }
        }
        forgotten
    }
}

/// An entry point is given another amount: what does not count by the old or by the new one is forgotten with it, and
/// does not come to count again when the amount grows.
pub(in crate::primitives::queues) fn forget_by_change(
    state: &State,
    entry: EntryPoint,
    [old, new]: [Horizon; 2],
    now: Timestamp,
    emit: Emit<'_, '_>,
) {
    let Some(memory) = state.memory(entry).filter(|_| old != new) else { return };
    let past = memory.past(old, now, 0, usize::MAX).max(memory.past(new, now, 0, usize::MAX));
    if past > 0 {
        let (first, from) = memory.ends();
        emit(Event::Remembered(Remembered { entry, at: now, from, keep: first + past, ids: Vec::new() }));
    }
}

fn forget_past(entry: EntryPoint, memory: &Memory, horizon: Horizon, now: Timestamp, emit: Emit<'_, '_>) -> u64 {
    let past = memory.past(horizon, now, 0, DEDUP_IDS_PER_FACT_MAX);
    let (first, end) = memory.ends();
    emit(Event::Remembered(Remembered { entry, at: now, from: end, keep: first + past, ids: Vec::new() }));
    past
}

/// Forgets a step of what something deleted remembers; `None` if nothing is left.
pub(in crate::primitives::queues) fn forget_step(state: &State, entry: EntryPoint, emit: Emit<'_, '_>) -> Option<()> {
    let memory = state.memory(entry).filter(|memory| memory.len() > 0)?;
    let (first, from) = memory.ends();
    let keep = match memory {
        Memory::Window(_) => first + DEDUP_PURGED_PER_STEP_MAX,
        Memory::Living(living) => living.first_in_use() + DEDUP_PURGED_PER_STEP_MAX,
    };
    emit(Event::Remembered(Remembered { entry, at: Timestamp(0), from, keep, ids: Vec::new() }));
    Some(())
}
