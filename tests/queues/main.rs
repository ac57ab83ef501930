//! What queues promise, one rule a test, through the public interface only. `tests/attached` runs the same tests from
//! an attached process, but for those that begin processes of their own.

#[path = "../streams/opening.rs"]
mod opening;
#[path = "../place/mod.rs"]
mod place;

mod consumer;
mod content;
mod crowd;
mod dead;
mod definition;
mod expiry;
mod limits;
mod message_groups;
mod order;
mod reopening;
mod settling;
mod timeouts;
mod wait;
