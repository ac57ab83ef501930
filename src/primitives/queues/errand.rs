//! What must be read before dead letters can be moved on: the messages, and what was said of their failures.

use bytes::Bytes;

use super::command::{Command, Place, QueueNumber};
use super::history::{History, NewDeath};
use super::lane::Lane;
use super::letters::Letter;
use super::message::{Attributes, Message, MessageRef, Origin};
use super::note::read_note;
use super::routing::Destination;
use super::rows::KIND_WALL;
use super::sent::read_messages;
use super::state::State;
use crate::base::bounds::{ERRORS_TOLD_MAX, LETTER_BYTES_PER_MOVE_MAX, LETTERS_PER_MOVE_MAX};
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::engine::machine::{Found, Unfound};
use crate::journal::entry::Entry;
use crate::primitives::record::{Header, Record, headers};

/// Letters that are to leave a queue.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    queue: QueueNumber,
    name: Box<str>,
    letters: Vec<Letter>,
    /// `None` if the queue keeps its dead by now.
    to: Option<Destination>,
    /// The name of the exchange, if it is one.
    exchange: Option<Box<str>>,
    routing_key: Option<Arc<str>>,
}

/// Reads the item that holds a record.
pub(crate) type Read<'r> = &'r mut dyn FnMut(LogId, u64) -> Result<Found, Unfound>;

/// A letter that was read.
struct Unpacked {
    place: Place,
    priority: u8,
    item: Bytes,
    entry: Entry,
    offset: u64,
    /// Exchange and routing key that it goes by.
    origin: Option<(Box<str>, String)>,
    history: Vec<u8>,
}

impl State {
    /// What is to be read before this timer has done its work.
    pub(crate) fn errand(&self, key: RowKey) -> Option<Errand> {
        if key.kind != KIND_WALL {
            return None;
        }
        let queue = self.get(self.logs.get(&LogId(key.id))?.0)?;
        let of_lane = |lane: &Lane| {
            let place = |offset| Place { lane: lane.number, offset };
            queue.leaving.range(place(0)..=place(u64::MAX))
        };
        let leaving = queue.lanes.iter().flat_map(of_lane).take(LETTERS_PER_MOVE_MAX);
        let letters: Vec<Letter> = leaving.filter_map(|place| queue.letter_at(*place)).collect();
        if letters.is_empty() {
            return None;
        }
        let target = queue.options.dead_letters.target();
        let exchange = target.and_then(|target| match target.destination {
            Destination::Exchange(exchange) => self.exchanges.get(exchange).map(|exchange| exchange.name.clone()),
            Destination::Queue(_) => None,
        });
        let routing_key = target.and_then(|target| target.routing_key.clone());
        let to = target.map(|target| target.destination);
        Some(Errand { queue: queue.number, name: queue.name.clone(), letters, to, exchange, routing_key })
    }
}

impl Errand {
    /// Reads, and has the command decided that comes of it. One that nobody may see yet is left for another time, with
    /// those behind it, so that letters arrive in order.
    pub(crate) fn run(&self, read: Read<'_>, submit: &mut dyn FnMut(&Command<'_>)) {
        let (mut unpacked, mut unread, mut bytes) = (Vec::new(), Vec::new(), 0);
        // Letters that were sent together lie in one item.
        let mut last: Option<Found> = None;
        let mut read_once = |log, offset| match &last {
            Some(found) if found.entry.log == log && (found.entry.first..found.entry.end()).contains(&offset) => {
                Ok(found.clone())
            }
            _ => read(log, offset).inspect(|found| last = Some(found.clone())),
        };
        for letter in &self.letters {
            match self.unpack(letter, &mut read_once) {
                Ok(letter) => {
                    bytes += letter.message().record.user_bytes() + letter.history.len();
                    unpacked.push(letter);
                }
                Err(Unfound::Damaged) => unread.push(letter.place),
                Err(Unfound::NotYet) => break,
            }
            if bytes >= LETTER_BYTES_PER_MOVE_MAX {
                break;
            }
        }
        if unpacked.is_empty() && unread.is_empty() {
            return;
        }
        let read: Vec<MessageRef<'_>> = unpacked.iter().map(Unpacked::message).collect();
        let of_one = |message: &MessageRef<'_>| headers(message.record.header_block).map_while(Result::ok).count();
        let mut all: Vec<Header<'_>> = Vec::with_capacity(read.iter().map(of_one).sum());
        let mut ends = Vec::with_capacity(read.len());
        for message in &read {
            all.extend(headers(message.record.header_block).map_while(Result::ok));
            ends.push(all.len());
        }
        let mut begin = 0;
        let mut messages = Vec::with_capacity(read.len());
        for ((letter, message), end) in unpacked.iter().zip(&read).zip(ends) {
            messages.push(letter.anew(message, &all[begin..end]));
            begin = end;
        }
        let letters: Vec<Place> = unpacked.iter().map(|letter| letter.place).collect();
        let (queue, to) = (self.queue, self.to);
        submit(&Command::MoveOn { queue, letters: &letters, messages: &messages, to, unread: &unread });
    }

    fn unpack(&self, letter: &Letter, read: Read<'_>) -> Result<Unpacked, Unfound> {
        let Found { item, entry } = read(letter.log, letter.place.offset)?;
        let errors = errors_of(letter, read)?;
        let message = message_in(&item, &entry, letter.place.offset).ok_or(Unfound::Damaged)?;
        let attributes = message.attributes;
        let before = attributes.history.map(History::decode).transpose().map_err(|_| Unfound::Damaged)?;
        let history = History::with(
            before,
            NewDeath {
                queue: self.name.to_string(),
                number: self.queue,
                reason: letter.reason,
                at: letter.at,
                attempts: letter.failed,
                sent: entry.timestamp,
                ttl_micros: attributes.ttl_micros,
                origin: attributes.origin.map(|o| (o.exchange.to_owned(), o.routing_key.to_owned())),
                errors,
            },
        );
        let routing_key = || {
            // A message that was sent to a queue has its name for a routing key, as with the default exchange.
            let own = attributes.origin.map_or(&*self.name, |origin| origin.routing_key);
            self.routing_key.as_deref().unwrap_or(own).to_owned()
        };
        let origin = self.exchange.clone().map(|exchange| (exchange, routing_key()));
        let (place, priority, history) = (letter.place, letter.priority, history.encode());
        Ok(Unpacked { place, priority, offset: letter.place.offset, item, entry, origin, history })
    }
}

impl Unpacked {
    fn message(&self) -> MessageRef<'_> {
        message_in(&self.item, &self.entry, self.offset).expect("it was read before")
    }

    /// The message as it is sent on: without the times that it died of.
    fn anew<'a>(&'a self, message: &MessageRef<'a>, headers: &'a [Header<'a>]) -> Message<'a> {
        let record = Record { key: message.record.key, headers, body: message.record.body };
        let origin = self.origin.as_ref().map(|(exchange, routing_key)| Origin { exchange, routing_key });
        let Attributes { group, max_attempts, id, .. } = message.attributes;
        let (priority, history) = (self.priority, Some(&*self.history));
        Message { priority, group, max_attempts, origin, history, id, ..Message::plain(record) }
    }
}

/// What was said of a letter's failures, the newest first, as far as it can be read.
fn errors_of(letter: &Letter, read: Read<'_>) -> Result<Vec<(Timestamp, String)>, Unfound> {
    let (mut errors, mut next) = (Vec::new(), letter.last_note);
    while let Some(note) = next.filter(|_| errors.len() < ERRORS_TOLD_MAX) {
        let found = match read(letter.notes, note) {
            Ok(found) => found,
            Err(Unfound::NotYet) => return Err(Unfound::NotYet),
            Err(Unfound::Damaged) => break,
        };
        let Ok(note) = read_note(&found.item) else { break };
        errors.push((note.entry.timestamp, note.text.to_owned()));
        next = note.previous.checked_sub(1);
    }
    Ok(errors)
}

fn message_in<'i>(item: &'i [u8], entry: &Entry, offset: u64) -> Option<MessageRef<'i>> {
    let number = offset.checked_sub(entry.first)?;
    read_messages(item, entry).ok()?.nth(usize::try_from(number).ok()?)?.ok()
}
