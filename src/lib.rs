//! Towpath
#![allow(dead_code)]
mod base;
mod engine;
mod index;
mod journal;
mod primitives;
mod storage;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
