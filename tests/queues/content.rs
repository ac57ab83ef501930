//! What a message is made of comes out as it went in.

use towpath::{Header, Level, Message, QueueOptions};

use crate::consumer::SECOND;
use crate::consumer::{clocked, counts, noon, noon_and, queue, take, take_now, text};
use crate::place::noise;

#[test]
fn body_key_headers_group_and_time_come_out_as_they_went_in() {
    let (_clock, _db, mails) = clocked(QueueOptions::new());
    let headers = [
        Header { name: "traceparent", value: b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
        Header { name: "cc", value: b"alice" },
        Header { name: "cc", value: b"bob" },
        Header { name: "empty", value: b"" },
        Header { name: "bytes", value: &[0, 255, 10] },
    ];
    let message = Message::new(&[0, 159, 146, 150]).key(b"customer-7").headers(&headers).group("Kunden ü");
    mails.send(message).unwrap();
    let mail = take(&mails);
    assert_eq!((mail.body(), mail.key()), (&[0, 159, 146, 150][..], Some(&b"customer-7"[..])));
    assert_eq!(mail.headers().collect::<Vec<_>>(), headers);
    assert_eq!((mail.group(), mail.priority()), (Some("Kunden ü"), 4));
    assert!((noon()..noon_and(SECOND)).contains(&mail.timestamp()));
    assert_eq!(&mail.body_bytes()[..], mail.body());
}

#[test]
fn what_was_not_given_is_not_there_and_an_empty_key_is_one() {
    let (_db, mails) = queue(QueueOptions::new());
    mails.send("bare").unwrap();
    mails.send(Message::from("with an empty key").key(b"")).unwrap();
    let bare = take_now(&mails, "bare");
    assert_eq!((bare.key(), bare.group(), bare.headers().count()), (None, None, 0));
    assert_eq!(take_now(&mails, "with an empty key").key(), Some(&b""[..]));
}

#[test]
fn a_message_may_be_empty() {
    let (_db, mails) = queue(QueueOptions::new());
    mails.send("").unwrap();
    mails.send_batch(&[Message::from(""), Message::from("not empty"), Message::from("")]).unwrap();
    for body in ["", "", "not empty", ""] {
        take_now(&mails, body).ack().unwrap();
    }
    mails.send(Message::from("").key(b"customer-7")).unwrap();
    let mail = take(&mails);
    assert_eq!((mail.body(), mail.body_bytes().len(), mail.key()), (&b""[..], 0, Some(&b"customer-7"[..])));
    mail.reject("nothing in it").unwrap();
    assert_eq!(mails.dead_letters(None, 1).unwrap()[0].message().unwrap().body(), b"");
}

#[test]
fn messages_of_a_mebibyte_come_out_byte_for_byte() {
    let (_db, mails) = queue(QueueOptions::new().level(Level::Buffered));
    for seed in 0..8 {
        mails.send(&noise(seed, 1 << 20)).unwrap();
    }
    let received = mails.receive_batch(8).unwrap();
    assert_eq!(received.len(), 8);
    for (seed, mail) in received.iter().enumerate() {
        assert!(mail.body() == noise(seed as u64, 1 << 20), "{seed}");
    }
    mails.ack_batch(received).unwrap();
    assert_eq!(counts(&mails), [0; 4]);
}

#[test]
fn sizes_of_every_kind_come_out_in_order_after_a_checkpoint_too() {
    let (db, mails) = queue(QueueOptions::new().level(Level::Buffered));
    let sizes: Vec<usize> = (0..60).map(|number| number * number * 37 % 70_000).collect();
    for (seed, size) in sizes.iter().enumerate() {
        mails.send(&noise(seed as u64, *size)).unwrap();
        if seed % 20 == 19 {
            db.checkpoint().unwrap();
        }
    }
    for (seed, size) in sizes.iter().enumerate() {
        let mail = take(&mails);
        assert!(mail.body() == noise(seed as u64, *size), "{seed}");
        mail.ack().unwrap();
    }
}

#[test]
fn whatever_is_sent_can_be_text_or_bytes() {
    let (_db, mails) = queue(QueueOptions::new());
    let (owned, bytes) = (String::from("owned"), b"bytes".to_vec());
    mails.send("borrowed").unwrap();
    mails.send(&owned).unwrap();
    mails.send(&bytes).unwrap();
    mails.send(&bytes[..]).unwrap();
    mails.send(b"array").unwrap();
    mails.send(Message::new(b"message")).unwrap();
    let received = mails.receive_batch(10).unwrap();
    let received: Vec<String> = received.iter().map(|mail| text(mail)).collect();
    assert_eq!(received, ["borrowed", "owned", "bytes", "bytes", "array", "message"]);
}

#[test]
fn a_send_has_the_level_of_the_call_else_of_the_queue_else_of_the_database() {
    let (db, mails) = queue(QueueOptions::new());
    assert_eq!(mails.send("a mail").unwrap().receipt.level, Level::Sync, "the database's");
    assert_eq!(mails.send_at(Level::Buffered, "a mail").unwrap().receipt.level, Level::Buffered);
    let calls = db.create_queue("calls", QueueOptions::new().level(Level::Buffered)).unwrap();
    assert_eq!(calls.send("a call").unwrap().receipt.level, Level::Buffered);
    assert_eq!(calls.send_batch(&[Message::from("a call")]).unwrap().receipt.level, Level::Buffered);
    let sent = calls.send_at(Level::Sync, "a call").unwrap();
    assert_eq!(sent.receipt.level, Level::Sync);
    assert!(db.stats().unwrap().durable_lsn > sent.lsn().get(), "the level is not only told");
    db.ensure_queue("calls", QueueOptions::new().level(Level::Sync)).unwrap();
    assert_eq!(calls.send("a call").unwrap().receipt.level, Level::Sync, "handles that exist learn of it");
}
