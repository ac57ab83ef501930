//! `towpath demo`: the main job on real input, through real SIGKILLs.
//!
//! Two processes. The *feeder* ([`feeder`]) opens the database, appends the input line by line into a stream keyed by
//! the first field, and follows it with one reader per partition. It reports each acknowledgement and each batch that
//! a reader saw over a pipe ([`report`]). The *parent* ([`parent`]) keeps the books of these reports ([`books`]), kills
//! the feeder at random moments and starts it again. It never opens the database meanwhile. At the end it does, and
//! compares what is there with the input, with what was acknowledged and with what readers saw ([`audit`]).
//!
//! A restarted feeder is told nothing: the stream itself says how many lines of each partition it holds, and
//! `expect_offset` refuses an append that would be a second copy.

mod audit;
mod books;
mod chance;
mod directory;
mod feeder;
mod input;
mod parent;
mod report;
mod table;

use std::hash::{DefaultHasher, Hasher};
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Args;

pub(crate) use self::feeder::Feeder;
use self::input::Input;
use crate::exit::Failure;
use crate::stream::LevelName;

const STREAM: &str = "orders";
const PARTITIONS: u32 = 4;

#[derive(Args)]
pub(crate) struct Demo {
    #[command(flatten)]
    source: Source,
    /// How often the feeding process is killed
    #[arg(long, value_name = "K", default_value_t = 3)]
    kills: u32,
    /// What holds when an append has returned
    #[arg(long, value_enum, default_value = "sync")]
    level: LevelName,
}

/// What is fed.
#[derive(Args, Clone)]
pub(crate) struct Source {
    /// Feed the lines of this file, keyed by their first field, instead of generated orders
    #[arg(long, value_name = "FILE", conflicts_with = "records")]
    input: Option<PathBuf>,
    /// Feed this many generated orders
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    records: u64,
}

impl Source {
    fn open(&self) -> Result<Input, Failure> {
        match &self.input {
            Some(file) => Input::file(file),
            None => Ok(Input::orders(self.records)),
        }
    }
}

impl Demo {
    /// Works in `data` if it was named, otherwise in a temporary directory.
    pub(crate) fn run(self, data: Option<PathBuf>) -> Result<(), Failure> {
        parent::run(&self, data)
    }
}

/// Stands for a line or a key in reports and books: equal lines have equal digests, in every process of this program.
type Digest = NonZeroU64;

fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN)
}

/// The first field of a line: what comes before the first space.
fn key_of(line: &[u8]) -> &[u8] {
    line.split(|&byte| byte == b' ').next().unwrap_or_default()
}
