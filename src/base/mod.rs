//! What every layer may rely on and nothing that touches a file: bounds, addresses, time types, the codec, and the one
//! facade over threads, locks and atomics.

pub(crate) mod bounds;
pub(crate) mod codec;
pub(crate) mod crc;
pub(crate) mod hinted;
pub(crate) mod level;
pub(crate) mod log;
pub(crate) mod lsn;
pub(crate) mod name;
pub(crate) mod planted;
pub(crate) mod row;
pub(crate) mod run;
pub(crate) mod segment_id;
pub(crate) mod sync;
pub(crate) mod time;
