//! The rules of schedules, one by one.

use super::super::command::{Command, DeliveryId, Holder, Outcome, QueueNumber, Refusal, Settlement};
use super::super::consumers::Taker;
use super::super::decide::decide;
use super::super::dedup::Horizon;
use super::super::exchanges::ExchangeOptions;
use super::super::message::{Due, Message};
use super::super::options::Options;
use super::super::overlay::Overlay;
use super::super::reply::{HandedRun, Reply};
use super::super::routing::{Binding, Condition, Destination, ExchangeNumber, Kind};
use super::super::schedules::{LeftOutReason, MissedRuns, OverlappingRuns, Plan, Schedule, Target, When, schedule_row};
use super::SECOND;
use super::bench::{Bench, at_once, order};
use crate::base::bounds::{
    MISSED_RUNS_MAX, ROW_BYTES_MAX, SCHEDULE_MESSAGE_BYTES_MAX, SCHEDULE_PLACES_MAX, SCHEDULES_MAX,
};
use crate::base::name::NameFault;
use crate::base::time::Timestamp;
use crate::engine::machine::{Context, Known};
use crate::primitives::record::Record;

const TEN: u64 = 10 * SECOND;
const EVERY_TEN: When = When::Every { micros: TEN };

struct Clockwork {
    bench: Bench,
}

fn clockwork() -> Clockwork {
    Clockwork { bench: Bench::new(at_once()) }
}

fn cron(pattern: &str) -> When {
    When::Cron { pattern: pattern.into(), zone: "UTC".into() }
}

impl Clockwork {
    fn plan(&self, when: When) -> Plan {
        let (missed, overlap) = (MissedRuns::One, OverlappingRuns::Allow);
        Plan { when, target: Target::Queue(self.bench.queue), missed, overlap }
    }

    fn submit(&mut self, name: &str, plan: &Plan, message: &Message<'_>) -> Outcome {
        self.bench.world.submit(&Command::Schedule { name, plan, message })
    }

    fn schedule(&mut self, plan: &Plan) {
        let outcome = self.submit("nightly report", plan, &order("make the report"));
        assert_eq!(outcome, Outcome::Accept(Reply::Done));
    }

    fn refused(&mut self, plan: &Plan, message: &Message<'_>) -> Refusal {
        match self.submit("nightly report", plan, message) {
            Outcome::Refuse { refusal, .. } => refusal,
            other => panic!("{other:?}"),
        }
    }

    fn found(&self) -> &Schedule {
        self.bench.world.state.schedules.find("nightly report").expect("a schedule")
    }

    fn sent(&self) -> u64 {
        self.found().history.sent
    }

    fn left_out(&self) -> u64 {
        self.found().history.left_out
    }

    fn reason(&self) -> Option<LeftOutReason> {
        self.found().history.last_left_out.as_ref().map(|last| last.reason)
    }

    /// When the next run is, from now on.
    fn next_in(&self) -> Option<u64> {
        self.found().next.map(|next| next.0 - self.bench.wall().0)
    }

    fn pass(&mut self, micros: u64) {
        self.bench.world.pass(micros);
    }

    /// The database is closed for so long.
    fn rest(&mut self, micros: u64) {
        self.bench.world.now.wall.0 += micros;
        self.bench.restart();
        self.bench.world.run_timers();
    }

    fn pause(&mut self, is_paused: bool) -> Outcome {
        self.bench.world.submit(&Command::PauseSchedule { name: "nightly report", is_paused })
    }

    fn take(&mut self) -> Vec<HandedRun> {
        let receive = Command::Receive { queue: self.bench.queue, holder: Holder::HOST, taker: Taker::NOBODY, max: 1 };
        match self.bench.world.submit(&receive) {
            Outcome::Accept(Reply::Handed(runs)) => runs,
            _ => Vec::new(),
        }
    }

    fn settle(&mut self, run: &HandedRun, how: Settlement<'_>) {
        let id = DeliveryId { lane: run.lane, offset: run.first, acquired: run.acquired };
        self.bench.world.accept(&Command::Settle { queue: self.bench.queue, how, deliveries: &[id] });
    }

    fn fanout(&mut self, queues: &[QueueNumber]) -> ExchangeNumber {
        let options =
            &ExchangeOptions { kind: Kind::Fanout, alternate: None, allows_unroutable: false, dedup: Horizon::None };
        let declare = Command::DeclareExchange { name: "reports", options };
        let (Outcome::Accept(reply) | Outcome::Unchanged { reply, .. }) = self.bench.world.submit(&declare) else {
            panic!("it is refused")
        };
        let Reply::Exchange(exchange) = reply else { panic!("{reply:?} is no exchange") };
        for queue in queues {
            let destination = Destination::Queue(*queue);
            let binding = &Binding { exchange, destination, condition: Condition::Always };
            self.bench.world.accept(&Command::Bind { binding });
        }
        exchange
    }
}

fn to_exchange(plan: Plan, exchange: ExchangeNumber) -> Plan {
    Plan { target: Target::Exchange { exchange, routing_key: "report.nightly".into() }, ..plan }
}

#[test]
fn a_message_is_sent_at_each_run_and_not_before() {
    let mut clockwork = clockwork();
    clockwork.schedule(&clockwork.plan(EVERY_TEN));
    clockwork.pass(TEN - 1);
    assert_eq!(clockwork.bench.ready(), 0);
    clockwork.pass(1);
    assert_eq!(clockwork.bench.ready(), 1);
    for runs in 2..6 {
        clockwork.pass(TEN);
        assert_eq!((clockwork.bench.ready(), clockwork.sent(), clockwork.left_out()), (runs, runs, 0));
    }
}

#[test]
fn runs_do_not_drift_when_ticks_are_late() {
    let mut clockwork = clockwork();
    clockwork.schedule(&clockwork.plan(EVERY_TEN));
    clockwork.pass(TEN + 3 * SECOND);
    assert_eq!(clockwork.next_in(), Some(7 * SECOND));
    let last = clockwork.found().history.last_sent.expect("it has run");
    assert_eq!(last.at.0 - last.run.0, 3 * SECOND);
}

#[test]
fn a_run_happens_once_over_restarts() {
    let mut clockwork = clockwork();
    clockwork.schedule(&clockwork.plan(cron("*/10 * * * * *")));
    for runs in 1..8 {
        clockwork.bench.restart();
        let next = clockwork.next_in().expect("there is no end");
        clockwork.pass(next);
        clockwork.bench.restart();
        clockwork.pass(0);
        assert_eq!((clockwork.bench.ready(), clockwork.sent()), (runs, runs));
    }
}

#[test]
fn of_missed_runs_one_message_makes_up_unless_the_plan_says_otherwise() {
    // Closed over so many runs, and so long after the last of them: messages, runs left out.
    let table = [
        (MissedRuns::One, 1, SECOND, 1, 0),
        (MissedRuns::One, 5, SECOND, 1, 4),
        (MissedRuns::One, 5, 61 * SECOND, 1, 4),
        (MissedRuns::Skip, 1, 60 * SECOND, 1, 0),
        (MissedRuns::Skip, 1, 60 * SECOND + 1, 0, 1),
        (MissedRuns::Skip, 5, SECOND, 1, 4),
        (MissedRuns::Skip, 5, 61 * SECOND, 0, 5),
        (MissedRuns::All, 5, SECOND, 5, 0),
        (MissedRuns::All, 5, 61 * SECOND, 5, 0),
    ];
    let hour = 3600 * SECOND;
    for (missed, runs, late, messages, left_out) in table {
        for when in [When::Every { micros: hour }, cron("13 20 * * * *")] {
            let mut clockwork = clockwork();
            // 2023-11-14T22:13:20Z: the pattern's runs are 6 min 53 s later, and then each hour.
            let plan = Plan { missed, ..clockwork.plan(when) };
            clockwork.schedule(&plan);
            let first = clockwork.next_in().expect("it runs");
            clockwork.rest(first + (runs - 1) * hour + late);
            let found = (clockwork.bench.ready(), clockwork.sent(), clockwork.left_out());
            assert_eq!(found, (messages, messages, left_out), "{missed:?} {runs} {late} {:?}", plan.when);
            assert_eq!(clockwork.next_in(), Some(hour - late));
            clockwork.pass(hour - late);
            assert_eq!(clockwork.sent(), messages + 1, "and then it goes on");
        }
    }
}

#[test]
fn missed_runs_that_are_all_made_up_for_have_a_bound_and_one_message_makes_up_for_the_rest() {
    let mut clockwork = clockwork();
    let plan = Plan { missed: MissedRuns::All, ..clockwork.plan(EVERY_TEN) };
    clockwork.schedule(&plan);
    clockwork.rest(TEN * (MISSED_RUNS_MAX + 500));
    assert_eq!((clockwork.sent(), clockwork.left_out()), (MISSED_RUNS_MAX + 1, 499));
    clockwork.rest(TEN * 20);
    assert_eq!((clockwork.sent(), clockwork.left_out()), (MISSED_RUNS_MAX + 21, 499), "the next absence counts anew");
}

#[test]
fn a_run_is_left_out_while_the_message_of_the_one_before_is_unsettled_if_the_plan_says_so() {
    let mut clockwork = clockwork();
    let plan = Plan { overlap: OverlappingRuns::Skip, ..clockwork.plan(EVERY_TEN) };
    clockwork.schedule(&plan);
    clockwork.pass(TEN);
    clockwork.pass(TEN);
    assert_eq!((clockwork.sent(), clockwork.left_out(), clockwork.bench.ready()), (1, 1, 1), "it is ready");
    assert_eq!(clockwork.reason(), Some(LeftOutReason::Overlap));
    assert_eq!(clockwork.take().len(), 1);
    clockwork.bench.restart();
    let taken = clockwork.take();
    clockwork.settle(&taken[0], Settlement::Release { delay_micros: 15 * SECOND });
    clockwork.pass(TEN);
    assert_eq!(clockwork.sent(), 1, "it is in backoff");
    clockwork.pass(TEN);
    let again = clockwork.take();
    clockwork.pass(TEN);
    assert_eq!(clockwork.sent(), 1, "it is in flight");
    clockwork.settle(&again[0], Settlement::Ack);
    clockwork.pass(TEN);
    assert_eq!(clockwork.sent(), 2, "it is done");
    let next = clockwork.take();
    clockwork.settle(&next[0], Settlement::Reject { error: "no such customer" });
    clockwork.pass(TEN);
    assert_eq!((clockwork.sent(), clockwork.bench.counts().dead), (3, 1), "it is dead");
    clockwork.bench.purge(&[]);
    clockwork.pass(TEN);
    assert_eq!(clockwork.sent(), 4, "it is gone");
}

#[test]
fn runs_overlap_unless_the_plan_says_otherwise() {
    let mut clockwork = clockwork();
    clockwork.schedule(&clockwork.plan(EVERY_TEN));
    (0..3).for_each(|_| clockwork.pass(TEN));
    assert_eq!(clockwork.bench.ready(), 3);
}

#[test]
fn a_paused_schedule_does_not_run_and_goes_on_with_what_is_to_come() {
    for (when, next) in [(EVERY_TEN, 5 * SECOND), (cron("*/10 * * * * *"), 5 * SECOND)] {
        let mut clockwork = clockwork();
        clockwork.schedule(&clockwork.plan(when));
        assert_eq!(clockwork.pause(true), Outcome::Accept(Reply::Done));
        assert!(matches!(clockwork.pause(true), Outcome::Unchanged { .. }));
        clockwork.pass(35 * SECOND);
        clockwork.bench.restart();
        assert_eq!(clockwork.sent(), 0);
        assert_eq!(clockwork.pause(false), Outcome::Accept(Reply::Done));
        assert_eq!((clockwork.next_in(), clockwork.left_out()), (Some(next), 0), "nothing was missed");
        clockwork.pass(next);
        assert_eq!(clockwork.sent(), 1);
    }
}

#[test]
fn a_schedule_that_is_made_again_alike_stays_what_it_is() {
    let mut clockwork = clockwork();
    let plan = clockwork.plan(EVERY_TEN);
    clockwork.schedule(&plan);
    clockwork.pass(4 * SECOND);
    let again = clockwork.submit("nightly report", &plan, &order("make the report"));
    assert!(matches!(again, Outcome::Unchanged { reply: Reply::Done, .. }));
    assert_eq!(clockwork.next_in(), Some(6 * SECOND));
}

#[test]
fn a_new_message_moves_no_run_and_new_times_begin_anew() {
    let mut clockwork = clockwork();
    clockwork.schedule(&clockwork.plan(EVERY_TEN));
    clockwork.pass(14 * SECOND);
    clockwork.pause(true);
    let plan = clockwork.plan(EVERY_TEN);
    clockwork.submit("nightly report", &plan, &order("make the long report"));
    assert_eq!((clockwork.next_in(), clockwork.sent()), (Some(6 * SECOND), 1));
    let plan = clockwork.plan(When::Every { micros: 7 * SECOND });
    clockwork.submit("nightly report", &plan, &order("make the long report"));
    assert_eq!((clockwork.next_in(), clockwork.sent()), (Some(7 * SECOND), 1));
    assert!(clockwork.found().is_paused, "whoever paused it resumes it");
}

#[test]
fn a_schedule_of_one_time_ends_with_its_run_and_stays_known() {
    let mut clockwork = clockwork();
    let at = Timestamp(clockwork.bench.wall().0 + TEN);
    let plan = clockwork.plan(When::At(at));
    clockwork.schedule(&plan);
    clockwork.pass(TEN);
    assert_eq!((clockwork.sent(), clockwork.next_in()), (1, None));
    let again = clockwork.submit("nightly report", &plan, &order("make the report"));
    assert!(matches!(again, Outcome::Unchanged { .. }), "a program that starts again does not send again");
    clockwork.rest(TEN);
    assert_eq!(clockwork.sent(), 1);
    let plan = clockwork.plan(When::At(Timestamp(clockwork.bench.wall().0 + TEN)));
    clockwork.schedule(&plan);
    clockwork.pass(TEN);
    assert_eq!(clockwork.sent(), 2, "another time is another run");
}

#[test]
fn a_time_that_has_passed_is_a_missed_run() {
    for (missed, passed, messages) in
        [(MissedRuns::One, 1000, 1), (MissedRuns::All, 1000, 1), (MissedRuns::Skip, 60, 1), (MissedRuns::Skip, 61, 0)]
    {
        let mut clockwork = clockwork();
        let at = Timestamp(clockwork.bench.wall().0 - passed * SECOND);
        let plan = Plan { missed, ..clockwork.plan(When::At(at)) };
        clockwork.schedule(&plan);
        clockwork.pass(0);
        assert_eq!((clockwork.sent(), clockwork.left_out()), (messages, 1 - messages), "{missed:?} {passed}");
        assert_eq!(clockwork.found().next, None);
    }
}

#[test]
fn a_run_whose_message_is_refused_is_left_out_and_told_and_the_next_is_tried() {
    let mut clockwork = Clockwork { bench: Bench::new(Options { max_messages: Some(1), ..at_once() }) };
    clockwork.schedule(&clockwork.plan(EVERY_TEN));
    clockwork.pass(TEN);
    clockwork.pass(TEN);
    assert_eq!((clockwork.sent(), clockwork.left_out()), (1, 1));
    let last = clockwork.found().history.last_left_out.clone().expect("it was refused");
    assert_eq!(
        (last.reason, &*last.text),
        (LeftOutReason::Refused, "queue `parcels` holds as many messages as it may: 1")
    );
    clockwork.bench.purge(&[]);
    clockwork.pass(TEN);
    assert_eq!(clockwork.sent(), 2);
}

#[test]
fn a_run_goes_to_all_queues_that_its_exchange_leads_to_or_to_none() {
    let mut clockwork = clockwork();
    let small = clockwork.bench.open("small", Options { max_messages: Some(1), ..Options::default() });
    let both = [clockwork.bench.queue, small];
    let exchange = clockwork.fanout(&both);
    let plan = to_exchange(clockwork.plan(EVERY_TEN), exchange);
    clockwork.schedule(&plan);
    let ready = |clockwork: &Clockwork| both.map(|queue| clockwork.bench.world.counts(queue).ready);
    clockwork.pass(TEN);
    assert_eq!((ready(&clockwork), clockwork.sent()), ([1, 1], 1));
    clockwork.pass(TEN);
    assert_eq!((ready(&clockwork), clockwork.sent(), clockwork.left_out()), ([1, 1], 1, 1));
    for queue in both {
        let (destination, condition) = (Destination::Queue(queue), Condition::Always);
        clockwork.bench.world.accept(&Command::Unbind { binding: &Binding { exchange, destination, condition } });
    }
    clockwork.pass(TEN);
    let last = clockwork.found().history.last_left_out.clone().expect("it was refused");
    assert_eq!(&*last.text, "no binding leads the message to a queue");
}

#[test]
fn overlap_is_asked_of_every_queue_that_got_the_message_and_these_have_a_bound() {
    let mut clockwork = clockwork();
    let other = clockwork.bench.open("other", at_once());
    let exchange = clockwork.fanout(&[clockwork.bench.queue, other]);
    let plan = Plan { overlap: OverlappingRuns::Skip, ..to_exchange(clockwork.plan(EVERY_TEN), exchange) };
    clockwork.schedule(&plan);
    clockwork.pass(TEN);
    clockwork.bench.purge(&[]);
    clockwork.pass(TEN);
    assert_eq!((clockwork.sent(), clockwork.reason()), (1, Some(LeftOutReason::Overlap)));
    clockwork.bench.world.accept(&Command::Purge { queue: other, left: &[] });
    clockwork.pass(TEN);
    assert_eq!(clockwork.sent(), 2);
    let more: Vec<_> =
        (0..SCHEDULE_PLACES_MAX).map(|n| clockwork.bench.open(&format!("queue {n}"), at_once())).collect();
    clockwork.fanout(&more);
    clockwork.bench.purge(&[]);
    clockwork.bench.world.accept(&Command::Purge { queue: other, left: &[] });
    clockwork.pass(TEN);
    assert_eq!((clockwork.sent(), clockwork.reason()), (2, Some(LeftOutReason::Refused)));
    assert_eq!(clockwork.bench.world.counts(more[0]).ready, 0);
}

#[test]
fn what_a_schedule_sends_to_is_not_deleted() {
    let mut clockwork = clockwork();
    let queue = clockwork.bench.queue;
    clockwork.schedule(&clockwork.plan(EVERY_TEN));
    let is_scheduled = |outcome: &Outcome| {
        let scheduled = Refusal::IsScheduled { schedule: "nightly report".to_owned() };
        matches!(outcome, Outcome::Refuse { refusal, .. } if *refusal == scheduled)
    };
    assert!(is_scheduled(&clockwork.bench.world.submit(&Command::Delete { queue })));
    let exchange = clockwork.fanout(&[queue]);
    let plan = to_exchange(clockwork.plan(EVERY_TEN), exchange);
    clockwork.schedule(&plan);
    assert!(is_scheduled(&clockwork.bench.world.submit(&Command::DeleteExchange { exchange })));
    clockwork.bench.world.accept(&Command::Delete { queue });
    clockwork.bench.world.accept(&Command::RemoveSchedule { name: "nightly report" });
    clockwork.bench.world.accept(&Command::DeleteExchange { exchange });
    clockwork.pass(TEN);
    let remove = clockwork.bench.world.submit(&Command::RemoveSchedule { name: "nightly report" });
    assert!(matches!(remove, Outcome::Refuse { refusal: Refusal::NotFound, .. }));
}

#[test]
fn what_could_never_be_sent_is_refused_when_it_is_scheduled() {
    let mut clockwork = clockwork();
    let plan = clockwork.plan(EVERY_TEN);
    let long = "x".repeat(SCHEDULE_MESSAGE_BYTES_MAX);
    let record = Record::new(long.as_bytes());
    let too_long = clockwork.refused(&plan, &Message { record, ..order("") });
    assert!(matches!(too_long, Refusal::LimitExceeded { limit: "bytes of a schedule's message", .. }));
    for message in [
        Message { due: Some(Due::In(1)), ..order("make the report") },
        Message { deadline: Some(Timestamp(1)), ..order("make the report") },
        Message { max_attempts: Some(0), ..order("make the report") },
    ] {
        assert!(matches!(clockwork.refused(&plan, &message), Refusal::InvalidOption { .. }));
    }
    assert!(matches!(
        clockwork.refused(&plan, &Message { priority: 32, ..order("make the report") }),
        Refusal::LimitExceeded { limit: "priority", .. }
    ));
    let message = order("make the report");
    let faulty = clockwork.plan(cron("0 25 * * *"));
    assert!(matches!(clockwork.refused(&faulty, &message), Refusal::InvalidCron { offset: 2, .. }));
    let never = clockwork.plan(cron("0 0 30 FEB *"));
    assert!(matches!(clockwork.refused(&never, &message), Refusal::InvalidCron { offset: 0, .. }));
    let zone = clockwork.plan(When::Cron { pattern: "@daily".into(), zone: "Europe/Atlantis".into() });
    assert!(matches!(clockwork.refused(&zone, &message), Refusal::InvalidOption { option: "time zone", .. }));
    let often = clockwork.plan(When::Every { micros: SECOND - 1 });
    assert!(matches!(clockwork.refused(&often, &message), Refusal::InvalidOption { option: "every", .. }));
    let nowhere = Plan { target: Target::Queue(QueueNumber(99)), ..plan.clone() };
    assert_eq!(clockwork.refused(&nowhere, &message), Refusal::NoDestination);
    let by_default = to_exchange(plan.clone(), ExchangeNumber(0));
    assert!(matches!(clockwork.refused(&by_default, &message), Refusal::InvalidOption { option: "target", .. }));
    let outcome = clockwork.submit("$daily", &plan, &message);
    assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::InvalidName(NameFault::Reserved), .. }));
    assert!(clockwork.bench.world.state.schedules.find("nightly report").is_none());
}

#[test]
fn the_largest_schedule_fits_into_its_row() {
    let mut clockwork = clockwork();
    let exchange = clockwork.fanout(&[]);
    let more: Vec<_> = (0..SCHEDULE_PLACES_MAX).map(|n| clockwork.bench.open(&format!("q{n}"), at_once())).collect();
    clockwork.fanout(&more);
    let pattern = format!("{}7 * * * *", "7,".repeat(122));
    let when = When::Cron { pattern: pattern.into(), zone: "America/Argentina/ComodRivadavia".into() };
    let target = Target::Exchange { exchange, routing_key: "k".repeat(255).into() };
    let plan = Plan { when, target, missed: MissedRuns::All, overlap: OverlappingRuns::Skip };
    let body = "x".repeat(SCHEDULE_MESSAGE_BYTES_MAX - 8);
    let message = Message { record: Record::new(body.as_bytes()), ..order("") };
    let name = "n".repeat(255);
    assert_eq!(clockwork.submit(&name, &plan, &message), Outcome::Accept(Reply::Done));
    clockwork.pass(3700 * SECOND);
    let found = clockwork.bench.world.state.schedules.find(&name).expect("a schedule");
    assert_eq!(found.history.sent, 1, "{found:?}");
    let row = clockwork.bench.world.state.row(schedule_row(found.number)).expect("its row");
    assert!((2900..=ROW_BYTES_MAX).contains(&row.len()), "{}", row.len());
    clockwork.bench.restart();
}

#[test]
fn there_are_at_most_so_many_schedules_and_a_removed_one_makes_room() {
    let mut clockwork = clockwork();
    let plan = clockwork.plan(EVERY_TEN);
    for number in 0..SCHEDULES_MAX {
        clockwork.submit(&format!("report {number}"), &plan, &order("make the report"));
    }
    let refused = clockwork.refused(&plan, &order("make the report"));
    assert!(matches!(refused, Refusal::LimitExceeded { limit: "schedules", .. }));
    clockwork.bench.world.accept(&Command::RemoveSchedule { name: "report 77" });
    clockwork.schedule(&plan);
    clockwork.bench.restart();
}

#[test]
fn a_schedule_can_be_made_and_paused_in_one_frame() {
    let clockwork = clockwork();
    let (plan, message) = (clockwork.plan(EVERY_TEN), order("make the report"));
    let world = &clockwork.bench.world;
    let known = Known::default();
    let (clock, watched, logs) = (&world.clock, &world.watched, &world.logs);
    let context = Context { now: world.now, known: &known, clock, watched, logs, durable: world.durable };
    let (mut overlay, mut events) = (Overlay::default(), Vec::new());
    let schedule = Command::Schedule { name: "nightly report", plan: &plan, message: &message };
    decide(&world.state, &overlay, &schedule, &context, |event| events.push(event));
    events.iter().for_each(|event| overlay.foresee(&world.state, event));
    let pause = Command::PauseSchedule { name: "nightly report", is_paused: true };
    let outcome = decide(&world.state, &overlay, &pause, &context, |_| {});
    assert_eq!(outcome, Outcome::Accept(Reply::Done));
    assert!(world.state.schedules.find("nightly report").is_none());
}
