//! What may be told of logs and objects besides records, and when (law 4).
//!
//! A log is told up to its visible end, its bytes and its last timestamp too. An object is told at once, and the answer
//! waits until the last frame written for `Sync` that touched it is durable.

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::sync::EventListener;

use super::Engine;
use super::core::Core;
use super::fault::Fault;
use super::line::{Stand, Ticket};
use super::logs::Hidden;
use super::machine::Machine;
use super::wake::{self, Sight};

/// A log as its readers see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    /// The first offset that is not shown yet.
    pub(crate) end: u64,
    /// What the machine knows of and is not shown yet.
    pub(crate) hidden: Option<Hidden>,
}

fn extent_of<M: Machine>(core: &mut Core<M>, durable: Lsn, log: LogId) -> Option<Extent> {
    let start = core.machine.log_start(log)?;
    let Some(cell) = core.logs.get_mut(log) else { return Some(Extent { start, end: start, hidden: None }) };
    let end = cell.visible_end(durable);
    // Records may go before they were ever shown.
    Some(Extent { start, end: end.max(start), hidden: cell.hidden() })
}

fn sight_of<M, T>(core: &Core<M>, look: impl FnOnce(&M, &mut dyn FnMut(RowKey)) -> Option<T>) -> Sight<T> {
    let mut rests_on = Lsn(0);
    let seen = look(&core.machine, &mut |key| rests_on = rests_on.max(core.objects.rests_on(key, false)));
    seen.map_or(Sight::Nothing, |seen| Sight::Seen(seen, rests_on))
}

impl<M: Machine> Engine<M> {
    /// A log as its readers see it; `None` if there is none.
    pub(crate) fn extent(&self, log: LogId) -> Result<Option<Extent>, Fault> {
        let durable = self.marks.durable.get();
        self.while_held(|| Ok(extent_of(&mut self.core.lock(), durable, log)))
    }

    /// Looks at the machine's state and at up to `FREEZE_CHUNK` logs that it names, in one hold of the core lock.
    pub(crate) fn inspect_logs<T>(
        &self,
        name: impl FnOnce(&M) -> Vec<LogId>,
        look: impl FnOnce(&M, &[Option<Extent>]) -> T,
    ) -> Result<T, Fault> {
        self.check_alive()?;
        let durable = self.marks.durable.get();
        let mut core = self.core.lock();
        let logs = name(&core.machine);
        assert!(logs.len() <= FREEZE_CHUNK, "{} logs looked at in one hold of the core lock", logs.len());
        let extents: Vec<Option<Extent>> = logs.into_iter().map(|log| extent_of(&mut core, durable, log)).collect();
        Ok(look(&core.machine, &extents))
    }

    /// Looks at what there is to tell of objects, which `look` names. `None` if that is nothing, or not durable yet as
    /// far as it was written for `Sync`.
    pub(crate) fn observe<T>(
        &self,
        look: impl FnOnce(&M, &mut dyn FnMut(RowKey)) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        self.check_alive()?;
        match sight_of(&self.core.lock(), look) {
            Sight::Seen(seen, end) if end <= self.marks.durable.get() => Ok(Some(seen)),
            _ => Ok(None),
        }
    }

    /// Registers a wait until there is something to tell, which a change of this object brings about; `None` if there
    /// is already. The listener must be given back with [`Engine::stop_waiting_for_object`].
    pub(crate) fn wait_for_object<T>(
        &self,
        key: RowKey,
        look: impl FnOnce(&M, &mut dyn FnMut(RowKey)) -> Option<T>,
    ) -> Result<Option<EventListener>, Fault> {
        self.check_process()?;
        let look = |core: &Core<M>| sight_of(core, look);
        wake::register_for_object(&self.core, &self.marks.durable, || self.check_alive(), key, look)
    }

    pub(crate) fn stop_waiting_for_object(&self, key: RowKey) {
        self.core.lock().watched.leave(key);
    }

    /// Enters a line for an object, and tells how; `None` if there is something to tell already, or it is not to wait.
    /// The ticket must be given back with [`Engine::leave_line`].
    pub(crate) fn enter_line<T>(
        &self,
        key: RowKey,
        stand: impl FnOnce(&M) -> Stand,
        look: impl FnOnce(&M, &mut dyn FnMut(RowKey)) -> Option<T>,
    ) -> Result<Option<(Ticket, EventListener)>, Fault> {
        self.check_process()?;
        let look = |core: &Core<M>| (sight_of(core, look), stand(&core.machine));
        wake::enter_line(&self.core, &self.marks.durable, || self.check_alive(), key, look)
    }

    /// Leaves a line. If who leaves was woken, and the object has something still, the next is.
    pub(crate) fn leave_line(&self, key: RowKey, ticket: Ticket) {
        let (wall, durable) = (self.clock.wall(), self.marks.durable.get());
        let mut core = self.core.lock();
        let Core { machine, logs, watched, clock, .. } = &mut *core;
        let woken = watched.leave_line(key, ticket, || {
            let now = clock.stamp(wall, || self.clock.reading());
            machine.offers(key, now, &|log| logs.get(log).map_or(0, |cell| cell.shown(durable)))
        });
        drop(core);
        woken.into_iter().for_each(|event| {
            event.notify(usize::MAX);
        });
    }

    /// To be called before an answer that reveals the object as it stands: waits until what was written of it for
    /// `Sync` is on disk.
    pub(crate) fn reveal_object(&self, key: RowKey) -> Result<(), Fault> {
        let rests_on = self.core.lock().objects.rests_on(key, false);
        self.wait_durable(rests_on, None)
    }
}
