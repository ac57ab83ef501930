//! Every operation that there is, asked for by an attached process.

use std::time::Duration;

use towpath::{
    AppendOptions, Backoff, Binding, Database, Error, ExchangeOptions, Explanation, GroupOptions, Level, MemberOptions,
    Message, OpenMode, Options, ProducerOptions, PublishOptions, Queue, QueueOptions, Record, SchedulePlan, Start,
    StreamOptions, Timestamp,
};

use crate::place::executor::block_on;
use crate::place::{Place, drain, eventually};

/// Asks for what the host counts by its name, each by the methods that tests/tidy.rs enters for it.
#[test]
fn every_operation_is_asked_for_by_an_attached_process() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    db.ensure_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    let audit = db.create_stream("audit", StreamOptions::new()).unwrap();
    let to = AppendOptions::new().partition(0);
    let first = orders.append_with(Record::new(b"one blue mug"), &to).unwrap();
    orders.submit(Record::new(b"two green plates"), &to).unwrap().wait().unwrap();
    orders.append_batch(&[Record::new(b"three forks")], &to).unwrap();
    block_on(orders.submit_batch(&[Record::new(b"four spoons")], &to.level(Level::Buffered)).unwrap()).unwrap();
    let web = orders.producer("web", ProducerOptions::new()).unwrap();
    web.append_with(Record::new(b"one blue mug"), &AppendOptions::new().partition(1)).unwrap();
    assert_eq!(web.last(1).unwrap().unwrap().next_sequence(), 1);
    let group = orders.group("billing", GroupOptions::new()).unwrap();
    assert_eq!(orders.group_names().unwrap(), [orders.existing_group("billing").unwrap().name()]);
    let mut member = group.join(MemberOptions::new()).unwrap();
    assert_eq!(member.poll(1).unwrap().assigned, [0, 1]);
    assert_eq!(group.describe().unwrap().members.len(), 1);
    member.leave().unwrap();
    assert_eq!(orders.describe().unwrap().partitions[0].end_offset, 4);
    assert_eq!(db.streams().unwrap().len(), 2);
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    assert_eq!(reader.receive(1).unwrap().len(), 1);
    assert_eq!(drain(&mut reader).len(), 3);
    assert!(reader.receive_timeout(1, Duration::from_millis(1)).unwrap().is_none());
    reader.seek(Start::Lsn(first.lsn())).unwrap();
    assert_eq!(reader.position(), 0);
    assert!(reader.try_receive(1).unwrap().is_some());
    assert_eq!(block_on(reader.receive_async(1)).unwrap().len(), 1);
    assert_eq!(orders.offset_for_time(0, Timestamp::from_micros(0)).unwrap(), Some(0));
    orders.trim_before(0, 1).unwrap();
    db.delete_stream("audit").unwrap();
    assert!(matches!(audit.append("login of carol"), Err(Error::NotFound { .. })));
    assert!(matches!(audit.describe(), Err(Error::NotFound { .. })));
    assert!(reader.seek(Start::Offset(0)).is_err());
    ask_of_queues(&db);
    ask_of_schedules(&db);
    db.sync().unwrap();
    block_on(db.sync_async()).unwrap();
    db.checkpoint().unwrap();
    assert_eq!(db.attached_processes().unwrap().len(), 1);
    db.stats().unwrap();
    // Leaving is an operation too, which only another can see counted.
    let other = Options::temporary().mode(OpenMode::Attach).open(place.data()).unwrap();
    db.close().unwrap();
    eventually("every operation is counted", || {
        let missing = uncounted(&other);
        assert!(missing.iter().all(|operation| *operation == "leave"), "nobody asked for {missing:?}");
        missing.is_empty()
    });
}

/// Asks for what a schedule is asked.
fn ask_of_schedules(db: &Database) {
    let reports = db.create_queue("reports", QueueOptions::new()).unwrap();
    db.schedule("daily", SchedulePlan::cron("@daily"), &reports, "sales").unwrap();
    let daily = db.existing_schedule("daily").unwrap();
    assert_eq!(db.schedule_names().unwrap(), [daily.name()]);
    daily.pause().unwrap();
    assert!(daily.describe().unwrap().is_paused);
    daily.resume().unwrap();
    assert_eq!(daily.next_runs(2).unwrap().len(), 2);
    daily.remove().unwrap();
    db.delete_queue("reports").unwrap();
}

/// Asks for what a queue is asked.
fn ask_of_queues(db: &Database) {
    db.create_queue("mails", QueueOptions::new()).unwrap();
    let mails = db.ensure_queue("mails", QueueOptions::new().backoff(Backoff::none())).unwrap();
    assert_eq!(db.queue("mails").unwrap().name(), "mails");
    mails.send("one").unwrap();
    mails.send_at(Level::Buffered, "two").unwrap();
    mails.send_batch(&[Message::from("three"), Message::from("four")]).unwrap();
    let one = mails.receive().unwrap();
    one.extend(Duration::from_secs(60)).unwrap();
    one.fail("busy").unwrap();
    mails.try_receive().unwrap().unwrap().fail_with_delay("busy", Duration::ZERO).unwrap();
    mails.receive_timeout(Duration::from_millis(1)).unwrap().unwrap().release().unwrap();
    block_on(mails.receive_async()).unwrap().release_with_delay(Duration::ZERO).unwrap();
    let [one, two] = [mails.receive().unwrap(), mails.receive().unwrap()];
    one.reject("no such address").unwrap();
    two.ack().unwrap();
    let letters = mails.dead_letters(None, 1).unwrap();
    mails.redrive(&letters).unwrap();
    mails.receive_batch(1).unwrap().pop().unwrap().reject("no such address").unwrap();
    assert_eq!(mails.purge_dead(&mails.dead_letters(None, 1).unwrap()).unwrap(), 0);
    assert_eq!(mails.ack_batch(mails.try_receive_batch(1).unwrap()).unwrap(), 0);
    assert_eq!(mails.consumers().unwrap(), []);
    assert!(mails.moved_letters(None, 10).unwrap().is_empty(), "nothing died elsewhere");
    let later = mails.send(Message::from("later").delay(Duration::from_secs(3600))).unwrap().sequence;
    assert_eq!((mails.peek(1).unwrap().len(), mails.oldest().unwrap().is_some()), (1, true));
    assert!(matches!(mails.explain(later).unwrap(), Explanation::Delayed { .. }));
    mails.reschedule(later, Duration::from_secs(60)).unwrap();
    mails.reschedule_at(later, Timestamp::from_micros(u64::MAX / 2)).unwrap();
    assert_eq!(mails.get(later).unwrap().unwrap().body(), b"later");
    mails.cancel(later).unwrap();
    assert!(matches!(mails.get_by_id("later"), Err(Error::InvalidOption { .. })));
    mails.pause().unwrap();
    mails.resume().unwrap();
    mails.purge().unwrap();
    assert!(mails.receive_batch_timeout(1, Duration::from_millis(1)).unwrap().is_empty());
    std::thread::scope(|threads| {
        let consumer = threads.spawn(|| mails.receive().unwrap().ack().unwrap());
        eventually("a consumer waits", || !uncounted(db).contains(&"watch queue"));
        mails.send("five").unwrap();
        consumer.join().unwrap();
    });
    mails.send("six").unwrap();
    drop(block_on(mails.receive_batch_async(1)).unwrap());
    assert_eq!(mails.describe().unwrap().ready, 1);
    assert_eq!(db.queue_names().unwrap(), ["mails"]);
    ask_of_exchanges(db, &mails);
    db.delete_queue("mails").unwrap();
}

/// Asks for what an exchange is asked.
fn ask_of_exchanges(db: &Database, mails: &Queue) {
    let orders = db.create_exchange("orders", ExchangeOptions::topic()).unwrap();
    let news = db.ensure_exchange("news", ExchangeOptions::fanout()).unwrap();
    assert_eq!(db.exchange_names().unwrap(), ["news", db.exchange("orders").unwrap().name()]);
    orders.bind(mails, Binding::pattern("order.#")).unwrap();
    orders.bind_exchange(&news, Binding::pattern("news")).unwrap();
    assert_eq!(orders.describe().unwrap().bindings.len(), 2);
    assert_eq!(orders.publish("order.paid", "seven").unwrap().queues, 1);
    let options = PublishOptions::new().allow_unroutable();
    assert_eq!(orders.publish_with("unknown", "eight", &options).unwrap().queues, 0);
    assert_eq!(orders.publish_batch(&[("order", Message::from("nine"))], &options).unwrap().queues, 1);
    assert!(orders.unbind(mails, Binding::pattern("order.#")).unwrap());
    assert!(orders.unbind_exchange(&news, Binding::pattern("news")).unwrap());
    db.delete_exchange("orders").unwrap();
}

/// The operations that the host has not been asked for.
fn uncounted(db: &towpath::Database) -> Vec<&'static str> {
    let operations = db.stats().unwrap().operations;
    operations.iter().filter(|operation| operation.count == 0).map(|operation| operation.operation).collect()
}
