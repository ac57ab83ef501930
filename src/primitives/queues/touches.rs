//! Which rows an event changes, whom it is news for, and whose timers it brings forward.

use super::chunk::{bit, chunk_of};
use super::command::{Holder, Place, QueueNumber};
use super::consumers::{ConsumerEvent, Taker, consumer_row, turn_row};
use super::event::{Event, Run};
use super::exchanges::ROUTES;
use super::lane::{Lane, LaneNumber};
use super::note::Fate;
use super::options::End;
use super::queue::Queue;
use super::rows::{COUNTERS, chunk_rows, lane_row, message_row, news_row, notes_row, queue_row};
use super::sent::Sent;
use super::state::State;
use crate::base::bounds::MESSAGES_PER_ROW;
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::time::BootTime;

type Visit<'v> = &'v mut dyn FnMut(RowKey);

impl State {
    /// The queue whose consumers have reason to look, or of which more is to be told than before.
    pub(super) fn news_of(&self, event: &Event<'_>) -> Option<QueueNumber> {
        match event {
            Event::Sent(sent) => Some(sent.queue),
            Event::Noted(note) => Some(note.queue),
            // The next of a group may be handed out.
            Event::Acked { queue, .. } => {
                self.queues.get(queue).filter(|queue| !queue.groups.is_empty())?.number.into()
            }
            Event::Returned { queue, .. }
            | Event::Back { queue, .. }
            | Event::FellDue { queue, .. }
            | Event::Expired { queue, .. }
            | Event::Gone { queue, .. }
            | Event::Passed { queue, .. }
            | Event::Paused { queue, .. }
            | Event::Altered { queue, .. }
            | Event::Retired { queue }
            | Event::Rescheduled { queue, .. }
            | Event::Stayed { queue, .. } => Some(*queue),
            _ => None,
        }
    }

    /// Queues in which suspects may wait for the process that lets go of one by this event.
    pub(super) fn freed_for_suspects(&self, event: &Event<'_>) -> Vec<QueueNumber> {
        let run;
        let (queue, runs) = match event {
            Event::Acked { queue, runs } | Event::Returned { queue, runs, .. } => (queue, &runs[..]),
            Event::Expired { queue, runs, .. } => (queue, &runs[..]),
            Event::Noted(note) => {
                run = [Run { lane: note.place.lane, first: note.place.offset, count: 1 }];
                (&note.queue, &run[..])
            }
            _ => return Vec::new(),
        };
        if self.shared.held.values().all(|held| held.suspects == 0) || !self.has_flying_suspect(*queue, runs) {
            return Vec::new();
        }
        let waits = |lane: &Lane| !lane.suspects.is_empty() || !lane.heads.is_empty();
        let queues = self.queues.values().filter(|queue| queue.lanes.iter().any(waits));
        queues.map(|queue| queue.number).collect()
    }

    fn has_flying_suspect(&self, queue: QueueNumber, runs: &[Run]) -> bool {
        let mut messages = runs.iter().flat_map(|run| {
            let lane = self.lane_of(queue, run.lane);
            let end = lane.map_or(run.first, |lane| (run.first + run.count).min(lane.end));
            (run.first..end).filter_map(move |offset| Some((lane?.chunk(offset)?, bit(offset))))
        });
        messages.any(|(chunk, bit)| chunk.flying & bit != 0 && chunk.tracked(bit).is_some_and(|t| t.is_suspect))
    }

    /// Names every row that the event changes. To be asked before it is applied.
    pub(crate) fn touches(&self, event: &Event<'_>, visit: Visit<'_>) {
        self.turns_of(event, visit);
        if let Some(queue) = self.news_of(event) {
            visit(news_row(queue));
        }
        self.freed_for_suspects(event).into_iter().for_each(|queue| visit(news_row(queue)));
        match event {
            Event::HandedOut { queue, runs, .. } => self.touch_messages(*queue, runs, true, visit),
            Event::Acked { queue, runs } => {
                self.touch_freed(*queue, runs, visit);
                self.touch_messages(*queue, runs, false, visit);
            }
            Event::Back { queue, runs } | Event::Extended { queue, runs, .. } => {
                self.touch_messages(*queue, runs, false, visit);
            }
            Event::Returned { queue, runs, .. } => self.touch_messages(*queue, runs, false, visit),
            Event::Gone { queue, runs } | Event::Expired { queue, runs, .. } => {
                self.touch_freed(*queue, runs, visit);
                self.touch_messages(*queue, runs, true, visit);
            }
            Event::Sent(sent) => self.touch_sent(sent, visit),
            Event::Published(published) => {
                for sent in &published.sents {
                    visit(news_row(sent.queue));
                    self.touch_sent(sent, visit);
                }
            }
            Event::Noted(note) => {
                if let Fate::Died { .. } = note.fate {
                    let run = Run { lane: note.place.lane, first: note.place.offset, count: 1 };
                    self.touch_freed(note.queue, &[run], visit);
                }
                visit(notes_row(note.queue));
                visit(message_row(note.place));
                self.touch_passed(note.queue, note.place.lane, note.place.offset, visit);
                visit(lane_row(note.place.lane));
            }
            Event::FellDue { messages, .. } => {
                let mut last = None;
                for row in messages.iter().map(|(place, _)| message_row(*place)) {
                    if last.replace(row) != Some(row) {
                        visit(row);
                    }
                }
            }
            rare => self.touches_of_rare(rare, visit),
        }
    }

    fn touch_consumers(&self, event: &ConsumerEvent<'_>, visit: Visit<'_>) {
        match event {
            ConsumerEvent::Joined { number, .. } => {
                visit(COUNTERS);
                visit(consumer_row(*number));
            }
            ConsumerEvent::Left { number, .. } => visit(consumer_row(*number)),
            ConsumerEvent::Ended { holder } => {
                self.consumers.of_holder(*holder).for_each(|(number, _)| visit(consumer_row(number)));
            }
        }
        self.touch_next_turns(event, visit);
    }

    /// Names consumers that may have room by this event.
    fn turns_of(&self, event: &Event<'_>, visit: Visit<'_>) {
        let run;
        let (queue, runs) = match event {
            Event::Acked { queue, runs } | Event::Returned { queue, runs, .. } => (queue, &runs[..]),
            Event::Expired { queue, runs, .. } => (queue, &runs[..]),
            Event::Noted(note) => {
                run = [Run { lane: note.place.lane, first: note.place.offset, count: 1 }];
                (&note.queue, &run[..])
            }
            // Those who waited for their turn have it, or learn that there is none to come.
            Event::Altered { queue, .. } | Event::Retired { queue } => {
                return self.consumers.of(*queue).for_each(|(number, _)| visit(turn_row(number)));
            }
            _ => return,
        };
        if let Some(found) = self.queues.get(queue) {
            self.touch_turns(found, self.takers(*queue, runs), visit);
        }
    }

    /// Whose the messages are that are in flight.
    fn takers(&self, queue: QueueNumber, runs: &[Run]) -> impl Iterator<Item = Taker> {
        runs.iter().flat_map(move |run| {
            let lane = self.lane_of(queue, run.lane);
            let end = lane.map_or(run.first, |lane| (run.first + run.count).min(lane.end));
            (run.first..end).filter_map(move |offset| {
                let chunk = lane?.chunk(offset).filter(|chunk| chunk.flying & bit(offset) != 0)?;
                chunk.tracked(bit(offset)).map(|tracked| tracked.taker)
            })
        })
    }

    fn touch_sent(&self, sent: &Sent<'_>, visit: Visit<'_>) {
        visit(lane_row(sent.lane));
        if !sent.is_plain() {
            let run = Run { lane: sent.lane, first: sent.entry.first, count: u64::from(sent.entry.count) };
            touch_run(&run, visit);
            self.touch_passed(sent.queue, sent.lane, 0, visit);
        }
    }

    fn touches_of_rare(&self, event: &Event<'_>, visit: Visit<'_>) {
        match event {
            Event::Created { queue, .. } => {
                visit(COUNTERS);
                visit(queue_row(*queue));
                visit(notes_row(*queue));
            }
            Event::Remembered(fact) => self.touch_remembered(fact, visit),
            Event::OfExchanges(event) => self.exchanges.touches(event, visit),
            Event::OfSchedules(event) => self.schedules.touches(event, visit),
            Event::OfConsumers(event) => self.touch_consumers(event, visit),
            Event::Altered { queue, .. } | Event::Paused { queue, .. } => visit(queue_row(*queue)),
            Event::Retired { queue } => {
                visit(COUNTERS);
                visit(ROUTES);
                visit(queue_row(*queue));
                self.consumers.of(*queue).for_each(|(number, _)| visit(consumer_row(number)));
            }
            Event::LaneOpened { lane, .. } => {
                visit(COUNTERS);
                visit(lane_row(*lane));
            }
            Event::LaneClosed { lane, .. } => visit(lane_row(*lane)),
            Event::Deleted { queue, .. } => {
                visit(COUNTERS);
                visit(queue_row(*queue));
                visit(notes_row(*queue));
            }
            Event::Erased { queue, lane, chunk } => {
                let Some(lane) = self.lane_of(*queue, *lane) else { return };
                lane.chunks
                    .range(..=chunk)
                    .for_each(|(number, _)| chunk_rows(lane.number, *number).for_each(&mut *visit));
            }
            Event::Passed { queue, lane, cursor } => {
                visit(lane_row(*lane));
                let from = self.lane_of(*queue, *lane).map_or(*cursor, |lane| lane.cursor.min(*cursor));
                self.touch_freed(*queue, &[Run { lane: *lane, first: from, count: *cursor - from }], visit);
                self.touch_purged(*queue, *lane, *cursor, visit);
                self.touch_passed(*queue, *lane, *cursor, visit);
            }
            Event::Rescheduled { place, .. } => visit(message_row(*place)),
            Event::Trimmed { queue, lane, .. } => visit(lane.map_or(notes_row(*queue), lane_row)),
            Event::Stayed { queue, runs } => self.touch_messages(*queue, runs, false, visit),
            Event::Adopted { from, .. } => {
                self.touch_held(*from, visit);
                self.consumers.of_holder(*from).for_each(|(number, _)| visit(consumer_row(number)));
            }
            Event::ClockBegan { .. } => {
                visit(COUNTERS);
                for (_, lane, number) in self.queues.values().flat_map(|queue| &queue.boot) {
                    chunk_rows(*lane, *number).for_each(&mut *visit);
                }
            }
            _ => unreachable!("its rows are named elsewhere"),
        }
    }

    fn lane_of(&self, queue: QueueNumber, lane: LaneNumber) -> Option<&Lane> {
        self.queues.get(&queue).and_then(|queue| queue.lane(lane))
    }

    fn touch_freed(&self, queue: QueueNumber, runs: &[Run], visit: Visit<'_>) {
        self.queues.get(&queue).into_iter().for_each(|queue| self.touch_ids(queue, runs, visit));
    }

    fn touch_messages(&self, queue: QueueNumber, runs: &[Run], moves_cursor: bool, visit: Visit<'_>) {
        for run in runs {
            // As in `each_chunk`: what is beyond the lane changes nothing, whatever bytes say.
            let end = self.lane_of(queue, run.lane).map_or(0, |lane| lane.end);
            touch_run(&Run { count: run.count.min(end.saturating_sub(run.first)), ..*run }, visit);
        }
        if moves_cursor {
            for of_lane in runs.chunk_by(|a, b| a.lane == b.lane) {
                let lane = of_lane[0].lane;
                // What expires comes in the order of time.
                let end = of_lane.iter().map(|run| run.first + run.count).max();
                visit(lane_row(lane));
                self.touch_passed(queue, lane, end.unwrap_or(0), visit);
            }
        }
    }

    /// Rows of chunks that the cursor passes up to here, and on over all that is not in line, as far as they say of a
    /// message that it is gone.
    fn touch_passed(&self, queue: QueueNumber, lane: LaneNumber, end: u64, visit: Visit<'_>) {
        let Some(lane) = self.lane_of(queue, lane) else { return };
        let last = chunk_of(end.clamp(lane.cursor, lane.end));
        let mut next = chunk_of(lane.cursor);
        for (number, chunk) in lane.chunks.range(next..) {
            if *number > last && *number != next {
                return;
            }
            if chunk.gone != 0 {
                chunk_rows(lane.number, *number).for_each(&mut *visit);
            }
            if *number > last && chunk.exceptions() != u64::MAX {
                return;
            }
            next = number + 1;
        }
    }

    /// Rows of chunks that say something of messages in line below this.
    fn touch_purged(&self, queue: QueueNumber, lane: LaneNumber, end: u64, visit: Visit<'_>) {
        let Some(lane) = self.lane_of(queue, lane) else { return };
        let chunks = lane.chunks.range(chunk_of(lane.cursor)..=chunk_of(end.clamp(lane.cursor, lane.end)));
        chunks.for_each(|(number, _)| chunk_rows(lane.number, *number).for_each(&mut *visit));
    }

    fn touch_held(&self, holder: Holder, visit: Visit<'_>) {
        for lane in self.queues.values().flat_map(Queue::lanes) {
            for (offset, chunk, bit) in lane.all_flying() {
                if chunk.tracked(bit).is_some_and(|tracked| tracked.holder == holder.0) {
                    visit(message_row(Place { lane: lane.number, offset }));
                }
            }
        }
    }

    /// Logs whose timers may be due earlier now.
    pub(crate) fn hastens(&self, event: &Event<'_>, visit: &mut dyn FnMut(LogId)) {
        let (queue, by_wall, by_boot) = match event {
            Event::OfSchedules(_) => return self.schedules.log.into_iter().for_each(visit),
            Event::Published(published) => {
                let timed = published.sents.iter().filter(|sent| !sent.is_plain());
                timed.filter_map(|sent| self.queues.get(&sent.queue)).for_each(|queue| visit(queue.notes.log));
                return;
            }
            Event::Remembered(fact) => return self.hastened_by(fact, visit),
            Event::OfExchanges(_) | Event::Retired { .. } => {
                return self.log_of_exchanges().into_iter().for_each(visit);
            }
            Event::HandedOut { queue, .. } | Event::Extended { queue, .. } => (queue, false, true),
            Event::Returned { queue, until, .. } => (queue, true, *until != BootTime(0)),
            Event::Noted(note) => match note.fate {
                Fate::Failed { until, .. } => (&note.queue, true, until != BootTime(0)),
                Fate::Died { end, .. } => (&note.queue, end == End::Leaves, false),
            },
            Event::Sent(sent) if !sent.is_plain() => (&sent.queue, true, false),
            Event::Expired { queue, end, .. } => (queue, *end == End::Leaves, false),
            Event::FellDue { queue, .. } | Event::Rescheduled { queue, .. } | Event::Altered { queue, .. } => {
                (queue, true, false)
            }
            _ => return,
        };
        let Some(queue) = self.queues.get(queue) else { return };
        if by_wall {
            visit(queue.notes.log);
        }
        if by_boot {
            visit(boot_log(queue));
        }
    }
}

/// The log that carries a queue's timer by the boot clock: the one that was opened with it.
pub(super) fn boot_log(queue: &Queue) -> LogId {
    LogId(queue.notes.log.0 + 1)
}

fn touch_run(run: &Run, visit: Visit<'_>) {
    let end = run.first + run.count;
    if end == run.first {
        return;
    }
    for row in run.first / MESSAGES_PER_ROW..end.div_ceil(MESSAGES_PER_ROW) {
        visit(message_row(Place { lane: run.lane, offset: row * MESSAGES_PER_ROW }));
    }
}
