//! Looking at messages without taking them, and changing those that wait.

use std::time::Duration;

use crate::base::bounds::MESSAGE_ID_BYTES_MAX;
use crate::base::level::Level;
use crate::base::time::Timestamp;
use crate::primitives::queues::{self, Command as OfQueues, DueTime, HandedRun, Seen, Standing};
use crate::processes::consuming::DescribeConsumers;
use crate::processes::looking::{FindMessage, LookAt, Peek};

use super::Queue;
use crate::api::error::Error;
use crate::api::queue_options::micros;
use crate::api::queue_outcomes::{ConsumerDescription, Explanation};
use crate::api::stored_message::{MessageReader, StoredMessage};

impl Queue {
    /// The messages that would be handed out next, in order, without handing them out: at most `max`, and at most
    /// 1,024. None of those that are delayed, in backoff or in flight are among them, nor those that wait for others of
    /// their group. A pause changes nothing. May read from disk.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the queue was deleted, [`Error::Corrupt`] if one of them cannot be read,
    /// [`Error::Poisoned`], [`Error::Closed`], [`Error::Forked`].
    pub fn peek(&self, max: usize) -> Result<Vec<StoredMessage>, Error> {
        let max = Some(u32::try_from(max).unwrap_or(u32::MAX));
        let runs = self.database.ask(&Peek { queue: self.number, max })?.ok_or_else(|| self.not_found())?;
        let reader = MessageReader::default();
        let mut messages = Vec::new();
        for run in &runs {
            messages.extend(self.read_run(&reader, run)?);
        }
        Ok(messages)
    }

    fn read_run(&self, reader: &MessageReader, run: &HandedRun) -> Result<Vec<StoredMessage>, Error> {
        let link = &self.database.shared.link;
        let read = reader.read(link, run.log, run.priority, run.first, u64::from(run.count))?;
        Ok(read.into_iter().map(|(_, message)| message).collect())
    }

    /// When the oldest message was sent that waits to be handed out; `None` if there is none. The same as the first of
    /// [`Queue::peek`], if all have one priority.
    ///
    /// # Errors
    /// As for [`Queue::peek`].
    pub fn oldest(&self) -> Result<Option<Timestamp>, Error> {
        let runs = self.database.ask(&Peek { queue: self.number, max: None })?.ok_or_else(|| self.not_found())?;
        let (reader, mut oldest) = (MessageReader::default(), None);
        for run in &runs {
            let sent = self.read_run(&reader, run)?.first().map(StoredMessage::timestamp);
            oldest = oldest.into_iter().chain(sent).min();
        }
        Ok(oldest)
    }

    /// The message with this sequence, in whatever state, dead ones too; `None` if there is none (any more). May read
    /// from disk.
    ///
    /// # Errors
    /// As for [`Queue::peek`].
    pub fn get(&self, sequence: u64) -> Result<Option<StoredMessage>, Error> {
        match self.look_at(sequence)? {
            Some(Seen { run, .. }) => Ok(self.read_run(&MessageReader::default(), &run)?.pop()),
            None => Ok(None),
        }
    }

    /// The message that the queue accepted with this [id](crate::Message::id), in whatever state, as long as the queue
    /// remembers the id; `None` if it does not, or the message is gone. A queue that remembers ids [until they are
    /// settled](crate::Dedup::until_settled) finds the message that lives, another one the original: dead ones too, and
    /// not what became of it when it was redriven. May read from disk.
    ///
    /// # Errors
    /// As for [`Queue::peek`]; [`Error::InvalidOption`] if the queue [remembers no ids](crate::QueueOptions::dedup).
    pub fn get_by_id(&self, id: &str) -> Result<Option<StoredMessage>, Error> {
        // A longer one is no message's.
        let id = if id.len() > MESSAGE_ID_BYTES_MAX { "" } else { id };
        let asked = self.database.ask(&FindMessage { queue: self.number, id: id.into() })?;
        let found = asked.ok_or_else(|| self.not_found())?.ok_or_else(|| {
            let reason = "the queue was created without dedup, and remembers no ids".to_owned();
            Error::InvalidOption { option: "id", reason }
        })?;
        let message = found.map(|sequence| self.get(sequence)).transpose()?.flatten();
        Ok(message.filter(|message| message.id() == Some(id)))
    }

    /// Why a message is not handed out now, or when it is. Waits for nothing, unless the queue is just being written to
    /// at [`Level::Sync`]: then for the sync of that.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the queue was deleted, [`Error::Poisoned`], [`Error::Closed`], [`Error::Forked`].
    pub fn explain(&self, sequence: u64) -> Result<Explanation, Error> {
        let Some(Seen { standing, .. }) = self.look_at(sequence)? else { return Ok(Explanation::Gone) };
        Ok(match standing {
            Standing::Behind { messages } => Explanation::Behind { messages },
            Standing::Delayed { until } => Explanation::Delayed { until },
            Standing::Backoff { micros } => Explanation::Backoff { remaining: Duration::from_micros(micros) },
            Standing::InFlight { micros } => Explanation::InFlight { remaining: Duration::from_micros(micros) },
            Standing::GroupBusy => Explanation::GroupBusy,
            Standing::Paused => Explanation::Paused,
            Standing::Suspect => Explanation::Suspect,
            Standing::ConsumersFull => Explanation::ConsumersFull,
            Standing::NotActive { consumer } => Explanation::NotActive { consumer: consumer.into() },
            Standing::Expired => Explanation::Expired,
            Standing::Dead { reason } => Explanation::Dead { reason: reason.into() },
        })
    }

    /// Its consumers that have joined, who comes first first: subscriptions and workers, and where a single one is
    /// active also handles by which somebody receives. Waits for nothing, unless one joins or leaves just now.
    ///
    /// ```
    /// use towpath::{QueueOptions, SubscriptionOptions};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// let mails = db.create_queue("mails", QueueOptions::new().single_active_consumer(true))?;
    /// let first = mails.subscribe(SubscriptionOptions::new().name("first"))?;
    /// let second = mails.subscribe(SubscriptionOptions::new().name("second"))?;
    /// let active = |mails: &towpath::Queue| -> Result<Vec<String>, towpath::Error> {
    ///     Ok(mails.consumers()?.into_iter().filter(|one| one.is_active).map(|one| one.name).collect())
    /// };
    /// assert_eq!(active(&mails)?, ["first"]);
    /// drop(first);
    /// assert_eq!(active(&mails)?, ["second"]);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Queue::explain`].
    pub fn consumers(&self) -> Result<Vec<ConsumerDescription>, Error> {
        let (mut consumers, mut after) = (Vec::new(), None);
        loop {
            let asked = DescribeConsumers { queue: self.number, after };
            let more = self.database.ask(&asked)?.ok_or_else(|| self.not_found())?;
            let Some(last) = more.last() else { return Ok(consumers) };
            after = Some(last.number);
            consumers.extend(more.into_iter().map(ConsumerDescription::from));
        }
    }

    fn look_at(&self, sequence: u64) -> Result<Option<Seen>, Error> {
        self.database.ask(&LookAt { queue: self.number, sequence })?.ok_or_else(|| self.not_found())
    }

    /// Lets a message go that is ready, delayed or in backoff. Durable on return.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is not there any more, or dead; [`Error::MessagesInFlight`] if it is in flight;
    /// [`Error::NotFound`] if the queue was deleted, and what any write may meet.
    pub fn cancel(&self, sequence: u64) -> Result<(), Error> {
        self.change(OfQueues::Cancel { queue: self.number, sequence })
    }

    /// Has a delayed message become ready this long from now, in place of its time. Durable on return.
    ///
    /// # Errors
    /// As for [`Queue::cancel`]; [`Error::InvalidOption`] if it is not delayed (any more).
    pub fn reschedule(&self, sequence: u64, delay: Duration) -> Result<(), Error> {
        let due = DueTime::In(micros(delay));
        self.change(OfQueues::Reschedule { queue: self.number, sequence, due })
    }

    /// The same at this time; at once if that has passed.
    ///
    /// # Errors
    /// As for [`Queue::reschedule`].
    pub fn reschedule_at(&self, sequence: u64, time: Timestamp) -> Result<(), Error> {
        let due = DueTime::At(time);
        self.change(OfQueues::Reschedule { queue: self.number, sequence, due })
    }

    fn change(&self, command: OfQueues<'_>) -> Result<(), Error> {
        match self.submit(command, Level::Sync).map_err(|refused| self.refusal(refused))? {
            (queues::Reply::Done, _) => Ok(()),
            _ => unreachable!("who changes a message is told that it is done"),
        }
    }
}
