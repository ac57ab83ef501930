//! `towpath demo`: the main job on real input, by several processes, through real SIGKILLs.
//!
//! Seven processes ([`worker`]) open the same directory: one that only hosts it, two that feed, one that reads, three
//! that consume. The first one hosts, the others are attached to it. The feeders ([`feeder`]) append the input line by
//! line into a stream keyed by the first field, half of the partitions each; the reader ([`reader`]) follows all
//! partitions. The consumers ([`consumer`]) are members of a group and share the partitions; one of them joins on the
//! way, and one leaves. All report over pipes ([`report`]): each acknowledgement, each batch that was read, each record
//! that was consumed, and that they have become the host.
//!
//! The *parent* ([`parent`], [`crew`]) keeps the books of these reports ([`books`], [`consumed`]). At random moments it
//! kills whoever hosts, and now and then one that is attached, a member of the group first ([`kills`]), and starts it
//! again. Another process takes over and the
//! rest go on; the feeders are not told. The parent never opens the database meanwhile. At the end it does, and
//! compares what is there with the input, with what was acknowledged and with what was read ([`audit`]).
//!
//! Then orders go through queues, from one process that publishes to three that work on them ([`dispatch`]).
//!
//! A feeder appends as a producer: each line has its number among those of its partition. One that starts again fences
//! its earlier life, learns which batch came in last, and sends that once more; a line that is there is not stored
//! again.

mod audit;
mod books;
mod chance;
mod consumed;
mod consumer;
mod crew;
mod directory;
mod dispatch;
mod feeder;
mod input;
mod kills;
mod parent;
mod reader;
mod report;
mod table;
mod worker;

use std::hash::{DefaultHasher, Hasher};
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(crate) use self::dispatch::Packer;
use self::input::Input;
pub(crate) use self::worker::Worker;
use crate::exit::Failure;
use crate::stream::LevelName;

const STREAM: &str = "orders";
const PARTITIONS: u32 = 4;

#[derive(Args)]
pub(crate) struct Demo {
    #[command(flatten)]
    source: Source,
    /// How often a process is killed: twice the one that hosts the database, then one that is attached, and so on
    #[arg(long, value_name = "K", default_value_t = 6)]
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

/// What a process of the demonstration does.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Role {
    Host,
    Feeder1,
    Feeder2,
    Reader,
    Member1,
    Member2,
    Member3,
}

impl Role {
    const ALL: [Role; 7] =
        [Role::Host, Role::Feeder1, Role::Feeder2, Role::Reader, Role::Member1, Role::Member2, Role::Member3];

    fn name(self) -> &'static str {
        match self {
            Role::Host => "dedicated host",
            Role::Feeder1 => "feeder 1",
            Role::Feeder2 => "feeder 2",
            Role::Reader => "reader",
            Role::Member1 => "member 1",
            Role::Member2 => "member 2",
            Role::Member3 => "member 3",
        }
    }

    /// As it is written on a command line.
    fn argument(self) -> &'static str {
        match self {
            Role::Host => "host",
            Role::Feeder1 => "feeder1",
            Role::Feeder2 => "feeder2",
            Role::Reader => "reader",
            Role::Member1 => "member1",
            Role::Member2 => "member2",
            Role::Member3 => "member3",
        }
    }

    /// The partitions that it feeds.
    fn feeds(self) -> Range<u32> {
        match self {
            Role::Feeder1 => 0..PARTITIONS / 2,
            Role::Feeder2 => PARTITIONS / 2..PARTITIONS,
            _ => 0..0,
        }
    }

    /// Between which numbers of committed records it is a member of the group.
    fn consumes(self, lines: u64) -> Range<u64> {
        match self {
            Role::Member1 => 0..lines * 2 / 3,
            Role::Member2 => 0..lines,
            Role::Member3 => lines / 3..lines,
            _ => 0..0,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_fed_by_one_process() {
        let fed: Vec<u32> = Role::ALL.into_iter().flat_map(Role::feeds).collect();
        assert_eq!(fed, (0..PARTITIONS).collect::<Vec<_>>());
    }

    #[test]
    fn somebody_consumes_at_any_time() {
        for lines in [1, 2, 100] {
            for committed in 0..lines {
                let consumers = Role::ALL.into_iter().filter(|role| role.consumes(lines).contains(&committed));
                assert!((1..=3).contains(&consumers.count()));
            }
        }
    }

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(Role::from_str(role.argument(), false), Ok(role));
        }
    }
}
