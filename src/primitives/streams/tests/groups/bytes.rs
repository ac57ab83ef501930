//! The bytes of events and rows.

use super::*;
use crate::primitives::streams::groups::events::{
    Assigned, Change, Committed, Created, Deleted, Joined, Reset as OffsetsReset,
};

fn events_of_every_kind() -> Vec<Event<'static>> {
    let (group, boot) = (300, BootTime(1 << 40));
    let created = |start, assignor, name| Created { group, stream: 5, partitions: 200, start, assignor, name };
    let joined = Joined {
        group,
        seat: 1001,
        generation: 9,
        process: Process::Attached((1 << 60) - 1),
        boot,
        session_timeout_micros: 45 * SECOND,
        rebalance_timeout_micros: 60 * SECOND,
        member_id: Some("wéb"),
    };
    let changes = vec![
        Change { partition: 0, from: 0, owner: 1, target: 1 },
        Change { partition: 199, from: 200, owner: 200, target: 3 },
    ];
    let positions =
        vec![Position { partition: 3, epoch: 9, offset: 1 << 33 }, Position { partition: 4, epoch: 1, offset: 0 }];
    let assigned =
        |changes: Vec<Change>| Assigned { group, generation: 9, boot, partitions: 200, changes: changes.into() };
    [
        GroupEvent::ClockBegan { identity: CLOCK, boot },
        GroupEvent::Created(created(GroupStart::Earliest, Assignor::Range, "wéb")),
        GroupEvent::Created(created(GroupStart::Latest, Assignor::Uniform, "w")),
        GroupEvent::Deleted(Deleted { group, partitions: 200, last_seat: 2 }),
        GroupEvent::Joined(joined),
        GroupEvent::Joined(Joined { process: Process::Host, session_timeout_micros: 0, member_id: None, ..joined }),
        GroupEvent::Left { group, seat: 3 },
        GroupEvent::Died { group, seat: 3, boot },
        GroupEvent::Touched { group, seat: 3, boot },
        GroupEvent::FellSilent { group, seat: 3, boot },
        GroupEvent::Assigned(assigned(changes)),
        GroupEvent::Assigned(assigned(Vec::new())),
        GroupEvent::Committed(Committed { group, positions: positions.into() }),
        GroupEvent::Moved { group, seat: 3, process: Process::Attached(7) },
        GroupEvent::Reset(OffsetsReset { group, generation: 9, offsets: vec![(3, 0, 7), (199, 200, 1 << 33)].into() }),
    ]
    .map(Event::Groups)
    .into()
}

#[test]
fn the_bytes_of_an_event_stay_as_they_are() {
    let hex = |event: &Event<'_>| encoded(event).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = [
        "20 07070707070707070707070707070707 0100000000000000 808080808020",
        "21 ac02 05 c801 00 01 04 77c3a962",
        "21 ac02 05 c801 01 00 01 77",
        "22 ac02 c801 02",
        "23 ac02 e907 09 808080808080808010 808080808020 c0caba15 808ece1c 04 77c3a962",
        "23 ac02 e907 09 00 808080808020 00 808ece1c 00",
        "24 ac02 03",
        "25 ac02 03 808080808020",
        "26 ac02 03 808080808020",
        "2b ac02 03 808080808020",
        "27 ac02 09 808080808020 c801 00000101 c701c801c80103",
        "27 ac02 09 808080808020 c801",
        "28 ac02 03098080808020 040100",
        "2a ac02 03 08",
        "29 ac02 09 030007 c701c8018080808020",
    ];
    for (event, expected) in events_of_every_kind().iter().zip(expected) {
        assert_eq!(hex(event), expected.replace(' ', ""), "{event:?}");
    }
}

#[test]
fn every_event_comes_back_and_no_truncation_or_change_of_its_bytes_is_a_panic() {
    for event in events_of_every_kind() {
        let bytes = encoded(&event);
        let back = Event::decode(&bytes).expect("an event that was written");
        assert_eq!((encoded(&back), back.log_change()), (bytes.clone(), event.log_change()));
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at].wrapping_add(1)] {
                let mut changed = bytes.clone();
                changed[at] = value;
                for bytes in [&changed[..], &bytes[..at]] {
                    if let Ok(event) = Event::decode(bytes) {
                        event.touches(&mut |_| {});
                    }
                }
            }
        }
    }
}

/// A state with a group that has a dead member, a revoked partition and committed offsets.
fn with_all_rows() -> State {
    let mut state = State::default();
    let command = Command::Create { name: "orders", options: Options { partitions: 70, ..Options::default() } };
    run(&mut state, &command, at(1));
    let stream = state.lookup("orders").expect("it was created");
    let latest = GroupOptions { start: Some(GroupStart::Latest), ..GroupOptions::default() };
    run(&mut state, &Command::Groups(OfGroups::Open { stream, name: "web", options: latest }), at(2));
    let group = state.groups().find(stream.id, "web").expect("it was created");
    for (id, process) in [("a", Process::Attached(7)), ("b", Process::Host), ("c", Process::Host)] {
        run(&mut state, &Command::Groups(OfGroups::Join(with_id(group, process, id))), at(3));
    }
    run(&mut state, &Command::Groups(OfGroups::EndProcess { process: Process::Host }), at(4));
    state
}

#[test]
fn rows_make_the_state_again_and_none_that_was_cut_or_changed_is_a_panic() {
    let state = with_all_rows();
    let rows = all_rows(&state);
    assert_eq!(all_rows(&reloaded(&rows)), rows);
    let first = rows.iter().position(|(key, _)| key.kind == 32).expect("the clock has a row");
    for (at, (key, row)) in rows.iter().enumerate().skip(first) {
        for len in 0..row.len() {
            let cut = reloaded(&rows[..at]).load(*key, &row[..len]);
            assert!(cut.is_err() || key.kind == 35, "{key:?} cut to {len}: claims may end early");
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = row.clone();
                changed[len] = value;
                let _ = reloaded(&rows[..at]).load(*key, &changed);
            }
        }
    }
}

#[test]
fn rows_that_cannot_be_are_malformed() {
    let rows = all_rows(&with_all_rows());
    let of_kind = |kind: u8| rows.iter().find(|(key, _)| key.kind == kind).expect("there is one");
    let (group, member, claims) = (of_kind(33), of_kind(34), of_kind(35));
    let before = |kind: u8| reloaded(&rows[..rows.iter().position(|(key, _)| key.kind == kind).unwrap()]);
    assert!(before(32).load(member.0, &member.1).is_err(), "a member without its group");
    assert!(before(32).load(claims.0, &claims.1).is_err(), "claims without their group");
    assert!(before(34).load(claims.0, &claims.1).is_err(), "claims of who is no member");
    assert!(reloaded(&rows).load(group.0, &group.1).is_err(), "a group twice");
    assert!(reloaded(&rows).load(member.0, &member.1).is_err(), "a member twice");
    assert!(reloaded(&rows[..1]).load(group.0, &group.1).is_err(), "a group without its stream");
    let unknown = RowKey { id: group.0.id + 1, ..group.0 };
    assert!(before(33).load(unknown, &group.1).is_err(), "a number that was never given");
    let beyond = RowKey { id: claims.0.id + 2, ..claims.0 };
    assert!(before(35).load(beyond, &claims.1).is_err(), "partitions that there are not");
    let no_seat = RowKey { id: member.0.id | 1023, ..member.0 };
    assert!(before(34).load(no_seat, &member.1).is_err(), "a seat that no group has");
}
