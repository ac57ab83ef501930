//! Handles, options, errors: what users see.

mod check;
mod database;
mod error;
mod options;
mod reader;
mod records;
mod stats;
mod sticky;
mod stream;
mod ticket;

pub use check::CheckReport;
pub use database::Database;
pub use error::Error;
pub use options::Options;
pub use reader::{From, Reader};
pub use records::{RecordIterator, RecordView, Records};
pub use stats::Stats;
pub use stream::{
    AppendOptions, Appended, AppendedBatch, AppendedRange, PartitionDescription, Receipt, Stream, StreamDescription,
    StreamOptions,
};
pub use ticket::Ticket;
