//! The attached side: requests go out, answers come in, and when the host goes away the next is found.
//!
//! * Who waits for an answer reads the socket itself, if nobody else does, and hands other answers to those who wait
//!   for them; when it leaves, another goes on. So a lone call costs two wakes, as a bare ping does.
//! * The *keeper* (`keeper.rs`) is the client's one thread. It sleeps until the host hangs up, and reads while only
//!   futures wait.
//! * Requests that nobody waits for are gathered while others are under way, and sent with the next that must go.
//! * Sending never waits: what the socket has no room for is kept (`outbox.rs`), and the keeper sends it when there is
//!   room. So no deadline is missed because the host does not read.
//! * Every request is kept as it was sent until it is answered (`unanswered.rs`).

mod exchange;
mod keeper;
mod outbox;
mod pending;
mod slot;
#[cfg(all(test, not(loom)))]
mod tests;
mod unanswered;

use std::io;

use once_cell::race::OnceBox;

use crate::base::bounds::{
    LEFT_ALONE_MICROS, LOOK_AGAIN_MICROS_MAX, MAPPED_SEGMENTS_MAX, QUESTIONS_OPEN_MAX, WIRE_FRAME_BYTES_MAX,
};
use crate::base::codec::Take;
use crate::base::level::{Level, Wanted};
use crate::base::lsn::Geometry;
use crate::base::sync::{Arc, Event, JoinHandle, Mutex};
use crate::base::time::BootTime;
use crate::engine::fault::Fault;
use crate::engine::read::Read;
use crate::engine::{Refused, Submitted, micros_left};
use crate::primitives::sessions::SessionId;
use crate::primitives::{Command, Refusal, Reply, queues};
use crate::storage::disk::clock;
use crate::storage::disk::host::fork::ForkMark;
use crate::storage::disk::host::socket::{Alarm, Socket};
use crate::storage::segment::Segments;

use super::connection::Input;
use super::link::{Opening, Station};
use super::operation::{Kind, Question};
use super::questions::{SyncAll, too_many_questions, unreadable};
use super::queueing::WatchQueue;
use super::reading::{Fetched, ReadRecords, take_read};
use super::wire::{Out, Submit, Welcome};
use outbox::Outbox;
pub(crate) use pending::{Call, PendingQuestion, PendingWrite};
use slot::Slot;
use unanswered::{Request, Unanswered};

/// Times that a segment may have gone away before its bytes are asked for.
const MAPPINGS_MAX: usize = 4;

/// Why an attached process has no answer.
#[derive(Debug)]
pub(crate) enum Unasked {
    /// This process hosts the database now: ask here.
    Moved,
    Refused(Refused<Refusal>),
}

impl From<Fault> for Unasked {
    fn from(fault: Fault) -> Unasked {
        Unasked::Refused(Refused::Fault(fault))
    }
}

/// A process's connection to whoever hosts the database.
#[derive(Debug)]
pub(crate) struct Client {
    opening: Opening,
    here: ForkMark,
    // Wakes the keeper.
    alarm: Alarm,
    /// Notified when the keeper is to look for a host, and when it is to end.
    changed: Event,
    keeper: Mutex<Option<JoinHandle<()>>>,
    state: Mutex<State>,
    /// Held by whoever reads.
    input: Mutex<Input>,
    /// Set once, when this process has become the host.
    moved_to: OnceBox<Station>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    session: SessionId,
    database_id: [u8; 16],
    segments: Arc<Segments>,
    unanswered: Unanswered,
    outbox: Outbox,
    /// Over which the keeper introduces this process to a host.
    greeting: Option<Arc<Socket>>,
    is_reading: bool,
    /// Those who wait while somebody else reads; one of them goes on when that one leaves.
    followers: Vec<Arc<Slot>>,
    keeper_is_asked: bool,
    /// How many hosts it was attached to before this one.
    hosts_before: u64,
}

/// Where the host is.
#[derive(Debug)]
enum Phase {
    Attached(Arc<Socket>),
    /// It has gone; the keeper looks for the next.
    Lost,
    /// None was found; the keeper looks again when there is something to ask.
    Unattached,
    /// It is this process.
    Moved,
    /// Nobody is asked any more.
    Closed,
}

impl Phase {
    /// Whether it is this connection that is spoken over.
    fn is_over(&self, socket: &Socket) -> bool {
        matches!(self, Phase::Attached(current) if std::ptr::eq(&raw const **current, socket))
    }

    fn socket(&self) -> Option<Arc<Socket>> {
        match self {
            Phase::Attached(socket) => Some(socket.clone()),
            _ => None,
        }
    }
}

impl Client {
    /// Speaks to the host over a connection that has its welcome.
    pub(crate) fn start(
        opening: Opening,
        socket: Arc<Socket>,
        session: SessionId,
        welcome: &Welcome,
    ) -> Result<Arc<Client>, Fault> {
        let io = Fault::io("attaching to the host");
        let state = State {
            phase: Phase::Attached(socket),
            session,
            database_id: welcome.database_id,
            segments: segments_of(&opening, welcome)?,
            unanswered: Unanswered::default(),
            outbox: Outbox::default(),
            greeting: None,
            is_reading: false,
            followers: Vec::new(),
            keeper_is_asked: false,
            hosts_before: 0,
        };
        let new = || -> io::Result<(ForkMark, Alarm)> { Ok((ForkMark::new()?, Alarm::new()?)) };
        let (here, alarm) = new().map_err(io)?;
        let client = Arc::new(Client {
            opening,
            here,
            alarm,
            changed: Event::new(),
            keeper: Mutex::new(None),
            state: Mutex::new(state),
            input: Mutex::new(Input::default()),
            moved_to: OnceBox::new(),
        });
        client.start_keeper()?;
        Ok(client)
    }

    /// Where the database is, once it is in this process.
    #[inline]
    pub(crate) fn moved_to(&self) -> Option<&Station> {
        self.moved_to.get()
    }

    /// Whether this is the process that attached, and no fork of it.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.here.is_here()
    }

    /// Sends a write and does not wait for its answer. Waits only while as many are unanswered as the host remembers.
    pub(crate) fn submit(
        self: &Arc<Self>,
        command: &Command<'_>,
        wanted: Wanted,
        deadline: Option<BootTime>,
    ) -> Result<PendingWrite, Unasked> {
        let (sequence, slot) = self.enter_write(command, wanted, deadline)?;
        self.send_gathered();
        Ok(PendingWrite { client: self.clone(), slot, sequence })
    }

    /// Sends a write and waits for its answer.
    pub(crate) fn submit_and_wait(
        self: &Arc<Self>,
        command: &Command<'_>,
        wanted: Wanted,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<Reply>, Unasked> {
        let (sequence, slot) = self.enter_write(command, wanted, deadline)?;
        PendingWrite { client: self.clone(), slot, sequence }.wait(deadline)
    }

    fn enter_write(
        &self,
        command: &Command<'_>,
        wanted: Wanted,
        deadline: Option<BootTime>,
    ) -> Result<(u64, Arc<Slot>), Unasked> {
        loop {
            let mut state = self.state.lock();
            self.check(&mut state)?;
            if state.unanswered.is_full() {
                let first = state.unanswered.first_slot().expect("a full window has a first write");
                drop(state);
                if !self.wait_done(&first, deadline) {
                    return Err(Fault::TimedOut.into());
                }
                continue;
            }
            let (sequence, seen_below) = (state.unanswered.next_write(), state.unanswered.seen_below());
            // Without time left the host still takes what it need not wait for.
            let timeout = micros_left(deadline).unwrap_or(Some(0)).map(std::time::Duration::from_micros);
            let submit = Submit { seen_below, wanted, timeout, command: *command };
            let mut frame = Out::new();
            frame.frame(Kind::Submit as u8, |out| {
                out.varint(sequence);
                submit.put(out);
            });
            if frame.len() > WIRE_FRAME_BYTES_MAX {
                let max = state.segments.geometry().frame_bytes_max();
                return Err(Fault::FrameTooLarge { max, actual: frame.len() as u64 }.into());
            }
            let (frame, slot) = (frame.into_bytes(), Slot::new());
            state.outbox.gathered().raw(&frame);
            state.unanswered.push_write(Request { frame, slot: slot.clone() });
            if matches!(state.phase, Phase::Attached(_)) {
                state.unanswered.sent();
            }
            return Ok((sequence, slot));
        }
    }

    /// Asks a question and waits for its answer.
    pub(crate) fn ask<Q: Question>(self: &Arc<Self>, question: &Q) -> Result<Q::Answer, Unasked> {
        let pending = self.enter_question(Q::KIND, |out| question.put(out))?;
        let bytes = pending.wait(None)?.expect("without a deadline it waits for the answer");
        let mut take = Take::new(&bytes);
        Ok(Q::take_answer(&mut take).map_err(unreadable)?)
    }

    /// Asks a question of which only that it was answered counts.
    pub(crate) fn begin<Q: Question>(self: &Arc<Self>, question: &Q) -> Result<PendingQuestion, Unasked> {
        self.enter_question(Q::KIND, |out| question.put(out))
    }

    /// Tells the hosts apart that it was attached to.
    pub(crate) fn host(&self) -> u64 {
        self.state.lock().hosts_before
    }

    /// Watches a queue of which the host with this number told. Another is not asked, and whoever waits when there is
    /// another is told to look there.
    pub(crate) fn watch(self: &Arc<Self>, watch: &WatchQueue, host: u64) -> Result<PendingQuestion, Unasked> {
        let mut pending = self.begin(watch)?;
        pending.is_called = true;
        if self.host() == host { Ok(pending) } else { Err(Unasked::Moved) }
    }

    fn enter_question(self: &Arc<Self>, kind: Kind, put: impl FnOnce(&mut Out)) -> Result<PendingQuestion, Unasked> {
        let mut state = self.state.lock();
        self.check(&mut state)?;
        // A host that is stopped does not even take those that were withdrawn.
        if state.unanswered.count_questions() + state.outbox.withdrawn() >= QUESTIONS_OPEN_MAX {
            return Err(Unasked::Refused(too_many_questions()));
        }
        let number = state.unanswered.next_question();
        let mut frame = Out::new();
        frame.frame(kind as u8, |out| {
            out.varint(number);
            put(out);
        });
        let (frame, slot) = (frame.into_bytes(), Slot::new());
        state.outbox.gathered().raw(&frame);
        state.unanswered.push_question(number, Request { frame, slot: slot.clone() });
        Ok(PendingQuestion { client: self.clone(), slot, number, is_called: false })
    }

    /// Reads records; with `waits` until there are some or the deadline has passed: `None` then.
    pub(crate) fn read(
        self: &Arc<Self>,
        read: &ReadRecords,
        deadline: Option<BootTime>,
    ) -> Result<Option<Read>, Unasked> {
        for read in attempts(*read) {
            let Some(bytes) = self.ask_to_read(&read)?.wait(deadline)? else { return Ok(None) };
            if let Fetched::Read(found) = self.take_read(&bytes, &read)? {
                return Ok(Some(found));
            }
        }
        unreachable!("an answer with all bytes in it needs no segment")
    }

    /// The same for a future, without a deadline.
    pub(crate) async fn read_async(self: &Arc<Self>, read: &ReadRecords) -> Result<Read, Unasked> {
        for read in attempts(*read) {
            let bytes = self.ask_to_read(&read)?.await?;
            if let Fetched::Read(found) = self.take_read(&bytes, &read)? {
                return Ok(found);
            }
        }
        unreachable!("an answer with all bytes in it needs no segment")
    }

    fn ask_to_read(self: &Arc<Self>, read: &ReadRecords) -> Result<PendingQuestion, Unasked> {
        self.enter_question(Kind::Read, |out| read.put(out))
    }

    fn take_read(&self, bytes: &[u8], read: &ReadRecords) -> Result<Fetched, Unasked> {
        let segments = self.state.lock().segments.clone();
        Ok(take_read(&mut Take::new(bytes), read.log, &segments)?)
    }

    /// Gives back the messages that this process has in flight, unless it can have none, or there is no host to ask.
    /// What cannot be given back is taken back when the session ends.
    pub(crate) fn release_to_close(self: &Arc<Self>) {
        {
            let state = self.state.lock();
            if state.unanswered.next_write() == 0 || matches!(state.phase, Phase::Unattached) {
                return;
            }
        }
        let release = Command::Queues(queues::Command::Release { holder: queues::Holder::HOST });
        let until = clock::boot().plus(LEFT_ALONE_MICROS);
        let _ = self.submit_and_wait(&release, Level::Buffered.into(), Some(until));
    }

    /// Waits until everything written before is on disk, unless there is no host to ask, or nothing was written.
    pub(crate) fn sync_to_close(self: &Arc<Self>) -> Result<(), Unasked> {
        {
            let state = self.state.lock();
            if state.unanswered.next_write() == 0 {
                return Ok(());
            }
            if matches!(state.phase, Phase::Unattached) {
                return Err(Fault::NoHost.into());
            }
        }
        let asked = self.begin(&SyncAll)?;
        while asked.wait(Some(clock::boot().plus(LEFT_ALONE_MICROS)))?.is_none() {
            if matches!(self.state.lock().phase, Phase::Lost | Phase::Unattached) {
                return Err(Fault::NoHost.into());
            }
        }
        Ok(())
    }

    /// Leaves the host: the session ends, and what waits is answered with `Closed`; writes that were sent, with
    /// `OutcomeUnknown`.
    pub(crate) fn close(&self) {
        let (sent, unanswered, socket, is_between_frames) = {
            let mut state = self.state.lock();
            if matches!(state.phase, Phase::Moved | Phase::Closed) {
                (Vec::new(), Vec::new(), None, false)
            } else {
                let (socket, is_between_frames) = (state.phase.socket(), state.outbox.is_between_frames());
                state.phase = Phase::Closed;
                if let Some(greeting) = state.greeting.take() {
                    greeting.shutdown();
                }
                (state.unanswered.take_sent_writes(), state.unanswered.take_all(), socket, is_between_frames)
            }
        };
        // The host may have applied them, or may yet.
        sent.iter().for_each(|request| request.slot.complete(Fault::OutcomeUnknown.into()));
        unanswered.iter().for_each(|request| request.slot.complete(Fault::Closed.into()));
        if let Some(socket) = socket {
            if is_between_frames {
                // Not into the middle of another: the end of the connection tells the same.
                let mut leave = Out::new();
                leave.frame(Kind::Leave as u8, |out| out.varint(0));
                let _ = socket.send_all(leave.bytes(), Some(LOOK_AGAIN_MICROS_MAX));
            }
            socket.shutdown();
        }
        self.stop_keeper();
    }

    /// Whether there is somebody to ask, or to look for.
    fn check(&self, state: &mut State) -> Result<(), Unasked> {
        match state.phase {
            Phase::Attached(_) | Phase::Lost => Ok(()),
            Phase::Unattached => {
                state.phase = Phase::Lost;
                self.changed.notify(usize::MAX);
                Ok(())
            }
            Phase::Moved => Err(Unasked::Moved),
            Phase::Closed => Err(Fault::Closed.into()),
        }
    }
}

/// The same read, asked for again and again; after a few times all bytes are to come with the answer.
fn attempts(read: ReadRecords) -> impl Iterator<Item = ReadRecords> {
    (0..).map(move |attempt| ReadRecords { inline: attempt >= MAPPINGS_MAX, ..read })
}

fn segments_of(opening: &Opening, welcome: &Welcome) -> Result<Arc<Segments>, Fault> {
    let geometry = Geometry::stored(welcome.ring_bytes, welcome.segment_bytes).ok_or_else(|| Fault::Io {
        attempt: "reading the host's welcome",
        source: io::ErrorKind::InvalidData.into(),
    })?;
    Ok(Arc::new(Segments::to_be_read(opening.disk.clone(), geometry, MAPPED_SEGMENTS_MAX)))
}
