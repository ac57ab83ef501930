//! How long members have been silent and partitions are being revoked, by the time that has truly passed.

use std::collections::BTreeMap;

use super::groups::Ask;
use super::history::GroupsContents;
use super::rebalance::Cause;
use crate::primitives::streams::groups::{Claim, Group, Member, MemberHandle, Reply, Seat};

/// A member is over once it was silent for its session timeout, and at most this part of it longer.
const SILENCE: u64 = 2;

/// Since when. Of what is not entered nothing is known.
#[derive(Default, Debug)]
pub(super) struct Lapses {
    /// By group, seat and generation: the last poll or commit.
    polled: BTreeMap<(u64, Seat, u64), u64>,
    died: BTreeMap<(u64, Seat, u64), u64>,
    /// When the timers found that a member was silent for its timeout.
    silent: BTreeMap<(u64, Seat, u64), u64>,
    /// By group and partition.
    revoked: BTreeMap<(u64, u32), u64>,
}

impl Lapses {
    /// A crash may have taken back what this rests on.
    pub(super) fn forget(&mut self) {
        *self = Lapses::default();
    }

    /// The boot clock is another: all counts from now on.
    pub(super) fn count_anew(&mut self, groups: &GroupsContents, elapsed: u64) {
        self.forget();
        for (number, contents) in groups {
            for (seat, member) in contents.group.members() {
                let of = if member.is_alive() { &mut self.polled } else { &mut self.died };
                of.insert((*number, seat, member.joined), elapsed);
            }
            let revoked = revoked(&contents.group);
            self.revoked.extend(revoked.map(|(partition, _)| ((*number, partition), elapsed)));
        }
    }

    /// Enters what was found right.
    pub(super) fn note(&mut self, before: &GroupsContents, after: &GroupsContents, cause: &Cause<'_>, elapsed: u64) {
        if let Cause::Ask(ask, reply) = cause {
            self.note_poll(ask, reply, elapsed);
        }
        for (number, contents) in after {
            let old = before.get(number).map(|old| &old.group);
            for (seat, member) in contents.group.members().filter(|(_, member)| !member.is_alive()) {
                // Of one that was dead before nothing is known, unless it was entered then.
                let was = old.and_then(|old| old.at(seat)).filter(|was| was.joined == member.joined);
                if was.is_some_and(Member::is_alive) {
                    self.died.insert((*number, seat, member.joined), elapsed);
                }
            }
            for (partition, claim) in revoked(&contents.group) {
                let was = old.and_then(|old| old.claims().get(partition as usize));
                if !was.is_some_and(|was| was.is_revoked() && was.owner == claim.owner) {
                    self.revoked.insert((*number, partition), elapsed);
                }
            }
        }
    }

    fn note_poll(&mut self, ask: &Ask, reply: &Reply, elapsed: u64) {
        let handle = match (ask, reply) {
            (_, Reply::Joined(handle)) => Some(*handle),
            (Ask::Touch(member) | Ask::Commit { member, .. }, _) => Some(*member),
            _ => None,
        };
        if let Some(MemberHandle { group, seat, joined }) = handle {
            self.polled.insert((group, seat, joined), elapsed);
            self.silent.remove(&(group, seat, joined));
        }
    }

    pub(super) fn may_be_over(&self, group: u64, seat: Seat, member: &Member, elapsed: u64) -> bool {
        let (key, timeout) = ((group, seat, member.joined), member.session_timeout_micros);
        let since = |of: &BTreeMap<_, u64>| of.get(&key).copied().unwrap_or(0);
        if !member.is_alive() {
            return elapsed >= since(&self.died) + timeout;
        }
        timeout > 0 && elapsed >= since(&self.polled) + timeout
    }

    pub(super) fn may_be_taken(&self, group: u64, partition: u32, owner: &Member, elapsed: u64) -> bool {
        let since = self.revoked.get(&(group, partition)).copied().unwrap_or(0);
        elapsed >= since + owner.rebalance_timeout_micros
    }

    /// When a member must be over at the latest, as far as that is known, after the timers have done their work.
    fn over_at(&mut self, key: (u64, Seat, u64), member: &Member, elapsed: u64) -> Option<u64> {
        let timeout = member.session_timeout_micros;
        if !member.is_alive() {
            return self.died.get(&key).map(|died| died + timeout);
        }
        let is_silent = timeout > 0 && self.polled.get(&key).is_some_and(|polled| polled + timeout <= elapsed);
        is_silent.then(|| *self.silent.entry(key).or_insert(elapsed) + timeout / SILENCE)
    }

    /// Nobody is a member, and nothing owned, for longer than it may be: the timers have done their work.
    pub(super) fn check_ended(&mut self, groups: &GroupsContents, elapsed: u64) -> Result<(), String> {
        for (number, contents) in groups {
            for (seat, member) in contents.group.members() {
                let over_at = self.over_at((*number, seat, member.joined), member, elapsed);
                if over_at.is_some_and(|over_at| over_at <= elapsed) {
                    return Err(format!("group {number}: {member:?} should be over since {over_at:?}: {elapsed}"));
                }
            }
            for (partition, claim) in revoked(&contents.group) {
                let Some(since) = self.revoked.get(&(*number, partition)) else { continue };
                let owner = contents.group.at(claim.owner).expect("an owner is a member");
                if since + owner.rebalance_timeout_micros <= elapsed {
                    return Err(format!("group {number}: {claim:?} is being revoked since {since}, it is {elapsed}"));
                }
            }
        }
        Ok(())
    }
}

fn revoked(group: &Group) -> impl Iterator<Item = (u32, &Claim)> {
    (0..).zip(group.claims()).filter(|(_, claim)| claim.is_revoked())
}
