//! Saying why processes are turned away, so seldom that a stranger in a loop fills nobody's log.

use crate::base::bounds::REFUSAL_TOLD_MICROS;
use crate::base::sync::Mutex;
use crate::base::time::BootTime;
use crate::storage::disk::clock;
use crate::storage::disk::host::socket::Peer;

use super::wire::NoWelcome;

/// What was told of each kind of refusal.
#[derive(Debug)]
pub(super) struct Refusals(Mutex<Vec<Told>>);

#[derive(Debug)]
struct Told {
    kind: &'static str,
    at: BootTime,
    /// Refusals since, which were not told.
    left_out: u64,
}

impl Refusals {
    pub(super) fn new() -> Refusals {
        Refusals(Mutex::new(Vec::new()))
    }

    /// Logs a refusal, unless one of its kind was logged in the last second; the next tells how many were left out.
    pub(super) fn tell(&self, peer: Option<Peer>, why: &NoWelcome) {
        let Some(left_out) = self.left_out(kind_of(why), clock::boot()) else { return };
        let (pid, uid) = (peer.map(|peer| peer.pid), peer.map(|peer| peer.uid));
        tracing::warn!(pid, uid, %why, left_out, "a connection was refused");
    }

    /// How many of this kind were left out before this one; `None` if this one is.
    fn left_out(&self, kind: &'static str, now: BootTime) -> Option<u64> {
        let mut kinds = self.0.lock();
        let Some(told) = kinds.iter_mut().find(|told| told.kind == kind) else {
            kinds.push(Told { kind, at: now, left_out: 0 });
            return Some(0);
        };
        if now.since(told.at) < REFUSAL_TOLD_MICROS {
            told.left_out += 1;
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.left_out))
    }
}

fn kind_of(why: &NoWelcome) -> &'static str {
    match why {
        NoWelcome::OtherProtocol { .. } => "other protocol",
        NoWelcome::TooMany { .. } => "too many",
        NoWelcome::Stranger { .. } => "stranger",
        NoWelcome::Unreadable => "unreadable",
        NoWelcome::SessionInUse => "session in use",
        NoWelcome::SessionEnded => "session ended",
        NoWelcome::Io(_) => "i/o",
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_refusal_is_told_once_a_second_with_the_number_of_those_left_out() {
        let refusals = Refusals::new();
        let left_out = |kind, micros| refusals.left_out(kind, BootTime(1_000_000_000 + micros));
        assert_eq!(left_out("stranger", 0), Some(0));
        assert_eq!((left_out("stranger", 1), left_out("stranger", REFUSAL_TOLD_MICROS - 1)), (None, None));
        assert_eq!(left_out("unreadable", 2), Some(0), "another kind is told apart");
        assert_eq!(left_out("stranger", REFUSAL_TOLD_MICROS), Some(2));
        assert_eq!(left_out("stranger", REFUSAL_TOLD_MICROS + 1), None);
        assert_eq!(left_out("stranger", REFUSAL_TOLD_MICROS * 3), Some(1));
    }
}
