//! A message whose bytes were damaged at rest.

use std::fs;

use towpath::{Backoff, Database, DeadLetter, DeathReason, Error, Level, Queue, QueueOptions};

use crate::consumer::counts;
use crate::place::{Place, files_below, noise};

const BYTES: usize = 50_000;
const ALL: u64 = 200;
const DAMAGED: u64 = 20;

/// Flips a bit in the middle of what stands behind these bytes, wherever that is.
fn damage(place: &Place, bytes: &[u8]) {
    let mut found = 0;
    for path in files_below(&place.data()) {
        let mut content = fs::read(&path).unwrap();
        let places: Vec<usize> =
            content.windows(64).enumerate().filter(|(_, w)| *w == &bytes[..64]).map(|(at, _)| at).collect();
        for at in places {
            content[at + BYTES / 2] ^= 1;
            fs::write(&path, &content).unwrap();
            found += 1;
        }
    }
    assert!(found > 0, "the message is not to be found");
}

#[test]
fn a_message_that_cannot_be_read_is_set_apart_and_no_other() {
    for batch in [1, 10] {
        let place = Place::new();
        let db = place.open();
        let reports = db.create_queue("mails", QueueOptions::new().level(Level::Buffered)).unwrap();
        for seed in 0..ALL {
            reports.send(&noise(seed, BYTES)).unwrap();
        }
        db.checkpoint().unwrap();
        drop(reports);
        place.close(db);
        damage(&place, &noise(DAMAGED, BYTES));
        let db = place.open();
        let reports = db.queue("mails").unwrap();
        let mut seen = Vec::new();
        loop {
            let received = reports.try_receive_batch(batch).unwrap();
            if received.is_empty() {
                break;
            }
            for report in received {
                let seed = (0..ALL).find(|seed| report.body()[..8] == noise(*seed, 8)).unwrap();
                assert!(report.body() == noise(seed, BYTES), "{seed} is not what was sent");
                seen.push(seed);
                report.ack().unwrap();
            }
        }
        let expected: Vec<u64> = (0..ALL).filter(|seed| *seed != DAMAGED).collect();
        assert_eq!((seen, counts(&reports)), (expected, [0, 0, 0, 1]), "received by {batch}");
        let letters = reports.dead_letters(None, 10).unwrap();
        assert_eq!((letters[0].reason(), letters[0].sequence()), (DeathReason::Rejected, DAMAGED));
        assert!(letters[0].message().is_err_and(|error| error.is_corruption()));
    }
}

/// A queue, opened again, of which the message that was sent with `damaged` cannot be read, and those before and behind
/// it can.
fn with_one_damaged(options: QueueOptions) -> (Place, Database, Queue) {
    let place = Place::new();
    let db = place.open();
    let reports = db.create_queue("reports", options.level(Level::Buffered)).unwrap();
    for seed in 0..ALL {
        reports.send(&noise(seed, BYTES)).unwrap();
    }
    db.checkpoint().unwrap();
    drop(reports);
    place.close(db);
    damage(&place, &noise(DAMAGED, BYTES));
    let db = place.open();
    let reports = db.queue("reports").unwrap();
    (place, db, reports)
}

#[test]
fn nothing_is_discarded_because_it_cannot_be_read() {
    let (_place, _db, reports) = with_one_damaged(QueueOptions::new().discard_dead());
    while let Some(report) = reports.try_receive().unwrap() {
        report.reject("no use for it").unwrap();
    }
    assert_eq!(counts(&reports), [0, 0, 0, 1]);
    assert_eq!(reports.dead_letters(None, 10).unwrap()[0].sequence(), DAMAGED);
}

#[test]
fn a_letter_that_cannot_be_read_hides_none_behind_it_and_can_be_purged_but_not_redriven() {
    let (_place, _db, reports) = with_one_damaged(QueueOptions::new().backoff(Backoff::none()).max_attempts(2));
    while let Some(report) = reports.try_receive().unwrap() {
        report.fail("try again").unwrap();
    }
    assert_eq!(counts(&reports), [0, 0, 0, ALL]);
    let letters = reports.dead_letters(None, 256).unwrap();
    let sequences: Vec<u64> = letters.iter().map(DeadLetter::sequence).collect();
    assert!(sequences == (0..ALL).collect::<Vec<_>>(), "{sequences:?}");
    for letter in &letters {
        let seed = letter.sequence();
        match letter.message() {
            Ok(message) => assert!(seed != DAMAGED && message.body() == noise(seed, BYTES)),
            Err(error) => assert!(seed == DAMAGED && error.is_corruption()),
        }
    }
    let (damaged, behind) = (DAMAGED as usize, DAMAGED as usize + 1);
    assert!(letters[damaged].failures()[0].error.contains("damaged"), "{:?}", letters[damaged].failures());
    assert_eq!(letters[behind].failures().len(), 2);
    let refused = reports.redrive(&letters[damaged..=behind]);
    let Err(Error::InvalidOption { option: "letters", reason }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains(&format!("letter {DAMAGED} ")), "{reason}");
    assert_eq!(counts(&reports), [0, 0, 0, ALL], "all of them or none");
    reports.redrive(&letters[behind..=behind]).unwrap();
    assert_eq!(reports.purge_dead(&letters[damaged..behind]).unwrap(), 0);
    assert_eq!(counts(&reports), [1, 0, 0, ALL - 2]);
}
