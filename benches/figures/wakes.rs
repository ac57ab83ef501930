//! An append in one process wakes a reader that waits in another, beside a bare byte that goes the same way.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use towpath::{Level, OpenMode, Options, Reader, Start, Stream, StreamOptions};

use super::child::{Part, again};
use super::disk::median;
use super::processes::{HOST, ended_by_us, tell_ready};

/// Parts of the figure that other processes do.
pub(crate) const WAIT: &str = "wakes-wait";
pub(crate) const RELAY: &str = "wakes-relay";

const ROUNDS: usize = 10;
const ROUND: usize = 100;
const PAUSE: Duration = Duration::from_millis(2);

/// Those who are to be woken must be asleep again before each. Then the processors sleep too, unless one is kept awake.
const PAUSES: [(&str, fn()); 2] = [("has worked", work), ("has slept", sleep)];

fn work() {
    let started = Instant::now();
    while started.elapsed() < PAUSE {
        std::hint::spin_loop();
    }
}

fn sleep() {
    std::thread::sleep(PAUSE);
}

pub(crate) fn wakes(directory: &Path) {
    let data = directory.join("data");
    let mut host = ended_by_us(HOST, &data);
    let mut reader = Woken::new(&data);
    let mut relay = Relay::new(directory);
    for (what, pause) in PAUSES {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.extend((0..ROUND).map(|_| relay.took(pause)));
            ours.extend((0..ROUND).map(|_| reader.took(pause)));
        }
        let (ours, bare) = (median(ours), median(bare));
        println!(
            "  from a process that {what} until then: {ours:.1} µs (target 50); a byte by way of a third process \
             {bare:.1} µs; ratio {:.2}",
            ours / bare
        );
    }
    for mut child in [reader.child, relay.last, relay.first] {
        child.kill().and_then(|()| child.wait()).expect("it runs");
    }
    host.kill().and_then(|()| host.wait()).expect("it runs");
}

/// Another process with a reader that waits.
struct Woken {
    child: Child,
    wakes: Stream,
    answers: Reader,
}

impl Woken {
    fn new(data: &Path) -> Woken {
        let database = Options::new().mode(OpenMode::Attach).level(Level::Buffered).open(data).expect("attaches");
        let wakes = database.create_stream("wakes", StreamOptions::new()).expect("creates");
        let woken = database.create_stream("woken", StreamOptions::new()).expect("creates");
        let child = ended_by_us(WAIT, data);
        Woken { child, wakes, answers: woken.reader(0, Start::Earliest).expect("opens") }
    }

    /// From an append here to the return of a `receive` there: both read one clock.
    fn took(&mut self, pause: fn()) -> f64 {
        pause();
        let sent = now_nanos();
        self.wakes.append(b"wake").expect("appends");
        let answer = self.answers.receive(1).expect("it answers");
        let record = answer.iter().next().expect("one");
        let received = u64::from_le_bytes(record.body().try_into().expect("a time"));
        (received - sent) as f64 / 1e3
    }
}

/// Tells when each record arrived.
pub(crate) fn wait(part: &Part) {
    let database =
        Options::new().mode(OpenMode::Attach).level(Level::Buffered).open(&part.directory).expect("attaches");
    let woken = database.stream("woken").expect("is there");
    let mut reader = database.stream("wakes").expect("is there").reader(0, Start::Latest).expect("opens");
    tell_ready();
    loop {
        reader.receive(1).expect("receives");
        woken.append(&now_nanos().to_le_bytes()).expect("appends");
    }
}

/// Two processes: what is sent to the first it sends to the second, which tells when it came.
struct Relay {
    first: Child,
    last: Child,
    to_first: UnixStream,
    from_last: UnixStream,
}

impl Relay {
    fn new(directory: &Path) -> Relay {
        let path = directory.join("relay");
        let listener = UnixListener::bind(&path).expect("listens");
        let start = || {
            let child = again(RELAY, 0, &path).spawn().expect("starts another process");
            (child, listener.accept().expect("it connects").0)
        };
        // The second listens for the first.
        let (last, mut from_last) = start();
        from_last.write_all(b"l").and_then(|()| from_last.read_exact(&mut [0])).expect("it listens");
        let (first, mut to_first) = start();
        to_first.write_all(b"f").and_then(|()| to_first.read_exact(&mut [0])).expect("it has connected");
        std::fs::remove_file(path).expect("it is there");
        Relay { first, last, to_first, from_last }
    }

    fn took(&mut self, pause: fn()) -> f64 {
        pause();
        let (sent, mut received) = (now_nanos(), [0; 8]);
        self.to_first.write_all(b".").expect("it listens");
        self.from_last.read_exact(&mut received).expect("it tells");
        (u64::from_le_bytes(received) - sent) as f64 / 1e3
    }
}

pub(crate) fn relay(part: &Part) {
    let mut parent = UnixStream::connect(&part.directory).expect("connects");
    let between = part.directory.with_extension("between");
    let mut byte = [0];
    parent.read_exact(&mut byte).expect("it tells which");
    if byte == *b"f" {
        let mut last = UnixStream::connect(&between).expect("connects");
        parent.write_all(&byte).expect("it waits");
        while parent.read_exact(&mut byte).is_ok() {
            last.write_all(&byte).expect("it listens");
        }
    } else {
        let listener = UnixListener::bind(&between).expect("listens");
        parent.write_all(&byte).expect("it waits");
        let (mut first, _) = listener.accept().expect("it connects");
        std::fs::remove_file(between).expect("it is there");
        while first.read_exact(&mut byte).is_ok() {
            parent.write_all(&now_nanos().to_le_bytes()).expect("it listens");
        }
    }
}

fn now_nanos() -> u64 {
    let mut now = std::mem::MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the call writes one `timespec` to a place of that size, which outlives it.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) };
    assert_eq!(told, 0, "the clock is there");
    // SAFETY: the call has succeeded, so every field is written.
    let now = unsafe { now.assume_init() };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
