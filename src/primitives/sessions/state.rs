//! What is known of every session, and how facts change it.
//!
//! Invariants: what a session remembers has sequences at or above `seen_below`, each in the chunk of its sequence and
//! in order there. `seen_below` never goes back.
//!
//! `seen_below` is no fact of the frame that carries it: it is what the process knows, and stays true if that frame is
//! lost. A row may therefore hold a later one than the checkpoint's other rows; what was decided under an earlier one
//! is then let go as it is applied.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::command::{Request, SessionId};
use super::event::{Applied, Event};
use super::rows::{CHUNKS, chunk_of};
use crate::base::bounds::{FREEZE_CHUNK, REQUESTS_REMEMBERED_MAX};
use crate::base::codec::Malformed;
use crate::base::lsn::Lsn;

/// Every session.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct State {
    sessions: BTreeMap<SessionId, Session>,
}

/// One session.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Session {
    /// The process has every answer below, and asks for none of them again.
    pub(super) seen_below: u64,
    /// No request at or above was applied; never less than `seen_below`.
    pub(super) applied_below: u64,
    pub(super) chunks: [Vec<Remembered>; CHUNKS as usize],
}

/// A request that was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Remembered {
    pub(super) sequence: u64,
    /// Where the frame of what it did starts.
    pub(super) lsn: Lsn,
    /// What it was answered, encoded; `None` if that is not kept.
    pub(super) reply: Option<Box<[u8]>>,
}

impl Session {
    pub(super) fn find(&self, sequence: u64) -> Option<&Remembered> {
        self.chunks[chunk_of(sequence) as usize].iter().find(|remembered| remembered.sequence == sequence)
    }

    /// Lets go what the process will not ask for again.
    pub(super) fn see(&mut self, seen_below: u64) {
        if seen_below <= self.seen_below {
            return;
        }
        self.seen_below = seen_below;
        self.applied_below = self.applied_below.max(seen_below);
        for chunk in &mut self.chunks {
            chunk.retain(|remembered| remembered.sequence >= seen_below);
        }
    }

    fn remember(&mut self, applied: &Applied<'_>, lsn: Lsn) {
        let Request { sequence, seen_below, .. } = applied.request;
        self.see(seen_below);
        if sequence < self.seen_below {
            return;
        }
        assert!(sequence - self.seen_below < REQUESTS_REMEMBERED_MAX, "no more is remembered than the bound says");
        let chunk = &mut self.chunks[chunk_of(sequence) as usize];
        let at = chunk.partition_point(|remembered| remembered.sequence < sequence);
        assert!(chunk.get(at).is_none_or(|next| next.sequence > sequence), "a request is applied once");
        chunk.insert(at, Remembered { sequence, lsn, reply: applied.reply.as_deref().map(Box::from) });
        self.applied_below = self.applied_below.max(sequence + 1);
    }
}

/// Something that holds sessions and can be told facts. What a fact names exists.
pub(super) trait Cells {
    fn session_mut(&mut self, session: SessionId) -> &mut Session;
    fn open(&mut self, session: SessionId);
    fn end(&mut self, session: SessionId);
}

/// Makes a fact of the frame at `lsn` true.
pub(super) fn make_true(cells: &mut impl Cells, event: &Event<'_>, lsn: Lsn) {
    match event {
        Event::Opened { session } => cells.open(*session),
        Event::Ended { session } => cells.end(*session),
        Event::Applied(applied) => cells.session_mut(applied.request.session).remember(applied, lsn),
    }
}

impl Cells for State {
    fn session_mut(&mut self, session: SessionId) -> &mut Session {
        self.sessions.get_mut(&session).expect("a session that a request names is open")
    }

    fn open(&mut self, session: SessionId) {
        let before = self.sessions.insert(session, Session::default());
        assert!(before.is_none(), "a session is opened once");
    }

    fn end(&mut self, session: SessionId) {
        self.sessions.remove(&session).expect("the session to end is open");
    }
}

impl State {
    /// Makes a fact of the frame at `lsn` true.
    #[inline(never)]
    pub(crate) fn apply(&mut self, event: &Event<'_>, lsn: Lsn) {
        make_true(self, event, lsn);
    }

    /// Up to `max` sessions behind `after`, in order; from the first on if that is `None`.
    pub(crate) fn ids_after(&self, after: Option<SessionId>, max: usize) -> Vec<SessionId> {
        assert!(max <= FREEZE_CHUNK, "{max} sessions listed in one hold of the core lock");
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.sessions.range::<SessionId, _>(behind).take(max).map(|(session, _)| *session).collect()
    }

    pub(crate) fn is_open(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    pub(crate) fn count(&self) -> usize {
        self.sessions.len()
    }

    /// What a session was seen to have below which sequence, and the requests it remembers with their addresses.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn remembered(&self, session: SessionId) -> Option<(u64, Vec<(u64, Lsn)>)> {
        let session = self.session(session)?;
        let mut requests: Vec<(u64, Lsn)> =
            session.chunks.iter().flatten().map(|remembered| (remembered.sequence, remembered.lsn)).collect();
        requests.sort_unstable();
        Some((session.seen_below, requests))
    }

    pub(super) fn session(&self, session: SessionId) -> Option<&Session> {
        self.sessions.get(&session)
    }

    /// Takes a session back from the checkpoint: its row of chunk 0 comes first.
    pub(super) fn restore_session(&mut self, session: SessionId) -> Result<(), Malformed> {
        match self.sessions.insert(session, Session::default()) {
            None => Ok(()),
            Some(_) => Err(Malformed("a session twice")),
        }
    }

    /// Takes a chunk back from the checkpoint, after its session.
    pub(super) fn restore_chunk(
        &mut self,
        session: SessionId,
        chunk: u64,
        seen_below: u64,
        remembered: Vec<Remembered>,
    ) -> Result<(), Malformed> {
        let session = self.sessions.get_mut(&session).ok_or(Malformed("a chunk without its session"))?;
        session.see(seen_below);
        let seen_below = session.seen_below;
        let kept: Vec<Remembered> =
            remembered.into_iter().filter(|remembered| remembered.sequence >= seen_below).collect();
        session.applied_below = session.applied_below.max(kept.last().map_or(0, |last| last.sequence + 1));
        session.chunks[chunk as usize] = kept;
        Ok(())
    }
}
