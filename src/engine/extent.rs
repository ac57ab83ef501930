//! What may be told of logs and objects besides records, and when (law 4).
//!
//! A log is told up to its visible end, its bytes and its last timestamp too. An object is told at once, and the answer
//! waits until the last frame written for `Sync` that touched it is durable.

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;

use super::Engine;
use super::core::Core;
use super::fault::Fault;
use super::logs::Hidden;
use super::machine::Machine;

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

    /// To be called before an answer that reveals the object as it stands: waits until what was written of it for
    /// `Sync` is on disk.
    pub(crate) fn reveal_object(&self, key: RowKey) -> Result<(), Fault> {
        let rests_on = self.core.lock().objects.rests_on(key, false);
        self.wait_durable(rests_on, None)
    }
}
