//! Arbitrary bytes as what an attached process sends to its host, and as what a host sends to it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| towpath::sim::fuzz_protocol(bytes));
