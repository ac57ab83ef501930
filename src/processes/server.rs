//! The host: the process that has the engine, and what it knows of those that are attached.
//!
//! A session ends when its connection does; those of an earlier host's time end when their processes do not come back
//! within the grace. A host that closes, or whose engine is poisoned, leaves all of them to the next.

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::level::Level;
use crate::base::sync::{Arc, AtomicBool, AtomicU64, Event, EventListener, Mutex, Ordering, wait_listener};
use crate::base::time::BootTime;
use crate::engine::fault::Fault;
use crate::engine::{Engine, Refused};
use crate::primitives::sessions::SessionId;
use crate::primitives::streams::groups;
use crate::primitives::{Command, Primitives, Reply, queues, sessions, streams};
use crate::storage::disk::clock;
use crate::storage::disk::host::socket::Peer;

use super::operation::Kind;
use super::refusals::Refusals;
use super::stats::{AttachedProcess, OperationCount};

/// The database in the process that hosts it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) engine: Arc<Engine<Primitives>>,
    served: [AtomicU64; Kind::ALL.len()],
    attached: Mutex<Vec<Arc<Attached>>>,
    expected: Mutex<Expected>,
    closing: AtomicBool,
    pub(super) refusals: Refusals,
    /// Notified when `expected` has become empty and when `closing` is set.
    changed: Event,
}

/// Sessions of an earlier host's time whose processes are yet to come back.
#[derive(Debug)]
struct Expected {
    sessions: Vec<SessionId>,
    /// The one that is being ended because its process did not.
    ending: Option<SessionId>,
}

/// An attached process, as its connection's thread tells of it.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(super) session: SessionId,
    pub(super) peer: Peer,
    pub(super) since: BootTime,
    pub(super) requests: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) waiting: AtomicU64,
}

impl Host {
    pub(crate) fn new(engine: Arc<Engine<Primitives>>) -> Host {
        Host {
            engine,
            served: std::array::from_fn(|_| AtomicU64::new(0)),
            attached: Mutex::new(Vec::new()),
            expected: Mutex::new(Expected { sessions: Vec::new(), ending: None }),
            closing: AtomicBool::new(false),
            refusals: Refusals::new(),
            changed: Event::new(),
        }
    }

    /// It closes, or gives the directory to the next host.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn begin_closing(&self) {
        self.closing.store(true, Ordering::Release);
        self.changed.notify(usize::MAX);
    }

    /// What is notified when it begins to close; seldom without cause.
    pub(super) fn listen_for_closing(&self) -> EventListener {
        self.changed.listen()
    }

    /// Expects those who were attached to an earlier host. Tells whether there are any.
    pub(super) fn expect_earlier_sessions(&self) -> Result<bool, Fault> {
        let earlier = self.earlier_sessions()?;
        let mut expected = self.expected.lock();
        expected.sessions = earlier;
        Ok(!expected.sessions.is_empty())
    }

    pub(super) fn count(&self, kind: Kind) {
        self.served[kind as usize - 1].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn operation_counts(&self) -> Vec<OperationCount> {
        let counts = Kind::ALL.iter().zip(&self.served);
        counts
            .map(|(kind, count)| OperationCount { operation: kind.name(), count: count.load(Ordering::Relaxed) })
            .collect()
    }

    pub(super) fn attached(&self) -> Vec<AttachedProcess> {
        let now = clock::boot();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let described = |process: &Arc<Attached>| AttachedProcess {
            pid: process.peer.pid,
            uid: process.peer.uid,
            attached_micros: now.since(process.since),
            requests: read(&process.requests),
            writes: read(&process.writes),
            waiting: read(&process.waiting),
        };
        self.attached.lock().iter().map(described).collect()
    }

    /// The process id of the process with this session, while it is attached.
    pub(super) fn pid_of(&self, session: u64) -> Option<u32> {
        let attached = self.attached.lock();
        attached.iter().find(|process| process.session.get() == session).map(|process| process.peer.pid)
    }

    /// Enters a process under its session, unless an earlier connection still has it or it is just being ended.
    pub(super) fn enter(&self, process: Arc<Attached>) -> bool {
        let mut attached = self.attached.lock();
        let is_free =
            attached.iter().all(|other| other.session != process.session) && self.expect_no_more(process.session);
        if is_free {
            attached.push(process);
        }
        is_free
    }

    /// `false` if the session is just being ended.
    fn expect_no_more(&self, session: SessionId) -> bool {
        let mut expected = self.expected.lock();
        expected.sessions.retain(|other| *other != session);
        if expected.sessions.is_empty() {
            self.changed.notify(usize::MAX);
        }
        expected.ending != Some(session)
    }

    /// A connection has ended, and its session with it; unless the host closes: then the session goes on elsewhere.
    pub(super) fn leave(&self, session: SessionId) {
        if !self.is_closing() {
            self.end_session(session);
        }
        self.expect_no_more(session);
        self.attached.lock().retain(|process| process.session != session);
    }

    fn end_session(&self, session: SessionId) {
        let end = Command::Sessions(sessions::Command::End { session });
        // A database that refuses this is closed or poisoned; the next host ends the session after its grace.
        let _ = self.engine.submit(&end, Level::Buffered, None);
    }

    /// Starts the engine, and ends the members of consumer groups that were in the process of an earlier host, and
    /// takes back the messages that it had in flight. Only then do timers fire: those of an earlier host's time would
    /// fail each of these messages for itself, and be read by a clock that began anew.
    pub(super) fn begin(&self) -> Result<(), Fault> {
        self.engine.start_before_timers()?;
        self.take_over()?;
        self.engine.start_timers()
    }

    fn take_over(&self) -> Result<(), Fault> {
        loop {
            match self.submit_of_groups(groups::Command::BeginLife) {
                Ok(groups::Reply::More) => {}
                // A full disk does not keep a database from being opened.
                Ok(_) | Err(Fault::StorageFull) => break,
                Err(fault) => return Err(fault),
            }
        }
        self.until_done(queues::Command::BeginLife)?;
        self.until_done(queues::Command::Erase { what: queues::Erasing::Any })
    }

    fn until_done(&self, command: queues::Command<'_>) -> Result<(), Fault> {
        loop {
            match self.submit_of_queues(command) {
                Ok(queues::Reply::More) => {}
                Ok(_) | Err(Fault::StorageFull) => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Gives back what this process has in flight: it leaves in order.
    pub(super) fn release(&self) {
        // A database that refuses this is closed or poisoned: then the next host takes it back.
        let _ = self.submit_of_queues(queues::Command::Release { holder: queues::Holder::HOST });
    }

    /// Closes the engine, and gives back what was handed out since [`Host::release`], whoever asked for it.
    pub(super) fn close(&self) -> Result<(), Fault> {
        let release = Command::Queues(queues::Command::Release { holder: queues::Holder::HOST });
        self.engine.close_after(Some(&release))
    }

    /// This process was attached under the session; its members of consumer groups go on without it.
    pub(super) fn adopt(&self, session: SessionId) {
        let process = groups::Process::Attached(session.get());
        // A database that refuses this is closed or poisoned: then nobody goes on.
        let _ = self.submit_of_groups(groups::Command::Adopt { process });
        let _ = self.submit_of_queues(queues::Command::Adopt { from: queues::Holder(session.get()) });
    }

    fn submit_of_groups(&self, command: groups::Command<'_>) -> Result<groups::Reply, Fault> {
        let command = Command::Streams(streams::Command::Groups(command));
        match self.engine.submit(&command, Level::Buffered, None) {
            Ok(submitted) => match submitted.reply {
                Reply::Streams(streams::Reply::Groups(reply)) => Ok(reply),
                other => unreachable!("{other:?} is no reply of groups"),
            },
            Err(Refused::Fault(fault)) => Err(fault),
            Err(Refused::Refusal(refusal)) => unreachable!("{refusal:?} to what is never refused"),
        }
    }

    fn submit_of_queues(&self, command: queues::Command<'_>) -> Result<queues::Reply, Fault> {
        match self.engine.submit(&Command::Queues(command), Level::Buffered, None) {
            Ok(submitted) => match submitted.reply {
                Reply::Queues(reply) => Ok(reply),
                other => unreachable!("{other:?} is no reply of queues"),
            },
            Err(Refused::Fault(fault)) => Err(fault),
            Err(Refused::Refusal(refusal)) => unreachable!("{refusal:?} to what is never refused"),
        }
    }

    /// Sessions that began with an earlier host.
    fn earlier_sessions(&self) -> Result<Vec<SessionId>, Fault> {
        let mut sessions = Vec::new();
        loop {
            let last = sessions.last().copied();
            let more = self.engine.inspect(|machine| machine.sessions.ids_after(last, FREEZE_CHUNK))?;
            if more.is_empty() {
                return Ok(sessions);
            }
            sessions.extend(more);
        }
    }

    /// Nobody can come back: ends the sessions of an earlier host's time.
    pub(super) fn end_all_sessions(&self) -> Result<(), Fault> {
        self.earlier_sessions()?.into_iter().for_each(|session| self.end_session(session));
        Ok(())
    }

    /// Ends the sessions of those who did not come back in time.
    pub(super) fn end_earlier_sessions(&self, grace_micros: u64) {
        let deadline = clock::boot().plus(grace_micros);
        while !self.is_closing() {
            let listener = self.changed.listen();
            let left = deadline.since(clock::boot());
            if left == 0 || self.expected.lock().sessions.is_empty() || self.is_closing() {
                break;
            }
            wait_listener(listener, Some(left));
        }
        while !self.is_closing()
            && let Some(session) = self.next_to_end()
        {
            self.end_session(session);
        }
    }

    fn next_to_end(&self) -> Option<SessionId> {
        let mut expected = self.expected.lock();
        expected.ending = expected.sessions.pop();
        expected.ending
    }
}
