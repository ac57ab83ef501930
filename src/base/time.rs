//! Time as values. Nothing here reads a clock; the engine does, in one place.

/// Wall-clock time in microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Timestamp(pub(crate) u64);

impl Timestamp {
    /// Microseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time this many microseconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Timestamp {
        Timestamp(micros)
    }

    pub(crate) const fn minus(self, micros: u64) -> Timestamp {
        Timestamp(self.0.saturating_sub(micros))
    }
}

/// Microseconds of `CLOCK_BOOTTIME`: they go on during suspend and never step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct BootTime(pub(crate) u64);

impl BootTime {
    pub(crate) const fn since(self, earlier: BootTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub(crate) const fn plus(self, micros: u64) -> BootTime {
        BootTime(self.0.saturating_add(micros))
    }
}

/// What a machine is told of time: the hybrid wall clock for timestamps and the boot clock for deadlines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    pub(crate) boot: BootTime,
}

/// What both clocks showed at one moment, the wall clock as far as it was believed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct ClockReading {
    pub(crate) wall: Timestamp,
    pub(crate) boot: BootTime,
}

/// Names the clock that boot times are counted on; times of different identities cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ClockIdentity {
    pub(crate) boot_id: [u8; 16],
    pub(crate) time_namespace: u64,
}
