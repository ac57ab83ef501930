//! Reading everything that a database holds and holding it against itself, without changing a byte.

use std::collections::BTreeMap;

use crate::base::log::LogId;
use crate::base::run::Run;
use crate::base::segment_id::SegmentId;
use crate::base::sync::Arc;
use crate::journal::entry::{Entry, each_entry};
use crate::journal::item::Items;
use crate::journal::sidecar::{Sidecar, SidecarFault};
use crate::journal::walk::Frames;
use crate::storage::control::{ControlState, PATH};
use crate::storage::disk::{Access, Disk};
use crate::storage::frame::{Frame, Kind, Seed};
use crate::storage::segment;

use super::fault::Fault;
use super::machine::Machine;
use super::open::{self, Checked};

/// What was read, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) frames: u64,
    pub(crate) records: u64,
    pub(crate) segments: u64,
    pub(crate) sidecars: u64,
    pub(crate) runs: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) problems: Vec<String>,
}

/// The items of each log that a walk over a segment found: log → (first offset, records).
type Found = BTreeMap<LogId, BTreeMap<u64, u64>>;

/// What a log is in the words of those who read the findings.
pub(crate) type NameOfLog<'a, M> = &'a dyn Fn(&M, LogId) -> String;

/// Checks the database in `disk`. An error only where it cannot be read at all.
pub(crate) fn check<M: Machine>(
    disk: Arc<dyn Disk>,
    path: &str,
    name_of_log: NameOfLog<'_, M>,
) -> Result<Findings, Fault> {
    let mut findings = Findings::default();
    match check_all(disk, path, name_of_log, &mut findings) {
        Err(fault @ Fault::Corrupt { .. }) => findings.problems.push(fault.to_string()),
        outcome => outcome?,
    }
    Ok(findings)
}

fn check_all<M: Machine>(
    disk: Arc<dyn Disk>,
    path: &str,
    name_of_log: NameOfLog<'_, M>,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let Checked { ground, state, replayed, end } = open::open_for_check::<M>(disk, path)?;
    if ground.control.is_alone() {
        findings.problems.push(format!("{PATH}: one of its two copies cannot be read; the next open writes it anew"));
    }
    if ground.control.is_clean() && !end.from_ring.is_empty() {
        let frames = end.from_ring.len();
        findings.problems.push(format!("{frames} frames are in the staging ring only; the next open restores them"));
    }
    let name = |log| name_of_log(&replayed.machine, log);
    ground.index.for_each_row(&mut |_, _| {
        findings.rows += 1;
        Ok(())
    })?;
    let mut runs: BTreeMap<SegmentId, Vec<Run>> = BTreeMap::new();
    ground.index.for_each_run(&mut |run| {
        runs.entry(run.segment).or_default().push(*run);
        Ok(())
    })?;
    for row in ground.index.segments()? {
        let runs = runs.remove(&row.id).unwrap_or_default();
        let log_start = |log| replayed.machine.log_start(log);
        check_sealed(&ground, &state, Logs { start: &log_start, name: &name }, row.id, &runs, findings)?;
        let live: u64 = runs.iter().map(|run| super::keeper::cost(run.bytes, run.records)).sum();
        if live != row.live_bytes {
            findings.problems.push(format!(
                "the index counts {} live bytes in {}, its runs have {live}",
                row.live_bytes,
                segment::path(row.id)
            ));
        }
    }
    for id in runs.keys() {
        findings.problems.push(format!("the index has runs in {}, which it does not know", segment::path(*id)));
    }
    findings.frames += end.frames;
    findings.records += replayed.records;
    findings.bytes += replayed.bytes;
    check_coverage(&ground, &replayed, &name, findings)
}

/// What a check asks the machine about a log.
#[derive(Clone, Copy)]
struct Logs<'a> {
    start: &'a dyn Fn(LogId) -> Option<u64>,
    name: &'a dyn Fn(LogId) -> String,
}

/// Reads one sealed segment from end to end and holds it against its sidecar and its runs.
fn check_sealed(
    ground: &open::Ground,
    state: &ControlState,
    logs: Logs<'_>,
    id: SegmentId,
    runs: &[Run],
    findings: &mut Findings,
) -> Result<(), Fault> {
    let path = segment::path(id);
    let bytes = match read_file(ground, &path) {
        Ok(bytes) => bytes,
        Err(reason) => {
            findings.problems.push(reason);
            return Ok(());
        }
    };
    findings.segments += 1;
    findings.bytes += bytes.len() as u64;
    let seed = Seed::new(&state.database_id);
    let mut found = Found::new();
    let mut frames = Frames::of(&bytes, id, state.geometry, seed);
    for (place, frame) in frames.by_ref() {
        findings.frames += 1;
        if matches!(frame.header.kind, Kind::Events | Kind::Copied) {
            note_items(&path, place, &frame, &mut found, findings);
        }
    }
    match Sidecar::open(&*ground.disk, id, state.database_id) {
        Err(SidecarFault::Io(e)) => {
            findings.problems.push(format!("{} cannot be read: {e}", segment::sidecar_path(id)));
        }
        Err(fault @ SidecarFault::Damaged { .. }) => findings.problems.push(fault.to_string()),
        Ok(sidecar) => {
            findings.sidecars += 1;
            let lives = |log, items: &BTreeMap<u64, u64>| {
                let end = items.last_key_value().map_or(0, |(first, records)| first + records);
                (logs.start)(log).is_some_and(|start| end > start)
            };
            found.retain(|log, items| lives(*log, items) || sidecar.runs().any(|run| run.log == *log));
            let missing = check_sidecar(&path, &sidecar, &found, runs, logs.name, findings);
            if let Some((place, reason)) = frames.stopped().filter(|_| missing) {
                findings.problems.push(format!("{path} at {place}: {reason}"));
            }
        }
    }
    Ok(())
}

fn read_file(ground: &open::Ground, path: &str) -> Result<Vec<u8>, String> {
    let describe = |e: std::io::Error| format!("{path} cannot be read: {e}");
    let file = ground.disk.open(path, Access::Read).map_err(describe)?;
    let mut bytes = vec![0; file.len().map_err(describe)? as usize];
    file.read(0, &mut bytes).map_err(describe)?;
    Ok(bytes)
}

fn note_items(path: &str, place: u32, frame: &Frame<'_>, found: &mut Found, findings: &mut Findings) {
    for item in Items::of(frame, place) {
        let mut note = |entry: Entry| {
            findings.records += u64::from(entry.count);
            found.entry(entry.log).or_default().insert(entry.first, u64::from(entry.count));
        };
        if let Err(fault) = item.and_then(|item| each_entry(item.bytes, &mut note)) {
            findings.problems.push(format!("{path} at {place}: {fault}"));
        }
    }
}

/// `found` is without the logs of which nothing lives and that the sidecar leaves out. Tells whether the sidecar knows
/// of records that the walk has not found.
fn check_sidecar(
    path: &str,
    sidecar: &Sidecar,
    found: &Found,
    runs: &[Run],
    name: &dyn Fn(LogId) -> String,
    findings: &mut Findings,
) -> bool {
    let known: u64 = sidecar.runs().map(|run| run.records).sum();
    let walked: u64 = found.values().flat_map(BTreeMap::values).sum();
    if known != walked {
        findings.problems.push(format!("{path}: its sidecar knows {known} records, {walked} are readable"));
    }
    for run in sidecar.runs() {
        for index in 0..run.entries() {
            let known = sidecar.entry(&run, index);
            let item = known.and_then(|entry| found.get(&run.log)?.get(&entry.offset));
            if item.is_none() {
                findings.problems.push(format!("{path}: entry {index} of {} leads nowhere", name(run.log)));
                break;
            }
        }
    }
    for run in runs {
        let there = sidecar.run(run.slot as usize);
        if there.is_some_and(|r| (r.log, r.first, r.end, r.records) == (run.log, run.first, run.end, run.records)) {
            findings.runs += 1;
        } else {
            findings
                .problems
                .push(format!("{path}: the index has a run of {} that the sidecar has not", name(run.log)));
        }
    }
    walked < known
}

/// Every live offset of every log must be in a run or in the journal's unsealed part.
fn check_coverage<M: Machine>(
    ground: &open::Ground,
    replayed: &super::replay::Replay<M>,
    name: &dyn Fn(LogId) -> String,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let mut logs = Vec::new();
    replayed.machine.logs(&mut |log, start, end| logs.push((log, start, end)));
    for (log, start, end) in logs {
        let recent = replayed.logs.get(log).map_or(end, super::logs::LogCell::recent_first);
        // Compaction leaves offsets out, and never the last of them.
        let is_compacted = replayed.machine.compacted_log(log).is_some();
        let mut at = start;
        while at < recent.min(end) {
            match ground.index.run_at(log, at)? {
                Some(run) if run.first <= at || (is_compacted && run.first < recent) => at = run.end,
                _ => {
                    findings.problems.push(format!("offset {at} of {} lies in no segment", name(log)));
                    break;
                }
            }
        }
    }
    Ok(())
}
