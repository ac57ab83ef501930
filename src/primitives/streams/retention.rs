//! What a partition holds beyond its retention.
//!
//! A record goes when it is older than the age, when more than the allowed records follow it, or when it and what
//! follows it have more bytes than allowed; where several limits ask, the furthest start wins.
//!
//! Where a stretch ends is asked of the store. That takes time; meanwhile records come, the clock goes on, and a
//! question that moved with every record and microsecond would never find its answer. So a question asks for the excess
//! rounded down to its five leading bits, and the answers to the questions before it count as well: they let go less
//! than may go, never more, and the rest is due again at once. An excess below 32 is not rounded, so the last tick is
//! exact.
//!
//! Of a stream with compaction it is asked how far the start must go for so much to be left, since counts may lag
//! behind what compaction has left out: the answer rests on what is there.

use std::iter::successors;

use super::command::Retention;
use super::state::Partition;
use crate::base::time::{Now, Timestamp};
use crate::engine::machine::{Due, Until};

const LEADING_BITS: u32 = 5;

/// How many earlier questions are looked at: those of an excess that was down to a sixteenth of what it is now.
const EARLIER_QUESTIONS: usize = 4 << (LEADING_BITS - 1);

/// By how much a partition is over a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Demand {
    /// Every record is too old.
    Everything,
    Records(u64),
    Bytes(u64),
    /// Of a stream with compaction: this many are to be left.
    KeepRecords(u64),
    KeepBytes(u64),
    /// Microseconds by which the first record is too old.
    Age(u64),
}

impl Demand {
    /// What to ask for, and before it what may have been asked for when the excess was smaller. Any answer may go.
    pub(super) fn questions(self, partition: &Partition) -> impl Iterator<Item = Until> {
        let excess = match self {
            Demand::Everything | Demand::KeepRecords(_) | Demand::KeepBytes(_) => 1,
            Demand::Records(excess) | Demand::Bytes(excess) | Demand::Age(excess) => excess,
        };
        let smaller = |excess: &u64| Some(steady(*excess - 1)).filter(|excess| *excess > 0);
        successors(Some(steady(excess)), smaller).take(1 + EARLIER_QUESTIONS).map(move |excess| match self {
            Demand::Everything => Until::Offset(partition.end),
            Demand::Records(_) => Until::Offset(partition.start + excess),
            Demand::Bytes(_) => Until::Bytes(excess),
            Demand::KeepRecords(most) => Until::RecordsLeft(most),
            Demand::KeepBytes(most) => Until::BytesLeft(most),
            Demand::Age(_) => Until::Time(Timestamp(partition.start_timestamp.0 + excess)),
        })
    }
}

/// Rounds down to the leading bits.
fn steady(excess: u64) -> u64 {
    let dropped = (u64::BITS - excess.leading_zeros()).saturating_sub(LEADING_BITS);
    excess >> dropped << dropped
}

impl Retention {
    fn excess_records(&self, partition: &Partition) -> u64 {
        self.records.map_or(0, |most| partition.records().saturating_sub(most))
    }

    fn excess_bytes(&self, partition: &Partition) -> u64 {
        self.bytes.map_or(0, |most| partition.bytes.saturating_sub(most))
    }

    /// When the partition will hold more than this allows.
    pub(super) fn due(&self, partition: &Partition) -> Option<Due> {
        if partition.is_empty() {
            return None;
        }
        if self.excess_records(partition) > 0 || self.excess_bytes(partition) > 0 {
            return Some(Due::Soon);
        }
        // A record goes when it is older than the age, so not yet when it is exactly as old.
        let too_old = partition.start_timestamp.0.saturating_add(self.age_micros?).saturating_add(1);
        Some(Due::At(Timestamp(too_old)))
    }

    /// The limits that the partition is over.
    pub(super) fn demands(
        &self,
        partition: &Partition,
        is_compacted: bool,
        now: Now,
    ) -> impl Iterator<Item = Demand> + use<> {
        let (records, bytes) = (self.excess_records(partition), self.excess_bytes(partition));
        let oldest = self.age_micros.map_or(Timestamp(0), |age| now.wall.minus(age));
        let age = oldest.0.saturating_sub(partition.start_timestamp.0);
        let age = (!partition.is_empty() && age > 0).then_some(match partition.last_timestamp < oldest {
            true => Demand::Everything,
            false => Demand::Age(age),
        });
        let (mut records, mut bytes) =
            ((records > 0).then_some(Demand::Records(records)), (bytes > 0).then_some(Demand::Bytes(bytes)));
        if is_compacted {
            records = records.and(self.records).map(Demand::KeepRecords);
            bytes = bytes.and(self.bytes).map(Demand::KeepBytes);
        }
        [age, records, bytes].into_iter().flatten()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_excess_is_rounded_down_by_less_than_a_sixteenth_and_small_ones_not_at_all() {
        for excess in (1..32).chain([33, 47, 63, 1000, 123_456_789, u64::MAX]) {
            assert!(steady(excess) <= excess && excess - steady(excess) <= excess / 16);
            assert!(excess >= 32 || steady(excess) == excess);
        }
    }

    #[test]
    fn an_answer_counts_until_the_excess_has_grown_to_the_sixteenfold() {
        let partition = Partition { end: 1 << 40, ..Partition::default() };
        for before in [1_u64, 31, 32, 777, 1_000_000] {
            let asked = Demand::Bytes(before).questions(&partition).next().unwrap();
            for now in [before, before + 1, before * 2 + 5, before * 15] {
                assert!(Demand::Bytes(now).questions(&partition).any(|until| until == asked), "{before} {now}");
            }
        }
    }
}
