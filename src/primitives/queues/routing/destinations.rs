//! The destinations of bindings that have their condition in common: one mostly, and sometimes very many.

use std::collections::BTreeSet;

use super::binding::Destination;
use super::refusal::Refusal;
use super::scratch::Reached;

/// A set, iterated in order.
#[derive(Clone, Default, Debug)]
pub(super) enum Destinations {
    #[default]
    None,
    One(Destination),
    // In a box, so that a node of an index, which has mostly one destination, is half as large.
    #[expect(clippy::box_collection, reason = "see above")]
    Many(Box<BTreeSet<Destination>>),
}

impl Destinations {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Destinations::None)
    }

    /// # Panics
    /// If it is in the set already.
    pub(super) fn insert(&mut self, destination: Destination) {
        match self {
            Destinations::None => *self = Destinations::One(destination),
            Destinations::One(first) => {
                assert_ne!(*first, destination, "a binding is entered once");
                *self = Destinations::Many(Box::new(BTreeSet::from([*first, destination])));
            }
            Destinations::Many(all) => assert!(all.insert(destination), "a binding is entered once"),
        }
    }

    /// # Panics
    /// If it is not in the set.
    pub(super) fn remove(&mut self, destination: Destination) {
        match self {
            Destinations::One(only) if *only == destination => *self = Destinations::None,
            Destinations::Many(all) => {
                assert!(all.remove(&destination), "a binding that was entered");
                if all.len() == 1 {
                    *self = Destinations::One(*all.first().expect("one is left"));
                }
            }
            _ => panic!("a binding that was entered"),
        }
    }

    #[inline]
    pub(super) fn reach(&self, reached: &mut Reached) -> Result<(), Refusal> {
        match self {
            Destinations::None => Ok(()),
            Destinations::One(only) => reached.add(*only),
            Destinations::Many(all) => all.iter().try_for_each(|destination| reached.add(*destination)),
        }
    }
}
