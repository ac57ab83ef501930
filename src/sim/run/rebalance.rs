//! What may become of groups, the naive way: from one state to the next nothing changes but what its cause explains.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::Ask;
use super::history::{GroupContents, GroupsContents};
use super::lapses::Lapses;
use crate::primitives::streams::groups::{
    Assignor, Claim, Group, GroupStart, Held, Member, Position, Process, Reply, Seat,
};

/// Why groups changed.
#[derive(Debug)]
pub(super) enum Cause<'a> {
    Ask(&'a Ask, &'a Reply),
    /// A stream was deleted.
    StreamDeleted(&'a str),
    /// A stream got partitions: it has this many now.
    StreamGrown(&'a str, u32),
    /// A process has ended.
    ProcessEnded(Process),
    /// Time has passed.
    Tick,
}

/// What becomes of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lot {
    Stays,
    /// Its process is gone and it may come back.
    Dies,
    Leaves,
    /// It may leave, for its time is over.
    MayLeave,
}

/// Holds `after` against `before`.
pub(super) fn check_rebalance(
    before: &GroupsContents,
    after: &GroupsContents,
    cause: &Cause<'_>,
    lapses: &Lapses,
    elapsed: u64,
) -> Result<(), String> {
    for (number, old) in before {
        let step = Step { number: *number, old, cause, lapses, elapsed };
        match after.get(number) {
            None if step.must_go() => {}
            None => return Err(format!("group {number} is gone")),
            Some(_) if step.must_go() => return Err(format!("group {number} is still there")),
            Some(new) => step.check(&new.group).map_err(|reason| format!("group {number}: {reason}"))?,
        }
    }
    let came = after.iter().filter(|(number, _)| !before.contains_key(number));
    for (number, new) in came {
        check_new(*number, new, cause).map_err(|reason| format!("group {number}, which is new: {reason}"))?;
    }
    Ok(())
}

fn check_new(number: u64, new: &GroupContents, cause: &Cause<'_>) -> Result<(), String> {
    let Cause::Ask(Ask::Open { stream, name, options }, Reply::Group { group }) = cause else {
        return Err("nobody has asked for it".to_owned());
    };
    let start = options.start.unwrap_or_default();
    let is_it = *group == number && new.stream == *stream && *new.group.name == **name;
    let is_as_asked = new.group.start == start && new.group.assignor == options.assignor.unwrap_or_default();
    let has_offset = |claim: &Claim| claim.committed.is_some() == (start == GroupStart::Latest);
    let is_empty = new.group.members().next().is_none() && new.group.claims().iter().all(has_offset);
    if is_it && is_as_asked && is_empty { Ok(()) } else { Err("it is not what was asked for".to_owned()) }
}

/// One group, from one state to the next.
struct Step<'a> {
    number: u64,
    old: &'a GroupContents,
    cause: &'a Cause<'a>,
    lapses: &'a Lapses,
    elapsed: u64,
}

impl Step<'_> {
    fn must_go(&self) -> bool {
        match self.cause {
            Cause::Ask(Ask::Delete { group }, _) => *group == self.number,
            Cause::StreamDeleted(stream) => self.old.stream == *stream,
            _ => false,
        }
    }

    fn check(&self, new: &Group) -> Result<(), String> {
        let old = &self.old.group;
        if new.generation < old.generation {
            return Err("its generation goes back".to_owned());
        }
        let partitions = match self.cause {
            Cause::StreamGrown(stream, partitions) if self.old.stream == *stream => *partitions,
            _ => old.partitions(),
        };
        if new.partitions() != partitions {
            return Err(format!("it has {} partitions, not {partitions}", new.partitions()));
        }
        self.check_members(new)?;
        for partition in 0..partitions {
            self.check_claim(new, partition).map_err(|reason| format!("partition {partition}: {reason}"))?;
        }
        check_sizes(new)?;
        let seats = |group: &Group| group.members().map(|(seat, member)| (seat, member.joined)).collect::<Vec<_>>();
        if seats(old) != seats(new) || partitions != old.partitions() {
            self.check_moves(new)?;
        }
        Ok(())
    }

    /// What must become of a member.
    fn lot(&self, seat: Seat, member: &Member) -> Lot {
        let ends = |process: Process| match (member.is_alive() && member.process == process, &member.id) {
            (false, _) => Lot::Stays,
            (true, Some(_)) => Lot::Dies,
            (true, None) => Lot::Leaves,
        };
        match self.cause {
            Cause::Ask(Ask::BeginLife, _) => ends(Process::Host),
            Cause::ProcessEnded(process) => ends(*process),
            Cause::Tick if self.lapses.may_be_over(self.number, seat, member, self.elapsed) => Lot::MayLeave,
            Cause::Ask(Ask::Leave(handle), _) if self.is_of(handle.group, handle.seat, seat) => Lot::Leaves,
            Cause::Ask(Ask::Abandon(handle), _) if self.is_of(handle.group, handle.seat, seat) => {
                if member.id.is_some() { Lot::Dies } else { Lot::Leaves }
            }
            Cause::Ask(Ask::Join { group, id: Some(id), .. }, _) if *group == self.number => {
                if member.id.as_deref() == Some(*id) { Lot::Leaves } else { Lot::Stays }
            }
            _ => Lot::Stays,
        }
    }

    fn is_of(&self, group: u64, of: Seat, seat: Seat) -> bool {
        group == self.number && of == seat
    }

    fn check_members(&self, new: &Group) -> Result<(), String> {
        for (seat, member) in self.old.group.members() {
            let lot = self.lot(seat, member);
            let now = new.at(seat).filter(|now| now.joined == member.joined);
            let is_right = match (lot, now) {
                (Lot::Stays, Some(now)) => now.is_alive() == member.is_alive(),
                (Lot::MayLeave, now) => now.is_none_or(|now| now.is_alive() == member.is_alive()),
                (Lot::Dies, Some(now)) => !now.is_alive(),
                (Lot::Leaves, None) => true,
                _ => false,
            };
            if !is_right {
                return Err(format!("the member at seat {seat} is {now:?}, but: {lot:?}"));
            }
        }
        for (seat, member) in new.members() {
            let was_there = self.old.group.at(seat).is_some_and(|old| old.joined == member.joined);
            let has_joined = matches!(self.cause, Cause::Ask(_, Reply::Joined(handle))
                if (handle.group, handle.seat, handle.joined) == (self.number, seat, member.joined));
            if !was_there && !has_joined {
                return Err(format!("nobody has joined as {member:?}"));
            }
        }
        Ok(())
    }

    fn check_claim(&self, new: &Group, partition: u32) -> Result<(), String> {
        let old = self.old.group.claims().get(partition as usize).copied().unwrap_or_default();
        let now = new.claims()[partition as usize];
        let is_seated = |seat: Seat| seat == 0 || new.at(seat).is_some();
        if !is_seated(now.owner) || !is_seated(now.target) {
            return Err(format!("{now:?} is of who is no member"));
        }
        if (now.target == 0) != (new.members().next().is_none()) {
            return Err(format!("{now:?} in a group of {} members", new.members().count()));
        }
        if now.is_revoked() && !new.at(now.owner).is_some_and(Member::is_alive) {
            return Err(format!("{now:?} is left to who is dead"));
        }
        let has_moved = now.owner != old.owner || self.has_joined_anew(new, now.owner);
        if has_moved && !self.may_move(new, partition, &old) {
            return Err(format!("{old:?} became {now:?} while its owner was at work"));
        }
        if has_moved && now.owner != now.target {
            return Err(format!("{old:?} became {now:?}, which is not whose it is to be"));
        }
        let reset = self.reset_to(partition);
        let is_new_epoch = now.epoch > old.epoch && now.epoch <= new.generation;
        if (now.epoch != old.epoch || has_moved || reset.is_some()) && !is_new_epoch {
            return Err(format!("{old:?} became {now:?} of a wrong epoch"));
        }
        let committed = reset.or(self.committed(partition, &old)).or(old.committed);
        if now.committed != committed {
            return Err(format!("{old:?} became {now:?}, the committed offset is to be {committed:?}"));
        }
        Ok(())
    }

    /// Another has the seat than before.
    fn has_joined_anew(&self, new: &Group, seat: Seat) -> bool {
        let joined = |group: &Group| group.at(seat).map(|member| member.joined);
        seat != 0 && joined(new) != joined(&self.old.group)
    }

    /// Nobody is at work on a partition, or its owner has given it up, or has had all its time.
    fn may_move(&self, new: &Group, partition: u32, old: &Claim) -> bool {
        let Some(owner) = self.old.group.at(old.owner) else { return true };
        let is_there = new.at(old.owner).is_some_and(|now| now.joined == owner.joined && now.is_alive());
        if !is_there {
            return true;
        }
        match self.cause {
            Cause::Ask(Ask::Commit { member, released, .. }, _) => {
                let is_it = |held: &Held| (held.partition, held.epoch) == (partition, old.epoch);
                self.is_of(member.group, member.seat, old.owner) && old.is_revoked() && released.iter().any(is_it)
            }
            Cause::Tick => self.lapses.may_be_taken(self.number, partition, owner, self.elapsed),
            _ => false,
        }
    }

    fn reset_to(&self, partition: u32) -> Option<u64> {
        match self.cause {
            Cause::Ask(Ask::Reset { group, offsets }, _) if *group == self.number => {
                offsets.iter().rev().find(|(of, _)| *of == partition).map(|(_, offset)| *offset)
            }
            _ => None,
        }
    }

    /// What its owner has committed of a partition.
    fn committed(&self, partition: u32, old: &Claim) -> Option<u64> {
        match self.cause {
            Cause::Ask(Ask::Commit { member, positions, .. }, _)
                if self.is_of(member.group, member.seat, old.owner) =>
            {
                let is_it = |at: &&Position| (at.partition, at.epoch) == (partition, old.epoch);
                positions.iter().rev().find(is_it).map(|position| position.offset)
            }
            _ => None,
        }
    }

    /// No partition moves that need not.
    fn check_moves(&self, new: &Group) -> Result<(), String> {
        let old = &self.old.group;
        if new.assignor != Assignor::Uniform || new.members().next().is_none() {
            return Ok(());
        }
        let heir = match self.cause {
            Cause::Ask(Ask::Join { id: Some(id), .. }, Reply::Joined(handle)) => {
                let before = old.members().find(|(_, member)| member.id.as_deref() == Some(*id));
                before.map(|(seat, _)| (seat, handle.seat))
            }
            _ => None,
        };
        let stays = |seat: Seat| match heir {
            Some((of, heir)) if of == seat => Some(heir),
            _ => old.at(seat).filter(|was| new.at(seat).is_some_and(|now| now.joined == was.joined)).map(|_| seat),
        };
        let mut held: BTreeMap<Seat, u64> = BTreeMap::new();
        let mut moves = 0_u64;
        for (was, now) in old.claims().iter().zip(new.claims()) {
            let Some(holder) = stays(was.owner) else { continue };
            *held.entry(holder).or_default() += 1;
            moves += u64::from(now.target != holder);
        }
        let (partitions, members) = (u64::from(new.partitions()), new.members().count() as u64);
        let least = partitions / members;
        let above: Vec<u64> = held.values().filter(|held| **held > least).map(|held| held - least).collect();
        let fewest = above.iter().sum::<u64>() - (above.len() as u64).min(partitions % members);
        if moves == fewest { Ok(()) } else { Err(format!("{moves} partitions move where {fewest} need to")) }
    }
}

/// Sizes differ by at most one; by `range`, what a member is to have lies together.
fn check_sizes(group: &Group) -> Result<(), String> {
    let targets: Vec<Seat> = group.claims().iter().map(|claim| claim.target).collect();
    let size = |seat: Seat| targets.iter().filter(|target| **target == seat).count();
    let sizes: Vec<usize> = group.members().map(|(seat, _)| size(seat)).collect();
    if sizes.iter().max().zip(sizes.iter().min()).is_some_and(|(most, least)| most - least > 1) {
        return Err(format!("members are to have {sizes:?} partitions"));
    }
    let mut stretches = targets.clone();
    stretches.dedup();
    let members = stretches.iter().collect::<BTreeSet<_>>().len();
    if group.assignor == Assignor::Range && members != stretches.len() {
        return Err(format!("the partitions of a member do not lie together: {targets:?}"));
    }
    Ok(())
}
