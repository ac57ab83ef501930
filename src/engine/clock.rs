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

    pub(crate) fn reading(&self) -> ClockReading {
        ClockReading { wall: self.wall(), boot: self.boot() }
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

    /// The time of a reading. The boot clock is read only when the wall clock has moved.
    #[inline]
    pub(crate) fn stamp(&mut self, wall: Timestamp, boot: impl FnOnce() -> BootTime) -> Now {
        if wall != self.last_wall {
            self.observe(wall, boot());
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

    #[test]
    fn timestamps_follow_the_wall_clock() {
        let mut clock = clock();
        assert_eq!(clock.stamp(Timestamp(NOON + 5), || BootTime(5)).wall, Timestamp(NOON + 5));
    }

    #[test]
    fn a_backward_step_freezes_timestamps() {
        let mut clock = clock();
        clock.stamp(Timestamp(NOON + 100), || BootTime(100));
        assert_eq!(clock.stamp(Timestamp(NOON - HOUR), || BootTime(200)).wall, Timestamp(NOON + 100));
    }

    #[test]
    fn a_large_forward_step_is_believed_only_after_ten_minutes() {
        let mut clock = clock();
        let stepped = |boot: u64| Timestamp(NOON + 24 * HOUR + boot);
        assert_eq!(clock.stamp(stepped(1000), || BootTime(1000)).wall, Timestamp(NOON + 1000));
        let almost = CLOCK_STEP_HOLD_MICROS;
        assert_eq!(clock.stamp(stepped(almost), || BootTime(almost)).wall, Timestamp(NOON + almost));
        let held = 1000 + CLOCK_STEP_HOLD_MICROS;
        assert_eq!(clock.stamp(stepped(held), || BootTime(held)).wall, stepped(held));
    }

    #[test]
    fn a_step_that_boot_time_confirms_is_believed_at_once() {
        let mut clock = clock();
        let later = 48 * HOUR;
        assert_eq!(clock.stamp(Timestamp(NOON + later), || BootTime(later)).wall, Timestamp(NOON + later));
    }

    #[test]
    fn a_new_life_doubts_a_step_since_a_reading_of_the_same_clock_and_believes_another_clock() {
        let day = 24 * HOUR;
        let (stepped, high) = (reading(NOON + day, HOUR), Timestamp(NOON - 5));
        let mut doubting = HybridClock::new(high, Some(reading(NOON, 0)), stepped);
        assert_eq!(doubting.high(), Timestamp(NOON + HOUR), "time went on at the pace of boot time");
        let held = HOUR + CLOCK_STEP_HOLD_MICROS;
        assert!(doubting.stamp(Timestamp(NOON + day + 1), || BootTime(held - 1)).wall < Timestamp(NOON + 2 * HOUR));
        assert_eq!(doubting.stamp(Timestamp(NOON + day + 2), || BootTime(held)).wall, Timestamp(NOON + day + 2));
        assert_eq!(HybridClock::new(high, None, stepped).high(), Timestamp(NOON + day));
        let confirmed = HybridClock::new(high, Some(reading(NOON, 0)), reading(NOON + day, day));
        assert_eq!(confirmed.high(), Timestamp(NOON + day));
        let given_out = HybridClock::new(Timestamp(NOON + day), Some(reading(NOON, 0)), stepped);
        assert_eq!(given_out.high(), Timestamp(NOON + day), "timestamps of that time have been given");
    }
}
