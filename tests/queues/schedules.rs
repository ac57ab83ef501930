//! Schedules: messages that the database sends at times.

use std::time::Duration;

use towpath::{
    Binding, Delivery, Error, ExchangeOptions, Header, LeftOut, ManualClock, Message, MissedRuns, Options,
    OverlappingRuns, QueueOptions, SchedulePlan, ScheduleTimes, Timestamp,
};

use crate::consumer::{HOUR, MINUTE, SECOND, TOO_LONG, clocked, noon, noon_and};
use crate::opening::{database, database_with};
use crate::place::{Place, eventually};

fn header(delivery: &Delivery, name: &str) -> String {
    let found = delivery.headers().find(|header| header.name == name);
    String::from_utf8(found.expect("it has this header").value.to_vec()).unwrap()
}

/// The time that a run of `noon_and(later)` says of itself.
fn said(later: Duration) -> String {
    // 1,790,000,000 s is 2026-09-21T14:13:20Z.
    let seconds = 14 * 3600 + 13 * 60 + 20 + later.as_secs();
    format!("2026-09-21T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[test]
fn each_run_sends_the_message_with_all_that_it_says_of_itself() {
    let (clock, db, mails) = clocked(QueueOptions::new());
    let headers = [Header { name: "format", value: b"pdf" }];
    let message = Message::new(b"sales by region").key(b"north").headers(&headers).priority(9);
    let schedule = db.schedule("hourly", SchedulePlan::every(HOUR), &mails, message).unwrap();
    assert_eq!(schedule.next_runs(2).unwrap(), [noon_and(HOUR), noon_and(2 * HOUR)]);
    for run in 1..3 {
        clock.advance(HOUR);
        let mail = mails.receive().unwrap();
        assert_eq!((mail.body(), mail.key(), mail.priority()), (&b"sales by region"[..], Some(&b"north"[..]), 9));
        let names: Vec<&str> = mail.headers().map(|header| header.name).collect();
        assert_eq!(names, ["x-schedule", "x-scheduled-at", "format"]);
        assert_eq!((header(&mail, "x-schedule"), header(&mail, "x-scheduled-at")), ("hourly".into(), said(HOUR * run)));
        mail.ack().unwrap();
    }
    let described = schedule.describe().unwrap();
    assert_eq!((described.sent, described.left_out, described.next_run), (2, 0, Some(noon_and(3 * HOUR))));
    assert_eq!(described.last_sent.unwrap().scheduled_at, noon_and(2 * HOUR));
    assert_eq!((described.queue.as_deref(), described.exchange), (Some("mails"), None));
    assert_eq!(described.message.headers, [("format".to_owned(), b"pdf".to_vec())]);
    assert_eq!(described.plan.times(), ScheduleTimes::Every(HOUR));
}

#[test]
fn a_cron_schedule_runs_by_the_clocks_of_its_zone() {
    let (clock, db, mails) = clocked(QueueOptions::new());
    // Noon is 16:13:20 in Berlin, 19:43:20 in Kolkata.
    for (zone, first) in [("Europe/Berlin", 46 * MINUTE + 40 * SECOND), ("Asia/Kolkata", 16 * MINUTE + 40 * SECOND)] {
        let plan = SchedulePlan::cron("0 17,20 * * *").zone(zone);
        let schedule = db.schedule(zone, plan, &mails, "report").unwrap();
        assert_eq!(schedule.next_runs(1).unwrap(), [noon_and(first)], "{zone}");
    }
    clock.advance(17 * MINUTE);
    assert_eq!(header(&mails.receive().unwrap(), "x-schedule"), "Asia/Kolkata");
}

#[test]
fn a_schedule_publishes_to_the_queues_that_its_exchange_leads_to() {
    let (clock, db, mails) = clocked(QueueOptions::new());
    let reports = db.create_exchange("reports", ExchangeOptions::topic()).unwrap();
    let archive = db.create_queue("archive", QueueOptions::new()).unwrap();
    reports.bind(&mails, Binding::pattern("report.*")).unwrap();
    reports.bind(&archive, Binding::pattern("#")).unwrap();
    let schedule = db.schedule("hourly", SchedulePlan::every(HOUR), (&reports, "report.sales"), "sales").unwrap();
    clock.advance(HOUR);
    for queue in [&mails, &archive] {
        let report = queue.receive().unwrap();
        assert_eq!((report.exchange(), report.routing_key()), (Some("reports"), Some("report.sales")));
    }
    let told = ("reports".to_owned(), "report.sales".to_owned());
    assert_eq!(schedule.describe().unwrap().exchange, Some(told));
    assert!(matches!(db.delete_exchange("reports"), Err(Error::IsScheduled { kind: "exchange", .. })));
}

#[test]
fn runs_that_are_left_out_are_told_with_the_reason() {
    let (clock, db, mails) = clocked(QueueOptions::new().max_messages(1));
    let plan = SchedulePlan::every(MINUTE).missed(MissedRuns::Skip);
    let full = db.schedule("full", plan, &mails, "report").unwrap();
    clock.advance(MINUTE);
    eventually("it has run", || full.describe().unwrap().sent == 1);
    clock.advance(MINUTE);
    eventually("it has not run", || full.describe().unwrap().left_out == 1);
    let last = full.describe().unwrap().last_left_out.unwrap();
    assert_eq!(last.scheduled_at, noon_and(2 * MINUTE));
    assert!(matches!(&last.reason, LeftOut::Refused(text) if text.contains("`mails`")), "{last:?}");
    mails.purge().unwrap();
    let overlapping = db.create_queue("overlapping", QueueOptions::new()).unwrap();
    let plan = SchedulePlan::every(MINUTE).overlap(OverlappingRuns::Skip);
    let overlaps = db.schedule("overlaps", plan, &overlapping, "report").unwrap();
    clock.advance(MINUTE);
    let report = overlapping.receive().unwrap();
    clock.advance(MINUTE);
    eventually("it is left out", || overlaps.describe().unwrap().left_out == 1);
    assert_eq!(overlaps.describe().unwrap().last_left_out.unwrap().reason, LeftOut::Overlap);
    report.ack().unwrap();
    clock.advance(MINUTE);
    overlapping.receive().unwrap().ack().unwrap();
}

#[test]
fn a_schedule_rests_while_it_is_paused_and_is_gone_once_it_is_removed() {
    let (clock, db, mails) = clocked(QueueOptions::new());
    let schedule = db.schedule("hourly", SchedulePlan::every(HOUR), &mails, "report").unwrap();
    let refused = db.delete_queue("mails").unwrap_err();
    assert!(matches!(refused, Error::IsScheduled { kind: "queue", schedule, .. } if schedule == "hourly"));
    schedule.pause().unwrap();
    schedule.pause().unwrap();
    let described = schedule.describe().unwrap();
    assert_eq!((described.is_paused, described.next_run, schedule.next_runs(3).unwrap()), (true, None, Vec::new()));
    clock.advance(3 * HOUR / 2);
    schedule.resume().unwrap();
    assert_eq!(schedule.next_runs(1).unwrap(), [noon_and(2 * HOUR)]);
    assert_eq!(mails.describe().unwrap().ready, 0);
    assert_eq!(db.schedule_names().unwrap(), ["hourly"]);
    schedule.clone().remove().unwrap();
    assert!(db.schedule_names().unwrap().is_empty());
    assert!(matches!(schedule.describe(), Err(Error::NotFound { kind: "schedule", .. })));
    assert!(matches!(schedule.pause(), Err(Error::NotFound { .. })));
    assert!(matches!(db.existing_schedule("hourly"), Err(Error::NotFound { .. })));
    db.delete_queue("mails").unwrap();
}

#[test]
fn what_was_missed_while_the_database_was_closed_is_made_up_for_by_one_message() {
    let (place, clock) = (Place::new(), ManualClock::starting_at(noon()));
    let open = || place.open_with(Options::temporary().clock(clock.clone()));
    let db = open();
    let reports = db.create_queue("reports", QueueOptions::new()).unwrap();
    let plan = SchedulePlan::cron("13 * * * *");
    db.schedule("hourly", plan.clone(), &reports, "report").unwrap();
    place.close(db);
    clock.advance(5 * HOUR);
    let db = open();
    let reports = db.queue("reports").unwrap();
    let report = reports.receive().unwrap();
    assert_eq!(header(&report, "x-scheduled-at"), "2026-09-21T19:13:00Z", "the last of those that were missed");
    report.ack().unwrap();
    let schedule = db.schedule("hourly", plan, &reports, "report").unwrap();
    let described = schedule.describe().unwrap();
    assert_eq!((described.sent, described.left_out), (1, 4), "made again alike, it stays what it is");
    assert!(reports.try_receive().unwrap().is_none());
    place.close(db);
}

#[test]
fn what_cannot_be_scheduled_is_refused_with_what_is_wrong() {
    let db = database();
    let mails = db.create_queue("mails", QueueOptions::new()).unwrap();
    let schedule = |name: &str, plan: SchedulePlan| db.schedule(name, plan, &mails, "report").map(drop);
    let refused = schedule("nightly", SchedulePlan::cron("0 25 * * *")).unwrap_err();
    assert!(matches!(&refused, Error::InvalidCron { pattern, offset: 2, .. } if pattern == "0 25 * * *"));
    let text = refused.to_string();
    assert!(text.starts_with("cron pattern `0 25 * * *`, at byte 2: hours: `25`: "), "{text}");
    let never = schedule("nightly", SchedulePlan::cron("0 0 30 2 *"));
    assert!(matches!(never, Err(Error::InvalidCron { offset: 0, .. })));
    let atlantis = schedule("nightly", SchedulePlan::cron("@daily").zone("Europe/Atlantis"));
    assert!(matches!(atlantis, Err(Error::InvalidOption { option: "time zone", .. })));
    for interval in [Duration::ZERO, SECOND - Duration::from_micros(1), TOO_LONG] {
        let refused = schedule("often", SchedulePlan::every(interval));
        assert!(matches!(refused, Err(Error::InvalidOption { option: "every", .. })), "{interval:?}");
    }
    let long_ago = schedule("at", SchedulePlan::at(Timestamp::from_micros(0)));
    assert!(matches!(long_ago, Err(Error::InvalidOption { option: "at", .. })));
    let long = "x".repeat(3000);
    let too_long = db.schedule("long", SchedulePlan::every(HOUR), &mails, &long);
    assert!(matches!(too_long, Err(Error::LimitExceeded { max: 2048, .. })));
    let delayed = db.schedule("late", SchedulePlan::every(HOUR), &mails, Message::new(b"x").delay(HOUR));
    assert!(matches!(delayed, Err(Error::InvalidOption { option: "delay", .. })));
    assert!(matches!(schedule("", SchedulePlan::every(HOUR)), Err(Error::InvalidName { .. })));
    let default = db.exchange("").unwrap();
    let by_default = db.schedule("default", SchedulePlan::every(HOUR), (&default, "mails"), "report");
    assert!(matches!(by_default, Err(Error::InvalidOption { option: "target", .. })));
    let elsewhere = database_with(Options::temporary());
    let other = elsewhere.create_queue("mails", QueueOptions::new()).unwrap();
    let foreign = db.schedule("foreign", SchedulePlan::every(HOUR), &other, "report");
    assert!(matches!(foreign, Err(Error::InvalidOption { option: "target", .. })));
    db.delete_queue("mails").unwrap();
    let gone = schedule("gone", SchedulePlan::every(HOUR));
    assert!(matches!(gone, Err(Error::NotFound { kind: "queue", name }) if name == "mails"));
    assert!(db.schedule_names().unwrap().is_empty());
}
