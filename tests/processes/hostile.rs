//! What comes over the socket and is not what it should be: refused with a clear answer, and nobody else is harmed.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use towpath::{Database, Error, OpenMode, Options, Stream, StreamOptions};

use crate::place::{Place, eventually, noise, texts};
use crate::raw::{
    Answer, PROTOCOL, STATS, SYNC, TOO_MANY, UNREADABLE, answer, connect, greeting, hail, is_ended, request, welcomed,
};

const MIB: u64 = 1 << 20;

/// A host, a stream and an attached process that use it.
fn serving(place: &Place) -> (Database, Stream, Database) {
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    orders.append("one blue mug").unwrap();
    let attached = Options::temporary().mode(OpenMode::Attach).open(place.data()).unwrap();
    (db, orders, attached)
}

/// Both go on, and nothing was written by anybody else.
#[track_caller]
fn expect_unharmed((_db, orders, attached): &(Database, Stream, Database)) {
    let before = texts(orders, 0).len();
    let start = Instant::now();
    orders.append("two green plates").unwrap();
    attached.stream("orders").unwrap().append("three forks").unwrap();
    assert_eq!(texts(orders, 0).len(), before + 2);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn garbage_is_no_greeting_and_no_request() {
    let place = Place::new();
    let serving = serving(&place);
    for seed in 0..20 {
        let garbage = noise(seed, MIB as usize);
        let mut socket = connect(&place.data());
        // It hangs up before it has read all.
        let _ = socket.write_all(&garbage);
        let refused = answer(&mut socket);
        assert!(refused.is_err() || matches!(refused, Ok(Answer::Refused { reason: UNREADABLE, .. })), "{refused:?}");
        let mut socket = welcomed(&place.data(), 1000 + seed);
        let _ = socket.write_all(&garbage);
        let _ = socket.read_to_end(&mut Vec::new());
    }
    expect_unharmed(&serving);
    eventually("they are let go", || serving.0.attached_processes().unwrap().len() == 1);
}

#[test]
fn a_frame_of_4_gib_is_refused_by_its_length() {
    let place = Place::new();
    let serving = serving(&place);
    let mut hailing = connect(&place.data());
    let mut head = hail(b"TOWPATH>", PROTOCOL, &[]);
    head[12..].copy_from_slice(&u32::MAX.to_le_bytes());
    hailing.write_all(&head).unwrap();
    assert_eq!(answer(&mut hailing).unwrap(), Answer::Refused { reason: UNREADABLE, number: 0 });
    let mut socket = welcomed(&place.data(), 7);
    let before = resident_bytes();
    socket.write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert!(is_ended(&mut socket));
    assert!(resident_bytes() < before + 256 * MIB);
    expect_unharmed(&serving);
}

#[test]
fn half_a_frame_holds_up_nobody() {
    let place = Place::new();
    let serving = serving(&place);
    let mut socket = welcomed(&place.data(), 7);
    socket.write_all(&(16 * MIB as u32).to_le_bytes()).unwrap();
    socket.write_all(&[1; 1000]).unwrap();
    expect_unharmed(&serving);
    assert_eq!(serving.0.attached_processes().unwrap().len(), 2);
    drop(socket);
    eventually("it is let go", || serving.0.attached_processes().unwrap().len() == 1);
    expect_unharmed(&serving);
}

#[test]
fn a_process_that_never_reads_is_let_go_and_holds_up_nobody() {
    let place = Place::new();
    let serving = serving(&place);
    let mut socket = welcomed(&place.data(), 7);
    let requests = request(STATS).repeat(1000);
    socket.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    let start = Instant::now();
    // The host takes no more once its answers are not taken, and then closes.
    while socket.write_all(&requests).is_ok() {
        expect_unharmed(&serving);
        assert!(start.elapsed() < Duration::from_secs(60), "it was not let go");
    }
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
    eventually("it is let go", || serving.0.attached_processes().unwrap().len() == 1);
    expect_unharmed(&serving);
}

#[test]
fn who_does_not_greet_is_not_served_and_let_go() {
    let place = Place::new();
    let serving = serving(&place);
    let mut silent = connect(&place.data());
    let mut asking = connect(&place.data());
    asking.write_all(&request(SYNC).repeat(10)).unwrap();
    assert_eq!(answer(&mut asking).unwrap(), Answer::Refused { reason: UNREADABLE, number: 0 });
    let operations = serving.0.stats().unwrap().operations;
    assert_eq!(operations.iter().find(|operation| operation.operation == "sync").unwrap().count, 0);
    expect_unharmed(&serving);
    let start = Instant::now();
    assert!(is_ended(&mut silent));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(serving.0.attached_processes().unwrap().len(), 1);
}

#[test]
fn beyond_1024_processes_are_refused_with_that_number() {
    let limit = getrlimit(Resource::Nofile);
    let enough = Rlimit { current: limit.maximum.map_or(Some(8192), |most| Some(most.min(8192))), ..limit };
    if setrlimit(Resource::Nofile, enough).is_err() || enough.current.is_some_and(|current| current < 4096) {
        return eprintln!("skipped: this process may not have enough open files");
    }
    let place = Place::new();
    let serving = serving(&place);
    let clients: Vec<(UnixStream, Answer)> = (0..1100)
        .map(|number| {
            let mut socket = connect(&place.data());
            socket.write_all(&greeting(PROTOCOL, 1000 + number)).unwrap();
            let answered = answer(&mut socket).unwrap();
            (socket, answered)
        })
        .collect();
    let refused = Answer::Refused { reason: TOO_MANY, number: 1024 };
    assert!(clients[..1023].iter().all(|(_, answer)| *answer == Answer::Welcome));
    assert!(clients[1023..].iter().all(|(_, answer)| *answer == refused));
    let told = Options::temporary().open(place.data()).map(drop).unwrap_err();
    assert!(matches!(told, Error::LimitExceeded { limit: "attached processes", max: 1024, .. }), "{told:?}");
    expect_unharmed(&serving);
    drop(clients);
    eventually("they are let go", || serving.0.attached_processes().unwrap().len() == 1);
    place.open().close().unwrap();
    expect_unharmed(&serving);
}

#[test]
fn what_a_host_left_behind_or_a_file_of_its_sockets_name_is_replaced() {
    let place = Place::new();
    place.open().close().unwrap();
    let socket = place.data().join("host.sock");
    drop(UnixListener::bind(&socket).unwrap());
    expect_unharmed(&serving(&place));
    fs::write(&socket, "not a socket").unwrap();
    fs::write(place.data().join("host.sock.new"), "not a socket either").unwrap();
    expect_unharmed(&serving(&place));
    assert!(!socket.exists(), "a host that closes takes it away");
}

#[test]
fn a_folder_of_the_sockets_name_is_told_of() {
    let place = Place::new();
    place.open().close().unwrap();
    let socket = place.data().join("host.sock");
    fs::create_dir(&socket).unwrap();
    let refused = Options::temporary().open(place.data()).map(drop).unwrap_err();
    assert!(refused.to_string().starts_with("listening for other processes failed"), "{refused}");
    fs::remove_dir(&socket).unwrap();
    place.open().close().unwrap();
}

#[test]
fn the_socket_is_its_owners_alone() {
    let place = Place::new();
    let _db = place.open();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.data()), mode(&place.data().join("host.sock"))), (0o700, 0o600));
}
