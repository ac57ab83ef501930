//! Times, durations and sizes as people write them.

use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use towpath::{Start, Timestamp};

use crate::output::{counted, grouped};

/// Where reading begins, as `--from` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StartName {
    Earliest,
    Latest,
    Offset(u64),
    Time(jiff::Timestamp),
}

impl FromStr for StartName {
    type Err = String;

    fn from_str(text: &str) -> Result<StartName, String> {
        match text {
            "earliest" => return Ok(StartName::Earliest),
            "latest" => return Ok(StartName::Latest),
            _ => {}
        }
        if !text.starts_with('+')
            && let Ok(offset) = text.parse()
        {
            return Ok(StartName::Offset(offset));
        }
        let time = if let Some(seconds) = text.strip_prefix('@') {
            unix_time(seconds)
        } else if let Some(ago) = text.strip_prefix('-') {
            duration(ago).ok().and_then(|ago| jiff::Timestamp::now().checked_sub(ago).ok())
        } else {
            text.parse().ok().or_else(|| time_of_system_zone(text))
        };
        time.map(StartName::Time).ok_or_else(|| {
            "expected earliest, latest, an offset, or a time such as 2026-03-01T12:00:00Z, 2026-03-01, \
             @1772366400 or -5m"
                .to_owned()
        })
    }
}

impl StartName {
    pub(crate) fn position(self) -> Start {
        match self {
            StartName::Earliest => Start::Earliest,
            StartName::Latest => Start::Latest,
            StartName::Offset(offset) => Start::Offset(offset),
            StartName::Time(time) => Start::Time(Timestamp::from_micros(time.as_microsecond().max(0).unsigned_abs())),
        }
    }
}

/// A date or a time without a zone, as `journalctl --since` takes it; one with the name of its zone is taken there.
fn time_of_system_zone(text: &str) -> Option<jiff::Timestamp> {
    if let Ok(zoned) = text.parse::<jiff::Zoned>() {
        return Some(zoned.timestamp());
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    civil.to_zoned(jiff::tz::TimeZone::system()).ok().map(|zoned| zoned.timestamp())
}

fn unix_time(seconds: &str) -> Option<jiff::Timestamp> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(fraction) {
        return None;
    }
    let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    jiff::Timestamp::new(whole.parse().ok()?, nanos).ok()
}

/// A time such as `2026-03-01T12:00:00Z`, or one of the system's zone, or with the name of its zone, or `@1772366400`.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    match text.parse() {
        Ok(StartName::Time(time)) if !text.starts_with('-') => {
            Ok(Timestamp::from_micros(time.as_microsecond().max(0).unsigned_abs()))
        }
        _ => Err("expected a time such as 2026-03-01T12:00:00Z, 2026-03-01 or @1772366400".to_owned()),
    }
}

/// A duration such as `90s`, `5m`, `1h30m`, `7d` or `2w`; a day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|_| "expected a duration such as 90s, 5m, 1h30m or 7d".to_owned())?;
    let exact: SignedDuration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years have no fixed length; give days".to_owned())?;
    Duration::try_from(exact).map_err(|_| "a duration cannot be negative".to_owned())
}

/// A size in bytes such as `4096`, `100MB` or `8MiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim().trim_end_matches(['B', 'b']) {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err("expected bytes such as 4096, 100MB or 8MiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "expected bytes such as 4096, 100MB or 8MiB".to_owned())?;
    number.checked_mul(scale).ok_or_else(|| "this is more than 64 bits hold".to_owned())
}

/// A duration as [`duration`] reads it, exact: `1h 30m`, `7d`, `1s 250ms`.
pub(crate) fn human_duration(micros: u64) -> String {
    const UNITS: [(u64, &str); 6] =
        [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms"), (1, "us")];
    let mut rest = micros;
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        if rest >= unit {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// A size as [`bytes`] reads it, in the largest unit that it is a whole number of: `100 MB`, `8 MiB`, `1,500 bytes`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1 << 40, "TiB"),
        (1_000_000_000_000, "TB"),
        (1 << 30, "GiB"),
        (1_000_000_000, "GB"),
        (1 << 20, "MiB"),
        (1_000_000, "MB"),
    ];
    let whole = UNITS.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| counted(bytes, "byte"), |(unit, name)| format!("{} {name}", grouped(bytes / unit)))
}

/// One character, or one of the escapes `\t`, `\0` and `\\`.
pub(crate) fn separator(text: &str) -> Result<char, String> {
    let mut letters = text.chars();
    match (letters.next(), letters.next(), letters.next()) {
        (Some('\\'), Some('t'), None) => Ok('\t'),
        (Some('\\'), Some('0'), None) => Ok('\0'),
        (Some('\\'), Some('\\'), None) => Ok('\\'),
        (Some(letter), None, None) => Ok(letter),
        _ => Err("expected one character, or \\t for a tab".to_owned()),
    }
}

/// A time in RFC 3339.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| format!("{micros}us"), |time| format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_words_offsets_and_times() {
        let time = |text: &str| StartName::Time(text.parse().unwrap());
        assert_eq!("earliest".parse(), Ok(StartName::Earliest));
        assert_eq!("42".parse(), Ok(StartName::Offset(42)));
        assert_eq!("2026-03-01T12:00:00Z".parse(), Ok(time("2026-03-01T12:00:00Z")));
        assert_eq!("@1772366400".parse(), Ok(time("2026-03-01T12:00:00Z")));
        assert_eq!("@1772366400.25".parse(), Ok(time("2026-03-01T12:00:00.25Z")));
        for wrong in ["yesterday", "+5", "+5m", "@", "@1.x", "-", "-5", "-1month", ""] {
            assert!(wrong.parse::<StartName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_relative_start_lies_in_the_past() {
        let Ok(StartName::Time(time)) = "-5m".parse() else { panic!("not a time") };
        let ago = jiff::Timestamp::now().duration_since(time).as_secs();
        assert!((299..=301).contains(&ago), "{ago}");
    }

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert!(duration("1mo").is_err() && duration("-1s").is_err() && duration("5").is_err());
        assert_eq!(bytes("4096"), Ok(4_096));
        assert_eq!(bytes("100MB"), Ok(100_000_000));
        assert_eq!(bytes("8MiB"), Ok(8 << 20));
        assert!(bytes("MB").is_err() && bytes("1.5G").is_err() && bytes("99999999T").is_err());
    }

    #[test]
    fn what_is_shown_in_units_is_exact_and_can_be_read_back() {
        for (micros, text) in [
            (5_400_000_000, "1h 30m"),
            (7 * 86_400_000_000, "7d"),
            (1_250_000, "1s 250ms"),
            (259_200_000_001, "3d 1us"),
        ] {
            assert_eq!(human_duration(micros), text);
            assert_eq!(duration(text), Ok(Duration::from_micros(micros)));
        }
        for (size, text) in [(100_000_000, "100 MB"), (8 << 20, "8 MiB"), (5_000 << 30, "5,000 GiB"), (1, "1 byte")] {
            assert_eq!(human_bytes(size), text);
        }
        assert_eq!(human_bytes(100_000_001), "100,000,001 bytes");
    }

    #[test]
    fn a_separator_is_one_character() {
        assert_eq!(separator(","), Ok(','));
        assert_eq!(separator("\\t"), Ok('\t'));
        assert!(separator("").is_err() && separator("ab").is_err());
    }

    #[test]
    fn times_are_written_in_rfc_3339() {
        assert_eq!(rfc3339(Timestamp::from_micros(1_772_366_400_000_001)), "2026-03-01T12:00:00.000001Z");
    }
}
