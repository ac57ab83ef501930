//! A message whose bytes were damaged at rest.

use std::fs;

use towpath::{DeathReason, Level, QueueOptions};

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
        let told = reports.dead_letters(None, 10).map(|letters| letters[0].reason());
        assert!(
            matches!(&told, Err(error) if error.is_corruption()) || told.as_ref().ok() == Some(&DeathReason::Rejected)
        );
    }
}
