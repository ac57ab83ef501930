//! The engine's sense of time: where readings come from, and the hybrid clock that makes timestamps of them.

use crate::base::bounds::{CLOCK_STEP_HOLD_MICROS, CLOCK_STEP_MICROS_MAX};
use crate::base::sync::{Arc, Event, Mutex};
use crate::base::time::{BootTime, ClockIdentity, ClockReading, Now, Timestamp};
use crate::storage::disk::clock;

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    #[default]
    Host,
    Manual(ManualClock),
}

impl Clock {
    /// Wall-clock time, good to the system's tick (a few milliseconds) and cheap.
    #[inline]
    pub(crate) fn wall(&self) -> Timestamp {
        match self {
            Clock::Host => clock::wall_coarse(),
            Clock::Manual(manual) => manual.state.lock().wall,
        }
    }

    pub(crate) fn boot(&self) -> BootTime {
        match self {
            Clock::Host => clock::boot(),
            Clock::Manual(manual) => manual.state.lock().boot,
        }
    }

    /// Both at once. Where time passes between the two, a suspend say, the boot clock is the one that was read too
    /// early: a step of the wall clock that follows from it is doubted once, and the next reading confirms it.
    pub(crate) fn reading(&self) -> ClockReading {
        match self {
            Clock::Host => {
                let boot = clock::boot();
                ClockReading { wall: clock::wall_coarse(), boot }
            }
            Clock::Manual(manual) => {
                let state = manual.state.lock();
                ClockReading { wall: state.wall, boot: state.boot }
            }
        }
    }

    pub(crate) fn identity(&self) -> std::io::Result<ClockIdentity> {
        match self {
            Clock::Host => clock::identity(),
            Clock::Manual(manual) => Ok(manual.identity),
        }
    }

    /// Notified when a manual clock was moved.
    pub(crate) fn moved(&self) -> Option<Arc<Event>> {
        match self {
            Clock::Host => None,
            Clock::Manual(manual) => Some(manual.moved.clone()),
        }
    }
}

/// A clock moved by hand, for tests: time stands still until `advance`.
///
/// ```
/// use std::time::Duration;
/// use towpath::{ManualClock, Options, Timestamp};
///
/// let clock = ManualClock::starting_at(Timestamp::from_micros(1_700_000_000_000_000));
/// let db = Options::temporary().clock(clock.clone()).open_temporary()?;
/// clock.advance(Duration::from_secs(60));
/// # db.close()?;
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    /// Named by where it began, so that what runs by it runs the same way again.
    identity: ClockIdentity,
    state: Arc<Mutex<ManualState>>,
    moved: Arc<Event>,
}

#[derive(Debug)]
struct ManualState {
    wall: Timestamp,
    boot: BootTime,
}

impl ManualClock {
    /// A clock that stands at `wall`.
    #[must_use]
    pub fn starting_at(wall: Timestamp) -> ManualClock {
        let state = ManualState { wall, boot: BootTime(1_000_000) };
        let identity = ClockIdentity { boot_id: u128::from(wall.0).to_be_bytes(), time_namespace: 0 };
        ManualClock { identity, state: Arc::new(Mutex::new(state)), moved: Arc::new(Event::new()) }
    }

    /// Lets time pass, on the wall clock and the boot clock alike. What is due is done by the database's own threads
    /// soon after.
    pub fn advance(&self, by: std::time::Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        let mut state = self.state.lock();
        state.wall = Timestamp(state.wall.0.saturating_add(micros));
        state.boot = state.boot.plus(micros);
        drop(state);
        self.moved.notify(usize::MAX);
    }

    /// Sets the wall clock, as an administrator or a time server would: boot time does not move.
    pub fn step_wall(&self, to: Timestamp) {
        self.state.lock().wall = to;
        self.moved.notify(usize::MAX);
    }

    /// What the wall clock shows.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.state.lock().wall
    }
}

/// Makes timestamps that never go back of a wall clock that may.
///
/// A backward step freezes it. A forward step of more than an hour that boot time does not confirm is not believed
/// until it has held for ten minutes; until then it goes on at the pace of boot time. A life goes on from a reading of
/// the one before, if that was of the same clock: a step that was made in between is doubted too.
#[derive(Debug)]
pub(crate) struct HybridClock {
    high: Timestamp,
    last_wall: Timestamp,
    /// The last reading that was believed.
    anchor: ClockReading,
    doubted_since: Option<BootTime>,
}

impl HybridClock {
    /// The clock of a new life. `high` is the greatest timestamp known to have been given; `earlier` a reading of the
    /// same clock. Without one there is nothing to doubt the wall clock by.
    pub(crate) fn new(high: Timestamp, earlier: Option<ClockReading>, now: ClockReading) -> HybridClock {
        let anchor = earlier.unwrap_or(now);
        let mut clock = HybridClock { high, last_wall: now.wall, anchor, doubted_since: None };
        clock.observe(now.wall, now.boot);
        clock
    }

    /// What a later life may go on from.
    pub(crate) fn reading(&self) -> ClockReading {
        self.anchor
    }

    /// The time. Both clocks are read only where the wall clock has moved. That was looked at before, perhaps long
    /// before: beside a boot clock of now it would look as if it had stood still.
    #[inline]
    pub(crate) fn stamp(&mut self, wall: Timestamp, reading: impl FnOnce() -> ClockReading) -> Now {
        if wall != self.last_wall {
            let ClockReading { wall, boot } = reading();
            self.observe(wall, boot);
        }
        Now { wall: self.high, boot: self.anchor.boot }
    }

    /// The greatest timestamp given so far.
    pub(crate) fn high(&self) -> Timestamp {
        self.high
    }

    #[cold]
    fn observe(&mut self, wall: Timestamp, boot: BootTime) {
        self.last_wall = wall;
        let expected = Timestamp(self.anchor.wall.0.saturating_add(boot.since(self.anchor.boot)));
        // What was given out was believed, whichever life it was of.
        let expected = expected.max(self.high);
        if wall.0 <= expected.0.saturating_add(CLOCK_STEP_MICROS_MAX) {
            self.doubted_since = None;
            self.believe(wall, boot);
            return;
        }
        let since = *self.doubted_since.get_or_insert(boot);
        if boot.since(since) >= CLOCK_STEP_HOLD_MICROS {
            self.doubted_since = None;
            self.believe(wall, boot);
        } else {
            self.believe(expected, boot);
        }
    }

    fn believe(&mut self, wall: Timestamp, boot: BootTime) {
        self.anchor = ClockReading { wall, boot };
        self.high = self.high.max(wall);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;
    const NOON: u64 = 1_700_000_000_000_000;

    fn reading(wall: u64, boot: u64) -> ClockReading {
        ClockReading { wall: Timestamp(wall), boot: BootTime(boot) }
    }

    fn clock() -> HybridClock {
        HybridClock::new(Timestamp(0), None, reading(NOON, 0))
    }

    /// The time at a reading.
    fn at(clock: &mut HybridClock, wall: u64, boot: u64) -> Timestamp {
        clock.stamp(Timestamp(wall), || reading(wall, boot)).wall
    }

    #[test]
    fn timestamps_follow_the_wall_clock() {
        assert_eq!(at(&mut clock(), NOON + 5, 5), Timestamp(NOON + 5));
    }

    #[test]
    fn hours_between_a_look_at_the_wall_clock_and_the_stamp_are_hours_of_both_clocks() {
        let mut clock = clock();
        let (looked_at, later) = (Timestamp(NOON + 5), 2 * HOUR);
        assert_eq!(clock.stamp(looked_at, || reading(NOON + later, later)).wall, Timestamp(NOON + later));
        assert_eq!(at(&mut clock, NOON + later + 5, later + 5), Timestamp(NOON + later + 5));
    }

    #[test]
    fn hours_between_the_two_clocks_of_one_reading_are_doubted_until_the_next() {
        let (mut clock, later) = (clock(), 2 * HOUR);
        assert_eq!(at(&mut clock, NOON + later, 5), Timestamp(NOON + 5));
        assert_eq!(at(&mut clock, NOON + later + 5, later + 5), Timestamp(NOON + later + 5));
    }

    #[test]
    fn a_backward_step_freezes_timestamps() {
        let mut clock = clock();
        at(&mut clock, NOON + 100, 100);
        assert_eq!(at(&mut clock, NOON - HOUR, 200), Timestamp(NOON + 100));
    }

    #[test]
    fn a_large_forward_step_is_believed_only_after_ten_minutes() {
        let mut clock = clock();
        let stepped = |boot: u64| NOON + 24 * HOUR + boot;
        assert_eq!(at(&mut clock, stepped(1000), 1000), Timestamp(NOON + 1000));
        let almost = CLOCK_STEP_HOLD_MICROS;
        assert_eq!(at(&mut clock, stepped(almost), almost), Timestamp(NOON + almost));
        let held = 1000 + CLOCK_STEP_HOLD_MICROS;
        assert_eq!(at(&mut clock, stepped(held), held), Timestamp(stepped(held)));
    }

    #[test]
    fn a_step_that_boot_time_confirms_is_believed_at_once() {
        let mut clock = clock();
        let later = 48 * HOUR;
        assert_eq!(at(&mut clock, NOON + later, later), Timestamp(NOON + later));
    }

    #[test]
    fn a_new_life_doubts_a_step_since_a_reading_of_the_same_clock_and_believes_another_clock() {
        let day = 24 * HOUR;
        let (stepped, high) = (reading(NOON + day, HOUR), Timestamp(NOON - 5));
        let mut doubting = HybridClock::new(high, Some(reading(NOON, 0)), stepped);
        assert_eq!(doubting.high(), Timestamp(NOON + HOUR), "time went on at the pace of boot time");
        let held = HOUR + CLOCK_STEP_HOLD_MICROS;
        assert!(at(&mut doubting, NOON + day + 1, held - 1) < Timestamp(NOON + 2 * HOUR));
        assert_eq!(at(&mut doubting, NOON + day + 2, held), Timestamp(NOON + day + 2));
        assert_eq!(HybridClock::new(high, None, stepped).high(), Timestamp(NOON + day));
        let confirmed = HybridClock::new(high, Some(reading(NOON, 0)), reading(NOON + day, day));
        assert_eq!(confirmed.high(), Timestamp(NOON + day));
        let given_out = HybridClock::new(Timestamp(NOON + day), Some(reading(NOON, 0)), stepped);
        assert_eq!(given_out.high(), Timestamp(NOON + day), "timestamps of that time have been given");
    }
}
