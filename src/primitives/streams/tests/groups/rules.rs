//! The rules of groups, one by one.

use super::*;
use crate::base::bounds::{GROUP_MEMBERS_MAX, PARTITIONS_MAX};
use crate::engine::machine::{Class, LogCursor};
use crate::primitives::record::Record;

const HOST: Process = Process::Host;

fn done(state: &mut State, command: OfGroups<'_>, now: u64) -> GroupReply {
    match run(state, &Command::Groups(command), at(now)) {
        Outcome::Accept(Reply::Groups(reply)) | Outcome::Unchanged { reply: Reply::Groups(reply), .. } => reply,
        other => panic!("refused: {other:?}"),
    }
}

fn refused(state: &mut State, command: OfGroups<'_>, now: u64) -> Refusal {
    match run(state, &Command::Groups(command), at(now)) {
        Outcome::Refuse { refusal, .. } => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// A stream of so many partitions with ten records each, and its group `web`.
fn with_group(partitions: u32, options: GroupOptions) -> (State, StreamHandle, u64) {
    let mut state = State::default();
    let command = Command::Create { name: "orders", options: Options { partitions, ..Options::default() } };
    run(&mut state, &command, at(1));
    let stream = state.lookup("orders").expect("it was created");
    append(&mut state, stream, partitions, 10);
    let group = open(&mut state, stream, "web", options);
    (state, stream, group)
}

fn append(state: &mut State, stream: StreamHandle, partitions: u32, count: usize) {
    let records = vec![Record::new(b"one blue mug"); count];
    for partition in 0..partitions {
        let groups = [Group { partition, expect_offset: None, records: &records }];
        run(state, &Command::Append(Append { stream, mapping_partitions: partitions, groups: &groups }), at(1));
    }
}

fn open(state: &mut State, stream: StreamHandle, name: &str, options: GroupOptions) -> u64 {
    match done(state, OfGroups::Open { stream, name, options }, 1) {
        GroupReply::Group { group } => group,
        other => panic!("not opened: {other:?}"),
    }
}

fn joined(state: &mut State, join: Join<'_>, now: u64) -> MemberHandle {
    match done(state, OfGroups::Join(join), now) {
        GroupReply::Joined(member) => member,
        other => panic!("not joined: {other:?}"),
    }
}

/// What a member owns and need not give up, and what it must.
fn told(state: &State, member: MemberHandle) -> (Vec<u32>, Vec<u32>) {
    let group = state.groups().get(member.group).expect("the group is there");
    assert!(group.member(member).is_some(), "it is a member");
    let (revoked, owned): (Vec<_>, Vec<_>) = group.owned(member.seat).partition(|owned| owned.is_revoked);
    let partitions = |owned: Vec<groups::Owned>| owned.iter().map(|owned| owned.partition).collect();
    (partitions(owned), partitions(revoked))
}

fn epoch(state: &State, group: u64, partition: u32) -> u64 {
    state.groups().get(group).expect("the group is there").claims()[partition as usize].epoch
}

fn committed(state: &State, group: u64) -> Vec<Option<u64>> {
    state.groups().get(group).expect("the group is there").claims().iter().map(|claim| claim.committed).collect()
}

/// Commits offsets under the epochs that hold, and releases partitions.
fn commit(state: &mut State, member: MemberHandle, offsets: &[(u32, u64)], release: &[u32], now: u64) -> Vec<u32> {
    let held = |partition: u32| Held { partition, epoch: epoch(state, member.group, partition) };
    let released: Vec<Held> = release.iter().map(|partition| held(*partition)).collect();
    let position = |(partition, offset): &(u32, u64)| Position {
        partition: *partition,
        epoch: held(*partition).epoch,
        offset: *offset,
    };
    let positions: Vec<Position> = offsets.iter().map(position).collect();
    match done(state, OfGroups::Commit(Commit { member, positions: &positions, released: &released }), now) {
        GroupReply::Committed { fenced } => fenced,
        other => panic!("not committed: {other:?}"),
    }
}

#[test]
fn a_partition_that_must_move_is_its_owners_until_it_gives_it_up_and_no_other_moves() {
    let (mut state, _, group) = with_group(4, GroupOptions::default());
    let first = joined(&mut state, join(group, HOST), 10);
    assert_eq!(told(&state, first), (vec![0, 1, 2, 3], vec![]));
    let second = joined(&mut state, join(group, HOST), 20);
    assert_eq!((told(&state, first), told(&state, second)), ((vec![0, 1], vec![2, 3]), (vec![], vec![])));
    assert_eq!(commit(&mut state, first, &[(0, 1), (2, 7), (3, 5)], &[2], 30), Vec::<u32>::new());
    assert_eq!((told(&state, first), told(&state, second)), ((vec![0, 1], vec![3]), (vec![2], vec![])));
    assert_eq!(committed(&state, group), [Some(1), None, Some(7), Some(5)]);
    let changed = |member: MemberHandle| state.groups().get(group).unwrap().member(member).unwrap().changed;
    assert_eq!((changed(first), changed(second)), (3, 3));
    assert_eq!(commit(&mut state, first, &[], &[3], 40), Vec::<u32>::new());
    assert_eq!((told(&state, first).0, told(&state, second).0), (vec![0, 1], vec![2, 3]));
}

#[test]
fn a_commit_is_fenced_for_partitions_that_moved_on_and_stored_for_the_others() {
    let (mut state, _, group) = with_group(2, GroupOptions::default());
    let first = joined(&mut state, join(group, HOST), 10);
    let second = joined(&mut state, join(group, HOST), 20);
    let before = epoch(&state, group, 1);
    commit(&mut state, first, &[], &[1], 30);
    let positions = [0, 1].map(|partition| Position { partition, epoch: before, offset: 4 });
    let both = OfGroups::Commit(Commit { member: first, positions: &positions, released: &[] });
    assert_eq!(done(&mut state, both, 40), GroupReply::Committed { fenced: vec![1] });
    let only = OfGroups::Commit(Commit { member: first, positions: &positions[1..], released: &[] });
    let outcome = run(&mut state, &Command::Groups(only), at(50));
    let reply = Reply::Groups(GroupReply::Committed { fenced: vec![1] });
    assert_eq!(outcome, Outcome::Unchanged { reply, rests_on: Some(groups::group_row(group)) });
    assert_eq!(committed(&state, group), [Some(4), None]);
    assert_eq!(commit(&mut state, second, &[(1, 2)], &[], 60), Vec::<u32>::new());
    assert_eq!(commit(&mut state, first, &[(1, 9)], &[], 60), [1], "the epoch of another owner");
}

#[test]
fn what_is_not_given_up_in_time_is_taken_by_the_tick() {
    let (mut state, _, group) = with_group(2, GroupOptions::default());
    let first = joined(&mut state, join(group, HOST), 10);
    joined(&mut state, join(group, HOST), 20);
    let (key, late) = (groups::group_row(group), 20 + 60 * SECOND);
    assert_eq!(state.next_due(key), Some(Due::AtBoot(BootTime(late))));
    assert_eq!(tick(key).map(|command| command.class()), Some(Class::Settle));
    let early = run(&mut state, &Command::Groups(OfGroups::Expire { group }), at(late - 1));
    assert!(matches!(early, Outcome::Unchanged { rests_on: None, .. }));
    let before = epoch(&state, group, 1);
    done(&mut state, OfGroups::Expire { group }, late);
    assert_eq!((owners(&state, group), state.next_due(key)), (vec![(1, 1), (2, 2)], None));
    let positions = [Position { partition: 1, epoch: before, offset: 4 }];
    let commit = OfGroups::Commit(Commit { member: first, positions: &positions, released: &[] });
    assert_eq!(done(&mut state, commit, late), GroupReply::Committed { fenced: vec![1] });
}

#[test]
fn who_leaves_or_dies_gives_its_partitions_away_at_once() {
    let (mut state, _, group) = with_group(6, GroupOptions::default());
    let web = Process::Attached(7);
    let members: Vec<_> =
        [HOST, web, web].into_iter().map(|process| joined(&mut state, join(group, process), 10)).collect();
    commit(&mut state, members[0], &[], &[2, 3, 4, 5], 20);
    commit(&mut state, members[1], &[], &[4, 5], 20);
    assert_eq!(members.iter().map(|member| told(&state, *member).0.len()).sum::<usize>(), 6);
    done(&mut state, OfGroups::EndProcess { process: web }, 30);
    assert_eq!(owners(&state, group), [(1, 1); 6]);
    assert_eq!(
        refused(&mut state, OfGroups::Touch { member: members[1] }, 40),
        Refusal::Groups(GroupRefusal::NotAMember)
    );
    let again = joined(&mut state, join(group, web), 50);
    assert_eq!((again.seat, again.joined > members[1].joined), (2, true), "a seat is taken again");
    done(&mut state, OfGroups::Leave { member: members[0] }, 60);
    assert_eq!(told(&state, again).0.len(), 6);
    done(&mut state, OfGroups::Abandon { member: again }, 70);
    assert_eq!(owners(&state, group), [(0, 0); 6]);
}

#[test]
fn a_member_with_an_id_that_comes_back_in_time_keeps_its_partitions_and_nobody_else_is_disturbed() {
    for assignor in [Assignor::Uniform, Assignor::Range] {
        let (mut state, _, group) = with_group(4, GroupOptions { assignor: Some(assignor), ..GroupOptions::default() });
        let web = Process::Attached(7);
        let a = joined(&mut state, with_id(group, web, "a"), 10);
        let b = joined(&mut state, with_id(group, HOST, "b"), 10);
        commit(&mut state, a, &[], &[2, 3], 20);
        done(&mut state, OfGroups::EndProcess { process: web }, 30);
        assert_eq!(owners(&state, group), [(1, 1), (1, 1), (2, 2), (2, 2)], "it is waited for");
        let changed = state.groups().get(group).unwrap().member(b).unwrap().changed;
        let again = joined(&mut state, with_id(group, web, "a"), 40 * SECOND);
        assert_eq!(told(&state, again).0, [0, 1]);
        assert_eq!(told(&state, b).0, [2, 3]);
        assert_eq!(state.groups().get(group).unwrap().member(b).unwrap().changed, changed);
        done(&mut state, OfGroups::EndProcess { process: web }, 50 * SECOND);
        assert_eq!(
            state.next_due(groups::group_row(group)),
            Some(Due::AtBoot(BootTime(20 + 45 * SECOND).min(BootTime(10 + 45 * SECOND))))
        );
        done(&mut state, OfGroups::Touch { member: b }, 52 * SECOND);
        done(&mut state, OfGroups::Expire { group }, 95 * SECOND);
        assert_eq!(told(&state, b).0, [0, 1, 2, 3], "it was waited for long enough");
    }
}

#[test]
fn a_second_live_member_with_an_id_fences_the_first() {
    let (mut state, _, group) = with_group(2, GroupOptions::default());
    let first = joined(&mut state, with_id(group, HOST, "a"), 10);
    let before = epoch(&state, group, 0);
    let second = joined(&mut state, with_id(group, HOST, "a"), 20);
    assert_eq!(told(&state, second).0, [0, 1]);
    assert!(epoch(&state, group, 0) > before);
    let positions = [Position { partition: 0, epoch: before, offset: 4 }];
    let commit = OfGroups::Commit(Commit { member: first, positions: &positions, released: &[] });
    assert_eq!(refused(&mut state, commit, 30), Refusal::Groups(GroupRefusal::NotAMember));
}

#[test]
fn a_member_that_stops_polling_falls_silent_after_its_session_timeout_and_is_over_half_of_it_later() {
    let (mut state, _, group) = with_group(2, GroupOptions::default());
    let slow = joined(&mut state, Join { session_timeout_micros: 30 * SECOND, ..join(group, HOST) }, 0);
    let key = groups::group_row(group);
    for (now, is_stored) in [(9, false), (10, true), (19, false), (21, true)] {
        let touch = Command::Groups(OfGroups::Touch { member: slow });
        assert_eq!(matches!(run(&mut state, &touch, at(now * SECOND)), Outcome::Accept(_)), is_stored, "after {now} s");
    }
    assert_eq!(state.next_due(key), Some(Due::AtBoot(BootTime(51 * SECOND))));
    done(&mut state, OfGroups::Expire { group }, 51 * SECOND);
    assert_eq!(state.next_due(key), Some(Due::AtBoot(BootTime(66 * SECOND))));
    done(&mut state, OfGroups::Touch { member: slow }, 52 * SECOND);
    assert_eq!(state.next_due(key), Some(Due::AtBoot(BootTime(82 * SECOND))), "who polls is heard again");
    done(&mut state, OfGroups::Expire { group }, 90 * SECOND);
    assert_eq!(state.next_due(key), Some(Due::AtBoot(BootTime(105 * SECOND))), "a late tick takes no time away");
    done(&mut state, OfGroups::Expire { group }, 105 * SECOND);
    assert_eq!(
        refused(&mut state, OfGroups::Touch { member: slow }, 106 * SECOND),
        Refusal::Groups(GroupRefusal::NotAMember)
    );
    joined(&mut state, join(group, HOST), 107 * SECOND);
    assert_eq!(state.next_due(key), None, "without a timeout nobody is ended");
}

#[test]
fn moments_of_another_clock_count_from_when_this_one_began() {
    let (mut state, _, group) = with_group(2, GroupOptions::default());
    joined(&mut state, with_id(group, Process::Attached(7), "a"), 100 * SECOND);
    let rebooted = ClockIdentity { boot_id: [8; 16], ..CLOCK };
    let begin = |state: &mut State, clock: &ClockIdentity, now: u64| {
        let known = Known::default();
        let (context, mut events) = (
            Context {
                now: at(now),
                known: &known,
                clock,
                watched: &Watched::default(),
                logs: &Logs::default(),
                durable: Lsn(0),
            },
            Vec::new(),
        );
        let command = Command::Groups(OfGroups::BeginLife);
        decide(state, &Overlay::default(), &command, &context, |event| events.push(event));
        events.iter().for_each(|event| state.apply(event, FRAME));
        events.len()
    };
    let key = groups::group_row(group);
    assert_eq!(begin(&mut state, &CLOCK, 110 * SECOND), 0, "nothing changes under the same clock");
    assert_eq!(state.next_due(key), Some(Due::AtBoot(BootTime(145 * SECOND))));
    assert_eq!(begin(&mut state, &rebooted, 3 * SECOND), 2);
    assert_eq!(state.next_due(key), Some(Due::AtBoot(BootTime(48 * SECOND))));
    assert_eq!(begin(&mut state, &rebooted, 4 * SECOND), 0);
}

#[test]
fn a_life_begins_without_the_members_of_the_last_hosts_process_some_groups_at_a_time() {
    let (mut state, stream, first) = with_group(1, GroupOptions::default());
    let mut groups = vec![first];
    groups.extend((0..80).map(|number| open(&mut state, stream, &format!("g{number}"), GroupOptions::default())));
    let members: Vec<_> = groups.iter().map(|group| joined(&mut state, join(*group, HOST), 10)).collect();
    let attached = joined(&mut state, join(first, Process::Attached(7)), 10);
    let stays = joined(&mut state, with_id(first, HOST, "a"), 10);
    assert_eq!(done(&mut state, OfGroups::BeginLife, 20), GroupReply::More);
    assert_eq!(done(&mut state, OfGroups::BeginLife, 20), GroupReply::Done);
    for member in members {
        assert!(state.groups().get(member.group).unwrap().member(member).is_none());
    }
    let group = state.groups().get(first).unwrap();
    assert!(group.member(attached).unwrap().is_alive() && !group.member(stays).unwrap().is_alive());
    assert_eq!(group.claims()[0].owner, attached.seat);
}

#[test]
fn members_of_a_process_that_becomes_the_host_go_on_though_its_session_ends() {
    let (mut state, _, group) = with_group(2, GroupOptions::default());
    let web = Process::Attached(7);
    let member = joined(&mut state, join(group, web), 10);
    let other = joined(&mut state, join(group, Process::Attached(8)), 10);
    done(&mut state, OfGroups::Adopt { process: web }, 20);
    done(&mut state, OfGroups::EndProcess { process: web }, 30);
    let group = state.groups().get(group).unwrap();
    assert_eq!(group.member(member).unwrap().process, HOST);
    assert_eq!(group.member(other).unwrap().process, Process::Attached(8));
}

#[test]
fn a_group_begins_where_it_was_told_and_is_not_opened_with_other_options() {
    let (mut state, stream, earliest) = with_group(2, GroupOptions::default());
    assert_eq!(committed(&state, earliest), [None, None]);
    let latest = GroupOptions { start: Some(GroupStart::Latest), ..GroupOptions::default() };
    let group = open(&mut state, stream, "late", latest);
    assert_eq!(committed(&state, group), [Some(10), Some(10)]);
    assert_eq!(open(&mut state, stream, "late", GroupOptions::default()), group, "what is not named may be as it is");
    let other = GroupOptions { assignor: Some(Assignor::Range), start: Some(GroupStart::Earliest) };
    let differences =
        vec!["start: is latest, asked for earliest".to_owned(), "assignor: is uniform, asked for range".to_owned()];
    let mismatch = refused(&mut state, OfGroups::Open { stream, name: "late", options: other }, 2);
    assert_eq!(mismatch, Refusal::Mismatch { differences });
}

#[test]
fn partitions_that_are_added_are_assigned_and_none_moves_for_them() {
    let (mut state, stream, group) = with_group(3, GroupOptions::default());
    let members: Vec<_> = (0..2).map(|_| joined(&mut state, join(group, HOST), 10)).collect();
    commit(&mut state, members[0], &[], &[2], 20);
    let before = members.iter().map(|member| told(&state, *member).0).collect::<Vec<_>>();
    run(&mut state, &Command::AddPartitions { stream, count: 100 }, at(30));
    for (member, before) in members.iter().zip(before) {
        let (owned, revoked) = told(&state, *member);
        assert!(owned.starts_with(&before) && revoked.is_empty() && (51..=52).contains(&owned.len()));
    }
}

#[test]
fn a_reset_takes_effect_for_owners_under_a_new_epoch() {
    let (mut state, _, group) = with_group(2, GroupOptions::default());
    let member = joined(&mut state, join(group, HOST), 10);
    let before = epoch(&state, group, 1);
    commit(&mut state, member, &[(0, 5), (1, 5)], &[], 20);
    done(&mut state, OfGroups::Reset { group, offsets: &[(1, 2)] }, 30);
    assert_eq!((committed(&state, group), told(&state, member).0), (vec![Some(5), Some(2)], vec![0, 1]));
    let changed = state.groups().get(group).unwrap().member(member).unwrap().changed;
    assert_eq!((epoch(&state, group, 0), epoch(&state, group, 1)), (before, changed));
    let positions = [Position { partition: 1, epoch: before, offset: 7 }];
    let late = OfGroups::Commit(Commit { member, positions: &positions, released: &[] });
    assert_eq!(done(&mut state, late, 40), GroupReply::Committed { fenced: vec![1] });
    assert_eq!(commit(&mut state, member, &[(1, 3)], &[], 50), Vec::<u32>::new());
}

#[test]
fn offsets_behind_the_end_and_partitions_that_there_are_not_are_refused_whole() {
    let (mut state, _, group) = with_group(2, GroupOptions::default());
    let member = joined(&mut state, join(group, HOST), 10);
    let position = |partition, offset| Position { partition, epoch: 1, offset };
    let positions = [position(0, 10), position(1, 11)];
    let commit = OfGroups::Commit(Commit { member, positions: &positions, released: &[] });
    let beyond = GroupRefusal::BeyondEnd { partition: 1, offset: 11, start: 0, end: 10 };
    assert_eq!(refused(&mut state, commit, 20), Refusal::Groups(beyond.clone()));
    assert_eq!(refused(&mut state, OfGroups::Reset { group, offsets: &[(1, 11)] }, 20), Refusal::Groups(beyond));
    let nowhere = OfGroups::Commit(Commit { member, positions: &[position(2, 0)], released: &[] });
    assert_eq!(refused(&mut state, nowhere, 20), Refusal::NoSuchPartition { partition: 2, partitions: 2 });
    assert_eq!(committed(&state, group), [None, None]);
}

#[test]
fn a_group_goes_with_its_stream_and_else_only_without_living_members() {
    let (mut state, stream, group) = with_group(70, GroupOptions::default());
    let other = open(&mut state, stream, "app", GroupOptions::default());
    let member = joined(&mut state, with_id(group, HOST, "a"), 10);
    let in_use = refused(&mut state, OfGroups::Delete { group }, 20);
    assert_eq!(in_use, Refusal::Groups(GroupRefusal::InUse { members: 1 }));
    done(&mut state, OfGroups::Abandon { member }, 30);
    let mut touched = Vec::new();
    let delete = Command::Groups(OfGroups::Delete { group });
    let (_, events) = decide_at(&state, &Overlay::default(), &delete, at(40), &Known::default());
    events[0].touches(&mut |key| touched.push((key.kind, key.id)));
    assert_eq!(touched, [(1, 0), (33, group), (34, group << 10), (35, group << 6), (35, group << 6 | 1)]);
    done(&mut state, OfGroups::Delete { group }, 40);
    assert_eq!(refused(&mut state, OfGroups::Join(join(group, HOST)), 50), Refusal::Groups(GroupRefusal::NotFound));
    let member = joined(&mut state, join(other, HOST), 60);
    run(&mut state, &Command::Delete { name: "orders" }, at(70));
    assert_eq!(refused(&mut state, OfGroups::Leave { member }, 80), Refusal::Groups(GroupRefusal::NotFound));
    assert_eq!((state.groups().starting_at(0).count(), state.log_start(LogId(other))), (0, None));
    state.logs(&mut |log, _, _| panic!("{log:?} is left"));
}

#[test]
fn groups_and_producers_are_met_by_a_pass_over_all_logs() {
    let (mut state, stream, group) = with_group(2, GroupOptions::default());
    run(&mut state, &Command::OpenProducer { stream, name: "web", expire_after_micros: SECOND }, at(1));
    let last = open(&mut state, stream, "app", GroupOptions::default());
    for steps in 1..5 {
        let (mut cursor, mut logs) = (LogCursor::default(), Vec::new());
        while state.next_logs(&mut cursor, steps, &mut |log| logs.push(log.0)) {}
        assert_eq!(logs, [1, 2, group, group + 1, last]);
    }
    assert_eq!(state.log_timer(LogId(last)).map(|timer| timer.key), Some(groups::group_row(last)));
}

#[test]
fn options_names_and_numbers_out_of_bounds_are_refused() {
    let (mut state, stream, group) = with_group(1, GroupOptions::default());
    let options = GroupOptions::default();
    assert!(matches!(refused(&mut state, OfGroups::Open { stream, name: "", options }, 2), Refusal::InvalidName(_)));
    assert!(matches!(refused(&mut state, OfGroups::Join(with_id(group, HOST, "$a")), 2), Refusal::InvalidName(_)));
    let for_ever = Join { session_timeout_micros: 0, ..with_id(group, HOST, "a") };
    assert!(matches!(
        refused(&mut state, OfGroups::Join(for_ever), 2),
        Refusal::InvalidOption { option: "session_timeout", .. }
    ));
    let at_once = Join { rebalance_timeout_micros: 0, ..join(group, HOST) };
    assert!(matches!(
        refused(&mut state, OfGroups::Join(at_once), 2),
        Refusal::InvalidOption { option: "rebalance_timeout", .. }
    ));
    for number in 0..GROUP_MEMBERS_MAX {
        joined(&mut state, with_id(group, HOST, &format!("m{number}")), 3);
    }
    let one_more = refused(&mut state, OfGroups::Join(join(group, HOST)), 4);
    assert!(matches!(one_more, Refusal::LimitExceeded { limit: "members of a group", .. }));
    let again = joined(&mut state, with_id(group, HOST, "m7"), 5);
    assert_eq!(again.seat as usize, GROUP_MEMBERS_MAX + 1, "one who comes back needs a seat beside its own");
}

#[test]
fn a_large_group_is_rebalanced_with_the_moves_that_must_be() {
    let (mut state, _, group) = with_group(PARTITIONS_MAX, GroupOptions::default());
    let first = joined(&mut state, join(group, HOST), 10);
    for _ in 1..100 {
        joined(&mut state, join(group, HOST), 10);
    }
    let moving = told(&state, first).1;
    assert_eq!(moving.len(), 4096 - 41);
    commit(&mut state, first, &[], &moving, 20);
    let counts = (1..=100).map(|seat| state.groups().get(group).unwrap().owned(seat).count());
    assert!(counts.into_iter().all(|count| (40..=41).contains(&count)));
}
