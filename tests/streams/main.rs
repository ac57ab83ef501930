//! What streams promise, one rule a test, through the public interface only. `tests/attached` runs the same tests from
//! an attached process.

#[path = "../place/mod.rs"]
mod place;

mod append;
mod compaction;
mod definition;
mod group_records;
mod groups;
mod limits;
mod opening;
mod partitions;
mod producers;
mod read;
mod retention;
mod tickets;
mod wait;
