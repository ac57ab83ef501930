//! Streams: partitioned logs whose records keep their offsets for ever.
//!
//! A stream has partitions, and may get more; each is a log of the store, and its records get successive offsets from 0
//! on. Timestamps never decrease within a partition. Records leave at the start only, by a trim or by retention.
//!
//! `decide` turns a command into facts or a refusal, `State::apply` and `Overlay::foresee` make facts true by one and
//! the same rules, and nothing here knows a clock, a file, a thread or another primitive.
//!
//! | file           | holds                                                   |
//! |----------------|---------------------------------------------------------|
//! | `command.rs`   | requests, refusals                                      |
//! | `reply.rs`     | answers and their bytes                                 |
//! | `event.rs`     | facts and their bytes                                   |
//! | `mapping.rs`   | which logs are a stream's partitions, and since when    |
//! | `state.rs`     | what is known of every stream, and how facts change it  |
//! | `rows.rs`      | the same as rows of the checkpoint                      |
//! | `decide.rs`    | which commands are accepted                             |
//! | `retention.rs` | what a partition holds beyond its retention             |
//! | `compaction.rs` | what may be appended to a compacted stream             |
//! | `overlay.rs`   | several commands in one frame                           |
//! | `murmur2.rs`   | from a key to its partition                             |
//! | `producers`    | idempotent producers, with the same set of files        |
//! | `groups`       | consumer groups, with the same set of files             |

mod command;
mod compaction;
mod decide;
mod event;
pub(crate) mod groups;
mod mapping;
mod murmur2;
#[cfg_attr(
    not(any(test, feature = "sim")),
    allow(
        dead_code,
        reason = "the simulator alone submits several commands as one frame until transactions are public"
    )
)]
mod overlay;
mod producers;
mod reply;
mod retention;
mod rows;
mod state;
#[cfg(all(test, not(loom)))]
mod tests;

pub use crate::primitives::record::{Header, Record};
pub(crate) use crate::primitives::record::{headers, take_record};
pub(crate) use command::{
    Append, Command, Compaction, Group, Options, Outcome, Produce, Refusal, Retention, StreamHandle,
};
pub(crate) use decide::decide;
pub(crate) use event::{Event, Span, measure, options_len, put_options, read_item, take_options, visit_records};
pub(crate) use mapping::{Mapping, Mappings};
pub(crate) use murmur2::partition_of;
pub(crate) use overlay::Overlay;
#[cfg(any(test, feature = "sim"))]
pub(crate) use producers::Producer;
pub(crate) use producers::{ProducedBatch, ProducerHandle, producer_row, window_row};
pub(crate) use reply::{Range, Ranges, Reply};
use rows::log_of_row;
pub(crate) use rows::{COUNTERS, partition_row, stream_row};
#[cfg(any(test, feature = "sim"))]
pub(crate) use state::Stream;
pub(crate) use state::{Partition, State};

use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::engine::machine::{Due, LogTimer};

impl State {
    /// When the partition, the producer or the group with this row wants its tick.
    pub(crate) fn next_due(&self, key: RowKey) -> Option<Due> {
        if let Some(number) = producers::number_of_row(key) {
            return self.producers().get(number).map(|producer| Due::At(producer.due()));
        }
        if let Some(number) = groups::number_of_row(key) {
            return self.groups().due(number).map(Due::AtBoot);
        }
        let (stream, partition) = self.of_log(log_of_row(key)?)?;
        stream.head().options().retention.due(partition)
    }

    /// A log's timer, if its stream has any retention. Age passes by itself; records and bytes come by appending.
    pub(crate) fn log_timer(&self, log: LogId) -> Option<LogTimer> {
        if self.producers().get(log.0).is_some() {
            return Some(LogTimer { key: producer_row(log.0), is_hastened_by_appends: false });
        }
        if self.groups().get(log.0).is_some() {
            return Some(LogTimer { key: groups::group_row(log.0), is_hastened_by_appends: false });
        }
        let (stream, _) = self.of_log(log)?;
        let retention = &stream.head().options().retention;
        let is_hastened_by_appends = retention.records.is_some() || retention.bytes.is_some();
        let timer = LogTimer { key: partition_row(log), is_hastened_by_appends };
        (!retention.is_unlimited()).then_some(timer)
    }
}

/// The command that the due timer of this row stands for.
pub(crate) fn tick(key: RowKey) -> Option<Command<'static>> {
    if let Some(number) = producers::number_of_row(key) {
        return Some(Command::ExpireProducer { number });
    }
    if let Some(group) = groups::number_of_row(key) {
        return Some(Command::Groups(groups::Command::Expire { group }));
    }
    log_of_row(key).map(|log| Command::Expire { log })
}
