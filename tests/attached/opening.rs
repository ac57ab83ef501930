//! How these tests come to their databases: attached to a host.

use std::ops::Deref;

use towpath::{Database, Error, Options, Stream, StreamOptions, Ticket};

use crate::place::Place;

/// Whether the database is in another process than the test.
pub const IS_ATTACHED: bool = true;

/// A database that goes away with it.
pub struct Opened {
    db: Database,
    _place: Place,
}

impl Deref for Opened {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.db
    }
}

impl Opened {
    pub fn close(self) -> Result<(), Error> {
        self.db.close()
    }
}

/// A new database of the least size.
pub fn database() -> Opened {
    let place = Place::new();
    Opened { db: place.open(), _place: place }
}

pub fn database_with(options: Options) -> Opened {
    let place = Place::new();
    Opened { db: place.open_with(options), _place: place }
}

/// A new database of the least size, and a stream in it.
pub fn stream(options: StreamOptions) -> (Opened, Stream) {
    let db = database();
    let orders = db.create_stream("orders", options).unwrap();
    (db, orders)
}

/// Why the write was refused: told by its ticket.
#[track_caller]
pub fn refusal_of<T>(submitted: Result<Ticket<T>, Error>) -> Error {
    let told = submitted.expect("the host is not waited for").wait();
    told.map(drop).expect_err("it was accepted")
}
