//! The host goes away, and the others go on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use towpath::{
    AppendOptions, Database, Error, Level, OpenMode, Options, ProducerOptions, Record, Start, Stream, StreamOptions,
};

use crate::child::ChildProcess;
use crate::members::Member;
use crate::place::executor::block_on;
use crate::place::{PATIENCE, Place, eventually, files_below, texts};

/// How each writer appends.
const WRITERS: [&str; 4] = ["blocking", "producing", "tickets", "futures"];

pub fn attach(place: &Place, grace: Duration) -> Database {
    Options::temporary().mode(OpenMode::Attach).reconnect_grace(grace).open(place.data()).unwrap()
}

/// A host in another process, and a stream of it that this process writes.
pub fn beside_a_host() -> (Place, ChildProcess, Database, Stream) {
    let place = Place::new();
    let host = ChildProcess::host(&place.data());
    let db = attach(&place, PATIENCE);
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    (place, host, db, orders)
}

/// Appends until told to stop, each body with this name and a number, and gives the offset of each by its body.
fn write(orders: &Stream, name: &str, stop: &AtomicBool) -> BTreeMap<String, u64> {
    let producer = orders.producer(name, ProducerOptions::new()).unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut in_flight = Vec::new();
    for number in 0.. {
        let body = format!("{name} {number:06}");
        let options = AppendOptions::new().level(if number % 2 == 0 { Level::Sync } else { Level::Buffered });
        match name {
            "blocking" => {
                let appended = orders.append_with(Record::new(body.as_bytes()), &options).unwrap();
                acknowledged.insert(body, appended.offset);
            }
            "producing" => {
                let send = || producer.append_at(number, Record::new(body.as_bytes()), &options).unwrap();
                let (first, again) = (send(), send());
                assert_eq!((again.duplicate, again.offset), (true, first.offset));
                acknowledged.insert(body, first.offset);
            }
            _ => in_flight.push((body.clone(), orders.submit(Record::new(body.as_bytes()), &options).unwrap())),
        }
        if in_flight.len() == 20 || stop.load(Ordering::Relaxed) {
            for (body, ticket) in in_flight.drain(..) {
                let appended = if name == "futures" { block_on(ticket) } else { ticket.wait() };
                acknowledged.insert(body, appended.unwrap().offset);
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    acknowledged
}

/// Reads until the last, and gives every body.
fn follow(orders: &Stream, asynchronous: bool) -> Vec<String> {
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    let mut seen: Vec<String> = Vec::new();
    while seen.last().is_none_or(|last| last != "the last") {
        let records = if asynchronous { block_on(reader.receive_async(100)) } else { reader.receive(100) };
        for record in &records.unwrap() {
            assert_eq!(record.offset(), seen.len() as u64);
            seen.push(String::from_utf8(record.body().to_vec()).unwrap());
        }
    }
    seen
}

/// Ends the writers, however the test ends.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has writers and readers at work while this is done, and expects that nothing is lost or there twice.
///
/// Their threads are no scope's, which would wait for readers that nobody ends once a writer has panicked.
pub fn expect_all_to_go_on(orders: &Stream, disturb: impl FnOnce()) {
    let stop = Stop(Arc::default());
    let writers = WRITERS.map(|name| {
        let (orders, stop) = (orders.clone(), stop.0.clone());
        thread::spawn(move || write(&orders, name, &stop))
    });
    let readers = [false, true].map(|asynchronous| {
        let orders = orders.clone();
        thread::spawn(move || follow(&orders, asynchronous))
    });
    disturb();
    drop(stop);
    let written: BTreeMap<String, u64> = writers.into_iter().flat_map(ended).collect();
    orders.append("the last").unwrap();
    expect_each_once(orders, &written, &readers.map(ended));
}

/// What a thread comes to that has nothing more to wait for.
fn ended<T>(thread: JoinHandle<T>) -> T {
    eventually("it ends", || thread.is_finished());
    thread.join().unwrap()
}

/// Holds what is there against what the writers were told and what the readers have seen.
fn expect_each_once(orders: &Stream, written: &BTreeMap<String, u64>, seen: &[Vec<String>]) {
    assert!(written.len() > 100, "{} were written", written.len());
    let there = texts(orders, 0);
    assert!(seen.iter().all(|seen| *seen == there));
    for (body, offset) in written {
        assert_eq!(there[*offset as usize], *body, "acknowledged at {offset}");
    }
    for name in WRITERS {
        let own: Vec<&String> = there.iter().filter(|body| body.starts_with(name)).collect();
        let expected: Vec<String> = (0..own.len()).map(|number| format!("{name} {number:06}")).collect();
        assert!(own.into_iter().eq(&expected), "each of {name} once and in order");
    }
}

#[test]
fn writers_and_readers_go_on_when_hosts_are_killed() {
    let place = Place::new();
    let mut hosts = vec![ChildProcess::host(&place.data())];
    let db = attach(&place, PATIENCE);
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    expect_all_to_go_on(&orders, || {
        for _ in 0..4 {
            hosts.push(ChildProcess::host(&place.data()));
            thread::sleep(Duration::from_millis(150));
            let host = db.stats().unwrap().host_pid;
            let at = hosts.iter().position(|child| u64::from(child.pid()) == host).expect("a child hosts");
            hosts.remove(at).kill();
        }
        db.stats().unwrap();
    });
}

#[test]
fn exactly_one_of_many_becomes_the_host() {
    let place = Place::new();
    let mut host = ChildProcess::host(&place.data());
    let mut members: Vec<Member> = (0..5).map(|_| Member::start(&place.data())).collect();
    assert!(members.iter_mut().all(|member| !member.is_host()));
    host.kill();
    for (number, member) in (0..).zip(&mut members) {
        assert_eq!(member.append(&format!("order {number}")), number);
    }
    assert_eq!(members.iter_mut().filter_map(|member| member.is_host().then_some(())).count(), 1);
    drop(members);
    let db = place.open();
    assert_eq!(texts(&db.stream("orders").unwrap(), 0).len(), 5);
}

#[test]
fn a_host_that_closes_hands_over() {
    let place = Place::new();
    let mut members: Vec<Member> = (0..4).map(|_| Member::start(&place.data())).collect();
    for round in 0..3 {
        let mut count_hosts = || members.iter_mut().filter_map(|member| member.is_host().then_some(())).count();
        eventually("who has taken over knows it", || count_hosts() == 1);
        let host = members.iter_mut().position(Member::is_host).unwrap();
        assert_eq!(members[host].append("by the host"), round * 2);
        assert_eq!(members.remove(host).told("close"), "closed");
        assert_eq!(members[0].append("by another"), round * 2 + 1);
    }
}

#[test]
fn who_only_attaches_waits_for_the_next_host_as_long_as_the_grace() {
    let place = Place::new();
    let mut host = ChildProcess::host(&place.data());
    let grace = Duration::from_millis(1500);
    let db = attach(&place, grace);
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    host.kill();
    let data = place.data();
    let next = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        ChildProcess::host(&data)
    });
    assert_eq!(orders.append("one blue mug").unwrap().offset, 0);
    assert!(!db.is_host());
    next.join().unwrap().kill();
    let start = Instant::now();
    let refused = orders.append("two green plates");
    assert!(matches!(refused, Err(Error::NoHost | Error::OutcomeUnknown)), "{refused:?}");
    assert!(start.elapsed() > grace / 2 && start.elapsed() < grace * 3, "{:?}", start.elapsed());
    assert!(matches!(orders.append("three forks"), Err(Error::NoHost)));
    assert!(matches!(db.stats(), Err(Error::NoHost)));
    let _later = ChildProcess::host(&place.data());
    assert!(orders.append("four spoons").unwrap().offset >= 1, "the next call looks again");
}

#[test]
fn nothing_is_written_to_another_database_that_took_the_directorys_place() {
    let (place, mut host, db, orders) = beside_a_host();
    orders.append("one blue mug").unwrap();
    // Whoever is attached looks on while the files go.
    host.stop();
    for file in files_below(&place.data()) {
        fs::remove_file(file).unwrap();
    }
    host.kill();
    let _other = ChildProcess::host(&place.data());
    let refused = eventually_refused(&orders);
    assert!(refused.to_string().contains("another database"), "{refused}");
    db.close().unwrap_err();
    let other = attach(&place, PATIENCE);
    assert!(other.streams().unwrap().is_empty());
}

/// A host that died answers `OutcomeUnknown` once, perhaps.
fn eventually_refused(orders: &Stream) -> Error {
    match orders.append("two green plates").unwrap_err() {
        Error::OutcomeUnknown => orders.append("two green plates").unwrap_err(),
        error => error,
    }
}

#[test]
fn an_append_with_a_timeout_returns_in_time_while_the_host_is_stopped() {
    let (_place, host, db, orders) = beside_a_host();
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    host.stop();
    let start = Instant::now();
    let options = AppendOptions::new().timeout(Duration::from_millis(200));
    let told = orders.append_with(Record::new(b"one blue mug"), &options);
    assert!(matches!(told, Err(Error::OutcomeUnknown)), "it was sent, and nobody can say more: {told:?}");
    assert!(start.elapsed() >= Duration::from_millis(200) && start.elapsed() < Duration::from_secs(5));
    let start = Instant::now();
    assert!(reader.receive_timeout(1, Duration::from_millis(100)).unwrap().is_none());
    assert!(start.elapsed() < Duration::from_secs(5));
    host.go_on();
    assert!(orders.append("two green plates").unwrap().offset <= 1);
    eventually("the host goes on", || db.stats().is_ok());
}

#[test]
fn a_timeout_holds_for_more_than_a_stopped_host_takes_from_its_socket() {
    let (_place, host, _db, orders) = beside_a_host();
    host.stop();
    let body = vec![b'x'; 1 << 20];
    let start = Instant::now();
    // Nobody waits for this one, and sending it does not wait either.
    let ticket = orders.submit(Record::new(&body), &AppendOptions::new()).unwrap();
    let mut waiting = pin!(orders.submit(Record::new(&body), &AppendOptions::new()).unwrap());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let options = AppendOptions::new().timeout(Duration::from_millis(200));
    for _ in 0..3 {
        let told = orders.append_with(Record::new(&body), &options);
        assert!(matches!(told, Err(Error::OutcomeUnknown | Error::TimedOut)), "{told:?}");
    }
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    host.go_on();
    assert_eq!(ticket.wait().unwrap().offset, 0);
    assert_eq!(block_on(waiting).unwrap().offset, 1);
    assert_eq!(orders.append("one blue mug").unwrap().offset, texts(&orders, 0).len() as u64 - 1);
}

#[test]
fn closing_does_not_wait_for_one_who_listens_and_never_answers() {
    let place = Place::new();
    let mut host = ChildProcess::host(&place.data());
    let db = attach(&place, PATIENCE * 10);
    db.create_stream("orders", StreamOptions::new()).unwrap();
    host.kill();
    fs::remove_file(place.data().join("host.sock")).unwrap();
    let silent = UnixListener::bind(place.data().join("host.sock")).unwrap();
    let (_connection, _) = silent.accept().unwrap();
    let start = Instant::now();
    assert!(matches!(db.close(), Err(Error::NoHost)));
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn nobody_who_may_host_is_told_that_nobody_does() {
    for _ in 0..5 {
        let place = Place::new();
        let mut host = ChildProcess::host_with_grace(&place.data(), Duration::ZERO);
        let start = |_| Member::start_with_grace(&place.data(), Duration::ZERO);
        let mut members: Vec<Member> = (0..6).map(start).collect();
        host.kill();
        members.iter_mut().for_each(|member| member.0.ask("append one blue mug"));
        let told: Vec<String> = members.iter_mut().map(|member| member.0.next().unwrap()).collect();
        assert!(!told.iter().any(|told| told == "NoHost"), "{told:?}");
    }
}
