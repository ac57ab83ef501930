//! Eight processes on one directory, and a nemesis that kills, stops and forks them, has them close and fills their
//! disk. Every process keeps a book of what it asked and what it was told; in the end the books are held against each
//! other and against what the database holds. Each process has a thread that is a member of one consumer group with all
//! others.
//!
//! | variable | says |
//! |---|---|
//! | `TOWPATH_NEMESIS_KILLS` | how many hosts are killed |
//! | `TOWPATH_NEMESIS_SECONDS` | within what time |
//! | `TOWPATH_NEMESIS_CAMPAIGN` | after how many kills the books are compared |
//! | `TOWPATH_NEMESIS_SEED` | repeats what an earlier run did, as far as the scheduler does |
//! | `TOWPATH_NEMESIS_KEEP` | a folder for the books and the database of a campaign that failed |

mod book;
mod campaign;
mod checker;
mod consumers;
mod content;
mod disturbances;
mod forked;
mod ground;
mod groups;
mod member;
#[path = "../place/mod.rs"]
mod place;
mod readers;
mod rogue;
mod writers;

use std::time::{Duration, Instant, SystemTime};

use campaign::Outcome;
use ground::Ground;

/// Name and partitions of each stream.
pub const STREAMS: [(&str, u32); 2] = [("orders", 3), ("ledger", 1)];

const KILLS: u64 = 30;

/// Several times what the kills take on two busy cores.
const SECONDS_MAX: u64 = 120;

/// Kills in one campaign, after which the books are compared and the next begins with an empty directory. Every other
/// campaign has a disk that can be filled, and two of four have a grace that is shorter than some stops. Of the two in
/// a short run there is one of each, because the first seed is even.
const KILLS_PER_CAMPAIGN: u64 = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn the_books_of_eight_processes_are_exact_whatever_is_done_to_them() {
    let kills = number("TOWPATH_NEMESIS_KILLS").unwrap_or(KILLS);
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let first = number("TOWPATH_NEMESIS_SEED").unwrap_or(since_epoch.as_millis() as u64 & !1);
    let start = Instant::now();
    let end = start + Duration::from_secs(number("TOWPATH_NEMESIS_SECONDS").unwrap_or(SECONDS_MAX));
    println!("the first seed is {first}");
    let mut total = Outcome::default();
    let per_campaign = number("TOWPATH_NEMESIS_CAMPAIGN").unwrap_or(KILLS_PER_CAMPAIGN.min(kills.div_ceil(2)));
    for seed in first.. {
        if total.kills >= kills || Instant::now() >= end {
            break;
        }
        let ground = Ground::new(seed % 2 == 0);
        let outcome = campaign::run(&ground, seed, per_campaign.min(kills - total.kills), end).unwrap_or_else(|why| {
            if let Some(folder) = std::env::var_os("TOWPATH_NEMESIS_KEEP") {
                ground.keep(folder.as_ref());
            }
            panic!("TOWPATH_NEMESIS_SEED={seed}: {why}")
        });
        total.kills += outcome.kills;
        total.compared += outcome.compared;
        total.consumed += outcome.consumed;
        total.failovers.extend(outcome.failovers);
        println!("{}", line(&mut total, start.elapsed()));
    }
    assert!(total.kills >= kills, "only {} of {kills} hosts were killed within the time", total.kills);
}

fn line(total: &mut Outcome, elapsed: Duration) -> String {
    let failovers = &mut total.failovers;
    failovers.sort_unstable();
    let (median, max) = (failovers.get(failovers.len() / 2).copied(), failovers.last().copied());
    let millis = |micros: Option<u64>| micros.unwrap_or(0) as f64 / 1000.0;
    let (kills, seconds) = (total.kills, elapsed.as_secs());
    format!(
        "{kills} hosts killed in {seconds} s ({:.1} a minute): {}; {}; failover: median {:.1} ms, longest {:.1} ms of \
         {}",
        kills as f64 * 60.0 / elapsed.as_secs_f64(),
        total.compared,
        total.consumed,
        millis(median),
        millis(max),
        failovers.len(),
    )
}

/// Does nothing unless it is a member.
#[test]
fn a_member_lives_until_it_is_killed_or_told_to_end() {
    let Some(process) = number(campaign::NUMBER) else { return };
    let path = |name: &str| std::env::var_os(name).expect("set for members");
    let grace = Duration::from_millis(number(campaign::GRACE).expect("set for members"));
    member::run(path(campaign::DATA).as_ref(), path(campaign::BOOKS).as_ref(), process, grace);
}
