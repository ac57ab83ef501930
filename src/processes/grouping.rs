//! The questions about consumer groups, but for what a member watches.

use crate::base::bounds::{FREEZE_CHUNK, NAME_BYTES_MAX, PARTITION_BITS};
use crate::base::codec::{Malformed, Take};
use crate::engine::{Extent, Refused};
use crate::primitives::streams::groups::{
    Assignor, Claim, GroupStart, Member, Process, Seat, claims_row, group_row, member_row,
};
use crate::primitives::streams::{self, StreamHandle};
use crate::primitives::{Primitives, Refusal};

use super::operation::{Kind, Question};
use super::questions::{put_list, take_list};
use super::server::Host;
use super::wire::{Out, put_handle, take_handle, take_option};

type Answered<T> = Result<T, Refused<Refusal>>;

/// The number of the group with this name. Waits for the sync of what creates or deletes it just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FindGroup {
    pub(crate) stream: StreamHandle,
    pub(crate) name: Box<str>,
}

impl Question for FindGroup {
    const KIND: Kind = Kind::FindGroup;
    type Answer = Option<u64>;

    fn answer(&self, host: &Host) -> Answered<Option<u64>> {
        let found = host.engine.inspect(|machine| machine.streams.groups().find(self.stream.id, &self.name))?;
        host.engine.reveal_object(found.map_or(streams::COUNTERS, group_row))?;
        Ok(found)
    }

    fn put(&self, out: &mut Out) {
        put_handle(self.stream, out);
        // A longer name is no group's, and what is left of it is none's either.
        out.text(if self.name.len() > NAME_BYTES_MAX { "" } else { &self.name });
    }

    fn take(take: &mut Take<'_>) -> Result<FindGroup, Malformed> {
        Ok(FindGroup { stream: take_handle(take)?, name: take.text()?.into() })
    }

    fn put_answer(found: &Option<u64>, out: &mut Out) {
        out.option(*found, Out::varint);
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<u64>, Malformed> {
        take_option(take, Take::varint)
    }
}

/// Up to `FREEZE_CHUNK` names of groups of a stream behind this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GroupNames {
    pub(crate) stream: StreamHandle,
    pub(crate) after: String,
}

impl Question for GroupNames {
    const KIND: Kind = Kind::GroupNames;
    type Answer = Vec<String>;

    fn answer(&self, host: &Host) -> Answered<Vec<String>> {
        let groups =
            |machine: &Primitives| machine.streams.groups().names_after(self.stream.id, &self.after, FREEZE_CHUNK);
        let names = host.engine.inspect(groups)?;
        host.engine.reveal_object(streams::COUNTERS)?;
        Ok(names)
    }

    fn put(&self, out: &mut Out) {
        put_handle(self.stream, out);
        out.text(&self.after);
    }

    fn take(take: &mut Take<'_>) -> Result<GroupNames, Malformed> {
        Ok(GroupNames { stream: take_handle(take)?, after: take.text()?.to_owned() })
    }

    fn put_answer(names: &Vec<String>, out: &mut Out) {
        put_list(names, out, |out, name| out.text(name));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Vec<String>, Malformed> {
        take_list(take, |take| take.text().map(str::to_owned))
    }
}

/// A group as a whole, if it was not deleted. Waits for the sync of what alters it just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DescribeGroup {
    pub(crate) group: u64,
}

/// What a group is as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GroupFacts {
    pub(crate) start: GroupStart,
    pub(crate) assignor: Assignor,
    pub(crate) generation: u64,
    pub(crate) partitions: u32,
}

impl Question for DescribeGroup {
    const KIND: Kind = Kind::DescribeGroup;
    type Answer = Option<GroupFacts>;

    fn answer(&self, host: &Host) -> Answered<Option<GroupFacts>> {
        let facts = host.engine.inspect(|machine| {
            let group = machine.streams.groups().get(self.group)?;
            let (start, assignor, generation) = (group.start, group.assignor, group.generation);
            Some(GroupFacts { start, assignor, generation, partitions: group.partitions() })
        })?;
        host.engine.reveal_object(group_row(self.group))?;
        Ok(facts)
    }

    fn put(&self, out: &mut Out) {
        out.varint(self.group);
    }

    fn take(take: &mut Take<'_>) -> Result<DescribeGroup, Malformed> {
        Ok(DescribeGroup { group: take_group(take)? })
    }

    fn put_answer(facts: &Option<GroupFacts>, out: &mut Out) {
        out.option(facts.as_ref(), |out, facts| {
            out.bool(facts.start == GroupStart::Latest);
            out.bool(facts.assignor == Assignor::Range);
            out.varint(facts.generation);
            out.varint(u64::from(facts.partitions));
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<GroupFacts>, Malformed> {
        take_option(take, |take| {
            let start = if take.u8()? == 1 { GroupStart::Latest } else { GroupStart::Earliest };
            let assignor = if take.u8()? == 1 { Assignor::Range } else { Assignor::Uniform };
            Ok(GroupFacts { start, assignor, generation: take.varint()?, partitions: take.varint32()? })
        })
    }
}

/// Up to `FREEZE_CHUNK` members of a group behind this seat, in the order of their seats; none if it was deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DescribeMembers {
    pub(crate) group: u64,
    pub(crate) after: Seat,
}

/// One member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemberFacts {
    pub(crate) seat: Seat,
    pub(crate) id: Option<String>,
    /// Of the process that it is in, as far as that is there.
    pub(crate) pid: Option<u32>,
    pub(crate) is_alive: bool,
}

impl Question for DescribeMembers {
    const KIND: Kind = Kind::DescribeMembers;
    type Answer = Vec<MemberFacts>;

    fn answer(&self, host: &Host) -> Answered<Vec<MemberFacts>> {
        let members = host.engine.inspect(|machine| {
            let group = machine.streams.groups().get(self.group).into_iter();
            let behind = group.flat_map(|group| group.members()).filter(|(seat, _)| *seat > self.after);
            behind.take(FREEZE_CHUNK).map(|(seat, member)| (seat, member.clone())).collect::<Vec<_>>()
        })?;
        for (seat, _) in &members {
            host.engine.reveal_object(member_row(self.group, *seat))?;
        }
        Ok(members.into_iter().map(|(seat, member)| facts_of(host, seat, member)).collect())
    }

    fn put(&self, out: &mut Out) {
        out.varint(self.group);
        out.u32(self.after);
    }

    fn take(take: &mut Take<'_>) -> Result<DescribeMembers, Malformed> {
        Ok(DescribeMembers { group: take_group(take)?, after: take.u32()? })
    }

    fn put_answer(members: &Vec<MemberFacts>, out: &mut Out) {
        put_list(members, out, |out, member| {
            out.u32(member.seat);
            out.option(member.id.as_deref(), Out::text);
            out.option(member.pid, Out::u32);
            out.bool(member.is_alive);
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Vec<MemberFacts>, Malformed> {
        take_list(take, |take| {
            let (seat, id) = (take.u32()?, take_option(take, |take| take.text().map(str::to_owned))?);
            Ok(MemberFacts { seat, id, pid: take_option(take, Take::u32)?, is_alive: take.u8()? == 1 })
        })
    }
}

fn facts_of(host: &Host, seat: Seat, member: Member) -> MemberFacts {
    let is_alive = member.is_alive();
    let pid = match member.process {
        _ if !is_alive => None,
        Process::Host => Some(std::process::id()),
        Process::Attached(session) => host.pid_of(session),
    };
    MemberFacts { seat, id: member.id.map(String::from), pid, is_alive }
}

/// Up to `FREEZE_CHUNK` partitions of a group from `first` on; `None` if it was deleted. Waits for the sync of what
/// alters them just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DescribeClaims {
    pub(crate) group: u64,
    pub(crate) first: u32,
}

/// A partition as its group sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClaimFacts {
    pub(crate) claim: Claim,
    /// Of the partition, as readers see it.
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Question for DescribeClaims {
    const KIND: Kind = Kind::DescribeClaims;
    type Answer = Option<Vec<ClaimFacts>>;

    fn answer(&self, host: &Host) -> Answered<Option<Vec<ClaimFacts>>> {
        let claims_of = |machine: &Primitives| {
            let group = machine.streams.groups().get(self.group)?;
            let claims = group.claims().get(self.first as usize..).unwrap_or_default();
            Some(claims[..claims.len().min(FREEZE_CHUNK)].to_vec())
        };
        let logs_of = |machine: &Primitives| {
            let Some(group) = machine.streams.groups().get(self.group) else { return Vec::new() };
            let stream = machine.streams.by_id(group.stream).expect("a group goes with its stream");
            let partitions = (self.first..group.partitions()).take(FREEZE_CHUNK);
            partitions.map(|partition| stream.head().log(partition)).collect()
        };
        let facts = host.engine.inspect_logs(logs_of, |machine, extents| {
            let facts = |(claim, extent): (Claim, &Option<Extent>)| {
                let extent = extent.expect("a partition of a group has its log");
                ClaimFacts { claim, start: extent.start, end: extent.end }
            };
            Some(claims_of(machine)?.into_iter().zip(extents).map(facts).collect::<Vec<_>>())
        })?;
        let mut last_row = None;
        for partition in (self.first..).take(facts.as_ref().map_or(0, Vec::len)) {
            let row = claims_row(self.group, partition);
            if last_row.replace(row) != Some(row) {
                host.engine.reveal_object(row)?;
            }
        }
        Ok(facts)
    }

    fn put(&self, out: &mut Out) {
        out.varint(self.group);
        out.u32(self.first);
    }

    fn take(take: &mut Take<'_>) -> Result<DescribeClaims, Malformed> {
        Ok(DescribeClaims { group: take_group(take)?, first: take.u32()? })
    }

    fn put_answer(facts: &Option<Vec<ClaimFacts>>, out: &mut Out) {
        out.option(facts.as_ref(), |out, facts| {
            put_list(facts, out, |out, ClaimFacts { claim, start, end }| {
                out.u32(claim.owner);
                out.u32(claim.target);
                out.varint(claim.epoch);
                out.option(claim.committed, Out::varint);
                out.varint(*start);
                out.varint(*end);
            });
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<Vec<ClaimFacts>>, Malformed> {
        take_option(take, |take| {
            take_list(take, |take| {
                let (owner, target, epoch) = (take.u32()?, take.u32()?, take.varint()?);
                let claim = Claim { owner, target, epoch, committed: take_option(take, Take::varint)? };
                Ok(ClaimFacts { claim, start: take.varint()?, end: take.varint()? })
            })
        })
    }
}

fn take_group(take: &mut Take<'_>) -> Result<u64, Malformed> {
    match take.varint()? {
        group if group <= u64::MAX >> PARTITION_BITS => Ok(group),
        _ => Err(Malformed("a number that no group has")),
    }
}
