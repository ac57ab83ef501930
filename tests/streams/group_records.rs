//! The records of a member one by one: what is handed out, what is committed, and what is handed out again.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_core::Stream as _;
use towpath::{
    AppendOptions, CommitOptions, Error, Group, GroupOptions, Level, Member, MemberOptions, OwnedRecord, Record, Start,
    Stream, StreamOptions,
};

use crate::opening::{Opened, stream};
use crate::place::executor::block_on;
use crate::place::{PATIENCE, eventually};

/// A stream with so many records in each of its partitions, and a group.
fn group_over(partitions: u32, records: u64) -> (Opened, Stream, Group) {
    let (db, orders) = stream(StreamOptions::new().partitions(partitions).level(Level::Buffered));
    for partition in 0..partitions {
        append(&orders, partition, records);
    }
    let web = orders.group("web", GroupOptions::new()).unwrap();
    (db, orders, web)
}

fn append(orders: &Stream, partition: u32, records: u64) {
    let bodies: Vec<String> = (0..records).map(|number| format!("order {number}")).collect();
    let records: Vec<Record<'_>> = bodies.iter().map(|body| Record::new(body.as_bytes())).collect();
    orders.append_batch(&records, &AppendOptions::new().partition(partition)).unwrap();
}

fn join(web: &Group) -> Member {
    web.join(MemberOptions::new()).unwrap()
}

fn place(record: &OwnedRecord) -> (u32, u64) {
    (record.partition(), record.offset())
}

fn committed(web: &Group) -> Vec<Option<u64>> {
    web.describe().unwrap().partitions.iter().map(|partition| partition.committed).collect()
}

/// Never due by number or time.
fn seldom() -> CommitOptions {
    CommitOptions::new().every_records(u64::MAX).every(Duration::MAX)
}

#[test]
fn a_record_is_committed_once_the_next_is_asked_for_and_is_handed_out_again_otherwise() {
    let (_db, _orders, web) = group_over(1, 3);
    let mut member = join(&web);
    let mut records = member.records(seldom().every_records(1));
    let first = records.next().unwrap().unwrap();
    assert_eq!((place(&first), first.body(), first.key()), ((0, 0), &b"order 0"[..], None));
    assert_eq!(committed(&web), [None], "it may still be in work");
    assert_eq!(records.next().unwrap().unwrap().offset(), 1);
    assert_eq!(committed(&web), [Some(1)]);
    assert_eq!(first.body_bytes(), "order 0", "it stays readable");
    drop(records);
    drop(member);
    let mut another = join(&web);
    let mut records = another.records(seldom());
    let again: Vec<u64> = records.by_ref().take(2).map(|record| record.unwrap().offset()).collect();
    assert_eq!(again, [1, 2], "the second was in work");
}

#[test]
fn what_was_dropped_with_a_revoked_partition_is_not_committed_as_polled() {
    let (_db, _orders, web) = group_over(2, 5);
    let mut member = join(&web);
    let mut records = member.records(CommitOptions::manual());
    assert_eq!(place(&records.next().unwrap().unwrap()), (0, 0));
    let _second = join(&web);
    // At most so often it looks whether partitions are to be given up.
    std::thread::sleep(Duration::from_millis(150));
    records.next().unwrap().unwrap();
    drop(records);
    member.commit().unwrap();
    assert_eq!(committed(&web), [Some(1), None], "one record was done");
}

#[test]
fn a_seek_back_is_committed_after_an_iterator_has_committed() {
    let (_db, _orders, web) = group_over(1, 5);
    let mut member = join(&web);
    let handed_out = member.records(seldom()).take(4).count();
    eventually("what was done is committed", || committed(&web) == [Some(handed_out as u64 - 1)]);
    member.seek(0, Start::Earliest).unwrap();
    member.commit().unwrap();
    assert_eq!(committed(&web), [Some(0)]);
}

#[test]
fn commits_are_due_after_a_number_of_records_after_a_time_and_before_a_wait() {
    let (_db, _orders, web) = group_over(1, 5);
    let mut member = join(&web);
    let mut records = member.records(seldom().every_records(2));
    let seen: Vec<Option<u64>> = (0..5)
        .map(|_| {
            records.try_next().unwrap().unwrap();
            committed(&web)[0]
        })
        .collect();
    assert_eq!(seen, [None, None, Some(2), Some(2), Some(4)]);
    assert!(records.try_next().unwrap().is_none());
    assert_eq!(committed(&web), [Some(5)], "nothing is left to be done");
    drop(records);
    web.reset_offsets(&[(0, 0)]).unwrap();
    let mut records = member.records(seldom().every(Duration::ZERO).level(Level::Sync));
    assert_eq!(records.next().unwrap().unwrap().offset(), 0);
    assert_eq!(records.next_timeout(PATIENCE).unwrap().unwrap().offset(), 1);
    assert_eq!(committed(&web), [Some(1)]);
}

#[test]
fn dropping_the_iterator_commits_what_is_done_and_the_member_goes_on_with_the_rest() {
    let (_db, _orders, web) = group_over(1, 6);
    let mut member = join(&web);
    assert_eq!(member.poll(1).unwrap().assigned, [0]);
    let offsets = |member: &mut Member, count| -> Vec<u64> {
        member.records(seldom()).take(count).map(|record| record.unwrap().offset()).collect()
    };
    assert_eq!(offsets(&mut member, 2), [0, 1]);
    assert_eq!(committed(&web), [Some(1)]);
    assert_eq!(offsets(&mut member, 2), [1, 2], "the last one was not done");
    let mut records = member.records(seldom());
    assert_eq!(records.next().unwrap().unwrap().offset(), 2);
    records.commit().unwrap();
    drop(records);
    assert_eq!(committed(&web), [Some(3)]);
    let polled = member.poll(100).unwrap();
    assert_eq!(polled.iter().map(|record| record.offset()).collect::<Vec<u64>>(), [3, 4, 5]);
}

#[test]
fn by_hand_nothing_is_committed_but_what_is_told_to_be() {
    let (_db, orders, web) = group_over(1, 3);
    let mut member = join(&web);
    let mut records = member.records(CommitOptions::manual());
    for offset in 0..3 {
        assert_eq!(records.next().unwrap().unwrap().offset(), offset);
    }
    assert!(records.try_next().unwrap().is_none());
    assert!(records.next_timeout(Duration::from_millis(2)).unwrap().is_none());
    assert_eq!(committed(&web), [None]);
    records.commit().unwrap();
    assert_eq!((committed(&web), records.member().partitions().collect()), (vec![Some(3)], vec![0]));
    append(&orders, 0, 2);
    assert_eq!(records.next().unwrap().unwrap().offset(), 3);
    drop(records);
    drop(member);
    assert_eq!(join(&web).records(seldom()).next().unwrap().unwrap().offset(), 3);
}

#[test]
fn a_partition_that_is_given_up_is_read_on_by_its_next_owner_and_nothing_twice_or_never() {
    let (_db, _orders, web) = group_over(2, 400);
    let (mut first, mut second) = (join(&web), join(&web));
    let mut read: Vec<(u32, u64)> = Vec::new();
    let mut records = first.records(seldom());
    // The first owns both and has records of both in hand, while the second waits for one of them.
    let mut others = second.records(seldom());
    eventually("both are read to the end", || {
        read.extend(records.try_next().unwrap().iter().map(place));
        read.extend(others.try_next().unwrap().iter().map(place));
        read.len() >= 800
    });
    assert!(records.try_next().unwrap().is_none() && others.try_next().unwrap().is_none());
    assert_eq!(committed(&web), [Some(400), Some(400)]);
    read.sort_unstable();
    let all = (0..2).flat_map(|partition| (0..400).map(move |offset| (partition, offset)));
    assert!(read.into_iter().eq(all), "each once");
}

#[test]
fn who_has_records_in_hand_hears_of_what_it_is_to_give_up() {
    let (_db, _orders, web) = group_over(2, 400);
    let mut first = join(&web);
    let mut records = first.records(seldom());
    let (kept, _) = place(&records.next().unwrap().unwrap());
    let mut second = join(&web);
    let mut handed_out = 1;
    eventually("the second owns one", || {
        handed_out += u64::from(records.try_next().unwrap().is_some());
        second.try_poll(1).unwrap();
        second.partitions().count() == 1
    });
    assert!(handed_out < 400, "long before it has used up what it has: {handed_out}");
    let given_up = second.partitions().next().unwrap();
    let offset = committed(&web)[given_up as usize].unwrap_or(0);
    assert_eq!(second.records(seldom()).next().unwrap().unwrap().offset(), offset);
    let rest = std::iter::from_fn(|| records.try_next().unwrap()).map(|record| record.partition());
    assert!(rest.into_iter().all(|partition| partition != given_up), "{kept} {given_up}");
}

#[test]
fn what_was_taken_away_is_no_error_unless_one_commits_by_hand() {
    for options in [seldom(), CommitOptions::manual()] {
        let (_db, _orders, web) = group_over(2, 3);
        let hasty = MemberOptions::new().rebalance_timeout(Duration::from_millis(1));
        let mut first = web.join(hasty).unwrap();
        let mut records = first.records(options);
        let before: Vec<(u32, u64)> = (0..4).map(|_| place(&records.next().unwrap().unwrap())).collect();
        let mut second = join(&web);
        let mut others = second.records(seldom());
        // The first is at work for too long.
        let taken = others.next().unwrap().unwrap();
        assert_eq!(taken.offset(), 0, "nothing of it was committed");
        if options == seldom() {
            std::thread::sleep(Duration::from_millis(110));
            let rest: Vec<u32> =
                std::iter::from_fn(|| records.try_next().unwrap()).map(|record| record.partition()).collect();
            assert!(rest.len() <= 2 && !rest.contains(&taken.partition()), "{before:?} {rest:?}");
        }
        let told = records.commit();
        if options == CommitOptions::manual() {
            let Err(Error::PartitionsMoved { partitions, .. }) = told else { panic!("{told:?}") };
            assert_eq!(partitions, [taken.partition()]);
            records.commit().unwrap();
        } else {
            told.unwrap();
        }
        let kept = 1 - taken.partition();
        assert!(committed(&web)[kept as usize].is_some());
        assert_eq!(committed(&web)[taken.partition() as usize], None);
    }
}

#[test]
fn a_partition_that_begins_anew_is_handed_out_from_there_and_its_past_is_not_committed() {
    let (_db, _orders, web) = group_over(1, 5);
    let mut member = join(&web);
    let mut records = member.records(CommitOptions::manual());
    for offset in 0..3 {
        assert_eq!(records.next().unwrap().unwrap().offset(), offset);
    }
    web.reset_offsets(&[(0, 1)]).unwrap();
    eventually("it begins anew", || records.try_next().unwrap().is_some_and(|record| record.offset() == 1));
    assert!(matches!(records.commit(), Err(Error::PartitionsMoved { partitions, .. }) if partitions == [0]));
    assert_eq!(committed(&web), [Some(2)], "what was handed out since");
    assert_eq!(records.next().unwrap().unwrap().offset(), 2);
    records.commit().unwrap();
    assert_eq!(committed(&web), [Some(3)]);
}

#[test]
fn the_end_of_the_membership_is_an_item_and_then_there_is_none() {
    let (db, _orders, web) = group_over(1, 1);
    let mut member = join(&web);
    let mut records = member.records(seldom());
    assert!(records.next().unwrap().is_ok());
    db.delete_stream("orders").unwrap();
    assert!(matches!(records.next(), Some(Err(Error::MemberEnded { group })) if group == "web"));
    assert!(records.next().is_none());
    assert!(matches!(records.try_next(), Err(Error::MemberEnded { .. })));
    drop(records);
    let mut records = member.records_async(seldom());
    assert!(matches!(block_on(records.next()), Some(Err(Error::MemberEnded { .. }))));
    assert!(block_on(records.next()).is_none());
}

#[test]
fn the_stream_hands_out_and_commits_as_the_iterator_does() {
    let (_db, orders, web) = group_over(1, 3);
    let mut member = join(&web);
    let mut records = member.records_async(seldom().every_records(2));
    for (offset, stored) in [(0, None), (1, None), (2, Some(2))] {
        assert_eq!(block_on(records.next()).unwrap().unwrap().offset(), offset);
        assert_eq!(committed(&web), [stored]);
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut records = pin!(&mut records);
            let next = std::future::poll_fn(|context| records.as_mut().poll_next(context));
            block_on(next).unwrap().unwrap().offset()
        });
        eventually("it commits before it waits", || committed(&web) == [Some(3)]);
        append(&orders, 0, 1);
        assert_eq!(waiting.join().unwrap(), 3);
    });
    block_on(records.commit_async()).unwrap();
    assert_eq!(committed(&web), [Some(4)]);
    append(&orders, 0, 2);
    assert_eq!(block_on(records.next()).unwrap().unwrap().offset(), 4);
    drop(records);
    assert_eq!(member.records(seldom()).next().unwrap().unwrap().offset(), 4, "it was in work");
}

#[test]
fn a_wait_that_is_given_up_loses_nothing_and_keeps_nobody_from_committing() {
    let (_db, orders, web) = group_over(1, 2);
    let mut member = join(&web);
    let mut records = member.records_async(CommitOptions::manual());
    for offset in 0..2 {
        assert_eq!(block_on(records.next()).unwrap().unwrap().offset(), offset);
    }
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(records.next()).poll(&mut context).is_pending());
    assert_eq!(committed(&web), [None]);
    block_on(records.commit_async()).unwrap();
    assert_eq!(committed(&web), [Some(2)]);
    assert!(pin!(records.next()).poll(&mut context).is_pending());
    append(&orders, 0, 2);
    assert_eq!(block_on(records.next()).unwrap().unwrap().offset(), 2);
    assert_eq!(block_on(records.next()).unwrap().unwrap().offset(), 3);
    assert!(pin!(records.next()).poll(&mut context).is_pending());
    drop(records);
    append(&orders, 0, 1);
    assert_eq!(member.poll(100).unwrap().iter().map(|record| record.offset()).collect::<Vec<u64>>(), [4]);
}

#[test]
fn members_that_come_and_go_in_order_consume_each_record_once() {
    const PARTITIONS: u32 = 4;
    const RECORDS: u64 = 500;
    let (_db, _orders, web) = group_over(PARTITIONS, RECORDS);
    let read: Mutex<BTreeMap<u32, Vec<u64>>> = Mutex::default();
    std::thread::scope(|scope| {
        for worker in 0..3_usize {
            let (web, read) = (&web, &read);
            scope.spawn(move || {
                while read.lock().unwrap().values().map(Vec::len).sum::<usize>() < (PARTITIONS as usize) * 500 {
                    let mut member = join(web);
                    let mut records = member.records(CommitOptions::new().every_records(7 + worker as u64));
                    for _ in 0..60 + 30 * worker {
                        let Some(record) = records.next_timeout(Duration::from_millis(20)).unwrap() else { break };
                        read.lock().unwrap().entry(record.partition()).or_default().push(record.offset());
                    }
                    records.commit().unwrap();
                }
            });
        }
    });
    for (partition, offsets) in read.into_inner().unwrap() {
        assert!(offsets.into_iter().eq(0..RECORDS), "partition {partition}: each once, in order");
    }
}
