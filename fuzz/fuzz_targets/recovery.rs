//! Opens, reads and checks a directory with arbitrary damage in it.
#![no_main]

use std::collections::HashSet;
use std::panic::{PanicHookInfo, set_hook};
use std::sync::Mutex;

/// A panic of redb over a damaged file is caught where the index is opened. The fuzzer's own hook would abort then, and
/// the standard one would look up a backtrace each time. Each place is told of once.
fn tell_once(panic: &PanicHookInfo<'_>) {
    static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    if SEEN.lock().expect("no panic while it is held").get_or_insert_default().insert(place) {
        eprintln!("{panic}");
    }
}

libfuzzer_sys::fuzz_target!(
    init: set_hook(Box::new(tell_once)),
    |bytes: &[u8]| towpath::sim::fuzz_recovery(bytes)
);
