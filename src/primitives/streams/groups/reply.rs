//! The answers of groups, and their bytes, behind the first byte of a stream's reply.
//!
//! | byte | reply     | then, as varints                    |
//! |------|-----------|-------------------------------------|
//! | 1    | group     | group                               |
//! | 2    | done      |                                     |
//! | 3    | joined    | group · seat · generation           |
//! | 4    | committed | number of partitions · those fenced |
//! | 5    | more      |                                     |

use super::command::MemberHandle;
use super::state::take_seat;
use crate::base::codec::{Malformed, Put, Take, varint_len};

const GROUP: u8 = 1;
const DONE: u8 = 2;
const JOINED: u8 = 3;
const COMMITTED: u8 = 4;
const MORE: u8 = 5;

/// The answer to an accepted command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// The group, be it new or not.
    Group {
        group: u64,
    },
    Done,
    Joined(MemberHandle),
    /// Offsets of these partitions were not stored, for they have another owner, or another epoch, by now; the others
    /// were.
    Committed {
        fenced: Vec<u32>,
    },
    /// Some of it is done, and the same is to be asked again.
    More,
}

impl Reply {
    pub(crate) fn encoded_len(&self) -> usize {
        1 + match self {
            Reply::Group { group } => varint_len(*group),
            Reply::Done | Reply::More => 0,
            Reply::Joined(member) => member.fields().map(varint_len).into_iter().sum(),
            Reply::Committed { fenced } => {
                let partitions: usize = fenced.iter().map(|partition| varint_len(u64::from(*partition))).sum();
                varint_len(fenced.len() as u64) + partitions
            }
        }
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        match self {
            Reply::Group { group } => {
                out.u8(GROUP);
                out.varint(*group);
            }
            Reply::Done => out.u8(DONE),
            Reply::Joined(member) => {
                out.u8(JOINED);
                out.varints(member.fields());
            }
            Reply::Committed { fenced } => {
                out.u8(COMMITTED);
                out.varint(fenced.len() as u64);
                fenced.iter().for_each(|partition| out.varint(u64::from(*partition)));
            }
            Reply::More => out.u8(MORE),
        }
    }

    /// What is kept grows with what was read: a number that lies takes no memory.
    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Reply, Malformed> {
        match take.u8()? {
            GROUP => Ok(Reply::Group { group: take.varint()? }),
            DONE => Ok(Reply::Done),
            JOINED => MemberHandle::decode(take).map(Reply::Joined),
            COMMITTED => {
                let mut fenced = Vec::new();
                for _ in 0..take.varint()? {
                    fenced.push(take.varint32()?);
                }
                Ok(Reply::Committed { fenced })
            }
            MORE => Ok(Reply::More),
            _ => Err(Malformed("unknown reply of a group")),
        }
    }
}

impl MemberHandle {
    pub(crate) fn fields(&self) -> [u64; 3] {
        [self.group, u64::from(self.seat), self.joined]
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<MemberHandle, Malformed> {
        let group = take.varint()?;
        match take_seat(take)? {
            0 => Err(Malformed("a member without a seat")),
            seat => Ok(MemberHandle { group, seat, joined: take.varint()? }),
        }
    }
}
