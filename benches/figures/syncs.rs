//! Appending at `Sync`.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use towpath::{AppendOptions, Database, Options, Record, Stream, StreamOptions};

use super::disk::{durable_write, median, micros, zero_filled};
use super::usage::Usage;

const BODY: [u8; 100] = [b'x'; 100];

/// What the engine writes for one such record and the watermark behind it.
const FRAME_BYTES: usize = 184;

pub(crate) fn one_thread(directory: &Path) {
    const ROUND: usize = 200;
    let database = Options::new().open(directory.join("data")).expect("opens");
    let stream = database.create_stream("orders", StreamOptions::new()).expect("creates");
    let file = zero_filled(&directory.join("bare"), 8 << 20);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..20 {
        for i in 0..ROUND {
            let at = ((round * ROUND + i) * FRAME_BYTES) as u64;
            bare.push(micros(durable_write(&file, at, &[b'y'; FRAME_BYTES])));
        }
        for _ in 0..ROUND {
            let started = Instant::now();
            stream.append(&BODY).expect("appends");
            ours.push(micros(started.elapsed()));
        }
    }
    let (ours, bare) = (median(ours), median(bare));
    println!("  {ours:.1} µs; bare pwritev2(RWF_DSYNC) {bare:.1} µs; ratio {:.3} (target 1.25)", ours / bare);
    database.close().expect("closes");
}

/// Threads, and what each appends in a round.
const THREADS: (usize, usize) = (64, 600);
const TICKETS: usize = 300_000;

pub(crate) fn threads(directory: &Path) {
    let database = Options::new().open(directory.join("data")).expect("opens");
    let stream = database.create_stream("orders", StreamOptions::new()).expect("creates");
    let (mut ratios, mut singles) = (Vec::new(), Vec::new());
    let (mut many, mut tickets) = (Rounds::default(), Rounds::default());
    for _ in 0..5 {
        singles.push(rate(&stream, 1, 3_000));
        let all = many.add(&database, THREADS.0 * THREADS.1, || rate(&stream, THREADS.0, THREADS.1));
        ratios.push(all / singles[singles.len() - 1]);
        tickets.add(&database, TICKETS, || in_flight(&stream, 1_024, TICKETS));
    }
    println!(
        "  one thread {:.0}/s, 64 threads {:.0}/s: {:.1} × (target 15)",
        median(singles),
        median(many.rates.clone()),
        median(ratios)
    );
    many.tell();
    println!("  one thread, 1,024 in flight: {:.2} million/s (target 1)", median(tickets.rates.clone()) / 1e6);
    tickets.tell();
    database.close().expect("closes");
}

/// What records took in each round.
#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    per_sync: Vec<f64>,
    usage: Vec<Usage>,
}

impl Rounds {
    fn add(&mut self, database: &Database, records: usize, round: impl FnOnce() -> f64) -> f64 {
        let syncs = || database.stats().expect("has figures").syncs;
        let (before, usage) = (syncs(), Usage::now());
        let rate = round();
        self.rates.push(rate);
        self.usage.push(Usage::now().since(usage, records as f64));
        self.per_sync.push(records as f64 / (syncs() - before) as f64);
        rate
    }

    fn tell(self) {
        let of = |part: fn(&Usage) -> f64| median(self.usage.iter().map(part).collect());
        let (user, system, sleeps) = (of(|u| u.user_micros), of(|u| u.system_micros), of(|u| u.sleeps));
        println!(
            "    {:.1} records to a sync; each takes {user:.2} µs in the program, {system:.2} µs in the kernel, sleeps \
             {sleeps:.2} times",
            median(self.per_sync),
        );
    }
}

fn rate(stream: &Stream, threads: usize, each: usize) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..each).for_each(|_| assert!(stream.append(&BODY).is_ok())));
        }
    });
    (threads * each) as f64 / started.elapsed().as_secs_f64()
}

fn in_flight(stream: &Stream, most: usize, records: usize) -> f64 {
    let (started, options) = (Instant::now(), AppendOptions::new());
    let mut tickets = VecDeque::with_capacity(most);
    for _ in 0..records {
        if tickets.len() == most {
            let oldest: towpath::Ticket<_> = tickets.pop_front().expect("there are some");
            oldest.wait().expect("is durable");
        }
        tickets.push_back(stream.submit(Record::new(&BODY), &options).expect("appends"));
    }
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    records as f64 / started.elapsed().as_secs_f64()
}
