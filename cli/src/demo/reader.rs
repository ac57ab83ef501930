//! Follows every partition to the end of the input.

use std::thread;

use towpath::{Start, Stream};

use super::input::Input;
use super::report::{Report, Span};
use super::worker::{Reports, joined, tell};
use super::{PARTITIONS, digest, key_of};
use crate::exit::Failure;

/// Records that a reader takes at a time.
const READ_RECORDS: usize = 1_000;

pub(super) fn follow(input: &Input, stream: &Stream, reports: &Reports) -> Result<(), Failure> {
    let ends = ends(input, stream)?;
    thread::scope(|scope| {
        let threads = (0u32..).zip(ends);
        joined(
            threads
                .map(|(partition, end)| scope.spawn(move || follow_partition(stream, partition, end, reports)))
                .collect(),
        )
    })
}

/// Where each partition will end.
fn ends(input: &Input, stream: &Stream) -> Result<Vec<u64>, Failure> {
    let mut ends = vec![0; PARTITIONS as usize];
    let mut lines = input.lines()?;
    while let Some(line) = lines.next()? {
        ends[stream.partition_of(key_of(line)) as usize] += 1;
    }
    Ok(ends)
}

/// Reads from the very beginning, after a restart too: what was seen before must still be there.
fn follow_partition(stream: &Stream, partition: u32, end: u64, reports: &Reports) -> Result<(), Failure> {
    let mut reader = stream.reader(partition, Start::Earliest)?;
    while reader.position() < end {
        let records = reader.receive(READ_RECORDS)?;
        let Some(first_offset) = records.iter().next().map(|record| record.offset()) else { continue };
        let bodies = records.iter().map(|record| digest(record.body())).collect();
        tell(reports, &Report::Seen(Span { partition, first_offset, bodies }))?;
    }
    Ok(())
}
