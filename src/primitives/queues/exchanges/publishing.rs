//! Publishing: from a routing key and headers to places in queues, all of them or none.

use crate::base::bounds::{AWAITED_MICROS, PLACES_PER_PUBLISH_MAX, RECORDS_PER_BATCH_MAX};
use crate::base::log::LogId;
use crate::base::time::Timestamp;
use crate::engine::machine::Context;
use crate::journal::entry::Entry;

use super::super::command::{Outcome, QueueNumber, Reason, Refusal};
use super::super::decide::{Emit, Refused, check_lanes};
use super::super::dedup::{Claims, EntryPoint, Horizon, Judged, check_room, told_of};
use super::super::event::{Event, Run};
use super::super::history::History;
use super::super::lane::{LaneNumber, sequence};
use super::super::message::{GroupHash, Message};
use super::super::options;
use super::super::overflow::{Dropped, make_room};
use super::super::published::Published;
use super::super::queue::{Map, Queue};
use super::super::reply::Reply;
use super::super::routing::{Destination, ExchangeNumber, Scratch};
use super::super::rows::{COUNTERS, news_row};
use super::super::sending::{self, SEQUENCES_MAX};
use super::super::sent::{Given, Sent};
use super::super::state::State;
use super::rows::ROUTES;
use super::{DEFAULT, Exchange};

/// What a publish goes by that cannot be routed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Limits {
    /// What goes nowhere is accepted, whatever the exchange says.
    pub(crate) allows_unroutable: bool,
}

pub(in crate::primitives::queues) fn publish<'c>(
    state: &State,
    exchange: ExchangeNumber,
    messages: &'c [Message<'c>],
    limits: Limits,
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    let found = match exchange {
        DEFAULT => None,
        _ => Some(state.exchanges.get(exchange).ok_or_else(|| Refusal::NotFound.resting_on(COUNTERS))?),
    };
    sending::check(state, messages)?;
    check_origins(found, messages)?;
    let allows_unroutable = limits.allows_unroutable || found.is_some_and(|found| found.options.allows_unroutable);
    let (point, now) = (EntryPoint::Exchange(exchange), context.now.wall);
    let judged = match found {
        Some(found) => {
            let may_be_lost = allows_unroutable && messages.len() > 1 && found.options.dedup != Horizon::None;
            let all = match may_be_lost {
                true => Some(Routes::of(state, exchange, messages, &Judged::unasked(messages), true)?),
                false => None,
            };
            let goes_nowhere = |number| all.as_ref().is_some_and(|all| all.of_message(number).is_empty());
            Judged::by_exchange(state, point, found.options.dedup, messages, now, goes_nowhere)
        }
        None => Judged::unasked(messages),
    };
    let routes = Routes::of(state, exchange, messages, &judged, allows_unroutable)?;
    if routes.queues.is_empty() {
        let rests_on = if exchange == DEFAULT { COUNTERS } else { ROUTES };
        let rests_on = if judged.stores_all() { Some(rests_on) } else { judged.rests_on() };
        return Ok(Outcome::Unchanged { reply: routes.reply(&judged), rests_on });
    }
    let dropped = routes.make_room(state)?;
    judged.check_room(state)?;
    let mut places = Places::new(state);
    places.take_all(messages, &routes)?;
    let claims = places.claims(messages, &routes, now);
    let claimed: usize = claims.iter().map(Claims::len).sum();
    check_room(state, claimed + judged.new_ids(), judged.past())?;
    dropped.into_iter().for_each(|(queue, dropped)| dropped.emit(queue, context, emit));
    places.emit(messages, &routes, context, emit);
    judged.emit(|number| Some(routes.of_message(number).len() as u64).filter(|queues| *queues > 0), emit);
    claims.into_iter().for_each(|claims| claims.emit(emit));
    Ok(Outcome::Accept(routes.reply(&judged)))
}

/// Sends letters to where dead ones go, whatever the queues hold there. Tells which went nowhere; one that has come
/// back without that anybody tried it is dead where it arrives.
pub(in crate::primitives::queues) fn send_on<'c>(
    state: &State,
    to: Destination,
    letters: &'c [Message<'c>],
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Vec<usize>, Refused> {
    let routes = Routes::of_letters(state, to, letters);
    let mut places = Places::new(state);
    places.take_all(letters, &routes)?;
    let mut claims = places.claims(letters, &routes, context.now.wall);
    if check_room(state, claims.iter().map(Claims::len).sum(), 0).is_err() {
        // What dies is moved although no more ids can be known.
        claims.clear();
    }
    places.emit(letters, &routes, context, emit);
    claims.into_iter().for_each(|claims| claims.emit(emit));
    let mut taken = places.all.iter();
    for (number, letter) in letters.iter().enumerate() {
        let history = letter.history.and_then(|history| History::decode(history).ok());
        for (queue, place) in routes.of_message(number).iter().zip(&mut taken) {
            if history.as_ref().is_some_and(|history| history.is_cycle(*queue)) {
                let (reason, at, end) = (Reason::Cycle, context.now.wall, options::End::Kept);
                let runs = vec![Run { lane: place.lane, first: place.offset, count: 1 }];
                emit(Event::Expired { queue: *queue, reason, at, end, runs });
            }
        }
    }
    Ok((0..letters.len()).filter(|number| routes.of_message(*number).is_empty()).collect())
}

/// Sends letters again that somebody names: each goes somewhere, and there is room for it.
pub(in crate::primitives::queues) fn send_again<'c>(
    state: &State,
    to: Destination,
    letters: &'c [Message<'c>],
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<(), Refused> {
    let routes = match to {
        Destination::Queue(queue) => {
            state.get(queue).ok_or_else(|| Refusal::NoDestination.resting_on(COUNTERS))?;
            Routes::of_letters(state, to, letters)
        }
        Destination::Exchange(exchange) => {
            let found = state.exchanges.get(exchange);
            check_origins(Some(found.ok_or_else(|| Refusal::NoDestination.resting_on(COUNTERS))?), letters)?;
            Routes::of(state, exchange, letters, &Judged::unasked(letters), false)?
        }
    };
    let dropped = routes.make_room(state)?;
    let mut places = Places::new(state);
    places.take_all(letters, &routes)?;
    let claims = places.claims(letters, &routes, context.now.wall);
    check_room(state, claims.iter().map(Claims::len).sum(), 0)?;
    dropped.into_iter().for_each(|(queue, dropped)| dropped.emit(queue, context, emit));
    places.emit(letters, &routes, context, emit);
    claims.into_iter().for_each(|claims| claims.emit(emit));
    Ok(())
}

/// What a message says of its way is what it takes.
fn check_origins(exchange: Option<&Exchange>, messages: &[Message<'_>]) -> Result<(), Refused> {
    let name = exchange.map_or("", |exchange| &exchange.name);
    match messages.iter().all(|message| message.origin.is_some_and(|origin| origin.exchange == name)) {
        true => Ok(()),
        false => {
            let reason = "a message says the name of its exchange, and its routing key";
            Err(Refusal::InvalidOption { option: "exchange", reason }.into())
        }
    }
}

/// The queues that each message goes to.
struct Routes {
    /// Of all messages, one after the other.
    queues: Vec<QueueNumber>,
    /// Where those of each message end.
    ends: Vec<u32>,
}

impl Routes {
    fn of(
        state: &State,
        exchange: ExchangeNumber,
        messages: &[Message<'_>],
        judged: &Judged<'_>,
        allows_unroutable: bool,
    ) -> Result<Routes, Refused> {
        let mut routes = Routes { queues: Vec::new(), ends: Vec::with_capacity(messages.len()) };
        let mut scratch = state.room.0.borrow_mut();
        state.exchanges.table.begin_publish(messages.len(), &mut scratch);
        for (number, message) in (0..).zip(messages) {
            if !judged.stores(number as usize) {
                routes.ends.push(routes.queues.len() as u32);
                continue;
            }
            let before = routes.queues.len();
            routes.add(state, exchange, message, &mut scratch)?;
            if routes.queues.len() == before && !allows_unroutable {
                let rests_on = if exchange == DEFAULT { COUNTERS } else { ROUTES };
                return Err(Refusal::Unroutable { message: number }.resting_on(rests_on));
            }
            if routes.queues.len() > PLACES_PER_PUBLISH_MAX {
                let (max, actual) = (PLACES_PER_PUBLISH_MAX as u64, routes.queues.len() as u64);
                let limit = "places in queues that one publish takes";
                return Err(Refusal::LimitExceeded { limit, max, actual }.into());
            }
            routes.ends.push(routes.queues.len() as u32);
        }
        Ok(routes)
    }

    fn add(
        &mut self,
        state: &State,
        exchange: ExchangeNumber,
        message: &Message<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Refused> {
        let key = message.origin.map_or("", |origin| origin.routing_key);
        if exchange == DEFAULT {
            self.queues.extend(state.find(key));
            return Ok(());
        }
        let queues =
            state.exchanges.table.route_next(exchange, key, message.record.headers, scratch).map_err(Refusal::from)?;
        // A binding to a queue that is not there is one that only damage makes.
        self.queues.extend(queues.iter().filter(|queue| state.get(**queue).is_some()));
        Ok(())
    }

    /// Where letters go that are moved on: to no queue, if the exchange leads them nowhere.
    fn of_letters(state: &State, to: Destination, letters: &[Message<'_>]) -> Routes {
        let mut routes = Routes { queues: Vec::new(), ends: Vec::with_capacity(letters.len()) };
        let mut scratch = state.room.0.borrow_mut();
        state.exchanges.table.begin_publish(letters.len(), &mut scratch);
        for letter in letters {
            let before = routes.queues.len();
            match to {
                Destination::Queue(queue) => routes.queues.extend(state.get(queue).map(|queue| queue.number)),
                Destination::Exchange(exchange) => {
                    let is_led = state.exchanges.get(exchange).is_some()
                        && routes.add(state, exchange, letter, &mut scratch).is_ok()
                        && routes.queues.len() <= PLACES_PER_PUBLISH_MAX;
                    if !is_led {
                        routes.queues.truncate(before);
                    }
                }
            }
            routes.ends.push(routes.queues.len() as u32);
        }
        routes
    }

    fn of_message(&self, number: usize) -> &[QueueNumber] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.queues[start..self.ends[number] as usize]
    }

    /// How many queues got them, and how many those that were known before.
    fn reply(&self, judged: &Judged<'_>) -> Reply {
        let queues = self.queues.len() as u64;
        if judged.stores_all() {
            return Reply::Published { queues };
        }
        let told = told_of(judged, |number| self.of_message(number).len() as u64, false);
        Reply::PublishedSome { queues, told }
    }

    /// One queue that is full refuses the whole; what makes room dies for it.
    fn make_room<'s>(&self, state: &'s State) -> Result<Vec<(&'s Queue, Dropped)>, Refused> {
        let mut counts: Map<QueueNumber, u64> = Map::default();
        for queue in &self.queues {
            *counts.entry(*queue).or_insert(0) += 1;
        }
        // In the order in which they are reached, so that always the same one is named.
        let mut dropped = Vec::new();
        for number in &self.queues {
            let Some(count) = counts.remove(number) else { continue };
            let queue = &state.queues[number];
            if queue.options.max_messages.is_some() {
                dropped.push((queue, make_room(queue, count)?));
            }
        }
        Ok(dropped)
    }
}

/// Where one message goes in one queue.
#[derive(Clone, Copy)]
struct Place {
    lane: LaneNumber,
    priority: u8,
    log: LogId,
    offset: u64,
}

/// A lane as it will be once what is before it was published.
#[derive(Clone, Copy)]
struct End {
    lane: LaneNumber,
    log: LogId,
    end: u64,
}

/// The places that a publish takes.
struct Places<'a> {
    state: &'a State,
    /// As the routes: of all messages, one after the other.
    all: Vec<Place>,
    ends: Map<(QueueNumber, u8), End>,
    begun: Map<(QueueNumber, GroupHash), u8>,
    opened: Vec<(QueueNumber, LaneNumber, u8, LogId)>,
    /// Numbers for those that are yet to be opened.
    free: Option<Box<dyn Iterator<Item = LaneNumber> + 'a>>,
}

impl<'a> Places<'a> {
    fn new(state: &'a State) -> Places<'a> {
        Places { state, all: Vec::new(), ends: Map::default(), begun: Map::default(), opened: Vec::new(), free: None }
    }

    fn take_all(&mut self, messages: &[Message<'_>], routes: &Routes) -> Result<(), Refused> {
        for (number, message) in messages.iter().enumerate() {
            let group = message.group.map(GroupHash::of);
            for queue in routes.of_message(number) {
                let queue = &self.state.queues[queue];
                let priority = group.map_or(message.priority, |group| self.priority_of(queue, group, message.priority));
                let place = self.take(queue, priority)?;
                self.all.push(place);
            }
        }
        check_lanes(self.state, self.opened.len())
    }

    /// Ids that are taken where one message of each is to live.
    fn claims(&self, messages: &[Message<'_>], routes: &Routes, now: Timestamp) -> Vec<Claims<'a>> {
        let mut claims: Vec<Claims<'a>> = Vec::new();
        let mut of_queue: Map<QueueNumber, Option<usize>> = Map::default();
        let mut places = self.all.iter();
        for (number, message) in messages.iter().enumerate() {
            for (queue, place) in routes.of_message(number).iter().zip(places.by_ref()) {
                let queue = &self.state.queues[queue];
                let at = *of_queue.entry(queue.number).or_insert_with(|| {
                    claims.push(Claims::of(queue, now)?);
                    Some(claims.len() - 1)
                });
                if let Some(at) = at {
                    claims[at].add(message, sequence(place.priority, place.offset));
                }
            }
        }
        claims
    }

    /// A group has the priority of the message that began it.
    fn priority_of(&mut self, queue: &Queue, group: GroupHash, priority: u8) -> u8 {
        let lane = queue.lane_of_group(group).and_then(|lane| queue.lane(lane));
        let begins = || lane.map_or(priority, |lane| lane.priority);
        *self.begun.entry((queue.number, group)).or_insert_with(begins)
    }

    fn take(&mut self, queue: &Queue, priority: u8) -> Result<Place, Refused> {
        let (state, opened) = (self.state, &mut self.opened);
        let free = self.free.get_or_insert_with(|| Box::new(state.free_lanes()));
        let end = self.ends.entry((queue.number, priority)).or_insert_with(|| match queue.lane_of_priority(priority) {
            Some(lane) => End { lane: lane.number, log: lane.log, end: lane.end },
            None => {
                let log = LogId(state.counters.log + opened.len() as u64);
                let lane = free.next().expect("there are more numbers than lanes");
                opened.push((queue.number, lane, priority, log));
                End { lane, log, end: 0 }
            }
        });
        let place = Place { lane: end.lane, priority, log: end.log, offset: end.end };
        end.end += 1;
        if end.end > SEQUENCES_MAX {
            let (limit, max) = ("messages that a priority of a queue ever had", SEQUENCES_MAX);
            return Err(Refusal::LimitExceeded { limit, max, actual: end.end }.into());
        }
        Ok(place)
    }

    fn emit<'c>(&self, messages: &'c [Message<'c>], routes: &Routes, context: &Context<'_>, emit: Emit<'_, 'c>) {
        for (queue, lane, priority, log) in &self.opened {
            emit(Event::LaneOpened { queue: *queue, lane: *lane, priority: *priority, log: *log });
        }
        let mut places = self.all.iter();
        for (number, message) in messages.iter().enumerate() {
            let queues = routes.of_message(number).iter().map(|queue| &self.state.queues[queue]);
            let is_awaited = |queue: &Queue| context.watched.is_watched(news_row(queue.number));
            let awaited_micros = if queues.clone().any(is_awaited) { AWAITED_MICROS } else { 0 };
            let given = Given { messages: std::slice::from_ref(message), assigned: None, awaited_micros };
            let sents = queues.zip(places.by_ref()).map(|(queue, Place { lane, log, offset, .. })| {
                let expires = expires(queue, message, is_awaited(queue), context.now.wall);
                let entry = Entry { log: *log, first: *offset, count: 1, timestamp: context.now.wall, expiry: 0 };
                Sent::new(entry, queue.number, *lane, expires, given.clone())
            });
            let mut sents: Vec<Sent<'c>> = sents.collect();
            match sents.len() {
                0 => {}
                1 => emit(Event::Sent(sents.remove(0))),
                _ => emit(Event::Published(Published::new(sents))),
            }
        }
    }
}

/// When a message is over in this queue by the queue's ttl; one that is to live for no time, where nobody waits for it.
fn expires(queue: &Queue, message: &Message<'_>, is_awaited: bool, now: Timestamp) -> Option<Timestamp> {
    let awaited_micros = if is_awaited { AWAITED_MICROS } else { 0 };
    let of_queue = queue.options.ttl_micros.map(|ttl| if ttl == 0 { awaited_micros } else { ttl });
    let of_message = (message.ttl_micros == Some(0) && message.due.is_none()).then_some(awaited_micros);
    let ttl = of_queue.into_iter().chain(of_message).min()?;
    Some(Timestamp((now.0 + ttl).max(1)))
}

const _: () = assert!(PLACES_PER_PUBLISH_MAX >= RECORDS_PER_BATCH_MAX, "each of a largest batch has a place");
