//! What comes over the socket and is not what it should be: refused with a clear answer, and nobody else is harmed.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use towpath::{AppendOptions, Database, Error, Header, Level, OpenMode, Options, Record, Stream, StreamOptions};

use crate::child::ChildProcess;
use crate::members::MEMBER;
use crate::place::{Place, eventually, noise, texts};
use crate::raw::{
    Answer, PROTOCOL, STATS, SYNC, TOO_MANY, UNREADABLE, answer, connect, greet, hail, is_ended, read_one, received,
    request, welcomed,
};

const MIB: u64 = 1 << 20;
const NOBODY: u32 = 65_534;

/// A host, a stream of it and an attached process, which use the database. The attached one goes first.
struct Serving {
    attached: Database,
    orders: Stream,
    db: Database,
}

impl Serving {
    fn new(place: &Place) -> Serving {
        let db = place.open();
        let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
        orders.append("one blue mug").unwrap();
        let attached = Options::temporary().mode(OpenMode::Attach).open(place.data()).unwrap();
        Serving { attached, orders, db }
    }

    fn attached_processes(&self) -> usize {
        self.db.attached_processes().unwrap().len()
    }

    /// Both go on, and nothing was written by anybody else.
    #[track_caller]
    fn expect_unharmed(&self) {
        let before = texts(&self.orders, 0).len();
        let start = Instant::now();
        self.orders.append("two green plates").unwrap();
        self.attached.stream("orders").unwrap().append("three forks").unwrap();
        assert_eq!(texts(&self.orders, 0).len(), before + 2);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn garbage_is_no_greeting_and_no_request() {
    let place = Place::new();
    let serving = Serving::new(&place);
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
    serving.expect_unharmed();
    eventually("they are let go", || serving.attached_processes() == 1);
}

#[test]
fn a_frame_of_4_gib_is_refused_by_its_length() {
    let place = Place::new();
    let serving = Serving::new(&place);
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
    serving.expect_unharmed();
}

#[test]
fn half_a_frame_holds_up_nobody() {
    let place = Place::new();
    let serving = Serving::new(&place);
    let mut socket = welcomed(&place.data(), 7);
    socket.write_all(&(16 * MIB as u32).to_le_bytes()).unwrap();
    socket.write_all(&[1; 1000]).unwrap();
    serving.expect_unharmed();
    assert_eq!(serving.attached_processes(), 2);
    drop(socket);
    eventually("it is let go", || serving.attached_processes() == 1);
    serving.expect_unharmed();
}

#[test]
fn a_process_that_never_reads_is_let_go_and_holds_up_nobody() {
    let place = Place::new();
    let serving = Serving::new(&place);
    let mut socket = welcomed(&place.data(), 7);
    let requests = request(STATS).repeat(1000);
    socket.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    let start = Instant::now();
    // The host takes no more once its answers are not taken, and then closes.
    while socket.write_all(&requests).is_ok() {
        serving.expect_unharmed();
        assert!(start.elapsed() < Duration::from_secs(60), "it was not let go");
    }
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
    eventually("it is let go", || serving.attached_processes() == 1);
    serving.expect_unharmed();
}

#[test]
fn readers_that_wait_and_do_not_read_hold_up_no_writer_and_get_whole_answers_later() {
    let place = Place::new();
    let serving = Serving::new(&place);
    let (first, second) = (vec![b'1'; 15_000], vec![b'2'; 15_000]);
    let orders = serving.attached.stream("orders").unwrap();
    let shown_at_once = AppendOptions::new().level(Level::Buffered);
    orders.append_with(Record::new(&first), &shown_at_once).unwrap();
    let mut socket = welcomed(&place.data(), 7);
    // What is there fills most of the socket, so that what comes has no room.
    let requests: Vec<u8> =
        (1..=11).flat_map(|at| read_one(at, 1)).chain((12..=19).flat_map(|at| read_one(at, 2))).collect();
    socket.write_all(&requests).unwrap();
    let waiting = || serving.db.attached_processes().unwrap().iter().map(|process| process.waiting).sum::<u64>();
    eventually("eight readers wait", || waiting() == 8);
    let start = Instant::now();
    orders.append_with(Record::new(&second), &shown_at_once).unwrap();
    serving.expect_unharmed();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let mut answered = Vec::new();
    for _ in 1..=19 {
        let frame = received(&mut socket);
        let body = if frame[1] <= 11 { &first } else { &second };
        assert!(frame.windows(body.len()).any(|bytes| bytes == body), "request {} has its record", frame[1]);
        answered.push(frame[1]);
    }
    answered.sort_unstable();
    assert_eq!(answered, Vec::from_iter(1..=19), "each was answered once");
    assert_eq!(waiting(), 0);
}

#[test]
fn who_does_not_greet_is_not_served_and_let_go() {
    let place = Place::new();
    let serving = Serving::new(&place);
    let mut silent = connect(&place.data());
    let mut asking = connect(&place.data());
    asking.write_all(&request(SYNC).repeat(10)).unwrap();
    assert_eq!(answer(&mut asking).unwrap(), Answer::Refused { reason: UNREADABLE, number: 0 });
    let operations = serving.db.stats().unwrap().operations;
    assert_eq!(operations.iter().find(|operation| operation.operation == "sync").unwrap().count, 0);
    serving.expect_unharmed();
    let start = Instant::now();
    assert!(is_ended(&mut silent));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(serving.attached_processes(), 1);
}

#[test]
fn beyond_1024_processes_are_refused_with_that_number() {
    let limit = getrlimit(Resource::Nofile);
    let enough = Rlimit { current: limit.maximum.map_or(Some(8192), |most| Some(most.min(8192))), ..limit };
    if setrlimit(Resource::Nofile, enough).is_err() || enough.current.is_some_and(|current| current < 4096) {
        return eprintln!("skipped: this process may not have enough open files");
    }
    let place = Place::new();
    let serving = Serving::new(&place);
    let clients: Vec<(UnixStream, Answer)> = (0..1100).map(|number| greet(&place.data(), 1000 + number)).collect();
    let refused = Answer::Refused { reason: TOO_MANY, number: 1024 };
    assert!(clients[..1023].iter().all(|(_, answer)| *answer == Answer::Welcome));
    assert!(clients[1023..].iter().all(|(_, answer)| *answer == refused));
    let told = Options::temporary().open(place.data()).map(drop).unwrap_err();
    assert!(matches!(told, Error::LimitExceeded { limit: "attached processes", max: 1024, .. }), "{told:?}");
    serving.expect_unharmed();
    drop(clients);
    eventually("they are let go", || serving.attached_processes() == 1);
    place.open().close().unwrap();
    serving.expect_unharmed();
}

#[test]
fn what_a_host_left_behind_or_a_file_of_its_sockets_name_is_replaced() {
    let place = Place::new();
    place.open().close().unwrap();
    let socket = place.data().join("host.sock");
    drop(UnixListener::bind(&socket).unwrap());
    Serving::new(&place).expect_unharmed();
    fs::write(&socket, "not a socket").unwrap();
    fs::write(place.data().join("host.sock.new"), "not a socket either").unwrap();
    Serving::new(&place).expect_unharmed();
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
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.data()), mode(&place.data().join("host.sock"))), (0o700, 0o600));
}

/// What a process of another user is told.
fn told_as_another_user(place: &Place, program: &Path) -> String {
    let mut stranger = ChildProcess::start_as(NOBODY, program, MEMBER, &place.data());
    stranger.next().expect("it tells why it may not")
}

#[test]
fn another_user_may_not_attach() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let place = Place::new();
    let serving = Serving::new(&place);
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let program = place.beside("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    open(&program, 0o755);
    open(program.parent().unwrap(), 0o755);
    let told = told_as_another_user(&place, &program);
    assert!(told.contains("PermissionDenied"), "the directory is not theirs: {told}");
    // Although somebody has opened the directory to all.
    open(&place.data(), 0o755);
    open(&place.data().join("host.sock"), 0o666);
    assert_eq!(told_as_another_user(&place, &program), format!("NotPermitted {{ uid: {NOBODY} }}"));
    serving.expect_unharmed();
    assert_eq!(serving.attached_processes(), 1);
}

/// An append of one record that consists of the smallest headers.
fn append_of_headers(orders: &Stream, headers: usize) -> Result<(), Error> {
    let headers = vec![Header { name: "", value: b"" }; headers];
    orders.append(Record::new(b"").headers(&headers)).map(drop)
}

#[test]
fn more_headers_than_a_batch_may_have_are_refused_before_they_are_sent() {
    let place = Place::new();
    let serving = Serving::new(&place);
    let attached = serving.attached.stream("orders").unwrap();
    for orders in [&serving.orders, &attached] {
        for headers in [(1 << 20) + 1, (1 << 15) + 1] {
            let refused = append_of_headers(orders, headers);
            assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "{headers}: {refused:?}");
        }
    }
    serving.expect_unharmed();
}
