//! What is asked of consumer groups as bytes, behind the kind of a stream's command.
//!
//! ```text
//! kind u8 · fields
//!   1 open       stream · name · start (option u8, u8) · assignor (option u8, u8)
//!   2 delete     group
//!   3 join       group · id (option u8, text) · session timeout u64 · rebalance timeout u64
//!   4 leave      member
//!   5 abandon    member
//!   6 touch      member
//!   7 commit     member · count · per offset partition · epoch · offset · count · per release partition · epoch
//!   8 reset      group · count · per offset partition · offset
//! member         group · seat · generation
//! ```
//!
//! Numbers are varints unless a width is named. Whose process joins is not said: it is the one that asks.

use crate::base::bounds::PARTITIONS_MAX;
use crate::base::codec::{Malformed, Take};
use crate::primitives::streams::groups::{
    Assignor, Command as C, Commit, GroupOptions, GroupStart, Held, Join, MemberHandle, Position, Process,
};
use crate::processes::questions::put_list;

use super::streams::{put_handle, take_handle};
use super::{Out, take_option};

pub(super) fn put_of_groups(command: &C<'_>, out: &mut Out) {
    match command {
        C::Open { stream, name, options } => {
            out.u8(1);
            put_handle(*stream, out);
            out.text(name);
            out.option(options.start, |out, start| out.u8(u8::from(start == GroupStart::Latest)));
            out.option(options.assignor, |out, assignor| out.u8(u8::from(assignor == Assignor::Range)));
        }
        C::Delete { group } => {
            out.u8(2);
            out.varint(*group);
        }
        C::Join(join) => {
            out.u8(3);
            out.varint(join.group);
            out.option(join.member_id, Out::text);
            out.u64(join.session_timeout_micros);
            out.u64(join.rebalance_timeout_micros);
        }
        C::Leave { member } => put_of_member(4, *member, out),
        C::Abandon { member } => put_of_member(5, *member, out),
        C::Touch { member } => put_of_member(6, *member, out),
        C::Commit(commit) => {
            put_of_member(7, commit.member, out);
            put_list(commit.positions, out, |out, position| {
                out.varint(u64::from(position.partition));
                out.varint(position.epoch);
                out.varint(position.offset);
            });
            put_list(commit.released, out, |out, held| {
                out.varint(u64::from(held.partition));
                out.varint(held.epoch);
            });
        }
        C::Reset { group, offsets } => {
            out.u8(8);
            out.varint(*group);
            put_list(offsets, out, |out, (partition, offset)| {
                out.varint(u64::from(*partition));
                out.varint(*offset);
            });
        }
        C::Expire { .. } | C::EndProcess { .. } | C::Adopt { .. } | C::BeginLife => {
            unreachable!("only the host itself says so")
        }
    }
}

fn put_of_member(kind: u8, member: MemberHandle, out: &mut Out) {
    out.u8(kind);
    member.fields().into_iter().for_each(|field| out.varint(field));
}

pub(super) fn with_command_of_groups<T>(mut take: Take<'_>, then: impl FnOnce(C<'_>) -> T) -> Result<T, Malformed> {
    let (positions, released, offsets);
    let command = match take.u8()? {
        1 => {
            let (stream, name) = (take_handle(&mut take)?, take.text()?);
            let start = take_option(&mut take, |take| one_of(take, GroupStart::Earliest, GroupStart::Latest))?;
            let assignor = take_option(&mut take, |take| one_of(take, Assignor::Uniform, Assignor::Range))?;
            C::Open { stream, name, options: GroupOptions { start, assignor } }
        }
        2 => C::Delete { group: take.varint()? },
        3 => C::Join(Join {
            group: take.varint()?,
            process: Process::Host,
            member_id: take_option(&mut take, Take::text)?,
            session_timeout_micros: take.u64()?,
            rebalance_timeout_micros: take.u64()?,
        }),
        4 => C::Leave { member: MemberHandle::decode(&mut take)? },
        5 => C::Abandon { member: MemberHandle::decode(&mut take)? },
        6 => C::Touch { member: MemberHandle::decode(&mut take)? },
        7 => {
            let member = MemberHandle::decode(&mut take)?;
            positions = take_each(&mut take, |take| {
                Ok(Position { partition: take.varint32()?, epoch: take.varint()?, offset: take.varint()? })
            })?;
            released = take_each(&mut take, |take| Ok(Held { partition: take.varint32()?, epoch: take.varint()? }))?;
            C::Commit(Commit { member, positions: &positions, released: &released })
        }
        8 => {
            let group = take.varint()?;
            offsets = take_each(&mut take, |take| Ok((take.varint32()?, take.varint()?)))?;
            C::Reset { group, offsets: &offsets }
        }
        _ => return Err(Malformed("a command that groups do not have")),
    };
    take.end()?;
    Ok(then(command))
}

fn one_of<T>(take: &mut Take<'_>, first: T, second: T) -> Result<T, Malformed> {
    match take.u8()? {
        0 => Ok(first),
        1 => Ok(second),
        _ => Err(Malformed("neither of two")),
    }
}

/// One for each partition at most.
fn take_each<T>(take: &mut Take<'_>, one: impl Fn(&mut Take<'_>) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
    let count = take.varint()?;
    if count > u64::from(PARTITIONS_MAX) {
        return Err(Malformed("more than a stream has partitions"));
    }
    (0..count).map(|_| one(take)).collect()
}
