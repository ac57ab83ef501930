//! The result, for someone who sees it for the first time.

use std::path::PathBuf;
use std::time::Duration;

use super::audit::Findings;
use crate::exit::Failure;
use crate::output::{Output, counted, grouped, table};
use crate::stream::LevelName;

pub(super) struct Summary {
    pub(super) findings: Findings,
    pub(super) kills: u32,
    pub(super) elapsed: Duration,
    pub(super) slowest_reopening: Duration,
    pub(super) level: LevelName,
    /// Where the database is, if it stays.
    pub(super) kept_in: Option<PathBuf>,
}

pub(super) fn print(summary: &Summary) -> Result<(), Failure> {
    let mut output = Output::new();
    let mut table = table(&["what", "count", "which means"], &[1]);
    for (what, count, meaning) in rows(summary) {
        table.add_row([what, &count, &meaning]);
    }
    output.line(table.to_string())?;
    output.line(verdict(summary))?;
    if let Some(directory) = &summary.kept_in {
        output.line(format!("The database stays in {}.", directory.display()))?;
    }
    output.flush()
}

fn rows(summary: &Summary) -> Vec<(&'static str, String, String)> {
    let Findings { input, acknowledged, found, lost, duplicated, out_of_order, retracted, .. } = summary.findings;
    let mut rows = vec![
        ("lines fed", grouped(input), "one record each, keyed by its first field".to_owned()),
        ("killed with SIGKILL", grouped(u64::from(summary.kills)), killed(summary)),
        ("acknowledged", grouped(acknowledged), "the database said: stored".to_owned()),
        ("found", grouped(found), found_meaning(&summary.findings)),
        ("lost", grouped(lost), "acknowledged, and not there".to_owned()),
        ("out of order", grouped(out_of_order), "behind a later record with the same key".to_owned()),
        ("duplicated", grouped(duplicated), "there more often than it was fed".to_owned()),
        ("retracted", grouped(retracted), "shown to a reader, and not there".to_owned()),
    ];
    for (what, count, meaning) in [
        ("missing", summary.findings.missing, "fed, and not there"),
        ("foreign", summary.findings.foreign, "there, and never fed"),
    ] {
        if count > 0 {
            rows.push((what, grouped(count), meaning.to_owned()));
        }
    }
    rows.push((
        "throughput",
        format!("{}/s", grouped(rate(summary))),
        "records, restarts and recoveries included".into(),
    ));
    rows.push(("durability", summary.level.name().to_owned(), durability(summary.level).to_owned()));
    rows
}

fn killed(summary: &Summary) -> String {
    match summary.kills {
        0 => "the feeding process was left alone".to_owned(),
        _ => format!("at random moments; slowest reopening {} ms", summary.slowest_reopening.as_millis()),
    }
}

fn found_meaning(findings: &Findings) -> String {
    match findings.found.saturating_sub(findings.acknowledged) {
        0 => "there after the last reopening".to_owned(),
        unheard => format!("there after the last reopening; of {} a kill cut off the answer", grouped(unheard)),
    }
}

fn durability(level: LevelName) -> &'static str {
    match level {
        LevelName::Sync => "each record was on disk before it was acknowledged",
        LevelName::Buffered => "survives the process; a power cut may undo the newest 50 ms",
    }
}

fn rate(summary: &Summary) -> u64 {
    (summary.findings.found as f64 / summary.elapsed.as_secs_f64().max(1e-6)) as u64
}

fn verdict(summary: &Summary) -> String {
    let kills = counted(u64::from(summary.kills), "kill");
    match summary.findings.are_exact() {
        true => format!("The books are exact: after {kills} every line is there, once, in order."),
        false => format!("The books are NOT exact after {kills}."),
    }
}
