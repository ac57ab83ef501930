#![expect(unsafe_code, reason = "there is no other way to fork")]

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FileType;

use super::super::super::{Disk, Hold, LockFault};
use super::super::HostDisk;
use super::super::socket::{Alarm, Listener, Socket, wait};
use super::*;

/// A fork of this process, killed when dropped.
pub(in super::super) struct Child(libc::pid_t);

impl Child {
    /// One that has begun to run, lives until it is dropped, and does nothing.
    pub(in super::super) fn idle() -> Child {
        let begun = eventfd();
        let child = Child::running(|| {
            rustix::io::write(&begun, &1_u64.to_ne_bytes()).unwrap();
            loop {
                // SAFETY: waits for the signal that ends the process.
                unsafe { libc::pause() };
            }
        });
        rustix::io::read(&begun, &mut [0; 8]).unwrap();
        child
    }

    fn running(body: impl FnOnce() -> bool) -> Child {
        // SAFETY: the child runs `body` and leaves without unwinding into the harness. It has one thread and may
        // allocate, which the C library allows after a fork; if it hung, the alarm would end it.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork failed");
        if pid == 0 {
            // SAFETY: sets a timer for this process and ends it without running anything of the parent's.
            unsafe {
                libc::alarm(60);
                let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                libc::_exit(if answer.unwrap_or(false) { 0 } else { 1 });
            }
        }
        Child(pid)
    }

    fn ended_well(self) -> bool {
        let mut status = 0;
        // SAFETY: waits for a child that is ours, as is `status`.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        std::mem::forget(self);
        waited > 0 && status == 0
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: ends a child that is ours and was not waited for, so that its number is nobody else's.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

fn shop() -> (tempfile::TempDir, HostDisk) {
    let place = tempfile::tempdir().unwrap();
    let disk = HostDisk::open(place.path(), false).unwrap();
    (place, disk)
}

fn connected(disk: &HostDisk, listener: &Listener) -> (Socket, Socket) {
    (disk.connect().unwrap(), listener.accept().unwrap())
}

fn is_null(descriptor: &impl AsFd) -> bool {
    FileType::from_raw_mode(fs::fstat(descriptor).unwrap().st_mode) == FileType::CharacterDevice
}

fn expect_end(socket: &Socket) {
    let ready = wait(socket, None, true, Some(10_000_000)).unwrap();
    assert!(ready.hung_up, "somebody still has the other end");
    assert_eq!(socket.receive(&mut [0; 9]).unwrap(), 0);
}

#[test]
fn a_child_that_lives_on_keeps_neither_listener_nor_connection() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    let _child = Child::idle();
    client.close_only();
    expect_end(&host);
    listener.close_only();
    let until = Instant::now() + Duration::from_secs(10);
    while let Ok(_queued) = disk.connect() {
        // A child of another test may not have run yet.
        assert!(Instant::now() < until, "the child listens");
    }
    assert_eq!(disk.connect().unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_child_that_drops_its_copies_does_not_disturb_its_parent() {
    let (_place, disk) = shop();
    let lock = disk.lock(Hold::Exclusive).unwrap();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    let alarm = Alarm::new().unwrap();
    let copies = ManuallyDrop::new((lock, listener, client, host, alarm));
    let child = Child::running(|| {
        let (lock, listener, client, host, alarm) = ManuallyDrop::into_inner(copies_of(&copies));
        alarm.ring();
        client.shutdown();
        listener.shutdown();
        let failed = client.send_all(b"one blue mug", None).is_err() && host.receive(&mut [0; 9]).is_err();
        drop((lock, listener, client, host, alarm));
        failed && disk.lock(Hold::Exclusive).is_err()
    });
    assert!(child.ended_well());
    let (lock, listener, client, host, alarm) = ManuallyDrop::into_inner(copies);
    assert!(matches!(disk.lock(Hold::Exclusive), Err(LockFault::Held { .. })));
    client.send_all(b"one blue mug", None).unwrap();
    let mut buffer = [0; 12];
    assert_eq!(host.receive(&mut buffer).unwrap(), 12);
    assert!(!wait(&host, Some(&alarm), false, Some(0)).unwrap().alarmed, "the child rang its parent's alarm");
    connected(&disk, &listener);
    drop(lock);
    disk.lock(Hold::Exclusive).unwrap();
}

/// A child's copy, to be dropped there: its parent's is another process's memory.
fn copies_of<T>(original: &ManuallyDrop<T>) -> ManuallyDrop<T> {
    // SAFETY: only called in a forked child, which never touches the original again.
    unsafe { std::ptr::read(original) }
}

#[test]
fn the_number_stays_taken_in_the_child_and_is_free_to_be_entered_again() {
    let (_place, disk) = shop();
    let held = NotInherited::open(|| Ok(eventfd())).unwrap();
    let child = Child::running(|| {
        let stranger = eventfd();
        let is_taken = is_null(&held) && stranger.as_raw_fd() != held.as_fd().as_raw_fd();
        // SAFETY: the child never touches the original again.
        drop(unsafe { std::ptr::read(&raw const held) });
        let _entered = disk.listen().unwrap();
        let grandchild = Child::running(|| !is_null(&stranger)).ended_well();
        is_taken && grandchild && !is_null(&stranger)
    });
    assert!(child.ended_well());
    assert!(!is_null(&held));
}

fn eventfd() -> OwnedFd {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap()
}

/// The children live to the end: one that was forked between a descriptor's opening and its entry, or between its
/// closing and the end of its entry, would keep it.
#[test]
fn no_fork_comes_between_opening_and_entering() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let children = thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let until = Instant::now() + Duration::from_millis(1500);
            while Instant::now() < until {
                let (client, host) = connected(&disk, &listener);
                client.close_only();
                expect_end(&host);
            }
        });
        let mut children = Vec::new();
        while !busy.is_finished() && children.len() < 100 {
            children.push(Child::idle());
            thread::sleep(Duration::from_millis(10));
        }
        busy.join().unwrap();
        children
    });
    assert!(children.len() > 1);
}
