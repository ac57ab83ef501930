//! Routing: from an exchange, a routing key and headers to the queues that get the message.
//!
//! A [`Table`] has exchanges and, from each of them, bindings to queues and to exchanges. Both are numbers here; names,
//! and the default exchange, which goes by the names of queues, are the caller's. The caller gives no number of an
//! exchange twice.
//!
//! **What a publish comes to.** Every binding of the exchange whose condition holds matches. A matching binding leads
//! to its queue, or on to its exchange, where the same begins anew with the same key and headers. Where no binding of
//! an exchange matches, the publish goes to its alternate exchange, if it has one and that is there; what matching
//! bindings lead to in the end does not count. Each exchange is visited once, so cycles end, and each queue is reached
//! once. Queues come in ascending order of their numbers: what [`Table::route_next`] answers rests on what is bound,
//! and not on the order in which it was.
//!
//! | exchange          | a binding matches if                                                        |
//! |-------------------|-----------------------------------------------------------------------------|
//! | `fanout`          | always                                                                      |
//! | `direct`          | its key is the routing key                                                  |
//! | `topic`           | its pattern matches the words of the routing key (`topic.rs`)               |
//! | `headers`         | all, or any, of its arguments are among the headers (`arguments.rs`)        |
//! | `consistent-hash` | it is the one of the exchange's bindings that has the key (`rendezvous.rs`) |
//!
//! **What it costs.** Nothing is scanned that an index leads past, and no index is rebuilt when a binding comes or
//! goes, but for hash tables that grow. A publish allocates nothing but what its [`Scratch`] has not yet grown to. It
//! is refused beyond `ROUTES_MAX` queues, `VISITS_MAX` exchanges and `STEPS_MAX` steps, a step being a look at a
//! binding or at a node of an index; so there are no keys, headers and bindings with which a publish takes long.
//!
//! Everything here is pure: no clock, no randomness, no files, no threads.
//!
//! | file              | holds                                                              |
//! |-------------------|--------------------------------------------------------------------|
//! | `bounds.rs`       | the bounds                                                         |
//! | `refusal.rs`      | why something is refused                                           |
//! | `binding.rs`      | exchanges, destinations, conditions, and which of them go together |
//! | `arguments.rs`    | what a binding asks of headers                                     |
//! | `table.rs`        | exchanges and bindings: declaring, binding, listing, removing      |
//! | `publish.rs`      | the way of a publish from exchange to exchange                     |
//! | `scratch.rs`      | what a publish has reached so far                                  |
//! | `index.rs`        | the bindings of one exchange, by its kind                          |
//! | `destinations.rs` | a set of destinations, most of which have one                      |
//! | `topic.rs`        | patterns as a trie, and the walk through it                        |
//! | `words.rs`        | words of keys and patterns                                         |
//! | `headers.rs`      | bindings by the arguments that they ask for                        |
//! | `rendezvous.rs`   | consistent hashing                                                 |
//! | `slab.rs`         | things in numbered places                                          |

mod arguments;
mod binding;
mod bounds;
mod destinations;
mod headers;
mod index;
mod publish;
mod refusal;
mod rendezvous;
mod scratch;
mod slab;
mod table;
mod topic;
mod words;

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, not(loom)))]
use binding::QueueNumber;

pub(crate) use arguments::{Arguments, Mode};
pub(crate) use binding::{Binding, Condition, Destination, ExchangeNumber, Kind};
pub(crate) use bounds::ROUTING_KEY_BYTES_MAX;
pub(crate) use refusal::Refusal;
pub(crate) use scratch::Scratch;
pub(crate) use table::{Change, Table};

use foldhash::fast::FixedState;

type Map<K, V> = hashbrown::HashMap<K, V, FixedState>;
