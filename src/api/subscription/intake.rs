//! Messages on their way from a queue to one consumer: taken some at a time, handed out one after the other.
//!
//! Invariants:
//! * What is in reserve was handed out by the queue and not by the intake. It is released with the intake, before
//!   anything is failed by being dropped; in a forked child it is the parent's, and is forgotten.
//! * When a message is handed out its visibility timeout begins to count, and that of those behind it: nobody who stays
//!   within it loses one that he was not given yet. They are extended only if they have waited noticeably, all by one
//!   call.
//! * Who waits is woken by news of the queue or by being stopped, and by nothing else.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::api::consumer::Consumer;
use crate::api::delivery::Delivery;
use crate::api::error::Error;
use crate::api::queue::{HandedOut, Queue};
use crate::api::stopper::Stopper;
use crate::base::bounds::RESERVE_AGE_MICROS_MAX;
use crate::base::sync::{Arc, EventListener, park, thread_waker};
use crate::base::time::BootTime;
use crate::engine::micros_left;
use crate::primitives::queues::{DeliveryId, Settlement};
use crate::processes::queueing::{Called, Known};
use crate::storage::disk::clock;

/// Takes messages from a queue for one consumer.
pub(in crate::api) struct Intake {
    queue: Queue,
    /// Dropped behind the reserve.
    consumer: Arc<Consumer>,
    prefetch: usize,
    visibility_micros: u64,
    reserve: VecDeque<Delivery>,
    /// The visibility timeout of the reserve counts from then, or later.
    reserved: BootTime,
    waiting: Option<Waiting>,
    stopper: Stopper,
    /// The process that it was made in.
    process: Option<u32>,
    /// Who iterates was told of the end.
    is_over: bool,
}

/// What there is for a consumer.
enum Next {
    Delivery(Delivery),
    Nothing { known: Known },
    Stopped,
}

/// Ready once there is reason to look again.
struct Waiting {
    news: Pin<Box<dyn Future<Output = Result<Called, Error>> + Send>>,
    stopped: EventListener,
}

impl Future for Waiting {
    type Output = Result<Option<Called>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.stopped).poll(context) {
            Poll::Ready(()) => Poll::Ready(Ok(None)),
            Poll::Pending => self.news.as_mut().poll(context).map_ok(Some),
        }
    }
}

impl Intake {
    /// It has joined the queue.
    pub(in crate::api) fn new(
        queue: Queue,
        consumer: Arc<Consumer>,
        prefetch: usize,
        stopper: Stopper,
    ) -> Result<Intake, Error> {
        let visibility_micros = queue.visibility_micros()?;
        let (process, reserved) = (queue.process(), clock::boot());
        let (reserve, waiting) = (VecDeque::new(), None);
        let is_over = false;
        Ok(Intake {
            queue,
            consumer,
            prefetch,
            visibility_micros,
            reserve,
            reserved,
            waiting,
            stopper,
            process,
            is_over,
        })
    }

    pub(in crate::api) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(in crate::api) fn stopper(&self) -> &Stopper {
        &self.stopper
    }

    /// The next message if there is one now.
    pub(in crate::api) fn try_next(&mut self) -> Result<Option<Delivery>, Error> {
        match self.look(None)? {
            Next::Delivery(delivery) => Ok(Some(delivery)),
            Next::Nothing { .. } | Next::Stopped => Ok(None),
        }
    }

    /// The next message once there is one; `None` if the deadline has passed before, or it was stopped.
    pub(in crate::api) fn next_until(&mut self, deadline: Option<BootTime>) -> Result<Option<Delivery>, Error> {
        let waker = thread_waker();
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(next) = self.poll_wait(&mut context) {
                return next;
            }
            let Ok(left) = micros_left(deadline) else {
                self.waiting = None;
                return Ok(None);
            };
            park(left);
        }
    }

    /// The same, and after an error that is final or after being stopped nothing more.
    pub(in crate::api) fn iterate(&mut self) -> Option<Result<Delivery, Error>> {
        if self.is_over {
            return None;
        }
        let next = self.next_until(None);
        self.told(next)
    }

    /// The same for a task.
    pub(in crate::api) fn poll_iterate(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Delivery, Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.poll_wait(context).map(|next| self.told(next))
    }

    fn told(&mut self, next: Result<Option<Delivery>, Error>) -> Option<Result<Delivery, Error>> {
        self.is_over = match &next {
            Ok(next) => next.is_none(),
            Err(error) => error.is_final(),
        };
        next.transpose()
    }

    /// `None` once it was stopped.
    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Delivery>, Error>> {
        loop {
            let mut called = None;
            if let Some(waiting) = &mut self.waiting {
                let Poll::Ready(woken) = Pin::new(waiting).poll(context) else { return Poll::Pending };
                self.waiting = None;
                called = woken?;
            }
            match self.look(called)? {
                Next::Delivery(delivery) => return Poll::Ready(Ok(Some(delivery))),
                Next::Stopped => return Poll::Ready(Ok(None)),
                Next::Nothing { known } => self.waiting = self.wait(known),
            }
        }
    }

    /// `None` if it was stopped.
    fn wait(&self, known: Known) -> Option<Waiting> {
        let stopped = self.stopper.listen()?;
        let queue = self.queue.clone();
        let news = Box::pin(async move {
            let news = queue.database.shared.link.wait_for_queue_async(queue.number, known);
            news.await.map_err(|refused| queue.refusal(refused))
        });
        Some(Waiting { news, stopped })
    }

    /// `called` is who was woken for that.
    fn look(&mut self, mut called: Option<Called>) -> Result<Next, Error> {
        if !self.is_here() {
            self.forget_reserve();
            return Err(Error::Forked);
        }
        if self.queue.database.shared.is_closing() {
            return Err(Error::Closed);
        }
        if self.stopper.is_stopped() {
            self.release_reserve();
            return Ok(Next::Stopped);
        }
        loop {
            self.extend_reserve()?;
            if let Some(delivery) = self.reserve.pop_front() {
                return Ok(Next::Delivery(delivery));
            }
            // Before they are handed out: their consumer must not take them for younger than they are.
            let reserved = clock::boot();
            match self.queue.hand_out(&self.consumer, self.prefetch, called.take())? {
                HandedOut::Nothing { known } => return Ok(Next::Nothing { known }),
                HandedOut::Messages(deliveries) => {
                    (self.reserve, self.reserved) = (deliveries.into(), reserved);
                }
            }
        }
    }

    fn is_here(&self) -> bool {
        self.process.is_some() && self.process == self.queue.process()
    }

    /// Has the visibility timeout of the reserve count from now on, if it has waited noticeably. What was taken back
    /// meanwhile is no longer in it.
    fn extend_reserve(&mut self) -> Result<(), Error> {
        let age_max = RESERVE_AGE_MICROS_MAX.min(self.visibility_micros / 10);
        if self.reserve.is_empty() || clock::boot().since(self.reserved) <= age_max {
            return Ok(());
        }
        self.visibility_micros = self.queue.visibility_micros()?;
        let ids: Vec<DeliveryId> = self.reserve.iter().map(Delivery::id).collect();
        let (reserved, extend) = (clock::boot(), Settlement::Extend { micros: self.visibility_micros });
        match self.queue.settle(&extend, &ids) {
            Ok(stale) => self.forget_stale(&stale),
            Err(Error::Stale { .. }) => self.forget_reserve(),
            Err(error) => return Err(error),
        }
        self.reserved = reserved;
        Ok(())
    }

    /// `stale` are places in the reserve, in order.
    fn forget_stale(&mut self, stale: &[u32]) {
        for place in stale.iter().rev() {
            self.reserve.remove(*place as usize).map(Delivery::into_id);
        }
    }

    fn forget_reserve(&mut self) {
        self.reserve.drain(..).map(Delivery::into_id).for_each(drop);
    }

    fn release_reserve(&mut self) {
        let ids: Vec<DeliveryId> = self.reserve.drain(..).map(Delivery::into_id).collect();
        if !ids.is_empty() {
            // Of what cannot be given back now the database was closed, which gave it back, or it is poisoned: then the
            // next host does. Else it is taken back with the visibility timeout.
            let _ = self.queue.settle(&Settlement::Release { delay_micros: 0 }, &ids);
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        match self.is_here() {
            true => self.release_reserve(),
            false => self.forget_reserve(),
        }
    }
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake")
            .field("queue", &self.queue.name())
            .field("prefetch", &self.prefetch)
            .field("reserve", &self.reserve.len())
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// As it is now; `ensure_queue` may change it.
    pub(in crate::api) fn visibility_micros(&self) -> Result<u64, Error> {
        Ok(self.describe()?.options.visibility_micros())
    }
}
