//! Names of streams and other things that users create.

use super::bounds::NAME_BYTES_MAX;

/// Why a text cannot be a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NameFault {
    #[error("a name must not be empty")]
    Empty,
    #[error("a name has at most {NAME_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    #[error("a name must not contain control characters")]
    Control,
    #[error("names that start with `$` are reserved")]
    Reserved,
}

/// Checks the rules for names: 1–255 bytes of UTF-8, no control characters, no leading `$`.
pub(crate) fn check(name: &str) -> Result<(), NameFault> {
    match name {
        "" => Err(NameFault::Empty),
        n if n.len() > NAME_BYTES_MAX => Err(NameFault::TooLong(n.len())),
        n if n.chars().any(char::is_control) => Err(NameFault::Control),
        n if n.starts_with('$') => Err(NameFault::Reserved),
        _ => Ok(()),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_printable_and_not_reserved() {
        assert_eq!(check("orders.eu-west"), Ok(()));
        assert_eq!(check("Aufträge"), Ok(()));
        assert_eq!(check(""), Err(NameFault::Empty));
        assert_eq!(check(&"x".repeat(255)), Ok(()));
        assert_eq!(check(&"x".repeat(256)), Err(NameFault::TooLong(256)));
        assert_eq!(check("a\nb"), Err(NameFault::Control));
        assert_eq!(check("$dead"), Err(NameFault::Reserved));
    }
}
