//! Generated histories beside a naive model.
//!
//! The model knows members as programs: what each was told to own when it polled last, and works on until it gives
//! it up. It knows nothing of targets and seats of the machine, and finds sizes and the fewest moves by trying all.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::primitives::record::Record;
use crate::primitives::streams::groups::Member;
use crate::primitives::streams::tests::world::Random;

const REBALANCE_TIMEOUT: u64 = 60 * SECOND;

/// A program that consumes.
#[derive(Clone, Debug)]
struct Program {
    handle: MemberHandle,
    process: Process,
    id: Option<String>,
    session_timeout: u64,
    /// Or committed.
    last_poll: u64,
    /// Its poll has not come back.
    waits: bool,
    /// When a tick met first that its timeout had passed.
    silent: Option<u64>,
    /// What it works on, with epochs.
    works_on: BTreeMap<u32, u64>,
    /// What it was told to give up, and gives up when it polls next.
    gives_up: BTreeMap<u32, u64>,
}

/// One group as a naive observer has it.
#[derive(Default)]
struct Model {
    programs: Vec<Program>,
    /// Members with an id whose process is gone: the id, and when it went.
    dead: BTreeMap<String, (MemberHandle, u64)>,
    committed: BTreeMap<u32, u64>,
    /// Every ownership that ever was, in the order of its coming.
    ownerships: BTreeMap<u32, Vec<(MemberHandle, u64)>>,
    /// Since when a partition is, or was, being revoked from the member that joined in this generation; 0: it was taken
    /// under an earlier clock.
    revoked: BTreeMap<(u32, u64), u64>,
}

struct World {
    random: Random,
    now: u64,
    clock: ClockIdentity,
    watched: Watched,
    state: State,
    replayed: State,
    stream: StreamHandle,
    partitions: u32,
    ends: Vec<u64>,
    groups: BTreeMap<u64, Model>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            random: Random(seed),
            now: 10 * SECOND,
            clock: CLOCK,
            watched: Watched::default(),
            state: State::default(),
            replayed: State::default(),
            stream: StreamHandle { slot: 0, id: 1 },
            partitions: 0,
            ends: Vec::new(),
            groups: BTreeMap::new(),
        };
        world.partitions = 1 + world.random.below(12) as u32;
        let options = Options { partitions: world.partitions, ..Options::default() };
        world.run(&Command::Create { name: "orders", options });
        world.ends = vec![0; world.partitions as usize];
        for (name, assignor) in [("uniform", Assignor::Uniform), ("range", Assignor::Range)] {
            let options = GroupOptions { assignor: Some(assignor), ..GroupOptions::default() };
            let open = OfGroups::Open { stream: world.stream, name, options };
            let Outcome::Accept(Reply::Groups(GroupReply::Group { group })) = world.run(&Command::Groups(open)) else {
                panic!("a group can be created")
            };
            world.groups.insert(group, Model::default());
        }
        world
    }

    /// Decides and applies a command: on the state, by its bytes on another, and foreseen by an overlay.
    fn run(&mut self, command: &Command<'_>) -> Outcome {
        let (known, mut events) = (Known::default(), Vec::new());
        let context = Context {
            now: at(self.now),
            known: &known,
            clock: &self.clock,
            watched: &self.watched,
            logs: &Logs::default(),
            durable: Lsn(0),
        };
        let outcome = decide(&self.state, &Overlay::default(), command, &context, |event| events.push(encoded(&event)));
        assert_eq!(matches!(outcome, Outcome::Accept(_)), !events.is_empty(), "events are what acceptance means");
        let before = all_rows(&self.state);
        let (mut overlay, mut touched) = (Overlay::default(), Vec::new());
        for bytes in &events {
            let event = Event::decode(bytes).expect("an event that was written");
            assert_eq!(&encoded(&event), bytes);
            overlay.foresee(&self.state, &event);
            event.touches(&mut |key| touched.push(key));
        }
        assert_eq!(all_rows(&self.state), before, "foreseeing changes nothing");
        let (_, foreseen) = self.decided(&overlay, command);
        for bytes in &events {
            let event = Event::decode(bytes).expect("an event that was written");
            self.state.apply(&event, FRAME);
            self.replayed.apply(&event, FRAME);
        }
        assert_eq!(self.decided(&Overlay::default(), command).1, foreseen, "{command:?}");
        self.assert_touched(before, &touched);
        outcome
    }

    fn decided(&self, overlay: &Overlay, command: &Command<'_>) -> (Outcome, Vec<Vec<u8>>) {
        let (known, mut events) = (Known::default(), Vec::new());
        let context = Context {
            now: at(self.now),
            known: &known,
            clock: &self.clock,
            watched: &self.watched,
            logs: &Logs::default(),
            durable: Lsn(0),
        };
        let outcome = decide(&self.state, overlay, command, &context, |event| events.push(encoded(&event)));
        (outcome, events)
    }

    /// Rows that differ were named.
    fn assert_touched(&self, before: Vec<(RowKey, Vec<u8>)>, touched: &[RowKey]) {
        let mut rows: BTreeMap<RowKey, Vec<u8>> = before.into_iter().collect();
        for key in touched {
            match self.state.row(*key) {
                Some(row) => drop(rows.insert(*key, row)),
                None => drop(rows.remove(key)),
            }
        }
        let rows: Vec<_> = rows.into_iter().collect();
        assert_eq!(all_rows(&reloaded(&rows)), all_rows(&self.state), "rows that are written make the state again");
    }

    fn of_groups(&mut self, command: OfGroups<'_>) -> Outcome {
        self.run(&Command::Groups(command))
    }

    fn pick(&mut self) -> Option<(u64, usize)> {
        let groups: Vec<u64> = self.groups.keys().copied().collect();
        let group = groups[self.random.below(2) as usize];
        let programs = self.groups[&group].programs.len() as u64;
        (programs > 0).then(|| (group, self.random.below(programs) as usize))
    }

    fn step(&mut self) {
        self.now += if self.random.one_in(12) { self.random.below(50 * SECOND) } else { self.random.below(3 * SECOND) };
        self.tick();
        self.assert_agrees();
        match self.random.below(40) {
            0..=4 => self.join(),
            5..=6 => self.leave(),
            7 => self.end_process(),
            8 => self.restart(),
            9 if self.random.one_in(3) => self.grow(),
            9 => self.take_over(),
            10 => self.reset(),
            11..=13 => self.append(),
            14..=20 => self.commit_of_the_past(),
            _ => self.poll(),
        }
        if self.random.one_in(10) {
            self.state = reloaded(&all_rows(&self.state));
        }
        assert_eq!(all_rows(&self.replayed), all_rows(&self.state), "replay comes to the same");
        self.assert_agrees();
    }

    fn join(&mut self) {
        let groups: Vec<u64> = self.groups.keys().copied().collect();
        let group = groups[self.random.below(2) as usize];
        let process = if self.random.one_in(2) { Process::Host } else { Process::Attached(self.random.below(3)) };
        let id = self.random.one_in(3).then(|| ["a", "b"][self.random.below(2) as usize].to_owned());
        let session_timeout = if id.is_some() || self.random.one_in(3) { 45 * SECOND } else { 0 };
        if self.groups[&group].programs.len() >= 6 {
            return;
        }
        let before = self.holders(group);
        let outcome = self.of_groups(OfGroups::Join(Join {
            group,
            process,
            member_id: id.as_deref(),
            session_timeout_micros: session_timeout,
            rebalance_timeout_micros: REBALANCE_TIMEOUT,
        }));
        let Outcome::Accept(Reply::Groups(GroupReply::Joined(handle))) = outcome else { panic!("not joined") };
        let model = self.groups.get_mut(&group).expect("a group of the world");
        // Who had the id is fenced: it may go on to work, and finds out when it calls.
        model.programs.retain(|program| id.is_none() || program.id != id);
        let heir = id.as_ref().and_then(|id| model.dead.remove(id));
        let (works_on, gives_up) = (BTreeMap::new(), BTreeMap::new());
        let (last_poll, waits, silent) = (self.now, false, None);
        let program = Program { handle, process, id, session_timeout, last_poll, waits, silent, works_on, gives_up };
        model.programs.push(program);
        if heir.is_none() {
            self.assert_fewest_moves(group, &before);
        }
    }

    fn leave(&mut self) {
        let Some((group, at)) = self.pick() else { return };
        let before = self.holders(group);
        let program = self.groups.get_mut(&group).expect("a group of the world").programs.remove(at);
        let member = program.handle;
        if self.random.one_in(2) {
            assert!(matches!(self.of_groups(OfGroups::Leave { member }), Outcome::Accept(_)));
            self.assert_fewest_moves(group, &before);
        } else {
            assert!(matches!(self.of_groups(OfGroups::Abandon { member }), Outcome::Accept(_)));
            self.die(group, program);
        }
    }

    fn die(&mut self, group: u64, program: Program) {
        if let Some(id) = program.id {
            self.groups.get_mut(&group).expect("a group of the world").dead.insert(id, (program.handle, self.now));
        }
    }

    fn end_process(&mut self) {
        let process = Process::Attached(self.random.below(3));
        self.of_groups(OfGroups::EndProcess { process });
        self.end_programs(process);
    }

    fn end_programs(&mut self, process: Process) {
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            let programs = &mut self.groups.get_mut(&group).expect("a group of the world").programs;
            let ended: Vec<Program> = programs.extract_if(.., |program| program.process == process).collect();
            ended.into_iter().for_each(|program| self.die(group, program));
        }
    }

    /// The host ends and another begins, perhaps after the machine was started anew: then all wait their full time.
    fn restart(&mut self) {
        if self.random.one_in(2) {
            self.clock.boot_id[0] = self.clock.boot_id[0].wrapping_add(1);
            let passed = self.now;
            self.now = SECOND;
            for (group, model) in &mut self.groups {
                let state = self.state.groups().get(*group).expect("it is there");
                model.programs.iter_mut().for_each(|program| (program.last_poll, program.silent) = (SECOND, None));
                model.dead.values_mut().for_each(|(_, since)| *since = SECOND);
                for ((partition, joined), since) in &mut model.revoked {
                    let claim = &state.claims()[*partition as usize];
                    let owner = state.at(claim.owner).filter(|owner| owner.joined == *joined && claim.is_revoked());
                    *since = owner.map_or(0, |_| SECOND);
                }
            }
            assert!(passed > self.now, "another clock may show less");
        }
        while self.of_groups(OfGroups::BeginLife) == Outcome::Accept(Reply::Groups(GroupReply::More)) {}
        self.end_programs(Process::Host);
    }

    /// An attached process becomes the host: its session ends, and its members do not.
    fn take_over(&mut self) {
        let process = Process::Attached(self.random.below(3));
        self.restart();
        self.of_groups(OfGroups::Adopt { process });
        self.of_groups(OfGroups::EndProcess { process });
        let programs = self.groups.values_mut().flat_map(|model| &mut model.programs);
        programs.filter(|program| program.process == process).for_each(|program| program.process = Process::Host);
    }

    fn grow(&mut self) {
        if self.partitions > 20 {
            return;
        }
        let count = 1 + self.random.below(4) as u32;
        let before: Vec<_> = self.groups.keys().map(|group| (*group, self.holders(*group))).collect();
        self.run(&Command::AddPartitions { stream: self.stream, count });
        self.partitions += count;
        self.ends.resize(self.partitions as usize, 0);
        for (group, before) in before {
            self.assert_fewest_moves(group, &before);
        }
    }

    fn append(&mut self) {
        let partition = self.random.below(u64::from(self.partitions)) as u32;
        let records = vec![Record::new(b"one blue mug"); 1 + self.random.below(9) as usize];
        let groups = [super::Group { partition, expect_offset: None, records: &records }];
        let append = Append { stream: self.stream, mapping_partitions: self.partitions, groups: &groups };
        self.run(&Command::Append(append));
        self.ends[partition as usize] += records.len() as u64;
    }

    fn reset(&mut self) {
        let groups: Vec<u64> = self.groups.keys().copied().collect();
        let group = groups[self.random.below(2) as usize];
        let partition = self.random.below(u64::from(self.partitions)) as u32;
        let offset = self.random.below(self.ends[partition as usize] + 1);
        assert!(matches!(
            self.of_groups(OfGroups::Reset { group, offsets: &[(partition, offset)] }),
            Outcome::Accept(_)
        ));
        let model = self.groups.get_mut(&group).expect("a group of the world");
        model.committed.insert(partition, offset);
    }

    /// A member polls: it gives up what it was told to, is told anew, and commits some of what it works on.
    fn poll(&mut self) {
        let Some((group, at)) = self.pick() else { return };
        let program = self.groups[&group].programs[at].clone();
        let member = program.handle;
        self.of_groups(OfGroups::Touch { member });
        let mut positions = Vec::new();
        for (partition, epoch) in &program.works_on {
            if self.random.one_in(2) {
                let offset = self.random.below(self.ends[*partition as usize] + 1);
                positions.push(Position { partition: *partition, epoch: *epoch, offset });
            }
        }
        self.commit(member, &positions, &program.gives_up);
        let told: Vec<groups::Owned> = self.told(member).collect();
        let (now, waits) = (self.now, self.random.one_in(4));
        let program = &mut self.groups.get_mut(&group).expect("a group of the world").programs[at];
        (program.last_poll, program.waits, program.silent) = (now, waits, None);
        let of = |is_revoked: bool| told.iter().filter(move |owned| owned.is_revoked == is_revoked);
        program.gives_up = of(true).map(|owned| (owned.partition, owned.epoch)).collect();
        program.works_on = told.iter().map(|owned| (owned.partition, owned.epoch)).collect();
        let program = program.clone();
        self.assert_alone(group, &program);
    }

    fn told(&self, member: MemberHandle) -> impl Iterator<Item = groups::Owned> {
        self.state.groups().get(member.group).expect("the group is there").owned(member.seat)
    }

    /// Somebody who once owned partitions commits offsets of them, as late as it likes.
    fn commit_of_the_past(&mut self) {
        let Some((group, _)) = self.pick() else { return };
        let partition = self.random.below(u64::from(self.partitions)) as u32;
        let ownerships = self.groups[&group].ownerships.get(&partition).map_or(&[][..], Vec::as_slice);
        let Some(&(member, epoch)) = ownerships.get(self.random.below(ownerships.len().max(1) as u64) as usize) else {
            return;
        };
        let offset = self.random.below(self.ends[partition as usize] + 1);
        self.commit(member, &[Position { partition, epoch, offset }], &BTreeMap::new());
    }

    /// What is stored is just what is under the last ownership of its partition, and nothing else changes.
    fn commit(&mut self, member: MemberHandle, positions: &[Position], gives_up: &BTreeMap<u32, u64>) {
        let released: Vec<Held> =
            gives_up.iter().map(|(partition, epoch)| Held { partition: *partition, epoch: *epoch }).collect();
        let is_member = self.state.groups().get(member.group).expect("it is there").member(member).is_some();
        let (model, now) = (self.groups.get_mut(&member.group).expect("a group of the world"), self.now);
        let committing = model.programs.iter_mut().filter(|program| program.handle == member);
        committing.for_each(|program| (program.last_poll, program.waits, program.silent) = (now, false, None));
        let mut expected = Vec::new();
        for position in positions {
            let last = model.ownerships.get(&position.partition).and_then(|all| all.last());
            if is_member && last == Some(&(member, position.epoch)) {
                model.committed.insert(position.partition, position.offset);
            } else {
                expected.push(position.partition);
            }
        }
        match self.of_groups(OfGroups::Commit(Commit { member, positions, released: &released })) {
            Outcome::Accept(Reply::Groups(GroupReply::Committed { fenced }))
            | Outcome::Unchanged { reply: Reply::Groups(GroupReply::Committed { fenced }), .. } => {
                assert_eq!((fenced, true), (expected, is_member));
            }
            Outcome::Refuse { refusal, .. } => {
                assert_eq!((refusal, false), (Refusal::Groups(GroupRefusal::NotAMember), is_member));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Runs what is due, and ends the programs that did not poll in time.
    fn tick(&mut self) {
        self.watched = Watched::default();
        let programs = self.groups.values().flat_map(|model| &model.programs);
        for Program { handle, .. } in programs.filter(|program| program.waits) {
            self.watched.wait(groups::member_row(handle.group, handle.seat), None);
        }
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            let due = self.state.next_due(groups::group_row(group));
            if due.is_some_and(|due| matches!(due, Due::AtBoot(at) if at.0 <= self.now)) {
                assert!(matches!(self.of_groups(OfGroups::Expire { group }), Outcome::Accept(_)));
            }
            let due = self.state.next_due(groups::group_row(group));
            assert!(
                due.is_none_or(|due| matches!(due, Due::AtBoot(at) if at.0 > self.now)),
                "a tick does all that is due"
            );
            let state = self.state.groups().get(group).expect("it is there");
            let model = self.groups.get_mut(&group).expect("a group of the world");
            let now = self.now;
            model.dead.retain(|_, (handle, since)| {
                let is_waited_for = now < *since + 45 * SECOND;
                assert_eq!(state.member(*handle).is_some(), is_waited_for, "a dead member is waited for");
                is_waited_for
            });
            model.programs.retain_mut(|program| {
                let is_member = state.member(program.handle).is_some_and(Member::is_alive);
                if program.waits || program.session_timeout == 0 {
                    assert!(is_member, "it polls: {program:?}");
                    program.last_poll = now;
                    return true;
                }
                let is_quiet = now - program.last_poll >= program.session_timeout;
                let is_long = program.silent.is_some_and(|since| now - since >= program.session_timeout / 2);
                program.silent = program.silent.or(is_quiet.then_some(now));
                assert!(is_member || is_quiet, "it polled within its timeout: {program:?}");
                assert!(!(is_member && is_long), "it does not poll: {program:?}");
                is_member
            });
        }
    }

    /// Who holds each partition as a handle; `None` for nobody and for those who left.
    fn holders(&self, group: u64) -> Vec<Option<MemberHandle>> {
        let group_state = self.state.groups().get(group).expect("it is there");
        let handle = |seat| group_state.at(seat).map(|member| MemberHandle { group, seat, joined: member.joined });
        group_state.claims().iter().map(|claim| handle(claim.owner)).collect()
    }

    /// Nobody else that lives and keeps its time works on what this program works on.
    fn assert_alone(&self, group: u64, program: &Program) {
        let model = &self.groups[&group];
        for other in model.programs.iter().filter(|other| other.handle != program.handle) {
            let shared: BTreeSet<&u32> =
                other.works_on.keys().filter(|partition| program.works_on.contains_key(partition)).collect();
            for partition in shared {
                let taken = model.ownerships[partition].iter().rposition(|(owner, _)| *owner == other.handle);
                let since = model.revoked.get(&(*partition, other.handle.joined));
                assert!(
                    since.is_some_and(|since| *since == 0 || self.now >= since + REBALANCE_TIMEOUT) && taken.is_some(),
                    "two at work on partition {partition}: {other:?} and {program:?}"
                );
            }
        }
    }

    /// Of all sizes that are even, some would need as few moves, and none fewer.
    fn assert_fewest_moves(&self, group: u64, before: &[Option<MemberHandle>]) {
        let state = self.state.groups().get(group).expect("it is there");
        if state.assignor == Assignor::Range {
            return;
        }
        let held: Vec<usize> = state
            .members()
            .map(|(seat, member)| MemberHandle { group, seat, joined: member.joined })
            .map(|handle| before.iter().filter(|holder| **holder == Some(handle)).count())
            .collect();
        if held.is_empty() {
            return;
        }
        let (least, more) = (self.partitions as usize / held.len(), self.partitions as usize % held.len());
        let larger = (0..1_u32 << held.len()).filter(|larger| larger.count_ones() as usize == more);
        let lost = |larger: u32| -> usize {
            let size = |at: usize| least + (larger >> at & 1) as usize;
            held.iter().enumerate().map(|(at, held)| held.saturating_sub(size(at))).sum()
        };
        let fewest = larger.map(lost).min();
        let handle = |seat| state.at(seat).map(|member| MemberHandle { group, seat, joined: member.joined });
        let is_moved = |(holder, claim): &(&Option<MemberHandle>, &groups::Claim)| {
            holder.is_some_and(|holder| state.member(holder).is_some()) && handle(claim.target) != **holder
        };
        let moves = before.iter().zip(state.claims()).filter(is_moved).count();
        assert_eq!(Some(moves), fewest, "{before:?} {state:?}");
    }

    fn assert_agrees(&mut self) {
        for (number, model) in &mut self.groups {
            let group = self.state.groups().get(*number).expect("it is there");
            assert_eq!(group.partitions(), self.partitions);
            let seats: Vec<u32> = group.members().map(|(seat, _)| seat).collect();
            let sizes: Vec<usize> =
                seats.iter().map(|seat| group.claims().iter().filter(|claim| claim.target == *seat).count()).collect();
            assert_eq!(sizes.iter().sum::<usize>(), if seats.is_empty() { 0 } else { self.partitions as usize });
            let spread = sizes.iter().max().zip(sizes.iter().min()).map_or(0, |(most, least)| most - least);
            assert!(spread <= 1, "{sizes:?}");
            let alive = group.members().filter(|(_, member)| member.is_alive()).count();
            assert_eq!((alive, seats.len() - alive), (model.programs.len(), model.dead.len()));
            for (partition, claim) in (0..).zip(group.claims()) {
                assert_eq!(claim.committed, model.committed.get(&partition).copied(), "partition {partition}");
                let Some(member) = group.at(claim.owner) else { continue };
                let owner = MemberHandle { group: *number, seat: claim.owner, joined: member.joined };
                let all = model.ownerships.entry(partition).or_default();
                if all.last() != Some(&(owner, claim.epoch)) {
                    assert!(all.iter().all(|(_, epoch)| *epoch < claim.epoch), "an epoch is given once");
                    all.push((owner, claim.epoch));
                }
                if claim.is_revoked() {
                    assert!(member.is_alive(), "nothing is asked of the dead");
                    model.revoked.entry((partition, owner.joined)).or_insert(self.now);
                } else {
                    model.revoked.remove(&(partition, owner.joined));
                }
            }
        }
    }
}

#[test]
fn at_no_instant_two_own_a_partition_and_no_past_owner_commits() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..250 {
            world.step();
        }
    }
}
