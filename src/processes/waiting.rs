//! A place in the line of those who wait for records of a log of this process's engine.

use crate::base::log::LogId;
use crate::base::sync::{Arc, EventListener, wait_listener};
use crate::engine::Engine;
use crate::engine::fault::Fault;
use crate::primitives::Primitives;

/// Leaves the line when dropped.
pub(super) struct Waiting {
    pub(super) listener: EventListener,
    _place: Place,
}

struct Place {
    engine: Arc<Engine<Primitives>>,
    log: LogId,
}

impl Waiting {
    /// `None` if there is something to read already.
    pub(super) fn begin(engine: &Arc<Engine<Primitives>>, log: LogId, from: u64) -> Result<Option<Waiting>, Fault> {
        let registered = engine.wait_for(log, from)?;
        let place = || Place { engine: engine.clone(), log };
        Ok(registered.map(|(_, listener)| Waiting { listener, _place: place() }))
    }

    pub(super) fn sleep(self, micros: Option<u64>) {
        let Waiting { listener, _place } = self;
        wait_listener(listener, micros);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.engine.stop_waiting(self.log);
    }
}
