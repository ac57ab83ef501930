//! SIGINT and SIGTERM while a command holds something that it puts away before it ends: a database, a directory.
//!
//! The first one is noted and whoever waits here is woken; a second one ends the process at once. A signal that the
//! parent process had set to be ignored, as `nohup` does, stays ignored.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::exit::Failure;

static SIGNALS: OnceLock<Signals> = OnceLock::new();

/// The signals that came since [`catch`].
pub(crate) struct Signals {
    /// 0 until one came.
    first: Arc<AtomicUsize>,
    /// Readable once one came; nobody reads it.
    wake: UnixStream,
}

/// From now on a signal is noted and ends nothing by itself.
pub(crate) fn catch() -> Result<&'static Signals, Failure> {
    if let Some(signals) = SIGNALS.get() {
        return Ok(signals);
    }
    let signals = Signals::register().map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))?;
    Ok(SIGNALS.get_or_init(|| signals))
}

impl Signals {
    fn register() -> io::Result<Signals> {
        let (wake, waker) = UnixStream::pair()?;
        let (first, came) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let ignored = ignored();
        for signal in [SIGINT, SIGTERM].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0) {
            // In this order: the first to come passes the default by, and is noted before it wakes.
            flag::register_conditional_default(signal, came.clone())?;
            flag::register(signal, came.clone())?;
            flag::register_usize(signal, first.clone(), signal.unsigned_abs() as usize)?;
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Signals { first, wake })
    }

    /// Fails once a signal came.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match u8::try_from(self.first.load(Ordering::Acquire)) {
            Ok(0) => Ok(()),
            signal => Err(Failure::Stopped { signal: signal.unwrap_or(u8::MAX) }),
        }
    }

    /// Returns when the time has passed; fails when a signal came.
    pub(crate) fn wait_timeout(&self, timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        loop {
            self.check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let left = Timespec::try_from(left).map_err(|_| Failure::failed("cannot wait for so long"))?;
            match poll(&mut [PollFd::new(&self.wake, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(cannot_wait(error)),
            }
        }
    }

    /// Returns when `input` has something to read or has ended; fails when a signal came.
    pub(crate) fn wait_for_input(&self, input: impl AsFd) -> Result<(), Failure> {
        self.wait(&input, PollFlags::IN)?;
        self.check()
    }

    /// Returns when whoever read `output` has left; fails when a signal came. Waits for ever where nobody can leave, as
    /// with a file.
    pub(crate) fn wait_for_reader_to_leave(&self, output: impl AsFd) -> Result<(), Failure> {
        // No flag: errors and hang-ups are told without being asked for.
        self.wait(&output, PollFlags::empty())?;
        self.check()
    }

    fn wait(&self, other: &impl AsFd, flags: PollFlags) -> Result<(), Failure> {
        let mut waits = [PollFd::new(&self.wake, PollFlags::IN), PollFd::new(other, flags)];
        let outcome = retry_on_intr(|| poll(&mut waits, None));
        outcome.map(|_| ()).map_err(cannot_wait)
    }
}

fn cannot_wait(error: Errno) -> Failure {
    Failure::failed(format!("cannot wait: {}", io::Error::from(error)))
}

/// Bit n - 1 is set if signal n is ignored; none where the system does not tell.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
