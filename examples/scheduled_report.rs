//! A nightly report: a schedule sends the order for it to a queue, and whoever works on the queue makes it.
//!
//! `cargo run --example scheduled_report`

use std::time::Duration;

use towpath::{Delivery, ManualClock, MissedRuns, Options, OverlappingRuns, QueueOptions, SchedulePlan, Timestamp};

const DAY: Duration = Duration::from_secs(86_400);

/// Midnight in UTC, before the night in which Berlin puts its clocks forward: 2026-03-28.
const MIDNIGHT: Timestamp = Timestamp::from_micros(1_774_656_000_000_000);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A clock that is moved by hand, so that four nights pass at once; a program of yours leaves it away, and opens a
    // directory that stays.
    let clock = ManualClock::starting_at(MIDNIGHT);
    let db = Options::new().clock(clock.clone()).open_temporary()?;
    let reports = db.create_queue("reports", QueueOptions::new())?;

    // At half past two by the clocks of Berlin. If nobody is there at that time, one report is made later. If the last
    // one is still being made, none is begun. Each start of the program may do this: it changes nothing.
    let plan =
        SchedulePlan::cron("30 2 * * *").zone("Europe/Berlin").missed(MissedRuns::One).overlap(OverlappingRuns::Skip);
    let nightly = db.schedule("nightly report", plan, &reports, "sales by region")?;
    println!("\nfour nights:");
    for _ in 0..4 {
        let run = nightly.next_runs(1)?[0];
        clock.advance(Duration::from_micros(run.as_micros() - clock.wall().as_micros()));
        make(reports.receive()?)?;
    }

    println!("\nthe office is closed for two days:");
    nightly.pause()?;
    clock.advance(DAY * 2);
    nightly.resume()?;
    let next = nightly.next_runs(1)?;
    let described = nightly.describe()?;
    println!("  {} sent, {} left out, {} to come", described.sent, described.left_out, next.len());
    nightly.remove()?;
    Ok(db.close()?)
}

/// Makes a report; the message says for which night.
fn make(order: Delivery) -> Result<(), towpath::Error> {
    let night = order.headers().find(|header| header.name == "x-scheduled-at").map(|header| header.value);
    let night = String::from_utf8_lossy(night.unwrap_or_default());
    println!("  {}, ordered for {night}", String::from_utf8_lossy(order.body()));
    order.ack()
}
