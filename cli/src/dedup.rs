//! How far back ids are remembered, as a command says it, and ids for lines.

use std::time::Duration;

use clap::Args;
use towpath::Dedup;

use crate::output::counted;
use crate::units;

#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct DedupOptions {
    /// Store a message whose id was seen within this time, such as 10m, no second time
    #[arg(long, value_name = "D", value_parser = units::duration)]
    dedup_for: Option<Duration>,
    /// Store a message whose id is among the last N no second time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    dedup_last: Option<u64>,
}

impl DedupOptions {
    pub(crate) fn dedup(&self) -> Dedup {
        match (self.dedup_for, self.dedup_last) {
            (Some(duration), _) => Dedup::within(duration),
            (None, Some(ids)) => Dedup::last(ids),
            (None, None) => Dedup::none(),
        }
    }
}

/// Ids of lines: a prefix and the number of the line, so that the same input can be fed again.
#[derive(Args)]
pub(crate) struct LineIds {
    /// Give each message an id: this and the number of its line, from 1 on; a queue or an exchange with dedup takes the
    /// same input a second time and stores nothing of it
    #[arg(long, value_name = "TEXT")]
    id_prefix: Option<String>,
}

impl LineIds {
    /// Those of so many lines after the first `before`, if they have any.
    pub(crate) fn of(&self, before: u64, lines: usize) -> Vec<Option<String>> {
        let id = |line: u64| self.id_prefix.as_ref().map(|prefix| format!("{prefix}{line}"));
        (before + 1..).take(lines).map(id).collect()
    }
}

/// How many were there already, where some were.
pub(crate) fn known(duplicates: u64) -> String {
    if duplicates == 0 { String::new() } else { format!("; {} there before", counted(duplicates, "message")) }
}
