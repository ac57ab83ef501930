//! An attached process beside a bare ping, and asleep.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use towpath::{AppendOptions, Database, Level, OpenMode, Options, Record, Start, StreamOptions};

use super::child::{Part, again};
use super::disk::{median, micros};

/// Parts of the figure that other processes do.
pub(crate) const HOST: &str = "processes-host";
pub(crate) const ECHO: &str = "processes-echo";

const BODY: [u8; 100] = [b'x'; 100];
const ROUND: usize = 2_000;
const PIPELINED: usize = 300_000;
const IN_FLIGHT: usize = 256;
const ASLEEP: Duration = Duration::from_secs(10);

pub(crate) fn processes(directory: &Path) {
    let data = directory.join("data");
    let mut host = ended_by_us(HOST, &data);
    let database = Options::new().mode(OpenMode::Attach).level(Level::Buffered).open(&data).expect("attaches");
    let orders = database.create_stream("orders", StreamOptions::new()).expect("creates");
    let (mut ours, mut bare, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        bare.extend(pings(directory));
        for _ in 0..ROUND {
            let started = Instant::now();
            orders.append(&BODY).expect("appends");
            ours.push(micros(started.elapsed()));
        }
        rates.push(pipelined(&orders));
    }
    let (ours, bare) = (median(ours), median(bare));
    println!(
        "  attached Buffered append {ours:.1} µs (target 25); ping of one byte {bare:.1} µs; ratio {:.2} (target 2.5)",
        ours / bare
    );
    println!("  pipelined, {IN_FLIGHT} in flight: {:.0} thousand/s (target 500)", median(rates) / 1e3);
    asleep(&database, host.id());
    database.close().expect("closes");
    host.kill().expect("it runs");
    host.wait().expect("it ends");
}

pub(crate) fn ended_by_us(part: &str, data: &Path) -> Child {
    let mut child =
        again(part, 0, data).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts another process");
    let mut ready = [0];
    child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("it gets ready");
    child
}

pub(crate) fn tell_ready() {
    let mut out = std::io::stdout();
    out.write_all(b".").and_then(|()| out.flush()).expect("the parent listens");
}

/// Hosts until killed.
pub(crate) fn host(part: &Part) {
    let _database = Options::new().open(&part.directory).expect("opens");
    tell_ready();
    loop {
        std::thread::park();
    }
}

/// What another process takes to send a byte back over a pair of sockets.
fn pings(directory: &Path) -> Vec<f64> {
    let path = directory.join("echo");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("listens");
    let mut child = again(ECHO, ROUND as u64, &path).spawn().expect("starts another process");
    let (mut socket, _) = listener.accept().expect("it connects");
    let mut byte = [7];
    let pings = (0..ROUND)
        .map(|_| {
            let started = Instant::now();
            socket.write_all(&byte).and_then(|()| socket.read_exact(&mut byte)).expect("it answers");
            micros(started.elapsed())
        })
        .collect();
    child.wait().expect("it ends");
    std::fs::remove_file(path).expect("it is there");
    pings
}

pub(crate) fn echo(part: &Part) {
    let mut socket = UnixStream::connect(&part.directory).expect("connects");
    let mut byte = [0];
    for _ in 0..part.count {
        socket.read_exact(&mut byte).and_then(|()| socket.write_all(&byte)).expect("the parent pings");
    }
}

fn pipelined(orders: &towpath::Stream) -> f64 {
    let (options, mut tickets) = (AppendOptions::new(), VecDeque::with_capacity(IN_FLIGHT));
    let started = Instant::now();
    for _ in 0..PIPELINED {
        if tickets.len() == IN_FLIGHT {
            tickets.pop_front().map(towpath::Ticket::wait).expect("not empty").expect("appends");
        }
        tickets.push_back(orders.submit(Record::new(&BODY), &options).expect("appends"));
    }
    for ticket in tickets {
        ticket.wait().expect("appends");
    }
    PIPELINED as f64 / started.elapsed().as_secs_f64()
}

/// Whether anything in the host, or in this process, which has a reader that waits, ran while nothing was to do.
fn asleep(database: &Database, host: u32) {
    let orders = database.stream("orders").expect("is there");
    let mut reader = orders.reader(0, Start::Latest).expect("opens");
    let waiting = std::thread::spawn(move || reader.receive(1).map(|records| records.len()));
    // What was written is synced and the threads have gone to sleep.
    std::thread::sleep(Duration::from_secs(1));
    let (ours, hosts) = (switches(std::process::id()), switches(host));
    std::thread::sleep(ASLEEP);
    let (ours, hosts) = (switches(std::process::id()) - ours, switches(host) - hosts);
    // This thread's own sleep.
    println!(
        "  asleep for {} s beside a waiting reader: the host's threads ran {hosts} times, ours {} times (target 0)",
        ASLEEP.as_secs(),
        ours.saturating_sub(1)
    );
    orders.append(b"wake").expect("appends");
    waiting.join().expect("it is woken").expect("receives");
}

/// How often the threads of a process have gone to sleep or were put aside.
fn switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of_task = |status: String| -> u64 {
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        switches.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
    };
    tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok()).map(of_task).sum()
}
