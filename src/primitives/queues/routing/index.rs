//! The bindings of one exchange, so that those which match are found without looking at the others.

use super::Map;
use super::binding::{Condition, Destination, Kind};
use super::destinations::Destinations;
use super::headers::ByArgument;
use super::refusal::Refusal;
use super::rendezvous::{self, Rendezvous};
use super::scratch::Scratch;
use super::topic::Trie;
use crate::primitives::record::Header;

#[derive(Clone, Debug)]
pub(super) enum Index {
    Direct(Map<Box<str>, Destinations>),
    Topic(Trie),
    Fanout(Destinations),
    Headers(ByArgument),
    ConsistentHash { header: Option<Box<str>>, bindings: Rendezvous },
}

/// What of a message its way rests on.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) routing_key: &'a str,
    pub(super) headers: &'a [Header<'a>],
}

impl Index {
    pub(super) fn new(kind: &Kind) -> Index {
        match kind {
            Kind::Direct => Index::Direct(Map::default()),
            Kind::Topic => Index::Topic(Trie::default()),
            Kind::Fanout => Index::Fanout(Destinations::default()),
            Kind::Headers => Index::Headers(ByArgument::default()),
            Kind::ConsistentHash { header } => {
                Index::ConsistentHash { header: header.clone(), bindings: Rendezvous::default() }
            }
        }
    }

    /// Enters a binding that is not entered yet. The number is to be given when it is removed.
    ///
    /// # Panics
    /// If its condition is for exchanges of another kind.
    pub(super) fn insert(&mut self, condition: &Condition, destination: Destination) -> u32 {
        match (self, condition) {
            (Index::Direct(by_key), Condition::Key(key)) => {
                by_key.entry(key.clone()).or_default().insert(destination);
            }
            (Index::Topic(trie), Condition::Pattern(pattern)) => trie.insert(pattern, destination),
            (Index::Fanout(all), Condition::Always) => all.insert(destination),
            (Index::Headers(by_argument), Condition::Headers(arguments)) => {
                return by_argument.insert(arguments, destination);
            }
            (Index::ConsistentHash { bindings, .. }, Condition::Weight(weight)) => {
                bindings.insert(*weight, destination);
            }
            _ => panic!("a condition that was checked"),
        }
        0
    }

    /// # Panics
    /// If it was not entered under this number.
    pub(super) fn remove(&mut self, condition: &Condition, destination: Destination, number: u32) {
        match (self, condition) {
            (Index::Direct(by_key), Condition::Key(key)) => {
                let destinations = by_key.get_mut(key).expect("a binding that was entered");
                destinations.remove(destination);
                if destinations.is_empty() {
                    by_key.remove(key);
                }
            }
            (Index::Topic(trie), Condition::Pattern(pattern)) => trie.remove(pattern, destination),
            (Index::Fanout(all), Condition::Always) => all.remove(destination),
            (Index::Headers(by_argument), Condition::Headers(arguments)) => by_argument.remove(arguments, number),
            (Index::ConsistentHash { bindings, .. }, Condition::Weight(weight)) => {
                bindings.remove(*weight, destination);
            }
            _ => panic!("a condition that was checked"),
        }
    }

    /// Reaches the destination of every binding that matches.
    pub(super) fn reach(&self, message: Message<'_>, scratch: &mut Scratch) -> Result<(), Refusal> {
        let Scratch { reached, walk, met } = scratch;
        match self {
            Index::Direct(by_key) => by_key.get(message.routing_key).map_or(Ok(()), |all| all.reach(reached)),
            Index::Topic(trie) => trie.reach(message.routing_key, walk, reached),
            Index::Fanout(all) => all.reach(reached),
            Index::Headers(by_argument) => by_argument.reach(message.headers, met, reached),
            Index::ConsistentHash { header, bindings } => {
                let hashed = rendezvous::hashed(header.as_deref(), message.routing_key, message.headers);
                bindings.reach(hashed, reached)
            }
        }
    }
}
