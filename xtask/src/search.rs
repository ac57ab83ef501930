//! Runs seeds on all processors until one fails or does not end.
//!
//! Each worker says which seed it begins and how it ended; the one that listens knows how long each has been at it. A
//! thread cannot be stopped from outside: one whose seed does not end is left behind, and ends with the process.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A seed that takes longer is taken for one that never ends. Most take milliseconds.
pub(crate) const SEED_SECONDS_MAX: u64 = 120;

/// Runs one seed.
pub(crate) type Run<T> = fn(u64) -> Result<T, String>;

/// A seed that failed, and why.
pub(crate) type Failure = (u64, String);

/// The sum of `count` seeds from `first` on, each of which may take `bound`; else the lowest seed that failed.
pub(crate) fn search<T>(first: u64, count: u64, bound: Duration, run: Run<T>) -> Result<T, Failure>
where
    T: AddAssign + Default + Send + 'static,
{
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let seeds = Arc::new(Seeds { first, count, next: AtomicU64::new(0), stop: AtomicBool::new(false) });
    let (tell, told) = channel();
    for worker in 0..threads {
        let (seeds, tell) = (seeds.clone(), tell.clone());
        thread::spawn(move || seeds.work(worker, run, &tell));
    }
    drop(tell);
    listen(&told, bound, &seeds.stop)
}

/// The seeds that are left.
struct Seeds {
    first: u64,
    count: u64,
    next: AtomicU64,
    stop: AtomicBool,
}

impl Seeds {
    fn take(&self) -> Option<u64> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        (turn < self.count).then(|| self.first.wrapping_add(turn))
    }

    /// Ends early if nobody listens any more.
    fn work<T>(&self, worker: usize, run: Run<T>, tell: &Sender<(usize, Word<T>)>) {
        while let Some(seed) = self.take() {
            if tell.send((worker, Word::Begun(seed))).is_err() {
                return;
            }
            let outcome = catch_unwind(|| run(seed)).unwrap_or_else(|_| Err("a panic, told above".to_owned()));
            if tell.send((worker, Word::Ended(outcome))).is_err() {
                return;
            }
        }
    }
}

/// What a worker says.
enum Word<T> {
    Begun(u64),
    Ended(Result<T, String>),
}

/// Hears the workers until each has left, or one has been at its seed for longer than `bound`.
fn listen<T>(told: &Receiver<(usize, Word<T>)>, bound: Duration, stop: &AtomicBool) -> Result<T, Failure>
where
    T: AddAssign + Default,
{
    let (mut total, mut failure) = (T::default(), None::<Failure>);
    let mut running: BTreeMap<usize, (u64, Instant)> = BTreeMap::new();
    loop {
        let oldest = running.values().min_by_key(|(_, since)| *since).copied();
        let left = oldest.map_or(bound, |(_, since)| bound.saturating_sub(since.elapsed()));
        match told.recv_timeout(left) {
            Ok((worker, Word::Begun(seed))) => drop(running.insert(worker, (seed, Instant::now()))),
            Ok((worker, Word::Ended(outcome))) => {
                let (seed, _) = running.remove(&worker).expect("a seed that ends has begun");
                match outcome {
                    Ok(summary) => total += summary,
                    Err(reason) => {
                        stop.store(true, Ordering::Relaxed);
                        failure = failure.into_iter().chain([(seed, reason)]).min();
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => return failure.map_or(Ok(total), Err),
            Err(RecvTimeoutError::Timeout) => {
                let overdue = oldest.map(|(seed, _)| (seed, format!("it has not ended within {} s", bound.as_secs())));
                if let Some(failure) = failure.take().into_iter().chain(overdue).min() {
                    return Err(failure);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(SEED_SECONDS_MAX);

    #[test]
    fn seeds_that_hold_are_summed() {
        assert_eq!(search(10, 5, PATIENCE, Ok), Ok(10 + 11 + 12 + 13 + 14));
        assert_eq!(search(0, 0, PATIENCE, Ok), Ok(0));
    }

    #[test]
    fn a_seed_that_fails_or_panics_is_named_with_its_reason() {
        let fails = |seed| if seed == 7 { Err("a record is lost".to_owned()) } else { Ok(seed) };
        assert_eq!(search(0, 100, PATIENCE, fails), Err((7, "a record is lost".to_owned())));
        let panics = |seed| if seed == 7 { panic!("the seventh") } else { Ok(seed) };
        assert_eq!(search(0, 100, PATIENCE, panics), Err((7, "a panic, told above".to_owned())));
    }

    #[test]
    fn a_seed_that_never_ends_is_named_although_its_thread_goes_on() {
        let hangs = |seed| match seed {
            3 => loop {
                thread::park();
            },
            _ => Ok(seed),
        };
        let (seed, reason) = search(0, 100, Duration::from_millis(200), hangs).expect_err("one does not end");
        assert_eq!(seed, 3);
        assert!(reason.contains("has not ended"), "{reason}");
    }
}
