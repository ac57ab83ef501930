//! Which member is to own which partition.
//!
//! Both rules are functions of what they are given, and of its order: the same members and claims always come to the
//! same.

use super::state::{NOBODY, Seat};

/// Who has what before members or partitions changed: for each partition who holds it and whose it was to be.
pub(super) struct Before<'a> {
    pub(super) holders: &'a [Seat],
    pub(super) targets: &'a [Seat],
}

/// Sizes differ by at most one, and no assignment of such sizes leaves more partitions with who holds them.
///
/// As many members as there are partitions left over get one more than the others: those first who hold more than the
/// others get. Each then keeps what it holds up to its size. That is optimal: a member keeps at most the lesser of what
/// it holds and its size, and one more in size keeps one more only where more is held.
///
/// Among equals nothing changes that was to be: what is being revoked already goes before what is not, and to where it
/// was to go.
pub(super) fn uniform(seats: &[Seat], before: &Before<'_>) -> Vec<Seat> {
    let mut targets = vec![NOBODY; before.holders.len()];
    if seats.is_empty() {
        return targets;
    }
    let mut room = sizes(seats, before);
    let holds_on = |at: usize| before.holders[at] == before.targets[at];
    for settled in [true, false] {
        for at in (0..targets.len()).filter(|at| holds_on(*at) == settled) {
            take(&mut targets[at], before.holders[at], &mut room);
        }
    }
    for (target, wanted) in targets.iter_mut().zip(before.targets) {
        take(target, *wanted, &mut room);
    }
    let mut vacancies = seats.iter().flat_map(|seat| std::iter::repeat_n(*seat, room[*seat as usize]));
    for target in targets.iter_mut().filter(|target| **target == NOBODY) {
        *target = vacancies.next().expect("the sizes add up to the partitions");
    }
    targets
}

/// How many partitions each seat is to have, by its number.
fn sizes(seats: &[Seat], before: &Before<'_>) -> Vec<usize> {
    let all = seats.iter().chain(before.holders).chain(before.targets);
    let places = all.max().map_or(0, |last| *last as usize) + 1;
    let count = |of: &[Seat]| {
        let mut counts = vec![0_usize; places];
        of.iter().for_each(|seat| counts[*seat as usize] += 1);
        counts
    };
    let (held, expected) = (count(before.holders), count(before.targets));
    let (least, more) = (before.holders.len() / seats.len(), before.holders.len() % seats.len());
    let mut first = seats.to_vec();
    first.sort_by_key(|seat| {
        let at = *seat as usize;
        std::cmp::Reverse((held[at] > least, expected[at], held[at]))
    });
    let mut sizes = vec![0; places];
    for (at, seat) in first.iter().enumerate() {
        sizes[*seat as usize] = least + usize::from(at < more);
    }
    sizes
}

/// Gives a partition that has no target yet to a seat that has room.
fn take(target: &mut Seat, seat: Seat, room: &mut [usize]) {
    if *target == NOBODY
        && let Some(left) = room.get_mut(seat as usize).filter(|left| **left > 0)
    {
        (*target, *left) = (seat, *left - 1);
    }
}

/// Successive partitions for each member in order, one more for the first ones where there are some left over: the rule
/// of Kafka's `RangeAssignor` for one topic.
pub(super) fn range(seats: &[Seat], partitions: usize) -> Vec<Seat> {
    if seats.is_empty() {
        return vec![NOBODY; partitions];
    }
    let (least, more) = (partitions / seats.len(), partitions % seats.len());
    let stretch = |(at, seat): (usize, &Seat)| std::iter::repeat_n(*seat, least + usize::from(at < more));
    seats.iter().enumerate().flat_map(stretch).collect()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Every way to give these partitions to these seats.
    fn assignments(seats: &[Seat], partitions: usize) -> Vec<Vec<Seat>> {
        let mut all = vec![Vec::new()];
        for _ in 0..partitions {
            let longer = |before: Vec<Seat>| seats.iter().map(move |seat| [&before[..], &[*seat]].concat());
            all = all.into_iter().flat_map(longer).collect();
        }
        all
    }

    fn counts(seats: &[Seat], targets: &[Seat]) -> Vec<usize> {
        seats.iter().map(|seat| targets.iter().filter(|target| *target == seat).count()).collect()
    }

    fn is_even(seats: &[Seat], targets: &[Seat]) -> bool {
        let counts = counts(seats, targets);
        counts.iter().max().zip(counts.iter().min()).is_some_and(|(most, least)| most - least <= 1)
    }

    /// Partitions that go from who holds them to another.
    fn moves(holders: &[Seat], targets: &[Seat]) -> usize {
        holders.iter().zip(targets).filter(|(holder, target)| **holder != NOBODY && holder != target).count()
    }

    #[test]
    fn no_even_assignment_has_fewer_moves_than_uniform() {
        for seats in [&[1][..], &[1, 2], &[1, 3, 4], &[2, 3, 5, 7]] {
            let holders_of = [&[NOBODY][..], seats].concat();
            for partitions in 1..=6_usize {
                let even: Vec<_> =
                    assignments(seats, partitions).into_iter().filter(|targets| is_even(seats, targets)).collect();
                for holders in assignments(&holders_of, partitions) {
                    let targets = uniform(seats, &Before { holders: &holders, targets: &holders });
                    assert!(is_even(seats, &targets), "{holders:?} {targets:?}");
                    let fewest = even.iter().map(|targets| moves(&holders, targets)).min();
                    assert_eq!(Some(moves(&holders, &targets)), fewest, "{holders:?} {targets:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_being_revoked_goes_where_it_was_to_go_and_before_anything_else() {
        for seats in [&[1, 2][..], &[1, 2, 3]] {
            let holders_of = [&[NOBODY][..], seats].concat();
            for holders in assignments(&holders_of, 4) {
                for before in assignments(seats, 4).into_iter().filter(|before| is_even(seats, before)) {
                    let targets = uniform(seats, &Before { holders: &holders, targets: &before });
                    let fewest = uniform(seats, &Before { holders: &holders, targets: &holders });
                    assert!(is_even(seats, &targets));
                    assert_eq!(moves(&holders, &targets), moves(&holders, &fewest), "{holders:?} {before:?}");
                    if moves(&holders, &before) == moves(&holders, &fewest) {
                        assert_eq!(targets, before, "nothing better is known: {holders:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn without_members_nothing_is_assigned() {
        assert_eq!(uniform(&[], &Before { holders: &[NOBODY; 3], targets: &[NOBODY; 3] }), [NOBODY; 3]);
        assert_eq!(range(&[], 2), [NOBODY; 2]);
    }

    /// What Apache Kafka's `RangeAssignorTest` of the consumer expects, topic by topic, and its rule for what it leaves
    /// out.
    #[test]
    fn range_does_as_kafkas_examples_do() {
        let examples: [(&str, usize, &[Seat], &[Seat]); 10] = [
            ("testOneConsumerOneTopic", 3, &[1], &[1, 1, 1]),
            ("testTwoConsumersOneTopicOnePartition", 1, &[1, 2], &[1]),
            ("testTwoConsumersOneTopicTwoPartitions", 2, &[1, 2], &[1, 2]),
            ("testMultipleConsumersMixedTopics", 3, &[1, 2, 3], &[1, 2, 3]),
            ("testTwoConsumersTwoTopicsSixPartitions", 3, &[1, 2], &[1, 1, 2]),
            ("testStaticMemberRangeAssignmentPersistent, topic1", 5, &[1, 2, 3, 4], &[1, 1, 2, 3, 4]),
            ("testStaticMemberRangeAssignmentPersistent, topic2", 4, &[1, 2, 3, 4], &[1, 2, 3, 4]),
            ("by the rule", 4, &[1, 2, 3], &[1, 1, 2, 3]),
            ("by the rule", 7, &[1, 2, 3], &[1, 1, 1, 2, 2, 3, 3]),
            ("by the rule", 2, &[1, 2, 3], &[1, 2]),
        ];
        for (name, partitions, seats, targets) in examples {
            assert_eq!(range(seats, partitions), targets, "{name}");
        }
    }

    /// What `UniformHomogeneousAssignmentBuilderTest` and `AbstractStickyAssignorTest` of Apache Kafka expect: who
    /// holds what before, and after. The partitions of its topics are counted through. Which of equal members gets one
    /// more, and which partitions move, is left open; how many of each is not.
    #[test]
    fn uniform_comes_to_the_sizes_and_moves_of_kafkas_tests() {
        type Example = (&'static str, &'static [Seat], &'static [Seat], &'static [Seat]);
        let examples: [Example; 9] = [
            ("testFirstAssignmentTwoMembersTwoTopicsNoMemberRacks", &[1, 2], &[0, 0, 0, 0, 0], &[2, 2, 2, 1, 1]),
            ("testFirstAssignmentNumMembersGreaterThanTotalNumPartitions", &[1, 2, 3], &[0, 0], &[2, 3]),
            (
                "testReassignmentForTwoMembersTwoTopicsGivenUnbalancedPrevAssignment",
                &[1, 2],
                &[1, 1, 2, 1, 1, 2],
                &[1, 1, 2, 1, 2, 2],
            ),
            (
                "testReassignmentWhenPartitionsAreAddedForTwoMembersTwoTopics",
                &[1, 2],
                &[1, 2, 1, 0, 0, 0, 1, 2, 2, 0, 0],
                &[1, 2, 1, 2, 2, 2, 1, 2, 2, 1, 1],
            ),
            (
                "testReassignmentWhenOneMemberAddedAfterInitialAssignmentWithTwoMembersTwoTopics",
                &[1, 2, 3],
                &[1, 2, 1, 1, 2, 2],
                &[1, 2, 1, 3, 2, 3],
            ),
            (
                "testReassignmentWhenOneMemberRemovedAfterInitialAssignmentWithThreeMembersTwoTopics",
                &[1, 2],
                &[1, 2, 0, 1, 2, 0],
                &[1, 2, 2, 1, 2, 1],
            ),
            ("testAddRemoveConsumerOneTopic, added", &[1, 2], &[1, 1, 1], &[1, 1, 2]),
            (
                "testAddRemoveTwoConsumersTwoTopics, added",
                &[1, 2, 3, 4],
                &[1, 2, 1, 2, 1, 2, 1],
                &[1, 2, 3, 2, 1, 4, 3],
            ),
            ("testAddRemoveTwoConsumersTwoTopics, removed", &[3, 4], &[0, 0, 3, 0, 0, 4, 3], &[3, 4, 3, 4, 3, 4, 3]),
        ];
        let sizes = |seats: &[Seat], targets: &[Seat]| {
            let mut sizes = counts(seats, targets);
            sizes.sort_unstable();
            sizes
        };
        for (name, seats, holders, expected) in examples {
            let targets = uniform(seats, &Before { holders, targets: holders });
            assert_eq!(sizes(seats, &targets), sizes(seats, expected), "{name}");
            assert_eq!(moves(holders, &targets), moves(holders, expected), "{name}");
        }
    }

    /// Members come and go one after the other, and only so many partitions move as must.
    #[test]
    fn uniform_keeps_what_it_can_from_one_assignment_to_the_next() {
        let again = |seats: &[Seat], holders: &[Seat]| {
            let left: Vec<Seat> =
                holders.iter().map(|seat| if seats.contains(seat) { *seat } else { NOBODY }).collect();
            uniform(seats, &Before { holders: &left, targets: &left })
        };
        let two = again(&[1, 2], &[NOBODY; 6]);
        assert_eq!(counts(&[1, 2], &two), [3, 3]);
        let three = again(&[1, 2, 3], &two);
        assert_eq!((counts(&[1, 2, 3], &three), moves(&two, &three)), (vec![2, 2, 2], 2));
        let less = again(&[1, 3], &three);
        let left: Vec<bool> = three.iter().zip(&less).map(|(before, after)| before == after || *before == 2).collect();
        assert_eq!((counts(&[1, 3], &less), left), (vec![3, 3], vec![true; 6]));
        let more = again(&[1, 3], &[&less[..], &[NOBODY; 3]].concat());
        assert_eq!((&more[..6], counts(&[1, 3], &more)), (&less[..], vec![5, 4]));
    }
}
