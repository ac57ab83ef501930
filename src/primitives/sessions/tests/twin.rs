//! A naive twin: a list of everything that was ever answered. Random histories are told to both; at every step both
//! know the same, and so does what comes back from rows and what comes back from events.

use super::*;
use crate::sim::random::Random;

/// One request that was applied: reply, address, and whether the reply was kept.
struct Answered {
    request: Request,
    reply: Vec<u8>,
    lsn: u64,
}

#[derive(Default)]
struct Twin {
    open: Vec<SessionId>,
    answered: Vec<Answered>,
}

impl Twin {
    fn seen_below(&self, session: SessionId) -> u64 {
        let of_session = self.answered.iter().filter(|answered| answered.request.session == session);
        of_session.map(|answered| answered.request.seen_below).max().unwrap_or(0)
    }

    fn recall(&self, request: Request) -> Recalled<'_> {
        let refused = |refusal| Recalled::Refused { refusal, rests_on: None };
        let Request { session, sequence, seen_below } = request;
        if !self.open.contains(&session) {
            return refused(Refusal::Ended);
        }
        let seen_below = self.seen_below(session).max(seen_below);
        let mut before = self.answered.iter();
        if sequence < seen_below {
            refused(Refusal::Forgotten)
        } else if sequence >= seen_below + REQUESTS_REMEMBERED_MAX {
            refused(Refusal::TooManyUnseen { sequence, seen_below })
        } else {
            let later =
                |answered: &Answered| answered.request.session == session && answered.request.sequence > sequence;
            match before.find(|answered| (answered.request.session, answered.request.sequence) == (session, sequence)) {
                None if self.answered.iter().any(later) => {
                    let last = self.answered.iter().filter(|answered| answered.request.session == session);
                    let last = last.map(|answered| answered.request.sequence).max().expect("there is a later one");
                    Recalled::Overtaken { rests_on: row_of(session, last % CHUNKS) }
                }
                None => Recalled::New,
                Some(Answered { reply, lsn, .. }) => {
                    Recalled::Applied { reply, lsn: Lsn(*lsn), rests_on: row_of(session, sequence % CHUNKS) }
                }
            }
        }
    }

    fn end(&mut self, session: SessionId) {
        self.open.retain(|open| *open != session);
        self.answered.retain(|answered| answered.request.session != session);
    }
}

fn same(twin: &Twin, state: &State, request: Request) {
    let (expected, known) = (twin.recall(request), ask(state, request));
    match (&expected, &known) {
        (Recalled::Refused { refusal, .. }, Recalled::Refused { refusal: other, .. }) => assert_eq!(refusal, other),
        _ => assert_eq!(expected, known, "{request:?}"),
    }
}

fn any_request(random: &mut Random, twin: &Twin, session: SessionId) -> Request {
    let seen_below = twin.seen_below(session);
    let sequence = (seen_below + random.below(300)).saturating_sub(random.below(20));
    let seen = random.pick(&[0, seen_below, seen_below + random.clone().below(40)]);
    Request { session, sequence, seen_below: seen }
}

#[test]
fn a_list_of_all_that_was_answered_knows_the_same() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let (mut twin, mut state, mut journal) = (Twin::default(), State::default(), Vec::new());
        for lsn in 1..600 {
            let session = SessionId::of_random(random.below(4));
            let mut frame = Vec::new();
            match random.below(20) {
                0 | 1 => {
                    let command = Command::Open { session };
                    let outcome = decide(&state, &Overlay::default(), &command, |event| frame.push(event));
                    let known = twin.open.contains(&session);
                    assert_eq!(matches!(outcome, Outcome::Unchanged { .. }), known);
                    if !known {
                        twin.open.push(session);
                    }
                }
                2 if random.chance(64) => {
                    let command = Command::End { session };
                    decide(&state, &Overlay::default(), &command, |event| frame.push(event));
                    twin.end(session);
                }
                _ => {
                    let request = any_request(&mut random, &twin, session);
                    same(&twin, &state, request);
                    if twin.recall(request) == Recalled::New {
                        let reply = vec![lsn as u8; random.below(100) as usize];
                        frame.push(remember(&state, &Overlay::default(), &request, reply.clone()));
                        twin.answered.push(Answered { request, reply, lsn: lsn * 8 });
                    }
                }
            }
            for event in frame {
                state.apply(&event, Lsn(lsn * 8));
                journal.push((encoded(&event), Lsn(lsn * 8)));
            }
            let session = SessionId::of_random(random.below(4));
            same(&twin, &state, any_request(&mut random, &twin, session));
        }
        assert_eq!(reloaded(&all_rows(&state)), state, "seed {seed}: rows");
        let mut replayed = State::default();
        for (event, lsn) in &journal {
            replayed.apply(&Event::decode(event).expect("an event that was written"), *lsn);
        }
        assert_eq!(replayed, state, "seed {seed}: events");
    }
}
