//! What a member commits.

use std::collections::BTreeMap;

use crate::api::error::Error;
use crate::base::level::Level;
use crate::engine::Refused;
use crate::primitives::Refusal;
use crate::primitives::streams::groups::{self, Command as OfGroups, Commit, Position};

use super::{Member, Share};

impl Member {
    /// Commits all that was polled, at [`Level::Buffered`]: a power cut may undo the newest commits, and their records
    /// are read again then. Blocks only while the disk is behind. Gives up what the last poll has told to.
    ///
    /// # Errors
    /// [`Error::PartitionsMoved`] with those of which nothing was stored, [`Error::MemberEnded`], [`Error::Forked`],
    /// and what any write may meet.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.commit_with(Level::Buffered)
    }

    /// The same at a level: at [`Level::Sync`] it is on disk on return.
    ///
    /// # Errors
    /// As for [`Member::commit`].
    pub fn commit_with(&mut self, level: Level) -> Result<(), Error> {
        // What was stored at `Buffered` is to be on disk too: it is stored again.
        let is_due = |share: &Share| !share.has_moved && (level == Level::Sync || share.stored != Some(share.position));
        let due = self.shares.iter().filter(|(_, share)| is_due(share));
        let position = |(partition, share): (&u32, &Share)| Position {
            partition: *partition,
            epoch: share.epoch,
            offset: share.position,
        };
        let positions: Vec<Position> = due.map(position).collect();
        self.store(&positions, Vec::new(), level)
    }

    /// Commits these offsets, each the next one to be read of its partition, whatever was polled. Of several of one
    /// partition the last counts. Where the member reads on does not change.
    ///
    /// # Errors
    /// As for [`Member::commit`], and [`Error::OffsetOutOfRange`] for an offset behind the end: nothing is stored then.
    pub fn commit_offsets(&mut self, offsets: &[(u32, u64)], level: Level) -> Result<(), Error> {
        let (positions, moved) = self.positions(offsets);
        self.store(&positions, moved, level)
    }

    /// The same without blocking the thread, on any runtime. If the future is dropped the offsets are stored or not.
    ///
    /// # Errors
    /// As for [`Member::commit_offsets`].
    pub async fn commit_offsets_async(&mut self, offsets: &[(u32, u64)], level: Level) -> Result<(), Error> {
        let (positions, moved) = self.positions(offsets);
        self.check_home()?;
        let released = self.to_release();
        if positions.is_empty() && released.is_empty() {
            return self.tell_moved(moved);
        }
        self.forget_stored(&positions);
        let commit = Commit { member: self.handle, positions: &positions, released: &released };
        let reply = self.group.submit_async(OfGroups::Commit(commit), level).await;
        self.stored(reply, &positions, moved)
    }

    /// Offsets as a commit names them, and partitions among them that are others'.
    /// The last of several of a partition counts.
    fn positions(&self, offsets: &[(u32, u64)]) -> (Vec<Position>, Vec<u32>) {
        if !offsets.is_sorted_by(|(before, _), (partition, _)| before < partition) {
            let last_of_each: BTreeMap<u32, u64> = offsets.iter().copied().collect();
            return self.positions(&last_of_each.into_iter().collect::<Vec<_>>());
        }
        let (mut positions, mut moved) = (Vec::with_capacity(offsets.len()), Vec::new());
        for &(partition, offset) in offsets {
            match self.shares.get(&partition).filter(|share| !share.has_moved) {
                Some(Share { epoch, .. }) => positions.push(Position { partition, epoch: *epoch, offset }),
                None => moved.push(partition),
            }
        }
        (positions, moved)
    }

    /// What is stored of these is not known until a commit is answered.
    fn forget_stored(&mut self, positions: &[Position]) {
        for position in positions {
            self.shares.get_mut(&position.partition).expect("only its own partitions are committed").stored = None;
        }
    }

    /// Stores these positions; `moved` are others' already.
    fn store(&mut self, positions: &[Position], moved: Vec<u32>, level: Level) -> Result<(), Error> {
        self.check_home()?;
        let released = self.to_release();
        if positions.is_empty() && released.is_empty() {
            return self.tell_moved(moved);
        }
        self.forget_stored(positions);
        let commit = Commit { member: self.handle, positions, released: &released };
        let reply = self.group.submit(OfGroups::Commit(commit), level);
        self.stored(reply, positions, moved)
    }

    /// Learns what was stored of these positions.
    fn stored(
        &mut self,
        reply: Result<groups::Reply, Refused<Refusal>>,
        positions: &[Position],
        mut moved: Vec<u32>,
    ) -> Result<(), Error> {
        let groups::Reply::Committed { fenced } = reply.map_err(|refused| self.group.refusal(refused))? else {
            unreachable!("a commit is told what was not stored")
        };
        for position in positions {
            let share = self.shares.get_mut(&position.partition).expect("only its own partitions are committed");
            share.has_moved = fenced.contains(&position.partition);
            share.stored = Some(position.offset);
        }
        moved.extend(fenced);
        self.shares.retain(|_, share| !share.is_revoked);
        self.tell_moved(moved)
    }

    fn tell_moved(&self, mut moved: Vec<u32>) -> Result<(), Error> {
        if moved.is_empty() {
            return Ok(());
        }
        moved.sort_unstable();
        Err(Error::PartitionsMoved { group: self.group.name().to_owned(), partitions: moved })
    }

    /// Commits these offsets at [`Level::Buffered`] as far as the partitions are its own, and does not hear what
    /// becomes of it.
    pub(super) fn issue_offsets(&mut self, offsets: &[(u32, u64)]) {
        let (positions, _) = self.positions(offsets);
        self.forget_stored(&positions);
        if !(self.is_over || positions.is_empty()) && self.check_home().is_ok() {
            let commit = Commit { member: self.handle, positions: &positions, released: &[] };
            self.issue(OfGroups::Commit(commit));
        }
    }
}
