//! The one list of what a handle may ask of the host. A new operation is a line here, and a type with its bytes.

use crate::base::codec::{Malformed, Take};
use crate::engine::Refused;
use crate::primitives::Refusal;

use super::server::Host;
use super::wire::Out;

/// A question: plain data, with a plain-data answer, that changes nothing that is journaled.
pub(crate) trait Question: Sized {
    const KIND: Kind;
    type Answer;

    /// Answers it on the engine of this process. Blocks as the operation's documentation says.
    fn answer(&self, host: &Host) -> Result<Self::Answer, Refused<Refusal>>;

    fn put(&self, out: &mut Out);

    fn take(take: &mut Take<'_>) -> Result<Self, Malformed>;

    fn put_answer(answer: &Self::Answer, out: &mut Out);

    fn take_answer(take: &mut Take<'_>) -> Result<Self::Answer, Malformed>;
}

macro_rules! kinds {
    ($($kind:ident = $number:literal, $name:literal;)*) => {
        /// What is asked, as it stands in a frame.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum Kind {
            $($kind = $number,)*
        }

        impl Kind {
            pub(crate) const ALL: &[Kind] = &[$(Kind::$kind),*];

            pub(crate) fn of(number: u8) -> Result<Kind, Malformed> {
                match number {
                    $($number => Ok(Kind::$kind),)*
                    _ => Err(Malformed("an operation that there is not")),
                }
            }

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    // Any command of a primitive; the only one that writes.
    Submit = 1, "submit";
    // Ends the session; has no answer.
    Leave = 2, "leave";
    // Withdraws a question that waits; has no answer.
    Withdraw = 3, "withdraw";
    Sync = 4, "sync";
    Read = 5, "read";
    Checkpoint = 6, "checkpoint";
    Stats = 7, "stats";
    Processes = 8, "processes";
    FindStream = 9, "find stream";
    StreamNames = 10, "stream names";
    DescribeStream = 11, "describe stream";
    DescribePartitions = 12, "describe partitions";
    Extent = 13, "extent";
    OffsetForTime = 14, "offset for time";
    OffsetForLsn = 15, "offset for lsn";
    RevealStream = 16, "reveal stream";
    LastBatch = 17, "last batch";
    WatchMember = 18, "watch member";
    FindGroup = 19, "find group";
    GroupNames = 20, "group names";
    DescribeGroup = 21, "describe group";
    DescribeMembers = 22, "describe members";
    DescribeClaims = 23, "describe claims";
    FindQueue = 24, "find queue";
    QueueNames = 25, "queue names";
    DescribeQueue = 26, "describe queue";
    WatchQueue = 27, "watch queue";
    DeadLetters = 28, "dead letters";
    FindExchange = 29, "find exchange";
    ExchangeNames = 30, "exchange names";
    DescribeExchange = 31, "describe exchange";
    Peek = 32, "peek";
    LookAt = 33, "look at";
    Waiting = 34, "waiting";
    FindMessage = 35, "find message";
    ScheduleNames = 36, "schedule names";
    DescribeSchedule = 37, "describe schedule";
    DescribeConsumers = 38, "describe consumers";
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_number_and_the_others_are_malformed() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(*kind as u8), Ok(*kind));
        }
        assert!(Kind::of(0).is_err() && Kind::of(Kind::ALL.len() as u8 + 1).is_err());
    }
}
