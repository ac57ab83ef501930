//! Tells file systems on this machine from those behind a network, whose syncs, maps and locks promise less.
//!
//! The kernel's magic numbers are listed in statfs(2). All of FUSE has one number, so there the name in the mount table
//! decides; what is not known to be remote is taken for local (virtiofs is a directory of this very machine's host).

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{fstat, fstatfs, major, minor};
use rustix::io::retry_on_intr;

use super::super::FileSystem;

const NETWORK: [(u32, &str); 16] = [
    (0x6969, "nfs"),
    (0x517B, "smb"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb2"),
    (0x0102_1997, "9p"),
    (0x5346_414F, "afs"),
    (0x6B41_4653, "afs"),
    (0x00C3_6400, "ceph"),
    (0x0BD0_0BD0, "lustre"),
    (0x0116_1970, "gfs2"),
    (0x7461_636F, "ocfs2"),
    (0x7375_7245, "coda"),
    (0x564C, "ncp"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "beegfs"),
    (0x786F_4256, "vboxsf"),
];

const FUSE: u32 = 0x6573_5546;

const NETWORK_FUSE: [&str; 9] = [
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "fuse.s3fs",
    "fuse.gcsfuse",
    "fuse.rclone",
    "fuse.juicefs",
    "fuse.davfs",
];

pub(super) fn of(directory: &OwnedFd) -> io::Result<FileSystem> {
    // The magic is 32 bits wide; the field is a signed word.
    let magic = retry_on_intr(|| fstatfs(directory))?.f_type as u32;
    if magic == FUSE {
        return fuse(directory);
    }
    let known = NETWORK.iter().find(|(number, _)| *number == magic);
    Ok(known.map_or(FileSystem::Local, |(_, name)| FileSystem::Network((*name).to_owned())))
}

fn fuse(directory: &OwnedFd) -> io::Result<FileSystem> {
    let device = retry_on_intr(|| fstat(directory))?.st_dev;
    let device = format!("{}:{}", major(device), minor(device));
    // Without a mount table nothing is told apart, and plain FUSE is local.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let name = mounts.lines().filter_map(mount).find(|(of, _)| *of == device).map(|(_, name)| name);
    Ok(match name {
        Some(name) if NETWORK_FUSE.contains(&name) => FileSystem::Network(name.to_owned()),
        _ => FileSystem::Local,
    })
}

/// Device and file system name of a line of /proc/self/mountinfo, as proc_pid_mountinfo(5) lays it out.
fn mount(line: &str) -> Option<(&str, &str)> {
    let (place, kind) = line.split_once(" - ")?;
    Some((place.split(' ').nth(2)?, kind.split(' ').next()?))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_mount_table_names_device_and_file_system() {
        let line = "36 35 0:52 / /mnt/far rw,nosuid shared:1 - fuse.sshfs me@far:/ rw,user_id=0";
        assert_eq!(mount(line), Some(("0:52", "fuse.sshfs")));
        assert_eq!(mount("36 35 8:1 / / rw - ext4 /dev/sda1 rw"), Some(("8:1", "ext4")));
        assert_eq!(mount(""), None);
    }
}
