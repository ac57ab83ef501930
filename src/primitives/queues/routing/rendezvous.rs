//! Consistent hashing: which binding of the exchange a key goes to.
//!
//! Weighted rendezvous hashing. Users rely on what it comes to, so it does not change:
//!
//! 1. `k` is XXH3-64, with seed 0, of the routing key, or of the value of the named header: the first one of this name,
//!    and the empty value if there is none.
//! 2. A destination has the seed `s`, XXH3-64 with seed 0 of five bytes: 0 for a queue or 1 for an exchange, and its
//!    number as a little-endian `u32`.
//! 3. `h = mix(k ^ s)` with splitmix64's `mix`: `h ^= h >> 30; h *= 0xbf58476d1ce4e5b9; h ^= h >> 27;
//!    h *= 0x94d049bb133111eb; h ^= h >> 31`.
//! 4. The binding with the least `-ln((2 * (h >> 12) + 1) / 2^53) / weight` has the key. Among equal weights that is
//!    the one with the greatest `h`, and among equal `h` the one whose destination comes first, queues before
//!    exchanges. Among different weights with the same quotient it is the least.
//!
//! What a binding makes of a key rests on that key and that binding alone: one that comes takes keys away from others
//! and moves none between them, one that goes leaves its keys to the others, and each has the share of keys that its
//! weight has of all weights. Of several bindings to one destination the heaviest counts.
//!
//! Why not a ring of points? Its balance rests on their number: with a hundred points for each unit of weight shares
//! are still a tenth off, and a thousand bindings would have millions of points. Here shares are exact, a binding costs
//! 24 bytes, and looking at a thousand of them takes two microseconds.

use xxhash_rust::xxh3::xxh3_64;

use super::binding::{Destination, ExchangeNumber, QueueNumber};
use super::refusal::Refusal;
use super::scratch::Reached;
use crate::primitives::record::Header;

/// The bindings of a consistent-hash exchange.
#[derive(Clone, Default, Debug)]
pub(super) struct Rendezvous {
    /// By weight, then in order of the destinations.
    candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    weight: u32,
    destination: Destination,
    seed: u64,
}

impl Rendezvous {
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    pub(super) fn insert(&mut self, weight: u32, destination: Destination) {
        let place = self.place(weight, destination).expect_err("a binding is entered once");
        self.candidates.insert(place, Candidate { weight, destination, seed: seed(destination) });
    }

    /// # Panics
    /// If it was not inserted.
    pub(super) fn remove(&mut self, weight: u32, destination: Destination) {
        let place = self.place(weight, destination).expect("a binding that was entered");
        self.candidates.remove(place);
    }

    /// Where it stands, or is to stand.
    fn place(&self, weight: u32, destination: Destination) -> Result<usize, usize> {
        self.candidates.binary_search_by_key(&(weight, destination), |there| (there.weight, there.destination))
    }

    pub(super) fn reach(&self, key: &[u8], reached: &mut Reached) -> Result<(), Refusal> {
        reached.step(self.len())?;
        let hash = xxh3_64(key);
        let chosen = match reached.is_any_gone() {
            false => choose(&self.candidates, hash),
            true => {
                let is_left = |candidate: &&Candidate| !reached.is_gone(candidate.destination);
                let left: Vec<Candidate> = self.candidates.iter().filter(is_left).copied().collect();
                choose(&left, hash)
            }
        };
        chosen.map_or(Ok(()), |chosen| reached.add(chosen))
    }
}

/// Of candidates by weight.
fn choose(candidates: &[Candidate], key_hash: u64) -> Option<Destination> {
    let mut best: Option<(f64, Destination)> = None;
    for class in candidates.chunk_by(|a, b| a.weight == b.weight) {
        let (hash, destination) = greatest(class, key_hash);
        let weight = f64::from(class[0].weight);
        if best.is_some_and(|(least, _)| is_cost_above(hash, least * weight)) {
            continue;
        }
        let score = cost(hash) / weight;
        if best.is_none_or(|(least, _)| score < least) {
            best = Some((score, destination));
        }
    }
    best.map(|(_, destination)| destination)
}

/// What of a message is hashed.
pub(super) fn hashed<'a>(header: Option<&str>, routing_key: &'a str, headers: &[Header<'a>]) -> &'a [u8] {
    let Some(name) = header else { return routing_key.as_bytes() };
    headers.iter().find(|header| header.name == name).map_or(&[], |header| header.value)
}

fn seed(destination: Destination) -> u64 {
    let (kind, number) = match destination {
        Destination::Queue(QueueNumber(number)) => (0, number),
        Destination::Exchange(ExchangeNumber(number)) => (1, number),
    };
    let [a, b, c, d] = number.to_le_bytes();
    xxh3_64(&[kind, a, b, c, d])
}

/// The one that comes first among equal weights.
#[inline]
fn greatest(class: &[Candidate], key_hash: u64) -> (u64, Destination) {
    let mut greatest = (0, 0);
    for (at, candidate) in class.iter().enumerate() {
        let hash = mix(key_hash ^ candidate.seed);
        if hash > greatest.0 {
            greatest = (hash, at);
        }
    }
    (greatest.0, class[greatest.1].destination)
}

#[inline]
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A hash as a fraction of 1, neither 0 nor 1.
#[inline]
fn fraction(hash: u64) -> f64 {
    ((hash >> 11) | 1) as f64 / (1_u64 << 53) as f64
}

/// The negative logarithm of a hash as a fraction of 1; above 0.
///
/// The logarithm of the standard library may differ between platforms. This one is made of additions, multiplications
/// and divisions, which do not: with `fraction = m * 2^e` and `m` in 0.75..1.5 it is `e ln 2 + 2 artanh((m - 1) / (m +
/// 1))`, the latter as its series to the twelfth term.
fn cost(hash: u64) -> f64 {
    const MANTISSA_BITS: u32 = 52;
    const EXPONENT_OF_1: u64 = 1023;
    let bits = fraction(hash).to_bits();
    let mut exponent = (bits >> MANTISSA_BITS) as i32 - EXPONENT_OF_1 as i32;
    let mut mantissa = f64::from_bits(bits & ((1 << MANTISSA_BITS) - 1) | EXPONENT_OF_1 << MANTISSA_BITS);
    if mantissa >= 1.5 {
        (mantissa, exponent) = (mantissa / 2.0, exponent + 1);
    }
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = (0..12).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    -(f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * ratio * series)
}

/// Whether the cost of a hash is above this for certain. It is no less than what the fraction lacks of 1, which is much
/// faster to know and mostly tells; the part in a thousand is for rounding.
#[inline]
fn is_cost_above(hash: u64, most: f64) -> bool {
    (1.0 - fraction(hash)) * 0.999 > most
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_hash_is_its_negative_logarithm_as_near_as_doubles_are() {
        let mut hash = 1_u64;
        for at in 0..200_000_u64 {
            hash = mix(hash.wrapping_add(at));
            for hash in [hash, hash >> (at % 64), !(hash >> (at % 64))] {
                let expected = -(((2 * (hash >> 12) + 1) as f64) / (1_u64 << 53) as f64).ln();
                let cost = cost(hash);
                assert!((cost - expected).abs() <= expected * 1e-15, "{hash}: {cost}, not {expected}");
                assert!(cost > 0.0);
            }
        }
    }
}
