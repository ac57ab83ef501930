//! What may be asked of queues, and why it may be refused.

use super::consumers::{ConsumerNumber, Joining, Taker};
use super::exchanges::{ExchangeOptions, Limits};
use super::lane::LaneNumber;
use super::message::{Due, Message};
use super::options::Options;
use super::reply::Reply;
use super::routing::{Binding, Destination, ExchangeNumber};
use super::schedules::Plan;
use crate::base::bounds::ERROR_BYTES_MAX;
use crate::base::codec::{Malformed, Take};
use crate::base::log::LogId;
use crate::base::name::NameFault;
use crate::base::row::RowKey;
use crate::engine::machine::Class;

/// Names a queue; never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct QueueNumber(pub(crate) u32);

/// The process that has messages in flight: the host's own, or that of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Holder(pub(crate) u64);

impl Holder {
    pub(crate) const HOST: Holder = Holder(0);
}

/// One hand-out of a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct DeliveryId {
    pub(crate) lane: LaneNumber,
    pub(crate) offset: u64,
    /// Which of its hand-outs.
    pub(crate) acquired: u32,
}

/// A message in its lane.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) lane: LaneNumber,
    pub(crate) offset: u64,
}

/// Messages of a lane, from one offset up to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stretch {
    pub(crate) lane: LaneNumber,
    pub(crate) from: u64,
    pub(crate) end: u64,
}

/// A request that may be refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command<'a> {
    /// A no-op if the queue exists with equal options, `Mismatch` if with others.
    Create {
        name: &'a str,
        options: &'a Options,
    },
    /// Creates the queue or gives it these options.
    Ensure {
        name: &'a str,
        options: &'a Options,
    },
    /// Takes the name from the queue and all that is in it; `Erase` does the rest.
    Delete {
        queue: QueueNumber,
    },
    /// Forgets a step of what is left of something deleted.
    Erase {
        what: Erasing,
    },
    /// Adds messages: all of them or none.
    Send {
        queue: QueueNumber,
        messages: &'a [Message<'a>],
    },
    /// Adds messages to the queues that the exchange leads them to: all of them or none.
    Publish {
        exchange: ExchangeNumber,
        messages: &'a [Message<'a>],
        limits: Limits,
    },
    /// A no-op if the exchange exists with equal options, `Mismatch` if with others.
    DeclareExchange {
        name: &'a str,
        options: &'a ExchangeOptions,
    },
    /// Declares the exchange or gives it these options.
    EnsureExchange {
        name: &'a str,
        options: &'a ExchangeOptions,
    },
    /// Takes the name from an exchange; `Erase` does the rest.
    DeleteExchange {
        exchange: ExchangeNumber,
    },
    Bind {
        binding: &'a Binding,
    },
    Unbind {
        binding: &'a Binding,
    },
    /// Hands messages out.
    Receive {
        queue: QueueNumber,
        holder: Holder,
        taker: Taker,
        max: u32,
    },
    /// Becomes a consumer under a name.
    Join(Joining<'a>),
    /// Is one no longer.
    Leave {
        queue: QueueNumber,
        holder: Holder,
        consumer: ConsumerNumber,
    },
    /// Settles or extends hand-outs.
    Settle {
        queue: QueueNumber,
        how: Settlement<'a>,
        deliveries: &'a [DeliveryId],
    },
    /// Acknowledges all that a consumer has up to this hand-out.
    AckThrough {
        queue: QueueNumber,
        delivery: DeliveryId,
    },
    /// Hands nothing out until it is resumed, or goes on.
    Pause {
        queue: QueueNumber,
        is_paused: bool,
    },
    /// Lets a step of what is ready or delayed go: of what the step before left, or of all that is there, at the first.
    Purge {
        queue: QueueNumber,
        left: &'a [Stretch],
    },
    /// Lets letters go: dead ones, or messages that wait.
    Bury {
        queue: QueueNumber,
        letters: &'a [Place],
    },
    /// Sends letters again, as these messages, and lets them go: dead ones, or messages that wait.
    Redrive {
        queue: QueueNumber,
        letters: &'a [Place],
        messages: &'a [Message<'a>],
        /// Where they go to; to an exchange by the routing key that each says.
        to: Destination,
    },
    /// Moves letters on to where the queue's dead go, as these messages.
    MoveOn {
        queue: QueueNumber,
        letters: &'a [Place],
        messages: &'a [Message<'a>],
        /// That they are made for; `None` if the queue keeps its dead by now.
        to: Option<Destination>,
        /// Letters that cannot be read, and stay.
        unread: &'a [Place],
    },
    /// Lets a message go that waits.
    Cancel {
        queue: QueueNumber,
        sequence: u64,
    },
    /// Gives a delayed message another time.
    Reschedule {
        queue: QueueNumber,
        sequence: u64,
        due: Due,
    },
    /// Makes a schedule, or gives the one with this name this plan and message.
    Schedule {
        name: &'a str,
        plan: &'a Plan,
        message: &'a Message<'a>,
    },
    RemoveSchedule {
        name: &'a str,
    },
    /// Lets a schedule rest, or go on.
    PauseSchedule {
        name: &'a str,
        is_paused: bool,
    },
    /// Brings the schedule that is due first past a run: the tick of all schedules.
    RunSchedule,
    /// Moves on what is due by one of the clocks: the tick.
    Tick {
        log: LogId,
        clock: Clock,
    },
    /// Gives back all that a process holds which leaves in order.
    Release {
        holder: Holder,
    },
    /// Takes back all that a process holds which has died.
    End {
        holder: Holder,
    },
    /// What the session held is the host's from now on.
    Adopt {
        from: Holder,
    },
    /// A host begins: what the one before held is taken back.
    BeginLife,
}

/// Of what is to be forgotten what it has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Erasing {
    Queue(QueueNumber),
    Exchange(ExchangeNumber),
    /// Whatever was deleted.
    Any,
}

/// A clock that messages wait by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clock {
    Wall,
    Boot,
}

/// What is to become of a message that was handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Settlement<'a> {
    /// It is done.
    Ack,
    /// It was tried and failed. It comes back after its backoff, or after this delay.
    Fail { error: &'a str, delay_micros: Option<u64> },
    /// It was not tried. It comes back at once, or after this delay.
    Release { delay_micros: u64 },
    /// It is dead.
    Reject { error: &'a str },
    /// It cannot be read, and is dead. It is kept although its queue discards the dead: nothing is deleted because it
    /// cannot be read.
    SetApart { error: &'a str },
    /// It stays in flight for as long from now on.
    Extend { micros: u64 },
}

impl<'a> Settlement<'a> {
    /// With no more of its text than is kept.
    pub(crate) fn cut(self) -> Settlement<'a> {
        match self {
            Settlement::Fail { error, delay_micros } => Settlement::Fail { error: cut(error), delay_micros },
            Settlement::Reject { error } => Settlement::Reject { error: cut(error) },
            Settlement::SetApart { error } => Settlement::SetApart { error: cut(error) },
            Settlement::Ack | Settlement::Release { .. } | Settlement::Extend { .. } => self,
        }
    }
}

/// As much of an error's text as is kept.
pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Why a message is dead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub(crate) enum Reason {
    Rejected = 1,
    AttemptsExhausted = 2,
    Expired = 3,
    Deadline = 4,
    Overflow = 5,
    Cycle = 6,
}

impl Reason {
    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Reason, Malformed> {
        match take.u8()? {
            1 => Ok(Reason::Rejected),
            2 => Ok(Reason::AttemptsExhausted),
            3 => Ok(Reason::Expired),
            4 => Ok(Reason::Deadline),
            5 => Ok(Reason::Overflow),
            6 => Ok(Reason::Cycle),
            _ => Err(Malformed("a reason that there is not")),
        }
    }
}

impl<'a> Command<'a> {
    /// The same, asked for in this process.
    pub(crate) fn of_holder(self, holder: Holder) -> Command<'a> {
        match self {
            Command::Receive { queue, taker, max, .. } => Command::Receive { queue, holder, taker, max },
            Command::Join(joining) => Command::Join(Joining { holder, ..joining }),
            Command::Leave { queue, consumer, .. } => Command::Leave { queue, holder, consumer },
            Command::Release { .. } => Command::Release { holder },
            command => command,
        }
    }
}

impl Command<'_> {
    pub(crate) fn class(&self) -> Class {
        match self {
            Command::Create { .. } | Command::Ensure { .. } | Command::Send { .. } | Command::Redrive { .. } => {
                Class::Publish
            }
            Command::Publish { .. }
            | Command::DeclareExchange { .. }
            | Command::EnsureExchange { .. }
            | Command::Bind { .. } => Class::Publish,
            // A run that finds no room is asked for again, until there is some.
            Command::Schedule { .. } | Command::RunSchedule => Class::Publish,
            Command::RemoveSchedule { .. } | Command::PauseSchedule { .. } => Class::Settle,
            Command::DeleteExchange { .. } | Command::Unbind { .. } => Class::Settle,
            Command::Cancel { .. } | Command::Reschedule { .. } => Class::Settle,
            Command::Receive { .. } => Class::HandOut,
            Command::Settle { .. } | Command::AckThrough { .. } => Class::Settle,
            Command::Join(_) => Class::Publish,
            Command::Leave { .. } => Class::Settle,
            Command::Delete { .. } | Command::Erase { .. } | Command::Purge { .. } | Command::Bury { .. } => {
                Class::Settle
            }
            // The message is written again. Until there is room the letter stays where it is.
            Command::MoveOn { .. } => Class::Publish,
            Command::Pause { .. } | Command::Tick { .. } => Class::Settle,
            Command::Release { .. } | Command::End { .. } | Command::Adopt { .. } | Command::BeginLife => Class::Settle,
        }
    }
}

/// Why a command was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    NotFound,
    Mismatch {
        differences: Vec<String>,
    },
    InvalidName(NameFault),
    InvalidOption {
        option: &'static str,
        reason: &'static str,
    },
    LimitExceeded {
        limit: &'static str,
        max: u64,
        actual: u64,
    },
    /// The queue holds as many messages as it may.
    Full {
        queue: String,
        max: u64,
    },
    /// No binding leads the message with this number anywhere.
    Unroutable {
        message: u32,
    },
    /// What is to be bound, or the alternate, is not there.
    NoDestination,
    /// A binding that the exchange does not take.
    Unfit {
        reason: String,
    },
    /// It cannot be deleted: it is the alternate of another.
    IsAlternate {
        exchange: String,
    },
    /// It cannot be deleted: dead letters of this queue go there.
    IsTarget {
        queue: String,
    },
    /// Its dead letters would go where they are.
    OwnTarget,
    /// It cannot be deleted: a schedule sends to it.
    IsScheduled {
        schedule: String,
    },
    /// A cron pattern that cannot be understood at this byte, or names no time.
    InvalidCron {
        offset: u64,
        reason: String,
    },
    /// None of the deliveries is in flight any more: settled, or taken back.
    Stale,
    /// It cannot be deleted: so many messages are in flight.
    InFlight {
        count: u64,
    },
}

/// The outcome of `decide`, as in `engine::machine::Decision`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Accept(Reply),
    Unchanged { reply: Reply, rests_on: Option<RowKey> },
    Refuse { refusal: Refusal, rests_on: Option<RowKey> },
}
