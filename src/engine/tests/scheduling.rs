//! Schedules through closes, kills and power cuts: a run sends its message once.

use std::time::Duration;

use super::queues::PLAIN;
use super::*;
use crate::engine::workers::{Next, Worker};
use crate::primitives::queues::{
    Command as C, Message, MissedRuns, Options, OverlappingRuns, Plan, QueueNumber, Reply as QueueReply, Target, When,
    read_messages,
};
use crate::primitives::streams::Record;
use crate::sim::random::Random;

const REPORT: &[u8] = b"make the report";

/// The times that the plan names of all messages in a queue, in order, as they say themselves.
fn runs_in(bench: &Bench, queue: QueueNumber) -> Vec<String> {
    let lane =
        bench.engine.core.lock().machine.queues.get(queue).map(|queue| (queue.lanes()[0].log, queue.lanes()[0].end));
    let (log, end) = lane.expect("it has a lane");
    let (mut runs, mut cursor) = (Vec::new(), Cursor::default());
    while (runs.len() as u64) < end {
        let read = bench.engine.read(log, runs.len() as u64, 1, &mut cursor).expect("nothing is damaged");
        let Read::Items(batch) = read else { panic!("message {} is not there", runs.len()) };
        for item in batch.items() {
            for message in read_messages(batch.bytes(item), &item.entry).expect("an item of a lane") {
                let block = message.expect("a message that was written").record.header_block;
                let mut headers = streams::headers(block).map(|header| header.expect("a header that was written"));
                let run = headers.find(|header| header.name == "x-scheduled-at").expect("it says when");
                runs.push(String::from_utf8(run.value.to_vec()).expect("a text"));
            }
        }
    }
    runs
}

#[test]
fn a_run_sends_its_message_once_whatever_end_the_engine_comes_to() {
    for seed in 0..20 {
        let (mut random, clock) = (Random::new(seed), ManualClock::starting_at(Timestamp(NOON)));
        let mut bench = Bench::open(SimDisk::new(seed), clock);
        let create = Command::Queues(C::Create { name: "reports", options: &Options::default() });
        let created = bench.engine.submit(&create, Level::Sync, None).expect("nothing refuses it");
        let Reply::Queues(QueueReply::Queue(queue)) = created.reply else { panic!("a queue") };
        let (missed, overlap) = (MissedRuns::All, OverlappingRuns::Allow);
        let when = When::Every { micros: 10_000_000 };
        let plan = &Plan { when, target: Target::Queue(queue), missed, overlap };
        let message = &Message { record: Record::new(REPORT), ..PLAIN };
        let schedule = Command::Queues(C::Schedule { name: "nightly", plan, message });
        bench.engine.submit(&schedule, Level::Sync, None).expect("nothing refuses it");
        for _ in 0..8 {
            for _ in 0..random.below(8) {
                match random.below(4) {
                    0 => bench.engine.checkpoint().expect("nothing fails"),
                    1 => bench.clock.advance(Duration::from_secs(random.below(40))),
                    _ => drop(bench.engine.step(Worker::Timers, &mut None)),
                }
            }
            match random.below(3) {
                0 => bench.engine.close().expect("nothing fails"),
                1 => bench.engine.abandon(),
                _ => {
                    bench.disk.power_cut();
                    bench.engine.abandon();
                }
            }
            let Bench { disk, clock, engine } = bench;
            drop(engine);
            bench = Bench::open(disk, clock);
        }
        bench.clock.advance(Duration::from_secs(10));
        while bench.engine.step(Worker::Timers, &mut None) == Next::Again {}
        let runs = (bench.clock.wall().0 - NOON) / 10_000_000;
        let expected = (1..=runs).map(|run| NOON + run * 10_000_000);
        let text = |micros: u64| jiff::Timestamp::from_microsecond(micros as i64).expect("a time").to_string();
        assert_eq!(runs_in(&bench, queue), expected.map(text).collect::<Vec<_>>(), "seed {seed}");
    }
}
