//! The rows of the checkpoint.
//!
//! Integers are varints; `start`, `assignor`, `process` as in `event.rs`. A moment is `clock · boot`.
//!
//! | kind | id                    | row                                                                             |
//! |------|-----------------------|---------------------------------------------------------------------------------|
//! | 32   | 0                     | number of the clock · 16 boot id · u64 time namespace · boot when it began       |
//! | 33   | group                 | slice(name) · stream · start · assignor · generation · partitions                |
//! | 34   | group << 10, seat − 1 | process · joined · changed · session timeout · rebalance timeout · moment ·      |
//! |      |                       | u8: 1 if it died, 2 if it fell silent, else 0 · moment when it did, if so ·      |
//! |      |                       | slice(id)                                                                       |
//! | 35   | group << 6, chunk     | per partition: owner · target · epoch · committed offset + 1, or 0 · moment      |
//! |      |                       | since when it is being revoked, if it is                                         |
//!
//! `joined` and `changed` are the generations in which a member joined, and in which something changed for it last.
//!
//! A chunk has the claims on 64 partitions. Those that its row does not reach to, or that have no row, are on
//! partitions that were never anybody's.

use super::command::Process;
use super::event::{
    process_number, put_identity, put_options, take_boot, take_identity, take_options, take_partitions, take_process,
};
use super::state::{Cells, Claim, Clock, Group, Groups, Member, Moment, NOBODY, SEAT_MAX, Seat, take_seat};
use crate::base::bounds::{CLAIMS_PER_ROW, NAME_BYTES_MAX, PARTITION_BITS, PARTITIONS_MAX, ROW_BYTES_MAX, SEAT_BITS};
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::row::RowKey;
use crate::base::time::ClockIdentity;

const KIND_CLOCK: u8 = 32;
const KIND_GROUP: u8 = 33;
const KIND_MEMBER: u8 = 34;
const KIND_CLAIMS: u8 = 35;

/// Bits of a row's id in which the number of a chunk fits.
const CHUNK_BITS: u32 = (PARTITIONS_MAX / CLAIMS_PER_ROW).trailing_zeros();

const ALIVE: u8 = 0;
const DIED: u8 = 1;
const SILENT: u8 = 2;

const MOMENT_BYTES_MAX: usize = 10 + 10;
const CLAIM_BYTES_MAX: usize = 2 + 2 + 10 + 10 + MOMENT_BYTES_MAX;

const _: () = {
    assert!(PARTITIONS_MAX.is_multiple_of(CLAIMS_PER_ROW) && (PARTITIONS_MAX / CLAIMS_PER_ROW).is_power_of_two());
    assert!(CHUNK_BITS <= PARTITION_BITS && SEAT_BITS <= PARTITION_BITS && SEAT_MAX <= 1 << SEAT_BITS);
    assert!(CLAIMS_PER_ROW as usize * CLAIM_BYTES_MAX <= ROW_BYTES_MAX);
    assert!(NAME_BYTES_MAX + 5 * 10 + 2 * MOMENT_BYTES_MAX + 16 <= ROW_BYTES_MAX);
};

pub(super) const CLOCK: RowKey = RowKey { kind: KIND_CLOCK, id: 0 };

pub(crate) const fn group_row(group: u64) -> RowKey {
    RowKey { kind: KIND_GROUP, id: group }
}

pub(crate) const fn member_row(group: u64, seat: Seat) -> RowKey {
    assert!(seat != NOBODY && group <= u64::MAX >> PARTITION_BITS, "both fit beside each other");
    RowKey { kind: KIND_MEMBER, id: group << SEAT_BITS | (seat as u64 - 1) }
}

/// The row of the claim on a partition.
pub(crate) const fn claims_row(group: u64, partition: u32) -> RowKey {
    assert!(partition < PARTITIONS_MAX && group <= u64::MAX >> PARTITION_BITS, "both fit beside each other");
    RowKey { kind: KIND_CLAIMS, id: group << CHUNK_BITS | (partition / CLAIMS_PER_ROW) as u64 }
}

/// The group that has this row, if it is one with a timer.
pub(crate) fn number_of_row(key: RowKey) -> Option<u64> {
    (key.kind == KIND_GROUP).then_some(key.id)
}

/// Whether rows of groups are of this kind.
pub(crate) fn is_kind(kind: u8) -> bool {
    (KIND_CLOCK..=KIND_CLAIMS).contains(&kind)
}

/// The keys of all rows that there may be.
#[cfg(all(test, not(loom)))]
pub(crate) fn row_keys(groups: &Groups) -> Vec<RowKey> {
    let mut keys = vec![CLOCK];
    for (number, group) in groups.starting_at(0) {
        keys.push(group_row(number));
        keys.extend(group.members().map(|(seat, _)| member_row(number, seat)));
        keys.extend((0..group.partitions()).step_by(CLAIMS_PER_ROW as usize).map(|at| claims_row(number, at)));
    }
    keys
}

/// A row as it stands now.
pub(crate) fn row(groups: &Groups, key: RowKey) -> Option<Vec<u8>> {
    match key.kind {
        KIND_CLOCK if key == CLOCK => Some(encode_clock(groups.clock())),
        KIND_GROUP => groups.get(key.id).map(encode_group),
        KIND_MEMBER => groups.get(key.id >> SEAT_BITS)?.at(seat_of(key)).map(encode_member),
        KIND_CLAIMS => {
            let group = groups.get(key.id >> CHUNK_BITS)?;
            chunk_of(key, group).map(|chunk| encode_claims(group, chunk))
        }
        _ => None,
    }
}

/// Takes a row back, after those of streams. Rows come in the order of their keys.
pub(crate) fn load(groups: &mut Groups, key: RowKey, row: &[u8]) -> Result<(), Malformed> {
    let take = Take::new(row);
    match key.kind {
        KIND_CLOCK if key == CLOCK => *groups.clock_mut() = decode_clock(take)?,
        KIND_GROUP => {
            let group = decode_group(take)?;
            if groups.get(key.id).is_some() || groups.find(group.stream, &group.name).is_some() {
                return Err(Malformed("a group with a number or a name that cannot be its own"));
            }
            groups.open(key.id, group);
        }
        KIND_MEMBER => {
            let member = decode_member(take)?;
            let group = existing(groups, key.id >> SEAT_BITS)?;
            group.restore_member(seat_of(key), member)?;
        }
        KIND_CLAIMS => {
            let group = existing(groups, key.id >> CHUNK_BITS)?;
            let chunk = chunk_of(key, group).ok_or(Malformed("claims on partitions that there are not"))?;
            decode_claims(group, chunk, take)?;
        }
        _ => return Err(Malformed("a row of no kind that groups have")),
    }
    Ok(())
}

fn existing(groups: &mut Groups, number: u64) -> Result<&mut Group, Malformed> {
    match groups.get(number) {
        Some(_) => Ok(groups.group_mut(number)),
        None => Err(Malformed("a member or a claim without its group")),
    }
}

fn seat_of(key: RowKey) -> Seat {
    (key.id & ((1 << SEAT_BITS) - 1)) as Seat + 1
}

/// The partitions of a chunk.
fn chunk_of(key: RowKey, group: &Group) -> Option<std::ops::Range<u32>> {
    let first = (key.id & ((1 << CHUNK_BITS) - 1)) as u32 * CLAIMS_PER_ROW;
    (first < group.partitions()).then(|| first..group.partitions().min(first + CLAIMS_PER_ROW))
}

impl Group {
    fn restore_member(&mut self, seat: Seat, member: Member) -> Result<(), Malformed> {
        let is_of_group = seat <= SEAT_MAX && member.joined <= self.generation && member.changed <= self.generation;
        if !is_of_group || self.at(seat).is_some() {
            return Err(Malformed("a member that its group cannot have"));
        }
        self.seats.resize_with(self.seats.len().max(seat as usize), || None);
        self.seats[seat as usize - 1] = Some(member);
        Ok(())
    }

    fn restore_claim(&mut self, partition: u32, claim: Claim, since: Option<Moment>) -> Result<(), Malformed> {
        let is_seated = |seat: Seat| seat == NOBODY || self.at(seat).is_some();
        if claim.epoch > self.generation || !is_seated(claim.owner) || !is_seated(claim.target) {
            return Err(Malformed("a claim of who is no member"));
        }
        self.claims[partition as usize] = claim;
        self.revoking.extend(since.map(|since| (partition, since)));
        Ok(())
    }
}

fn encode_clock(clock: &Clock) -> Vec<u8> {
    let mut row = vec![0; varint_len(clock.number) + 16 + 8 + varint_len(clock.began.0)];
    let mut out = Put::new(&mut row);
    out.varint(clock.number);
    put_identity(&clock.identity, &mut out);
    out.varint(clock.began.0);
    row
}

fn decode_clock(mut take: Take<'_>) -> Result<Clock, Malformed> {
    let (number, identity): (u64, ClockIdentity) = (take.varint()?, take_identity(&mut take)?);
    let clock = Clock { number, identity, began: take_boot(&mut take)? };
    take.end()?;
    Ok(clock)
}

fn encode_group(group: &Group) -> Vec<u8> {
    let (stream, partitions) = (group.stream, u64::from(group.partitions()));
    let integers_len: usize = [stream, group.generation, partitions].map(varint_len).into_iter().sum();
    let mut row = vec![0; slice_len(group.name.len()) + integers_len + 2];
    let mut out = Put::new(&mut row);
    out.slice(group.name.as_bytes());
    out.varint(stream);
    put_options(group.start, group.assignor, &mut out);
    out.varints([group.generation, partitions]);
    assert_eq!(out.remaining(), 0, "a row is as long as was foretold");
    row
}

fn decode_group(mut take: Take<'_>) -> Result<Group, Malformed> {
    let (name, stream) = (take.text()?, take.varint()?);
    let (start, assignor) = take_options(&mut take)?;
    let (generation, partitions) = (take.varint()?, take_partitions(&mut take)?);
    take.end()?;
    let created = super::event::Created { group: 0, stream, partitions, start, assignor, name };
    Ok(Group { generation, ..Group::new(&created) })
}

fn encode_member(member: &Member) -> Vec<u8> {
    let timeouts = [member.session_timeout_micros, member.rebalance_timeout_micros];
    let touched = [member.touched.clock, member.touched.boot.0];
    let process = process_number(member.process);
    let head = [process, member.joined, member.changed, timeouts[0], timeouts[1], touched[0], touched[1]];
    let (standing, since) = match (member.died, member.silent) {
        (Some(died), _) => (DIED, Some(died)),
        (None, Some(silent)) => (SILENT, Some(silent)),
        (None, None) => (ALIVE, None),
    };
    let since: Vec<u64> = since.iter().flat_map(|since| [since.clock, since.boot.0]).collect();
    let integers_len: usize = head.iter().chain(&since).map(|integer| varint_len(*integer)).sum();
    let id = member.id.as_deref().unwrap_or_default();
    let mut row = vec![0; integers_len + 1 + slice_len(id.len())];
    let mut out = Put::new(&mut row);
    out.varints(head);
    out.u8(standing);
    since.iter().for_each(|integer| out.varint(*integer));
    out.slice(id.as_bytes());
    assert_eq!(out.remaining(), 0, "a row is as long as was foretold");
    row
}

fn decode_member(mut take: Take<'_>) -> Result<Member, Malformed> {
    let process: Process = take_process(&mut take)?;
    let (joined, changed) = (take.varint()?, take.varint()?);
    let (session_timeout_micros, rebalance_timeout_micros) = (take.varint()?, take.varint()?);
    let touched = take_moment(&mut take)?;
    let (died, silent) = match take.u8()? {
        ALIVE => (None, None),
        DIED => (Some(take_moment(&mut take)?), None),
        SILENT => (None, Some(take_moment(&mut take)?)),
        _ => return Err(Malformed("neither dead nor alive")),
    };
    let id = Some(take.text()?).filter(|id| !id.is_empty()).map(Box::from);
    take.end()?;
    Ok(Member { process, id, joined, changed, session_timeout_micros, rebalance_timeout_micros, touched, silent, died })
}

fn take_moment(take: &mut Take<'_>) -> Result<Moment, Malformed> {
    Ok(Moment { clock: take.varint()?, boot: take_boot(take)? })
}

fn encode_claims(group: &Group, chunk: std::ops::Range<u32>) -> Vec<u8> {
    let mut integers = Vec::new();
    for partition in chunk {
        let claim = &group.claims()[partition as usize];
        let committed = claim.committed.map_or(0, |offset| offset + 1);
        integers.extend([u64::from(claim.owner), u64::from(claim.target), claim.epoch, committed]);
        integers.extend(group.revoking.get(&partition).iter().flat_map(|since| [since.clock, since.boot.0]));
    }
    let mut row = vec![0; integers.iter().map(|integer| varint_len(*integer)).sum()];
    let mut out = Put::new(&mut row);
    integers.iter().for_each(|integer| out.varint(*integer));
    row
}

fn decode_claims(group: &mut Group, chunk: std::ops::Range<u32>, mut take: Take<'_>) -> Result<(), Malformed> {
    for partition in chunk {
        if take.remaining() == 0 {
            break;
        }
        let (owner, target) = (take_seat(&mut take)?, take_seat(&mut take)?);
        let (epoch, committed) = (take.varint()?, take.varint()?.checked_sub(1));
        let claim = Claim { owner, target, epoch, committed };
        let since = if claim.is_revoked() { Some(take_moment(&mut take)?) } else { None };
        group.restore_claim(partition, claim, since)?;
    }
    take.end()
}
