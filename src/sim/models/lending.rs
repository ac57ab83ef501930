//! A connection's thread that sleeps, against those who have records for its reader.

use super::check;
use crate::base::sync::{Arc, AtomicU64, Event, Mutex, Ordering, wait_listener};
use crate::processes::lending::Lending;

/// The reader's answers: as many records as it was told of.
#[derive(Default)]
struct Answers(u64);

/// A log, and whether the reader waits in its line.
#[derive(Default)]
struct Log {
    records: u64,
    is_waited_for: bool,
}

/// What the alarm has rung for.
#[derive(Clone, Copy, Default)]
struct Rung {
    look: bool,
    end: bool,
}

struct Shared {
    lending: Lending<Answers>,
    log: Mutex<Log>,
    rung: Mutex<Rung>,
    changed: Event,
    /// Answers given by others than the reader's thread: what takes time with the loan in hand.
    sent: AtomicU64,
}

impl Shared {
    fn new() -> Arc<Shared> {
        let (log, rung) = (Mutex::new(Log::default()), Mutex::new(Rung::default()));
        Arc::new(Shared { lending: Lending::new(), log, rung, changed: Event::new(), sent: AtomicU64::new(0) })
    }

    fn alarm(&self, look: bool) {
        let mut rung = self.rung.lock();
        rung.look |= look;
        rung.end |= !look;
        drop(rung);
        self.changed.notify(usize::MAX);
    }

    fn look(&self, answers: &mut Answers) {
        self.lending.look(|| {
            let mut log = self.log.lock();
            if log.records > answers.0 {
                answers.0 = log.records;
            }
            log.is_waited_for = true;
        });
    }

    /// Appends a record and wakes the reader, by its own thread or not.
    fn append(&self, serves: bool) {
        let mut log = self.log.lock();
        log.records += 1;
        let wakes = std::mem::take(&mut log.is_waited_for);
        drop(log);
        if !wakes || !self.lending.ring() {
            return;
        }
        let is_served = serves
            && self.lending.try_serve(|answers| {
                self.look(answers);
                self.sent.fetch_add(1, Ordering::Relaxed);
                true
            });
        if !is_served {
            self.alarm(true);
        }
    }

    /// Sleeps until the alarm rings; looks only for what it has rung for.
    fn serve(&self) -> Answers {
        let mut answers = Answers::default();
        self.look(&mut answers);
        loop {
            let rung = self.lending.lend(&mut answers, || {
                loop {
                    let listener = self.changed.listen();
                    let rung = std::mem::take(&mut *self.rung.lock());
                    if rung.look || rung.end {
                        return rung;
                    }
                    wait_listener(listener, None);
                }
            });
            if rung.look {
                self.look(&mut answers);
            }
            if rung.end {
                return answers;
            }
        }
    }
}

#[test]
fn loom_lending_loses_no_record() {
    check(3, || {
        let shared = Shared::new();
        let (reader, writer) = (shared.clone(), shared.clone());
        let reader = loom::thread::spawn(move || reader.serve());
        let writer = loom::thread::spawn(move || writer.append(true));
        shared.append(true);
        writer.join().expect("the writer ends");
        shared.alarm(false);
        assert_eq!(reader.join().expect("the reader ends").0, 2);
    });
}
