//! A message that failed or died: a record of its queue's notes. Its bytes are specified in `event.rs`.

use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::time::BootTime;
use crate::journal::entry::Entry;

use super::command::{Place, QueueNumber, Reason};
use super::event::{DIED, Event, FAILED, take_bool, take_lane, take_queue};
use super::options::End;

/// A message failed or died: a record of the queue's notes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Note<'a> {
    pub(crate) entry: Entry,
    pub(crate) queue: QueueNumber,
    pub(crate) place: Place,
    pub(crate) fate: Fate,
    /// The note before it about this message, more by one; 0: it is the first.
    pub(crate) previous: u64,
    pub(crate) text: &'a str,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It comes back then.
    Failed {
        until: BootTime,
        pause_micros: u64,
        stays_suspect: bool,
    },
    Died {
        reason: Reason,
        end: End,
    },
}

impl<'a> Note<'a> {
    fn fields(&self) -> [u64; 4] {
        [u64::from(self.queue.0), u64::from(self.place.lane.0), self.place.offset, self.previous]
    }

    pub(super) fn encoded_len(&self) -> usize {
        let fate = match self.fate {
            Fate::Failed { until, pause_micros, .. } => varint_len(until.0) + varint_len(pause_micros) + 1,
            Fate::Died { .. } => 2,
        };
        let fields: usize = self.fields().into_iter().map(varint_len).sum();
        1 + self.entry.encoded_len() + fields + fate + slice_len(self.text.len())
    }

    pub(super) fn encode(&self, out: &mut Put<'_>) {
        out.u8(match self.fate {
            Fate::Failed { .. } => FAILED,
            Fate::Died { .. } => DIED,
        });
        self.entry.encode(out);
        self.fields().into_iter().for_each(|field| out.varint(field));
        match self.fate {
            Fate::Failed { until, pause_micros, stays_suspect } => {
                out.varints([until.0, pause_micros, u64::from(stays_suspect)]);
            }
            Fate::Died { reason, end } => {
                out.u8(reason as u8);
                out.u8(end as u8);
            }
        }
        out.slice(self.text.as_bytes());
    }

    pub(super) fn decode(tag: u8, mut take: Take<'a>) -> Result<Note<'a>, Malformed> {
        let entry = Entry::decode(&mut take)?;
        if entry.count != 1 {
            return Err(Malformed("a note that is not one"));
        }
        let (queue, lane, offset) = (take_queue(&mut take)?, take_lane(&mut take)?, take.varint()?);
        let previous = take.varint()?;
        let fate = match tag {
            FAILED => Fate::Failed {
                until: BootTime(take.varint()?),
                pause_micros: take.varint()?,
                stays_suspect: take_bool(&mut take)?,
            },
            _ => Fate::Died { reason: Reason::decode(&mut take)?, end: End::decode(&mut take)? },
        };
        let text = take.text()?;
        take.end()?;
        Ok(Note { entry, queue, place: Place { lane, offset }, fate, previous, text })
    }
}

/// A note in an item that was read back.
pub(crate) fn read_note(item: &[u8]) -> Result<Note<'_>, Malformed> {
    match Event::decode(item)? {
        Event::Noted(note) => Ok(note),
        _ => Err(Malformed("an item of notes that is no note")),
    }
}
