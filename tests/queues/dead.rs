//! Dead letters.

use towpath::{Backoff, DeadLetter, DeathReason, Error, Header, Level, Message, Queue, QueueOptions};

use crate::consumer::{
    HOUR, MINUTE, clocked, counts, drain, expect_nothing, expect_stale, noon_and, queue, reject_all, send_all, take,
    take_now, text, text_of_letter,
};
use crate::place::eventually;

fn at_once() -> QueueOptions {
    QueueOptions::new().backoff(Backoff::none())
}

fn letters(queue: &Queue) -> Vec<DeadLetter> {
    queue.dead_letters(None, usize::MAX).unwrap()
}

fn bodies(letters: &[DeadLetter]) -> Vec<String> {
    letters.iter().map(text_of_letter).collect()
}

fn errors(letter: &DeadLetter) -> Vec<&str> {
    letter.failures().iter().map(|failure| failure.error.as_str()).collect()
}

#[test]
fn a_dead_letter_tells_what_was_sent_when_and_why_it_died() {
    let (clock, _db, mails) = clocked(at_once());
    let headers = [Header { name: "traceparent", value: b"00-ab-cd-01" }];
    let message = Message::from("to nobody").key(b"customer-7").headers(&headers).group("alice").priority(9);
    let sent = mails.send(message).unwrap();
    clock.advance(MINUTE);
    take(&mails).fail("greylisted").unwrap();
    clock.advance(MINUTE);
    take(&mails).reject("no such address").unwrap();
    let letter = &letters(&mails)[0];
    let message = letter.message().unwrap();
    assert_eq!(
        (message.body(), message.key(), message.group()),
        (&b"to nobody"[..], Some(&b"customer-7"[..]), Some("alice"))
    );
    assert_eq!((letter.priority(), letter.sequence()), (9, sent.sequence));
    assert_eq!((message.priority(), message.sequence(), message.lsn()), (9, sent.sequence, sent.lsn()));
    assert_eq!(message.headers().collect::<Vec<_>>(), headers);
    assert_eq!(letter.reason(), DeathReason::Rejected);
    assert!(message.timestamp() < noon_and(MINUTE));
    assert!((noon_and(2 * MINUTE)..noon_and(3 * MINUTE)).contains(&letter.died_at()));
    assert_eq!(errors(letter), ["no such address", "greylisted"]);
    let first = letter.failures()[1].timestamp;
    assert!((noon_and(MINUTE)..noon_and(2 * MINUTE)).contains(&first));
}

#[test]
fn the_last_ten_errors_are_told_the_newest_first() {
    let (_db, mails) = queue(at_once().max_attempts(15));
    mails.send("to nobody").unwrap();
    for attempt in 1..=15 {
        take(&mails).fail(&format!("attempt {attempt}")).unwrap();
    }
    let letter = &letters(&mails)[0];
    assert_eq!(letter.failed_attempts(), 15);
    let expected: Vec<String> = (6..=15).rev().map(|attempt| format!("attempt {attempt}")).collect();
    assert_eq!(errors(letter), expected);
}

#[test]
fn each_letter_has_its_own_errors() {
    let (_db, mails) = queue(at_once().max_attempts(3));
    send_all(&mails, &["one", "two", "three"]);
    for round in 1..=3 {
        for mail in mails.receive_batch(3).unwrap() {
            let error = format!("{} in round {round}", text(&mail));
            mail.fail(&error).unwrap();
        }
    }
    for letter in &letters(&mails) {
        let body = text_of_letter(letter);
        assert_eq!(errors(letter), [3, 2, 1].map(|round| format!("{body} in round {round}")));
    }
    assert_eq!(counts(&mails), [0, 0, 0, 3]);
}

#[test]
fn an_error_is_kept_up_to_1024_bytes_and_cut_between_characters() {
    let (_db, mails) = queue(at_once());
    send_all(&mails, &["one", "two", "three"]);
    let exact = "x".repeat(1024);
    let umlauts = "x".to_owned() + &"ü".repeat(600);
    take(&mails).reject(&(exact.clone() + "and more")).unwrap();
    take(&mails).reject(&umlauts).unwrap();
    take(&mails).reject("").unwrap();
    let letters = letters(&mails);
    assert_eq!(errors(&letters[0]), [exact.as_str()]);
    let kept = errors(&letters[1])[0];
    assert!(umlauts.starts_with(kept) && (1021..=1024).contains(&kept.len()), "{}", kept.len());
    assert_eq!(errors(&letters[2]), [""]);
}

#[test]
fn an_error_may_be_larger_than_a_frame() {
    let (_db, mails) = queue(at_once());
    send_all(&mails, &["failed", "rejected"]);
    let huge = "x".repeat(17 << 20);
    take_now(&mails, "failed").fail(&huge).unwrap();
    take_now(&mails, "failed").ack().unwrap();
    take_now(&mails, "rejected").reject(&huge).unwrap();
    assert_eq!(errors(&letters(&mails)[0]), [&huge[..1024]]);
}

#[test]
fn letters_come_by_priority_and_sequence_page_by_page() {
    let (_db, mails) = queue(QueueOptions::new().level(Level::Buffered));
    let sent: Vec<(u8, String)> = (0..700).map(|number| ((number % 3) as u8, format!("mail {number}"))).collect();
    let batch: Vec<_> = sent.iter().map(|(priority, body)| Message::from(body).priority(*priority)).collect();
    mails.send_batch(&batch).unwrap();
    reject_all(&mails, "no such address");
    assert_eq!(counts(&mails), [0, 0, 0, 700]);
    let mut expected = sent;
    expected.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    let expected: Vec<String> = expected.into_iter().map(|(_, body)| body).collect();
    for page_size in [1000, 100, 7] {
        let (mut seen, mut last) = (Vec::new(), None);
        loop {
            let page = mails.dead_letters(last.as_ref(), page_size).unwrap();
            assert!(page.len() <= page_size.min(256));
            seen.extend(bodies(&page));
            let Some(letter) = page.into_iter().next_back() else { break };
            last = Some(letter);
        }
        assert!(seen == expected, "{} of 700 by {page_size}", seen.len());
    }
    assert!(mails.dead_letters(None, 0).unwrap().is_empty());
}

#[test]
fn a_page_begins_behind_a_letter_that_has_gone_meanwhile() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three", "four"]);
    reject_all(&mails, "no such address");
    let first = mails.dead_letters(None, 2).unwrap();
    assert_eq!(bodies(&first), ["one", "two"]);
    mails.purge_dead(&first).unwrap();
    assert_eq!(bodies(&mails.dead_letters(first.last(), 2).unwrap()), ["three", "four"]);
}

#[test]
fn redriven_letters_are_new_messages_behind_those_that_are_there() {
    let (_db, mails) = queue(at_once().max_attempts(2));
    let headers = [Header { name: "traceparent", value: b"00-ab-cd-01" }, Header { name: "empty", value: b"" }];
    mails.send(Message::from("one").key(b"customer-7").headers(&headers).group("alice")).unwrap();
    mails.send(Message::from("high").priority(9)).unwrap();
    let sequences = [take(&mails), take(&mails)].map(|mail| {
        let sequence = mail.sequence();
        mail.reject("no such address").unwrap();
        sequence
    });
    mails.send("there before").unwrap();
    let dead = letters(&mails);
    mails.redrive(&dead).unwrap();
    assert_eq!(counts(&mails), [3, 0, 0, 0]);
    assert!(letters(&mails).is_empty());
    let high = take_now(&mails, "high");
    assert!(high.priority() == 9 && high.sequence() > sequences[0]);
    high.ack().unwrap();
    take_now(&mails, "there before").ack().unwrap();
    let one = take_now(&mails, "one");
    assert_eq!((one.attempt(), one.hand_outs()), (1, 1), "it begins anew");
    assert_eq!((one.key(), one.group()), (Some(&b"customer-7"[..]), Some("alice")));
    assert_eq!(one.headers().collect::<Vec<_>>(), headers);
    assert!(one.sequence() > sequences[1]);
    one.fail("again").unwrap();
    take_now(&mails, "one").fail("and again").unwrap();
    let letter = &letters(&mails)[0];
    assert_eq!(errors(letter), ["and again", "again", "no such address"], "its history goes with it");
    assert_eq!(letter.failed_attempts(), 2);
}

#[test]
fn a_message_redriven_again_and_again_keeps_its_last_ten_errors() {
    let (_db, mails) = queue(at_once());
    mails.send("to nobody").unwrap();
    for round in 0..13 {
        take_now(&mails, "to nobody").reject(&format!("round {round}")).unwrap();
        mails.redrive(&letters(&mails)).unwrap();
    }
    take_now(&mails, "to nobody").reject("the last").unwrap();
    let letters = letters(&mails);
    assert_eq!(errors(&letters[0]).len(), 10);
    assert_eq!(errors(&letters[0])[..2], ["the last", "round 12"]);
}

#[test]
fn an_expired_letter_lives_anew_once_it_is_redriven() {
    let (clock, _db, mails) = clocked(at_once().ttl(MINUTE));
    mails.send("your code is 1234").unwrap();
    mails.send(Message::from("a sale").deadline(noon_and(MINUTE))).unwrap();
    clock.advance(MINUTE);
    eventually("both are dead", || counts(&mails) == [0, 0, 0, 2]);
    let dead = letters(&mails);
    assert_eq!([dead[0].reason(), dead[1].reason()], [DeathReason::Expired, DeathReason::Deadline]);
    clock.advance(HOUR);
    mails.redrive(&dead).unwrap();
    assert_eq!(counts(&mails), [2, 0, 0, 0]);
    clock.advance(MINUTE / 2);
    assert_eq!(drain(&mails), ["your code is 1234", "a sale"]);
}

#[test]
fn a_redriven_message_keeps_its_own_ttl_which_counts_anew_and_its_own_attempts() {
    let (clock, _db, mails) = clocked(at_once());
    mails.send(Message::new(b"one").ttl(HOUR).max_attempts(1)).unwrap();
    clock.advance(HOUR / 2);
    reject_all(&mails, "no such address");
    mails.redrive(&letters(&mails)).unwrap();
    clock.advance(HOUR * 3 / 4);
    take_now(&mails, "one").fail("still no such address").unwrap();
    assert_eq!(letters(&mails)[0].reason(), DeathReason::AttemptsExhausted);
    mails.redrive(&letters(&mails)).unwrap();
    clock.advance(HOUR);
    assert!(mails.try_receive().unwrap().is_none());
    assert_eq!(letters(&mails)[0].reason(), DeathReason::Expired);
}

#[test]
fn a_letter_is_redriven_once_and_with_one_that_has_gone_none_is() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two"]);
    reject_all(&mails, "no such address");
    let dead = letters(&mails);
    mails.redrive(&dead[..1]).unwrap();
    expect_stale(mails.redrive(&dead[..1]));
    expect_stale(mails.redrive(&dead));
    assert_eq!(counts(&mails), [1, 0, 0, 1]);
    mails.redrive(&[]).unwrap();
    mails.redrive(&dead[1..]).unwrap();
    assert_eq!(drain(&mails), ["one", "two"]);
}

#[test]
fn a_letter_that_is_named_twice_is_redriven_once_or_not_at_all() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one"]);
    reject_all(&mails, "no such address");
    let letter = letters(&mails).remove(0);
    let redriven = mails.redrive(&[letter.clone(), letter.clone()]);
    let expected = if redriven.is_ok() { [1, 0, 0, 0] } else { [0, 0, 0, 1] };
    assert_eq!(counts(&mails), expected, "{redriven:?}");
    reject_all(&mails, "no such address");
    let letter = letters(&mails).remove(0);
    mails.purge_dead(&[letter.clone(), letter]).unwrap();
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn letters_of_another_queue_are_not_taken_for_ones_of_this() {
    let (db, mails) = queue(QueueOptions::new());
    let orders = db.create_queue("orders", QueueOptions::new()).unwrap();
    send_all(&mails, &["to nobody"]);
    send_all(&orders, &["one blue mug"]);
    reject_all(&mails, "no such address");
    reject_all(&orders, "out of stock");
    let foreign = letters(&orders);
    mails.redrive(&foreign).unwrap_err();
    mails.purge_dead(&foreign).unwrap_err();
    assert_eq!((counts(&mails), counts(&orders)), ([0, 0, 0, 1], [0, 0, 0, 1]));
}

#[test]
fn letters_of_another_database_are_not_taken_for_ones_of_this() {
    let (_db, mails) = queue(QueueOptions::new());
    let (_other, theirs) = queue(QueueOptions::new());
    for queue in [&mails, &theirs] {
        send_all(queue, &["to nobody"]);
        reject_all(queue, "no such address");
    }
    let foreign = letters(&theirs);
    mails.redrive(&foreign).unwrap_err();
    mails.purge_dead(&foreign).unwrap_err();
    assert_eq!((counts(&mails), counts(&theirs)), ([0, 0, 0, 1], [0, 0, 0, 1]));
}

#[test]
fn purged_letters_are_gone_and_those_that_had_gone_are_counted() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one", "two", "three"]);
    reject_all(&mails, "no such address");
    let dead = letters(&mails);
    assert_eq!(mails.purge_dead(&dead[..1]).unwrap(), 0);
    assert_eq!(mails.purge_dead(&dead[..2]).unwrap(), 1);
    expect_stale(mails.purge_dead(&dead[..2]));
    expect_stale(mails.redrive(&dead[..1]));
    assert_eq!(mails.purge_dead(&[]).unwrap(), 0);
    assert_eq!((bodies(&letters(&mails)), counts(&mails)), (vec!["three".to_owned()], [0, 0, 0, 1]));
}

#[test]
fn where_dead_messages_are_discarded_none_is_kept() {
    let (clock, _db, mails) = clocked(at_once().discard_dead().max_attempts(1).ttl(HOUR));
    send_all(&mails, &["rejected", "failed", "expired"]);
    take_now(&mails, "rejected").reject("no such address").unwrap();
    take_now(&mails, "failed").fail("busy").unwrap();
    clock.advance(HOUR);
    eventually("all have gone", || counts(&mails) == [0; 4]);
    assert!(letters(&mails).is_empty());
}

#[test]
fn discarding_from_now_on_keeps_the_letters_that_are_there() {
    let (db, mails) = queue(at_once());
    send_all(&mails, &["one", "two"]);
    take_now(&mails, "one").reject("no such address").unwrap();
    db.ensure_queue("mails", at_once().discard_dead()).unwrap();
    take_now(&mails, "two").reject("no such address").unwrap();
    assert_eq!(bodies(&letters(&mails)), ["one"]);
    mails.redrive(&letters(&mails)).unwrap();
    take_now(&mails, "one").ack().unwrap();
}

#[test]
fn a_call_takes_at_most_4096_letters() {
    let (_db, mails) = queue(QueueOptions::new());
    send_all(&mails, &["one"]);
    reject_all(&mails, "no such address");
    let letter = letters(&mails).remove(0);
    // More than one too many is refused in the same way, and not as what no process would say.
    let (many, more) = (vec![letter.clone(); 4097], vec![letter; 5000]);
    for refused in [mails.redrive(&more), mails.purge_dead(&more).map(drop)] {
        assert!(matches!(refused, Err(Error::LimitExceeded { max: 4096, actual: 5000, .. })), "{refused:?}");
    }
    for refused in [mails.redrive(&many), mails.purge_dead(&many).map(drop)] {
        let Err(Error::LimitExceeded { max, actual, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((max, actual), (4096, 4097));
    }
    assert_eq!(counts(&mails), [0, 0, 0, 1]);
}

#[test]
fn letters_that_are_too_large_together_are_redriven_one_by_one() {
    let (_db, mails) = queue(QueueOptions::new());
    let report = vec![7; 1 << 20];
    for _ in 0..3 {
        mails.send(&report[..]).unwrap();
        take(&mails).reject("mailbox full").unwrap();
    }
    let dead = letters(&mails);
    let refused = mails.redrive(&dead);
    assert!(matches!(refused, Err(Error::LimitExceeded { limit: "batch bytes", .. })), "{refused:?}");
    assert_eq!(counts(&mails), [0, 0, 0, 3]);
    dead.chunks(1).for_each(|letter| mails.redrive(letter).unwrap());
    assert_eq!(counts(&mails), [3, 0, 0, 0]);
    assert!(take(&mails).body() == report);
}

#[test]
fn the_dead_do_not_take_the_place_of_the_living() {
    let (_db, mails) = queue(at_once().max_messages(2));
    for _ in 0..3 {
        send_all(&mails, &["one", "two"]);
        reject_all(&mails, "no such address");
    }
    assert_eq!(counts(&mails), [0, 0, 0, 6]);
    expect_nothing(&mails);
}
