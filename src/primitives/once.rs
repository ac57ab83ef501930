//! A command of any primitive as a request that is applied once.
//!
//! The frame that holds what the command decided holds the fact that the request was applied and how it was answered,
//! so a crash keeps both or neither. A request that changed nothing is not remembered: deciding it again is right, as
//! long as it changes nothing behind a later one of its session.

use super::streams::groups::{self, Process};
use super::{Command, Event, Overlay, Primitives, Refusal, Repeated, Reply, queues, sessions, streams};
use crate::base::codec::{Put, Take};
use crate::base::level::Level;
use crate::base::planted;
use crate::base::row::RowKey;
use crate::engine::machine::{Context, Decision, Events, Machine};

/// A command that is decided unless this request was applied before; then it is answered as it was then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Once<'a> {
    pub(crate) request: sessions::Request,
    /// Of a primitive other than sessions, and no `Once` itself.
    pub(crate) command: &'a Command<'a>,
}

impl Primitives {
    #[cold]
    #[inline(never)]
    pub(super) fn decide_session(
        &self,
        overlay: &Overlay,
        command: &sessions::Command,
        context: &Context<'_>,
        events: &mut Events<Event<'_>>,
    ) -> Decision<Primitives> {
        let outcome = sessions::decide(&self.sessions, &overlay.sessions, command, |event| {
            events.push(Event::Sessions(event));
        });
        if let (sessions::Command::End { session }, sessions::Outcome::Accept(_)) = (command, &outcome)
            && !planted::is("members_outlive_session")
        {
            let process = Process::Attached(session.get());
            let end = streams::Command::Groups(groups::Command::EndProcess { process });
            let emit = |event| events.push(Event::Streams(event));
            streams::decide(&self.streams, &overlay.streams, &end, context, emit);
            let end = queues::Command::End { holder: queues::Holder(session.get()) };
            let emit = |event| events.push(Event::Queues(event));
            queues::decide(&self.queues, &overlay.queues, &end, context, emit);
        }
        outcome.into()
    }

    /// # Panics
    /// If the command is a session's or itself a request.
    #[cold]
    #[inline(never)]
    pub(super) fn decide_once<'c>(
        &self,
        overlay: &Overlay,
        once: &Once<'c>,
        context: &Context<'_>,
        events: &mut Events<Event<'c>>,
    ) -> Decision<Primitives> {
        let Once { request, command } = once;
        let is_of_its_own = matches!(command, Command::Streams(_) | Command::Queues(_));
        assert!(is_of_its_own, "a request holds a command of its own, and not a session's");
        match sessions::recall(&self.sessions, &overlay.sessions, request) {
            sessions::Recalled::New => {}
            sessions::Recalled::Overtaken { rests_on } => {
                return self.decide_overtaken(overlay, once, context, rests_on);
            }
            sessions::Recalled::Refused { refusal, rests_on } => {
                return Decision::Refuse { refusal: Refusal::Sessions(refusal), rests_on };
            }
            sessions::Recalled::Applied { reply, lsn, rests_on } => {
                let rests_on = Some(rests_on);
                return match decode_reply(reply) {
                    Some(reply) => {
                        let reply = Reply::Repeated(Box::new(Repeated { reply: self.renewed(reply), lsn }));
                        Decision::Unchanged { reply, rests_on }
                    }
                    None => Decision::Refuse { refusal: Refusal::Sessions(sessions::Refusal::Forgotten), rests_on },
                };
            }
        }
        let decision = self.decide(overlay, &of_process(command, request), context, events);
        if let Decision::Accept(reply) = &decision {
            let reply = encode_reply(reply);
            let applied = sessions::remember(&self.sessions, &overlay.sessions, request, reply);
            events.push(Event::Sessions(applied));
        }
        decision
    }

    /// Decides a request that has changed nothing and must not change anything any more. Its process still waits for an
    /// answer, so one that is right now is right. If it would change something now, its first answer is not known.
    fn decide_overtaken(
        &self,
        overlay: &Overlay,
        Once { request, command }: &Once<'_>,
        context: &Context<'_>,
        overtaken_by: RowKey,
    ) -> Decision<Primitives> {
        let mut dropped = Events::default();
        match self.decide(overlay, &of_process(command, request), context, &mut dropped) {
            Decision::Accept(_) => Decision::Refuse {
                refusal: Refusal::Sessions(sessions::Refusal::Forgotten),
                rests_on: Some(overtaken_by),
            },
            decision => decision,
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn level_of_once(&self, once: &Once<'_>) -> Option<Level> {
        self.level(once.command)
    }

    /// A reply of an earlier life, in the terms of this one.
    fn renewed(&self, reply: Reply) -> Reply {
        match reply {
            Reply::Streams(reply) => Reply::Streams(self.streams.renewed(reply)),
            reply @ (Reply::Sessions(_) | Reply::Queues(_) | Reply::Repeated(_)) => reply,
        }
    }
}

/// A member is of the process that asks to join, and a message is in flight in the process that asks for it.
fn of_process<'c>(command: &Command<'c>, request: &sessions::Request) -> Command<'c> {
    match *command {
        Command::Streams(streams::Command::Groups(groups::Command::Join(join))) => {
            let join = groups::Join { process: Process::Attached(request.session.get()), ..join };
            Command::Streams(streams::Command::Groups(groups::Command::Join(join)))
        }
        Command::Queues(command) => Command::Queues(command.of_holder(queues::Holder(request.session.get()))),
        command => command,
    }
}

fn encode_reply(reply: &Reply) -> Vec<u8> {
    let mut bytes = vec![0; reply.encoded_len()];
    let mut out = Put::new(&mut bytes);
    reply.encode(&mut out);
    assert_eq!(out.remaining(), 0, "a reply is as long as was foretold");
    bytes
}

/// `None` if it is of a kind that this version does not know.
fn decode_reply(bytes: &[u8]) -> Option<Reply> {
    let mut take = Take::new(bytes);
    let reply = Reply::decode(&mut take).ok()?;
    take.end().ok().map(|()| reply)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::bounds::{PARTITIONS_MAX, REQUESTS_REMEMBERED_MAX};
    use crate::base::lsn::Lsn;
    use crate::base::row::RowKey;
    use crate::base::time::{BootTime, ClockIdentity, Now, Timestamp};
    use crate::engine::machine::{Class, Known, Logs, Watched};
    use crate::primitives::sessions::{Refusal as OfSession, Request, SessionId};
    use crate::primitives::streams::{self, Append, Group, Options, Produce, ProducerHandle, Record, StreamHandle};

    const WEB: SessionId = SessionId::of_random(7);

    fn decided<'c>(
        primitives: &Primitives,
        overlay: &Overlay,
        command: &Command<'c>,
    ) -> (Decision<Primitives>, Events<Event<'c>>) {
        let (known, mut events) = (Known::default(), Events::default());
        let now = Now { wall: Timestamp(5), boot: BootTime(5) };
        let decision = primitives.decide(
            overlay,
            command,
            &Context {
                now,
                known: &known,
                clock: &ClockIdentity::default(),
                watched: &Watched::default(),
                logs: &Logs::default(),
                durable: Lsn(0),
            },
            &mut events,
        );
        (decision, events)
    }

    /// Decides a command and applies what it comes to in a frame at `lsn`.
    fn run(primitives: &mut Primitives, command: &Command<'_>, lsn: u64) -> Decision<Primitives> {
        let (decision, events) = decided(primitives, &Overlay::default(), command);
        events.iter().for_each(|event| primitives.apply(event, Lsn(lsn)));
        decision
    }

    fn once(
        primitives: &mut Primitives,
        sequence: u64,
        command: streams::Command<'_>,
        lsn: u64,
    ) -> Decision<Primitives> {
        let request = Request { session: WEB, sequence, seen_below: 0 };
        run(primitives, &Command::Once(Once { request, command: &Command::Streams(command) }), lsn)
    }

    fn create(name: &str) -> streams::Command<'_> {
        streams::Command::Create { name, options: Options { partitions: 2, ..Options::default() } }
    }

    /// A session, and a stream of two partitions.
    fn with_stream() -> (Primitives, StreamHandle) {
        let mut primitives = Primitives::default();
        run(&mut primitives, &Command::Sessions(sessions::Command::Open { session: WEB }), 8);
        let Decision::Accept(Reply::Streams(streams::Reply::Stream(stream))) =
            run(&mut primitives, &Command::Streams(create("orders")), 16)
        else {
            panic!("a stream can be created")
        };
        (primitives, stream)
    }

    fn accepted(decision: Decision<Primitives>) -> Reply {
        match decision {
            Decision::Accept(reply) => reply,
            _ => panic!("not accepted"),
        }
    }

    fn repeated(decision: Decision<Primitives>) -> (Reply, Lsn, RowKey) {
        match decision {
            Decision::Unchanged { reply: Reply::Repeated(repeated), rests_on: Some(row) } => {
                (repeated.reply, repeated.lsn, row)
            }
            _ => panic!("not repeated"),
        }
    }

    fn refused(decision: Decision<Primitives>) -> Refusal {
        match decision {
            Decision::Refuse { refusal, .. } => refusal,
            _ => panic!("not refused"),
        }
    }

    fn end(primitives: &Primitives, stream: StreamHandle, partition: u32) -> u64 {
        primitives.streams.stream(stream).expect("the stream is there").partitions()[partition as usize].end
    }

    #[test]
    fn a_batch_over_several_partitions_that_is_sent_twice_is_applied_once() {
        let (mut primitives, stream) = with_stream();
        let records = [Record::new(b"one blue mug"), Record::new(b"two green plates")];
        let group = |partition, records| Group { partition, expect_offset: None, records };
        let groups = [group(1, &records[..]), group(0, &records[..1]), group(1, &records[1..])];
        let append = streams::Command::Append(Append { stream, mapping_partitions: 2, groups: &groups });
        let first = accepted(once(&mut primitives, 0, append, 800));
        let row = RowKey { kind: 16, id: 7 << 4 };
        for lsn in [900, 1000] {
            assert_eq!(repeated(once(&mut primitives, 0, append, lsn)), (first.clone(), Lsn(800), row));
        }
        assert_eq!((end(&primitives, stream, 0), end(&primitives, stream, 1)), (1, 3));
        let second = accepted(once(&mut primitives, 1, append, 1100));
        assert_ne!(first, second, "another sequence is another request");
    }

    #[test]
    fn a_reply_of_thousands_of_ranges_is_not_kept_and_its_batch_not_applied_again() {
        let (mut primitives, _) = with_stream();
        let options = Options { partitions: PARTITIONS_MAX, ..Options::default() };
        let wide = streams::Command::Create { name: "wide", options };
        let Reply::Streams(streams::Reply::Stream(stream)) = accepted(once(&mut primitives, 0, wide, 800)) else {
            panic!("a stream can be created")
        };
        let records = [Record::new(b"one blue mug")];
        let groups: Vec<Group<'_>> =
            (0..PARTITIONS_MAX).map(|partition| Group { partition, expect_offset: None, records: &records }).collect();
        let append = Append { stream, mapping_partitions: PARTITIONS_MAX, groups: &groups };
        accepted(once(&mut primitives, 1, streams::Command::Append(append), 900));
        let again = refused(once(&mut primitives, 1, streams::Command::Append(append), 1000));
        assert_eq!(again, Refusal::Sessions(OfSession::Forgotten));
        assert_eq!(end(&primitives, stream, 77), 1);
    }

    #[test]
    fn a_producer_that_is_opened_twice_by_one_request_has_one_epoch_and_what_it_sends_in_another_is_a_duplicate() {
        let (mut primitives, stream) = with_stream();
        let open = streams::Command::OpenProducer { stream, name: "web", expire_after_micros: 1 << 40 };
        let producer = ProducerHandle { number: 3, epoch: 0 };
        let opened = Reply::Streams(streams::Reply::Producer(producer));
        assert_eq!(accepted(once(&mut primitives, 0, open, 800)), opened);
        assert_eq!(repeated(once(&mut primitives, 0, open, 900)).0, opened);
        let records = [Record::new(b"one blue mug")];
        let groups = [Group { partition: 0, expect_offset: None, records: &records }];
        let append = Append { stream, mapping_partitions: 2, groups: &groups };
        let produce = streams::Command::Produce(Produce { append, producer, sequences: Some(&[0]) });
        let first = accepted(once(&mut primitives, 1, produce, 1000));
        assert_eq!(repeated(once(&mut primitives, 1, produce, 1100)).0, first);
        let anew = once(&mut primitives, 2, produce, 1200);
        let Decision::Unchanged { reply: Reply::Streams(streams::Reply::Duplicate { ranges, lsn }), .. } = anew else {
            panic!("not a duplicate")
        };
        assert_eq!((Reply::Streams(streams::Reply::Appended(*ranges)), lsn), (first, Lsn(1000)));
        assert_eq!(end(&primitives, stream, 0), 1);
    }

    #[test]
    fn a_member_is_of_the_session_that_asked_and_ends_in_the_frame_that_ends_it() {
        let (mut primitives, stream) = with_stream();
        let of_groups = streams::Command::Groups;
        let open = groups::Command::Open { stream, name: "web", options: groups::GroupOptions::default() };
        accepted(once(&mut primitives, 0, of_groups(open), 800));
        let join = |process| groups::Join {
            group: 3,
            process,
            member_id: None,
            session_timeout_micros: 0,
            rebalance_timeout_micros: 1,
        };
        let member = accepted(once(&mut primitives, 1, of_groups(groups::Command::Join(join(Process::Host))), 900));
        let again = repeated(once(&mut primitives, 1, of_groups(groups::Command::Join(join(Process::Host))), 1000));
        assert_eq!(again.0, member, "who asks again joins once");
        let other = groups::Command::Join(join(Process::Attached(8)));
        run(&mut primitives, &Command::Streams(of_groups(other)), 1100);
        let end = Command::Sessions(sessions::Command::End { session: WEB });
        let (_, events) = decided(&primitives, &Overlay::default(), &end);
        events.iter().for_each(|event| primitives.apply(event, Lsn(1200)));
        let group = primitives.streams.groups().get(3).expect("it is there");
        let left: Vec<Process> = group.members().map(|(_, member)| member.process).collect();
        assert_eq!((left, events.len()), (vec![Process::Attached(8)], 3), "ended, assigned, left");
        assert!(group.claims().iter().all(|claim| claim.owner == 2));
    }

    #[test]
    fn what_was_refused_or_changed_nothing_is_decided_again() {
        let (mut primitives, stream) = with_stream();
        let records = [Record::new(b"one blue mug")];
        let groups = [Group { partition: 0, expect_offset: Some(1), records: &records }];
        let append = streams::Command::Append(Append { stream, mapping_partitions: 2, groups: &groups });
        let wrong = Refusal::Streams(streams::Refusal::WrongOffset { partition: 0, expected: 1, end: 0 });
        assert_eq!(refused(once(&mut primitives, 0, append, 800)), wrong);
        let unchanged = once(&mut primitives, 1, create("orders"), 900);
        assert!(matches!(unchanged, Decision::Unchanged { reply: Reply::Streams(_), .. }));
        assert_eq!(primitives.sessions.remembered(WEB), Some((0, Vec::new())));
        let meanwhile = Append { stream, mapping_partitions: 2, groups: &[Group { expect_offset: None, ..groups[0] }] };
        run(&mut primitives, &Command::Streams(streams::Command::Append(meanwhile)), 1000);
        accepted(once(&mut primitives, 0, append, 1100));
    }

    #[test]
    fn what_was_overtaken_is_told_what_changes_nothing_and_is_not_applied() {
        let (mut primitives, stream) = with_stream();
        let open = streams::Command::OpenProducer { stream, name: "web", expire_after_micros: 1 << 40 };
        accepted(once(&mut primitives, 0, open, 800));
        let records = [Record::new(b"one blue mug")];
        let append = |expect_offset| Group { partition: 0, expect_offset, records: &records };
        let (groups, second) = ([append(None)], [append(Some(1))]);
        let producer = ProducerHandle { number: 3, epoch: 0 };
        let append = Append { stream, mapping_partitions: 2, groups: &groups };
        let produce = streams::Command::Produce(Produce { append, producer, sequences: Some(&[0]) });
        accepted(once(&mut primitives, 1, produce, 900));
        let is_duplicate = |decision| {
            let Decision::Unchanged { reply: Reply::Streams(streams::Reply::Duplicate { lsn, .. }), .. } = decision
            else {
                panic!("not a duplicate")
            };
            lsn == Lsn(900)
        };
        assert!(is_duplicate(once(&mut primitives, 2, produce, 1000)));
        let later = streams::Command::Delete { name: "payments" };
        let missing = Refusal::Streams(streams::Refusal::NotFound);
        assert_eq!(refused(once(&mut primitives, 3, later, 1100)), missing);
        accepted(once(&mut primitives, 4, create("refunds"), 1200));
        // None of these answers has arrived.
        assert!(is_duplicate(once(&mut primitives, 2, produce, 1300)));
        assert_eq!(refused(once(&mut primitives, 3, later, 1400)), missing);
        let accepted_now = streams::Command::Append(Append { groups: &second, ..append });
        let forgotten = Refusal::Sessions(OfSession::Forgotten);
        assert_eq!(refused(once(&mut primitives, 3, accepted_now, 1500)), forgotten);
        assert_eq!(end(&primitives, stream, 0), 1);
        assert_eq!(primitives.sessions.remembered(WEB).map(|(_, requests)| requests.len()), Some(3));
    }

    #[test]
    fn a_handle_that_is_told_again_after_a_restart_has_the_slot_of_this_life() {
        let (mut primitives, orders) = with_stream();
        let told = accepted(once(&mut primitives, 0, create("payments"), 800));
        let Reply::Streams(streams::Reply::Stream(payments)) = told else { panic!("a stream can be created") };
        run(&mut primitives, &Command::Streams(streams::Command::Delete { name: "orders" }), 900);
        let mut restarted = Primitives::default();
        let keys = [RowKey { kind: 1, id: 0 }, streams::stream_row(payments.id), RowKey { kind: 16, id: 7 << 4 }];
        for key in keys {
            restarted.load(key, &primitives.row(key).expect("it is there")).expect("a row that was written");
        }
        let (reply, lsn, _) = repeated(once(&mut restarted, 0, create("payments"), 1000));
        let now = StreamHandle { slot: orders.slot, ..payments };
        assert_eq!((reply, lsn), (Reply::Streams(streams::Reply::Stream(now)), Lsn(800)));
        assert!(restarted.streams.stream(now).is_some());
    }

    #[test]
    fn a_process_without_a_session_or_with_too_many_unseen_is_refused_before_its_command_is_looked_at() {
        let (mut primitives, _) = with_stream();
        let far = once(&mut primitives, REQUESTS_REMEMBERED_MAX, create("payments"), 800);
        let too_many = OfSession::TooManyUnseen { sequence: REQUESTS_REMEMBERED_MAX, seen_below: 0 };
        assert_eq!(refused(far), Refusal::Sessions(too_many));
        run(&mut primitives, &Command::Sessions(sessions::Command::End { session: WEB }), 900);
        let ended = refused(once(&mut primitives, 0, create("payments"), 1000));
        assert_eq!(ended, Refusal::Sessions(OfSession::Ended));
        assert!(primitives.streams.lookup("payments").is_none());
    }

    #[test]
    fn class_and_level_are_those_of_the_command() {
        let (primitives, _) = with_stream();
        let request = Request { session: WEB, sequence: 0, seen_below: 0 };
        let class = |command| Primitives::class(&Command::Once(Once { request, command: &Command::Streams(command) }));
        assert_eq!(class(create("payments")), Class::Publish);
        assert_eq!(class(streams::Command::Delete { name: "orders" }), Class::Settle);
        let delete = Command::Streams(streams::Command::Delete { name: "orders" });
        assert_eq!(primitives.level(&Command::Once(Once { request, command: &delete })), None);
    }

    #[test]
    #[should_panic(expected = "a request holds a command of its own")]
    fn a_request_inside_a_request_is_a_bug() {
        let (mut primitives, _) = with_stream();
        let request = Request { session: WEB, sequence: 0, seen_below: 0 };
        let inner = Command::Streams(create("payments"));
        let inner = Command::Once(Once { request, command: &inner });
        run(&mut primitives, &Command::Once(Once { request, command: &inner }), 800);
    }
}
