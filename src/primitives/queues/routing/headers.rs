//! The bindings of a headers exchange by the arguments that they ask for.
//!
//! Each different argument has a number. A publish looks up which of them its headers meet; from then on it has to do
//! with numbers only. A binding that asks for all of its arguments is *posted* under one of them, the one that the
//! fewest bindings asked for when it came, and is looked at if that is met. One that asks for any is posted under each
//! of them. What asks for nothing is posted under `NOTHING`, which every message meets.

use std::collections::BTreeSet;

use super::Map;
use super::arguments::{Argument, Arguments};
use super::binding::Destination;
use super::refusal::Refusal;
use super::scratch::Reached;
use super::slab::Slab;
use crate::primitives::record::Header;

/// The number of no argument.
const NOTHING: u32 = 0;

#[derive(Clone, Debug)]
pub(super) struct ByArgument {
    names: Map<Box<str>, Values>,
    /// How many bindings ask for the argument with this number.
    uses: Slab<u32>,
    rules: Slab<Rule>,
    /// An argument, and a rule that is looked at if it is met.
    posted: BTreeSet<(u32, u32)>,
}

/// The numbers of the arguments with one name.
#[derive(Clone, Default, Debug)]
struct Values {
    any: Option<u32>,
    by_value: Map<Box<[u8]>, u32>,
}

/// One binding.
#[derive(Clone, Debug)]
struct Rule {
    /// Those to be met all, in order; `None` if it is enough to be looked at.
    all: Option<Box<[u32]>>,
    destination: Destination,
}

impl Default for ByArgument {
    fn default() -> ByArgument {
        let mut uses = Slab::default();
        assert_eq!(uses.insert(0), NOTHING);
        ByArgument { names: Map::default(), uses, rules: Slab::default(), posted: BTreeSet::new() }
    }
}

impl ByArgument {
    /// The number by which the binding is removed.
    pub(super) fn insert(&mut self, arguments: &Arguments, destination: Destination) -> u32 {
        let numbers: Box<[u32]> = arguments.counting().map(|argument| self.take(argument)).collect();
        let is_all = arguments.mode().is_all();
        let all = is_all.then(|| numbers.clone());
        let rule = self.rules.insert(Rule { all, destination });
        if is_all {
            let rarest = numbers.iter().copied().min_by_key(|number| self.uses[*number]);
            self.posted.insert((rarest.unwrap_or(NOTHING), rule));
        } else {
            self.posted.extend(numbers.iter().map(|number| (*number, rule)));
        }
        rule
    }

    /// # Panics
    /// If it was not inserted with these arguments under this number.
    pub(super) fn remove(&mut self, arguments: &Arguments, rule: u32) {
        self.rules.remove(rule);
        self.posted.remove(&(NOTHING, rule));
        for argument in arguments.counting() {
            let number = self.give_back(argument);
            self.posted.remove(&(number, rule));
        }
    }

    /// The number of an argument that one more asks for.
    fn take(&mut self, Argument { name, value }: &Argument) -> u32 {
        let values = self.names.entry(name.clone()).or_default();
        let found = if value.is_empty() { values.any } else { values.by_value.get(value).copied() };
        let number = found.unwrap_or_else(|| self.uses.insert(0));
        if found.is_none() && value.is_empty() {
            values.any = Some(number);
        } else if found.is_none() {
            values.by_value.insert(value.clone(), number);
        }
        self.uses[number] += 1;
        number
    }

    /// The number of an argument that one less asks for. With the last one it is gone.
    fn give_back(&mut self, Argument { name, value }: &Argument) -> u32 {
        let values = self.names.get_mut(name).expect("an argument that was taken");
        let found = if value.is_empty() { values.any } else { values.by_value.get(value).copied() };
        let number = found.expect("an argument that was taken");
        self.uses[number] -= 1;
        if self.uses[number] == 0 {
            self.uses.remove(number);
            if value.is_empty() {
                values.any = None;
            } else {
                values.by_value.remove(value);
            }
            if values.any.is_none() && values.by_value.is_empty() {
                self.names.remove(name);
            }
        }
        number
    }

    pub(super) fn reach(
        &self,
        headers: &[Header<'_>],
        met: &mut Vec<u32>,
        reached: &mut Reached,
    ) -> Result<(), Refusal> {
        met.clear();
        met.push(NOTHING);
        for header in headers {
            if let Some(values) = self.names.get(header.name) {
                met.extend(values.any);
                met.extend(values.by_value.get(header.value));
            }
        }
        reached.step(headers.len())?;
        met.sort_unstable();
        met.dedup();
        for number in &*met {
            for (_, rule) in self.posted.range((*number, 0)..=(*number, u32::MAX)) {
                let rule = &self.rules[*rule];
                reached.step(1)?;
                if rule.is_met(met) {
                    reached.add(rule.destination)?;
                }
            }
        }
        Ok(())
    }

    /// Different names, different arguments, and bindings that are posted, counted wherever they are.
    #[cfg(all(test, not(loom)))]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.names.len(), self.uses.len() - 1, self.posted.len())
    }
}

impl Rule {
    #[inline]
    fn is_met(&self, met: &[u32]) -> bool {
        let mut all = self.all.iter().flatten();
        all.all(|number| met.binary_search(number).is_ok())
    }
}
