//! `towpath schedule list` and `towpath schedule describe`.

use serde::Serialize;
use towpath::{
    Database, Error, LeftOut, LeftOutRun, MissedRuns, OverlappingRuns, ScheduleDescription, ScheduleTimes, Timestamp,
};

use crate::exit::Failure;
use crate::output::{Output, base64, counted, grouped, say_json, table};
use crate::place::Place;
use crate::units::{human_duration, rfc3339};

pub(super) fn list(place: &Place, json: bool) -> Result<(), Failure> {
    let database = place.open_existing()?;
    let described = described(&database)?;
    database.close()?;
    let mut output = Output::new();
    if json {
        for schedule in &described {
            output.json(&Printed::new(schedule, None))?;
        }
    } else {
        let mut table = table(&["schedule", "times", "to", "next run", "sent", "left out"], &[4, 5]);
        for schedule in &described {
            let (sent, left_out) = (grouped(schedule.sent), grouped(schedule.left_out));
            table.add_row([&schedule.name, &times(schedule), &target(schedule), &next(schedule), &sent, &left_out]);
        }
        output.line(table.to_string())?;
    }
    output.flush()
}

fn described(database: &Database) -> Result<Vec<ScheduleDescription>, Failure> {
    let mut described = Vec::new();
    for name in database.schedule_names()? {
        match database.existing_schedule(&name).and_then(|schedule| schedule.describe()) {
            // It was removed since its name was read.
            Err(Error::NotFound { .. }) => {}
            schedule => described.push(schedule?),
        }
    }
    Ok(described)
}

pub(super) fn describe(place: &Place, name: &str, runs: usize, json: bool) -> Result<(), Failure> {
    let database = place.open_existing()?;
    let schedule = database.existing_schedule(name)?;
    let (described, runs) = (schedule.describe()?, schedule.next_runs(runs)?);
    database.close()?;
    if json {
        return say_json(&Printed::new(&described, Some(&runs)));
    }
    let mut output = Output::new();
    output.line(format!("{name}: {}; to {}; {}.", times(&described), target(&described), policies(&described)))?;
    let body = counted(described.message.body.len() as u64, "byte");
    let (sent, left_out) = (counted(described.sent, "message"), counted(described.left_out, "run"));
    output.line(format!("{sent} of {body} sent, {left_out} left out."))?;
    if let Some(last) = &described.last_sent {
        output.line(format!("Last sent at {}, for {}.", rfc3339(last.sent_at), rfc3339(last.scheduled_at)))?;
    }
    if let Some(LeftOutRun { scheduled_at, reason, .. }) = &described.last_left_out {
        output.line(format!("Last left out for {}: {}.", rfc3339(*scheduled_at), why(reason)))?;
    }
    match runs.is_empty() {
        true => output.line(format!("Next run: {}.", next(&described)))?,
        false => output
            .line(format!("Next runs: {}.", runs.iter().map(|run| rfc3339(*run)).collect::<Vec<_>>().join(", ")))?,
    }
    output.flush()
}

/// The times in words, such as `30 2 * * * in Europe/Berlin`.
fn times(schedule: &ScheduleDescription) -> String {
    match schedule.plan.times() {
        ScheduleTimes::Cron { pattern, zone } => format!("{pattern} in {zone}"),
        ScheduleTimes::Every(interval) => {
            format!("every {}", human_duration(u64::try_from(interval.as_micros()).unwrap_or(u64::MAX)))
        }
        ScheduleTimes::At(time) => format!("at {}", rfc3339(time)),
        _ => "unknown".to_owned(),
    }
}

fn target(schedule: &ScheduleDescription) -> String {
    match (&schedule.queue, &schedule.exchange) {
        (Some(queue), _) => format!("queue {queue}"),
        (None, Some((exchange, key))) => format!("exchange {exchange}, key {key}"),
        (None, None) => "unknown".to_owned(),
    }
}

fn next(schedule: &ScheduleDescription) -> String {
    match schedule.next_run {
        Some(next) => rfc3339(next),
        None if schedule.is_paused => "paused".to_owned(),
        None => "ended".to_owned(),
    }
}

fn missed(schedule: &ScheduleDescription) -> &'static str {
    match schedule.plan.missed_runs() {
        MissedRuns::One => "one",
        MissedRuns::Skip => "skip",
        MissedRuns::All => "all",
        _ => "unknown",
    }
}

fn overlap(schedule: &ScheduleDescription) -> &'static str {
    match schedule.plan.overlapping_runs() {
        OverlappingRuns::Allow => "allow",
        OverlappingRuns::Skip => "skip",
        _ => "unknown",
    }
}

fn policies(schedule: &ScheduleDescription) -> String {
    format!("missed runs: {}, overlap: {}", missed(schedule), overlap(schedule))
}

fn why(reason: &LeftOut) -> String {
    match reason {
        LeftOut::Missed => "it was missed".to_owned(),
        LeftOut::Overlap => "the message before was not settled".to_owned(),
        LeftOut::Refused(text) => text.clone(),
        _ => "unknown".to_owned(),
    }
}

#[derive(Serialize)]
struct Printed<'a> {
    name: &'a str,
    cron: Option<String>,
    zone: Option<String>,
    every_seconds: Option<f64>,
    at: Option<String>,
    queue: Option<&'a str>,
    exchange: Option<&'a str>,
    key: Option<&'a str>,
    missed: &'static str,
    overlap: &'static str,
    body: Option<&'a str>,
    body_base64: Option<String>,
    paused: bool,
    next_run: Option<String>,
    sent: u64,
    left_out: u64,
    last_sent: Option<String>,
    last_left_out: Option<String>,
    last_left_out_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_runs: Option<Vec<String>>,
}

impl<'a> Printed<'a> {
    fn new(schedule: &'a ScheduleDescription, runs: Option<&[Timestamp]>) -> Printed<'a> {
        let (mut cron, mut zone, mut every_seconds, mut at) = (None, None, None, None);
        match schedule.plan.times() {
            ScheduleTimes::Cron { pattern, zone: named } => (cron, zone) = (Some(pattern), Some(named)),
            ScheduleTimes::Every(interval) => every_seconds = Some(interval.as_secs_f64()),
            ScheduleTimes::At(time) => at = Some(rfc3339(time)),
            _ => {}
        }
        let body = std::str::from_utf8(&schedule.message.body).ok();
        let left_out = schedule.last_left_out.as_ref();
        Printed {
            name: &schedule.name,
            cron,
            zone,
            every_seconds,
            at,
            queue: schedule.queue.as_deref(),
            exchange: schedule.exchange.as_ref().map(|(exchange, _)| exchange.as_str()),
            key: schedule.exchange.as_ref().map(|(_, key)| key.as_str()),
            missed: missed(schedule),
            overlap: overlap(schedule),
            body,
            body_base64: if body.is_none() { Some(base64(&schedule.message.body)) } else { None },
            paused: schedule.is_paused,
            next_run: schedule.next_run.map(rfc3339),
            sent: schedule.sent,
            left_out: schedule.left_out,
            last_sent: schedule.last_sent.map(|last| rfc3339(last.scheduled_at)),
            last_left_out: left_out.map(|last| rfc3339(last.scheduled_at)),
            last_left_out_reason: left_out.map(|last| why(&last.reason)),
            next_runs: runs.map(|runs| runs.iter().map(|run| rfc3339(*run)).collect()),
        }
    }
}
