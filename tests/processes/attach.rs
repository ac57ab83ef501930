//! What an attached handle does, and what it finds.

use std::time::Duration;

use towpath::{Database, Error, OpenMode, Options, Start, StreamOptions};

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
    let waiting = std::thread::spawn(move || reader.receive(10).unwrap().iter().next().unwrap().body().to_vec());
    std::thread::sleep(Duration::from_millis(50));
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
