//! The handle of a consumer group.

use std::future::poll_fn;

use std::collections::BTreeMap;

use crate::base::bounds::{FREEZE_CHUNK, PARTITIONS_MAX};
use crate::base::level::Level;
use crate::base::sync::Arc;
use crate::engine::{Refused, Submitted};
use crate::primitives::streams;
use crate::primitives::streams::groups::{self, Command as OfGroups, Join, Process};
use crate::primitives::{Command, Refusal, Reply};
use crate::processes::client::Unasked;
use crate::processes::grouping::{ClaimFacts, DescribeClaims, DescribeGroup, DescribeMembers, MemberFacts};
use crate::processes::link::Issued;

use super::database::refusal;
use super::error::Error;
use super::group_options::MemberOptions;
use super::group_outcomes::{GroupDescription, GroupPartition, MemberDescription, PartitionLag};
use super::member::Member;
use super::reader::Start;
use super::stream::Stream;

/// A consumer group: members that share the partitions of a stream among them, each partition consumed by one of them
/// at a time, and how far each has come.
///
/// Made by [`Stream::group`]. Cheap to clone; usable from any thread. A group goes with its stream; committed offsets
/// do not expire.
///
/// # Who has what
/// When members come and go, only those partitions move that must. One that is free goes at once to whom it is
/// assigned. One that a living member owns is *revoked*: the member hears of it at its next [`Member::poll`] and gives
/// it up with the poll after that, or its next commit; if it does neither within its rebalance timeout, the partition
/// is taken. Everybody goes on with all other partitions meanwhile.
///
/// Each ownership of a partition has an *epoch*, and only the present owner's commits are stored: who was away for too
/// long cannot take back the offset of who came after, and is told so of those partitions alone that moved on.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) stream: Stream,
    name: Arc<str>,
    number: u64,
}

impl Group {
    pub(super) fn create(stream: Stream, name: &str, options: groups::GroupOptions) -> Result<Group, Error> {
        let group = Group::new(stream, name, 0);
        let open = OfGroups::Open { stream: group.stream.routing().handle, name, options };
        match group.submit(open, Level::Sync) {
            Ok(groups::Reply::Group { group: number }) => Ok(Group { number, ..group }),
            Ok(_) => unreachable!("opening a group answers with it"),
            Err(refused) => Err(group.refusal(refused)),
        }
    }

    pub(super) fn new(stream: Stream, name: &str, number: u64) -> Group {
        Group { stream, name: name.into(), number }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stream that it consumes.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Joins the group; the member's polls tell what it owns. At [`Level::Buffered`]: blocks only while the disk is
    /// behind.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the group was deleted; [`Error::LimitExceeded`] with 1,000 members, or 8,192 of all
    /// groups; [`Error::InvalidName`] for the member's id, [`Error::InvalidOption`] for a timeout of zero that may not
    /// be, and what any write may meet.
    pub fn join(&self, options: MemberOptions) -> Result<Member, Error> {
        let member_id = options.member_id.as_deref();
        let join = Join {
            group: self.number,
            process: Process::Host,
            member_id,
            session_timeout_micros: options.session_timeout_micros(),
            rebalance_timeout_micros: options.rebalance_timeout_micros(),
        };
        let joined = self.submit(OfGroups::Join(join), Level::Buffered).map_err(|refused| match refused {
            Refused::Refusal(Refusal::Streams(streams::Refusal::InvalidName(fault))) => {
                Error::invalid_name(member_id.unwrap_or_default(), fault)
            }
            refused => self.refusal(refused),
        })?;
        match joined {
            groups::Reply::Joined(handle) => Ok(Member::new(self.clone(), handle, join.session_timeout_micros)),
            _ => unreachable!("who joins is told as which member"),
        }
    }

    /// Members, owners, committed offsets and lag. Waits for nothing, unless some of it is just being written at
    /// [`Level::Sync`]: then for the sync of that. Members that come or go meanwhile may be in it or not.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the group was deleted, [`Error::Poisoned`], [`Error::Closed`], [`Error::Forked`].
    pub fn describe(&self) -> Result<GroupDescription, Error> {
        let (database, group) = (&self.stream.database, self.number);
        let facts = database.ask(&DescribeGroup { group })?.ok_or_else(|| self.not_found())?;
        let mut partitions = Vec::with_capacity(facts.partitions as usize);
        for first in (0..facts.partitions).step_by(FREEZE_CHUNK) {
            let claims = database.ask(&DescribeClaims { group, first })?.ok_or_else(|| self.not_found())?;
            partitions.extend((first..).zip(claims).map(|(partition, facts)| described(partition, facts)));
        }
        Ok(GroupDescription {
            name: self.name().to_owned(),
            start: facts.start,
            assignor: facts.assignor,
            generation: facts.generation,
            members: self.members()?,
            partitions,
        })
    }

    fn members(&self) -> Result<Vec<MemberDescription>, Error> {
        let mut members: Vec<MemberDescription> = Vec::new();
        loop {
            let after = members.last().map_or(0, |member| member.seat);
            let more = self.stream.database.ask(&DescribeMembers { group: self.number, after })?;
            if more.is_empty() {
                return Ok(members);
            }
            let described =
                |MemberFacts { seat, id, pid, is_alive }| MemberDescription { seat, member_id: id, pid, is_alive };
            members.extend(more.into_iter().map(described));
        }
    }

    /// How far the group is behind in each partition, by what was committed.
    ///
    /// # Errors
    /// As for [`Group::describe`].
    pub fn lag(&self) -> Result<Vec<PartitionLag>, Error> {
        let lag = |at: GroupPartition| PartitionLag {
            partition: at.partition,
            next_offset: at.end_offset - at.lag,
            end_offset: at.end_offset,
        };
        Ok(self.describe()?.partitions.into_iter().map(lag).collect())
    }

    /// Has the group go on from there in every partition. Its members are told that they read the partitions anew, and
    /// what they commit of before is refused. Durable on return. May read from disk.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] for an offset that a partition does not have, [`Error::NotFound`] if the group was
    /// deleted, and what any write may meet.
    pub fn reset(&self, to: Start) -> Result<(), Error> {
        let partitions = self.stream.mappings()?.last().map_or(0, |mapping| mapping.partitions);
        let offset = |partition| Ok((partition, self.stream.reader(partition, to)?.position()));
        let offsets = (0..partitions).map(offset).collect::<Result<Vec<(u32, u64)>, Error>>()?;
        self.reset_offsets(&offsets)
    }

    /// Has the group go on from these offsets in these partitions, as [`Group::reset`] does. Of several of one
    /// partition the last counts.
    ///
    /// # Errors
    /// As for [`Group::reset`], and [`Error::InvalidOption`] for a partition that does not exist.
    pub fn reset_offsets(&self, offsets: &[(u32, u64)]) -> Result<(), Error> {
        let last_of_each: BTreeMap<u32, u64> = offsets.iter().copied().collect();
        if let Some((partition, _)) = last_of_each.range(PARTITIONS_MAX..).next() {
            let reason = format!("no stream has a partition {partition}");
            return Err(Error::InvalidOption { option: "partition", reason });
        }
        let offsets: Vec<(u32, u64)> = last_of_each.into_iter().collect();
        let reset = OfGroups::Reset { group: self.number, offsets: &offsets };
        self.submit(reset, Level::Sync).map(drop).map_err(|refused| self.refusal(refused))
    }

    /// Ends the group with all that it knows. Durable on return.
    ///
    /// # Errors
    /// [`Error::InUse`] while it has members that live, [`Error::NotFound`] if it was deleted before, and what any
    /// write may meet.
    pub fn delete(&self) -> Result<(), Error> {
        let delete = OfGroups::Delete { group: self.number };
        self.submit(delete, Level::Sync).map(drop).map_err(|refused| self.refusal(refused))
    }

    pub(super) fn submit(&self, command: OfGroups<'_>, level: Level) -> Result<groups::Reply, Refused<Refusal>> {
        let command = Command::Streams(streams::Command::Groups(command));
        let Submitted { reply, .. } = self.stream.database.shared.link.submit(&command, level, None)?;
        match reply {
            Reply::Streams(streams::Reply::Groups(reply)) => Ok(reply),
            _ => unreachable!("groups answer what groups are asked"),
        }
    }

    /// The same without blocking the thread while the level asks for the disk.
    pub(super) async fn submit_async(
        &self,
        command: OfGroups<'_>,
        level: Level,
    ) -> Result<groups::Reply, Refused<Refusal>> {
        let command = Command::Streams(streams::Command::Groups(command));
        let Submitted { reply, .. } = match self.stream.database.shared.link.issue(&command, level.into(), None)? {
            Issued::Here(submitted, wait) => {
                wait.await?;
                submitted
            }
            Issued::There(pending) => match poll_fn(|context| pending.poll(context)).await {
                Ok(submitted) => submitted,
                Err(Unasked::Refused(refused)) => return Err(refused),
                Err(Unasked::Moved) => unreachable!("a process that becomes the host answers its own writes"),
            },
        };
        match reply {
            Reply::Streams(streams::Reply::Groups(reply)) => Ok(reply),
            _ => unreachable!("groups answer what groups are asked"),
        }
    }

    fn not_found(&self) -> Error {
        Error::NotFound { kind: "group", name: self.name().to_owned() }
    }

    /// A refusal of a group in the words of the public error.
    pub(super) fn refusal(&self, refused: Refused<Refusal>) -> Error {
        let (stream, name) = (self.stream.name(), || self.name().to_owned());
        let of_groups = match refused {
            Refused::Refusal(Refusal::Streams(streams::Refusal::Groups(refusal))) => refusal,
            Refused::Refusal(Refusal::Streams(streams::Refusal::InvalidName(fault))) => {
                return Error::invalid_name(self.name(), fault);
            }
            Refused::Refusal(Refusal::Streams(streams::Refusal::Mismatch { differences })) => {
                return Error::Mismatch { kind: "group", name: name(), differences };
            }
            refused => return refusal(refused, stream),
        };
        match of_groups {
            groups::Refusal::NotFound => self.not_found(),
            groups::Refusal::NotAMember => Error::MemberEnded { group: name() },
            groups::Refusal::InUse { members } => Error::InUse { kind: "group", name: name(), by: members },
            groups::Refusal::BeyondEnd { partition, offset, start, end } => {
                Error::OffsetOutOfRange { stream: stream.to_owned(), partition, offset, start, end }
            }
        }
    }
}

fn described(partition: u32, facts: ClaimFacts) -> GroupPartition {
    let ClaimFacts { claim, start, end } = facts;
    let seat = |seat| (seat > 0).then_some(seat);
    GroupPartition {
        partition,
        owner: seat(claim.owner),
        next_owner: seat(claim.target).filter(|_| claim.is_revoked()),
        epoch: claim.epoch,
        committed: claim.committed,
        end_offset: end,
        lag: end.saturating_sub(claim.committed.unwrap_or(0).max(start)),
    }
}
