//! `twin.rs` is a naive router, `world.rs` holds it against the table over generated tables and messages. `topic.rs`,
//! `headers.rs`, `consistent_hash.rs`, `exchanges.rs` and `bounds.rs` state the rules one by one.

mod bounds;
mod consistent_hash;
mod exchanges;
mod headers;
mod topic;
mod twin;
mod world;

use super::*;
use crate::primitives::record::Header;
use crate::sim::random::Random;

const X: ExchangeNumber = ExchangeNumber(1);
const Y: ExchangeNumber = ExchangeNumber(2);
const Z: ExchangeNumber = ExchangeNumber(3);

/// A table with these exchanges, none of which has an alternate.
fn table(exchanges: &[(ExchangeNumber, Kind)]) -> Table {
    let mut table = Table::default();
    for (exchange, kind) in exchanges {
        table.declare(*exchange, kind.clone(), None).unwrap();
    }
    table
}

fn queue(number: u32) -> Destination {
    Destination::Queue(QueueNumber(number))
}

fn binding(exchange: ExchangeNumber, destination: Destination, condition: Condition) -> Binding {
    Binding { exchange, destination, condition }
}

fn key(key: &str) -> Condition {
    Condition::Key(key.into())
}

fn pattern(pattern: &str) -> Condition {
    Condition::Pattern(pattern.into())
}

fn header<'a>(name: &'a str, value: &'a str) -> Header<'a> {
    Header { name, value: value.as_bytes() }
}

fn asked(mode: Mode, arguments: &[(&str, &str)]) -> Condition {
    let arguments = arguments.iter().map(|(name, value)| header(name, value));
    Condition::Headers(Box::new(Arguments::new(mode, arguments)))
}

fn bind(table: &mut Table, exchange: ExchangeNumber, destination: Destination, condition: Condition) {
    assert_eq!(table.bind(binding(exchange, destination, condition)), Ok(Change::Done));
}

/// The numbers of the queues, with no headers.
fn routed(table: &Table, exchange: ExchangeNumber, routing_key: &str) -> Vec<u32> {
    routed_with(table, exchange, routing_key, &[])
}

fn routed_with(table: &Table, exchange: ExchangeNumber, routing_key: &str, headers: &[Header<'_>]) -> Vec<u32> {
    let mut scratch = Scratch::default();
    let routes = table.route(exchange, routing_key, headers, &mut scratch).unwrap();
    routes.iter().map(|queue| queue.0).collect()
}

fn refused(table: &Table, exchange: ExchangeNumber, routing_key: &str) -> Refusal {
    table.route(exchange, routing_key, &[], &mut Scratch::default()).unwrap_err()
}

fn over(limit: &'static str, max: usize) -> Refusal {
    Refusal::LimitExceeded { limit, max: max as u64, actual: max as u64 + 1 }
}
