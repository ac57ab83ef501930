//! The physical ceilings that the engine's figures are held against, measured on the spot.

use std::time::Duration;

use crate::base::crc::crc;
use crate::base::sync::Mutex;
use crate::storage::disk::clock;

/// Bytes of the ring that is written round and round.
const RING_BYTES: usize = 8 << 20;

/// How long it takes to copy and checksum `records` records of `record_bytes` bytes into a ring in memory, under a
/// mutex, one at a time: the least that any append with a checksum can cost. The ring is warm and holds no header.
///
/// # Panics
/// If a record does not fit the ring of 8 MiB.
#[must_use]
pub fn bare_ring(records: u64, record_bytes: usize) -> Duration {
    assert!(record_bytes > 0 && record_bytes < RING_BYTES, "records of 1 to {RING_BYTES} bytes");
    let record = vec![0x5a_u8; record_bytes];
    let ring = Mutex::new((vec![1_u8; RING_BYTES], 0_usize, 0_u32));
    let started = clock::boot();
    for _ in 0..records {
        let mut ring = ring.lock();
        let (bytes, at, sum) = &mut *ring;
        if *at + record_bytes > RING_BYTES {
            *at = 0;
        }
        let place = &mut bytes[*at..*at + record_bytes];
        place.copy_from_slice(std::hint::black_box(&record));
        *sum ^= crc(place);
        *at += record_bytes;
    }
    std::hint::black_box(ring.lock().2);
    Duration::from_micros(clock::boot().since(started).max(1))
}
