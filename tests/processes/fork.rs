//! Forked children: handles come to the database anew, and nothing that a child keeps holds up anybody.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use towpath::{AppendOptions, Database, Error, Level, OpenMode, Options, Record, Start, StreamOptions};

use crate::child::ChildProcess;
use crate::forking::in_a_fork;
use crate::members::Member;
use crate::place::executor::block_on;
use crate::place::{Place, drain, eventually, texts};

fn attach(place: &Place) -> Database {
    Options::temporary().mode(OpenMode::Attach).open(place.data()).unwrap()
}

/// What a child does with handles of its parent, which has appended one record and waits to hear of another.
fn use_in_a_child(db: &Database) {
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    orders.append("one blue mug").unwrap();
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    let [blocked, polled] = [0; 2].map(|_| orders.submit(Record::new(b"a ticket"), &AppendOptions::new()).unwrap());
    let mut registered = pin!(orders.submit(Record::new(b"a ticket"), &AppendOptions::new()).unwrap());
    let was_ready = registered.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    let (in_child, stream) = (db.clone(), orders.clone());
    in_a_fork(move || {
        // Polled again after it was ready it would have nothing to give.
        let registered_is_told = was_ready || matches!(block_on(registered), Err(Error::Forked));
        let seen = reader.receive(1).map(|records| records.len());
        vec![
            matches!(blocked.wait(), Err(Error::Forked)),
            matches!(block_on(polled), Err(Error::Forked)),
            registered_is_told,
            !in_child.is_host(),
            stream.append("from the child").is_ok(),
            matches!(seen, Ok(1) | Err(Error::Forked)),
            in_child.stream("orders").is_ok(),
            in_child.stats().is_ok(),
            block_on(in_child.sync_async()).is_ok(),
            stream.reader(0, Start::Earliest).and_then(|mut reader| reader.receive(10)).is_ok(),
            in_child.close().is_ok(),
            matches!(stream.append("too late"), Err(Error::Closed)),
        ]
    });
    orders.append("two green plates").unwrap();
    let there = texts(&orders, 0);
    assert_eq!(there.iter().filter(|text| *text == "from the child").count(), 1);
    assert_eq!((there.len(), there.last().unwrap().as_str()), (6, "two green plates"));
}

#[test]
fn handles_of_a_host_attach_in_its_child() {
    let place = Place::new();
    let db = place.open();
    use_in_a_child(&db);
    assert!(db.is_host());
}

#[test]
fn handles_of_an_attached_process_attach_again_in_its_child() {
    let place = Place::new();
    let _host = ChildProcess::host(&place.data());
    use_in_a_child(&attach(&place));
}

#[test]
fn children_of_a_busy_parent_come_to_the_database_too() {
    let place = Place::new();
    let host = place.open();
    let attached = attach(&place);
    let orders = host.create_stream("orders", StreamOptions::new().level(Level::Buffered)).unwrap();
    let there = attached.stream("orders").unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for stream in [&orders, &orders, &there, &there] {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    stream.append("busy").unwrap();
                }
            });
        }
        let _end = AtEnd(&stop);
        for stream in [&orders, &there].repeat(8) {
            in_a_fork(|| vec![stream.append("from a child").is_ok()]);
        }
    });
    let texts = texts(&orders, 0);
    assert_eq!(texts.iter().filter(|text| *text == "from a child").count(), 16);
}

#[test]
fn children_of_a_parent_that_asks_without_end_can_ask_too() {
    let place = Place::new();
    let _host = ChildProcess::host(&place.data());
    let attached = attach(&place);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    attached.stats().unwrap();
                }
            });
        }
        let _end = AtEnd(&stop);
        for _ in 0..40 {
            in_a_fork(|| vec![attached.stats().is_ok()]);
        }
    });
}

/// Set when it is dropped, by a failure too.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_temporary_database_is_not_removed_by_a_child() {
    let db = Options::temporary().open_temporary().unwrap();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let path = db.path().to_owned();
    let (in_child, stream) = (db.clone(), orders.clone());
    in_a_fork(move || {
        let appended = stream.append("from the child").is_ok();
        drop(stream);
        vec![appended, in_child.close().is_ok()]
    });
    assert!(path.join("control").exists());
    assert_eq!(drain(&mut orders.reader(0, Start::Earliest).unwrap()).len(), 1);
    drop(orders);
    db.close().unwrap();
    assert!(!path.exists());
}

/// A process that hosts, or is attached to `host`, dies and leaves a child behind.
fn outlive(what: &str, place: &Place, host: Option<&Database>) {
    let mut parent = Member::start(&place.data());
    assert_eq!(parent.is_host(), host.is_none());
    let child: i32 = parent.told(what).parse().unwrap();
    parent.0.kill();
    let start = Instant::now();
    match host {
        None => assert!(place.open().is_host()),
        Some(host) => eventually("its session ends", || host.attached_processes().unwrap().is_empty()),
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    kill_process(Pid::from_raw(child).unwrap(), Signal::KILL).expect("the child outlives its parent");
}

#[test]
fn a_child_that_outlives_the_host_does_not_hold_up_the_next() {
    outlive("fork", &Place::new(), None);
    outlive("spawn", &Place::new(), None);
}

#[test]
fn a_child_that_outlives_an_attached_process_does_not_keep_its_session() {
    let place = Place::new();
    let host = place.open();
    outlive("fork", &place, Some(&host));
    outlive("spawn", &place, Some(&host));
}
