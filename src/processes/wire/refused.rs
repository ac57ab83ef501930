//! Refusals and faults as bytes.
//!
//! ```text
//! refusal  tag u8 · fields; tags 1 to 31 are refusals of streams, 32 to 63 of sessions, 64 to 127 faults, 128 on
//!          refusals of queues
//! ```

use std::io;

use crate::base::codec::{Malformed, Take};
use crate::base::lsn::Lsn;
use crate::base::name::NameFault;
use crate::engine::Refused;
use crate::engine::fault::Fault;
use crate::primitives::streams::groups;
use crate::primitives::{Refusal, queues, sessions, streams};

use super::{Out, intern};

type Refusing = Refused<Refusal>;

pub(crate) fn put_refused(refused: &Refusing, out: &mut Out) {
    match refused {
        Refused::Refusal(Refusal::Streams(refusal)) => put_of_streams(refusal, out),
        Refused::Refusal(Refusal::Sessions(refusal)) => put_of_sessions(refusal, out),
        Refused::Refusal(Refusal::Queues(refusal)) => put_of_queues(refusal, out),
        Refused::Fault(fault) => put_fault(fault, out),
    }
}

pub(crate) fn take_refused(take: &mut Take<'_>) -> Result<Refusing, Malformed> {
    let tag = take.u8()?;
    Ok(match tag {
        1..=31 => Refused::Refusal(Refusal::Streams(take_of_streams(tag, take)?)),
        32..=63 => Refused::Refusal(Refusal::Sessions(take_of_sessions(tag, take)?)),
        128.. => Refused::Refusal(Refusal::Queues(take_of_queues(tag, take)?)),
        _ => Refused::Fault(take_fault(tag, take)?),
    })
}

fn put_of_streams(refusal: &streams::Refusal, out: &mut Out) {
    use streams::Refusal as R;
    match refusal {
        R::NotFound => out.u8(1),
        R::NoSuchPartition { partition, partitions } => {
            out.u8(2);
            out.u32(*partition);
            out.u32(*partitions);
        }
        R::Mismatch { differences } => {
            out.u8(3);
            put_texts(differences, out);
        }
        R::InvalidName(fault) => put_name_fault(4, *fault, out),
        R::InvalidOption { option, reason } => {
            out.u8(5);
            out.text(option);
            out.text(reason);
        }
        R::EmptyBatch => out.u8(6),
        R::LimitExceeded { limit, max, actual } => put_limit(7, limit, *max, *actual, out),
        R::WrongOffset { partition, expected, end } => {
            out.u8(8);
            out.u32(*partition);
            out.u64(*expected);
            out.u64(*end);
        }
        R::StaleMapping { partitions, mapping_epoch } => {
            out.u8(9);
            out.u32(*partitions);
            out.u32(*mapping_epoch);
        }
        R::Fenced { producer, current } => {
            out.u8(10);
            out.text(producer);
            out.u64(*current);
        }
        R::Groups(refusal) => put_of_groups(refusal, out),
        R::NoSuchProducer => out.u8(11),
        R::OutOfOrder { partition, sequence, expected } => {
            out.u8(12);
            out.u32(*partition);
            out.u64(*sequence);
            out.u64(*expected);
        }
        R::Overlapping { partition, sequence, records, expected } => {
            out.u8(13);
            out.u32(*partition);
            out.u64(*sequence);
            out.u32(*records);
            out.u64(*expected);
        }
    }
}

fn put_of_groups(refusal: &groups::Refusal, out: &mut Out) {
    use groups::Refusal as R;
    match refusal {
        R::NotFound => out.u8(14),
        R::NotAMember => out.u8(15),
        R::InUse { members } => {
            out.u8(16);
            out.u64(*members);
        }
        R::BeyondEnd { partition, offset, start, end } => {
            out.u8(17);
            out.u32(*partition);
            [*offset, *start, *end].into_iter().for_each(|number| out.u64(number));
        }
    }
}

fn take_of_groups(tag: u8, take: &mut Take<'_>) -> Result<groups::Refusal, Malformed> {
    use groups::Refusal as R;
    Ok(match tag {
        14 => R::NotFound,
        15 => R::NotAMember,
        16 => R::InUse { members: take.u64()? },
        17 => R::BeyondEnd { partition: take.u32()?, offset: take.u64()?, start: take.u64()?, end: take.u64()? },
        _ => return Err(Malformed("a refusal that streams do not have")),
    })
}

fn take_of_streams(tag: u8, take: &mut Take<'_>) -> Result<streams::Refusal, Malformed> {
    use streams::Refusal as R;
    Ok(match tag {
        1 => R::NotFound,
        2 => R::NoSuchPartition { partition: take.u32()?, partitions: take.u32()? },
        3 => R::Mismatch { differences: take_texts(take)? },
        4 => R::InvalidName(take_name_fault(take)?),
        5 => R::InvalidOption { option: intern(take.text()?), reason: intern(take.text()?) },
        6 => R::EmptyBatch,
        7 => {
            let (limit, max, actual) = take_limit(take)?;
            R::LimitExceeded { limit, max, actual }
        }
        8 => R::WrongOffset { partition: take.u32()?, expected: take.u64()?, end: take.u64()? },
        9 => R::StaleMapping { partitions: take.u32()?, mapping_epoch: take.u32()? },
        10 => R::Fenced { producer: take.text()?.into(), current: take.u64()? },
        11 => R::NoSuchProducer,
        12 => R::OutOfOrder { partition: take.u32()?, sequence: take.u64()?, expected: take.u64()? },
        13 => R::Overlapping {
            partition: take.u32()?,
            sequence: take.u64()?,
            records: take.u32()?,
            expected: take.u64()?,
        },
        tag => R::Groups(take_of_groups(tag, take)?),
    })
}

fn put_of_sessions(refusal: &sessions::Refusal, out: &mut Out) {
    use sessions::Refusal as R;
    match refusal {
        R::Ended => out.u8(32),
        R::Forgotten => out.u8(33),
        R::TooManyUnseen { sequence, seen_below } => {
            out.u8(34);
            out.u64(*sequence);
            out.u64(*seen_below);
        }
        R::Twice => out.u8(36),
        R::LimitExceeded { limit, max, actual } => put_limit(35, limit, *max, *actual, out),
    }
}

fn take_of_sessions(tag: u8, take: &mut Take<'_>) -> Result<sessions::Refusal, Malformed> {
    use sessions::Refusal as R;
    Ok(match tag {
        32 => R::Ended,
        33 => R::Forgotten,
        34 => R::TooManyUnseen { sequence: take.u64()?, seen_below: take.u64()? },
        36 => R::Twice,
        35 => {
            let (limit, max, actual) = take_limit(take)?;
            R::LimitExceeded { limit, max, actual }
        }
        _ => return Err(Malformed("a refusal that sessions do not have")),
    })
}

fn put_of_queues(refusal: &queues::Refusal, out: &mut Out) {
    use queues::Refusal as R;
    match refusal {
        R::NotFound => out.u8(128),
        R::Mismatch { differences } => {
            out.u8(129);
            put_texts(differences, out);
        }
        R::InvalidName(fault) => put_name_fault(130, *fault, out),
        R::InvalidOption { option, reason } => {
            out.u8(131);
            out.text(option);
            out.text(reason);
        }
        R::LimitExceeded { limit, max, actual } => put_limit(132, limit, *max, *actual, out),
        R::Full { queue, max } => {
            out.u8(133);
            out.text(queue);
            out.u64(*max);
        }
        R::Unroutable { message } => {
            out.u8(136);
            out.u32(*message);
        }
        R::NoDestination => out.u8(137),
        R::Unfit { reason } => {
            out.u8(138);
            out.text(reason);
        }
        R::IsAlternate { exchange } => {
            out.u8(139);
            out.text(exchange);
        }
        R::IsTarget { queue } => {
            out.u8(140);
            out.text(queue);
        }
        R::OwnTarget => out.u8(141),
        R::IsScheduled { schedule } => {
            out.u8(150);
            out.text(schedule);
        }
        R::InvalidCron { offset, reason } => {
            out.u8(151);
            out.u64(*offset);
            out.text(reason);
        }
        R::Stale => out.u8(134),
        R::InFlight { count } => {
            out.u8(135);
            out.u64(*count);
        }
    }
}

fn take_of_queues(tag: u8, take: &mut Take<'_>) -> Result<queues::Refusal, Malformed> {
    use queues::Refusal as R;
    Ok(match tag {
        128 => R::NotFound,
        129 => R::Mismatch { differences: take_texts(take)? },
        130 => R::InvalidName(take_name_fault(take)?),
        131 => R::InvalidOption { option: intern(take.text()?), reason: intern(take.text()?) },
        132 => {
            let (limit, max, actual) = take_limit(take)?;
            R::LimitExceeded { limit, max, actual }
        }
        133 => R::Full { queue: take.text()?.to_owned(), max: take.u64()? },
        136 => R::Unroutable { message: take.u32()? },
        137 => R::NoDestination,
        138 => R::Unfit { reason: take.text()?.to_owned() },
        139 => R::IsAlternate { exchange: take.text()?.to_owned() },
        140 => R::IsTarget { queue: take.text()?.to_owned() },
        141 => R::OwnTarget,
        150 => R::IsScheduled { schedule: take.text()?.to_owned() },
        151 => R::InvalidCron { offset: take.u64()?, reason: take.text()?.to_owned() },
        134 => R::Stale,
        135 => R::InFlight { count: take.u64()? },
        _ => return Err(Malformed("a refusal that queues do not have")),
    })
}

fn put_name_fault(tag: u8, fault: NameFault, out: &mut Out) {
    out.u8(tag);
    let (kind, bytes) = match fault {
        NameFault::Empty => (0, 0),
        NameFault::TooLong(bytes) => (1, bytes as u64),
        NameFault::Control => (2, 0),
        NameFault::Reserved => (3, 0),
    };
    out.u8(kind);
    out.varint(bytes);
}

fn take_name_fault(take: &mut Take<'_>) -> Result<NameFault, Malformed> {
    match (take.u8()?, take.varint()?) {
        (0, _) => Ok(NameFault::Empty),
        (1, bytes) => Ok(NameFault::TooLong(bytes as usize)),
        (2, _) => Ok(NameFault::Control),
        (3, _) => Ok(NameFault::Reserved),
        _ => Err(Malformed("a fault of a name that is none")),
    }
}

fn put_texts(texts: &[String], out: &mut Out) {
    out.varint(texts.len() as u64);
    texts.iter().for_each(|text| out.text(text));
}

fn take_texts(take: &mut Take<'_>) -> Result<Vec<String>, Malformed> {
    let count = take.varint()?;
    (0..count).map(|_| take.text().map(str::to_owned)).collect()
}

fn put_limit(tag: u8, limit: &str, max: u64, actual: u64, out: &mut Out) {
    out.u8(tag);
    out.text(limit);
    out.u64(max);
    out.u64(actual);
}

fn take_limit(take: &mut Take<'_>) -> Result<(&'static str, u64, u64), Malformed> {
    Ok((intern(take.text()?), take.u64()?, take.u64()?))
}

fn put_fault(fault: &Fault, out: &mut Out) {
    match fault {
        Fault::StorageFull => out.u8(64),
        Fault::Poisoned => out.u8(65),
        Fault::OutcomeUnknown => out.u8(66),
        Fault::TimedOut => out.u8(67),
        Fault::Unconfirmed => out.u8(68),
        Fault::Closed => out.u8(69),
        Fault::Forked => out.u8(70),
        Fault::Contended => out.u8(71),
        Fault::FrameTooLarge { max, actual } => {
            out.u8(72);
            out.u64(*max);
            out.u64(*actual);
        }
        Fault::Corrupt { file, offset, from, to, reason } => {
            out.u8(73);
            out.text(file);
            out.u64(*offset);
            out.u64(from.0);
            out.u64(to.0);
            out.text(reason);
        }
        Fault::FileGone(lost) => put_fault(lost, out),
        Fault::Io { attempt, source } => put_io(attempt, source, out),
        // What only opening a database meets is no answer of one that is open; its words are.
        other => put_io("hosting the database", &io::Error::other(other.to_string()), out),
    }
}

fn put_io(attempt: &str, source: &io::Error, out: &mut Out) {
    out.u8(74);
    out.text(attempt);
    out.option(source.raw_os_error(), |out, code| out.u32(code as u32));
    out.text(&source.to_string());
}

fn take_fault(tag: u8, take: &mut Take<'_>) -> Result<Fault, Malformed> {
    Ok(match tag {
        64 => Fault::StorageFull,
        65 => Fault::Poisoned,
        66 => Fault::OutcomeUnknown,
        67 => Fault::TimedOut,
        68 => Fault::Unconfirmed,
        69 => Fault::Closed,
        70 => Fault::Forked,
        71 => Fault::Contended,
        72 => Fault::FrameTooLarge { max: take.u64()?, actual: take.u64()? },
        73 => {
            let (file, offset) = (take.text()?.to_owned(), take.u64()?);
            let (from, to) = (Lsn(take.u64()?), Lsn(take.u64()?));
            Fault::Corrupt { file, offset, from, to, reason: take.text()?.to_owned() }
        }
        74 => {
            let attempt = intern(take.text()?);
            let code = super::take_option(take, Take::u32)?;
            let text = take.text()?;
            let source = code.map_or_else(|| io::Error::other(text), |code| io::Error::from_raw_os_error(code as i32));
            Fault::Io { attempt, source }
        }
        _ => return Err(Malformed("a fault that there is not")),
    })
}
