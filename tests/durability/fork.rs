//! A forked child has the handles of its parent and none of its threads: they answer `Forked`, and the parent is not
//! touched.

use towpath::{AppendOptions, Error, Record, Start, StreamOptions};

use crate::forking::in_a_fork;
use crate::place::{Place, texts};

fn forked<T>(answer: Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Forked))
}

#[test]
fn handles_of_what_is_held_alone_answer_forked_in_a_child_and_the_parent_goes_on() {
    let place = Place::new();
    let db = place.open_alone();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    orders.append("one blue mug").unwrap();
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    let (in_child, stream) = (db.clone(), orders.clone());
    in_a_fork(move || {
        vec![
            forked(stream.append("from the child")),
            forked(stream.submit(Record::new(b"from the child"), &AppendOptions::new())),
            forked(stream.trim_before(0, 1)),
            forked(stream.describe()),
            forked(stream.reader(0, Start::Earliest)),
            forked(reader.try_receive(1)),
            forked(in_child.create_stream("child", StreamOptions::new())),
            forked(in_child.stream("orders")),
            forked(in_child.stats()),
            forked(in_child.sync()),
            forked(in_child.checkpoint()),
        ]
    });
    orders.append("two green plates").unwrap();
    assert_eq!(texts(&orders, 0), ["one blue mug", "two green plates"]);
    drop(orders);
    db.close().unwrap();
    assert_eq!(texts(&place.open().stream("orders").unwrap(), 0), ["one blue mug", "two green plates"]);
}

#[test]
fn closing_and_dropping_in_a_child_leaves_the_parent_alone() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let (in_child, stream) = (db.clone(), orders.clone());
    in_a_fork(move || {
        drop(stream);
        let closed = in_child.close();
        vec![closed.is_ok() || forked(closed)]
    });
    assert!(place.data().join("control").exists());
    for number in 0..100 {
        orders.append(&format!("order {number}")).unwrap();
    }
    drop(orders);
    db.close().unwrap();
    assert_eq!(texts(&place.open().stream("orders").unwrap(), 0).len(), 100);
}

#[test]
fn a_child_cannot_open_what_its_parent_holds_alone() {
    let place = Place::new();
    let db = place.open_alone();
    let data = place.data();
    in_a_fork(|| vec![matches!(towpath::Options::temporary().open(&data), Err(Error::Locked { .. }))]);
    db.create_stream("orders", StreamOptions::new()).unwrap().append("one blue mug").unwrap();
}
