//! The client's thread: reads while only futures wait, sends what had no room, and finds the next host when this one
//! goes away.

use crate::base::bounds::{FAILED_AGAIN_MICROS, HOST_AWAITED_MICROS_MAX};
use crate::base::sync::{Arc, spawn, wait_listener};
use crate::engine::fault::Fault;
use crate::primitives::sessions::SessionId;
use crate::storage::disk::clock;
use crate::storage::disk::host::socket::{Interest, Socket, wait_for};

use super::super::connection::Input;
use super::super::link::{Asking, Entered, HostStation, NotEntered, OpenMode, Pauses, Station, new_session};
use super::super::wire::Welcome;
use super::slot::Outcome;
use super::unanswered::Request;
use super::{Client, Phase, State, segments_of};

impl Client {
    pub(super) fn start_keeper(self: &Arc<Self>) -> Result<(), Fault> {
        let client = self.clone();
        let thread = spawn("towpath-attach", move || client.keep()).map_err(Fault::io("starting a thread"))?;
        *self.keeper.lock() = Some(thread);
        Ok(())
    }

    pub(super) fn stop_keeper(&self) {
        self.alarm.ring();
        self.changed.notify(usize::MAX);
        if let Some(thread) = self.keeper.lock().take() {
            // One that panicked has told so by the panic hook.
            let _ = thread.join();
        }
    }

    fn keep(self: Arc<Self>) {
        let unattended = Unattended(&self);
        self.attend_until_over();
        std::mem::forget(unattended);
    }

    fn attend_until_over(&self) {
        loop {
            let mut state = self.state.lock();
            state.keeper_is_asked = false;
            match &state.phase {
                Phase::Attached(socket) => {
                    let socket = socket.clone();
                    drop(state);
                    self.attend(&socket);
                }
                Phase::Lost => {
                    drop(state);
                    self.find_host();
                }
                Phase::Unattached => {
                    drop(state);
                    self.rest();
                }
                Phase::Moved | Phase::Closed => return,
            }
        }
    }

    /// Sleeps until there is something to ask.
    fn rest(&self) {
        let listener = self.changed.listen();
        if matches!(self.state.lock().phase, Phase::Unattached) {
            wait_listener(listener, None);
        }
    }

    /// Sleeps until there is something to do with this connection, and does it.
    fn attend(&self, socket: &Arc<Socket>) {
        let interest = {
            let mut state = self.state.lock();
            let input = !state.is_reading && !state.unanswered.is_empty();
            state.is_reading |= input;
            Interest { input, room: state.outbox.is_without_room() }
        };
        let ready = wait_for(socket, Some(&self.alarm), interest, None);
        if ready.as_ref().is_ok_and(|ready| ready.alarmed) {
            self.alarm.take();
        }
        if ready.as_ref().is_ok_and(|ready| ready.has_room) {
            self.state.lock().outbox.has_room();
            self.send();
        }
        let is_lost = match &ready {
            Ok(ready) if interest.input && ready.readable => self.read_once(socket, Some(0)).is_err(),
            Ok(ready) => ready.hung_up,
            Err(_) => true,
        };
        if interest.input {
            self.stop_reading(socket, is_lost);
        } else if is_lost {
            self.lose(&mut self.state.lock(), socket);
        }
    }

    /// Becomes the host, or attaches to the one that is, or gives up.
    fn find_host(&self) {
        let lost_at = clock::boot();
        let (mut is_resuming, mut pauses) = (true, Pauses::default());
        while !self.is_closed() {
            let sought_micros = clock::boot().since(lost_at);
            let patience_micros = HOST_AWAITED_MICROS_MAX.saturating_sub(sought_micros);
            let asking = Asking { session: self.state.lock().session, is_resuming, patience_micros };
            let entered = self.opening.try_enter(asking, &|socket| self.greet_over(socket));
            self.state.lock().greeting = None;
            let (pause, patience_micros) = match entered {
                Ok(Entered::Host(host)) => return self.take_over(host),
                Ok(Entered::Attached(socket, welcome)) => {
                    return self.resume(socket, &welcome).unwrap_or_else(|fault| self.give_up(&fault));
                }
                Err(NotEntered::Final(fault)) => return self.give_up(&fault),
                Err(NotEntered::SessionEnded) if is_resuming => match self.begin_session() {
                    Ok(()) => {
                        is_resuming = false;
                        continue;
                    }
                    Err(fault) => return self.give_up(&fault),
                },
                Err(NotEntered::Failed(why)) => {
                    tracing::warn!(%why, "this process could not host the database");
                    (FAILED_AGAIN_MICROS, self.opening.reconnect_grace_micros)
                }
                Err(NotEntered::Nobody | NotEntered::SessionEnded) => (pauses.next(), self.patience()),
            };
            if sought_micros >= patience_micros {
                return self.give_up(&Fault::NoHost);
            }
            let listener = self.changed.listen();
            if !self.is_closed() {
                wait_listener(listener, Some(pause));
            }
        }
    }

    /// Who closes this client meanwhile ends the waiting for a welcome too.
    fn greet_over(&self, socket: &Arc<Socket>) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Closed) {
            socket.shutdown();
        } else {
            state.greeting = Some(socket.clone());
        }
    }

    /// The session has ended, with all that the hosts remembered of it: nobody knows what became of the writes that
    /// were sent. The others are made under a new session, and never under the old name, which a host could take for a
    /// session that goes on.
    fn begin_session(&self) -> Result<(), Fault> {
        let session = new_session()?;
        let sent = {
            let mut state = self.state.lock();
            state.session = session;
            state.unanswered.take_sent_writes()
        };
        sent.iter().for_each(|request| request.slot.complete(Fault::OutcomeUnknown.into()));
        Ok(())
    }

    /// How long to look for a host that does not answer: longer while somebody holds the directory. Who may host it
    /// has just found it held.
    fn patience(&self) -> u64 {
        let is_held = || self.opening.disk.lock_holder().is_ok_and(|holder| holder.is_some());
        if self.opening.mode == OpenMode::Auto || is_held() {
            HOST_AWAITED_MICROS_MAX
        } else {
            self.opening.reconnect_grace_micros
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Closed)
    }

    /// Asks the next host what the last did not answer.
    fn resume(&self, socket: Arc<Socket>, welcome: &Welcome) -> Result<(), Fault> {
        // Whoever reads the old connection has seen its end.
        let mut input = self.input.lock();
        let segments = segments_of(&self.opening, welcome)?;
        let mut guard = self.state.lock();
        let state: &mut State = &mut guard;
        if matches!(state.phase, Phase::Closed) {
            return Ok(());
        }
        self.expect_same(state.database_id, welcome.database_id)?;
        *input = Input::default();
        state.segments = segments;
        state.outbox.restart();
        state.hosts_before += 1;
        let watches = state.unanswered.take_watches_of_queues();
        let again = state.unanswered.writes().map(|(_, request)| request).chain(state.unanswered.questions());
        again.for_each(|request| state.outbox.gathered().raw(&request.frame));
        state.unanswered.sent();
        state.phase = Phase::Attached(socket);
        let followers = std::mem::take(&mut state.followers);
        drop(guard);
        drop(input);
        // What they know is of the queues of the last host.
        watches.iter().for_each(|watch| watch.slot.complete(Outcome::Moved));
        self.send();
        followers.iter().for_each(|follower| follower.nudge());
        Ok(())
    }

    /// This process is the host: it answers itself what the last host did not.
    fn take_over(&self, host: HostStation) {
        let (session, end, database_id) = {
            let state = self.state.lock();
            (state.session, state.unanswered.next_write(), state.database_id)
        };
        if let Err(fault) = self.expect_same(database_id, host.engine().database_id()) {
            // It is in order, and another process may have it.
            let _ = host.close();
            return self.give_up(&fault);
        }
        while let Some((sequence, frame)) = self.next_to_answer(end) {
            let outcome = answered_here(&host, session, &frame);
            let request = self.state.lock().unanswered.take_write(sequence);
            if let Some(request) = request {
                request.slot.complete(outcome);
            }
        }
        // What was submitted meanwhile is answered with the state in hand: writers that go on would keep this process
        // from becoming the host for ever.
        let mut state = self.state.lock();
        let late: Vec<(Request, Outcome)> = std::iter::from_fn(|| {
            let sequence = state.unanswered.writes().next()?.0;
            let request = state.unanswered.take_write(sequence)?;
            let outcome = answered_here(&host, session, &request.frame);
            Some((request, outcome))
        })
        .collect();
        if matches!(state.phase, Phase::Closed) {
            drop(state);
            host.leave(session);
            // Nobody in this process wants the database any more, and the next host finds it in order or recovers it.
            let _ = host.close();
            return;
        }
        // Before anybody is told to look there.
        assert!(self.moved_to.set(Box::new(Station::Host(host))).is_ok(), "a client moves once");
        state.phase = Phase::Moved;
        let questions = state.unanswered.take_questions();
        let followers = std::mem::take(&mut state.followers);
        drop(state);
        late.into_iter().for_each(|(request, outcome)| request.slot.complete(outcome));
        questions.iter().for_each(|question| question.slot.complete(Outcome::Moved));
        followers.iter().for_each(|follower| follower.nudge());
        // Only now: its writes were made under the session.
        if let Some(Station::Host(host)) = self.moved_to() {
            host.host.adopt(session);
            host.leave(session);
        }
    }

    /// The first write without an answer whose sequence is below `end`, which is as good as sent from here on.
    fn next_to_answer(&self, end: u64) -> Option<(u64, Vec<u8>)> {
        let mut state = self.state.lock();
        let first = state.unanswered.writes().next().filter(|(sequence, _)| *sequence < end);
        let (sequence, frame) = first.map(|(sequence, request)| (sequence, request.frame.clone()))?;
        state.unanswered.sent_through(sequence);
        Some((sequence, frame))
    }

    fn expect_same(&self, ours: [u8; 16], theirs: [u8; 16]) -> Result<(), Fault> {
        if ours == theirs {
            return Ok(());
        }
        let reason = "another database has taken the place of the one that was opened".to_owned();
        Err(Fault::NotADatabase { path: self.opening.options.path.clone(), reason })
    }

    /// Whoever waits is told why no host was found. The next to ask has the keeper look again.
    fn give_up(&self, why: &Fault) {
        self.rest_in(Phase::Unattached, why);
    }

    fn rest_in(&self, phase: Phase, why: &Fault) {
        tracing::warn!(%why, "no host was found");
        let (sent, unanswered) = {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Closed) {
                state.phase = phase;
            }
            state.outbox.restart();
            (state.unanswered.take_sent_writes(), state.unanswered.take_all())
        };
        sent.iter().for_each(|request| request.slot.complete(Fault::OutcomeUnknown.into()));
        unanswered.iter().for_each(|request| request.slot.complete(told(why).into()));
    }
}

/// Why no host was found, for each of those who wait.
fn told(why: &Fault) -> Fault {
    match why {
        Fault::Locked { pid, exclusive } => Fault::Locked { pid: *pid, exclusive: *exclusive },
        Fault::OtherProtocol { theirs } => Fault::OtherProtocol { theirs: *theirs },
        Fault::TooManyProcesses { max } => Fault::TooManyProcesses { max: *max },
        Fault::Stranger { uid } => Fault::Stranger { uid: *uid },
        Fault::NotADatabase { path, reason } => Fault::NotADatabase { path: path.clone(), reason: reason.clone() },
        _ => Fault::NoHost,
    }
}

fn answered_here(host: &HostStation, session: SessionId, frame: &[u8]) -> Outcome {
    host.answer_write(session, frame).map_or_else(Outcome::Refused, Outcome::Answered)
}

/// Dropped only by a panic: nobody finds the next host any more, and those who wait learn it.
struct Unattended<'a>(&'a Client);

impl Drop for Unattended<'_> {
    fn drop(&mut self) {
        self.0.rest_in(Phase::Closed, &Fault::Closed);
    }
}
