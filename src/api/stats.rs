//! Figures of an open database.

use crate::base::sync::Ordering;
use crate::engine::Engine;
use crate::primitives::Primitives;

use super::error::Error;

/// Figures of an open database, as they are at about one moment. Counts begin when it was opened.
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
    /// Bytes of survivors written by that.
    pub copied_bytes: u64,
    /// Segments removed because nothing in them lives.
    pub removed_segments: u64,
    /// Segments that could not be read in full when live records were to be copied out of them. They stay as they are,
    /// and [`Database::check`](crate::Database::check) tells what is wrong with them.
    pub parked_segments: u64,
    /// Bytes of records that live in sealed segments, with what storing them costs.
    pub live_bytes: u64,
    /// Bytes of the sealed segments.
    pub stored_bytes: u64,
}

impl Stats {
    pub(crate) fn of(engine: &Engine<Primitives>) -> Result<Stats, Error> {
        engine.check_open()?;
        let positions = engine.positions();
        let (commit, keeper) = engine.counters();
        let read = |counter: &crate::base::sync::AtomicU64| counter.load(Ordering::Relaxed);
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
            removed_segments: read(&keeper.removed_segments),
            parked_segments: read(&keeper.parked_segments),
            live_bytes: read(&keeper.live_bytes),
            stored_bytes: read(&keeper.stored_bytes),
        })
    }
}
