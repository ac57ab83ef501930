//! What an attached process leaves behind, and for how long.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use towpath::{Database, Error, OpenMode, Options, StreamOptions};

use crate::child::ChildProcess;
use crate::members::Member;
use crate::place::{Place, eventually, texts};
use crate::raw::{
    Answer, FORGOTTEN, NOT_WRITTEN, SESSION_ENDED, WRITTEN, answer, connect, create, received, resuming, welcomed,
};

fn attached(db: &Database) -> Vec<u32> {
    db.attached_processes().unwrap().iter().map(|process| process.pid).collect()
}

#[test]
fn a_process_that_dies_or_leaves_is_no_longer_attached() {
    let place = Place::new();
    let db = place.open();
    let [mut dying, mut leaving, staying] = [0; 3].map(|_| Member::start(&place.data()));
    eventually("all are attached", || attached(&db).len() == 3);
    dying.0.kill();
    assert_eq!(leaving.told("close"), "closed");
    eventually("one is left", || attached(&db) == [staying.0.pid()]);
    assert_eq!(db.stats().unwrap().attached_processes, 1);
}

#[test]
fn a_process_that_is_stopped_stalls_nobody() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let mut stopped = Member::start(&place.data());
    let mut other = Member::start(&place.data());
    stopped.append("before");
    assert_eq!(stopped.told("submit after"), "submitted");
    stopped.0.stop();
    let start = Instant::now();
    for number in 0..200 {
        orders.append(&format!("order {number}")).unwrap();
        other.append(&format!("order {number} of another"));
    }
    assert!(start.elapsed() < Duration::from_secs(20));
    stopped.0.go_on();
    assert!(stopped.told("wait").parse::<u64>().is_ok());
    assert_eq!(texts(&orders, 0).len(), 402);
}

/// A host that is stopped, with a write of an attached process on its way to it; then that process is stopped too and
/// the host is killed.
fn cut_off(place: &Place) -> Member {
    let mut host = ChildProcess::host(&place.data());
    let mut member = Member::start(&place.data());
    assert_eq!(member.append("one blue mug"), 0);
    assert_eq!(member.told("submit two green plates"), "submitted");
    assert_eq!(member.told("wait"), "1");
    host.stop();
    assert_eq!(member.told("submit three forks"), "submitted");
    member.0.ask("wait");
    member.0.stop();
    host.kill();
    member
}

#[test]
fn a_process_that_comes_back_within_the_grace_has_its_write_applied_once() {
    let place = Place::new();
    let mut member = cut_off(&place);
    let next = place.open();
    thread::sleep(Duration::from_millis(200));
    member.0.go_on();
    assert_eq!(member.0.next().as_deref(), Some("2"));
    assert_eq!(texts(&next.stream("orders").unwrap(), 0), ["one blue mug", "two green plates", "three forks"]);
}

#[test]
fn a_process_that_comes_back_after_the_grace_is_told_that_nobody_knows() {
    let place = Place::new();
    let mut member = cut_off(&place);
    let mut next = ChildProcess::host_with_grace(&place.data(), Duration::from_millis(100));
    thread::sleep(Duration::from_millis(600));
    member.0.go_on();
    assert_eq!(member.0.next().as_deref(), Some("OutcomeUnknown"));
    // It goes on in a session of its own.
    assert_eq!(member.append("four spoons"), 2);
    next.kill();
    let db = place.open();
    let orders = db.ensure_stream("orders", StreamOptions::new()).unwrap();
    assert_eq!(texts(&orders, 0), ["one blue mug", "two green plates", "four spoons"]);
}

#[test]
fn what_changed_nothing_is_answered_by_the_next_host_although_a_later_request_was_applied() {
    let place = Place::new();
    let mut host = ChildProcess::host(&place.data());
    let created = |socket: &mut UnixStream, sequence, name| {
        socket.write_all(&create(sequence, name)).unwrap();
        received(socket)
    };
    let requests = [(0, "orders"), (1, "orders"), (2, "payments")];
    let mut socket = welcomed(&place.data(), 7);
    let told = requests.map(|(sequence, name)| created(&mut socket, sequence, name));
    host.kill();
    // It asks as one does whom none of the answers has reached.
    let db = place.open();
    let mut socket = connect(&place.data());
    socket.write_all(&resuming(7)).unwrap();
    assert_eq!(answer(&mut socket).unwrap(), Answer::Welcome);
    let again = requests.map(|(sequence, name)| created(&mut socket, sequence, name));
    assert_eq!((&again[0], &again[2]), (&told[0], &told[2]), "what was applied has its first answer");
    assert_eq!(again[1][..2], [WRITTEN, 1]);
    let reply_at = 2 + 8 + 1;
    assert_eq!(again[1][reply_at..], told[1][reply_at..], "only the address is another");
    assert_eq!(created(&mut socket, 1, "refunds"), [NOT_WRITTEN, 1, FORGOTTEN], "that would be behind the later one");
    assert!(db.stream("refunds").is_err());
}

#[test]
fn who_leaves_after_the_host_is_gone_does_not_wait_for_the_grace() {
    let place = Place::new();
    let host = place.open();
    let options = Options::temporary().mode(OpenMode::Attach).reconnect_grace(Duration::from_secs(1_000_000));
    let attached = options.open(place.data()).unwrap();
    attached.create_stream("orders", StreamOptions::new()).unwrap();
    host.close().unwrap();
    assert!(matches!(attached.close(), Err(Error::NoHost)));
}

#[test]
fn a_session_that_is_over_cannot_be_resumed_and_does_not_begin_again_by_that() {
    let place = Place::new();
    let db = place.open();
    for _ in 0..2 {
        let mut socket = connect(&place.data());
        socket.write_all(&resuming(7)).unwrap();
        assert_eq!(answer(&mut socket).unwrap(), Answer::Refused { reason: SESSION_ENDED, number: 0 });
        eventually("who was refused is gone", || attached(&db).is_empty());
    }
    let begun = welcomed(&place.data(), 7);
    assert_eq!(attached(&db).len(), 1);
    drop(begun);
    eventually("it is let go", || attached(&db).is_empty());
    let mut socket = connect(&place.data());
    socket.write_all(&resuming(7)).unwrap();
    assert_eq!(answer(&mut socket).unwrap(), Answer::Refused { reason: SESSION_ENDED, number: 0 });
}
