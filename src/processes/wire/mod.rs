//! The bytes between an attached process and its host. Integers are varints unless a width is given.
//!
//! After the greeting (`greeting.rs`) both sides send frames, in any order and number:
//!
//! ```text
//! to the host    length u32 · kind u8 · request · body of the operation
//! from the host  length u32 · outcome u8 · request · body of the answer
//! ```
//!
//! `length` counts what follows it and is looked at before anything is allocated. `request` is the asker's number of
//! the request; writes (`Submit`) are numbered by their sequence in the session, everything else by itself, which bit 7
//! of the outcome tells. Outcomes: 0 answered, 1 refused (`refused.rs`). One request has one answer, but for those that
//! want none. Answers come in any order.

mod command;
mod exchanges;
mod greeting;
mod groups;
mod out;
mod queues;
mod refused;
mod schedules;
mod streams;

pub(crate) use command::{Submit, put_submitted, take_submitted};
pub(crate) use greeting::{Greeting, NoWelcome, PROTOCOL, Welcome, greet, receive_greeting, refuse, welcome};
pub(crate) use out::Out;
pub(crate) use refused::{put_refused, take_refused};
pub(crate) use streams::{put_handle, put_mappings, take_handle, take_mappings};

use once_cell::race::OnceBox;

use crate::base::bounds::WIRE_FRAME_BYTES_MAX;
use crate::base::codec::{Malformed, Take};

/// Set in the outcome of an answer to a write.
pub(crate) const OF_WRITE: u8 = 0x80;

pub(crate) const ANSWERED: u8 = 0;
pub(crate) const REFUSED: u8 = 1;

/// Bytes of a frame's length.
pub(crate) const LENGTH_BYTES: usize = 4;

/// The frame at the start of `bytes` (without its length), and how many bytes it takes; `None` if it is not whole yet.
pub(crate) fn split_frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > WIRE_FRAME_BYTES_MAX {
        return Err(Malformed("a frame over the limit"));
    }
    let end = LENGTH_BYTES + length;
    Ok(bytes.get(LENGTH_BYTES..end).map(|frame| (frame, end)))
}

/// The text of another process as one of ours: options and limits have names that live as long as the program. There
/// are few; beyond [`TEXTS_MAX`] all further ones are told alike. Takes no mutex, which a thread could hold at a fork.
pub(crate) fn intern(text: &str) -> &'static str {
    let others = "what the host names";
    if text.len() > TEXT_BYTES_MAX {
        return others;
    }
    // Where another thread is faster, its text is what is found there.
    let mut known = TEXTS.iter().map(|place| &**place.get_or_init(|| Box::new(text.into())));
    known.find(|known| *known == text).unwrap_or(others)
}

const TEXTS_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 256;

static TEXTS: [OnceBox<Box<str>>; TEXTS_MAX] = [const { OnceBox::new() }; TEXTS_MAX];

/// A value that may be missing: a byte tells.
pub(crate) fn take_option<'a, T>(
    take: &mut Take<'a>,
    some: impl FnOnce(&mut Take<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    match take.u8()? {
        0 => Ok(None),
        1 => some(take).map(Some),
        _ => Err(Malformed("an option that is neither there nor not")),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_off_once_it_is_whole_and_a_length_over_the_limit_is_refused_at_once() {
        let mut out = Out::new();
        out.frame(7, |out| out.slice(b"one blue mug"));
        let bytes = out.bytes();
        for cut in 0..bytes.len() {
            assert_eq!(split_frame(&bytes[..cut]), Ok(None));
        }
        let (frame, end) = split_frame(bytes).unwrap().unwrap();
        assert_eq!((frame[0], end), (7, bytes.len()));
        assert!(split_frame(&u32::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn texts_of_another_process_are_kept_once_and_not_without_bound() {
        assert_eq!(intern("body bytes"), "body bytes");
        assert!(std::ptr::eq(intern("body bytes"), intern(&String::from("body bytes"))));
        assert_eq!(intern(&"x".repeat(TEXT_BYTES_MAX + 1)), "what the host names");
    }
}
