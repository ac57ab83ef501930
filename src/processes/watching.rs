//! What a member of a consumer group has to know: what it owns, if that is not what it knows, else which of its logs
//! have records.
//!
//! One question asks for both, so that a member waits for both in one place, wherever the host is.
//!
//! ```text
//! watch      member · known · waits u8 · count of logs · per log log · next offset
//! nothing    0 u8
//! over       1 u8
//! owned      2 u8 · changed · count of partitions · partitions
//!   one      partition · log · epoch · committed (option u8, offset) · revoked u8
//! ready      3 u8 · count · places in the list that was asked with
//! ```

use crate::base::bounds::{FREEZE_CHUNK, PARTITION_BITS, PARTITIONS_MAX};
use crate::base::codec::{Malformed, Take};
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::sync::Arc;
use crate::base::time::BootTime;
use crate::engine::fault::Fault;
use crate::engine::{Engine, Refused, micros_left};
use crate::primitives::streams::groups::{MemberHandle, Owned, claims_row, member_row};
use crate::primitives::{Primitives, Refusal};

use super::link::{Link, Station, answered};
use super::operation::{Kind, Question};
use super::questions::{put_list, take_list, unreadable};
use super::server::Host;
use super::waiting::{Line, Waiting};
use super::wire::{Out, take_option};

/// No log, and so no group, has a higher number.
const LOG_MAX: u64 = u64::MAX >> PARTITION_BITS;

type Answered<T> = Result<T, Refused<Refusal>>;

/// Asks what is new for a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WatchMember {
    pub(crate) member: MemberHandle,
    /// The generation of what it knows of its partitions; 0 if it knows nothing.
    pub(crate) known: u64,
    /// The answer waits until something is.
    pub(crate) waits: bool,
    /// Logs of which it wants records, each with the next offset.
    pub(crate) logs: Vec<(LogId, u64)>,
}

/// What is new for a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum MemberNews {
    Nothing,
    /// It is a member no longer.
    Over,
    /// It owns these partitions, since this generation.
    Owned {
        changed: u64,
        partitions: Vec<OwnedLog>,
    },
    /// There is something to read, or to learn, in the logs in these places of the list. At least one.
    Ready(Vec<u32>),
}

/// A partition that a member owns, and its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OwnedLog {
    pub(crate) log: LogId,
    pub(crate) owned: Owned,
}

impl WatchMember {
    fn row(&self) -> RowKey {
        member_row(self.member.group, self.member.seat)
    }

    /// What is new of the member itself, and what that rests on.
    fn look_at_member(&self, machine: &Primitives, rests_on: &mut dyn FnMut(RowKey)) -> Option<MemberNews> {
        let handle = self.member;
        let group = machine.streams.groups().get(handle.group);
        let Some((group, member)) = group.and_then(|group| Some((group, group.member(handle)?))) else {
            rests_on(self.row());
            return Some(MemberNews::Over);
        };
        if member.changed == self.known {
            return None;
        }
        rests_on(self.row());
        let stream = machine.streams.by_id(group.stream).expect("a group goes with its stream");
        let mut last_row = None;
        let partition = |owned: Owned| {
            let row = claims_row(handle.group, owned.partition);
            if last_row.replace(row) != Some(row) {
                rests_on(row);
            }
            OwnedLog { log: stream.head().log(owned.partition), owned }
        };
        let partitions = group.owned(handle.seat).map(partition).collect();
        Some(MemberNews::Owned { changed: member.changed, partitions })
    }

    /// What is new now, if anything is.
    pub(crate) fn look(&self, engine: &Engine<Primitives>) -> Result<Option<MemberNews>, Fault> {
        if let Some(news) = engine.observe(|machine, rests_on| self.look_at_member(machine, rests_on))? {
            return Ok(Some(news));
        }
        let mut ready = Vec::new();
        for (chunk, first) in self.logs.chunks(FREEZE_CHUNK).zip((0..).step_by(FREEZE_CHUNK)) {
            let logs = |_: &Primitives| chunk.iter().map(|(log, _)| *log).collect();
            engine.inspect_logs(logs, |_, extents| {
                let has_news = |((_, from), extent): &(&(LogId, u64), &Option<crate::engine::Extent>)| {
                    extent.is_none_or(|extent| extent.end > *from || extent.start > *from)
                };
                let places = (first..).zip(chunk.iter().zip(extents));
                ready.extend(places.filter(|(_, log)| has_news(log)).map(|(place, _)| place));
            })?;
        }
        Ok((!ready.is_empty()).then_some(MemberNews::Ready(ready)))
    }

    /// `None` if there is something new already.
    pub(super) fn wait(&self, engine: &Arc<Engine<Primitives>>) -> Result<Option<Waiting>, Fault> {
        let look = |machine: &Primitives, rests_on: &mut dyn FnMut(RowKey)| self.look_at_member(machine, rests_on);
        let Some(first) = Line::of_object(engine, self.row(), look)? else { return Ok(None) };
        let mut rest = Vec::with_capacity(self.logs.len());
        for (log, from) in &self.logs {
            let Some(line) = Line::of_log(engine, *log, *from)? else { return Ok(None) };
            rest.push(line);
        }
        Ok(Some(Waiting::in_lines(first, rest)))
    }
}

impl Question for WatchMember {
    const KIND: Kind = Kind::WatchMember;
    type Answer = MemberNews;

    /// Does not wait, whatever was asked: who waits does so in its own way.
    fn answer(&self, host: &Host) -> Answered<MemberNews> {
        Ok(self.look(&host.engine)?.unwrap_or(MemberNews::Nothing))
    }

    fn put(&self, out: &mut Out) {
        self.member.fields().into_iter().for_each(|field| out.varint(field));
        out.varint(self.known);
        out.bool(self.waits);
        put_list(&self.logs, out, |out, (log, from)| {
            out.varint(log.0);
            out.varint(*from);
        });
    }

    fn take(take: &mut Take<'_>) -> Result<WatchMember, Malformed> {
        let (member, known, waits) = (MemberHandle::decode(take)?, take.varint()?, take.u8()? == 1);
        let logs = take_list(take, |take| Ok((LogId(take.varint()?), take.varint()?)))?;
        if logs.len() > PARTITIONS_MAX as usize || member.group > LOG_MAX {
            return Err(Malformed("more than a stream has partitions, or a number that no group has"));
        }
        Ok(WatchMember { member, known, waits, logs })
    }

    fn put_answer(news: &MemberNews, out: &mut Out) {
        match news {
            MemberNews::Nothing => out.u8(0),
            MemberNews::Over => out.u8(1),
            MemberNews::Owned { changed, partitions } => {
                out.u8(2);
                out.varint(*changed);
                put_list(partitions, out, |out, OwnedLog { log, owned }| {
                    out.varint(u64::from(owned.partition));
                    out.varint(log.0);
                    out.varint(owned.epoch);
                    out.option(owned.committed, Out::varint);
                    out.bool(owned.is_revoked);
                });
            }
            MemberNews::Ready(places) => {
                out.u8(3);
                put_list(places, out, |out, place| out.varint(u64::from(*place)));
            }
        }
    }

    fn take_answer(take: &mut Take<'_>) -> Result<MemberNews, Malformed> {
        match take.u8()? {
            0 => Ok(MemberNews::Nothing),
            1 => Ok(MemberNews::Over),
            2 => {
                let changed = take.varint()?;
                let partitions = take_list(take, |take| {
                    let (partition, log, epoch) = (take.varint32()?, LogId(take.varint()?), take.varint()?);
                    let committed = take_option(take, Take::varint)?;
                    let owned = Owned { partition, epoch, committed, is_revoked: take.u8()? == 1 };
                    Ok(OwnedLog { log, owned })
                })?;
                Ok(MemberNews::Owned { changed, partitions })
            }
            3 => take_list(take, Take::varint32).map(MemberNews::Ready),
            _ => Err(Malformed("news that there are not")),
        }
    }
}

impl Link {
    /// Asks what is new for a member, and waits until something is; `Nothing` once the deadline has passed.
    pub(crate) fn watch_waiting(&self, watch: &WatchMember, deadline: Option<BootTime>) -> Answered<MemberNews> {
        let waiting = WatchMember { waits: true, ..watch.clone() };
        loop {
            let Ok(left) = micros_left(deadline) else { return self.ask(&WatchMember { waits: false, ..waiting }) };
            match self.station()? {
                Station::Host(station) => {
                    let engine = station.engine();
                    if let Some(news) = watch.look(engine)? {
                        return Ok(news);
                    }
                    if let Some(waiting) = watch.wait(engine)? {
                        waiting.sleep(left);
                    }
                }
                Station::Attached(client) => {
                    let asked = client.begin(&waiting).and_then(|pending| pending.wait(deadline));
                    if let Some(bytes) = answered(asked) {
                        return bytes?.map_or(Ok(MemberNews::Nothing), |bytes| taken(&bytes));
                    }
                }
            }
        }
    }

    /// The same for a future, without a deadline.
    pub(crate) async fn watch_async(&self, watch: &WatchMember) -> Answered<MemberNews> {
        let waiting = WatchMember { waits: true, ..watch.clone() };
        loop {
            match self.station()? {
                Station::Host(station) => {
                    if let Some(news) = watch.look(station.engine())? {
                        return Ok(news);
                    }
                    if let Some(waiting) = watch.wait(station.engine())? {
                        waiting.await;
                    }
                }
                Station::Attached(client) => {
                    let bytes = match client.begin(&waiting) {
                        Ok(pending) => pending.await,
                        Err(unasked) => Err(unasked),
                    };
                    if let Some(bytes) = answered(bytes) {
                        return taken(&bytes?);
                    }
                }
            }
        }
    }
}

fn taken(bytes: &[u8]) -> Answered<MemberNews> {
    Ok(WatchMember::take_answer(&mut Take::new(bytes)).map_err(unreadable)?)
}
