//! Writes to schedules as bytes: of the commands of queues those from 40 to 42.
//!
//! ```text
//! kind u8 · fields
//!   40 schedule          name · plan · count (1) · message
//!   41 remove            name
//!   42 pause             name · u8
//! ```
//!
//! Plans are as in `primitives/queues/schedules/plan.rs`, messages as they are sent to a queue.

use crate::base::codec::{Malformed, Take};
use crate::primitives::queues::{Command as C, Plan};
use crate::processes::questions::put_list;

use super::Out;
use super::queues::{Parsed, put_message};

pub(super) const KINDS: std::ops::RangeInclusive<u8> = 40..=42;

/// `false` if it is no command of schedules.
pub(super) fn put_of_schedules(command: &C<'_>, out: &mut Out) -> bool {
    let head = |kind: u8, name: &str, out: &mut Out| {
        out.u8(kind);
        out.text(name);
    };
    match command {
        C::Schedule { name, plan, message } => {
            head(40, name, out);
            out.put(plan.encoded_len(), |put| plan.encode(put));
            put_list(std::slice::from_ref(*message), out, put_message);
        }
        C::RemoveSchedule { name } => head(41, name, out),
        C::PauseSchedule { name, is_paused } => {
            head(42, name, out);
            out.bool(*is_paused);
        }
        _ => return false,
    }
    true
}

pub(super) fn with_command_of_schedules<T>(
    kind: u8,
    take: &mut Take<'_>,
    then: impl FnOnce(C<'_>) -> T,
) -> Result<T, Malformed> {
    let name = take.text()?;
    let (plan, parsed, messages);
    let command = match kind {
        40 => {
            plan = Plan::decode(take)?;
            parsed = Parsed::take(take)?;
            messages = parsed.messages();
            let [message] = &messages[..] else { return Err(Malformed("a schedule has one message")) };
            C::Schedule { name, plan: &plan, message }
        }
        41 => C::RemoveSchedule { name },
        42 => C::PauseSchedule { name, is_paused: take.u8()? == 1 },
        _ => return Err(Malformed("a command that schedules do not have")),
    };
    take.end()?;
    Ok(then(command))
}
