//! The consumers of a queue, as `queue describe` shows them.

use serde::Serialize;
use towpath::{ConsumerDescription, Queue};

use crate::exit::Failure;
use crate::output::{Output, table};

#[derive(Serialize)]
pub(super) struct Printed {
    name: String,
    priority: u8,
    prefetch: u32,
    in_flight: u32,
    is_active: bool,
    pid: Option<u32>,
}

impl From<ConsumerDescription> for Printed {
    fn from(consumer: ConsumerDescription) -> Printed {
        let ConsumerDescription { name, priority, prefetch, in_flight, is_active, pid, .. } = consumer;
        Printed { name, priority, prefetch, in_flight, is_active, pid }
    }
}

pub(super) fn of(queue: &Queue) -> Result<Vec<Printed>, Failure> {
    Ok(queue.consumers()?.into_iter().map(Printed::from).collect())
}

/// Writes them as a table, if there are any.
pub(super) fn say_table(consumers: &[Printed]) -> Result<(), Failure> {
    if consumers.is_empty() {
        return Ok(());
    }
    let mut table = table(&["consumer", "priority", "prefetch", "in flight", "active", "pid"], &[1, 2, 3, 5]);
    for Printed { name, priority, prefetch, in_flight, is_active, pid } in consumers {
        let active = if *is_active { "yes" } else { "no" };
        let pid = pid.map_or_else(String::new, |pid| pid.to_string());
        let numbers = [priority.to_string(), prefetch.to_string(), in_flight.to_string()];
        let [priority, prefetch, in_flight] = numbers;
        table.add_row([name.clone(), priority, prefetch, in_flight, active.to_owned(), pid]);
    }
    let mut output = Output::new();
    output.line(table.to_string())?;
    output.flush()
}
