//! `twin.rs` is a naive model, `world.rs` holds it against the machine over generated histories, `rules.rs` states the
//! rules one by one, `mapping.rs` those of adding partitions, `producers.rs` those of producers. `groups` has the same
//! for consumer groups.

mod groups;
mod mapping;
mod producers;
mod rules;
mod twin;
mod world;

use super::event::{Appended, Span, Trimmed};
use super::reply::Range;

use super::rows::stream_row;
use super::*;
use crate::base::lsn::Lsn;
use crate::base::time::{BootTime, ClockIdentity, Now, Timestamp};
use crate::engine::machine::{Context, Known, Logs, Watched};

/// Where the frames of most tests start.
const FRAME: Lsn = Lsn(4096);

const CLOCK: ClockIdentity = ClockIdentity { boot_id: [7; 16], time_namespace: 1 };

impl State {
    /// The row of the partition, the producer or the group that a log is of.
    fn log_row(&self, log: LogId) -> Option<RowKey> {
        let producer = self.producers().get(log.0).map(|_| producer_row(log.0));
        let group = self.groups().get(log.0).map(|_| super::groups::group_row(log.0));
        producer.or(group).or_else(|| self.of_log(log).map(|_| partition_row(log)))
    }

    /// One partition, and the log that it is.
    fn partition(&self, handle: StreamHandle, partition: u32) -> Option<(LogId, &Partition)> {
        let stream = self.stream(handle)?;
        Some((stream.head.log(partition), stream.partitions.get(partition as usize)?))
    }
}

fn at(wall: u64) -> Now {
    Now { wall: Timestamp(wall), boot: BootTime(wall) }
}

/// Decides on `state` with an overlay; the events are in order.
fn decide_at<'c>(
    state: &State,
    overlay: &Overlay,
    command: &Command<'c>,
    now: Now,
    known: &Known,
) -> (Outcome, Vec<Event<'c>>) {
    let mut events = Vec::new();
    let outcome = decide(
        state,
        overlay,
        command,
        &Context { now, known, clock: &CLOCK, watched: &Watched::default(), logs: &Logs::default(), durable: Lsn(0) },
        |event| events.push(event),
    );
    (outcome, events)
}

/// Decides one command without cold facts and applies it.
fn run(state: &mut State, command: &Command<'_>, now: Now) -> Outcome {
    let (outcome, events) = decide_at(state, &Overlay::default(), command, now, &Known::default());
    assert_eq!(matches!(outcome, Outcome::Accept(_)), !events.is_empty(), "events are what acceptance means");
    events.iter().for_each(|event| state.apply(event, FRAME));
    outcome
}

fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut bytes = vec![0; event.encoded_len()];
    let mut out = crate::base::codec::Put::new(&mut bytes);
    event.encode(&mut out);
    assert_eq!(out.remaining(), 0, "an event is as long as was foretold");
    bytes
}

/// Every row of a state, in the order of their keys.
fn all_rows(state: &State) -> Vec<(RowKey, Vec<u8>)> {
    let mut keys = vec![rows::COUNTERS];
    keys.extend(state.streams().map(|(handle, _)| stream_row(handle.id)));
    state.logs(&mut |log, _, _| keys.extend(state.log_row(log)));
    for (number, _) in state.producers().starting_at(0) {
        keys.extend(state.producers().windows_of(number).map(|(partition, _)| window_row(number, partition)));
    }
    keys.extend(groups::rows_of(state));
    keys.sort();
    keys.dedup();
    keys.into_iter().map(|key| (key, state.row(key).expect("a row of what exists"))).collect()
}

fn reloaded(rows: &[(RowKey, Vec<u8>)]) -> State {
    let mut state = State::default();
    rows.iter().for_each(|(key, row)| state.load(*key, row).expect("a row that was written"));
    state
}
