//! `towpath bench`: one line with a rate and, from the same run, the rate of what it is held against.

use std::time::{Duration, Instant};

use serde::Serialize;
use towpath::{AppendOptions, Level, Options, Record, Stream, StreamOptions};

use crate::exit::Failure;
use crate::output::{counted, say, say_json, spinner};
use crate::signals::{self, Signals};

/// Bytes of a record's body.
const RECORD_BYTES: usize = 100;

/// Both sides are measured in turn this many times and the median of each is told, so that noise from beside hits both.
const ROUNDS: usize = 5;

/// After this many appends it is looked whether a signal came: then the temporary database is removed.
const RECORDS_PER_LOOK: u64 = 10_000;

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Append 100-byte records one by one, from one thread, at level Buffered, in a temporary database
    Append {
        /// Records in each of the five rounds
        #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
        records: u64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Verb {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Verb::Append { records, json } = self;
        let sign = spinner("appending");
        let rates = measure(records);
        sign.finish_and_clear();
        let rates = rates?;
        if json { say_json(&rates) } else { say(rates.sentence()) }
    }
}

/// What one run measured.
#[derive(Serialize)]
struct Rates {
    records: u64,
    record_bytes: usize,
    rounds: usize,
    append_per_second: f64,
    ring_per_second: f64,
    ratio: f64,
}

impl Rates {
    fn sentence(&self) -> String {
        format!(
            "append of {RECORD_BYTES} bytes, Buffered, one thread, {}: \
             {:.2} million/s; bare ring: {:.2} million/s; ratio {:.2}",
            counted(self.records, "record"),
            self.append_per_second / 1e6,
            self.ring_per_second / 1e6,
            self.ratio,
        )
    }
}

fn measure(records: u64) -> Result<Rates, Failure> {
    let signals = signals::catch()?;
    let database = Options::new().open_temporary()?;
    let stream = database.create_stream("bench", StreamOptions::new())?;
    append(&stream, records.min(100_000), signals)?;
    let mut appends = Vec::with_capacity(ROUNDS);
    let mut rings = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        database.sync()?;
        rings.push(bare_ring(records)?);
        appends.push(append(&stream, records, signals)?);
    }
    database.close()?;
    let rate = |durations| records as f64 / median(durations).as_secs_f64().max(f64::MIN_POSITIVE);
    let (append_per_second, ring_per_second) = (rate(appends), rate(rings));
    let ratio = append_per_second / ring_per_second;
    Ok(Rates { records, record_bytes: RECORD_BYTES, rounds: ROUNDS, append_per_second, ring_per_second, ratio })
}

fn bare_ring(records: u64) -> Result<Duration, Failure> {
    towpath::measure::bare_ring(records, RECORD_BYTES)
        .map_err(|source| Failure::from(towpath::Error::Io { attempt: "making the bare ring", source }))
}

fn append(stream: &Stream, records: u64, signals: &Signals) -> Result<Duration, Failure> {
    let body = [b'x'; RECORD_BYTES];
    let options = AppendOptions::new().level(Level::Buffered);
    let start = Instant::now();
    for number in 0..records {
        if number % RECORDS_PER_LOOK == 0 {
            signals.check()?;
        }
        stream.append_with(Record::new(&body), &options)?;
    }
    Ok(start.elapsed())
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}
