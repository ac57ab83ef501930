//! The host's door: who attaches is let in here, and here the directory goes to the next host.
//!
//! A thread accepts connections, and each connection has a thread of its own (`connection.rs`), so that a process that
//! is slow, stopped or hostile holds up nobody else.
//!
//! When the engine is poisoned, that thread is woken by the end of its listening. It ends all connections, so that
//! nobody is answered any more, and lets go of the directory. The processes that were attached take this for the death
//! that it is to them.

use std::task::{Wake, Waker};

use crate::base::bounds::{DESCRIPTORS_LEFT, SESSIONS_MAX};
use crate::base::sync::{Arc, JoinHandle, Mutex, spawn, wait_listener};
use crate::engine::fault::Fault;
use crate::storage::disk::Disk;
use crate::storage::disk::host::socket::{Listener, Peer, SOCKET, Socket};
use crate::storage::disk::host::{HostDisk, descriptors_max};

use super::connection;
use super::server::Host;
use super::wire::{NoWelcome, refuse};

/// How long accepting rests when the system refuses it.
const ACCEPT_AGAIN_MICROS: u64 = 20_000;

/// The threads that serve attached processes.
#[derive(Debug)]
pub(crate) struct Server {
    door: Arc<Door>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What these threads share.
#[derive(Debug)]
struct Door {
    host: Arc<Host>,
    disk: Arc<HostDisk>,
    listener: Arc<Listener>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// By a number of their own. A thread that ends takes itself out.
    running: Vec<(u64, Arc<Socket>, JoinHandle<()>)>,
}

/// Ends the listening when the engine is poisoned, and so wakes who accepts.
struct EndListening(Arc<Listener>);

impl Wake for EndListening {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.shutdown();
    }
}

impl Server {
    /// Begins to serve. What was attached to an earlier host has `grace_micros` to come back.
    pub(crate) fn start(host: Arc<Host>, disk: &Arc<HostDisk>, grace_micros: u64) -> Result<Server, Fault> {
        let listener = Arc::new(disk.listen().map_err(Fault::io("listening for other processes"))?);
        let is_awaiting = host.expect_earlier_sessions()?;
        host.engine.when_poisoned(Waker::from(Arc::new(EndListening(listener.clone()))));
        let door = Arc::new(Door { host, disk: disk.clone(), listener, open: Mutex::new(Open::default()) });
        let server = Server { door, threads: Mutex::new(Vec::new()) };
        let started = server.start_threads(is_awaiting.then_some(grace_micros));
        if let Err(fault) = started {
            server.stop();
            server.join();
            return Err(fault);
        }
        Ok(server)
    }

    fn start_threads(&self, awaiting_micros: Option<u64>) -> Result<(), Fault> {
        let door = self.door.clone();
        self.spawn("towpath-accept", move || door.accept())?;
        if let Some(grace_micros) = awaiting_micros {
            let host = self.door.host.clone();
            self.spawn("towpath-grace", move || host.end_earlier_sessions(grace_micros))?;
        }
        Ok(())
    }

    fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
        self.threads.lock().push(spawn(name, body).map_err(Fault::io("starting a thread"))?);
        Ok(())
    }

    /// Ends all connections; their sessions go on with the next host. Nothing is accepted from here on.
    pub(crate) fn stop(&self) {
        self.door.shut();
    }

    /// Waits for the threads, after the engine was closed.
    pub(crate) fn join(&self) {
        let threads: Vec<JoinHandle<()>> = self.threads.lock().drain(..).collect();
        let running = std::mem::take(&mut self.door.open.lock().running);
        for thread in threads.into_iter().chain(running.into_iter().map(|(_, _, thread)| thread)) {
            // One that panicked has told so by the panic hook, and its connection is closed.
            let _ = thread.join();
        }
    }
}

impl Door {
    fn accept(self: Arc<Self>) {
        loop {
            let accepted = self.listener.accept();
            if self.host.is_closing() {
                return;
            }
            if self.host.engine.is_poisoned() {
                return self.leave();
            }
            match accepted {
                Ok(socket) => self.admit(socket),
                Err(error) => {
                    self.host.refusals.tell(None, &NoWelcome::Io(error));
                    wait_listener(self.host.listen_for_closing(), Some(ACCEPT_AGAIN_MICROS));
                }
            }
        }
    }

    /// Gives the directory to the next host.
    fn leave(&self) {
        tracing::error!("an I/O error has poisoned the database: another process may host it now");
        self.shut();
        self.host.engine.let_go();
    }

    /// Does nothing the second time: by then the directory may be another's. Who calls it holds the directory's lock,
    /// unless it was shut before.
    fn shut(&self) {
        // Held to the end: who shuts it a second time goes on to give up the directory.
        let open = self.open.lock();
        if self.host.is_closing() {
            return;
        }
        // What stays behind is only a name: nobody listens to it, and the next host replaces it.
        let _ = self.disk.remove(SOCKET);
        self.host.begin_closing();
        self.listener.shutdown();
        open.running.iter().for_each(|(_, socket, _)| socket.shutdown());
    }

    fn admit(self: &Arc<Self>, socket: Socket) {
        let peer = socket.peer();
        let known = peer.as_ref().ok().copied();
        let refused = match peer {
            Ok(peer) => self.admitted(socket, peer),
            Err(error) => Err((socket, NoWelcome::Io(error))),
        };
        if let Err((socket, why)) = refused {
            self.host.refusals.tell(known, &why);
            // Whoever does not read why is not told.
            let _ = refuse(&socket, &why);
        }
    }

    fn admitted(self: &Arc<Self>, socket: Socket, peer: Peer) -> Result<(), (Socket, NoWelcome)> {
        match self.disk.admits(peer.uid) {
            Ok(true) => {}
            Ok(false) => return Err((socket, NoWelcome::Stranger { uid: u64::from(peer.uid) })),
            Err(error) => return Err((socket, NoWelcome::Io(error))),
        }
        let mut open = self.open.lock();
        if self.host.is_closing() {
            return Ok(());
        }
        let max = connections_max();
        if open.running.len() as u64 >= max {
            return Err((socket, NoWelcome::TooMany { max }));
        }
        let number = open.next;
        open.next += 1;
        let socket = Arc::new(socket);
        let (served, door) = (socket.clone(), self.clone());
        let serve = move || {
            let leaving = Leaving { door, number };
            connection::serve(&leaving.door.host, &served, peer);
        };
        match spawn("towpath-serve", serve) {
            Ok(thread) => open.running.push((number, socket, thread)),
            Err(error) => tracing::warn!(%error, "no thread for a connection"),
        }
        Ok(())
    }
}

/// Each takes two descriptors, a socket and an alarm. The engine must be able to open its files whoever is attached: to
/// it, and to the program around it, half of the descriptors are left, or `DESCRIPTORS_LEFT` if that is less.
fn connections_max() -> u64 {
    let descriptors = descriptors_max();
    let left = DESCRIPTORS_LEFT.min(descriptors / 2);
    (SESSIONS_MAX as u64).min((descriptors - left) / 2)
}

/// Takes a connection's thread out of the list, however it ends.
struct Leaving {
    door: Arc<Door>,
    number: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.door.open.lock().running.retain(|(number, ..)| *number != self.number);
    }
}
