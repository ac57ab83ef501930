//! Bugs that the simulator must find. Each weakens one ordering or drops one step where [`is`] says that it is planted.
//!
//! `cargo xtask sim --planted` builds them all at once, with `cfg(planted = "by_name")`, and names one to each run. In
//! any other build nothing is planted, and the compiler leaves nothing of the question.

/// Whether this bug is planted.
#[cfg(planted = "by_name")]
pub(crate) fn is(name: &str) -> bool {
    std::env::var_os("TOWPATH_PLANTED").is_some_and(|planted| planted == name)
}

/// Whether this bug is planted.
#[cfg(not(planted = "by_name"))]
#[inline(always)]
pub(crate) const fn is(_: &str) -> bool {
    false
}
