//! The child: writers of every kind, readers, a trimmer and one who asks for checkpoints, until SIGKILL.

use std::collections::VecDeque;
use std::path::Path;
use std::thread;
use std::time::Duration;

use towpath::{AppendOptions, Level, Options, Record, Start, Stream, StreamOptions, Ticket};

use crate::place::Chance;
use crate::report::{Report, STREAMS, body, read_body};

/// Records that a partition of `events` keeps.
pub const EVENTS_KEPT: u64 = 3000;

pub fn run(data: &Path, round: u64) {
    // A thread that fails ends the child, which the parent takes for the failure it is.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(1);
    }));
    let db = Options::temporary().open(data).unwrap();
    let kept = StreamOptions::new();
    let options = [kept.clone(), kept.clone().retention_records(EVENTS_KEPT), kept];
    let streams: Vec<Stream> = STREAMS
        .iter()
        .zip(options)
        .map(|((name, partitions), options)| db.create_stream(name, options.partitions(*partitions)).unwrap())
        .collect();
    let (orders, events, ledger) = (&streams[0], &streams[1], &streams[2]);
    thread::scope(|scope| {
        scope.spawn(|| singles(orders, 0, 0, Level::Sync, &format!("{round}.sync")));
        scope.spawn(|| singles(orders, 0, 1, Level::Buffered, &format!("{round}.buffered")));
        scope.spawn(|| expecting(ledger, 2, 0, &format!("{round}.expecting")));
        scope.spawn(|| batches(orders, 0, Level::Sync, &format!("{round}.batches")));
        scope.spawn(|| batches(events, 1, Level::Buffered, &format!("{round}.events")));
        scope.spawn(|| tickets(events, 1, 0, &format!("{round}.tickets")));
        for (number, (_, partitions)) in STREAMS.iter().enumerate() {
            for partition in 0..*partitions {
                let stream = &streams[number];
                scope.spawn(move || follow(stream, number, partition));
            }
        }
        scope.spawn(|| trim(orders, 0, 1));
        scope.spawn(|| {
            let mut chance = Chance::new(round);
            loop {
                thread::sleep(Duration::from_micros(chance.below(60_000)));
                db.checkpoint().unwrap();
            }
        });
    });
}

fn acknowledged(stream: usize, partition: u32, offset: u64, tag: &str) {
    Report::Acknowledged { stream, partition, offset, count: 1, tag: tag.to_owned() }.send();
}

fn singles(stream: &Stream, number: usize, partition: u32, level: Level, writer: &str) {
    let options = AppendOptions::new().partition(partition).level(level);
    for batch in 0_u64.. {
        let tag = format!("{writer}.{batch}");
        let appended = stream.append_with(Record::new(&body(&tag, 0, 1)), &options).unwrap();
        acknowledged(number, partition, appended.offset, &tag);
    }
}

/// The only writer of its partition: it always knows the end.
fn expecting(stream: &Stream, number: usize, partition: u32, writer: &str) {
    let end = stream.describe().unwrap().partitions[partition as usize].end_offset;
    for (batch, end) in (0_u64..).zip(end..) {
        let tag = format!("{writer}.{batch}");
        let options = AppendOptions::new().partition(partition).expect_offset(end).level(Level::Buffered);
        let appended = stream.append_with(Record::new(&body(&tag, 0, 1)), &options).unwrap();
        assert_eq!(appended.offset, end);
        acknowledged(number, partition, end, &tag);
        thread::sleep(Duration::from_micros(200));
    }
}

/// Batches by key: most of them fall into several partitions. The tag names the partition too, since a batch is whole
/// within each.
fn batches(stream: &Stream, number: usize, level: Level, writer: &str) {
    let mut chance = Chance::new(writer.len() as u64);
    let options = AppendOptions::new().level(level);
    for batch in 0_u64.. {
        let keys: Vec<[u8; 2]> = (0..=chance.below(20)).map(|_| (chance.next() as u16).to_le_bytes()).collect();
        let partitions: Vec<u32> = keys.iter().map(|key| stream.partition_of(key)).collect();
        let tag_of = |partition: u32| format!("{writer}-{partition}.{batch}");
        let bodies: Vec<Vec<u8>> = (0..keys.len())
            .map(|at| {
                let own = |p: &&u32| **p == partitions[at];
                let index = partitions[..at].iter().filter(own).count() as u32;
                body(&tag_of(partitions[at]), index, partitions.iter().filter(own).count() as u32)
            })
            .collect();
        let records: Vec<Record<'_>> = keys.iter().zip(&bodies).map(|(key, body)| Record::new(body).key(key)).collect();
        for range in stream.append_batch(&records, &options).unwrap().partitions {
            let (partition, offset, count) = (range.partition, range.first_offset, range.records);
            Report::Acknowledged { stream: number, partition, offset, count, tag: tag_of(partition) }.send();
        }
    }
}

/// Sixteen appends in flight.
fn tickets(stream: &Stream, number: usize, partition: u32, writer: &str) {
    let options = AppendOptions::new().partition(partition).level(Level::Sync);
    let mut in_flight: VecDeque<(String, Ticket<_>)> = VecDeque::new();
    for batch in 0_u64.. {
        let tag = format!("{writer}.{batch}");
        let ticket = stream.submit(Record::new(&body(&tag, 0, 1)), &options).unwrap();
        in_flight.push_back((tag, ticket));
        if in_flight.len() >= 16
            && let Some((tag, ticket)) = in_flight.pop_front()
        {
            acknowledged(number, partition, ticket.wait().unwrap().offset, &tag);
        }
    }
}

fn follow(stream: &Stream, number: usize, partition: u32) {
    let mut reader = stream.reader(partition, Start::Latest).unwrap();
    loop {
        match reader.receive(100) {
            Ok(records) => {
                for record in &records {
                    let (tag, ..) = read_body(record.body()).expect("a whole body");
                    Report::Seen { stream: number, partition, offset: record.offset(), tag }.send();
                }
            }
            Err(towpath::Error::OffsetOutOfRange { .. }) => reader.seek(Start::Earliest).unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Keeps about the newest 2,000.
fn trim(stream: &Stream, number: usize, partition: u32) {
    loop {
        thread::sleep(Duration::from_millis(10));
        let end = stream.describe().unwrap().partitions[partition as usize].end_offset;
        let offset = end.saturating_sub(2000);
        stream.trim_before(partition, offset).unwrap();
        Report::Trimmed { stream: number, partition, offset }.send();
    }
}
