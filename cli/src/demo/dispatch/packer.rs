//! A process that works on the orders of all three queues, one at a time of each.

use std::io::{self, Read};
use std::path::Path;

use clap::Args;
use towpath::{Delivery, Level, Options, Stream};

use super::{KILLER, PROCESSED, QUEUES, is_poison, order_of};
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Packer {
    /// It can work on every order
    #[arg(long)]
    fixed: bool,
}

/// What is said of the work on a poisonous order.
pub(super) fn poison(order: u64) -> String {
    format!("order {order} has no address")
}

/// What is written of an order that was processed.
pub(super) fn entry(queue: &str, order: u64) -> String {
    format!("{queue} {order}")
}

impl Packer {
    /// Works until standard input ends.
    pub(crate) fn run(&self, data: &Path) -> Result<(), Failure> {
        let database = Options::new().level(Level::Buffered).open(data)?;
        let processed = database.stream(PROCESSED)?;
        let is_fixed = self.fixed;
        let mut workers = Vec::new();
        for (name, _) in QUEUES {
            let processed = processed.clone();
            let task = move |order: &Delivery| pack(name, order, &processed, is_fixed);
            workers.push(database.queue(name)?.work(1, task)?);
        }
        let waited = io::stdin().read_to_end(&mut Vec::new());
        waited.map_err(|error| Failure::failed(format!("cannot wait for the parent: {error}")))?;
        for worker in workers {
            worker.stop()?;
        }
        Ok(database.close()?)
    }
}

fn pack(queue: &str, delivery: &Delivery, processed: &Stream, is_fixed: bool) -> Result<(), String> {
    let order = order_of(delivery.body()).ok_or("this is no order")?;
    match order {
        KILLER if !is_fixed => std::process::abort(),
        order if is_poison(order) && !is_fixed => Err(poison(order)),
        order => processed.append(&entry(queue, order)).map(drop).map_err(|error| error.to_string()),
    }
}
