//! Towpath
mod base;
