//! Readers that wait for records, and those who wake them.
//!
//! A wake is never lost: a reader looks for what it waits for, and registers, in one hold of the core lock. Whoever
//! makes a record visible takes the core lock afterwards (to append it, to run the effect of `durable`, to close) and
//! wakes whoever is registered then.

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::sync::{Arc, Event, EventListener, Mutex};
use crate::journal::marks::Mark;

use super::logs::Logs;

/// What the core lock protects, as far as waiting readers are concerned.
pub(crate) trait HoldsLogs {
    fn logs(&mut self) -> &mut Logs;

    /// `None` if there is no such log.
    fn log_start(&self, log: LogId) -> Option<u64>;
}

/// Registers a wait for records at `offset`; `None` if there is something to see already. `check_alive` fails once
/// nobody will wake any more; whoever makes it fail takes the core lock afterwards and wakes all who are registered.
pub(crate) fn register<C: HoldsLogs, F>(
    core: &Mutex<C>,
    durable: &Mark,
    check_alive: impl Fn() -> Result<(), F>,
    log: LogId,
    offset: u64,
) -> Result<Option<(Arc<Event>, EventListener)>, F> {
    #[cfg(planted = "alive_before_lock")]
    check_alive()?;
    let mut held = core.lock();
    #[cfg(not(planted = "alive_before_lock"))]
    check_alive()?;
    // An effect that ran before has dropped the barrier that it released, one that runs later sees us.
    let start = held.log_start(log);
    let Some(cell) = held.logs().get_mut(log) else { return Ok(None) };
    if cell.visible_end(durable.get()) > offset || start.is_none_or(|start| start > offset) {
        return Ok(None);
    }
    #[cfg(planted = "registered_late")]
    let mut held = {
        drop(held);
        core.lock()
    };
    #[cfg(planted = "registered_late")]
    let Some(cell) = held.logs().get_mut(log) else { return Ok(None) };
    let event = cell.wait();
    let listener = event.listen();
    Ok(Some((event, listener)))
}

/// Wakes the readers of all logs of which `durable` released records, a chunk in each hold of the core lock.
pub(crate) fn reveal<C: HoldsLogs>(core: &Mutex<C>, durable: Lsn) {
    let mut wake = Vec::new();
    let mut more = true;
    while more {
        more = core.lock().logs().take_effects(durable, FREEZE_CHUNK, &mut wake);
        for event in wake.drain(..) {
            event.notify(usize::MAX);
        }
    }
}
