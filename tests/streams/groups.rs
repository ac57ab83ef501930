//! Consumer groups: who reads what, what a commit is worth, and what is known of a group.

use std::collections::BTreeSet;
use std::time::Duration;

use towpath::{
    AppendOptions, Assignor, Error, Group, GroupOptions, GroupStart, Level, ManualClock, Member, MemberOptions,
    Options, Polled, Record, Start, Stream, StreamOptions, Timestamp,
};

use crate::opening::{Opened, database_with, stream};
use crate::place::executor::{block_on, is_pending};
use crate::place::{PATIENCE, Place, eventually};

/// A stream with so many partitions, a record in each, and a group.
fn group_over(partitions: u32) -> (Opened, Stream, Group) {
    let (db, orders) = stream(StreamOptions::new().partitions(partitions));
    append_to_each(&orders, "one");
    let web = orders.group("web", GroupOptions::new()).unwrap();
    (db, orders, web)
}

fn append_to_each(orders: &Stream, body: &str) {
    for partition in 0..orders.partitions() {
        let body = format!("{body} in {partition}");
        orders.append_with(Record::new(body.as_bytes()), &AppendOptions::new().partition(partition)).unwrap();
    }
}

fn join(web: &Group) -> Member {
    web.join(MemberOptions::new()).unwrap()
}

/// The next poll, which does not wait for ever.
#[track_caller]
fn poll(member: &mut Member) -> Polled {
    member.poll_timeout(100, PATIENCE).unwrap().expect("there is something")
}

/// Polls until there is nothing more, and tells what was read.
fn read(member: &mut Member) -> BTreeSet<String> {
    let mut read = BTreeSet::new();
    while let Some(polled) = member.try_poll(100).unwrap() {
        read.extend(polled.iter().map(|record| String::from_utf8_lossy(record.body()).into_owned()));
    }
    read
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn committed(web: &Group) -> Vec<Option<u64>> {
    web.describe().unwrap().partitions.iter().map(|partition| partition.committed).collect()
}

#[test]
fn a_member_alone_reads_all_partitions_and_another_goes_on_where_it_committed() {
    let (_db, orders, web) = group_over(3);
    let mut first = join(&web);
    assert_eq!(poll(&mut first).assigned, [0, 1, 2]);
    assert_eq!(read(&mut first), set(&["one in 0", "one in 1", "one in 2"]));
    first.commit().unwrap();
    append_to_each(&orders, "two");
    assert_eq!(read(&mut first).len(), 3);
    drop(first);
    let mut second = join(&web);
    assert_eq!(poll(&mut second).assigned, [0, 1, 2]);
    assert_eq!(read(&mut second), set(&["two in 0", "two in 1", "two in 2"]), "what was not committed is read again");
    assert!(second.try_poll(100).unwrap().is_none());
}

#[test]
fn only_what_must_move_is_revoked_and_it_moves_once_it_is_given_up() {
    let (_db, orders, web) = group_over(4);
    let mut first = join(&web);
    assert_eq!(poll(&mut first).assigned, [0, 1, 2, 3]);
    let mut second = join(&web);
    assert!(second.try_poll(100).unwrap().is_none(), "nothing was given up yet");
    let revoked = poll(&mut first).revoked;
    assert_eq!(revoked.len(), 2);
    assert!(second.try_poll(100).unwrap().is_none(), "the first is told and has not given up");
    let kept: BTreeSet<u32> = first.partitions().collect();
    assert_eq!(read(&mut first).len(), 2, "it goes on with what it keeps");
    assert_eq!(poll(&mut second).assigned, revoked);
    append_to_each(&orders, "two");
    assert_eq!(read(&mut second).len(), 4);
    let of_kept: BTreeSet<String> = kept.iter().map(|partition| format!("two in {partition}")).collect();
    assert_eq!(read(&mut first), of_kept);
}

#[test]
fn a_commit_gives_up_what_was_revoked_and_stores_what_was_done_of_it() {
    let (_db, _orders, web) = group_over(2);
    let mut first = join(&web);
    assert_eq!(poll(&mut first).assigned, [0, 1]);
    assert_eq!(read(&mut first).len(), 2);
    let mut second = join(&web);
    assert_eq!(poll(&mut first).revoked.len(), 1);
    first.commit().unwrap();
    assert_eq!(poll(&mut second).assigned.len(), 1);
    assert!(second.try_poll(100).unwrap().is_none(), "it was done");
    assert_eq!(committed(&web), [Some(1), Some(1)]);
}

#[test]
fn what_a_member_leaves_goes_to_the_others_at_once() {
    let (_db, _orders, web) = group_over(4);
    let (mut first, mut second) = (join(&web), join(&web));
    poll(&mut first);
    first.commit().unwrap();
    poll(&mut second);
    first.leave().unwrap();
    assert_eq!(poll(&mut second).assigned.len(), 2);
    assert_eq!(second.partitions().collect::<Vec<u32>>(), [0, 1, 2, 3]);
    let mut third = join(&web);
    second.commit().unwrap();
    poll(&mut second);
    drop(second);
    eventually("the third has all", || {
        third.try_poll(1).unwrap();
        third.partitions().count() == 4
    });
}

#[test]
fn a_commit_is_refused_for_the_partitions_that_moved_on_and_stored_for_the_others() {
    let (_db, _orders, web) = group_over(2);
    let hasty = MemberOptions::new().rebalance_timeout(Duration::from_millis(1));
    let mut first = web.join(hasty).unwrap();
    assert_eq!(poll(&mut first).assigned, [0, 1]);
    assert_eq!(read(&mut first).len(), 2);
    let mut second = join(&web);
    // The first does not poll in time.
    let taken = poll(&mut second).assigned;
    assert_eq!(taken.len(), 1);
    let refused = first.commit_with(Level::Sync).unwrap_err();
    assert!(matches!(&refused, Error::PartitionsMoved { group, partitions } if group == "web" && *partitions == taken));
    assert_eq!((refused.code(), refused.is_retryable()), (-29, false));
    let mut stored = vec![Some(1), Some(1)];
    stored[taken[0] as usize] = None;
    assert_eq!(committed(&web), stored);
    first.commit().unwrap();
    assert_eq!(poll(&mut first).revoked, taken);
    assert_eq!(read(&mut second).len(), 1, "it was not committed");
    let moved = first.commit_offsets(&[(taken[0], 1)], Level::Buffered).unwrap_err();
    assert!(matches!(moved, Error::PartitionsMoved { partitions, .. } if partitions == taken));
}

#[test]
fn a_member_with_an_id_of_its_own_keeps_its_partitions_while_it_is_away() {
    let (_db, _orders, web) = group_over(4);
    let named = |id: &str| web.join(MemberOptions::new().member_id(id)).unwrap();
    let (mut carol, mut dave) = (named("carol"), named("dave"));
    poll(&mut carol);
    carol.commit().unwrap();
    poll(&mut dave);
    let of_carol: Vec<u32> = carol.partitions().collect();
    drop(carol);
    eventually("carol is away", || web.describe().unwrap().members.iter().any(|member| !member.is_alive));
    assert!(read(&mut dave).iter().all(|text| !of_carol.iter().any(|own| *text == format!("one in {own}"))));
    assert_eq!(dave.partitions().count(), 2);
    let mut carol = named("carol");
    assert_eq!(poll(&mut carol).assigned, of_carol);
    let mut again = named("carol");
    let over = carol.poll(1).unwrap_err();
    assert!(matches!(&over, Error::MemberEnded { group } if group == "web") && over.code() == -30);
    assert!(matches!(carol.commit_with(Level::Sync), Err(Error::MemberEnded { .. })));
    assert_eq!(poll(&mut again).assigned, of_carol);
    again.leave().unwrap();
    assert_eq!(poll(&mut dave).assigned, of_carol, "who leaves gives up what it has");
}

#[test]
fn a_member_that_does_not_poll_within_its_session_timeout_is_over() {
    let clock = ManualClock::starting_at(Timestamp::from_micros(1_790_000_000_000_000));
    let db = database_with(Options::temporary().clock(clock.clone()));
    let orders = db.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    let web = orders.group("web", GroupOptions::new()).unwrap();
    let mut idle = web.join(MemberOptions::new().session_timeout(Duration::from_secs(10))).unwrap();
    let mut busy = web.join(MemberOptions::new().session_timeout(Duration::from_secs(10))).unwrap();
    poll(&mut idle);
    idle.commit().unwrap();
    poll(&mut busy);
    for second in 0..17 {
        clock.advance(Duration::from_secs(1));
        append_to_each(&orders, &format!("number {second}"));
        read(&mut busy);
        busy.commit().unwrap();
    }
    eventually("the other has both", || {
        read(&mut busy);
        busy.partitions().count() == 2
    });
    assert!(matches!(idle.try_poll(1), Err(Error::MemberEnded { .. })));
}

#[test]
fn a_poll_that_waits_keeps_its_member_through_its_session_timeout() {
    let clock = ManualClock::starting_at(Timestamp::from_micros(1_790_000_000_000_000));
    let db = database_with(Options::temporary().clock(clock.clone()));
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let web = orders.group("web", GroupOptions::new()).unwrap();
    let options = || MemberOptions::new().session_timeout(Duration::from_secs(10));
    let (mut blocking, mut waiting) = (web.join(options()).unwrap(), web.join(options()).unwrap());
    poll(&mut blocking);
    assert!(matches!(waiting.try_poll(1), Ok(None)), "there is one partition, and the other has it");
    let polled = std::thread::scope(|scope| {
        let polled = scope.spawn(|| blocking.poll(100).map(|polled| polled.iter().count()));
        let mut future = std::pin::pin!(waiting.poll_async(100));
        assert!(is_pending(future.as_mut()));
        for _ in 0..40 {
            clock.advance(Duration::from_secs(1));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(is_pending(future.as_mut()), "its poll has nothing to tell");
        orders.append("at last").unwrap();
        polled.join().unwrap()
    });
    assert_eq!(polled.unwrap(), 1);
    blocking.commit().unwrap();
    assert!(matches!(waiting.try_poll(1), Ok(None)));
}

#[test]
fn a_poll_that_waits_is_woken_by_records_and_by_partitions() {
    let (_db, orders, web) = group_over(2);
    let mut first = join(&web);
    assert_eq!(poll(&mut first).assigned, [0, 1]);
    assert_eq!(read(&mut first).len(), 2);
    assert!(first.poll_timeout(1, Duration::from_millis(5)).unwrap().is_none());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| first.poll(100).unwrap().iter().count());
        orders.append("two").unwrap();
        assert_eq!(waiting.join().unwrap(), 1);
    });
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(first.poll_async(100)).unwrap().revoked.len());
        let _second = join(&web);
        assert_eq!(waiting.join().unwrap(), 1);
    });
    let assigned = block_on(first.poll_async(100)).unwrap().assigned;
    assert_eq!(assigned.len(), 1, "the second has left");
}

#[test]
fn a_partition_with_much_to_read_leaves_the_others_their_turns() {
    let (_db, orders, web) = group_over(2);
    let mut member = join(&web);
    poll(&mut member);
    assert_eq!(read(&mut member).len(), 2);
    let append = |partition, body: &str| {
        orders.append_with(Record::new(body.as_bytes()), &AppendOptions::new().partition(partition)).unwrap();
    };
    (0..20).for_each(|number| append(0, &format!("{number} of many")));
    assert_eq!(member.try_poll(1).unwrap().unwrap().iter().count(), 1);
    append(1, "alone");
    let next: Vec<u32> = (0..4)
        .flat_map(|_| member.try_poll(1).unwrap().unwrap().iter().map(|record| record.partition()).collect::<Vec<_>>())
        .collect();
    assert!(next.contains(&1), "{next:?}");
}

#[test]
fn where_offsets_were_reset_a_commit_of_before_is_refused_while_the_partition_is_revoked() {
    let (_db, _orders, web) = group_over(2);
    let mut first = join(&web);
    poll(&mut first);
    assert_eq!(read(&mut first).len(), 2);
    let _second = join(&web);
    web.reset_offsets(&[(0, 1), (1, 1), (0, 0), (1, 0)]).unwrap();
    assert_eq!(committed(&web), [Some(0), Some(0)], "the last of each counts");
    let told = poll(&mut first);
    assert_eq!((told.assigned.len(), told.revoked.len()), (1, 1));
    let refused = first.commit_offsets(&[(told.revoked[0], 1)], Level::Buffered).unwrap_err();
    assert!(matches!(refused, Error::PartitionsMoved { ref partitions, .. } if *partitions == told.revoked));
    assert_eq!(committed(&web), [Some(0), Some(0)]);
    let unknown = web.reset_offsets(&[(9_999, 0)]).unwrap_err();
    assert!(matches!(unknown, Error::InvalidOption { option: "partition", .. }));
}

#[test]
fn what_is_paused_stays_the_members_and_is_read_after_it_is_resumed() {
    let (_db, _orders, web) = group_over(2);
    let mut member = join(&web);
    assert!(member.pause(0).is_err(), "it knows of no partition yet");
    poll(&mut member);
    member.pause(0).unwrap();
    assert_eq!(read(&mut member), set(&["one in 1"]));
    member.resume(0).unwrap();
    assert_eq!(read(&mut member), set(&["one in 0"]));
    let unowned = member.resume(2).unwrap_err();
    assert!(matches!(unowned, Error::InvalidOption { option: "partition", .. }));
}

#[test]
fn a_member_reads_on_where_it_seeks_and_commits_from_there() {
    let (_db, orders, web) = group_over(2);
    append_to_each(&orders, "two");
    let mut member = join(&web);
    poll(&mut member);
    member.seek(0, Start::Offset(1)).unwrap();
    member.seek(1, Start::Latest).unwrap();
    assert_eq!(read(&mut member), set(&["two in 0"]));
    let lag: Vec<u64> = member.lag().unwrap().iter().map(|lag| lag.next_offset).collect();
    assert_eq!(lag, [2, 2]);
    member.seek(0, Start::Earliest).unwrap();
    member.commit().unwrap();
    assert_eq!(committed(&web), [None, Some(2)], "where nothing was consumed nothing is to be stored");
    assert_eq!(read(&mut member), set(&["one in 0", "two in 0"]));
    assert!(matches!(member.seek(0, Start::Offset(3)), Err(Error::OffsetOutOfRange { start: 0, end: 2, .. })));
}

#[test]
fn no_offset_behind_the_end_is_committed() {
    let (_db, _orders, web) = group_over(1);
    let mut member = join(&web);
    poll(&mut member);
    let refused = member.commit_offsets(&[(0, 2)], Level::Buffered).unwrap_err();
    assert!(matches!(refused, Error::OffsetOutOfRange { partition: 0, offset: 2, end: 1, .. }));
    assert_eq!(committed(&web), [None]);
    member.commit_offsets(&[(0, 1)], Level::Sync).unwrap();
    assert_eq!(committed(&web), [Some(1)]);
    assert_eq!(read(&mut member).len(), 1, "where it reads on does not change");
}

#[test]
fn a_reset_takes_effect_although_members_are_there() {
    let (_db, _orders, web) = group_over(2);
    let mut member = join(&web);
    poll(&mut member);
    assert_eq!(read(&mut member).len(), 2);
    member.commit().unwrap();
    web.reset_offsets(&[(1, 0)]).unwrap();
    member.seek(1, Start::Latest).unwrap();
    assert!(matches!(
        member.commit_with(Level::Sync),
        Err(Error::PartitionsMoved { partitions, .. }) if partitions == [1]
    ));
    assert_eq!(poll(&mut member).assigned, [1], "it begins anew");
    assert_eq!(read(&mut member), set(&["one in 1"]));
    web.reset(Start::Latest).unwrap();
    assert_eq!(committed(&web), [Some(1), Some(1)]);
    let beyond = web.reset_offsets(&[(0, 2)]).unwrap_err();
    assert!(matches!(beyond, Error::OffsetOutOfRange { offset: 2, .. }));
    assert!(web.reset_offsets(&[(2, 0)]).is_err());
}

#[test]
fn a_group_begins_where_it_is_told_and_goes_on_over_what_retention_took() {
    let (_db, orders, _web) = group_over(1);
    let late = orders.group("late", GroupOptions::new().start(GroupStart::Latest)).unwrap();
    let mut member = join(&late);
    poll(&mut member);
    orders.append("two").unwrap();
    assert_eq!(read(&mut member), set(&["two"]));
    orders.append("three").unwrap();
    orders.append("four").unwrap();
    orders.trim_before(0, 3).unwrap();
    assert_eq!(read(&mut member), set(&["four"]));
}

/// Kafka's `auto.offset.reset`: what a group without a committed offset, or with one that is not there any more, begins
/// with. Below the start all groups go on as `earliest` does there.
#[test]
fn a_member_begins_at_the_committed_offset_or_where_the_group_says() {
    // The start of the group, what is committed, what is trimmed before, and the first offset that is read of 0 to 4.
    let examples = [
        (GroupStart::Earliest, None, 0, Some(0)),
        (GroupStart::Earliest, None, 3, Some(3)),
        (GroupStart::Earliest, Some(2), 0, Some(2)),
        (GroupStart::Earliest, Some(2), 3, Some(3)),
        (GroupStart::Earliest, Some(4), 3, Some(4)),
        (GroupStart::Earliest, Some(5), 5, None),
        (GroupStart::Latest, None, 0, None),
        (GroupStart::Latest, None, 3, None),
        (GroupStart::Latest, Some(2), 0, Some(2)),
        (GroupStart::Latest, Some(2), 3, Some(3)),
    ];
    let (_db, orders) = stream(StreamOptions::new().level(Level::Buffered));
    for (number, (start, stored, start_offset, first)) in examples.into_iter().enumerate() {
        let base = orders.describe().unwrap().partitions[0].end_offset;
        orders.trim_before(0, base).unwrap();
        for _ in 0..5 {
            orders.append("one").unwrap();
        }
        let web = orders.group(&format!("web {number}"), GroupOptions::new().start(start)).unwrap();
        if let Some(offset) = stored {
            web.reset_offsets(&[(0, base + offset)]).unwrap();
        }
        orders.trim_before(0, base + start_offset).unwrap();
        let mut member = join(&web);
        assert_eq!(poll(&mut member).assigned, [0]);
        let polled = member.try_poll(100).unwrap();
        let found = polled.and_then(|polled| polled.iter().next().map(|record| record.offset() - base));
        assert_eq!(found, first, "{start:?}, {stored:?} committed, {start_offset} trimmed");
    }
}

#[test]
fn partitions_that_are_added_are_read_by_the_members_that_there_are() {
    let (_db, orders, web) = group_over(1);
    let mut member = join(&web);
    assert_eq!(poll(&mut member).assigned, [0]);
    orders.add_partitions(2).unwrap();
    let mut assigned = BTreeSet::new();
    while assigned.len() < 2 {
        assigned.extend(poll(&mut member).assigned);
    }
    append_to_each(&orders, "two");
    assert!(read(&mut member).is_superset(&set(&["two in 0", "two in 1", "two in 2"])));
}

#[test]
fn commits_and_members_with_an_id_are_there_after_a_restart() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    append_to_each(&orders, "one");
    let web = orders.group("web", GroupOptions::new()).unwrap();
    let mut carol = web.join(MemberOptions::new().member_id("carol")).unwrap();
    let mut other = join(&web);
    poll(&mut carol);
    assert_eq!(read(&mut carol).len(), 1);
    carol.commit().unwrap();
    let own: Vec<u32> = carol.partitions().collect();
    poll(&mut other);
    drop((carol, other, web, orders));
    place.close(db);
    let db = place.open();
    let web = db.stream("orders").unwrap().existing_group("web").unwrap();
    let mut stored = vec![None, None];
    stored[own[0] as usize] = Some(1);
    assert_eq!(committed(&web), stored);
    let mut carol = web.join(MemberOptions::new().member_id("carol")).unwrap();
    assert!(poll(&mut carol).assigned.contains(&own[0]));
    let another = (0..2).find(|partition| !own.contains(partition)).unwrap();
    eventually("it has both", || {
        let read = read(&mut carol);
        assert!(read.is_subset(&set(&[&format!("one in {another}")])), "the rest was committed");
        carol.partitions().count() == 2
    });
}

#[test]
fn a_group_is_described_with_members_owners_and_lag() {
    let (_db, orders, web) = group_over(3);
    let mut carol = web.join(MemberOptions::new().member_id("carol")).unwrap();
    poll(&mut carol);
    read(&mut carol);
    carol.commit().unwrap();
    append_to_each(&orders, "two");
    let described = web.describe().unwrap();
    assert_eq!(
        (described.name.as_str(), described.start, described.assignor),
        ("web", GroupStart::Earliest, Assignor::Uniform)
    );
    assert_eq!((described.members.len(), described.members[0].member_id.as_deref()), (1, Some("carol")));
    assert_eq!((described.members[0].is_alive, described.members[0].pid), (true, Some(std::process::id())));
    let seat = described.members[0].seat;
    assert!(
        described.partitions.iter().all(|partition| partition.owner == Some(seat) && partition.next_owner.is_none())
    );
    assert_eq!(described.lag(), 3);
    let lag: Vec<(u32, u64, u64)> =
        web.lag().unwrap().iter().map(|lag| (lag.partition, lag.next_offset, lag.records())).collect();
    assert_eq!(lag, [(0, 1, 1), (1, 1, 1), (2, 1, 1)]);
}

#[test]
fn a_group_is_found_by_its_name_and_with_other_options_it_is_a_mismatch() {
    let (_db, orders, web) = group_over(1);
    orders.group("app", GroupOptions::new().assignor(Assignor::Range)).unwrap();
    assert_eq!(orders.group_names().unwrap(), ["app", "web"]);
    assert_eq!(orders.existing_group("web").unwrap().name(), web.name());
    assert!(matches!(orders.existing_group("api"), Err(Error::NotFound { kind: "group", .. })));
    orders.group("app", GroupOptions::new()).unwrap();
    let differs = orders.group("app", GroupOptions::new().assignor(Assignor::Uniform)).unwrap_err();
    assert!(matches!(differs, Error::Mismatch { kind: "group", differences, .. } if differences.len() == 1));
    assert!(matches!(orders.group("$app", GroupOptions::new()), Err(Error::InvalidName { .. })));
    let unnamed = web.join(MemberOptions::new().member_id("a\nb")).unwrap_err();
    assert!(matches!(unnamed, Error::InvalidName { name, .. } if name == "a\nb"));
}

#[test]
fn a_group_is_deleted_once_nobody_is_in_it() {
    let (db, orders, web) = group_over(1);
    let mut member = join(&web);
    poll(&mut member);
    let in_use = web.delete().unwrap_err();
    assert!(matches!(in_use, Error::InUse { kind: "group", by: 1, .. }) && in_use.code() == -31);
    member.leave().unwrap();
    web.delete().unwrap();
    assert!(matches!(web.describe(), Err(Error::NotFound { kind: "group", .. })));
    assert!(matches!(web.join(MemberOptions::new()), Err(Error::NotFound { kind: "group", .. })));
    let app = orders.group("app", GroupOptions::new()).unwrap();
    let mut last = join(&app);
    poll(&mut last);
    db.delete_stream("orders").unwrap();
    assert!(matches!(last.poll(1), Err(Error::MemberEnded { .. })));
    assert!(matches!(app.delete(), Err(Error::NotFound { .. })));
}
