//! Small histories by hand: one that holds, and one of each kind that must not.

use super::*;
use crate::book::Line;
use crate::content::Tag;
use crate::disturbances::{Whom, closings};

const PATIENCE: u64 = 1_000_000;
const ORDERS: Place = (0, 0);

/// What two processes told, and what is there: three writes of the first, one of the second, and a reader.
struct Case {
    web: Vec<(u64, Step)>,
    worker: Vec<(u64, Step)>,
    orders: Vec<Found>,
    disturbances: Vec<Disturbance>,
}

fn found(process: u64, write: u64, (index, count): (u32, u32), lsn: u64) -> Found {
    let tag = Tag { process, thread: 0, write, index, count };
    Found { tag, timestamp: lsn, lsn, sum: tag.written().sum() }
}

fn asked(write: u64, records: u32) -> Step {
    Step::Asked { write: (0, write), stream: 0, counts: vec![(0, records)], manner: Manner::Plain }
}

fn acknowledged(write: u64, lsn: u64, first: u64, records: u32) -> Step {
    Step::Acknowledged { write: (0, write), lsn, ranges: vec![Range { partition: 0, first, records }] }
}

fn received(first: u64, records: &[Found]) -> Step {
    let sum = records.iter().fold(0, |sum, found| add_to_sum(sum, found.sum));
    Step::Received { reader: 0, first, records: records.len() as u64, sum }
}

impl Case {
    fn that_holds() -> Case {
        let orders =
            vec![found(1, 0, (0, 1), 10), found(2, 0, (0, 2), 20), found(2, 0, (1, 2), 20), found(1, 2, (0, 1), 30)];
        let web = vec![
            (1, asked(0, 1)),
            (2, acknowledged(0, 10, 0, 1)),
            (5, asked(1, 1)),
            (6, Step::Refused { write: (0, 1) }),
            (7, Step::Hosted { pid: 40, epoch: 1, issued: 25 }),
            (8, asked(2, 1)),
            (9, Step::Hosted { pid: 41, epoch: 2, issued: 31 }),
        ];
        let worker = vec![
            (2, Step::Begun { reader: 0, place: ORDERS, offset: 0 }),
            (3, asked(0, 2)),
            (4, acknowledged(0, 20, 1, 2)),
            (5, received(0, &orders[..2])),
            (6, Step::Ended { place: ORDERS, end: 3 }),
            (9, received(2, &orders[2..])),
        ];
        Case { web, worker, orders, disturbances: Vec::new() }
    }

    fn histories(&self) -> [History; 2] {
        let history = |process, steps: &[(u64, Step)]| History {
            process,
            lines: steps.iter().map(|(at, step)| Line { at: *at, step: step.clone() }).collect(),
        };
        [history(1, &self.web), history(2, &self.worker)]
    }

    fn check(&self) -> Result<Compared, String> {
        let histories = self.histories();
        let terms = Terms { patience: PATIENCE, disturbances: &self.disturbances };
        check(&histories, &Content::from([(ORDERS, self.orders.clone())]), terms)
    }

    #[track_caller]
    fn expect(&self, problem: &str) {
        let problems = self.check().expect_err("something is wrong with it");
        assert!(problems.contains(problem), "{problems}");
    }
}

#[test]
fn a_history_that_holds() {
    let compared = Case::that_holds().check().unwrap();
    let (writes, others) = (Compared { acknowledged: 2, refused: 1, open: 1, ..Compared::default() }, compared);
    assert_eq!(compared, Compared { undisturbed: 3, received: 4, hosts: 2, longest: 1, ..writes }, "{others}");
}

#[test]
fn an_open_write_may_be_missing() {
    let mut case = Case::that_holds();
    case.orders.pop();
    case.worker.pop();
    assert!(case.check().is_ok());
}

#[test]
fn an_acknowledged_write_that_is_lost() {
    let mut case = Case::that_holds();
    case.orders.remove(0);
    case.expect("and lost");
}

#[test]
fn a_write_that_was_made_and_is_lost() {
    let mut case = Case::that_holds();
    case.web[3].1 = Step::Unconfirmed { write: (0, 1) };
    case.expect("is lost");
}

#[test]
fn a_write_that_is_there_twice() {
    let mut case = Case::that_holds();
    case.orders.push(found(1, 2, (0, 1), 40));
    case.expect("is there twice");
}

#[test]
fn a_write_elsewhere_than_was_told() {
    let mut case = Case::that_holds();
    case.web[1].1 = acknowledged(0, 10, 3, 1);
    case.expect("acknowledged at");
    case.web[1].1 = acknowledged(0, 11, 0, 1);
    case.expect("LSN 11");
}

#[test]
fn a_refused_write_that_is_there() {
    let mut case = Case::that_holds();
    case.orders[3] = found(1, 1, (0, 1), 30);
    case.expect("refused, and there");
}

#[test]
fn half_a_batch() {
    let mut case = Case::that_holds();
    case.orders.remove(2);
    case.expect("1 of 2 records");
}

#[test]
fn a_batch_with_a_stranger_in_it() {
    let mut case = Case::that_holds();
    case.orders.swap(0, 1);
    case.expect("torn");
}

#[test]
fn a_record_that_nobody_wrote() {
    let mut case = Case::that_holds();
    case.orders.push(found(3, 0, (0, 1), 40));
    case.expect("nobody asked");
}

#[test]
fn a_thread_whose_writes_changed_places() {
    let mut case = Case::that_holds();
    case.orders.swap(0, 3);
    case.expect("follows (2, 0)");
}

#[test]
fn an_address_that_goes_back() {
    let mut case = Case::that_holds();
    case.orders[3].lsn = 5;
    case.expect("go back");
}

#[test]
fn a_later_write_at_an_earlier_address() {
    let mut case = Case::that_holds();
    case.worker[2].1 = acknowledged(0, 9, 1, 2);
    case.expect("after 10 had been acknowledged");
    case.worker[2].1 = acknowledged(0, 10, 1, 2);
    case.expect("given twice");
}

#[test]
fn a_reader_that_gets_an_offset_twice_or_not_at_all() {
    let mut case = Case::that_holds();
    case.worker[5].1 = received(1, &case.orders[1..]);
    case.expect("got 1 instead of 2");
    case.worker[5].1 = received(3, &case.orders[3..]);
    case.expect("got 3 instead of 2");
}

#[test]
fn a_reader_that_gets_something_else() {
    let mut case = Case::that_holds();
    case.worker[3].1 = received(0, &case.orders[1..3]);
    case.expect("got other records");
}

#[test]
fn an_epoch_with_two_hosts_and_one_that_comes_back() {
    let mut case = Case::that_holds();
    case.worker.push((10, Step::Hosted { pid: 42, epoch: 2, issued: 31 }));
    case.expect("epoch 2 has two hosts");
    case.worker.pop();
    case.web.push((10, Step::Hosted { pid: 40, epoch: 1, issued: 25 }));
    case.expect("epoch 1 after 2");
}

#[test]
fn a_host_that_writes_after_its_successor_began() {
    let mut case = Case::that_holds();
    case.worker.push((10, Step::Hosted { pid: 40, epoch: 1, issued: 32 }));
    case.expect("went to 32");
}

#[test]
fn an_end_that_goes_back() {
    let mut case = Case::that_holds();
    case.worker.push((10, Step::Ended { place: ORDERS, end: 2 }));
    case.expect("ended at 3, then at 2");
}

#[test]
fn a_write_that_stood_still_and_an_error_that_nobody_expects() {
    let mut case = Case::that_holds();
    case.worker[2].0 += PATIENCE;
    case.expect("took 1000 ms");
    case.web.push((10, Step::Unexpected { text: "the mug is gone".to_owned() }));
    case.expect("the mug is gone");
}

#[test]
fn an_unknown_outcome_while_nothing_was_done() {
    let mut case = Case::that_holds();
    case.web[3].1 = Step::Unknown { write: (0, 1) };
    case.expect("nobody knows what became of it");
    for (from, to, whom) in
        [(1, 4, Whom::All), (7, 9, Whom::All), (5, 6, Whom::Process(2)), (5, 6, Whom::WhatMayBeRefused)]
    {
        case.disturbances = vec![Disturbance { from, to, whom }];
        case.expect("nobody knows what became of it");
    }
}

#[test]
fn an_unknown_outcome_while_something_was_done_or_there_was_little_time() {
    let mut case = Case::that_holds();
    case.web[3].1 = Step::Unknown { write: (0, 1) };
    for (from, to, whom) in [(1, 5, Whom::All), (6, 9, Whom::Process(1)), (1, 9, Whom::All)] {
        case.disturbances = vec![Disturbance { from, to, whom }];
        assert_eq!(case.check().unwrap().unknown, 1);
    }
    let in_the_manner = |manner| Step::Asked { write: (0, 1), stream: 0, counts: vec![(0, 1)], manner };
    case.web[2].1 = in_the_manner(Manner::Conditional);
    case.disturbances[0].whom = Whom::WhatMayBeRefused;
    assert!(case.check().is_ok());
    case.web[2].1 = in_the_manner(Manner::Hurried);
    case.disturbances.clear();
    assert!(case.check().is_ok());
}

#[test]
fn nobody_hosts_the_database_although_nothing_was_done() {
    let mut case = Case::that_holds();
    case.worker.push((20, Step::Hostless));
    case.expect("nobody hosts the database at 20");
    case.disturbances = vec![
        Disturbance { from: 15, to: 19, whom: Whom::All },
        Disturbance { from: 15, to: 25, whom: Whom::Process(1) },
    ];
    case.expect("nobody hosts the database at 20");
    case.disturbances[0].to = 20;
    assert!(case.check().is_ok());
}

#[test]
fn a_process_that_closes_disturbs_itself_or_all() {
    let mut case = Case::that_holds();
    case.web[3] = (3_000_000, Step::Unknown { write: (0, 1) });
    case.web.truncate(4);
    case.orders.pop();
    case.worker.pop();
    case.web.insert(3, (2_000_000, Step::Closing));
    let closed = closings(&case.histories(), |_| Whom::All);
    assert_eq!(closed, [Disturbance::settling(2_000_000, 3_000_000, Whom::All)], "it was killed");
    case.web.insert(4, (2_500_000, Step::Closed));
    let closed = closings(&case.histories(), Whom::Process);
    assert_eq!(closed, [Disturbance::settling(2_000_000, 2_500_000, Whom::Process(1))]);
}

#[test]
fn a_failover_lasts_until_a_write_that_was_asked_for_after_the_kill_is_acknowledged() {
    assert_eq!(failovers(&Case::that_holds().histories(), &[0, 2, 3, 4]), [2, 2, 1]);
}
