//! Figures of an open database, as its host counts them.

use crate::base::codec::{Malformed, Take};
use crate::base::sync::{AtomicU64, Ordering};
use crate::engine::fault::Fault;

use super::server::Host;
use super::wire::{Out, intern};

/// Figures of an open database, as they are at about one moment. Counts begin when its host opened it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Where the journal ends.
    pub issued_lsn: u64,
    /// Everything below is in a segment file.
    pub written_lsn: u64,
    /// Everything below is on disk.
    pub durable_lsn: u64,
    /// Everything below is in the index.
    pub checkpoint_lsn: u64,
    /// Bytes issued and not on disk: what a power cut could undo.
    pub unsynced_bytes: u64,
    /// Bytes that an open would replay now.
    pub replay_bytes: u64,
    /// Bytes that can be appended before another segment must be made.
    pub ready_bytes: u64,
    /// Data syncs of the journal.
    pub syncs: u64,
    /// Writes to segments.
    pub writes: u64,
    /// Bytes written to segments.
    pub written_bytes: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Sidecars written.
    pub sidecars: u64,
    /// Segments that live records were copied out of.
    pub cleaned_segments: u64,
    /// Bytes of survivors written by that, and by compaction.
    pub copied_bytes: u64,
    /// Passes of compaction begun.
    pub compaction_passes: u64,
    /// Bytes of records that they have decided on.
    pub compacted_bytes: u64,
    /// Segments removed because nothing in them lives.
    pub removed_segments: u64,
    /// Segments that could not be read in full when live records were to be copied out of them. They stay as they are,
    /// and [`Database::check`](crate::Database::check) tells what is wrong with them.
    pub parked_segments: u64,
    /// Bytes of records that live in sealed segments, with what storing them costs.
    pub live_bytes: u64,
    /// Bytes of the sealed segments.
    pub stored_bytes: u64,
    /// The process that hosts the database.
    pub host_pid: u64,
    /// How often the database has got a host; the present one's number.
    pub host_epoch: u64,
    /// Processes that are attached to it.
    pub attached_processes: u64,
    /// What those have asked of it.
    pub operations: Vec<OperationCount>,
}

/// How often attached processes have asked for an operation.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct OperationCount {
    /// The operation.
    pub operation: &'static str,
    /// How often.
    pub count: u64,
}

/// A process that is attached to the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct AttachedProcess {
    /// Its process id.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// How long it has been attached to this host.
    pub attached_micros: u64,
    /// What it has asked for.
    pub requests: u64,
    /// Those of them that were writes.
    pub writes: u64,
    /// Its readers that wait for records now.
    pub waiting: u64,
}

/// The numbers of a `Stats`, in the order in which they are sent.
macro_rules! numbers {
    ($($field:ident),* $(,)?) => {
        impl Stats {
            pub(super) fn put(&self, out: &mut Out) {
                $(out.varint(self.$field);)*
                super::questions::put_list(&self.operations, out, |out, operation| {
                    out.text(operation.operation);
                    out.varint(operation.count);
                });
            }

            pub(super) fn take(take: &mut Take<'_>) -> Result<Stats, Malformed> {
                $(let $field = take.varint()?;)*
                let operations = super::questions::take_list(take, |take| {
                    Ok(OperationCount { operation: intern(take.text()?), count: take.varint()? })
                })?;
                Ok(Stats { $($field,)* operations })
            }
        }
    };
}

numbers!(
    issued_lsn,
    written_lsn,
    durable_lsn,
    checkpoint_lsn,
    unsynced_bytes,
    replay_bytes,
    ready_bytes,
    syncs,
    writes,
    written_bytes,
    checkpoints,
    sidecars,
    cleaned_segments,
    copied_bytes,
    compaction_passes,
    compacted_bytes,
    removed_segments,
    parked_segments,
    live_bytes,
    stored_bytes,
    host_pid,
    host_epoch,
    attached_processes,
);

impl Stats {
    pub(super) fn of(host: &Host) -> Result<Stats, Fault> {
        let engine = &host.engine;
        engine.check_open()?;
        let positions = engine.positions();
        let (commit, keeper) = engine.counters();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Stats {
            issued_lsn: positions.issued.get(),
            written_lsn: positions.written.get(),
            durable_lsn: positions.durable.get(),
            checkpoint_lsn: positions.applied.get(),
            unsynced_bytes: positions.issued.since(positions.durable),
            replay_bytes: positions.issued.since(positions.replay_from),
            ready_bytes: positions.prepared.since(positions.issued),
            syncs: read(&commit.syncs),
            writes: read(&commit.writes),
            written_bytes: read(&commit.written_bytes),
            checkpoints: read(&keeper.checkpoints),
            sidecars: read(&keeper.sidecars),
            cleaned_segments: read(&keeper.cleaned_segments),
            copied_bytes: read(&keeper.copied_bytes),
            compaction_passes: read(&keeper.compaction_passes),
            compacted_bytes: read(&keeper.compacted_bytes),
            removed_segments: read(&keeper.removed_segments),
            parked_segments: read(&keeper.parked_segments),
            live_bytes: read(&keeper.live_bytes),
            stored_bytes: read(&keeper.stored_bytes),
            host_pid: u64::from(crate::storage::disk::host::inherit::own_pid()),
            host_epoch: u64::from(engine.epoch()),
            attached_processes: host.attached().len() as u64,
            operations: host.operation_counts(),
        })
    }
}

impl AttachedProcess {
    pub(super) fn put(&self, out: &mut Out) {
        let AttachedProcess { pid, uid, attached_micros, requests, writes, waiting } = *self;
        out.u32(pid);
        out.u32(uid);
        [attached_micros, requests, writes, waiting].into_iter().for_each(|number| out.varint(number));
    }

    pub(super) fn take(take: &mut Take<'_>) -> Result<AttachedProcess, Malformed> {
        let (pid, uid, attached_micros) = (take.u32()?, take.u32()?, take.varint()?);
        let (requests, writes, waiting) = (take.varint()?, take.varint()?, take.varint()?);
        Ok(AttachedProcess { pid, uid, attached_micros, requests, writes, waiting })
    }
}
