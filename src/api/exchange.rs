//! The handle of an exchange.

use crate::base::bounds::{HEADERS_PER_BATCH_MAX, RECORDS_PER_BATCH_MAX};
use crate::base::level::{Level, Wanted};
use crate::base::sync::Arc;
use crate::engine::{Refused, Submitted};
use crate::primitives::queues::{self, Command as OfQueues, Destination, ExchangeNumber, Origin};
use crate::primitives::{Command, Refusal, Reply};
use crate::processes::exchanging::{DescribeExchange, ExchangeFacts};

use super::database::{Database, refusal_of};
use super::error::Error;
use super::exchange_options::{Bindable, Binding, BoundTo, ExchangeDescription, ExchangeOptions, PublishOptions};
use super::message::Message;
use super::outcomes::Receipt;
use super::queue::Queue;
use super::queue_outcomes::Published;

/// An exchange: what is published to it goes to the queues that its bindings lead to.
///
/// Made by [`Database::create_exchange`] or [`Database::exchange`]. Cheap to clone; usable from any thread.
///
/// # Where a message goes
/// To each queue that some binding leads to, once, also through other exchanges that are bound to this one; they may be
/// bound in a circle. Where no binding of an exchange matches, to its alternate exchange. A message that comes to no
/// queue is refused with [`Error::Unroutable`], unless the exchange or the publish allows it.
///
/// # What is promised
/// A publish is stored in all of its queues or in none, at crashes too; its body is stored once. One queue that is full
/// refuses the whole.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub(super) database: Database,
    name: Arc<str>,
    pub(super) number: ExchangeNumber,
}

impl Exchange {
    pub(super) fn new(database: Database, name: &str, number: ExchangeNumber) -> Exchange {
        Exchange { database, name: name.into(), number }
    }

    /// Its name; that of the default exchange is empty.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Publishes a message at the database's level. Blocks for a data sync at [`Level::Sync`], and while the disk is
    /// behind. A message with an [id](Message::id) that the exchange [remembers](ExchangeOptions::dedup) is not stored
    /// again: the receipt is that of the original, and tells `duplicate`.
    ///
    /// # Errors
    /// [`Error::Unroutable`] if no binding leads to a queue; [`Error::Full`] if one of the queues holds as many as it
    /// may, which is named; [`Error::LimitExceeded`], [`Error::InvalidOption`] and [`Error::InvalidName`] for what the
    /// message says of itself, and with more than 1,024 queues; [`Error::NotFound`] if the exchange was deleted, and
    /// what any write may meet. Nothing is stored then.
    pub fn publish<'a>(&self, routing_key: &str, message: impl Into<Message<'a>>) -> Result<Published, Error> {
        self.publish_with(routing_key, message, &PublishOptions::new())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As for [`Exchange::publish`].
    pub fn publish_with<'a>(
        &self,
        routing_key: &str,
        message: impl Into<Message<'a>>,
        options: &PublishOptions,
    ) -> Result<Published, Error> {
        self.publish_batch(&[(routing_key, message.into())], options)
    }

    /// Publishes several messages as one, each with its routing key: all of them to all of their queues, or none. At
    /// most 65,536, and as many places in queues.
    ///
    /// # Errors
    /// As for [`Exchange::publish`]; [`Error::InvalidOption`] if there is none.
    pub fn publish_batch(
        &self,
        messages: &[(&str, Message<'_>)],
        options: &PublishOptions,
    ) -> Result<Published, Error> {
        let headers = messages.iter().map(|(_, message)| message.0.record.headers.len()).sum::<usize>();
        for (limit, max, actual) in [
            ("messages per batch", RECORDS_PER_BATCH_MAX, messages.len()),
            ("headers per batch", HEADERS_PER_BATCH_MAX, headers),
        ] {
            if actual > max {
                return Err(Error::LimitExceeded { limit, max: max as u64, actual: actual as u64 });
            }
        }
        let mut posted: Vec<queues::Message<'_>> = Vec::with_capacity(messages.len());
        for (routing_key, message) in messages {
            let origin = Some(Origin { exchange: &self.name, routing_key });
            posted.push(queues::Message { origin, ..message.0 });
        }
        let command = OfQueues::Publish { exchange: self.number, messages: &posted, limits: options.limits };
        let wanted = options.level.map_or(Wanted::OfObject { otherwise: self.database.shared.level }, Wanted::from);
        match self.submit(command, wanted) {
            Ok((queues::Reply::Published { queues }, receipt)) => {
                Ok(Published::of(queues, messages.len(), &[], receipt))
            }
            Ok((queues::Reply::PublishedSome { queues, told }, receipt)) => {
                Ok(Published::of(queues, messages.len(), &told, receipt))
            }
            Ok(_) => unreachable!("who publishes is told to how many queues"),
            Err(Refused::Refusal(Refusal::Queues(queues::Refusal::Unroutable { message }))) => {
                let routing_key = messages.get(message as usize).map_or("", |(key, _)| key).to_owned();
                Err(Error::Unroutable { exchange: self.name().to_owned(), routing_key })
            }
            Err(Refused::Refusal(Refusal::Queues(queues::Refusal::InvalidName(fault)))) => {
                let mut groups = messages.iter().filter_map(|(_, message)| message.0.group);
                let group = groups.find(|group| crate::base::name::check(group) == Err(fault));
                Err(Error::invalid_name(group.unwrap_or(self.name()), fault))
            }
            Err(refused) => Err(self.refusal(refused)),
        }
    }

    /// Leads messages for which the binding says so to this queue. Nothing changes if it is bound so already. Durable
    /// on return.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if the binding is not for this type of exchange; [`Error::LimitExceeded`];
    /// [`Error::NotFound`] if the exchange or the queue was deleted, and what any write may meet.
    pub fn bind(&self, queue: &Queue, binding: Binding) -> Result<(), Error> {
        self.bind_to(queue, queue.name(), "queue", binding)
    }

    /// The same, on to another exchange, which leads them on as if they had been published there.
    ///
    /// # Errors
    /// As for [`Exchange::bind`].
    pub fn bind_exchange(&self, exchange: &Exchange, binding: Binding) -> Result<(), Error> {
        self.bind_to(exchange, exchange.name(), "exchange", binding)
    }

    fn bind_to(&self, to: &impl Bindable, name: &str, kind: &'static str, binding: Binding) -> Result<(), Error> {
        if to.destination() == Destination::Exchange(queues::DEFAULT_EXCHANGE) {
            let reason = "nothing is bound to the default exchange: it leads to each queue by its name".to_owned();
            return Err(Error::InvalidOption { option: "binding", reason });
        }
        if !to.database().is_same(&self.database) {
            let reason = format!("{kind} `{name}` is of another database, or of another handle of it");
            return Err(Error::InvalidOption { option: "binding", reason });
        }
        let binding = self.binding(to, binding);
        match self.submit(OfQueues::Bind { binding: &binding }, Level::Sync) {
            Ok(_) => Ok(()),
            Err(Refused::Refusal(Refusal::Queues(queues::Refusal::NoDestination))) => {
                Err(Error::NotFound { kind, name: name.to_owned() })
            }
            Err(refused) => Err(self.refusal(refused)),
        }
    }

    /// Removes a binding to this queue; tells whether it was bound so. Durable on return.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if the binding is not for this type of exchange; [`Error::NotFound`] if the exchange
    /// was deleted, and what any write may meet.
    pub fn unbind(&self, queue: &Queue, binding: Binding) -> Result<bool, Error> {
        self.unbind_from(queue, binding)
    }

    /// The same of a binding to an exchange.
    ///
    /// # Errors
    /// As for [`Exchange::unbind`].
    pub fn unbind_exchange(&self, exchange: &Exchange, binding: Binding) -> Result<bool, Error> {
        self.unbind_from(exchange, binding)
    }

    fn unbind_from(&self, from: &impl Bindable, binding: Binding) -> Result<bool, Error> {
        if !from.database().is_same(&self.database) {
            return Ok(false);
        }
        let binding = self.binding(from, binding);
        match self
            .submit(OfQueues::Unbind { binding: &binding }, Level::Sync)
            .map_err(|refused| self.refusal(refused))?
        {
            (queues::Reply::Unbound { was_bound }, _) => Ok(was_bound),
            _ => unreachable!("who unbinds is told whether it was bound"),
        }
    }

    fn binding(&self, to: &impl Bindable, binding: Binding) -> queues::Binding {
        queues::Binding { exchange: self.number, destination: to.destination(), condition: binding.0 }
    }

    /// Options and bindings; of the default exchange there are none. Waits for nothing, unless some of it is just being
    /// written: then for the sync of that. A binding that comes or goes meanwhile may be in it or not.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the exchange was deleted, [`Error::Poisoned`], [`Error::Closed`], [`Error::Forked`].
    pub fn describe(&self) -> Result<ExchangeDescription, Error> {
        let name = self.name().to_owned();
        if self.number == queues::DEFAULT_EXCHANGE {
            return Ok(ExchangeDescription { name, options: ExchangeOptions::direct(), bindings: Vec::new() });
        }
        let (mut bindings, mut after) = (Vec::new(), None);
        loop {
            let asked = self.database.ask(&DescribeExchange { exchange: self.number, after: after.clone() })?;
            let not_found = || Error::NotFound { kind: "exchange", name: name.clone() };
            let ExchangeFacts { options, alternate, bindings: more } = asked.ok_or_else(not_found)?;
            if more.is_empty() {
                let queues::ExchangeOptions { kind, allows_unroutable, dedup, .. } = options;
                let options = ExchangeOptions { kind, alternate, allows_unroutable, dedup };
                return Ok(ExchangeDescription { name, options, bindings });
            }
            after = more.last().map(|(_, binding)| binding.clone());
            let described = |(name, binding): (String, queues::Binding)| {
                let bound_to = match binding.destination {
                    Destination::Queue(_) => BoundTo::Queue(name),
                    Destination::Exchange(_) => BoundTo::Exchange(name),
                };
                (bound_to, Binding(binding.condition))
            };
            bindings.extend(more.into_iter().filter(|(name, _)| !name.is_empty()).map(described));
        }
    }

    pub(super) fn submit(
        &self,
        command: OfQueues<'_>,
        level: impl Into<Wanted>,
    ) -> Result<(queues::Reply, Receipt), Refused<Refusal>> {
        let link = &self.database.shared.link;
        let Submitted { reply, lsn, level, .. } = link.submit(&Command::Queues(command), level, None)?;
        match reply {
            Reply::Queues(reply) => Ok((reply, Receipt { lsn, level })),
            _ => unreachable!("queues answer what queues are asked"),
        }
    }

    pub(super) fn refusal(&self, refused: Refused<Refusal>) -> Error {
        refusal_of("exchange", refused, self.name())
    }
}
