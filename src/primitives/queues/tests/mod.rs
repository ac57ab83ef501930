//! `model.rs` is a naive queue, `world.rs` drives the machine as the engine does and looks after its rows, logs and
//! timers, `histories.rs` holds the two against each other over generated histories, `rules.rs` states the rules one by
//! one, `consuming.rs` those about consumers, `safeguards.rs` those about clocks, damage and sizes, `faults.rs` what
//! was once wrong; `bench.rs` is what these four are written with. `consumers.rs` is the naive queue's.

mod bench;
mod consumers;
mod consuming;
mod faults;
mod histories;
mod model;
mod rules;
mod safeguards;
mod world;

/// One second, in microseconds.
const SECOND: u64 = 1_000_000;
