//! What two samples say about the time between them.
//!
//! A rate is `None` where the earlier sample does not tell: there is none, the host has changed since and counts anew,
//! or the stream or process was not there. Positions in the journal and offsets go on from one host to the next.

use std::time::Duration;

use serde::Serialize;

use super::sample::{ProcessSample, Sample, StreamSample};

/// One picture.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct View {
    pub(super) host_pid: u64,
    pub(super) host_epoch: u64,
    pub(super) journal_bytes_per_second: Option<f64>,
    pub(super) records_per_second: Option<f64>,
    pub(super) syncs_per_second: Option<f64>,
    pub(super) operations_per_second: Option<f64>,
    /// Those that were asked for, the most frequent first.
    pub(super) operations: Vec<OperationRate>,
    pub(super) unsynced_bytes: u64,
    pub(super) replay_bytes: u64,
    pub(super) streams: Vec<StreamRow>,
    pub(super) processes: Vec<ProcessRow>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct OperationRate {
    pub(super) operation: &'static str,
    pub(super) per_second: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct StreamRow {
    pub(super) name: String,
    pub(super) partitions: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) end: u64,
    pub(super) records_per_second: Option<f64>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct ProcessRow {
    pub(super) pid: u32,
    pub(super) attached_micros: u64,
    pub(super) requests_per_second: Option<f64>,
    pub(super) writes_per_second: Option<f64>,
    pub(super) waiting: u64,
}

impl View {
    pub(super) fn new(earlier: Option<&Sample>, now: &Sample) -> View {
        let span = earlier.map_or(Duration::ZERO, |earlier| now.at.saturating_duration_since(earlier.at));
        let of_this_host = earlier.filter(|earlier| earlier.host_epoch == now.host_epoch);
        let rate = |before: Option<u64>, after: u64| per_second(before?, after, span);
        let operations = of_this_host.map(|earlier| operation_rates(earlier, now, span)).unwrap_or_default();
        let streams: Vec<StreamRow> = now.streams.iter().map(|stream| stream_row(earlier, stream, span)).collect();
        let of_streams: Vec<f64> = streams.iter().filter_map(|stream| stream.records_per_second).collect();
        View {
            host_pid: now.host_pid,
            host_epoch: now.host_epoch,
            journal_bytes_per_second: rate(earlier.map(|earlier| earlier.issued_lsn), now.issued_lsn),
            records_per_second: (!span.is_zero()).then(|| of_streams.iter().sum()),
            syncs_per_second: rate(of_this_host.map(|earlier| earlier.syncs), now.syncs),
            operations_per_second: rate(of_this_host.map(all_operations), all_operations(now)),
            operations,
            unsynced_bytes: now.unsynced_bytes,
            replay_bytes: now.replay_bytes,
            streams,
            processes: now.processes.iter().map(|process| process_row(of_this_host, process, span)).collect(),
        }
    }
}

fn per_second(before: u64, after: u64, span: Duration) -> Option<f64> {
    (!span.is_zero()).then(|| after.saturating_sub(before) as f64 / span.as_secs_f64())
}

fn all_operations(sample: &Sample) -> u64 {
    sample.operations.iter().map(|(_, count)| count).sum()
}

fn operation_rates(earlier: &Sample, now: &Sample, span: Duration) -> Vec<OperationRate> {
    let before = |name| earlier.operations.iter().find(|(other, _)| *other == name).map_or(0, |(_, count)| *count);
    let mut rates: Vec<OperationRate> = now
        .operations
        .iter()
        .filter_map(|&(operation, count)| {
            Some(OperationRate { operation, per_second: per_second(before(operation), count, span)? })
        })
        .filter(|rate| rate.per_second > 0.0)
        .collect();
    rates.sort_by(|one, other| other.per_second.total_cmp(&one.per_second));
    rates
}

fn stream_row(earlier: Option<&Sample>, stream: &StreamSample, span: Duration) -> StreamRow {
    let StreamSample { name, partitions, records, bytes, end } = stream.clone();
    let before = earlier.and_then(|earlier| earlier.streams.iter().find(|other| other.name == name));
    let records_per_second = before.and_then(|before| per_second(before.end, end, span));
    StreamRow { name, partitions, records, bytes, end, records_per_second }
}

fn process_row(earlier: Option<&Sample>, process: &ProcessSample, span: Duration) -> ProcessRow {
    let ProcessSample { pid, attached_micros, requests, writes, waiting } = *process;
    // One that has come back since counts anew.
    let before = earlier.and_then(|earlier| {
        let is_same = |other: &&ProcessSample| other.pid == pid && other.attached_micros <= attached_micros;
        earlier.processes.iter().find(is_same)
    });
    ProcessRow {
        pid,
        attached_micros,
        requests_per_second: before.and_then(|before| per_second(before.requests, requests, span)),
        writes_per_second: before.and_then(|before| per_second(before.writes, writes, span)),
        waiting,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Instant;

    use super::*;

    pub(in crate::top) fn sample(at: Instant) -> Sample {
        Sample {
            at,
            host_pid: 4_711,
            host_epoch: 3,
            issued_lsn: 1_000_000,
            unsynced_bytes: 512,
            replay_bytes: 2_048,
            syncs: 100,
            operations: vec![("submit", 10), ("read", 200), ("stats", 5)],
            streams: vec![StreamSample { name: "orders".into(), partitions: 4, records: 90, bytes: 9_000, end: 100 }],
            processes: vec![ProcessSample {
                pid: 815,
                attached_micros: 5_000_000,
                requests: 210,
                writes: 10,
                waiting: 1,
            }],
        }
    }

    /// Two seconds later.
    pub(in crate::top) fn pair() -> (Sample, Sample) {
        let first = sample(Instant::now());
        let mut second = sample(first.at + Duration::from_secs(2));
        second.issued_lsn += 4_000;
        second.syncs += 20;
        second.operations = vec![("submit", 50), ("read", 1_000), ("stats", 5)];
        second.streams[0].end += 40;
        second.processes[0] =
            ProcessSample { pid: 815, attached_micros: 7_000_000, requests: 1_050, writes: 50, waiting: 2 };
        (first, second)
    }

    #[test]
    fn rates_are_differences_by_the_time_between() {
        let (first, second) = pair();
        let view = View::new(Some(&first), &second);
        assert_eq!((view.journal_bytes_per_second, view.syncs_per_second), (Some(2_000.0), Some(10.0)));
        assert_eq!((view.records_per_second, view.operations_per_second), (Some(20.0), Some(420.0)));
        let operations: Vec<_> = view.operations.iter().map(|rate| (rate.operation, rate.per_second)).collect();
        assert_eq!(operations, [("read", 400.0), ("submit", 20.0)]);
        assert_eq!(view.streams[0].records_per_second, Some(20.0));
        let process = &view.processes[0];
        assert_eq!((process.requests_per_second, process.writes_per_second), (Some(420.0), Some(20.0)));
        assert_eq!(process.waiting, 2);
    }

    #[test]
    fn without_an_earlier_sample_or_time_between_there_are_no_rates() {
        let (first, _) = pair();
        for view in [View::new(None, &first), View::new(Some(&first), &first)] {
            assert_eq!((view.journal_bytes_per_second, view.syncs_per_second), (None, None));
            assert_eq!((view.records_per_second, view.operations_per_second), (None, None));
            assert_eq!((view.streams[0].records_per_second, view.processes[0].writes_per_second), (None, None));
        }
    }

    #[test]
    fn after_a_change_of_hosts_what_it_counts_has_no_rate_and_the_journal_goes_on() {
        let (first, mut second) = pair();
        (second.host_epoch, second.syncs, second.operations) = (4, 2, vec![("submit", 1)]);
        let view = View::new(Some(&first), &second);
        assert_eq!((view.syncs_per_second, view.operations_per_second), (None, None));
        assert_eq!(view.processes[0].requests_per_second, None);
        assert_eq!((view.journal_bytes_per_second, view.records_per_second), (Some(2_000.0), Some(20.0)));
    }

    #[test]
    fn what_was_not_there_before_has_no_rate_yet() {
        let (first, mut second) = pair();
        second.streams[0].name = "returns".into();
        second.processes[0].attached_micros = 1;
        let view = View::new(Some(&first), &second);
        assert_eq!((view.streams[0].records_per_second, view.processes[0].requests_per_second), (None, None));
    }
}
