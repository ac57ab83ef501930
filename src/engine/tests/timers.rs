//! Timers that found no room in memory, ticks that fail, and clocks that are wrong.

use std::time::Duration;

use super::*;
use crate::base::bounds::{PARTITIONS_MAX, TIMERS_IN_MEMORY};
use crate::engine::workers::{Next, Worker};

const MINUTE: Duration = Duration::from_secs(60);

/// Streams of one sort: two sorts have more partitions than there are timers in memory, one has fewer.
const STREAMS: usize = TIMERS_IN_MEMORY * 2 / 3 / PARTITIONS_MAX as usize;

fn an_hour() -> streams::Retention {
    streams::Retention { age_micros: Some(HOUR), ..streams::Retention::default() }
}

/// Streams with as many partitions as possible.
fn create_streams(bench: &Bench, name: &str) -> Vec<StreamHandle> {
    (0..STREAMS).map(|number| bench.create(&format!("{name} {number}"), PARTITIONS_MAX, an_hour())).collect()
}

/// Takes the timers' steps until none is due.
fn run_timers(bench: &Bench) {
    while bench.engine.step(Worker::Timers, &mut None) == Next::Again {}
}

/// How many partitions start at `start`.
fn starting_at(bench: &Bench, stream: StreamHandle, start: u64) -> usize {
    let core = bench.engine.core.lock();
    let stream = core.machine.streams.stream(stream).expect("it exists");
    stream.partitions().iter().filter(|partition| partition.start == start).count()
}

#[test]
fn timers_beyond_those_in_memory_come_due_in_their_time_although_memory_stays_full() {
    let bench = Bench::new();
    let many = STREAMS * PARTITIONS_MAX as usize;
    assert!(many < TIMERS_IN_MEMORY && 2 * many > TIMERS_IN_MEMORY);
    let (busy, quiet) = (create_streams(&bench, "busy"), create_streams(&bench, "quiet"));
    let append = |streams: &[StreamHandle]| streams.iter().for_each(|stream| bench.append_to_each(*stream));
    let count = |streams: &[StreamHandle], start| -> usize {
        streams.iter().map(|stream| starting_at(&bench, *stream, start)).sum()
    };
    append(&busy);
    bench.clock.advance(MINUTE * 30);
    append(&quiet);
    bench.clock.advance(MINUTE * 15);
    append(&busy);
    bench.clock.advance(MINUTE * 16);
    run_timers(&bench);
    assert_eq!((count(&busy, 1), count(&quiet, 0)), (many, many), "after 61 minutes");
    bench.clock.advance(MINUTE * 30);
    run_timers(&bench);
    assert_eq!((count(&busy, 1), count(&quiet, 1)), (many, many), "after 91 minutes");
    bench.clock.advance(MINUTE * 15);
    run_timers(&bench);
    assert_eq!(count(&busy, 2), many, "after 106 minutes");
}

#[test]
fn a_tick_that_fails_is_tried_again_after_a_while_and_not_at_once() {
    let bench = Bench::new();
    let stream = bench.create("orders", 1, an_hour());
    let lsn = bench.append(stream, 0, b"one blue mug", Level::Sync);
    bench.clock.advance(MINUTE * 2);
    for _ in 0..5 {
        bench.append(stream, 0, &vec![7; 1 << 20], Level::Buffered);
    }
    bench.engine.checkpoint().expect("nothing fails");
    let (file, offset) = bench.place(lsn);
    bench.disk.flip_bit(&file, offset + 40, 1);
    bench.clock.advance(MINUTE * 59);
    assert_eq!(bench.engine.step(Worker::Timers, &mut None), Next::Again, "the tick");
    let Next::Micros(rest) = bench.engine.step(Worker::Timers, &mut None) else { panic!("it is tried again at once") };
    assert!(rest >= 500_000, "tried again after {rest} µs");
    bench.disk.flip_bit(&file, offset + 40, 1);
    bench.clock.advance(Duration::from_micros(rest));
    run_timers(&bench);
    assert_eq!(starting_at(&bench, stream, 1), 1, "it is tried again in its time");
}

/// An engine with one record of now, ended in this way; its wall clock is then set a day ahead.
fn with_a_stepped_clock(end: fn(&Bench)) -> (Bench, StreamHandle) {
    let bench = Bench::new();
    let stream = bench.create("orders", 1, an_hour());
    bench.append(stream, 0, b"one blue mug", Level::Sync);
    bench.clock.advance(MINUTE);
    end(&bench);
    bench.clock.step_wall(Timestamp(bench.clock.wall().0 + 24 * HOUR));
    (bench, stream)
}

#[test]
fn a_step_of_the_wall_clock_while_closed_lets_nothing_go_before_it_has_held_for_ten_minutes() {
    let ends: [fn(&Bench); 2] = [|bench| bench.engine.close().expect("nothing fails"), |bench| bench.engine.abandon()];
    for end in ends {
        let (bench, stream) = with_a_stepped_clock(end);
        let mut bench = Bench::open(bench.disk, bench.clock);
        for _ in 0..3 {
            run_timers(&bench);
            bench.engine.checkpoint().expect("nothing fails");
            assert_eq!(starting_at(&bench, stream, 0), 1, "a doubted clock expires nothing");
            bench.clock.advance(MINUTE * 3);
        }
        let high = bench.engine.core.lock().clock.high();
        assert_eq!(high, Timestamp(NOON + 7 * HOUR / 60), "the step moves no high-water mark, boot time does");
        bench = bench.reopen();
        run_timers(&bench);
        assert_eq!(starting_at(&bench, stream, 0), 1, "the next life doubts it anew");
        bench.clock.advance(MINUTE * 10);
        run_timers(&bench);
        assert_eq!(starting_at(&bench, stream, 1), 1, "it has held");
    }
}

#[test]
fn time_that_passed_while_closed_is_believed_as_boot_time_confirms_it() {
    let bench = Bench::new();
    let stream = bench.create("orders", 1, an_hour());
    bench.append(stream, 0, b"one blue mug", Level::Sync);
    bench.engine.close().expect("nothing fails");
    bench.clock.advance(MINUTE * 60 * 24);
    let bench = Bench::open(bench.disk, bench.clock);
    run_timers(&bench);
    assert_eq!(starting_at(&bench, stream, 1), 1);
}

#[test]
fn after_a_reboot_the_wall_clock_is_believed() {
    let (bench, stream) = with_a_stepped_clock(|bench| bench.engine.close().expect("nothing fails"));
    let rebooted = ManualClock::starting_at(bench.clock.wall());
    let bench = Bench::open(bench.disk, rebooted);
    run_timers(&bench);
    assert_eq!(starting_at(&bench, stream, 1), 1);
}
