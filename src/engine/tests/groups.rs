//! Consumer groups through ends, crashes and checkpoints of the engine, and their timers.

use std::pin::Pin;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use super::*;
use crate::base::sync::EventListener;
use crate::engine::workers::{Next, Worker};
use crate::primitives::streams::groups::{
    Claim, Command as OfGroups, Commit, GroupOptions, Join, MemberHandle, Position, Process, Reply as GroupReply,
    member_row,
};

impl Bench {
    fn of_groups(&self, command: OfGroups<'_>, level: Level) -> GroupReply {
        match self.submit(streams::Command::Groups(command), level).expect("nothing refuses it").reply {
            Reply::Streams(streams::Reply::Groups(reply)) => reply,
            other => panic!("{other:?} is no reply of groups"),
        }
    }

    fn open_group(&self, stream: StreamHandle) -> u64 {
        let open = OfGroups::Open { stream, name: "web", options: GroupOptions::default() };
        match self.of_groups(open, Level::Sync) {
            GroupReply::Group { group } => group,
            other => panic!("a group was asked for: {other:?}"),
        }
    }

    /// A member of an attached process, with an id of its own, that is over 45 s after its last poll.
    fn join(&self, group: u64, id: &str) -> MemberHandle {
        let join = OfGroups::Join(Join {
            group,
            process: Process::Attached(7),
            member_id: Some(id),
            session_timeout_micros: 45_000_000,
            rebalance_timeout_micros: 60_000_000,
        });
        match self.of_groups(join, Level::Buffered) {
            GroupReply::Joined(member) => member,
            other => panic!("a member was asked for: {other:?}"),
        }
    }

    fn commit(&self, member: MemberHandle, offset: u64, level: Level) {
        let epoch = self.claims(member.group)[0].epoch;
        let positions = [Position { partition: 0, epoch, offset }];
        let stored = self.of_groups(OfGroups::Commit(Commit { member, positions: &positions, released: &[] }), level);
        assert_eq!(stored, GroupReply::Committed { fenced: vec![] });
    }

    fn claims(&self, group: u64) -> Vec<Claim> {
        let core = self.engine.core.lock();
        core.machine.streams.groups().get(group).expect("it exists").claims().to_vec()
    }

    fn members(&self, group: u64) -> usize {
        let core = self.engine.core.lock();
        core.machine.streams.groups().get(group).expect("it exists").members().count()
    }

    fn run_timers(&self) {
        while self.engine.step(Worker::Timers, &mut None) == Next::Again {}
    }

    fn ended(self, end: fn(&Bench)) -> Bench {
        end(&self);
        let Bench { disk, clock, engine } = self;
        drop(engine);
        Bench::open(disk, clock)
    }
}

#[test]
fn members_and_offsets_are_there_after_every_end_with_and_without_a_checkpoint() {
    let ends: [fn(&Bench); 3] = [
        |bench| bench.engine.close().expect("nothing fails"),
        |bench| bench.engine.abandon(),
        |bench| {
            bench.engine.checkpoint().expect("nothing fails");
            bench.engine.abandon();
        },
    ];
    for end in ends {
        let bench = Bench::new();
        let stream = bench.create("orders", 3, streams::Retention::default());
        bench.append_to_each(stream);
        let group = bench.open_group(stream);
        let (first, _) = (bench.join(group, "a"), bench.join(group, "b"));
        bench.commit(first, 1, Level::Buffered);
        let claims = bench.claims(group);
        let bench = bench.ended(end);
        assert_eq!((bench.claims(group), bench.members(group)), (claims, 2));
        bench.commit(first, 0, Level::Buffered);
    }
}

#[test]
fn after_a_power_cut_no_offset_is_behind_the_end_of_its_partition() {
    for seed in 0..30 {
        let bench = Bench::open(SimDisk::new(seed), ManualClock::starting_at(Timestamp(NOON)));
        let stream = bench.create("orders", 1, streams::Retention::default());
        let group = bench.open_group(stream);
        let member = bench.join(group, "a");
        for offset in 1..20 {
            let level = if offset == seed % 20 { Level::Sync } else { Level::Buffered };
            bench.append(stream, 0, b"one blue mug", Level::Buffered);
            bench.commit(member, offset, level);
        }
        bench.disk.power_cut();
        let bench = bench.ended(|bench| bench.engine.abandon());
        let committed = bench.claims(group)[0].committed.unwrap_or(0);
        let (kept, fault) = bench.read_from(bench.log(stream, 0), 0);
        assert!(committed <= kept.len() as u64 && fault.is_none(), "seed {seed}: {committed} of {}", kept.len());
        assert!(committed >= seed % 20, "seed {seed}: a synced commit is there");
    }
}

#[test]
fn a_member_is_ended_by_the_boot_clock_and_not_by_a_wall_clock_that_is_set() {
    let bench = Bench::new();
    let stream = bench.create("orders", 1, streams::Retention::default());
    let group = bench.open_group(stream);
    bench.join(group, "a");
    for wall in [NOON + 24 * HOUR, NOON - 24 * HOUR] {
        bench.clock.step_wall(Timestamp(wall));
        bench.run_timers();
        assert_eq!(bench.members(group), 1, "no time has passed");
    }
    bench.clock.advance(Duration::from_secs(44));
    bench.run_timers();
    assert_eq!(bench.members(group), 1);
    for (seconds, members) in [(1, 1), (22, 1), (1, 0)] {
        bench.clock.advance(Duration::from_secs(seconds));
        bench.run_timers();
        assert_eq!(bench.members(group), members);
    }
}

#[test]
fn deadlines_are_exact_after_a_restart_and_count_anew_after_a_reboot() {
    for is_rebooted in [false, true] {
        let bench = Bench::new();
        let stream = bench.create("orders", 1, streams::Retention::default());
        let group = bench.open_group(stream);
        bench.join(group, "a");
        bench.clock.advance(Duration::from_secs(30));
        bench.engine.close().expect("nothing fails");
        let rebooted = ManualClock::starting_at(Timestamp(bench.clock.wall().0 + 1));
        let clock = if is_rebooted { rebooted } else { bench.clock };
        let bench = Bench::open(bench.disk, clock);
        bench.of_groups(OfGroups::BeginLife, Level::Buffered);
        // Silent after 45 s, over half of that later.
        let left = if is_rebooted { 45 } else { 15 };
        for (seconds, members) in [(left, 1), (22, 1), (1, 0), (60, 0)] {
            bench.clock.advance(Duration::from_secs(seconds));
            bench.run_timers();
            assert_eq!(bench.members(group), members, "rebooted: {is_rebooted}");
        }
    }
}

/// Waits until the member's partitions are not those of generation `known`; `None` if there is something to tell.
fn wait_for_change(bench: &Bench, member: MemberHandle, known: u64) -> Option<EventListener> {
    let row = member_row(member.group, member.seat);
    let registered = bench.engine.wait_for_object(row, |machine, rests_on| {
        rests_on(row);
        let member = machine.streams.groups().get(member.group)?.member(member)?;
        (member.changed != known).then_some(())
    });
    registered.expect("the engine is alive")
}

fn changed(bench: &Bench, member: MemberHandle) -> u64 {
    let core = bench.engine.core.lock();
    let group = core.machine.streams.groups().get(member.group).expect("it exists");
    group.member(member).expect("it is there").changed
}

fn is_woken(listener: &mut EventListener) -> bool {
    Pin::new(listener).poll(&mut TaskContext::from_waker(Waker::noop())).is_ready()
}

#[test]
fn who_waits_for_a_member_is_woken_by_what_changes_it_and_by_nothing_else() {
    let bench = Bench::new();
    let stream = bench.create("orders", 2, streams::Retention::default());
    let group = bench.open_group(stream);
    let first = bench.join(group, "a");
    let mut waiting = wait_for_change(&bench, first, changed(&bench, first)).expect("nothing is new");
    bench.append_to_each(stream);
    assert!(!is_woken(&mut waiting));
    let second = bench.join(group, "b");
    assert!(is_woken(&mut waiting), "a partition is to go to the other");
    assert!(wait_for_change(&bench, second, 0).is_none(), "it has not heard of any partition");
    let row = member_row(first.group, first.seat);
    bench.engine.stop_waiting_for_object(row);
    let mut waiting = wait_for_change(&bench, first, changed(&bench, first)).expect("nothing is new");
    bench.engine.close().expect("nothing fails");
    assert!(is_woken(&mut waiting), "nobody is left waiting");
}

#[test]
fn a_change_of_a_member_at_sync_is_told_once_it_is_durable() {
    let bench = Bench::new();
    let stream = bench.create("orders", 1, streams::Retention::default());
    bench.append_to_each(stream);
    let group = bench.open_group(stream);
    let member = bench.join(group, "a");
    let known = changed(&bench, member);
    let mut before = wait_for_change(&bench, member, known).expect("nothing is new");
    let reset = streams::Command::Groups(OfGroups::Reset { group, offsets: &[(0, 1)] });
    bench.engine.issue(&Command::Streams(reset), Level::Sync, None).expect("nothing refuses it");
    let mut after = wait_for_change(&bench, member, known).expect("it is not durable");
    assert!(!is_woken(&mut before) && !is_woken(&mut after));
    bench.engine.sync(None).expect("the disk works");
    assert!(is_woken(&mut before) && is_woken(&mut after));
    assert!(wait_for_change(&bench, member, known).is_none());
}
