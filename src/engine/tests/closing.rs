//! Closing while others write, and an open that does not get its threads.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::base::sync::refuse_threads_after;
use crate::engine::workers::Worker;
use crate::storage::disk::clock;
use crate::{Database, Error};

/// Far beyond what anything here takes; a test that reaches it would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine whose timers alone run, as if its other threads had ended first, and whose ring is full. Tells its stream,
/// of which a tick will be due, and how many records that has.
fn with_a_full_ring() -> (Bench, StreamHandle, usize) {
    let bench = Bench::new();
    let retention = streams::Retention { age_micros: Some(HOUR), ..streams::Retention::default() };
    let stream = bench.create("orders", 1, retention);
    bench.engine.start_some(&[Worker::Timers]).expect("a thread can be had");
    let mut records = 0;
    for bytes in [512 << 10, 64 << 10, 1 << 10, 0] {
        let body = vec![7; bytes];
        let record = [streams::Record::new(&body)];
        let groups = [streams::Group { partition: 0, expect_offset: None, records: &record }];
        let append = streams::Append { stream, mapping_partitions: 1, groups: &groups };
        let command = Command::Streams(streams::Command::Append(append));
        while bench.engine.submit(&command, Level::Buffered, Some(clock::boot())).is_ok() {
            records += 1;
        }
    }
    (bench, stream, records)
}

#[test]
fn closing_answers_writers_that_wait_for_room_although_a_tick_waits_too() {
    let (bench, stream, records) = with_a_full_ring();
    let (disk, manual, log) = (bench.disk.clone(), bench.clock.clone(), bench.log(stream, 0));
    let bench = Arc::new(bench);
    let write =
        |bench: Arc<Bench>| thread::spawn(move || bench.try_append(stream, 0, b"one blue mug", Level::Buffered));
    let writers = [write(bench.clone()), write(bench.clone())];
    manual.advance(Duration::from_secs(2 * 3600));
    let begun = Instant::now();
    while bench.engine.space.total_listeners() < 3 {
        assert!(begun.elapsed() < PATIENCE, "two writers and a tick wait for room");
        thread::sleep(Duration::from_millis(1));
    }
    let (tell, told) = mpsc::channel();
    let closing = bench.clone();
    thread::spawn(move || tell.send(closing.engine.close()));
    told.recv_timeout(PATIENCE).expect("closing ends").expect("nothing fails");
    for writer in writers {
        let answer = writer.join().expect("it ends");
        assert!(matches!(answer, Err(Refused::Fault(Fault::Closed))), "{answer:?}");
    }
    let bench = Bench::open(disk, manual);
    assert_eq!(bench.read_from(log, 0).0.len(), records, "what was accepted is there, and nothing else");
}

#[test]
fn a_checkpoint_after_closing_is_refused_before_it_begins() {
    let bench = Bench::new();
    bench.engine.close().expect("nothing fails");
    assert!(matches!(bench.engine.checkpoint(), Err(Fault::Closed)));
    assert!(!bench.engine.marks.is_poisoned(), "it met the index that is closed");
}

#[test]
fn an_open_that_gets_too_few_threads_ends_those_it_got_and_lets_the_directory_go() {
    let (disk, clock) = (SimDisk::new(1), ManualClock::starting_at(Timestamp(NOON)));
    let open = || Database::open_on(disk.attach(), options(&clock), Level::Sync);
    for threads in 0..4 {
        refuse_threads_after(threads);
        let refused = open().expect_err("not all of its threads can be had");
        assert!(matches!(refused, Error::Io { .. }), "{refused:?}");
    }
    refuse_threads_after(usize::MAX);
    open().expect("nobody holds it").close().expect("nothing fails");
}
