//! Queues: cycles of sending, receiving and acknowledging, and what a backlog costs.

use std::path::Path;
use std::time::{Duration, Instant};

use towpath::{Database, Level, Message, Options, Queue, QueueOptions, Stream, StreamOptions};

use super::disk::{bytes_below, median};
use super::heap;

const ROUNDS: usize = 7;
const BODY: [u8; 100] = [b'x'; 100];
const BATCH: usize = 100;

fn open(directory: &Path) -> Database {
    Options::new().level(Level::Buffered).open(directory.join("data")).expect("opens")
}

fn micros_each(count: usize, act: impl FnOnce()) -> f64 {
    let began = Instant::now();
    act();
    began.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn append(stream: &Stream, count: usize) {
    for _ in 0..count {
        stream.append(&BODY).expect("appends");
    }
}

fn cycle(queue: &Queue, count: usize) {
    for _ in 0..count {
        queue.send(&BODY).expect("sends");
        queue.receive().expect("receives").ack().expect("acknowledges");
    }
}

fn cycle_batches(queue: &Queue, count: usize) {
    let batch = [Message::new(&BODY); BATCH];
    for _ in 0..count / BATCH {
        queue.send_batch(&batch).expect("sends");
        let deliveries = queue.receive_batch(BATCH).expect("receives");
        assert_eq!(deliveries.len(), BATCH, "all of it is there");
        queue.ack_batch(deliveries).expect("acknowledges");
    }
}

pub(crate) fn cycles(directory: &Path) {
    const COUNT: usize = 200_000;
    let database = open(directory);
    let stream = database.create_stream("orders", StreamOptions::new()).expect("creates");
    let queue = database.create_queue("orders", QueueOptions::new()).expect("creates");
    let (mut singles, mut batches, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let bare = micros_each(COUNT, || append(&stream, COUNT));
        let single = micros_each(COUNT, || cycle(&queue, COUNT));
        batches.push(1.0 / micros_each(COUNT, || cycle_batches(&queue, COUNT)));
        singles.push(1.0 / single);
        ratios.push(bare / single);
    }
    println!(
        "  {:.2} million cycles/s, one call each (target 1); {:.3} of the rate of bare appends (target 0.1); \
         {:.2} million/s in batches of {BATCH} (target 3)",
        median(singles),
        median(ratios),
        median(batches)
    );
}

fn fill(queue: &Queue, message: Message<'_>, count: usize) {
    let batch = vec![message; 1_000];
    for _ in 0..count / batch.len() {
        queue.send_batch(&batch).expect("sends");
    }
}

pub(crate) fn backlog(directory: &Path) {
    const COUNT: usize = 50_000_000;
    const CYCLES: usize = 100_000;
    let database = open(directory);
    let queue = database.create_queue("orders", QueueOptions::new()).expect("creates");
    let empty = heap::in_use();
    fill(&queue, Message::new(&BODY), 1_000);
    let small = micros_each(CYCLES, || cycle(&queue, CYCLES));
    fill(&queue, Message::new(&BODY), COUNT);
    database.checkpoint().expect("checkpoints");
    let heap_mib = (heap::in_use().saturating_sub(empty)) as f64 / (1 << 20) as f64;
    let large = micros_each(CYCLES, || cycle(&queue, CYCLES));
    println!(
        "  {COUNT} messages wait: {heap_mib:.1} MiB of heap (target 64); a cycle costs {:.2} × that with 1,000 (target \
         1.3)",
        large / small
    );
    queue.purge().expect("purges");
    let (mut checkpoints, mut bytes) = (0, u64::MAX);
    // Each gives back a bounded part.
    while checkpoints < 4 || bytes_below(directory) < bytes {
        bytes = bytes_below(directory);
        (0..4).for_each(|_| database.checkpoint().expect("checkpoints"));
        checkpoints += 4;
    }
    println!(
        "  after they went, and {checkpoints} checkpoints: {:.0} MiB on disk (target 400)",
        bytes_below(directory) as f64 / (1 << 20) as f64
    );
}

pub(crate) fn delayed(directory: &Path) {
    const DELAYED: usize = 10_000_000;
    const FAILED: usize = 100_000;
    let database = open(directory);
    let queue = database.create_queue("orders", QueueOptions::new()).expect("creates");
    let empty = heap::in_use();
    fill(&queue, Message::new(&BODY).delay(Duration::from_secs(7 * 24 * 3_600)), DELAYED);
    database.checkpoint().expect("checkpoints");
    let mib = |bytes: usize| bytes as f64 / (1 << 20) as f64;
    let delayed = heap::in_use().saturating_sub(empty);
    let retried = database.create_queue("retried", QueueOptions::new()).expect("creates");
    fill(&retried, Message::new(&BODY), FAILED);
    for _ in 0..FAILED {
        let message = retried.receive().expect("receives");
        message.fail_with_delay("no such address", Duration::from_secs(3_600)).expect("fails");
    }
    database.checkpoint().expect("checkpoints");
    let failed = heap::in_use().saturating_sub(empty + delayed);
    println!(
        "  {DELAYED} delayed messages: {:.1} MiB of heap; {FAILED} in backoff: {:.1} MiB, {:.0} bytes each (target 128 \
         MiB for ten million delayed and a million in backoff)",
        mib(delayed),
        mib(failed),
        failed as f64 / FAILED as f64
    );
}

pub(crate) fn many(directory: &Path) {
    const QUEUES: usize = 10_000;
    let database = open(directory);
    let empty = heap::in_use();
    for number in 0..QUEUES {
        let queue = database.create_queue(&format!("orders-{number}"), QueueOptions::new()).expect("creates");
        queue.send(&BODY).expect("sends");
    }
    let heap_mib = heap::in_use().saturating_sub(empty) as f64 / (1 << 20) as f64;
    database.close().expect("closes");
    let began = Instant::now();
    let database = open(directory);
    println!(
        "  {QUEUES} queues with a message each: {heap_mib:.1} MiB of heap (target 100); opened in {:.0} ms (target \
         1,000)",
        began.elapsed().as_secs_f64() * 1e3
    );
    database.close().expect("closes");
}
