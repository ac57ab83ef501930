//! What became of a message that died, as it travels with the message when it leaves a dead set.
//!
//! ```text
//! history  published · ttl + 1, or 0 · first death · count · deaths, the newest first · count · errors, the newest
//!          first · count · queues that it left without an attempt since
//! death    slice(queue) · reason u8 · count · first time · last time · attempts · u8 (1 published) · if so
//!          slice(exchange) · slice(routing key)
//! error    when · slice(text)
//! ```
//!
//! Integers are varints unless a width is named. There is one entry for each queue and reason; the first death is kept
//! apart and never changes.

use super::command::{QueueNumber, Reason, cut};
use super::event::{take_bool, take_queue};
use super::routing::ROUTING_KEY_BYTES_MAX;
use crate::base::bounds::{
    ERROR_BYTES_MAX, ERRORS_TOLD_MAX, HISTORY_BYTES_MAX, HISTORY_DEATHS_MAX, HISTORY_QUEUES_MAX, NAME_BYTES_MAX,
};
use crate::base::codec::{Malformed, Take};
use crate::base::time::Timestamp;

/// What became of a message before it came to be where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct History {
    /// When it was first sent.
    pub(crate) published: Timestamp,
    /// Its own, which it has no longer where it is.
    pub(crate) ttl_micros: Option<u64>,
    pub(crate) first_death: Deaths,
    /// The newest first.
    pub(crate) deaths: Vec<Deaths>,
    /// The newest first.
    pub(crate) errors: Vec<(Timestamp, String)>,
    /// Queues that it was moved out of since somebody last tried it or sent it again.
    left: Vec<QueueNumber>,
}

/// How often a message died in a queue for a reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Deaths {
    pub(crate) queue: String,
    pub(crate) reason: Reason,
    pub(crate) count: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// Failed attempts, of all these deaths.
    pub(crate) attempts: u64,
    /// Exchange and routing key that had brought it there, if it was not sent to the queue itself.
    pub(crate) origin: Option<(String, String)>,
}

/// A death that a history does not tell of yet.
#[derive(Clone, Debug)]
pub(crate) struct NewDeath {
    pub(crate) queue: String,
    pub(crate) number: QueueNumber,
    pub(crate) reason: Reason,
    pub(crate) at: Timestamp,
    pub(crate) attempts: u32,
    /// What the message says of itself.
    pub(crate) sent: Timestamp,
    pub(crate) ttl_micros: Option<u64>,
    pub(crate) origin: Option<(String, String)>,
    /// What was said of its failed attempts in this queue, the newest first.
    pub(crate) errors: Vec<(Timestamp, String)>,
}

impl Reason {
    /// Whether somebody had the message when it died.
    fn is_of_an_attempt(self) -> bool {
        matches!(self, Reason::Rejected | Reason::AttemptsExhausted)
    }
}

impl History {
    /// The history of a message that has died again, or for the first time.
    pub(crate) fn with(before: Option<History>, death: NewDeath) -> History {
        let NewDeath { queue, number, reason, at, attempts, sent, ttl_micros, origin, mut errors } = death;
        let attempts = u64::from(attempts);
        let mut newest = Deaths { queue, reason, count: 1, first: at, last: at, attempts, origin };
        let Some(mut history) = before else {
            errors.truncate(ERRORS_TOLD_MAX);
            let left = if reason.is_of_an_attempt() { Vec::new() } else { vec![number] };
            let (first_death, deaths) = (newest.clone(), vec![newest]);
            return History { published: sent, ttl_micros, first_death, deaths, errors, left };
        };
        let is_same = |known: &Deaths| known.queue == newest.queue && known.reason == reason;
        if let Some(known) = history.deaths.iter().position(is_same).map(|at| history.deaths.remove(at)) {
            newest.count = newest.count.saturating_add(known.count);
            newest.attempts = newest.attempts.saturating_add(known.attempts);
            newest.first = known.first;
        }
        history.deaths.insert(0, newest);
        history.deaths.truncate(HISTORY_DEATHS_MAX);
        errors.append(&mut history.errors);
        errors.truncate(ERRORS_TOLD_MAX);
        history.errors = errors;
        history.ttl_micros = ttl_micros.or(history.ttl_micros);
        if reason.is_of_an_attempt() {
            history.left.clear();
        } else if history.left.len() <= HISTORY_QUEUES_MAX {
            history.left.push(number);
        }
        history
    }

    /// The same once somebody has sent the message again.
    pub(crate) fn redriven(mut self) -> History {
        self.left.clear();
        self
    }

    /// Whether a message that comes to this queue now goes round in a circle in which nobody tries it.
    pub(super) fn is_cycle(&self, queue: QueueNumber) -> bool {
        self.left.contains(&queue) || self.left.len() > HISTORY_QUEUES_MAX
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint(&mut out, self.published.0);
        varint(&mut out, self.ttl_micros.map_or(0, |ttl| ttl.saturating_add(1)));
        self.first_death.encode(&mut out);
        varint(&mut out, self.deaths.len() as u64);
        self.deaths.iter().for_each(|deaths| deaths.encode(&mut out));
        varint(&mut out, self.errors.len() as u64);
        for (at, text) in &self.errors {
            varint(&mut out, at.0);
            slice(&mut out, cut(text));
        }
        varint(&mut out, self.left.len() as u64);
        self.left.iter().for_each(|queue| varint(&mut out, u64::from(queue.0)));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<History, Malformed> {
        let take = &mut Take::new(bytes);
        let (published, ttl) = (Timestamp(take.varint()?), take.varint()?);
        let first_death = Deaths::decode(take)?;
        let deaths = take_some(take, HISTORY_DEATHS_MAX, Deaths::decode)?;
        let errors = take_some(take, ERRORS_TOLD_MAX, |take| {
            let (at, text) = (Timestamp(take.varint()?), take.text()?);
            Ok((at, cut(text).to_owned()))
        })?;
        let left = take_some(take, HISTORY_QUEUES_MAX + 1, take_queue)?;
        take.end()?;
        Ok(History { published, ttl_micros: ttl.checked_sub(1), first_death, deaths, errors, left })
    }
}

impl Deaths {
    fn encode(&self, out: &mut Vec<u8>) {
        slice(out, &self.queue);
        out.push(self.reason as u8);
        [self.count, self.first.0, self.last.0, self.attempts].into_iter().for_each(|number| varint(out, number));
        out.push(u8::from(self.origin.is_some()));
        if let Some((exchange, routing_key)) = &self.origin {
            slice(out, exchange);
            slice(out, routing_key);
        }
    }

    fn decode(take: &mut Take<'_>) -> Result<Deaths, Malformed> {
        let queue = take.text()?.to_owned();
        let reason = Reason::decode(take)?;
        let (count, first, last) = (take.varint()?, Timestamp(take.varint()?), Timestamp(take.varint()?));
        let attempts = take.varint()?;
        let origin = match take_bool(take)? {
            true => Some((take.text()?.to_owned(), take.text()?.to_owned())),
            false => None,
        };
        let is_name = |name: &str| name.len() <= NAME_BYTES_MAX;
        let fits = |(exchange, key): &(String, String)| is_name(exchange) && key.len() <= ROUTING_KEY_BYTES_MAX;
        if !is_name(&queue) || !origin.as_ref().is_none_or(fits) {
            return Err(Malformed("a name that is longer than names are"));
        }
        Ok(Deaths { queue, reason, count, first, last, attempts, origin })
    }
}

fn take_some<T>(
    take: &mut Take<'_>,
    max: usize,
    one: impl Fn(&mut Take<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = take.varint()?;
    if count > max as u64 {
        return Err(Malformed("a history that is longer than histories are"));
    }
    (0..count).map(|_| one(take)).collect()
}

fn varint(out: &mut Vec<u8>, number: u64) {
    let mut bytes = [0; 10];
    let len = crate::base::codec::varint_len(number);
    crate::base::codec::Put::new(&mut bytes[..len]).varint(number);
    out.extend_from_slice(&bytes[..len]);
}

fn slice(out: &mut Vec<u8>, text: &str) {
    varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

const DEATH_BYTES_MAX: usize = 2 * (NAME_BYTES_MAX + 2) + ROUTING_KEY_BYTES_MAX + 3 + 2 + 4 * 10;

const _: () = assert!(
    20 + (HISTORY_DEATHS_MAX + 1) * DEATH_BYTES_MAX
        + ERRORS_TOLD_MAX * (ERROR_BYTES_MAX + 12)
        + (HISTORY_QUEUES_MAX + 1) * 5
        + 30
        <= HISTORY_BYTES_MAX
);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn death(queue: u32, reason: Reason, at: u64) -> NewDeath {
        NewDeath {
            queue: format!("orders-{queue}"),
            number: QueueNumber(queue),
            reason,
            at: Timestamp(at),
            attempts: 2,
            sent: Timestamp(5),
            ttl_micros: (at == 10).then_some(700),
            origin: Some(("orders".to_owned(), format!("order.{at}"))),
            errors: vec![(Timestamp(at), format!("card declined at {at}"))],
        }
    }

    #[test]
    fn a_history_has_one_entry_for_each_queue_and_reason_the_newest_first() {
        let mut history = History::with(None, death(1, Reason::Rejected, 10));
        history = History::with(Some(history), death(2, Reason::Expired, 20));
        history = History::with(Some(history), death(1, Reason::Rejected, 30));
        let told: Vec<_> = history.deaths.iter().map(|d| (&*d.queue, d.reason, d.count, d.first.0, d.last.0)).collect();
        assert_eq!(told, [("orders-1", Reason::Rejected, 2, 10, 30), ("orders-2", Reason::Expired, 1, 20, 20)]);
        assert_eq!((history.first_death.last, history.first_death.count), (Timestamp(10), 1), "it never changes");
        assert_eq!(history.published, Timestamp(5));
        assert_eq!(history.ttl_micros, Some(700), "the ttl that it lost is remembered");
        assert_eq!(history.deaths[0].attempts, 4);
        assert_eq!(history.errors.iter().map(|(at, _)| at.0).collect::<Vec<_>>(), [30, 20, 10]);
        assert_eq!(History::decode(&history.encode()), Ok(history));
    }

    #[test]
    fn a_history_is_no_longer_than_its_bounds() {
        let mut history = None;
        for at in 0..200 {
            history = Some(History::with(history, death(at as u32, Reason::Rejected, at)));
        }
        let history = history.expect("it died");
        assert_eq!((history.deaths.len(), history.errors.len()), (HISTORY_DEATHS_MAX, ERRORS_TOLD_MAX));
        assert_eq!(&*history.deaths[0].queue, "orders-199");
        assert_eq!(&*history.first_death.queue, "orders-0");
        assert!(history.encode().len() <= HISTORY_BYTES_MAX);
    }

    #[test]
    fn a_circle_in_which_nobody_tries_a_message_is_a_cycle() {
        let first = History::with(None, death(1, Reason::Expired, 10));
        assert!(first.is_cycle(QueueNumber(1)) && !first.is_cycle(QueueNumber(2)));
        let second = History::with(Some(first.clone()), death(2, Reason::Overflow, 20));
        assert!(second.is_cycle(QueueNumber(1)));
        let tried = History::with(Some(first), death(2, Reason::Rejected, 20));
        assert!(!tried.is_cycle(QueueNumber(1)) && !tried.is_cycle(QueueNumber(2)));
        let again = History::with(Some(tried), death(1, Reason::Expired, 30));
        assert!(again.is_cycle(QueueNumber(1)) && !again.is_cycle(QueueNumber(2)));
        assert!(!second.redriven().is_cycle(QueueNumber(1)), "who sends it again begins anew");
    }

    #[test]
    fn bytes_that_are_no_history_are_refused() {
        let bytes = History::with(None, death(1, Reason::Expired, 10)).encode();
        for end in 0..bytes.len() {
            assert!(History::decode(&bytes[..end]).is_err());
        }
        assert!(History::decode(&[bytes, vec![0]].concat()).is_err());
    }
}
