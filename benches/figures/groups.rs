//! Consumer groups: consuming, committing, rebalancing, and what many of them take.

use std::path::Path;
use std::time::{Duration, Instant};

use towpath::{
    Database, Group, GroupOptions, Level, Member, MemberOptions, Options, Reader, Record, Start, Stream, StreamOptions,
};

use super::child::{Part, again};
use super::disk::median;
use super::heap;

pub(crate) const MAKE: &str = "make-groups";
pub(crate) const OPEN: &str = "open-groups";

const ROUNDS: usize = 7;
const BATCH: usize = 4_096;

fn open(directory: &Path) -> Database {
    Options::new().level(Level::Buffered).open(directory.join("data")).expect("opens")
}

/// A stream whose partitions have this many records of 100 bytes each.
fn filled(database: &Database, name: &str, partitions: u32, records: usize) -> Stream {
    let stream = database.create_stream(name, StreamOptions::new().partitions(partitions)).expect("creates");
    let batch = vec![Record::new(&[b'x'; 100]); records.min(1_000)];
    for partition in 0..partitions {
        let place = towpath::AppendOptions::new().partition(partition);
        for _ in 0..records / batch.len() {
            stream.append_batch(&batch, &place).expect("appends");
        }
    }
    stream
}

pub(crate) fn consume(directory: &Path) {
    const PARTITIONS: u32 = 64;
    const RECORDS: usize = 100_000;
    const MEMBERS: usize = 4;
    let database = open(directory);
    let stream = filled(&database, "orders", PARTITIONS, RECORDS);
    let group = stream.group("billing", GroupOptions::new()).expect("creates");
    let mut members: Vec<Member> = (0..MEMBERS).map(|_| group.join(MemberOptions::new()).expect("joins")).collect();
    settle(&mut members);
    let whole = PARTITIONS as usize * RECORDS;
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        group.reset(Start::Earliest).expect("resets");
        settle(&mut members);
        let bare = seconds_of(&mut readers(&stream, PARTITIONS, MEMBERS), read_all);
        let taken = seconds_of(&mut members, consume_all);
        assert_eq!(group.describe().expect("is there").lag(), 0, "everything was consumed");
        rates.push(whole as f64 / taken / 1e6);
        ratios.push(bare / taken);
    }
    println!(
        "  {:.2} million records/s by {MEMBERS} members of {PARTITIONS} partitions, each poll committed (target 5); \
         {:.2} of as many threads with readers",
        median(rates),
        median(ratios)
    );
    drop(members);
    commits(&group, &stream);
    database.close().expect("closes");
}

/// Has each in a thread of its own.
fn seconds_of<T: Send>(each: &mut [T], work: impl Fn(&mut T) + Sync) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for one in each {
            scope.spawn(|| work(one));
        }
    });
    started.elapsed().as_secs_f64()
}

fn consume_all(member: &mut Member) {
    while let Some(polled) = member.try_poll(BATCH).expect("polls") {
        let bytes: usize = polled.iter().map(|record| record.body().len()).sum();
        assert_eq!(bytes % 100, 0, "what was appended is there");
        member.commit().expect("commits");
    }
}

fn readers(stream: &Stream, partitions: u32, threads: usize) -> Vec<Vec<Reader>> {
    let reader = |partition| stream.reader(partition, Start::Earliest).expect("reads");
    let of = |thread| (thread..partitions).step_by(threads).map(reader).collect();
    (0..threads as u32).map(of).collect()
}

fn read_all(readers: &mut Vec<Reader>) {
    for reader in readers {
        while let Some(records) = reader.try_receive(BATCH).expect("reads") {
            let bytes: usize = records.into_iter().map(|record| record.body().len()).sum();
            assert_eq!(bytes % 100, 0, "what was appended is there");
        }
    }
}

/// Commits, one call each, beside appends of one record each.
fn commits(group: &Group, stream: &Stream) {
    const COMMITS: u64 = 300_000;
    let mut member = group.join(MemberOptions::new()).expect("joins");
    settle(std::slice::from_mut(&mut member));
    let partition = member.partitions().next().expect("it owns some");
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..COMMITS {
            stream.append(&[b'x'; 100]).expect("appends");
        }
        let appends = started.elapsed().as_secs_f64();
        let started = Instant::now();
        for count in 0..COMMITS {
            member.commit_offsets(&[(partition, count % 1_000)], Level::Buffered).expect("commits");
        }
        let taken = started.elapsed().as_secs_f64();
        rates.push(COMMITS as f64 / taken / 1e6);
        ratios.push(appends / taken);
    }
    println!(
        "  {:.2} million commits/s of one member at Buffered (target 1); {:.2} × as many as appends",
        median(rates),
        median(ratios)
    );
}

/// Polls until nobody is told of partitions any more.
fn settle(members: &mut [Member]) {
    let mut quiet = 0;
    while quiet < 2 {
        let is_told = |member: &mut Member| {
            let polled = member.try_poll(1).expect("polls");
            polled.is_some_and(|polled| !(polled.assigned.is_empty() && polled.revoked.is_empty()))
        };
        let told: Vec<bool> = members.iter_mut().map(is_told).collect();
        quiet = if told.contains(&true) { 0 } else { quiet + 1 };
    }
}

pub(crate) fn rebalance(directory: &Path) {
    const PARTITIONS: u32 = 1_000;
    const MEMBERS: usize = 100;
    let database = open(directory);
    let stream = database.create_stream("orders", StreamOptions::new().partitions(PARTITIONS)).expect("creates");
    let group = stream.group("billing", GroupOptions::new()).expect("creates");
    let mut members: Vec<Member> = (1..MEMBERS).map(|_| group.join(MemberOptions::new()).expect("joins")).collect();
    settle(&mut members);
    let (mut joined, mut settled, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = owners(&group);
        let started = Instant::now();
        members.push(group.join(MemberOptions::new()).expect("joins"));
        joined.push(milliseconds(started));
        settle(&mut members);
        settled.push(milliseconds(started));
        let moved = before.iter().zip(owners(&group)).filter(|(before, now)| **before != *now).count();
        assert_eq!(moved, PARTITIONS as usize / MEMBERS, "only what the newcomer gets moves");
        let started = Instant::now();
        members.pop().expect("it has joined").leave().expect("leaves");
        left.push(milliseconds(started));
        settle(&mut members);
    }
    println!(
        "  {PARTITIONS} partitions, {MEMBERS} members: one joins in {:.2} ms, and {:.2} ms later all have polled what \
         they own (target 50); one leaves in {:.2} ms",
        median(joined),
        median(settled),
        median(left)
    );
    database.close().expect("closes");
}

fn owners(group: &Group) -> Vec<Option<u32>> {
    group.describe().expect("is there").partitions.iter().map(|partition| partition.owner).collect()
}

fn milliseconds(since: Instant) -> f64 {
    Duration::as_secs_f64(&since.elapsed()) * 1e3
}

/// With a claim of each group on each partition of its stream these are nearly as many as there may be.
const STREAMS: u64 = 80;
const PARTITIONS_EACH: u32 = 125;
const GROUPS_EACH: u64 = 13;

pub(crate) fn many(directory: &Path) {
    let data = directory.join("data");
    let made = again(MAKE, STREAMS, &data).status().expect("starts");
    assert!(made.success(), "the groups are made: {made}");
    let (mut times, mut heaps) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let output = again(OPEN, 1, &data).output().expect("starts");
        assert!(output.status.success(), "it opens: {output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.split_whitespace().map(|word| word.parse::<f64>().expect("a number"));
        times.push(words.next().expect("milliseconds"));
        heaps.push(words.next().expect("bytes"));
    }
    println!(
        "  {} partitions, {} groups with an offset in each of theirs and a member: opened in {:.0} ms (target 1,000), \
         heap {:.1} MiB (target 200)",
        STREAMS * u64::from(PARTITIONS_EACH),
        STREAMS * GROUPS_EACH,
        median(times),
        median(heaps) / f64::from(1 << 20)
    );
}

/// Streams with a record in each partition, and groups that have committed all of them, closed cleanly.
pub(crate) fn make_groups(part: &Part) {
    let database = Options::new().level(Level::Buffered).open(&part.directory).expect("opens");
    for number in 0..part.count {
        let stream = filled(&database, &format!("orders-{number}"), PARTITIONS_EACH, 1);
        for group in 0..GROUPS_EACH {
            let group = stream.group(&format!("billing-{group}"), GroupOptions::new()).expect("creates");
            let mut member = group.join(MemberOptions::new().member_id("carol")).expect("joins");
            settle(std::slice::from_mut(&mut member));
            let offsets: Vec<(u32, u64)> = (0..PARTITIONS_EACH).map(|partition| (partition, 1)).collect();
            member.commit_offsets(&offsets, Level::Buffered).expect("commits");
        }
    }
    database.close().expect("closes");
}

pub(crate) fn open_groups(part: &Part) {
    let before = heap::in_use();
    let started = Instant::now();
    let database = Database::open(&part.directory).expect("opens");
    let taken = milliseconds(started);
    println!("{taken} {}", heap::in_use() - before);
    database.close().expect("closes");
}
