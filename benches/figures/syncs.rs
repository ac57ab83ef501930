//! Appending at `Sync`.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use towpath::{AppendOptions, Options, Record, Stream, StreamOptions};

use super::disk::{durable_write, median, micros, zero_filled};

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

pub(crate) fn threads(directory: &Path) {
    let database = Options::new().open(directory.join("data")).expect("opens");
    let stream = database.create_stream("orders", StreamOptions::new()).expect("creates");
    let (mut ratios, mut tickets, mut singles, mut many) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let one = rate(&stream, 1, 3_000);
        let all = rate(&stream, 64, 600);
        ratios.push(all / one);
        singles.push(one);
        many.push(all);
        tickets.push(in_flight(&stream, 1_024, 300_000));
    }
    println!(
        "  one thread {:.0}/s, 64 threads {:.0}/s: {:.1} × (target 15)",
        median(singles),
        median(many),
        median(ratios)
    );
    println!("  one thread, 1,024 in flight: {:.2} million/s (target 1)", median(tickets) / 1e6);
    database.close().expect("closes");
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
