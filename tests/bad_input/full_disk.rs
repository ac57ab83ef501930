//! A full disk: writes are refused, reads and trims go on, and when there is room again so do writes. `tests/attached`
//! runs the same tests from an attached process.

use std::fs;

use towpath::{Error, Level, StreamOptions};

use crate::place::{eventually, extent};
use crate::small::{BODY_BYTES, MIB, Small, append, append_until_full, expect_all};

#[test]
fn a_full_disk_refuses_writes_and_goes_on_with_reads_and_trims_and_recovers_by_itself() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    let db = small.place().open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let taken = append_until_full(&orders);
    assert!(taken * BODY_BYTES as u64 >= 20 * MIB, "only {taken} records fit");
    for level in [Level::Sync, Level::Buffered] {
        let again = append(&orders, level);
        assert!(matches!(again, Err(Error::StorageFull)), "{again:?}");
        assert!(again.unwrap_err().is_retryable());
    }
    expect_all(&orders);
    let end = extent(&orders, 0).1;
    orders.trim_before(0, end - 10).unwrap();
    assert_eq!(extent(&orders, 0), (end - 10, end));
    expect_all(&orders);
    eventually("it drains and takes writes again", || append(&orders, Level::Sync).is_ok());
    expect_all(&orders);
    for _ in 0..3 {
        append_until_full(&orders);
        let end = extent(&orders, 0).1;
        orders.trim_before(0, end - 5).unwrap();
        eventually("it drains each time", || append(&orders, Level::Sync).is_ok());
    }
    let before = extent(&orders, 0);
    drop(orders);
    db.close().unwrap();
    let db = small.place().open();
    let orders = db.stream("orders").unwrap();
    assert_eq!(extent(&orders, 0), before);
    expect_all(&orders);
}

#[test]
fn room_that_others_give_back_is_used_without_reopening() {
    let Some(small) = Small::mount(128 * MIB) else { return };
    let db = small.place().open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    for _ in 0..100 {
        append(&orders, Level::Buffered).unwrap();
    }
    small.fill(0);
    append_until_full(&orders);
    expect_all(&orders);
    fs::remove_file(small.filler()).unwrap();
    eventually("writes resume", || append(&orders, Level::Sync).is_ok());
    expect_all(&orders);
    drop(orders);
    db.close().unwrap();
    expect_all(&small.place().open().stream("orders").unwrap());
}
