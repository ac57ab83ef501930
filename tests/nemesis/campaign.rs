//! The nemesis: what it does to eight processes until it has killed enough hosts, and what must be true afterwards.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use towpath::{Database, Error, GroupOptions, GroupPartition, MemberOptions, OpenMode, Options};

use crate::STREAMS;
use crate::book::{History, Step, now};
use crate::checker::{self, Compared, Terms};
use crate::consumers::GROUP;
use crate::content;
use crate::disturbances::{Disturbance, Whom, closings};
use crate::forked;
use crate::ground::Ground;
use crate::groups::{self, Consumed, Left};
use crate::member::Order;
use crate::place::Chance;
use crate::rogue;

const MEMBERS: usize = 8;

/// The longest time that a write may take, or the directory be without a host, or a process need to end.
pub const PATIENCE: Duration = Duration::from_secs(10);

const ACT_MILLIS_MAX: u64 = 220;
const STOP_MILLIS_MAX: u64 = 300;
const LONG_STOP_MILLIS_MAX: u64 = 1500;
const LONG_STOP_ONE_IN: u64 = 3;
const FULL_MILLIS_MAX: u64 = 500;
const ABSENCE_MILLIS_MAX: u64 = 200;

/// How long sessions outlive their host: longer than anything that is done here, or shorter than some stops.
const GRACE_MILLIS_LONG: u64 = 60_000;
const GRACE_MILLIS_SHORT: u64 = 400;

/// After some kills of hosts nothing is done for a while, so that it can be seen how long taking over takes.
const MEASURED_ONE_IN: u64 = 8;
const MEASURED: Duration = Duration::from_secs(1);

/// Set for a member: where the database is, where its book is, its number, and the grace for sessions in milliseconds.
pub const DATA: &str = "TOWPATH_NEMESIS_DATA";
pub const BOOKS: &str = "TOWPATH_NEMESIS_BOOKS";
pub const NUMBER: &str = "TOWPATH_NEMESIS_NUMBER";
pub const GRACE: &str = "TOWPATH_NEMESIS_GRACE_MILLIS";

struct Member {
    number: u64,
    child: Child,
}

impl Member {
    fn start(ground: &Ground, number: u64, grace_millis: u64) -> Member {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["a_member_lives_until_it_is_killed_or_told_to_end", "--exact", "--nocapture"]);
        command.env(DATA, ground.data()).env(BOOKS, ground.books()).env(NUMBER, number.to_string());
        command.env(GRACE, grace_millis.to_string());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a process");
        Member { number, child }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn order(&mut self, order: Order) {
        let stdin = self.child.stdin.as_mut().expect("it was given an input");
        // One that has ended by itself is found later.
        let _ = stdin.write_all(order.text().as_bytes());
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came of a campaign.
#[derive(Default)]
pub struct Outcome {
    pub kills: u64,
    pub compared: Compared,
    pub consumed: Consumed,
    /// Microseconds from the death of a host to the first write that another process had acknowledged, where nothing
    /// else was done to anybody meanwhile.
    pub failovers: Vec<u64>,
}

/// Eight processes, and what is being done to them.
struct Campaign<'a> {
    ground: &'a Ground,
    chance: Chance,
    members: Vec<Member>,
    next_number: u64,
    /// When killed members come back.
    returns: Vec<Instant>,
    stopped: Vec<Stopped>,
    killed: HashSet<u32>,
    /// When hosts were killed, and whether nothing else was done to anybody for a while.
    kills: Vec<(u64, bool)>,
    grace_millis: u64,
    /// Who was last seen to host, and when.
    seen: Option<(u32, u64)>,
    disturbances: Vec<Disturbance>,
    /// When the disk was full.
    full: Vec<Disturbance>,
}

/// A process that stands still.
struct Stopped {
    pid: u32,
    since: u64,
    until: Instant,
    /// It was seen to be the host meanwhile.
    hosts: bool,
}

/// Kills `kills` hosts, at most until `end`, and compares.
pub fn run(ground: &Ground, seed: u64, kills: u64, end: Instant) -> Result<Outcome, String> {
    let mut campaign = Campaign {
        ground,
        chance: Chance::new(seed),
        members: Vec::new(),
        next_number: 1,
        returns: Vec::new(),
        stopped: Vec::new(),
        killed: HashSet::new(),
        kills: Vec::new(),
        grace_millis: if matches!(seed % 4, 1 | 2) { GRACE_MILLIS_SHORT } else { GRACE_MILLIS_LONG },
        seen: None,
        disturbances: Vec::new(),
        full: Vec::new(),
    };
    for _ in 0..MEMBERS {
        campaign.start_member();
    }
    while (campaign.kills.len() as u64) < kills && Instant::now() < end {
        campaign.act()?;
    }
    campaign.end()?;
    campaign.compare()
}

impl Campaign<'_> {
    fn start_member(&mut self) {
        self.members.push(Member::start(self.ground, self.next_number, self.grace_millis));
        self.next_number += 1;
    }

    fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.chance.below(below))
    }

    /// One thing at random, and what became due meanwhile.
    fn act(&mut self) -> Result<(), String> {
        let pause = self.millis(ACT_MILLIS_MAX);
        self.watch(pause)?;
        match self.chance.below(20) {
            0..10 => self.kill_host()?,
            10 | 11 => self.kill_member(),
            12 | 13 => self.stop_somebody(),
            14..17 => self.fork_somebody()?,
            17 => self.reopen_somebody(),
            18 => self.fill_disk()?,
            _ => rogue::ask(&self.ground.data())?,
        }
        Ok(())
    }

    /// Lets time pass in which nothing is done.
    fn watch(&mut self, pause: Duration) -> Result<(), String> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.attend(false)?;
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Lets stopped processes go on and brings killed ones back when it is time, or `at_once`.
    fn attend(&mut self, at_once: bool) -> Result<(), String> {
        self.look_who_hosts();
        let now = Instant::now();
        let due: Vec<Stopped> = self.stopped.extract_if(.., |stopped| at_once || stopped.until <= now).collect();
        due.iter().for_each(|stopped| self.let_go_on(stopped));
        let due = self.returns.extract_if(.., |at| *at <= now).count();
        (0..due).for_each(|_| self.start_member());
        for member in &mut self.members {
            if let Some(status) = member.child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("process {} ended by itself: {status}{}", member.pid(), self.unexpected()));
            }
        }
        Ok(())
    }

    /// Between two hosts everybody is disturbed.
    fn look_who_hosts(&mut self) {
        let Some(host) = self.host() else { return };
        let now = now();
        let between =
            self.seen.filter(|(last, _)| *last != host).map(|(_, at)| Disturbance::settling(at, now, Whom::All));
        self.disturbances.extend(between);
        self.seen = Some((host, now));
        self.stopped.iter_mut().filter(|stopped| stopped.pid == host).for_each(|stopped| stopped.hosts = true);
    }

    fn let_go_on(&mut self, stopped: &Stopped) {
        let _ = kill_process(of_number(stopped.pid), Signal::CONT);
        let member = self.members.iter().find(|member| member.pid() == stopped.pid);
        let number = member.map_or(forked::number_of(stopped.pid), |member| member.number);
        let whom = if stopped.hosts { Whom::All } else { Whom::Process(number) };
        self.disturbances.push(Disturbance::settling(stopped.since, now(), whom));
    }

    /// What the processes told that nobody expects.
    fn unexpected(&self) -> String {
        let histories = History::read_all(&self.ground.books());
        let lines = histories.iter().flat_map(|history| &history.lines);
        let texts = lines.filter_map(|line| match &line.step {
            Step::Unexpected { text } => Some(format!("\n{text}")),
            _ => None,
        });
        texts.take(5).collect()
    }

    /// The process that holds the directory: a member, or a child that one of them forked.
    fn host(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.ground.data().join("LOCK")).ok()?;
        let pid: u32 = text.lines().next()?.parse().ok()?;
        let is_member = self.members.iter().any(|member| member.pid() == pid);
        (!self.killed.contains(&pid) && (is_member || self.is_living_child(pid))).then_some(pid)
    }

    fn is_living_child(&self, pid: u32) -> bool {
        let program = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        let book = self.ground.books().join(forked::number_of(pid).to_string());
        book.exists() && program("self").is_some() && program("self") == program(&pid.to_string())
    }

    fn await_host(&mut self) -> Result<u32, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            // Who is killed as soon as it hosts has been seen too.
            self.look_who_hosts();
            if let Some(pid) = self.host() {
                return Ok(pid);
            }
            if Instant::now() > until {
                return Err(format!("nobody has taken the directory within {} s", PATIENCE.as_secs()));
            }
            self.attend(false)?;
            sleep(Duration::from_millis(1));
        }
    }

    fn kill_host(&mut self) -> Result<(), String> {
        let pid = self.await_host()?;
        let is_measured = self.stopped.is_empty() && self.chance.below(MEASURED_ONE_IN) == 0;
        self.kills.push((now(), is_measured));
        self.kill(pid);
        self.await_host()?;
        if is_measured { self.watch(MEASURED) } else { Ok(()) }
    }

    fn kill(&mut self, pid: u32) {
        self.killed.insert(pid);
        match self.members.iter().position(|member| member.pid() == pid) {
            Some(at) => {
                drop(self.members.swap_remove(at));
                let absence = self.millis(ABSENCE_MILLIS_MAX);
                self.returns.push(Instant::now() + absence);
            }
            None => drop(kill_process(of_number(pid), Signal::KILL)),
        }
    }

    /// The host or anybody else, if there is one.
    fn somebody(&mut self) -> Option<u32> {
        let host = self.host().filter(|_| self.chance.below(2) == 0);
        let any = self.chance.below(MEMBERS as u64) as usize;
        host.or_else(|| self.members.get(any).map(Member::pid))
    }

    fn kill_member(&mut self) {
        let any = self.chance.below(MEMBERS as u64) as usize;
        if let Some(pid) = self.members.get(any).map(Member::pid) {
            self.kill(pid);
        }
    }

    fn stop_somebody(&mut self) {
        let Some(pid) = self.somebody() else { return };
        let is_long = self.chance.below(LONG_STOP_ONE_IN) == 0;
        let pause = self.millis(if is_long { LONG_STOP_MILLIS_MAX } else { STOP_MILLIS_MAX });
        let (since, until) = (now(), Instant::now() + pause);
        let _ = kill_process(of_number(pid), Signal::STOP);
        self.stopped.push(Stopped { pid, since, until, hosts: false });
    }

    fn order(&mut self, pid: u32, order: Order) {
        if let Some(member) = self.members.iter_mut().find(|member| member.pid() == pid) {
            member.order(order);
        }
    }

    /// Half of the parents die before their children.
    fn fork_somebody(&mut self) -> Result<(), String> {
        let Some(pid) = self.somebody() else { return Ok(()) };
        self.order(pid, Order::Fork);
        if self.chance.below(2) == 0 && self.host() == Some(pid) {
            let pause = self.millis(50);
            sleep(pause);
            self.kill_host()?;
        }
        Ok(())
    }

    fn reopen_somebody(&mut self) {
        if let Some(pid) = self.somebody() {
            self.order(pid, Order::Reopen);
        }
    }

    fn fill_disk(&mut self) -> Result<(), String> {
        if self.ground.can_be_filled() {
            let (pause, since) = (self.millis(FULL_MILLIS_MAX), now());
            self.ground.fill();
            self.watch(pause)?;
            self.ground.clear();
            self.full.push(Disturbance::settling(since, now(), Whom::All));
        }
        Ok(())
    }

    /// Has everybody end in order.
    fn end(&mut self) -> Result<(), String> {
        self.attend(true)?;
        for member in &mut self.members {
            member.order(Order::End);
        }
        let until = Instant::now() + PATIENCE;
        for member in &mut self.members {
            let pid = member.pid();
            while member.child.try_wait().map_err(|error| error.to_string())?.is_none() {
                if Instant::now() > until {
                    return Err(format!("process {pid} does not end within {} s", PATIENCE.as_secs()));
                }
                sleep(Duration::from_millis(2));
            }
        }
        self.await_children()
    }

    /// Waits for those that were forked: they end by themselves.
    fn await_children(&self) -> Result<(), String> {
        let books = self.ground.books();
        let has_left = |pid: u32| {
            let number = forked::number_of(pid);
            books.join(number.to_string()).exists() && History::read(&books, number).has_left()
        };
        let histories = History::read_all(&books);
        let lines = histories.iter().flat_map(|history| &history.lines);
        let forked = lines.filter_map(|line| if let Step::Forked { pid } = line.step { Some(pid) } else { None });
        let until = Instant::now() + PATIENCE;
        let mut hung = None;
        for pid in forked.filter(|pid| !self.killed.contains(pid)) {
            while !has_left(pid) && Instant::now() < until {
                sleep(Duration::from_millis(2));
            }
            if !has_left(pid) {
                let _ = kill_process(of_number(pid), Signal::KILL);
                hung = Some(pid);
            }
        }
        hung.map_or(Ok(()), |pid| Err(format!("process {pid}, which was forked, does not end{}", self.unexpected())))
    }

    /// Where sessions outlive everything that is done, the end of a host is noticed only by who may have been refused.
    fn disturbances(&self, histories: &[History]) -> Vec<Disturbance> {
        let is_short = self.grace_millis == GRACE_MILLIS_SHORT;
        let softened = |done: Disturbance| match is_short {
            true => done,
            false => Disturbance { whom: Whom::WhatMayBeRefused, ..done },
        };
        let of_hosts = self.disturbances.iter().copied().chain(closings(histories, |_| Whom::All));
        let own = closings(histories, Whom::Process);
        of_hosts.map(softened).chain(own).chain(self.full.iter().copied()).collect()
    }

    fn compare(&self) -> Result<Outcome, String> {
        let (content, left) = read_content(&self.ground.data())?;
        let histories = History::read_all(&self.ground.books());
        let disturbances = self.disturbances(&histories);
        let terms = Terms { patience: PATIENCE.as_micros() as u64, disturbances: &disturbances };
        let compared = checker::check(&histories, &content, terms)?;
        let consumed = groups::check(&histories, &content, &left)?;
        let checked = Database::check(self.ground.data()).map_err(|error| error.to_string())?;
        if !checked.problems.is_empty() {
            return Err(format!("{:?}", checked.problems));
        }
        let measured: Vec<u64> = self.kills.iter().filter(|(_, is_measured)| *is_measured).map(|(at, _)| *at).collect();
        let failovers = checker::failovers(&histories, &measured);
        Ok(Outcome { kills: self.kills.len() as u64, compared, consumed, failovers })
    }
}

impl Drop for Campaign<'_> {
    fn drop(&mut self) {
        for stopped in &self.stopped {
            let _ = kill_process(of_number(stopped.pid), Signal::CONT);
        }
    }
}

fn of_number(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("no process has the number 0")
}

/// What the streams hold, and what the group has left of the first.
fn read_content(data: &Path) -> Result<(content::Content, Vec<Left>), String> {
    let until = Instant::now() + PATIENCE;
    let db = loop {
        match Options::temporary().mode(OpenMode::Exclusive).open(data) {
            Ok(db) => break db,
            // A child that was killed, or has told that it leaves, may not be gone yet.
            Err(Error::Locked { .. }) if Instant::now() < until => sleep(Duration::from_millis(5)),
            Err(error) => return Err(format!("opening it in the end: {error}")),
        }
    };
    let content = content::read(&db)?;
    let left = read_left(&db, &content)?;
    db.close().map_err(|error| error.to_string())?;
    Ok((content, left))
}

/// Everybody else is gone, so that a member that comes last owns everything, and reads the rest.
fn read_left(db: &Database, content: &content::Content) -> Result<Vec<Left>, String> {
    let told = |error: Error| format!("the last member: {error}");
    let group = db.stream(STREAMS[0].0).map_err(told)?.group(GROUP, GroupOptions::new()).map_err(told)?;
    let mut member = group.join(MemberOptions::new()).map_err(told)?;
    let described = group.describe().map_err(told)?.partitions;
    let from = described.iter().map(|partition| partition.committed.unwrap_or(0));
    let mut read: Vec<(u64, u64)> = from.map(|from| (from, from)).collect();
    let end = |partition: u32| content.get(&(0, partition)).map_or(0, Vec::len) as u64;
    let until = Instant::now() + PATIENCE;
    while member.partitions().count() < read.len() || (0..).zip(&read).any(|(at, (_, next))| *next < end(at)) {
        if Instant::now() > until {
            let owned: Vec<u32> = member.partitions().collect();
            return Err(format!("the last member owns {owned:?} and has read {read:?} of {:?}", group.describe()));
        }
        let Some(polled) = member.poll_timeout(1000, Duration::from_millis(20)).map_err(told)? else { continue };
        for record in polled.iter() {
            let (_, next) = &mut read[record.partition() as usize];
            if record.offset() != *next {
                return Err(format!("the last member gets offset {} after {next}", record.offset()));
            }
            *next += 1;
        }
    }
    let left = |(partition, read): (&GroupPartition, &(u64, u64))| Left { committed: partition.committed, read: *read };
    Ok(described.iter().zip(&read).map(left).collect())
}
