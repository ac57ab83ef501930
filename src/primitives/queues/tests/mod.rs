//! `model.rs` is a naive queue, `world.rs` drives the machine as the engine does and looks after its rows, logs and
//! timers, `histories.rs` holds the two against each other over generated histories, `rules.rs` states the rules one by
//! one, `faults.rs` what was once wrong; `bench.rs` is what those two are written with.

mod bench;
mod faults;
mod histories;
mod model;
mod rules;
mod world;

/// One second, in microseconds.
const SECOND: u64 = 1_000_000;
