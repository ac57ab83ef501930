//! The machine as the engine drives it: facts are written and read back, rows are kept up by what events say they
//! touch, timers by what they say they hasten, logs by what they say of them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::command::{Command, Holder, Outcome, Place, QueueNumber};
use super::super::consumers::{ConsumerNumber, Taker, turn_row};
use super::super::decide::decide;
use super::super::event::Event;
use super::super::lane::LaneNumber;
use super::super::note::Fate;
use super::super::overlay::Overlay;
use super::super::queue::QueueCounts;
use super::super::reply::{HandedRun, Reply};
use super::super::rows::{COUNTERS, chunk_rows, lane_row, news_row, notes_row, queue_row};
use super::super::state::State;
use super::super::tick;
use super::items::Items;
use super::model::{Arrivals, Handed, Pauses, TwinLetter};
use crate::base::codec::Put;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::time::{BootTime, ClockIdentity, Now, Timestamp};
use crate::engine::machine::{Context, Due, Known, LogChange, Logs, Watched};

/// The bytes of a frame; all have as many.
const FRAME_BYTES: u64 = 64;

pub(super) struct World {
    pub(super) state: State,
    pub(super) logs: Logs,
    pub(super) now: Now,
    pub(super) clock: ClockIdentity,
    pub(super) watched: Watched,
    pub(super) durable: Lsn,
    /// Where the next frame starts.
    pub(super) next_frame: Lsn,
    /// Whether frames are written for `Sync`.
    pub(super) is_sync: bool,
    /// Whether facts are applied as they were read back, as in replay.
    pub(super) replays: bool,
    /// What a checkpoint would hold.
    pub(super) rows: BTreeMap<RowKey, Vec<u8>>,
    armed: BTreeMap<LogId, Due>,
    /// What was noted in each log: the note before about the same message, and the text.
    notes: BTreeMap<LogId, Vec<(u64, String)>>,
    /// The frames in which messages came, since they were last taken.
    pub(super) arrivals: Arrivals,
    /// What was written of messages and notes, by log and first offset.
    pub(super) items: Items,
    /// Pauses after failures, since they were last taken.
    pub(super) pauses: Pauses,
    /// Rows that were touched and have no bytes: who waits for a turn looks there.
    pub(super) turns: BTreeSet<RowKey>,
    /// Any number, for what is only sampled.
    pub(super) sample: u64,
}

impl World {
    pub(super) fn new() -> World {
        let clock = ClockIdentity { boot_id: [7; 16], time_namespace: 1 };
        let mut world = World {
            state: State::default(),
            logs: Logs::default(),
            now: Now { wall: Timestamp(1_700_000_000_000_000), boot: BootTime(5_000_000) },
            clock,
            watched: Watched::default(),
            durable: Lsn(0),
            next_frame: Lsn(4096),
            is_sync: false,
            replays: false,
            rows: BTreeMap::new(),
            armed: BTreeMap::new(),
            notes: BTreeMap::new(),
            items: Items::default(),
            arrivals: Arrivals::new(),
            pauses: Pauses::new(),
            turns: BTreeSet::new(),
            sample: 0,
        };
        world.begin_life();
        world
    }

    /// A host begins.
    pub(super) fn begin_life(&mut self) {
        while self.submit(&Command::BeginLife) == Outcome::Accept(Reply::More) {}
    }

    /// Decides a command, and makes true what is decided.
    pub(super) fn submit(&mut self, command: &Command<'_>) -> Outcome {
        let (known, mut events) = (Known::default(), Vec::new());
        let World { now, clock, watched, logs, durable, .. } = &*self;
        let context = Context { now: *now, known: &known, clock, watched, logs, durable: *durable };
        let outcome = decide(&self.state, &Overlay::default(), command, &context, |event| events.push(event));
        let is_accepted = matches!(outcome, Outcome::Accept(_));
        assert_eq!(is_accepted, !events.is_empty(), "events are what acceptance means: {command:?} {outcome:?}");
        let frame = self.next_frame;
        for event in &events {
            self.happen(event, frame);
        }
        if is_accepted {
            self.next_frame = Lsn(frame.0 + FRAME_BYTES);
        }
        self.assert_timers_are_in_time();
        assert_is_told(&outcome);
        outcome
    }

    pub(super) fn accept(&mut self, command: &Command<'_>) -> Reply {
        match self.submit(command) {
            Outcome::Accept(reply) => reply,
            other => panic!("{command:?}: {other:?}"),
        }
    }

    fn happen(&mut self, event: &Event<'_>, frame: Lsn) {
        let bytes = encoded(event);
        let read = Event::decode(&bytes).expect("an event that was written");
        assert_eq!(encoded(&read), bytes, "{event:?}");
        self.sample = self.sample.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        assert_survives_damage(&bytes, self.sample);
        self.take_notes(event);
        self.items.take(event, &bytes);
        let mut touched = Vec::new();
        self.state.touches(event, &mut |row| touched.push(row));
        self.state.apply(if self.replays { &read } else { event }, frame);
        self.note_arrivals(event, frame);
        for key in touched {
            self.turns.extend((key.kind == turn_row(ConsumerNumber(0)).kind).then_some(key));
            match self.state.row(key) {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        let frame_end = Lsn(frame.0 + FRAME_BYTES);
        event.appends(&mut |append| self.change_logs(LogChange::Append(append), frame_end));
        self.change_logs(event.log_change(), frame_end);
        let mut hastened = Vec::new();
        self.state.hastens(event, &mut |log| hastened.push(log));
        hastened.into_iter().for_each(|log| self.arm(log));
    }

    fn note_arrivals(&mut self, event: &Event<'_>, frame: Lsn) {
        let mut appends = Vec::new();
        event.appends(&mut |append| appends.push(append));
        if let (Event::Sent(_), LogChange::Append(append)) = (event, event.log_change()) {
            appends.push(append);
        }
        for append in appends {
            let (queue, lane) = self.state.logs[&append.log];
            let priority = self.state.queues[&queue].lane(lane.expect("a lane")).expect("it is there").priority;
            let offsets = append.first..append.first + u64::from(append.count);
            self.arrivals.extend(offsets.map(|offset| ((queue.0, priority, offset), frame.0)));
        }
    }

    fn take_notes(&mut self, event: &Event<'_>) {
        let Event::Noted(note) = event else { return };
        let notes = self.notes.entry(note.entry.log).or_default();
        assert_eq!(note.entry.first, notes.len() as u64, "notes follow each other");
        notes.push((note.previous, note.text.to_owned()));
        if let Fate::Failed { until, pause_micros, .. } = note.fate {
            let expected = if pause_micros == 0 { BootTime(0) } else { self.now.boot.plus(pause_micros) };
            assert_eq!(until, expected);
            let (priority, offset) = self.named(note.queue, note.place);
            self.pauses.insert((note.queue.0, priority, offset), pause_micros);
        }
    }

    fn change_logs(&mut self, change: LogChange, frame_end: Lsn) {
        match change {
            LogChange::None | LogChange::AppendToSeveral => {}
            LogChange::Append(append) => {
                let is_note = self.notes.contains_key(&append.log);
                let barrier = (self.is_sync && !is_note).then_some(frame_end);
                if self.logs.append(&append, 0, 0, barrier).timer && !self.armed.contains_key(&append.log) {
                    self.arm(append.log);
                }
            }
            LogChange::Open { first, count } => {
                for log in (first.0..first.0 + u64::from(count)).map(LogId) {
                    self.logs.open(log, 0, self.state.log_timer(log));
                    self.arm(log);
                }
            }
            LogChange::Close { first, count } => {
                for log in (first.0..first.0 + u64::from(count)).map(LogId) {
                    self.logs.close(log);
                    self.armed.remove(&log);
                    self.notes.remove(&log);
                }
            }
            LogChange::Trim { log, start } => assert_eq!(self.state.log_start(log), Some(start)),
            LogChange::Rearm { first, count } => {
                for log in (first.0..first.0 + u64::from(count)).map(LogId) {
                    self.armed.remove(&log);
                    self.arm(log);
                }
            }
        }
    }

    /// Asks when a log wants its tick, if that may be earlier than is known.
    fn arm(&mut self, log: LogId) {
        let Some(timer) = self.state.log_timer(log) else { return };
        let Some(due) = self.state.next_due(timer.key) else { return };
        let is_earlier = |armed: &Due| match (due, *armed) {
            (Due::At(due), Due::At(armed)) => due < armed,
            (Due::AtBoot(due), Due::AtBoot(armed)) => due < armed,
            other => panic!("a timer by two clocks: {other:?}"),
        };
        if self.armed.get(&log).is_none_or(is_earlier) {
            self.armed.insert(log, due);
        }
    }

    fn assert_timers_are_in_time(&self) {
        self.state.logs(&mut |log, _, _| {
            let Some(timer) = self.state.log_timer(log) else { return };
            let in_time = match (self.state.next_due(timer.key), self.armed.get(&log)) {
                (None, _) => true,
                (Some(Due::At(due)), Some(Due::At(armed))) => *armed <= due,
                (Some(Due::AtBoot(due)), Some(Due::AtBoot(armed))) => *armed <= due,
                _ => false,
            };
            assert!(in_time, "{log:?} is due at {:?}, not {:?}", self.state.next_due(timer.key), self.armed.get(&log));
        });
    }

    fn is_due(&self, due: Due) -> bool {
        match due {
            Due::Soon => true,
            Due::At(at) => at <= self.now.wall,
            Due::AtBoot(at) => at <= self.now.boot,
        }
    }

    /// Whether a timer by the wall clock, or one by the other, is due for any queue.
    pub(super) fn due_timers(&self) -> Vec<(QueueNumber, RowKey)> {
        let mut keys = Vec::new();
        for (log, (queue, _)) in &self.state.logs {
            let timer = self.state.log_timer(*log);
            let due = timer.and_then(|timer| self.state.next_due(timer.key));
            if due.is_some_and(|due| self.is_due(due)) {
                keys.extend(timer.map(|timer| (*queue, timer.key)));
            }
        }
        keys
    }

    /// Runs a due timer until it is due no more; tells how many steps that took.
    pub(super) fn run_timer(&mut self, key: RowKey) -> usize {
        let command = tick(key).expect("the timer of a queue");
        let mut steps = 0;
        while self.state.next_due(key).is_some_and(|due| self.is_due(due)) {
            if self.run_errand(key) {
                continue;
            }
            assert_eq!(self.submit(&command), Outcome::Accept(Reply::Done), "a tick that is due changes something");
            steps += 1;
            assert!(steps < 2000, "there is no end of ticks");
        }
        assert!(matches!(self.submit(&command), Outcome::Unchanged { .. }), "a tick that is not due changes nothing");
        self.armed.remove(&LogId(key.id));
        self.arm(LogId(key.id));
        steps
    }

    /// Lets time pass on both clocks, and all that is due happen.
    pub(super) fn pass(&mut self, micros: u64) {
        self.now = Now { wall: Timestamp(self.now.wall.0 + micros), boot: self.now.boot.plus(micros) };
        self.run_timers();
    }

    pub(super) fn run_timers(&mut self) {
        self.run_schedules();
        while let Some((_, key)) = self.due_timers().first().copied() {
            self.run_timer(key);
        }
    }

    /// Lets all runs of schedules happen that have come; tells how many ticks that took.
    pub(super) fn run_schedules(&mut self) -> usize {
        let timer = self.state.schedules.log.and_then(|log| self.state.log_timer(log));
        timer.map_or(0, |timer| self.run_timer(timer.key))
    }

    // What is there.

    pub(super) fn counts(&self, queue: QueueNumber) -> QueueCounts {
        self.state.get(queue).expect("a queue of the world").counts()
    }

    pub(super) fn news(&self, queue: QueueNumber) -> u64 {
        self.state.get(queue).expect("a queue of the world").news
    }

    /// Priority and offset of a message.
    pub(super) fn named(&self, queue: QueueNumber, place: Place) -> (u8, u64) {
        let lanes = &self.state.queues[&queue].lanes;
        let lane = lanes.iter().find(|lane| lane.number == place.lane).expect("a lane of the queue");
        (lane.priority, place.offset)
    }

    pub(super) fn lane(&self, queue: QueueNumber, priority: u8) -> Option<LaneNumber> {
        let lanes = &self.state.queues.get(&queue)?.lanes;
        lanes.iter().find(|lane| lane.priority == priority).map(|lane| lane.number)
    }

    /// The offset that the next message of this priority gets.
    pub(super) fn end(&self, queue: QueueNumber, priority: u8) -> u64 {
        let queue = self.state.get(queue).expect("a queue of the world");
        queue.lane_of_priority(priority).map_or(0, |lane| lane.end)
    }

    pub(super) fn place(&self, queue: QueueNumber, priority: u8, offset: u64) -> Place {
        Place { lane: self.lane(queue, priority).expect("a priority in use"), offset }
    }

    /// The dead set, asked for in parts.
    pub(super) fn letters(&self, queue: QueueNumber) -> Vec<TwinLetter> {
        let queue = self.state.get(queue).expect("a queue of the world");
        let (mut letters, mut after) = (Vec::new(), None);
        while let Some(letter) = queue.letters(after, 1).first() {
            assert_eq!(queue.lane(letter.place.lane).map(|lane| lane.log), Some(letter.log));
            after = Some((letter.priority, letter.place.offset));
            let errors = self.errors(letter.notes, letter.last_note, queue.notes.start);
            letters.push((letter.priority, letter.place.offset, letter.reason, letter.at.0, letter.failed, errors));
        }
        letters
    }

    /// What was said of a message, the first first.
    fn errors(&self, notes: LogId, last: Option<u64>, start: u64) -> Vec<String> {
        let (mut errors, mut next) = (Vec::new(), last);
        while let Some(number) = next {
            assert!(number >= start, "what was noted of a letter is there as long as the letter is");
            let (previous, text) = &self.notes[&notes][number as usize];
            errors.insert(0, text.clone());
            next = previous.checked_sub(1);
        }
        errors
    }

    // Checkpoints.

    /// Every row that there is.
    fn all_rows(state: &State) -> BTreeMap<RowKey, Vec<u8>> {
        let mut keys = vec![COUNTERS];
        for queue in state.queues.values() {
            keys.extend([queue_row(queue.number), notes_row(queue.number)]);
            for lane in &queue.lanes {
                keys.push(lane_row(lane.number));
                keys.extend(lane.chunks.keys().flat_map(|number| chunk_rows(lane.number, *number)));
            }
        }
        keys.extend(state.exchanges.keys());
        keys.extend(state.keys_of_ids());
        keys.extend(state.schedules.keys());
        keys.extend(state.consumers.keys());
        keys.into_iter().filter_map(|key| Some((key, state.row(key)?))).collect()
    }

    /// What events said they touch is all that changed.
    pub(super) fn assert_rows_are_kept(&self) {
        let rows = World::all_rows(&self.state);
        let kept = |key: &RowKey| self.rows.get(key);
        if let Some(key) = rows.keys().chain(self.rows.keys()).find(|key| rows.get(key) != kept(key)) {
            panic!("row {key:?} is {:?}, and kept as {:?}", rows.get(key), self.rows.get(key));
        }
    }

    /// The state as the next host would load it.
    pub(super) fn reloaded(&self) -> State {
        let mut state = State::default();
        for (key, row) in &self.rows {
            state.load(*key, row).unwrap_or_else(|fault| panic!("row {key:?}, {row:?}: {fault:?}"));
        }
        state
    }

    /// Goes on with the state of a checkpoint, which must be as good.
    pub(super) fn reload(&mut self) {
        self.assert_rows_are_kept();
        let state = self.reloaded();
        assert_eq!(World::all_rows(&state), self.rows);
        self.assert_alike(&state);
        self.state = state;
        let (mut logs, mut armed) = (Logs::default(), Vec::new());
        self.state.logs(&mut |log, _, end| {
            logs.open(log, end, self.state.log_timer(log));
            armed.push(log);
        });
        self.logs = logs;
        self.durable = self.next_frame;
        self.armed.clear();
        armed.into_iter().for_each(|log| self.arm(log));
    }

    /// Everything that can be asked has the same answer.
    fn assert_alike(&self, other: &State) {
        assert_eq!(other.shared.ids, self.state.shared.ids);
        let queues: Vec<QueueNumber> = self.state.queues.keys().copied().collect();
        assert_eq!(other.queues.keys().copied().collect::<Vec<_>>(), queues);
        assert_eq!((&other.names, &other.retired), (&self.state.names, &self.state.retired));
        assert_eq!(other.schedules, self.state.schedules);
        assert_eq!(other.consumers, self.state.consumers);
        assert_eq!(other.shared.taken, self.state.shared.taken);
        for log in self.state.logs.keys() {
            let key = |state: &State| state.log_timer(*log).map(|timer| timer.key);
            assert_eq!(key(other), key(&self.state));
            let due = |state: &State| key(state).and_then(|key| state.next_due(key));
            assert_eq!(due(other), due(&self.state), "{log:?}");
            assert_eq!(other.log_start(*log), self.state.log_start(*log));
            assert_eq!(other.log_last_timestamp(*log), self.state.log_last_timestamp(*log));
        }
        for queue in queues.into_iter().filter(|queue| self.state.get(*queue).is_some()) {
            let (before, after) = (&self.state.queues[&queue], &other.queues[&queue]);
            assert_eq!(after.counts(), before.counts());
            assert_eq!(after.letters(None, usize::MAX), before.letters(None, usize::MAX));
            for holder in [Holder::HOST, Holder(7), Holder(8), Holder(99)] {
                let preview = |state: &State| self.preview(state, queue, holder);
                assert_eq!(preview(other), preview(&self.state), "{queue:?} {holder:?}");
            }
        }
    }

    /// What a process would be handed out.
    fn preview(&self, state: &State, queue: QueueNumber, holder: Holder) -> Vec<HandedRun> {
        let known = Known::default();
        let World { now, clock, watched, logs, durable, .. } = self;
        let context = Context { now: *now, known: &known, clock, watched, logs, durable: *durable };
        let receive = Command::Receive { queue, holder, taker: Taker::NOBODY, max: 1024 };
        match decide(state, &Overlay::default(), &receive, &context, |_| {}) {
            Outcome::Accept(Reply::Handed(runs)) => runs,
            Outcome::Accept(Reply::Nothing { .. }) | Outcome::Unchanged { .. } => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    /// Makes somebody wait for news of a queue, or nobody.
    pub(super) fn set_awaited(&mut self, queue: QueueNumber, is_awaited: bool) {
        self.watched = Watched::default();
        if is_awaited {
            self.watched.wait(news_row(queue), None);
        }
    }
}

pub(super) fn handed(runs: &[HandedRun]) -> Vec<Handed> {
    let of_run = |run: &HandedRun| {
        let HandedRun { priority, first, count, acquired, failed, .. } = *run;
        (first..first + u64::from(count)).map(move |offset| Handed { priority, offset, acquired, failed })
    };
    runs.iter().flat_map(of_run).collect()
}

fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut bytes = vec![0; event.encoded_len()];
    let mut out = Put::new(&mut bytes);
    event.encode(&mut out);
    assert_eq!(out.remaining(), 0, "an event is as long as was foretold: {event:?}");
    bytes
}

/// Bytes that nobody vouches for are refused or understood, and nothing else.
fn assert_survives_damage(bytes: &[u8], sample: u64) {
    let at = (sample >> 33) as usize % bytes.len();
    let _ = Event::decode(&bytes[..at]);
    if bytes.len() < 1024 {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1 << (sample >> 61);
        let _ = Event::decode(&damaged);
    }
}

/// A reply is understood by who is in another process.
fn assert_is_told(outcome: &Outcome) {
    let (Outcome::Accept(reply) | Outcome::Unchanged { reply, .. }) = outcome else { return };
    let mut bytes = vec![0; reply.encoded_len()];
    let mut out = Put::new(&mut bytes);
    reply.encode(&mut out);
    assert_eq!(out.remaining(), 0, "a reply is as long as was foretold");
    let mut take = crate::base::codec::Take::new(&bytes);
    assert_eq!(Reply::decode(&mut take).as_ref(), Ok(reply));
}
