//! Dead letters: looking at them, sending them again, letting them go.

use std::ops::Deref;

use crate::base::bounds::{ERRORS_TOLD_MAX, FREEZE_CHUNK};
use crate::base::level::Level;
use crate::base::time::Timestamp;
use crate::engine::read::{Cursor, Read};
use crate::primitives::queues::{self, Command as OfQueues, Letter, Place, read_note};
use crate::primitives::streams::Header;
use crate::processes::queueing::DeadLetters;

use super::database::unnamed;
use super::error::Error;
use super::queue::Queue;
use super::queue_outcomes::{DeathReason, Failure};
use super::stored_message::StoredMessage;

/// A message in the dead set of its queue.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    queue: Queue,
    letter: Letter,
    message: StoredMessage,
    failures: Vec<Failure>,
}

impl Deref for DeadLetter {
    type Target = StoredMessage;

    fn deref(&self) -> &StoredMessage {
        &self.message
    }
}

impl DeadLetter {
    /// Why it died.
    #[must_use]
    pub fn reason(&self) -> DeathReason {
        self.letter.reason.into()
    }

    /// When it died.
    #[must_use]
    pub fn died_at(&self) -> Timestamp {
        self.letter.at
    }

    /// How many attempts failed.
    #[must_use]
    pub fn failed_attempts(&self) -> u32 {
        self.letter.failed
    }

    /// What was said of its failed attempts, the last one first; at most ten, those before a redrive among them.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    fn place(&self) -> Place {
        self.letter.place
    }
}

impl Queue {
    /// Up to `max` letters of the queue's dead set behind this one, or from the first on: those of the higher priority
    /// first, then in the order in which they were sent. At most 256 are given at once. Reads their bodies, which may
    /// be on disk.
    ///
    /// ```
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// let mails = db.create_queue("mails", towpath::QueueOptions::new())?;
    /// mails.send("to nobody")?;
    /// mails.receive()?.reject("no such address")?;
    /// let letters = mails.dead_letters(None, 10)?;
    /// assert_eq!(letters[0].failures()[0].error, "no such address");
    /// mails.redrive(&letters)?;
    /// assert_eq!(mails.receive()?.body(), b"to nobody");
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFound`] if the queue was deleted, [`Error::Corrupt`] if one cannot be read, [`Error::Poisoned`],
    /// [`Error::Closed`].
    pub fn dead_letters(&self, after: Option<&DeadLetter>, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let after = after.map(|letter| (letter.letter.priority, letter.letter.place.offset));
        let max = max.min(FREEZE_CHUNK) as u32;
        let found = self.database.ask(&DeadLetters { queue: self.number, after, max })?;
        let found = found.ok_or_else(|| self.not_found())?;
        let mut letters = Vec::with_capacity(found.len());
        for letter in found {
            letters.extend(self.read_letter(letter)?);
        }
        Ok(letters)
    }

    /// `None` if it went meanwhile.
    fn read_letter(&self, letter: Letter) -> Result<Option<DeadLetter>, Error> {
        let link = &self.database.shared.link;
        let read = self.reader.read(link, letter.log, letter.priority, letter.place.offset, 1)?;
        let Some((_, message)) = read.into_iter().next() else { return Ok(None) };
        let failures = self.read_failures(&letter)?;
        Ok(Some(DeadLetter { queue: self.clone(), letter, message, failures }))
    }

    fn read_failures(&self, letter: &Letter) -> Result<Vec<Failure>, Error> {
        let link = &self.database.shared.link;
        let (mut failures, mut next) = (Vec::new(), letter.last_note);
        while let Some(note) = next.filter(|_| failures.len() < ERRORS_TOLD_MAX) {
            let batch = match link.read(letter.notes, note, 1, &mut Cursor::default()).map_err(unnamed)? {
                Read::Items(batch) => batch,
                Read::Below { .. } | Read::AtEnd | Read::Gone => break,
            };
            let Some(item) = batch.items().first() else { break };
            let note = read_note(batch.bytes(item)).map_err(|fault| batch.not_understood(item, &fault))?;
            failures.push(Failure { timestamp: note.entry.timestamp, error: note.text.to_owned() });
            next = note.previous.checked_sub(1);
        }
        Ok(failures)
    }

    /// Sends dead letters again, as new messages behind those that are there: with key, headers, body, group,
    /// priority, ttl and attempts allowed as they were, without delay and deadline, with no attempt counted. They leave
    /// the dead set in the same instant. All of them or none. At most 4,096. Durable on return.
    ///
    /// # Errors
    /// [`Error::Stale`] if one of them is in the dead set no longer; [`Error::InvalidOption`] if one is of another
    /// queue, or of another handle of the database; [`Error::NotFound`] if the queue was deleted, and
    /// what any write may meet.
    pub fn redrive(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        if letters.is_empty() {
            return Ok(());
        }
        self.check_letters(letters)?;
        let headers: Vec<Vec<Header<'_>>> = letters.iter().map(|letter| letter.headers().collect()).collect();
        let messages: Vec<queues::Message<'_>> =
            letters.iter().zip(&headers).map(|(letter, headers)| letter.anew(headers)).collect();
        let places: Vec<Place> = letters.iter().map(DeadLetter::place).collect();
        let redrive = OfQueues::Redrive { queue: self.number, letters: &places, messages: &messages };
        self.submit(redrive, Level::Sync).map(drop).map_err(|refused| self.refusal(refused))
    }

    /// Lets dead letters go for good; tells how many had gone before. At most 4,096. Durable on return.
    ///
    /// # Errors
    /// [`Error::Stale`] if all had; else as for [`Queue::redrive`].
    pub fn purge_dead(&self, letters: &[DeadLetter]) -> Result<usize, Error> {
        if letters.is_empty() {
            return Ok(0);
        }
        self.check_letters(letters)?;
        let places: Vec<Place> = letters.iter().map(DeadLetter::place).collect();
        let bury = OfQueues::Bury { queue: self.number, letters: &places };
        match self.submit(bury, Level::Sync).map_err(|refused| self.refusal(refused))?.0 {
            queues::Reply::Settled { stale } => Ok(stale.len()),
            _ => unreachable!("who lets letters go is told which had gone"),
        }
    }

    /// Places are those of a queue of one database: a letter of another must not be taken for one of this.
    fn check_letters(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        if letters.iter().all(|letter| letter.queue.is(self)) {
            return Ok(());
        }
        let reason = "one of them is of another queue, or of another handle of the database".to_owned();
        Err(Error::InvalidOption { option: "letters", reason })
    }
}
