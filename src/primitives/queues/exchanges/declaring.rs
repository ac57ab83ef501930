//! Which exchanges and bindings are accepted.

use crate::base::name;
use crate::base::row::RowKey;
use crate::engine::machine::Context;

use super::super::command::{Outcome, Refusal};
use super::super::decide::{Emit, Refused};
use super::super::dedup::{EntryPoint, forget_by_change};
use super::super::event::Event;
use super::super::reply::Reply;
use super::super::routing::{self, Binding, Change, Destination, ExchangeNumber};
use super::super::rows::{COUNTERS, queue_row};
use super::super::state::State;
use super::fact::ExchangeEvent;
use super::options::ExchangeOptions;
use super::rows::exchange_row;
use super::{DEFAULT, Exchange, Exchanges};

/// Bindings that one step takes in hand.
const BINDINGS_PER_STEP: usize = 1024;

impl From<routing::Refusal> for Refusal {
    fn from(refusal: routing::Refusal) -> Refusal {
        match refusal {
            routing::Refusal::LimitExceeded { limit, max, actual } => Refusal::LimitExceeded { limit, max, actual },
            routing::Refusal::UnknownExchange(_) => Refusal::NotFound,
            refusal => Refusal::Unfit { reason: refusal.to_string() },
        }
    }
}

fn accept<'c>(event: ExchangeEvent<'c>, reply: Reply, emit: Emit<'_, 'c>) -> Result<Outcome, Refused> {
    emit(Event::OfExchanges(event));
    Ok(Outcome::Accept(reply))
}

fn unchanged(reply: Reply, rests_on: RowKey) -> Result<Outcome, Refused> {
    Ok(Outcome::Unchanged { reply, rests_on: Some(rests_on) })
}

/// Declares an exchange; one that exists must have equal options.
pub(in crate::primitives::queues) fn declare<'c>(
    state: &State,
    name: &'c str,
    options: &ExchangeOptions,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    let exchanges = &*state.exchanges;
    let Some((number, found)) = check(exchanges, name, options)? else { return open(exchanges, name, options, emit) };
    if found.options != *options {
        return Err(mismatch(exchanges, found, options).resting_on(exchange_row(number)));
    }
    unchanged(Reply::Exchange(number), exchange_row(number))
}

/// Declares an exchange, or gives it these options; its type stays what it is.
pub(in crate::primitives::queues) fn alter<'c>(
    state: &State,
    name: &'c str,
    options: &ExchangeOptions,
    context: &Context<'_>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    let exchanges = &*state.exchanges;
    let Some((exchange, found)) = check(exchanges, name, options)? else { return open(exchanges, name, options, emit) };
    if found.options.kind != options.kind || !found.options.dedup.is_alike(options.dedup) {
        let dedup = if found.options.dedup.is_alike(options.dedup) { found.options.dedup } else { options.dedup };
        let of_kind = ExchangeOptions { kind: options.kind.clone(), dedup, ..found.options.clone() };
        return Err(mismatch(exchanges, found, &of_kind).resting_on(exchange_row(exchange)));
    }
    if found.options == *options {
        return unchanged(Reply::Exchange(exchange), exchange_row(exchange));
    }
    if options.alternate == Some(exchange) {
        let reason = "an exchange is no alternate of itself";
        return Err(Refusal::InvalidOption { option: "alternate", reason }.into());
    }
    let horizons = [found.options.dedup, options.dedup];
    emit(Event::OfExchanges(ExchangeEvent::Altered { exchange, options: options.clone() }));
    forget_by_change(state, EntryPoint::Exchange(exchange), horizons, context.now.wall, emit);
    Ok(Outcome::Accept(Reply::Exchange(exchange)))
}

/// The exchange with this name, if there is one.
fn check<'e>(
    exchanges: &'e Exchanges,
    name: &str,
    options: &ExchangeOptions,
) -> Result<Option<(ExchangeNumber, &'e Exchange)>, Refused> {
    name::check(name).map_err(Refusal::InvalidName)?;
    options.check().map_err(|(option, reason)| Refusal::InvalidOption { option, reason })?;
    if let Some(alternate) = options.alternate
        && exchanges.get(alternate).is_none()
    {
        return Err(Refusal::NoDestination.resting_on(exchange_row(alternate)));
    }
    let number = exchanges.find(name);
    Ok(number.and_then(|number| Some((number, exchanges.get(number)?))))
}

fn mismatch(exchanges: &Exchanges, found: &Exchange, options: &ExchangeOptions) -> Refusal {
    let name = |number| exchanges.get(number).map_or_else(String::new, |exchange| exchange.name.to_string());
    Refusal::Mismatch { differences: found.options.differences(options, name) }
}

fn open<'c>(
    exchanges: &Exchanges,
    name: &'c str,
    options: &ExchangeOptions,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    exchanges.table.check_declare(&options.kind).map_err(|refusal| Refusal::from(refusal).resting_on(COUNTERS))?;
    let exchange = ExchangeNumber(exchanges.next);
    accept(ExchangeEvent::Declared { exchange, options: options.clone(), name }, Reply::Exchange(exchange), emit)
}

fn find(exchanges: &Exchanges, exchange: ExchangeNumber) -> Result<&Exchange, Refused> {
    if exchange == DEFAULT {
        let reason = "it is the default exchange, which leads to each queue by its name and cannot be changed";
        return Err(Refusal::InvalidOption { option: "exchange", reason }.into());
    }
    exchanges.get(exchange).ok_or_else(|| Refusal::NotFound.resting_on(COUNTERS))
}

/// Takes an exchange's name from it; its bindings go in steps.
pub(in crate::primitives::queues) fn delete(
    state: &State,
    exchange: ExchangeNumber,
    emit: Emit<'_, '_>,
) -> Result<Outcome, Refused> {
    find(&state.exchanges, exchange)?;
    if let Some(other) = state.exchanges.relies_on(exchange) {
        let refusal = Refusal::IsAlternate { exchange: other.name.to_string() };
        return Err(refusal.resting_on(COUNTERS));
    }
    if let Some(refusal) = state.is_target(Destination::Exchange(exchange)) {
        return Err(refusal.resting_on(COUNTERS));
    }
    accept(ExchangeEvent::Retired { exchange }, Reply::Done, emit)
}

/// Lets a step of the bindings go that lead from or to something retired; `None` if none are left.
pub(in crate::primitives::queues) fn unbind_step(
    state: &State,
    retired: Destination,
    emit: Emit<'_, '_>,
) -> Option<()> {
    let numbers = state.exchanges.step_of(retired, BINDINGS_PER_STEP);
    if numbers.is_empty() {
        return None;
    }
    emit(Event::OfExchanges(ExchangeEvent::Unbound { numbers }));
    Some(())
}

pub(in crate::primitives::queues) fn bind<'c>(
    state: &State,
    binding: &Binding,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    let exchanges = &*state.exchanges;
    find(exchanges, binding.exchange)?;
    match binding.destination {
        Destination::Queue(queue) => {
            state.get(queue).ok_or_else(|| Refusal::NoDestination.resting_on(queue_row(queue)))?;
        }
        Destination::Exchange(exchange) => {
            exchanges.get(exchange).ok_or_else(|| Refusal::NoDestination.resting_on(exchange_row(exchange)))?;
        }
    }
    let rests_on = exchange_row(binding.exchange);
    match exchanges.table.check_bind(binding).map_err(|refusal| Refusal::from(refusal).resting_on(rests_on))? {
        Change::AlreadySo => unchanged(Reply::Done, rests_on),
        Change::Done => {
            let number = exchanges.free_number();
            accept(ExchangeEvent::Bound { number, binding: binding.clone() }, Reply::Done, emit)
        }
    }
}

/// Removes a binding; that it was not there is told.
pub(in crate::primitives::queues) fn unbind(
    state: &State,
    binding: &Binding,
    emit: Emit<'_, '_>,
) -> Result<Outcome, Refused> {
    find(&state.exchanges, binding.exchange)?;
    state.exchanges.table.check_condition(binding).map_err(Refusal::from)?;
    match state.exchanges.table.given(binding) {
        Some(number) => {
            accept(ExchangeEvent::Unbound { numbers: vec![number] }, Reply::Unbound { was_bound: true }, emit)
        }
        None => unchanged(Reply::Unbound { was_bound: false }, exchange_row(binding.exchange)),
    }
}
