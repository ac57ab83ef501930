//! The rows of the checkpoint.
//!
//! A session has 16 chunks, and what it remembers of a request is in the chunk `sequence % 16`. Integers are varints.
//!
//! | kind | id                   | row                                                    |
//! |------|----------------------|--------------------------------------------------------|
//! | 16   | session × 16 + chunk | seen below · per request, in order: sequence · lsn · reply |
//!
//! `reply` is `u8 (1 if it is kept) · slice(reply), if so`, as in `event.rs`. Chunk 0 of a session always has a row;
//! another chunk has one as soon as a request of it was applied. `seen below` is what was known of it when the row was
//! written: the greatest of a session holds, and what the others still have below it is gone.

use super::command::SessionId;
use super::event::{put_reply, take_reply};
use super::state::{Remembered, Session, State};
use crate::base::bounds::{REQUESTS_REMEMBERED_MAX, ROW_BYTES_MAX};
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::lsn::Lsn;
use crate::base::planted;
use crate::base::row::RowKey;

const KIND_CHUNK: u8 = 16;

/// Chunks of one session.
pub(super) const CHUNKS: u64 = 16;

/// The most bytes of a row beside its requests, and of a request beside its reply's.
pub(super) const HEAD_BYTES_MAX: usize = 10;
pub(super) const REQUEST_BYTES_MAX: usize = 10 + 10 + 1 + 2;

/// Requests that one chunk holds.
const REQUESTS_PER_CHUNK_MAX: usize = (REQUESTS_REMEMBERED_MAX / CHUNKS) as usize;

const _: () = {
    assert!(REQUESTS_REMEMBERED_MAX.is_multiple_of(CHUNKS));
    assert!(HEAD_BYTES_MAX + REQUESTS_PER_CHUNK_MAX * REQUEST_BYTES_MAX <= ROW_BYTES_MAX);
    assert!(ROW_BYTES_MAX < 1 << 14, "a reply's length takes two bytes");
};

pub(super) const fn chunk_of(sequence: u64) -> u64 {
    sequence % CHUNKS
}

pub(super) const fn row_of(session: SessionId, chunk: u64) -> RowKey {
    RowKey { kind: KIND_CHUNK, id: session.get() * CHUNKS + chunk }
}

impl State {
    /// A row as the object stands now; `None` if the object is gone.
    pub(crate) fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        let (session, chunk) = session_of(key)?;
        Some(encode(self.session(session)?, chunk))
    }

    /// Takes a row back. Rows come in the order of their keys.
    pub(crate) fn load(&mut self, key: RowKey, row: &[u8]) -> Result<(), Malformed> {
        let (session, chunk) = session_of(key).ok_or(Malformed("a row of no kind that sessions have"))?;
        let (seen_below, remembered) = decode(chunk, Take::new(row))?;
        if chunk == 0 {
            self.restore_session(session)?;
        }
        self.restore_chunk(session, chunk, seen_below, remembered)
    }
}

fn session_of(key: RowKey) -> Option<(SessionId, u64)> {
    let session = SessionId::of_random(key.id / CHUNKS);
    (key.kind == KIND_CHUNK).then_some((session, key.id % CHUNKS))
}

fn encode(session: &Session, chunk: u64) -> Vec<u8> {
    let remembered = &session.chunks[chunk as usize];
    let len = varint_len(session.seen_below) + remembered.iter().map(Remembered::encoded_len).sum::<usize>();
    let mut row = vec![0; len];
    let mut out = Put::new(&mut row);
    out.varint(session.seen_below);
    for Remembered { sequence, lsn, reply } in remembered {
        out.varint(*sequence);
        out.varint(lsn.get());
        put_reply(reply.as_deref(), &mut out);
    }
    assert_eq!(out.remaining(), 0, "a row is as long as was foretold");
    assert!(len <= ROW_BYTES_MAX, "no more replies are kept than fit the row");
    row
}

impl Remembered {
    fn encoded_len(&self) -> usize {
        let reply = self.reply.as_ref().map_or(0, |reply| slice_len(reply.len()));
        varint_len(self.sequence) + varint_len(self.lsn.get()) + 1 + reply
    }
}

fn decode(chunk: u64, mut take: Take<'_>) -> Result<(u64, Vec<Remembered>), Malformed> {
    let seen_below = take.varint()?;
    let mut remembered: Vec<Remembered> = Vec::new();
    while take.remaining() > 0 {
        let (sequence, lsn) = (take.varint()?, Lsn(take.varint()?));
        let is_in_order = remembered.last().is_none_or(|last| last.sequence < sequence);
        let unseen = sequence.checked_sub(seen_below);
        if !is_in_order || chunk_of(sequence) != chunk || unseen.is_none_or(|ahead| ahead >= REQUESTS_REMEMBERED_MAX) {
            return Err(Malformed("a request that its session's chunk cannot hold"));
        }
        let reply = take_reply(&mut take)?.map(Box::from);
        remembered.push(Remembered { sequence, lsn, reply });
    }
    if planted::is("request_applied_twice") {
        remembered.clear();
    }
    Ok((seen_below, remembered))
}
