//! The one checksum of everything on disk.

use crc_fast::{CrcAlgorithm, checksum};

/// CRC-32C (Castagnoli), as iSCSI and ext4 use it.
#[inline]
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_crc32c_that_others_compute() {
        for len in [0, 1, 7, 64, 152, 4096] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
            assert_eq!(crc(&bytes), crc32c::crc32c(&bytes));
        }
    }
}
