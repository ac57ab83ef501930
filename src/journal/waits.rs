//! Those who wait for `durable` to pass an address, in the order of their addresses.
//!
//! A commit wakes exactly those whose frames it covered, and one more: the first that is left, who leads the next
//! batch. A thread and a task wait alike; both are a `Waker`.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::base::lsn::Lsn;
use crate::base::sync::Mutex;

/// Names one registration.
pub(crate) type WaitKey = (Lsn, u64);

/// The wait list.
#[derive(Debug)]
pub(crate) struct DurableWaits {
    list: Mutex<WaitList>,
}

#[derive(Debug, Default)]
struct WaitList {
    waiting: BTreeMap<WaitKey, Waker>,
    next: u64,
}

impl DurableWaits {
    pub(crate) fn new() -> DurableWaits {
        DurableWaits { list: Mutex::new(WaitList::default()) }
    }

    /// Registers; the caller looks at `durable` once more afterwards, and only then sleeps.
    pub(crate) fn register(&self, lsn: Lsn, waker: Waker) -> WaitKey {
        let mut list = self.list.lock();
        list.next += 1;
        let key = (lsn, list.next);
        list.waiting.insert(key, waker);
        key
    }

    /// Leaves the list. Tells whether it still stood there: a waiter that was woken does not, and may be the one that
    /// is to lead.
    pub(crate) fn leave(&self, key: WaitKey) -> bool {
        self.list.lock().waiting.remove(&key).is_some()
    }

    /// Wakes those whose addresses `durable` has reached, and the first of the rest to lead. With `everyone`, wakes
    /// all.
    pub(crate) fn wake(&self, durable: Lsn, everyone: bool) {
        let mut list = self.list.lock();
        let mut woken = Vec::new();
        while let Some(first) = list.waiting.first_entry() {
            let reached = everyone || first.key().0 <= durable;
            #[cfg(planted = "nobody_leads_next")]
            if !reached {
                break;
            }
            woken.push(first.remove());
            if !reached {
                break;
            }
        }
        drop(list);
        woken.into_iter().for_each(Waker::wake);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::base::sync::Arc;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_commit_wakes_those_it_covers_and_one_to_lead_the_next() {
        let waits = DurableWaits::new();
        let counts: Vec<Arc<Count>> = (0..5).map(|_| Arc::new(Count::default())).collect();
        let keys: Vec<WaitKey> =
            counts.iter().zip([8, 16, 24, 32, 40]).map(|(c, at)| waits.register(Lsn(at), c.clone().into())).collect();
        waits.leave(keys[1]);
        waits.wake(Lsn(16), false);
        let woken: Vec<usize> = counts.iter().map(|c| c.0.load(Ordering::SeqCst)).collect();
        assert_eq!(woken, [1, 0, 1, 0, 0], "covered, left, next leader, waiting, waiting");
        waits.wake(Lsn(16), true);
        let woken: Vec<usize> = counts.iter().map(|c| c.0.load(Ordering::SeqCst)).collect();
        assert_eq!(woken, [1, 0, 1, 1, 1]);
    }
}
