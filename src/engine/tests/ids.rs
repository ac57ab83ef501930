//! Ids of messages through power cuts: a message is a duplicate exactly if its original is there.

use super::queues::PLAIN;
use super::*;
use crate::engine::workers::{Next, Worker};
use crate::primitives::queues::{Command as C, Horizon, Message, Options, QueueNumber, Reply as QueueReply};
use crate::primitives::streams::Record;

fn send_with_id(bench: &Bench, queue: QueueNumber, id: &str, level: Level) -> Submitted<Reply> {
    let messages = [Message { record: Record::new(id.as_bytes()), id: Some(id), ..PLAIN }];
    bench.engine.accept(&Command::Queues(C::Send { queue, messages: &messages }), level, None).expect("there is room")
}

fn is_duplicate(submitted: &Submitted<Reply>) -> bool {
    matches!(submitted.reply, Reply::Queues(QueueReply::SentSome { first: None, .. }))
}

fn queue_with(bench: &Bench, dedup: Horizon) -> QueueNumber {
    let options = &Options { dedup, ..Options::default() };
    let create = Command::Queues(C::Create { name: "payments", options });
    let submitted = bench.engine.submit(&create, Level::Sync, None).expect("a queue can be created");
    let Reply::Queues(QueueReply::Queue(queue)) = submitted.reply else { panic!("{submitted:?}") };
    queue
}

#[test]
fn after_a_power_cut_a_message_is_a_duplicate_exactly_if_its_original_is_there() {
    let mut torn_away = 0;
    for seed in 0..40 {
        let dedup =
            [Horizon::For { micros: HOUR }, Horizon::Last { count: 100 }, Horizon::UntilSettled][seed as usize % 3];
        let bench = Bench::open(SimDisk::new(seed), ManualClock::starting_at(Timestamp(NOON)));
        let queue = queue_with(&bench, dedup);
        let confirmed = send_with_id(&bench, queue, "confirmed", Level::Sync);
        bench.engine.wait_durable(confirmed.rests_on, None).expect("nothing fails");
        if seed % 2 == 0 {
            bench.engine.checkpoint().expect("nothing fails");
        }
        send_with_id(&bench, queue, "on its way", Level::Buffered);
        while bench.engine.step(Worker::Committer, &mut None) == Next::Again && seed % 4 > 1 {}
        bench.disk.power_cut();
        bench.engine.abandon();
        let Bench { disk, clock, engine } = bench;
        drop(engine);
        let bench = Bench::open(disk, clock);
        let messages = bench.engine.core.lock().machine.queues.kept().len();
        assert!(is_duplicate(&send_with_id(&bench, queue, "confirmed", Level::Sync)));
        let is_known = is_duplicate(&send_with_id(&bench, queue, "on its way", Level::Sync));
        assert_eq!(is_known, messages == 2, "seed {seed}: {messages} messages");
        torn_away += usize::from(!is_known);
    }
    assert!(torn_away > 0, "some are");
}

#[test]
fn who_is_told_of_an_original_is_told_once_it_is_on_disk() {
    let bench = Bench::new();
    let queue = queue_with(&bench, Horizon::For { micros: HOUR });
    let original = send_with_id(&bench, queue, "payment-17", Level::Sync);
    let again = send_with_id(&bench, queue, "payment-17", Level::Buffered);
    assert!(is_duplicate(&again) && again.is_held);
    assert!(again.rests_on >= original.rests_on && original.rests_on > bench.engine.positions().durable);
    let buffered = send_with_id(&bench, queue, "payment-18", Level::Buffered);
    bench.engine.wait_durable(original.rests_on, None).expect("nothing fails");
    let asks_at_sync = send_with_id(&bench, queue, "payment-18", Level::Sync);
    assert!(asks_at_sync.is_held && asks_at_sync.rests_on >= buffered.rests_on, "as durable as was asked for");
}
