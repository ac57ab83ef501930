//! What only the operating system's disk can be asked.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use super::super::{Access, Disk, FileSystem, Hold, Holder, LockFault};
use super::HostDisk;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_missing_directory_is_created_only_when_asked() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a/b");
    assert_eq!(HostDisk::open(&path, false).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    HostDisk::open(&path, true).unwrap();
    HostDisk::open(&path, true).unwrap();
    assert!(HostDisk::open(&path, false).is_ok());
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn files_and_folders_are_private() {
    let place = tempfile::tempdir().unwrap();
    let disk = HostDisk::open(place.path(), false).unwrap();
    disk.create_folder("segments").unwrap();
    disk.open("segments/0.seg", Access::Create).unwrap();
    let _lock = disk.lock(Hold::Exclusive).unwrap();
    assert_eq!(mode(&place.path().join("segments")), 0o700);
    assert_eq!(mode(&place.path().join("segments/0.seg")), 0o600);
    assert_eq!(mode(&place.path().join("LOCK")), 0o600);
}

#[test]
fn what_root_creates_in_another_users_directory_is_that_users() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can give a directory to another user");
    }
    let place = tempfile::tempdir().unwrap();
    chown(place.path(), Some(65_534), Some(65_533)).unwrap();
    let disk = HostDisk::open(place.path(), false).unwrap();
    disk.create_folder("segments").unwrap();
    disk.open("segments/0.seg", Access::Create).unwrap();
    let _lock = disk.lock(Hold::Attachable).unwrap();
    let _listener = disk.listen().unwrap();
    for name in ["segments", "segments/0.seg", "LOCK", "host.sock"] {
        let found = std::fs::symlink_metadata(place.path().join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (65_534, 65_533), "{name}");
    }
    assert!(disk.admits(65_534).unwrap() && disk.admits(0).unwrap() && !disk.admits(65_533).unwrap());
}

#[test]
fn a_directory_that_is_renamed_stays_one_database() {
    let place = tempfile::tempdir().unwrap();
    let (before, after) = (place.path().join("before"), place.path().join("after"));
    let disk = HostDisk::open(&before, true).unwrap();
    std::fs::rename(&before, &after).unwrap();
    disk.open("control", Access::Create).unwrap();
    assert!(after.join("control").exists());
}

#[test]
fn the_lock_names_its_holder_and_replaces_a_longer_name() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("LOCK"), "123456789012345\nexclusive\nstale").unwrap();
    let disk = HostDisk::open(place.path(), false).unwrap();
    let here = std::process::id();
    for (hold, text) in [(Hold::Exclusive, format!("{here}\nexclusive\n")), (Hold::Attachable, format!("{here}\n\n"))] {
        let exclusively = hold == Hold::Exclusive;
        let lock = disk.lock(hold).unwrap();
        assert_eq!(std::fs::read_to_string(place.path().join("LOCK")).unwrap(), text);
        let again = HostDisk::open(place.path(), false).unwrap();
        let Err(LockFault::Held { pid, exclusive }) = again.lock(hold) else { panic!("two holders of one lock") };
        assert_eq!((pid, exclusive), (here, exclusively));
        drop(std::fs::File::open(place.path().join("LOCK")).unwrap());
        assert!(again.lock(hold).is_err(), "closing another descriptor must not release it");
        drop(lock);
        again.lock(hold).unwrap();
    }
}

#[test]
fn asking_who_holds_the_lock_takes_nothing_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let disk = HostDisk::open(place.path(), false).unwrap();
    assert_eq!(disk.lock_holder().unwrap(), None);
    assert!(disk.list("").unwrap().is_empty());
    let lock = disk.lock(Hold::Exclusive).unwrap();
    assert_eq!(disk.lock_holder().unwrap(), Some(Holder { pid: std::process::id(), exclusive: true }));
    drop(lock);
    assert_eq!(disk.lock_holder().unwrap(), None, "what the file says counts only while somebody holds it");
    let _lock = disk.lock(Hold::Attachable).unwrap();
    assert_eq!(disk.lock_holder().unwrap(), Some(Holder { pid: std::process::id(), exclusive: false }));
}

#[test]
fn a_holder_is_read_from_one_line_or_two() {
    let holder = |text: &str| Holder::parse(text.as_bytes());
    assert_eq!(holder("4711\nexclusive\n"), Holder { pid: 4711, exclusive: true });
    assert_eq!(holder("4711\n\n"), Holder { pid: 4711, exclusive: false });
    assert_eq!(holder("4711\n"), Holder { pid: 4711, exclusive: false });
    assert_eq!(holder("54321\n\nxclusive\n"), Holder { pid: 54321, exclusive: false }, "not cut yet");
    assert_eq!(holder("a letter"), Holder { pid: 0, exclusive: false });
    assert_eq!(holder(""), Holder { pid: 0, exclusive: false });
}

#[test]
fn a_temporary_directory_is_on_a_local_file_system() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(HostDisk::open(place.path(), false).unwrap().file_system().unwrap(), FileSystem::Local);
}

#[test]
#[should_panic(expected = "not a name inside")]
fn a_path_that_leaves_the_directory_is_a_bug() {
    let place = tempfile::tempdir().unwrap();
    let _ = HostDisk::open(place.path(), false).unwrap().remove("../elsewhere");
}

#[test]
fn it_is_a_disk() {
    let mut places = Vec::new();
    super::super::conformance::check(|| {
        places.push(tempfile::tempdir().unwrap());
        HostDisk::open(places.last().unwrap().path(), false).unwrap()
    });
}
