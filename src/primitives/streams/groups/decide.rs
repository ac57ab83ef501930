//! The rules of groups.
//!
//! They are those of Kafka's incremental rebalance (KIP-429, KIP-848) and static membership (KIP-345) with these
//! differences: each partition has an epoch of its own, so that a rebalance fences nobody who keeps a partition; what a
//! dead member was to give up goes on at once; a reset takes effect although members are there.

use std::borrow::Cow;

use super::command::{
    Assignor, Command, Commit, GroupOptions, GroupStart, Held, Join, MemberHandle, Position, Process, Refusal,
};
use super::event::{Committed, Created, Deleted, Event, Joined, Reset};
use super::reply::Reply;
use super::rows::{CLOCK, group_row, member_row};
use super::settle::{Draft, Leaving};
use super::state::{Clock, Group, Member, Seat, TOUCHES_STORED};
use crate::base::bounds::{GROUP_MEMBERS_MAX, GROUP_PARTITIONS_MAX, GROUPS_MAX, GROUPS_PER_FRAME_MAX, MEMBERS_MAX};
use crate::base::name;
use crate::base::planted;
use crate::base::row::RowKey;
use crate::base::time::{BootTime, ClockIdentity};
use crate::engine::machine::Context;
use crate::primitives::streams::command::{Outcome, Refusal as StreamRefusal, StreamHandle};
use crate::primitives::streams::decide::{Refused, check_partition, find, within};
use crate::primitives::streams::event::Event as StreamEvent;
use crate::primitives::streams::overlay::View;
use crate::primitives::streams::reply::Reply as StreamReply;
use crate::primitives::streams::rows::{COUNTERS, partition_row};
use crate::primitives::streams::state::Partition;

/// Decides one command; `emit` takes the events of an accepted one.
pub(crate) fn decide<'c>(
    view: &View<'_>,
    command: &Command<'c>,
    context: &Context<'_>,
    emit: &mut impl FnMut(StreamEvent<'c>),
) -> Result<Outcome, Refused> {
    let mut emit = |event| emit(StreamEvent::Groups(event));
    let now = context.now.boot;
    match *command {
        Command::Open { stream, name, options } => open(view, stream, name, options, context, &mut emit),
        Command::Delete { group } => delete(view, group, emit),
        Command::Join(ref command) => join(view, command, now, &mut emit),
        Command::Leave { member } => leave(view, member, now, emit),
        Command::Abandon { member } => abandon(view, member, now, emit),
        Command::Touch { member } => touch(view, member, now, emit),
        Command::Commit(ref command) => commit(view, command, now, &mut emit),
        Command::Reset { group, offsets } => reset(view, group, offsets, emit),
        Command::Expire { group } => Ok(expire(view, group, context, emit)),
        Command::EndProcess { process } => Ok(end_process(view, process, now, emit)),
        Command::Adopt { process } => Ok(adopt(view, process, emit)),
        Command::BeginLife => Ok(begin_life(view, context.clock, now, emit)),
    }
}

fn accept(reply: Reply) -> Outcome {
    Outcome::Accept(StreamReply::Groups(reply))
}

fn unchanged(reply: Reply, rests_on: RowKey) -> Outcome {
    Outcome::Unchanged { reply: StreamReply::Groups(reply), rests_on: Some(rests_on) }
}

fn refuse(refusal: Refusal, rests_on: RowKey) -> Refused {
    StreamRefusal::Groups(refusal).resting_on(rests_on)
}

fn existing<'a>(view: &View<'a>, group: u64) -> Result<&'a Group, Refused> {
    view.groups().get(group).ok_or_else(|| refuse(Refusal::NotFound, COUNTERS))
}

fn member<'a>(view: &View<'a>, handle: MemberHandle) -> Result<(&'a Group, &'a Member), Refused> {
    let group = existing(view, handle.group)?;
    let member = group.member(handle).ok_or_else(|| refuse(Refusal::NotAMember, group_row(handle.group)))?;
    Ok((group, member))
}

fn open<'c>(
    view: &View<'_>,
    stream: StreamHandle,
    name: &'c str,
    options: GroupOptions,
    context: &Context<'_>,
    emit: &mut impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    name::check(name).map_err(StreamRefusal::InvalidName)?;
    let (slot, head) = find(view, stream)?;
    if let Some(number) = view.groups().find(head.stream(), name) {
        let group = view.groups().get(number).expect("a name's group is there");
        let differences = differences(group, options);
        if !differences.is_empty() {
            return Err(StreamRefusal::Mismatch { differences }.resting_on(group_row(number)));
        }
        return Ok(unchanged(Reply::Group { group: number }, group_row(number)));
    }
    let of_all = |refusal: StreamRefusal| refusal.resting_on(COUNTERS);
    within("groups", GROUPS_MAX, view.groups().all().count() + 1).map_err(of_all)?;
    check_claims(view, head.partitions())?;
    if let Some(event) = clock_began(view.groups().clock(), context.clock, context.now.boot) {
        emit(event);
    }
    let (group, partitions) = (view.counters().next_log(), head.partitions());
    let (start, assignor) = (options.start.unwrap_or_default(), options.assignor.unwrap_or_default());
    emit(Event::Created(Created { group, stream: head.stream(), partitions, start, assignor, name }));
    if start == GroupStart::Latest {
        let end = |partition| (partition, 0, view.partition(slot, head, partition).end);
        let offsets = Cow::Owned((0..partitions).map(end).collect());
        emit(Event::Reset(Reset { group, generation: 1, offsets }));
    }
    Ok(accept(Reply::Group { group }))
}

fn differences(group: &Group, options: GroupOptions) -> Vec<String> {
    let start = |start| if start == GroupStart::Latest { "latest" } else { "earliest" };
    let assignor = |assignor| if assignor == Assignor::Range { "range" } else { "uniform" };
    let named = [
        ("start", start(group.start), options.start.map(start)),
        ("assignor", assignor(group.assignor), options.assignor.map(assignor)),
    ];
    let differs = named.into_iter().filter(|(_, have, want)| want.is_some_and(|want| want != *have));
    let text = |(option, have, want): (&str, &str, Option<&str>)| {
        format!("{option}: is {have}, asked for {}", want.unwrap_or_default())
    };
    differs.map(text).collect()
}

/// Refuses so many more partitions of groups than there may be.
fn check_claims(view: &View<'_>, more: u32) -> Result<(), Refused> {
    let claims: usize = view.groups().all().map(|(_, group)| group.claims().len()).sum();
    let checked = within("partitions of all groups", GROUP_PARTITIONS_MAX, claims + more as usize);
    checked.map_err(|refusal| refusal.resting_on(COUNTERS))
}

/// That moments are of another clock from now on, if they are.
fn clock_began(clock: &Clock, identity: &ClockIdentity, boot: BootTime) -> Option<Event<'static>> {
    (!clock.is(identity)).then_some(Event::ClockBegan { identity: *identity, boot })
}

fn delete<'c>(view: &View<'_>, number: u64, mut emit: impl FnMut(Event<'c>)) -> Result<Outcome, Refused> {
    let group = existing(view, number)?;
    let members = group.members().filter(|(_, member)| member.is_alive()).count() as u64;
    if members > 0 {
        return Err(refuse(Refusal::InUse { members }, group_row(number)));
    }
    emit(deleted(number, group));
    Ok(accept(Reply::Done))
}

fn deleted(number: u64, group: &Group) -> Event<'static> {
    let last_seat = group.members().last().map_or(0, |(seat, _)| seat);
    Event::Deleted(Deleted { group: number, partitions: group.partitions(), last_seat })
}

/// The groups of a stream go, before it does.
pub(crate) fn leave_with_stream<'c>(view: &View<'_>, stream: u64, emit: &mut impl FnMut(StreamEvent<'c>)) {
    let groups = view.groups().of_stream(stream);
    groups.for_each(|(number, group)| emit(StreamEvent::Groups(deleted(number, group))));
}

/// The groups of a stream take in partitions that it got in this command: it has this many now.
pub(crate) fn grow<'c>(
    view: &View<'_>,
    stream: u64,
    partitions: u32,
    now: BootTime,
    emit: &mut impl FnMut(StreamEvent<'c>),
) {
    for (number, group) in view.groups().of_stream(stream) {
        let mut draft = Draft::new(number, group, view.groups().clock(), now);
        draft.rebalance(&Leaving::default(), partitions, &[]);
        draft.into_events().into_iter().for_each(|event| emit(StreamEvent::Groups(event)));
    }
}

/// Refuses so many more partitions of a stream than its groups may have.
pub(crate) fn check_growth(view: &View<'_>, stream: u64, more: u32) -> Result<(), Refused> {
    check_claims(view, view.groups().of_stream(stream).map(|_| more).sum())
}

fn join<'c>(
    view: &View<'_>,
    command: &Join<'c>,
    now: BootTime,
    emit: &mut impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    let group = existing(view, command.group)?;
    check_join(command)?;
    let of_id = |(_, member): &(Seat, &Member)| member.id.as_deref() == command.member_id;
    let before = group.members().find(|member| command.member_id.is_some() && of_id(member)).map(|(seat, _)| seat);
    if before.is_none() {
        let of_group = |refusal: StreamRefusal| refusal.resting_on(group_row(command.group));
        within("members of a group", GROUP_MEMBERS_MAX, group.members().count() + 1).map_err(of_group)?;
        let members: usize = view.groups().all().map(|(_, group)| group.members().count()).sum();
        within("members of all groups", MEMBERS_MAX, members + 1).map_err(of_group)?;
    }
    let (seat, generation) = (group.free_seat(), group.generation + 1);
    let mut draft = Draft::new(command.group, group, view.groups().clock(), now);
    draft.tell(Event::Joined(Joined {
        group: command.group,
        seat,
        generation,
        process: command.process,
        boot: now,
        session_timeout_micros: command.session_timeout_micros,
        rebalance_timeout_micros: command.rebalance_timeout_micros,
        member_id: command.member_id,
    }));
    let leaving = Leaving { seats: before.as_slice(), heir: before.map(|before| (before, seat)) };
    draft.rebalance(&leaving, group.partitions(), &[]);
    draft.into_events().into_iter().for_each(emit);
    Ok(accept(Reply::Joined(MemberHandle { group: command.group, seat, joined: generation })))
}

fn check_join(command: &Join<'_>) -> Result<(), StreamRefusal> {
    let invalid = |option, reason| Err(StreamRefusal::InvalidOption { option, reason });
    if let Some(id) = command.member_id {
        name::check(id).map_err(StreamRefusal::InvalidName)?;
        if command.session_timeout_micros == 0 {
            return invalid("session_timeout", "a member that may come back is not waited for without end");
        }
    }
    if command.rebalance_timeout_micros == 0 {
        return invalid("rebalance_timeout", "a member needs time to give up a partition");
    }
    Ok(())
}

fn leave<'c>(
    view: &View<'_>,
    handle: MemberHandle,
    now: BootTime,
    emit: impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    let (group, _) = member(view, handle)?;
    let mut draft = Draft::new(handle.group, group, view.groups().clock(), now);
    draft.rebalance(&Leaving { seats: &[handle.seat], heir: None }, group.partitions(), &[]);
    draft.into_events().into_iter().for_each(emit);
    Ok(accept(Reply::Done))
}

fn abandon<'c>(
    view: &View<'_>,
    handle: MemberHandle,
    now: BootTime,
    emit: impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    let (group, member) = member(view, handle)?;
    if !member.is_alive() {
        return Ok(unchanged(Reply::Done, group_row(handle.group)));
    }
    let mut draft = Draft::new(handle.group, group, view.groups().clock(), now);
    end_members(&mut draft, handle.group, now, |seat, _| seat == handle.seat);
    draft.into_events().into_iter().for_each(emit);
    Ok(accept(Reply::Done))
}

/// The processes of these members are gone: those with an id of their own are dead for a while, the others leave.
fn end_members(draft: &mut Draft<'_>, group: u64, now: BootTime, is_ending: impl Fn(Seat, &Member) -> bool) {
    let ending = |(seat, member): &(Seat, &Member)| member.is_alive() && is_ending(*seat, member);
    let (mut dying, mut leaving) = (Vec::new(), Vec::new());
    for (seat, member) in draft.group.members().filter(ending) {
        if member.id.is_some() { dying.push(seat) } else { leaving.push(seat) }
    }
    dying.into_iter().for_each(|seat| draft.tell(Event::Died { group, seat, boot: now }));
    if leaving.is_empty() {
        draft.hand_over(&[]);
    } else {
        draft.rebalance(&Leaving { seats: &leaving, heir: None }, draft.group.partitions(), &[]);
    }
}

fn touch<'c>(
    view: &View<'_>,
    handle: MemberHandle,
    now: BootTime,
    mut emit: impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    let (_, member) = member(view, handle)?;
    let Some(touched) = touched(view, handle, member, now) else {
        return Ok(unchanged(Reply::Done, group_row(handle.group)));
    };
    emit(touched);
    Ok(accept(Reply::Done))
}

/// That a member polls, if it has a timeout and a good part of it has passed since that was stored last.
fn touched(view: &View<'_>, handle: MemberHandle, member: &Member, now: BootTime) -> Option<Event<'static>> {
    let MemberHandle { group, seat, .. } = handle;
    let timeout = member.session_timeout_micros;
    let since = view.groups().clock().boot(member.touched);
    let is_due = member.silent.is_some() || now.since(since) >= timeout / TOUCHES_STORED;
    (timeout > 0 && is_due).then_some(Event::Touched { group, seat, boot: now })
}

fn commit<'c>(
    view: &View<'_>,
    command: &Commit<'c>,
    now: BootTime,
    emit: &mut impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    let handle = command.member;
    let (group, member) = member(view, handle)?;
    check_offsets(view, group, command.positions.iter().map(|position| (position.partition, position.offset)))?;
    let is_owned = |partition: u32, epoch: u64| {
        let claim = group.claims().get(partition as usize);
        claim.is_some_and(|claim| claim.owner == handle.seat && claim.epoch == epoch)
    };
    let (positions, fenced) = divide(command.positions, |position| {
        planted::is("past_owner_commits") || is_owned(position.partition, position.epoch)
    });
    let touched = touched(view, handle, member, now);
    let is_released = |held: &&Held| is_owned(held.partition, held.epoch);
    let mut released: Vec<u32> = command.released.iter().filter(is_released).map(|held| held.partition).collect();
    let mut events = 0;
    let mut emit = |event| {
        events += 1;
        emit(event);
    };
    if !positions.is_empty() {
        emit(Event::Committed(Committed { group: handle.group, positions }));
    }
    touched.into_iter().for_each(&mut emit);
    if !released.is_empty() {
        released.sort_unstable();
        let mut draft = Draft::new(handle.group, group, view.groups().clock(), now);
        draft.hand_over(&released);
        draft.into_events().into_iter().for_each(&mut emit);
    }
    let reply = Reply::Committed { fenced };
    Ok(if events > 0 { accept(reply) } else { unchanged(reply, group_row(handle.group)) })
}

/// Positions that are stored, without a copy if all are; and the partitions of the others.
fn divide<'c>(positions: &'c [Position], is_owned: impl Fn(&Position) -> bool) -> (Cow<'c, [Position]>, Vec<u32>) {
    if positions.iter().all(&is_owned) {
        return (Cow::Borrowed(positions), Vec::new());
    }
    let (stored, fenced): (Vec<Position>, Vec<Position>) = positions.iter().copied().partition(is_owned);
    (Cow::Owned(stored), fenced.iter().map(|position| position.partition).collect())
}

/// No offset is behind the end of its partition.
fn check_offsets(view: &View<'_>, group: &Group, mut offsets: impl Iterator<Item = (u32, u64)>) -> Result<(), Refused> {
    let (slot, head) = view.by_id(group.stream).expect("a group goes with its stream");
    offsets.try_for_each(|(partition, offset)| {
        check_partition(head, partition)?;
        let Partition { start, end, .. } = view.partition(slot, head, partition);
        if offset <= end {
            return Ok(());
        }
        let beyond = StreamRefusal::Groups(Refusal::BeyondEnd { partition, offset, start, end });
        Err(beyond.resting_on(partition_row(head.log(partition))))
    })
}

fn reset<'c>(
    view: &View<'_>,
    number: u64,
    offsets: &[(u32, u64)],
    mut emit: impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    let group = existing(view, number)?;
    check_offsets(view, group, offsets.iter().copied())?;
    if offsets.is_empty() {
        return Ok(unchanged(Reply::Done, group_row(number)));
    }
    let under_owner = |&(partition, offset): &(u32, u64)| {
        let owner = group.claims()[partition as usize].owner;
        (partition, owner, offset)
    };
    let offsets = Cow::Owned(offsets.iter().map(under_owner).collect());
    emit(Event::Reset(Reset { group: number, generation: group.generation + 1, offsets }));
    Ok(accept(Reply::Done))
}

/// The tick: members that were not heard of for long leave, and what was not given up in time is taken.
fn expire<'c>(view: &View<'_>, number: u64, context: &Context<'_>, emit: impl FnMut(Event<'c>)) -> Outcome {
    let (clock, now) = (view.groups().clock(), context.now.boot);
    let group = view.groups().get(number).filter(|group| group.due(clock).is_some_and(|due| due <= now));
    let Some(group) = group else {
        return Outcome::Unchanged { reply: StreamReply::Groups(Reply::Done), rests_on: None };
    };
    let mut draft = Draft::new(number, group, clock, now);
    let over = draft.over(|seat| context.watched.is_watched(member_row(number, seat)));
    let overdue = draft.overdue();
    if over.is_empty() {
        draft.hand_over(&overdue);
    } else {
        draft.rebalance(&Leaving { seats: &over, heir: None }, group.partitions(), &overdue);
    }
    draft.into_events().into_iter().for_each(emit);
    accept(Reply::Done)
}

fn end_process<'c>(view: &View<'_>, process: Process, now: BootTime, mut emit: impl FnMut(Event<'c>)) -> Outcome {
    let mut ended = false;
    for (number, group) in view.groups().all().filter(|(_, group)| has_living(group, process)) {
        let mut draft = Draft::new(number, group, view.groups().clock(), now);
        end_members(&mut draft, number, now, |_, member| member.process == process);
        draft.into_events().into_iter().for_each(&mut emit);
        ended = true;
    }
    if ended { accept(Reply::Done) } else { unchanged(Reply::Done, COUNTERS) }
}

fn adopt<'c>(view: &View<'_>, process: Process, mut emit: impl FnMut(Event<'c>)) -> Outcome {
    let mut adopted = false;
    for (number, group) in view.groups().all() {
        for (seat, _) in group.members().filter(|(_, member)| member.is_alive() && member.process == process) {
            emit(Event::Moved { group: number, seat, process: Process::Host });
            adopted = true;
        }
    }
    if adopted { accept(Reply::Done) } else { unchanged(Reply::Done, COUNTERS) }
}

fn has_living(group: &Group, process: Process) -> bool {
    group.members().any(|(_, member)| member.is_alive() && member.process == process)
}

/// Ends members of the host's process, some groups at a time. Under another clock, deadlines count anew from now on.
fn begin_life<'c>(
    view: &View<'_>,
    identity: &ClockIdentity,
    now: BootTime,
    mut emit: impl FnMut(Event<'c>),
) -> Outcome {
    let groups = view.groups();
    let began = if groups.all().next().is_some() { clock_began(groups.clock(), identity, now) } else { None };
    let is_new = began.is_some();
    let clock = groups.clock().after(began.as_ref());
    began.into_iter().for_each(&mut emit);
    let left_behind = groups.all().filter(|(_, group)| has_living(group, Process::Host));
    let (mut ended, mut has_more) = (0, false);
    for (number, group) in left_behind {
        if ended == GROUPS_PER_FRAME_MAX {
            has_more = true;
            break;
        }
        let mut draft = Draft::new(number, group, &clock, now);
        end_members(&mut draft, number, now, |_, member| member.process == Process::Host);
        draft.into_events().into_iter().for_each(&mut emit);
        ended += 1;
    }
    if is_new {
        let others = groups.all().filter(|(_, group)| !has_living(group, Process::Host));
        for (number, group) in others.filter(|(_, group)| group.due(&clock).is_some()) {
            let mut draft = Draft::new(number, group, &clock, now);
            draft.renew();
            draft.into_events().into_iter().for_each(&mut emit);
        }
    }
    match (has_more, ended > 0 || is_new) {
        (true, _) => accept(Reply::More),
        (false, true) => accept(Reply::Done),
        (false, false) => unchanged(Reply::Done, CLOCK),
    }
}
