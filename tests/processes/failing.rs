//! The host's disk fails under it, and the others go on.

use std::thread;
use std::time::{Duration, Instant};

use towpath::{Error, OpenMode, StreamOptions};

use crate::failover::expect_all_to_go_on;
use crate::members::Member;
use crate::place::{Place, eventually, texts};

/// Has the host's next write of a file fail, which poisons it.
fn poison(host: &mut Member) {
    assert_eq!(host.told("fail_writes"), "they fail");
    let told = host.told("append the one that fails");
    assert!(["OutcomeUnknown", "Poisoned"].contains(&told.as_str()), "another's write may have come before: {told}");
    assert_eq!(host.told("append another"), "Poisoned");
}

#[test]
fn writers_and_readers_go_on_when_the_hosts_disk_fails() {
    let place = Place::new();
    let mut hosts = vec![Member::start(&place.data()), Member::start(&place.data())];
    let db = place.open_with(towpath::Options::temporary().mode(OpenMode::Attach));
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    expect_all_to_go_on(&orders, || {
        for _ in 0..3 {
            hosts.push(Member::start(&place.data()));
            thread::sleep(Duration::from_millis(150));
            let host = db.stats().unwrap().host_pid;
            let at = hosts.iter().position(|child| u64::from(child.0.pid()) == host).expect("a child hosts");
            let start = Instant::now();
            poison(&mut hosts[at]);
            // A question may still reach the poisoned one before it leaves.
            eventually("another hosts", || db.stats().unwrap().host_pid != host);
            assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
            assert!(!hosts[at].is_host());
            assert_eq!(hosts[at].told("append yet another"), "Poisoned", "until it is opened again");
        }
    });
}

#[test]
fn a_poisoned_process_opens_the_database_again_beside_its_old_handle() {
    let place = Place::new();
    let mut host = Member::start(&place.data());
    assert_eq!(host.append("one blue mug"), 0);
    poison(&mut host);
    assert_eq!(host.told("allow_writes"), "they succeed");
    assert_eq!(host.told("open_another"), "host");
    let offset: u64 = host.told("append_to_another two green plates").parse().unwrap();
    assert!(offset <= 2, "what failed may be there: {offset}");
    assert_eq!(host.told("append three forks"), "Poisoned");
    assert_eq!(host.told("read"), "Poisoned");
    assert_eq!(host.told("close_early"), "Err(Poisoned)");
    assert_eq!(host.told("append three forks"), "Closed");
    assert_eq!(host.told("append_to_another three forks"), (offset + 1).to_string());
    assert_eq!(host.told("close"), "closed");
}

#[test]
fn who_comes_to_a_poisoned_host_becomes_the_next() {
    let place = Place::new();
    let mut host = Member::start(&place.data());
    assert_eq!(host.append("one blue mug"), 0);
    poison(&mut host);
    let start = Instant::now();
    let db = place.open();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(db.is_host());
    assert_eq!(texts(&db.stream("orders").unwrap(), 0)[0], "one blue mug");
    assert_eq!(host.told("allow_writes"), "they succeed");
    assert_eq!(host.told("open_another"), "attached");
    assert_eq!(host.told("append three forks"), "Poisoned");
    host.told("append_to_another two green plates").parse::<u64>().unwrap();
    assert_eq!(host.told("close_early"), "Err(Poisoned)");
    eventually("only the one that was opened again is attached", || db.attached_processes().unwrap().len() == 1);
}

#[test]
fn a_child_of_a_poisoned_host_comes_to_the_database_anew() {
    let place = Place::new();
    let mut host = Member::start(&place.data());
    assert_eq!(host.append("one blue mug"), 0);
    poison(&mut host);
    assert_eq!(host.told("append_in_a_fork two green plates"), "appended", "nobody else has it open");
    let db = place.open();
    let orders = db.stream("orders").unwrap();
    assert_eq!(texts(&orders, 0).last().unwrap(), "two green plates");
    assert_eq!(host.told("append_in_a_fork three forks"), "appended", "it is attached");
    assert_eq!(texts(&orders, 0).last().unwrap(), "three forks");
    assert_eq!(host.told("append four spoons"), "Poisoned");
}

#[test]
fn a_database_that_is_held_alone_stays_so_although_it_is_poisoned() {
    let place = Place::new();
    let mut alone = Member::start_alone(&place.data());
    assert_eq!(alone.append("one blue mug"), 0);
    poison(&mut alone);
    assert_eq!(alone.told("read"), "1 or more", "what is there can still be read");
    let refused = towpath::Options::temporary().open(place.data());
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    assert_eq!(alone.told("close_early"), "Err(Poisoned)");
    assert!(place.open().is_host());
}
