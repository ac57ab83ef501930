//! What the twin says of ids: everything that was ever accepted is kept, and asked whether it still counts.

use super::super::super::dedup::Horizon;
use super::{Stands, TwinMessage, TwinQueue, Wish};

/// An id that was accepted, when, and what was told of its message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct TwinId {
    pub(in super::super) id: String,
    at: u64,
    pub(in super::super) frame: u64,
    pub(in super::super) value: u64,
}

/// What is known of a message that is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum TwinVerdict {
    New,
    Known(TwinId),
    /// As the one before it in this place.
    Again(usize),
}

/// All that an entry point ever accepted, in order.
#[derive(Clone, Default, Debug)]
pub(in super::super) struct TwinIds(Vec<TwinId>);

impl TwinIds {
    pub(in super::super) fn add(&mut self, id: &str, at: u64, frame: u64, value: u64) {
        self.0.push(TwinId { id: id.to_owned(), at, frame, value });
    }

    /// The ids that count at this time.
    fn counting(&self, horizon: Horizon, now: u64) -> &[TwinId] {
        let from = match horizon {
            Horizon::For { micros } => self.0.iter().position(|known| known.at + micros > now).unwrap_or(self.0.len()),
            Horizon::Last { count } => self.0.len().saturating_sub(count as usize),
            Horizon::None | Horizon::UntilSettled => self.0.len(),
        };
        &self.0[from..]
    }

    /// Forgets what does not count.
    pub(in super::super) fn forget(&mut self, horizon: Horizon, now: u64) {
        self.0 = self.counting(horizon, now).to_vec();
    }

    /// Judges messages one after the other.
    pub(in super::super) fn judge(&self, wishes: &[Wish], horizon: Horizon, now: u64) -> Vec<TwinVerdict> {
        const HERE: u64 = u64::MAX;
        let mut after = self.clone();
        let mut verdicts = Vec::new();
        for (number, wish) in wishes.iter().enumerate() {
            let known = after.counting(horizon, now).iter().rev().find(|known| wish.id == Some(&known.id));
            verdicts.push(match known {
                Some(known) if known.frame == HERE => TwinVerdict::Again(known.value as usize),
                Some(known) => TwinVerdict::Known(known.clone()),
                None => TwinVerdict::New,
            });
            if let (Some(id), Some(TwinVerdict::New)) = (wish.id, verdicts.last()) {
                after.add(id, now, HERE, number as u64);
            }
        }
        verdicts
    }
}

impl TwinQueue {
    /// The living message that has this id.
    fn living(&self, id: &str) -> Option<&TwinMessage> {
        let lives = |message: &&TwinMessage| !matches!(message.stands, Stands::Dead { .. } | Stands::Gone);
        self.messages.iter().filter(lives).find(|message| message.has_id && message.id == Some(id))
    }

    pub(in super::super) fn judge(&self, wishes: &[Wish], now: u64) -> Vec<TwinVerdict> {
        if self.options.dedup != Horizon::UntilSettled {
            return self.ids.judge(wishes, self.options.dedup, now);
        }
        let verdict = |(number, wish): (usize, &Wish)| {
            let Some(id) = wish.id else { return TwinVerdict::New };
            if let Some(TwinMessage { frame, sequence, .. }) = self.living(id) {
                let (frame, value) = (*frame, *sequence);
                return TwinVerdict::Known(TwinId { id: id.to_owned(), at: 0, frame, value });
            }
            match wishes[..number].iter().position(|other| other.id == Some(id)) {
                Some(before) => TwinVerdict::Again(before),
                None => TwinVerdict::New,
            }
        };
        wishes.iter().enumerate().map(verdict).collect()
    }

    /// Ids that living messages have.
    pub(in super::super) fn living_ids(&self) -> Vec<&'static str> {
        let ids = self.messages.iter().filter_map(|message| message.id);
        ids.filter(|id| self.living(id).is_some()).collect()
    }

    /// A message that has just been added takes its id, if nobody has it, nor had it before this call.
    pub(in super::super) fn claim(&mut self, priority: u8, offset: u64, frame: u64, before: &[&str]) {
        let id = self.message_mut(priority, offset).and_then(|message| message.id);
        let is_free = id.is_some_and(|id| self.living(id).is_none() && !before.contains(&id));
        let message = self.message_mut(priority, offset).expect("just added");
        (message.has_id, message.frame) = (is_free, frame);
    }

    /// Other options: what does not count by the old or by the new ones is forgotten.
    pub(in super::super) fn alter(&mut self, options: super::Options, now: u64) {
        [self.options.dedup, options.dedup].into_iter().for_each(|dedup| self.ids.forget(dedup, now));
        self.options = options;
    }
}
