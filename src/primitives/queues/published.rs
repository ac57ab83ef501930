//! A message that went to several queues at once: it stands in the journal once, and lies in a lane of each.
//!
//! The head is that of an item in several logs (`journal::entry`). Then follow, per place, queue · lane · expires (0
//! for never), then u8 (1 attributes) and the messages, as of one that was sent to one queue.

use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::time::Timestamp;
use crate::engine::machine::{LOG_TAG, SHARED_TAG};
use crate::journal::entry::{put_shared, shared_len, take_shared};

use super::event::{take_bool, take_lane, take_queue};
use super::sent::Sent;

pub(super) const PUBLISHED: u8 = LOG_TAG | SHARED_TAG | 0x30;

/// The same messages, sent to several queues.
#[derive(Clone, Debug)]
pub(crate) struct Published<'a> {
    /// One for each queue; they differ in where they lead to, and in when the queue lets its messages expire.
    pub(super) sents: Vec<Sent<'a>>,
}

fn fields(sent: &Sent<'_>) -> [u64; 3] {
    [u64::from(sent.queue.0), u64::from(sent.lane.0), sent.expires.map_or(0, |expires| expires.0)]
}

impl<'a> Published<'a> {
    pub(super) fn new(sents: Vec<Sent<'a>>) -> Published<'a> {
        assert!(!sents.is_empty(), "a message that goes nowhere is not published");
        Published { sents }
    }

    pub(super) fn sents(&self) -> &[Sent<'a>] {
        &self.sents
    }

    /// The same, with bytes of its own, which stand there once.
    pub(super) fn into_owned(self) -> Published<'static> {
        let first = self.sents[0].clone().into_owned();
        let elsewhere = |sent: &Sent<'_>| first.elsewhere(sent.entry, sent.queue, sent.lane, sent.expires);
        Published { sents: self.sents.iter().map(elsewhere).collect() }
    }

    pub(super) fn encoded_len(&self) -> usize {
        let fields_len: usize = self.sents.iter().flat_map(fields).map(varint_len).sum();
        let head_len = shared_len(self.sents.iter().map(|sent| sent.entry));
        1 + head_len + fields_len + 1 + self.sents[0].messages_len()
    }

    pub(super) fn encode(&self, out: &mut Put<'_>) {
        out.u8(PUBLISHED);
        put_shared(self.sents.iter().map(|sent| sent.entry), out);
        self.sents.iter().for_each(|sent| out.varints(fields(sent)));
        self.sents[0].encode_messages(out);
    }

    /// Reads what follows the tag.
    pub(super) fn decode(mut take: Take<'a>) -> Result<Published<'a>, Malformed> {
        let entries = take_shared(&mut take)?;
        let mut places = Vec::with_capacity(entries.len());
        for (entry, lives) in entries {
            if !lives {
                return Err(Malformed("a message that was published to a queue that is through with it"));
            }
            let (queue, lane, expires) = (take_queue(&mut take)?, take_lane(&mut take)?, take.varint()?);
            places.push((entry, queue, lane, (expires > 0).then_some(Timestamp(expires))));
        }
        let (has_attributes, encoded) = (take_bool(&mut take)?, take.rest());
        let (first, queue, lane, expires) = places[0];
        let read = Sent::read(first, queue, lane, expires, has_attributes, encoded)?;
        let sents = places.into_iter().map(|(entry, queue, lane, expires)| read.elsewhere(entry, queue, lane, expires));
        Ok(Published { sents: sents.collect() })
    }
}

/// Goes past the head of an item; what is left begins with whether its messages have attributes.
pub(super) fn skip_head(take: &mut Take<'_>) -> Result<(), Malformed> {
    for _ in take_shared(take)? {
        let _place = (take_queue(take)?, take_lane(take)?, take.varint()?);
    }
    Ok(())
}
