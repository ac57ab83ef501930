//! How these tests come to their queues, and what they do with what they receive.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use towpath::{
    DeadLetter, Delivery, Error, ManualClock, Message, Options, Queue, QueueOptions, StoredMessage, Timestamp,
};

use crate::opening::{Opened, database, database_with};
use crate::place::PATIENCE;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const TOO_LONG: Duration = Duration::from_secs(10_001 * 86_400);

/// A new database of the least size, and a queue in it.
pub fn queue(options: QueueOptions) -> (Opened, Queue) {
    let db = database();
    let mails = db.create_queue("mails", options).unwrap();
    (db, mails)
}

/// The same, with a clock that stands until it is moved.
pub fn clocked(options: QueueOptions) -> (ManualClock, Opened, Queue) {
    let clock = ManualClock::starting_at(noon());
    let db = database_with(Options::temporary().clock(clock.clone()));
    let mails = db.create_queue("mails", options).unwrap();
    (clock, db, mails)
}

pub fn noon() -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000)
}

/// So long after noon.
pub fn noon_and(later: Duration) -> Timestamp {
    Timestamp::from_micros(noon().as_micros() + u64::try_from(later.as_micros()).unwrap())
}

pub fn send_all(queue: &Queue, bodies: &[&str]) {
    let messages: Vec<Message<'_>> = bodies.iter().map(|body| Message::from(*body)).collect();
    if !messages.is_empty() {
        queue.send_batch(&messages).unwrap();
    }
}

pub fn text(message: &StoredMessage) -> String {
    String::from_utf8(message.body().to_vec()).unwrap()
}

pub fn text_of_letter(letter: &DeadLetter) -> String {
    text(letter.message().unwrap())
}

pub fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| text(delivery)).collect()
}

/// The next message, which is there or comes soon.
#[track_caller]
pub fn take(queue: &Queue) -> Delivery {
    queue.receive_timeout(PATIENCE).unwrap().expect("a message that does not come")
}

/// The next message, which must be this one and be there now.
#[track_caller]
pub fn take_now(queue: &Queue, body: &str) -> Delivery {
    let delivery = queue.try_receive().unwrap().unwrap_or_else(|| panic!("`{body}` is not there"));
    assert_eq!(text(&delivery), body);
    delivery
}

#[track_caller]
pub fn expect_nothing(queue: &Queue) {
    let received = queue.try_receive().unwrap();
    assert!(received.is_none(), "{:?} was handed out", received.map(|delivery| text(&delivery)));
}

/// Receives and acknowledges one after the other all that is there.
pub fn drain(queue: &Queue) -> Vec<String> {
    let mut drained = Vec::new();
    while let Some(delivery) = queue.try_receive().unwrap() {
        drained.push(text(&delivery));
        delivery.ack().unwrap();
    }
    drained
}

/// Ready, delayed, in flight, dead.
pub fn counts(queue: &Queue) -> [u64; 4] {
    let described = queue.describe().unwrap();
    [described.ready, described.delayed, described.in_flight, described.dead]
}

/// Has all that come out be dead: what is ready is rejected with this error.
pub fn reject_all(queue: &Queue, error: &str) {
    while let Some(delivery) = queue.try_receive().unwrap() {
        delivery.reject(error).unwrap();
    }
}

#[track_caller]
pub fn expect_stale<T: std::fmt::Debug>(answer: Result<T, Error>) {
    assert!(matches!(&answer, Err(Error::Stale { queue }) if queue == "mails"), "{answer:?}");
}

/// A thread that waits for something, and is not waited for beyond all patience.
pub struct Waiting<T> {
    comes: Receiver<T>,
}

impl<T: Send + 'static> Waiting<T> {
    pub fn begin(wait: impl FnOnce() -> T + Send + 'static) -> Waiting<T> {
        let (tell, comes) = channel();
        thread::spawn(move || {
            // Who has given up hears nothing.
            let _ = tell.send(wait());
        });
        Waiting { comes }
    }

    /// The same; the thread has had time to begin to wait, and waits.
    #[track_caller]
    pub fn begun(wait: impl FnOnce() -> T + Send + 'static) -> Waiting<T> {
        let waiting = Waiting::begin(wait);
        waiting.expect_to_wait();
        waiting
    }

    #[track_caller]
    pub fn expect_to_wait(&self) {
        match self.comes.recv_timeout(Duration::from_millis(30)) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("it panicked"),
            Ok(_) => panic!("it did not wait"),
        }
    }

    /// What it has waited for.
    #[track_caller]
    pub fn comes(self) -> T {
        self.comes.recv_timeout(PATIENCE).expect("it waits in vain, or panicked")
    }
}
