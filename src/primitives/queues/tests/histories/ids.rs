//! Ids among all the rest: few of them, so that many are said again.

use super::super::super::dedup::Told;
use super::super::model::TwinVerdict;
use super::*;

const IDS: [&str; 12] = [
    "order-1", "order-2", "order-3", "order-4", "order-5", "order-6", "order-7", "order-8", "order-9", "order-10",
    "order-11", "order-12",
];

/// Each queue has its kind; the amount varies.
pub(super) fn horizon(random: &mut Random, name: &str) -> Horizon {
    match name {
        "orders" => Horizon::For { micros: random.pick(&[2 * SECOND, 9 * SECOND]) },
        "mails" => Horizon::UntilSettled,
        _ => Horizon::Last { count: random.pick(&[1, 3, 10]) },
    }
}

impl History {
    pub(super) fn id(&mut self) -> Option<&'static str> {
        self.random.chance(100).then(|| self.random.pick(&IDS))
    }
}

/// Those that are stored.
pub(super) fn new(wishes: &[Wish], verdicts: &[TwinVerdict]) -> Vec<Wish> {
    let judged = wishes.iter().zip(verdicts).filter(|(_, verdict)| **verdict == TwinVerdict::New);
    judged.map(|(wish, _)| wish.clone()).collect()
}

/// What is told of each that is not, by its place: the value and the frame of the original, 0 for this one.
pub(super) fn known(verdicts: &[TwinVerdict], value: impl Fn(usize) -> u64) -> Vec<(u32, u64, u64)> {
    let told = |(number, verdict): (u32, &TwinVerdict)| match verdict {
        TwinVerdict::New => None,
        TwinVerdict::Known(known) => Some((number, known.value, known.frame)),
        TwinVerdict::Again(before) => Some((number, value(*before), 0)),
    };
    (0..).zip(verdicts).filter_map(told).collect()
}

pub(super) fn assert_sent(outcome: &Outcome, verdicts: &[TwinVerdict], places: &[(u8, u64)]) {
    let mut stored = places.iter().map(|(priority, offset)| sequence(*priority, *offset));
    let mut sequence_of = |verdict: &TwinVerdict| if *verdict == TwinVerdict::New { stored.next() } else { None };
    let sequences: Vec<Option<u64>> = verdicts.iter().map(&mut sequence_of).collect();
    let expected = known(verdicts, |number| sequences[number].expect("an original is stored"));
    match (outcome, places.first()) {
        (Outcome::Accept(Reply::Sent { priority, offset }), Some(first)) => {
            assert_eq!(((*priority, *offset), expected.len()), (*first, 0));
        }
        (Outcome::Accept(Reply::SentSome { first: Some(first), told }), Some((priority, offset))) => {
            assert_eq!(*first, sequence(*priority, *offset));
            assert_eq!(each(told, true), expected);
            assert!(!told.is_empty());
        }
        (Outcome::Unchanged { reply: Reply::SentSome { first: None, told }, rests_on: Some(_) }, None) => {
            assert_eq!(each(told, true), expected);
        }
        other => panic!("{other:?}"),
    }
}

/// The same of each message, from stretches.
pub(super) fn each(told: &[Told], successive: bool) -> Vec<(u32, u64, u64)> {
    let of_stretch = |told: &Told| {
        let Told { message, count, value, lsn } = *told;
        (0..count).map(move |at| (message + at, value + if successive { u64::from(at) } else { 0 }, lsn.0))
    };
    told.iter().flat_map(of_stretch).collect()
}
