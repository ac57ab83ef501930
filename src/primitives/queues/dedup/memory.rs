//! What one entry point remembers.

use super::fact::Remembered;
use super::horizon::Horizon;
use super::id::{IdHash, Known};
use super::living::Living;
use super::window::Window;
use crate::base::lsn::Lsn;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;

/// The ids that an entry point remembers.
#[derive(Clone, Debug)]
pub(crate) enum Memory {
    Window(Window),
    Living(Living),
}

/// Copies that are made for several commands in one frame share it until one of them changes it.
pub(crate) type Shared = Option<Arc<Memory>>;

impl Memory {
    /// That of a new entry point.
    pub(in crate::primitives::queues) fn of(horizon: Horizon) -> Shared {
        match horizon {
            Horizon::None => None,
            Horizon::For { .. } | Horizon::Last { .. } => Some(Arc::new(Memory::Window(Window::default()))),
            Horizon::UntilSettled => Some(Arc::new(Memory::Living(Living::default()))),
        }
    }

    pub(in crate::primitives::queues) fn len(&self) -> usize {
        match self {
            Memory::Window(window) => window.len(),
            Memory::Living(living) => living.len(),
        }
    }

    /// What is remembered of an id, if it counts at this time, after `more` others will have come.
    pub(super) fn find(&self, hash: &IdHash, horizon: Horizon, now: Timestamp, more: u64) -> Option<&Known> {
        match self {
            Memory::Window(window) => {
                let (number, known) = window.find(hash)?;
                let counts = match horizon {
                    Horizon::For { micros } => !is_past(known, micros, now),
                    Horizon::Last { count } => number.saturating_add(count) >= window.end() + more,
                    Horizon::None | Horizon::UntilSettled => false,
                };
                counts.then_some(known)
            }
            Memory::Living(living) => living.find(hash).map(|(_, known)| known),
        }
    }

    /// How many of the oldest do not count any more once `more` others have come, up to `max`.
    pub(super) fn past(&self, horizon: Horizon, now: Timestamp, more: u64, max: usize) -> u64 {
        match (self, horizon) {
            (Memory::Window(window), Horizon::For { micros }) => {
                window.count_until(|known| is_past(known, micros, now), max) as u64
            }
            (Memory::Window(window), Horizon::Last { count }) => {
                (window.len() as u64 + more).saturating_sub(count).min(max as u64)
            }
            _ => 0,
        }
    }

    /// When a tick is to forget what does not count any more: an eighth of its time later, so that ticks are few.
    pub(super) fn due(&self, horizon: Horizon) -> Option<Timestamp> {
        let (Memory::Window(window), Horizon::For { micros }) = (self, horizon) else { return None };
        Some(Timestamp(window.oldest()?.at.0.saturating_add(micros).saturating_add(micros / 8)))
    }

    /// Where a fact begins that ids have come: numbers of those that come, and of the oldest.
    pub(super) fn ends(&self) -> (u64, u64) {
        match self {
            Memory::Window(window) => (window.first(), window.end()),
            Memory::Living(_) => (0, 0),
        }
    }

    /// Makes a fact of the frame at `lsn` true.
    pub(super) fn apply(&mut self, fact: &Remembered, lsn: Lsn) {
        let known = fact.ids.iter().map(|(hash, value)| Known { hash: *hash, at: fact.at, lsn, value: *value });
        match self {
            Memory::Window(window) => {
                window.push(fact.from, known);
                window.forget_below(fact.keep);
            }
            Memory::Living(living) => {
                for slot in 0..u64::from(living.slots()).min(fact.keep) as u32 {
                    living.let_go(slot);
                }
                known.for_each(|known| living.take(known));
            }
        }
    }
}

fn is_past(known: &Known, micros: u64, now: Timestamp) -> bool {
    known.at.0.saturating_add(micros) <= now.0
}
