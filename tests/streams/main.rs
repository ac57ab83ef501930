//! What streams promise, one rule a test, through the public interface only.

#[path = "../place/mod.rs"]
mod place;

mod append;
mod definition;
mod limits;
mod read;
mod retention;
mod tickets;
mod wait;

use towpath::{Database, Options, Stream, StreamOptions};

/// An open database of the least size, and a stream in it.
fn stream(options: StreamOptions) -> (Database, Stream) {
    let db = Options::temporary().open_temporary().unwrap();
    let orders = db.create_stream("orders", options).unwrap();
    (db, orders)
}
