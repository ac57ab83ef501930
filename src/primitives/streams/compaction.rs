//! The rules of compaction: what may be appended, what is kept how long, and what a pass tells.

use super::command::{Outcome, Refusal};
use super::event::{Compacted, Event};
use super::overlay::View;
use super::reply::Reply;
use super::state::State;
use crate::base::log::LogId;
use crate::engine::machine::{CompactedLog, Recount};
use crate::primitives::record::Record;

impl State {
    /// What a pass must know of a log; `None` if it is not one of a stream with compaction.
    pub(crate) fn compacted_log(&self, log: LogId) -> Option<CompactedLog> {
        let (stream, partition) = self.of_log(log)?;
        let compaction = stream.head().options().compaction?;
        Some(CompactedLog {
            tombstone_retention_micros: compaction.tombstone_retention_micros,
            start: partition.start,
            end: partition.end,
            records: partition.records(),
            bytes: partition.bytes,
            cleaned: partition.compacted.cleaned,
            passes: partition.compacted.passes,
        })
    }
}

#[inline(never)]
pub(super) fn check_keys(records: &[Record<'_>]) -> Result<(), Refusal> {
    match records.iter().all(|record| record.key.is_some()) {
        true => Ok(()),
        false => {
            let reason = "a stream with compaction keeps the newest record of each key, so each record needs one";
            Err(Refusal::InvalidOption { option: "key", reason })
        }
    }
}

/// What was counted holds for as long as the partition starts where it did; what was appended since is added.
pub(super) fn recount<'c>(view: &View<'_>, recount: &Recount, emit: &mut impl FnMut(Event<'c>)) -> Outcome {
    let unchanged = Outcome::Unchanged { reply: Reply::Expired, rests_on: None };
    let Some((head, partition)) = view.unchanged(recount.log) else {
        return unchanged;
    };
    let seen = &recount.seen;
    let is_as_seen = partition.start == seen.start && partition.compacted.passes == seen.passes;
    if head.options().compaction.is_none() || !is_as_seen {
        return unchanged;
    }
    let records = recount.records + (partition.end - seen.end);
    let bytes = recount.bytes + (partition.bytes - seen.bytes);
    emit(Event::Compacted(Compacted { log: recount.log, through: recount.through, records, bytes }));
    Outcome::Accept(Reply::Expired)
}
