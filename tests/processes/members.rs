//! Processes that open the database and then do what they are told, a line at a time.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use towpath::{AppendOptions, Appended, Database, Error, OpenMode, Record, Start, Stream, StreamOptions, Ticket};

use crate::child::{self, ChildProcess, asked, tell};
use crate::forking::{ignore_file_size_signal, in_a_fork, linger};
use crate::{groups, partitions};

pub const MEMBER: &str = "member";
const ALONE: &str = "alone";

/// A child that does what it is told.
pub struct Member(pub ChildProcess);

impl Member {
    pub fn start(data: &Path) -> Member {
        Member::start_with_grace(data, Duration::from_secs(10))
    }

    pub fn start_with_grace(data: &Path, grace: Duration) -> Member {
        let mut member = Member(ChildProcess::start_with_grace(MEMBER, data, grace));
        assert_eq!(member.0.next().as_deref(), Some("open"));
        member
    }

    /// One that holds the database alone.
    pub fn start_alone(data: &Path) -> Member {
        let mut member = Member(ChildProcess::start(ALONE, data));
        assert_eq!(member.0.next().as_deref(), Some("open"));
        member
    }

    /// Has it do something, and gives what it tells then.
    pub fn told(&mut self, what: &str) -> String {
        self.0.ask(what);
        self.0.next().unwrap_or_else(|| panic!("it ended when told to {what}"))
    }

    pub fn is_host(&mut self) -> bool {
        self.told("is_host") == "true"
    }

    pub fn append(&mut self, body: &str) -> u64 {
        self.told(&format!("append {body}")).parse().unwrap()
    }
}

pub fn play(role: &str, data: PathBuf) {
    if role == partitions::WRITER {
        return partitions::write_until_told(&data);
    }
    if role == groups::WORKER {
        return groups::work_until_told(&data);
    }
    assert!([MEMBER, ALONE].contains(&role), "{role}");
    let mode = if role == ALONE { OpenMode::Exclusive } else { OpenMode::Auto };
    let opened = child::options().mode(mode).open(&data);
    let db = match opened {
        Ok(db) => db,
        Err(error) => return tell(&format!("{error:?}")),
    };
    tell("open");
    let mut held = Held { data, ..Held::default() };
    while let Some(line) = asked() {
        let (what, body) = line.split_once(' ').unwrap_or((&line, ""));
        if what == "close" {
            break;
        }
        tell(&obey(&db, (what, body), &mut held));
    }
    db.close().unwrap();
    tell("closed");
}

/// What a member has in hand between two lines.
#[derive(Default)]
struct Held {
    data: PathBuf,
    orders: OnceCell<Stream>,
    ticket: Option<Ticket<Appended>>,
    /// The same database, opened a second time.
    another: Option<Database>,
}

fn obey(db: &Database, (what, body): (&str, &str), held: &mut Held) -> String {
    let Held { data, orders, ticket, another } = held;
    match what {
        "is_host" => db.is_host().to_string(),
        "append" => outcome(open_once(db, orders).and_then(|orders| orders.append(body))),
        "submit" => {
            let record = Record::new(body.as_bytes());
            *ticket = Some(open_once(db, orders).unwrap().submit(record, &AppendOptions::new()).unwrap());
            "submitted".to_owned()
        }
        "wait" => outcome(ticket.take().expect("something was submitted").wait()),
        "read" => {
            let reader = open_once(db, orders).and_then(|orders| orders.reader(0, Start::Earliest));
            match reader.and_then(|mut reader| reader.try_receive(1)) {
                Ok(records) => format!("{} or more", records.map_or(0, |records| records.len())),
                Err(error) => format!("{error:?}"),
            }
        }
        "close_early" => format!("{:?}", db.clone().close()),
        "fail_writes" => {
            let_writes_fail(true);
            "they fail".to_owned()
        }
        "allow_writes" => {
            let_writes_fail(false);
            "they succeed".to_owned()
        }
        "open_another" => {
            let opened = another.insert(child::options().open(data).unwrap());
            if opened.is_host() { "host" } else { "attached" }.to_owned()
        }
        "append_to_another" => {
            let another = another.as_ref().expect("it was opened");
            outcome(another.stream("orders").unwrap().append(body))
        }
        "open_files" => {
            let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
            setrlimit(Resource::Nofile, Rlimit { current: Some(body.parse().unwrap()), maximum }).unwrap();
            body.to_owned()
        }
        "append_in_a_fork" => {
            let orders = open_once(db, orders).unwrap();
            in_a_fork(|| {
                let_writes_fail(false);
                vec![orders.append(body).is_ok()]
            });
            "appended".to_owned()
        }
        "fork" => linger().to_string(),
        "spawn" => Command::new("sleep").arg("20").spawn().unwrap().id().to_string(),
        other => panic!("nobody taught it to {other}"),
    }
}

fn open_once<'a>(db: &Database, orders: &'a OnceCell<Stream>) -> Result<&'a Stream, Error> {
    if orders.get().is_none() {
        let opened = db.ensure_stream("orders", StreamOptions::new())?;
        return Ok(orders.get_or_init(|| opened));
    }
    Ok(orders.get().expect("as above"))
}

fn outcome(appended: Result<Appended, Error>) -> String {
    appended.map_or_else(|error| format!("{error:?}"), |appended| appended.offset.to_string())
}

/// A process that may write no file gets an error for each write, and nothing is written.
fn let_writes_fail(fail: bool) {
    ignore_file_size_signal();
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: if fail { Some(0) } else { maximum }, maximum }).unwrap();
}
