//! Cron patterns on the calendar of a time zone: which times they name.
//!
//! Patterns are parsed and searched by croner, zones are those of jiff's own database, which comes with the program: no
//! file is read, and two machines agree. What clocks that are put forward or back come to is Vixie cron's rule, as
//! croner has it: a pattern that names one time of the day runs once on each such day, at the end of the hour that was
//! skipped, or in the first of the two that are alike; one that names several runs at each time that there is.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::rc::Rc;

use croner::errors::CronError;
use croner::{CivilDateTime, Cron, CronDateTime, Resolution, Weekday};
use jiff::Zoned;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::base::bounds::{CRON_BYTES_MAX, RUN_SEARCH_STEPS_MAX, RUN_YEARS_MAX, ZONE_BYTES_MAX};
use crate::base::time::Timestamp;

/// A cron pattern and the zone whose clocks it is read on.
pub(super) struct Calendar {
    cron: Cron,
    zone: TimeZone,
}

/// Why there is no such calendar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum CalendarFault {
    NoSuchZone,
    /// The byte of the text at which it cannot be understood, and why.
    Pattern {
        offset: usize,
        reason: String,
    },
}

impl Calendar {
    pub(super) fn of(pattern: &str, zone: &str) -> Result<Calendar, CalendarFault> {
        check(pattern)?;
        let cron: Cron = pattern.parse().map_err(|fault| located(pattern, &fault))?;
        let known = if zone.len() > ZONE_BYTES_MAX { None } else { TimeZoneDatabase::bundled().get(zone).ok() };
        let zone = known.filter(|zone| !zone.is_unknown()).ok_or(CalendarFault::NoSuchZone)?;
        Ok(Calendar { cron, zone })
    }

    /// The first time behind this one, if there is one within [`RUN_YEARS_MAX`] years.
    pub(super) fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_next_occurrence(&self.within(time)?, false).ok()?;
        found.timestamp().filter(|found| *found > time)
    }

    /// The last time that is not behind this one, if there is one within [`RUN_YEARS_MAX`] years.
    pub(super) fn until(&self, time: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_previous_occurrence(&self.within(time)?, true).ok()?;
        found.timestamp().filter(|found| *found <= time)
    }

    fn within(&self, time: Timestamp) -> Option<Within> {
        let at = jiff::Timestamp::from_microsecond(i64::try_from(time.0).ok()?).ok()?.to_zoned(self.zone.clone());
        let year = i32::from(at.year());
        let years = year - RUN_YEARS_MAX..=year + RUN_YEARS_MAX;
        Some(Within { at, years, steps_left: Rc::new(Cell::new(RUN_SEARCH_STEPS_MAX)) })
    }
}

/// A time from which a search goes on that comes to an end: croner looks for thousands of years.
#[derive(Clone)]
struct Within {
    at: Zoned,
    years: RangeInclusive<i32>,
    steps_left: Rc<Cell<u32>>,
}

impl Within {
    fn timestamp(&self) -> Option<Timestamp> {
        u64::try_from(self.at.timestamp().as_microsecond()).ok().map(Timestamp)
    }

    fn with(&self, at: Zoned) -> Within {
        Within { at, ..self.clone() }
    }
}

impl CronDateTime for Within {
    fn to_civil(&self) -> CivilDateTime {
        self.at.to_civil()
    }

    fn civil_weekday(&self) -> Weekday {
        self.at.civil_weekday()
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Within>, CronError> {
        let left = self.steps_left.get().checked_sub(1).ok_or(CronError::TimeSearchLimitExceeded)?;
        self.steps_left.set(left);
        if !self.years.contains(&civil.year()) {
            return Err(CronError::TimeSearchLimitExceeded);
        }
        Ok(match self.at.resolve_civil(civil)? {
            Resolution::Single(at) => Resolution::Single(self.with(at)),
            Resolution::Ambiguous(earlier, later) => Resolution::Ambiguous(self.with(earlier), self.with(later)),
            Resolution::Gap => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Within> {
        self.at.checked_add_seconds(seconds).map(|at| self.with(at))
    }

    fn cmp_instant(&self, other: &Within) -> Ordering {
        self.at.cmp_instant(&other.at)
    }
}

/// A field of a pattern: what it is called, and what may be written for its numbers.
struct Field {
    name: &'static str,
    words: &'static [&'static str],
}

const FIELDS: [Field; 7] = [
    Field { name: "seconds", words: &[] },
    Field { name: "minutes", words: &[] },
    Field { name: "hours", words: &[] },
    Field { name: "day of the month", words: &["L", "W", "LW"] },
    Field {
        name: "month",
        words: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    },
    Field { name: "day of the week", words: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "L"] },
    Field { name: "year", words: &[] },
];

const NICKNAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/// Fields with the byte at which each begins.
fn fields(pattern: &str) -> Vec<(usize, &str)> {
    let offset = |field: &str| field.as_ptr() as usize - pattern.as_ptr() as usize;
    pattern.split_ascii_whitespace().map(|field| (offset(field), field)).collect()
}

fn fault<T>(offset: usize, reason: String) -> Result<T, CalendarFault> {
    Err(CalendarFault::Pattern { offset, reason })
}

/// Refuses what croner would take for something that it does not say: it replaces names wherever they stand.
fn check(pattern: &str) -> Result<(), CalendarFault> {
    if pattern.len() > CRON_BYTES_MAX {
        return fault(CRON_BYTES_MAX, format!("a pattern has at most {CRON_BYTES_MAX} bytes"));
    }
    let fields = fields(pattern);
    if let [(offset, only)] = fields[..]
        && only.starts_with('@')
    {
        let is_known = NICKNAMES.iter().any(|known| known.eq_ignore_ascii_case(only));
        return if is_known { Ok(()) } else { fault(offset, format!("`{only}` is none of {}", NICKNAMES.join(", "))) };
    }
    if !(5..=7).contains(&fields.len()) {
        let offset = fields.get(7).map_or(pattern.trim_ascii_end().len(), |(offset, _)| *offset);
        let says = "5 fields, or 6 with the seconds before them, or 7 with the year behind them";
        return fault(offset, format!("a pattern has {says}; this one has {}", fields.len()));
    }
    for (field, (offset, text)) in kinds(fields.len()).zip(fields) {
        check_field(field, offset, text)?;
    }
    Ok(())
}

/// What the fields are, of a pattern that has so many.
fn kinds(fields: usize) -> impl Iterator<Item = &'static Field> {
    FIELDS[usize::from(fields == 5)..].iter().take(fields)
}

fn check_field(field: &Field, start: usize, text: &str) -> Result<(), CalendarFault> {
    let mut offset = start;
    for entry in text.split(',') {
        if entry.is_empty() {
            return fault(offset, format!("{}: nothing stands beside a comma", field.name));
        }
        let mut word_offset = offset;
        for word in entry.split(|other: char| "*-/?#+".contains(other)) {
            if !is_word(field, word) {
                return fault(word_offset, format!("{}: `{word}` cannot stand here", field.name));
            }
            word_offset += word.len() + 1;
        }
        offset += entry.len() + 1;
    }
    Ok(())
}

/// A number, or one of the field's words, or the two where they may stand together: `15W`, `5L`, `FRIL`.
fn is_word(field: &Field, word: &str) -> bool {
    let is_known = |word: &str| field.words.iter().any(|known| known.eq_ignore_ascii_case(word));
    let is_number = |word: &str| (1..=4).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    let with_letter = |letter: char| {
        let rest = word.strip_suffix([letter, letter.to_ascii_lowercase()]);
        is_known(letter.encode_utf8(&mut [0; 4])) && rest.is_some_and(|rest| is_number(rest) || is_known(rest))
    };
    word.is_empty() || is_number(word) || is_known(word) || with_letter('W') || with_letter('L')
}

/// Finds out which entry of a pattern croner refuses: the others are replaced by what any pattern may say.
fn located(pattern: &str, whole: &CronError) -> CalendarFault {
    let fields = fields(pattern);
    let first = usize::from(fields.len() == 5);
    for (place, (start, text)) in fields.iter().enumerate() {
        let mut offset = *start;
        for entry in text.split(',') {
            let mut others = ["0", "0", "0", "*", "*", "*", "*"];
            others[first + place] = entry;
            if let Err(refused) = others.join(" ").parse::<Cron>() {
                let reason = format!("{}: `{entry}`: {}", FIELDS[first + place].name, said(&refused));
                return CalendarFault::Pattern { offset, reason };
            }
            offset += entry.len() + 1;
        }
    }
    CalendarFault::Pattern { offset: 0, reason: said(whole) }
}

/// What croner says, without what it says of itself.
fn said(fault: &CronError) -> String {
    let text = match fault {
        CronError::InvalidPattern(text) | CronError::IllegalCharacters(text) | CronError::ComponentError(text) => text,
        other => return other.to_string(),
    };
    text.trim_end_matches('.').to_owned()
}
