//! How these tests come to their databases: by whatever place they are built with.

#![allow(dead_code, reason = "each test file is a crate of its own and uses its part of this")]

use std::ops::Deref;

use towpath::{Database, Error, Options, Stream, StreamOptions, Ticket};

use crate::place::{IS_ATTACHED, Place};

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

/// Why the write was refused: told at once, or by its ticket where the host is not waited for.
#[track_caller]
pub fn refusal_of<T>(submitted: Result<Ticket<T>, Error>) -> Error {
    let told = if IS_ATTACHED { submitted.expect("it was sent").wait().map(drop) } else { submitted.map(drop) };
    told.expect_err("it was accepted")
}
