//! Readers that wait for records, others that wait for a change of an object, and those who wake them.
//!
//! A wake is never lost: a reader looks for what it waits for, and registers, in one hold of the core lock. Whoever
//! makes a record visible takes the core lock afterwards (to append it, to run the effect of `durable`, to close) and
//! wakes whoever is registered then. With objects it is the same.

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::sync::{Arc, Event, EventListener, Mutex};
use crate::journal::marks::Mark;

use super::line::{Stand, Ticket};
use super::logs::Logs;
use super::watched::Watched;

/// What the core lock protects, as far as waiting readers are concerned.
pub(crate) trait HoldsLogs {
    fn logs(&mut self) -> &mut Logs;

    /// `None` if there is no such log.
    fn log_start(&self, log: LogId) -> Option<u64>;

    fn watched(&mut self) -> &mut Watched;
}

/// What somebody who looks at an object may be told.
pub(crate) enum Sight<T> {
    /// Nothing that they do not know.
    Nothing,
    /// This, which rests on what is below the address.
    Seen(T, Lsn),
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

/// Registers a wait for a change of an object; `None` if there is something to see already. The rest is as for
/// [`register`].
pub(crate) fn register_for_object<C: HoldsLogs, F, T>(
    core: &Mutex<C>,
    durable: &Mark,
    check_alive: impl Fn() -> Result<(), F>,
    key: RowKey,
    look: impl FnOnce(&C) -> Sight<T>,
) -> Result<Option<EventListener>, F> {
    let mut held = core.lock();
    check_alive()?;
    // An effect that runs later than this look at `durable` sees what is entered here.
    let rests_on = match look(&held) {
        Sight::Nothing => None,
        Sight::Seen(_, end) if end <= durable.get() => return Ok(None),
        Sight::Seen(_, end) => Some(end),
    };
    #[cfg(planted = "object_barrier_forgotten")]
    let rests_on = rests_on.and(None);
    #[cfg(planted = "object_registered_late")]
    let mut held = {
        drop(held);
        core.lock()
    };
    Ok(Some(held.watched().wait(key, rests_on).listen()))
}

/// Enters a line for an object; `None` if there is something to see already, or it is not to wait. `stand` is asked in
/// the same hold of the core lock. The rest is as for [`register_for_object`].
pub(crate) fn enter_line<C: HoldsLogs, F, T>(
    core: &Mutex<C>,
    durable: &Mark,
    check_alive: impl Fn() -> Result<(), F>,
    key: RowKey,
    look: impl FnOnce(&C) -> (Sight<T>, Stand),
) -> Result<Option<(Ticket, EventListener)>, F> {
    let mut held = core.lock();
    check_alive()?;
    let (sight, stand) = look(&held);
    let rests_on = match sight {
        Sight::Nothing => None,
        Sight::Seen(_, end) if end <= durable.get() => return Ok(None),
        Sight::Seen(_, end) => Some(end),
    };
    let entered = held.watched().enter_line(key, stand, rests_on);
    Ok(entered.map(|(ticket, event)| (ticket, event.listen())))
}

/// Wakes the readers of all logs of which `durable` released records, and those who wait for objects of which it
/// released changes, a chunk in each hold of the core lock.
pub(crate) fn reveal<C: HoldsLogs>(core: &Mutex<C>, durable: Lsn) {
    let mut wake = Vec::new();
    let mut more = true;
    while more {
        let mut held = core.lock();
        more = held.logs().take_effects(durable, FREEZE_CHUNK, &mut wake);
        more |= held.watched().take_effects(durable, FREEZE_CHUNK, &mut wake);
        drop(held);
        for event in wake.drain(..) {
            event.notify(usize::MAX);
        }
    }
}
