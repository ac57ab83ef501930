//! A member of a consumer group.

mod commit;
mod delivery;
mod records;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::base::bounds::RECORDS_PER_READ_MAX;
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::time::BootTime;
use crate::engine::deadline_in;
use crate::engine::read::{Cursor, Read};
use crate::primitives::Command;
use crate::primitives::streams;
use crate::primitives::streams::groups::{self, Command as OfGroups, Commit, Held, MemberHandle};
use crate::processes::watching::{MemberNews, OwnedLog, WatchMember};
use crate::storage::disk::clock;

use super::database::unnamed;
use super::error::Error;
use super::group::Group;
use super::group_outcomes::{PartitionLag, Polled};
use super::reader::Start;
use super::records::Records;

pub use self::records::{MemberRecordStream, MemberRecords};

/// A member of a [`Group`]: it reads the partitions that it owns, and commits how far it has come.
///
/// Made by [`Group::join`]. Any number of members may be in one process or in several.
///
/// # Partitions come and go
/// A poll tells of partitions that the member reads from now on, from the committed offset, and of those that it is to
/// give up. It brings no more records of these. The next poll or commit gives them up: a program that has records of
/// them still in work commits what is done before it polls again. What was not committed is read again by the next
/// owner.
///
/// # Committing
/// What is polled is not committed by itself. [`Member::commit`] stores for each partition the offset behind the last
/// record that was polled. Where partitions have moved on since, to another member or by a reset, it is
/// [`Error::PartitionsMoved`], and the offsets of all others are stored all the same. [`Member::records`] hands out
/// single records and commits what is done.
///
/// # How it ends
/// Dropping the member leaves the group at once, as does the end of its process. One with an id of its own only goes
/// away then: its partitions wait for it until its session timeout has passed. [`Member::leave`] gives them up.
///
/// ```
/// use towpath::{GroupOptions, MemberOptions};
/// # let db = towpath::Options::temporary().open_temporary()?;
/// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
/// orders.append("one blue mug")?;
/// let billing = orders.group("billing", GroupOptions::new())?;
/// let mut member = billing.join(MemberOptions::new())?;
/// assert_eq!(member.poll(100)?.assigned, [0]);
/// for record in member.poll(100)?.iter() {
///     assert_eq!(record.body(), b"one blue mug");
/// }
/// member.commit()?;
/// assert_eq!(billing.describe()?.lag(), 0);
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Debug)]
pub struct Member {
    group: Group,
    handle: MemberHandle,
    /// The generation of what it knows of its partitions; 0: nothing.
    known: u64,
    shares: BTreeMap<u32, Share>,
    /// Partitions that may have records to read now, in the order of their turns.
    ready: VecDeque<u32>,
    /// How many of them have their turns before it is asked which others have records.
    turns_left: usize,
    /// 0: none.
    session_timeout_micros: u64,
    /// When it said last that it polls.
    touched: BootTime,
    is_over: bool,
}

/// A partition that the member owns.
#[derive(Debug)]
struct Share {
    log: LogId,
    epoch: u64,
    /// The next offset to read.
    position: u64,
    /// The committed offset, 0 if there is none; `None` while that is not known.
    stored: Option<u64>,
    cursor: Cursor,
    is_paused: bool,
    /// The member was told to give it up.
    is_revoked: bool,
    /// A commit was refused because it has moved on; a poll will tell.
    has_moved: bool,
}

impl Share {
    fn new(owned: &OwnedLog, is_paused: bool) -> Share {
        let OwnedLog { log, owned } = *owned;
        let (epoch, position) = (owned.epoch, owned.committed.unwrap_or(0));
        let (cursor, is_revoked) = (Cursor::default(), owned.is_revoked);
        Share { log, epoch, position, stored: Some(position), cursor, is_paused, is_revoked, has_moved: false }
    }

    fn is_read(&self) -> bool {
        !(self.is_paused || self.is_revoked || self.has_moved)
    }
}

impl Member {
    pub(super) fn new(group: Group, handle: MemberHandle, session_timeout_micros: u64) -> Member {
        Member {
            group,
            handle,
            known: 0,
            shares: BTreeMap::new(),
            ready: VecDeque::new(),
            turns_left: 0,
            session_timeout_micros,
            touched: clock::boot(),
            is_over: false,
        }
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The partitions that it reads, as its polls have told, in order.
    pub fn partitions(&self) -> impl Iterator<Item = u32> {
        self.shares.iter().filter(|(_, share)| !share.is_revoked).map(|(partition, _)| *partition)
    }

    /// Up to `max` records, or what has changed of the member's partitions: blocks until there is either. At most
    /// 65,536 records are given at once, and often fewer than are there; a `max` of 0 asks for 1. Partitions have their
    /// turns. Gives up what the poll before has told to. Records that retention took before they were read are passed
    /// over.
    ///
    /// # Errors
    /// [`Error::MemberEnded`] once it is a member no longer, or its group or stream was deleted; [`Error::Corrupt`],
    /// [`Error::Poisoned`], [`Error::Closed`]; [`Error::Forked`] in a process that was forked from the one that joined;
    /// [`Error::LimitExceeded`] where the members of an attached process wait for more partitions than it may.
    pub fn poll(&mut self, max: usize) -> Result<Polled, Error> {
        Ok(self.poll_until(max, true, None)?.expect("without a deadline it waits until there is something"))
    }

    /// The same; `None` if there is nothing now. Does not wait for records, but may read from disk.
    ///
    /// # Errors
    /// As for [`Member::poll`].
    pub fn try_poll(&mut self, max: usize) -> Result<Option<Polled>, Error> {
        self.poll_until(max, false, None)
    }

    /// The same; waits at most `timeout`, then `None`.
    ///
    /// # Errors
    /// As for [`Member::poll`].
    pub fn poll_timeout(&mut self, max: usize, timeout: Duration) -> Result<Option<Polled>, Error> {
        self.poll_until(max, true, deadline_in(Some(timeout)))
    }

    /// The same without blocking the thread, on any runtime. Dropping the future loses nothing. What is there already
    /// is read in `poll`, which may read from disk.
    ///
    /// # Errors
    /// As for [`Member::poll`].
    pub async fn poll_async(&mut self, max: usize) -> Result<Polled, Error> {
        self.begin_poll()?;
        loop {
            let (watch, asked) = self.watch();
            let link = &self.group.stream.database.shared.link;
            let news = match self.ready.is_empty() {
                true => link.watch_async(&watch).await,
                false => link.ask(&watch),
            };
            self.touch_if_due();
            if let Some(polled) = self.learn(news.map_err(unnamed)?, &asked, max)? {
                return Ok(polled);
            }
        }
    }

    fn poll_until(&mut self, max: usize, waits: bool, deadline: Option<BootTime>) -> Result<Option<Polled>, Error> {
        self.begin_poll()?;
        loop {
            let (watch, asked) = self.watch();
            let asks_for_all = self.ready.is_empty();
            let link = &self.group.stream.database.shared.link;
            let news = match waits && asks_for_all {
                true => link.watch_waiting(&watch, deadline),
                false => link.ask(&watch),
            };
            let news = news.map_err(unnamed)?;
            // The wait counted as a poll; what comes of it begins now.
            self.touch_if_due();
            let is_idle = asks_for_all && news == MemberNews::Nothing;
            if let Some(polled) = self.learn(news, &asked, max)? {
                return Ok(Some(polled));
            }
            if is_idle && (!waits || deadline.is_some_and(|deadline| deadline <= clock::boot())) {
                return Ok(None);
            }
        }
    }

    /// Says that the member polls, and gives up what it was told to.
    fn begin_poll(&mut self) -> Result<(), Error> {
        self.check_home()?;
        self.touch();
        let released = self.to_release();
        if !released.is_empty() {
            self.issue(OfGroups::Commit(Commit { member: self.handle, positions: &[], released: &released }));
            self.shares.retain(|_, share| !share.is_revoked);
        }
        Ok(())
    }

    /// A forked child's copy is not the member.
    fn check_home(&self) -> Result<(), Error> {
        if self.group.stream.database.shared.link.is_home() { Ok(()) } else { Err(Error::Forked) }
    }

    fn touch(&mut self) {
        // In the host's own process it costs next to nothing, and the engine's clock is the one that counts.
        if self.session_timeout_micros > 0 && self.group.stream.database.is_host() {
            self.issue(OfGroups::Touch { member: self.handle });
        } else {
            self.touch_if_due();
        }
    }

    fn touch_if_due(&mut self) {
        let now = clock::boot();
        if self.session_timeout_micros > 0
            && now.since(self.touched) >= self.session_timeout_micros / groups::TOUCHES_TOLD
        {
            self.touched = now;
            self.issue(OfGroups::Touch { member: self.handle });
        }
    }

    /// Has something done that the member need not hear of: a refusal means that it is over, which a poll tells too.
    fn issue(&self, command: OfGroups<'_>) {
        let command = Command::Streams(streams::Command::Groups(command));
        let _ = self.group.stream.database.shared.link.issue(&command, Level::Buffered.into(), None);
    }

    fn to_release(&self) -> Vec<Held> {
        let revoked = self.shares.iter().filter(|(_, share)| share.is_revoked);
        revoked.map(|(partition, share)| Held { partition: *partition, epoch: share.epoch }).collect()
    }

    /// What to ask, and the partitions whose logs are asked for: those that are not known to have records, as soon as
    /// all others have had their turns.
    fn watch(&self) -> (WatchMember, Vec<u32>) {
        let asks = self.turns_left == 0 || self.ready.is_empty();
        let read = self.shares.iter().filter(|(_, share)| asks && share.is_read());
        let read = read.filter(|(partition, _)| !self.ready.contains(*partition));
        let (asked, logs) = read.map(|(partition, share)| (*partition, (share.log, share.position))).unzip();
        (WatchMember { member: self.handle, known: self.known, waits: false, logs }, asked)
    }

    /// Takes in what is new; tells of partitions, else of records.
    fn learn(&mut self, news: MemberNews, asked: &[u32], max: usize) -> Result<Option<Polled>, Error> {
        match news {
            MemberNews::Nothing => {}
            MemberNews::Over => {
                self.is_over = true;
                return Err(Error::MemberEnded { group: self.group.name().to_owned() });
            }
            MemberNews::Owned { changed, partitions } => {
                self.known = changed;
                let polled = self.take_over(&partitions);
                let tells = !(polled.assigned.is_empty() && polled.revoked.is_empty());
                return Ok(tells.then_some(polled));
            }
            MemberNews::Ready(places) => {
                self.ready.extend(places.iter().filter_map(|place| asked.get(*place as usize).copied()));
            }
        }
        if self.turns_left == 0 {
            self.turns_left = self.ready.len();
        }
        let records = self.read_ready(max)?;
        Ok((!records.is_empty()).then(|| Polled { records, ..Polled::default() }))
    }

    /// Goes over to these partitions. One that is to be given up before anything was read of it is not told of.
    fn take_over(&mut self, partitions: &[OwnedLog]) -> Polled {
        let mut polled = Polled::default();
        let mut before = std::mem::take(&mut self.shares);
        for owned_log in partitions {
            let owned = owned_log.owned;
            let earlier = before.remove(&owned.partition);
            let was_read = earlier.as_ref().is_some_and(|share| !share.is_revoked);
            let share = match earlier {
                Some(share) if share.epoch == owned.epoch => {
                    if !was_read && !owned.is_revoked {
                        polled.assigned.push(owned.partition);
                    }
                    Share { is_revoked: owned.is_revoked, ..share }
                }
                earlier => {
                    if !owned.is_revoked {
                        polled.assigned.push(owned.partition);
                    }
                    // Of what was read under another epoch nothing is to be committed under this one.
                    let has_moved = was_read && owned.is_revoked;
                    let is_paused = earlier.is_some_and(|share| share.is_paused);
                    Share { has_moved, ..Share::new(owned_log, is_paused) }
                }
            };
            if was_read && owned.is_revoked {
                polled.revoked.push(owned.partition);
            }
            self.shares.insert(owned.partition, share);
        }
        let taken = before.into_iter().filter(|(_, share)| !share.is_revoked);
        polled.revoked.extend(taken.map(|(partition, _)| partition));
        let shares = &self.shares;
        self.ready.retain(|partition| shares.get(partition).is_some_and(Share::is_read));
        polled
    }

    /// Reads partitions in turn until there is enough. Of one that has no more it is asked again when it has.
    fn read_ready(&mut self, max: usize) -> Result<Vec<Records>, Error> {
        let (mut left, mut batches) = (max.clamp(1, RECORDS_PER_READ_MAX), Vec::new());
        for _ in 0..self.ready.len() {
            let Some(partition) = self.ready.pop_front() else { break };
            self.turns_left = self.turns_left.saturating_sub(1);
            match self.read(partition, left) {
                Ok(None) => {}
                Ok(Some(records)) => {
                    left -= records.len();
                    batches.push(records);
                    self.ready.push_back(partition);
                }
                Err(error) if batches.is_empty() => {
                    self.ready.push_back(partition);
                    return Err(error);
                }
                // What was read before it must not be lost; it is met again.
                Err(_) => self.ready.push_back(partition),
            }
            if left == 0 {
                break;
            }
        }
        Ok(batches)
    }

    fn read(&mut self, partition: u32, max: usize) -> Result<Option<Records>, Error> {
        let Some(share) = self.shares.get_mut(&partition).filter(|share| share.is_read()) else { return Ok(None) };
        let link = &self.group.stream.database.shared.link;
        loop {
            match link.read(share.log, share.position, max, &mut share.cursor).map_err(unnamed)? {
                Read::Items(batch) => {
                    let records = Records::of(batch, partition, share.position, max)?;
                    share.position = records.end();
                    return Ok((!records.is_empty()).then_some(records));
                }
                Read::Below { start, end } => share.position = share.position.clamp(start, end.max(start)),
                Read::AtEnd | Read::Gone => return Ok(None),
            }
        }
    }

    /// What has changed of its partitions, without records; a poll as far as others are concerned.
    fn look(&mut self) -> Result<Option<Polled>, Error> {
        self.begin_poll()?;
        let watch = WatchMember { member: self.handle, known: self.known, waits: false, logs: Vec::new() };
        match self.group.stream.database.shared.link.ask(&watch).map_err(unnamed)? {
            MemberNews::Nothing => Ok(None),
            news => self.learn(news, &[], 0),
        }
    }

    /// Reads on from these offsets, which were polled before.
    fn rewind(&mut self, offsets: &BTreeMap<u32, u64>) {
        if offsets.is_empty() {
            return;
        }
        for (partition, offset) in offsets {
            if let Some(share) = self.shares.get_mut(partition) {
                (share.position, share.cursor) = (*offset, Cursor::default());
            }
        }
        self.ready.clear();
    }

    /// Reads on from there in a partition. Stores nothing; the next commit does. May read from disk.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a partition that the member does not own; else as for
    /// [`Reader::seek`](crate::Reader::seek).
    pub fn seek(&mut self, partition: u32, to: Start) -> Result<(), Error> {
        self.share(partition)?;
        let position = self.group.stream.reader(partition, to)?.position();
        let share = self.share(partition)?;
        (share.position, share.cursor) = (position, Cursor::default());
        // Where there are records to read is asked anew.
        self.ready.clear();
        Ok(())
    }

    /// Polls bring no records of this partition until [`Member::resume`]; it stays the member's.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a partition that the member does not own.
    pub fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.share(partition)?.is_paused = true;
        self.ready.retain(|ready| *ready != partition);
        Ok(())
    }

    /// Polls bring records of this partition again.
    ///
    /// # Errors
    /// As for [`Member::pause`].
    pub fn resume(&mut self, partition: u32) -> Result<(), Error> {
        self.share(partition)?.is_paused = false;
        self.ready.clear();
        Ok(())
    }

    fn share(&mut self, partition: u32) -> Result<&mut Share, Error> {
        let owned = self.shares.get_mut(&partition).filter(|share| !(share.is_revoked || share.has_moved));
        owned.ok_or_else(|| {
            let reason = format!("this member of group `{}` does not own partition {partition}", self.group.name());
            Error::InvalidOption { option: "partition", reason }
        })
    }

    /// How far the member is behind in each partition that it reads, by what was polled.
    ///
    /// # Errors
    /// As for [`Stream::describe`](crate::Stream::describe).
    pub fn lag(&self) -> Result<Vec<PartitionLag>, Error> {
        let described = self.group.stream.describe()?.partitions;
        let lag = |partition: u32| {
            let (at, share) = (described.get(partition as usize)?, &self.shares[&partition]);
            let next_offset = share.position.max(at.start_offset);
            Some(PartitionLag { partition, next_offset, end_offset: at.end_offset })
        };
        Ok(self.partitions().filter_map(lag).collect())
    }

    /// Leaves the group: its partitions go to others at once, those of a member with an id of its own too. Commits
    /// nothing.
    ///
    /// # Errors
    /// [`Error::MemberEnded`] if it was a member no longer, [`Error::Forked`], and what any write may meet.
    pub fn leave(mut self) -> Result<(), Error> {
        self.check_home()?;
        let left = self.group.submit(OfGroups::Leave { member: self.handle }, Level::Buffered);
        self.is_over = true;
        left.map(drop).map_err(|refused| self.group.refusal(refused))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !self.is_over && self.check_home().is_ok() {
            self.issue(OfGroups::Abandon { member: self.handle });
        }
    }
}
