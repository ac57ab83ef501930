//! Decided facts, and their bytes.
//!
//! Integers are varints unless a width is named. A seat of 0 is nobody's. `boot` is microseconds of the boot clock that
//! began last.
//!
//! | tag  | event          | fields                                                                             |
//! |------|----------------|------------------------------------------------------------------------------------|
//! | 0x20 | clock began    | 16 boot id · u64 time namespace · boot                                             |
//! | 0x21 | group created  | group · stream · partitions · start u8 · assignor u8 · slice(name)                 |
//! | 0x22 | group deleted  | group · partitions · last seat                                                     |
//! | 0x23 | joined         | group · seat · generation · process · boot · two timeouts · slice(id)              |
//! | 0x24 | left           | group · seat                                                                       |
//! | 0x25 | died           | group · seat · boot                                                                |
//! | 0x26 | touched        | group · seat · boot                                                                |
//! | 0x27 | assigned       | group · generation · boot · partitions · per change: partition · from · owner · target |
//! | 0x28 | committed      | group · per partition: partition · epoch · offset                                  |
//! | 0x29 | reset          | group · generation · per partition: partition · owner · offset                     |
//! | 0x2a | moved          | group · seat · process                                                             |
//! | 0x2b | fell silent    | group · seat · boot                                                                |
//!
//! `start` is 0 earliest, 1 latest; `assignor` 0 uniform, 1 range; `process` 0 the host, else the session of an
//! attached one and 1. Timeouts, of the session and for rebalances, are microseconds, 0: none. An empty id is none.
//! Lists reach to the end of the item.

use std::borrow::Cow;

use super::command::{Assignor, GroupStart, Position, Process};
use super::rows::{CLOCK, claims_row, group_row, member_row};
use super::state::{NOBODY, Seat, take_seat};
use crate::base::bounds::PARTITIONS_MAX;
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::log::LogId;
use crate::base::planted;
use crate::base::row::RowKey;
use crate::base::time::{BootTime, ClockIdentity};
use crate::engine::machine::LogChange;
use crate::primitives::streams::producers::take_number;
use crate::primitives::streams::rows::COUNTERS;

const CLOCK_BEGAN: u8 = 0x20;
const GROUP_CREATED: u8 = 0x21;
const GROUP_DELETED: u8 = 0x22;
const JOINED: u8 = 0x23;
const LEFT: u8 = 0x24;
const DIED: u8 = 0x25;
const TOUCHED: u8 = 0x26;
const ASSIGNED: u8 = 0x27;
const COMMITTED: u8 = 0x28;
const RESET: u8 = 0x29;
const MOVED: u8 = 0x2a;
const FELL_SILENT: u8 = 0x2b;

/// A decided fact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event<'a> {
    /// Moments from now on are of another clock than those before.
    ClockBegan {
        identity: ClockIdentity,
        boot: BootTime,
    },
    Created(Created<'a>),
    Deleted(Deleted),
    Joined(Joined<'a>),
    /// A member is over that owns nothing any more.
    Left {
        group: u64,
        seat: Seat,
    },
    /// The process of a member is gone; it may come back.
    Died {
        group: u64,
        seat: Seat,
        boot: BootTime,
    },
    /// A member polls.
    Touched {
        group: u64,
        seat: Seat,
        boot: BootTime,
    },
    Assigned(Assigned<'a>),
    Committed(Committed<'a>),
    Reset(Reset<'a>),
    /// A member is in another process than before.
    Moved {
        group: u64,
        seat: Seat,
        process: Process,
    },
    /// A member was not heard of for its session timeout. It is over if that stays so.
    FellSilent {
        group: u64,
        seat: Seat,
        boot: BootTime,
    },
}

/// A group came to be, without members and offsets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Created<'a> {
    pub(crate) group: u64,
    pub(crate) stream: u64,
    pub(crate) partitions: u32,
    pub(crate) start: GroupStart,
    pub(crate) assignor: Assignor,
    pub(crate) name: &'a str,
}

/// A group goes, with all that there is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deleted {
    pub(crate) group: u64,
    pub(crate) partitions: u32,
    pub(crate) last_seat: Seat,
}

/// A member took a seat. It owns nothing yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Joined<'a> {
    pub(crate) group: u64,
    pub(crate) seat: Seat,
    /// That of the `assigned` behind it.
    pub(crate) generation: u64,
    pub(crate) process: Process,
    pub(crate) boot: BootTime,
    pub(crate) session_timeout_micros: u64,
    pub(crate) rebalance_timeout_micros: u64,
    pub(crate) member_id: Option<&'a str>,
}

/// A new generation: what changes of owners and targets, and how many partitions there are now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Assigned<'a> {
    pub(crate) group: u64,
    pub(crate) generation: u64,
    pub(crate) boot: BootTime,
    pub(crate) partitions: u32,
    /// In the order of partitions.
    pub(crate) changes: Cow<'a, [Change]>,
}

/// A partition changes hands, or is to. If the owner is another than before, its epoch is the new generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) partition: u32,
    /// Who owned it.
    pub(crate) from: Seat,
    pub(crate) owner: Seat,
    pub(crate) target: Seat,
}

/// Owners have committed offsets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Committed<'a> {
    pub(crate) group: u64,
    pub(crate) positions: Cow<'a, [Position]>,
}

/// Offsets were set; the partitions, with their owners, begin a new epoch: the new generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reset<'a> {
    pub(crate) group: u64,
    pub(crate) generation: u64,
    /// Partition, its owner, and the offset.
    pub(crate) offsets: Cow<'a, [(u32, Seat, u64)]>,
}

impl<'a> Event<'a> {
    pub(crate) fn encoded_len(&self) -> usize {
        1 + match self {
            Event::ClockBegan { boot, .. } => 16 + 8 + varint_len(boot.0),
            Event::Created(created) => lens(&created.integers()) + 2 + slice_len(created.name.len()),
            Event::Deleted(deleted) => lens(&deleted.integers()),
            Event::Joined(joined) => lens(&joined.integers()) + slice_len(joined.member_id.map_or(0, str::len)),
            Event::Left { group, seat } => lens(&[*group, u64::from(*seat)]),
            Event::Died { group, seat, boot }
            | Event::Touched { group, seat, boot }
            | Event::FellSilent { group, seat, boot } => lens(&[*group, u64::from(*seat), boot.0]),
            Event::Moved { group, seat, process } => lens(&[*group, u64::from(*seat), process_number(*process)]),
            Event::Assigned(assigned) => {
                let changes: usize = assigned.changes.iter().map(|change| lens(&change.integers())).sum();
                lens(&assigned.integers()) + changes
            }
            Event::Committed(committed) => {
                let positions: usize = committed.positions.iter().map(|position| lens(&position.integers())).sum();
                varint_len(committed.group) + positions
            }
            Event::Reset(reset) => {
                let offsets: usize = reset.offsets.iter().map(|offset| lens(&integers_of_offset(offset))).sum();
                lens(&[reset.group, reset.generation]) + offsets
            }
        }
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        match self {
            Event::ClockBegan { identity, boot } => {
                out.u8(CLOCK_BEGAN);
                put_identity(identity, out);
                out.varint(boot.0);
            }
            Event::Created(created) => created.encode(out),
            Event::Deleted(deleted) => {
                out.u8(GROUP_DELETED);
                out.varints(deleted.integers());
            }
            Event::Joined(joined) => {
                out.u8(JOINED);
                out.varints(joined.integers());
                out.slice(joined.member_id.unwrap_or_default().as_bytes());
            }
            Event::Left { group, seat } => {
                out.u8(LEFT);
                out.varints([*group, u64::from(*seat)]);
            }
            Event::Died { group, seat, boot } => {
                out.u8(DIED);
                out.varints([*group, u64::from(*seat), boot.0]);
            }
            Event::Touched { group, seat, boot } => {
                out.u8(TOUCHED);
                out.varints([*group, u64::from(*seat), boot.0]);
            }
            Event::Moved { group, seat, process } => {
                out.u8(MOVED);
                out.varints([*group, u64::from(*seat), process_number(*process)]);
            }
            Event::FellSilent { group, seat, boot } => {
                out.u8(FELL_SILENT);
                out.varints([*group, u64::from(*seat), boot.0]);
            }
            Event::Assigned(assigned) => {
                out.u8(ASSIGNED);
                out.varints(assigned.integers());
                assigned.changes.iter().for_each(|change| out.varints(change.integers()));
            }
            Event::Committed(committed) => {
                out.u8(COMMITTED);
                out.varint(committed.group);
                committed.positions.iter().for_each(|position| out.varints(position.integers()));
            }
            Event::Reset(reset) => {
                out.u8(RESET);
                out.varints([reset.group, reset.generation]);
                reset.offsets.iter().for_each(|offset| out.varints(integers_of_offset(offset)));
            }
        }
    }

    /// Reads the fields of an event back, up to the end of the item.
    pub(crate) fn decode(tag: u8, take: &mut Take<'a>) -> Result<Event<'a>, Malformed> {
        match tag {
            CLOCK_BEGAN => Ok(Event::ClockBegan { identity: take_identity(take)?, boot: take_boot(take)? }),
            GROUP_CREATED => Created::decode(take).map(Event::Created),
            GROUP_DELETED => {
                let (group, partitions) = (take_number(take)?, take_partitions(take)?);
                Ok(Event::Deleted(Deleted { group, partitions, last_seat: take_seat(take)? }))
            }
            JOINED => Joined::decode(take).map(Event::Joined),
            LEFT => Ok(Event::Left { group: take_number(take)?, seat: take_taken_seat(take)? }),
            DIED => {
                let (group, seat) = (take_number(take)?, take_taken_seat(take)?);
                Ok(Event::Died { group, seat, boot: take_boot(take)? })
            }
            TOUCHED => {
                let (group, seat) = (take_number(take)?, take_taken_seat(take)?);
                Ok(Event::Touched { group, seat, boot: take_boot(take)? })
            }
            ASSIGNED => Assigned::decode(take).map(Event::Assigned),
            COMMITTED => {
                let group = take_number(take)?;
                let positions = Cow::Owned(take_list(take, Position::decode)?);
                Ok(Event::Committed(Committed { group, positions }))
            }
            RESET => {
                let (group, generation) = (take_number(take)?, take.varint()?);
                let offset = |take: &mut Take<'_>| Ok((take_partition(take)?, take_seat(take)?, take_offset(take)?));
                let offsets = Cow::Owned(take_list(take, offset)?);
                Ok(Event::Reset(Reset { group, generation, offsets }))
            }
            MOVED => {
                let (group, seat) = (take_number(take)?, take_taken_seat(take)?);
                Ok(Event::Moved { group, seat, process: take_process(take)? })
            }
            FELL_SILENT => {
                let (group, seat) = (take_number(take)?, take_taken_seat(take)?);
                Ok(Event::FellSilent { group, seat, boot: take_boot(take)? })
            }
            _ => Err(Malformed("unknown tag of a group's event")),
        }
    }

    /// The number of a group that comes to be.
    pub(crate) fn created(&self) -> Option<u64> {
        if let Event::Created(created) = self { Some(created.group) } else { None }
    }

    /// A group's log comes and goes with it. It is due anew with each new generation, and when a member dies or falls
    /// silent.
    pub(crate) fn log_change(&self) -> LogChange {
        match self {
            Event::Created(Created { group, .. }) => LogChange::Open { first: LogId(*group), count: 1 },
            Event::Deleted(Deleted { group, .. }) => LogChange::Close { first: LogId(*group), count: 1 },
            Event::Died { group, .. } | Event::FellSilent { group, .. } | Event::Assigned(Assigned { group, .. }) => {
                LogChange::Rearm { first: LogId(*group), count: 1 }
            }
            Event::ClockBegan { .. } | Event::Joined(_) | Event::Left { .. } | Event::Touched { .. } => LogChange::None,
            Event::Committed(_) | Event::Reset(_) | Event::Moved { .. } => LogChange::None,
        }
    }

    /// Names every row that the event changes. A member's changes with what it owns: who waits for that waits for it.
    pub(crate) fn touches(&self, visit: &mut dyn FnMut(RowKey)) {
        match self {
            Event::ClockBegan { .. } => visit(CLOCK),
            Event::Created(created) => {
                visit(COUNTERS);
                visit(group_row(created.group));
            }
            Event::Deleted(Deleted { group, partitions, last_seat }) => {
                visit(COUNTERS);
                visit(group_row(*group));
                (1..=*last_seat).for_each(|seat| visit(member_row(*group, seat)));
                touch_claims(*group, 0..*partitions, visit);
            }
            Event::Joined(Joined { group, seat, .. }) => visit(member_row(*group, *seat)),
            Event::Moved { group, seat, .. } => visit(member_row(*group, *seat)),
            Event::Left { group, seat }
            | Event::Died { group, seat, .. }
            | Event::Touched { group, seat, .. }
            | Event::FellSilent { group, seat, .. } => visit(member_row(*group, *seat)),
            Event::Assigned(Assigned { group, changes, .. }) => {
                visit(group_row(*group));
                touch_claims(*group, changes.iter().map(|change| change.partition), visit);
                touch_members(*group, changes.iter().flat_map(|change| [change.from, change.owner]), visit);
            }
            Event::Committed(_) if planted::is("commit_not_in_checkpoint") => {}
            Event::Committed(Committed { group, positions }) => {
                touch_claims(*group, positions.iter().map(|position| position.partition), visit);
            }
            Event::Reset(Reset { group, offsets, .. }) => {
                visit(group_row(*group));
                touch_claims(*group, offsets.iter().map(|(partition, ..)| *partition), visit);
                touch_members(*group, offsets.iter().map(|(_, owner, _)| *owner), visit);
            }
        }
    }
}

fn touch_claims(group: u64, partitions: impl Iterator<Item = u32>, visit: &mut dyn FnMut(RowKey)) {
    let mut last = None;
    for row in partitions.map(|partition| claims_row(group, partition)) {
        if last.replace(row) != Some(row) {
            visit(row);
        }
    }
}

fn touch_members(group: u64, seats: impl Iterator<Item = Seat>, visit: &mut dyn FnMut(RowKey)) {
    seats.filter(|seat| *seat != NOBODY).for_each(|seat| visit(member_row(group, seat)));
}

impl<'a> Created<'a> {
    fn integers(&self) -> [u64; 3] {
        [self.group, self.stream, u64::from(self.partitions)]
    }

    fn encode(&self, out: &mut Put<'_>) {
        out.u8(GROUP_CREATED);
        out.varints(self.integers());
        put_options(self.start, self.assignor, out);
        out.slice(self.name.as_bytes());
    }

    fn decode(take: &mut Take<'a>) -> Result<Created<'a>, Malformed> {
        let (group, stream, partitions) = (take_number(take)?, take.varint()?, take_partitions(take)?);
        let (start, assignor) = take_options(take)?;
        Ok(Created { group, stream, partitions, start, assignor, name: take.text()? })
    }
}

impl Deleted {
    fn integers(&self) -> [u64; 3] {
        [self.group, u64::from(self.partitions), u64::from(self.last_seat)]
    }
}

impl<'a> Joined<'a> {
    fn integers(&self) -> [u64; 7] {
        let (seat, process) = (u64::from(self.seat), process_number(self.process));
        let timeouts = [self.session_timeout_micros, self.rebalance_timeout_micros];
        [self.group, seat, self.generation, process, self.boot.0, timeouts[0], timeouts[1]]
    }

    fn decode(take: &mut Take<'a>) -> Result<Joined<'a>, Malformed> {
        let (group, seat, generation) = (take_number(take)?, take_taken_seat(take)?, take.varint()?);
        Ok(Joined {
            group,
            seat,
            generation,
            process: take_process(take)?,
            boot: take_boot(take)?,
            session_timeout_micros: take.varint()?,
            rebalance_timeout_micros: take.varint()?,
            member_id: Some(take.text()?).filter(|id| !id.is_empty()),
        })
    }
}

impl Assigned<'_> {
    fn integers(&self) -> [u64; 4] {
        [self.group, self.generation, self.boot.0, u64::from(self.partitions)]
    }

    fn decode(take: &mut Take<'_>) -> Result<Assigned<'static>, Malformed> {
        let (group, generation, boot) = (take_number(take)?, take.varint()?, take_boot(take)?);
        let partitions = take_partitions(take)?;
        let changes = take_list(take, Change::decode)?;
        if changes.iter().any(|change| change.partition >= partitions) {
            return Err(Malformed("a partition that the group has not"));
        }
        Ok(Assigned { group, generation, boot, partitions, changes: Cow::Owned(changes) })
    }
}

impl Change {
    fn integers(&self) -> [u64; 4] {
        [self.partition, self.from, self.owner, self.target].map(u64::from)
    }

    fn decode(take: &mut Take<'_>) -> Result<Change, Malformed> {
        let (partition, from) = (take_partition(take)?, take_seat(take)?);
        Ok(Change { partition, from, owner: take_seat(take)?, target: take_seat(take)? })
    }
}

impl Position {
    fn integers(&self) -> [u64; 3] {
        [u64::from(self.partition), self.epoch, self.offset]
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Position, Malformed> {
        Ok(Position { partition: take_partition(take)?, epoch: take.varint()?, offset: take_offset(take)? })
    }
}

fn integers_of_offset((partition, owner, offset): &(u32, Seat, u64)) -> [u64; 3] {
    [u64::from(*partition), u64::from(*owner), *offset]
}

fn lens(integers: &[u64]) -> usize {
    integers.iter().map(|integer| varint_len(*integer)).sum()
}

/// What is kept grows with what was read.
fn take_list<T>(take: &mut Take<'_>, one: impl Fn(&mut Take<'_>) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
    let mut list = Vec::new();
    while take.remaining() > 0 {
        list.push(one(take)?);
    }
    Ok(list)
}

pub(super) fn put_options(start: GroupStart, assignor: Assignor, out: &mut Put<'_>) {
    out.u8(u8::from(start == GroupStart::Latest));
    out.u8(u8::from(assignor == Assignor::Range));
}

pub(super) fn take_options(take: &mut Take<'_>) -> Result<(GroupStart, Assignor), Malformed> {
    let start = match take.u8()? {
        0 => GroupStart::Earliest,
        1 => GroupStart::Latest,
        _ => return Err(Malformed("unknown start of a group")),
    };
    match take.u8()? {
        0 => Ok((start, Assignor::Uniform)),
        1 => Ok((start, Assignor::Range)),
        _ => Err(Malformed("unknown assignor")),
    }
}

pub(super) fn put_identity(identity: &ClockIdentity, out: &mut Put<'_>) {
    out.bytes(&identity.boot_id);
    out.u64(identity.time_namespace);
}

pub(super) fn take_identity(take: &mut Take<'_>) -> Result<ClockIdentity, Malformed> {
    Ok(ClockIdentity { boot_id: take.array()?, time_namespace: take.u64()? })
}

pub(super) fn process_number(process: Process) -> u64 {
    match process {
        Process::Host => 0,
        Process::Attached(session) => session + 1,
    }
}

pub(super) fn take_process(take: &mut Take<'_>) -> Result<Process, Malformed> {
    match take.varint()? {
        0 => Ok(Process::Host),
        number => Ok(Process::Attached(number - 1)),
    }
}

pub(super) fn take_boot(take: &mut Take<'_>) -> Result<BootTime, Malformed> {
    take.varint().map(BootTime)
}

pub(super) fn take_partitions(take: &mut Take<'_>) -> Result<u32, Malformed> {
    match take.varint32()? {
        partitions if (1..=PARTITIONS_MAX).contains(&partitions) => Ok(partitions),
        _ => Err(Malformed("a number of partitions that no group has")),
    }
}

fn take_partition(take: &mut Take<'_>) -> Result<u32, Malformed> {
    match take.varint32()? {
        partition if partition < PARTITIONS_MAX => Ok(partition),
        _ => Err(Malformed("a partition out of range")),
    }
}

/// One can be added to it.
fn take_offset(take: &mut Take<'_>) -> Result<u64, Malformed> {
    match take.varint()? {
        u64::MAX => Err(Malformed("an offset out of range")),
        offset => Ok(offset),
    }
}

fn take_taken_seat(take: &mut Take<'_>) -> Result<Seat, Malformed> {
    match take_seat(take)? {
        NOBODY => Err(Malformed("a member without a seat")),
        seat => Ok(seat),
    }
}
