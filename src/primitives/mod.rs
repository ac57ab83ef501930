//! The primitives, and [`Primitives`], which composes them into the one machine that the engine drives.
//!
//! Each primitive has its own share of tags and row kinds, so that an event or a row tells whose it is:
//!
//! | primitive | event tags             | row kinds |
//! |-----------|------------------------|-----------|
//! | streams   | 1..=15, 0x81..=0x8f    | 1..=15    |
//! | sessions  | 0x10..=0x1f            | 16..=31   |
//! | streams: their groups | 0x20..=0x2f | 32..=47  |
//! | queues    | 0x30..=0x3f, 0xb0..=0xbf, 0xf0..=0xff | 48..=79 |
//!
//! A further primitive is a field here, a variant in each of the four enums below, and an arm wherever they are
//! matched; it takes the next sixteen tags and kinds, and ids of logs that no other gives.
//!
//! [`once`] wraps a command of any of them into a request that is applied once; [`reply`] has the bytes of replies.

mod once;
pub(crate) mod queues;
mod record;
mod reply;
pub(crate) mod sessions;
pub(crate) mod streams;

pub(crate) use once::Once;
pub(crate) use reply::{Repeated, Reply};

use crate::base::codec::{Malformed, Put};
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::time::{Now, Timestamp};
use crate::engine::machine::{
    Class, CompactedLog, Context, Decision, Due, Events, FEATURE_QUEUES, LOG_TAG, LogAppend, LogChange, LogCursor,
    LogTimer, Machine, RecordPart, Recount, SHARED_TAG,
};

/// All primitives.
#[derive(Default)]
pub(crate) struct Primitives {
    pub(crate) streams: streams::State,
    pub(crate) sessions: sessions::State,
    pub(crate) queues: queues::State,
}

impl std::fmt::Debug for Primitives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Primitives")
            .field("streams", &self.streams.streams().count())
            .field("sessions", &self.sessions.count())
            .field("queues", &self.queues.count())
            .finish()
    }
}

/// A request to one of them.
// A tag of its own: asking for the variant takes 20 instructions of an append where the tag is a niche.
#[repr(u8)]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command<'a> {
    Streams(streams::Command<'a>),
    Sessions(sessions::Command),
    Queues(queues::Command<'a>),
    /// A command of another primitive, as a request that is applied once.
    Once(Once<'a>),
}

/// A decided fact of one of them.
#[derive(Clone, Debug)]
pub(crate) enum Event<'a> {
    Streams(streams::Event<'a>),
    Sessions(sessions::Event<'a>),
    Queues(queues::Event<'a>),
}

/// Why a command was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    Streams(streams::Refusal),
    Sessions(sessions::Refusal),
    Queues(queues::Refusal),
}

/// What the events decided so far in one frame would change.
#[derive(Default)]
pub(crate) struct Overlay {
    streams: streams::Overlay,
    sessions: sessions::Overlay,
    queues: queues::Overlay,
}

/// Whose an event or a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Primitive {
    Streams,
    Sessions,
    Queues,
}

impl Primitive {
    fn of_tag(tag: u8) -> Option<Primitive> {
        match tag & LOG_TAG {
            0 => Primitive::of_kind(tag),
            _ => Primitive::of_kind(tag & !(LOG_TAG | SHARED_TAG)),
        }
    }

    fn of_kind(kind: u8) -> Option<Primitive> {
        match kind {
            1..=15 | 32..=47 => Some(Primitive::Streams),
            16..=31 => Some(Primitive::Sessions),
            48..=79 => Some(Primitive::Queues),
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
    type Errand = queues::Errand;

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
            Command::Sessions(command) => self.decide_session(overlay, command, context, events),
            Command::Queues(command) => {
                let emit = |event| events.push(Event::Queues(event));
                queues::decide(&self.queues, &overlay.queues, command, context, emit).into()
            }
            Command::Once(once) => self.decide_once(overlay, once, context, events),
        }
    }

    #[inline]
    fn foresee(&self, overlay: &mut Overlay, event: &Event<'_>) {
        match event {
            Event::Streams(event) => overlay.streams.foresee(&self.streams, event),
            Event::Sessions(event) => overlay.sessions.foresee(&self.sessions, event),
            Event::Queues(event) => overlay.queues.foresee(&self.queues, event),
        }
    }

    #[inline]
    fn apply(&mut self, event: &Event<'_>, lsn: Lsn) {
        match event {
            Event::Streams(event) => self.streams.apply(event, lsn),
            Event::Sessions(event) => self.sessions.apply(event, lsn),
            Event::Queues(event) => self.queues.apply(event, lsn),
        }
    }

    fn class(command: &Command<'_>) -> Class {
        match command {
            Command::Streams(command) => command.class(),
            Command::Sessions(command) => command.class(),
            Command::Queues(command) => command.class(),
            Command::Once(once) => Primitives::class(once.command),
        }
    }

    fn in_flight(&self) -> u64 {
        self.queues.in_flight()
    }

    #[inline]
    fn features(command: &Command<'_>) -> u64 {
        match command {
            Command::Queues(
                queues::Command::Create { .. }
                | queues::Command::Ensure { .. }
                | queues::Command::Schedule { .. }
                | queues::Command::DeclareExchange { .. }
                | queues::Command::EnsureExchange { .. },
            ) => FEATURE_QUEUES,
            Command::Once(once) => Primitives::features(once.command),
            _ => 0,
        }
    }

    #[inline]
    fn level(&self, command: &Command<'_>) -> Option<Level> {
        match command {
            Command::Streams(command) => self.streams.level(command),
            Command::Sessions(_) => None,
            Command::Queues(command) => self.queues.level(command),
            Command::Once(once) => self.level_of_once(once),
        }
    }

    /// # Panics
    /// If no primitive has timers under such a key.
    fn tick(key: RowKey) -> Command<'static> {
        if let Some(tick) = queues::tick(key) {
            return Command::Queues(tick);
        }
        Command::Streams(streams::tick(key).expect("a timer's key names a partition or a producer"))
    }

    fn errand(&self, key: RowKey) -> Option<queues::Errand> {
        self.queues.errand(key)
    }

    fn run_errand(errand: &queues::Errand, read: queues::ErrandRead<'_>, submit: &mut dyn FnMut(&Command<'_>)) {
        errand.run(read, &mut |command| submit(&Command::Queues(*command)));
    }

    fn next_due(&self, key: RowKey, _now: Now) -> Option<Due> {
        match Primitive::of_kind(key.kind)? {
            Primitive::Streams => self.streams.next_due(key),
            Primitive::Sessions => None,
            Primitive::Queues => self.queues.next_due(key),
        }
    }

    #[inline]
    fn encoded_len(event: &Event<'_>) -> usize {
        match event {
            Event::Streams(event) => event.encoded_len(),
            Event::Sessions(event) => event.encoded_len(),
            Event::Queues(event) => event.encoded_len(),
        }
    }

    #[inline]
    fn encode(event: &Event<'_>, out: &mut Put<'_>) {
        match event {
            Event::Streams(event) => event.encode(out),
            Event::Sessions(event) => event.encode(out),
            Event::Queues(event) => event.encode(out),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Event<'_>, Malformed> {
        let tag = *bytes.first().ok_or(Malformed("an event without a tag"))?;
        match Primitive::of_tag(tag).ok_or(Malformed("a tag that no primitive has"))? {
            Primitive::Streams => streams::Event::decode(bytes).map(Event::Streams),
            Primitive::Sessions => sessions::Event::decode(bytes).map(Event::Sessions),
            Primitive::Queues => queues::Event::decode(bytes).map(Event::Queues),
        }
    }

    #[inline]
    fn log_change(event: &Event<'_>) -> LogChange {
        match event {
            Event::Streams(event) => event.log_change(),
            Event::Sessions(_) => LogChange::None,
            Event::Queues(event) => event.log_change(),
        }
    }

    fn appends(event: &Event<'_>, visit: &mut dyn FnMut(LogAppend)) {
        if let Event::Queues(event) = event {
            event.appends(visit);
        }
    }

    #[inline]
    fn touches(&self, event: &Event<'_>, visit: &mut dyn FnMut(RowKey)) {
        match event {
            Event::Streams(event) => event.touches(visit),
            Event::Sessions(event) => event.touches(visit),
            Event::Queues(event) => self.queues.touches(event, visit),
        }
    }

    #[inline]
    fn hastens(&self, event: &Event<'_>, visit: &mut dyn FnMut(LogId)) {
        if let Event::Queues(event) = event {
            self.queues.hastens(event, visit);
        }
    }

    fn measure(event: &[u8], visit: &mut dyn FnMut(u64, u64)) -> Result<(), Malformed> {
        let tag = *event.first().ok_or(Malformed("an event without a tag"))?;
        match Primitive::of_tag(tag).ok_or(Malformed("a tag that no primitive has"))? {
            Primitive::Streams => streams::measure(event, visit),
            Primitive::Queues => queues::measure(event, visit),
            Primitive::Sessions => Err(Malformed("an event that puts no records into a log")),
        }
    }

    fn visit_records<'a>(event: &'a [u8], visit: &mut dyn FnMut(RecordPart<'a>)) -> Result<(), Malformed> {
        let tag = *event.first().ok_or(Malformed("an event without a tag"))?;
        match Primitive::of_tag(tag).ok_or(Malformed("a tag that no primitive has"))? {
            Primitive::Streams => streams::visit_records(event, visit),
            Primitive::Queues => Err(Malformed("an event of a log that is never compacted")),
            Primitive::Sessions => Err(Malformed("an event that puts no records into a log")),
        }
    }

    fn compacted_log(&self, log: LogId) -> Option<CompactedLog> {
        self.streams.compacted_log(log)
    }

    fn recount(recount: Recount) -> Command<'static> {
        Command::Streams(streams::Command::Compacted(recount))
    }

    fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        match Primitive::of_kind(key.kind)? {
            Primitive::Streams => self.streams.row(key),
            Primitive::Sessions => self.sessions.row(key),
            Primitive::Queues => self.queues.row(key),
        }
    }

    fn load(&mut self, key: RowKey, row: &[u8]) -> Result<(), Malformed> {
        match Primitive::of_kind(key.kind).ok_or(Malformed("a row of a kind that no primitive has"))? {
            Primitive::Streams => self.streams.load(key, row),
            Primitive::Sessions => self.sessions.load(key, row),
            Primitive::Queues => self.queues.load(key, row),
        }
    }

    fn logs(&self, visit: &mut dyn FnMut(LogId, u64, u64)) {
        self.streams.logs(visit);
        self.queues.logs(visit);
    }

    fn next_logs(&self, cursor: &mut LogCursor, steps: usize, visit: &mut dyn FnMut(LogId)) -> bool {
        // The logs of queues have the higher numbers: a cursor among them is one of theirs.
        match self.queues.is_cursor(*cursor) {
            true => self.queues.next_logs(cursor, steps, visit),
            false if self.streams.next_logs(cursor, steps, visit) => true,
            false => {
                *cursor = queues::State::first_cursor();
                true
            }
        }
    }

    fn log_start(&self, log: LogId) -> Option<u64> {
        if queues::is_log(log) { self.queues.log_start(log) } else { self.streams.log_start(log) }
    }

    fn log_last_timestamp(&self, log: LogId) -> Timestamp {
        if queues::is_log(log) { self.queues.log_last_timestamp(log) } else { self.streams.log_last_timestamp(log) }
    }

    fn offers(&self, key: RowKey, now: Now, shown: &dyn Fn(LogId) -> u64) -> bool {
        self.queues.offers(key, now, shown)
    }

    fn log_timer(&self, log: LogId) -> Option<LogTimer> {
        if queues::is_log(log) { self.queues.log_timer(log) } else { self.streams.log_timer(log) }
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

impl From<queues::Outcome> for Decision<Primitives> {
    fn from(outcome: queues::Outcome) -> Decision<Primitives> {
        match outcome {
            queues::Outcome::Accept(reply) => Decision::Accept(Reply::Queues(reply)),
            queues::Outcome::Unchanged { reply, rests_on } => {
                Decision::Unchanged { reply: Reply::Queues(reply), rests_on }
            }
            queues::Outcome::Refuse { refusal, rests_on } => {
                Decision::Refuse { refusal: Refusal::Queues(refusal), rests_on }
            }
        }
    }
}

impl From<sessions::Outcome> for Decision<Primitives> {
    fn from(outcome: sessions::Outcome) -> Decision<Primitives> {
        match outcome {
            sessions::Outcome::Accept(reply) => Decision::Accept(Reply::Sessions(reply)),
            sessions::Outcome::Unchanged { reply, rests_on } => {
                Decision::Unchanged { reply: Reply::Sessions(reply), rests_on }
            }
            sessions::Outcome::Refuse { refusal, rests_on } => {
                Decision::Refuse { refusal: Refusal::Sessions(refusal), rests_on }
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::time::{BootTime, ClockIdentity};
    use crate::engine::machine::{Known, Logs, Watched};

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
        let context = Context {
            now: NOW,
            known: &known,
            clock: &ClockIdentity::default(),
            watched: &Watched::default(),
            logs: &Logs::default(),
            durable: Lsn(0),
        };
        let decision = primitives.decide(&Overlay::default(), &command, &context, &mut events);
        assert!(matches!(decision, Decision::Accept(Reply::Streams(streams::Reply::Stream(_)))));
        for event in events.iter() {
            let bytes = bytes_of(event);
            primitives.apply(&Primitives::decode(&bytes).expect("an event that was written"), Lsn(8));
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
        for tag in [0, 0x40, 0x7f, 0x80, 0x90, 0xff] {
            assert!(Primitives::decode(&[tag, 1, 1, 1]).is_err());
            assert!(Primitives::measure(&[tag, 1, 1, 1], &mut |_, _| {}).is_err());
        }
        assert!(Primitives::decode(&[]).is_err());
        let mut primitives = Primitives::default();
        let key = RowKey { kind: 64, id: 1 };
        assert!(primitives.load(key, &[1]).is_err() && primitives.row(key).is_none());
    }
}
