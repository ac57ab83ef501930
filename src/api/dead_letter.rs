//! Dead letters: looking at them, and letting them go.

use crate::base::bounds::{DELIVERIES_PER_CALL_MAX, ERRORS_TOLD_MAX, FREEZE_CHUNK};
use crate::base::level::Level;
use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;
use crate::engine::read::{Cursor, Read};
use crate::primitives::queues::{self, Command as OfQueues, Letter, NewDeath, Place, WaitingMessage, read_note};
use crate::processes::looking::Waiting;
use crate::processes::queueing::DeadLetters;

use super::database::unnamed;
use super::error::Error;
use super::history::History;
use super::queue::Queue;
use super::queue_outcomes::{DeathReason, Failure};
use super::stored_message::StoredMessage;

/// A message in the dead set of its queue, or one that was moved there from the queue in which it died.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    queue: Queue,
    place: Place,
    priority: u8,
    message: Result<StoredMessage, Damage>,
    reason: DeathReason,
    died_at: Timestamp,
    failed_attempts: u32,
    /// Its last death is in it.
    history: queues::History,
    failures: Vec<Failure>,
}

/// An error, and when it was said.
type Said = (Timestamp, String);

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
        queues::sequence(self.priority, self.place.offset)
    }

    /// 0 to 31.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// What was sent, and when.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it cannot be read. Such a letter stays until it is [purged](Queue::purge_dead).
    pub fn message(&self) -> Result<&StoredMessage, Error> {
        self.message.as_ref().map_err(Damage::error)
    }

    /// Why it died, the last time.
    #[must_use]
    pub fn reason(&self) -> DeathReason {
        self.reason
    }

    /// When it died, the last time.
    #[must_use]
    pub fn died_at(&self) -> Timestamp {
        self.died_at
    }

    /// How many attempts had failed when it died.
    #[must_use]
    pub fn failed_attempts(&self) -> u32 {
        self.failed_attempts
    }

    /// What was said of its failed attempts, the newest first; at most ten, those before a redrive or a move among
    /// them. Where one cannot be read those before it are missing too.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// All that became of it, its last death with it. Of one that cannot be read only that.
    #[must_use]
    pub fn history(&self) -> History {
        History(self.history.clone())
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn machine_history(&self) -> &queues::History {
        &self.history
    }

    pub(super) fn is_of(&self, queue: &Queue) -> bool {
        self.queue.is(queue)
    }

    /// The message, if it can be sent again.
    pub(super) fn readable(&self) -> Result<&StoredMessage, Error> {
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
        let mut after = after.map(|letter| (letter.priority, letter.place.offset));
        let max = max.min(FREEZE_CHUNK) as u32;
        let mut letters = Vec::new();
        // Those of a page may all have gone meanwhile: that is not the end.
        while letters.is_empty() {
            let found = self.database.ask(&DeadLetters { queue: self.number, after, max })?;
            let found = found.ok_or_else(|| self.not_found())?;
            let Some(last) = found.last() else { break };
            after = Some((last.priority, last.place.offset));
            for letter in found {
                letters.extend(self.read_letter(letter)?);
            }
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
        let errors = self.read_errors(&letter)?;
        let Letter { place, priority, reason, at, failed, .. } = letter;
        let read = message.as_ref().ok();
        let origin = read.and_then(|message| Some((message.exchange()?.to_owned(), message.routing_key()?.to_owned())));
        let death = NewDeath {
            queue: self.name().to_owned(),
            number: self.number,
            reason,
            at,
            attempts: failed,
            sent: read.map_or(at, StoredMessage::timestamp),
            ttl_micros: read.and_then(StoredMessage::ttl_micros),
            origin,
            errors,
        };
        let history = queues::History::with(read.and_then(StoredMessage::machine_history), death);
        let (queue, reason, failures) = (self.clone(), reason.into(), failures_of(&history));
        let (died_at, failed_attempts) = (at, failed);
        Ok(Some(DeadLetter { queue, place, priority, message, reason, died_at, failed_attempts, history, failures }))
    }

    /// As far as they can be read: each leads to the one before it.
    fn read_errors(&self, letter: &Letter) -> Result<Vec<Said>, Error> {
        let (mut errors, mut next) = (Vec::new(), letter.last_note);
        while let Some(note) = next.filter(|_| errors.len() < ERRORS_TOLD_MAX) {
            match self.read_error(letter, note) {
                Ok(None) => break,
                Ok(Some((error, previous))) => {
                    errors.push(error);
                    next = previous.checked_sub(1);
                }
                Err(error) if error.is_corruption() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(errors)
    }

    /// One of them, and the number of the one before, plus one.
    fn read_error(&self, letter: &Letter, note: u64) -> Result<Option<(Said, u64)>, Error> {
        let link = &self.database.shared.link;
        let batch = match link.read(letter.notes, note, 1, &mut Cursor::default()).map_err(unnamed)? {
            Read::Items(batch) => batch,
            Read::Below { .. } | Read::AtEnd | Read::Gone => return Ok(None),
        };
        let Some(item) = batch.items().first() else { return Ok(None) };
        let note = read_note(batch.bytes(item)).map_err(|fault| batch.not_understood(item, &fault))?;
        Ok(Some(((note.entry.timestamp, note.text.to_owned()), note.previous)))
    }

    /// Up to `max` messages behind this one, or from the first on, that wait here and died first elsewhere: the letters
    /// of a queue that is where the dead of others go. In the order of [`Queue::dead_letters`], which tells of those
    /// that died here. At most 256 are given at once; fewer, where others wait among them, and none only if none are
    /// left.
    ///
    /// # Errors
    /// As for [`Queue::dead_letters`].
    pub fn moved_letters(&self, after: Option<&DeadLetter>, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut after = after.map(|letter| (letter.priority, letter.place.offset));
        let max = max.clamp(1, FREEZE_CHUNK) as u32;
        let mut letters = Vec::new();
        while letters.is_empty() {
            let found = self.database.ask(&Waiting { queue: self.number, after, max })?;
            let found = found.ok_or_else(|| self.not_found())?;
            let Some(last) = found.last() else { break };
            after = Some((last.priority, last.place.offset));
            for waiting in found {
                letters.extend(self.read_moved(&waiting)?);
            }
        }
        Ok(letters)
    }

    /// `None` if it went meanwhile, or never died, or cannot be read: who is to have it will find that.
    fn read_moved(&self, waiting: &WaitingMessage) -> Result<Option<DeadLetter>, Error> {
        let (link, WaitingMessage { place, priority, log }) = (&self.database.shared.link, *waiting);
        let message = match self.reader.read(link, log, priority, place.offset, 1) {
            Ok(read) => read.into_iter().next().map(|(_, message)| message),
            Err(error) if error.is_corruption() => None,
            Err(error) => return Err(error),
        };
        let read = message.and_then(|message| Some((message.machine_history()?, message)));
        let Some((history, message)) = read else { return Ok(None) };
        // One that died here first is no letter: it was sent again.
        let Some(last) = history.deaths.first().filter(|_| history.first_death.queue != self.name()) else {
            return Ok(None);
        };
        let (queue, reason, died_at) = (self.clone(), last.reason.into(), last.last);
        let failed_attempts = u32::try_from(last.attempts).unwrap_or(u32::MAX);
        let (message, failures) = (Ok(message), failures_of(&history));
        Ok(Some(DeadLetter { queue, place, priority, message, reason, died_at, failed_attempts, history, failures }))
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
    pub(super) fn check_letters(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        let (max, actual) = (DELIVERIES_PER_CALL_MAX as u64, letters.len() as u64);
        if actual > max {
            return Err(Error::LimitExceeded { limit: "dead letters per call", max, actual });
        }
        if letters.iter().all(|letter| letter.is_of(self)) {
            return Ok(());
        }
        let reason = "one of them is of another queue, or of another handle of the database".to_owned();
        Err(Error::InvalidOption { option: "letters", reason })
    }
}

fn failures_of(history: &queues::History) -> Vec<Failure> {
    History(history.clone()).errors()
}
