//! Consumers that join a queue: how many they have at once, who is active, and settling all that one has.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use towpath::{Backoff, Delivery, Error, Explanation, Queue, QueueOptions, Subscription, SubscriptionOptions};

use crate::consumer::{
    Waiting, counts, drain, expect_nothing, expect_stale, queue, send_all, take, take_now, text, texts,
};
use crate::place::eventually;
use crate::place::executor::block_on;

/// Counts how often a task was woken.
#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn single() -> QueueOptions {
    QueueOptions::new().backoff(Backoff::none()).single_active_consumer(true)
}

fn joined(queue: &Queue, name: &str, prefetch: usize) -> Subscription {
    queue.subscribe(SubscriptionOptions::new().name(name).prefetch(prefetch)).unwrap()
}

fn next(subscription: &mut Subscription, body: &str) -> Delivery {
    let delivery = subscription.try_next().unwrap().unwrap_or_else(|| panic!("{body} is not there"));
    assert_eq!(text(&delivery), body);
    delivery
}

fn has_nothing(subscription: &mut Subscription) {
    assert!(subscription.try_next().unwrap().is_none());
}

/// Names of the consumers, who comes first first; active ones with a star.
fn consumers(queue: &Queue) -> Vec<String> {
    let shown = queue.consumers().unwrap();
    shown.into_iter().map(|one| if one.is_active { format!("{}*", one.name) } else { one.name }).collect()
}

#[test]
fn a_subscription_has_no_more_unsettled_than_its_prefetch() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three"]);
    let mut subscription = joined(&mails, "printer", 2);
    let (one, two) = (next(&mut subscription, "one"), next(&mut subscription, "two"));
    has_nothing(&mut subscription);
    let waiting = Waiting::begun(move || text(&subscription.next().unwrap().unwrap()));
    one.ack().unwrap();
    assert_eq!(waiting.comes(), "three");
    two.ack().unwrap();
}

#[test]
fn a_task_that_waits_for_room_is_woken_by_its_own_settlement() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two"]);
    let mut stream = mails.subscribe_async(SubscriptionOptions::new()).unwrap();
    let one = block_on(stream.next()).unwrap().unwrap();
    let waiting = Waiting::begun(move || text(&block_on(stream.next()).unwrap().unwrap()));
    waiting.expect_to_wait();
    one.release().unwrap();
    assert_eq!(waiting.comes(), "one");
}

#[test]
fn consumers_are_told_by_name_with_what_they_have() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three"]);
    let mut printer = joined(&mails, "printer", 5);
    let packer = mails.subscribe(SubscriptionOptions::new().priority(9)).unwrap();
    let one = next(&mut printer, "one");
    let told = mails.consumers().unwrap();
    assert_eq!((told[1].name.as_str(), told[1].priority, told[1].prefetch, told[1].in_flight), ("printer", 0, 5, 3));
    assert!(told[0].name.starts_with("consumer ") && told[0].priority == 9 && told[0].is_active && told[1].is_active);
    assert!(told.iter().all(|one| one.pid == Some(std::process::id())));
    one.ack().unwrap();
    drop(printer);
    assert_eq!(mails.consumers().unwrap().len(), 1);
    drop(packer);
    assert_eq!(mails.consumers().unwrap(), []);
}

#[test]
fn a_name_that_is_none_is_refused() {
    let (_db, mails) = queue(QueueOptions::new());
    let refused = mails.subscribe(SubscriptionOptions::new().name("$printer"));
    assert!(matches!(&refused, Err(Error::InvalidName { name, .. }) if name == "$printer"), "{refused:?}");
}

#[test]
fn one_consumer_is_active_and_the_next_once_it_has_settled() {
    let (_db, mails) = queue(single());
    let (mut first, mut second) = (joined(&mails, "first", 2), joined(&mails, "second", 2));
    send_all(&mails, &["one", "two", "three"]);
    assert_eq!(consumers(&mails), ["first*", "second"]);
    has_nothing(&mut second);
    let one = next(&mut first, "one");
    drop(first);
    assert_eq!(consumers(&mails), ["second"], "the first has yet to settle");
    has_nothing(&mut second);
    let waiting = Waiting::begun(move || {
        let held = [second.next().unwrap().unwrap(), second.next().unwrap().unwrap()];
        texts(&held)
    });
    waiting.expect_to_wait();
    one.release().unwrap();
    assert_eq!(waiting.comes(), ["one", "two"]);
}

#[test]
fn order_is_kept_over_hand_overs_between_threads() {
    let (_db, mails) = queue(single());
    let bodies: Vec<String> = (100..160).map(|number| format!("entry {number}")).collect();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let consume = |prefetch| {
        let (mails, seen) = (mails.clone(), seen.clone());
        Waiting::begin(move || {
            // Each takes five and leaves, and others go on, until there are no more.
            while seen.lock().unwrap().len() < 60 {
                let mut subscription = joined(&mails, "ledger", prefetch);
                for _ in 0..5 {
                    let next = subscription.next_timeout(std::time::Duration::from_millis(20)).unwrap();
                    let Some(entry) = next else { break };
                    seen.lock().unwrap().push(text(&entry));
                    entry.ack().unwrap();
                }
            }
        })
    };
    let waiting: Vec<Waiting<()>> = [1, 3, 7].map(consume).into();
    for bodies in bodies.chunks(4) {
        send_all(&mails, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    }
    waiting.into_iter().for_each(Waiting::comes);
    assert_eq!(*seen.lock().unwrap(), bodies);
}

#[test]
fn a_higher_consumer_takes_over_once_the_active_one_has_settled() {
    let (_db, mails) = queue(single());
    send_all(&mails, &["one", "two"]);
    let mut low = joined(&mails, "low", 1);
    let one = next(&mut low, "one");
    let mut high = mails.subscribe(SubscriptionOptions::new().name("high").priority(1)).unwrap();
    has_nothing(&mut high);
    one.ack().unwrap();
    has_nothing(&mut low);
    next(&mut high, "two").ack().unwrap();
    assert_eq!(consumers(&mails), ["high*", "low"]);
}

#[test]
fn calls_of_one_handle_are_one_consumer_where_one_is_active() {
    let (db, mails) = queue(single());
    send_all(&mails, &["one", "two", "three"]);
    let (clone, other) = (mails.clone(), db.queue("mails").unwrap());
    let (one, two) = (take(&mails), take(&clone));
    expect_nothing(&other);
    assert_eq!(consumers(&mails).len(), 2);
    drop((mails, clone));
    expect_nothing(&other);
    one.ack().unwrap();
    two.ack().unwrap();
    take_now(&other, "three").ack().unwrap();
}

#[test]
fn a_worker_is_one_consumer_with_all_its_threads() {
    let (_db, mails) = queue(single());
    let worker = mails.work(towpath::WorkerOptions::new(3).name("crew"), |_: &Delivery| Ok::<(), Error>(())).unwrap();
    let mut next_one = joined(&mails, "next", 1);
    send_all(&mails, &["one", "two", "three", "four"]);
    eventually("the crew is through", || counts(&mails) == [0; 4]);
    assert_eq!(consumers(&mails), ["crew*", "next"]);
    assert_eq!(worker.stop().unwrap().acked, 4);
    send_all(&mails, &["five"]);
    next(&mut next_one, "five").ack().unwrap();
}

#[test]
fn it_is_told_that_consumers_are_full_and_who_is_waited_for() {
    let (_db, mails) = queue(single());
    let sent = ["one", "two"].map(|body| mails.send(body).unwrap().sequence);
    let mut first = joined(&mails, "first", 1);
    let one = next(&mut first, "one");
    assert_eq!(mails.explain(sent[1]).unwrap(), Explanation::ConsumersFull);
    let _high = mails.subscribe(SubscriptionOptions::new().priority(1)).unwrap();
    assert_eq!(mails.explain(sent[1]).unwrap(), Explanation::NotActive { consumer: "first".to_owned() });
    one.ack().unwrap();
    assert_eq!(mails.explain(sent[1]).unwrap(), Explanation::Behind { messages: 0 });
}

#[test]
fn acknowledging_through_settles_what_was_handed_out_before_and_not_the_reserve() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three", "four"]);
    let mut subscription = joined(&mails, "ledger", 4);
    let one = next(&mut subscription, "one");
    let two = next(&mut subscription, "two");
    let three = next(&mut subscription, "three");
    assert_eq!(two.ack_through().unwrap(), 2);
    expect_stale(one.ack());
    assert_eq!(counts(&mails), [0, 0, 2, 0]);
    drop(subscription);
    assert_eq!(drain(&mails), ["four"], "it was in reserve");
    assert_eq!(three.ack_through().unwrap(), 1);
}

#[test]
fn acknowledging_through_leaves_alone_what_others_have() {
    let (db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three"]);
    let other = db.queue("mails").unwrap();
    let one = take(&mails);
    let two = take(&other);
    let three = take(&mails.clone());
    assert_eq!(three.ack_through().unwrap(), 2, "a handle and its clones are one consumer");
    two.ack().unwrap();
    expect_stale(one.ack_through());
}

#[test]
fn several_are_settled_at_once_in_any_way() {
    let (_db, mails) = queue(QueueOptions::new().backoff(Backoff::none()));
    send_all(&mails, &["one", "two"]);
    let receive = || mails.receive_batch(2).unwrap();
    assert_eq!(mails.release_batch(receive()).unwrap(), 0);
    assert_eq!(mails.fail_batch(receive(), "busy").unwrap(), 0);
    let again = receive();
    assert_eq!([again[0].attempt(), again[0].hand_outs()], [2, 3]);
    assert_eq!(mails.reject_batch(again, "no such address").unwrap(), 0);
    assert_eq!(counts(&mails), [0, 0, 0, 2]);
    assert_eq!(mails.dead_letters(None, 1).unwrap()[0].failures().len(), 2);
}

#[test]
fn a_queue_is_given_a_single_active_consumer_and_relieved_of_it() {
    let (db, mails) = queue(QueueOptions::new());
    let refused = db.create_queue("mails", QueueOptions::new().single_active_consumer(true));
    assert!(matches!(refused, Err(Error::Mismatch { .. })), "{refused:?}");
    send_all(&mails, &["one", "two"]);
    let one = take(&mails);
    db.ensure_queue("mails", single()).unwrap();
    let mut subscription = joined(&mails, "first", 1);
    has_nothing(&mut subscription);
    let waiting = Waiting::begun(move || text(&subscription.next().unwrap().unwrap()));
    waiting.expect_to_wait();
    db.ensure_queue("mails", QueueOptions::new()).unwrap();
    assert_eq!(waiting.comes(), "two");
    one.ack().unwrap();
}

#[test]
fn of_those_who_wait_the_higher_priority_is_handed_messages_first_while_it_has_room() {
    let (_db, mails) = queue(QueueOptions::new());
    let with = |priority, prefetch| {
        let options = SubscriptionOptions::new().priority(priority).prefetch(prefetch);
        mails.subscribe(options).unwrap()
    };
    let (mut low, mut high) = (with(0, 1), with(9, 1));
    let low = Waiting::begun(move || low.next().unwrap().unwrap());
    let waiting = Waiting::begun(move || (high.next().unwrap().unwrap(), high));
    mails.send("one").unwrap();
    let (one, mut high) = waiting.comes();
    assert_eq!(text(&one), "one");
    low.expect_to_wait();
    // It has no room, though it waits.
    let waiting = Waiting::begun(move || high.next().unwrap().unwrap());
    mails.send("two").unwrap();
    assert_eq!(text(&low.comes()), "two");
    one.ack().unwrap();
    mails.send("three").unwrap();
    assert_eq!(text(&waiting.comes()), "three");
}

#[test]
fn a_message_wakes_one_of_many_who_wait() {
    let (_db, mails) = queue(QueueOptions::new());
    let wakes: Vec<Arc<Wakes>> = (0..1000).map(|_| Arc::default()).collect();
    let mut waiting: Vec<_> = wakes.iter().map(|_| Box::pin(mails.receive_async())).collect();
    let poll = |at: usize, future: &mut Pin<Box<_>>| -> Poll<Result<Delivery, Error>> {
        Future::poll(Pin::as_mut(future), &mut Context::from_waker(&Waker::from(wakes[at].clone())))
    };
    for (at, future) in waiting.iter_mut().enumerate() {
        assert!(poll(at, future).is_pending());
    }
    let woken = || (0..1000).filter(|at| wakes[*at].0.load(Ordering::SeqCst) > 0).collect::<Vec<_>>();
    mails.send("one").unwrap();
    eventually("one is woken", || !woken().is_empty());
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(woken(), [0], "who came first, and no other");
    // It goes without having looked: the next is woken in its place.
    drop(waiting.remove(0));
    eventually("another is woken", || woken() == [0, 1]);
    let Poll::Ready(Ok(one)) = poll(1, &mut waiting[0]) else { panic!("it was woken") };
    mails.send_batch(&["two", "three"].map(Into::into)).unwrap();
    eventually("a third is woken", || woken() == [0, 1, 2]);
    let Poll::Ready(Ok(two)) = poll(2, &mut waiting[1]) else { panic!("it was woken") };
    eventually("it has handed the wake on", || woken() == [0, 1, 2, 3]);
    assert_eq!([text(&one), text(&two)], ["one", "two"]);
}
