//! Verifying a database that nobody has open.

use std::path::Path;

use crate::base::log::LogId;
use crate::base::sync::Arc;
use crate::engine::check::{self, Findings};
use crate::primitives::Primitives;

use super::error::Error;
use super::options::open_directory;

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// Frames whose checksums hold.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Sealed segments read, survivors among them; the journal's end is read beside them.
    pub sealed_segments: u64,
    /// Sidecars that agree with their segments.
    pub sidecars: u64,
    /// Runs of the index that agree with the sidecars.
    pub runs: u64,
    /// Rows of the index that decode.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong, a sentence each; empty if the database is sound.
    pub problems: Vec<String>,
}

pub(crate) fn check(path: &Path) -> Result<CheckReport, Error> {
    let disk = open_directory(path, false)?;
    let Findings { frames, records, segments, sidecars, runs, rows, bytes, problems } =
        check::check::<Primitives>(Arc::new(disk), &path.display().to_string(), &name_of_log)?;
    Ok(CheckReport { frames, records, sealed_segments: segments, sidecars, runs, rows, bytes, problems })
}

fn name_of_log(machine: &Primitives, log: LogId) -> String {
    match machine.streams.name_of_log(log) {
        Some((stream, partition)) => format!("partition {partition} of stream `{stream}`"),
        None => "a stream that was deleted".to_owned(),
    }
}
