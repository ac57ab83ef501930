//! `towpath dead redrive`: which letters, to where, and how fast.

use std::num::NonZeroU32;

use clap::{Args, ValueEnum};
use towpath::{DeathReason, Redrive as Call};

use crate::exchange::NamedValue;
use crate::exit::Failure;
use crate::output::{counted, say};
use crate::place::Place;

#[derive(Args)]
pub(crate) struct Redrive {
    /// The queue
    queue: String,
    /// Only those that died of this
    #[arg(long, value_enum)]
    reason: Option<ReasonName>,
    /// Only those with this header
    #[arg(long, value_name = "K=V")]
    header: Option<NamedValue>,
    /// Only this one
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// To this queue, in place of those in which they died first
    #[arg(long, value_name = "QUEUE", conflicts_with = "to_exchange")]
    to: Option<String>,
    /// To this exchange
    #[arg(long, value_name = "EXCHANGE")]
    to_exchange: Option<String>,
    /// With this routing key [default: that of each]
    #[arg(long, requires = "to_exchange")]
    key: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// At most so many in a second
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// Count them, and send none
    #[arg(long)]
    dry_run: bool,
}

/// Why a message is dead.
#[derive(Clone, Copy, ValueEnum)]
enum ReasonName {
    Rejected,
    AttemptsExhausted,
    Expired,
    Deadline,
    Overflow,
    Cycle,
}

impl ReasonName {
    fn reason(self) -> DeathReason {
        match self {
            ReasonName::Rejected => DeathReason::Rejected,
            ReasonName::AttemptsExhausted => DeathReason::AttemptsExhausted,
            ReasonName::Expired => DeathReason::Expired,
            ReasonName::Deadline => DeathReason::Deadline,
            ReasonName::Overflow => DeathReason::Overflow,
            ReasonName::Cycle => DeathReason::Cycle,
        }
    }
}

impl Redrive {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let database = place.open_existing()?;
        let (queue, to) = (database.queue(&self.queue)?, self.to.as_deref().map(|to| database.queue(to)).transpose()?);
        let exchange = self.to_exchange.as_deref().map(|to| database.exchange(to)).transpose()?;
        let mut call = self.chosen(queue.redrive_by());
        if let Some(to) = &to {
            call = call.to(to);
        }
        if let Some(exchange) = &exchange {
            call = call.to_exchange(exchange, self.key.as_deref());
        }
        let redriven = call.run()?;
        drop((queue, to, exchange));
        database.close()?;
        if self.dry_run {
            return say(format!("{} of {} would be sent again.", counted(redriven.chosen, "dead letter"), self.queue));
        }
        say(format!("{} of {} sent again.", counted(redriven.redriven, "dead letter"), self.queue))?;
        match redriven.left {
            0 => Ok(()),
            left => say(format!("{} cannot be read or went meanwhile.", counted(left, "dead letter"))),
        }
    }

    fn chosen<'q>(&self, mut call: Call<'q>) -> Call<'q> {
        if let Some(reason) = self.reason {
            call = call.reason(reason.reason());
        }
        if let Some(header) = &self.header {
            call = call.header(header.name.clone(), header.value.clone());
        }
        if let Some(sequence) = self.sequence {
            call = call.sequences(sequence, sequence);
        }
        if let Some(limit) = self.limit {
            call = call.limit(limit);
        }
        if let Some(rate) = self.rate {
            call = call.rate(rate.get());
        }
        if self.dry_run {
            call = call.dry_run();
        }
        call
    }
}
