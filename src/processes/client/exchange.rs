//! Sending requests, waiting for answers, and reading them.

use std::io;

use crate::base::bounds::GATHERED_BYTES_MAX;
use crate::base::codec::{Malformed, Take};
use crate::base::sync::{Arc, park, thread_waker};
use crate::base::time::BootTime;
use crate::engine::micros_left;
use crate::storage::disk::host::socket::{Socket, wait};

use super::super::connection::Input;
use super::super::wire::{ANSWERED, OF_WRITE, take_refused};
use super::slot::{Outcome, Slot};
use super::{Client, Phase, State};

impl Client {
    /// Waits until the request has its outcome; `false` if the deadline has passed before.
    pub(super) fn wait_done(&self, slot: &Arc<Slot>, deadline: Option<BootTime>) -> bool {
        if slot.is_done() {
            // Nothing is sent for its sake: what is gathered goes with more.
            return true;
        }
        self.send();
        loop {
            if slot.is_done() {
                return true;
            }
            let Ok(left) = micros_left(deadline) else {
                self.pass_on();
                return false;
            };
            let mut state = self.state.lock();
            match state.phase.socket() {
                Some(socket) if !state.is_reading => {
                    state.is_reading = true;
                    drop(state);
                    // Whoever read before may have brought it in between.
                    let read = if slot.is_done() { Ok(()) } else { self.read_once(&socket, left) };
                    self.stop_reading(&socket, read.is_err());
                }
                _ => {
                    state.followers.push(slot.clone());
                    let is_waiting = slot.register(&thread_waker());
                    drop(state);
                    if is_waiting {
                        park(left);
                    }
                    self.state.lock().followers.retain(|follower| !Arc::ptr_eq(follower, slot));
                }
            }
        }
    }

    /// Receives once and hands out the answers. The caller has the reading in hand.
    pub(super) fn read_once(&self, socket: &Socket, micros: Option<u64>) -> io::Result<()> {
        let mut input = self.input.lock();
        if !self.state.lock().phase.is_over(socket) {
            // Another host has been found meanwhile, and this input is of its connection.
            return Ok(());
        }
        let received = match micros {
            None => input.fill(socket)?,
            Some(_) => match input.try_fill(socket)? {
                Some(received) => received,
                None => {
                    wait(socket, None, true, micros)?;
                    match input.try_fill(socket)? {
                        Some(received) => received,
                        None => return Ok(()),
                    }
                }
            },
        };
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.hand_out(&mut input).map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))
    }

    fn hand_out(&self, input: &mut Input) -> Result<(), Malformed> {
        let mut answered = Vec::new();
        while let Some(frame) = input.next()? {
            let mut take = Take::new(frame.bytes);
            let (outcome, request) = (take.u8()?, take.varint()?);
            let answer = match outcome & !OF_WRITE {
                ANSWERED => Outcome::Answered(take.rest().to_vec()),
                _ => Outcome::Refused(take_refused(&mut take)?),
            };
            answered.push((outcome & OF_WRITE != 0, request, answer));
        }
        let mut state = self.state.lock();
        let slots: Vec<_> = answered
            .into_iter()
            .filter_map(|(of_write, request, answer)| {
                let unanswered = &mut state.unanswered;
                let taken = if of_write { unanswered.take_write(request) } else { unanswered.take_question(request) };
                // None: it was withdrawn.
                Some((taken?.slot, answer))
            })
            .collect();
        drop(state);
        slots.into_iter().for_each(|(slot, answer)| slot.complete(answer));
        Ok(())
    }

    /// Gives up the reading: somebody who waits goes on, the keeper if only futures do.
    pub(super) fn stop_reading(&self, socket: &Arc<Socket>, failed: bool) {
        let mut state = self.state.lock();
        state.is_reading = false;
        if failed {
            self.lose(&mut state, socket);
        }
        drop(state);
        self.pass_on();
        self.send();
    }

    /// Sees to it that somebody reads. Who leaves without an answer may be the one that was to.
    fn pass_on(&self) {
        let mut state = self.state.lock();
        if state.is_reading {
            return;
        }
        let follower = state.followers.iter().position(|slot| !slot.is_done()).map(|at| state.followers.remove(at));
        if follower.is_none() {
            self.ask_keeper(&mut state);
        }
        drop(state);
        if let Some(follower) = follower {
            follower.nudge();
        }
    }

    /// The connection is of no use any more.
    pub(super) fn lose(&self, state: &mut State, socket: &Arc<Socket>) {
        if matches!(&state.phase, Phase::Attached(current) if Arc::ptr_eq(current, socket)) {
            socket.shutdown();
            state.phase = Phase::Lost;
            self.alarm.ring();
        }
    }

    /// Lets the keeper read if nobody does although answers are to come.
    pub(super) fn ask_keeper(&self, state: &mut State) {
        if !state.is_reading && !state.unanswered.is_empty() {
            self.call_keeper(state);
        }
    }

    fn call_keeper(&self, state: &mut State) {
        if !state.keeper_is_asked {
            state.keeper_is_asked = true;
            self.alarm.ring();
        }
    }

    /// Sends what was gathered, if nothing is under way or it is much.
    pub(super) fn send_gathered(&self) {
        let mut state = self.state.lock();
        // The answer to a write that is under way sends it; a reader's may never come.
        let goes = state.outbox.gathered().len() >= GATHERED_BYTES_MAX || state.unanswered.count_writes() == 1;
        self.ask_keeper(&mut state);
        drop(state);
        if goes {
            self.send();
        }
    }

    /// Sends what is to be sent, as far as there is room, unless somebody else is at it, who then sends this too.
    pub(super) fn send(&self) {
        let mut state = self.state.lock();
        while let Some(socket) = state.phase.socket()
            && let Some(sending) = state.outbox.begin()
        {
            drop(state);
            let sent = socket.try_send(sending.bytes());
            state = self.state.lock();
            match sent {
                Ok(sent) => state.outbox.end(sending, sent),
                Err(_) => self.lose(&mut state, &socket),
            }
            if state.outbox.is_without_room() {
                self.call_keeper(&mut state);
            }
        }
    }
}
