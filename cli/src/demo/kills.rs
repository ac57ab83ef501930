//! What became of each kill, and how long writes stood still.

use std::time::Duration;

use super::Role;

/// A process was killed.
#[derive(Debug)]
pub(super) struct Kill {
    pub(super) role: Role,
    /// It hosted the database.
    pub(super) was_host: bool,
    /// It was a member of the group.
    pub(super) was_member: bool,
    /// How many records were acknowledged by then.
    pub(super) acknowledged: u64,
    pub(super) at_micros: u64,
    /// Who hosted the database then, and since when. Stays `None` where an attached process was killed.
    pub(super) taken_over: Option<(Role, u64)>,
}

impl Kill {
    /// How long nothing was acknowledged around it; `acknowledged_at` is in order. `None` if the host was not killed,
    /// or nothing was left to be written.
    pub(super) fn standstill(&self, acknowledged_at: &[u64]) -> Option<Duration> {
        let (_, taken_over_at) = self.taken_over?;
        // Answers that the dead host had sent arrive after its death, so the longest pause up to the first answer of
        // the next host counts, not the first one.
        let first = acknowledged_at.partition_point(|&at| at <= self.at_micros).checked_sub(1)?;
        let last = acknowledged_at.partition_point(|&at| at < taken_over_at);
        let around = acknowledged_at.get(first..=last)?;
        let longest = around.windows(2).map(|pair| pair[1] - pair[0]).max()?;
        Some(Duration::from_micros(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(at_micros: u64, taken_over_at: Option<u64>) -> Kill {
        let taken_over = taken_over_at.map(|at| (Role::Reader, at));
        Kill {
            role: Role::Host,
            was_host: taken_over.is_some(),
            was_member: false,
            acknowledged: 0,
            at_micros,
            taken_over,
        }
    }

    #[test]
    fn writes_stand_still_from_the_last_answer_of_one_host_to_the_first_of_the_next() {
        let acknowledged_at = [10, 20, 30, 35, 135, 140, 400];
        let standstill = kill(32, Some(130)).standstill(&acknowledged_at);
        assert_eq!(standstill, Some(Duration::from_micros(100)));
    }

    #[test]
    fn nothing_stands_still_where_nothing_is_left_to_write_or_the_host_lives() {
        assert_eq!(kill(32, Some(130)).standstill(&[10, 20]), None);
        assert_eq!(kill(5, Some(130)).standstill(&[10, 200]), None);
        assert_eq!(kill(32, None).standstill(&[10, 200]), None);
    }
}
