//! A forked child has the handles of its parent and none of its threads: they answer `Forked`, and the parent is not
//! touched.
#![expect(unsafe_code, reason = "there is no other way to fork")]

use towpath::{AppendOptions, Error, Record, Start, StreamOptions};

use crate::place::{Place, texts};

/// Runs `child` in a fork of this process, which then ends at once. Expects every answer to be as `child` wants
/// it, and names the first that is not by its place.
#[track_caller]
fn in_a_fork(child: impl FnOnce() -> Vec<bool>) {
    // SAFETY: the child runs `child` and leaves without unwinding into the harness. It has one thread and allocates,
    // which the C library allows after a fork; it takes no lock that another thread may have held but the engine's own,
    // and that it does not is what is tested: if it did, the child would hang and the alarm would end it.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        // SAFETY: sets a timer for this process and ends it without running anything of the parent's.
        unsafe {
            libc::alarm(30);
            let answers = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or_default();
            let wrong = answers.iter().position(|as_wanted| !as_wanted);
            let code = if answers.is_empty() { 100 } else { wrong.map_or(0, |place| place as i32 + 1) };
            libc::_exit(code);
        }
    }
    let mut status = 0;
    // SAFETY: waits for the child that was just made; `status` is ours.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    let code = libc::WEXITSTATUS(status);
    assert!(status == 0, "answer {code} of the child was wrong (100: it panicked; 0: it hung; status {status})");
}

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
