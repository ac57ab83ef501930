//! What the system has counted of this process.

use std::mem::MaybeUninit;

/// Since the process began, all its threads together.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) user_micros: f64,
    pub(crate) system_micros: f64,
    /// Times that a thread went to sleep.
    pub(crate) sleeps: f64,
}

impl Usage {
    pub(crate) fn now() -> Usage {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the call writes one `rusage` to a place of that size, which outlives it.
        let told = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
        assert_eq!(told, 0, "a process may ask for its own usage");
        // SAFETY: the call has succeeded, so every field is written.
        let usage = unsafe { usage.assume_init() };
        let micros = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
        Usage {
            user_micros: micros(usage.ru_utime),
            system_micros: micros(usage.ru_stime),
            sleeps: usage.ru_nvcsw as f64,
        }
    }

    /// What came after `before`, for each of `count`.
    pub(crate) fn since(self, before: Usage, count: f64) -> Usage {
        Usage {
            user_micros: (self.user_micros - before.user_micros) / count,
            system_micros: (self.system_micros - before.system_micros) / count,
            sleeps: (self.sleeps - before.sleeps) / count,
        }
    }
}
