//! Which times patterns name, beside what a calendar shows.

use super::calendar::{Calendar, CalendarFault};
use super::when::When;
use crate::base::bounds::{CRON_BYTES_MAX, RUNS_COUNTED_MAX, RUNS_TOLD_MAX};
use crate::base::time::Timestamp;
use crate::sim::random::Random;

const SECOND: u64 = 1_000_000;

fn time(text: &str) -> Timestamp {
    let parsed: jiff::Timestamp = text.parse().unwrap_or_else(|fault| panic!("{text}: {fault}"));
    Timestamp(parsed.as_microsecond() as u64)
}

fn told(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0 as i64).expect("a time").to_string()
}

fn calendar(pattern: &str, zone: &str) -> Calendar {
    Calendar::of(pattern, zone).unwrap_or_else(|fault| panic!("`{pattern}` in {zone}: {fault:?}"))
}

/// The first runs behind a time.
fn runs(pattern: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let calendar = calendar(pattern, zone);
    let first = calendar.after(time(from));
    std::iter::successors(first, |run| calendar.after(*run)).take(count).map(told).collect()
}

fn fault(pattern: &str) -> (usize, String) {
    match Calendar::of(pattern, "UTC") {
        Err(CalendarFault::Pattern { offset, reason }) => (offset, reason),
        other => panic!("`{pattern}` is understood: {:?}", other.err()),
    }
}

#[test]
fn a_pattern_names_the_times_that_a_calendar_shows() {
    // 2026-03-01 is a Sunday.
    let table: &[(&str, &str, &str, &[&str])] = &[
        ("0 2 * * *", "UTC", "2026-03-01T01:59:59.999999Z", &["2026-03-01T02:00:00Z", "2026-03-02T02:00:00Z"]),
        ("0 2 * * *", "UTC", "2026-03-01T02:00:00Z", &["2026-03-02T02:00:00Z"]),
        ("0 2 * * *", "UTC", "2026-03-01T02:00:00.000001Z", &["2026-03-02T02:00:00Z"]),
        ("*/20 * * * *", "UTC", "2026-03-01T00:00:00Z", &["2026-03-01T00:20:00Z", "2026-03-01T00:40:00Z"]),
        ("*/30 * * * * *", "UTC", "2026-03-01T00:00:00Z", &["2026-03-01T00:00:30Z", "2026-03-01T00:01:00Z"]),
        ("0 9 * * MON-FRI", "UTC", "2026-03-06T09:00:00Z", &["2026-03-09T09:00:00Z"]),
        ("0 9 * * mon,wed", "UTC", "2026-03-01T00:00:00Z", &["2026-03-02T09:00:00Z", "2026-03-04T09:00:00Z"]),
        ("0 0 * * 7", "UTC", "2026-03-02T00:00:00Z", &["2026-03-08T00:00:00Z"]),
        ("0 0 L * *", "UTC", "2026-02-01T00:00:00Z", &["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]),
        ("0 0 LW * *", "UTC", "2026-02-01T00:00:00Z", &["2026-02-27T00:00:00Z"]),
        ("0 0 * * FRI#2", "UTC", "2026-03-01T00:00:00Z", &["2026-03-13T00:00:00Z"]),
        ("0 0 * * FRIL", "UTC", "2026-03-01T00:00:00Z", &["2026-03-27T00:00:00Z"]),
        ("0 0 13 * FRI", "UTC", "2026-03-01T00:00:00Z", &["2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z"]),
        ("0 0 13 * +FRI", "UTC", "2026-03-14T00:00:00Z", &["2026-11-13T00:00:00Z"]),
        ("0 0 29 FEB *", "UTC", "2026-03-01T00:00:00Z", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("0 0 29 2 +SUN", "UTC", "2088-03-01T00:00:00Z", &["2128-02-29T00:00:00Z"]),
        ("0 0 0 1 1 * 2030", "UTC", "2026-03-01T00:00:00Z", &["2030-01-01T00:00:00Z"]),
        ("@daily", "Asia/Tokyo", "2026-03-01T00:00:00Z", &["2026-03-01T15:00:00Z"]),
        ("0 2 * * *", "europe/berlin", "2026-01-01T00:00:00Z", &["2026-01-01T01:00:00Z"]),
        ("30 5 * * *", "Asia/Kolkata", "2026-03-01T00:00:01Z", &["2026-03-02T00:00:00Z"]),
    ];
    for (pattern, zone, from, expected) in table {
        let expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(runs(pattern, zone, from, expected.len()), expected, "`{pattern}` in {zone} from {from}");
    }
}

#[test]
fn a_daily_run_in_the_hour_that_is_skipped_is_at_its_end_and_the_next_is_in_its_usual_time() {
    // Berlin goes from 02:00 +01 to 03:00 +02 on 2026-03-29.
    let expected = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
    assert_eq!(runs("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3), expected);
}

#[test]
fn runs_of_an_interval_in_the_hour_that_is_skipped_are_not() {
    let expected = ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"];
    assert_eq!(runs("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3), expected);
}

#[test]
fn a_daily_run_in_the_hour_that_comes_twice_is_in_the_first() {
    // Berlin goes from 03:00 +02 to 02:00 +01 on 2026-10-25.
    let expected = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
    assert_eq!(runs("30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", 3), expected);
}

#[test]
fn runs_of_an_interval_in_the_hour_that_comes_twice_are_in_both() {
    let expected = ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"];
    assert_eq!(runs("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:59:00Z", 4), expected);
}

#[test]
fn a_pattern_that_is_not_understood_is_told_with_the_place_and_the_field() {
    for (pattern, offset, reason) in [
        ("", 0, "a pattern has 5 fields, or 6 with the seconds before them"),
        ("0 2 * *", 7, "this one has 4"),
        ("0 0 2 * * * * *", 14, "this one has 8"),
        ("0 25 * * *", 2, "hours: `25`: "),
        ("0 1,2,24 * * *", 6, "hours: `24`: "),
        ("61 * * * *", 0, "minutes: `61`: "),
        ("0 0 * * MOON", 8, "day of the week: `MOON` cannot stand here"),
        ("0 0 * JAN2 *", 6, "month: `JAN2` cannot stand here"),
        ("0 JAN * * *", 2, "hours: `JAN` cannot stand here"),
        ("0 0 32 * *", 4, "day of the month: `32`: "),
        ("0 0 0 * *", 4, "day of the month: `0`: "),
        ("*/0 * * * *", 0, "minutes: `*/0`: "),
        ("0 10-5 * * *", 2, "hours: `10-5`: "),
        ("0 1,,2 * * *", 4, "hours: nothing stands beside a comma"),
        ("0 2, * * *", 4, "hours: nothing stands beside a comma"),
        ("  0 x * * *", 4, "hours: `x` cannot stand here"),
        ("0 2\u{a0}* * * *", 2, "hours: "),
        ("@dayly", 0, "`@dayly` is none of @yearly"),
        ("0 0 * * FRI#6", 8, "day of the week: `FRI#6`: "),
    ] {
        let (at, said) = fault(pattern);
        assert!(at == offset && said.contains(reason), "`{pattern}`: at {at}: {said}");
    }
    let (offset, _) = fault(&"1,".repeat(CRON_BYTES_MAX));
    assert_eq!(offset, CRON_BYTES_MAX);
}

#[test]
fn a_zone_that_nobody_knows_is_told() {
    for zone in ["", "Europe/Atlantis", "Etc/Unknown", "../../etc/passwd", &"x".repeat(65)] {
        assert_eq!(Calendar::of("@daily", zone).err(), Some(CalendarFault::NoSuchZone), "{zone}");
    }
}

#[test]
fn no_text_is_a_panic_and_every_search_comes_to_an_end() {
    let pieces = [
        "*", "0", "7", "59", "31", "2", "29", "L", "W", "LW", "15W", "#", "#5", "/", "/7", "-", ",", "+", "?", " ",
        " ", "FRI", "SUN", "FEB", "DEC", "@", "@daily", "2030", "65535", "99999", "é", "\u{0}", "ß",
    ];
    let entries =
        ["*", "*", "0", "7", "1-5", "*/7", "2,9", "L", "15W", "31W", "FRI", "5#2", "6#5", "31", "30", "29", "2"];
    let mut random = Random::new(1);
    let (mut understood, from) = (0, time("2026-03-28T23:59:59Z"));
    for _ in 0..20_000 {
        let text: String = match random.below(2) {
            0 => (0..random.below(16)).map(|_| random.pick(&pieces)).collect(),
            _ => (0..5 + random.below(3)).map(|_| random.pick(&entries)).collect::<Vec<_>>().join(" "),
        };
        let Ok(calendar) = Calendar::of(&text, random.pick(&["UTC", "Europe/Berlin", "Pacific/Apia"])) else {
            continue;
        };
        understood += 1;
        let after = calendar.after(from);
        assert!(after.is_none_or(|after| after > from));
        let until = calendar.until(from);
        assert!(until.is_none_or(|until| until <= from));
    }
    assert!(understood > 200, "{understood}");
}

#[test]
fn the_next_run_is_the_first_second_that_the_pattern_matches() {
    let mut random = Random::new(2);
    for _ in 0..40 {
        let (hours, minutes) = (random.below(24), 1 + random.below(30));
        let from = time("2026-03-28T00:00:00Z").0 + random.below(48 * 3600) * SECOND;
        let pattern = match random.below(3) {
            0 => format!("*/{minutes} * * * *"),
            1 => format!("{minutes} {hours} * * *"),
            _ => format!("{minutes}-59/7 */{} * * *", 1 + hours % 5),
        };
        let cron: croner::Cron = pattern.parse().expect("a pattern");
        let matches = |at: &u64| {
            let at = jiff::Timestamp::from_microsecond(*at as i64).expect("a time");
            cron.is_time_matching(&at.to_zoned(jiff::tz::TimeZone::UTC)).expect("a time")
        };
        let naive = (from / SECOND + 1..).map(|second| second * SECOND).find(matches).expect("there is one");
        assert_eq!(calendar(&pattern, "UTC").after(Timestamp(from)), Some(Timestamp(naive)), "`{pattern}`");
    }
}

#[test]
fn runs_that_have_come_are_counted_up_to_a_bound_and_the_newest_is_known_all_the_same() {
    let every_second = When::Cron { pattern: "* * * * * *".into(), zone: "UTC".into() };
    let (first, now) = (time("2026-03-01T00:00:00Z"), time("2026-03-08T00:00:00.5Z"));
    let come = every_second.come(first, now);
    assert_eq!((told(come.newest), come.count), ("2026-03-08T00:00:00Z".to_owned(), RUNS_COUNTED_MAX));
    assert_eq!(come.next.map(told).as_deref(), Some("2026-03-08T00:00:01Z"));
    let every = When::Every { micros: SECOND };
    let come = every.come(first, now);
    assert_eq!((told(come.newest), come.count), ("2026-03-08T00:00:00Z".to_owned(), 7 * 86_400 + 1));
    assert_eq!(every_second.runs(Some(first), usize::MAX).len(), RUNS_TOLD_MAX);
}
