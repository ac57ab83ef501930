//! The primitives, and [`Primitives`], which composes them into the one machine that the engine drives.
//!
//! Each primitive has its own share of tags and row kinds, so that an event or a row tells whose it is:
//!
//! | primitive | event tags             | row kinds |
//! |-----------|------------------------|-----------|
//! | streams   | 1..=15, 0x81..=0x8f    | 1..=15    |
//!
//! A further primitive is a field here, a variant in each of the four enums below, and an arm wherever they are matched;
//! it takes the next sixteen tags and kinds, and ids of logs that no other gives.

pub(crate) mod streams;

use crate::base::codec::{Malformed, Put};
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::time::Now;
use crate::engine::machine::{Class, Context, Decision, Due, Events, LOG_TAG, LogChange, Machine};

/// All primitives.
#[derive(Default)]
pub(crate) struct Primitives {
    pub(crate) streams: streams::State,
}

/// A request to one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command<'a> {
    Streams(streams::Command<'a>),
}

/// A decided fact of one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    Streams(streams::Event<'a>),
}

/// The answer to an accepted command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Streams(streams::Reply),
}

/// Why a command was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    Streams(streams::Refusal),
}

/// What the events decided so far in one frame would change.
#[derive(Default)]
pub(crate) struct Overlay {
    streams: streams::Overlay,
}

/// Whose an event or a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Primitive {
    Streams,
}

impl Primitive {
    fn of_tag(tag: u8) -> Option<Primitive> {
        Primitive::of_kind(tag & !LOG_TAG)
    }

    fn of_kind(kind: u8) -> Option<Primitive> {
        match kind {
            1..=15 => Some(Primitive::Streams),
            _ => None,
        }
    }
}

impl Machine for Primitives {
    type Command<'a> = Command<'a>;
    type Event<'a> = Event<'a>;
    type Reply = Reply;
    type Refusal = Refusal;
    type Overlay = Overlay;

    #[inline]
    fn decide<'c>(
        &self,
        overlay: &Overlay,
        command: &Command<'c>,
        context: &Context<'_>,
        events: &mut Events<Event<'c>>,
    ) -> Decision<Self> {
        match command {
            Command::Streams(command) => {
                let emit = |event| events.push(Event::Streams(event));
                streams::decide(&self.streams, &overlay.streams, command, context, emit).into()
            }
        }
    }

    #[inline]
    fn foresee(&self, overlay: &mut Overlay, event: &Event<'_>) {
        match event {
            Event::Streams(event) => overlay.streams.foresee(&self.streams, event),
        }
    }

    #[inline]
    fn apply(&mut self, event: &Event<'_>) {
        match event {
            Event::Streams(event) => self.streams.apply(event),
        }
    }

    fn class(command: &Command<'_>) -> Class {
        match command {
            Command::Streams(command) => command.class(),
        }
    }

    /// # Panics
    /// If no primitive has timers under such a key.
    fn tick(key: RowKey) -> Command<'static> {
        let log = streams::log_of_row(key).expect("a timer's key names a partition");
        Command::Streams(streams::Command::Expire { log })
    }

    fn next_due(&self, key: RowKey, _now: Now) -> Option<Due> {
        match Primitive::of_kind(key.kind)? {
            Primitive::Streams => self.streams.next_due(key),
        }
    }

    #[inline]
    fn encoded_len(event: &Event<'_>) -> usize {
        match event {
            Event::Streams(event) => event.encoded_len(),
        }
    }

    #[inline]
    fn encode(event: &Event<'_>, out: &mut Put<'_>) {
        match event {
            Event::Streams(event) => event.encode(out),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Event<'_>, Malformed> {
        let tag = *bytes.first().ok_or(Malformed("an event without a tag"))?;
        match Primitive::of_tag(tag).ok_or(Malformed("a tag that no primitive has"))? {
            Primitive::Streams => streams::Event::decode(bytes).map(Event::Streams),
        }
    }

    #[inline]
    fn log_change(event: &Event<'_>) -> LogChange {
        match event {
            Event::Streams(event) => event.log_change(),
        }
    }

    #[inline]
    fn touches(event: &Event<'_>, visit: &mut dyn FnMut(RowKey)) {
        match event {
            Event::Streams(event) => event.touches(visit),
        }
    }

    fn measure(event: &[u8], visit: &mut dyn FnMut(u64, u64)) -> Result<(), Malformed> {
        let tag = *event.first().ok_or(Malformed("an event without a tag"))?;
        match Primitive::of_tag(tag).ok_or(Malformed("a tag that no primitive has"))? {
            Primitive::Streams => streams::measure(event, visit),
        }
    }

    fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        match Primitive::of_kind(key.kind)? {
            Primitive::Streams => self.streams.row(key),
        }
    }

    fn load(&mut self, key: RowKey, row: &[u8]) -> Result<(), Malformed> {
        match Primitive::of_kind(key.kind).ok_or(Malformed("a row of a kind that no primitive has"))? {
            Primitive::Streams => self.streams.load(key, row),
        }
    }

    fn logs(&self, visit: &mut dyn FnMut(LogId, u64, u64)) {
        self.streams.logs(visit);
    }

    fn log_start(&self, log: LogId) -> Option<u64> {
        self.streams.log_start(log)
    }

    fn timer_key(&self, log: LogId) -> Option<RowKey> {
        self.streams.timer_key(log)
    }
}

impl From<streams::Outcome> for Decision<Primitives> {
    #[inline]
    fn from(outcome: streams::Outcome) -> Decision<Primitives> {
        match outcome {
            streams::Outcome::Accept(reply) => Decision::Accept(Reply::Streams(reply)),
            streams::Outcome::Unchanged { reply, rests_on } => {
                Decision::Unchanged { reply: Reply::Streams(reply), rests_on }
            }
            streams::Outcome::Refuse { refusal, rests_on } => {
                Decision::Refuse { refusal: Refusal::Streams(refusal), rests_on }
            }
            streams::Outcome::Needs(lookup) => Decision::Needs(lookup),
        }
    }
}
