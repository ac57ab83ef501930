//! The way of a publish from exchange to exchange.

use super::binding::{ExchangeNumber, QueueNumber, check_key_bytes};
use super::index::Message;
use super::refusal::Refusal;
use super::scratch::Scratch;
use super::table::Table;
use crate::primitives::record::Header;

impl Table {
    /// Begins a publish of so many messages, each of which is then routed.
    pub(crate) fn begin_publish(&self, messages: usize, scratch: &mut Scratch) {
        scratch.reached.begin(self.gone(), messages);
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn route<'s>(
        &self,
        exchange: ExchangeNumber,
        routing_key: &str,
        headers: &[Header<'_>],
        scratch: &'s mut Scratch,
    ) -> Result<&'s [QueueNumber], Refusal> {
        self.begin_publish(1, scratch);
        self.route_next(exchange, routing_key, headers, scratch)
    }

    /// The queues that a message published to `exchange` gets to, each once, in ascending order of their numbers; none
    /// if it is unroutable.
    ///
    /// # Errors
    /// `UnknownExchange` if there is no such exchange. `LimitExceeded` if the routing key has too many bytes, or too
    /// many words for a topic exchange that the message comes to, and if the publish reaches more queues, visits more
    /// exchanges or takes more steps than one may.
    pub(crate) fn route_next<'s>(
        &self,
        exchange: ExchangeNumber,
        routing_key: &str,
        headers: &[Header<'_>],
        scratch: &'s mut Scratch,
    ) -> Result<&'s [QueueNumber], Refusal> {
        self.exchange(exchange).ok_or(Refusal::UnknownExchange(exchange))?;
        check_key_bytes(routing_key)?;
        scratch.reached.clear();
        scratch.reached.add_exchange(exchange)?;
        while let Some(next) = scratch.reached.next_exchange() {
            // An alternate exchange may have been removed.
            let Some(exchange) = self.exchange(next) else { continue };
            let before = scratch.reached.matches();
            exchange.index.reach(Message { routing_key, headers }, scratch)?;
            if let Some(alternate) = exchange.alternate
                && scratch.reached.matches() == before
            {
                scratch.reached.add_exchange(alternate)?;
            }
        }
        Ok(scratch.reached.in_order())
    }
}
