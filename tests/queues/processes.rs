//! Consumers in several processes: who goes away, and what becomes of what they had.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use towpath::{Backoff, Database, Error, Level, Message, OpenMode, Options, Queue, QueueOptions, SchedulePlan};

use crate::child::{ChildProcess, tell};
use crate::consumer::{HOUR, Waiting, counts, expect_nothing, send_all, take, take_now, text, texts};
use crate::place::{PATIENCE, Place, eventually};
use crate::worker::{Worker, options, told_of};

pub const DRAINING: &str = "draining";

const SHORT: Duration = Duration::from_millis(300);

fn attach(place: &Place) -> Database {
    Options::temporary().mode(OpenMode::Attach).reconnect_grace(PATIENCE).open(place.data()).unwrap()
}

/// A host in this process, with these messages in its queue.
fn hosted(bodies: &[&str]) -> (Place, Database, Queue) {
    let place = Place::new();
    let db = place.open();
    let mails = db.create_queue("mails", options()).unwrap();
    send_all(&mails, bodies);
    (place, db, mails)
}

/// A host in another process, with these messages in its queue, and this process attached to it.
fn beside_a_host(bodies: &[&str]) -> (Place, ChildProcess, Database, Queue) {
    let place = Place::new();
    let host = ChildProcess::host_with_grace(&place.data(), PATIENCE);
    let db = attach(&place);
    let mails = db.create_queue("mails", options()).unwrap();
    send_all(&mails, bodies);
    (place, host, db, mails)
}

#[test]
fn a_killed_consumer_gives_its_message_back_at_once_and_has_failed() {
    let (place, _db, mails) = hosted(&["one", "two"]);
    let mut worker = Worker::start(&place.data());
    assert_eq!(worker.told("receive 1"), "one 1/1");
    let two = take_now(&mails, "two");
    let consumer = mails.clone();
    let waiting = Waiting::begun(move || take(&consumer));
    worker.0.kill();
    assert_eq!(told_of(&waiting.comes()), "one 2/2");
    two.ack().unwrap();
}

#[test]
fn a_killed_consumer_gives_several_back_uncounted_and_one_at_a_time() {
    let (place, _db, mails) = hosted(&["one", "two", "three", "four"]);
    let mut worker = Worker::start(&place.data());
    assert_eq!(worker.told("receive 3"), "one 1/1, two 1/1, three 1/1");
    worker.0.kill();
    eventually("they come back", || counts(&mails) == [4, 0, 0, 0]);
    let mut other = Worker::start(&place.data());
    assert_eq!(other.told("receive 9"), "one 1/2, four 1/1");
    let two = take_now(&mails, "two");
    assert_eq!(told_of(&two), "two 1/2", "another process may have another suspect");
    expect_nothing(&mails);
    assert_eq!(other.told("ack"), "done");
    assert_eq!(other.told("receive 9"), "three 1/2");
    other.close();
    two.ack().unwrap();
    assert_eq!(told_of(&take_now(&mails, "three")), "three 1/3");
}

#[test]
fn a_consumer_that_leaves_in_order_gives_back_uncounted() {
    let (place, _db, mails) = hosted(&["one", "two", "three"]);
    let mut worker = Worker::start(&place.data());
    assert_eq!(worker.told("receive 2"), "one 1/1, two 1/1");
    worker.close();
    eventually("they come back", || counts(&mails) == [3, 0, 0, 0]);
    let again = mails.receive_batch(3).unwrap();
    assert_eq!(again.iter().map(told_of).collect::<Vec<_>>(), ["one 1/2", "two 1/2", "three 1/1"]);
}

#[test]
fn what_one_process_sends_wakes_a_consumer_in_another() {
    let (place, _db, mails) = hosted(&[]);
    let mut worker = Worker::start(&place.data());
    let consumer = mails.clone();
    let waiting = Waiting::begun(move || take(&consumer));
    assert_eq!(worker.told("send_buffered from afar"), "done");
    let mail = waiting.comes();
    assert_eq!(text(&mail), "from afar");
    worker.0.ask("receive 1");
    mails.send("from here").unwrap();
    assert_eq!(worker.0.next().as_deref(), Some("from here 1/1"));
    assert_eq!(worker.told("fail busy"), "done");
    assert_eq!(told_of(&take(&mails)), "from here 2/2");
}

#[test]
fn a_consumer_that_waits_learns_of_what_came_between_two_hosts() {
    let place = Place::new();
    let db = place.open();
    drop(db.create_queue("mails", options()).unwrap());
    place.close(db);
    let mut host = ChildProcess::host_with_grace(&place.data(), PATIENCE);
    let db = attach(&place);
    let mails = db.queue("mails").unwrap();
    let waiting = Waiting::begun(move || text(&take(&mails)));
    host.kill();
    let between = Options::temporary().mode(OpenMode::Exclusive).open(place.data()).unwrap();
    between.queue("mails").unwrap().send("one").unwrap();
    between.close().unwrap();
    let _next = ChildProcess::host_with_grace(&place.data(), PATIENCE);
    assert_eq!(waiting.comes(), "one");
}

#[test]
fn an_active_consumer_that_is_killed_hands_over_to_the_next_process_and_that_one_back() {
    let (place, db, mails) = hosted(&["one", "two", "three"]);
    db.ensure_queue("mails", options().single_active_consumer(true)).unwrap();
    let mut worker = Worker::start(&place.data());
    assert_eq!(worker.told("receive 1"), "one 1/1");
    let consumer = mails.clone();
    let waiting = Waiting::begun(move || {
        let one = take(&consumer);
        let told = told_of(&one);
        one.ack().unwrap();
        told
    });
    waiting.expect_to_wait();
    let mut next = Worker::start(&place.data());
    next.0.ask("receive 1");
    assert_eq!(mails.consumers().unwrap().iter().filter(|one| one.is_active).count(), 1);
    worker.0.kill();
    assert_eq!(waiting.comes(), "one 2/2");
    // With the last handle of this process the other one's turn comes.
    drop(mails);
    assert_eq!(next.0.next().as_deref(), Some("two 1/1"));
    next.close();
}

#[test]
fn consumers_of_a_process_go_on_with_the_next_host() {
    let place = Place::new();
    let mut host = ChildProcess::host_with_grace(&place.data(), PATIENCE);
    let db = Options::temporary().reconnect_grace(PATIENCE).open(place.data()).unwrap();
    let mails = db.create_queue("mails", options().single_active_consumer(true)).unwrap();
    send_all(&mails, &["one", "two"]);
    let one = take_now(&mails, "one");
    let other = db.queue("mails").unwrap();
    let waiting = Waiting::begun(move || text(&take(&other)));
    host.kill();
    eventually("this process hosts", || db.is_host());
    one.ack().unwrap();
    waiting.expect_to_wait();
    drop(mails);
    assert_eq!(waiting.comes(), "two");
}

#[test]
fn a_group_is_one_over_all_processes() {
    let (place, _db, mails) = hosted(&[]);
    for body in ["one", "two", "three"] {
        mails.send(Message::from(body).group("alice")).unwrap();
    }
    let mut worker = Worker::start(&place.data());
    assert_eq!(worker.told("receive 5"), "one 1/1");
    expect_nothing(&mails);
    assert_eq!(worker.told("ack"), "done");
    let two = take_now(&mails, "two");
    worker.0.ask("receive 5");
    two.ack().unwrap();
    assert_eq!(worker.0.next().as_deref(), Some("three 1/1"));
    worker.0.kill();
    assert_eq!(told_of(&take(&mails)), "three 2/2");
}

#[test]
fn deliveries_outlive_the_host_that_handed_them_out() {
    for (mut is_killed, rounds) in [(true, 2), (false, 2)] {
        let (place, mut host, db, mails) = beside_a_host(&["one", "two", "three"]);
        let mut held = mails.receive_batch(2).unwrap();
        for _ in 0..rounds {
            if is_killed {
                host.kill()
            } else {
                host.wait();
            }
            host = ChildProcess::host_with_grace(&place.data(), PATIENCE);
            is_killed = !is_killed;
        }
        assert_eq!(counts(&mails), [1, 0, 2, 0], "they are in the same hands");
        let three = take_now(&mails, "three");
        expect_nothing(&mails);
        held.remove(0).ack().unwrap();
        held.remove(0).release().unwrap();
        assert_eq!(told_of(&take_now(&mails, "two")), "two 1/2");
        three.ack().unwrap();
        db.close().unwrap();
    }
}

#[test]
fn deliveries_of_a_process_that_becomes_the_host_stay_in_its_hands() {
    let place = Place::new();
    let mut host = Worker::start(&place.data());
    assert_eq!(host.told("send one"), "done");
    assert_eq!(host.told("send two"), "done");
    assert_eq!(host.told("send three"), "done");
    let db = place.open();
    let mails = db.queue("mails").unwrap();
    let (one, two) = (take_now(&mails, "one"), take_now(&mails, "two"));
    assert!(!db.is_host() && host.is_host());
    host.0.kill();
    let three = take_now(&mails, "three");
    eventually("it is the host", || db.is_host());
    assert_eq!(counts(&mails), [0, 0, 3, 0]);
    expect_nothing(&mails);
    one.ack().unwrap();
    two.fail("busy").unwrap();
    assert_eq!(told_of(&take_now(&mails, "two")), "two 2/2");
    assert_eq!(counts(&mails), [1, 0, 1, 0]);
    three.ack().unwrap();
    drop(mails);
    db.close().unwrap();
    let db = place.open();
    assert_eq!(counts(&db.queue("mails").unwrap()), [1, 0, 0, 0]);
}

#[test]
fn what_the_killed_host_had_in_hand_comes_back() {
    for (received, told) in [(1, vec!["one 2/2", "two 1/1"]), (2, vec!["one 1/2"])] {
        let place = Place::new();
        let mut host = Worker::start(&place.data());
        for body in ["one", "two"] {
            assert_eq!(host.told(&format!("send {body}")), "done");
        }
        host.told(&format!("receive {received}"));
        let db = place.open();
        let mails = db.queue("mails").unwrap();
        assert_eq!(counts(&mails)[2], received);
        host.0.kill();
        eventually("they come back", || counts(&mails) == [2, 0, 0, 0]);
        let again = mails.receive_batch(5).unwrap();
        assert_eq!(again.iter().map(told_of).collect::<Vec<_>>(), told);
    }
}

#[test]
fn a_host_that_leaves_in_order_gives_back_uncounted() {
    let place = Place::new();
    let mut host = Worker::start(&place.data());
    assert_eq!(host.told("send one"), "done");
    assert_eq!(host.told("receive 1"), "one 1/1");
    let db = place.open();
    let mails = db.queue("mails").unwrap();
    let consumer = mails.clone();
    let waiting = Waiting::begun(move || take(&consumer));
    host.close();
    assert_eq!(told_of(&waiting.comes()), "one 1/2");
}

#[test]
fn who_waits_goes_on_waiting_when_the_host_changes() {
    let (place, mut host, _db, mails) = beside_a_host(&[]);
    mails.send(Message::from("delayed").delay(Duration::from_millis(500))).unwrap();
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let mails = mails.clone();
            Waiting::begun(move || {
                let mail = take(&mails);
                let body = text(&mail);
                mail.ack().unwrap();
                body
            })
        })
        .collect();
    host.kill();
    let _host = ChildProcess::host_with_grace(&place.data(), PATIENCE);
    send_all(&mails, &["one", "two"]);
    let seen: BTreeSet<String> = consumers.into_iter().map(Waiting::comes).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["delayed", "one", "two"]);
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn closing_does_not_wait_for_a_host_that_is_gone() {
    let (_place, mut host, db, mails) = beside_a_host(&["one", "two"]);
    let held = take_now(&mails, "one");
    host.kill();
    let start = Instant::now();
    let closed = db.close();
    assert!(matches!(closed, Err(Error::NoHost)), "{closed:?}");
    assert!(start.elapsed() < PATIENCE / 3, "{:?}", start.elapsed());
    drop(held);
}

#[test]
fn a_consumer_that_dies_with_the_host_gives_back_after_the_grace() {
    let place = Place::new();
    let mut host = ChildProcess::host_with_grace(&place.data(), SHORT);
    let mut worker = Worker::start_with_grace(&place.data(), SHORT);
    assert_eq!(worker.told("send one"), "done");
    assert_eq!(worker.told("receive 1"), "one 1/1");
    // Stopped, so that it does not become the host before it is killed too.
    worker.0.stop();
    host.kill();
    worker.0.kill();
    let db = Options::temporary().reconnect_grace(SHORT).open(place.data()).unwrap();
    assert_eq!(told_of(&take(&db.queue("mails").unwrap())), "one 2/2");
}

/// In the child: acknowledges what comes, and tells it, until the end comes.
pub fn drain_until_told(db: &Database) {
    let mails = db.queue("mails").unwrap();
    loop {
        let held = mails.receive_batch(4).unwrap();
        let bodies = texts(&held);
        if bodies.iter().any(|body| body == "the end") {
            assert_eq!(bodies, ["the end"]);
            held.into_iter().for_each(|mail| mail.release().unwrap());
            return db.clone().close().unwrap();
        }
        assert_eq!(mails.ack_batch(held).unwrap(), 0);
        bodies.iter().for_each(|body| tell(body));
    }
}

#[test]
fn consumers_in_many_processes_get_each_message_once() {
    let place = Place::new();
    let db = place.open();
    let mails = db.create_queue("mails", options().level(Level::Buffered).max_attempts(1_000_000)).unwrap();
    let mut workers: Vec<Worker> = (0..3).map(|_| Worker::in_role(DRAINING, &place.data())).collect();
    let bodies: Vec<String> = (1000..2500).map(|number| format!("mail {number}")).collect();
    for (number, body) in bodies.iter().enumerate() {
        let group = format!("customer {}", number % 11);
        let message = Message::from(body).group(&group);
        if number % 3 == 0 { mails.send(body) } else { mails.send(message) }.unwrap();
    }
    eventually("all are acknowledged", || counts(&mails) == [0; 4]);
    mails.send("the end").unwrap();
    let mut seen: Vec<String> = workers.iter_mut().flat_map(|worker| worker.0.rest()).collect();
    seen.sort();
    assert_eq!(seen, bodies);
}

#[test]
fn consumers_that_are_killed_again_and_again_lose_nothing() {
    let place = Place::new();
    let db = place.open();
    let mails = db.create_queue("mails", options().level(Level::Buffered).max_attempts(1_000_000)).unwrap();
    let bodies: Vec<String> = (1000..1400).map(|number| format!("mail {number}")).collect();
    send_all(&mails, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let mut told: BTreeSet<String> = BTreeSet::new();
    for _ in 0..8 {
        let mut worker = Worker::in_role(DRAINING, &place.data());
        let mut lines: Vec<String> = (0..20).map(|_| worker.0.next().unwrap()).collect();
        worker.0.kill();
        lines.extend(worker.0.rest());
        for body in lines {
            assert!(told.insert(body.clone()), "{body} was acknowledged twice");
        }
        eventually("its session ends", || db.attached_processes().unwrap().is_empty());
    }
    let mut rest = 0;
    while let Some(mail) = mails.try_receive().unwrap() {
        assert!(!told.contains(&text(&mail)), "{} was acknowledged", text(&mail));
        mail.ack().unwrap();
        rest += 1;
    }
    assert_eq!(counts(&mails), [0; 4]);
    // What was acknowledged last may not have been told any more.
    assert!((bodies.len() - 8 * 4..=bodies.len()).contains(&(told.len() + rest)), "{} and {rest}", told.len());
}

#[test]
fn a_visibility_timeout_holds_for_a_process_that_hangs() {
    let place = Place::new();
    let db = place.open();
    let options = QueueOptions::new().visibility_timeout(SHORT).backoff(Backoff::none());
    let mails = db.create_queue("mails", options).unwrap();
    mails.send("to the customer").unwrap();
    let mut worker = Worker::start(&place.data());
    assert_eq!(worker.told("receive 1"), "to the customer 1/1");
    worker.0.stop();
    assert_eq!(told_of(&take(&mails)), "to the customer 2/2");
    worker.0.go_on();
    assert_eq!(worker.told("ack"), "Stale { queue: \"mails\" }");
    assert_eq!(counts(&mails).iter().sum::<u64>(), 1, "it is still there");
}

#[test]
fn a_paused_queue_is_paused_for_all_and_a_deleted_one_deleted() {
    let (place, db, mails) = hosted(&["one"]);
    let attached = attach(&place);
    let theirs = attached.queue("mails").unwrap();
    mails.pause().unwrap();
    assert!(theirs.try_receive().unwrap().is_none());
    let consumer = theirs.clone();
    let waiting = Waiting::begun(move || consumer.receive_timeout(HOUR).map(|mail| text(&mail.unwrap())));
    mails.resume().unwrap();
    assert_eq!(waiting.comes().unwrap(), "one");
    eventually("it was dropped, and is there again", || counts(&mails) == [1, 0, 0, 0]);
    mails.purge().unwrap();
    let consumer = theirs.clone();
    let waiting = Waiting::begun(move || consumer.receive().map(drop));
    db.delete_queue("mails").unwrap();
    assert!(matches!(waiting.comes(), Err(Error::NotFound { .. })));
}

#[test]
fn a_schedule_goes_on_with_the_process_that_takes_over() {
    let place = Place::new();
    let mut host = ChildProcess::host_with_grace(&place.data(), PATIENCE);
    let db = Options::temporary().open(place.data()).unwrap();
    let mails = db.create_queue("mails", options()).unwrap();
    let schedule = db.schedule("often", SchedulePlan::every(Duration::from_secs(1)), &mails, "report").unwrap();
    take(&mails).ack().unwrap();
    assert!(!db.is_host());
    host.kill();
    take(&mails).ack().unwrap();
    assert!(schedule.describe().unwrap().sent >= 2 && db.is_host());
}
