//! What is known of groups, and how facts change it.
//!
//! Invariants: a group's number, and its name within its stream, are entered together and leave together. Who owns a
//! partition, or is to own it, has a seat. A partition whose owner is not its target is being revoked and has a moment
//! since when; no other has. An epoch is the generation in which an ownership began or ended, so that no two of one
//! partition are equal, and none goes back.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::command::{Assignor, GroupStart, MemberHandle, Process};
use super::event::{Assigned, Change, Created, Event, Joined, Reset};
use crate::base::bounds::GROUP_MEMBERS_MAX;
use crate::base::codec::{Malformed, Take};
use crate::base::planted;
use crate::base::time::{BootTime, ClockIdentity};
use crate::primitives::streams::state::Map;

/// How many times in its session timeout a member tells that it polls.
pub(crate) const TOUCHES_TOLD: u64 = 6;

/// How many times in a session timeout that is stored.
pub(super) const TOUCHES_STORED: u64 = 3;

/// The part of its session timeout for which a member is silent before it is over: by so much its last poll may have
/// been later than what is stored.
const SILENCE: u64 = 2;

const _: () = assert!(SILENCE * (TOUCHES_TOLD + TOUCHES_STORED) <= TOUCHES_TOLD * TOUCHES_STORED);

/// The place of a member in its group, from 1 on.
pub(crate) type Seat = u32;

/// Whose a partition is that nobody owns.
pub(crate) const NOBODY: Seat = 0;

/// The last seat. There is one more than there may be members, for one who takes over from another.
pub(crate) const SEAT_MAX: Seat = GROUP_MEMBERS_MAX as Seat + 1;

pub(super) fn take_seat(take: &mut Take<'_>) -> Result<Seat, Malformed> {
    match take.varint32()? {
        seat if seat <= SEAT_MAX => Ok(seat),
        _ => Err(Malformed("a seat that no group has")),
    }
}

/// A boot time, and which clock it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    pub(crate) clock: u64,
    pub(crate) boot: BootTime,
}

/// The boot clock that moments are of now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Clock {
    /// Counts the clocks that there were.
    pub(super) number: u64,
    pub(super) identity: ClockIdentity,
    /// When moments of earlier clocks count as having been.
    pub(super) began: BootTime,
}

impl Clock {
    pub(super) fn is(&self, identity: &ClockIdentity) -> bool {
        self.number > 0 && self.identity == *identity
    }

    /// What it is after an event that may be one of it.
    pub(super) fn after(self, event: Option<&Event<'_>>) -> Clock {
        match event {
            Some(Event::ClockBegan { identity, boot }) => {
                Clock { number: self.number + 1, identity: *identity, began: *boot }
            }
            _ => self,
        }
    }

    pub(super) fn moment(&self, boot: BootTime) -> Moment {
        Moment { clock: self.number, boot }
    }

    /// When a moment was, on this clock.
    pub(super) fn boot(&self, moment: Moment) -> BootTime {
        let is_of_this = moment.clock == self.number || planted::is("moment_of_any_clock");
        if is_of_this { moment.boot } else { self.began }
    }
}

/// Every group of every stream.
#[derive(Default)]
pub(crate) struct Groups {
    by_number: BTreeMap<u64, Group>,
    /// By stream, then by name.
    names: Map<u64, BTreeMap<Box<str>, u64>>,
    clock: Clock,
}

/// One group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    pub(crate) stream: u64,
    pub(crate) name: Box<str>,
    pub(crate) start: GroupStart,
    pub(crate) assignor: Assignor,
    /// Counts changes of members, partitions and owners.
    pub(crate) generation: u64,
    /// By seat, from the first on.
    pub(super) seats: Vec<Option<Member>>,
    /// By partition.
    pub(super) claims: Vec<Claim>,
    pub(super) revoking: BTreeMap<u32, Moment>,
}

/// One member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub(crate) process: Process,
    /// An id of its own, under which it comes back.
    pub(crate) id: Option<Box<str>>,
    /// The generation that it began.
    pub(crate) joined: u64,
    /// The last generation in which something changed for it.
    pub(crate) changed: u64,
    /// 0: none.
    pub(crate) session_timeout_micros: u64,
    pub(crate) rebalance_timeout_micros: u64,
    /// When it was last known to poll. What is stored of that is late by a part of the timeout.
    pub(super) touched: Moment,
    /// Since when it counts as silent: it was not heard of for its session timeout then.
    pub(super) silent: Option<Moment>,
    /// Since when its process is gone.
    pub(super) died: Option<Moment>,
}

/// What is known of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Claim {
    pub(crate) owner: Seat,
    /// Whose it is to be.
    pub(crate) target: Seat,
    /// The generation in which it got its owner, or lost it.
    pub(crate) epoch: u64,
    /// The next offset to read; `None` before the first commit: from the first record that there is.
    pub(crate) committed: Option<u64>,
}

impl Claim {
    /// Its owner is to give it up.
    pub(crate) fn is_revoked(&self) -> bool {
        self.owner != NOBODY && self.owner != self.target
    }
}

/// A partition as its owner is told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owned {
    pub(crate) partition: u32,
    pub(crate) epoch: u64,
    pub(crate) committed: Option<u64>,
    pub(crate) is_revoked: bool,
}

impl Member {
    pub(crate) fn is_alive(&self) -> bool {
        self.died.is_none()
    }

    /// Since when it counts as silent: who was under another clock has its full time again.
    fn silent_on(&self, clock: &Clock) -> Option<Moment> {
        self.silent.filter(|silent| silent.clock == clock.number)
    }
}

impl Group {
    pub(super) fn new(created: &Created<'_>) -> Group {
        Group {
            stream: created.stream,
            name: created.name.into(),
            start: created.start,
            assignor: created.assignor,
            generation: 0,
            seats: Vec::new(),
            claims: vec![Claim::default(); created.partitions as usize],
            revoking: BTreeMap::new(),
        }
    }

    /// By partition.
    pub(crate) fn claims(&self) -> &[Claim] {
        &self.claims
    }

    pub(crate) fn partitions(&self) -> u32 {
        self.claims.len() as u32
    }

    /// Members with their seats, in the order of these.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Seat, &Member)> {
        (1..).zip(&self.seats).filter_map(|(seat, member)| Some((seat, member.as_ref()?)))
    }

    pub(crate) fn at(&self, seat: Seat) -> Option<&Member> {
        self.seats.get(seat.checked_sub(1)? as usize)?.as_ref()
    }

    /// The member, unless it is over.
    pub(crate) fn member(&self, handle: MemberHandle) -> Option<&Member> {
        self.at(handle.seat).filter(|member| member.joined == handle.joined)
    }

    /// What a seat owns, in the order of partitions.
    pub(crate) fn owned(&self, seat: Seat) -> impl Iterator<Item = Owned> {
        let of_seat = (0..).zip(&self.claims).filter(move |(_, claim)| claim.owner == seat);
        of_seat.map(|(partition, claim)| Owned {
            partition,
            epoch: claim.epoch,
            committed: claim.committed,
            is_revoked: claim.is_revoked(),
        })
    }

    pub(super) fn free_seat(&self) -> Seat {
        let free = self.seats.iter().position(Option::is_none).unwrap_or(self.seats.len());
        free as Seat + 1
    }

    /// Partitions that are being revoked from who has lost the time for it.
    pub(super) fn overdue(&self, clock: &Clock, now: BootTime) -> impl Iterator<Item = u32> {
        let due = |partition: u32, since| clock.boot(since).plus(self.rebalance_timeout(partition));
        let overdue = self.revoking.iter().filter(move |(partition, since)| due(**partition, **since) <= now);
        overdue.map(|(partition, _)| *partition)
    }

    fn rebalance_timeout(&self, partition: u32) -> u64 {
        let owner = self.at(self.claims[partition as usize].owner);
        owner.expect("a partition is revoked from an owner").rebalance_timeout_micros
    }

    /// When a member is over, or falls silent, if it is heard of no more.
    pub(super) fn silent_at(member: &Member, clock: &Clock) -> Option<BootTime> {
        let timeout = member.session_timeout_micros;
        match (member.died, member.silent_on(clock)) {
            (Some(died), _) => Some(clock.boot(died).plus(timeout)),
            (None, Some(silent)) => Some(clock.boot(silent).plus(timeout / SILENCE)),
            (None, None) => (timeout > 0).then(|| clock.boot(member.touched).plus(timeout)),
        }
    }

    /// Members who have been silent, or dead, for their time; and those who fall silent now.
    pub(super) fn unheard(&self, clock: &Clock, now: BootTime) -> (Vec<Seat>, Vec<Seat>) {
        let is_due = |member: &Member| Group::silent_at(member, clock).is_some_and(|at| at <= now);
        let (mut over, mut silent) = (Vec::new(), Vec::new());
        for (seat, member) in self.members().filter(|(_, member)| is_due(member)) {
            if member.silent_on(clock).or(member.died).is_some() { over.push(seat) } else { silent.push(seat) }
        }
        (over, silent)
    }

    /// When its tick is due.
    pub(super) fn due(&self, clock: &Clock) -> Option<BootTime> {
        let members = self.members().filter_map(|(_, member)| Group::silent_at(member, clock));
        let due = |(partition, since): (&u32, &Moment)| clock.boot(*since).plus(self.rebalance_timeout(*partition));
        members.chain(self.revoking.iter().map(due)).min()
    }

    pub(super) fn seat_mut(&mut self, seat: Seat) -> &mut Member {
        let place = self.seats.get_mut(seat as usize - 1).and_then(Option::as_mut);
        place.expect("a member that a fact names has its seat")
    }

    fn join(&mut self, joined: &Joined<'_>, now: Moment) {
        let at = joined.seat as usize - 1;
        self.seats.resize_with(self.seats.len().max(at + 1), || None);
        assert!(self.seats[at].is_none(), "a seat is taken by one member");
        self.seats[at] = Some(Member {
            process: joined.process,
            id: joined.member_id.map(Box::from),
            joined: joined.generation,
            changed: joined.generation,
            session_timeout_micros: joined.session_timeout_micros,
            rebalance_timeout_micros: joined.rebalance_timeout_micros,
            touched: now,
            silent: None,
            died: None,
        });
    }

    fn leave(&mut self, seat: Seat) {
        let owns = self.claims.iter().any(|claim| claim.owner == seat || claim.target == seat);
        let left = self.seats[seat as usize - 1].take();
        assert!(!owns && left.is_some(), "who leaves was there and has given up all that it owned");
        while let Some(None) = self.seats.last() {
            self.seats.pop();
        }
    }

    fn assign(&mut self, assigned: &Assigned<'_>, now: Moment) {
        assert!(self.generation < assigned.generation, "a generation comes after another");
        assert!(self.claims.len() <= assigned.partitions as usize, "a group loses no partition");
        self.generation = assigned.generation;
        self.claims.resize(assigned.partitions as usize, Claim::default());
        for change in &*assigned.changes {
            self.change(change, now);
        }
    }

    fn change(&mut self, change: &Change, now: Moment) {
        let Change { partition, from, owner, target } = *change;
        let claim = &mut self.claims[partition as usize];
        assert_eq!(claim.owner, from, "a partition changes hands from who owns it");
        let is_revoked_anew = owner != from || !claim.is_revoked();
        (claim.owner, claim.target) = (owner, target);
        if owner != from {
            claim.epoch = self.generation;
        }
        if !claim.is_revoked() {
            self.revoking.remove(&partition);
        } else if is_revoked_anew {
            self.revoking.insert(partition, now);
        }
        for seat in [from, owner].into_iter().filter(|seat| *seat != NOBODY) {
            self.seat_mut(seat).changed = self.generation;
        }
    }

    fn reset(&mut self, reset: &Reset<'_>) {
        assert!(self.generation < reset.generation, "a generation comes after another");
        self.generation = reset.generation;
        for (partition, owner, offset) in &*reset.offsets {
            let claim = &mut self.claims[*partition as usize];
            assert_eq!(claim.owner, *owner, "an offset is reset under who owns the partition");
            (claim.epoch, claim.committed) = (reset.generation, Some(*offset));
            if *owner != NOBODY {
                self.seat_mut(*owner).changed = reset.generation;
            }
        }
    }
}

/// Something that holds groups and can be told facts. What a fact names exists.
pub(crate) trait Cells {
    fn clock_mut(&mut self) -> &mut Clock;
    fn group_mut(&mut self, number: u64) -> &mut Group;
    fn open(&mut self, number: u64, group: Group);
    fn close(&mut self, number: u64);
}

/// Makes a fact true.
pub(crate) fn make_true(cells: &mut impl Cells, event: &Event<'_>) {
    match event {
        Event::ClockBegan { .. } => {
            let clock = cells.clock_mut();
            *clock = clock.after(Some(event));
        }
        Event::Created(created) => cells.open(created.group, Group::new(created)),
        Event::Deleted(deleted) => cells.close(deleted.group),
        Event::Joined(joined) => {
            let now = cells.clock_mut().moment(joined.boot);
            cells.group_mut(joined.group).join(joined, now);
        }
        Event::Left { group, seat } => cells.group_mut(*group).leave(*seat),
        Event::Died { group, seat, boot } => {
            let now = cells.clock_mut().moment(*boot);
            let member = cells.group_mut(*group).seat_mut(*seat);
            (member.died, member.silent) = (Some(now), None);
        }
        Event::Touched { group, seat, boot } => {
            let now = cells.clock_mut().moment(*boot);
            let member = cells.group_mut(*group).seat_mut(*seat);
            (member.touched, member.silent) = (now, None);
        }
        Event::FellSilent { group, seat, boot } => {
            let now = cells.clock_mut().moment(*boot);
            cells.group_mut(*group).seat_mut(*seat).silent = Some(now);
        }
        Event::Moved { group, seat, process } => cells.group_mut(*group).seat_mut(*seat).process = *process,
        Event::Assigned(assigned) => {
            let now = cells.clock_mut().moment(assigned.boot);
            cells.group_mut(assigned.group).assign(assigned, now);
        }
        Event::Committed(committed) => {
            let group = cells.group_mut(committed.group);
            for position in &*committed.positions {
                let claim = &mut group.claims[position.partition as usize];
                let is_owners = claim.epoch == position.epoch && claim.owner != NOBODY;
                assert!(is_owners || planted::is("past_owner_commits"), "only an owner commits");
                claim.committed = Some(position.offset);
            }
        }
        Event::Reset(reset) => cells.group_mut(reset.group).reset(reset),
    }
}

impl<C: Cells> Cells for &mut C {
    fn clock_mut(&mut self) -> &mut Clock {
        (**self).clock_mut()
    }

    fn group_mut(&mut self, number: u64) -> &mut Group {
        (**self).group_mut(number)
    }

    fn open(&mut self, number: u64, group: Group) {
        (**self).open(number, group);
    }

    fn close(&mut self, number: u64) {
        (**self).close(number);
    }
}

impl Cells for Groups {
    fn clock_mut(&mut self) -> &mut Clock {
        &mut self.clock
    }

    fn group_mut(&mut self, number: u64) -> &mut Group {
        self.by_number.get_mut(&number).expect("a group that a fact names exists")
    }

    fn open(&mut self, number: u64, group: Group) {
        let before = self.names.entry(group.stream).or_default().insert(group.name.clone(), number);
        assert_eq!(before, None, "a group's name is its own in its stream");
        self.by_number.insert(number, group);
    }

    fn close(&mut self, number: u64) {
        let group = self.by_number.remove(&number).expect("the group to end exists");
        let names = self.names.get_mut(&group.stream).expect("a group's name is entered");
        names.remove(&group.name);
        if names.is_empty() {
            self.names.remove(&group.stream);
        }
    }
}

impl Groups {
    pub(crate) fn get(&self, number: u64) -> Option<&Group> {
        self.by_number.get(&number)
    }

    /// Groups with their numbers, from this one on.
    pub(crate) fn starting_at(&self, number: u64) -> impl Iterator<Item = (u64, &Group)> {
        self.by_number.range(number..).map(|(number, group)| (*number, group))
    }

    /// Up to `max` names of groups of a stream behind this one.
    pub(crate) fn names_after(&self, stream: u64, after: &str, max: usize) -> Vec<String> {
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        let names = self.names.get(&stream).into_iter().flat_map(|names| names.range::<str, _>(behind));
        names.take(max).map(|(name, _)| name.to_string()).collect()
    }

    pub(crate) fn find(&self, stream: u64, name: &str) -> Option<u64> {
        self.names.get(&stream)?.get(name).copied()
    }

    /// When the tick of a group is due.
    pub(crate) fn due(&self, number: u64) -> Option<BootTime> {
        self.get(number)?.due(&self.clock)
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }
}
