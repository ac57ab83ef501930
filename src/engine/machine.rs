//! What the engine asks of a primitive: to decide commands and to apply events, and to know nothing else.
//!
//! A machine is pure. It sees no clock (`Now` is an argument), no file, no thread, no other machine. `decide` looks at
//! the state and answers with facts or a refusal; `apply` makes a fact true and cannot fail. Replay after a crash is
//! `apply` alone, so a rule may change between versions while the bytes of an event may not.
//!
//! Several commands in one frame: each is decided on the state plus an *overlay* that holds what the events of the
//! earlier ones would change. If one refuses, the overlay is dropped and nothing has happened.

use bytes::Bytes;

use crate::base::codec::{Malformed, Put};
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::time::{BootTime, ClockIdentity, Now, Timestamp};

pub(crate) use super::line::{Stand, Ticket};
pub(crate) use super::logs::Logs;
pub(crate) use super::watched::Watched;
use crate::journal::entry::Entry;
pub(crate) use crate::journal::entry::{LOG_TAG, RecordPart, SHARED_TAG};
pub(crate) use crate::storage::control::FEATURE_QUEUES;

/// A primitive, or several composed into one.
pub(crate) trait Machine: Sized + Default + Send + 'static {
    /// A request that may be refused; plain data. Bodies are borrowed from the caller until the frame is written.
    type Command<'a>;
    /// A decided fact.
    type Event<'a>;
    /// The answer to an accepted command; plain data.
    type Reply: Send + 'static;
    /// Why a command was refused; plain data.
    type Refusal: Send + 'static;
    /// What the events decided so far in one frame would change.
    type Overlay: Default;
    /// What a due timer wants to have read before a command can be made of it.
    type Errand;

    /// Decides one command on the state with `overlay` applied. Pushes events only when it accepts.
    fn decide<'c>(
        &self,
        overlay: &Self::Overlay,
        command: &Self::Command<'c>,
        context: &Context<'_>,
        events: &mut Events<Self::Event<'c>>,
    ) -> Decision<Self>;

    /// Makes an event true in the overlay.
    fn foresee(&self, overlay: &mut Self::Overlay, event: &Self::Event<'_>);

    /// Makes an event true; `lsn` is where the frame that it stands in starts, the same in life and in replay. Must
    /// accept every event that `decide` of this or any earlier version made.
    fn apply(&mut self, event: &Self::Event<'_>, lsn: Lsn);

    /// Which share of journal space the command may use.
    fn class(command: &Self::Command<'_>) -> Class;

    /// How much is handed out and not settled.
    fn in_flight(&self) -> u64;

    /// What programs must know, besides the first format, to read what the command may write.
    fn features(_command: &Self::Command<'_>) -> u64 {
        0
    }

    /// The level that the object written to has, if it has one of its own.
    fn level(&self, command: &Self::Command<'_>) -> Option<Level>;

    /// The command that a due timer stands for.
    fn tick(key: RowKey) -> Self::Command<'static>;

    /// What is to be read for a due timer, if anything is, as the state stands.
    fn errand(&self, key: RowKey) -> Option<Self::Errand>;

    /// Reads, without the core lock, and submits the command that comes of it, if one does.
    fn run_errand(
        errand: &Self::Errand,
        read: &mut dyn FnMut(LogId, u64) -> Result<Found, Unfound>,
        submit: &mut dyn FnMut(&Self::Command<'_>),
    );

    /// When the object wants its tick, if it wants one at all, as its state stands.
    fn next_due(&self, key: RowKey, now: Now) -> Option<Due>;

    /// Bytes that `encode` will write.
    fn encoded_len(event: &Self::Event<'_>) -> usize;

    /// Writes the event: its tag, then its fields. Tags with `journal::entry::LOG_TAG` set are followed by a
    /// `journal::entry` header.
    fn encode(event: &Self::Event<'_>, out: &mut Put<'_>);

    /// Reads an event back, tag included.
    fn decode(bytes: &[u8]) -> Result<Self::Event<'_>, Malformed>;

    /// What the event does to logs.
    fn log_change(event: &Self::Event<'_>) -> LogChange;

    /// What an event adds to each log, of which `log_change` says that these are several.
    fn appends(event: &Self::Event<'_>, visit: &mut dyn FnMut(LogAppend));

    /// Logs whose timers may be due earlier now that the event is true, besides those of what it does to logs.
    fn hastens(&self, event: &Self::Event<'_>, visit: &mut dyn FnMut(LogId));

    /// Names every row that the event changes. To be asked before it is applied.
    fn touches(&self, event: &Self::Event<'_>, visit: &mut dyn FnMut(RowKey));

    /// A row of the checkpoint as the object stands now; `None` if the object is gone.
    fn row(&self, key: RowKey) -> Option<Vec<u8>>;

    /// Takes a row back from the checkpoint. Rows come in the order of their keys.
    fn load(&mut self, key: RowKey, row: &[u8]) -> Result<(), Malformed>;

    /// Every log with the offset of its first live record and the offset of the next.
    fn logs(&self, visit: &mut dyn FnMut(LogId, u64, u64));

    /// Goes on with a pass over every log, which misses none that is there from beginning to end, by at most `steps`
    /// steps. Tells whether there may be more.
    fn next_logs(&self, cursor: &mut LogCursor, steps: usize, visit: &mut dyn FnMut(LogId)) -> bool;

    /// The first live offset of a log; `None` if there is no such log.
    fn log_start(&self, log: LogId) -> Option<u64>;

    /// Timestamp of the last record that a log ever had; 0 before the first.
    fn log_last_timestamp(&self, log: LogId) -> Timestamp;

    /// Tells each record's offset and bytes (key, headers and body) of an encoded event that put records into a log.
    fn measure(event: &[u8], visit: &mut dyn FnMut(u64, u64)) -> Result<(), Malformed>;

    /// Tells each record of an encoded event that put records into a log, with its bytes in the event.
    fn visit_records<'a>(event: &'a [u8], visit: &mut dyn FnMut(RecordPart<'a>)) -> Result<(), Malformed>;

    /// What compaction must know of a log; `None` if all of its records are kept, for as long as it lives.
    fn compacted_log(&self, log: LogId) -> Option<CompactedLog>;

    /// The command that tells what compaction has left of a log.
    fn recount(recount: Recount) -> Self::Command<'static>;

    /// Whether an object for which somebody stands in line has something still. Of each log `shown` tells the first
    /// offset that may not be shown yet.
    fn offers(&self, _key: RowKey, _now: Now, _shown: &dyn Fn(LogId) -> u64) -> bool {
        true
    }

    /// The timer that a log has, if its primitive gives it one. Its key's `id` is the log's number.
    fn log_timer(&self, log: LogId) -> Option<LogTimer>;
}

/// A log of which each key keeps its newest record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CompactedLog {
    pub(crate) tombstone_retention_micros: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Below it no key has two records.
    pub(crate) cleaned: u64,
    /// How often a pass has told what it left.
    pub(crate) passes: u64,
}

/// What a pass of compaction has left of a log, counted up to the end that it had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Recount {
    pub(crate) log: LogId,
    /// The log as it was when it was counted.
    pub(crate) seen: CompactedLog,
    pub(crate) through: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// How far a pass over every log has come; the machine knows what it means.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct LogCursor(pub(crate) u64);

/// What a machine may know besides its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) known: &'a Known,
    /// Of the boot clock.
    pub(crate) clock: &'a ClockIdentity,
    /// Who waits for what, in this life of the host.
    pub(crate) watched: &'a Watched,
    /// What of each log may be shown.
    pub(crate) logs: &'a Logs,
    pub(crate) durable: Lsn,
}

impl Context<'_> {
    /// The first offset of a log that may not be shown yet (law 4); 0 if there is no such log.
    pub(crate) fn shown(&self, log: LogId) -> u64 {
        self.logs.get(log).map_or(0, |cell| cell.shown(self.durable))
    }
}

/// The outcome of `decide`.
pub(crate) enum Decision<M: Machine> {
    /// The events hold.
    Accept(M::Reply),
    /// Nothing changes. The reply reveals the object named.
    Unchanged { reply: M::Reply, rests_on: Option<RowKey> },
    /// Nothing changes. The refusal reveals the object named.
    Refuse { refusal: M::Refusal, rests_on: Option<RowKey> },
    /// Cold facts are missing: fetch them without the core lock and decide again.
    Needs(Lookup),
}

/// The events of one command or transaction. One event, the usual number, takes no allocation.
#[derive(Debug)]
pub(crate) struct Events<E> {
    first: Option<E>,
    rest: Vec<E>,
}

impl<E> Default for Events<E> {
    fn default() -> Events<E> {
        Events { first: None, rest: Vec::new() }
    }
}

impl<E> Events<E> {
    #[inline]
    pub(crate) fn push(&mut self, event: E) {
        if self.first.is_none() {
            self.first = Some(event);
        } else {
            self.rest.push(event);
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The event, if there is exactly one.
    #[inline]
    pub(crate) fn only(&self) -> Option<&E> {
        self.first.as_ref().filter(|_| self.rest.is_empty())
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> + Clone {
        self.first.iter().chain(&self.rest)
    }
}

/// Which share of journal space and of the replay bound a command may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// Adds to what is stored; refused first.
    Publish,
    /// Settles, expires, trims or deletes; may use the reserve.
    Settle,
    /// Hands out what must be settled later: may use the reserve as far as there is room to settle all that is out.
    HandOut,
}

/// The timer of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogTimer {
    pub(crate) key: RowKey,
    /// An append may bring its due time forward. Of others the engine asks only once until they have fired.
    pub(crate) is_hastened_by_appends: bool,
}

/// When a tick is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// As soon as the timers come to it.
    Soon,
    At(Timestamp),
    /// At this time of the boot clock.
    AtBoot(BootTime),
}

/// A question about records that are not in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lookup {
    pub(crate) log: LogId,
    /// Where to begin: the log's first live offset.
    pub(crate) from: u64,
    pub(crate) until: Until,
    /// Passes of compaction over the log that are known of: an answer from before another does not fit.
    pub(crate) passes: u64,
}

/// Where a stretch that begins at the start of a log shall end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// Before this offset.
    Offset(u64),
    /// Before the first record with this timestamp or a later one.
    Time(Timestamp),
    /// As soon as the stretch holds at least this many bytes.
    Bytes(u64),
    /// As soon as it holds at least this many records.
    Records(u64),
    /// As soon as no more than this many records or bytes stand behind it.
    RecordsLeft(u64),
    BytesLeft(u64),
}

/// An item that was read for an errand, and what it says of the log that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) item: Bytes,
    pub(crate) entry: Entry,
}

/// Why a record was not read for an errand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unfound {
    /// Nobody may see it yet, or it cannot be read just now.
    NotYet,
    Damaged,
}

/// The answer to a [`Lookup`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stretch {
    /// The first offset after the stretch.
    pub(crate) end: u64,
    /// Bytes of keys, headers and bodies in it.
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Timestamp of the first record from `end` on; `None` if the log ends there.
    pub(crate) next_timestamp: Option<Timestamp>,
}

/// Cold facts fetched for one command.
#[derive(Clone, Default, Debug)]
pub(crate) struct Known {
    facts: Vec<(Lookup, Stretch)>,
}

impl Known {
    pub(crate) fn add(&mut self, lookup: Lookup, stretch: Stretch) {
        self.facts.push((lookup, stretch));
    }

    pub(crate) fn stretch(&self, lookup: Lookup) -> Option<Stretch> {
        self.facts.iter().rev().find(|(asked, _)| *asked == lookup).map(|(_, stretch)| *stretch)
    }
}

/// What an event does to logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogChange {
    None,
    /// `count` new logs with successive ids come to be, empty.
    Open {
        first: LogId,
        count: u32,
    },
    /// `count` logs with successive ids end with all that is in them.
    Close {
        first: LogId,
        count: u32,
    },
    /// Records were added at the end.
    Append(LogAppend),
    /// The same records were added at the ends of several logs, and stand in the event once.
    AppendToSeveral,
    /// Records below `start` are dead.
    Trim {
        log: LogId,
        start: u64,
    },
    /// The timers of these logs may be due at other times than before.
    Rearm {
        first: LogId,
        count: u32,
    },
}

/// Records added at the end of a log by one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogAppend {
    pub(crate) log: LogId,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) timestamp: Timestamp,
    /// Bytes of keys, headers and bodies.
    pub(crate) bytes: u64,
}
