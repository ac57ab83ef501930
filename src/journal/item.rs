//! Items: the events inside a frame's payload.
//!
//! In a small frame an item is `length varint · bytes`, one after the other, and the frame's checksum covers them. In a
//! frame with [`FLAG_ITEM_CHECKSUMS`] each item starts 8-byte aligned as `length u32 · crc u32 · lsn u64 · bytes`, so
//! that one can be read and verified without the megabytes around it, and still tells the address of its frame: the one
//! that it was first written in, wherever it was copied to since.
//!
//! A *position* names an item inside its segment in 32 bits: the place of its frame, or, with bit 0 set, the place of
//! the item itself in a frame with item checksums.

use crate::base::bounds::LARGE_FRAME_BYTES;
use crate::base::codec::{Malformed, Put, Take, slice_len};
use crate::base::lsn::{Lsn, align_up};
use crate::storage::frame::{FLAG_ITEM_CHECKSUMS, Frame, HEADER_BYTES, Seed};

/// Bytes before an item that carries a checksum.
pub(crate) const ITEM_HEAD_BYTES: usize = 16;

/// Bytes of an item's head that its checksum does not cover.
const ITEM_SEAL_BYTES: usize = 8;

/// Says that a position is an item's own.
pub(crate) const POSITION_OF_ITEM: u32 = 1;

/// How the items of one frame are laid out, and how long its payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub(crate) payload_len: usize,
    pub(crate) flags: u8,
}

impl Layout {
    /// The layout for items of these lengths.
    #[inline]
    pub(crate) fn of(lens: impl Iterator<Item = usize> + Clone) -> Layout {
        let small: usize = lens.clone().map(slice_len).sum();
        if small <= LARGE_FRAME_BYTES {
            return Layout { payload_len: small, flags: 0 };
        }
        let large = lens.map(|len| align_up((ITEM_HEAD_BYTES + len) as u64) as usize).sum();
        Layout { payload_len: large, flags: FLAG_ITEM_CHECKSUMS }
    }

    /// The layout for one item of this length.
    #[inline]
    pub(crate) fn of_one(len: usize) -> Layout {
        if slice_len(len) <= LARGE_FRAME_BYTES {
            Layout { payload_len: slice_len(len), flags: 0 }
        } else {
            Layout::of(std::iter::once(len))
        }
    }

    #[inline]
    fn is_large(self) -> bool {
        self.flags & FLAG_ITEM_CHECKSUMS != 0
    }
}

/// Where the frame is that items are laid into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FramePlace {
    /// Where it starts in its segment.
    pub(crate) place: u32,
    /// The address that it was first written at.
    pub(crate) lsn: Lsn,
}

/// Lays items into a payload, one call per item, and tells the position of each.
pub(crate) struct ItemWriter<'a> {
    payload: &'a mut [u8],
    layout: Layout,
    seed: Seed,
    frame: FramePlace,
    at: usize,
}

impl<'a> ItemWriter<'a> {
    #[inline]
    pub(crate) fn new(payload: &'a mut [u8], layout: Layout, seed: Seed, frame: FramePlace) -> ItemWriter<'a> {
        assert!(payload.len() == layout.payload_len, "payload of {} laid out as {layout:?}", payload.len());
        ItemWriter { payload, layout, seed, frame, at: 0 }
    }

    /// Writes one item of `len` bytes.
    #[inline]
    pub(crate) fn item(&mut self, len: usize, fill: impl FnOnce(&mut Put<'_>)) -> u32 {
        if self.layout.is_large() { self.large(len, fill) } else { self.small(len, fill) }
    }

    #[inline]
    fn small(&mut self, len: usize, fill: impl FnOnce(&mut Put<'_>)) -> u32 {
        let total = slice_len(len);
        let mut put = Put::new(&mut self.payload[self.at..self.at + total]);
        put.varint(len as u64);
        fill(&mut put);
        assert!(put.remaining() == 0, "an event took {} bytes fewer than it foretold", put.remaining());
        self.at += total;
        self.frame.place
    }

    fn large(&mut self, len: usize, fill: impl FnOnce(&mut Put<'_>)) -> u32 {
        let position = self.frame.place + (HEADER_BYTES + self.at) as u32;
        let total = align_up((ITEM_HEAD_BYTES + len) as u64) as usize;
        let slot = &mut self.payload[self.at..self.at + total];
        let (item, padding) = slot.split_at_mut(ITEM_HEAD_BYTES + len);
        let mut put = Put::new(&mut item[ITEM_HEAD_BYTES..]);
        fill(&mut put);
        assert!(put.remaining() == 0, "an event took {} bytes fewer than it foretold", put.remaining());
        padding.fill(0);
        let (seal, sealed) = item.split_at_mut(ITEM_SEAL_BYTES);
        sealed[..8].copy_from_slice(&self.frame.lsn.0.to_le_bytes());
        seal[..4].copy_from_slice(&(len as u32).to_le_bytes());
        seal[4..].copy_from_slice(&self.seed.item_crc(sealed).to_le_bytes());
        self.at += total;
        position | POSITION_OF_ITEM
    }
}

/// One item of a verified frame: its position in the segment and its bytes, tag first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) position: u32,
    pub(crate) bytes: &'a [u8],
}

/// The items of a verified frame in order. Nothing in it is trusted beyond the checksum.
#[derive(Clone, Debug)]
pub(crate) struct Items<'a> {
    payload: &'a [u8],
    at: usize,
    large: bool,
    frame_place: u32,
}

impl<'a> Items<'a> {
    #[inline]
    pub(crate) fn of(frame: &Frame<'a>, frame_place: u32) -> Items<'a> {
        let large = frame.header.flags & FLAG_ITEM_CHECKSUMS != 0;
        Items { payload: frame.payload, at: 0, large, frame_place }
    }

    #[inline]
    fn small(&mut self) -> Result<Item<'a>, Malformed> {
        let mut take = Take::new(&self.payload[self.at..]);
        let bytes = take.slice()?;
        self.at = self.payload.len() - take.remaining();
        Ok(Item { position: self.frame_place, bytes })
    }

    fn large(&mut self) -> Result<Item<'a>, Malformed> {
        let position = self.frame_place + (HEADER_BYTES + self.at) as u32;
        let mut take = Take::new(&self.payload[self.at..]);
        let len = take.u32()? as usize;
        take.u32()?;
        take.u64()?;
        let bytes = take.bytes(len)?;
        self.at += align_up((ITEM_HEAD_BYTES + len) as u64) as usize;
        Ok(Item { position: position | POSITION_OF_ITEM, bytes })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.payload.len() {
            return None;
        }
        let item = if self.large { self.large() } else { self.small() };
        if item.is_err() {
            self.at = self.payload.len();
        }
        Some(item)
    }
}

/// An item that was verified alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LoneItem<'a> {
    /// The address of the frame that it was first written in.
    pub(crate) lsn: Lsn,
    pub(crate) bytes: &'a [u8],
}

/// Verifies the single item that starts at `bytes[0]`, as a position with [`POSITION_OF_ITEM`] names it.
pub(crate) fn open_item(bytes: &[u8], seed: Seed) -> Result<LoneItem<'_>, Malformed> {
    let mut take = Take::new(bytes);
    let (len, crc) = (take.u32()? as usize, take.u32()?);
    let sealed = take.bytes(ITEM_HEAD_BYTES - ITEM_SEAL_BYTES + len)?;
    if seed.item_crc(sealed) != crc {
        return Err(Malformed("the item's checksum does not match"));
    }
    let mut take = Take::new(sealed);
    Ok(LoneItem { lsn: Lsn(take.u64()?), bytes: take.rest() })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::lsn::Lsn;
    use crate::storage::frame::{self, Header, Kind};

    const SEED_ID: [u8; 16] = *b"orders-database!";

    fn frame_of(items: &[Vec<u8>]) -> (Vec<u8>, Vec<u32>) {
        let seed = Seed::new(&SEED_ID);
        let layout = Layout::of(items.iter().map(Vec::len));
        let mut bytes = vec![0; HEADER_BYTES + layout.payload_len];
        let frame = FramePlace { place: 4096, lsn: Lsn(4096) };
        let mut writer = ItemWriter::new(&mut bytes[HEADER_BYTES..], layout, seed, frame);
        let positions = items.iter().map(|item| writer.item(item.len(), |out| out.bytes(item))).collect();
        let header =
            Header { lsn: Lsn(4096), epoch: 1, previous: 0, durable: Lsn(0), kind: Kind::Events, flags: layout.flags };
        frame::seal(&mut bytes, &header, seed);
        (bytes, positions)
    }

    fn check(items: &[Vec<u8>]) {
        let seed = Seed::new(&SEED_ID);
        let (bytes, positions) = frame_of(items);
        let frame = frame::open_at(&bytes, Lsn(4096), seed).unwrap();
        let found: Vec<Item<'_>> = Items::of(&frame, 4096).map(Result::unwrap).collect();
        assert_eq!(found.iter().map(|i| i.bytes.to_vec()).collect::<Vec<_>>(), items);
        assert_eq!(found.iter().map(|i| i.position).collect::<Vec<_>>(), positions);
        for (item, position) in items.iter().zip(positions) {
            if position & POSITION_OF_ITEM != 0 {
                let at = (position & !POSITION_OF_ITEM) as usize - 4096;
                assert_eq!(open_item(&bytes[at..], seed).unwrap(), LoneItem { lsn: Lsn(4096), bytes: item });
            }
        }
    }

    #[test]
    fn items_come_back_in_order_from_small_and_large_frames() {
        check(&[b"one order".to_vec()]);
        check(&[b"one".to_vec(), vec![7; 200], vec![]]);
        check(&[vec![1; 40_000], vec![2; 40_001], vec![3; 5]]);
    }

    #[test]
    fn a_damaged_item_of_a_large_frame_is_found_although_it_is_read_alone() {
        let (mut bytes, positions) = frame_of(&[vec![1; 40_000], vec![2; 40_000]]);
        let at = (positions[1] & !POSITION_OF_ITEM) as usize - 4096;
        for byte in (0..ITEM_HEAD_BYTES).chain([100, ITEM_HEAD_BYTES + 39_999]) {
            bytes[at + byte] ^= 1;
            assert!(open_item(&bytes[at..], Seed::new(&SEED_ID)).is_err(), "byte {byte}");
            bytes[at + byte] ^= 1;
        }
    }
}
