//! The control file: what must be known before anything else can be read.
//!
//! Two copies in 4 KiB blocks of their own, written alternately and synced each time, so that a torn write leaves the
//! other. The newer valid copy holds.
//!
//! | at | bytes | field | |
//! |---|---|---|---|
//! | 0 | 8 | magic | `TOWPATH\0` |
//! | 8 | 4 | format | version of everything on disk |
//! | 12 | 4 | zero | |
//! | 16 | 8 | compatible | feature bits that an older version may ignore |
//! | 24 | 8 | incompatible | feature bits that an older version must refuse |
//! | 32 | 8 | sequence | grows by one at each write; the greater copy is the newer |
//! | 40 | 16 | database id | |
//! | 56 | 8 | ring bytes | |
//! | 64 | 8 | segment bytes | |
//! | 72 | 4 | epoch | of the life that wrote it |
//! | 76 | 1 | clean | 1 after an orderly close |
//! | 77 | 3 | zero | |
//! | 80 | 8 | watermark | everything below is durable |
//! | 88 | 16 | boot id | of the clock that deadlines were counted on |
//! | 104 | 8 | time namespace | |
//! | 112 | 8 | LSN base | where the address space of this directory starts |
//! | 120 | 8 | jump from | the end of the journal that this life continued, |
//! | 128 | 8 | jump to | the start of the segment where it went on, |
//! | 136 | 4 | jump crc | and the checksum of the last frame before; all 0 if it went on in place |
//! | 144 | 8 | wall time | of a moment in that life, as far as it was believed; |
//! | 152 | 8 | boot time | of the same moment; both 0 if unknown |
//! | 4092 | 4 | crc | CRC-32C of bytes 0 to 4092 |
//!
//! The jump makes a life count although nothing that it wrote reached the disk: without it, the next recovery would end
//! at the same place, jump to the same segment and hand out the same addresses again.

use std::io;

use crate::base::crc::crc;
use crate::base::lsn::{Geometry, Lsn};
use crate::base::sync::Arc;
use crate::base::time::{BootTime, ClockIdentity, ClockReading, Timestamp};

use super::disk::{Access, Disk, File};

pub(crate) const PATH: &str = "control";
const MAGIC: [u8; 8] = *b"TOWPATH\0";
const BLOCK_BYTES: usize = 4096;

/// The version that this program writes, and the newest it reads.
pub(crate) const FORMAT: u32 = 1;

/// Feature bits that this program knows and an older one must refuse. Compatible ones need not be known.
pub(crate) const INCOMPATIBLE_KNOWN: u64 = FEATURE_QUEUES;

/// There are, or were, queues.
pub(crate) const FEATURE_QUEUES: u64 = 1;

/// Where a life went on after an unclean end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Jump {
    pub(crate) from: Lsn,
    pub(crate) to: Lsn,
    pub(crate) crc: u32,
}

/// The content of the control file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ControlState {
    pub(crate) compatible: u64,
    pub(crate) incompatible: u64,
    pub(crate) database_id: [u8; 16],
    pub(crate) geometry: Geometry,
    pub(crate) epoch: u32,
    pub(crate) clean: bool,
    pub(crate) watermark: Lsn,
    pub(crate) clock: ClockIdentity,
    pub(crate) lsn_base: Lsn,
    pub(crate) jump: Option<Jump>,
    /// On the clock that `clock` names.
    pub(crate) reading: Option<ClockReading>,
}

/// Why there is no control state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlFault {
    #[error("the file does not start as a control file does")]
    NotADatabase,
    #[error("format {found}, feature bits {incompatible:#x}")]
    Newer { found: u32, incompatible: u64 },
    #[error("neither copy passes its checksum")]
    Damaged,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The open control file and what it holds.
#[derive(Debug)]
pub(crate) struct Control {
    file: Arc<dyn File>,
    state: ControlState,
    sequence: u64,
    /// The other copy could not be read.
    is_alone: bool,
}

impl Control {
    /// Writes both copies of a new control file. It is durable but for its name.
    pub(crate) fn create(disk: &dyn Disk, path: &str, state: ControlState) -> io::Result<Control> {
        let file = disk.open(path, Access::Create)?;
        file.write(0, &[0; 2 * BLOCK_BYTES])?;
        let mut control = Control { file, state: state.clone(), sequence: 0, is_alone: false };
        control.write(state.clone())?;
        control.write(state)?;
        Ok(control)
    }

    pub(crate) fn open(disk: &dyn Disk) -> Result<Control, ControlFault> {
        let file = disk.open(PATH, Access::Write)?;
        let mut blocks = vec![0; 2 * BLOCK_BYTES];
        let held = file.len()?.min(blocks.len() as u64) as usize;
        file.read(0, &mut blocks[..held])?;
        let (first, second) = blocks.split_at(BLOCK_BYTES);
        let mut newest: Option<(u64, ControlState)> = None;
        let (mut fault, mut readable) = (ControlFault::NotADatabase, 0);
        for block in [first, second] {
            match decode(block) {
                Ok(found) => {
                    readable += 1;
                    newest = newest.into_iter().chain([found]).max_by_key(|(sequence, _)| *sequence);
                }
                Err(found @ ControlFault::Newer { .. }) => return Err(found),
                Err(ControlFault::Damaged) => fault = ControlFault::Damaged,
                Err(_) => {}
            }
        }
        let (sequence, state) = newest.ok_or(fault)?;
        Ok(Control { file, state, sequence, is_alone: readable == 1 })
    }

    /// Whether only one copy could be read when the file was opened. The other may have been newer, of a life that this
    /// one knows nothing of.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Whether the database is known to have been closed, and not opened since.
    pub(crate) fn is_clean(&self) -> bool {
        self.state.clean && !self.is_alone
    }

    pub(crate) fn state(&self) -> &ControlState {
        &self.state
    }

    /// Replaces the older copy; durable on return.
    pub(crate) fn write(&mut self, state: ControlState) -> io::Result<()> {
        assert!(state.database_id == self.state.database_id && state.geometry == self.state.geometry);
        assert!(state.epoch >= self.state.epoch, "the epoch never goes back");
        let sequence = self.sequence + 1;
        let block = encode(&state, sequence);
        self.file.write(sequence % 2 * BLOCK_BYTES as u64, &block)?;
        self.file.sync_data()?;
        (self.state, self.sequence) = (state, sequence);
        Ok(())
    }
}

fn encode(state: &ControlState, sequence: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(8, &FORMAT.to_le_bytes());
    put(16, &state.compatible.to_le_bytes());
    put(24, &state.incompatible.to_le_bytes());
    put(32, &sequence.to_le_bytes());
    put(40, &state.database_id);
    put(56, &state.geometry.ring_bytes().to_le_bytes());
    put(64, &state.geometry.segment_bytes().to_le_bytes());
    put(72, &state.epoch.to_le_bytes());
    put(76, &[u8::from(state.clean)]);
    put(80, &state.watermark.0.to_le_bytes());
    put(88, &state.clock.boot_id);
    put(104, &state.clock.time_namespace.to_le_bytes());
    put(112, &state.lsn_base.0.to_le_bytes());
    if let Some(jump) = state.jump {
        put(120, &jump.from.0.to_le_bytes());
        put(128, &jump.to.0.to_le_bytes());
        put(136, &jump.crc.to_le_bytes());
    }
    if let Some(reading) = state.reading {
        put(144, &reading.wall.0.to_le_bytes());
        put(152, &reading.boot.0.to_le_bytes());
    }
    let crc = crc(&block[..BLOCK_BYTES - 4]);
    block[BLOCK_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    block
}

fn decode(block: &[u8]) -> Result<(u64, ControlState), ControlFault> {
    let u64_at = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
    let u32_at = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
    if block[..8] != MAGIC {
        return Err(ControlFault::NotADatabase);
    }
    if crc(&block[..BLOCK_BYTES - 4]) != u32_at(BLOCK_BYTES - 4) {
        return Err(ControlFault::Damaged);
    }
    let (found, incompatible) = (u32_at(8), u64_at(24));
    if found > FORMAT || incompatible & !INCOMPATIBLE_KNOWN != 0 {
        return Err(ControlFault::Newer { found, incompatible });
    }
    let geometry = Geometry::stored(u64_at(56), u64_at(64)).ok_or(ControlFault::Damaged)?;
    let jump = Jump { from: Lsn(u64_at(120)), to: Lsn(u64_at(128)), crc: u32_at(136) };
    let reading = ClockReading { wall: Timestamp(u64_at(144)), boot: BootTime(u64_at(152)) };
    let state = ControlState {
        compatible: u64_at(16),
        incompatible,
        database_id: block[40..56].try_into().expect("sixteen bytes"),
        geometry,
        epoch: u32_at(72),
        clean: block[76] == 1,
        watermark: Lsn(u64_at(80)),
        clock: ClockIdentity {
            boot_id: block[88..104].try_into().expect("sixteen bytes"),
            time_namespace: u64_at(104),
        },
        lsn_base: Lsn(u64_at(112)),
        jump: (jump.to.0 != 0).then_some(jump),
        reading: (reading != ClockReading::default()).then_some(reading),
    };
    Ok((u64_at(32), state))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn state() -> ControlState {
        ControlState {
            compatible: 0,
            incompatible: 0,
            database_id: *b"orders-database!",
            geometry: Geometry::new(8 << 20, 8 << 20).unwrap(),
            epoch: 3,
            clean: true,
            watermark: Lsn(4096),
            clock: ClockIdentity { boot_id: [9; 16], time_namespace: 42 },
            lsn_base: Lsn(8 << 20),
            jump: Some(Jump { from: Lsn(64), to: Lsn(64 << 20), crc: 5 }),
            reading: Some(ClockReading { wall: Timestamp(1_700_000_000_000_000), boot: BootTime(77) }),
        }
    }

    #[test]
    fn a_control_block_comes_back_as_it_was_written() {
        assert_eq!(decode(&encode(&state(), 12)).unwrap(), (12, state()));
    }

    #[test]
    fn a_newer_format_or_an_unknown_feature_is_refused_by_name() {
        let with = |at: usize, value: u8| {
            let mut block = encode(&state(), 1);
            block[at] = value;
            let crc = crc(&block[..BLOCK_BYTES - 4]);
            block[BLOCK_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
            decode(&block)
        };
        assert!(matches!(with(8, 2), Err(ControlFault::Newer { found: 2, .. })));
        assert!(matches!(with(24, 4), Err(ControlFault::Newer { incompatible: 4, .. })));
        assert!(with(16, 4).is_ok(), "a compatible feature may be ignored");
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let block = encode(&state(), 1);
        for bit in 0..block.len() * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit}");
        }
    }
}
