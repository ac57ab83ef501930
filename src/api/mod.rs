//! Handles, options, errors: what users see.

mod check;
mod commit_options;
mod consumer;
mod database;
mod dead_letter;
mod dead_letter_options;
mod dedup;
mod delivery;
mod error;
mod exchange;
mod exchange_options;
mod group;
mod group_options;
mod group_outcomes;
mod history;
mod mapping;
mod member;
mod message;
mod options;
mod outcomes;
mod producer;
mod queue;
mod queue_options;
mod queue_outcomes;
mod reader;
mod reader_options;
mod records;
mod redrive;
mod redrive_options;
mod routing;
mod schedule;
mod schedule_options;
mod sticky;
mod stopper;
mod stored_message;
mod stream;
mod stream_options;
mod subscription;
mod subscription_options;
mod ticket;
mod worker;
mod worker_options;

pub use crate::processes::link::OpenMode;
pub use crate::processes::stats::{AttachedProcess, OperationCount, Stats};
pub use check::CheckReport;
pub use commit_options::CommitOptions;
pub use database::Database;
pub use dead_letter::DeadLetter;
pub use dead_letter_options::DeadLetters;
pub use dedup::Dedup;
pub use delivery::Delivery;
pub use error::Error;
pub use exchange::Exchange;
pub use exchange_options::{
    Binding, BoundTo, ExchangeDescription, ExchangeOptions, ExchangeType, HeaderMatch, PublishOptions,
};
pub use group::Group;
pub use group_options::{GroupOptions, MemberOptions};
pub use group_outcomes::{GroupDescription, GroupPartition, MemberDescription, PartitionLag, Polled};
pub use history::{Deaths, History};
pub use mapping::{MappedRange, Mapping, MappingRanges};
pub use member::{Member, MemberRecordStream, MemberRecords};
pub use message::Message;
pub use options::Options;
pub use outcomes::{
    Appended, AppendedBatch, AppendedRange, PartitionDescription, ProducedBatch, Receipt, StreamDescription,
};
pub use producer::Producer;
pub use queue::Queue;
pub use queue_options::{Backoff, Jitter, Overflow, QueueOptions};
pub use queue_outcomes::{
    ConsumerDescription, DeathReason, Explanation, Failure, Published, PublishedBefore, QueueDescription, Sent,
    SentBefore, WorkerCounts,
};
pub use reader::{Reader, Start};
pub use reader_options::{ReaderOptions, Reset};
pub use records::{OwnedRecord, RecordIterator, RecordView, Records};
pub use redrive::Redriven;
pub use redrive_options::{Edit, Redrive};
pub use schedule::Schedule;
pub use schedule_options::{
    LeftOut, LeftOutRun, MissedRuns, OverlappingRuns, ScheduleDescription, ScheduleMessage, SchedulePlan,
    ScheduleTarget, ScheduleTimes, SentRun,
};
pub use stopper::Stopper;
pub use stored_message::StoredMessage;
pub use stream::Stream;
pub use stream_options::{AppendOptions, ProducerOptions, StreamOptions};
pub use subscription::{Subscription, SubscriptionStream};
pub use subscription_options::SubscriptionOptions;
pub use ticket::Ticket;
pub use worker::Worker;
pub use worker_options::WorkerOptions;
