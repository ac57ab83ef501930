//! The one facade over threads, locks and atomics. Under `cfg(loom)` they are loom's, so that loom can try every order;
//! nothing else in the library names `std::sync`, `parking_lot` or `std::thread`.

#[cfg(loom)]
pub(crate) use loom_facade::*;
#[cfg(not(loom))]
pub(crate) use real_facade::*;

/// For what is held across a fork, which no model knows. The mutex is a word of memory, which the child of a fork can
/// let go of; parking_lot's threads wait in a table that a fork may copy half changed.
pub(crate) use std::sync::{Mutex as ForkMutex, MutexGuard as ForkGuard};
pub(crate) use std::thread::panicking as is_panicking;
pub(crate) use std::thread_local;

#[cfg(not(loom))]
mod real_facade {
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
    pub(crate) use std::thread::JoinHandle;

    pub(crate) use event_listener::{Event, EventListener, Listener};
    pub(crate) use parking_lot::{Mutex, MutexGuard};

    #[cfg(test)]
    pub(crate) use scarce::refuse_threads_after;

    /// What `park` waits on, as a waker.
    struct Unpark(std::thread::Thread);

    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// A waker that ends a [`park`] of this thread.
    pub(crate) fn thread_waker() -> std::task::Waker {
        std::task::Waker::from(Arc::new(Unpark(std::thread::current())))
    }

    /// Sleeps until this thread's waker was woken, or without cause; at most `micros` if given.
    pub(crate) fn park(micros: Option<u64>) {
        match micros {
            Some(micros) => std::thread::park_timeout(std::time::Duration::from_micros(micros)),
            None => std::thread::park(),
        }
    }

    /// Sleeps until the listener is notified; at most `micros` if given. Tells whether it was.
    pub(crate) fn wait_listener(listener: EventListener, micros: Option<u64>) -> bool {
        match micros {
            Some(micros) => listener.wait_timeout(std::time::Duration::from_micros(micros)).is_some(),
            None => {
                listener.wait();
                true
            }
        }
    }

    /// Starts a named thread.
    pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
        #[cfg(test)]
        if !scarce::take_thread() {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        std::thread::Builder::new().name(name.to_owned()).spawn(body)
    }

    #[cfg(test)]
    mod scarce {
        use std::cell::Cell;

        thread_local! {
            static THREADS_LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
        }

        /// This many threads can be started by the calling one, and then no more.
        pub(crate) fn refuse_threads_after(threads: usize) {
            THREADS_LEFT.set(threads);
        }

        pub(super) fn take_thread() -> bool {
            let left = THREADS_LEFT.get();
            THREADS_LEFT.set(left.saturating_sub(1));
            left > 0
        }
    }
}

#[cfg(loom)]
mod loom_facade {
    pub(crate) use std::sync::Arc;

    pub(crate) use event_listener::{Event, EventListener, Listener};
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
    pub(crate) use loom::thread::JoinHandle;

    /// For what a model notes about itself: loom sees nothing of it.
    pub(crate) use std::sync::Mutex as UnseenMutex;

    /// loom's mutex with parking_lot's shape: no poisoning.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Mutex<T> {
            Mutex::new(T::default())
        }
    }

    pub(crate) type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(|e| e.into_inner())
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    /// loom's own `park` loses a wake that comes while the thread waits for a mutex, so this is a token of ours.
    #[derive(Debug)]
    struct Parker {
        woken: loom::sync::Mutex<bool>,
        changed: loom::sync::Condvar,
    }

    impl std::task::Wake for Parker {
        fn wake(self: Arc<Self>) {
            *self.woken.lock().unwrap_or_else(|e| e.into_inner()) = true;
            self.changed.notify_one();
        }
    }

    loom::thread_local! {
        static PARKER: Arc<Parker> =
            Arc::new(Parker { woken: loom::sync::Mutex::new(false), changed: loom::sync::Condvar::new() });
    }

    pub(crate) fn thread_waker() -> std::task::Waker {
        std::task::Waker::from(PARKER.with(Arc::clone))
    }

    /// loom knows no time: it sleeps until woken.
    pub(crate) fn park(_micros: Option<u64>) {
        let parker = PARKER.with(Arc::clone);
        let mut woken = parker.woken.lock().unwrap_or_else(|e| e.into_inner());
        while !*woken {
            woken = parker.changed.wait(woken).unwrap_or_else(|e| e.into_inner());
        }
        *woken = false;
    }

    pub(crate) fn wait_listener(listener: EventListener, _micros: Option<u64>) -> bool {
        listener.wait();
        true
    }

    /// Starts a thread; loom has no names.
    pub(crate) fn spawn(_name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
        Ok(loom::thread::spawn(body))
    }
}
