//! Members of consumer groups in several processes, of which some are killed.

use std::collections::BTreeSet;
use std::path::Path;

use towpath::{
    AppendOptions, Database, Error, Group, GroupOptions, Member, MemberOptions, OpenMode, Options, Record, Stream,
    StreamOptions,
};

use crate::child::{self, ChildProcess, asked, tell};
use crate::forking::in_a_fork;
use crate::place::{PATIENCE, Place, eventually};

/// A child that is a member, and reads and commits when it is told to.
pub const WORKER: &str = "worker";

const PARTITIONS: u32 = 4;

/// In the child.
pub fn work_until_told(data: &Path) {
    let db = child::open(data);
    let mut member = group_of(&db).join(MemberOptions::new()).unwrap();
    tell("open");
    while let Some(line) = asked() {
        match line.as_str() {
            "read" => {
                let read = read(&mut member).into_iter().collect::<Vec<String>>().join(",");
                tell(&format!("{} {read}", member.partitions().count()));
            }
            "commit" => tell(&format!("{:?}", member.commit())),
            other => panic!("nobody taught it to {other}"),
        }
    }
}

struct Worker(ChildProcess);

impl Worker {
    fn start(place: &Place) -> Worker {
        let mut worker = Worker(ChildProcess::start(WORKER, &place.data()));
        assert_eq!(worker.0.next().as_deref(), Some("open"));
        worker
    }

    /// How many partitions it has, and what it reads of them now.
    fn read(&mut self) -> (usize, BTreeSet<String>) {
        self.0.ask("read");
        let told = self.0.next().expect("it goes on");
        let (partitions, read) = told.split_once(' ').unwrap();
        let read = read.split(',').filter(|text| !text.is_empty()).map(str::to_owned).collect();
        (partitions.parse().unwrap(), read)
    }

    fn commit(&mut self) {
        self.0.ask("commit");
        assert_eq!(self.0.next().as_deref(), Some("Ok(())"));
    }
}

fn group_of(db: &Database) -> Group {
    let orders = db.create_stream("orders", StreamOptions::new().partitions(PARTITIONS)).unwrap();
    orders.group("web", GroupOptions::new()).unwrap()
}

fn append_to_each(orders: &Stream, body: &str) -> BTreeSet<String> {
    let append = |partition| {
        let body = format!("{body}-{partition}");
        orders.append_with(Record::new(body.as_bytes()), &AppendOptions::new().partition(partition)).unwrap();
        body
    };
    (0..PARTITIONS).map(append).collect()
}

/// Polls until there is nothing more, and tells what was read.
fn read(member: &mut Member) -> BTreeSet<String> {
    let mut read = BTreeSet::new();
    while let Some(polled) = member.try_poll(100).unwrap() {
        read.extend(polled.iter().map(|record| String::from_utf8_lossy(record.body()).into_owned()));
    }
    read
}

/// Both have their half, and what each of them has read meanwhile.
fn share(member: &mut Member, worker: &mut Worker) -> [BTreeSet<String>; 2] {
    let [mut ours, mut theirs] = [BTreeSet::new(), BTreeSet::new()];
    eventually("each has its half", || {
        let (partitions, read_by_worker) = worker.read();
        ours.extend(read(member));
        theirs.extend(read_by_worker);
        partitions == 2 && member.partitions().count() == 2
    });
    [ours, theirs]
}

#[test]
fn what_a_killed_process_has_goes_to_the_others_at_once_and_what_it_committed_is_not_read_again() {
    let place = Place::new();
    let db = place.open();
    let web = group_of(&db);
    let mut member = web.join(MemberOptions::new()).unwrap();
    let mut worker = Worker::start(&place);
    share(&mut member, &mut worker);
    append_to_each(web.stream(), "one");
    assert_eq!((read(&mut member).len(), worker.read().1.len()), (2, 2));
    member.commit().unwrap();
    worker.commit();
    append_to_each(web.stream(), "two");
    assert_eq!(read(&mut member).len(), 2);
    let in_work = worker.read().1;
    worker.0.kill();
    let polled = member.poll_timeout(100, PATIENCE).unwrap().expect("it is told without polling again");
    assert_eq!(polled.assigned.len(), 2);
    assert_eq!(read(&mut member), in_work);
}

#[test]
fn members_go_on_with_what_they_have_when_the_host_is_killed() {
    let place = Place::new();
    let mut host = ChildProcess::host(&place.data());
    let db = Options::temporary().mode(OpenMode::Auto).open(place.data()).unwrap();
    let web = group_of(&db);
    let mut member = web.join(MemberOptions::new()).unwrap();
    let mut worker = Worker::start(&place);
    share(&mut member, &mut worker);
    append_to_each(web.stream(), "one");
    let before: Vec<u32> = member.partitions().collect();
    assert_eq!((read(&mut member).len(), worker.read().1.len()), (2, 2));
    member.commit().unwrap();
    host.kill();
    append_to_each(web.stream(), "two");
    let ours = read(&mut member);
    let (partitions, theirs) = worker.read();
    assert_eq!((ours.len(), partitions, theirs.len()), (2, 2, 2));
    assert!(ours.iter().chain(&theirs).all(|text| text.starts_with("two")), "nobody begins anew: {ours:?} {theirs:?}");
    assert_eq!(member.partitions().collect::<Vec<u32>>(), before);
    member.commit().unwrap();
    worker.commit();
    assert_eq!(web.describe().unwrap().lag(), 0);
}

#[test]
fn the_members_of_a_killed_host_are_over() {
    let place = Place::new();
    drop(group_of(&place.open()));
    let mut worker = Worker::start(&place);
    let db = Options::temporary().mode(OpenMode::Auto).open(place.data()).unwrap();
    assert!(!db.is_host());
    let web = group_of(&db);
    let mut member = web.join(MemberOptions::new()).unwrap();
    let all = append_to_each(web.stream(), "one");
    let [ours, _] = share(&mut member, &mut worker);
    worker.0.kill();
    let polled = member.poll_timeout(100, PATIENCE).unwrap().expect("it hears of it from the next host");
    assert_eq!((polled.assigned.len(), db.is_host()), (2, true));
    let again = read(&mut member);
    assert!(all.difference(&ours).all(|text| again.contains(text)), "what was not committed is read again");
    assert_eq!(web.describe().unwrap().members.len(), 1);
}

#[test]
fn a_forked_childs_copy_of_a_member_is_not_the_member() {
    let place = Place::new();
    let db = place.open();
    let web = group_of(&db);
    let mut member = Some(web.join(MemberOptions::new()).unwrap());
    let copy = &mut member;
    in_a_fork(move || {
        let mut member = copy.take().expect("it has joined");
        let (polled, committed) = (member.try_poll(1).map(drop), member.commit());
        drop(member);
        vec![matches!(polled, Err(Error::Forked)), matches!(committed, Err(Error::Forked))]
    });
    let member = member.as_mut().expect("the child has taken its own");
    assert_eq!(member.poll(1).unwrap().assigned.len(), PARTITIONS as usize);
}
