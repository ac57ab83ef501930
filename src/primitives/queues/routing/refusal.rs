//! Why a change of the table, or a publish, is refused.

use super::arguments::Mode;
use super::binding::ExchangeNumber;
use super::bounds::WEIGHT_MAX;

/// A refused change has changed nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no exchange {}", .0.0)]
    UnknownExchange(ExchangeNumber),
    #[error("there is an exchange {} already", .0.0)]
    ExchangeExists(ExchangeNumber),
    /// The binding is of a kind that the exchange does not have.
    #[error("a {exchange} exchange takes bindings {takes}, this one is {given}")]
    Mismatch { exchange: &'static str, takes: &'static str, given: &'static str },
    #[error("there is no mode `{given}` of matching headers: it is one of {}", Mode::KNOWN.join(", "))]
    UnknownMode { given: Box<str> },
    #[error("a binding of a consistent-hash exchange has a weight from 1 to {WEIGHT_MAX}, this one has 0")]
    WeightZero,
    /// Where a publish is given up at the bound, `actual` is the next above it.
    #[error("{limit}: at most {max}, not {actual}")]
    LimitExceeded { limit: &'static str, max: u64, actual: u64 },
}
