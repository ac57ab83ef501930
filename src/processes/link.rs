//! Where the database is now, for the handles of one process: here, or with the host that this process is attached to.
//!
//! A process that opens a directory attaches to its host; if there is none, it becomes the host. One that is attached
//! becomes the host when the host goes away and it is the first to take the directory's lock; from then on its handles
//! ask the engine directly. A forked child has neither engine nor connection: its first use enters anew.

use std::fmt;

use once_cell::race::OnceBox;

use crate::base::bounds::{HOST_AWAITED_MICROS_MAX, LOOK_AGAIN_MICROS_MAX};
use crate::base::level::Wanted;
use crate::base::lsn::Lsn;
use crate::base::sync::{Arc, Event, wait_listener};
use crate::base::time::BootTime;
use crate::engine::fault::Fault;
use crate::engine::{DurableWait, Engine, OpenOptions, Refused, Submitted};
use crate::primitives::sessions::SessionId;
use crate::primitives::{Command, Primitives, Refusal, Reply};
use crate::storage::disk::Disk;
use crate::storage::disk::clock;
use crate::storage::disk::host::HostDisk;
use crate::storage::disk::host::socket::Socket;

use super::accept::Server;
use super::client::{Client, PendingQuestion, PendingWrite, Unasked};
use super::connection;
use super::operation::Question;
use super::questions::SyncAll;
use super::server::Host;
use super::wire::{Greeting, NoWelcome, Welcome, greet};

type Answered<T> = Result<T, Refused<Refusal>>;

/// `None` if this process hosts the database now: ask here.
pub(super) fn answered<T>(asked: Result<T, Unasked>) -> Option<Answered<T>> {
    match asked {
        Ok(answer) => Some(Ok(answer)),
        Err(Unasked::Refused(refused)) => Some(Err(refused)),
        Err(Unasked::Moved) => None,
    }
}

/// How a process comes to a directory that others may have open too.
///
/// | | nobody has it open | a process hosts it | a process holds it exclusively |
/// |---|---|---|---|
/// | `Auto` | hosts it | attaches | [`Locked`](crate::Error::Locked) |
/// | `Attach` | [`NoHost`](crate::Error::NoHost) | attaches | [`Locked`](crate::Error::Locked) |
/// | `Exclusive` | holds it | [`Locked`](crate::Error::Locked) | [`Locked`](crate::Error::Locked) |
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum OpenMode {
    /// Hosts the database if nobody does, attaches to the host otherwise, and is ready to become the host when that
    /// goes away.
    #[default]
    Auto,
    /// Holds the directory alone: nobody can attach.
    Exclusive,
    /// Attaches to a host, and never becomes one.
    Attach,
}

/// How this process comes to the directory, each time.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) disk: Arc<HostDisk>,
    pub(crate) options: OpenOptions,
    pub(crate) mode: OpenMode,
    pub(crate) reconnect_grace_micros: u64,
}

/// What a process says when it asks to be attached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    pub(crate) session: SessionId,
    /// The session began with an earlier host, or over an earlier connection.
    pub(crate) is_resuming: bool,
    pub(crate) patience_micros: u64,
}

/// What an attempt to come to the directory led to.
pub(crate) enum Entered {
    Host(HostStation),
    Attached(Arc<Socket>, Welcome),
}

/// Why it led to nothing.
pub(crate) enum NotEntered {
    /// Nobody answers now; somebody may soon.
    Nobody,
    /// This process could not host it; another may.
    Failed(Fault),
    /// The session that was to be resumed is over.
    SessionEnded,
    Final(Fault),
}

/// Pauses between attempts, longer each time up to a bound.
#[derive(Debug)]
pub(crate) struct Pauses(u64);

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses(LOOK_AGAIN_MICROS_MAX / 16)
    }
}

impl Pauses {
    pub(crate) fn next(&mut self) -> u64 {
        let pause = self.0;
        self.0 = (pause * 2).min(LOOK_AGAIN_MICROS_MAX);
        pause
    }
}

impl Opening {
    /// One attempt: attach to whoever listens, else host if the mode says so.
    /// `connected` is told over which connection it waits for a welcome.
    pub(crate) fn try_enter(&self, asking: Asking, connected: &dyn Fn(&Arc<Socket>)) -> Result<Entered, NotEntered> {
        if self.mode != OpenMode::Exclusive
            && let Some((socket, welcome)) = self.attach(asking, connected)?
        {
            return Ok(Entered::Attached(socket, welcome));
        }
        if self.mode == OpenMode::Attach {
            return Err(NotEntered::Nobody);
        }
        match HostStation::start(self) {
            Ok(host) => Ok(Entered::Host(host)),
            Err(Fault::Locked { exclusive: false, .. }) if self.mode == OpenMode::Auto => Err(NotEntered::Nobody),
            Err(fault @ Fault::Locked { .. }) => Err(NotEntered::Final(fault)),
            Err(fault) => Err(NotEntered::Failed(fault)),
        }
    }

    /// `None` if nobody listens.
    fn attach(
        &self,
        asking: Asking,
        connected: &dyn Fn(&Arc<Socket>),
    ) -> Result<Option<(Arc<Socket>, Welcome)>, NotEntered> {
        let Ok(socket) = self.disk.connect() else { return Ok(None) };
        let socket = Arc::new(socket);
        self.expect_owner(&socket)?;
        connected(&socket);
        let io = |error| NotEntered::Final(Fault::io("reading the clock's identity")(error));
        let Asking { session, is_resuming, patience_micros } = asking;
        let clock = self.options.clock.identity().map_err(io)?;
        match greet(&socket, &Greeting { session, is_resuming, clock, patience_micros }) {
            Ok(welcome) => Ok(Some((socket, welcome))),
            Err(NoWelcome::OtherProtocol { theirs }) => Err(NotEntered::Final(Fault::OtherProtocol { theirs })),
            Err(NoWelcome::Stranger { uid }) => Err(NotEntered::Final(Fault::Stranger { uid })),
            Err(NoWelcome::SessionEnded) => Err(NotEntered::SessionEnded),
            Err(NoWelcome::TooMany { max }) => Err(NotEntered::Final(Fault::TooManyProcesses { max })),
            // It closes just now, or an earlier connection of ours has not ended yet.
            Err(NoWelcome::Io(_) | NoWelcome::SessionInUse | NoWelcome::Unreadable) => Err(NotEntered::Nobody),
        }
    }

    /// Anybody who may write into the directory could listen there.
    fn expect_owner(&self, socket: &Socket) -> Result<(), NotEntered> {
        let asking = Fault::io("looking at who hosts the database");
        let looked = socket.peer().and_then(|host| Ok((host.uid, self.disk.admits(host.uid)?)));
        match looked.map_err(|error| NotEntered::Final(asking(error)))? {
            (_, true) => Ok(()),
            (uid, false) => Err(NotEntered::Final(Fault::Stranger { uid: u64::from(uid) })),
        }
    }

    /// Comes to the directory for the first time in this process.
    pub(crate) fn enter(&self) -> Result<Station, Fault> {
        let deadline = clock::boot().plus(HOST_AWAITED_MICROS_MAX);
        let session = new_session()?;
        let (never, mut pauses) = (Event::new(), Pauses::default());
        loop {
            let patience_micros = deadline.since(clock::boot());
            let asking = Asking { session, is_resuming: false, patience_micros };
            match self.try_enter(asking, &|_| {}) {
                Ok(Entered::Host(host)) => return Ok(Station::Host(host)),
                Ok(Entered::Attached(socket, welcome)) => {
                    return Client::start(self.clone(), socket, session, &welcome).map(Station::Attached);
                }
                Err(NotEntered::Final(fault) | NotEntered::Failed(fault)) => return Err(fault),
                Err(NotEntered::Nobody | NotEntered::SessionEnded) => {}
            }
            let holder = self.disk.lock_holder().map_err(Fault::io("looking at the lock"))?;
            match holder {
                Some(holder) if holder.exclusive || patience_micros == 0 => {
                    return Err(Fault::Locked { pid: holder.pid, exclusive: holder.exclusive });
                }
                None if self.mode == OpenMode::Attach || patience_micros == 0 => return Err(Fault::NoHost),
                _ => wait_listener(never.listen(), Some(pauses.next())),
            };
        }
    }
}

/// A session that no other process has.
pub(super) fn new_session() -> Result<SessionId, Fault> {
    let id = clock::random_id().map_err(Fault::io("asking for randomness"))?;
    Ok(SessionId::of_random(u64::from_le_bytes(*id.first_chunk().expect("an id has sixteen bytes"))))
}

/// The database in this process.
#[derive(Debug)]
pub(crate) struct HostStation {
    pub(crate) host: Arc<Host>,
    server: Option<Server>,
}

impl HostStation {
    fn start(opening: &Opening) -> Result<HostStation, Fault> {
        let Opening { disk, options, mode, reconnect_grace_micros } = opening;
        if *mode == OpenMode::Exclusive {
            return HostStation::alone(disk.clone(), OpenOptions { exclusive: true, ..options.clone() });
        }
        let options = OpenOptions { exclusive: false, ..options.clone() };
        HostStation::open(disk.clone(), options, |station| {
            station.server = Some(Server::start(station.host.clone(), disk, *reconnect_grace_micros)?);
            Ok(())
        })
    }

    /// Nobody attaches, and nobody who was attached to an earlier host comes back.
    fn alone(disk: Arc<dyn Disk>, options: OpenOptions) -> Result<HostStation, Fault> {
        HostStation::open(disk, options, |station| station.host.end_all_sessions())
    }

    fn open(
        disk: Arc<dyn Disk>,
        options: OpenOptions,
        serve: impl FnOnce(&mut HostStation) -> Result<(), Fault>,
    ) -> Result<HostStation, Fault> {
        let engine = Arc::new(Engine::open(disk, options)?);
        let mut station = HostStation { host: Arc::new(Host::new(engine)), server: None };
        match station.host.begin().and_then(|()| serve(&mut station)) {
            Ok(()) => Ok(station),
            Err(fault) => {
                // Nothing was promised yet: the first error is the one to tell.
                let _ = station.close();
                Err(fault)
            }
        }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine<Primitives>> {
        &self.host.engine
    }

    /// Answers a write that was sent to an earlier host, as the connection of the process would.
    pub(super) fn answer_write(&self, session: SessionId, frame: &[u8]) -> Answered<Vec<u8>> {
        connection::answer_write(&self.host, session, frame)
    }

    /// This process is no longer attached to any host.
    pub(super) fn leave(&self, session: SessionId) {
        self.host.leave(session);
    }

    pub(crate) fn close(&self) -> Result<(), Fault> {
        // A forked child has neither the threads nor the right to end them.
        self.engine().check_process()?;
        if let Some(server) = &self.server {
            server.stop();
        }
        self.host.release();
        let closed = self.host.close();
        if let Some(server) = &self.server {
            server.join();
        }
        closed
    }
}

/// Where the database is.
pub(crate) enum Station {
    Host(HostStation),
    Attached(Arc<Client>),
}

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Station::Host(_) => "Host",
            Station::Attached(_) => "Attached",
        })
    }
}

impl Station {
    #[inline]
    fn is_here(&self) -> bool {
        match self {
            Station::Host(station) => station.engine().check_process().is_ok(),
            Station::Attached(client) => client.is_here(),
        }
    }

    #[inline]
    fn current(&self) -> &Station {
        match self {
            Station::Host(_) => self,
            Station::Attached(client) => client.moved_to().unwrap_or(self),
        }
    }

    fn close(&self) -> Result<(), Fault> {
        match self {
            Station::Host(station) => station.close(),
            Station::Attached(client) => {
                client.close();
                client.moved_to().map_or(Ok(()), Station::close)
            }
        }
    }
}

/// One process's way to the database.
#[derive(Debug)]
pub(crate) struct Link {
    /// `None` on a disk that no other process can reach.
    opening: Option<Opening>,
    first: Node,
}

/// A station, and the one that a forked child made for itself, where this one is its parent's.
#[derive(Debug)]
struct Node {
    station: Station,
    of_child: OnceBox<Node>,
}

impl Node {
    fn new(station: Station) -> Node {
        Node { station, of_child: OnceBox::new() }
    }
}

/// A write that was accepted here, or sent to the host.
#[derive(Debug)]
pub(crate) enum Issued {
    Here(Submitted<Reply>, DurableWait<Primitives>),
    There(PendingWrite),
}

/// A barrier that was asked for.
enum Asked {
    Here(DurableWait<Primitives>),
    There(PendingQuestion),
}

impl Link {
    pub(crate) fn open(opening: Opening) -> Result<Link, Fault> {
        let first = Node::new(opening.enter()?);
        Ok(Link { opening: Some(opening), first })
    }

    /// Hosts the database on a disk that no other process can reach.
    #[cfg(test)]
    pub(crate) fn host_alone(disk: Arc<dyn Disk>, options: OpenOptions) -> Result<Link, Fault> {
        let first = Node::new(Station::Host(HostStation::alone(disk, options)?));
        Ok(Link { opening: None, first })
    }

    /// The engine in this process.
    #[cfg(test)]
    pub(crate) fn engine(&self) -> &Engine<Primitives> {
        match self.station().expect("it is open in this process") {
            Station::Host(station) => station.engine(),
            Station::Attached(_) => panic!("the engine is in another process"),
        }
    }

    /// Where the database is now. Blocks only in a forked child, the first time.
    #[inline]
    pub(crate) fn station(&self) -> Result<&Station, Fault> {
        if self.first.station.is_here() { Ok(self.first.station.current()) } else { self.station_of_child() }
    }

    #[cold]
    fn station_of_child(&self) -> Result<&Station, Fault> {
        let opening = self.opening.as_ref().filter(|opening| opening.mode != OpenMode::Exclusive);
        let opening = opening.ok_or(Fault::Forked)?;
        let mut node = &self.first;
        while !node.station.is_here() {
            node = match node.of_child.get() {
                Some(next) => next,
                None => {
                    if let Err(late) = node.of_child.set(Box::new(Node::new(opening.enter()?))) {
                        // Another thread of this process was faster.
                        let _ = late.station.close();
                    }
                    node.of_child.get().expect("set by this thread or another")
                }
            };
        }
        Ok(node.station.current())
    }

    /// Flushes and lets go of the database. Handles that are left answer `Closed`.
    pub(crate) fn close(&self) -> Result<(), Fault> {
        let mut node = Some(&self.first);
        while let Some(at) = node {
            if at.station.is_here() {
                let synced = match at.station.current() {
                    Station::Attached(client) => {
                        client.release_to_close();
                        client.sync_to_close()
                    }
                    Station::Host(_) => Ok(()),
                };
                at.station.close()?;
                return match synced {
                    Err(Unasked::Refused(Refused::Fault(fault))) if !matches!(fault, Fault::Closed) => Err(fault),
                    _ => Ok(()),
                };
            }
            node = at.of_child.get();
        }
        Err(Fault::Forked)
    }

    /// Which process this is among the one that opened it and its forked children: what it says in one is not said in
    /// another. `None` in a child that has not used it yet. Makes no system call.
    pub(crate) fn process(&self) -> Option<u32> {
        let nodes = std::iter::successors(Some(&self.first), |node| node.of_child.get());
        (0..).zip(nodes).find(|(_, node)| node.station.is_here()).map(|(number, _)| number)
    }

    /// Whether this is the process that opened it, and no child of that one.
    pub(crate) fn is_home(&self) -> bool {
        self.first.station.is_here()
    }

    /// Whether this process, and no parent of it, has the database open as its host.
    pub(crate) fn is_host(&self) -> bool {
        self.first.station.is_here()
            && matches!(self.first.station.current(), Station::Host(station) if !station.engine().has_let_go())
    }

    pub(crate) fn ask<Q: Question>(&self, question: &Q) -> Answered<Q::Answer> {
        loop {
            match self.station()? {
                Station::Host(station) => return question.answer(&station.host),
                Station::Attached(client) => {
                    if let Some(answered) = answered(client.ask(question)) {
                        return answered;
                    }
                }
            }
        }
    }

    /// Submits a write and waits as its level asks.
    #[inline]
    pub(crate) fn submit(
        &self,
        command: &Command<'_>,
        level: impl Into<Wanted>,
        deadline: Option<BootTime>,
    ) -> Answered<Submitted<Reply>> {
        match self.station()? {
            Station::Host(station) => station.engine().submit(command, level, deadline),
            Station::Attached(_) => self.submit_there(command, level.into(), deadline),
        }
    }

    #[cold]
    fn submit_there(
        &self,
        command: &Command<'_>,
        wanted: Wanted,
        deadline: Option<BootTime>,
    ) -> Answered<Submitted<Reply>> {
        loop {
            match self.station()? {
                Station::Host(station) => return station.engine().submit(command, wanted, deadline),
                Station::Attached(client) => {
                    if let Some(answered) = answered(client.submit_and_wait(command, wanted, deadline)) {
                        return answered;
                    }
                }
            }
        }
    }

    /// Submits a write and does not wait for durability, nor for the host.
    pub(crate) fn issue(&self, command: &Command<'_>, wanted: Wanted, deadline: Option<BootTime>) -> Answered<Issued> {
        loop {
            match self.station()? {
                Station::Host(station) => {
                    let submitted = station.engine().issue(command, wanted, deadline)?;
                    let rests_on = if submitted.is_held { submitted.rests_on } else { Lsn(0) };
                    return Ok(Issued::Here(submitted, DurableWait::new(station.engine().clone(), rests_on)));
                }
                Station::Attached(client) => {
                    if let Some(answered) = answered(client.submit(command, wanted, deadline)) {
                        return answered.map(Issued::There);
                    }
                }
            }
        }
    }

    /// What waits until everything written before this call is on disk.
    pub(crate) fn barrier(&self) -> Answered<impl Future<Output = Answered<()>> + Send + use<>> {
        let asked = loop {
            match self.station()? {
                Station::Host(station) => break Asked::Here(station.engine().barrier()?),
                Station::Attached(client) => {
                    if let Some(answered) = answered(client.begin(&SyncAll)) {
                        break Asked::There(answered?);
                    }
                }
            }
        };
        Ok(async move {
            let pending = match asked {
                Asked::Here(wait) => return Ok(wait.await?),
                Asked::There(pending) => pending,
            };
            let client = pending.client().clone();
            match (answered(pending.await), client.moved_to()) {
                (Some(answered), _) => answered.map(drop),
                (None, Some(Station::Host(station))) => Ok(station.engine().barrier()?.await?),
                (None, _) => unreachable!("who moved is a host"),
            }
        })
    }
}
