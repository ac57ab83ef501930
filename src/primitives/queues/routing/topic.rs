//! Patterns as a trie, and the walk through it.
//!
//! A pattern is a way down from the root: one step for each of its words, `*` and `#` being words of their own there. A
//! key of `n` words has `n + 1` *places*: before its first word, between two, behind its last. A node has the set of
//! places up to which the words of a key can be used up on the way to it, as the bits of a `u128`. The root has the
//! first, and from a node with the places `at`
//!
//! * the step `*` has the place behind each of `at`,
//! * the step of another word has the place behind each of `at` that this word follows,
//! * the step `#` has the first of `at` and every one behind it.
//!
//! The patterns that end in a node match if the last place is among the node's, and those that end with one more `#` in
//! any case; that `#` is no step. Since there is one way to each node, a
//! walk comes to it once, with all its places: however many `#` there are, it takes no more steps than the trie has
//! nodes, times the different words of the key where there are several places.
//!
//! The nodes stand in one hash table, by their parent and word. So a step touches one place in memory, in which
//! everything is that the walk wants to know of the node: that is what a step costs where there are many bindings.

use std::mem;

use hashbrown::HashTable;

use super::binding::Destination;
use super::bounds::{self, WORDS_MAX};
use super::destinations::Destinations;
use super::refusal::Refusal;
use super::scratch::Reached;
use super::words::{self, Word, words};

const STAR: &str = "*";
const HASH: &str = "#";

/// The bindings of a topic exchange.
#[derive(Clone, Default, Debug)]
pub(super) struct Trie {
    root: Body,
    nodes: HashTable<Node>,
    /// Numbers below `nodes.len() + free.len() + 1` that no node has.
    free: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Node {
    parent: u32,
    word: Word,
    body: Body,
}

/// Invariant: unless it is the root's, it has steps or destinations.
#[derive(Clone, Default, Debug)]
struct Body {
    /// The root has 0.
    number: u32,
    steps: Steps,
    /// Of the patterns that end here.
    ends: Destinations,
    /// Of the patterns that end here but for a last `#`.
    ends_with_hash: Destinations,
}

/// Which nodes have this one as their parent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Steps {
    star: bool,
    hash: bool,
    /// How many others.
    words: u32,
}

/// Where a node stands in the table; the root stands outside.
#[derive(Clone, Copy)]
struct Address<'a> {
    parent: u32,
    word: &'a str,
    word_hash: u64,
}

/// The room that a walk takes.
#[derive(Default, Debug)]
pub(super) struct Walk {
    /// The words of the key, as they follow each place.
    words: Vec<KeyWord>,
    /// Each different word, and all places that it follows.
    different: Vec<(KeyWord, u128)>,
    /// Nodes that were come to, whose steps are to be taken.
    ahead: Vec<Ahead>,
}

/// A stretch of the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct KeyWord {
    hash: u64,
    start: u8,
    end: u8,
}

#[derive(Debug)]
struct Ahead {
    number: u32,
    steps: Steps,
    at: u128,
}

impl Trie {
    pub(super) fn insert(&mut self, pattern: &str, destination: Destination) {
        let mut last = None;
        let (words, is_hash) = split(pattern);
        for word in words {
            let address = Address::new(self.body(last).number, word);
            if self.find(address).is_none() {
                self.add(address);
                self.body_mut(last).steps.add(word);
            }
            last = Some(address);
        }
        self.body_mut(last).destinations(is_hash).insert(destination);
    }

    /// # Panics
    /// If it was not inserted.
    pub(super) fn remove(&mut self, pattern: &str, destination: Destination) {
        let (mut last, mut way) = (None, Vec::new());
        let (words, is_hash) = split(pattern);
        for word in words {
            way.push(last);
            last = Some(Address::new(self.body(last).number, word));
        }
        self.body_mut(last).destinations(is_hash).remove(destination);
        while let Some(address) = last
            && self.body(last).is_bare()
        {
            let node = self.nodes.find_entry(address.hash(), |node| node.is_at(address));
            let (node, _) = node.expect("it was just found").remove();
            self.free.push(node.body.number);
            last = way.pop().expect("there is the root");
            self.body_mut(last).steps.remove(address.word);
        }
    }

    fn add(&mut self, address: Address<'_>) {
        let next = || self.nodes.len() as u32 + 1;
        let number = self.free.pop().unwrap_or_else(next);
        let body = Body { number, ..Body::default() };
        let node = Node { parent: address.parent, word: Word::new(address.word), body };
        self.nodes.insert_unique(address.hash(), node, Node::hash);
    }

    #[inline]
    fn find(&self, address: Address<'_>) -> Option<&Node> {
        self.nodes.find(address.hash(), |node| node.is_at(address))
    }

    fn body(&self, address: Option<Address<'_>>) -> &Body {
        let Some(address) = address else { return &self.root };
        &self.find(address).expect("a pattern that was entered").body
    }

    fn body_mut(&mut self, address: Option<Address<'_>>) -> &mut Body {
        let Some(address) = address else { return &mut self.root };
        let node = self.nodes.find_mut(address.hash(), |node| node.is_at(address));
        &mut node.expect("a pattern that was entered").body
    }

    pub(super) fn reach(&self, key: &str, walk: &mut Walk, reached: &mut Reached) -> Result<(), Refusal> {
        walk.begin(key)?;
        let last = 1_u128 << walk.words.len();
        walk.come_to(&self.root, 1, reached)?;
        while let Some(Ahead { number, steps, at }) = walk.ahead.pop() {
            if steps.hash {
                let from_the_first_on = u128::MAX << at.trailing_zeros() & (last | (last - 1));
                self.step(Address::new(number, HASH), from_the_first_on, walk, reached)?;
            }
            let at = at & !last;
            if steps.star && at != 0 {
                self.step(Address::new(number, STAR), at << 1, walk, reached)?;
            }
            if steps.words > 0 && at != 0 {
                self.step_words(key, number, at, walk, reached)?;
            }
        }
        Ok(())
    }

    /// Takes the step to a node, if it is there.
    #[inline]
    fn step(&self, address: Address<'_>, at: u128, walk: &mut Walk, reached: &mut Reached) -> Result<(), Refusal> {
        self.find(address).map_or(Ok(()), |node| walk.come_to(&node.body, at, reached))
    }

    /// Takes the steps from a node that are words of the key.
    #[inline]
    fn step_words(
        &self,
        key: &str,
        number: u32,
        at: u128,
        walk: &mut Walk,
        reached: &mut Reached,
    ) -> Result<(), Refusal> {
        if at.is_power_of_two() {
            let word = walk.words[at.trailing_zeros() as usize];
            return self.step_word(word.address(number, key), at << 1, walk, reached);
        }
        walk.tell_apart(key);
        reached.step(walk.different.len())?;
        // The walk takes others on while these are gone through, and none of them changes these.
        let different = mem::take(&mut walk.different);
        let mut follows_some = different.iter().filter(|(_, follows)| at & follows != 0);
        let taken = follows_some.try_for_each(|(word, follows)| {
            self.step_word(word.address(number, key), (at & follows) << 1, walk, reached)
        });
        walk.different = different;
        taken
    }

    /// Takes a step that is a word of the key, in which `*` and `#` are no words of a pattern.
    #[inline]
    fn step_word(&self, address: Address<'_>, at: u128, walk: &mut Walk, reached: &mut Reached) -> Result<(), Refusal> {
        if matches!(address.word, STAR | HASH) { Ok(()) } else { self.step(address, at, walk, reached) }
    }

    /// Nodes, with the root.
    #[cfg(all(test, not(loom)))]
    pub(super) fn size(&self) -> usize {
        assert_eq!(self.root.steps == Steps::default(), self.nodes.is_empty());
        self.nodes.len() + 1
    }
}

/// The words of a pattern without a last `#`, and whether there is one.
fn split(pattern: &str) -> (Vec<&str>, bool) {
    let mut words: Vec<&str> = words(pattern).collect();
    let is_hash = words.pop_if(|last| *last == HASH).is_some();
    (words, is_hash)
}

impl Address<'_> {
    #[inline]
    fn new(parent: u32, word: &str) -> Address<'_> {
        Address { parent, word, word_hash: words::hash(word) }
    }

    #[inline]
    fn hash(&self) -> u64 {
        step_hash(self.parent, self.word_hash)
    }
}

#[inline]
fn step_hash(parent: u32, word_hash: u64) -> u64 {
    (word_hash ^ u64::from(parent)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Node {
    #[inline]
    fn is_at(&self, address: Address<'_>) -> bool {
        self.parent == address.parent && self.word.is(address.word)
    }

    fn hash(&self) -> u64 {
        step_hash(self.parent, self.word.hash())
    }
}

impl Body {
    /// Whether nothing is lost with it.
    fn is_bare(&self) -> bool {
        self.ends.is_empty() && self.ends_with_hash.is_empty() && self.steps == Steps::default()
    }

    fn destinations(&mut self, is_hash: bool) -> &mut Destinations {
        if is_hash { &mut self.ends_with_hash } else { &mut self.ends }
    }
}

impl Steps {
    fn add(&mut self, word: &str) {
        match word {
            STAR => self.star = true,
            HASH => self.hash = true,
            _ => self.words += 1,
        }
    }

    fn remove(&mut self, word: &str) {
        match word {
            STAR => self.star = false,
            HASH => self.hash = false,
            _ => self.words -= 1,
        }
    }
}

impl KeyWord {
    #[inline]
    fn of(self, key: &str) -> &str {
        &key[usize::from(self.start)..usize::from(self.end)]
    }

    #[inline]
    fn address(self, parent: u32, key: &str) -> Address<'_> {
        Address { parent, word: self.of(key), word_hash: self.hash }
    }
}

impl Walk {
    fn begin(&mut self, key: &str) -> Result<(), Refusal> {
        self.words.clear();
        self.different.clear();
        self.ahead.clear();
        let mut start = 0;
        for word in words(key) {
            let end = start + word.len() as u8;
            self.words.push(KeyWord { hash: words::hash(word), start, end });
            // Behind the last word of the longest key it is not used any more.
            start = end.wrapping_add(1);
        }
        bounds::check("words of a routing key at a topic exchange", self.words.len(), WORDS_MAX)
    }

    /// Finds the different words of the key, unless they were found.
    fn tell_apart(&mut self, key: &str) {
        if !self.different.is_empty() {
            return;
        }
        self.different.extend((0..).zip(&self.words).map(|(at, word)| (*word, 1 << at)));
        self.different.sort_unstable_by_key(|(word, _)| (word.hash, word.start));
        self.different.dedup_by(|(word, at), (before, places)| {
            let is_same = word.hash == before.hash && word.of(key) == before.of(key);
            *places |= if is_same { *at } else { 0 };
            is_same
        });
    }

    /// Comes to a node with these places.
    #[inline]
    fn come_to(&mut self, node: &Body, at: u128, reached: &mut Reached) -> Result<(), Refusal> {
        reached.step(1)?;
        node.ends_with_hash.reach(reached)?;
        if at >> self.words.len() & 1 == 1 {
            node.ends.reach(reached)?;
        }
        if node.steps != Steps::default() {
            self.ahead.push(Ahead { number: node.number, steps: node.steps, at });
        }
        Ok(())
    }
}
