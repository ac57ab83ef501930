//! How durable a write is when its call returns.

/// How durable a write is when its call returns.
///
/// | | `Sync` | `Buffered` |
/// |---|---|---|
/// | the process is killed | it is there | it is there |
/// | power cut, kernel crash | it is there | the newest part of the journal may be gone, never a part in the middle |
/// | others see it | once it is on disk | at once |
///
/// A write takes the level it names, else its stream's, else the database's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// On disk: it survives a power cut. Costs one data sync, shared by all who wait at the same time.
    #[default]
    Sync,
    /// In the staging ring: it survives the death of the process; a power cut may undo the newest writes, within the
    /// flush interval. Costs no system call.
    Buffered,
}

/// The level that a write is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    Named(Level),
    /// That of the object written to, as it stands when the write is decided; `otherwise` if it has none.
    OfObject {
        otherwise: Level,
    },
}

impl From<Level> for Wanted {
    #[inline]
    fn from(level: Level) -> Wanted {
        Wanted::Named(level)
    }
}

impl Wanted {
    #[inline]
    pub(crate) fn level(self, of_object: impl FnOnce() -> Option<Level>) -> Level {
        match self {
            Wanted::Named(level) => level,
            Wanted::OfObject { otherwise } => of_object().unwrap_or(otherwise),
        }
    }
}
