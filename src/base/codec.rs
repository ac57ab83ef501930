//! Bytes in and out: little-endian integers, LEB128 variable-length integers and length-prefixed slices.
//!
//! A [`Put`] writes into memory whose size was computed before, and panics when that size was wrong: the two are halves
//! of one encoding. A [`Take`] reads bytes that may come from a damaged file and never panics.

/// The bytes end before the value does, or the value has no meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed bytes: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Writes values one after the other into a slice of exactly the right size.
pub(crate) struct Put<'a> {
    rest: &'a mut [u8],
}

impl<'a> Put<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Put<'a> {
        Put { rest: out }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let (head, rest) = std::mem::take(&mut self.rest).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        self.rest = rest;
    }

    #[inline]
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    #[inline]
    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    #[inline]
    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// A LEB128 integer: seven bits a byte, least significant first, [`varint_len`] bytes in all.
    #[inline]
    pub(crate) fn varint(&mut self, value: u64) {
        if value < 0x80 { self.u8(value as u8) } else { self.long_varint(value) }
    }

    /// Varints one after the other, at once if each takes one byte.
    #[inline]
    pub(crate) fn varints<const N: usize>(&mut self, values: [u64; N]) {
        if values.iter().fold(0, |all, value| all | value) < 0x80 {
            self.bytes(&values.map(|value| value as u8));
        } else {
            values.into_iter().for_each(|value| self.varint(value));
        }
    }

    #[inline]
    fn long_varint(&mut self, value: u64) {
        let len = varint_len(value);
        match self.rest.first_chunk_mut() {
            Some(head) if len <= 8 => {
                // The bytes behind it are written over by what comes next: there is something, or the size was wrong.
                *head = spread(value, len).to_le_bytes();
                self.rest = &mut std::mem::take(&mut self.rest)[len..];
            }
            _ => self.slow_varint(value),
        }
    }

    #[cold]
    fn slow_varint(&mut self, mut value: u64) {
        let (head, rest) = std::mem::take(&mut self.rest).split_at_mut(varint_len(value));
        for byte in &mut *head {
            *byte = (value as u8) | 0x80;
            value >>= 7;
        }
        if let Some(last) = head.last_mut() {
            *last &= 0x7f;
        }
        self.rest = rest;
    }

    /// A varint length, then the bytes.
    #[inline]
    pub(crate) fn slice(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.bytes(bytes);
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }
}

/// The first `len` bytes of a varint of up to 56 bits, at once: the groups of seven bits are moved apart, and all but
/// the last are told to go on.
#[inline]
const fn spread(value: u64, len: usize) -> u64 {
    let value = (value & 0x0000_0000_0fff_ffff) | ((value & 0x00ff_ffff_f000_0000) << 4);
    let value = (value & 0x0000_3fff_0000_3fff) | ((value & 0x0fff_c000_0fff_c000) << 2);
    let value = (value & 0x007f_007f_007f_007f) | ((value & 0x3f80_3f80_3f80_3f80) << 1);
    value | (0x0080_8080_8080_8080 & ((1 << (8 * (len - 1))) - 1))
}

/// Bytes that [`Put::varint`] takes for `value`.
#[inline]
pub(crate) const fn varint_len(value: u64) -> usize {
    // One byte for each 7 bits begun; 9/64 is near enough to 1/7 for up to 64 bits.
    ((64 - (value | 1).leading_zeros() as usize) * 9 + 64) / 64
}

/// Bytes that [`Put::slice`] takes for a slice of `len` bytes.
#[inline]
pub(crate) const fn slice_len(len: usize) -> usize {
    varint_len(len as u64) + len
}

/// Reads values one after the other from bytes that nobody vouches for.
#[derive(Clone, Copy)]
pub(crate) struct Take<'a> {
    rest: &'a [u8],
}

impl<'a> Take<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Take<'a> {
        Take { rest: bytes }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed("ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed("ends too early"))?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (at, &byte) in self.rest.iter().take(10).enumerate() {
            if at == 9 && byte > 1 {
                return Err(Malformed("integer above 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(Malformed("ends inside an integer"))
    }

    /// A varint that must fit 32 bits.
    #[inline]
    pub(crate) fn varint32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.varint()?).map_err(|_| Malformed("integer above 32 bits"))
    }

    #[inline]
    pub(crate) fn slice(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.varint()?).map_err(|_| Malformed("length above memory"))?;
        self.bytes(len)
    }

    /// A length-prefixed UTF-8 text.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.slice()?).map_err(|_| Malformed("text is not UTF-8"))
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Everything must have been read.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("bytes after the end")) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_and_take_the_bytes_that_were_foretold() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, (1 << shift) + 1] {
                let mut out = vec![0; varint_len(value)];
                Put::new(&mut out).varint(value);
                let mut take = Take::new(&out);
                assert_eq!(take.varint(), Ok(value));
                assert_eq!(take.end(), Ok(()));
                let several = [5, value, 0];
                let mut out = vec![0; several.into_iter().map(varint_len).sum()];
                Put::new(&mut out).varints(several);
                let mut take = Take::new(&out);
                assert_eq!(several.map(|_| take.varint().unwrap()), several);
            }
        }
        assert_eq!(varint_len(u64::MAX), 10);
    }

    #[test]
    fn cut_or_overlong_bytes_are_malformed_and_never_a_panic() {
        assert!(Take::new(&[0x80, 0x80]).varint().is_err());
        assert!(Take::new(&[0xff; 11]).varint().is_err());
        assert!(Take::new(&[5, b'a', b'b']).slice().is_err());
        assert!(Take::new(&[1, 2, 3]).u32().is_err());
        assert!(Take::new(&[2, 0xff, 0xfe]).text().is_err());
        assert!(Take::new(&[1]).end().is_err());
    }
}
