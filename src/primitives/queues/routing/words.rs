//! Words of routing keys and patterns.
//!
//! A text is split at each `.`; the empty text has no word, and `a..b` has an empty one in its middle.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    (!text.is_empty()).then(|| text.split('.')).into_iter().flatten()
}

#[inline]
pub(super) fn hash(word: &str) -> u64 {
    FixedState::default().hash_one(word)
}

const SHORT_BYTES: usize = 22;

/// A word, in place if it is short: most are, and comparing one then touches no other memory.
#[derive(Clone, Debug)]
pub(super) enum Word {
    Short { len: u8, bytes: [u8; SHORT_BYTES] },
    Long(Box<str>),
}

impl Word {
    pub(super) fn new(word: &str) -> Word {
        if word.len() > SHORT_BYTES {
            return Word::Long(word.into());
        }
        let mut bytes = [0; SHORT_BYTES];
        bytes[..word.len()].copy_from_slice(word.as_bytes());
        Word::Short { len: word.len() as u8, bytes }
    }

    #[inline]
    pub(super) fn is(&self, word: &str) -> bool {
        match self {
            Word::Short { len, bytes } => bytes[..usize::from(*len)] == *word.as_bytes(),
            Word::Long(long) => **long == *word,
        }
    }

    /// As [`hash`] of the text.
    pub(super) fn hash(&self) -> u64 {
        match self {
            Word::Short { len, bytes } => {
                hash(std::str::from_utf8(&bytes[..usize::from(*len)]).expect("it was made of a text"))
            }
            Word::Long(long) => hash(long),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_length_are_themselves_and_hash_as_their_text() {
        let texts: Vec<String> = (0..60).map(|length| "ü".repeat(length / 2) + &"x".repeat(length % 2)).collect();
        for text in &texts {
            let word = Word::new(text);
            assert_eq!(word.hash(), hash(text));
            for other in &texts {
                assert_eq!(word.is(other), text == other, "{text:?} {other:?}");
            }
        }
        assert_eq!(size_of::<Word>(), 24);
    }
}
