//! What a due timer wants to have read, and the command that comes of it.

use super::Engine;
use super::fault::Fault;
use super::machine::{Found, Machine, Unfound};
use super::read::{Cursor, Read};
use super::submit::Tried;
use crate::base::log::LogId;
use crate::base::row::RowKey;

/// What came of an errand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ran {
    /// There was none.
    Idle,
    Done,
    /// Nothing could be read yet: it is to be tried again soon.
    Later,
    /// There is no room, or it was refused.
    MuchLater,
}

impl<M: Machine> Engine<M> {
    /// Runs a step of what this timer wants to have read.
    pub(super) fn run_errand(&self, key: RowKey) -> Ran {
        let Some(errand) = self.core.lock().machine.errand(key) else { return Ran::Idle };
        let mut ran = Ran::Later;
        let mut submit = |command: &M::Command<'_>| {
            ran = match self.submit_if_room(command) {
                Ok(Tried::Accepted) => Ran::Done,
                Ok(Tried::Refused | Tried::NoRoom) | Err(_) => Ran::MuchLater,
            };
        };
        M::run_errand(&errand, &mut |log, offset| self.read_for_errand(log, offset), &mut submit);
        ran
    }

    /// As a reader would: what may not be shown to one is not to be told of elsewhere either.
    fn read_for_errand(&self, log: LogId, offset: u64) -> Result<Found, Unfound> {
        match self.read(log, offset, 1, &mut Cursor::default()) {
            Ok(Read::Items(batch)) => {
                let item = batch.items().iter().find(|item| (item.entry.first..item.entry.end()).contains(&offset));
                let item = item.ok_or(Unfound::Damaged)?;
                Ok(Found { item: batch.shared_bytes(item), entry: item.entry })
            }
            Ok(Read::Below { .. } | Read::Gone) => Err(Unfound::Damaged),
            Err(Fault::Corrupt { .. } | Fault::FileGone(_)) => Err(Unfound::Damaged),
            Ok(Read::AtEnd) | Err(_) => Err(Unfound::NotYet),
        }
    }
}
