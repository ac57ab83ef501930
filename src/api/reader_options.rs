//! How a reader is opened.

/// Where a reader goes on when what it is to read next is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// With the first record that is there.
    Earliest,
    /// Behind the last record that may be seen.
    Latest,
}

/// How a reader is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReaderOptions {
    pub(super) reset: Option<Reset>,
}

impl ReaderOptions {
    /// Without a reset policy: an offset that is not there is an error.
    #[must_use]
    pub fn new() -> ReaderOptions {
        ReaderOptions::default()
    }

    /// Where the reader goes on, without an error, when an offset that it is to read is not there: because retention
    /// or a trim has let go of it, or because it lies behind the end.
    #[must_use]
    pub fn reset(self, reset: Reset) -> ReaderOptions {
        ReaderOptions { reset: Some(reset) }
    }
}
