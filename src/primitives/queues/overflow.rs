//! What happens to a queue that holds as many messages as it may: a send is refused, or the oldest messages die for it,
//! those of the lowest priority first. Messages in flight do not count, and are not among those.

use super::chunk::{bits, chunk_of};
use super::command::{Place, Reason, Refusal};
use super::decide::{Emit, Refused, of_contents};
use super::event::{Event, Run, push_run};
use super::lane::Lane;
use super::options::Overflow;
use super::queue::Queue;
use crate::base::bounds::RECORDS_PER_BATCH_MAX;
use crate::engine::machine::Context;

/// Messages that die so that others have room.
pub(super) struct Dropped(Vec<Run>);

/// Room for so many messages more.
pub(super) fn make_room(queue: &Queue, messages: u64) -> Result<Dropped, Refused> {
    let Some(max) = queue.options.max_messages else { return Ok(Dropped(Vec::new())) };
    let (waiting, full) = (queue.live - queue.flying, || Refusal::Full { queue: queue.name.to_string(), max });
    let surplus = (waiting + messages).saturating_sub(max);
    match queue.options.overflow {
        _ if surplus == 0 => Ok(Dropped(Vec::new())),
        Overflow::DropOldest if messages <= max => {
            // After the limit was lowered there may be very many; each send lets a step of them go.
            Ok(Dropped(oldest(queue, surplus.min(messages + RECORDS_PER_BATCH_MAX as u64))))
        }
        Overflow::DropOldest | Overflow::Reject => Err(full().resting_on(of_contents(queue))),
    }
}

impl Dropped {
    /// Told before what makes them go.
    pub(super) fn emit(self, queue: &Queue, context: &Context<'_>, emit: Emit<'_, '_>) {
        if !self.0.is_empty() {
            let (at, end) = (context.now.wall, queue.options.dead_letters.end());
            emit(Event::Expired { queue: queue.number, reason: Reason::Overflow, at, end, runs: self.0 });
        }
    }
}

/// The first so many messages that wait, of the lowest priority first.
fn oldest(queue: &Queue, count: u64) -> Vec<Run> {
    let mut runs = Vec::new();
    let waiting = queue.lanes.iter().rev().flat_map(|lane| waiting_in(lane, 0));
    waiting.take(count as usize).for_each(|place| push_run(&mut runs, place));
    runs
}

/// Messages of a lane from an offset on that are neither dead nor in flight, in order.
pub(super) fn waiting_in(lane: &Lane, from: u64) -> impl Iterator<Item = Place> {
    let place = |offset| Place { lane: lane.number, offset };
    let chunks = lane.waiting.range(chunk_of(from.min(lane.cursor))..=chunk_of(lane.cursor));
    let behind = chunks.flat_map(|number| {
        let chunk = &lane.chunks[number];
        bits(chunk.ready | chunk.backoff | chunk.delayed).map(move |bit| number * 64 + u64::from(bit.trailing_zeros()))
    });
    let behind = behind.filter(move |offset| (from..lane.cursor).contains(offset));
    let ahead = (lane.cursor.max(from)..lane.end).filter(|offset| match lane.chunk(*offset) {
        Some(chunk) => (chunk.flying | chunk.dead | chunk.gone) & (1 << (offset % 64)) == 0,
        None => true,
    });
    behind.chain(ahead).map(place)
}
