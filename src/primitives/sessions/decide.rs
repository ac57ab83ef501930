//! The rules: which commands are accepted, and whether a request was applied before.

use std::borrow::Cow;

use super::command::{Command, Outcome, Refusal, Reply, Request};
use super::event::{Applied, Event};
use super::overlay::{Overlay, THIS_FRAME, View};
use super::rows::{HEAD_BYTES_MAX, REQUEST_BYTES_MAX, chunk_of, row_of};
use super::state::{Remembered, State};
use crate::base::bounds::{REQUESTS_REMEMBERED_MAX, ROW_BYTES_MAX, SESSIONS_MAX};
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;

/// Decides one command on the state with `overlay` applied; `emit` takes the event of an accepted one.
pub(crate) fn decide(
    state: &State,
    overlay: &Overlay,
    command: &Command,
    emit: impl FnOnce(Event<'static>),
) -> Outcome {
    let view = View::new(state, overlay);
    match *command {
        Command::Open { session } if view.session(session).is_some() => {
            Outcome::Unchanged { reply: Reply::Opened { known: true }, rests_on: Some(row_of(session, 0)) }
        }
        Command::Open { .. } if view.count() >= SESSIONS_MAX => {
            let (max, actual) = (SESSIONS_MAX as u64, view.count() as u64 + 1);
            Outcome::Refuse {
                refusal: Refusal::LimitExceeded { limit: "attached processes", max, actual },
                rests_on: None,
            }
        }
        Command::Open { session } => {
            emit(Event::Opened { session });
            Outcome::Accept(Reply::Opened { known: false })
        }
        Command::End { session } if view.session(session).is_none() => {
            Outcome::Unchanged { reply: Reply::Ended, rests_on: Some(row_of(session, 0)) }
        }
        Command::End { session } => {
            emit(Event::Ended { session });
            Outcome::Accept(Reply::Ended)
        }
    }
}

/// What is known of a request.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Recalled<'a> {
    /// It was not applied, and may be.
    New,
    /// It was not applied, and a later one was: it was refused or changed nothing, which no fact tells. It may not be
    /// applied behind that one, which rests on the row.
    Overtaken {
        rests_on: RowKey,
    },
    /// It was applied in the frame at `lsn` and answered so, encoded. That rests on the row.
    Applied {
        reply: &'a [u8],
        lsn: Lsn,
        rests_on: RowKey,
    },
    Refused {
        refusal: Refusal,
        rests_on: Option<RowKey>,
    },
}

/// Whether a request was applied before.
pub(crate) fn recall<'a>(state: &'a State, overlay: &'a Overlay, request: &Request) -> Recalled<'a> {
    let Request { session: id, sequence, .. } = *request;
    let Some(session) = View::new(state, overlay).session(id) else {
        return Recalled::Refused { refusal: Refusal::Ended, rests_on: Some(row_of(id, 0)) };
    };
    let seen_below = session.seen_below.max(request.seen_below);
    let rests_on = row_of(id, chunk_of(sequence));
    let refused = |refusal, rests_on| Recalled::Refused { refusal, rests_on };
    match session.find(sequence) {
        // What the process said of itself reveals nothing to it.
        _ if sequence < seen_below => refused(Refusal::Forgotten, None),
        _ if sequence - seen_below >= REQUESTS_REMEMBERED_MAX => {
            refused(Refusal::TooManyUnseen { sequence, seen_below }, None)
        }
        // Requests come in order.
        None if sequence < session.applied_below => {
            Recalled::Overtaken { rests_on: row_of(id, chunk_of(session.applied_below - 1)) }
        }
        None => Recalled::New,
        Some(Remembered { lsn: THIS_FRAME, .. }) => refused(Refusal::Twice, None),
        Some(Remembered { reply: None, .. }) => refused(Refusal::Forgotten, Some(rests_on)),
        Some(Remembered { reply: Some(reply), lsn, .. }) => Recalled::Applied { reply, lsn: *lsn, rests_on },
    }
}

/// The fact that a new request was applied and answered so. A reply that would make its row too large is not kept.
pub(crate) fn remember(state: &State, overlay: &Overlay, request: &Request, reply: Vec<u8>) -> Event<'static> {
    let session = View::new(state, overlay).session(request.session).expect("a request of an open session");
    let seen_below = session.seen_below.max(request.seen_below);
    let chunk = session.chunks[chunk_of(request.sequence) as usize].iter();
    let kept = chunk.filter(|remembered| remembered.sequence >= seen_below);
    let row_bytes: usize = kept.map(|kept| REQUEST_BYTES_MAX + kept.reply.as_ref().map_or(0, |r| r.len())).sum();
    let fits = HEAD_BYTES_MAX + row_bytes + REQUEST_BYTES_MAX + reply.len() <= ROW_BYTES_MAX;
    Event::Applied(Applied { request: Request { seen_below, ..*request }, reply: fits.then_some(Cow::Owned(reply)) })
}
