//! The only place that reads a clock or asks for randomness.

use std::io::{self, Read};
use std::os::linux::fs::MetadataExt;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::base::time::{BootTime, ClockIdentity, Timestamp};

/// `CLOCK_REALTIME_COARSE`: good to the kernel's tick, a few milliseconds, and several times cheaper. A clock
/// set before 1970 reads as 1970.
#[inline]
pub(crate) fn wall_coarse() -> Timestamp {
    Timestamp(micros(clock_gettime(ClockId::RealtimeCoarse)))
}

/// `CLOCK_BOOTTIME`. Comparable only between processes of one [`identity`].
pub(crate) fn boot() -> BootTime {
    BootTime(micros(clock_gettime(ClockId::Boottime)))
}

/// Names this boot of this machine and the time namespace of this process.
pub(crate) fn identity() -> io::Result<ClockIdentity> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let boot_id = parse_uuid(text.trim_end()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("boot id {text:?} of the kernel is not a UUID"))
    })?;
    // Kernels before 5.6 have no time namespaces, and no file that names one.
    let time_namespace = match std::fs::metadata("/proc/self/ns/time") {
        Ok(namespace) => namespace.st_ino(),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => 0,
        Err(fault) => return Err(fault),
    };
    Ok(ClockIdentity { boot_id, time_namespace })
}

/// Sixteen bytes that nobody else was given: the id of a new database.
pub(crate) fn random_id() -> io::Result<[u8; 16]> {
    let mut id = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut id)?;
    Ok(id)
}

fn micros(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanos / 1_000
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|&c| c != '-').collect();
    (digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .then(|| u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes))
        .flatten()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward_in_microseconds() {
        let (first, second) = (boot(), boot());
        assert!(second >= first && second.since(first) < 60_000_000);
        let year_2024 = 1_704_067_200_000_000;
        assert!(wall_coarse().as_micros() > year_2024);
    }

    #[test]
    fn the_clock_has_one_identity_within_a_process() {
        assert_eq!(identity().unwrap(), identity().unwrap());
        assert_ne!(identity().unwrap().boot_id, [0; 16]);
    }

    #[test]
    fn a_boot_id_is_sixteen_bytes_in_the_order_written() {
        let id = parse_uuid("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!((id[0], id[1], id[15]), (0x00, 0x11, 0xff));
        assert_eq!(parse_uuid("00112233"), None);
        assert_eq!(parse_uuid("0011223344556677+899aabbccddeeff"), None);
    }

    #[test]
    fn random_ids_differ() {
        assert_ne!(random_id().unwrap(), random_id().unwrap());
    }
}
