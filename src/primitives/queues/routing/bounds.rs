//! Every bound of routing, by name. Reaching one is a `LimitExceeded` that names it.

use super::refusal::Refusal;

/// Queues that one publish reaches.
pub(crate) const ROUTES_MAX: usize = 1024;

/// Exchanges that one publish visits.
pub(crate) const VISITS_MAX: usize = 1024;

/// Bindings and nodes of indexes that one publish looks at: a few milliseconds. Only a publish comes near that very
/// many bindings to the same queues match.
pub(crate) const STEPS_MAX: usize = 1 << 18;

/// Steps that each message of a large batch has on average, where that is more in all.
pub(crate) const STEPS_PER_MESSAGE: usize = 64;

/// Exchanges of one table.
pub(crate) const EXCHANGES_MAX: usize = 65_536;

/// Bindings of all exchanges together.
pub(crate) const BINDINGS_MAX: usize = 1_000_000;

/// Bytes of a routing key, of a binding's key and of a pattern.
pub(crate) const ROUTING_KEY_BYTES_MAX: usize = 255;

/// Words of a pattern, and of a routing key that comes to a topic exchange.
pub(crate) const WORDS_MAX: usize = 127;

/// Words `#` of one pattern.
pub(crate) const HASHES_MAX: usize = 8;

/// Arguments of one binding, and bytes of all their names and values: they fit into a row of the index.
pub(crate) const ARGUMENTS_MAX: usize = 64;
pub(crate) const ARGUMENT_BYTES_MAX: usize = 2048;

/// Bytes of the name of the header that a consistent-hash exchange goes by.
pub(crate) const HASHED_NAME_BYTES_MAX: usize = 255;

/// The weight of a binding of a consistent-hash exchange.
pub(crate) const WEIGHT_MAX: u32 = 1000;

/// Bindings of one consistent-hash exchange: each is looked at for each key.
pub(crate) const HASH_BINDINGS_MAX: usize = 1024;

const _: () = {
    // The places between the words of a key, and before and behind them, are the bits of a `u128`.
    assert!(WORDS_MAX < u128::BITS as usize);
    assert!(ROUTES_MAX < STEPS_MAX && VISITS_MAX < STEPS_MAX && HASH_BINDINGS_MAX < STEPS_MAX);
};

/// Refuses what is beyond a bound.
pub(super) fn check(limit: &'static str, actual: usize, max: usize) -> Result<(), Refusal> {
    if actual <= max { Ok(()) } else { Err(exceeded(limit, actual, max)) }
}

#[cold]
pub(super) fn exceeded(limit: &'static str, actual: usize, max: usize) -> Refusal {
    Refusal::LimitExceeded { limit, max: max as u64, actual: actual as u64 }
}
