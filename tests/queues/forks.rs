//! A forked child has the handles of its parent, and nothing of what its parent has in hand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use towpath::{Database, Delivery, Error, Level, Message, OpenMode, Options, Queue, SubscriptionOptions};

use crate::child::ChildProcess;
use crate::consumer::{counts, expect_nothing, send_all, take_now, text};
use crate::forking::in_a_fork;
use crate::place::{Place, eventually};
use crate::worker::{options, told_of};

fn forked<T>(answer: Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Forked))
}

fn queue_of(db: &Database, bodies: &[&str]) -> Queue {
    let mails = db.create_queue("mails", options()).unwrap();
    send_all(&mails, bodies);
    mails
}

/// What a child does with its parent's queue and deliveries.
fn use_in_a_child(db: &Database) {
    let mails = queue_of(db, &["one", "two", "three", "four", "five", "six", "seven"]);
    let mut held = Some(mails.receive_batch(6).unwrap());
    in_a_fork(|| {
        // Taken from the child's copy of the option; the parent keeps what it has.
        let held = held.take().unwrap();
        let Ok([one, two, three, four, five, six]) = <[Delivery; 6]>::try_from(held) else { return vec![false] };
        let extended = one.extend(Duration::from_secs(60));
        let answers = vec![
            forked(extended),
            forked(one.ack()),
            forked(two.fail("in the child")),
            forked(three.release()),
            forked(four.reject("in the child")),
            forked(mails.ack_batch(vec![five])),
        ];
        drop(six);
        let seventh = mails.try_receive().unwrap().unwrap();
        let own = vec![text(&seventh) == "seven", seventh.ack().is_ok(), mails.send("from the child").is_ok()];
        [answers, own].concat()
    });
    assert_eq!(counts(&mails), [1, 0, 6, 0]);
    assert_eq!(mails.ack_batch(held.unwrap()).unwrap(), 0);
    take_now(&mails, "from the child").ack().unwrap();
    expect_nothing(&mails);
}

#[test]
fn a_child_of_the_host_does_not_settle_its_parents_deliveries() {
    let place = Place::new();
    use_in_a_child(&place.open());
}

#[test]
fn a_child_of_an_attached_process_does_not_settle_its_parents_deliveries() {
    let place = Place::new();
    let _host = ChildProcess::host(&place.data());
    use_in_a_child(&Options::temporary().mode(OpenMode::Attach).open(place.data()).unwrap());
}

#[test]
fn in_a_child_of_a_process_that_has_the_database_alone_everything_answers_forked() {
    let place = Place::new();
    let db = place.open_alone();
    let mails = queue_of(&db, &["one", "two"]);
    let mut held = Some(take_now(&mails, "one"));
    in_a_fork(|| {
        vec![
            forked(mails.send("from the child")),
            forked(mails.try_receive()),
            forked(mails.receive_timeout(Duration::from_millis(1))),
            forked(mails.describe()),
            forked(mails.dead_letters(None, 1)),
            forked(mails.purge()),
            forked(mails.pause()),
            forked(db.queue("mails")),
            forked(db.create_queue("orders", options())),
            forked(db.queue_names()),
            forked(held.take().unwrap().ack()),
        ]
    });
    held.unwrap().ack().unwrap();
    assert_eq!(counts(&mails), [1, 0, 0, 0]);
}

#[test]
fn a_child_has_neither_the_reserve_of_its_parents_subscription_nor_the_threads_of_its_worker() {
    let place = Place::new();
    let db = place.open();
    let mails = queue_of(&db, &["one", "two", "three", "four"]);
    let idle = db.create_queue("orders", options()).unwrap();
    let mut worker = Some(idle.work(2, |_: &Delivery| Ok::<(), Error>(())).unwrap());
    let mut subscription = Some(mails.subscribe(SubscriptionOptions::new().prefetch(3)).unwrap());
    let one = subscription.as_mut().unwrap().next().unwrap().unwrap();
    in_a_fork(|| {
        // Taken from the child's copies; the parent keeps what it has.
        let mut subscription = subscription.take().unwrap();
        let answers = vec![
            subscription.next().is_some_and(forked),
            subscription.next().is_none(),
            forked(worker.take().unwrap().stop()),
        ];
        drop(subscription);
        let fourth = mails.try_receive().unwrap().unwrap();
        [answers, vec![text(&fourth) == "four", fourth.ack().is_ok()]].concat()
    });
    assert_eq!(counts(&mails), [0, 0, 3, 0]);
    one.ack().unwrap();
    let two = subscription.as_mut().unwrap().next().unwrap().unwrap();
    assert_eq!(told_of(&two), "two 1/1");
    two.ack().unwrap();
    idle.send("one blue mug").unwrap();
    eventually("it is done", || counts(&idle) == [0; 4]);
    assert_eq!(worker.unwrap().stop().unwrap().acked, 1);
}

#[test]
fn what_a_child_has_in_hand_comes_back_when_it_ends() {
    let place = Place::new();
    let db = place.open();
    let mails = queue_of(&db, &["one", "two"]);
    in_a_fork(|| {
        let one = mails.receive().unwrap();
        let is_one = text(&one) == "one";
        std::mem::forget(one);
        vec![is_one]
    });
    eventually("it comes back", || counts(&mails) == [2, 0, 0, 0]);
    assert_eq!(told_of(&take_now(&mails, "one")), "one 2/2");
}

#[test]
fn children_of_a_parent_that_receives_without_end_receive_too() {
    let place = Place::new();
    let db = place.open();
    let mails = db.create_queue("mails", options().level(Level::Buffered).max_attempts(1_000_000)).unwrap();
    mails.send_batch(&[Message::from("newsletter"); 500]).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    mails.receive_batch(5).unwrap().into_iter().for_each(|mail| mail.release().unwrap());
                }
            });
        }
        let _end = AtEnd(&stop);
        for _ in 0..20 {
            in_a_fork(|| {
                let received = mails.receive_batch(3).unwrap();
                vec![!received.is_empty(), mails.ack_batch(received).is_ok()]
            });
        }
    });
}

/// Set when it is dropped, by a failure too.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
