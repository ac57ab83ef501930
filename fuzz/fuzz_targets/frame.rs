//! Arbitrary bytes as a frame, with all that can be inside one.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| towpath::sim::fuzz_frame(bytes));
