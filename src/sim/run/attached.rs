//! A process that is attached to the database, as far as its requests go: it outlives the crashes of its host.
//!
//! Some of the writes are sent through its session. After each open it comes back and sends everything again whose
//! answer it has not said to have seen, the outstanding request among it. What survived must be answered as it was,
//! with the address it had, and change nothing; what did not is applied now.

use std::collections::VecDeque;

use super::groups::{Ask, By};
use super::history::{Change, SessionContents, Trim};
use super::rebalance::Cause;
use super::world::{Answer, Done, Stop, World, command};
use super::writes::{place, with_groups};
use crate::base::bounds::FREEZE_CHUNK;
use crate::base::level::Level;
use crate::base::lsn::Lsn;
use crate::engine::{Engine, Refused, Submitted};
use crate::primitives::sessions::{self, Request, SessionId};
use crate::primitives::streams::groups::Process;
use crate::primitives::streams::{Append, Command, Reply, StreamHandle};
use crate::primitives::{self, Once, Primitives, Refusal, streams};

/// Answers that the process keeps asking for.
const UNSEEN_MAX: usize = 12;

/// How far a sequence goes beyond the first that is unseen.
const AHEAD_MAX: u64 = 200;

/// The process.
#[derive(Debug)]
pub(super) struct Attached {
    session: SessionId,
    next_sequence: u64,
    /// Requests that were applied, as far as it was told, and that it does not say to have seen answered; in order.
    unseen: VecDeque<Sent>,
}

/// What a request asked for.
#[derive(Clone, Debug)]
enum Asked {
    /// What makes this change.
    Change(Change),
    OfGroups(Ask),
}

/// A request, in case it must be sent again.
#[derive(Clone, Debug)]
struct Sent {
    request: Request,
    level: Level,
    asked: Asked,
    /// The reply, and start and end of the frame; `None` if the process was told that the outcome is unknown.
    answer: Option<(Reply, Lsn, Lsn)>,
}

/// The request that was sent last, until the model knows what became of it.
#[derive(Debug)]
pub(super) struct Sending {
    request: Request,
    level: Level,
    reply: Option<Reply>,
    /// What it asked for, if that is of groups.
    pub(super) ask: Option<Ask>,
}

/// What a command must come to, as the model has it.
enum Fate {
    Applied(Change),
    Unchanged,
    Refused,
}

impl World {
    /// The process comes, or goes.
    pub(super) fn attach_or_end(&mut self, engine: &Engine<Primitives>) -> Done {
        let level = self.level();
        if let Some(Attached { session, .. }) = self.attached.take_if(|_| self.random.chance(40)) {
            return self.end_session(engine, session, level);
        }
        if self.attached.is_some() {
            return Ok(());
        }
        let session = SessionId::of_random(self.random.next());
        self.attached = Some(Attached { session, next_sequence: 0, unseen: VecDeque::new() });
        self.open_session(engine, session, level)
    }

    fn open_session(&mut self, engine: &Engine<Primitives>, session: SessionId, level: Level) -> Done {
        self.sending = None;
        self.tell(format_args!("open {session:?} {level:?}"));
        let known = self.now().sessions.contains_key(&session);
        let open = primitives::Command::Sessions(sessions::Command::Open { session });
        match engine.submit(&open, level, None) {
            Ok(Submitted {
                reply: primitives::Reply::Sessions(sessions::Reply::Opened { known: told }),
                lsn,
                rests_on,
                ..
            }) if told == known => {
                if known {
                    Ok(())
                } else {
                    self.stored(level, lsn, rests_on, Change::OpenSession(session))
                }
            }
            Err(Refused::Fault(fault)) => {
                let outcome = self.fault(engine, fault, (!known).then_some(Change::OpenSession(session)));
                if outcome.is_ok() {
                    self.attached = None;
                }
                outcome
            }
            other => Err(Stop::Wrong(format!("opening {session:?}, known: {known}, was answered {other:?}"))),
        }
    }

    pub(super) fn attached_session(&self) -> Option<SessionId> {
        self.attached.as_ref().map(|attached| attached.session)
    }

    pub(super) fn end_session(&mut self, engine: &Engine<Primitives>, session: SessionId, level: Level) -> Done {
        self.sending = None;
        self.end_consumers(session);
        self.tell(format_args!("end {session:?} {level:?}"));
        let end = primitives::Command::Sessions(sessions::Command::End { session });
        match engine.submit(&end, level, None) {
            Ok(Submitted { reply: primitives::Reply::Sessions(sessions::Reply::Ended), lsn, rests_on, .. }) => {
                let ended = Cause::ProcessEnded(Process::Attached(session.get()));
                self.stored_with_groups(engine, level, (lsn, rests_on), Change::EndSession(session), &ended)
            }
            Err(Refused::Fault(fault)) => {
                let change = Some(Box::new(Change::EndSession(session)));
                self.fault(engine, fault, Some(Change::Grouped { change, groups: None }))
            }
            other => Err(Stop::Wrong(format!("ending {session:?} was answered {other:?}"))),
        }
    }

    /// After an open: sessions that nobody comes back to are ended; the process comes back and sends again.
    pub(super) fn come_back(&mut self, engine: &Engine<Primitives>) -> Done {
        let (mut last, ours) = (None, self.attached.as_ref().map(|attached| attached.session));
        loop {
            let look = |machine: &Primitives| machine.sessions.ids_after(last, FREEZE_CHUNK);
            let found = engine.inspect(look).map_err(|_| Stop::Poisoned)?;
            let Some(end) = found.last() else { break };
            last = Some(*end);
            for session in found.into_iter().filter(|session| Some(*session) != ours) {
                self.end_session(engine, session, Level::Buffered)?;
            }
        }
        let Some(session) = ours else { return Ok(()) };
        let known = self.now().sessions.contains_key(&session);
        self.open_session(engine, session, Level::Sync)?;
        let attached = self.attached.as_mut().expect("it was opened");
        if !known {
            // With the session went everything that was written later: the process reports unknown outcomes.
            attached.unseen.clear();
            return Ok(());
        }
        for sent in attached.unseen.clone() {
            self.send_again(engine, sent)?;
        }
        self.ask_for_what_was_seen(engine)?;
        self.ask_for_what_was_overtaken(engine)
    }

    /// Sends a request again although it was answered.
    pub(super) fn send_any_again(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(attached) = &self.attached else { return Ok(()) };
        let Some(last) = attached.unseen.len().checked_sub(1) else { return Ok(()) };
        let sent = attached.unseen[self.random.below(last as u64 + 1) as usize].clone();
        self.send_again(engine, sent)?;
        self.ask_for_what_was_overtaken(engine)
    }

    fn send_again(&mut self, engine: &Engine<Primitives>, sent: Sent) -> Done {
        let Sent { request, level, asked, answer } = sent;
        self.sent_again += 1;
        let remembered = self.now().sessions[&request.session].requests.contains(&request.sequence);
        let change = match asked {
            Asked::Change(change) => change,
            Asked::OfGroups(ask) if remembered => {
                let result = self.ask_anew(engine, &ask, level, request);
                return self.check_repeated(engine, result, level, answer);
            }
            Asked::OfGroups(ask) => {
                self.forget_sent(request.sequence);
                return self.ask(engine, ask, level, By::Again(request)).map(drop);
            }
        };
        self.tell(format_args!("again {request:?} {level:?}, remembered: {remembered}"));
        let handle = name_of(&change).and_then(|name| {
            engine.inspect(|machine| machine.streams.lookup(name)).map_err(|_| Stop::Poisoned).transpose()
        });
        let handle = handle.transpose()?.unwrap_or(StreamHandle { slot: 0, id: 0 });
        let partitions =
            name_of(&change).and_then(|name| self.now().streams.get(name)).map_or(1, |s| s.options.partitions);
        let result = with_command(&change, handle, partitions, |again| {
            let once = Once { request, command: &command(again) };
            engine.submit(&primitives::Command::Once(once), level, None)
        });
        if remembered {
            return self.check_repeated(engine, result, level, answer);
        }
        self.sending = Some(Sending { request, level, reply: None, ask: None });
        self.forget_sent(request.sequence);
        match (super::world::answer(result), self.fate(change)) {
            (Answer::Reply(reply, lsn, end), Fate::Applied(mut change)) => {
                if let Change::Append { groups, .. } = &mut change {
                    place(groups, lsn, end, level);
                }
                self.answered(&reply);
                self.stored_of_stream(engine, level, (lsn, end), change)
            }
            (Answer::Reply(..), Fate::Unchanged) | (Answer::Refused(_), Fate::Refused) => Ok(()),
            (Answer::Fault(fault), Fate::Applied(change)) => {
                self.fault(engine, fault, Some(change.with_unknown_groups()))
            }
            (Answer::Fault(fault), _) => self.fault(engine, fault, None),
            _ => Err(Stop::Wrong(format!("{request:?}, sent again and not remembered, was answered otherwise"))),
        }
    }

    /// It was applied: the answer is the first one's.
    fn check_repeated(
        &mut self,
        engine: &Engine<Primitives>,
        result: Result<Submitted<primitives::Reply>, Refused<Refusal>>,
        level: Level,
        first: Option<(Reply, Lsn, Lsn)>,
    ) -> Done {
        let repeated = match result {
            Ok(Submitted { reply: primitives::Reply::Repeated(repeated), .. }) => repeated,
            Err(Refused::Fault(fault)) => return self.fault(engine, fault, None),
            other => return Err(Stop::Wrong(format!("what was applied before is answered {other:?}"))),
        };
        self.repeated += 1;
        let Some((reply, lsn, end)) = first else { return Ok(()) };
        let is_same = match (&repeated.reply, &reply) {
            // The slot is another in another life.
            (primitives::Reply::Streams(Reply::Stream(now)), Reply::Stream(then)) => now.id == then.id,
            (primitives::Reply::Streams(now), then) => now == then,
            _ => false,
        };
        if !is_same || repeated.lsn != lsn {
            return Err(Stop::Wrong(format!("{repeated:?} is told again, the first was {reply:?} at {lsn:?}")));
        }
        if level == Level::Sync {
            self.history.promise(end);
        }
        Ok(())
    }

    /// What the process has said to have seen is not applied again, but forgotten.
    fn ask_for_what_was_seen(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(session) = self.attached.as_ref().map(|attached| attached.session) else { return Ok(()) };
        let Some(sequence) = self.now().sessions[&session].seen_below.checked_sub(1) else { return Ok(()) };
        let request = Request { session, sequence, seen_below: 0 };
        let create = command(Command::Create { name: "never-made", options: Default::default() });
        let once = primitives::Command::Once(Once { request, command: &create });
        match engine.submit(&once, Level::Buffered, None) {
            Err(Refused::Refusal(Refusal::Sessions(sessions::Refusal::Forgotten))) => Ok(()),
            other => Err(Stop::Wrong(format!("what was seen below {sequence} + 1 is answered {other:?}"))),
        }
    }

    /// What came to nothing before a later request was applied is not applied behind that one, and is told what changes
    /// nothing.
    fn ask_for_what_was_overtaken(&mut self, engine: &Engine<Primitives>) -> Done {
        let Some(session) = self.attached_session() else { return Ok(()) };
        let SessionContents { seen_below, requests } = &self.now().sessions[&session];
        let overtaken = |last: &u64| (*seen_below..*last).find(|sequence| !requests.contains(sequence));
        let Some(sequence) = requests.last().and_then(overtaken) else { return Ok(()) };
        let request = Request { session, sequence, seen_below: 0 };
        let ask = |asked| {
            let once = primitives::Command::Once(Once { request, command: &command(asked) });
            engine.submit(&once, Level::Buffered, None)
        };
        let created = ask(Command::Create { name: "never-made", options: Default::default() });
        let deleted = ask(Command::Delete { name: "never-made" });
        match (created, deleted) {
            (
                Err(Refused::Refusal(Refusal::Sessions(sessions::Refusal::Forgotten))),
                Err(Refused::Refusal(Refusal::Streams(streams::Refusal::NotFound))),
            ) => Ok(()),
            (Err(Refused::Fault(fault)), _) | (_, Err(Refused::Fault(fault))) => self.fault(engine, fault, None),
            other => Err(Stop::Wrong(format!("{request:?}, overtaken, is answered {other:?}"))),
        }
    }

    /// Sends a command, sometimes as a request of the process.
    pub(super) fn send(
        &mut self,
        engine: &Engine<Primitives>,
        asked: Command<'_>,
        level: Level,
        waits: bool,
    ) -> Answer {
        let by = if self.attached.is_some() && self.random.chance(128) { By::Attached } else { By::Host };
        self.send_by(engine, asked, level, waits, by)
    }

    pub(super) fn send_by(
        &mut self,
        engine: &Engine<Primitives>,
        asked: Command<'_>,
        level: Level,
        waits: bool,
        by: By,
    ) -> Answer {
        let plain = command(asked);
        let request = match by {
            By::Host => None,
            By::Attached => self.next_request(),
            By::Again(request) => Some(request),
        };
        self.sending = request.map(|request| Sending { request, level, reply: None, ask: None });
        let sent = match &self.sending {
            Some(Sending { request, .. }) => primitives::Command::Once(Once { request: *request, command: &plain }),
            None => plain,
        };
        let result = if waits { engine.submit(&sent, level, None) } else { engine.issue(&sent, level, None) };
        let answer = super::world::answer(result);
        if let Answer::Reply(reply, ..) = &answer {
            self.answered(reply);
        }
        answer
    }

    fn answered(&mut self, reply: &Reply) {
        if let Some(sending) = &mut self.sending {
            sending.reply = Some(reply.clone());
        }
    }

    /// The next request of the process, in which it may say that it has seen more.
    fn next_request(&mut self) -> Option<Request> {
        let attached = self.attached.as_mut()?;
        let sequence = attached.next_sequence;
        attached.next_sequence += 1;
        if attached.unseen.len() >= UNSEEN_MAX || self.random.chance(40) {
            let seen = self.random.below(attached.unseen.len() as u64 + 1);
            attached.unseen.drain(..seen as usize);
        }
        while attached.unseen.front().is_some_and(|sent| sent.request.sequence + AHEAD_MAX < sequence) {
            attached.unseen.pop_front();
        }
        let seen_below = attached.unseen.front().map_or(sequence, |sent| sent.request.sequence);
        let request = Request { session: attached.session, sequence, seen_below };
        self.tell(format_args!("  as {request:?}"));
        Some(request)
    }

    /// A change as the model enters it: if it was sent as a request, that is remembered with it, and by the process.
    pub(super) fn as_sent(&mut self, change: Change, frame: Option<(Lsn, Lsn)>) -> Change {
        let Some(Sending { request, level, reply, ask }) = self.sending.take() else { return change };
        let answer = reply.zip(frame).map(|(reply, (lsn, end))| (reply, lsn, end));
        let attached = self.attached.as_mut().expect("a request was sent by the process");
        let at = attached.unseen.partition_point(|sent| sent.request.sequence < request.sequence);
        let asked = match (ask, &change) {
            (Some(ask), _) => Asked::OfGroups(ask),
            (None, Change::Grouped { change: Some(change), .. }) => Asked::Change((**change).clone()),
            (None, change) => Asked::Change(change.clone()),
        };
        attached.unseen.insert(at, Sent { request, level, asked, answer });
        Change::Once(request, Box::new(change))
    }

    fn forget_sent(&mut self, sequence: u64) {
        if let Some(attached) = &mut self.attached {
            attached.unseen.retain(|sent| sent.request.sequence != sequence);
        }
    }

    /// What a command that makes `change` comes to now.
    fn fate(&self, change: Change) -> Fate {
        let stream = name_of(&change).and_then(|name| self.now().streams.get(name));
        match (change, stream) {
            (Change::Create { name, options } | Change::Alter { name, options }, None) => {
                Fate::Applied(Change::Create { name, options })
            }
            (Change::Create { options, .. } | Change::Alter { options, .. }, Some(stream))
                if stream.options == options =>
            {
                Fate::Unchanged
            }
            (change @ Change::Alter { .. }, Some(stream)) => match &change {
                Change::Alter { options, .. } if options.partitions == stream.options.partitions => {
                    Fate::Applied(change)
                }
                _ => Fate::Refused,
            },
            (change @ (Change::Delete { .. } | Change::AddPartitions { .. }), Some(_)) => Fate::Applied(change),
            (Change::Append { name, mut groups }, Some(stream)) => {
                let partitions = stream.options.partitions;
                if groups.iter().any(|(partition, _)| *partition >= partitions) {
                    return Fate::Refused;
                }
                let timestamp = self.clock.wall();
                groups.iter_mut().flat_map(|(_, records)| records).for_each(|record| record.timestamp = timestamp);
                Fate::Applied(Change::Append { name, groups })
            }
            (Change::Trim(trim), Some(stream)) => match stream.partitions.get(trim.partition as usize) {
                None => Fate::Refused,
                Some(partition) if trim.start <= partition.start || partition.records.is_empty() => Fate::Unchanged,
                Some(partition) => Fate::Applied(Change::Trim(Trim { start: trim.start.min(partition.end()), ..trim })),
            },
            _ => Fate::Refused,
        }
    }
}

fn name_of(change: &Change) -> Option<&str> {
    match change {
        Change::Create { name, .. }
        | Change::Alter { name, .. }
        | Change::AddPartitions { name, .. }
        | Change::Delete { name }
        | Change::Append { name, .. }
        | Change::Trim(Trim { name, .. }) => Some(name),
        Change::Expire { .. } | Change::OpenSession(_) | Change::EndSession(_) | Change::Once(..) => None,
        Change::OpenProducer { .. } | Change::Produce { .. } | Change::Grouped { .. } => None,
    }
}

/// Builds the command that asked for a change.
fn with_command<T>(
    change: &Change,
    stream: StreamHandle,
    mapping_partitions: u32,
    call: impl FnOnce(Command<'_>) -> T,
) -> T {
    match change {
        Change::Create { name, options } => call(Command::Create { name, options: *options }),
        Change::Alter { name, options } => call(Command::Ensure { name, options: *options }),
        Change::AddPartitions { count, .. } => call(Command::AddPartitions { stream, count: *count }),
        Change::Delete { name } => call(Command::Delete { name }),
        Change::Append { groups, .. } => with_groups(groups, &vec![None; groups.len()], |groups| {
            call(Command::Append(Append { stream, mapping_partitions, groups }))
        }),
        Change::Trim(trim) => call(Command::TrimBefore { stream, partition: trim.partition, offset: trim.start }),
        Change::Expire { .. } | Change::OpenSession(_) | Change::EndSession(_) | Change::Once(..) => {
            unreachable!("no request asks for this")
        }
        Change::OpenProducer { .. } | Change::Produce { .. } => unreachable!("a producer sends again by itself"),
        Change::Grouped { .. } => unreachable!("what is asked of groups is kept as it was asked"),
    }
}
