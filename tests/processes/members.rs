//! Processes that open the database and then do what they are told, a line at a time.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use towpath::{AppendOptions, Appended, Database, Error, Record, Stream, StreamOptions, Ticket};

use crate::child::{self, ChildProcess, asked, tell};
use crate::forking::linger;

pub const MEMBER: &str = "member";

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
    assert_eq!(role, MEMBER);
    let opened = child::options().open(&data);
    let db = match opened {
        Ok(db) => db,
        Err(error) => return tell(&format!("{error:?}")),
    };
    tell("open");
    let mut held = Held::default();
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
    orders: OnceCell<Stream>,
    ticket: Option<Ticket<Appended>>,
}

fn obey(db: &Database, (what, body): (&str, &str), held: &mut Held) -> String {
    let open = || db.ensure_stream("orders", StreamOptions::new()).unwrap();
    let Held { orders, ticket } = held;
    match what {
        "is_host" => db.is_host().to_string(),
        "append" => outcome(orders.get_or_init(open).append(body)),
        "submit" => {
            let record = Record::new(body.as_bytes());
            *ticket = Some(orders.get_or_init(open).submit(record, &AppendOptions::new()).unwrap());
            "submitted".to_owned()
        }
        "wait" => outcome(ticket.take().expect("something was submitted").wait()),
        "fork" => linger().to_string(),
        "spawn" => Command::new("sleep").arg("20").spawn().unwrap().id().to_string(),
        other => panic!("nobody taught it to {other}"),
    }
}

fn outcome(appended: Result<Appended, Error>) -> String {
    appended.map_or_else(|error| format!("{error:?}"), |appended| appended.offset.to_string())
}
