//! What a thread leaves to others while it sleeps: they serve in its stead, or wake it.
//!
//! No ring is lost. The first who rings since somebody looked either takes the loan and looks, or wakes the thread
//! whose it is, which looks; those who ring later are seen by that look.

use crate::base::sync::{AtomicBool, Mutex, Ordering};

/// A loan, and whether somebody will look at it.
pub(crate) struct Lending<T> {
    has_rung: AtomicBool,
    lent: Mutex<Option<T>>,
}

impl<T> Lending<T> {
    pub(crate) fn new() -> Lending<T> {
        Lending { has_rung: AtomicBool::new(false), lent: Mutex::new(None) }
    }

    /// Whether the caller is the first since somebody looked, and must see to it that somebody does.
    pub(crate) fn ring(&self) -> bool {
        !self.has_rung.swap(true, Ordering::SeqCst)
    }

    /// Looks for all that was rung for before.
    pub(crate) fn look<L>(&self, look: impl FnOnce() -> L) -> L {
        #[cfg(not(planted = "looked_before_silence"))]
        self.has_rung.store(false, Ordering::SeqCst);
        let found = look();
        #[cfg(planted = "looked_before_silence")]
        self.has_rung.store(false, Ordering::SeqCst);
        found
    }

    /// Serves with the loan, if it is there and nobody else has it. `false` if its owner must be woken: it was not, or
    /// `serve` has left something to it.
    pub(crate) fn try_serve(&self, serve: impl FnOnce(&mut T) -> bool) -> bool {
        let Some(mut lent) = self.lent.try_lock() else { return cfg!(planted = "busy_is_served") };
        lent.as_mut().is_some_and(serve)
    }
}

impl<T: Default> Lending<T> {
    /// Leaves it to others for as long as `sleep` takes.
    pub(crate) fn lend<S>(&self, owned: &mut T, sleep: impl FnOnce() -> S) -> S {
        *self.lent.lock() = Some(std::mem::take(owned));
        let woken = sleep();
        *owned = self.lent.lock().take().expect("who serves leaves it in its place");
        woken
    }
}
