//! Workers: threads that settle each message by what their task makes of it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use towpath::{
    Backoff, DeathReason, Delivery, Error, Level, Queue, QueueOptions, Stopper, Worker, WorkerCounts, WorkerOptions,
};

use crate::consumer::{MINUTE, Waiting, clocked, counts, expect_nothing, queue, send_all, take, take_now, text};
use crate::place::{PATIENCE, eventually};

fn at_once() -> QueueOptions {
    QueueOptions::new().backoff(Backoff::none())
}

/// Acknowledged, failed, panicked, stale.
fn figures(counts: WorkerCounts) -> [u64; 4] {
    [counts.acked, counts.failed, counts.panicked, counts.stale]
}

/// Tells when a task begins, and has it go on when it is told to.
struct Gate {
    begun: Receiver<String>,
    go_on: Sender<Result<(), String>>,
}

impl Gate {
    /// A worker whose tasks wait to be let go.
    fn before(queue: &Queue, options: impl Into<WorkerOptions>) -> (Gate, Worker) {
        let (tell, begun) = channel();
        let (go_on, wait) = channel();
        let wait = Mutex::new(wait);
        let worker = queue.work(options, move |mail: &Delivery| {
            tell.send(text(mail)).unwrap();
            wait.lock().unwrap().recv_timeout(PATIENCE).unwrap()
        });
        (Gate { begun, go_on }, worker.unwrap())
    }

    #[track_caller]
    fn expect_begun(&self, body: &str) {
        assert_eq!(self.begun.recv_timeout(PATIENCE).expect("a task that begins"), body);
    }

    fn let_go(&self) {
        self.go_on.send(Ok(())).unwrap();
    }
}

#[test]
fn each_message_is_done_once_by_many_threads() {
    let (_db, mails) = queue(at_once().level(Level::Buffered));
    let done = Arc::new(Mutex::new(Vec::new()));
    let of_task = done.clone();
    let worker = mails.work(8, move |mail: &Delivery| {
        of_task.lock().unwrap().push(text(mail));
        Ok::<(), Error>(())
    });
    let bodies: Vec<String> = (1000..1300).map(|number| format!("mail {number}")).collect();
    for bodies in bodies.chunks(7) {
        send_all(&mails, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    }
    eventually("all are done", || counts(&mails) == [0; 4]);
    assert_eq!(figures(worker.unwrap().stop().unwrap()), [300, 0, 0, 0]);
    let mut done = done.lock().unwrap().clone();
    done.sort();
    assert_eq!(done, bodies);
}

#[test]
fn what_fails_is_tried_again_and_then_dead_with_its_errors() {
    let (_db, mails) = queue(at_once().max_attempts(3));
    send_all(&mails, &["to nobody", "to the customer"]);
    let worker = mails.work(2, |mail: &Delivery| match text(mail).as_str() {
        "to nobody" => Err(format!("no such address, attempt {}", mail.attempt())),
        _ => Ok(()),
    });
    eventually("one is done and one is dead", || counts(&mails) == [0, 0, 0, 1]);
    assert_eq!(figures(worker.unwrap().stop().unwrap()), [1, 3, 0, 0]);
    let letter = mails.dead_letters(None, 2).unwrap().pop().unwrap();
    assert_eq!((letter.reason(), letter.failed_attempts()), (DeathReason::AttemptsExhausted, 3));
    let errors: Vec<&str> = letter.failures().iter().map(|failure| failure.error.as_str()).collect();
    assert_eq!(errors, [3, 2, 1].map(|attempt| format!("no such address, attempt {attempt}")));
}

#[test]
fn a_panic_has_failed_with_its_text_and_the_worker_goes_on() {
    let (_db, mails) = queue(at_once().max_attempts(1));
    send_all(&mails, &["str", "string", "other", "to the customer"]);
    let worker = mails.work(1, |mail: &Delivery| -> Result<(), Error> {
        match text(mail).as_str() {
            "str" => panic!("no stamp"),
            "string" => panic!("no stamp for {}", text(mail)),
            "other" => std::panic::panic_any(7),
            _ => Ok(()),
        }
    });
    eventually("all were tried", || counts(&mails) == [0, 0, 0, 3]);
    assert_eq!(figures(worker.unwrap().stop().unwrap()), [1, 0, 3, 0]);
    let letters = mails.dead_letters(None, 3).unwrap();
    let errors: Vec<&str> = letters.iter().map(|letter| letter.failures()[0].error.as_str()).collect();
    assert_eq!(errors, ["panicked: no stamp", "panicked: no stamp for string", "panicked: with no text"]);
}

#[test]
fn a_message_is_kept_from_others_for_as_long_as_its_task_runs() {
    let timeout = Duration::from_millis(1500);
    let (_db, mails) = queue(at_once().visibility_timeout(timeout));
    mails.send("to the customer").unwrap();
    let (gate, worker) = Gate::before(&mails, 1);
    gate.expect_begun("to the customer");
    assert!(mails.receive_timeout(timeout * 2).unwrap().is_none(), "somebody else got it");
    gate.let_go();
    assert_eq!(figures(worker.stop().unwrap()), [1, 0, 0, 0]);
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn beyond_its_longest_run_a_message_is_extended_no_more() {
    let (_db, mails) = queue(at_once().visibility_timeout(Duration::from_millis(90)).max_attempts(1_000_000));
    mails.send("to the customer").unwrap();
    let options = WorkerOptions::new(1).max_run(Duration::from_millis(200));
    let (gate, worker) = Gate::before(&mails, options);
    gate.expect_begun("to the customer");
    // Where this thread is held up, what it took is taken back as well.
    let again = std::iter::repeat_with(|| take(&mails)).find(|mail| mail.extend(MINUTE).is_ok()).unwrap();
    assert!(again.attempt() >= 2);
    worker.stopper().stop();
    gate.let_go();
    assert_eq!(figures(worker.join().unwrap()), [0, 0, 0, 1]);
    again.ack().unwrap();
}

#[test]
fn a_settlement_that_comes_too_late_is_counted_and_the_worker_goes_on() {
    let (clock, _db, mails) = clocked(at_once().visibility_timeout(MINUTE));
    mails.send("to the customer").unwrap();
    let (gate, worker) = Gate::before(&mails, WorkerOptions::new(1).max_run(Duration::ZERO));
    gate.expect_begun("to the customer");
    clock.advance(MINUTE);
    let again = take(&mails);
    assert_eq!((again.attempt(), again.hand_outs()), (2, 2));
    gate.let_go();
    mails.send("to another").unwrap();
    gate.expect_begun("to another");
    assert_eq!(figures(worker.counts()), [0, 0, 0, 1]);
    gate.let_go();
    assert_eq!(figures(worker.stop().unwrap()), [1, 0, 0, 1]);
    again.ack().unwrap();
}

#[test]
fn stopping_waits_for_the_tasks_that_run_and_begins_no_others() {
    let (_db, mails) = queue(at_once());
    send_all(&mails, &["one", "two", "three"]);
    let (gate, worker) = Gate::before(&mails, 1);
    gate.expect_begun("one");
    let stopping = Waiting::begun(move || worker.stop());
    gate.let_go();
    assert_eq!(figures(stopping.comes().unwrap()), [1, 0, 0, 0]);
    assert_eq!(counts(&mails), [2, 0, 0, 0]);
    let two = take_now(&mails, "two");
    assert_eq!((two.attempt(), two.hand_outs()), (1, 1));
}

#[test]
fn dropping_a_worker_waits_for_the_tasks_that_run() {
    let (_db, mails) = queue(at_once());
    mails.send("one").unwrap();
    let (gate, worker) = Gate::before(&mails, 2);
    gate.expect_begun("one");
    let dropping = Waiting::begun(move || drop(worker));
    gate.let_go();
    dropping.comes();
    assert_eq!(counts(&mails), [0; 4]);
    mails.send("two").unwrap();
    take_now(&mails, "two").ack().unwrap();
}

#[test]
fn an_idle_worker_stops() {
    let (_db, mails) = queue(at_once());
    let worker = mails.work(4, |_: &Delivery| Ok::<(), Error>(())).unwrap();
    thread::sleep(Duration::from_millis(20));
    assert!(worker.is_running());
    let stopping = Waiting::begin(move || worker.stop());
    assert_eq!(figures(stopping.comes().unwrap()), [0; 4]);
}

#[test]
fn a_task_may_stop_its_worker() {
    let (_db, mails) = queue(at_once());
    send_all(&mails, &["one", "the last one", "one more"]);
    let own: Arc<Mutex<Option<Stopper>>> = Arc::default();
    let of_task = own.clone();
    let mut mine = own.lock().unwrap();
    let worker = mails.work(1, move |mail: &Delivery| -> Result<(), Error> {
        let stopper = of_task.lock().unwrap();
        if text(mail) == "the last one" {
            stopper.as_ref().unwrap().stop();
        }
        Ok(())
    });
    let worker = worker.unwrap();
    *mine = Some(worker.stopper());
    drop(mine);
    let joining = Waiting::begin(move || worker.join());
    assert_eq!(figures(joining.comes().unwrap()), [2, 0, 0, 0]);
    take_now(&mails, "one more").ack().unwrap();
    expect_nothing(&mails);
}

#[test]
fn closing_the_database_ends_a_worker_which_tells_it() {
    let (db, mails) = queue(at_once());
    let worker = mails.work(3, |_: &Delivery| Ok::<(), Error>(())).unwrap();
    db.close().unwrap();
    let joining = Waiting::begin(move || worker.join());
    let ended = joining.comes();
    assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
    assert!(matches!(mails.work(1, |_: &Delivery| Ok::<(), Error>(())), Err(Error::Closed)));
}

#[test]
fn deleting_the_queue_ends_a_worker_which_tells_it() {
    let (db, mails) = queue(at_once());
    let worker = mails.work(3, |_: &Delivery| Ok::<(), Error>(())).unwrap();
    db.delete_queue("mails").unwrap();
    eventually("it ends", || !worker.is_running());
    let ended = worker.stop();
    assert!(matches!(ended, Err(Error::NotFound { kind: "queue", .. })), "{ended:?}");
}

#[test]
fn a_worker_waits_while_its_queue_is_paused() {
    let (_db, mails) = queue(at_once());
    mails.pause().unwrap();
    mails.send("to the customer").unwrap();
    let worker = mails.work(2, |_: &Delivery| Ok::<(), Error>(())).unwrap();
    thread::sleep(Duration::from_millis(20));
    assert_eq!((figures(worker.counts()), counts(&mails)), ([0; 4], [1, 0, 0, 0]));
    mails.resume().unwrap();
    eventually("it is done", || counts(&mails) == [0; 4]);
    assert_eq!(figures(worker.stop().unwrap()), [1, 0, 0, 0]);
}

#[test]
fn a_worker_has_at_least_one_thread_and_at_most_1024() {
    let (_db, mails) = queue(at_once());
    let refused = |threads: usize| mails.work(threads, |_: &Delivery| Ok::<(), Error>(())).unwrap_err();
    assert!(matches!(refused(0), Error::InvalidOption { option: "threads", .. }));
    assert!(matches!(refused(1025), Error::LimitExceeded { limit: "threads of a worker", max: 1024, actual: 1025 }));
}
