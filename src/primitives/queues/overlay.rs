//! Several commands in one frame: each is decided on a copy of the state that the events of the earlier ones changed.
//!
//! The copy is of all queues, which no frame with a single command makes.

use super::event::Event;
use super::state::State;
use crate::base::lsn::Lsn;

/// What the events decided so far in one frame would change; empty by default.
#[derive(Default)]
pub(crate) struct Overlay(Option<Box<State>>);

/// The address of a frame that is still being decided. Nothing that is decided rests on it.
pub(super) const NOT_WRITTEN: Lsn = Lsn(u64::MAX);

impl Overlay {
    /// Makes a fact true here.
    pub(crate) fn foresee(&mut self, state: &State, event: &Event<'_>) {
        self.0.get_or_insert_with(|| Box::new(state.clone())).apply(event, NOT_WRITTEN);
    }

    /// The state with what was foreseen.
    pub(super) fn over<'s>(&'s self, state: &'s State) -> &'s State {
        self.0.as_deref().unwrap_or(state)
    }
}
