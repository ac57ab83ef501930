//! Consumer groups beside the model: what is asked of them, and what it must be answered with.
//!
//! Who gets which partition is the engine's choice. So the model takes over what the engine has come to, once
//! `rebalance.rs` has found nothing wrong with it, and the writes since the open hold each such state: what is found
//! after a crash must be one of them. All else, which commits are stored say, the model says beforehand.

use std::collections::BTreeMap;

use super::history::{Change, GroupContents, GroupsContents};
use super::rebalance::{Cause, check_rebalance};
use super::world::{Answer, Done, Stop, World, command, handle};
use crate::base::level::Level;
use crate::base::lsn::Lsn;
use crate::engine::{Engine, Refused, Submitted};
use crate::primitives::sessions::Request;
use crate::primitives::streams::groups::{
    Command as OfGroups, Commit, Group, GroupOptions, Held, Join, MemberHandle, Position, Process, Refusal, Reply,
};
use crate::primitives::streams::{Command, Refusal as StreamRefusal, Reply as StreamReply, StreamHandle};
use crate::primitives::{self, Once, Primitives};

/// What is asked of groups, to be asked again.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Ask {
    Open { stream: String, name: &'static str, options: GroupOptions },
    Delete { group: u64 },
    Join { group: u64, id: Option<&'static str>, session_timeout_micros: u64, rebalance_timeout_micros: u64 },
    Leave(MemberHandle),
    Abandon(MemberHandle),
    Touch(MemberHandle),
    Commit { member: MemberHandle, positions: Vec<Position>, released: Vec<Held> },
    Reset { group: u64, offsets: Vec<(u32, u64)> },
    Adopt(Process),
    BeginLife,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum By {
    Host,
    /// The attached process, by its next request.
    Attached,
    /// The same by a request that it made before.
    Again(Request),
}

/// What an ask must be answered with.
#[derive(PartialEq, Debug)]
pub(super) enum Due {
    Reply(Reply),
    /// A group that there was not.
    NewGroup,
    Joined,
    /// Done, and something may be left of it.
    Begun,
    Refused(Refusal),
    Mismatch,
    NoSuchStream,
}

/// What the model knew before, if the ask was not refused.
pub(super) type Answered = Option<Reply>;

impl Ask {
    fn command<'a>(&'a self, stream: StreamHandle, process: Process) -> OfGroups<'a> {
        match self {
            Ask::Open { name, options, .. } => OfGroups::Open { stream, name, options: *options },
            Ask::Delete { group } => OfGroups::Delete { group: *group },
            Ask::Join { group, id, session_timeout_micros, rebalance_timeout_micros } => OfGroups::Join(Join {
                group: *group,
                process,
                member_id: *id,
                session_timeout_micros: *session_timeout_micros,
                rebalance_timeout_micros: *rebalance_timeout_micros,
            }),
            Ask::Leave(member) => OfGroups::Leave { member: *member },
            Ask::Abandon(member) => OfGroups::Abandon { member: *member },
            Ask::Touch(member) => OfGroups::Touch { member: *member },
            Ask::Commit { member, positions, released } => {
                OfGroups::Commit(Commit { member: *member, positions, released })
            }
            Ask::Reset { group, offsets } => OfGroups::Reset { group: *group, offsets },
            Ask::Adopt(process) => OfGroups::Adopt { process: *process },
            Ask::BeginLife => OfGroups::BeginLife,
        }
    }

    /// The member that it is of.
    pub(super) fn member(&self) -> Option<MemberHandle> {
        match self {
            Ask::Leave(member) | Ask::Abandon(member) | Ask::Touch(member) => Some(*member),
            Ask::Commit { member, .. } => Some(*member),
            _ => None,
        }
    }
}

impl World {
    /// Asks, holds the answer against the model, and enters what came of it. Tells the reply.
    pub(super) fn ask(
        &mut self,
        engine: &Engine<Primitives>,
        ask: Ask,
        level: Level,
        by: By,
    ) -> Result<Answered, Stop> {
        let due = self.due_answer(&ask);
        self.tell(format_args!("{ask:?} {by:?} {level:?}: {due:?}"));
        let stream = match &ask {
            Ask::Open { stream, .. } if self.now().streams.contains_key(stream) => handle(engine, stream)?,
            _ => StreamHandle { slot: 0, id: u64::MAX >> 20 },
        };
        let answer = self.send_by(engine, Command::Groups(ask.command(stream, Process::Host)), level, true, by);
        if let Some(sending) = &mut self.sending {
            sending.ask = Some(ask.clone());
        }
        match answer {
            Answer::Reply(StreamReply::Groups(reply), lsn, end) => {
                self.check_reply(&reply, &due, &ask)?;
                // What changes nothing is answered with an address that is durable already.
                let is_stored = end > lsn && lsn >= self.issued;
                let groups = groups_of(engine)?;
                self.check_groups(&groups, &Cause::Ask(&ask, &reply))?;
                if is_stored {
                    self.stored(level, lsn, end, Change::Grouped { change: None, groups: Some(groups) })?;
                } else if groups != self.now().groups {
                    return Err(Stop::Wrong(format!("{ask:?} changed something without a frame")));
                }
                Ok(Some(reply))
            }
            Answer::Refused(refusal) if due.is_refused_by(&refusal) => Ok(None),
            Answer::Fault(fault) => {
                let unknown = Change::Grouped { change: None, groups: None };
                self.fault(engine, fault, Some(unknown))?;
                Ok(None)
            }
            Answer::Reply(reply, ..) => Err(Stop::Wrong(format!("{ask:?} is answered {reply:?}, due is {due:?}"))),
            Answer::Refused(refusal) => Err(Stop::Wrong(format!("{ask:?} is refused by {refusal:?}: {due:?}"))),
            Answer::Other => Err(Stop::Wrong(format!("{ask:?} is answered as if it were of a session: {due:?}"))),
        }
    }

    /// A change of something else was stored in which groups may have changed too.
    pub(super) fn stored_with_groups(
        &mut self,
        engine: &Engine<Primitives>,
        level: Level,
        (lsn, end): (Lsn, Lsn),
        change: Change,
        cause: &Cause<'_>,
    ) -> Done {
        let groups = groups_of(engine)?;
        self.check_groups(&groups, cause)?;
        self.stored(level, lsn, end, Change::Grouped { change: Some(Box::new(change)), groups: Some(groups) })
    }

    /// As `stored`, of a change of a stream in which its groups may have changed too.
    pub(super) fn stored_of_stream(
        &mut self,
        engine: &Engine<Primitives>,
        level: Level,
        place: (Lsn, Lsn),
        change: Change,
    ) -> Done {
        match change.clone() {
            Change::Delete { name } => {
                self.stored_with_groups(engine, level, place, change, &Cause::StreamDeleted(&name))
            }
            Change::AddPartitions { name, count } => {
                let partitions = self.now().streams[&name].options.partitions + count;
                self.stored_with_groups(engine, level, place, change, &Cause::StreamGrown(&name, partitions))
            }
            _ => self.stored(level, place.0, place.1, change),
        }
    }

    /// Asks by a request that was applied before.
    pub(super) fn ask_anew(
        &mut self,
        engine: &Engine<Primitives>,
        ask: &Ask,
        level: Level,
        request: Request,
    ) -> Result<Submitted<primitives::Reply>, Refused<primitives::Refusal>> {
        self.tell(format_args!("again {request:?} {ask:?} {level:?}, remembered"));
        // Which stream is not looked at any more.
        let asked = command(Command::Groups(ask.command(StreamHandle { slot: 0, id: 0 }, Process::Host)));
        engine.submit(&primitives::Command::Once(Once { request, command: &asked }), level, None)
    }

    /// Members that were in the process of an earlier host are over. Under another boot clock all time counts anew.
    pub(super) fn begin_life(&mut self, engine: &Engine<Primitives>) -> Done {
        self.sending = None;
        while self.ask(engine, Ask::BeginLife, Level::Buffered, By::Host)? == Some(Reply::More) {}
        if std::mem::take(&mut self.is_rebooted) {
            self.lapses.count_anew(&self.history.now().groups, self.elapsed);
        }
        Ok(())
    }

    /// Enters what the timers have made of groups.
    pub(super) fn ticked_groups(&mut self, engine: &Engine<Primitives>) -> Result<GroupsContents, Stop> {
        let mut groups = groups_of(engine)?;
        if groups == self.now().groups {
            return Ok(GroupsContents::new());
        }
        self.check_groups(&groups, &Cause::Tick)?;
        let before = &self.history.now().groups;
        groups.retain(|number, group| before.get(number) != Some(group));
        Ok(groups)
    }

    fn check_groups(&mut self, after: &GroupsContents, cause: &Cause<'_>) -> Done {
        let before = &self.history.now().groups;
        let checked = check_rebalance(before, after, cause, &self.lapses, self.elapsed);
        let checked = checked.and_then(|()| self.check_committed(after));
        if let Err(reason) = checked {
            return Err(Stop::Wrong(format!("{cause:?}: {reason}\nbefore: {before:#?}\nafter: {after:#?}")));
        }
        self.lapses.note(before, after, cause, self.elapsed);
        Ok(())
    }

    /// No committed offset is behind the end of its partition.
    fn check_committed(&self, groups: &GroupsContents) -> Result<(), String> {
        for contents in groups.values() {
            let Some(stream) = self.now().streams.get(&contents.stream) else { continue };
            for (claim, partition) in contents.group.claims().iter().zip(&stream.partitions) {
                if claim.committed.is_some_and(|committed| committed > partition.end()) {
                    return Err(format!("{claim:?} is committed behind the end at {}", partition.end()));
                }
            }
        }
        Ok(())
    }

    fn check_reply(&self, reply: &Reply, due: &Due, ask: &Ask) -> Done {
        let now = &self.now().groups;
        let is_due = match (reply, due) {
            (Reply::Group { group }, Due::NewGroup) => !now.contains_key(group),
            (Reply::Joined(handle), Due::Joined) => {
                let group = &now[&handle.group].group;
                group.at(handle.seat).is_none() && handle.joined > group.generation
            }
            (Reply::Done | Reply::More, Due::Begun) => true,
            (reply, Due::Reply(due)) => reply == due,
            _ => false,
        };
        if is_due { Ok(()) } else { Err(Stop::Wrong(format!("{ask:?} is answered {reply:?}, due is {due:?}"))) }
    }

    /// What an ask comes to now: the rules, the naive way.
    pub(super) fn due_answer(&self, ask: &Ask) -> Due {
        let group = |number: &u64| self.now().groups.get(number);
        if let Some(member) = ask.member() {
            match group(&member.group) {
                None => return Due::Refused(Refusal::NotFound),
                Some(of) if of.group.member(member).is_none() => return Due::Refused(Refusal::NotAMember),
                Some(_) => {}
            }
        }
        match ask {
            Ask::Open { stream, name, options } => self.due_group(stream, name, options),
            Ask::Adopt(_) => Due::Reply(Reply::Done),
            Ask::BeginLife => Due::Begun,
            Ask::Leave(_) | Ask::Abandon(_) | Ask::Touch(_) => Due::Reply(Reply::Done),
            Ask::Commit { member, positions, .. } => {
                let offsets = positions.iter().map(|position| (position.partition, position.offset));
                if let Some(refusal) = self.beyond_end(&self.now().groups[&member.group], offsets) {
                    return Due::Refused(refusal);
                }
                let is_fenced = |position: &&Position| !self.is_owner(*member, position.partition, position.epoch);
                let fenced = positions.iter().filter(is_fenced).map(|position| position.partition).collect();
                Due::Reply(Reply::Committed { fenced })
            }
            Ask::Delete { group: number } | Ask::Join { group: number, .. } | Ask::Reset { group: number, .. } => {
                let Some(contents) = group(number) else { return Due::Refused(Refusal::NotFound) };
                match ask {
                    Ask::Join { .. } => Due::Joined,
                    Ask::Reset { offsets, .. } => match self.beyond_end(contents, offsets.iter().copied()) {
                        Some(refusal) => Due::Refused(refusal),
                        None => Due::Reply(Reply::Done),
                    },
                    _ => match contents.group.members().filter(|(_, member)| member.is_alive()).count() as u64 {
                        0 => Due::Reply(Reply::Done),
                        members => Due::Refused(Refusal::InUse { members }),
                    },
                }
            }
        }
    }

    fn due_group(&self, stream: &str, name: &str, options: &GroupOptions) -> Due {
        if !self.now().streams.contains_key(stream) {
            return Due::NoSuchStream;
        }
        let found = self.now().groups.iter().find(|(_, of)| of.stream == *stream && *of.group.name == *name);
        let Some((number, found)) = found else { return Due::NewGroup };
        let is_other = options.start.is_some_and(|start| start != found.group.start)
            || options.assignor.is_some_and(|assignor| assignor != found.group.assignor);
        if is_other { Due::Mismatch } else { Due::Reply(Reply::Group { group: *number }) }
    }

    pub(super) fn is_owner(&self, member: MemberHandle, partition: u32, epoch: u64) -> bool {
        let group = self.now().groups.get(&member.group).filter(|of| of.group.member(member).is_some());
        let claim = group.and_then(|of| of.group.claims().get(partition as usize));
        claim.is_some_and(|claim| claim.owner == member.seat && claim.epoch == epoch)
    }

    fn beyond_end(&self, of: &GroupContents, mut offsets: impl Iterator<Item = (u32, u64)>) -> Option<Refusal> {
        let partitions = &self.now().streams[&of.stream].partitions;
        offsets.find_map(|(partition, offset)| {
            let (start, end) = (partitions[partition as usize].start, partitions[partition as usize].end());
            (offset > end).then_some(Refusal::BeyondEnd { partition, offset, start, end })
        })
    }
}

impl Due {
    fn is_refused_by(&self, refusal: &StreamRefusal) -> bool {
        match (refusal, self) {
            (StreamRefusal::Groups(told), Due::Refused(due)) => told == due,
            (StreamRefusal::Mismatch { .. }, Due::Mismatch) => true,
            (StreamRefusal::NotFound, Due::NoSuchStream) => true,
            _ => false,
        }
    }
}

/// Every group as the engine has it.
pub(super) fn groups_of(engine: &Engine<Primitives>) -> Result<GroupsContents, Stop> {
    let look = |machine: &Primitives| {
        let groups = machine.streams.groups();
        let tell = |(number, group): (u64, &Group)| {
            let stream = machine.streams.by_id(group.stream).expect("a group goes with its stream");
            let (stream, due) = (stream.head().name().to_owned(), groups.due(number));
            (number, GroupContents { stream, group: group.clone(), due })
        };
        groups.starting_at(0).map(tell).collect::<BTreeMap<_, _>>()
    };
    engine.inspect(look).map_err(|_| Stop::Poisoned)
}
