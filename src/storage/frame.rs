//! The envelope of everything in the journal.
//!
//! A frame starts at an 8-byte aligned address and its bytes never cross a multiple of the ring's size.
//!
//! | at | bytes | field | |
//! |---|---|---|---|
//! | 0 | 4 | crc | CRC-32C of bytes 4 to `length`, xor the seed of (database id, epoch) |
//! | 4 | 4 | length | header and payload, without padding |
//! | 8 | 8 | lsn | where this frame lies |
//! | 16 | 4 | epoch | the life that wrote it |
//! | 20 | 4 | previous | crc of the frame before it |
//! | 24 | 4 | behind | `lsn` − the durable LSN known when it was written |
//! | 28 | 1 | kind | [`Kind`] |
//! | 29 | 1 | flags | bit 0: items carry checksums of their own |
//! | 30 | 2 | zero | |
//! | 32 | | payload | |
//!
//! The frame stores its own address and its predecessor's checksum, so it can be verified alone, and a frame of an
//! earlier lap of the ring, of another life or of another database does not pass for one of this place.

use crate::base::crc::crc;
use crate::base::lsn::{Lsn, align_up};

/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 32;

/// Items in this frame carry a checksum each.
pub(crate) const FLAG_ITEM_CHECKSUMS: u8 = 1;

/// What a frame's payload is. The numbers are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The first frame of a segment: see `storage::segment`.
    SegmentHeader = 1,
    /// Nothing; the journal goes on at the next multiple of the ring's size.
    Padding = 2,
    /// Nothing; it records the durable LSN at the end of a batch.
    Watermark = 3,
    /// Items: what one command or transaction decided.
    Events = 4,
    /// The first frame of a survivor.
    SurvivorHeader = 5,
    /// Items copied by cleaning; `lsn` is the address that they were first written at.
    Copied = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::SegmentHeader,
            2 => Kind::Padding,
            3 => Kind::Watermark,
            4 => Kind::Events,
            5 => Kind::SurvivorHeader,
            6 => Kind::Copied,
            _ => return None,
        })
    }
}

/// Mixes database id and epoch into every checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seed {
    database: u32,
}

impl Seed {
    pub(crate) fn new(database_id: &[u8; 16]) -> Seed {
        Seed { database: crc(database_id) }
    }

    /// The same epoch of the same database always gives the same value, and successive epochs give values that differ
    /// in many bits (the multiplier is odd, so no two epochs collide).
    fn of_epoch(self, epoch: u32) -> u32 {
        self.database ^ epoch.wrapping_mul(0x9E37_79B1)
    }

    /// Checksum of one item in a frame that carries them: it is read alone, without its frame's epoch.
    pub(crate) fn item_crc(self, item: &[u8]) -> u32 {
        crc(item) ^ self.database
    }
}

/// The fields of a frame's header, but its length and checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) lsn: Lsn,
    pub(crate) epoch: u32,
    pub(crate) previous: u32,
    pub(crate) durable: Lsn,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
}

/// A frame whose checksum holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) header: Header,
    pub(crate) crc: u32,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes that the frame takes in the journal, with padding to the alignment.
    pub(crate) fn extent(&self) -> u64 {
        extent(self.payload.len())
    }
}

/// Bytes that a frame with this payload takes in the journal.
pub(crate) const fn extent(payload_len: usize) -> u64 {
    align_up((HEADER_BYTES + payload_len) as u64)
}

/// Why bytes are no frame of this place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotAFrame {
    #[error("no frame starts here")]
    Absent,
    #[error("the frame's length does not fit its place")]
    Length,
    #[error("the frame belongs to another address")]
    Address,
    #[error("the frame's checksum does not match")]
    Checksum,
    #[error("the frame is of an unknown kind")]
    Kind,
}

/// Writes the header around a payload that already stands at `bytes[HEADER_BYTES..]`, and returns the checksum.
/// `bytes` is the whole frame; the caller has cleared or will overwrite the padding behind it.
#[inline]
pub(crate) fn seal(bytes: &mut [u8], header: &Header, seed: Seed) -> u32 {
    assert!(header.lsn.is_aligned(), "frame at unaligned {}", header.lsn);
    assert!(header.durable <= header.lsn, "durable {} beyond {}", header.durable, header.lsn);
    let length = u32::try_from(bytes.len()).expect("a frame is at most half a ring");
    let behind = u32::try_from(header.lsn.since(header.durable)).expect("unsynced bytes are bounded");
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..16].copy_from_slice(&header.lsn.0.to_le_bytes());
    bytes[16..20].copy_from_slice(&header.epoch.to_le_bytes());
    bytes[20..24].copy_from_slice(&header.previous.to_le_bytes());
    bytes[24..28].copy_from_slice(&behind.to_le_bytes());
    bytes[28..32].copy_from_slice(&[header.kind as u8, header.flags, 0, 0]);
    let crc = crc(&bytes[4..]) ^ seed.of_epoch(header.epoch);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// Bytes of the frame that seems to start here, header included and padding not: to be used for reading its rest.
pub(crate) fn declared_length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.get(4..8)?.first_chunk()?) as usize;
    (length >= HEADER_BYTES).then_some(length)
}

/// Verifies the frame that starts at `bytes[0]`, wherever it says it lies.
#[inline]
pub(crate) fn open(bytes: &[u8], seed: Seed) -> Result<Frame<'_>, NotAFrame> {
    let length = declared_length(bytes).ok_or(NotAFrame::Absent)?;
    let bytes = bytes.get(..length).ok_or(NotAFrame::Length)?;
    let (head, payload) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(NotAFrame::Length)?;
    let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let lsn = Lsn(u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32);
    let (stored, epoch, behind) = (u32_at(0), u32_at(16), u32_at(24));
    if crc(&bytes[4..]) ^ seed.of_epoch(epoch) != stored {
        return Err(NotAFrame::Checksum);
    }
    let kind = Kind::from_byte(head[28]).ok_or(NotAFrame::Kind)?;
    let durable = Lsn(lsn.0.checked_sub(u64::from(behind)).ok_or(NotAFrame::Address)?);
    let header = Header { lsn, epoch, previous: u32_at(20), durable, kind, flags: head[29] };
    Ok(Frame { header, crc: stored, payload })
}

/// Verifies the frame that must lie at `lsn`. Cheap where there is none: the checksum is computed only when length and
/// address fit.
#[inline]
pub(crate) fn open_at(bytes: &[u8], lsn: Lsn, seed: Seed) -> Result<Frame<'_>, NotAFrame> {
    let length = declared_length(bytes).ok_or(NotAFrame::Absent)?;
    if length > bytes.len() {
        return Err(NotAFrame::Length);
    }
    if bytes[8..16] != lsn.0.to_le_bytes() {
        return Err(NotAFrame::Address);
    }
    open(bytes, seed)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SEED_ID: [u8; 16] = *b"orders-database!";

    fn sample(payload: &[u8], lsn: u64) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES + payload.len()];
        bytes[HEADER_BYTES..].copy_from_slice(payload);
        let header =
            Header { lsn: Lsn(lsn), epoch: 7, previous: 0xdead, durable: Lsn(lsn - 64), kind: Kind::Events, flags: 0 };
        seal(&mut bytes, &header, Seed::new(&SEED_ID));
        bytes
    }

    #[test]
    fn a_frame_comes_back_as_it_was_written() {
        let bytes = sample(b"order 4711", 4096);
        let frame = open_at(&bytes, Lsn(4096), Seed::new(&SEED_ID)).unwrap();
        assert_eq!(frame.payload, b"order 4711");
        assert_eq!(frame.header.durable, Lsn(4032));
        assert_eq!(frame.header.previous, 0xdead);
        assert_eq!(frame.extent(), 48);
    }

    #[test]
    fn a_frame_of_another_place_life_or_database_is_refused() {
        let bytes = sample(b"order 4711", 4096);
        assert_eq!(open_at(&bytes, Lsn(8192), Seed::new(&SEED_ID)).unwrap_err(), NotAFrame::Address);
        assert_eq!(open_at(&bytes, Lsn(4096), Seed::new(b"another-database")).unwrap_err(), NotAFrame::Checksum);
        let mut other_life = bytes.clone();
        other_life[16] = 8;
        assert_eq!(open_at(&other_life, Lsn(4096), Seed::new(&SEED_ID)).unwrap_err(), NotAFrame::Checksum);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = sample(b"a payment of 12.50 EUR", 64);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open_at(&damaged, Lsn(64), Seed::new(&SEED_ID)).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(open_at(&bytes[..cut], Lsn(64), Seed::new(&SEED_ID)).is_err(), "cut {cut}");
        }
    }
}
