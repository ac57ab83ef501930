//! Processes of several users on one directory. Only root can play them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use towpath::{Error, OpenMode, Options, StreamOptions};

use crate::child::ChildProcess;
use crate::members::{MEMBER, Member};
use crate::place::{Place, eventually};

const SOMEBODY: u32 = 65_534;

/// Whether this process can start others as another user. Says so if not.
fn can_be_others() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can become another user");
    }
    is_root
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A directory for the database, and this program where everybody may execute it.
fn prepared(place: &Place, owner: u32, mode: u32) -> PathBuf {
    let program = place.beside("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    set_mode(&program, 0o755);
    set_mode(program.parent().unwrap(), 0o755);
    fs::create_dir(place.data()).unwrap();
    chown(place.data(), Some(owner), Some(owner)).unwrap();
    set_mode(&place.data(), mode);
    program
}

fn somebody(place: &Place, program: &Path) -> Member {
    let mut member = Member(ChildProcess::start_as(SOMEBODY, program, MEMBER, &place.data()));
    assert_eq!(member.0.next().as_deref(), Some("open"));
    member
}

#[test]
fn root_locks_nobody_out_of_their_own_directory() {
    if !can_be_others() {
        return;
    }
    let place = Place::new();
    let program = prepared(&place, SOMEBODY, 0o700);
    let db = place.open();
    db.create_stream("orders", StreamOptions::new()).unwrap().append("by root").unwrap();
    let mut owner = somebody(&place, &program);
    assert!(!owner.is_host());
    assert_eq!(owner.append("by its owner"), 1);
    db.checkpoint().unwrap();
    db.close().unwrap();
    assert_eq!(owner.append("by its owner, who hosts it now"), 2);
    eventually("its owner hosts it", || owner.is_host());
    let db = place.open();
    assert!(!db.is_host(), "root attaches to the owner");
    assert_eq!(db.stream("orders").unwrap().append("by root again").unwrap().offset, 3);
    assert_eq!(owner.told("close"), "closed");
}

#[test]
fn a_host_that_neither_owns_the_directory_nor_is_root_is_not_believed() {
    if !can_be_others() {
        return;
    }
    let place = Place::new();
    let program = prepared(&place, 0, 0o777);
    let mut stranger = somebody(&place, &program);
    assert!(stranger.is_host());
    for mode in [OpenMode::Auto, OpenMode::Attach] {
        let told = Options::temporary().mode(mode).open(place.data());
        assert!(matches!(told, Err(Error::NotPermitted { uid }) if uid == u64::from(SOMEBODY)), "{told:?}");
    }
    assert_eq!(stranger.append("one blue mug"), 0, "it is alone with what it does");
}
