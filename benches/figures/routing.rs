//! Publishing: what it costs with few bindings and with many, and to one queue and to many.

use std::path::Path;
use std::time::Instant;

use towpath::{Binding, Database, Exchange, ExchangeOptions, Level, Options, Queue, QueueOptions};

use super::disk::median;
use super::heap;

const ROUNDS: usize = 7;
const COUNT: usize = 50_000;
const BODY: [u8; 100] = [b'x'; 100];

fn open(directory: &Path) -> Database {
    Options::new().level(Level::Buffered).open(directory.join("data")).expect("opens")
}

fn queue(database: &Database, name: &str) -> Queue {
    database.create_queue(name, QueueOptions::new()).expect("creates")
}

/// Binds the queue for so many customers, of whom each publish is for one.
fn customers(database: &Database, name: &str, to: &Queue, bindings: usize) -> Exchange {
    let exchange = database.create_exchange(name, ExchangeOptions::topic()).expect("creates");
    for number in 0..bindings {
        exchange.bind(to, Binding::pattern(&format!("order.*.customer-{number}.#"))).expect("binds");
    }
    exchange
}

fn micros_each(exchange: &Exchange, bindings: usize) -> f64 {
    let keys: Vec<String> = (0..COUNT).map(|n| format!("order.eu.customer-{}.paid", n * 7919 % bindings)).collect();
    let began = Instant::now();
    for key in &keys {
        assert_eq!(exchange.publish(key, &BODY).expect("publishes").queues, 1);
    }
    began.elapsed().as_secs_f64() * 1e6 / COUNT as f64
}

pub(crate) fn bindings(directory: &Path) {
    const MANY: usize = 100_000;
    let database = open(directory);
    let orders = queue(&database, "orders");
    let few = customers(&database, "few", &orders, 100);
    let empty = heap::in_use();
    let many = customers(&database, "many", &orders, MANY);
    let heap_mib = heap::in_use().saturating_sub(empty) as f64 / (1 << 20) as f64;
    let (mut with_few, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (of_few, of_many) = (micros_each(&few, 100), micros_each(&many, MANY));
        with_few.push(of_few);
        ratios.push(of_many / of_few);
    }
    println!(
        "  a publish with {MANY} bindings costs {:.2} × that with 100 (target 3), which takes {:.2} µs; they take \
         {heap_mib:.1} MiB of heap",
        median(ratios),
        median(with_few)
    );
}

pub(crate) fn fanout(directory: &Path) {
    const QUEUES: usize = 100;
    const MESSAGES: usize = 20_000;
    let database = open(directory);
    let news = database.create_exchange("news", ExchangeOptions::fanout()).expect("creates");
    let single = queue(&database, "single");
    for number in 0..QUEUES {
        news.bind(&queue(&database, &format!("reader-{number}")), Binding::all()).expect("binds");
    }
    let body = [b'x'; 4096];
    let issued = || database.stats().expect("tells").issued_lsn;
    let (began, before) = (Instant::now(), issued());
    for _ in 0..MESSAGES {
        news.publish("", &body).expect("publishes");
    }
    let (taken, bytes) = (began.elapsed().as_secs_f64(), issued() - before);
    let before = issued();
    for _ in 0..MESSAGES {
        single.send(&body).expect("sends");
    }
    println!(
        "  a body of {} bytes to {QUEUES} queues: {:.0} bytes of journal, {:.2} × those of a send to one queue; {:.1} \
         million places a second",
        body.len(),
        bytes as f64 / MESSAGES as f64,
        bytes as f64 / (issued() - before) as f64,
        (MESSAGES * QUEUES) as f64 / taken / 1e6
    );
}
