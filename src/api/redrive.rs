//! Sending dead letters again.

use crate::base::bounds::{FREEZE_CHUNK, HEADERS_PER_BATCH_MAX};
use crate::base::level::Level;
use crate::base::sync::wait_listener;
use crate::primitives::queues::{self, Command as OfQueues, Destination, Origin, Place};
use crate::primitives::streams::Header;

use super::dead_letter::DeadLetter;
use super::error::Error;
use super::queue::Queue;
use super::redrive_options::{Chosen, Edit, EditWith, Redrive, To};
use super::stopper::Stopper;
use super::stored_message::StoredMessage;

impl Queue {
    /// Sends dead letters again, as new messages behind those that are there, to the queue of each one's
    /// [first death](crate::History::first_death): with key, headers, body, group, priority, ttl, attempts allowed and
    /// [history](StoredMessage::history) as they were, without delay and deadline, with no attempt counted. A letter
    /// leaves and arrives in the same instant. Of those that go to one queue all do or none. At most 4,096. Durable on
    /// return. [`Queue::redrive_by`] chooses among the letters of a queue.
    ///
    /// # Errors
    /// [`Error::Stale`] if one of them is not there any more; [`Error::InvalidOption`] if one is of another
    /// queue, or of another handle of the database, or cannot be read; [`Error::Full`] if there is no room;
    /// [`Error::LimitExceeded`] for too many; [`Error::NotFound`] if a queue was deleted, and what any write may meet.
    pub fn redrive(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        self.check_letters(letters)?;
        let letters: Vec<&DeadLetter> = letters.iter().collect();
        self.send_again(&letters, &To::FirstDeath, None)
    }

    /// Chooses among the letters of this queue, and sends them again: those of its dead set and, if dead letters of
    /// others go to this queue, those that wait here.
    ///
    /// ```
    /// # use towpath::{DeathReason, QueueOptions};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// let mails = db.create_queue("mails", QueueOptions::new())?;
    /// # mails.send("to the customer")?;
    /// # mails.receive()?.reject("the mail server is down")?;
    /// let redriven = mails.redrive_by().reason(DeathReason::Rejected).limit(1_000).run()?;
    /// assert_eq!(redriven.redriven, 1);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    pub fn redrive_by(&self) -> Redrive<'_> {
        let to = To::FirstDeath;
        let chosen = Chosen { reason: None, header: None, sent_before: None, sequences: (0, u64::MAX) };
        let (limit, stopper) = (u64::MAX, Stopper::new());
        Redrive { queue: self, chosen, to, limit, pause_micros: 0, edit: None, is_dry_run: false, stopper }
    }

    /// Those that go to one queue in one command.
    fn send_again(&self, letters: &[&DeadLetter], to: &To, edit: Option<&EditWith<'_>>) -> Result<(), Error> {
        let mut rest: Vec<&DeadLetter> = letters.to_vec();
        while let Some(first) = rest.first() {
            let home = first.machine_history().first_death.queue.clone();
            let (now, later): (Vec<_>, Vec<_>) = match to {
                To::FirstDeath => rest.iter().partition(|letter| letter.machine_history().first_death.queue == home),
                To::Queue(_) | To::Exchange(..) => (rest, Vec::new()),
            };
            let (destination, exchange) = match to {
                To::FirstDeath if home == self.name() => (Destination::Queue(self.number), None),
                To::FirstDeath => (Destination::Queue(self.database.queue(&home)?.number), None),
                To::Queue(queue) => (Destination::Queue(queue.number), None),
                To::Exchange(exchange, key) => (Destination::Exchange(exchange.number), Some((exchange.name(), key))),
            };
            self.send_to(&now, destination, exchange, edit)?;
            rest = later;
        }
        Ok(())
    }

    fn send_to(
        &self,
        letters: &[&DeadLetter],
        to: Destination,
        exchange: Option<(&str, &Option<String>)>,
        edit: Option<&EditWith<'_>>,
    ) -> Result<(), Error> {
        let stored: Vec<&StoredMessage> = letters.iter().map(|letter| letter.readable()).collect::<Result<_, _>>()?;
        let edits: Vec<Edit> = letters.iter().map(|letter| edit.map_or_else(Edit::new, |edit| edit(letter))).collect();
        let headers: Vec<Vec<Header<'_>>> =
            stored.iter().zip(&edits).map(|(message, edit)| edit.headers_of(message)).collect();
        let (max, actual) = (HEADERS_PER_BATCH_MAX as u64, headers.iter().map(Vec::len).sum::<usize>() as u64);
        if actual > max {
            return Err(Error::LimitExceeded { limit: "headers per batch", max, actual });
        }
        let histories: Vec<Vec<u8>> =
            letters.iter().map(|letter| letter.machine_history().clone().redriven().encode()).collect();
        let mut messages = Vec::with_capacity(letters.len());
        for (number, (letter, message)) in letters.iter().zip(&stored).enumerate() {
            let history = letter.machine_history();
            let own = history.first_death.origin.as_ref();
            let origin = match exchange {
                None => own.map(|(exchange, routing_key)| Origin { exchange, routing_key }),
                Some((exchange, key)) => {
                    let own = own.map_or(&*history.first_death.queue, |(_, routing_key)| routing_key);
                    Some(Origin { exchange, routing_key: key.as_deref().unwrap_or(own) })
                }
            };
            let anew = message.anew(&headers[number]);
            let ttl_micros = message.ttl_micros().or(history.ttl_micros);
            let anew = queues::Message { origin, ttl_micros, history: Some(&*histories[number]), ..anew };
            messages.push(edits[number].apply(anew));
        }
        let places: Vec<Place> = letters.iter().map(|letter| letter.place()).collect();
        let redrive = OfQueues::Redrive { queue: self.number, letters: &places, messages: &messages, to };
        self.submit(redrive, Level::Sync).map(drop).map_err(|refused| self.refusal(refused))
    }
}

/// What came of a redrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Redriven {
    /// Letters that were chosen.
    pub chosen: u64,
    /// Of these, letters that were sent again: none in a dry run.
    pub redriven: u64,
    /// Of these, letters that cannot be read, that somebody else took meanwhile, or that cannot go where they are to:
    /// their queue was deleted, nothing leads them anywhere, or a limit forbids it.
    pub left: u64,
}

impl Redrive<'_> {
    /// Ends it from another thread: what was sent by then is sent.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Sends them. Each letter leaves and arrives in the same instant; after a crash the next run goes on with those
    /// that are left. It goes over no more letters than there were when it began. Blocks until it is done or was
    /// stopped. What was sent is durable on return.
    ///
    /// # Errors
    /// As for [`Queue::redrive`]: [`Error::Full`] if a queue has no room for the next letter. What was sent before is
    /// sent; the same call goes on with the rest.
    pub fn run(self) -> Result<Redriven, Error> {
        let described = self.queue.describe()?;
        let mut redriven = Redriven::default();
        self.run_over(described.dead, &|after| self.queue.dead_letters(after, FREEZE_CHUNK), &mut redriven)?;
        let waiting = if described.is_target { described.ready + described.delayed } else { 0 };
        self.run_over(waiting, &|after| self.queue.moved_letters(after, FREEZE_CHUNK), &mut redriven)?;
        Ok(redriven)
    }

    /// Goes over no more letters than there were: what is sent again may come to be one.
    fn run_over(&self, mut left: u64, next: NextLetters<'_>, redriven: &mut Redriven) -> Result<(), Error> {
        let mut after: Option<DeadLetter> = None;
        while left > 0 && redriven.chosen < self.limit && !self.stopper.is_stopped() {
            let mut letters = next(after.as_ref())?;
            letters.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let Some(last) = letters.last() else { break };
            after = Some(last.clone());
            left -= letters.len() as u64;
            let mut chosen: Vec<&DeadLetter> = letters.iter().filter(|letter| self.chosen.is(letter)).collect();
            chosen.truncate(usize::try_from(self.limit - redriven.chosen).unwrap_or(usize::MAX));
            self.send(&chosen, redriven)?;
        }
        Ok(())
    }

    fn send(&self, chosen: &[&DeadLetter], redriven: &mut Redriven) -> Result<(), Error> {
        if self.is_dry_run {
            redriven.chosen += chosen.len() as u64;
            return Ok(());
        }
        let (mut rest, unreadable): (Vec<&DeadLetter>, Vec<&DeadLetter>) =
            chosen.iter().partition(|letter| letter.message().is_ok());
        redriven.chosen += unreadable.len() as u64;
        redriven.left += unreadable.len() as u64;
        while let Some(first) = rest.first() {
            let home = first.machine_history().first_death.queue.clone();
            let (now, later): (Vec<_>, Vec<_>) =
                rest.iter().partition(|letter| letter.machine_history().first_death.queue == home);
            self.send_home(&now, redriven)?;
            rest = later;
        }
        Ok(())
    }

    /// Sends letters that died first in one queue.
    fn send_home(&self, letters: &[&DeadLetter], redriven: &mut Redriven) -> Result<(), Error> {
        // Those of one call arrive together or not at all, and one that went meanwhile holds up the others.
        if self.pause_micros == 0 && self.queue.send_again(letters, &self.to, self.edit.as_deref()).is_ok() {
            redriven.chosen += letters.len() as u64;
            redriven.redriven += letters.len() as u64;
            return Ok(());
        }
        for letter in letters {
            if self.stopper.is_stopped() {
                return Ok(());
            }
            redriven.chosen += 1;
            match self.queue.send_again(&[letter], &self.to, self.edit.as_deref()) {
                Ok(()) => redriven.redriven += 1,
                Err(error) if is_of_one(&error) => redriven.left += 1,
                Err(error) => return Err(error),
            }
            if let Some(stopped) = self.stopper.listen().filter(|_| self.pause_micros > 0) {
                wait_listener(stopped, Some(self.pause_micros));
            }
        }
        Ok(())
    }
}

/// Pages of letters, behind this one.
type NextLetters<'n> = &'n dyn Fn(Option<&DeadLetter>) -> Result<Vec<DeadLetter>, Error>;

/// Whether the next letter may be sent although this one may not.
fn is_of_one(error: &Error) -> bool {
    let is_gone = matches!(error, Error::Stale { .. } | Error::NotFound { .. });
    is_gone || matches!(error, Error::Unroutable { .. } | Error::LimitExceeded { .. } | Error::InvalidOption { .. })
}
