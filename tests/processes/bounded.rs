//! Much is asked at once, or of a host that stands still: what it takes is bounded, and the others go on.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use towpath::{Error, Start};

use crate::child::ChildProcess;
use crate::failover::{attach, beside_a_host};
use crate::members::Member;
use crate::place::{PATIENCE, Place, eventually};
use crate::raw::{Answer, TOO_MANY, greet, read_one, received, welcomed};

/// What the process had in memory at most, in bytes.
fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn a_host_of_few_open_files_refuses_processes_and_goes_on_writing() {
    let place = Place::new();
    let mut host = Member::start(&place.data());
    host.append("one blue mug");
    assert_eq!(host.told("open_files 256"), "256");
    let clients: Vec<(UnixStream, Answer)> = (0..200).map(|number| greet(&place.data(), 1000 + number)).collect();
    assert!(clients[..64].iter().all(|(_, answer)| *answer == Answer::Welcome));
    let refused = Answer::Refused { reason: TOO_MANY, number: 64 };
    assert!(clients[64..].iter().all(|(_, answer)| *answer == refused));
    // Several segments of 4 MiB, each a new file.
    let body = "mug ".repeat(100_000);
    for offset in 1..=40 {
        assert_eq!(host.append(&body), offset);
    }
    assert!(host.is_host());
    drop(clients);
    eventually("there is room for another", || greet(&place.data(), 7).1 == Answer::Welcome);
}

#[test]
fn readers_of_a_large_record_are_answered_as_their_process_takes_the_answers() {
    let (place, host, db, orders) = beside_a_host();
    let mut socket = welcomed(&place.data(), 7);
    let everything_with_the_answer = 1;
    let waiting = (1..=120).flat_map(|at| {
        let mut frame = read_one(at, 0);
        *frame.last_mut().unwrap() = everything_with_the_answer;
        frame
    });
    socket.write_all(&waiting.collect::<Vec<u8>>()).unwrap();
    let count = || db.attached_processes().unwrap().iter().map(|process| process.waiting).sum::<u64>();
    eventually("they wait", || count() == 120);
    let before = peak_bytes(host.pid());
    orders.append(vec![b'x'; 1_000_000].as_slice()).unwrap();
    orders.append("while they are answered").unwrap();
    for _ in 1..=120 {
        assert!(received(&mut socket).len() > 1_000_000);
    }
    let more = peak_bytes(host.pid()) - before;
    assert!(more < 40 << 20, "{more} bytes for 120 answers of 1 MB");
    assert_eq!(count(), 0);
}

#[test]
fn reads_that_end_before_a_stopped_host_takes_them_are_bounded_in_number() {
    let (_place, host, _db, orders) = beside_a_host();
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    host.stop();
    let start = Instant::now();
    let refused = loop {
        match reader.receive_timeout(1, Duration::from_micros(100)) {
            Ok(none) => assert!(none.is_none()),
            Err(error) => break error,
        }
        assert!(start.elapsed() < PATIENCE);
    };
    assert!(matches!(refused, Error::LimitExceeded { max: 4096, .. }), "{refused:?}");
    host.go_on();
    orders.append("one blue mug").unwrap();
    eventually("it reads again", || reader.receive(1).is_ok_and(|records| records.len() == 1));
}

#[test]
fn who_wrote_nothing_closes_without_a_host_that_is_stopped() {
    let place = Place::new();
    let host = ChildProcess::host(&place.data());
    let db = attach(&place, PATIENCE);
    assert!(db.streams().unwrap().is_empty());
    host.stop();
    let start = Instant::now();
    db.close().unwrap();
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    host.go_on();
}
