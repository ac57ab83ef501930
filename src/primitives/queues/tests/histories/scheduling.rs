//! Schedules among all the rest. The twin lists every run that has come, one second after the other where it must.

use super::super::super::schedules::{MissedRuns, OverlappingRuns, Plan, Target, When};
use super::super::model::Stands;
use super::*;

const SCHEDULES: [&str; 3] = ["hourly", "nightly", "launch"];
const FIVE_SECONDS: &str = "*/5 * * * * *";
const LATE: u64 = 60 * SECOND;

#[derive(Clone, Debug)]
pub(super) struct TwinSchedule {
    number: u32,
    plan: Plan,
    wish: Wish,
    next: Option<u64>,
    is_paused: bool,
    sent: u64,
    left_out: u64,
    /// Queue, priority and offset.
    last: Vec<(u32, u8, u64)>,
}

/// The run behind one.
fn following(when: &When, run: u64) -> Option<u64> {
    match when {
        When::Every { micros } => Some(run + micros),
        When::Cron { .. } => (run / SECOND + 1..).find(|second| second % 5 == 0).map(|second| second * SECOND),
        When::At(_) => None,
    }
}

fn first(when: &When, now: u64) -> Option<u64> {
    match when {
        When::At(at) => Some(at.0),
        when => following(when, now),
    }
}

impl TwinSchedule {
    /// Goes past runs: the one that is to send, if any, and how many do not.
    fn pass(&mut self, now: u64) -> (Option<u64>, u64) {
        let mut runs = Vec::from_iter(self.next);
        while let Some(next) = following(&self.plan.when, runs[runs.len() - 1]).filter(|next| *next <= now) {
            runs.push(next);
        }
        let (oldest, newest, count) = (runs[0], runs[runs.len() - 1], runs.len() as u64);
        if self.plan.missed == MissedRuns::All {
            self.next = following(&self.plan.when, oldest);
            return (Some(oldest), 0);
        }
        self.next = following(&self.plan.when, newest);
        match self.plan.missed == MissedRuns::Skip && now - newest > LATE {
            true => (None, count),
            false => (Some(newest), count - 1),
        }
    }
}

impl History {
    /// Makes a schedule, changes it, lets it rest or go on, or removes it.
    pub(super) fn change_schedules(&mut self) {
        let name = self.random.pick(&SCHEDULES);
        match self.random.below(6) {
            0..=3 => self.schedule(name),
            4 => self.pause_schedule(name),
            _ => {
                let outcome = self.world.submit(&Command::RemoveSchedule { name });
                let was_there = self.schedules.remove(name).is_some();
                assert_eq!(matches!(outcome, Outcome::Accept(Reply::Done)), was_there);
            }
        }
    }

    fn plan(&mut self) -> Plan {
        let (now, queue) = (self.twin.wall, self.queue());
        let when = match self.random.below(4) {
            0 => When::Cron { pattern: FIVE_SECONDS.into(), zone: "Asia/Kolkata".into() },
            1 => When::At(Timestamp(now - 2 * SECOND + self.random.below(8 * SECOND))),
            _ => When::Every { micros: (1 + self.random.below(4)) * SECOND },
        };
        let target = match self.random.chance(64) {
            true => Target::Exchange { exchange: self.exchange(), routing_key: "report.nightly".into() },
            false => Target::Queue(queue),
        };
        let missed = self.random.pick(&[MissedRuns::One, MissedRuns::Skip, MissedRuns::All]);
        let overlap = self.random.pick(&[OverlappingRuns::Allow, OverlappingRuns::Skip]);
        Plan { when, target, missed, overlap }
    }

    fn schedule(&mut self, name: &'static str) {
        let before = self.schedules.get(name).cloned();
        let again = before.as_ref().filter(|_| self.random.chance(128)).map(|before| before.plan.clone());
        let is_as_before = again.is_some();
        let plan = match again {
            Some(plan) => plan,
            None => self.plan(),
        };
        let wish = match before.as_ref().filter(|_| is_as_before && self.random.chance(128)) {
            Some(before) => before.wish.clone(),
            None => Wish { due: None, deadline: None, id: None, ..self.wish() },
        };
        let message = Message { record: Record::new(b"make the report"), ..self.message(&wish) };
        let outcome = self.world.submit(&Command::Schedule { name, plan: &plan, message: &message });
        let is_alike =
            |before: &TwinSchedule| before.plan == plan && format!("{:?}", before.wish) == format!("{wish:?}");
        if before.as_ref().is_some_and(is_alike) {
            assert!(matches!(outcome, Outcome::Unchanged { reply: Reply::Done, .. }));
            return;
        }
        assert_eq!(outcome, Outcome::Accept(Reply::Done));
        let number = self.schedules.values().map(|schedule| schedule.number).max().unwrap_or(0) + 1;
        let begun = first(&plan.when, self.twin.wall);
        let schedule = match before {
            Some(before) => {
                let next = if before.plan.when == plan.when { before.next } else { begun };
                TwinSchedule { plan, wish, next, last: Vec::new(), ..before }
            }
            None => {
                let (is_paused, last) = (false, Vec::new());
                TwinSchedule { number, plan, wish, next: begun, is_paused, sent: 0, left_out: 0, last }
            }
        };
        self.schedules.insert(name, schedule);
    }

    fn pause_schedule(&mut self, name: &'static str) {
        let is_paused = self.random.chance(128);
        let outcome = self.world.submit(&Command::PauseSchedule { name, is_paused });
        let now = self.twin.wall;
        let Some(schedule) = self.schedules.get_mut(name) else {
            assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::NotFound, .. }));
            return;
        };
        assert_eq!(matches!(outcome, Outcome::Accept(Reply::Done)), schedule.is_paused != is_paused);
        let goes_on = schedule.is_paused && !is_paused;
        schedule.is_paused = is_paused;
        while goes_on
            && let Some(next) = schedule.next.filter(|next| *next <= now)
            && let Some(following) = following(&schedule.plan.when, next)
        {
            schedule.next = Some(following);
        }
    }

    pub(super) fn is_scheduled(&self, queue: QueueNumber) -> bool {
        self.schedules.values().any(|schedule| schedule.plan.target == Target::Queue(queue))
    }

    /// Runs that have come happen, in the machine and in the twin.
    pub(super) fn run_schedules(&mut self) {
        let awaited = self.queue();
        self.world.set_awaited(awaited, true);
        let (mut frame, mut runs) = (self.world.next_frame.0, 0);
        let steps = self.world.run_schedules();
        let now = self.twin.wall;
        let due = |schedule: &TwinSchedule| {
            schedule.next.filter(|next| *next <= now && !schedule.is_paused).map(|next| (next, schedule.number))
        };
        while let Some((_, name)) =
            self.schedules.iter().filter_map(|(name, schedule)| Some((due(schedule)?, *name))).min()
        {
            frame += 64;
            runs += 1;
            self.run(name, awaited, self.world.is_sync.then_some(frame));
        }
        assert_eq!(steps, runs);
    }

    fn run(&mut self, name: &'static str, awaited: QueueNumber, barrier: Option<u64>) {
        let mut schedule = self.schedules.remove(name).expect("it is due");
        let (run, left_out) = schedule.pass(self.twin.wall);
        schedule.left_out += left_out;
        let is_unsettled = |(queue, priority, offset): &(u32, u8, u64)| {
            let messages = self.twin.queues.get(queue).map_or(&[][..], |twin| &twin.messages);
            let found = messages.iter().find(|message| (message.priority, message.offset) == (*priority, *offset));
            found.is_some_and(|message| !matches!(message.stands, Stands::Dead { .. } | Stands::Gone))
        };
        let overlaps = schedule.plan.overlap == OverlappingRuns::Skip && schedule.last.iter().any(is_unsettled);
        let queues: Vec<u32> = match &schedule.plan.target {
            Target::Queue(queue) => vec![queue.0],
            Target::Exchange { .. } => self.bound.iter().map(|queue| queue.0).collect(),
        };
        let is_tried = run.is_some() && !overlaps && !queues.is_empty();
        let (wall, before) = (self.twin.wall, self.twin.clone());
        let ranked = |queue: &u32| (*queue, self.twin.queues[queue].ranked(std::slice::from_ref(&schedule.wish)));
        let queues: Vec<(u32, Vec<Wish>)> = queues.iter().map(ranked).collect();
        let mut has_room = |queue: &u32| self.twin.queues.get_mut(queue).expect("a queue").make_room(1, wall);
        let is_sent = is_tried && queues.iter().all(|(queue, _)| has_room(queue));
        if run.is_some() && !is_sent {
            self.twin = before;
            schedule.left_out += 1;
        } else if is_sent {
            schedule.sent += 1;
            schedule.last.clear();
            for (number, wishes) in queues {
                let twin = self.twin.queues.get_mut(&number).expect("a queue of the world");
                let awaited = (awaited.0 == number).then_some(AWAITED_MICROS);
                let places = twin.append(&wishes, wall, awaited, barrier);
                schedule.last.extend(places.into_iter().map(|(priority, offset)| (number, priority, offset)));
            }
        }
        self.schedules.insert(name, schedule);
    }

    pub(super) fn assert_schedules_agree(&self) {
        let found = &self.world.state.schedules;
        assert_eq!(found.names_after("", 9), self.schedules.keys().copied().collect::<Vec<_>>());
        for (name, twin) in &self.schedules {
            let found = found.find(name).expect("a schedule");
            let history = &found.history;
            let next = found.next.map(|next| next.0);
            let told = (next, found.is_paused, history.sent, history.left_out);
            assert_eq!(told, (twin.next, twin.is_paused, twin.sent, twin.left_out), "{name}: {twin:?}");
        }
    }

    pub(super) fn remove_schedules(&mut self) {
        for name in std::mem::take(&mut self.schedules).into_keys() {
            self.world.accept(&Command::RemoveSchedule { name });
        }
    }
}
