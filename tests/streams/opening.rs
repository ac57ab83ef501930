//! How these tests come to their databases: this process hosts them.

use towpath::{Database, Error, Options, Stream, StreamOptions, Ticket};

/// Whether the database is in another process than the test.
pub const IS_ATTACHED: bool = false;

/// An open database that goes away with it.
pub type Opened = Database;

/// A new database of the least size.
pub fn database() -> Opened {
    database_with(Options::temporary())
}

pub fn database_with(options: Options) -> Opened {
    options.open_temporary().unwrap()
}

/// A new database of the least size, and a stream in it.
pub fn stream(options: StreamOptions) -> (Opened, Stream) {
    let db = database();
    let orders = db.create_stream("orders", options).unwrap();
    (db, orders)
}

/// Why the write was refused: told at once.
#[track_caller]
pub fn refusal_of<T>(submitted: Result<Ticket<T>, Error>) -> Error {
    submitted.map(drop).expect_err("it was accepted")
}
