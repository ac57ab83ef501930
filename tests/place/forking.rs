//! Children that are forks of this process, and signals of its own.

#![allow(dead_code, reason = "each test file is a crate of its own and uses its part of this")]
#![expect(unsafe_code, reason = "there is no other way to fork, or to ignore a signal")]

/// Runs `child` in a fork of this process, which then ends at once. Expects every answer to be as `child` wants it, and
/// names the first that is not by its place.
#[track_caller]
pub fn in_a_fork(child: impl FnOnce() -> Vec<bool>) {
    // SAFETY: the child runs `child` and leaves without unwinding into the harness. It has one thread and allocates,
    // which the C library allows after a fork. It takes no lock that another thread may have held, which is what is
    // tested: if it did, the child would hang and the alarm would end it.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        // SAFETY: sets a timer for this process and ends it without running anything of the parent's.
        unsafe {
            libc::alarm(30);
            let answers = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or_default();
            let wrong = answers.iter().position(|as_wanted| !as_wanted);
            let code = if answers.is_empty() { 100 } else { wrong.map_or(0, |place| place as i32 + 1) };
            libc::_exit(code);
        }
    }
    let mut status = 0;
    // SAFETY: waits for the child that was just made; `status` is ours.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    let code = libc::WEXITSTATUS(status);
    assert!(status == 0, "answer {code} of the child was wrong (100: it panicked; 0: it hung; status {status})");
}

/// Forks a child that does nothing for a while, and gives its process id.
pub fn linger() -> i32 {
    // SAFETY: the child only sleeps, and ends without running anything of the parent's.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        // SAFETY: as above.
        unsafe {
            libc::sleep(20);
            libc::_exit(0);
        }
    }
    pid
}

/// A write beyond what the process may write is an error then, and does not end the process.
pub fn ignore_file_size_signal() {
    // SAFETY: no code runs for an ignored signal.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
