//! A place in the lines of those who wait for records of logs, or for a change of an object, of this process's engine.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::sync::{Arc, EventListener, park, thread_waker, wait_listener};
use crate::engine::fault::Fault;
use crate::engine::machine::{Stand, Ticket};
use crate::engine::{Engine, micros_left};
use crate::primitives::Primitives;
use crate::storage::disk::clock;

use super::client::Call;

/// Leaves its lines when dropped. As a future it is ready once what it waits for may be there in one of them.
pub(super) struct Waiting {
    first: Line,
    rest: Vec<Line>,
}

pub(super) struct Line {
    listener: EventListener,
    _place: Place,
}

struct Place {
    engine: Arc<Engine<Primitives>>,
    of: Awaited,
}

enum Awaited {
    Log(LogId),
    Object(RowKey),
    InLine(RowKey, Ticket),
}

/// Who was woken in a line and has yet to look: when it is dropped, and there is something still, the next is woken.
#[must_use = "the next in line is woken when it is dropped"]
pub(crate) struct Called(By);

enum By {
    /// Nobody: there was no reason to wait.
    Nobody,
    Line {
        _place: Place,
    },
    /// The process that hosts the database, which has the line.
    Host(Call),
}

impl Called {
    pub(super) fn by_nobody() -> Called {
        Called(By::Nobody)
    }

    pub(super) fn by_host(call: Call) -> Called {
        Called(By::Host(call))
    }

    fn in_line(place: Place) -> Called {
        Called(By::Line { _place: place })
    }

    /// It has looked: what it asked for was decided.
    pub(crate) fn has_looked(self) {
        if let By::Host(call) = self.0 {
            call.has_looked();
        }
    }
}

impl Waiting {
    /// `None` if there is something to read already.
    pub(super) fn begin(engine: &Arc<Engine<Primitives>>, log: LogId, from: u64) -> Result<Option<Waiting>, Fault> {
        Ok(Line::of_log(engine, log, from)?.map(|first| Waiting { first, rest: Vec::new() }))
    }

    pub(super) fn in_lines(first: Line, rest: Vec<Line>) -> Waiting {
        Waiting { first, rest }
    }

    /// Sleeps until it is called in its only line; `None` once the time is over.
    pub(super) fn be_called(self, micros: Option<u64>) -> Option<Called> {
        let Line { listener, _place } = self.first;
        wait_listener(listener, micros).then(|| Called::in_line(_place))
    }

    /// What it is once it was woken in its only line.
    pub(super) fn into_called(self) -> Called {
        Called::in_line(self.first._place)
    }

    /// Tells whether it was woken, or the time was over.
    pub(super) fn sleep(self, micros: Option<u64>) -> bool {
        if self.rest.is_empty() {
            let Line { listener, _place } = self.first;
            return wait_listener(listener, micros);
        }
        let deadline = micros.map(|micros| clock::boot().plus(micros));
        let (waker, mut waiting) = (thread_waker(), self);
        while let Ok(left) = micros_left(deadline) {
            if Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_ready() {
                return true;
            }
            park(left);
        }
        false
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Waiting { first, rest } = &mut *self;
        let mut lines = std::iter::once(first).chain(rest);
        match lines.any(|line| Pin::new(&mut line.listener).poll(context).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Line {
    /// `None` if there is something to read already.
    pub(super) fn of_log(engine: &Arc<Engine<Primitives>>, log: LogId, from: u64) -> Result<Option<Line>, Fault> {
        let registered = engine.wait_for(log, from)?;
        Ok(registered.map(|(_, listener)| Line::new(engine, listener, Awaited::Log(log))))
    }

    /// `None` if there is something to tell already.
    pub(super) fn of_object<T>(
        engine: &Arc<Engine<Primitives>>,
        key: RowKey,
        look: impl FnOnce(&Primitives, &mut dyn FnMut(RowKey)) -> Option<T>,
    ) -> Result<Option<Line>, Fault> {
        let registered = engine.wait_for_object(key, look)?;
        Ok(registered.map(|listener| Line::new(engine, listener, Awaited::Object(key))))
    }

    /// A place in the line for an object; `None` if there is something to tell already, or it is not to wait.
    pub(super) fn in_line<T>(
        engine: &Arc<Engine<Primitives>>,
        key: RowKey,
        stand: impl FnOnce(&Primitives) -> Stand,
        look: impl FnOnce(&Primitives, &mut dyn FnMut(RowKey)) -> Option<T>,
    ) -> Result<Option<Line>, Fault> {
        let entered = engine.enter_line(key, stand, look)?;
        Ok(entered.map(|(ticket, listener)| Line::new(engine, listener, Awaited::InLine(key, ticket))))
    }

    fn new(engine: &Arc<Engine<Primitives>>, listener: EventListener, of: Awaited) -> Line {
        Line { listener, _place: Place { engine: engine.clone(), of } }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self.of {
            Awaited::Log(log) => self.engine.stop_waiting(log),
            Awaited::Object(key) => self.engine.stop_waiting_for_object(key),
            Awaited::InLine(key, ticket) => self.engine.leave_line(key, ticket),
        }
    }
}
