//! Dead letters: looking at them, sending them again, letting them go.

use crate::base::bounds::{DELIVERIES_PER_CALL_MAX, ERRORS_TOLD_MAX, FREEZE_CHUNK, HEADERS_PER_BATCH_MAX};
use crate::base::level::Level;
use crate::base::lsn::Lsn;
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
    message: Result<StoredMessage, Damage>,
    failures: Vec<Failure>,
}

/// Why a letter cannot be read: what [`Error::Corrupt`] says.
#[derive(Clone, Debug)]
struct Damage {
    file: String,
    offset: u64,
    from: Lsn,
    to: Lsn,
    reason: String,
}

impl Damage {
    /// Or whatever else went wrong.
    fn of(error: Error) -> Result<Damage, Error> {
        match error {
            Error::Corrupt { file, offset, from, to, reason } => Ok(Damage { file, offset, from, to, reason }),
            error => Err(error),
        }
    }

    fn error(&self) -> Error {
        let Damage { file, offset, from, to, reason } = self.clone();
        Error::Corrupt { file, offset, from, to, reason }
    }
}

impl DeadLetter {
    /// Its number in the queue.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        queues::sequence(self.letter.priority, self.letter.place.offset)
    }

    /// 0 to 31.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.letter.priority
    }

    /// What was sent, and when.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it cannot be read. Such a letter stays until it is [purged](Queue::purge_dead).
    pub fn message(&self) -> Result<&StoredMessage, Error> {
        self.message.as_ref().map_err(Damage::error)
    }

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

    /// What was said of its failed attempts, the last one first; at most ten, those before a redrive among them. Where
    /// one cannot be read those before it are missing too.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    fn place(&self) -> Place {
        self.letter.place
    }

    /// The message, if it can be sent again.
    fn readable(&self) -> Result<&StoredMessage, Error> {
        self.message.as_ref().map_err(|damage| {
            let sequence = self.sequence();
            let reason = format!("letter {sequence} can only be purged, because it cannot be read: {}", damage.error());
            Error::InvalidOption { option: "letters", reason }
        })
    }
}

impl Queue {
    /// Up to `max` letters of the queue's dead set behind this one, or from the first on: those of the higher priority
    /// first, then in the order in which they were sent. At most 256 are given at once. Reads their bodies, which may
    /// be on disk. One that cannot be read is a letter too, whose [message](DeadLetter::message) says so.
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
    /// [`Error::NotFound`] if the queue was deleted, [`Error::Poisoned`], [`Error::Closed`].
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
        let message = match self.reader.read(link, letter.log, letter.priority, letter.place.offset, 1) {
            Ok(read) => match read.into_iter().next() {
                Some((_, message)) => Ok(message),
                None => return Ok(None),
            },
            Err(error) => Err(Damage::of(error)?),
        };
        let failures = self.read_failures(&letter)?;
        Ok(Some(DeadLetter { queue: self.clone(), letter, message, failures }))
    }

    /// As far as they can be read: each leads to the one before it.
    fn read_failures(&self, letter: &Letter) -> Result<Vec<Failure>, Error> {
        let (mut failures, mut next) = (Vec::new(), letter.last_note);
        while let Some(note) = next.filter(|_| failures.len() < ERRORS_TOLD_MAX) {
            match self.read_failure(letter, note) {
                Ok(None) => break,
                Ok(Some((failure, previous))) => {
                    failures.push(failure);
                    next = previous.checked_sub(1);
                }
                Err(error) if error.is_corruption() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(failures)
    }

    /// One of them, and the number of the one before, plus one.
    fn read_failure(&self, letter: &Letter, note: u64) -> Result<Option<(Failure, u64)>, Error> {
        let link = &self.database.shared.link;
        let batch = match link.read(letter.notes, note, 1, &mut Cursor::default()).map_err(unnamed)? {
            Read::Items(batch) => batch,
            Read::Below { .. } | Read::AtEnd | Read::Gone => return Ok(None),
        };
        let Some(item) = batch.items().first() else { return Ok(None) };
        let note = read_note(batch.bytes(item)).map_err(|fault| batch.not_understood(item, &fault))?;
        Ok(Some((Failure { timestamp: note.entry.timestamp, error: note.text.to_owned() }, note.previous)))
    }

    /// Sends dead letters again, as new messages behind those that are there: with key, headers, body, group,
    /// priority, ttl and attempts allowed as they were, without delay and deadline, with no attempt counted. They leave
    /// the dead set in the same instant. All of them or none. At most 4,096. Durable on return.
    ///
    /// # Errors
    /// [`Error::Stale`] if one of them is in the dead set no longer; [`Error::InvalidOption`] if one is of another
    /// queue, or of another handle of the database, or cannot be read; [`Error::LimitExceeded`] for too many;
    /// [`Error::NotFound`] if the queue was deleted, and what any write may meet.
    pub fn redrive(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        if letters.is_empty() {
            return Ok(());
        }
        self.check_letters(letters)?;
        let stored: Vec<&StoredMessage> = letters.iter().map(DeadLetter::readable).collect::<Result<_, _>>()?;
        let headers: Vec<Vec<Header<'_>>> = stored.iter().map(|message| message.headers().collect()).collect();
        let (max, actual) = (HEADERS_PER_BATCH_MAX as u64, headers.iter().map(Vec::len).sum::<usize>() as u64);
        if actual > max {
            return Err(Error::LimitExceeded { limit: "headers per batch", max, actual });
        }
        let messages: Vec<queues::Message<'_>> =
            stored.iter().zip(&headers).map(|(message, headers)| message.anew(headers)).collect();
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
        let (max, actual) = (DELIVERIES_PER_CALL_MAX as u64, letters.len() as u64);
        if actual > max {
            return Err(Error::LimitExceeded { limit: "dead letters per call", max, actual });
        }
        if letters.iter().all(|letter| letter.queue.is(self)) {
            return Ok(());
        }
        let reason = "one of them is of another queue, or of another handle of the database".to_owned();
        Err(Error::InvalidOption { option: "letters", reason })
    }
}
