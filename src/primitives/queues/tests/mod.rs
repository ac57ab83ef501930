//! `model.rs` is a naive queue, `world.rs` drives the machine as the engine does and looks after its rows, logs and
//! timers, `histories.rs` holds the two against each other over generated histories, `rules.rs` states the rules one by
//! one, `dedup.rs` those about ids, `schedules.rs` those of schedules, `consuming.rs` those about consumers,
//! `safeguards.rs` those about clocks, damage and sizes, `faults.rs` what was once wrong; `bench.rs` is what these are
//! written with. `consumers.rs` is the naive queue's.

mod bench;
mod consumers;
mod consuming;
mod dedup;
mod faults;
mod histories;
mod items;
mod model;
mod moving;
mod overflow;
mod rules;
mod safeguards;
mod schedules;
mod world;

/// One second, in microseconds.
const SECOND: u64 = 1_000_000;
