//! A growing buffer that values and frames are written to.

use crate::base::codec::Put;

use super::LENGTH_BYTES;

/// Bytes on their way to another process.
#[derive(Default, Debug)]
pub(crate) struct Out {
    bytes: Vec<u8>,
}

impl Out {
    pub(crate) fn new() -> Out {
        Out::default()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what is in it, and memory beyond `keep`.
    pub(crate) fn clear(&mut self, keep: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(keep);
    }

    /// Forgets the first `len` bytes, and memory beyond `keep` when nothing is left.
    pub(crate) fn forget_first(&mut self, len: usize, keep: usize) {
        if len == self.bytes.len() {
            self.clear(keep);
        } else {
            self.bytes.drain(..len);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// A whole frame: its first byte, then what `body` writes.
    pub(crate) fn frame(&mut self, first: u8, body: impl FnOnce(&mut Out)) {
        let start = self.bytes.len();
        self.bytes.extend([0; LENGTH_BYTES]);
        self.u8(first);
        body(self);
        let length = self.bytes.len() - start - LENGTH_BYTES;
        let length = u32::try_from(length).expect("a frame is within its limit");
        self.bytes[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    }

    #[inline]
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    #[inline]
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    #[inline]
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    #[inline]
    pub(crate) fn slice(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.slice(text.as_bytes());
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, some: impl FnOnce(&mut Out, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            some(self, value);
        }
    }

    /// What takes exactly `len` bytes.
    #[inline]
    pub(crate) fn put(&mut self, len: usize, put: impl FnOnce(&mut Put<'_>)) {
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        let mut out = Put::new(&mut self.bytes[start..]);
        put(&mut out);
        assert_eq!(out.remaining(), 0, "a value is as long as was foretold");
    }
}
