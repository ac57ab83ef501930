//! The host: the process that has the engine, and what attached processes reach of it.
//!
//! A thread accepts connections, and each connection has a thread of its own (`connection.rs`), so that a process that
//! is slow, stopped or hostile holds up nobody else. A session ends when its connection does; those of an earlier
//! host's time end when their processes do not come back within the grace.

use crate::base::bounds::{FREEZE_CHUNK, SESSIONS_MAX};
use crate::base::level::Level;
use crate::base::sync::{Arc, AtomicBool, AtomicU64, Event, JoinHandle, Mutex, Ordering, spawn, wait_listener};
use crate::base::time::BootTime;
use crate::engine::Engine;
use crate::engine::fault::Fault;
use crate::primitives::sessions::SessionId;
use crate::primitives::{Command, Primitives, sessions};
use crate::storage::disk::Disk;
use crate::storage::disk::clock;
use crate::storage::disk::host::HostDisk;
use crate::storage::disk::host::socket::{Listener, Peer, SOCKET, Socket, own_uid};

use super::connection;
use super::operation::Kind;
use super::stats::{AttachedProcess, OperationCount};
use super::wire::{NoWelcome, refuse};

/// How long accepting rests when the system refuses it.
const ACCEPT_AGAIN_MICROS: u64 = 20_000;

/// The database in the process that hosts it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) engine: Arc<Engine<Primitives>>,
    served: [AtomicU64; Kind::ALL.len()],
    attached: Mutex<Vec<Arc<Attached>>>,
    expected: Mutex<Expected>,
    closing: AtomicBool,
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
            changed: Event::new(),
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
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
    fn end_earlier_sessions(&self, grace_micros: u64) {
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

/// The threads that serve attached processes.
#[derive(Debug)]
pub(crate) struct Server {
    host: Arc<Host>,
    disk: Arc<HostDisk>,
    listener: Arc<Listener>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    connections: Arc<Connections>,
}

#[derive(Debug)]
struct Connections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// By a number of their own. A thread that ends takes itself out.
    running: Vec<(u64, Arc<Socket>, Option<JoinHandle<()>>)>,
}

impl Server {
    /// Begins to serve. What was attached to an earlier host has `grace_micros` to come back.
    pub(crate) fn start(host: Arc<Host>, disk: &Arc<HostDisk>, grace_micros: u64) -> Result<Server, Fault> {
        let listener = Arc::new(disk.listen().map_err(Fault::io("listening for other processes"))?);
        let expected = host.earlier_sessions()?;
        let is_awaiting = !expected.is_empty();
        host.expected.lock().sessions = expected;
        let connections = Arc::new(Connections(Mutex::new(Open::default())));
        let server = Server { host, disk: disk.clone(), listener, threads: Mutex::new(Vec::new()), connections };
        let (host, listener, connections) = (server.host.clone(), server.listener.clone(), server.connections.clone());
        server.spawn("towpath-accept", move || accept(&host, &listener, &connections))?;
        if is_awaiting {
            let host = server.host.clone();
            server.spawn("towpath-grace", move || host.end_earlier_sessions(grace_micros))?;
        }
        Ok(server)
    }

    fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
        self.threads.lock().push(spawn(name, body).map_err(Fault::io("starting a thread"))?);
        Ok(())
    }

    /// Ends all connections; their sessions go on with the next host. Nothing is accepted from here on. The caller
    /// holds the directory's lock.
    pub(crate) fn stop(&self) {
        // What stays behind is only a name: nobody listens to it, and the next host replaces it.
        let _ = self.disk.remove(SOCKET);
        self.host.closing.store(true, Ordering::Release);
        self.host.changed.notify(usize::MAX);
        self.listener.shutdown();
        self.connections.0.lock().running.iter().for_each(|(_, socket, _)| socket.shutdown());
    }

    /// Waits for the threads, after the engine was closed.
    pub(crate) fn join(&self) {
        let threads: Vec<JoinHandle<()>> = self.threads.lock().drain(..).collect();
        let running = std::mem::take(&mut self.connections.0.lock().running);
        for thread in threads.into_iter().chain(running.into_iter().filter_map(|(_, _, thread)| thread)) {
            // One that panicked has told so by the panic hook, and its connection is closed.
            let _ = thread.join();
        }
    }
}

fn accept(host: &Arc<Host>, listener: &Listener, connections: &Arc<Connections>) {
    while !host.is_closing() {
        match listener.accept() {
            Ok(socket) => admit(host, socket, connections),
            Err(_) if host.is_closing() => return,
            Err(error) => {
                tracing::warn!(%error, "a process could not be attached");
                wait_listener(host.changed.listen(), Some(ACCEPT_AGAIN_MICROS));
            }
        }
    }
}

fn admit(host: &Arc<Host>, socket: Socket, connections: &Arc<Connections>) {
    let refused = match socket.peer() {
        Ok(peer) => admitted(host, socket, peer, connections),
        Err(error) => Err((socket, NoWelcome::Io(error))),
    };
    if let Err((socket, why)) = refused {
        tracing::warn!(%why, "a connection was refused");
        // Whoever does not read why is not told.
        let _ = refuse(&socket, &why);
    }
}

fn admitted(
    host: &Arc<Host>,
    socket: Socket,
    peer: Peer,
    connections: &Arc<Connections>,
) -> Result<(), (Socket, NoWelcome)> {
    if peer.uid != own_uid() && peer.uid != 0 {
        return Err((socket, NoWelcome::Stranger { uid: u64::from(peer.uid) }));
    }
    let mut open = connections.0.lock();
    if open.running.len() >= SESSIONS_MAX {
        return Err((socket, NoWelcome::TooMany { max: SESSIONS_MAX as u64 }));
    }
    let number = open.next;
    open.next += 1;
    let socket = Arc::new(socket);
    open.running.push((number, socket.clone(), None));
    let (hosting, served, ending) = (host.clone(), socket.clone(), connections.clone());
    let thread = spawn("towpath-serve", move || {
        let _leaving = Leaving { connections: ending, number };
        connection::serve(&hosting, &served, peer);
    });
    let entry = open.running.iter_mut().find(|(other, ..)| *other == number).expect("entered above");
    match thread {
        Ok(thread) => entry.2 = Some(thread),
        Err(error) => {
            tracing::warn!(%error, "no thread for a connection");
            open.running.retain(|(other, ..)| *other != number);
        }
    }
    // Who stops the server sets this first and then goes through the list.
    if host.is_closing() {
        socket.shutdown();
    }
    Ok(())
}

/// Takes a connection's thread out of the list, however it ends.
struct Leaving {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.connections.0.lock().running.retain(|(number, ..)| *number != self.number);
    }
}
