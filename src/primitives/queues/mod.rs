//! Queues: messages that are handed out to one consumer at a time, and settled one by one.
//!
//! A queue has a *lane* for each priority in use, which is a log of the store: a message's sequence is its offset
//! there. A lane has a cursor. What it has not come by is *in line*, what it has passed is gone; a message of which
//! neither is true (in flight, returned, delayed, grouped, dead) has a bit in its *chunk* of 64, and what more there is
//! to know of it. So a message that waits in line takes no memory, and one that says something of itself takes a few
//! bytes.
//!
//! What became of a message that failed or died is a *note*, a record of a log that the queue has for them: error texts
//! stay where they were written.
//!
//! | file           | holds                                                         |
//! |----------------|---------------------------------------------------------------|
//! | `command.rs`   | requests, refusals                                            |
//! | `reply.rs`     | answers and their bytes                                       |
//! | `options.rs`   | what a queue may be told, backoff                             |
//! | `message.rs`   | a message to send, and what it says of itself                 |
//! | `sent.rs`      | messages in an item                                           |
//! | `event.rs`     | facts and their bytes                                         |
//! | `note.rs`      | what failed or died, in an item                               |
//! | `chunk.rs`     | the messages of 64 sequences that are not simply in line      |
//! | `lane.rs`      | the messages of one priority                                  |
//! | `queue.rs`     | a queue's lanes and groups, and what is due when              |
//! | `state.rs`     | all queues, and how facts change them                         |
//! | `changes.rs`   | how facts change one queue                                    |
//! | `rows.rs`      | the same as rows of the checkpoint                            |
//! | `touches.rs`   | which rows a fact changes, and whom it is news for            |
//! | `decide.rs`    | which commands are accepted                                   |
//! | `sending.rs`   | sending                                                       |
//! | `picking.rs`   | which messages are handed out next                            |
//! | `handing.rs`   | handing out                                                   |
//! | `settling.rs`  | settling                                                      |
//! | `returning.rs` | what becomes of messages that come back                       |
//! | `ticking.rs`   | what the clocks bring about                                   |
//! | `letters.rs`   | dead letters                                                  |
//! | `history.rs`   | what became of a message, as it travels with it               |
//! | `errand.rs`    | what must be read before dead letters can be moved on         |
//! | `moving.rs`    | moving letters out of a queue                                 |
//! | `looking.rs`   | looking at messages, and cancelling and rescheduling them      |
//! | `erasing.rs`   | purging and deleting                                          |
//! | `trimming.rs`  | where the logs of a queue start                               |
//! | `overflow.rs`  | what happens to a queue that is full                          |
//! | `overlay.rs`   | several commands in one frame                                 |
//! | `published.rs` | messages that went to several queues, in an item              |
//! | `consumers`    | who is handed messages under a name, and whose turn it is     |
//! | `dedup`        | which messages were accepted before, by their ids             |
//! | `exchanges`    | exchanges and bindings, and publishing through them           |
//! | `routing`      | from a routing key and headers to queues                      |
//! | `schedules`    | messages that are sent at times                               |

mod changes;
mod chunk;
mod command;
mod consumers;
mod decide;
mod dedup;
mod erasing;
mod errand;
mod event;
mod exchanges;
mod handing;
mod history;
mod lane;
mod letters;
mod looking;
mod message;
mod moving;
mod note;
mod options;
mod overflow;
mod overlay;
mod picking;
mod published;
mod queue;
mod reply;
mod returning;
mod routing;
mod rows;
mod schedules;
mod sending;
mod sent;
mod settling;
mod state;
#[cfg(all(test, not(loom)))]
mod tests;
mod ticking;
mod touches;
mod trimming;

pub(crate) use command::{
    Clock, Command, DeliveryId, Erasing, Holder, Outcome, Place, QueueNumber, Reason, Refusal, Settlement, Stretch,
};
pub(crate) use consumers::{Consumer, ConsumerNumber, Joining, Taker, consumer_row, turn_row};
pub(crate) use decide::decide;
pub(crate) use dedup::{Horizon, Told};
pub(crate) use errand::{Errand, Read as ErrandRead};
pub(crate) use event::Event;
pub(crate) use exchanges::{
    DEFAULT as DEFAULT_EXCHANGE, ExchangeOptions, Limits, binding_len, exchange_row, put_binding, take_binding,
};
pub(crate) use handing::KNOWS_NOTHING;
pub(crate) use history::{Deaths, History, NewDeath};
pub(crate) use lane::{Lane, LaneNumber, place_of, sequence};
pub(crate) use letters::{Letter, WaitingMessage};
pub(crate) use looking::{Seen, Standing};
pub(crate) use message::{Due as DueTime, Message, MessageRef, Origin};
pub(crate) use note::read_note;
pub(crate) use options::{Backoff, DeadLetters, Growth, JitterKind, Options, Overflow, Target as LetterTarget};
pub(crate) use overlay::Overlay;
pub(crate) use queue::{Queue, QueueCounts};
pub(crate) use reply::{HandedRun, Reply};
pub(crate) use routing::{Arguments, Binding, Condition, Destination, ExchangeNumber, Kind, Mode};
pub(crate) use rows::{COUNTERS, news_row, queue_row};
pub(crate) use schedules::{
    KeptMessage, LastLeftOut, LastSent, LeftOutReason, MissedRuns, OverlappingRuns, Plan, SCHEDULES, Schedule, Target,
    When, schedule_row,
};
pub(crate) use sent::read_messages;
pub(crate) use state::State;

use event::{DIED, FAILED};
use rows::{KIND_BOOT, KIND_WALL};

use crate::base::codec::Malformed;
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::time::Timestamp;
use crate::engine::machine::{Due, LogCursor, LogTimer};
use crate::journal::entry::each_entry;

/// Whether a log is a queue's.
#[inline]
pub(crate) fn is_log(log: LogId) -> bool {
    log.0 >= state::FIRST_LOG
}

impl State {
    /// Whether a pass over all logs has come to those of queues.
    pub(crate) fn is_cursor(&self, cursor: LogCursor) -> bool {
        cursor.0 >= state::FIRST_LOG
    }

    pub(crate) const fn first_cursor() -> LogCursor {
        LogCursor(state::FIRST_LOG)
    }

    /// When the queue with this timer wants its tick.
    pub(crate) fn next_due(&self, key: RowKey) -> Option<Due> {
        if key.kind == schedules::KIND_TIMER {
            return self.schedules.next_due().map(Due::At);
        }
        let queue = self.logs.get(&LogId(key.id)).and_then(|(queue, _)| self.get(*queue))?;
        match key.kind {
            // Letters that are to leave are due since ever.
            KIND_WALL if !queue.leaving.is_empty() => Some(Due::At(Timestamp(0))),
            KIND_WALL => {
                let first = queue.wall.first().map(|(at, ..)| *at);
                first.into_iter().chain(self.ids_due(queue)).min().map(Due::At)
            }
            KIND_BOOT => queue.boot.first().map(|(at, ..)| Due::AtBoot(*at)),
            _ => None,
        }
    }

    /// A log's timer: the log of a queue's notes has the one by the wall clock, its first lane's the other.
    pub(crate) fn log_timer(&self, log: LogId) -> Option<LogTimer> {
        if self.schedules.log == Some(log) {
            let key = RowKey { kind: schedules::KIND_TIMER, id: log.0 };
            return Some(LogTimer { key, is_hastened_by_appends: false });
        }
        let (queue, lane) = self.logs.get(&log)?;
        let kind = match lane {
            None => KIND_WALL,
            Some(_) if touches::boot_log(self.queues.get(queue)?) == log => KIND_BOOT,
            Some(_) => return None,
        };
        Some(LogTimer { key: RowKey { kind, id: log.0 }, is_hastened_by_appends: false })
    }

    /// The level of the queue that is written to, if it has one of its own.
    pub(crate) fn level(&self, command: &Command<'_>) -> Option<Level> {
        match command {
            Command::Send { queue, .. } => self.get(*queue)?.options.level,
            _ => None,
        }
    }
}

/// The logs that carry timers, and the clock of each.
#[cfg(test)]
pub(crate) fn tick_logs(state: &State) -> Vec<(LogId, Clock)> {
    let of_queue = |queue: &Queue| [(queue.notes.log, Clock::Wall), (touches::boot_log(queue), Clock::Boot)];
    state.queues.values().filter(|queue| !queue.is_retired).flat_map(of_queue).collect()
}

/// The command that the due timer of this row stands for.
pub(crate) fn tick(key: RowKey) -> Option<Command<'static>> {
    let clock = match key.kind {
        KIND_WALL => Clock::Wall,
        KIND_BOOT => Clock::Boot,
        schedules::KIND_TIMER => return Some(Command::RunSchedule),
        _ => return None,
    };
    Some(Command::Tick { log: LogId(key.id), clock })
}

/// Each record's offset and bytes, of an encoded event that put messages or a note into a log.
pub(crate) fn measure(item: &[u8], visit: &mut dyn FnMut(u64, u64)) -> Result<(), Malformed> {
    match item.first() {
        Some(&(FAILED | DIED)) => {
            let Event::Noted(note) = Event::decode(item)? else { return Err(Malformed("a note that is none")) };
            visit(note.entry.first, note.text.len() as u64);
        }
        _ => {
            let mut first = None;
            each_entry(item, &mut |entry| {
                first.get_or_insert(entry);
            })?;
            for message in read_messages(item, &first.ok_or(Malformed("messages that nobody has"))?)? {
                let record = message?.record;
                visit(record.offset, record.user_bytes() as u64);
            }
        }
    }
    Ok(())
}
