//! What becomes of messages that come back: from who failed, from who let go, from who died, or by their deadline.

use super::chunk::{Tracked, bit};
use super::command::{Holder, Outcome, Place, Reason, cut};
use super::consumers::ConsumerEvent;
use super::decide::Emit;
use super::event::{Event, Run, push_run};
use super::note::{Fate, Note};
use super::options::{End, mixed};
use super::queue::Queue;
use super::reply::Reply;
use super::state::{FIRST_LOG, State};
use crate::base::time::{BootTime, Now};
use crate::engine::machine::Context;
use crate::journal::entry::Entry;

/// What is said of a message whose process died.
const PROCESS_DIED: &str = "the process that had it died";

/// What is said of a message that was not settled in time.
pub(super) const NOT_SETTLED: &str = "it was not settled within its visibility timeout";

/// How a message comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Return<'a> {
    Failed {
        error: &'a str,
        delay_micros: Option<u64>,
        stays_suspect: bool,
    },
    /// With `is_kept` whatever the queue does with its dead.
    Rejected {
        error: &'a str,
        is_kept: bool,
    },
    Released {
        delay_micros: u64,
    },
    Suspect,
}

/// Messages of one queue that come back in one frame, and what becomes of them.
pub(super) struct Returning<'q> {
    queue: &'q Queue,
    now: Now,
    /// Where the next note goes.
    next_note: u64,
    suspects: Vec<Run>,
    expired: Vec<Run>,
    over_deadline: Vec<Run>,
    /// With the pause that they make, in the order in which they were first named.
    released: Vec<(u64, Vec<Run>)>,
}

impl<'q> Returning<'q> {
    pub(super) fn of(queue: &'q Queue, now: Now) -> Returning<'q> {
        let (next_note, none) = (queue.notes.end, Vec::new);
        Returning {
            queue,
            now,
            next_note,
            suspects: none(),
            expired: none(),
            over_deadline: none(),
            released: Vec::new(),
        }
    }

    /// A message in flight comes back. Failures and deaths by them are facts of their own, each with its text.
    pub(super) fn add<'c>(&mut self, place: Place, how: Return<'c>, emit: Emit<'_, 'c>) {
        let tracked = tracked_of(self.queue, place);
        match how {
            Return::Rejected { error, is_kept } => {
                let end = if is_kept { End::Kept } else { self.queue.options.dead_letters.end() };
                let fate = Fate::Died { reason: Reason::Rejected, end };
                self.note(place, &tracked, fate, error, emit);
            }
            Return::Failed { error, .. } if tracked.failed + 1 >= self.max_attempts(&tracked) => {
                let end = self.queue.options.dead_letters.end();
                let fate = Fate::Died { reason: Reason::AttemptsExhausted, end };
                self.note(place, &tracked, fate, error, emit);
            }
            _ if self.is_expired(place) => match reason_of_expiry(self.queue, place) {
                Reason::Deadline => push_run(&mut self.over_deadline, place),
                _ => push_run(&mut self.expired, place),
            },
            Return::Failed { error, delay_micros, stays_suspect } => {
                let pause_micros = delay_micros.unwrap_or_else(|| self.pause(place, &tracked));
                let until = self.moment(pause_micros);
                self.note(place, &tracked, Fate::Failed { until, pause_micros, stays_suspect }, error, emit);
            }
            Return::Released { delay_micros } => {
                match self.released.iter_mut().find(|(other, _)| *other == delay_micros) {
                    Some((_, runs)) => push_run(runs, place),
                    None => self.released.push((delay_micros, vec![run_of(place)])),
                }
            }
            Return::Suspect => push_run(&mut self.suspects, place),
        }
    }

    /// Tells what was gathered.
    pub(super) fn finish(self, emit: Emit<'_, '_>) {
        let (queue, end) = (self.queue.number, self.queue.options.dead_letters.end());
        for (reason, runs) in [(Reason::Expired, self.expired), (Reason::Deadline, self.over_deadline)] {
            if !runs.is_empty() {
                emit(Event::Expired { queue, reason, at: self.now.wall, end, runs });
            }
        }
        if !self.suspects.is_empty() {
            let (until, runs) = (BootTime(0), self.suspects);
            emit(Event::Returned { queue, as_suspects: true, until, pause_micros: 0, runs });
        }
        for (pause_micros, runs) in self.released {
            let until = if pause_micros == 0 { BootTime(0) } else { self.now.boot.plus(pause_micros.max(1)) };
            emit(Event::Returned { queue, as_suspects: false, until, pause_micros, runs });
        }
    }

    fn max_attempts(&self, tracked: &Tracked) -> u32 {
        if tracked.max_attempts > 0 { tracked.max_attempts } else { self.queue.options.max_attempts }
    }

    fn is_expired(&self, place: Place) -> bool {
        let chunk = self.queue.lane(place.lane).and_then(|lane| lane.chunk(place.offset));
        chunk.and_then(|chunk| chunk.expiry(bit(place.offset))).is_some_and(|expiry| expiry <= self.now.wall)
    }

    fn pause(&self, place: Place, tracked: &Tracked) -> u64 {
        let seed = mixed(place.offset) ^ mixed(u64::from(place.lane.0)) ^ mixed(self.now.boot.0);
        let chance = mixed(seed ^ u64::from(tracked.acquired));
        self.queue.options.backoff.pause_micros(tracked.failed + 1, tracked.pause_micros, chance)
    }

    fn moment(&self, pause_micros: u64) -> BootTime {
        if pause_micros == 0 { BootTime(0) } else { self.now.boot.plus(pause_micros) }
    }

    fn note<'c>(&mut self, place: Place, tracked: &Tracked, fate: Fate, text: &'c str, emit: Emit<'_, 'c>) {
        let (log, first) = (self.queue.notes.log, self.next_note);
        let entry = Entry { log, first, count: 1, timestamp: self.now.wall, expiry: 0 };
        let (queue, previous) = (self.queue.number, tracked.last_note);
        emit(Event::Noted(Note { entry, queue, place, fate, previous, text: cut(text) }));
        self.next_note += 1;
    }
}

fn run_of(place: Place) -> Run {
    Run { lane: place.lane, first: place.offset, count: 1 }
}

pub(super) fn tracked_of(queue: &Queue, place: Place) -> Tracked {
    let chunk = queue.lane(place.lane).and_then(|lane| lane.chunk(place.offset));
    chunk.and_then(|chunk| chunk.tracked(bit(place.offset))).copied().unwrap_or_default()
}

/// Why a message dies that expires: whichever of its times came first. One that is delayed has only a deadline.
pub(super) fn reason_of_expiry(queue: &Queue, place: Place) -> Reason {
    let (bit, deadline) = (bit(place.offset), tracked_of(queue, place).deadline);
    let chunk = queue.lane(place.lane).and_then(|lane| lane.chunk(place.offset));
    let is_first =
        chunk.is_some_and(|chunk| chunk.due(bit).is_some() || chunk.time(bit).is_some_and(|time| time.0 >= deadline));
    if deadline > 0 && is_first { Reason::Deadline } else { Reason::Expired }
}

/// Every message that a process has in flight.
fn held_by(queue: &Queue, holder: Holder) -> impl Iterator<Item = (Place, Tracked)> {
    queue.lanes.iter().flat_map(move |lane| {
        lane.all_flying().filter_map(move |(offset, chunk, bit)| {
            let tracked = chunk.tracked(bit).filter(|tracked| tracked.holder == holder.0)?;
            Some((Place { lane: lane.number, offset }, *tracked))
        })
    })
}

/// A process leaves in order: what it has comes back as if it had never been handed out.
pub(super) fn release_all(state: &State, holder: Holder, now: Now, emit: Emit<'_, '_>) -> Outcome {
    take_back(state, holder, now, |_| Return::Released { delay_micros: 0 }, emit)
}

/// A process has died. A message that was alone in its hands failed, and so did a suspect; others are suspects now.
pub(super) fn end(state: &State, holder: Holder, now: Now, emit: Emit<'_, '_>) -> Outcome {
    let was_alone = state.shared.held.get(&holder).is_some_and(|held| held.messages == 1);
    let how = |tracked: &Tracked| match was_alone || tracked.is_suspect {
        true => Return::Failed { error: PROCESS_DIED, delay_micros: None, stays_suspect: tracked.is_suspect },
        false => Return::Suspect,
    };
    take_back(state, holder, now, how, emit)
}

fn take_back(
    state: &State,
    holder: Holder,
    now: Now,
    how: impl Fn(&Tracked) -> Return<'static>,
    emit: Emit<'_, '_>,
) -> Outcome {
    let has_consumers = state.consumers.of_holder(holder).next().is_some();
    if !state.shared.held.contains_key(&holder) && !has_consumers {
        return Outcome::Unchanged { reply: Reply::Done, rests_on: None };
    }
    for queue in state.queues.values().filter(|queue| queue.flying > 0) {
        let mut returning = Returning::of(queue, now);
        for (place, tracked) in held_by(queue, holder) {
            returning.add(place, how(&tracked), emit);
        }
        returning.finish(emit);
    }
    if has_consumers {
        emit(Event::OfConsumers(ConsumerEvent::Ended { holder }));
    }
    Outcome::Accept(Reply::Done)
}

/// This process was attached under a session and is the host now: what it has in flight stays with it.
pub(super) fn adopt(state: &State, from: Holder, emit: Emit<'_, '_>) -> Outcome {
    if !state.shared.held.contains_key(&from) && state.consumers.of_holder(from).next().is_none() {
        return Outcome::Unchanged { reply: Reply::Done, rests_on: None };
    }
    emit(Event::Adopted { from, to: Holder::HOST });
    Outcome::Accept(Reply::Done)
}

/// A host begins: the process of the one before has died with what it had.
pub(super) fn begin_life(state: &State, context: &Context<'_>, emit: Emit<'_, '_>) -> Outcome {
    // Without queues there are no moments. Nothing is written then: a database that never had a queue stays one that
    // programs without queues understand.
    match clock_began(state, context).filter(|_| !state.queues.is_empty()) {
        Some(began) => {
            emit(began);
            Outcome::Accept(Reply::More)
        }
        None => end(state, Holder::HOST, context.now, emit),
    }
}

/// That moments are of another clock from now on, if they are.
pub(super) fn clock_began(state: &State, context: &Context<'_>) -> Option<Event<'static>> {
    let logs = u32::try_from(state.counters.log - FIRST_LOG).unwrap_or(u32::MAX);
    let began = Event::ClockBegan { identity: *context.clock, at: context.now.boot, logs };
    (*context.clock != state.clock).then_some(began)
}
