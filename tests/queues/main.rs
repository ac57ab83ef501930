//! What queues promise, one rule a test, through the public interface only. `tests/attached` runs the same tests from
//! an attached process, but for those that begin processes of their own.

#[path = "../streams/opening.rs"]
mod opening;
#[path = "../place/mod.rs"]
mod place;

mod active;
#[path = "../place/child.rs"]
mod child;
mod consumer;
mod content;
mod crowd;
mod damage;
mod dead;
mod dedup;
mod definition;
mod exchanges;
mod expiry;
#[path = "../place/forking.rs"]
mod forking;
mod forks;
mod killed;
mod limits;
mod looking;
mod message_groups;
mod moving;
mod order;
mod processes;
mod reopening;
mod schedules;
mod settling;
mod subscriptions;
mod timeouts;
mod wait;
mod worker;
mod working;

/// Does nothing unless it is the child.
#[test]
fn child_plays_its_role() {
    child::play(worker::play);
}
