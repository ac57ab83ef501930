//! What is left of a log after a pass: the machine is told, so that retention and descriptions rest on it.
//!
//! It is counted from the index and from memory, so that nothing is lost by a crash before it was told: the next life
//! counts anew. Whatever comes between counting and telling is in the command: what was seen of the log then.

use crate::base::log::LogId;
use crate::engine::Engine;
use crate::engine::fault::Fault;
use crate::engine::keeper::Keeper;
use crate::engine::machine::{CompactedLog, Lookup, Machine, Recount, Until};
use crate::engine::submit::Tried;

/// Counts that trims may make useless before it is left for later.
const TRIES_MAX: usize = 4;

impl<M: Machine> Engine<M> {
    /// Tells of the next log what is left of it; `false` if none is to be told of.
    pub(super) fn recount_next(&self, keeper: &mut Keeper) -> Result<bool, Fault> {
        let Some((log, through)) = keeper.compacting.recounts.pop_first() else { return Ok(false) };
        for _ in 0..TRIES_MAX {
            let Some(recount) = self.count(log, through)? else { return Ok(true) };
            let seen = &recount.seen;
            if (recount.records, recount.bytes) == (seen.records, seen.bytes) && through <= seen.cleaned {
                return Ok(true);
            }
            if self.submit_if_room(&M::recount(recount))? == Tried::NoRoom {
                break;
            }
            let now = self.core.lock().machine.compacted_log(log);
            if now.is_none_or(|now| now.passes > seen.passes) {
                return Ok(true);
            }
        }
        keeper.compacting.recounts.insert(log, through);
        keeper.compacting.rest(self.clock.boot());
        Ok(true)
    }

    /// `None` if there is nothing to count: the log has ended, or cannot be read.
    fn count(&self, log: LogId, through: u64) -> Result<Option<Recount>, Fault> {
        let (seen, sealed_end, (tail_records, tail_bytes)) = {
            let core = self.core.lock();
            let Some((seen, cell)) = core.machine.compacted_log(log).zip(core.logs.get(log)) else { return Ok(None) };
            (seen, cell.recent_first(), cell.recent_totals())
        };
        let CompactedLog { start, end, passes, .. } = seen;
        let is_tail_apart = start < sealed_end;
        let until = Until::Offset(if is_tail_apart { sealed_end } else { end });
        let counted = match self.find_stretch(Lookup { log, from: start, until, passes }) {
            Ok(counted) => counted,
            // Retention meets the same place, and says so.
            Err(Fault::Corrupt { .. } | Fault::FileGone(_) | Fault::Contended) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let (records, bytes) = if is_tail_apart {
            (counted.records + tail_records, counted.bytes + tail_bytes)
        } else {
            (counted.records, counted.bytes)
        };
        Ok(Some(Recount { log, seen, through, records, bytes }))
    }
}
