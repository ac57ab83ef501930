//! Consumes the stream as a member of a group, one record at a time.
//!
//! A record is consumed once its report is in the pipe, and is committed when the next one is asked for: a kill between
//! the two has it consumed again. One member joins once a third of the input is committed, one leaves at two thirds;
//! the others stay until all of it is.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use towpath::{CommitOptions, Error, Group, GroupOptions, Member, MemberOptions, Stream};

use super::report::{Report, Span, now_micros};
use super::worker::{Reports, tell};
use super::{Role, digest};
use crate::exit::Failure;

const GROUP: &str = "billing";

/// Records after which a commit is due, and after which a member looks how far the group is.
const COMMIT_RECORDS: u64 = 100;

/// Between two looks at how far the group is.
const LOOK: Duration = Duration::from_millis(5);

/// Consumes as this role does; `lines` is the length of the input.
pub(super) fn consume(role: Role, lines: u64, stream: &Stream, reports: &Reports) -> Result<(), Failure> {
    let Range { start: joins_at, end: leaves_at } = role.consumes(lines);
    let group = told(|| stream.group(GROUP, GroupOptions::new()))?;
    while committed(&group)? < joins_at {
        thread::sleep(LOOK);
    }
    if committed(&group)? >= leaves_at {
        return Ok(());
    }
    let mut member: Member = told(|| group.join(MemberOptions::new()))?;
    tell(reports, &Report::Joined)?;
    let mut records = member.records(CommitOptions::new().every_records(COMMIT_RECORDS));
    let mut consumed = 0;
    loop {
        match records.next_timeout(LOOK) {
            Ok(Some(record)) => {
                let (partition, first_offset) = (record.partition(), record.offset());
                let span = Span { partition, first_offset, bodies: vec![digest(record.body())] };
                tell(reports, &Report::Consumed { at_micros: now_micros(), span })?;
                consumed += 1;
                if consumed % COMMIT_RECORDS != 0 {
                    continue;
                }
            }
            // Of what the commit stored the next one tells.
            Ok(None) | Err(Error::OutcomeUnknown) => {}
            Err(error) => return Err(error.into()),
        }
        if committed(&group)? >= leaves_at {
            break;
        }
    }
    told(|| records.commit())?;
    drop(records);
    // Dropping the member leaves the group, as `Member::leave` does; whoever takes over hears of it without an answer.
    drop(member);
    tell(reports, &Report::Left)
}

/// How many records are committed in all partitions.
fn committed(group: &Group) -> Result<u64, Failure> {
    Ok(group.describe()?.partitions.iter().filter_map(|partition| partition.committed).sum())
}

/// Asks again while a host that was killed leaves it open what came of it.
fn told<T>(mut ask: impl FnMut() -> Result<T, Error>) -> Result<T, Failure> {
    loop {
        match ask() {
            Err(Error::OutcomeUnknown) => {}
            answered => return Ok(answered?),
        }
    }
}
