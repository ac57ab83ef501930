//! The second stage of the demonstration: orders go through a topic exchange to three queues, and three processes work
//! on them ([`packer`]).
//!
//! One order in a hundred is poison: its work fails each time. One order kills whichever process works on it, which
//! its neighbours are not to suffer for. In the end all of these are dead letters that say why. Then the packers are
//! "fixed", the letters are sent again, and every order must have been processed in each of its queues. What was
//! processed is appended to a stream before its message is acknowledged, so a packer that dies between the two has it
//! processed again, and that is counted.

mod packer;
mod table;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use towpath::{
    Backoff, Binding, Database, DeadLetter, ExchangeOptions, Level, Message, Options, PublishOptions, Queue,
    QueueOptions, Start, StreamOptions,
};

use crate::exit::Failure;
use crate::signals::Signals;

pub(crate) use packer::Packer;
pub(super) use table::print;

const EXCHANGE: &str = "dispatch";
const PROCESSED: &str = "processed";
/// Each queue with the pattern that it is bound by.
const QUEUES: [(&str, &str); 3] = [("invoices", "order.*.paid"), ("parcels", "order.eu.*"), ("mails", "order.#")];
const ORDERS: u64 = 2_000;
const BATCH: usize = 500;
const PACKERS: usize = 3;
const ATTEMPTS: u32 = 3;
/// The order that kills who works on it.
const KILLER: u64 = 1_042;

/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(10);

/// An order that no packer can work on before it is fixed.
fn is_poison(order: u64) -> bool {
    order % 100 == 99
}

fn routing_key(order: u64) -> String {
    let country = ["eu", "us", "asia"][(order % 3) as usize];
    let state = if order.is_multiple_of(2) { "paid" } else { "open" };
    format!("order.{country}.{state}")
}

/// What came of the stage.
#[derive(Default)]
pub(super) struct Dispatched {
    pub(super) orders: u64,
    /// Places in queues that the orders took.
    pub(super) places: u64,
    pub(super) deaths: u64,
    /// Dead letters whose work failed, and those that killed.
    pub(super) failed: u64,
    pub(super) killed: u64,
    /// Letters that do not say what they died of.
    pub(super) unexplained: u64,
    pub(super) redriven: u64,
    /// Different places that were processed, and those more than once.
    pub(super) processed: u64,
    pub(super) again: u64,
    /// Of the orders that were published, places that nobody processed, and the other way round.
    pub(super) missing: u64,
    pub(super) foreign: u64,
    pub(super) left: u64,
}

impl Dispatched {
    pub(super) fn is_exact(&self) -> bool {
        let poison = (0..self.orders).filter(|order| is_poison(*order));
        let poisoned: u64 = poison.map(|order| places(order).count() as u64).sum();
        let killing = places(KILLER).count() as u64;
        self.missing + self.foreign + self.left + self.unexplained == 0
            && (self.failed, self.killed, self.redriven) == (poisoned, killing, poisoned + killing)
            && self.processed == self.places
    }
}

/// The queues that an order is for.
fn places(order: u64) -> impl Iterator<Item = &'static str> {
    let key = routing_key(order);
    let is_for = move |pattern: &str| match pattern {
        "order.*.paid" => key.ends_with(".paid"),
        "order.eu.*" => key.starts_with("order.eu."),
        _ => true,
    };
    QUEUES.into_iter().filter(move |(_, pattern)| is_for(pattern)).map(|(queue, _)| queue)
}

/// Works in a directory that nobody has open.
pub(super) fn run(data: &Path, signals: &Signals) -> Result<Dispatched, Failure> {
    let database = Options::new().level(Level::Buffered).open(data)?;
    let queues = prepare(&database)?;
    let mut dispatched = Dispatched { orders: ORDERS, places: publish(&database)?, ..Dispatched::default() };
    let mut packers = Packers::new(data, false);
    packers.work_off(&queues, signals)?;
    dispatched.deaths = packers.deaths;
    packers.leave()?;
    redrive(&queues, &mut dispatched)?;
    let mut fixed = Packers::new(data, true);
    fixed.work_off(&queues, signals)?;
    fixed.leave()?;
    count(&database, &queues, &mut dispatched)?;
    database.close()?;
    Ok(dispatched)
}

fn prepare(database: &Database) -> Result<Vec<Queue>, Failure> {
    database.create_stream(PROCESSED, StreamOptions::new())?;
    let exchange = database.create_exchange(EXCHANGE, ExchangeOptions::topic())?;
    let options = QueueOptions::new().max_attempts(ATTEMPTS).backoff(Backoff::none());
    let mut queues = Vec::new();
    for (name, pattern) in QUEUES {
        let queue = database.create_queue(name, options.clone())?;
        exchange.bind(&queue, Binding::pattern(pattern))?;
        queues.push(queue);
    }
    Ok(queues)
}

/// Tells how many places in queues the orders took.
fn publish(database: &Database) -> Result<u64, Failure> {
    let exchange = database.exchange(EXCHANGE)?;
    let orders: Vec<(String, String)> = (0..ORDERS).map(|order| (routing_key(order), order.to_string())).collect();
    let mut places = 0;
    for batch in orders.chunks(BATCH) {
        let batch: Vec<(&str, Message<'_>)> =
            batch.iter().map(|(key, order)| (key.as_str(), Message::from(order))).collect();
        places += exchange.publish_batch(&batch, &PublishOptions::new())?.queues;
    }
    Ok(places)
}

/// Looks at all dead letters and sends them again.
fn redrive(queues: &[Queue], dispatched: &mut Dispatched) -> Result<(), Failure> {
    for queue in queues {
        let mut letters: Vec<DeadLetter> = Vec::new();
        loop {
            let more = queue.dead_letters(letters.last(), 200)?;
            if more.is_empty() {
                break;
            }
            letters.extend(more);
        }
        for letter in &letters {
            let order = order_of(letter.message()?.body());
            // A death that somebody else brought about may be among the attempts at a poisonous order.
            let says = |text: &str| {
                let says = |failure: &towpath::Failure| failure.error == text || failure.error.contains("died");
                !letter.failures().is_empty() && letter.failures().iter().all(says)
            };
            match order {
                Some(order) if is_poison(order) && says(&packer::poison(order)) => dispatched.failed += 1,
                Some(KILLER) if says("") => dispatched.killed += 1,
                _ => dispatched.unexplained += 1,
            }
        }
        queue.redrive(&letters)?;
        dispatched.redriven += letters.len() as u64;
    }
    Ok(())
}

fn order_of(body: &[u8]) -> Option<u64> {
    std::str::from_utf8(body).ok()?.parse().ok()
}

/// Compares what was processed with what was published.
fn count(database: &Database, queues: &[Queue], dispatched: &mut Dispatched) -> Result<(), Failure> {
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    let mut reader = database.stream(PROCESSED)?.reader(0, Start::Earliest)?;
    while let Some(records) = reader.try_receive(1_000)? {
        for record in &records {
            *times.entry(String::from_utf8_lossy(record.body()).into_owned()).or_default() += 1;
        }
    }
    dispatched.processed = times.len() as u64;
    dispatched.again = times.values().map(|times| times - 1).sum();
    for order in 0..ORDERS {
        for queue in places(order) {
            dispatched.missing += u64::from(times.remove(&packer::entry(queue, order)).is_none());
        }
    }
    dispatched.foreign = times.len() as u64;
    for queue in queues {
        let counts = queue.describe()?;
        dispatched.left += counts.ready + counts.delayed + counts.in_flight + counts.dead;
    }
    Ok(())
}

/// The processes that work, as their parent sees them.
struct Packers {
    data: PathBuf,
    are_fixed: bool,
    running: Vec<Running>,
    deaths: u64,
}

struct Running {
    child: Child,
    /// It ends in order when this is closed.
    permission: Option<ChildStdin>,
}

impl Drop for Running {
    /// A process whose parent gave up must not go on.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Packers {
    fn new(data: &Path, are_fixed: bool) -> Packers {
        Packers { data: data.to_owned(), are_fixed, running: Vec::new(), deaths: 0 }
    }

    /// Has them work until nothing is left but dead letters; one that dies is started again.
    fn work_off(&mut self, queues: &[Queue], signals: &Signals) -> Result<(), Failure> {
        loop {
            signals.check()?;
            self.bury()?;
            while self.running.len() < PACKERS {
                self.start()?;
            }
            let mut left = 0;
            for queue in queues {
                let counts = queue.describe()?;
                left += counts.ready + counts.delayed + counts.in_flight;
            }
            if left == 0 {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }

    fn start(&mut self) -> Result<(), Failure> {
        let cannot = |error: io::Error| Failure::failed(format!("cannot start a packer: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.arg("--data").arg(&self.data).arg("demo-packer").stdin(Stdio::piped());
        if self.are_fixed {
            command.arg("--fixed");
        }
        let mut child = command.spawn().map_err(cannot)?;
        let permission = child.stdin.take();
        self.running.push(Running { child, permission });
        Ok(())
    }

    /// Takes out those that died. One that ended by itself has failed.
    fn bury(&mut self) -> Result<(), Failure> {
        let mut at = 0;
        while let Some(running) = self.running.get_mut(at) {
            match running
                .child
                .try_wait()
                .map_err(|error| Failure::failed(format!("cannot attend a packer: {error}")))?
            {
                None => at += 1,
                Some(status) if status.code().is_some() => {
                    return Err(Failure::failed(format!("a packer ended by itself ({status}); see above")));
                }
                Some(_) => {
                    self.running.swap_remove(at);
                    self.deaths += 1;
                }
            }
        }
        Ok(())
    }

    /// They end in order.
    fn leave(&mut self) -> Result<(), Failure> {
        self.running.iter_mut().for_each(|running| running.permission = None);
        for mut running in std::mem::take(&mut self.running) {
            let status =
                running.child.wait().map_err(|error| Failure::failed(format!("cannot attend a packer: {error}")))?;
            if !status.success() {
                return Err(Failure::failed(format!("a packer ended by itself ({status}); see above")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_that_kills_is_no_poison_and_comes_to_some_queue_besides_mails() {
        assert!(KILLER < ORDERS && !is_poison(KILLER));
        assert!(places(KILLER).count() > 1);
    }
}
