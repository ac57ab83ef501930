//! Threads that follow a partition until the database is closed, and wait in every form that there is.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread::sleep;
use std::time::Duration;

use towpath::{Error, Reader, Records, Start};

use crate::book::{Place, Step, add_to_sum};
use crate::content::sum_of;
use crate::place::executor::block_on;
use crate::writers::{Desk, Then};

const RECORDS_MAX: u64 = 200;

/// The longest wait of a reader that gives up, and its longest rest.
const PAUSE_MICROS: u64 = 20_000;

impl Desk<'_> {
    pub fn follow(&mut self, place: Place) {
        let from = if self.chance.below(8) == 0 { Start::Earliest } else { Start::Latest };
        let opened = loop {
            match self.streams[place.0].reader(place.1, from) {
                Err(error) if self.fail("opening a reader", &error) == Then::GoOn => {}
                opened => break opened,
            }
        };
        let Ok(mut reader) = opened else { return };
        self.book.tell(&Step::Begun { reader: self.thread, place, offset: reader.position() });
        loop {
            match self.next(&mut reader) {
                Ok(records) => self.tell_received(records),
                Err(error) if self.fail("reading", &error) == Then::GoOn => {}
                Err(_) => return,
            }
        }
    }

    fn tell_received(&mut self, records: Option<Records>) {
        let Some(records) = records else { return };
        let first = records.iter().next().map_or(0, |record| record.offset());
        let sum = records.iter().fold(0, |sum, record| add_to_sum(sum, sum_of(&record)));
        self.book.tell(&Step::Received { reader: self.thread, first, records: records.len() as u64, sum });
        if self.chance.below(4) == 0 {
            sleep(self.pause());
        }
    }

    fn pause(&mut self) -> Duration {
        Duration::from_micros(self.chance.below(PAUSE_MICROS))
    }

    /// The next records, in any form of asking; `None` in one that does not wait for ever.
    fn next(&mut self, reader: &mut Reader) -> Result<Option<Records>, Error> {
        let max = 1 + self.chance.below(RECORDS_MAX) as usize;
        match self.chance.below(5) {
            0 => reader.receive(max).map(Some),
            1 => block_on(reader.receive_async(max)).map(Some),
            2 => reader.receive_timeout(max, self.pause()),
            3 => {
                sleep(self.pause());
                reader.try_receive(max)
            }
            _ => {
                sleep(self.pause());
                begin_to_wait(reader, max)
            }
        }
    }
}

/// Has a future ask once, and drops it.
fn begin_to_wait(reader: &mut Reader, max: usize) -> Result<Option<Records>, Error> {
    let future = pin!(reader.receive_async(max));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(received) => received.map(Some),
        Poll::Pending => Ok(None),
    }
}
