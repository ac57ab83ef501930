//! The questions about exchanges.

use crate::base::bounds::{FREEZE_CHUNK, NAME_BYTES_MAX};
use crate::base::codec::{Malformed, Take};
use crate::engine::Refused;
use crate::primitives::Refusal;
use crate::primitives::queues::{
    self, Binding, DEFAULT_EXCHANGE, Destination, ExchangeNumber, ExchangeOptions, binding_len, exchange_row,
    put_binding, take_binding,
};

use super::operation::{Kind, Question};
use super::questions::{put_list, take_list};
use super::server::Host;
use super::wire::{Out, take_option};

type Answered<T> = Result<T, Refused<Refusal>>;

/// The exchange with this name. Waits for the sync of what declares or deletes it just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FindExchange {
    pub(crate) name: Box<str>,
}

impl Question for FindExchange {
    const KIND: Kind = Kind::FindExchange;
    type Answer = Option<ExchangeNumber>;

    fn answer(&self, host: &Host) -> Answered<Option<ExchangeNumber>> {
        let found = host.engine.inspect(|machine| machine.queues.exchanges.find(&self.name))?;
        let exchange = found.filter(|exchange| *exchange != DEFAULT_EXCHANGE);
        host.engine.reveal_object(exchange.map_or(queues::COUNTERS, exchange_row))?;
        Ok(found)
    }

    fn put(&self, out: &mut Out) {
        // A longer name is no exchange's, and this one is none's either.
        out.text(if self.name.len() > NAME_BYTES_MAX { "\0" } else { &self.name });
    }

    fn take(take: &mut Take<'_>) -> Result<FindExchange, Malformed> {
        Ok(FindExchange { name: take.text()?.into() })
    }

    fn put_answer(found: &Option<ExchangeNumber>, out: &mut Out) {
        out.option(*found, |out, exchange| out.u32(exchange.0));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<ExchangeNumber>, Malformed> {
        take_option(take, |take| take.u32().map(ExchangeNumber))
    }
}

/// Up to `FREEZE_CHUNK` names of exchanges behind this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ExchangeNames {
    pub(crate) after: String,
}

impl Question for ExchangeNames {
    const KIND: Kind = Kind::ExchangeNames;
    type Answer = Vec<String>;

    fn answer(&self, host: &Host) -> Answered<Vec<String>> {
        let names = host.engine.inspect(|machine| machine.queues.exchanges.names_after(&self.after, FREEZE_CHUNK))?;
        host.engine.reveal_object(queues::COUNTERS)?;
        Ok(names)
    }

    fn put(&self, out: &mut Out) {
        out.text(&self.after);
    }

    fn take(take: &mut Take<'_>) -> Result<ExchangeNames, Malformed> {
        Ok(ExchangeNames { after: take.text()?.to_owned() })
    }

    fn put_answer(names: &Vec<String>, out: &mut Out) {
        put_list(names, out, |out, name| out.text(name));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Vec<String>, Malformed> {
        take_list(take, |take| take.text().map(str::to_owned))
    }
}

/// Options of an exchange, and up to `FREEZE_CHUNK` of its bindings behind this one; `None` if it was deleted. Waits
/// for the sync of what is written of them just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DescribeExchange {
    pub(crate) exchange: ExchangeNumber,
    pub(crate) after: Option<Binding>,
}

/// What an exchange is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ExchangeFacts {
    pub(crate) options: ExchangeOptions,
    pub(crate) alternate: Option<String>,
    /// Each with the name of what it leads to.
    pub(crate) bindings: Vec<(String, Binding)>,
}

impl Question for DescribeExchange {
    const KIND: Kind = Kind::DescribeExchange;
    type Answer = Option<ExchangeFacts>;

    fn answer(&self, host: &Host) -> Answered<Option<ExchangeFacts>> {
        let facts = host.engine.inspect(|machine| {
            let queues = &machine.queues;
            let name = |exchange| queues.exchanges.get(exchange).map(|found| found.name.to_string());
            let options = queues.exchanges.get(self.exchange)?.options.clone();
            let named = |binding: &Binding| {
                let name = match binding.destination {
                    Destination::Queue(queue) => queues.get(queue).map(|queue| queue.name.to_string()),
                    Destination::Exchange(exchange) => name(exchange),
                };
                // What has no name any more is being deleted.
                (name.unwrap_or_default(), binding.clone())
            };
            let bindings = queues.exchanges.bindings_of(self.exchange, self.after.as_ref(), FREEZE_CHUNK);
            let bindings = bindings.into_iter().map(named).collect();
            let alternate = options.alternate.and_then(name);
            Some(ExchangeFacts { options, alternate, bindings })
        })?;
        host.engine.reveal_object(exchange_row(self.exchange))?;
        Ok(facts)
    }

    fn put(&self, out: &mut Out) {
        out.u32(self.exchange.0);
        out.option(self.after.as_ref(), put_binding_of);
    }

    fn take(take: &mut Take<'_>) -> Result<DescribeExchange, Malformed> {
        Ok(DescribeExchange { exchange: ExchangeNumber(take.u32()?), after: take_option(take, take_binding)? })
    }

    fn put_answer(facts: &Option<ExchangeFacts>, out: &mut Out) {
        out.option(facts.as_ref(), |out, ExchangeFacts { options, alternate, bindings }| {
            out.put(options.encoded_len(), |put| options.encode(put));
            out.option(alternate.as_deref(), Out::text);
            put_list(bindings, out, |out, (name, binding)| {
                out.text(name);
                put_binding_of(out, binding);
            });
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<ExchangeFacts>, Malformed> {
        take_option(take, |take| {
            let options = ExchangeOptions::decode(take)?;
            let alternate = take_option(take, Take::text)?.map(str::to_owned);
            let bindings = take_list(take, |take| Ok((take.text()?.to_owned(), take_binding(take)?)))?;
            Ok(ExchangeFacts { options, alternate, bindings })
        })
    }
}

fn put_binding_of(out: &mut Out, binding: &Binding) {
    out.put(binding_len(binding), |put| put_binding(binding, put));
}
