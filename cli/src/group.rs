//! `towpath group …`: consumer groups; the stream of a group is named before it.

use clap::{Args, Subcommand};
use serde::Serialize;
use towpath::{Database, Error, Group, GroupDescription, GroupPartition, MemberDescription};

use crate::exit::Failure;
use crate::output::{Output, counted, grouped, say, say_json, table};
use crate::place::Place;
use crate::units::StartName;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// List the groups of a stream, or of all
    List {
        /// The stream; all if none is named
        stream: Option<String>,
        /// Print one JSON object per group and line
        #[arg(long)]
        json: bool,
    },
    /// Show the members of a group, who owns which partition, and how far it is behind
    Describe {
        #[command(flatten)]
        of: Named,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Have a group go on from another place in every partition
    ///
    /// Takes effect although members are there: they read on from the new place, and what they commit of before is
    /// refused.
    Reset {
        #[command(flatten)]
        of: Named,
        /// Where to go on: earliest, latest, an offset, or a time (2026-03-01T12:00:00Z, @1772366400, -5m)
        #[arg(long, value_name = "TO", allow_hyphen_values = true)]
        to: StartName,
    },
    /// Delete a group that has no living member, with the offsets that it has committed
    Delete {
        #[command(flatten)]
        of: Named,
    },
}

/// Which group of which stream.
#[derive(Args)]
pub(crate) struct Named {
    /// The stream
    stream: String,
    /// The group
    group: String,
}

impl Verb {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        match self {
            Verb::List { stream, json } => list(place, stream.as_deref(), json),
            Verb::Describe { of, json } => describe(place, &of, json),
            Verb::Reset { of, to } => {
                of.with(place, |group| Ok(group.reset(to.position())?))?;
                say(format!("{} goes on from there in every partition of {}.", of.group, of.stream))
            }
            Verb::Delete { of } => {
                of.with(place, |group| Ok(group.delete()?))?;
                say(format!("{} is deleted.", of.group))
            }
        }
    }
}

impl Named {
    fn with<T>(&self, place: &Place, act: impl FnOnce(&Group) -> Result<T, Failure>) -> Result<T, Failure> {
        let database = place.open_existing()?;
        let done = act(&database.stream(&self.stream)?.existing_group(&self.group)?)?;
        database.close()?;
        Ok(done)
    }
}

fn list(place: &Place, stream: Option<&str>, json: bool) -> Result<(), Failure> {
    let database = place.open_existing()?;
    let streams = match stream {
        Some(stream) => vec![stream.to_owned()],
        None => database.streams()?.into_iter().map(|stream| stream.name).collect(),
    };
    let mut groups = Vec::new();
    for name in &streams {
        match groups_of(&database, name) {
            // It was deleted since its name was read.
            Err(Error::NotFound { .. }) if stream.is_none() => {}
            described => groups.extend(described?.into_iter().map(|group| (name, group))),
        }
    }
    database.close()?;
    let mut output = Output::new();
    if json {
        for (stream, group) in &groups {
            output.json(&Printed::new(stream, group))?;
        }
    } else {
        let mut table = table(&["stream", "group", "members", "partitions", "lag"], &[2, 3, 4]);
        for (stream, group) in &groups {
            let numbers = [group.members.len() as u64, group.partitions.len() as u64, group.lag()].map(grouped);
            table.add_row([(*stream).clone(), group.name.clone()].into_iter().chain(numbers));
        }
        output.line(table.to_string())?;
    }
    output.flush()
}

fn groups_of(database: &Database, stream: &str) -> Result<Vec<GroupDescription>, Error> {
    let stream = database.stream(stream)?;
    let mut groups = Vec::new();
    for name in stream.group_names()? {
        match stream.existing_group(&name).and_then(|group| group.describe()) {
            // It was deleted since its name was read.
            Err(Error::NotFound { .. }) => {}
            described => groups.push(described?),
        }
    }
    Ok(groups)
}

fn describe(place: &Place, of: &Named, json: bool) -> Result<(), Failure> {
    let group = of.with(place, |group| Ok(group.describe()?))?;
    if json {
        return say_json(&Printed::new(&of.stream, &group));
    }
    let mut output = Output::new();
    let members = counted(group.members.len() as u64, "member");
    let behind = counted(group.lag(), "record");
    output.line(format!("{}: {members}; generation {}; {behind} behind", group.name, grouped(group.generation)))?;
    let mut table = table(&["partition", "owner", "epoch", "committed", "end", "lag"], &[0, 2, 3, 4, 5]);
    for at in &group.partitions {
        let committed = at.committed.map_or_else(|| "never".to_owned(), grouped);
        table.add_row([
            grouped(u64::from(at.partition)),
            owner(&group, at),
            grouped(at.epoch),
            committed,
            grouped(at.end_offset),
            grouped(at.lag),
        ]);
    }
    output.line(table.to_string())?;
    output.flush()
}

/// Who owns a partition, as in `carol (process 4711)`, and to whom it goes.
fn owner(group: &GroupDescription, at: &GroupPartition) -> String {
    let name = |seat: u32| {
        let member = group.members.iter().find(|member| member.seat == seat);
        member.map_or_else(|| format!("member {seat}"), described)
    };
    match (at.owner, at.next_owner) {
        (None, _) => "nobody".to_owned(),
        (Some(owner), None) => name(owner),
        (Some(owner), Some(next)) => format!("{}, then {}", name(owner), name(next)),
    }
}

fn described(member: &MemberDescription) -> String {
    let name = member.member_id.clone().unwrap_or_else(|| format!("member {}", member.seat));
    match member.pid {
        Some(pid) => format!("{name} (process {pid})"),
        None => format!("{name} (away)"),
    }
}

#[derive(Serialize)]
struct Printed<'a> {
    stream: &'a str,
    name: &'a str,
    generation: u64,
    lag: u64,
    members: Vec<PrintedMember<'a>>,
    partitions: Vec<PrintedPartition>,
}

impl<'a> Printed<'a> {
    fn new(stream: &'a str, group: &'a GroupDescription) -> Printed<'a> {
        Printed {
            stream,
            name: &group.name,
            generation: group.generation,
            lag: group.lag(),
            members: group.members.iter().map(PrintedMember::new).collect(),
            partitions: group.partitions.iter().map(PrintedPartition::new).collect(),
        }
    }
}

#[derive(Serialize)]
struct PrintedMember<'a> {
    seat: u32,
    member_id: Option<&'a str>,
    pid: Option<u32>,
    is_alive: bool,
}

impl<'a> PrintedMember<'a> {
    fn new(member: &'a MemberDescription) -> PrintedMember<'a> {
        let MemberDescription { seat, pid, is_alive, .. } = *member;
        PrintedMember { seat, member_id: member.member_id.as_deref(), pid, is_alive }
    }
}

/// Owners are seats of members; what is null was never committed, or is nobody's.
#[derive(Serialize)]
struct PrintedPartition {
    partition: u32,
    owner: Option<u32>,
    next_owner: Option<u32>,
    epoch: u64,
    committed: Option<u64>,
    end_offset: u64,
    lag: u64,
}

impl PrintedPartition {
    fn new(at: &GroupPartition) -> PrintedPartition {
        let GroupPartition { partition, owner, next_owner, epoch, committed, end_offset, lag, .. } = *at;
        PrintedPartition { partition, owner, next_owner, epoch, committed, end_offset, lag }
    }
}
