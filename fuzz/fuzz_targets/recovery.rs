//! Arbitrary bytes as damage to the files of a database, which is then opened.
#![no_main]

libfuzzer_sys::fuzz_target!(
    // A panic of redb over a damaged file is caught where the index is opened, which the fuzzer's own hook would abort.
    init: drop(std::panic::take_hook()),
    |bytes: &[u8]| towpath::sim::fuzz_recovery(bytes)
);
