//! Arbitrary bytes as damage to the files of a database, which is then opened.
#![no_main]

libfuzzer_sys::fuzz_target!(
    // A panic of redb over a damaged file is caught where the index is opened. The fuzzer's own hook would abort then,
    // and the standard one would look up a backtrace each time.
    init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |bytes: &[u8]| towpath::sim::fuzz_recovery(bytes)
);
