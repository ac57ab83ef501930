//! What an attached handle does, and what it finds.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use towpath::{AppendOptions, Database, Error, Level, OpenMode, Options, Record, Start, StreamOptions};

use crate::place::{Place, texts};

fn attach(place: &Place) -> Database {
    Options::temporary().mode(OpenMode::Attach).open(place.data()).unwrap()
}

#[test]
fn a_second_opener_attaches_and_both_see_what_either_writes() {
    let place = Place::new();
    let host = place.open();
    let attached = place.open();
    assert!(host.is_host() && !attached.is_host());
    let there = attached.create_stream("orders", StreamOptions::new()).unwrap();
    let here = host.stream("orders").unwrap();
    assert_eq!(there.append("one blue mug").unwrap().offset, 0);
    assert_eq!(here.append("two green plates").unwrap().offset, 1);
    assert_eq!(texts(&here, 0), ["one blue mug", "two green plates"]);
    assert_eq!(texts(&there, 0), ["one blue mug", "two green plates"]);
    attached.close().unwrap();
    host.close().unwrap();
}

#[test]
fn nobody_attaches_where_nobody_hosts() {
    let place = Place::new();
    assert!(matches!(Options::new().mode(OpenMode::Attach).open(place.data()), Err(Error::Missing { .. })));
    place.open().close().unwrap();
    assert!(matches!(Options::new().mode(OpenMode::Attach).open(place.data()), Err(Error::NoHost)));
}

#[test]
fn a_waiting_reader_is_woken_by_another_process() {
    let place = Place::new();
    let host = place.open();
    let attached = attach(&place);
    let orders = host.create_stream("orders", StreamOptions::new()).unwrap();
    let mut reader = attached.stream("orders").unwrap().reader(0, Start::Earliest).unwrap();
    assert!(reader.receive_timeout(1, Duration::from_millis(50)).unwrap().is_none());
    let waiting = thread::spawn(move || reader.receive(10).unwrap().iter().next().unwrap().body().to_vec());
    thread::sleep(Duration::from_millis(50));
    orders.append("one blue mug").unwrap();
    assert_eq!(waiting.join().unwrap(), b"one blue mug");
}

#[test]
fn when_the_host_closes_an_attached_process_hosts() {
    let place = Place::new();
    let host = place.open();
    let orders = host.create_stream("orders", StreamOptions::new()).unwrap();
    orders.append("one blue mug").unwrap();
    let attached = place.open();
    let there = attached.stream("orders").unwrap();
    host.close().unwrap();
    assert_eq!(there.append("two green plates").unwrap().offset, 1);
    assert_eq!(texts(&there, 0), ["one blue mug", "two green plates"]);
    assert!(attached.is_host());
}

/// Of those who wait over one connection, one reads for all. Here those who read stop waiting all at once.
#[test]
fn who_waits_without_end_is_woken_although_those_who_read_for_it_gave_up() {
    let place = Place::new();
    let host = place.open();
    let attached = attach(&place);
    let orders = host.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    let options = AppendOptions::new().partition(1).level(Level::Buffered);
    let there = attached.stream("orders").unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let mut reader = there.reader(1, Start::Earliest).unwrap();
    thread::spawn(move || while reader.receive(1).is_ok_and(|_| tell.send(()).is_ok()) {});
    for round in 0..100 {
        thread::scope(|scope| {
            for _ in 0..4 {
                let mut waiting = there.reader(0, Start::Earliest).unwrap();
                scope.spawn(move || assert!(waiting.receive_timeout(1, Duration::from_millis(2)).unwrap().is_none()));
            }
        });
        orders.append_with(Record::new(b"one blue mug"), &options).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(()), "round {round}");
    }
}

/// Closing comes between the sending of many writes and their answers.
#[test]
fn a_write_that_closing_refused_is_not_there() {
    let place = Place::new();
    let host = place.open();
    let orders = host.create_stream("orders", StreamOptions::new()).unwrap();
    let mut refused = HashSet::new();
    for round in 0..20 {
        let attached = attach(&place);
        let there = attached.stream("orders").unwrap();
        thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let there = &there;
                    scope.spawn(move || append_until_closed(there, &format!("{round}.{writer}")))
                })
                .collect();
            thread::sleep(Duration::from_millis(5));
            attached.clone().close().unwrap();
            refused.extend(writers.into_iter().flat_map(|writer| writer.join().unwrap()));
        });
    }
    assert!(!refused.is_empty());
    let wrong: Vec<String> = texts(&orders, 0).into_iter().filter(|text| refused.contains(text)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Pipelined appends, until one is refused because the database is closed. Returns those that were refused so.
fn append_until_closed(orders: &towpath::Stream, writer: &str) -> Vec<String> {
    let options = AppendOptions::new().level(Level::Sync);
    let mut refused = Vec::new();
    for number in 0.. {
        let tickets: Vec<_> = (0..8)
            .map(|part| format!("{writer}.{number}.{part}"))
            .map(|text| (orders.submit(Record::new(text.as_bytes()), &options), text))
            .collect();
        for (ticket, text) in tickets {
            if let Err(Error::Closed) = ticket.and_then(towpath::Ticket::wait) {
                refused.push(text);
            }
        }
        if !refused.is_empty() {
            break;
        }
    }
    refused
}

#[test]
fn a_process_that_takes_over_amid_writes_knows_what_became_of_each() {
    for _ in 0..10 {
        let place = Place::new();
        let host = place.open();
        host.create_stream("orders", StreamOptions::new().partitions(4)).unwrap();
        let attached = place.open();
        let orders = attached.stream("orders").unwrap();
        let stop = AtomicBool::new(false);
        let ends: Vec<u64> = std::thread::scope(|scope| {
            let write = |partition| {
                let (orders, stop) = (&orders, &stop);
                move || {
                    let mut end = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let options =
                            AppendOptions::new().partition(partition).expect_offset(end).level(Level::Buffered);
                        orders.append_with(Record::new(b"one blue mug"), &options).unwrap();
                        end += 1;
                    }
                    end
                }
            };
            let writers: Vec<_> = (0..4).map(|partition| scope.spawn(write(partition))).collect();
            std::thread::sleep(Duration::from_millis(20));
            host.close().unwrap();
            let start = std::time::Instant::now();
            while !attached.is_host() && start.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        assert!(attached.is_host(), "writers that go on keep it from becoming the host");
        let found: Vec<u64> =
            orders.describe().unwrap().partitions.iter().map(|partition| partition.end_offset).collect();
        assert_eq!(found, ends);
    }
}

#[test]
fn what_is_submitted_goes_out_although_only_a_reader_waits_for_the_host() {
    let place = Place::new();
    let _host = place.open();
    let attached = attach(&place);
    let orders = attached.create_stream("orders", StreamOptions::new()).unwrap();
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    let waiting = std::thread::spawn(move || reader.receive(1).unwrap().iter().next().unwrap().body().to_vec());
    std::thread::sleep(Duration::from_millis(50));
    drop(orders.submit(towpath::Record::new(b"one blue mug"), &towpath::AppendOptions::new()).unwrap());
    assert_eq!(waiting.join().unwrap(), b"one blue mug");
}
