//! Holds what the members of the consumer group told against what is there in the end. A pure function.
//!
//! A *tenure* is the time from one line that a member owns a partition to the next one of the same member, or its end.

use std::collections::BTreeMap;
use std::fmt;

use crate::book::{History, Line, Step, WriteId, add_to_sum};
use crate::checker::Problems;
use crate::content::Content;

/// What the group has left of each partition of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    pub committed: Option<u64>,
    /// From where to where a member that came last has read.
    pub read: (u64, u64),
}

/// What was compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Consumed {
    pub records: u64,
    pub tenures: u64,
    pub commits: u64,
    pub refused: u64,
}

impl fmt::Display for Consumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Consumed { records, tenures, commits, refused } = self;
        write!(f, "{records} records consumed in {tenures} tenures, {commits} offsets committed and {refused} refused")
    }
}

impl std::ops::AddAssign for Consumed {
    fn add_assign(&mut self, other: Consumed) {
        self.records += other.records;
        self.tenures += other.tenures;
        self.commits += other.commits;
        self.refused += other.refused;
    }
}

/// Of one partition: who owned it, when it was told so, and when it had done its step before.
#[derive(Debug)]
struct Tenure {
    process: u64,
    thread: u32,
    asked_at: u64,
    told_at: u64,
    /// What was read.
    read: Option<(u64, u64)>,
}

/// An offset that was asked to be committed.
#[derive(Clone, Copy, Debug)]
struct Commit {
    /// Of the partition, by its place.
    tenure: usize,
    offset: u64,
    asked_at: u64,
    /// When it was told to be stored.
    told_at: Option<u64>,
    is_refused: bool,
}

/// One partition, as all members saw it.
#[derive(Default, Debug)]
struct Seen {
    tenures: Vec<Tenure>,
    commits: Vec<Commit>,
    /// What was read, whoever did.
    read: Vec<(u64, u64)>,
}

/// Everything that must hold.
pub fn check(histories: &[History], content: &Content, left: &[Left]) -> Result<Consumed, String> {
    let mut problems = Problems::default();
    let mut partitions: BTreeMap<u32, Seen> = BTreeMap::new();
    for history in histories {
        see(history, content, &mut partitions, &mut problems);
    }
    let mut consumed = Consumed::default();
    for (partition, left) in (0..).zip(left) {
        let seen = partitions.remove(&partition).unwrap_or_default();
        let end = content.get(&(0, partition)).map_or(0, |records| records.len() as u64);
        if let Err(problem) = seen.check(left, end) {
            problems.add(format!("the group's partition {partition}: {problem}"));
        }
        consumed += seen.consumed();
    }
    problems.into_result().map(|()| consumed)
}

/// Enters what one process told.
fn see(history: &History, content: &Content, partitions: &mut BTreeMap<u32, Seen>, problems: &mut Problems) {
    // By thread and partition, the place of the tenure; by thread, its last step; by commit, where its offsets stand.
    let mut tenures: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let mut last_steps: BTreeMap<u32, u64> = BTreeMap::new();
    let mut commits: BTreeMap<WriteId, Vec<(u32, usize)>> = BTreeMap::new();
    let process = history.process;
    for Line { at, step } in &history.lines {
        let thread = match step {
            Step::Joined { member } => {
                tenures.retain(|(thread, _), _| thread != member);
                *member
            }
            Step::Owned { member, partition } => {
                let seen = partitions.entry(*partition).or_default();
                let asked_at = last_steps.get(member).copied().unwrap_or(0);
                tenures.insert((*member, *partition), seen.tenures.len());
                let (thread, told_at) = (*member, *at);
                seen.tenures.push(Tenure { process, thread, asked_at, told_at, read: None });
                *member
            }
            Step::Polled { member, partition, first, records, sum } => {
                let seen = partitions.entry(*partition).or_default();
                let next = first + records;
                seen.read.push((*first, next));
                match tenures.get(&(*member, *partition)) {
                    Some(tenure) => {
                        let read = seen.tenures[*tenure].read.get_or_insert((*first, *first));
                        problems.unless(read.1 == *first, || {
                            format!("process {process}: member {member} got {first} of {partition} after {read:?}")
                        });
                        read.1 = next;
                    }
                    None => problems.add(format!("process {process}: member {member} got what it does not own")),
                }
                let there = content.get(&(0, *partition)).and_then(|all| all.get(*first as usize..next as usize));
                let wanted = there.map(|there| there.iter().fold(0, |sum, found| add_to_sum(sum, found.sum)));
                problems.unless(wanted == Some(*sum), || {
                    format!("process {process}: member {member} got other records than {first}..{next} of {partition}")
                });
                *member
            }
            Step::Committing { commit, offsets } => {
                for (partition, offset) in offsets {
                    let Some(tenure) = tenures.get(&(commit.0, *partition)).copied() else { continue };
                    let seen = partitions.entry(*partition).or_default();
                    commits.entry(*commit).or_default().push((*partition, seen.commits.len()));
                    let commit = Commit { tenure, offset: *offset, asked_at: *at, told_at: None, is_refused: false };
                    seen.commits.push(commit);
                }
                commit.0
            }
            Step::Committed { commit, moved } => {
                for (partition, place) in commits.remove(commit).unwrap_or_default() {
                    let commit = &mut partitions.entry(partition).or_default().commits[place];
                    commit.is_refused = moved.contains(&partition);
                    commit.told_at = (!commit.is_refused).then_some(*at);
                }
                commit.0
            }
            _ => continue,
        };
        last_steps.insert(thread, *at);
    }
}

impl Seen {
    fn check(&self, left: &Left, end: u64) -> Result<(), String> {
        self.expect_starts()?;
        self.expect_no_way_back(left)?;
        self.expect_one_owner()?;
        self.expect_everything(left, end)
    }

    fn stored(&self) -> impl Iterator<Item = (&Commit, u64)> {
        self.commits.iter().filter_map(|commit| Some((commit, commit.told_at?)))
    }

    /// The greatest offset that was known to be committed before this time.
    fn known_before(&self, at: u64) -> u64 {
        self.stored().filter(|(_, told_at)| *told_at < at).map(|(commit, _)| commit.offset).max().unwrap_or(0)
    }

    /// Each tenure begins where one before it has committed, and not before what was known then.
    fn expect_starts(&self) -> Result<(), String> {
        for Tenure { process, thread, asked_at, told_at, read } in &self.tenures {
            let Some((first, _)) = read else { continue };
            let mut offered = self.commits.iter().filter(|commit| !commit.is_refused && commit.asked_at < *told_at);
            if *first > 0 && !offered.any(|commit| commit.offset == *first) {
                return Err(format!("process {process}, member {thread} began at {first}, which nobody has committed"));
            }
            let known = self.known_before(*asked_at);
            if *first < known {
                return Err(format!("process {process}, member {thread} began at {first}, committed was {known}"));
            }
        }
        Ok(())
    }

    /// A committed offset never goes back, and what was told to be stored is there in the end.
    fn expect_no_way_back(&self, left: &Left) -> Result<(), String> {
        for (commit, _) in self.stored() {
            let known = self.known_before(commit.asked_at);
            if commit.offset < known {
                return Err(format!("the committed offset goes back from {known}: {commit:?} is stored"));
            }
        }
        let (known, committed) = (self.known_before(u64::MAX), left.committed.unwrap_or(0));
        let is_offered = committed == 0 || self.commits.iter().any(|commit| commit.offset == committed);
        if committed < known || !is_offered {
            return Err(format!("{:?} is committed in the end, {known} was told to be", left.committed));
        }
        Ok(())
    }

    /// While one commits nobody else does.
    fn expect_one_owner(&self) -> Result<(), String> {
        let mut spans: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        for (commit, told_at) in self.stored() {
            let (first_told, last_asked) = spans.entry(commit.tenure).or_insert((told_at, commit.asked_at));
            (*first_told, *last_asked) = ((*first_told).min(told_at), (*last_asked).max(commit.asked_at));
        }
        for (tenure, (first_told, last_asked)) in spans {
            let is_amid = |(commit, told_at): &(&Commit, u64)| {
                commit.tenure != tenure && commit.asked_at > first_told && *told_at < last_asked
            };
            if let Some((commit, _)) = self.stored().find(is_amid) {
                return Err(format!("two owners: {commit:?} is stored amid the commits of {:?}", self.tenures[tenure]));
            }
        }
        Ok(())
    }

    /// What lies below the committed offset has been read by somebody, and the rest is there for the last to read.
    fn expect_everything(&self, left: &Left, end: u64) -> Result<(), String> {
        let committed = left.committed.unwrap_or(0);
        let mut read = self.read.clone();
        read.sort_unstable();
        let reached =
            read.iter().fold(0, |reached, (first, next)| if *first <= reached { reached.max(*next) } else { reached });
        if reached < committed {
            return Err(format!("{reached} was read by nobody, committed is {committed}"));
        }
        let is_rest = left.read == (committed, end);
        if is_rest { Ok(()) } else { Err(format!("{:?} was left to read, not {committed}..{end}", left.read)) }
    }

    fn consumed(&self) -> Consumed {
        Consumed {
            records: self.read.iter().map(|(first, next)| next - first).sum(),
            tenures: self.tenures.len() as u64,
            commits: self.stored().count() as u64,
            refused: self.commits.iter().filter(|commit| commit.is_refused).count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Found, Tag};

    fn found(write: u64) -> Found {
        let tag = Tag { process: 9, thread: 0, write, index: 0, count: 1 };
        Found { tag, timestamp: write, lsn: write, sum: tag.written().sum() }
    }

    fn orders() -> Vec<Found> {
        (0..6).map(found).collect()
    }

    fn owned() -> Step {
        Step::Owned { member: 8, partition: 0 }
    }

    fn polled(first: u64, records: u64) -> Step {
        let got = &orders()[first as usize..(first + records) as usize];
        let sum = got.iter().fold(0, |sum, found| add_to_sum(sum, found.sum));
        Step::Polled { member: 8, partition: 0, first, records, sum }
    }

    fn committing(number: u64, offset: u64) -> Step {
        Step::Committing { commit: (8, number), offsets: vec![(0, offset)] }
    }

    fn committed(number: u64) -> Step {
        Step::Committed { commit: (8, number), moved: Vec::new() }
    }

    fn refused(number: u64) -> Step {
        Step::Committed { commit: (8, number), moved: vec![0] }
    }

    /// One member reads three and commits two; the other goes on from there.
    fn that_hold() -> [Vec<(u64, Step)>; 2] {
        let web = vec![
            (1, Step::Joined { member: 8 }),
            (2, owned()),
            (3, polled(0, 2)),
            (4, committing(0, 2)),
            (5, committed(0)),
            (6, polled(2, 1)),
            (12, committing(1, 3)),
            (13, refused(1)),
        ];
        let worker = vec![
            (6, Step::Joined { member: 8 }),
            (7, owned()),
            (8, polled(2, 3)),
            (9, committing(0, 5)),
            (10, committed(0)),
        ];
        [web, worker]
    }

    const LEFT: Left = Left { committed: Some(5), read: (5, 6) };

    fn check_of(steps: &[Vec<(u64, Step)>; 2], left: Left) -> Result<Consumed, String> {
        let line = |(at, step): &(u64, Step)| Line { at: *at, step: step.clone() };
        let history =
            |(process, steps): (u64, &Vec<(u64, Step)>)| History { process, lines: steps.iter().map(line).collect() };
        let histories: Vec<History> = (1..).zip(steps).map(history).collect();
        check(&histories, &Content::from([((0, 0), orders())]), &[left])
    }

    #[track_caller]
    fn expect(steps: &[Vec<(u64, Step)>; 2], left: Left, problem: &str) {
        let problems = check_of(steps, left).expect_err("something is wrong with it");
        assert!(problems.contains(problem), "{problems}");
    }

    #[test]
    fn a_partition_that_goes_from_one_to_the_other_holds() {
        let consumed = Consumed { records: 6, tenures: 2, commits: 2, refused: 1 };
        assert_eq!(check_of(&that_hold(), LEFT), Ok(consumed));
    }

    #[test]
    fn a_past_owner_that_commits_is_found() {
        let mut steps = that_hold();
        steps[0][7].1 = committed(1);
        expect(&steps, LEFT, "goes back from 5");
        steps[0][6].1 = committing(1, 6);
        expect(&steps, Left { committed: Some(6), read: (6, 6) }, "two owners");
    }

    #[test]
    fn records_that_are_skipped_or_left_out_in_the_end_are_found() {
        let mut steps = that_hold();
        steps[1][2].1 = polled(3, 2);
        expect(&steps, LEFT, "began at 3");
        let mut steps = that_hold();
        steps[0][5].1 = polled(3, 1);
        expect(&steps, LEFT, "after (0, 2)");
        expect(&that_hold(), Left { read: (6, 6), ..LEFT }, "was left to read");
    }

    #[test]
    fn a_commit_that_is_lost_is_found() {
        expect(&that_hold(), Left { committed: Some(2), read: (2, 6) }, "5 was told to be");
        let mut steps = that_hold();
        steps[1][2].1 = polled(0, 5);
        expect(&steps, LEFT, "began at 0, committed was 2");
    }
}
