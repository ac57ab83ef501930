//! Several processes on one directory.

mod attach;
mod bounded;
#[path = "../place/child.rs"]
mod child;
mod failing;
mod failover;
mod fork;
#[path = "../place/forking.rs"]
mod forking;
mod groups;
mod hostile;
mod members;
mod owner;
mod partitions;
#[path = "../place/mod.rs"]
mod place;
mod raw;
mod sessions;
mod versions;

/// Does nothing unless it is the child.
#[test]
fn child_plays_its_role() {
    child::play(members::play);
}
