//! A child of `fork` goes on with the handles that it inherits, and may outlive its parent.
#![expect(unsafe_code, reason = "there is no other way to fork")]

use std::path::Path;
use std::time::{Duration, Instant};

use towpath::{Database, Error, Stream};

use crate::book::{Book, Step};
use crate::place::Chance;
use crate::writers::{Desk, Then};

/// Beyond the numbers of all other processes.
const FORKED: u64 = 1 << 32;

const LIFE_MILLIS_MAX: u64 = 3000;

/// The number of a process that was forked.
pub fn number_of(pid: u32) -> u64 {
    FORKED + u64::from(pid)
}

/// Forks this process. The child does not return.
pub fn fork(db: &Database, streams: &[Stream], book: &Book, books: &Path, chance: &mut Chance) {
    let life = Duration::from_millis(chance.below(LIFE_MILLIS_MAX));
    let closes = chance.below(2) == 0;
    // SAFETY: the child has one thread, which leaves by `_exit` and never returns into the frames of the parent. It
    // allocates, which the C library allows after a fork, and uses the database, which promises to be usable there:
    // that is what is tested.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid > 0 {
        book.tell(&Step::Forked { pid: pid.unsigned_abs() });
        return;
    }
    live(db, streams, &Book::create(books, number_of(std::process::id())), life, closes);
    // SAFETY: ends the child without running anything of the parent's.
    unsafe { libc::_exit(0) };
}

fn live(db: &Database, streams: &[Stream], book: &Book, life: Duration, closes: bool) {
    let (end, mut then) = (Instant::now() + life, Then::GoOn);
    let mut desk = Desk::new(book, 0, streams);
    while then == Then::GoOn && Instant::now() < end {
        then = match desk.chance.below(4) {
            0 => desk.expecting(),
            1 => desk.batch(),
            2 => desk.question(db),
            _ => desk.single(),
        };
    }
    book.tell(&Step::Closing);
    if closes
        && let Err(error) = db.clone().close()
        // It had no time to use what it inherited, or finds no host.
        && !matches!(error, Error::Forked | Error::NoHost)
    {
        book.tell(&Step::Unexpected { text: format!("closing in a forked child: {error}") });
    }
    book.tell(&Step::Left);
}
