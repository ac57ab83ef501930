//! Several processes on one directory: one of them hosts the database, the others attach to it over a socket.
//!
//! A handle does not know where the database is. It asks its [`Link`](link::Link), which either performs the operation
//! on the engine of this process or sends it to the host as plain data and waits for the answer. When the host dies or
//! closes, the processes that were attached to it race for the directory's lock; one becomes the host, the others
//! attach to it, and what was not answered is asked again. A write carries its session and its sequence, so that it is
//! applied once, however often it is asked for (`primitives::sessions`).
//!
//! | file            | holds                                                                       |
//! |-----------------|-----------------------------------------------------------------------------|
//! | `operation.rs`  | what may be asked: the one list of operations                               |
//! | `questions.rs`  | the operations that do not write, each with its bytes and how it is answered |
//! | `grouping.rs`   | the questions about consumer groups                                         |
//! | `exchanging.rs` | the questions about exchanges                                                |
//! | `scheduling.rs` | the questions about schedules                                                |
//! | `looking.rs`    | the questions about single messages of a queue                               |
//! | `consuming.rs`  | the question about the consumers of a queue                                  |
//! | `queueing.rs`   | the questions about queues, and waiting for what one has to hand out         |
//! | `watching.rs`   | what a member of one has to know                                            |
//! | `reading.rs`    | reading records: asking, what is sent, and what the asker maps itself       |
//! | `wire`          | the bytes: frames, greeting, commands, refusals                             |
//! | `server.rs`     | the host: who is attached, and ending sessions                               |
//! | `accept.rs`     | the host's door: accepting, refusing, and leaving to the next host           |
//! | `refusals.rs`   | logging who is turned away, seldom enough                                   |
//! | `connection.rs` | the host's side of one attached process                                     |
//! | `answers.rs`    | what it has yet to tell: answers, readers that wait, and who wakes them      |
//! | `lending.rs`    | what a thread that sleeps leaves to others                                   |
//! | `client`        | the attached side: asking, waiting, going over to the next host             |
//! | `waiting.rs`    | waiting for records and for changes, in the process that hosts the database |
//! | `link.rs`       | where the database is now, for the handles of one process                   |

pub(crate) mod accept;
mod answers;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod consuming;
pub(crate) mod exchanging;
pub(crate) mod grouping;
pub(crate) mod lending;
pub(crate) mod link;
pub(crate) mod looking;
pub(crate) mod operation;
pub(crate) mod questions;
pub(crate) mod queueing;
pub(crate) mod reading;
mod refusals;
pub(crate) mod scheduling;
pub(crate) mod server;
pub(crate) mod stats;
mod waiting;
pub(crate) mod watching;
pub(crate) mod wire;
