//! What the fuzz target of the protocol calls: arbitrary bytes as what an attached process sends to its host, and as
//! what a host sends to it.

use std::cell::OnceCell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::disk::SimDisk;
use super::fuzz::{Sample, options};
use crate::base::bounds::MAPPED_SEGMENTS_MAX;
use crate::base::codec::{Malformed, Take};
use crate::base::log::LogId;
use crate::base::sync::Arc;
use crate::base::time::ClockIdentity;
use crate::engine::Engine;
use crate::primitives::Primitives;
use crate::primitives::sessions::SessionId;
use crate::processes::connection::serve;
use crate::processes::grouping::{DescribeClaims, DescribeGroup, DescribeMembers, FindGroup, GroupNames};
use crate::processes::operation::{Kind, Question};
use crate::processes::questions as ask;
use crate::processes::reading::take_read;
use crate::processes::server::Host;
use crate::processes::watching::WatchMember;
use crate::processes::wire::{
    ANSWERED, Greeting, NoWelcome, OF_WRITE, Out, greet, split_frame, take_refused, take_submitted,
};
use crate::storage::disk::host::socket::{Peer, Socket};
use crate::storage::segment::Segments;

/// So that all fits the socket before anybody reads it.
const INPUT_BYTES_MAX: usize = 16 << 10;

const SESSION: u64 = 7;

thread_local! {
    static SAMPLE: OnceCell<Sample> = const { OnceCell::new() };
}

/// Has a host serve these bytes, and an attached process read them: the first byte says which, and how much of a
/// greeting and of frames stands around them.
///
/// # Panics
/// If either side does; if a host answers what an attached process cannot read; if a session is left behind; or if what
/// was written before is not to be read any more.
pub fn fuzz_protocol(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(INPUT_BYTES_MAX)];
    match how % 4 {
        0 => drop(host(bytes.to_vec())),
        1 => drop(host([greeting(), bytes.to_vec()].concat())),
        2 => drop(host([greeting(), framed(bytes)].concat())),
        _ => attached(bytes),
    }
}

/// The greeting of a process of this version, taken from what it sends.
fn greeting() -> Vec<u8> {
    let (ours, mut theirs) = UnixStream::pair().expect("two descriptors");
    let socket = Socket::of(ours).expect("a descriptor");
    theirs.shutdown(Shutdown::Write).expect("connected");
    let no_welcome = hail(&socket);
    assert!(no_welcome.is_err(), "nobody welcomed it");
    drop(socket);
    let mut sent = Vec::new();
    theirs.read_to_end(&mut sent).expect("what was sent");
    sent
}

fn hail(socket: &Socket) -> Result<(), NoWelcome> {
    let clock = ClockIdentity { boot_id: [0; 16], time_namespace: 0 };
    let session = SessionId::of_random(SESSION);
    greet(socket, &Greeting { session, is_resuming: false, clock, patience_micros: 1_000_000 }).map(drop)
}

/// Stretches of the bytes, as long as the byte before each says, each a frame of an operation that there is.
fn framed(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Out::new();
    while let Some((&[kind, len], rest)) = bytes.split_first_chunk() {
        let (body, rest) = rest.split_at(usize::from(len).min(rest.len()));
        let kind = Kind::ALL[usize::from(kind) % Kind::ALL.len()];
        out.frame(kind as u8, |out| out.raw(body));
        bytes = rest;
    }
    out.into_bytes()
}

/// Serves the bytes from the sample, to the end of the connection, and gives the outcomes of the answers.
fn host(bytes: Vec<u8>) -> Vec<u8> {
    SAMPLE.with(|sample| {
        let disk = SimDisk::from_snapshot(&sample.get_or_init(Sample::new).image, 1);
        let engine = Engine::<Primitives>::open(disk.attach(), options(false)).expect("the sample is in order");
        let host = Arc::new(Host::new(Arc::new(engine)));
        let (ours, mut theirs) = UnixStream::pair().expect("two descriptors");
        theirs.write_all(&bytes).expect("it fits the socket");
        theirs.shutdown(Shutdown::Write).expect("connected");
        let reading = std::thread::spawn(move || {
            let mut answers = Vec::new();
            // A host that hangs up over bytes that it has not read resets the connection.
            let _ = theirs.read_to_end(&mut answers);
            answers
        });
        let socket = Arc::new(Socket::of(ours).expect("a descriptor"));
        serve(&host, &socket, Peer { pid: 1, uid: 0 });
        drop(socket);
        let answers = reading.join().expect("it only reads");
        let outcomes = outcomes(&answers);
        let left = host.engine.inspect(|machine| machine.sessions.count()).expect("it is open");
        assert_eq!(left, 0, "a session is left behind");
        host.engine.abandon();
        outcomes
    })
}

/// The outcome of each answer; every one reads.
fn outcomes(answers: &[u8]) -> Vec<u8> {
    let Some(head) = answers.first_chunk::<16>() else { return Vec::new() };
    let body = u32::from_le_bytes(*head.last_chunk().expect("sixteen bytes")) as usize;
    let (mut rest, mut outcomes) = (&answers[16 + body..], Vec::new());
    while let Some((frame, end)) = split_frame(rest).expect("the host sends no frame over the limit") {
        let (outcome, of_write, mut take) = head_of(frame).expect("the host sends whole heads");
        if outcome != ANSWERED {
            take_refused(&mut take).expect("a refusal reads");
        } else if of_write {
            take_submitted(&mut take).expect("the answer to a write reads");
        }
        outcomes.push(outcome);
        rest = &rest[end..];
    }
    outcomes
}

/// Whether a frame of the host answers or refuses, whether that is a write, and its body.
fn head_of(frame: &[u8]) -> Result<(u8, bool, Take<'_>), Malformed> {
    let mut take = Take::new(frame);
    let (outcome, _request) = (take.u8()?, take.varint()?);
    Ok((outcome & !OF_WRITE, outcome & OF_WRITE != 0, take))
}

/// Reads the bytes as all that a host may send.
fn attached(bytes: &[u8]) {
    let (ours, mut theirs) = UnixStream::pair().expect("two descriptors");
    theirs.write_all(bytes).expect("it fits the socket");
    theirs.shutdown(Shutdown::Write).expect("connected");
    let _ = hail(&Socket::of(ours).expect("a descriptor"));
    let mut rest = bytes;
    while let Ok(Some((frame, end))) = split_frame(rest) {
        let _ = head_of(frame).map(|(.., take)| answers(take.rest()));
        rest = &rest[end..];
    }
    answers(bytes);
}

fn answers(bytes: &[u8]) {
    let _ = take_refused(&mut Take::new(bytes));
    let _ = take_submitted(&mut Take::new(bytes));
    as_answer::<ask::FindStream>(bytes);
    as_answer::<ask::StreamNames>(bytes);
    as_answer::<ask::DescribeStream>(bytes);
    as_answer::<ask::DescribePartitions>(bytes);
    as_answer::<ask::ExtentOf>(bytes);
    as_answer::<ask::OffsetForTime>(bytes);
    as_answer::<ask::OffsetForLsn>(bytes);
    as_answer::<ask::LastBatch>(bytes);
    as_answer::<WatchMember>(bytes);
    as_answer::<FindGroup>(bytes);
    as_answer::<GroupNames>(bytes);
    as_answer::<DescribeGroup>(bytes);
    as_answer::<DescribeMembers>(bytes);
    as_answer::<DescribeClaims>(bytes);
    as_answer::<ask::StatsOf>(bytes);
    as_answer::<ask::Processes>(bytes);
    SAMPLE.with(|sample| {
        let disk = SimDisk::from_snapshot(&sample.get_or_init(Sample::new).image, 1);
        let segments = Segments::to_be_read(disk.attach(), options(false).geometry, MAPPED_SEGMENTS_MAX);
        let _ = take_read(&mut Take::new(bytes), LogId(1), &segments);
    });
}

fn as_answer<Q: Question>(bytes: &[u8]) {
    let _ = Q::take_answer(&mut Take::new(bytes));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sim::random::Random;

    #[test]
    fn random_bytes_are_served_or_refused_and_read_or_refused() {
        for seed in 0..600 {
            let mut random = Random::new(seed);
            let bytes: Vec<u8> = (0..random.below(120)).map(|_| random.next() as u8).collect();
            fuzz_protocol(&bytes);
        }
    }

    #[test]
    fn what_is_asked_is_answered() {
        let asked =
            framed(&[&[Kind::Stats as u8 - 1, 1, 1][..], &[Kind::FindStream as u8 - 1, 8, 2, 6], b"orders"].concat());
        assert_eq!(host([greeting(), asked].concat()), [ANSWERED, ANSWERED]);
    }

    #[test]
    fn every_operation_is_served_from_a_small_body() {
        for kind in 0..Kind::ALL.len() as u8 {
            for body in [&[1][..], &[1, 0], &[1, 0, 0, 0, 0], &[1, 1, 0, 10, 0, 1], &[2, 0, 1, 0, 1, 3, 6]] {
                fuzz_protocol(&[&[2, kind, body.len() as u8], body].concat());
            }
        }
    }
}
