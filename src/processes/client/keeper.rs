//! The client's thread: reads while only futures wait, and finds the next host when this one goes away.

use crate::base::bounds::HOST_AWAITED_MICROS_MAX;
use crate::base::sync::{Arc, spawn, wait_listener};
use crate::engine::fault::Fault;
use crate::primitives::sessions::SessionId;
use crate::storage::disk::clock;
use crate::storage::disk::host::socket::{Socket, wait};

use super::super::connection::Input;
use super::super::link::{Asking, Entered, HostStation, NotEntered, Pauses, Station};
use super::super::wire::Welcome;
use super::slot::Outcome;
use super::unanswered::Request;
use super::{Client, Over, Phase, State, segments_of};

impl Client {
    pub(super) fn start_keeper(self: &Arc<Self>) -> Result<(), Fault> {
        let client = self.clone();
        let thread = spawn("towpath-attach", move || client.keep()).map_err(Fault::io("starting a thread"))?;
        *self.keeper.lock() = Some(thread);
        Ok(())
    }

    pub(super) fn stop_keeper(&self) {
        self.alarm.ring();
        self.stopping.notify(usize::MAX);
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
                Phase::Moved | Phase::Over(_) => return,
            }
        }
    }

    /// Sleeps until there is something to do with this connection, and does it.
    fn attend(&self, socket: &Arc<Socket>) {
        let wants_reading = {
            let mut state = self.state.lock();
            let wants = !state.is_reading && !state.unanswered.is_empty();
            state.is_reading |= wants;
            wants
        };
        let ready = wait(socket, Some(&self.alarm), wants_reading, None);
        let alarmed = ready.as_ref().is_ok_and(|ready| ready.alarmed);
        if alarmed {
            self.alarm.take();
        }
        let is_lost = match &ready {
            Ok(ready) if wants_reading && ready.readable => self.read_once(socket, Some(0)).is_err(),
            Ok(ready) => ready.hung_up,
            Err(_) => true,
        };
        if wants_reading {
            self.stop_reading(socket, is_lost);
        } else if is_lost {
            self.lose(&mut self.state.lock(), socket);
        }
    }

    /// Becomes the host, or attaches to the one that is, or gives up.
    fn find_host(&self) {
        let lost_at = clock::boot();
        let (session, last_epoch) = {
            let state = self.state.lock();
            (state.session, state.epoch)
        };
        let mut pauses = Pauses::default();
        while !self.is_over() {
            let patience_micros = self.patience().saturating_sub(clock::boot().since(lost_at));
            let asking = Asking { session, is_resuming: true, last_epoch, patience_micros };
            match self.opening.try_enter(asking) {
                Ok(Entered::Host(host)) => return self.take_over(host),
                Ok(Entered::Attached(socket, welcome)) => {
                    return self.resume(socket, &welcome).unwrap_or_else(|fault| self.give_up(&fault));
                }
                Err(NotEntered::Final(fault)) => return self.give_up(&fault),
                Err(_) if patience_micros == 0 => return self.give_up(&Fault::NoHost),
                Err(NotEntered::Failed(why)) => tracing::warn!(%why, "this process could not host the database"),
                Err(NotEntered::Nobody) => {}
            }
            let listener = self.stopping.listen();
            if !self.is_over() {
                wait_listener(listener, Some(pauses.next()));
            }
        }
    }

    /// How long to look for a host: longer while somebody holds the directory.
    fn patience(&self) -> u64 {
        let is_held = self.opening.disk.lock_holder().is_ok_and(|holder| holder.is_some());
        if is_held { HOST_AWAITED_MICROS_MAX } else { self.opening.reconnect_grace_micros }
    }

    fn is_over(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Over(_))
    }

    /// Asks the next host what the last did not answer.
    fn resume(&self, socket: Arc<Socket>, welcome: &Welcome) -> Result<(), Fault> {
        // Whoever reads the old connection has seen its end.
        let mut input = self.input.lock();
        let segments = segments_of(&self.opening, welcome)?;
        let mut guard = self.state.lock();
        let state: &mut State = &mut guard;
        if matches!(state.phase, Phase::Over(_)) {
            return Ok(());
        }
        *input = Input::default();
        state.segments = segments;
        state.epoch = welcome.epoch;
        let unknown = if welcome.session_is_known { Vec::new() } else { state.unanswered.take_sent_writes() };
        state.outbox.clear(0);
        state.unanswered.writes().for_each(|(_, request)| state.outbox.raw(&request.frame));
        state.unanswered.questions().for_each(|request| state.outbox.raw(&request.frame));
        state.unanswered.sent();
        state.phase = Phase::Attached(socket);
        let followers = std::mem::take(&mut state.followers);
        drop(guard);
        drop(input);
        unknown.iter().for_each(|request| request.slot.complete(Fault::OutcomeUnknown.into()));
        self.send();
        followers.iter().for_each(|follower| follower.nudge());
        Ok(())
    }

    /// This process is the host: it answers itself what the last host did not.
    fn take_over(&self, host: HostStation) {
        let (session, end) = {
            let state = self.state.lock();
            (state.session, state.unanswered.next_write())
        };
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
        if matches!(state.phase, Phase::Over(_)) {
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
            host.leave(session);
        }
    }

    /// The first write without an answer whose sequence is below `end`.
    fn next_to_answer(&self, end: u64) -> Option<(u64, Vec<u8>)> {
        let state = self.state.lock();
        let first = state.unanswered.writes().next().filter(|(sequence, _)| *sequence < end);
        first.map(|(sequence, request)| (sequence, request.frame.clone()))
    }

    fn give_up(&self, why: &Fault) {
        tracing::warn!(%why, "no host was found");
        let unanswered = {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Over(_)) {
                state.phase = Phase::Over(Over::Unattached);
            }
            let sent = state.unanswered.take_sent_writes();
            sent.iter().for_each(|request| request.slot.complete(Fault::OutcomeUnknown.into()));
            state.unanswered.take_all()
        };
        unanswered.iter().for_each(|request| request.slot.complete(Fault::NoHost.into()));
    }
}

fn answered_here(host: &HostStation, session: SessionId, frame: &[u8]) -> Outcome {
    host.answer_write(session, frame).map_or_else(Outcome::Refused, Outcome::Answered)
}

/// Dropped only by a panic: nobody finds the next host any more, and those who wait learn it.
struct Unattended<'a>(&'a Client);

impl Drop for Unattended<'_> {
    fn drop(&mut self) {
        self.0.give_up(&Fault::NoHost);
    }
}
