//! The primitives, and [`Primitives`], which composes them into the one machine that the engine drives.
//!
//! Each primitive has its own share of tags and row kinds, so that an event or a row tells whose it is:
//!
//! | primitive | event tags             | row kinds |
//! |-----------|------------------------|-----------|
//! | streams   | 1..=15, 0x81..=0x8f    | 1..=15    |
//!
//! A further primitive is a field here, a variant in each of the four enums below, and an arm wherever they are
//! matched; it takes the next sixteen tags and kinds, and ids of logs that no other gives.

pub(crate) mod streams;

use crate::base::codec::{Malformed, Put};
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::time::{Now, Timestamp};
use crate::engine::machine::{Class, Context, Decision, Due, Events, LOG_TAG, LogChange, LogCursor, LogTimer, Machine};

/// All primitives.
#[derive(Default)]
pub(crate) struct Primitives {
    pub(crate) streams: streams::State,
}

impl std::fmt::Debug for Primitives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Primitives").field("streams", &self.streams.streams().count()).finish()
    }
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

    #[inline(always)]
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

    #[inline]
    fn level(&self, command: &Command<'_>) -> Option<Level> {
        match command {
            Command::Streams(command) => self.streams.level(command),
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

    fn next_logs(&self, cursor: &mut LogCursor, steps: usize, visit: &mut dyn FnMut(LogId)) -> bool {
        self.streams.next_logs(cursor, steps, visit)
    }

    fn log_start(&self, log: LogId) -> Option<u64> {
        self.streams.log_start(log)
    }

    fn log_last_timestamp(&self, log: LogId) -> Timestamp {
        self.streams.log_last_timestamp(log)
    }

    fn log_timer(&self, log: LogId) -> Option<LogTimer> {
        self.streams.log_timer(log)
    }
}

impl From<streams::Outcome> for Decision<Primitives> {
    #[inline(always)]
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::time::BootTime;
    use crate::engine::machine::Known;

    const NOW: Now = Now { wall: Timestamp(5), boot: BootTime(5) };

    fn bytes_of(event: &Event<'_>) -> Vec<u8> {
        let mut bytes = vec![0; Primitives::encoded_len(event)];
        Primitives::encode(event, &mut Put::new(&mut bytes));
        bytes
    }

    #[test]
    fn a_command_an_event_a_row_and_a_timer_find_their_primitive() {
        let mut primitives = Primitives::default();
        let retention = streams::Retention { records: Some(1), ..streams::Retention::default() };
        let options = streams::Options { retention, ..streams::Options::default() };
        let command = Command::Streams(streams::Command::Create { name: "s", options });
        let (known, mut events) = (Known::default(), Events::default());
        let context = Context { now: NOW, known: &known };
        let decision = primitives.decide(&Overlay::default(), &command, &context, &mut events);
        assert!(matches!(decision, Decision::Accept(Reply::Streams(streams::Reply::Stream(_)))));
        for event in events.iter() {
            let bytes = bytes_of(event);
            primitives.apply(&Primitives::decode(&bytes).expect("an event that was written"));
        }
        let log = LogId(1);
        let key = primitives.log_timer(log).expect("a stream with retention has timers").key;
        let tick = Primitives::tick(key);
        assert!(matches!(tick, Command::Streams(streams::Command::Expire { log: LogId(1) })));
        let mut again = Primitives::default();
        for kind in 1..=2 {
            let key = RowKey { kind, id: u64::from(kind - 1) };
            again.load(key, &primitives.row(key).expect("a row")).expect("a row that was written");
        }
        assert_eq!((again.log_start(log), again.row(key)), (Some(0), primitives.row(key)));
    }

    #[test]
    fn tags_and_kinds_of_no_primitive_are_malformed() {
        for tag in [0, 16, 0x7f, 0x80, 0x90, 0xff] {
            assert!(Primitives::decode(&[tag, 1, 1, 1]).is_err());
            assert!(Primitives::measure(&[tag, 1, 1, 1], &mut |_, _| {}).is_err());
        }
        assert!(Primitives::decode(&[]).is_err());
        let mut primitives = Primitives::default();
        let key = RowKey { kind: 16, id: 1 };
        assert!(primitives.load(key, &[1]).is_err() && primitives.row(key).is_none());
    }
}
