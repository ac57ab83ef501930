//! The result, for someone who sees it for the first time.

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::Table;

use super::audit::Findings;
use super::consumed::Consumption;
use super::kills::Kill;
use crate::exit::Failure;
use crate::output::{Output, counted, grouped, table};
use crate::stream::LevelName;

pub(super) struct Summary {
    pub(super) findings: Findings,
    pub(super) kills: Vec<Kill>,
    /// When each acknowledgement came, in order.
    pub(super) acknowledged_at: Vec<u64>,
    pub(super) elapsed: Duration,
    pub(super) level: LevelName,
    /// Where the database is, if it stays.
    pub(super) kept_in: Option<PathBuf>,
}

pub(super) fn print(summary: &Summary) -> Result<(), Failure> {
    let mut output = Output::new();
    if !summary.kills.is_empty() {
        output.line(kill_table(summary).to_string())?;
    }
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

fn kill_table(summary: &Summary) -> Table {
    let mut table = table(&["acknowledged", "killed with SIGKILL", "took over", "writes stood still"], &[0, 3]);
    for kill in &summary.kills {
        let state = if kill.was_host { "hosting" } else { "attached" };
        table.add_row([
            grouped(kill.acknowledged),
            format!("{}, {state}", kill.role.name()),
            kill.taken_over.map_or_else(|| "nobody needed to".to_owned(), |(role, _)| role.name().to_owned()),
            kill.standstill(&summary.acknowledged_at).map_or_else(String::new, millis),
        ]);
    }
    table
}

fn millis(duration: Duration) -> String {
    format!("{} ms", grouped(duration.as_millis() as u64))
}

fn rows(summary: &Summary) -> Vec<(&'static str, String, String)> {
    let Findings { input, acknowledged, found, lost, duplicated, out_of_order, retracted, .. } = summary.findings;
    let standstill = summary.kills.iter().filter_map(|kill| kill.standstill(&summary.acknowledged_at)).max();
    let mut rows = vec![
        ("lines fed", grouped(input), "by two processes, one record each, keyed by the first field".to_owned()),
        ("killed with SIGKILL", grouped(summary.kills.len() as u64), killed(summary)),
        (
            "writes stood still",
            standstill.map_or_else(|| "-".to_owned(), millis),
            "at most, until another host answered".into(),
        ),
        ("acknowledged", grouped(acknowledged), "the database said: stored".to_owned()),
        ("found", grouped(found), found_meaning(&summary.findings)),
        ("lost", grouped(lost), "acknowledged, and not there".to_owned()),
        ("out of order", grouped(out_of_order), "behind a later record with the same key".to_owned()),
        ("duplicated", grouped(duplicated), "there more often than it was fed".to_owned()),
        ("retracted", grouped(retracted), "shown to the reader, and not there".to_owned()),
    ];
    rows.extend(consumption(summary));
    for (what, count, meaning) in [
        ("missing", summary.findings.missing, "fed, and not there"),
        ("foreign", summary.findings.foreign, "there, and never fed"),
    ] {
        if count > 0 {
            rows.push((what, grouped(count), meaning.to_owned()));
        }
    }
    let rate = format!("{}/s", grouped(rate(summary)));
    rows.push(("throughput", rate, "records, kills and restarts included".into()));
    rows.push(("durability", summary.level.name().to_owned(), durability(summary.level).to_owned()));
    rows
}

fn consumption(summary: &Summary) -> impl Iterator<Item = (&'static str, String, String)> {
    let Consumption { records, missed, foreign, out_of_order, again, twice } = summary.findings.consumption;
    let killed = summary.kills.iter().filter(|kill| kill.was_member).count() as u64;
    let members = format!("by a group of which one member joined on the way, one left and {killed} died");
    let rows = [
        ("consumed", records, members.as_str()),
        ("not consumed", missed, "there, and handed out to no member"),
        ("consumed out of order", out_of_order, "behind a later record of the same partition"),
        ("consumed again", again, "the member that did it before was killed, and had not committed it"),
        ("consumed twice", twice, "though the member that did it before was not killed"),
        ("consumed wrongly", foreign, "handed out to a member, and not there"),
    ];
    let is_shown = |(what, count, _): &(&str, u64, &str)| *what != "consumed wrongly" || *count > 0;
    let rows = rows.into_iter().filter(is_shown);
    rows.map(|(what, count, meaning)| (what, grouped(count), meaning.to_owned())).collect::<Vec<_>>().into_iter()
}

fn killed(summary: &Summary) -> String {
    let hosts = summary.kills.iter().filter(|kill| kill.was_host).count();
    match (hosts, summary.kills.len() - hosts) {
        (0, _) => "all processes were left alone".to_owned(),
        (hosts, 0) => format!("at random moments; {hosts} x whoever was the host"),
        (hosts, attached) => {
            format!("at random moments; {hosts} x whoever was the host, {attached} x one attached to it")
        }
    }
}

fn found_meaning(findings: &Findings) -> String {
    match findings.found.saturating_sub(findings.acknowledged) {
        0 => "there after all processes had ended".to_owned(),
        unheard => format!("there after all processes had ended; of {} a kill cut off the answer", grouped(unheard)),
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
    let kills = counted(summary.kills.len() as u64, "kill");
    match summary.findings.are_exact() {
        true => format!(
            "The books are exact: after {kills} every line is there, once, in order, and was consumed in order."
        ),
        false => format!("The books are NOT exact after {kills}."),
    }
}
