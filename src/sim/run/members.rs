//! Programs that are members of consumer groups, in the host's process or in the attached one. Each knows what its
//! polls have told it and reads on from there, record by record: what a group has consumed has been in somebody's
//! hands.

use std::collections::BTreeMap;

use super::groups::{Ask, By};
use super::world::{Done, Stop, World};
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::engine::Engine;
use crate::engine::read::{Cursor, Read};
use crate::primitives::Primitives;
use crate::primitives::sessions::SessionId;
use crate::primitives::streams::groups::{
    Assignor, GroupOptions, GroupStart, Held, MemberHandle, Position, Process, Reply,
};
use crate::processes::watching::{MemberNews, OwnedLog, WatchMember};

const GROUPS_MAX: usize = 4;
const CONSUMERS_MAX: usize = 7;
const GHOSTS_MAX: usize = 8;

/// One program.
#[derive(Debug)]
pub(super) struct Consumer {
    handle: MemberHandle,
    stream: String,
    process: Process,
    has_session_timeout: bool,
    /// The generation of what it knows of its partitions; 0: nothing.
    known: u64,
    shares: BTreeMap<u32, Share>,
}

/// A partition that it owns, as far as it knows.
#[derive(Clone, Copy, Debug)]
struct Share {
    log: LogId,
    epoch: u64,
    /// The next offset to read.
    position: u64,
    is_paused: bool,
    is_revoked: bool,
}

impl World {
    /// A program comes, goes, or does what members do.
    pub(super) fn consume(&mut self, engine: &Engine<Primitives>) -> Done {
        self.sending = None;
        if self.now().groups.is_empty() || self.random.chance(8) {
            return self.open_group(engine);
        }
        if self.consumers.is_empty() || self.random.chance(24) {
            return self.join(engine);
        }
        let at = self.random.below(self.consumers.len() as u64) as usize;
        match self.random.below(64) {
            0..=1 => self.leave(engine, at),
            2 => self.abandon(engine, at),
            3 => self.seek(engine, at),
            4 => self.pause(at),
            5..=6 => self.reset(engine),
            7 => self.delete_group(engine),
            8..=9 => self.commit_as_before(engine, at),
            10 => self.commit_beyond_end(engine, at),
            11..=30 => self.commit(engine, at),
            _ => self.poll(engine, at),
        }
    }

    fn open_group(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(stream) = self.any_stream() else { return Ok(()) };
        let name = self.random.pick(&["billing", "search"]);
        let exists = self.now().groups.values().any(|of| of.stream == stream && *of.group.name == *name);
        if self.now().groups.len() >= GROUPS_MAX && !exists {
            return Ok(());
        }
        let start = self.random.pick(&[None, None, Some(GroupStart::Earliest), Some(GroupStart::Latest)]);
        let assignor = self.random.pick(&[None, None, Some(Assignor::Uniform), Some(Assignor::Range)]);
        let (level, by) = (self.level(), self.any_process());
        let open = Ask::Open { stream, name, options: GroupOptions { start, assignor } };
        self.ask(engine, open, level, by).map(drop)
    }

    fn delete_group(&mut self, engine: &Engine<Primitives>) -> Done {
        let (group, level, by) = (self.any_group(), self.level(), self.any_process());
        self.ask(engine, Ask::Delete { group }, level, by).map(drop)
    }

    /// Of either process.
    fn any_process(&mut self) -> By {
        if self.attached.is_some() && self.random.chance(128) { By::Attached } else { By::Host }
    }

    fn any_group(&mut self) -> u64 {
        let numbers: Vec<u64> = self.now().groups.keys().copied().collect();
        numbers[self.random.below(numbers.len() as u64) as usize]
    }

    fn join(&mut self, engine: &Engine<Primitives>) -> Done {
        if self.consumers.len() >= CONSUMERS_MAX {
            return Ok(());
        }
        let group = self.any_group();
        let id = self.random.pick(&[None, None, Some("till-1"), Some("till-2")]);
        let timeouts = [0, 2_000_000, 45_000_000];
        let session_timeout_micros = self.random.pick(if id.is_some() { &timeouts[1..] } else { &timeouts });
        let rebalance_timeout_micros = self.random.pick(&[500_000, 60_000_000]);
        let (level, by) = (self.random.pick(&[Level::Buffered, Level::Sync]), self.any_process());
        let join = Ask::Join { group, id, session_timeout_micros, rebalance_timeout_micros };
        let Some(Reply::Joined(handle)) = self.ask(engine, join, level, by)? else { return Ok(()) };
        let contents = &self.now().groups[&group];
        let process = contents.group.member(handle).map(|member| member.process);
        let expected = match by {
            By::Attached => self.attached_process(),
            _ => Some(Process::Host),
        };
        if process != expected {
            return Err(Stop::Wrong(format!("{handle:?} is in {process:?}, and not in {expected:?}")));
        }
        let (stream, process) = (contents.stream.clone(), process.expect("it has just joined"));
        let has_session_timeout = session_timeout_micros > 0;
        let consumer = Consumer { handle, stream, process, has_session_timeout, known: 0, shares: BTreeMap::new() };
        self.consumers.push(consumer);
        Ok(())
    }

    fn leave(&mut self, engine: &Engine<Primitives>, at: usize) -> Done {
        let consumer = self.consumers.remove(at);
        let level = self.level();
        self.ask(engine, Ask::Leave(consumer.handle), level, consumer.by()).map(drop)
    }

    fn abandon(&mut self, engine: &Engine<Primitives>, at: usize) -> Done {
        let consumer = self.consumers.remove(at);
        self.ask(engine, Ask::Abandon(consumer.handle), Level::Buffered, consumer.by()).map(drop)
    }

    fn seek(&mut self, engine: &Engine<Primitives>, at: usize) -> Done {
        let Some(partition) = self.any_share(at) else { return Ok(()) };
        let contents = &self.history.now().streams[&self.consumers[at].stream].partitions[partition as usize];
        let visible = contents.visible_end(engine.positions().durable);
        let position = contents.start + self.random.below(visible.saturating_sub(contents.start) + 1);
        self.share(at, partition).position = position;
        Ok(())
    }

    fn pause(&mut self, at: usize) -> Done {
        if let Some(partition) = self.any_share(at) {
            let share = self.share(at, partition);
            share.is_paused = !share.is_paused;
        }
        Ok(())
    }

    fn any_share(&mut self, at: usize) -> Option<u32> {
        let partitions: Vec<u32> = self.consumers[at].shares.keys().copied().collect();
        let exists = !partitions.is_empty() && self.now().streams.contains_key(&self.consumers[at].stream);
        let exists = exists && self.now().groups.contains_key(&self.consumers[at].handle.group);
        exists.then(|| partitions[self.random.below(partitions.len() as u64) as usize])
    }

    fn share(&mut self, at: usize, partition: u32) -> &mut Share {
        self.consumers[at].shares.get_mut(&partition).expect("a share that was picked")
    }

    fn reset(&mut self, engine: &Engine<Primitives>) -> Done {
        let (group, level, by) = (self.any_group(), self.level(), self.any_process());
        let stream = self.now().groups[&group].stream.clone();
        let partition = self.any_partition(&stream);
        let end = self.now().streams[&stream].partitions[partition as usize].end();
        let offset = self.random.below(end + 2);
        self.ask(engine, Ask::Reset { group, offsets: vec![(partition, offset)] }, level, by).map(drop)
    }

    /// Commits where it has come to, in all of its partitions or in some.
    fn commit(&mut self, engine: &Engine<Primitives>, at: usize) -> Done {
        let is_all = self.random.chance(192);
        let Consumer { handle, ref shares, .. } = self.consumers[at];
        let position = |(partition, share): (&u32, &Share)| Position {
            partition: *partition,
            epoch: share.epoch,
            offset: share.position,
        };
        let mut positions: Vec<Position> = shares.iter().map(position).collect();
        if !is_all {
            positions.truncate(1);
        }
        let released = self.consumers[at].to_release();
        let (level, by) = (self.random.pick(&[Level::Buffered, Level::Sync]), self.consumers[at].by());
        let stored = self.ask(engine, Ask::Commit { member: handle, positions, released }, level, by)?;
        if stored.is_some() {
            self.give_up(at);
        }
        Ok(())
    }

    /// A commit of who has owned a partition and does not any more, or of an epoch that is over.
    fn commit_as_before(&mut self, engine: &Engine<Primitives>, at: usize) -> Done {
        let Consumer { handle, .. } = self.consumers[at];
        let of_group: Vec<Position> =
            self.ghosts.iter().filter(|(group, _)| *group == handle.group).map(|(_, position)| *position).collect();
        if of_group.is_empty() {
            return Ok(());
        }
        let mut positions = vec![self.random.pick(&of_group)];
        positions[0].offset = self.random.below(positions[0].offset + 1);
        let by = self.consumers[at].by();
        self.ask(engine, Ask::Commit { member: handle, positions, released: Vec::new() }, Level::Buffered, by).map(drop)
    }

    fn commit_beyond_end(&mut self, engine: &Engine<Primitives>, at: usize) -> Done {
        let Some(partition) = self.any_share(at) else { return Ok(()) };
        let Consumer { handle, ref stream, .. } = self.consumers[at];
        let end = self.history.now().streams[stream].partitions[partition as usize].end();
        let position = Position { partition, epoch: self.share(at, partition).epoch, offset: end + 1 };
        let commit = Ask::Commit { member: handle, positions: vec![position], released: Vec::new() };
        let by = self.consumers[at].by();
        self.ask(engine, commit, Level::Buffered, by).map(drop)
    }

    /// What it was told to give up is given up: what it commits of it from now on must be refused.
    fn give_up(&mut self, at: usize) {
        let Consumer { handle, ref mut shares, .. } = self.consumers[at];
        let revoked: Vec<(u32, Share)> = shares
            .iter()
            .filter(|(_, share)| share.is_revoked)
            .map(|(partition, share)| (*partition, *share))
            .collect();
        shares.retain(|_, share| !share.is_revoked);
        for (partition, share) in revoked {
            self.remember_ghost(handle, partition, share);
        }
    }

    fn remember_ghost(&mut self, handle: MemberHandle, partition: u32, share: Share) {
        if self.ghosts.len() == GHOSTS_MAX {
            self.ghosts.pop_front();
        }
        let position = Position { partition, epoch: share.epoch, offset: share.position };
        self.ghosts.push_back((handle.group, position));
    }

    /// Says that it lives, gives up what it was told to, and hears what is new: of its partitions, or records.
    fn poll(&mut self, engine: &Engine<Primitives>, at: usize) -> Done {
        let Consumer { handle, known, has_session_timeout, .. } = self.consumers[at];
        let by = self.consumers[at].by();
        if has_session_timeout {
            self.ask(engine, Ask::Touch(handle), Level::Buffered, by)?;
        }
        let released = self.consumers[at].to_release();
        if !released.is_empty() {
            let commit = Ask::Commit { member: handle, positions: Vec::new(), released };
            self.ask(engine, commit, Level::Buffered, by)?;
            self.give_up(at);
        }
        let is_read = |share: &&Share| !(share.is_paused || share.is_revoked);
        let logs = self.consumers[at].shares.values().filter(is_read).map(|share| (share.log, share.position));
        let watch = WatchMember { member: handle, known, waits: false, logs: logs.collect() };
        let news = match watch.look(engine) {
            Ok(news) => news.unwrap_or(MemberNews::Nothing),
            Err(fault) => return self.fault(engine, fault, None),
        };
        self.tell(format_args!("  {handle:?} is told {news:?}"));
        self.check_news(engine, at, &news)?;
        match news {
            MemberNews::Nothing => Ok(()),
            MemberNews::Over => {
                self.consumers.remove(at);
                Ok(())
            }
            MemberNews::Owned { changed, partitions } => self.take_over(at, changed, &partitions),
            MemberNews::Ready(places) => places.iter().try_for_each(|place| {
                let (log, _) = watch.logs[*place as usize];
                self.read_share(engine, at, log)
            }),
        }
    }

    /// What a member is told is what the model knows; it may be told nothing of what is not durable yet.
    fn check_news(&self, engine: &Engine<Primitives>, at: usize, news: &MemberNews) -> Done {
        let Consumer { handle, known, .. } = self.consumers[at];
        let positions = engine.positions();
        let is_all_shown = positions.durable >= positions.issued;
        let group = self.now().groups.get(&handle.group).map(|contents| &contents.group);
        let member = group.and_then(|group| group.member(handle));
        let is_right = match (news, group.zip(member)) {
            (MemberNews::Over, None) => true,
            (MemberNews::Owned { changed, partitions }, Some((group, member))) => {
                let owned = partitions.iter().map(|partition| partition.owned);
                *changed == member.changed && *changed != known && owned.eq(group.owned(handle.seat))
            }
            (MemberNews::Nothing | MemberNews::Ready(_), Some((_, member))) => member.changed == known || !is_all_shown,
            (MemberNews::Nothing | MemberNews::Ready(_), None) => !is_all_shown,
            _ => false,
        };
        if is_right { Ok(()) } else { Err(Stop::Wrong(format!("{handle:?}, {member:?}, is told {news:?}"))) }
    }

    /// A new owner begins at the committed offset; one that stays reads on where it was.
    fn take_over(&mut self, at: usize, changed: u64, partitions: &[OwnedLog]) -> Done {
        let Consumer { handle, .. } = self.consumers[at];
        self.consumers[at].known = changed;
        let mut before = std::mem::take(&mut self.consumers[at].shares);
        for OwnedLog { log, owned } in partitions {
            let earlier = before.remove(&owned.partition);
            let share = match earlier {
                Some(share) if share.epoch == owned.epoch => Share { is_revoked: owned.is_revoked, ..share },
                earlier => {
                    if let Some(earlier) = earlier {
                        self.remember_ghost(handle, owned.partition, earlier);
                    }
                    let (epoch, position) = (owned.epoch, owned.committed.unwrap_or(0));
                    let is_paused = earlier.is_some_and(|share| share.is_paused);
                    Share { log: *log, epoch, position, is_paused, is_revoked: owned.is_revoked }
                }
            };
            self.consumers[at].shares.insert(owned.partition, share);
        }
        before.into_iter().for_each(|(partition, share)| self.remember_ghost(handle, partition, share));
        Ok(())
    }

    fn read_share(&mut self, engine: &Engine<Primitives>, at: usize, log: LogId) -> Done {
        let found = self.consumers[at].shares.iter().find(|(_, share)| share.log == log);
        let (partition, from) = found.map(|(partition, share)| (*partition, share.position)).expect("it was asked for");
        self.learn_holes(engine)?;
        let contents = self.now().streams[&self.consumers[at].stream].partitions[partition as usize].clone();
        let visible = contents.visible_end(engine.positions().durable);
        let records = self.random.pick(&[1, 10, 1000]);
        let next = match engine.read(log, from, records, &mut Cursor::default()) {
            Ok(Read::Below { start, .. }) if from < start => start,
            Ok(read) => self.check_read(&contents, from, visible, read)?.unwrap_or(from),
            Err(fault) => return self.fault(engine, fault, None),
        };
        if next < from || next > visible.max(contents.start) {
            return Err(Stop::Wrong(format!("a member reads on from {from} at {next}, the end is {visible}")));
        }
        self.records_consumed += next - from;
        self.share(at, partition).position = next;
        Ok(())
    }

    /// The process of the attached programs, if there is one.
    pub(super) fn attached_process(&self) -> Option<Process> {
        self.attached_session().map(|session| Process::Attached(session.get()))
    }

    /// The programs of a process are gone.
    pub(super) fn end_consumers(&mut self, session: SessionId) {
        let process = Process::Attached(session.get());
        self.consumers.retain(|consumer| consumer.process != process);
    }

    /// The host's process is gone. What a crash has taken back is known to nobody any more: those whose membership it
    /// may be are gone too.
    pub(super) fn end_life_of_consumers(&mut self, all_kept: bool) {
        self.consumers.retain(|consumer| all_kept && consumer.process != Process::Host);
        if !all_kept {
            self.ghosts.clear();
            self.lapses.forget();
        }
    }

    /// The attached process has become the host; its members go on. Its session is over.
    pub(super) fn adopt(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some((process, session)) = self.attached_process().zip(self.attached_session()) else { return Ok(()) };
        self.ask(engine, Ask::Adopt(process), Level::Buffered, By::Host)?;
        for consumer in self.consumers.iter_mut().filter(|consumer| consumer.process == process) {
            consumer.process = Process::Host;
        }
        self.attached = None;
        self.end_session(engine, session, Level::Buffered)
    }
}

impl Consumer {
    fn by(&self) -> By {
        if self.process == Process::Host { By::Host } else { By::Attached }
    }

    fn to_release(&self) -> Vec<Held> {
        let revoked = self.shares.iter().filter(|(_, share)| share.is_revoked);
        revoked.map(|(partition, share)| Held { partition: *partition, epoch: share.epoch }).collect()
    }
}
