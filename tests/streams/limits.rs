//! Each bound is a named limit; over it nothing is stored.

use std::time::Duration;

use towpath::{AppendOptions, Error, Header, Level, Options, Record, Stream, StreamOptions};

use crate::opening::{database, database_with, stream};
use crate::place::{IS_ATTACHED, extent};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The refusal must name the limit with these numbers, and the stream must still be empty.
#[track_caller]
fn expect_limit<T: std::fmt::Debug>(refused: Result<T, Error>, name: &str, max: usize, actual: usize) {
    match refused {
        Err(error @ Error::LimitExceeded { limit, max: m, actual: a }) => {
            assert_eq!((limit, m, a), (name, max as u64, actual as u64));
            let text = error.to_string();
            let says = format!(" at most {max} ");
            assert!(text.contains(&says) && text.contains(&format!("not {actual}; ")), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_body_has_at_most_one_mebibyte() {
    let (_db, orders) = stream(StreamOptions::new());
    let body = vec![7; MIB + 1];
    expect_limit(orders.append(&body[..]), "body bytes", MIB, MIB + 1);
    assert_eq!(extent(&orders, 0), (0, 0));
    orders.append(&body[..MIB]).unwrap();
    assert_eq!(crate::place::read_all(&orders, 0)[0].body.as_deref(), Some(&body[..MIB]));
}

#[test]
fn a_key_has_at_most_64_kibibytes() {
    let (_db, orders) = stream(StreamOptions::new());
    let key = vec![7; 64 * KIB + 1];
    expect_limit(orders.append(Record::new(b"a mug").key(&key)), "key bytes", 64 * KIB, 64 * KIB + 1);
    assert_eq!(extent(&orders, 0), (0, 0));
    orders.append(Record::new(b"a mug").key(&key[1..])).unwrap();
    assert_eq!(crate::place::read_all(&orders, 0)[0].key.as_deref(), Some(&key[1..]));
}

#[test]
fn the_headers_of_a_record_have_at_most_64_kibibytes() {
    let (_db, orders) = stream(StreamOptions::new());
    let value = vec![7; 64 * KIB];
    let one = [Header { name: "trace", value: &value }];
    let many: Vec<Header<'_>> = (0..70).map(|_| Header { name: "trace", value: &value[..KIB] }).collect();
    for headers in [&one[..], &many] {
        let refused = orders.append(Record::new(b"a mug").headers(headers));
        let Err(Error::LimitExceeded { limit, max, actual }) = refused else { panic!("{refused:?}") };
        assert_eq!((limit, max), ("header block bytes", 64 << 10));
        assert!(actual > max);
    }
    assert_eq!(extent(&orders, 0), (0, 0));
    orders.append(Record::new(b"a mug").headers(&[Header { name: "trace", value: &value[..63 * KIB] }])).unwrap();
}

#[test]
fn a_record_at_every_limit_at_once_fits() {
    let (_db, orders) = stream(StreamOptions::new());
    let (body, key, value) = (vec![1; MIB], vec![2; 64 * KIB], vec![3; 65_000]);
    let headers = [Header { name: "largest", value: &value }];
    orders.append(Record::new(&body).key(&key).headers(&headers)).unwrap();
    let kept = crate::place::read_all(&orders, 0);
    assert_eq!(kept[0].body.as_deref(), Some(&body[..]));
    assert_eq!(kept[0].headers, [("largest".to_owned(), value)]);
}

#[test]
fn a_batch_has_at_most_half_the_staging_ring() {
    let (_db, orders) = stream(StreamOptions::new());
    let body = vec![7; 256 * KIB];
    let over = vec![Record::new(&body); 9];
    let refused = orders.append_batch(&over, &AppendOptions::new());
    let Err(Error::LimitExceeded { limit, max, actual }) = refused else { panic!("{refused:?}") };
    assert_eq!(limit, "batch bytes");
    assert!(max as usize <= 2 * MIB && actual as usize >= 9 * 256 * KIB, "{max} {actual}");
    assert_eq!(extent(&orders, 0), (0, 0));
    orders.append_batch(&over[..7], &AppendOptions::new()).unwrap();
    assert_eq!(extent(&orders, 0), (0, 7));
}

/// The lengths of the largest batch: of all its records but the last, and of that. From an attached process it is the
/// smaller by what its request is remembered with.
fn largest_batch(orders: &Stream) -> [usize; 2] {
    let body = vec![7; MIB];
    let mut last = MIB;
    loop {
        let batch = [&body[..], &body[..last]].map(Record::new);
        match orders.append_batch(&batch, &AppendOptions::new()) {
            Ok(_) => return [MIB, last],
            Err(Error::LimitExceeded { max, actual, .. }) => last -= (actual - max) as usize,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_largest_batch_is_taken_wherever_the_journal_ends() {
    let db = database_with(Options::temporary().level(Level::Buffered));
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let patience = AppendOptions::new().timeout(Duration::from_secs(20));
    // The number of a request takes more bytes as it grows.
    let slack = if IS_ATTACHED { 16 } else { 0 };
    let [first, last] = largest_batch(&orders);
    let [first, last, longer] = [first, last - slack, last + 8].map(|bytes| vec![7; bytes]);
    let over = [&first[..], &longer].map(Record::new);
    assert!(matches!(orders.append_batch(&over, &patience), Err(Error::LimitExceeded { .. })));
    let (middle, ring) = (2 * MIB as u64, 4 * MIB as u64);
    for behind in [0, 100, 1000, 2000, 3000, 3900, 5000, MIB as u64] {
        let place = || orders.append(&[1; 8][..]).unwrap().lsn().get() % ring;
        while place() >= middle {}
        while place() < middle + behind {}
        db.sync().unwrap();
        let batch = [&first[..], &last[..]].map(Record::new);
        orders.append_batch(&batch, &patience).unwrap_or_else(|e| panic!("{behind} bytes behind the middle: {e}"));
    }
}

#[test]
fn a_batch_has_at_most_65536_records() {
    let (_db, orders) = stream(StreamOptions::new());
    let records = vec![Record::new(b"a"); 65_537];
    expect_limit(orders.append_batch(&records, &AppendOptions::new()), "records per batch", 65_536, 65_537);
    assert_eq!(extent(&orders, 0), (0, 0));
    orders.append_batch(&records[1..], &AppendOptions::new()).unwrap();
    assert_eq!(extent(&orders, 0), (0, 65_536));
}

#[test]
fn one_record_over_its_limit_refuses_the_whole_batch() {
    let (_db, orders) = stream(StreamOptions::new().partitions(2));
    let large = vec![7; MIB + 1];
    let batch = [Record::new(b"one blue mug"), Record::new(&large), Record::new(b"three forks")];
    expect_limit(orders.append_batch(&batch, &AppendOptions::new()), "body bytes", MIB, MIB + 1);
    assert_eq!((extent(&orders, 0), extent(&orders, 1)), ((0, 0), (0, 0)));
}

#[test]
fn an_empty_batch_is_refused() {
    let (_db, orders) = stream(StreamOptions::new());
    let refused = orders.append_batch(&[], &AppendOptions::new());
    assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{refused:?}");
}

#[test]
fn a_stream_has_at_most_4096_partitions() {
    let db = database();
    let refused = db.create_stream("orders", StreamOptions::new().partitions(4097));
    expect_limit(refused, "partitions", 4096, 4097);
    assert!(db.streams().unwrap().is_empty());
}

#[test]
fn a_limit_is_told_with_an_advice_that_fits() {
    let db = database();
    let told = |refused: Result<_, Error>| refused.map(drop).unwrap_err().to_string();
    let text = told(db.create_stream(&"n".repeat(256), StreamOptions::new()));
    assert_eq!(text, "a name has at most 255 bytes, not 256; choose a shorter one");
    let text = told(db.create_stream("orders", StreamOptions::new().partitions(4097)));
    assert_eq!(text, "a stream has at most 4096 partitions, not 4097; ask for fewer");
}

#[test]
fn sizes_of_ring_and_segment_are_powers_of_two_in_their_bounds() {
    let sizes = [(4 << 20, 3 << 20), (2 << 20, 4 << 20), (8 << 20, 4 << 20), (5 << 20, 8 << 20), (4 << 20, 4 << 30)];
    for (ring, segment) in sizes {
        let refused = Options::new().ring_bytes(ring).segment_bytes(segment).open_temporary();
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{ring} {segment}");
    }
}
