//! What a connection has yet to tell its process: answers on their way, and readers that wait for records. Members of
//! consumer groups wait as readers do, for what concerns them too.
//!
//! While the connection's thread sleeps, its answers lie with its [`Bell`], and the thread of the connection that has
//! made records visible gives them: it is awake, and the reader's own thread would have to wake first. It does so
//! behind the core lock, after its last request, for a few readers of a small write, and never waits: where another
//! thread has the answers, or the socket has no room, the bell's alarm wakes the thread whose they are.
//!
//! Readers that have been woken are answered as the process takes their answers: many may wait for one large record.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Wake, Waker};

use crate::base::bounds::{
    ANSWERED_FOR_OTHERS_MAX, INLINE_BYTES_MAX, QUESTIONS_OPEN_MAX, STALL_MICROS_MAX, WATCHED_LOGS_MAX,
};
use crate::base::sync::{Arc, Ordering, thread_local};
use crate::engine::fault::Fault;
use crate::engine::read::Read;
use crate::engine::{Engine, Refused};
use crate::primitives::queues::QueueNumber;
use crate::primitives::{Primitives, Refusal};
use crate::storage::disk::host::socket::{Alarm, Socket, wait};

use super::lending::Lending;
use super::operation::Question;
use super::questions::{too_many_questions, too_many_watched};
use super::queueing::{Called, WatchQueue};
use super::reading::{Cursors, ReadRecords, put_read};
use super::server::Attached;
use super::waiting::Waiting;
use super::watching::{MemberNews, WatchMember};
use super::wire::{ANSWERED, Out, REFUSED, put_refused};

/// Answers gathered before they are sent although there are more; and what of their memory is kept for the next.
const GATHERED_BYTES: usize = 64 << 10;

/// Answers and waiting readers of one connection. Who has them may send.
#[derive(Default)]
pub(super) struct Answers {
    out: Out,
    waiting: Vec<Asker>,
    /// Their logs have records; they were not answered yet. With the place in line of who has one.
    woken: VecDeque<(u64, Awaiting, Option<Called>)>,
    /// Who was told to look at a queue and has yet to do so.
    called: VecDeque<(u64, QueueNumber, Called)>,
    cursors: Cursors,
    /// The engine is poisoned: nothing is answered any more.
    is_over: bool,
}

/// A question whose answer may have to wait.
pub(super) enum Awaiting {
    Records(ReadRecords),
    News(WatchMember),
    Queue(WatchQueue),
}

/// A reader that waits for records, or a member that waits for news.
struct Asker {
    request: u64,
    question: Awaiting,
    waiting: Waiting,
}

impl Asker {
    fn into_woken(self) -> (u64, Awaiting, Option<Called>) {
        let Asker { request, question, waiting } = self;
        let called = matches!(question, Awaiting::Queue(_)).then(|| waiting.into_called());
        (request, question, called)
    }
}

impl Awaiting {
    /// `None` if there is something to answer with already.
    fn wait(&self, engine: &Arc<Engine<Primitives>>) -> Result<Option<Waiting>, Fault> {
        match self {
            Awaiting::Records(read) => Waiting::begin(engine, read.log, read.from),
            Awaiting::News(watch) => watch.wait(engine),
            Awaiting::Queue(watch) => watch.wait(engine),
        }
    }

    /// In how many lines of logs it waits beside that which each has.
    fn further_lines(&self) -> usize {
        match self {
            Awaiting::Records(_) | Awaiting::Queue(_) => 0,
            Awaiting::News(watch) => watch.logs.len(),
        }
    }

    /// Whether it takes but little to answer.
    fn takes_little(&self) -> bool {
        match self {
            Awaiting::Records(read) => !read.inline,
            Awaiting::Queue(_) => true,
            Awaiting::News(watch) => watch.logs.len() <= ANSWERED_FOR_OTHERS_MAX,
        }
    }
}

/// Wakes those who wait at one connection when a log has records.
pub(super) struct Bell {
    engine: Arc<Engine<Primitives>>,
    process: Arc<Attached>,
    pub(super) socket: Arc<Socket>,
    alarm: Alarm,
    /// The connection's answers, while its thread sleeps.
    lending: Lending<Answers>,
}

thread_local! {
    /// The bells that this thread has rung and will answer, if it does so now.
    static RUNG: RefCell<Option<Rung>> = const { RefCell::new(None) };
}

/// Bells that have rung without an alarm. Those that a panic leaves unanswered would be deaf: their connections end.
#[derive(Default)]
struct Rung(Vec<Arc<Bell>>);

impl Rung {
    fn answer(mut self) {
        while let Some(bell) = self.0.last() {
            bell.answer_or_ring();
            self.0.pop();
        }
    }
}

impl Drop for Rung {
    fn drop(&mut self) {
        self.0.iter().for_each(|bell| bell.socket.shutdown());
    }
}

/// Does a write of so many bytes, which does not wait once it has made records visible, and answers those who wait for
/// them. A large one leaves that to their own threads.
pub(super) fn answering_others<T>(bytes: usize, write: impl FnOnce() -> T) -> T {
    if bytes > INLINE_BYTES_MAX {
        return write();
    }
    RUNG.set(Some(Rung::default()));
    let outcome = write();
    RUNG.take().into_iter().for_each(Rung::answer);
    outcome
}

/// Whether this thread will answer for the bell.
fn will_answer(bell: &Arc<Bell>) -> bool {
    let is_ours = RUNG.try_with(|rung| match &mut *rung.borrow_mut() {
        Some(Rung(rung)) if rung.len() < ANSWERED_FOR_OTHERS_MAX => {
            rung.push(bell.clone());
            true
        }
        _ => false,
    });
    // A thread that ends has no bells any more.
    is_ours.unwrap_or(false)
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    // The event that wakes is in the hands of its caller: nothing is looked at here.
    fn wake_by_ref(self: &Arc<Self>) {
        if self.lending.ring() && !will_answer(self) {
            self.alarm.ring();
        }
    }
}

impl Bell {
    pub(super) fn new(
        engine: &Arc<Engine<Primitives>>,
        process: &Arc<Attached>,
        socket: Arc<Socket>,
    ) -> io::Result<Arc<Bell>> {
        Ok(Arc::new(Bell {
            engine: engine.clone(),
            process: process.clone(),
            socket,
            alarm: Alarm::new()?,
            lending: Lending::new(),
        }))
    }

    /// Sleeps until requests have come or records, and lends out the answers meanwhile. Tells whether requests have
    /// come, or their end.
    pub(super) fn sleep(self: &Arc<Self>, answers: &mut Answers) -> io::Result<bool> {
        let ready = self.lending.lend(answers, || wait(&self.socket, Some(&self.alarm), true, None))?;
        if ready.alarmed {
            self.alarm.take();
            answers.look_at_waiting(self);
        }
        Ok(ready.readable || ready.hung_up)
    }

    /// Answers the readers, if nobody else is at it.
    fn answer_or_ring(self: &Arc<Self>) {
        let is_done = self.lending.try_serve(|answers| {
            answers.take_little() && {
                answers.look_at_waiting(self);
                answers.answer_woken(self);
                answers.try_send(&self.socket)
            }
        });
        if !is_done {
            self.alarm.ring();
        }
    }
}

impl Answers {
    pub(super) fn out(&mut self) -> &mut Out {
        &mut self.out
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn put(&mut self, outcome: u8, request: u64, body: impl FnOnce(&mut Out)) {
        put_answer(outcome, request, &mut self.out, body);
    }

    pub(super) fn refuse(&mut self, engine: &Engine<Primitives>, of: u8, request: u64, refused: &Refused<Refusal>) {
        // Looked at after the fact: whatever the fault is, it may come of the poison.
        self.is_over |= matches!(refused, Refused::Fault(_)) && engine.is_poisoned();
        self.put(REFUSED | of, request, |out| put_refused(refused, out));
    }

    /// Sends all, waiting for room.
    pub(super) fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        if self.is_over {
            return Err(io::Error::other("an I/O error has poisoned the database"));
        }
        if !self.out.is_empty() {
            socket.send_all(self.out.bytes(), Some(STALL_MICROS_MAX))?;
            self.out.clear(GATHERED_BYTES);
        }
        Ok(())
    }

    /// Sends what there is room for; `false` if anything is left to the connection's thread.
    fn try_send(&mut self, socket: &Socket) -> bool {
        if self.is_over {
            return false;
        }
        match socket.try_send(self.out.bytes()) {
            Ok(sent) => self.out.forget_first(sent, GATHERED_BYTES),
            // How much was sent is not known.
            Err(_) => socket.shutdown(),
        }
        self.out.is_empty() && self.woken.is_empty()
    }

    /// Answers a question, or enters it with what it is about until there is an answer.
    pub(super) fn ask(&mut self, bell: &Arc<Bell>, request: u64, question: Awaiting) {
        match self.try_answer(bell, request, &question) {
            Ok(true) => {}
            Ok(false) => match self.check_room(&question) {
                Ok(()) => {
                    if let Err(fault) = self.wait(bell, request, question) {
                        self.refuse(&bell.engine, 0, request, &fault.into());
                    }
                }
                Err(refused) => self.refuse(&bell.engine, 0, request, &refused),
            },
            Err(fault) => self.refuse(&bell.engine, 0, request, &fault.into()),
        }
    }

    /// Whether one more may wait.
    fn check_room(&self, question: &Awaiting) -> Result<(), Refused<Refusal>> {
        if self.waiting.len() + self.woken.len() + self.called.len() >= QUESTIONS_OPEN_MAX {
            return Err(too_many_questions());
        }
        let lines = question.further_lines();
        let have = || self.waiting.iter().map(|asker| asker.question.further_lines()).sum::<usize>();
        if lines > 0 && lines + have() > WATCHED_LOGS_MAX { Err(too_many_watched()) } else { Ok(()) }
    }

    /// Answers with what is there now. `false` if nothing is and the asker waits.
    fn try_answer(&mut self, bell: &Bell, request: u64, question: &Awaiting) -> Result<bool, Fault> {
        match question {
            Awaiting::Records(read) => {
                let found = self.cursors.read(&bell.engine, read)?;
                if read.waits && matches!(found, Read::AtEnd) {
                    return Ok(false);
                }
                self.put(ANSWERED, request, |out| put_read(&found, read, out));
            }
            Awaiting::News(watch) => {
                let news = watch.look(&bell.engine)?;
                if watch.waits && news.is_none() {
                    return Ok(false);
                }
                let news = news.unwrap_or(MemberNews::Nothing);
                self.put(ANSWERED, request, |out| WatchMember::put_answer(&news, out));
            }
            Awaiting::Queue(watch) => {
                let has_news = watch.look(&bell.engine)?;
                if watch.waits && !has_news {
                    return Ok(false);
                }
                self.put(ANSWERED, request, |out| WatchQueue::put_answer(&has_news, out));
            }
        }
        Ok(true)
    }

    fn wait(&mut self, bell: &Arc<Bell>, request: u64, question: Awaiting) -> Result<(), Fault> {
        loop {
            if let Some(mut waiting) = question.wait(&bell.engine)? {
                let waker = Waker::from(bell.clone());
                if Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending() {
                    self.waiting.push(Asker { request, question, waiting });
                    self.count_waiting(bell);
                    return Ok(());
                }
            }
            if let Awaiting::Queue(watch) = &question {
                self.tell_to_look(bell, request, watch.queue, None);
                return Ok(());
            }
            if self.try_answer(bell, request, &question)? {
                return Ok(());
            }
        }
    }

    /// Has a consumer that was woken ask its queue. What woke it may be followed by what is not durable yet: who waited
    /// for that too would wait for as long as anybody sends at `Sync`.
    fn tell_to_look(&mut self, bell: &Bell, request: u64, queue: QueueNumber, called: Option<Called>) {
        match bell.engine.inspect(|_| ()) {
            Ok(()) => {
                self.called.extend(called.map(|called| (request, queue, called)));
                self.put(ANSWERED, request, |out| WatchQueue::put_answer(&true, out));
            }
            Err(fault) => self.refuse(&bell.engine, 0, request, &fault.into()),
        }
    }

    /// The process has asked the queue for messages, as one of those was told to who were called: the next may be.
    pub(super) fn has_looked(&mut self, queue: QueueNumber) {
        let at = self.called.iter().position(|(_, of, _)| *of == queue);
        at.and_then(|at| self.called.remove(at));
    }

    /// Finds those for whom there is something now.
    fn look_at_waiting(&mut self, bell: &Arc<Bell>) {
        let waker = Waker::from(bell.clone());
        let mut context = Context::from_waker(&waker);
        let Answers { waiting, woken, .. } = self;
        bell.lending.look(|| {
            let is_woken = |asker: &mut Asker| Pin::new(&mut asker.waiting).poll(&mut context).is_ready();
            woken.extend(waiting.extract_if(.., is_woken).map(Asker::into_woken));
        });
    }

    /// Answers those that were found, until there is much to send. Tells whether there were any.
    pub(super) fn answer_woken(&mut self, bell: &Arc<Bell>) -> bool {
        let had_woken = !self.woken.is_empty();
        while self.out.len() <= GATHERED_BYTES
            && let Some((request, question, called)) = self.woken.pop_front()
        {
            match question {
                Awaiting::Queue(watch) => self.tell_to_look(bell, request, watch.queue, called),
                question => self.ask(bell, request, question),
            }
        }
        self.count_waiting(bell);
        had_woken
    }

    /// Whether it takes but little to answer all who wait.
    fn take_little(&self) -> bool {
        self.waiting.len() <= ANSWERED_FOR_OTHERS_MAX && self.waiting.iter().all(|asker| asker.question.takes_little())
    }

    /// The asker does not wait any longer.
    pub(super) fn withdraw(&mut self, bell: &Bell, request: u64) {
        self.waiting.retain(|waiting| waiting.request != request);
        self.woken.retain(|(woken, ..)| *woken != request);
        self.called.retain(|(called, ..)| *called != request);
        self.count_waiting(bell);
    }

    fn count_waiting(&self, bell: &Bell) {
        bell.process.waiting.store((self.waiting.len() + self.woken.len()) as u64, Ordering::Relaxed);
    }
}

pub(super) fn put_answer(outcome: u8, request: u64, out: &mut Out, body: impl FnOnce(&mut Out)) {
    out.frame(outcome, |out| {
        out.varint(request);
        body(out);
    });
}
