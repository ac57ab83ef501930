//! What becomes of claims when members come and go.

use std::borrow::Cow;

use super::assign::{self, Before};
use super::command::Assignor;
use super::event::{Assigned, Change, Event};
use super::state::{Cells, Clock, Group, Member, NOBODY, Seat, make_true};
use crate::base::planted;
use crate::base::time::BootTime;

/// A group in the course of one command: what it comes to so far, and the facts that made it so.
pub(super) struct Draft<'c> {
    number: u64,
    pub(super) group: Group,
    clock: Clock,
    now: BootTime,
    events: Vec<Event<'c>>,
}

/// Members that come and go together.
#[derive(Default)]
pub(super) struct Leaving<'a> {
    /// In the order of their seats.
    pub(super) seats: &'a [Seat],
    /// Who takes over from which of them.
    pub(super) heir: Option<(Seat, Seat)>,
}

impl<'c> Draft<'c> {
    pub(super) fn new(number: u64, group: &Group, clock: &Clock, now: BootTime) -> Draft<'c> {
        Draft { number, group: group.clone(), clock: *clock, now, events: Vec::new() }
    }

    pub(super) fn into_events(self) -> Vec<Event<'c>> {
        self.events
    }

    pub(super) fn tell(&mut self, event: Event<'c>) {
        make_true(self, &event);
        self.events.push(event);
    }

    /// The members that are over by now. Others fall silent now, unless they wait in a poll, which counts as polling.
    pub(super) fn over(&mut self, waits: impl Fn(Seat) -> bool) -> Vec<Seat> {
        let (group, boot) = (self.number, self.now);
        let (over, silent) = self.group.unheard(&self.clock, self.now);
        for seat in silent {
            let polls = waits(seat);
            self.tell(if polls {
                Event::Touched { group, seat, boot }
            } else {
                Event::FellSilent { group, seat, boot }
            });
        }
        over
    }

    /// The partitions that are being revoked for longer than their owners may take.
    pub(super) fn overdue(&self) -> Vec<u32> {
        self.group.overdue(&self.clock, self.now).collect()
    }

    /// Assigns all partitions anew, of which there are this many now; then members leave. Owners that live go on with
    /// what is to move, unless it was given up (in the order of partitions).
    pub(super) fn rebalance(&mut self, leaving: &Leaving<'_>, partitions: u32, given_up: &[u32]) {
        let claim = |partition: u32| self.group.claims().get(partition as usize).copied().unwrap_or_default();
        let after = |seat| leaving.after(seat);
        let holders: Vec<Seat> = (0..partitions).map(|partition| after(claim(partition).owner)).collect();
        let targets: Vec<Seat> = (0..partitions).map(|partition| after(claim(partition).target)).collect();
        let targets = self.targets(leaving, &Before { holders: &holders, targets: &targets });
        let mut changes = Vec::new();
        for ((partition, holder), target) in (0..).zip(holders).zip(targets) {
            let (before, from) = (claim(partition), claim(partition).owner);
            let may_be_at_work = holder == from && self.is_alive(from) && given_up.binary_search(&partition).is_err();
            let may_be_at_work = may_be_at_work && !planted::is("revoked_before_released");
            let owner = if holder != target && may_be_at_work { from } else { target };
            if (owner, target) != (before.owner, before.target) {
                changes.push(Change { partition, from, owner, target });
            }
        }
        self.assign(partitions, changes);
        leaving.seats.iter().for_each(|seat| self.tell(Event::Left { group: self.number, seat: *seat }));
    }

    /// What is being revoked from the dead, or was given up (in the order of partitions), goes where it is to go.
    pub(super) fn hand_over(&mut self, given_up: &[u32]) {
        let is_free = |partition, owner| !self.is_alive(owner) || given_up.binary_search(&partition).is_ok();
        let revoked =
            self.group.revoking.keys().map(|partition| (*partition, self.group.claims()[*partition as usize]));
        let changes: Vec<Change> = revoked
            .filter(|(partition, claim)| is_free(*partition, claim.owner))
            .map(|(partition, claim)| Change {
                partition,
                from: claim.owner,
                owner: claim.target,
                target: claim.target,
            })
            .collect();
        if !changes.is_empty() {
            self.assign(self.group.partitions(), changes);
        }
    }

    /// A generation in which nothing changes hands: its deadlines are looked at anew.
    pub(super) fn renew(&mut self) {
        self.assign(self.group.partitions(), Vec::new());
    }

    fn assign(&mut self, partitions: u32, changes: Vec<Change>) {
        let generation = self.group.generation + 1;
        let changes = Cow::Owned(changes);
        self.tell(Event::Assigned(Assigned { group: self.number, generation, boot: self.now, partitions, changes }));
    }

    fn is_alive(&self, seat: Seat) -> bool {
        self.group.at(seat).is_some_and(Member::is_alive)
    }

    fn targets(&self, leaving: &Leaving<'_>, before: &Before<'_>) -> Vec<Seat> {
        let mut staying: Vec<(Seat, &Member)> =
            self.group.members().filter(|(seat, _)| !leaving.seats.contains(seat)).collect();
        let seats = |members: &[(Seat, &Member)]| members.iter().map(|(seat, _)| *seat).collect::<Vec<Seat>>();
        match self.group.assignor {
            Assignor::Uniform => assign::uniform(&seats(&staying), before),
            Assignor::Range => {
                // As in Kafka: those with an id of their own first, by it, so that one who comes back has its place.
                staying.sort_by_key(|(_, member)| (member.id.is_none(), member.id.as_deref(), member.joined));
                assign::range(&seats(&staying), before.holders.len())
            }
        }
    }
}

impl Leaving<'_> {
    /// Who has the place of this member afterwards.
    fn after(&self, seat: Seat) -> Seat {
        match self.heir {
            Some((of, heir)) if of == seat => heir,
            _ if self.seats.contains(&seat) => NOBODY,
            _ => seat,
        }
    }
}

impl Cells for Draft<'_> {
    fn clock_mut(&mut self) -> &mut Clock {
        &mut self.clock
    }

    fn group_mut(&mut self, number: u64) -> &mut Group {
        assert_eq!(number, self.number, "a draft is of one group");
        &mut self.group
    }

    fn open(&mut self, number: u64, _: Group) {
        unreachable!("a draft is of a group that exists, and not of {number}");
    }

    fn close(&mut self, number: u64) {
        unreachable!("a draft is of a group that stays, and not of {number}");
    }
}
