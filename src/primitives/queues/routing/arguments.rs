//! What a binding of a headers exchange asks of a message's headers.
//!
//! An argument is a name and a value. A header meets it if it has the name and the value, or only the name where the
//! argument's value is empty. A message may have several headers of one name; any of them will do.
//!
//! | mode         | matches if           | arguments that count                 | without any of these |
//! |--------------|----------------------|--------------------------------------|----------------------|
//! | `all`        | each argument is met | those whose name does not start `x-` | matches everything   |
//! | `any`        | some argument is met | those whose name does not start `x-` | matches nothing      |
//! | `all-with-x` | as `all`             | all but `x-match`                    | as `all`             |
//! | `any-with-x` | as `any`             | all but `x-match`                    | as `any`             |
//!
//! These are the rules of RabbitMQ's headers exchange, whose bindings have their mode in the argument `x-match`. Here
//! the arguments are a set: neither their order nor that one was given twice makes another binding.

use super::bounds::{self, ARGUMENT_BYTES_MAX, ARGUMENTS_MAX};
use super::refusal::Refusal;
use crate::primitives::record::Header;

/// How the arguments of a binding are asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Mode {
    All,
    Any,
    AllWithX,
    AnyWithX,
}

impl Mode {
    /// The names of all modes, in their order.
    pub(crate) const KNOWN: [&'static str; 4] = ["all", "any", "all-with-x", "any-with-x"];

    /// # Errors
    /// `UnknownMode` if no mode has this name.
    pub(crate) fn parse(text: &str) -> Result<Mode, Refusal> {
        match text {
            "all" => Ok(Mode::All),
            "any" => Ok(Mode::Any),
            "all-with-x" => Ok(Mode::AllWithX),
            "any-with-x" => Ok(Mode::AnyWithX),
            given => Err(Refusal::UnknownMode { given: given.into() }),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        Mode::KNOWN[self as usize]
    }

    pub(super) fn is_all(self) -> bool {
        matches!(self, Mode::All | Mode::AllWithX)
    }

    /// Whether an argument of this name counts.
    fn counts(self, name: &str) -> bool {
        match self {
            Mode::All | Mode::Any => !name.starts_with("x-"),
            Mode::AllWithX | Mode::AnyWithX => name != "x-match",
        }
    }
}

/// A name, and the value that goes with it; an empty one stands for any.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Argument {
    pub(crate) name: Box<str>,
    pub(crate) value: Box<[u8]>,
}

/// The arguments of a binding, in order and each once, and their mode.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Arguments {
    mode: Mode,
    all: Box<[Argument]>,
}

impl Arguments {
    pub(crate) fn new<'a>(mode: Mode, arguments: impl IntoIterator<Item = Header<'a>>) -> Arguments {
        let owned = |header: Header<'a>| Argument { name: header.name.into(), value: header.value.into() };
        let mut all: Vec<Argument> = arguments.into_iter().map(owned).collect();
        all.sort_unstable();
        all.dedup();
        Arguments { mode, all: all.into() }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Those that count and those that do not.
    pub(crate) fn all(&self) -> &[Argument] {
        &self.all
    }

    pub(super) fn counting(&self) -> impl Iterator<Item = &Argument> {
        self.all.iter().filter(|argument| self.mode.counts(&argument.name))
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        bounds::check("arguments of a binding", self.all.len(), ARGUMENTS_MAX)?;
        let bytes = self.all.iter().map(|argument| argument.name.len() + argument.value.len()).sum();
        bounds::check("bytes of a binding's arguments", bytes, ARGUMENT_BYTES_MAX)
    }
}
