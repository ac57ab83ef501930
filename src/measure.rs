//! The physical ceilings that the engine's figures are held against, measured on the spot.

use std::time::Duration;

use crate::base::bounds::RING_BYTES_DEFAULT;
use crate::base::crc::crc;
use crate::base::lsn::{Geometry, Lsn, align_up};
use crate::base::sync::Mutex;
use crate::storage::disk::host::{HostDisk, remove_tree};
use crate::storage::disk::{Access, Disk, clock};
use crate::storage::ring::Ring;

/// How long it takes to copy and checksum `records` records of `record_bytes` bytes into a mapped ring of 8 MiB,
/// under a mutex, one at a time: the least that any append with a checksum can cost. The ring is warm and nothing is
/// written out.
///
/// # Errors
/// What the system says when the ring's file cannot be made in the folder for temporary files.
///
/// # Panics
/// If a record does not fit the ring.
pub fn bare_ring(records: u64, record_bytes: usize) -> std::io::Result<Duration> {
    let id = clock::random_id()?;
    let path = std::env::temp_dir().join(format!("towpath-ring-{:x}", u128::from_le_bytes(id)));
    let measured = HostDisk::open(&path, true).and_then(|disk| fill_round_and_round(&disk, records, record_bytes));
    remove_tree(&path)?;
    measured
}

#[expect(unsafe_code, reason = "fills a ring that nobody else knows")]
fn fill_round_and_round(disk: &HostDisk, records: u64, record_bytes: usize) -> std::io::Result<Duration> {
    let geometry = Geometry::new(RING_BYTES_DEFAULT, RING_BYTES_DEFAULT).expect("the default sizes are valid");
    let file = disk.open("ring", Access::Create)?;
    file.write(0, &vec![0; RING_BYTES_DEFAULT as usize])?;
    let ring = Ring::new(file.map_write(RING_BYTES_DEFAULT)?, geometry);
    // SAFETY: this function alone knows the ring, and holds no other slice of it.
    unsafe { ring.fill(Lsn(0), RING_BYTES_DEFAULT as usize) }.fill(1);
    let (record, extent) = (vec![0x5a_u8; record_bytes], align_up(record_bytes as u64));
    let state = Mutex::new((Lsn(0), 0_u32));
    let started = clock::boot();
    for _ in 0..records {
        let mut state = state.lock();
        let (at, sum) = &mut *state;
        if geometry.room_to_lap(*at) < extent {
            *at = at.plus(geometry.room_to_lap(*at));
        }
        // SAFETY: as above; the slice ends with this turn of the loop.
        let place = unsafe { ring.fill(*at, record_bytes) };
        place.copy_from_slice(std::hint::black_box(&record));
        *sum ^= crc(place);
        *at = at.plus(extent);
    }
    std::hint::black_box(state.lock().1);
    Ok(Duration::from_micros(clock::boot().since(started).max(1)))
}
