//! `twin.rs` is a naive model, held against the primitive over generated histories; `rules.rs` states the rules one by
//! one.

mod rules;
mod twin;

use super::event::Applied;
use super::rows::{CHUNKS, row_of};
use super::*;
use crate::base::bounds::{FREEZE_CHUNK, REQUESTS_REMEMBERED_MAX, ROW_BYTES_MAX, SESSIONS_MAX};
use crate::base::codec::Put;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;

const WEB: SessionId = SessionId::of_random(7);

fn request(sequence: u64, seen_below: u64) -> Request {
    Request { session: WEB, sequence, seen_below }
}

/// Decides one command and applies it in a frame at `lsn`.
fn run(state: &mut State, command: Command, lsn: u64) -> Outcome {
    let mut events = Vec::new();
    let outcome = decide(state, &Overlay::default(), &command, |event| events.push(event));
    assert_eq!(matches!(outcome, Outcome::Accept(_)), !events.is_empty(), "events are what acceptance means");
    events.iter().for_each(|event| state.apply(event, Lsn(lsn)));
    outcome
}

fn open(session: SessionId) -> State {
    let mut state = State::default();
    assert_eq!(run(&mut state, Command::Open { session }, 8), Outcome::Accept(Reply::Opened { known: false }));
    state
}

/// What is known of a request on the state alone.
fn ask(state: &State, request: Request) -> Recalled<'static> {
    match recall(state, &Overlay::default(), &request) {
        Recalled::New => Recalled::New,
        Recalled::Overtaken { rests_on } => Recalled::Overtaken { rests_on },
        Recalled::Applied { reply, lsn, rests_on } => Recalled::Applied { reply: reply.to_vec().leak(), lsn, rests_on },
        Recalled::Refused { refusal, rests_on } => Recalled::Refused { refusal, rests_on },
    }
}

/// A new request is applied in a frame at `lsn` and answered with `reply`.
fn answer(state: &mut State, request: Request, reply: &[u8], lsn: u64) {
    assert_eq!(ask(state, request), Recalled::New);
    let applied = remember(state, &Overlay::default(), &request, reply.to_vec());
    state.apply(&applied, Lsn(lsn));
}

fn forgotten(recalled: &Recalled<'_>) -> bool {
    matches!(recalled, Recalled::Refused { refusal: Refusal::Forgotten, .. })
}

fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut bytes = vec![0; event.encoded_len()];
    let mut out = Put::new(&mut bytes);
    event.encode(&mut out);
    assert_eq!(out.remaining(), 0, "an event is as long as was foretold");
    bytes
}

/// Every row of a state, in the order of their keys.
fn all_rows(state: &State) -> Vec<(RowKey, Vec<u8>)> {
    let keys = sessions(state).into_iter().flat_map(|session| (0..CHUNKS).map(move |chunk| row_of(session, chunk)));
    keys.map(|key| (key, state.row(key).expect("a row of what exists"))).collect()
}

fn sessions(state: &State) -> Vec<SessionId> {
    let mut all: Vec<SessionId> = Vec::new();
    loop {
        let next = state.ids_after(all.last().copied(), FREEZE_CHUNK);
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

fn reloaded(rows: &[(RowKey, Vec<u8>)]) -> State {
    let mut state = State::default();
    rows.iter().for_each(|(key, row)| state.load(*key, row).expect("a row that was written"));
    state
}
