//! The host's side of one attached process: a thread that takes requests and gives answers.
//!
//! Requests are begun in the order in which they come. A write that is to be on disk is answered once it is: the thread
//! takes what else has come, and only then waits for the newest of them, so that one sync covers all. A reader that
//! waits is entered with its log and answered when records come (`answers.rs`); meanwhile other requests go on.
//!
//! Of a poisoned engine nobody is told: the connection ends instead, and what has no answer is asked of the next host.
//!
//! What an attached process can make the host hold is bounded: the answers that it does not read (the thread waits, and
//! lets it go when it has read nothing for `STALL_MICROS_MAX`), one frame, and its open questions.

use std::io;

use crate::base::bounds::SESSIONS_MAX;
use crate::base::codec::{Malformed, Take};
use crate::base::level::Level;
use crate::base::lsn::Lsn;
use crate::base::sync::{Arc, AtomicU64, Ordering};
use crate::base::time::BootTime;
use crate::engine::fault::Fault;
use crate::engine::{Engine, Refused, Submitted, deadline_in};
use crate::primitives::queues::{self, QueueNumber};
use crate::primitives::sessions::{self, Request, SessionId};
use crate::primitives::{Command, Once, Primitives, Refusal, Reply};
use crate::storage::disk::clock;
use crate::storage::disk::host::socket::{Peer, Socket};

use super::answers::{Answers, Awaiting, Bell, answering_others, put_answer};
use super::consuming::DescribeConsumers;
use super::exchanging::{DescribeExchange, ExchangeNames, FindExchange};
use super::grouping::{DescribeClaims, DescribeGroup, DescribeMembers, FindGroup, GroupNames};
use super::looking::{FindMessage, LookAt, Peek, Waiting};
use super::operation::{Kind, Question};
use super::questions as ask;
use super::queueing::{DeadLetters, DescribeQueue, FindQueue, QueueNames, WatchQueue};
use super::reading::ReadRecords;
use super::scheduling::{DescribeSchedule, ScheduleNames};
use super::server::{Attached, Host};
use super::watching::WatchMember;
use super::wire::{
    ANSWERED, Greeting, LENGTH_BYTES, NoWelcome, OF_WRITE, Out, Submit, Welcome, put_submitted, receive_greeting,
    refuse, split_frame, welcome,
};

/// Bytes received at once, and kept for the next.
const INPUT_BYTES: usize = 64 << 10;

/// Answers that wait for the disk before it is waited for although more requests are there.
const HELD_MAX: usize = 1024;

/// Answers gathered before they are sent although more requests are there.
const OUTPUT_BYTES: usize = 64 << 10;

/// Serves a connection until it ends.
pub(crate) fn serve(host: &Arc<Host>, socket: &Arc<Socket>, peer: Peer) {
    let greeting = match receive_greeting(socket) {
        Ok(greeting) => greeting,
        #[cfg(planted = "served_without_greeting")]
        Err(NoWelcome::Unreadable) => Greeting {
            session: SessionId::of_random(u64::from(peer.pid)),
            is_resuming: false,
            clock: host.engine.clock_identity(),
            patience_micros: 0,
        },
        Err(why) => return turn_away(host, socket, peer, &why),
    };
    let process = Arc::new(Attached {
        session: greeting.session,
        peer,
        since: clock::boot(),
        requests: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        waiting: AtomicU64::new(0),
    });
    if !host.enter(process.clone()) {
        return turn_away(host, socket, peer, &NoWelcome::SessionInUse);
    }
    let _leaving = Leaving { host, session: greeting.session };
    // All that it takes is there before the session begins.
    let mut connection = match Connection::new(host, socket.clone(), process) {
        Ok(connection) => connection,
        Err(error) => return turn_away(host, socket, peer, &NoWelcome::Io(error)),
    };
    if let Err(why) = begin(host, socket, &greeting) {
        return turn_away(host, socket, peer, &why);
    }
    if let Err(error) = connection.run()
        && !host.is_closing()
    {
        tracing::warn!(pid = peer.pid, %error, "an attached process was let go");
    }
    socket.shutdown();
}

fn turn_away(host: &Host, socket: &Socket, peer: Peer, why: &NoWelcome) {
    host.refusals.tell(Some(peer), why);
    // Whoever does not read why is not told.
    let _ = refuse(socket, why);
}

/// Ends the session, however the thread ends.
struct Leaving<'a> {
    host: &'a Host,
    session: SessionId,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.host.leave(self.session);
    }
}

/// Begins or resumes the session and says so. One that is over is not begun again under its name: its process would
/// take it for the one that knows what was applied.
fn begin(host: &Host, socket: &Socket, greeting: &Greeting) -> Result<(), NoWelcome> {
    if greeting.is_resuming { resume(host, greeting.session) } else { open(host, greeting.session) }?;
    let engine = &host.engine;
    let geometry = engine.geometry();
    welcome(
        socket,
        &Welcome {
            epoch: engine.epoch(),
            database_id: engine.database_id(),
            ring_bytes: geometry.ring_bytes(),
            segment_bytes: geometry.segment_bytes(),
            clock: engine.clock_identity(),
        },
    )?;
    Ok(())
}

fn resume(host: &Host, session: SessionId) -> Result<(), NoWelcome> {
    let is_open = host.engine.inspect(|machine| machine.sessions.is_open(session));
    match is_open.map_err(|fault| io::Error::other(fault.to_string()))? {
        true => Ok(()),
        false => Err(NoWelcome::SessionEnded),
    }
}

fn open(host: &Host, session: SessionId) -> Result<(), NoWelcome> {
    let open = Command::Sessions(sessions::Command::Open { session });
    match host.engine.submit(&open, Level::Buffered, None) {
        Ok(_) => Ok(()),
        Err(Refused::Refusal(_)) => Err(NoWelcome::TooMany { max: SESSIONS_MAX as u64 }),
        Err(Refused::Fault(fault)) => Err(NoWelcome::Io(io::Error::other(fault.to_string()))),
    }
}

struct Connection<'a> {
    host: &'a Host,
    process: Arc<Attached>,
    input: Input,
    answers: Answers,
    held: Vec<Held>,
    bell: Arc<Bell>,
}

/// An answer that may be given once `durable` has reached an address.
struct Held {
    request: u64,
    outcome: u8,
    rests_on: Lsn,
    deadline: Option<BootTime>,
    frame: Vec<u8>,
}

/// Whether the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    GoOn,
    End,
}

impl<'a> Connection<'a> {
    fn new(host: &'a Host, socket: Arc<Socket>, process: Arc<Attached>) -> io::Result<Connection<'a>> {
        Ok(Connection {
            host,
            bell: Bell::new(&host.engine, &process, socket)?,
            process,
            input: Input::default(),
            answers: Answers::default(),
            held: Vec::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        while self.fill()? == Then::GoOn {
            if self.serve_input().map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?
                == Then::End
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sees to it that there is more input, giving every answer that can be given meanwhile.
    fn fill(&mut self) -> io::Result<Then> {
        loop {
            if !self.held.is_empty() {
                match self.input.try_fill(&self.bell.socket)? {
                    Some(0) => return Ok(Then::End),
                    Some(_) => return Ok(Then::GoOn),
                    None => self.settle_held()?,
                }
                continue;
            }
            self.flush()?;
            if self.answers.answer_woken(&self.bell) {
                continue;
            }
            if !self.answers.has_waiting() {
                let received = self.input.fill(&self.bell.socket)?;
                return Ok(if received == 0 { Then::End } else { Then::GoOn });
            }
            if self.bell.sleep(&mut self.answers)? {
                match self.input.try_fill(&self.bell.socket)? {
                    Some(0) => return Ok(Then::End),
                    Some(_) => return Ok(Then::GoOn),
                    None => {}
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.answers.flush(&self.bell.socket)
    }

    /// Waits until the newest of the held answers may be given, and gives them.
    fn settle_held(&mut self) -> io::Result<()> {
        self.flush()?;
        let newest = self.held.iter().map(|held| held.rests_on).max().expect("something is held");
        let deadline = self.held.iter().filter_map(|held| held.deadline).min();
        let outcome = self.host.engine.wait_durable(newest, deadline);
        let (now, durable) = (clock::boot(), self.host.engine.positions().durable);
        for held in std::mem::take(&mut self.held) {
            match &outcome {
                _ if held.rests_on <= durable => self.answers.out().raw(&held.frame),
                Ok(()) => unreachable!("durable has passed the newest"),
                Err(Fault::TimedOut) if held.deadline.is_none_or(|deadline| deadline > now) => self.held.push(held),
                Err(Fault::TimedOut) => self.refuse(held.outcome, held.request, &Fault::Unconfirmed.into()),
                Err(_) => self.refuse(held.outcome, held.request, &Fault::OutcomeUnknown.into()),
            }
        }
        Ok(())
    }

    fn serve_input(&mut self) -> Result<Then, Malformed> {
        let mut input = std::mem::take(&mut self.input);
        let mut then = Then::GoOn;
        while then == Then::GoOn
            && !self.answers.is_over()
            && let Some(frame) = input.next()?
        {
            then = self.serve(&frame)?;
            if self.held.len() >= HELD_MAX && self.settle_held().is_err() {
                then = Then::End;
            }
            if self.answers.out().len() > OUTPUT_BYTES && self.flush().is_err() {
                then = Then::End;
            }
        }
        self.input = input;
        Ok(then)
    }

    fn serve(&mut self, frame: &Received<'_>) -> Result<Then, Malformed> {
        let mut take = Take::new(frame.bytes);
        let kind = Kind::of(take.u8()?)?;
        let request = take.varint()?;
        self.host.count(kind);
        self.process.requests.fetch_add(1, Ordering::Relaxed);
        match kind {
            Kind::Submit if frame.is_last => {
                answering_others(frame.bytes.len(), || self.submit(request, take.rest()))?;
            }
            Kind::Submit => self.submit(request, take.rest())?,
            Kind::Leave => {
                let _ = self.flush();
                return Ok(Then::End);
            }
            Kind::Withdraw => self.answers.withdraw(&self.bell, request),
            Kind::Sync => self.hold_sync(request),
            Kind::Read => {
                let read = ReadRecords::take(&mut take)?;
                take.end()?;
                self.answers.ask(&self.bell, request, Awaiting::Records(read));
            }
            Kind::WatchMember => {
                let watch = WatchMember::take(&mut take)?;
                take.end()?;
                self.answers.ask(&self.bell, request, Awaiting::News(watch));
            }
            Kind::WatchQueue => {
                let watch = WatchQueue::take(&mut take)?;
                take.end()?;
                self.answers.ask(&self.bell, request, Awaiting::Queue(watch));
            }
            _ => self.answer(kind, request, take)?,
        }
        Ok(Then::GoOn)
    }

    fn submit(&mut self, sequence: u64, bytes: &[u8]) -> Result<(), Malformed> {
        self.process.writes.fetch_add(1, Ordering::Relaxed);
        let Submitting { submitted, deadline, asks } =
            submit_once(&self.host.engine, self.process.session, sequence, bytes)?;
        asks.into_iter().for_each(|queue| self.answers.has_looked(queue));
        match submitted {
            Ok(submitted) if submitted.is_held && self.host.engine.positions().durable < submitted.rests_on => {
                let mut frame = Out::new();
                put_answer(ANSWERED | OF_WRITE, sequence, &mut frame, |out| put_submitted(&submitted, out));
                let (outcome, rests_on) = (OF_WRITE, submitted.rests_on);
                self.held.push(Held { request: sequence, outcome, rests_on, deadline, frame: frame.into_bytes() });
            }
            Ok(submitted) => {
                self.answers.put(ANSWERED | OF_WRITE, sequence, |out| put_submitted(&submitted, out));
            }
            Err(refused) => self.refuse(OF_WRITE, sequence, &refused),
        }
        Ok(())
    }

    fn hold_sync(&mut self, request: u64) {
        let mut frame = Out::new();
        put_answer(ANSWERED, request, &mut frame, |_| {});
        let rests_on = self.host.engine.positions().issued;
        self.held.push(Held { request, outcome: 0, rests_on, deadline: None, frame: frame.into_bytes() });
    }

    fn answer(&mut self, kind: Kind, request: u64, take: Take<'_>) -> Result<(), Malformed> {
        match kind {
            Kind::Checkpoint => self.ask::<ask::MakeCheckpoint>(request, take),
            Kind::Stats => self.ask::<ask::StatsOf>(request, take),
            Kind::Processes => self.ask::<ask::Processes>(request, take),
            Kind::FindStream => self.ask::<ask::FindStream>(request, take),
            Kind::StreamNames => self.ask::<ask::StreamNames>(request, take),
            Kind::DescribeStream => self.ask::<ask::DescribeStream>(request, take),
            Kind::DescribePartitions => self.ask::<ask::DescribePartitions>(request, take),
            Kind::Extent => self.ask::<ask::ExtentOf>(request, take),
            Kind::OffsetForTime => self.ask::<ask::OffsetForTime>(request, take),
            Kind::OffsetForLsn => self.ask::<ask::OffsetForLsn>(request, take),
            Kind::RevealStream => self.ask::<ask::RevealStream>(request, take),
            Kind::LastBatch => self.ask::<ask::LastBatch>(request, take),
            Kind::FindGroup => self.ask::<FindGroup>(request, take),
            Kind::GroupNames => self.ask::<GroupNames>(request, take),
            Kind::DescribeGroup => self.ask::<DescribeGroup>(request, take),
            Kind::DescribeMembers => self.ask::<DescribeMembers>(request, take),
            Kind::DescribeClaims => self.ask::<DescribeClaims>(request, take),
            Kind::FindQueue => self.ask::<FindQueue>(request, take),
            Kind::QueueNames => self.ask::<QueueNames>(request, take),
            Kind::DescribeQueue => self.ask::<DescribeQueue>(request, take),
            Kind::DeadLetters => self.ask::<DeadLetters>(request, take),
            Kind::Waiting => self.ask::<Waiting>(request, take),
            Kind::Peek => self.ask::<Peek>(request, take),
            Kind::LookAt => self.ask::<LookAt>(request, take),
            Kind::FindMessage => self.ask::<FindMessage>(request, take),
            Kind::DescribeConsumers => self.ask::<DescribeConsumers>(request, take),
            Kind::FindExchange => self.ask::<FindExchange>(request, take),
            Kind::ExchangeNames => self.ask::<ExchangeNames>(request, take),
            Kind::DescribeExchange => self.ask::<DescribeExchange>(request, take),
            Kind::ScheduleNames => self.ask::<ScheduleNames>(request, take),
            Kind::DescribeSchedule => self.ask::<DescribeSchedule>(request, take),
            Kind::Submit | Kind::Leave | Kind::Withdraw | Kind::Sync | Kind::Read => {
                unreachable!("these have ways of their own")
            }
            Kind::WatchMember | Kind::WatchQueue => unreachable!("these have ways of their own"),
        }
    }

    fn ask<Q: Question>(&mut self, request: u64, mut take: Take<'_>) -> Result<(), Malformed> {
        let question = Q::take(&mut take)?;
        take.end()?;
        match question.answer(self.host) {
            Ok(answer) => self.answers.put(ANSWERED, request, |out| Q::put_answer(&answer, out)),
            Err(refused) => self.refuse(0, request, &refused),
        }
        Ok(())
    }

    fn refuse(&mut self, of: u8, request: u64, refused: &Refused<Refusal>) {
        self.answers.refuse(&self.host.engine, of, request, refused);
    }
}

/// What came of a write.
struct Submitting {
    submitted: Result<Submitted<Reply>, Refused<Refusal>>,
    deadline: Option<BootTime>,
    /// The queue that it asked for messages.
    asks: Option<QueueNumber>,
}

/// Submits a write as a request of its session: applied once, however often it comes. Tells its deadline too.
fn submit_once(
    engine: &Engine<Primitives>,
    session: SessionId,
    sequence: u64,
    bytes: &[u8],
) -> Result<Submitting, Malformed> {
    Submit::read(bytes, |submit| {
        let request = Request { session, sequence, seen_below: submit.seen_below };
        let deadline = deadline_in(submit.timeout);
        #[cfg(not(planted = "request_replayed"))]
        let once = Command::Once(Once { request, command: &submit.command });
        #[cfg(planted = "request_replayed")]
        let (once, _) = (submit.command, request);
        let submitted = engine.accept(&once, submit.wanted, deadline).map(original);
        let asks = match submit.command {
            Command::Queues(queues::Command::Receive { queue, .. }) => Some(queue),
            _ => None,
        };
        Submitting { submitted, deadline, asks }
    })
}

/// Answers a write that an earlier host did not answer, in the process that sent it and is the host now: the bytes of
/// its answer, or why there is none.
pub(super) fn answer_write(host: &Host, session: SessionId, frame: &[u8]) -> Result<Vec<u8>, Refused<Refusal>> {
    let mut take = Take::new(&frame[LENGTH_BYTES..]);
    let sent = "a write that this process has made reads";
    assert_eq!(Kind::of(take.u8().expect(sent)), Ok(Kind::Submit));
    let sequence = take.varint().expect(sent);
    let Submitting { submitted, deadline, .. } = submit_once(&host.engine, session, sequence, take.rest()).expect(sent);
    let submitted = submitted.map_err(|refused| match refused {
        // The earlier host may have applied it.
        Refused::Fault(Fault::Poisoned) => Fault::OutcomeUnknown.into(),
        refused => refused,
    })?;
    if submitted.is_held {
        host.engine.wait_durable(submitted.rests_on, deadline).map_err(|fault| match fault {
            Fault::TimedOut => Fault::Unconfirmed,
            fault => fault,
        })?;
    }
    let mut out = Out::new();
    put_submitted(&submitted, &mut out);
    Ok(out.into_bytes())
}

/// What the first of several equal requests was answered with.
fn original(submitted: Submitted<Reply>) -> Submitted<Reply> {
    match submitted.reply {
        Reply::Repeated(repeated) => Submitted { reply: repeated.reply, lsn: repeated.lsn, ..submitted },
        _ => submitted,
    }
}

/// A frame that was received.
pub(super) struct Received<'a> {
    pub(super) bytes: &'a [u8],
    /// Nothing else has come with it.
    pub(super) is_last: bool,
}

/// What was received and not taken yet.
#[derive(Default, Debug)]
pub(super) struct Input {
    bytes: Vec<u8>,
    taken: usize,
    filled: usize,
}

impl Input {
    pub(super) fn fill(&mut self, socket: &Socket) -> io::Result<usize> {
        let received = socket.receive(self.room())?;
        self.filled += received;
        Ok(received)
    }

    pub(super) fn try_fill(&mut self, socket: &Socket) -> io::Result<Option<usize>> {
        let received = socket.try_receive(self.room())?;
        self.filled += received.unwrap_or(0);
        Ok(received)
    }

    /// Room for more. It grows with what has come, not with what is announced.
    fn room(&mut self) -> &mut [u8] {
        if self.taken > 0 {
            self.bytes.copy_within(self.taken..self.filled, 0);
            self.filled -= self.taken;
            self.taken = 0;
        }
        let room = self.filled.max(INPUT_BYTES / 2) + INPUT_BYTES / 2;
        if self.bytes.len() < room || (self.filled == 0 && self.bytes.len() > INPUT_BYTES) {
            self.bytes.resize(room, 0);
            self.bytes.shrink_to(room);
        }
        &mut self.bytes[self.filled..]
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<Received<'_>>, Malformed> {
        let there = &self.bytes[self.taken..self.filled];
        let Some((bytes, end)) = split_frame(there)? else { return Ok(None) };
        self.taken += end;
        Ok(Some(Received { bytes, is_last: self.taken == self.filled }))
    }
}
