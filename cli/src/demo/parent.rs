//! The parent: starts the processes, keeps the books, kills, starts again, and judges at the end.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::audit::audit;
use super::books::Books;
use super::chance::Chance;
use super::consumed::Life;
use super::crew::{Crew, News, failure};
use super::directory::Directory;
use super::dispatch;
use super::kills::Kill;
use super::report::{Report, now_micros};
use super::table::{Summary, print};
use super::{Demo, PARTITIONS, Role};
use crate::exit::Failure;
use crate::output::progress;
use crate::signals::{self, Signals};

/// A kill comes up to this much later than the report that it was drawn for.
const KILL_DELAY_MICROS_MAX: u64 = 2_000;

/// Of so many kills one is of an attached process.
const KILLS_PER_ATTACHED: usize = 3;

/// Feeds, kills, judges and prints. `Ok` only if the books are exact.
pub(super) fn run(demo: &Demo, data: Option<PathBuf>) -> Result<(), Failure> {
    let signals = signals::catch()?;
    let input = demo.source.open()?;
    let lines = input.count()?;
    let mut directory = match data {
        Some(path) => Directory::named(path)?,
        None => Directory::temporary()?,
    };
    let start = Instant::now();
    let mut feeding = Feeding::new(demo, directory.path(), lines, signals);
    let fed = feeding.run();
    let Feeding { books, kills, mut acknowledged_at, bar, crew, .. } = feeding;
    // Before the directory goes away.
    drop(crew);
    bar.finish_and_clear();
    fed?;
    let elapsed = start.elapsed();
    acknowledged_at.sort_unstable();
    let findings = audit(directory.path(), &input, books, signals)?;
    if !findings.are_exact() {
        directory.keep();
    }
    let dispatched = dispatch::run(directory.path(), signals)?;
    if !dispatched.is_exact() {
        directory.keep();
    }
    let kept_in = (!directory.is_temporary()).then(|| directory.path().to_owned());
    let summary = Summary { findings, kills, acknowledged_at, elapsed, level: demo.level, kept_in };
    print(&summary)?;
    dispatch::print(&dispatched)?;
    match summary.findings.are_exact() && dispatched.is_exact() {
        true => Ok(()),
        false => Err(Failure::failed("the books are not exact: the table names what differs")),
    }
}

struct Feeding<'a> {
    crew: Crew<'a>,
    signals: &'a Signals,
    books: Books,
    /// When each acknowledgement came.
    acknowledged_at: Vec<u64>,
    /// Acknowledged records after which the next kills come, the last one first.
    kill_points: Vec<u64>,
    kills: Vec<Kill>,
    chance: Chance,
    /// Who hosts the database, unless that was killed and nobody has taken over yet.
    host: Option<Role>,
    /// Who has the database open.
    open: Vec<Role>,
    /// Who is a member of the group.
    members: Vec<Role>,
    /// Who has done all its work.
    done: Vec<Role>,
    /// How many lives began, and the one that each role is in.
    lives_begun: Life,
    lives: [Life; Role::ALL.len()],
    /// Who was killed and has not been heard to the end. What such a process did counts, what it was does not.
    dying: Option<Role>,
    bar: ProgressBar,
}

impl<'a> Feeding<'a> {
    fn new(demo: &'a Demo, data: &Path, lines: u64, signals: &'a Signals) -> Feeding<'a> {
        let mut chance = Chance::unpredictable();
        let mut kill_points: Vec<u64> = (0..demo.kills).map(|_| chance.below(lines)).collect();
        kill_points.sort_unstable_by(|one, other| other.cmp(one));
        Feeding {
            crew: Crew::new(demo, data),
            signals,
            books: Books::new(PARTITIONS),
            acknowledged_at: Vec::new(),
            kill_points,
            kills: Vec::new(),
            chance,
            host: None,
            open: Vec::new(),
            members: Vec::new(),
            done: Vec::new(),
            lives_begun: 0,
            lives: [0; Role::ALL.len()],
            dying: None,
            bar: progress(lines, "acknowledged"),
        }
    }

    fn run(&mut self) -> Result<(), Failure> {
        self.start(Role::Host)?;
        while self.host.is_none() || self.open.is_empty() {
            self.listen()?;
        }
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Host) {
            self.start(role)?;
        }
        while !(self.kill_points.is_empty() && self.is_settled() && self.done.len() == Role::ALL.len()) {
            self.listen()?;
            if self.is_time_to_kill() {
                self.kill()?;
            }
        }
        self.close()
    }

    fn listen(&mut self) -> Result<(), Failure> {
        match self.crew.listen(self.signals)? {
            Some((role, News::Report(report))) => self.enter(role, &report),
            Some((role, News::Ended)) => return self.start_again(role),
            Some((role, News::Failed(error))) => return Err(failure(role, &error)),
            None => {}
        }
        Ok(())
    }

    fn enter(&mut self, role: Role, report: &Report) {
        match report {
            Report::Opened | Report::Done | Report::Hosting { .. } | Report::Joined | Report::Left
                if self.dying == Some(role) => {}
            Report::Opened => self.open.push(role),
            Report::Done => self.done.push(role),
            Report::Hosting { at_micros } => {
                self.host = Some(role);
                if let Some(kill) = self.kills.last_mut().filter(|kill| kill.was_host) {
                    kill.taken_over.get_or_insert((role, *at_micros));
                }
            }
            Report::Acknowledged { at_micros, span } => {
                self.books.acknowledged.enter(span);
                self.acknowledged_at.push(*at_micros);
                self.bar.set_position(self.books.acknowledged.entries());
            }
            Report::Seen(span) => self.books.seen.enter(span),
            Report::Consumed { at_micros, span } => {
                self.books.consumed.enter(self.lives[role as usize], *at_micros, span);
            }
            Report::Joined => self.members.push(role),
            Report::Left => self.members.retain(|member| *member != role),
        }
    }

    /// One that was killed has ended, and everything that it told is entered.
    fn start_again(&mut self, role: Role) -> Result<(), Failure> {
        // Ctrl-C at a terminal comes to all processes.
        self.signals.check()?;
        let was_killed = self.dying == Some(role);
        self.crew.bury(role, was_killed)?;
        if !was_killed {
            return Err(Failure::failed(format!("the {} ended before its time; this is a bug", role.name())));
        }
        self.dying = None;
        self.start(role)
    }

    fn start(&mut self, role: Role) -> Result<(), Failure> {
        self.lives_begun += 1;
        self.lives[role as usize] = self.lives_begun;
        self.crew.start(role)
    }

    /// Everybody has the database open, and writes go on since the last kill or are all done.
    fn is_settled(&self) -> bool {
        let feeders_are_done = [Role::Feeder1, Role::Feeder2].iter().all(|role| self.done.contains(role));
        let since_kill = self.kills.last().map_or(0, |kill| kill.taken_over.map_or(kill.at_micros, |(_, at)| at));
        let goes_on = feeders_are_done || self.acknowledged_at.last().is_some_and(|&at| at > since_kill);
        self.host.is_some() && self.open.len() == Role::ALL.len() && goes_on
    }

    /// Kills that are left when all lines are in come one after the other, while nothing is written.
    fn is_time_to_kill(&self) -> bool {
        let Some(&point) = self.kill_points.last() else { return false };
        let is_reached = self.books.acknowledged.entries() > point || self.done.len() == Role::ALL.len();
        is_reached && self.is_settled()
    }

    fn kill(&mut self) -> Result<(), Failure> {
        self.kill_points.pop();
        let Some(host) = self.host else { return Ok(()) };
        let was_host = self.kills.len() % KILLS_PER_ATTACHED != KILLS_PER_ATTACHED - 1;
        let attached = self.attached(host);
        let role = if was_host { host } else { attached[self.chance.below(attached.len() as u64) as usize] };
        thread::sleep(Duration::from_micros(self.chance.below(KILL_DELAY_MICROS_MAX)));
        let (at_micros, acknowledged) = (now_micros(), self.books.acknowledged.entries());
        self.crew.kill(role)?;
        self.dying = Some(role);
        let was_member = self.members.contains(&role);
        self.kills.push(Kill { role, was_host, was_member, acknowledged, at_micros, taken_over: None });
        self.books.consumed.was_killed(self.lives[role as usize]);
        self.host = self.host.filter(|_| !was_host);
        self.open.retain(|other| *other != role);
        self.members.retain(|other| *other != role);
        self.done.retain(|other| *other != role);
        Ok(())
    }

    /// Who may be killed where it is to be an attached process: the first time, and every other time after it, a member
    /// of the group, if there is one.
    fn attached(&self, host: Role) -> Vec<Role> {
        let attached = |roles: &[Role]| -> Vec<Role> { roles.iter().copied().filter(|role| *role != host).collect() };
        let members = attached(&self.members);
        match (self.kills.len() / KILLS_PER_ATTACHED).is_multiple_of(2) && !members.is_empty() {
            true => members,
            false => attached(&Role::ALL),
        }
    }

    /// The host closes first and hands over to another, until the last one closes.
    fn close(&mut self) -> Result<(), Failure> {
        while let Some(role) = self.host.take().or(self.open.first().copied()) {
            self.crew.allow_to_close(role)?;
            loop {
                match self.crew.listen(self.signals)? {
                    Some((ended, News::Ended)) if ended == role => break,
                    Some((ended, News::Ended)) => self.crew.bury(ended, false)?,
                    Some((role, News::Failed(error))) => return Err(failure(role, &error)),
                    Some((role, News::Report(Report::Hosting { .. }))) => self.host = Some(role),
                    Some((_, News::Report(_))) | None => {}
                }
            }
            self.signals.check()?;
            self.crew.bury(role, false)?;
            self.open.retain(|other| *other != role);
            // It may have become the host while it was told to close.
            self.host = self.host.filter(|host| *host != role);
        }
        Ok(())
    }
}
