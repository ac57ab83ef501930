//! What the library warns of, on standard error, for commands that serve others.

use std::{env, io};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Warnings and errors; everything if `verbose`; what the variable `RUST_LOG` says (`debug`, `towpath=info`), if it is
/// set and makes sense.
pub(crate) fn to_stderr(verbose: bool) {
    let named = env::var("RUST_LOG").ok().filter(|text| !text.is_empty()).and_then(|text| text.parse().ok());
    let usual = if verbose { LevelFilter::TRACE } else { LevelFilter::WARN };
    let filter: Targets = named.unwrap_or_else(|| Targets::new().with_default(usual));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    // Somebody else's subscriber, where there is one already, serves as well.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
}
