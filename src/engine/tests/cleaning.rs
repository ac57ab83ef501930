//! Cleaning over segments that are damaged, and on a disk that is full.

use std::sync::atomic::Ordering;

use super::*;
use crate::base::bounds::{PARTITIONS_MAX, RUN_CHANGES_PER_CHECKPOINT_MAX};
use crate::primitives::queues::{
    self, Binding, Condition, Destination, Erasing, ExchangeOptions, Kind, Limits, Origin, QueueNumber,
};
use crate::primitives::streams::Record;
use crate::sim::disk::{Fault as DiskFault, Operations};

use super::queues::PLAIN;

const KEPT: u32 = 0;
const FILLER: u32 = 1;
const SEGMENTS: u64 = 12;

/// In each of some segments one record lives beside megabytes that were trimmed. Tells the addresses of the first.
fn sparse_segments(bench: &Bench) -> (StreamHandle, Vec<Lsn>) {
    let stream = bench.create("orders", 2, streams::Retention::default());
    let filler = vec![7; 1 << 20];
    let addresses = (0..SEGMENTS)
        .map(|number| {
            let lsn = bench.append(stream, KEPT, format!("order {number}").as_bytes(), Level::Buffered);
            for _ in 0..3 {
                bench.append(stream, FILLER, &filler, Level::Buffered);
            }
            lsn
        })
        .collect();
    bench.engine.checkpoint().expect("nothing fails");
    bench.trim(stream, FILLER, SEGMENTS * 3);
    (stream, addresses)
}

fn counted(bench: &Bench) -> (u64, u64) {
    let (_, counters) = bench.engine.counters();
    (counters.cleaned_segments.load(Ordering::Relaxed), counters.parked_segments.load(Ordering::Relaxed))
}

fn checkpoints(bench: &Bench) {
    (0..4).for_each(|_| bench.engine.checkpoint().expect("damage hinders no checkpoint"));
}

/// Every order but those that are damaged can be read; the files of these are there.
fn expect_all_but(bench: &Bench, stream: StreamHandle, addresses: &[Lsn], damaged: &[u64]) {
    for number in 0..SEGMENTS {
        let (kept, fault) = bench.read_from(bench.log(stream, KEPT), number);
        if damaged.contains(&number) {
            let (file, _) = bench.place(addresses[number as usize]);
            assert!(
                matches!(&fault, Some(Fault::Corrupt { file: named, .. }) if *named == file),
                "{number}: {fault:?}"
            );
            assert!(kept.is_empty() && bench.disk.paths().contains(&file));
        } else {
            assert_eq!(kept[0], (number, addresses[number as usize], format!("order {number}").into_bytes()));
        }
    }
}

#[test]
fn a_segment_with_a_damaged_record_is_parked_and_the_others_are_cleaned() {
    let bench = Bench::new();
    let (stream, addresses) = sparse_segments(&bench);
    let damaged = [2, 5];
    for number in damaged {
        let (file, offset) = bench.place(addresses[number as usize]);
        bench.disk.flip_bit(&file, offset + 50, 3);
    }
    checkpoints(&bench);
    let (cleaned, parked) = counted(&bench);
    assert!(cleaned >= 8 && parked == 2, "{cleaned} cleaned, {parked} parked");
    expect_all_but(&bench, stream, &addresses, &damaged);
    bench.append(stream, KEPT, b"one more order", Level::Sync);
    let bench = bench.reopen();
    expect_all_but(&bench, stream, &addresses, &damaged);
    bench.trim(stream, KEPT, SEGMENTS);
    checkpoints(&bench);
    let parked = damaged.map(|number| bench.place(addresses[number as usize]).0);
    assert!(!bench.disk.paths().iter().any(|path| parked.contains(path)), "a segment goes once nothing in it lives");
    bench.engine.close().expect("nothing fails");
}

#[test]
fn a_segment_with_a_damaged_sidecar_or_without_one_is_parked_too() {
    let bench = Bench::new();
    let (stream, addresses) = sparse_segments(&bench);
    let sidecar = |number: u64| bench.place(addresses[number as usize]).0.replace(".seg", ".idx");
    bench.disk.flip_bit(&sidecar(1), 70, 0);
    bench.disk.erase(&sidecar(3));
    checkpoints(&bench);
    let (cleaned, parked) = counted(&bench);
    assert!(cleaned >= 8 && parked == 2, "{cleaned} cleaned, {parked} parked");
    bench.append(stream, KEPT, b"one more order", Level::Sync);
    bench.engine.close().expect("a close succeeds");
}

#[test]
fn records_of_a_stream_that_was_deleted_before_its_sidecar_was_written_are_no_damage() {
    let bench = Bench::new();
    let gone = bench.create("gone", 1, streams::Retention::default());
    for _ in 0..3 {
        bench.append(gone, 0, b"never seen again", Level::Buffered);
    }
    bench.submit(streams::Command::Delete { name: "gone" }, Level::Sync).expect("it exists");
    let (stream, addresses) = sparse_segments(&bench);
    checkpoints(&bench);
    let (cleaned, parked) = counted(&bench);
    assert!(cleaned >= 8 && parked == 0, "{cleaned} cleaned, {parked} parked");
    expect_all_but(&bench, stream, &addresses, &[]);
}

#[test]
fn a_survivor_is_cleaned_again_whatever_the_order_of_its_runs() {
    const PASSING: u32 = 2;
    let bench = Bench::new();
    let stream = bench.create("orders", 3, streams::Retention::default());
    let filler = vec![7; 1 << 20];
    let mut orders = Vec::new();
    for round in 0..2 {
        for number in 0..SEGMENTS {
            // The later the segment, the less of it lives, so that the survivor takes it up the earlier.
            let order = vec![number as u8; 20_000 - number as usize * 1_000];
            orders.push((bench.append(stream, KEPT, &order, Level::Buffered), order));
            bench.append(stream, PASSING, &filler[..200_000], Level::Buffered);
            for _ in 0..3 {
                bench.append(stream, FILLER, &filler, Level::Buffered);
            }
        }
        bench.engine.checkpoint().expect("nothing fails");
        bench.trim(stream, FILLER, (round + 1) * SEGMENTS * 3);
        if round == 1 {
            bench.trim(stream, PASSING, 2 * SEGMENTS);
        }
        checkpoints(&bench);
        let is_there = |survivor| bench.disk.paths().contains(&format!("segments/s{survivor}.seg"));
        assert!(is_there(round + 1) && !is_there(round), "each round leaves one survivor of all that lives");
    }
    assert_eq!(counted(&bench).1, 0, "nothing is taken for damaged");
    let (kept, fault) = bench.read_from(bench.log(stream, KEPT), 0);
    assert!(fault.is_none(), "{fault:?}");
    assert_eq!(kept.len(), orders.len());
    for ((number, (offset, lsn, body)), (address, order)) in kept.into_iter().enumerate().zip(orders) {
        assert_eq!((offset, lsn), (number as u64, address));
        assert!(body == order, "another order at offset {offset}");
    }
}

fn survivors(bench: &Bench) -> Vec<String> {
    let mut paths = bench.disk.paths();
    paths.retain(|path| path.starts_with("segments/s"));
    paths
}

fn no_space_for(path: &str) -> DiskFault {
    DiskFault::on(Operations::Writes).path(path).no_space()
}

#[test]
fn a_disk_too_full_for_a_survivor_hinders_no_checkpoint_and_no_removal() {
    for unwritable in ["segments/s1.new", "segments/s1.idx"] {
        let bench = Bench::new();
        let (stream, addresses) = sparse_segments(&bench);
        // The first segment dies as a whole, beside those that cleaning finds.
        bench.trim(stream, KEPT, 2);
        bench.disk.inject(no_space_for(unwritable).forever());
        checkpoints(&bench);
        assert_eq!(counted(&bench), (0, 0), "{unwritable}");
        assert!(!bench.disk.paths().contains(&bench.place(addresses[0]).0), "{unwritable}: what is dead goes");
        assert_eq!(survivors(&bench), [""; 0], "{unwritable}: nothing half-done takes room");
        bench.disk.clear_faults();
        checkpoints(&bench);
        assert!(counted(&bench).0 >= 8, "{unwritable}: {:?}", counted(&bench));
        for number in 2..SEGMENTS {
            let (kept, _) = bench.read_from(bench.log(stream, KEPT), number);
            assert_eq!(kept[0], (number, addresses[number as usize], format!("order {number}").into_bytes()));
        }
    }
}

#[test]
fn a_full_disk_on_which_no_segment_is_dead_is_cleaned_with_the_room_of_the_ballast() {
    let bench = Bench::new();
    let (stream, addresses) = sparse_segments(&bench);
    let before = bench.disk.allocated();
    bench.disk.set_capacity(before);
    checkpoints(&bench);
    assert!(counted(&bench).0 >= 8, "{:?}", counted(&bench));
    assert!(bench.disk.allocated() < before - 7 * GEOMETRY_BYTES_MIN);
    assert!(bench.disk.paths().contains(&"ballast".to_owned()), "it is made again");
    expect_all_but(&bench, stream, &addresses, &[]);
}

#[test]
fn a_survivor_goes_with_the_checkpoint_that_found_no_room_for_the_index() {
    let bench = Bench::new();
    let (stream, addresses) = sparse_segments(&bench);
    bench.disk.inject(no_space_for("index.redb"));
    bench.engine.checkpoint().expect("without the survivor there is room");
    assert_eq!(survivors(&bench), [""; 0]);
    checkpoints(&bench);
    assert_eq!(survivors(&bench), ["segments/s1.idx", "segments/s1.seg"]);
    expect_all_but(&bench, stream, &addresses, &[]);
}

#[test]
fn a_checkpoint_moves_no_more_runs_than_it_may() {
    let bench = Bench::new();
    let stream = bench.create("orders", PARTITIONS_MAX, streams::Retention::default());
    let filler = vec![7; 1 << 20];
    for _ in 0..SEGMENTS {
        bench.append_to_each(stream);
        for _ in 0..3 {
            bench.append(stream, FILLER, &filler, Level::Buffered);
        }
    }
    bench.engine.checkpoint().expect("nothing fails");
    bench.trim(stream, FILLER, SEGMENTS * 4);
    bench.engine.checkpoint().expect("nothing fails");
    // The filler's runs are dead; each other one of a segment goes, and comes back in the survivor.
    let changes = RUN_CHANGES_PER_CHECKPOINT_MAX as u64 - SEGMENTS;
    let segments = changes / (2 * u64::from(PARTITIONS_MAX));
    assert!(segments < SEGMENTS);
    assert_eq!(counted(&bench).0, segments);
}

/// A command of queues that is accepted.
fn of_queues(bench: &Bench, command: queues::Command<'_>) -> queues::Reply {
    match bench.engine.submit(&Command::Queues(command), Level::Buffered, None).expect("it is accepted").reply {
        Reply::Queues(reply) => reply,
        other => panic!("{other:?} is no reply of queues"),
    }
}

/// In each of some segments one message of three queues lives beside megabytes that were trimmed.
fn published_among_filler(bench: &Bench) -> Vec<QueueNumber> {
    let stream = bench.create("filler", 1, streams::Retention::default());
    let options = &ExchangeOptions {
        kind: Kind::Fanout,
        alternate: None,
        allows_unroutable: false,
        dedup: queues::Horizon::None,
    };
    let declare = queues::Command::DeclareExchange { name: "news", options };
    let queues::Reply::Exchange(exchange) = of_queues(bench, declare) else { panic!("no exchange") };
    let numbers = ["done", "gone", "slow"].map(|name| {
        let create = queues::Command::Create { name, options: &queues::Options::default() };
        let queues::Reply::Queue(queue) = of_queues(bench, create) else { panic!("no queue") };
        let binding = &Binding { exchange, destination: Destination::Queue(queue), condition: Condition::Always };
        of_queues(bench, queues::Command::Bind { binding });
        queue
    });
    for number in 0..SEGMENTS {
        let (body, origin) = (format!("order {number}"), Some(Origin { exchange: "news", routing_key: "" }));
        let messages = &[queues::Message { record: Record::new(body.as_bytes()), origin, ..PLAIN }];
        of_queues(bench, queues::Command::Publish { exchange, messages, limits: Limits::default() });
        for _ in 0..3 {
            bench.append(stream, 0, &vec![7; 1 << 20], Level::Buffered);
        }
    }
    bench.engine.checkpoint().expect("nothing fails");
    bench.trim(stream, 0, SEGMENTS * 3);
    numbers.to_vec()
}

fn delete(bench: &Bench, queue: QueueNumber) {
    of_queues(bench, queues::Command::Delete { queue });
    while of_queues(bench, queues::Command::Erase { what: Erasing::Queue(queue) }) == queues::Reply::More {}
}

fn expect_orders(bench: &Bench, queue: QueueNumber) {
    let log = {
        let core = bench.engine.core.lock();
        core.machine.queues.get(queue).expect("a queue").lanes()[0].log
    };
    for offset in 0..SEGMENTS {
        let read = bench.engine.read(log, offset, 1, &mut Cursor::default()).expect("nothing is damaged");
        let Read::Items(batch) = read else { panic!("order {offset} of {queue:?} is not there") };
        let item = &batch.items()[0];
        let mut messages = queues::read_messages(batch.bytes(item), &item.entry).expect("an item of a lane");
        let record = messages.next().expect("one message").expect("a message that was written").record;
        assert_eq!((record.offset, record.body), (offset, Some(format!("order {offset}").as_bytes())));
    }
}

#[test]
fn what_several_queues_have_is_copied_for_those_that_are_not_through_with_it() {
    let bench = Bench::new();
    let numbers = published_among_filler(&bench);
    delete(&bench, numbers[1]);
    checkpoints(&bench);
    let (cleaned, parked) = counted(&bench);
    assert!(cleaned >= 8 && parked == 0, "{cleaned} cleaned, {parked} parked");
    let bench = bench.reopen();
    expect_orders(&bench, numbers[0]);
    expect_orders(&bench, numbers[2]);
    delete(&bench, numbers[0]);
    checkpoints(&bench);
    let bench = bench.reopen();
    expect_orders(&bench, numbers[2]);
    assert_eq!(counted(&bench).1, 0, "what some are through with is no damage");
    delete(&bench, numbers[2]);
    checkpoints(&bench);
    checkpoints(&bench);
    assert_eq!(survivors(&bench), Vec::<String>::new(), "nobody has anything of them any more");
    bench.engine.close().expect("nothing fails");
}
