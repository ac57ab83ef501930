//! The answers of all primitives, and their bytes: as sessions remember them, and as they go to another process.
//!
//! | first byte | reply        | then                          |
//! |------------|--------------|-------------------------------|
//! | 1          | of streams   | see `streams/reply.rs`        |
//! | 2          | of sessions  | see `sessions/command.rs`     |
//! | 3          | repeated     | varint lsn · the first reply  |
//! | 4          | of queues    | see `queues/reply.rs`         |

use super::{queues, sessions, streams};
use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::lsn::Lsn;

const STREAMS: u8 = 1;
const SESSIONS: u8 = 2;
const REPEATED: u8 = 3;
const QUEUES: u8 = 4;

/// The answer to an accepted command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Streams(streams::Reply),
    Sessions(sessions::Reply),
    Queues(queues::Reply),
    /// The request had been applied before.
    Repeated(Box<Repeated>),
}

/// How a request was answered when it was applied, and the start of the frame of what it did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Repeated {
    pub(crate) reply: Reply,
    pub(crate) lsn: Lsn,
}

impl Reply {
    pub(crate) fn encoded_len(&self) -> usize {
        1 + match self {
            Reply::Streams(reply) => reply.encoded_len(),
            Reply::Sessions(_) => sessions::Reply::ENCODED_LEN,
            Reply::Queues(reply) => reply.encoded_len(),
            Reply::Repeated(repeated) => varint_len(repeated.lsn.get()) + repeated.reply.encoded_len(),
        }
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        match self {
            Reply::Streams(reply) => {
                out.u8(STREAMS);
                reply.encode(out);
            }
            Reply::Sessions(reply) => {
                out.u8(SESSIONS);
                reply.encode(out);
            }
            Reply::Queues(reply) => {
                out.u8(QUEUES);
                reply.encode(out);
            }
            Reply::Repeated(repeated) => {
                out.u8(REPEATED);
                out.varint(repeated.lsn.get());
                repeated.reply.encode(out);
            }
        }
    }

    /// Reads a reply back. What follows it stays to be taken.
    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Reply, Malformed> {
        match take.u8()? {
            REPEATED => {
                let lsn = Lsn(take.varint()?);
                let first = take.u8()?;
                Ok(Reply::Repeated(Box::new(Repeated { reply: Reply::decode_first(first, take)?, lsn })))
            }
            tag => Reply::decode_first(tag, take),
        }
    }

    fn decode_first(tag: u8, take: &mut Take<'_>) -> Result<Reply, Malformed> {
        match tag {
            STREAMS => streams::Reply::decode(take).map(Reply::Streams),
            SESSIONS => sessions::Reply::decode(take).map(Reply::Sessions),
            QUEUES => queues::Reply::decode(take).map(Reply::Queues),
            _ => Err(Malformed("a reply of no primitive")),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::primitives::streams::{ProducerHandle, Range, Ranges, StreamHandle};

    fn encoded(reply: &Reply) -> Vec<u8> {
        let mut bytes = vec![0; reply.encoded_len()];
        let mut out = Put::new(&mut bytes);
        reply.encode(&mut out);
        assert_eq!(out.remaining(), 0, "a reply is as long as was foretold");
        bytes
    }

    fn replies() -> Vec<Reply> {
        let range = |partition, first_offset, records| Range { partition, first_offset, records };
        let first = range(3, 1 << 40, 65_536);
        let of_streams = [
            streams::Reply::Stream(StreamHandle { slot: 300, id: 5 }),
            streams::Reply::Deleted,
            streams::Reply::Appended(Ranges { first, rest: Vec::new() }),
            streams::Reply::Appended(Ranges { first, rest: vec![range(0, 0, 1), range(u32::MAX, u64::MAX, u32::MAX)] }),
            streams::Reply::Trimmed { start: 77 },
            streams::Reply::Expired,
            streams::Reply::Producer(ProducerHandle { number: 300, epoch: 5 }),
            streams::Reply::Duplicate { ranges: Ranges { first, rest: Vec::new() }.into(), lsn: Lsn(8 << 20) },
        ];
        let of_sessions =
            [sessions::Reply::Opened { known: false }, sessions::Reply::Opened { known: true }, sessions::Reply::Ended];
        let plain = of_streams.map(Reply::Streams).into_iter().chain(of_sessions.map(Reply::Sessions));
        let repeated = |reply: Reply| Reply::Repeated(Box::new(Repeated { reply, lsn: Lsn(8 << 20) }));
        plain.flat_map(|reply| [reply.clone(), repeated(reply)]).collect()
    }

    #[test]
    fn every_reply_comes_back_and_no_truncation_or_change_of_its_bytes_is_a_panic() {
        for reply in replies() {
            let bytes = encoded(&reply);
            let mut take = Take::new(&bytes);
            assert_eq!(Reply::decode(&mut take).as_ref(), Ok(&reply));
            assert_eq!(take.end(), Ok(()));
            assert!((0..bytes.len()).all(|len| Reply::decode(&mut Take::new(&bytes[..len])).is_err()), "{reply:?} cut");
            for at in 0..bytes.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at].wrapping_add(1)] {
                    let mut changed = bytes.clone();
                    changed[at] = value;
                    let _ = Reply::decode(&mut Take::new(&changed));
                }
            }
        }
    }

    #[test]
    fn a_repeated_reply_holds_no_other_repeated_one() {
        assert!(Reply::decode(&mut Take::new(&[REPEATED, 8, REPEATED, 8, STREAMS, 2])).is_err());
        assert!(Reply::decode(&mut Take::new(&[REPEATED, 8, STREAMS, 2])).is_ok());
    }

    #[test]
    fn the_bytes_of_a_reply_stay_as_they_are() {
        let hex = |reply: &Reply| encoded(reply).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let expected = [
            "01 01 ac02 05",
            "01 02",
            "01 03 01 03 808080808020 808004",
            "01 03 03 03 808080808020 808004 000001 ffffffff0f ffffffffffffffffff01 ffffffff0f",
            "01 04 4d",
            "01 05",
            "01 06 ac02 05",
            "01 07 80808004 01 03 808080808020 808004",
            "02 00",
            "02 01",
            "02 02",
        ];
        for (reply, expected) in replies().iter().step_by(2).zip(expected) {
            assert_eq!(hex(reply), expected.replace(' ', ""), "{reply:?}");
        }
        assert_eq!(hex(&replies()[3]), "03808080040102");
    }
}
