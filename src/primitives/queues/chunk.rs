//! The messages of 64 successive sequences of a lane, as far as they are not simply waiting in line.
//!
//! A message in front of its lane's cursor (at it or behind) is *in line* unless a bit says otherwise; one that the
//! cursor has passed is gone unless a bit says otherwise. What is more than a bit stands in lists, in the order of
//! sequences, and only for those that have it: 7 bytes for a time, 8 for a group, 96 for one that was handed out.
//!
//! Invariants: of `ready`, `flying`, `backoff`, `delayed`, `dead` and `gone` a message has at most one bit. `times` has
//! one entry for each bit of `delayed` and `expiring`, `groups` one for each bit of `grouped`.

use crate::base::time::{BootTime, Timestamp};

use super::command::Reason;
use super::consumers::Taker;
use super::message::GroupHash;

/// A wall-clock time in 56 bits: until the year 4253.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp([u8; 7]);

impl Stamp {
    const MAX: u64 = (1 << 56) - 1;

    fn of(time: Timestamp) -> Stamp {
        let bytes = time.0.min(Stamp::MAX).to_le_bytes();
        Stamp(*bytes.first_chunk().expect("eight bytes begin with seven"))
    }

    fn get(self) -> Timestamp {
        let mut bytes = [0; 8];
        bytes[..7].copy_from_slice(&self.0);
        Timestamp(u64::from_le_bytes(bytes))
    }
}

/// What is known of a message that was handed out, or that says something of itself.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tracked {
    /// Hand-outs; the last one is the delivery that may settle it.
    pub(crate) acquired: u32,
    /// Failed attempts.
    pub(crate) failed: u32,
    /// Its own; 0: the queue's.
    pub(crate) max_attempts: u32,
    /// It was among several in the hands of a process that died.
    pub(crate) is_suspect: bool,
    /// Who has it, while it is in flight.
    pub(crate) holder: u64,
    /// Whose it is in that process.
    pub(crate) taker: Taker,
    /// The frame in which it was last handed out.
    pub(crate) handed: u64,
    /// When it is taken back, or comes back.
    pub(crate) until: BootTime,
    /// The last pause.
    pub(crate) pause_micros: u64,
    /// Its own, as long as it is delayed; 0: none.
    pub(crate) ttl_micros: u64,
    /// 0: none.
    pub(crate) deadline: u64,
    /// Offsets in the queue's notes, more by one: of the first and the last about it; 0: none.
    pub(crate) first_note: u64,
    pub(crate) last_note: u64,
}

/// How a message in the dead set died.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Death {
    pub(crate) reason: Reason,
    pub(crate) at: Timestamp,
    pub(crate) failed: u32,
    /// It is to be moved on.
    pub(crate) leaves: bool,
    /// As of [`Tracked`].
    pub(crate) first_note: u64,
    pub(crate) last_note: u64,
}

/// What a chunk adds to its queue's counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) flying: u32,
    /// In backoff or delayed.
    pub(crate) waiting: u32,
    pub(crate) dead: u32,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Chunk {
    /// Came back or fell due; of a group, also those that wait for their turn.
    pub(crate) ready: u64,
    pub(crate) flying: u64,
    pub(crate) backoff: u64,
    pub(crate) delayed: u64,
    pub(crate) dead: u64,
    /// Gone before the cursor came by.
    pub(crate) gone: u64,
    pub(crate) grouped: u64,
    /// Alive, and not delayed, with a time at which they expire.
    pub(crate) expiring: u64,
    times: Vec<Stamp>,
    groups: Vec<GroupHash>,
    tracked: Vec<(u8, Tracked)>,
    deaths: Vec<(u8, Death)>,
    /// What its queue has been told of it.
    pub(super) told: Counts,
    pub(super) wall: Option<Timestamp>,
    pub(super) boot: Option<BootTime>,
}

/// The bit of a sequence in its chunk.
pub(super) const fn bit(offset: u64) -> u64 {
    1 << (offset % 64)
}

pub(super) const fn chunk_of(offset: u64) -> u64 {
    offset / 64
}

fn rank(mask: u64, bit: u64) -> usize {
    (mask & (bit - 1)).count_ones() as usize
}

/// The bits of a mask, lowest first.
pub(super) fn bits(mut mask: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let lowest = mask & mask.wrapping_neg();
        mask ^= lowest;
        (lowest != 0).then_some(lowest)
    })
}

impl Chunk {
    /// Those that are not simply in line.
    pub(super) fn exceptions(&self) -> u64 {
        self.ready | self.flying | self.backoff | self.delayed | self.dead | self.gone
    }

    /// Those that the cursor may have passed and that are there all the same.
    pub(super) fn kept(&self) -> u64 {
        self.ready | self.flying | self.backoff | self.delayed | self.dead
    }

    /// Whether it says nothing that an absent chunk would not.
    pub(super) fn is_empty(&self) -> bool {
        self.exceptions() | self.expiring | self.grouped == 0 && self.tracked.is_empty()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            flying: self.flying.count_ones(),
            waiting: (self.backoff | self.delayed).count_ones(),
            dead: self.dead.count_ones(),
        }
    }

    /// When it is due, if it is delayed, else when it expires.
    pub(super) fn time(&self, bit: u64) -> Option<Timestamp> {
        let timed = self.delayed | self.expiring;
        (timed & bit != 0).then(|| self.times[rank(timed, bit)].get())
    }

    pub(super) fn due(&self, bit: u64) -> Option<Timestamp> {
        if self.delayed & bit != 0 { self.time(bit) } else { None }
    }

    pub(super) fn expiry(&self, bit: u64) -> Option<Timestamp> {
        if self.expiring & bit != 0 { self.time(bit) } else { None }
    }

    /// Gives it a time to expire at, in place of any other; or takes it.
    pub(super) fn set_expiry(&mut self, bit: u64, expiry: Option<Timestamp>) {
        self.clear_time(bit);
        if let Some(expiry) = expiry {
            self.times.insert(rank(self.delayed | self.expiring, bit), Stamp::of(expiry));
            self.expiring |= bit;
        }
    }

    pub(super) fn set_due(&mut self, bit: u64, due: Timestamp) {
        self.clear_time(bit);
        self.times.insert(rank(self.delayed | self.expiring, bit), Stamp::of(due));
        self.delayed |= bit;
    }

    fn clear_time(&mut self, bit: u64) {
        let timed = self.delayed | self.expiring;
        if timed & bit != 0 {
            self.times.remove(rank(timed, bit));
            self.delayed &= !bit;
            self.expiring &= !bit;
        }
    }

    /// The cursor passes these: what is said of those that were in line, or gone already, is forgotten. Tells the first
    /// notes about them.
    pub(super) fn pass(&mut self, passed: u64) -> Vec<u64> {
        self.gone &= !passed;
        let in_line = passed & !self.exceptions();
        if in_line == 0 {
            return Vec::new();
        }
        bits(in_line & self.expiring).for_each(|bit| self.set_expiry(bit, None));
        let tracked: Vec<u64> = self.all_tracked().map(|(bit, _)| bit).filter(|bit| in_line & bit != 0).collect();
        tracked.into_iter().filter_map(|bit| self.untrack(bit)).map(|tracked| tracked.first_note).collect()
    }

    pub(super) fn group(&self, bit: u64) -> Option<GroupHash> {
        (self.grouped & bit != 0).then(|| self.groups[rank(self.grouped, bit)])
    }

    pub(super) fn set_group(&mut self, bit: u64, group: GroupHash) {
        assert!(self.grouped & bit == 0, "a message is in one group");
        self.groups.insert(rank(self.grouped, bit), group);
        self.grouped |= bit;
    }

    pub(super) fn leave_group(&mut self, bit: u64) {
        if self.grouped & bit != 0 {
            self.groups.remove(rank(self.grouped, bit));
            self.grouped &= !bit;
        }
    }

    pub(super) fn tracked(&self, bit: u64) -> Option<&Tracked> {
        let at = self.tracked.binary_search_by_key(&place(bit), |(place, _)| *place).ok()?;
        Some(&self.tracked[at].1)
    }

    pub(super) fn track(&mut self, bit: u64) -> &mut Tracked {
        let at = match self.tracked.binary_search_by_key(&place(bit), |(place, _)| *place) {
            Ok(at) => at,
            Err(at) => {
                self.tracked.insert(at, (place(bit), Tracked::default()));
                at
            }
        };
        &mut self.tracked[at].1
    }

    /// What was known of those that were handed out or say something of themselves.
    pub(super) fn untrack(&mut self, bit: u64) -> Option<Tracked> {
        let at = self.tracked.binary_search_by_key(&place(bit), |(place, _)| *place).ok()?;
        Some(self.tracked.remove(at).1)
    }

    pub(super) fn all_tracked(&self) -> impl Iterator<Item = (u64, &Tracked)> {
        self.tracked.iter().map(|(place, tracked)| (1 << place, tracked))
    }

    pub(super) fn death(&self, bit: u64) -> Option<&Death> {
        let at = self.deaths.binary_search_by_key(&place(bit), |(place, _)| *place).ok()?;
        Some(&self.deaths[at].1)
    }

    pub(super) fn death_mut(&mut self, bit: u64) -> Option<&mut Death> {
        let at = self.deaths.binary_search_by_key(&place(bit), |(place, _)| *place).ok()?;
        Some(&mut self.deaths[at].1)
    }

    pub(super) fn die(&mut self, bit: u64, death: Death) {
        let at = self.deaths.partition_point(|(other, _)| *other < place(bit));
        self.deaths.insert(at, (place(bit), death));
        self.dead |= bit;
    }

    pub(super) fn bury(&mut self, bit: u64) -> Option<Death> {
        let at = self.deaths.binary_search_by_key(&place(bit), |(place, _)| *place).ok()?;
        self.dead &= !bit;
        Some(self.deaths.remove(at).1)
    }

    /// The nearest wall-clock time at which something becomes of one of them. What is in flight expires on its return.
    pub(super) fn next_wall(&self) -> Option<Timestamp> {
        let timed = self.delayed | self.expiring;
        let times = bits(timed).zip(&self.times).filter(|(bit, _)| self.flying & bit == 0);
        times.map(|(_, stamp)| stamp.get()).min()
    }

    /// The nearest time of the boot clock at which one of them comes back.
    pub(super) fn next_boot(&self) -> Option<BootTime> {
        let returning = self.flying | self.backoff;
        let tracked = self.all_tracked().filter(|(bit, _)| returning & bit != 0);
        tracked.map(|(_, tracked)| tracked.until).min()
    }
}

fn place(bit: u64) -> u8 {
    bit.trailing_zeros() as u8
}
