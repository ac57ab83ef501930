//! What is promised, from a process that is attached to the host: the tests of `tests/streams` and `tests/queues` once
//! more, and of `tests/durability` and `tests/bad_input` those that concern more than the process which hosts.
//!
//! The host is another process, which ends with the test; where the test moves the clock or asks for other options, it
//! is another handle of this one.

#[path = "../queues/active.rs"]
mod active;
#[path = "../durability/addresses.rs"]
mod addresses;
#[path = "../streams/append.rs"]
mod append;
#[path = "../place/child.rs"]
mod child;
#[path = "../streams/compaction.rs"]
mod compaction;
#[path = "../queues/consumer.rs"]
mod consumer;
#[path = "../queues/content.rs"]
mod content;
#[path = "../queues/crowd.rs"]
mod crowd;
#[path = "../queues/dead.rs"]
mod dead;
#[path = "../queues/dedup.rs"]
mod dedup;
#[path = "../streams/definition.rs"]
mod definition;
#[path = "../queues/exchanges.rs"]
mod exchanges;
#[path = "../queues/expiry.rs"]
mod expiry;
#[path = "../bad_input/full_disk.rs"]
mod full_disk;
#[path = "../streams/group_records.rs"]
mod group_records;
#[path = "../streams/groups.rs"]
mod groups;
#[path = "../streams/limits.rs"]
mod limits;
#[path = "../queues/looking.rs"]
mod looking;
#[path = "../queues/message_groups.rs"]
mod message_groups;
#[path = "../queues/moving.rs"]
mod moving;
#[path = "../streams/opening.rs"]
mod opening;
mod operations;
#[path = "../queues/order.rs"]
mod order;
#[path = "../streams/partitions.rs"]
mod partitions;
mod place;
#[path = "../streams/producers.rs"]
mod producers;
#[path = "../queues/definition.rs"]
mod queue_definition;
#[path = "../queues/limits.rs"]
mod queue_limits;
#[path = "../queues/reopening.rs"]
mod queue_reopening;
#[path = "../queues/wait.rs"]
mod queue_wait;
#[path = "../streams/read.rs"]
mod read;
#[path = "../durability/reopening.rs"]
mod reopening;
#[path = "../streams/retention.rs"]
mod retention;
#[path = "../bad_input/sample.rs"]
mod sample;
#[path = "../queues/schedules.rs"]
mod schedules;
#[path = "../bad_input/served.rs"]
mod served;
#[path = "../queues/settling.rs"]
mod settling;
#[path = "../bad_input/small.rs"]
mod small;
#[path = "../queues/subscriptions.rs"]
mod subscriptions;
#[path = "../streams/tickets.rs"]
mod tickets;
#[path = "../queues/timeouts.rs"]
mod timeouts;
#[path = "../streams/wait.rs"]
mod wait;
#[path = "../queues/working.rs"]
mod working;

/// Does nothing unless it is the child.
#[test]
fn child_plays_its_role() {
    child::play(|_, _| panic!("the only role is the host"));
}
