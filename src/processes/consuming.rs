//! The question about the consumers of a queue.

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::codec::{Malformed, Take};
use crate::engine::Refused;
use crate::primitives::Refusal;
use crate::primitives::queues::{Consumer, ConsumerNumber, Holder, QueueNumber, consumer_row, queue_row};

use super::operation::{Kind, Question};
use super::questions::{put_list, take_list};
use super::server::Host;
use super::wire::{Out, take_option};

/// Up to `FREEZE_CHUNK` consumers of a queue behind this one, who comes first first; `None` if it was deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DescribeConsumers {
    pub(crate) queue: QueueNumber,
    pub(crate) after: Option<ConsumerNumber>,
}

/// One consumer that has joined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ConsumerFacts {
    pub(crate) number: ConsumerNumber,
    pub(crate) name: String,
    pub(crate) priority: u8,
    pub(crate) prefetch: u32,
    pub(crate) in_flight: u32,
    pub(crate) is_active: bool,
    /// Of the process that it is in, as far as that is there.
    pub(crate) pid: Option<u32>,
}

impl Question for DescribeConsumers {
    const KIND: Kind = Kind::DescribeConsumers;
    type Answer = Option<Vec<ConsumerFacts>>;

    fn answer(&self, host: &Host) -> Result<Self::Answer, Refused<Refusal>> {
        let found = host.engine.inspect(|machine| {
            let state = &machine.queues;
            let queue = state.get(self.queue)?;
            let facts = |number, consumer: &Consumer| {
                let is_active = !queue.options.single_active_consumer || state.is_active(queue, number);
                let facts = ConsumerFacts {
                    number,
                    name: consumer.shown(number).into(),
                    priority: consumer.priority,
                    prefetch: consumer.prefetch,
                    in_flight: state.in_flight_of(number),
                    is_active,
                    pid: None,
                };
                (consumer.holder, facts)
            };
            let behind = state.consumers.behind(self.queue, self.after).take(FREEZE_CHUNK);
            Some(behind.map(|(number, consumer)| facts(number, consumer)).collect::<Vec<_>>())
        })?;
        host.engine.reveal_object(queue_row(self.queue))?;
        let Some(found) = found else { return Ok(None) };
        for (_, facts) in &found {
            host.engine.reveal_object(consumer_row(facts.number))?;
        }
        let with_pid = |(holder, facts): (Holder, ConsumerFacts)| {
            let is_ours = holder == Holder::HOST;
            let pid = if is_ours { Some(std::process::id()) } else { host.pid_of(holder.0) };
            ConsumerFacts { pid, ..facts }
        };
        Ok(Some(found.into_iter().map(with_pid).collect()))
    }

    fn put(&self, out: &mut Out) {
        out.u32(self.queue.0);
        out.option(self.after, |out, after| out.varint(after.0));
    }

    fn take(take: &mut Take<'_>) -> Result<DescribeConsumers, Malformed> {
        let queue = QueueNumber(take.u32()?);
        Ok(DescribeConsumers { queue, after: take_option(take, |take| take.varint().map(ConsumerNumber))? })
    }

    fn put_answer(consumers: &Self::Answer, out: &mut Out) {
        out.option(consumers.as_ref(), |out, consumers| {
            put_list(consumers, out, |out, consumer| {
                out.varint(consumer.number.0);
                out.text(&consumer.name);
                out.u8(consumer.priority);
                out.varint(u64::from(consumer.prefetch));
                out.varint(u64::from(consumer.in_flight));
                out.bool(consumer.is_active);
                out.option(consumer.pid, Out::u32);
            });
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Self::Answer, Malformed> {
        take_option(take, |take| {
            take_list(take, |take| {
                let (number, name) = (ConsumerNumber(take.varint()?), take.text()?.to_owned());
                let (priority, prefetch, in_flight) = (take.u8()?, take.varint32()?, take.varint32()?);
                let is_active = take.u8()? == 1;
                let pid = take_option(take, Take::u32)?;
                Ok(ConsumerFacts { number, name, priority, prefetch, in_flight, is_active, pid })
            })
        })
    }
}
