//! What an exchange may be told.
//!
//! ```text
//! options  type u8 (0 direct, 1 topic, 2 fanout, 3 headers, 4 consistent-hash, 5 the same by a header) ·
//! slice(header),
//!          of 5 alone · u8 (1 allows unroutable) · alternate exchange, 0 for none · dedup, as in `dedup/horizon.rs`
//! ```

use crate::base::bounds::NAME_BYTES_MAX;
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};

use super::super::dedup::Horizon;
use super::super::routing::{ExchangeNumber, Kind};

/// Everything that is said of an exchange but its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ExchangeOptions {
    pub(crate) kind: Kind,
    /// Where what no binding matches goes on to.
    pub(crate) alternate: Option<ExchangeNumber>,
    /// What goes nowhere is accepted all the same.
    pub(crate) allows_unroutable: bool,
    /// How far back the ids of what is published here are remembered.
    pub(crate) dedup: Horizon,
}

impl ExchangeOptions {
    fn header(&self) -> Option<&str> {
        match &self.kind {
            Kind::ConsistentHash { header } => header.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn encoded_len(&self) -> usize {
        let alternate = self.alternate.map_or(0, |alternate| alternate.0);
        let header_len = self.header().map_or(0, |header| slice_len(header.len()));
        1 + header_len + 1 + varint_len(u64::from(alternate)) + self.dedup.encoded_len()
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        out.u8(match &self.kind {
            Kind::Direct => 0,
            Kind::Topic => 1,
            Kind::Fanout => 2,
            Kind::Headers => 3,
            Kind::ConsistentHash { header: None } => 4,
            Kind::ConsistentHash { header: Some(_) } => 5,
        });
        self.header().into_iter().for_each(|header| out.slice(header.as_bytes()));
        out.u8(u8::from(self.allows_unroutable));
        out.varint(u64::from(self.alternate.map_or(0, |alternate| alternate.0)));
        self.dedup.encode(out);
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<ExchangeOptions, Malformed> {
        let kind = match take.u8()? {
            0 => Kind::Direct,
            1 => Kind::Topic,
            2 => Kind::Fanout,
            3 => Kind::Headers,
            4 => Kind::ConsistentHash { header: None },
            5 => Kind::ConsistentHash { header: Some(take.text()?.into()) },
            _ => return Err(Malformed("a type that exchanges do not have")),
        };
        let allows_unroutable = super::super::event::take_bool(take)?;
        let alternate = take.varint32()?;
        let (alternate, dedup) = ((alternate > 0).then_some(ExchangeNumber(alternate)), Horizon::decode(take)?);
        if dedup == Horizon::UntilSettled {
            return Err(Malformed("an exchange that remembers what lives"));
        }
        Ok(ExchangeOptions { kind, allows_unroutable, alternate, dedup })
    }

    /// What is wrong with it in itself: the option, and why.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        self.dedup.check()?;
        if self.dedup == Horizon::UntilSettled {
            return Err(("dedup", "an exchange does not know when messages are settled; a queue does"));
        }
        match self.header() {
            Some("") => Err(("hash header", "a header has a name")),
            Some(header) if header.len() > NAME_BYTES_MAX => Err(("hash header", "its name has at most 255 bytes")),
            _ => Ok(()),
        }
    }

    /// Each option in which the other differs, as `option: here, there`.
    pub(super) fn differences(&self, other: &ExchangeOptions, name: impl Fn(ExchangeNumber) -> String) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differ = |option: &str, ours: String, theirs: String| {
            if ours != theirs {
                differences.push(format!("{option}: {ours}, not {theirs}"));
            }
        };
        differ("type", self.kind.name().to_owned(), other.kind.name().to_owned());
        let header =
            |options: &ExchangeOptions| options.header().map_or("none".to_owned(), |header| format!("`{header}`"));
        differ("hash header", header(self), header(other));
        let alternate = |options: &ExchangeOptions| {
            options.alternate.map_or("none".to_owned(), |alternate| format!("`{}`", name(alternate)))
        };
        differ("alternate", alternate(self), alternate(other));
        let yes_or_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
        differ("allow unroutable", yes_or_no(self.allows_unroutable), yes_or_no(other.allows_unroutable));
        differ("dedup", self.dedup.to_string(), other.dedup.to_string());
        differences
    }
}
