//! Which messages of a call are known, and what is told of those.

use super::super::command::Refusal;
use super::super::decide::{Emit, Refused};
use super::super::event::Event;
use super::super::message::Message;
use super::super::overlay::NOT_WRITTEN;
use super::super::queue::{Map, Queue};
use super::super::state::State;
use super::fact::Remembered;
use super::horizon::Horizon;
use super::id::{EntryPoint, IdHash};
use super::memory::Memory;
use super::rows::told_row;
use crate::base::bounds::{DEDUP_IDS_MAX, DEDUP_IDS_PER_FACT_MAX};
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::time::Timestamp;

/// Successive messages of a call that were known, and what came of them when they were new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    /// The place of the first in the call.
    pub(crate) message: u32,
    pub(crate) count: u32,
    /// Of a queue the sequence of the first original, which those of the others follow; of an exchange how many queues
    /// got each.
    pub(crate) value: u64,
    /// The frame of the originals; 0: that of this very call.
    pub(crate) lsn: Lsn,
}

#[derive(Clone, Copy)]
enum Verdict {
    /// It says no id.
    Passes,
    New(IdHash),
    Known {
        value: u64,
        lsn: Lsn,
    },
    /// It says the id of another of the call, which was new.
    Again {
        message: u32,
    },
}

/// An entry point at a time.
#[derive(Clone, Copy)]
pub(in crate::primitives::queues) struct Entry<'a> {
    point: EntryPoint,
    memory: &'a Memory,
    horizon: Horizon,
    now: Timestamp,
}

/// What is known of the messages of a call.
pub(in crate::primitives::queues) struct Judged<'a> {
    /// `None` if nothing of it is asked for.
    entry: Option<Entry<'a>>,
    /// Of each message; none if all of them pass.
    verdicts: Vec<Verdict>,
    stored: usize,
    new: usize,
}

impl<'a> Judged<'a> {
    pub(in crate::primitives::queues) fn by_queue(queue: &'a Queue, messages: &[Message<'_>], now: Timestamp) -> Self {
        let (point, horizon) = (EntryPoint::Queue(queue.number), queue.options.dedup);
        let entry = queue.ids.as_deref().map(|memory| Entry { point, memory, horizon, now });
        Judged::of(entry, messages, |_| false)
    }

    pub(in crate::primitives::queues) fn by_exchange(
        state: &'a State,
        point: EntryPoint,
        horizon: Horizon,
        messages: &[Message<'_>],
        now: Timestamp,
        goes_nowhere: impl Fn(usize) -> bool,
    ) -> Self {
        Judged::of(state.memory(point).map(|memory| Entry { point, memory, horizon, now }), messages, goes_nowhere)
    }

    /// All of them pass.
    pub(in crate::primitives::queues) fn unasked(messages: &[Message<'_>]) -> Judged<'static> {
        Judged { entry: None, verdicts: Vec::new(), stored: messages.len(), new: 0 }
    }

    /// A message that goes nowhere leaves no trace: those behind it in the call are judged without it.
    fn of(entry: Option<Entry<'a>>, messages: &[Message<'_>], goes_nowhere: impl Fn(usize) -> bool) -> Judged<'a> {
        let Some(entry) = entry.filter(|_| messages.iter().any(|message| message.id.is_some())) else {
            return Judged::unasked(messages);
        };
        let mut judged = Judged { entry: Some(entry), verdicts: Vec::with_capacity(messages.len()), stored: 0, new: 0 };
        // By id: the message that was new, and how many were before it.
        let mut fresh: Map<IdHash, (u32, usize)> = Map::default();
        for (number, message) in (0..).zip(messages) {
            let verdict = match message.id {
                None => Verdict::Passes,
                Some(id) => {
                    let is_lost = goes_nowhere(number as usize);
                    judged.verdict(&entry, IdHash::of(entry.point, id), number, is_lost, &mut fresh)
                }
            };
            judged.stored += usize::from(matches!(verdict, Verdict::Passes | Verdict::New(_)));
            judged.verdicts.push(verdict);
        }
        judged
    }

    /// Each is judged as if those before it had been sent alone.
    fn verdict(
        &mut self,
        entry: &Entry<'_>,
        hash: IdHash,
        number: u32,
        is_lost: bool,
        fresh: &mut Map<IdHash, (u32, usize)>,
    ) -> Verdict {
        if let Some((message, before)) = fresh.get(&hash) {
            let is_past = matches!(entry.horizon, Horizon::Last { count } if (self.new - before) as u64 > count);
            if !is_past {
                return Verdict::Again { message: *message };
            }
        }
        let known = entry.memory.find(&hash, entry.horizon, entry.now, self.new as u64);
        if let Some(known) = known {
            return Verdict::Known { value: known.value, lsn: known.lsn };
        }
        if is_lost {
            return Verdict::Passes;
        }
        fresh.insert(hash, (number, self.new));
        self.new += 1;
        Verdict::New(hash)
    }

    /// Whether a message is stored.
    pub(in crate::primitives::queues) fn stores(&self, number: usize) -> bool {
        !matches!(self.verdicts.get(number), Some(Verdict::Known { .. } | Verdict::Again { .. }))
    }

    pub(in crate::primitives::queues) fn stored(&self) -> usize {
        self.stored
    }

    /// How many ids are new, and how many others are forgotten for them.
    pub(in crate::primitives::queues) fn new_ids(&self) -> usize {
        self.new
    }

    pub(in crate::primitives::queues) fn past(&self) -> u64 {
        self.entry.map_or(0, |entry| entry.past(self.new))
    }

    /// Whether none was known.
    pub(in crate::primitives::queues) fn stores_all(&self) -> bool {
        self.verdicts.len() <= self.stored
    }

    /// What an answer rests on that tells of known ones.
    pub(in crate::primitives::queues) fn rests_on(&self) -> Option<RowKey> {
        self.entry.map(|entry| told_row(entry.point))
    }

    /// Refuses more ids than are remembered.
    pub(in crate::primitives::queues) fn check_room(&self, state: &State) -> Result<(), Refused> {
        check_room(state, self.new, self.past())
    }

    /// Tells that the new ids are known now, each with what is told of its message; those of which nothing is are not.
    pub(in crate::primitives::queues) fn emit(&self, value: impl Fn(usize) -> Option<u64>, emit: Emit<'_, '_>) {
        let Some(entry) = self.entry else { return };
        let id = |(number, verdict): (usize, &Verdict)| match verdict {
            Verdict::New(hash) => Some((*hash, value(number)?)),
            _ => None,
        };
        emit_remembered(&entry, self.verdicts.iter().enumerate().filter_map(id).collect(), emit);
    }
}

/// What is told of those that were known; `value` is that of a message which is new. Where they are `successive`, the
/// values of one stretch follow each other, else they are the same.
pub(in crate::primitives::queues) fn told_of(
    judged: &Judged<'_>,
    value: impl Fn(usize) -> u64,
    successive: bool,
) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    for (message, verdict) in (0..).zip(&judged.verdicts) {
        let (value, lsn) = match *verdict {
            Verdict::Passes | Verdict::New(_) => continue,
            Verdict::Known { value, lsn: NOT_WRITTEN } => (value, Lsn(0)),
            Verdict::Known { value, lsn } => (value, lsn),
            Verdict::Again { message } => (value(message as usize), Lsn(0)),
        };
        let follows = |last: &&mut Told| {
            let next = if successive { last.value.saturating_add(u64::from(last.count)) } else { last.value };
            last.message + last.count == message && (next, last.lsn) == (value, lsn)
        };
        match all.last_mut().filter(follows) {
            Some(last) => last.count += 1,
            None => all.push(Told { message, count: 1, value, lsn }),
        }
    }
    all
}

impl Entry<'_> {
    /// How many are forgotten when so many come.
    fn past(&self, new: usize) -> u64 {
        self.memory.past(self.horizon, self.now, new as u64, DEDUP_IDS_PER_FACT_MAX.max(2 * new))
    }
}

/// Refuses more ids than are remembered, of which so many come while others go.
pub(in crate::primitives::queues) fn check_room(state: &State, new: usize, past: u64) -> Result<(), Refused> {
    let (max, actual) = (DEDUP_IDS_MAX as u64, ((state.shared.ids + new) as u64).saturating_sub(past));
    if new == 0 || actual <= max {
        return Ok(());
    }
    Err(Refusal::LimitExceeded { limit: "ids that all queues and exchanges remember", max, actual }.into())
}

fn emit_remembered(entry: &Entry<'_>, ids: Vec<(IdHash, u64)>, emit: Emit<'_, '_>) {
    let (first, end) = entry.memory.ends();
    let (keep, mut from, mut left) = (first + entry.past(ids.len()), end, ids.len());
    for ids in ids.chunks(DEDUP_IDS_PER_FACT_MAX) {
        left -= ids.len();
        let keep = if left == 0 { keep } else { first };
        emit(Event::Remembered(Remembered { entry: entry.point, at: entry.now, from, keep, ids: ids.to_vec() }));
        if matches!(entry.memory, Memory::Window(_)) {
            from += ids.len() as u64;
        }
    }
}

/// Ids that messages take which enter a queue without being judged there: where one message of an id is to live at a
/// time, those that nobody has.
pub(in crate::primitives::queues) struct Claims<'a> {
    queue: &'a Queue,
    now: Timestamp,
    ids: Vec<(IdHash, u64)>,
    taken: Map<IdHash, ()>,
}

impl<'a> Claims<'a> {
    /// `None` if the queue does not remember the living.
    pub(in crate::primitives::queues) fn of(queue: &'a Queue, now: Timestamp) -> Option<Claims<'a>> {
        queue.living().map(|_| Claims { queue, now, ids: Vec::new(), taken: Map::default() })
    }

    pub(in crate::primitives::queues) fn add(&mut self, message: &Message<'_>, sequence: u64) {
        let (Some(id), Some(living)) = (message.id, self.queue.living()) else { return };
        let hash = IdHash::of(EntryPoint::Queue(self.queue.number), id);
        if living.find(&hash).is_none() && self.taken.insert(hash, ()).is_none() {
            self.ids.push((hash, sequence));
        }
    }

    pub(in crate::primitives::queues) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(in crate::primitives::queues) fn emit(self, emit: Emit<'_, '_>) {
        let Some(memory) = self.queue.ids.as_deref() else { return };
        let point = EntryPoint::Queue(self.queue.number);
        emit_remembered(&Entry { point, memory, horizon: self.queue.options.dedup, now: self.now }, self.ids, emit);
    }
}

impl Queue {
    /// The sequence under which a message with this id was accepted, if that is remembered and counts. The inner
    /// `None`: it is not; the outer: this queue remembers none.
    pub(crate) fn sequence_of_id(&self, id: &str, now: Timestamp) -> Option<Option<u64>> {
        let memory = self.ids.as_deref()?;
        let hash = IdHash::of(EntryPoint::Queue(self.number), id);
        Some(memory.find(&hash, self.options.dedup, now, 0).map(|known| known.value))
    }
}
