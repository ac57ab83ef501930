//! Processes that consume: they open the database and then do what they are told, a line at a time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use towpath::{Backoff, Database, Delivery, Error, Level, Queue, QueueOptions};

use crate::child::{self, ChildProcess, asked, tell};
use crate::consumer::text;
use crate::place::PATIENCE;
use crate::{killed, processes};

const WORKER: &str = "worker";

/// A child that does what it is told.
pub struct Worker(pub ChildProcess);

impl Worker {
    pub fn start(data: &Path) -> Worker {
        Worker::start_with_grace(data, Duration::from_secs(10))
    }

    pub fn start_with_grace(data: &Path, grace: Duration) -> Worker {
        Worker::begin(WORKER, data, grace)
    }

    /// A child in a role of its own, once it has opened the database.
    pub fn in_role(role: &str, data: &Path) -> Worker {
        Worker::begin(role, data, Duration::from_secs(10))
    }

    fn begin(role: &str, data: &Path, grace: Duration) -> Worker {
        let mut worker = Worker(ChildProcess::start_with_grace(role, data, grace));
        assert_eq!(worker.0.next().as_deref(), Some("open"));
        worker
    }

    /// Has it do something, and gives what it tells then.
    #[track_caller]
    pub fn told(&mut self, what: &str) -> String {
        self.0.ask(what);
        self.0.next().unwrap_or_else(|| panic!("it ended when told to {what}"))
    }

    pub fn is_host(&mut self) -> bool {
        self.told("is_host") == "true"
    }

    /// Has it leave in order.
    pub fn close(mut self) {
        assert_eq!(self.told("close"), "closed");
        self.0.end();
    }
}

/// What these tests' queue is made with.
pub fn options() -> QueueOptions {
    QueueOptions::new().backoff(Backoff::none())
}

pub fn play(role: &str, data: PathBuf) {
    let db = child::open(&data);
    tell("open");
    match role {
        WORKER => work(db),
        processes::DRAINING => processes::drain_until_told(&db),
        killed::BUSY => killed::be_busy(&db),
        killed::FRAGILE => killed::be_fragile(&db),
        killed::FILLING => killed::fill_and_wait(&db),
        other => panic!("nobody taught it to be {other}"),
    }
}

fn work(db: Database) {
    let mails = db.queue("mails").or_else(|_| db.create_queue("mails", options())).unwrap();
    let mut held = Vec::new();
    while let Some(line) = asked() {
        let (what, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if what == "close" {
            db.close().unwrap();
            return tell("closed");
        }
        tell(&obey(&db, &mails, (what, rest), &mut held));
    }
}

fn obey(db: &Database, mails: &Queue, (what, rest): (&str, &str), held: &mut Vec<Delivery>) -> String {
    match what {
        "is_host" => db.is_host().to_string(),
        "send" => outcome(mails.send(rest).map(drop)),
        "send_buffered" => outcome(mails.send_at(Level::Buffered, rest).map(drop)),
        "receive" => {
            let received = mails.receive_batch_timeout(rest.parse().unwrap(), PATIENCE).unwrap();
            let told: Vec<String> = received.iter().map(told_of).collect();
            held.extend(received);
            told.join(", ")
        }
        "receive_order" => {
            let order = db.queue("orders").unwrap().receive_timeout(PATIENCE).unwrap().unwrap();
            let told = told_of(&order);
            held.push(order);
            told
        }
        "ack" => outcome(held.drain(..).try_for_each(Delivery::ack)),
        "fail" => outcome(held.drain(..).try_for_each(|delivery| delivery.fail(rest))),
        "release" => outcome(held.drain(..).try_for_each(Delivery::release)),
        "checkpoint" => outcome(db.checkpoint()),
        other => panic!("nobody taught it to {other}"),
    }
}

/// A delivery with its attempt and how often it was handed out.
pub fn told_of(delivery: &Delivery) -> String {
    format!("{} {}/{}", text(delivery), delivery.attempt(), delivery.hand_outs())
}

fn outcome(done: Result<(), Error>) -> String {
    done.map_or_else(|error| format!("{error:?}"), |()| "done".to_owned())
}
