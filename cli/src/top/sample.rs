//! What is asked of the database at one moment.

use std::time::Instant;

use towpath::{Database, Error};

/// Counters and depths at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) host_pid: u64,
    /// Counters of the host begin anew with each.
    pub(super) host_epoch: u64,
    pub(super) issued_lsn: u64,
    pub(super) unsynced_bytes: u64,
    pub(super) replay_bytes: u64,
    pub(super) syncs: u64,
    pub(super) operations: Vec<(&'static str, u64)>,
    pub(super) streams: Vec<StreamSample>,
    pub(super) processes: Vec<ProcessSample>,
}

/// All partitions of a stream together.
#[derive(Clone, Debug)]
pub(super) struct StreamSample {
    pub(super) name: String,
    pub(super) partitions: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Records that were ever appended.
    pub(super) end: u64,
}

#[derive(Clone, Debug)]
pub(super) struct ProcessSample {
    pub(super) pid: u32,
    pub(super) attached_micros: u64,
    pub(super) requests: u64,
    pub(super) writes: u64,
    pub(super) waiting: u64,
}

impl Sample {
    pub(super) fn take(database: &Database) -> Result<Sample, Error> {
        let stats = database.stats()?;
        let processes = database.attached_processes()?;
        let streams = database.streams()?;
        Ok(Sample {
            at: Instant::now(),
            host_pid: stats.host_pid,
            host_epoch: stats.host_epoch,
            issued_lsn: stats.issued_lsn,
            unsynced_bytes: stats.unsynced_bytes,
            replay_bytes: stats.replay_bytes,
            syncs: stats.syncs,
            operations: stats.operations.iter().map(|operation| (operation.operation, operation.count)).collect(),
            streams: streams.iter().map(StreamSample::of).collect(),
            processes: processes.iter().map(ProcessSample::of).collect(),
        })
    }
}

impl StreamSample {
    fn of(stream: &towpath::StreamDescription) -> StreamSample {
        let partitions = &stream.partitions;
        StreamSample {
            name: stream.name.clone(),
            partitions: partitions.len() as u64,
            records: partitions.iter().map(|partition| partition.records).sum(),
            bytes: partitions.iter().map(|partition| partition.bytes).sum(),
            end: partitions.iter().map(|partition| partition.end_offset).sum(),
        }
    }
}

impl ProcessSample {
    fn of(process: &towpath::AttachedProcess) -> ProcessSample {
        let towpath::AttachedProcess { pid, attached_micros, requests, writes, waiting, .. } = *process;
        ProcessSample { pid, attached_micros, requests, writes, waiting }
    }
}
