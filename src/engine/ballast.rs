//! The ballast: room on the disk that is held back, so that a full disk can drain.
//!
//! What gives room back needs some first: a sidecar, a survivor, a page of the index. When a checkpoint finds none, the
//! ballast is removed and its room is used for that alone (the segment maker then makes nothing but the reserve). It is
//! made again before any segment that publishes could use, so that it is there the next time.

use std::io;

use crate::base::bounds::BALLAST_SPARE_BYTES;
use crate::base::lsn::Geometry;
use crate::journal::maker::is_full;
use crate::journal::marks::Need;
use crate::storage::disk::{Access, Disk};

use super::Engine;
use super::create::zero_filled;
use super::fault::Fault;
use super::keeper::Keeper;
use super::machine::Machine;

pub(super) const BALLAST: &str = "ballast";

pub(super) fn bytes(geometry: Geometry) -> u64 {
    geometry.segment_bytes() + BALLAST_SPARE_BYTES
}

/// Whether the ballast is there in full.
pub(super) fn is_whole(disk: &dyn Disk, geometry: Geometry) -> io::Result<bool> {
    match disk.open(BALLAST, Access::Read) {
        Ok(file) => Ok(file.len()? >= bytes(geometry)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

pub(super) fn remove(disk: &dyn Disk) -> Result<(), Fault> {
    match disk.remove(BALLAST) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Fault::io("giving up the ballast")(e)),
        _ => Ok(()),
    }
}

impl<M: Machine> Engine<M> {
    /// Gives the room of the ballast to the checkpoint that is being made.
    pub(super) fn give_up_ballast(&self, keeper: &mut Keeper) -> Result<(), Fault> {
        self.marks.set_short(Need::Ballast, true);
        keeper.ballast = false;
        remove(&**self.segments.disk())
    }

    /// Makes the ballast again if it is missing, there is room, and nobody who goes before it lacks some. Any error but
    /// that of a full disk is to poison, as that of every write.
    pub(super) fn restore_ballast(&self, keeper: &mut Keeper) -> Result<(), Fault> {
        if keeper.ballast || self.marks.is_short(Need::Checkpoint) || self.maker.ready() == 0 {
            return Ok(());
        }
        let disk = &**self.segments.disk();
        remove(disk)?;
        match zero_filled(disk, BALLAST, bytes(self.segments.geometry())) {
            Ok(()) => {
                keeper.ballast = true;
                self.marks.set_short(Need::Ballast, false);
                self.workers.maker.nudge();
                Ok(())
            }
            Err(e) if is_full(&e) => {
                self.marks.set_short(Need::Ballast, true);
                // No room yet: what was begun must not take what others need.
                remove(disk)
            }
            Err(e) => Err(Fault::io("making the ballast")(e)),
        }
    }
}
