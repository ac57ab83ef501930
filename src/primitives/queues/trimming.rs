//! Where the logs of a queue start: behind all that has died, once that is worth a fact.

use super::decide::Emit;
use super::event::Event;
use super::queue::Queue;

/// Told beside what lets messages go. It does not see what goes in the same frame.
pub(super) fn trim(queue: &Queue, emit: Emit<'_, '_>) {
    let number = queue.number;
    for lane in &queue.lanes {
        if let Some(start) = lane.wants_trim() {
            emit(Event::Trimmed { queue: number, lane: Some(lane.number), log: lane.log, start });
        }
    }
    if let Some(start) = queue.wants_trim_of_notes() {
        emit(Event::Trimmed { queue: number, lane: None, log: queue.notes.log, start });
    }
}
