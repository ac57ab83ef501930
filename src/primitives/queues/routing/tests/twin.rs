//! The naive twin: every binding in a vector, every one of them looked at for each publish.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use super::super::arguments::Argument;
use super::*;

#[derive(Default)]
pub(super) struct Twin {
    pub(super) exchanges: Vec<(ExchangeNumber, Kind, Option<ExchangeNumber>)>,
    pub(super) bindings: Vec<Binding>,
}

impl Twin {
    pub(super) fn bind(&mut self, binding: Binding) -> Change {
        if self.bindings.contains(&binding) {
            return Change::AlreadySo;
        }
        self.bindings.push(binding);
        Change::Done
    }

    pub(super) fn unbind(&mut self, binding: &Binding) -> Change {
        let before = self.bindings.len();
        self.bindings.retain(|there| there != binding);
        if self.bindings.len() < before { Change::Done } else { Change::AlreadySo }
    }

    pub(super) fn remove(&mut self, is_gone: impl Fn(&Binding) -> bool) -> usize {
        let before = self.bindings.len();
        self.bindings.retain(|binding| !is_gone(binding));
        before - self.bindings.len()
    }

    pub(super) fn listed(&self, is_asked: impl Fn(&Binding) -> bool) -> Vec<Binding> {
        let mut listed: Vec<Binding> = self.bindings.iter().filter(|binding| is_asked(binding)).cloned().collect();
        listed.sort();
        listed
    }

    pub(super) fn route(&self, exchange: ExchangeNumber, key: &str, headers: &[Header<'_>]) -> Vec<u32> {
        let (mut queues, mut visited) = (BTreeSet::new(), BTreeSet::new());
        self.visit(exchange, key, headers, &mut queues, &mut visited);
        queues.into_iter().collect()
    }

    fn visit(
        &self,
        exchange: ExchangeNumber,
        key: &str,
        headers: &[Header<'_>],
        queues: &mut BTreeSet<u32>,
        visited: &mut BTreeSet<ExchangeNumber>,
    ) {
        let found = self.exchanges.iter().find(|(number, ..)| *number == exchange);
        let Some((_, kind, alternate)) = found else { return };
        if !visited.insert(exchange) {
            return;
        }
        let matching = self.matching(exchange, kind, key, headers);
        for destination in &matching {
            match destination {
                Destination::Queue(queue) => drop(queues.insert(queue.0)),
                Destination::Exchange(to) => self.visit(*to, key, headers, queues, visited),
            }
        }
        if let (true, Some(alternate)) = (matching.is_empty(), alternate) {
            self.visit(*alternate, key, headers, queues, visited);
        }
    }

    fn matching(&self, exchange: ExchangeNumber, kind: &Kind, key: &str, headers: &[Header<'_>]) -> Vec<Destination> {
        let of_exchange = self.bindings.iter().filter(|binding| binding.exchange == exchange);
        if let Kind::ConsistentHash { header } = kind {
            let named = |name: &str| headers.iter().find(|header| header.name == name).map_or(&[][..], |h| h.value);
            let hashed = header.as_deref().map_or(key.as_bytes(), named);
            return of_exchange
                .min_by(|a, b| {
                    let [a, b] = [a, b].map(|binding| (score(hashed, binding), binding.destination));
                    a.partial_cmp(&b).unwrap()
                })
                .map(|binding| binding.destination)
                .into_iter()
                .collect();
        }
        of_exchange.filter(|binding| is_met(&binding.condition, key, headers)).map(|b| b.destination).collect()
    }
}

fn score(hashed: &[u8], binding: &Binding) -> f64 {
    let Condition::Weight(weight) = binding.condition else { panic!("{binding:?}") };
    let seed = match binding.destination {
        Destination::Queue(queue) => [&[0], &queue.0.to_le_bytes()[..]].concat(),
        Destination::Exchange(exchange) => [&[1], &exchange.0.to_le_bytes()[..]].concat(),
    };
    let mut hash = xxh3_64(hashed) ^ xxh3_64(&seed);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    let fraction = (2 * (hash >> 12) + 1) as f64 / 2_f64.powi(53);
    -fraction.ln() / f64::from(weight)
}

fn is_met(condition: &Condition, key: &str, headers: &[Header<'_>]) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Key(asked) => **asked == *key,
        Condition::Pattern(pattern) => matches(&split(pattern), &split(key)),
        Condition::Headers(arguments) => meets(arguments, headers),
        Condition::Weight(_) => panic!("it is not by itself that a binding with a weight matches"),
    }
}

fn split(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('.').collect() }
}

/// Whether a pattern matches a key, by trying everything.
pub(super) fn matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], key) => key.is_empty(),
        (["#", rest @ ..], _) => (0..=key.len()).any(|skipped| matches(rest, &key[skipped..])),
        ([word, rest @ ..], [first, behind @ ..]) => (*word == "*" || word == first) && matches(rest, behind),
        _ => false,
    }
}

fn meets(arguments: &Arguments, headers: &[Header<'_>]) -> bool {
    let is_met = |argument: &Argument| {
        let is_it = |header: &Header<'_>| {
            header.name == &*argument.name && (argument.value.is_empty() || header.value == &*argument.value)
        };
        headers.iter().any(is_it)
    };
    let is_plain = |argument: &&Argument| !argument.name.starts_with("x-");
    let is_no_mode = |argument: &&Argument| &*argument.name != "x-match";
    let mut all = arguments.all().iter();
    match arguments.mode() {
        Mode::All => all.filter(is_plain).all(is_met),
        Mode::Any => all.filter(is_plain).any(is_met),
        Mode::AllWithX => all.filter(is_no_mode).all(is_met),
        Mode::AnyWithX => all.by_ref().filter(is_no_mode).any(is_met),
    }
}
