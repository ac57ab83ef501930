//! Several processes on one directory.

mod attach;
#[path = "../place/mod.rs"]
mod place;
