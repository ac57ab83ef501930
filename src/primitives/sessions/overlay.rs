//! What the events decided so far in one frame would change.

use std::collections::BTreeMap;

use super::command::SessionId;
use super::event::Event;
use super::state::{Cells, Session, State, make_true};
use crate::base::lsn::Lsn;

/// The address of requests in an overlay: their frame has none yet. No frame starts here.
pub(super) const THIS_FRAME: Lsn = Lsn(0);

/// What the events decided so far in one frame would change; empty by default.
#[derive(Default)]
pub(crate) struct Overlay(Option<Box<Changes>>);

/// The sessions that changed; `None` is one that ended.
#[derive(Default)]
struct Changes {
    sessions: BTreeMap<SessionId, Option<Session>>,
}

impl Overlay {
    /// Makes a fact true here.
    pub(crate) fn foresee(&mut self, state: &State, event: &Event<'_>) {
        let changes = self.0.get_or_insert_default();
        make_true(&mut Layer { state, changes }, event, THIS_FRAME);
    }
}

/// The state with an overlay that can be told facts.
struct Layer<'a> {
    state: &'a State,
    changes: &'a mut Changes,
}

impl Cells for Layer<'_> {
    fn session_mut(&mut self, session: SessionId) -> &mut Session {
        let stored = || self.state.session(session).cloned();
        let changed = self.changes.sessions.entry(session).or_insert_with(stored);
        changed.as_mut().expect("a session that a request names is open")
    }

    fn open(&mut self, session: SessionId) {
        self.changes.sessions.insert(session, Some(Session::default()));
    }

    fn end(&mut self, session: SessionId) {
        self.changes.sessions.insert(session, None);
    }
}

/// The state as it stands with an overlay applied.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    state: &'a State,
    changes: Option<&'a Changes>,
}

impl<'a> View<'a> {
    pub(super) fn new(state: &'a State, overlay: &'a Overlay) -> View<'a> {
        View { state, changes: overlay.0.as_deref() }
    }

    pub(super) fn session(&self, session: SessionId) -> Option<&'a Session> {
        match self.changes.and_then(|changes| changes.sessions.get(&session)) {
            Some(changed) => changed.as_ref(),
            None => self.state.session(session),
        }
    }

    pub(super) fn count(&self) -> usize {
        let changes = || self.changes.into_iter().flat_map(|changes| &changes.sessions);
        let ended = changes().filter(|(id, now)| now.is_none() && self.state.session(**id).is_some()).count();
        let opened = changes().filter(|(id, now)| now.is_some() && self.state.session(**id).is_none()).count();
        self.state.count() + opened - ended
    }
}
