//! How durable a write is when its call returns.

/// How durable a write is when its call returns.
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
