//! One of the eight processes: it opens the directory, sets its threads to work, and does as it is told over its input.

use std::io::BufRead;
use std::path::Path;
use std::thread::{self, sleep};
use std::time::Duration;

use towpath::{Database, Error, Options, Stream, StreamOptions};

use crate::STREAMS;
use crate::book::{Book, Step};
use crate::forked;
use crate::place::Chance;
use crate::writers::{Desk, Then};

/// Threads of one life.
const THREADS: u32 = 9;

/// What the nemesis tells a process to do, a line each. A process whose nemesis is gone ends at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Fork a child that goes on with what it inherits.
    Fork,
    /// Close the database, and open it again.
    Reopen,
    /// Close the database and end.
    End,
}

impl Order {
    pub fn text(self) -> &'static str {
        match self {
            Order::Fork => "fork\n",
            Order::Reopen => "reopen\n",
            Order::End => "end\n",
        }
    }

    fn next() -> Order {
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => std::process::exit(0),
            Ok(_) => {}
        }
        let orders = [Order::Fork, Order::Reopen, Order::End];
        orders.into_iter().find(|order| order.text() == line).unwrap_or_else(|| panic!("no order: {line}"))
    }
}

/// Lives until it is killed or told to end.
pub fn run(data: &Path, books: &Path, process: u64, grace: Duration) {
    let book = Book::create(books, process);
    let report = std::panic::take_hook();
    let of_hook = Book::create(books, process);
    // A thread that fails ends the process, which its nemesis takes for the failure it is.
    std::panic::set_hook(Box::new(move |panic| {
        of_hook.tell(&Step::Unexpected { text: panic.to_string() });
        report(panic);
        std::process::exit(1);
    }));
    let mut chance = Chance::new(process);
    for life in 0.. {
        let (db, streams) = open(data, &book, grace);
        if live(db, &streams, &book, books, life * THREADS, &mut chance) == Order::End {
            book.tell(&Step::Left);
            return;
        }
    }
}

/// Opens the directory and its streams. On a full disk it tries again.
fn open(data: &Path, book: &Book, grace: Duration) -> (Database, Vec<Stream>) {
    loop {
        match try_open(data, grace) {
            Ok(opened) => return opened,
            Err(Error::StorageFull | Error::OutcomeUnknown | Error::Poisoned) => sleep(Duration::from_millis(20)),
            Err(error) => {
                book.tell(&Step::Unexpected { text: format!("opening: {error}") });
                std::process::exit(1);
            }
        }
    }
}

fn try_open(data: &Path, grace: Duration) -> Result<(Database, Vec<Stream>), Error> {
    let db = Options::temporary().reconnect_grace(grace).open(data)?;
    let create = |(name, partitions): &(&str, u32)| {
        let options = StreamOptions::new().partitions(*partitions);
        db.stream(name).or_else(|_| db.create_stream(name, options))
    };
    let streams = STREAMS.iter().map(create).collect::<Result<_, Error>>()?;
    Ok((db, streams))
}

/// From opening to closing. Returns the order that ended it.
fn live(db: Database, streams: &[Stream], book: &Book, books: &Path, thread: u32, chance: &mut Chance) -> Order {
    let desk = |number: u32| Desk::new(book, thread + number, streams);
    let db = &db;
    thread::scope(|scope| {
        scope.spawn(|| work(desk(0), Desk::single));
        scope.spawn(|| work(desk(1), Desk::expecting));
        scope.spawn(|| work(desk(2), Desk::batch));
        scope.spawn(|| work(desk(3), |desk| desk.question(db)));
        scope.spawn(|| desk(4).tickets());
        scope.spawn(|| desk(5).follow((0, (book.process % 3) as u32)));
        scope.spawn(|| desk(6).follow((0, ((book.process + 1) % 3) as u32)));
        scope.spawn(|| desk(7).follow((1, 0)));
        scope.spawn(|| desk(8).consume());
        loop {
            match Order::next() {
                Order::Fork => forked::fork(db, streams, book, books, chance),
                order => {
                    book.tell(&Step::Closing);
                    // Where hosts die one after the other, none is found in the second that a close looks for one.
                    if let Err(error) = db.clone().close()
                        && !matches!(error, Error::StorageFull | Error::NoHost)
                    {
                        book.tell(&Step::Unexpected { text: format!("closing: {error}") });
                    }
                    book.tell(&Step::Closed);
                    return order;
                }
            }
        }
    })
}

fn work<'a>(mut desk: Desk<'a>, step: impl Fn(&mut Desk<'a>) -> Then) {
    while step(&mut desk) == Then::GoOn {}
}
