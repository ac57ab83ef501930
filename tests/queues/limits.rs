//! Each bound is a named limit, each option has its sense; what goes against them is refused, and nothing is stored.

use std::time::Duration;

use towpath::{Backoff, Error, Header, Message, Queue, QueueOptions, Timestamp};

use crate::consumer::{MINUTE, SECOND, TOO_LONG, clocked, counts, drain, queue, send_all, take, take_now};
use crate::opening::database;
use crate::place::eventually;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The refusal must name the limit with these numbers, and the queue must still be empty.
#[track_caller]
fn expect_limit<T: std::fmt::Debug>(queue: &Queue, refused: Result<T, Error>, name: &str, max: usize, actual: usize) {
    match refused {
        Err(error @ Error::LimitExceeded { limit, max: m, actual: a }) => {
            assert_eq!((limit, m, a), (name, max as u64, actual as u64));
            let text = error.to_string();
            assert!(text.contains(&format!(" at most {max}")) && text.contains(&format!("not {actual}; ")), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(counts(queue), [0; 4]);
}

#[track_caller]
fn expect_invalid<T: std::fmt::Debug>(refused: Result<T, Error>) {
    let Err(Error::InvalidOption { option, reason }) = &refused else { panic!("{refused:?}") };
    assert!(!option.is_empty() && !reason.is_empty());
}

#[test]
fn a_body_has_at_most_one_mebibyte() {
    let (_db, mails) = queue(QueueOptions::new());
    let body = vec![7; MIB + 1];
    expect_limit(&mails, mails.send(&body[..]), "body bytes", MIB, MIB + 1);
    let batch = [Message::from("one"), Message::new(&body), Message::from("three")];
    expect_limit(&mails, mails.send_batch(&batch), "body bytes", MIB, MIB + 1);
    mails.send(&body[..MIB]).unwrap();
}

#[test]
fn a_key_has_at_most_64_kibibytes_and_so_have_the_headers_together() {
    let (_db, mails) = queue(QueueOptions::new());
    let long = vec![7; 64 * KIB + 1];
    expect_limit(&mails, mails.send(Message::from("a mail").key(&long)), "key bytes", 64 * KIB, 64 * KIB + 1);
    let many: Vec<Header<'_>> = (0..70).map(|_| Header { name: "trace", value: &long[..KIB] }).collect();
    for headers in [&[Header { name: "trace", value: &long[1..] }][..], &many] {
        let refused = mails.send(Message::from("a mail").headers(headers));
        let Err(Error::LimitExceeded { limit, max, actual }) = refused else { panic!("{refused:?}") };
        assert_eq!((limit, max), ("header block bytes", 64 << 10));
        assert!(actual > max);
    }
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn a_message_at_every_limit_at_once_fits() {
    let (_db, mails) = queue(QueueOptions::new());
    let (body, key, value, group) = (vec![1; MIB], vec![2; 64 * KIB], vec![3; 65_000], "g".repeat(255));
    let headers = [Header { name: "largest", value: &value }];
    let far = Timestamp::from_micros(9_000_000_000_000_000);
    let message = Message::new(&body).key(&key).headers(&headers).group(&group).priority(31).ttl(MINUTE);
    mails.send(message.deadline(far).max_attempts(u32::MAX)).unwrap();
    let mail = take(&mails);
    assert!(mail.body() == body && mail.key() == Some(&key[..]) && mail.group() == Some(&group));
    assert!(mail.headers().eq(headers));
}

#[test]
fn a_batch_has_at_most_half_the_staging_ring_and_beyond_it_nothing_is_stored() {
    let (_db, mails) = queue(QueueOptions::new());
    let body = vec![7; 256 * KIB];
    let over: Vec<Message<'_>> = (0..9).map(|priority| Message::new(&body).priority(priority)).collect();
    let refused = mails.send_batch(&over);
    let Err(Error::LimitExceeded { limit, max, actual }) = refused else { panic!("{refused:?}") };
    assert_eq!(limit, "batch bytes");
    assert!(max as usize <= 2 * MIB && actual as usize >= 9 * 256 * KIB, "{max} {actual}");
    assert_eq!(counts(&mails), [0; 4]);
    mails.send_batch(&over[..7]).unwrap();
    assert_eq!(counts(&mails), [7, 0, 0, 0]);
    assert_eq!(take(&mails).priority(), 6);
}

#[test]
fn a_batch_has_at_most_65536_messages_and_at_least_one() {
    let (_db, mails) = queue(QueueOptions::new());
    let messages = vec![Message::from("a"); 65_537];
    let refused = mails.send_batch(&messages);
    let Err(Error::LimitExceeded { max, actual, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((max, actual), (65_536, 65_537));
    expect_invalid(mails.send_batch(&[]));
    assert_eq!(counts(&mails), [0; 4]);
    assert_eq!(mails.send_batch(&messages[1..]).unwrap().messages, 65_536);
    assert_eq!(counts(&mails), [65_536, 0, 0, 0]);
    assert_eq!(mails.purge().unwrap(), 65_536);
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn a_message_that_makes_no_sense_is_refused_with_its_whole_batch() {
    let (_db, mails) = queue(QueueOptions::new());
    let message = Message::from("a mail");
    let senseless =
        [message.max_attempts(0), message.delay(TOO_LONG), message.delay(Duration::MAX), message.ttl(TOO_LONG)];
    for message in senseless {
        expect_invalid(mails.send(message));
        expect_invalid(mails.send_batch(&[Message::from("before"), message, Message::from("behind")]));
        assert_eq!(counts(&mails), [0; 4], "{message:?}");
    }
}

#[test]
fn a_priority_is_at_most_31() {
    let (_db, mails) = queue(QueueOptions::new());
    for priority in [32, 255] {
        let message = Message::from("a mail").priority(priority);
        expect_limit(&mails, mails.send(message), "priority", 31, usize::from(priority));
        expect_limit(
            &mails,
            mails.send_batch(&[Message::from("before"), message]),
            "priority",
            31,
            usize::from(priority),
        );
    }
}

#[test]
fn a_group_is_named_as_everything_is() {
    let (_db, mails) = queue(QueueOptions::new());
    for group in ["", "$alice", "al\nice", "al\0ice"] {
        let refused = mails.send(Message::from("a mail").group(group));
        let Err(Error::InvalidName { name, .. }) = &refused else { panic!("{group:?}: {refused:?}") };
        assert_eq!(name, group, "the name that is wrong is the group's");
    }
    let long = "g".repeat(256);
    let refused = mails.send(Message::from("a mail").group(&long));
    assert!(matches!(refused, Err(Error::LimitExceeded { max: 255, actual: 256, .. })), "{refused:?}");
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn a_full_queue_refuses_and_stores_nothing() {
    let (_db, mails) = queue(QueueOptions::new().max_messages(3));
    send_all(&mails, &["one", "two"]);
    let refused = mails.send_batch(&[Message::from("three"), Message::from("four")]);
    let Err(Error::Full { queue, max }) = refused else { panic!("{refused:?}") };
    assert_eq!((queue.as_str(), max), ("mails", 3));
    assert_eq!(counts(&mails), [2, 0, 0, 0], "all of a batch or none");
    mails.send(Message::from("three").delay(MINUTE)).unwrap();
    assert!(matches!(mails.send("four"), Err(Error::Full { .. })), "the delayed one counts");
    take_now(&mails, "one").ack().unwrap();
    mails.send("four").unwrap();
    assert!(matches!(mails.send("five"), Err(Error::Full { .. })));
}

#[test]
fn what_is_in_flight_takes_no_place_and_what_comes_back_enters_always() {
    let (clock, _db, mails) =
        clocked(QueueOptions::new().max_messages(2).visibility_timeout(MINUTE).backoff(Backoff::none()));
    send_all(&mails, &["one", "two"]);
    let (one, _kept) = (take_now(&mails, "one"), take_now(&mails, "two"));
    send_all(&mails, &["three", "four"]);
    assert!(matches!(mails.send("five"), Err(Error::Full { .. })));
    one.release().unwrap();
    assert_eq!(counts(&mails), [3, 0, 1, 0]);
    clock.advance(MINUTE);
    eventually("the other is taken back", || counts(&mails) == [4, 0, 0, 0]);
    assert!(matches!(mails.send("five"), Err(Error::Full { .. })));
    assert_eq!(drain(&mails), ["one", "two", "three", "four"]);
    mails.send("five").unwrap();
}

#[test]
fn a_limit_that_is_tightened_or_lifted_holds_from_then_on() {
    let (db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three"]);
    db.ensure_queue("mails", QueueOptions::new().max_messages(2)).unwrap();
    assert_eq!(counts(&mails), [3, 0, 0, 0], "what is there stays");
    assert!(matches!(mails.send("four"), Err(Error::Full { .. })));
    take_now(&mails, "one").ack().unwrap();
    assert!(matches!(mails.send("four"), Err(Error::Full { .. })));
    take_now(&mails, "two").ack().unwrap();
    mails.send("four").unwrap();
    db.ensure_queue("mails", QueueOptions::new()).unwrap();
    send_all(&mails, &["five", "six"]);
}

#[test]
fn options_that_make_no_sense_are_refused_and_no_queue_is_made() {
    let db = database();
    let options = QueueOptions::new;
    let senseless = [
        options().max_attempts(0),
        options().visibility_timeout(Duration::ZERO),
        options().visibility_timeout(TOO_LONG),
        options().visibility_timeout(Duration::MAX),
        options().ttl(TOO_LONG),
        options().max_messages(0),
        options().backoff(Backoff::fixed(TOO_LONG)),
        options().backoff(Backoff::exponential(SECOND, TOO_LONG)),
    ];
    for options in &senseless {
        expect_invalid(db.create_queue("mails", options.clone()));
        expect_invalid(db.ensure_queue("mails", options.clone()));
        assert!(db.queue_names().unwrap().is_empty(), "{options:?}");
    }
    db.create_queue("mails", options()).unwrap();
    for options in senseless {
        expect_invalid(db.ensure_queue("mails", options));
    }
    assert_eq!(db.queue("mails").unwrap().describe().unwrap().options, options());
}
