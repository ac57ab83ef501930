//! A database that is opened while its disk is full.

use std::fs;

use towpath::{Error, StreamOptions};

use crate::place::extent;
use crate::small::{MIB, Small, append_until_full, expect_all};

#[test]
fn a_database_on_a_full_disk_closes_and_opens_again() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    let db = small.place().try_open().unwrap();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    append_until_full(&orders);
    small.fill(0);
    let before = extent(&orders, 0);
    drop(orders);
    let closed = db.close();
    assert!(matches!(closed, Ok(()) | Err(Error::StorageFull)), "{closed:?}");
    match small.place().try_open() {
        Ok(db) => {
            let orders = db.stream("orders").unwrap();
            assert_eq!(extent(&orders, 0), before);
            orders.trim_before(0, before.1 - 1).unwrap();
        }
        Err(error) => assert!(matches!(error, Error::StorageFull), "{error:?}"),
    }
    let _ = fs::remove_file(small.filler());
    let db = small.place().try_open().unwrap();
    let orders = db.stream("orders").unwrap();
    assert_eq!(extent(&orders, 0).1, before.1);
    expect_all(&orders);
}

#[test]
fn a_disk_too_small_for_a_database_is_told_as_full_and_left_clean_enough_to_try_again() {
    let Some(small) = Small::mount(96 * MIB) else { return };
    small.fill(6 * MIB);
    for _ in 0..2 {
        let refused = small.place().try_open();
        assert!(matches!(refused, Err(Error::StorageFull)), "{refused:?}");
    }
    fs::remove_file(small.filler()).unwrap();
    small.place().try_open().unwrap().close().unwrap();
}
