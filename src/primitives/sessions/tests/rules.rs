//! The rules, one by one.

use super::*;

#[test]
fn a_request_that_is_sent_again_is_answered_as_it_was_with_the_address_it_had() {
    let mut state = open(WEB);
    answer(&mut state, request(3, 0), b"offset 17", 80);
    answer(&mut state, request(4, 0), b"offset 18", 160);
    let first = Recalled::Applied { reply: b"offset 17", lsn: Lsn(80), rests_on: row_of(WEB, 3) };
    assert_eq!(ask(&state, request(3, 0)), first);
    assert_eq!(ask(&state, request(3, 3)), first, "what is seen below it does not matter");
}

#[test]
fn what_the_process_has_seen_is_forgotten_and_no_other_request() {
    let mut state = open(WEB);
    for sequence in 0..40 {
        answer(&mut state, request(sequence, 0), b"done", 80 + sequence * 8);
    }
    answer(&mut state, request(40, 30), b"done", 800);
    assert!((0..30).all(|sequence| forgotten(&ask(&state, request(sequence, 0)))));
    assert!((30..=40).all(|sequence| matches!(ask(&state, request(sequence, 0)), Recalled::Applied { .. })));
    assert_eq!(ask(&state, request(41, 0)), Recalled::New);
    assert!(forgotten(&ask(&state, request(35, 36))), "the request itself says that it was seen");
    assert_eq!(state.remembered(WEB).map(|(seen_below, kept)| (seen_below, kept.len())), Some((30, 11)));
}

#[test]
fn a_request_that_was_refused_is_overtaken_by_later_ones() {
    let mut state = open(WEB);
    answer(&mut state, request(0, 0), b"one blue mug", 16);
    // Request 1 was refused, which no fact tells.
    answer(&mut state, request(2, 0), b"two green plates", 24);
    let expected = Recalled::Overtaken { rests_on: row_of(WEB, 2) };
    assert_eq!(ask(&state, request(1, 0)), expected);
    assert_eq!(ask(&reloaded(&all_rows(&state)), request(1, 0)), expected);
    assert_eq!(ask(&state, request(3, 0)), Recalled::New);
}

#[test]
fn a_request_too_far_beyond_those_that_were_seen_is_refused() {
    let mut state = open(WEB);
    let far = |sequence, seen_below| {
        let refusal = Refusal::TooManyUnseen { sequence, seen_below };
        Recalled::Refused { refusal, rests_on: None }
    };
    assert_eq!(ask(&state, request(REQUESTS_REMEMBERED_MAX, 0)), far(REQUESTS_REMEMBERED_MAX, 0));
    assert_eq!(ask(&state, request(REQUESTS_REMEMBERED_MAX, 1)), Recalled::New);
    answer(&mut state, request(1000, 900), b"done", 80);
    assert_eq!(ask(&state, request(1156, 5)), far(1156, 900));
    assert_eq!(ask(&state, request(u64::MAX, 0)), far(u64::MAX, 900));
    assert_eq!(ask(&state, request(u64::MAX, u64::MAX)), Recalled::New);
}

#[test]
fn a_session_that_ended_or_never_was_refuses_and_is_new_when_it_is_opened_again() {
    let mut state = open(WEB);
    answer(&mut state, request(0, 0), b"done", 80);
    assert_eq!(run(&mut state, Command::End { session: WEB }, 88), Outcome::Accept(Reply::Ended));
    let ended = Recalled::Refused { refusal: Refusal::Ended, rests_on: Some(row_of(WEB, 0)) };
    assert_eq!(ask(&state, request(0, 0)), ended);
    assert_eq!(ask(&state, request(1, 0)), ended);
    assert_eq!(state, State::default());
    let again = run(&mut state, Command::End { session: WEB }, 96);
    assert_eq!(again, Outcome::Unchanged { reply: Reply::Ended, rests_on: Some(row_of(WEB, 0)) });
    run(&mut state, Command::Open { session: WEB }, 104);
    assert_eq!(ask(&state, request(0, 0)), Recalled::New);
}

#[test]
fn opening_tells_whether_the_session_was_known() {
    let mut state = open(WEB);
    let known = Outcome::Unchanged { reply: Reply::Opened { known: true }, rests_on: Some(row_of(WEB, 0)) };
    assert_eq!(run(&mut state, Command::Open { session: WEB }, 80), known);
}

#[test]
fn attached_processes_are_bounded() {
    let mut state = State::default();
    let session = |n: usize| SessionId::of_random(n as u64 * 3);
    for n in 0..SESSIONS_MAX {
        assert!(matches!(run(&mut state, Command::Open { session: session(n) }, 8), Outcome::Accept(_)));
    }
    let one_more = Command::Open { session: session(SESSIONS_MAX) };
    let (max, actual) = (SESSIONS_MAX as u64, SESSIONS_MAX as u64 + 1);
    let refusal = Refusal::LimitExceeded { limit: "attached processes", max, actual };
    assert_eq!(run(&mut state, one_more, 8), Outcome::Refuse { refusal, rests_on: None });
    run(&mut state, Command::End { session: session(5) }, 8);
    assert!(matches!(run(&mut state, one_more, 8), Outcome::Accept(_)));
    let listed = sessions(&state);
    assert_eq!(listed.len(), SESSIONS_MAX);
    assert!(listed.is_sorted() && !listed.contains(&session(5)));
}

#[test]
fn what_one_session_remembers_never_outgrows_its_rows() {
    let mut state = open(WEB);
    let large = vec![1; ROW_BYTES_MAX / 3];
    for sequence in 0..REQUESTS_REMEMBERED_MAX {
        answer(&mut state, request(sequence, 0), &large, 80);
    }
    for (key, row) in all_rows(&state) {
        assert!(row.len() <= ROW_BYTES_MAX, "{key:?} takes {} bytes", row.len());
    }
    let kept = (0..REQUESTS_REMEMBERED_MAX).filter(|sequence| !forgotten(&ask(&state, request(*sequence, 0)))).count();
    assert_eq!(kept, 2 * CHUNKS as usize, "two of such replies fit a row");
    answer(&mut state, request(REQUESTS_REMEMBERED_MAX, 100), &large, 80);
    assert!(!forgotten(&ask(&state, request(REQUESTS_REMEMBERED_MAX, 100))), "what was seen makes room");
}

#[test]
fn a_reply_that_no_row_holds_is_not_kept_and_its_request_not_applied_again() {
    let mut state = open(WEB);
    answer(&mut state, request(5, 0), &vec![1; ROW_BYTES_MAX], 80);
    let forgotten = Recalled::Refused { refusal: Refusal::Forgotten, rests_on: Some(row_of(WEB, 5)) };
    assert_eq!(ask(&state, request(5, 0)), forgotten);
    assert_eq!(ask(&reloaded(&all_rows(&state)), request(5, 0)), forgotten);
}

#[test]
fn rows_that_still_hold_what_was_seen_are_let_go_when_they_are_loaded() {
    let mut state = open(WEB);
    for sequence in 0..20 {
        answer(&mut state, request(sequence, 0), b"done", 80);
    }
    let mut rows = all_rows(&state);
    answer(&mut state, request(20, 20), b"done", 88);
    let touched = row_of(WEB, 20 % CHUNKS);
    let row = rows.iter_mut().find(|(key, _)| *key == touched).unwrap();
    row.1 = state.row(touched).unwrap();
    assert_eq!(reloaded(&rows), state);
}

#[test]
fn the_rows_that_an_event_touches_are_those_that_must_be_written() {
    let touched = |event: &Event<'_>| {
        let mut keys = Vec::new();
        event.touches(&mut |key| keys.push(key));
        keys
    };
    assert_eq!(touched(&Event::Opened { session: WEB }), [row_of(WEB, 0)]);
    assert_eq!(touched(&Event::Applied(Applied { request: request(35, 4), reply: None })), [row_of(WEB, 3)]);
    let all: Vec<RowKey> = (0..16).map(|chunk| row_of(WEB, chunk)).collect();
    assert_eq!(touched(&Event::Ended { session: WEB }), all);
}

#[test]
fn a_request_that_was_decided_before_more_was_seen_is_let_go_as_it_is_applied() {
    let mut state = open(WEB);
    let early = remember(&state, &Overlay::default(), &request(2, 0), b"done".to_vec());
    answer(&mut state, request(9, 9), b"done", 80);
    state.apply(&early, Lsn(88));
    assert_eq!(state.remembered(WEB), Some((9, vec![(9, Lsn(80))])));
}

#[test]
fn requests_of_one_frame_see_each_other() {
    let state = open(WEB);
    let mut overlay = Overlay::default();
    let event = remember(&state, &overlay, &request(1, 0), vec![1; ROW_BYTES_MAX / 2]);
    overlay.foresee(&state, &event);
    let twice = Recalled::Refused { refusal: Refusal::Twice, rests_on: None };
    assert_eq!(recall(&state, &overlay, &request(1, 0)), twice);
    assert_eq!(recall(&state, &overlay, &request(2, 0)), Recalled::New);
    let second = remember(&state, &overlay, &request(17, 0), vec![1; ROW_BYTES_MAX / 2]);
    assert!(matches!(second, Event::Applied(Applied { reply: None, .. })), "the first has taken the row's room");
    let mut ends = Vec::new();
    decide(&state, &overlay, &Command::End { session: WEB }, |event| ends.push(event));
    overlay.foresee(&state, &ends[0]);
    assert!(matches!(recall(&state, &overlay, &request(2, 0)), Recalled::Refused { refusal: Refusal::Ended, .. }));
    assert_eq!(ask(&state, request(1, 0)), Recalled::New, "an overlay leaves the state alone");
}

fn events_of_every_kind() -> [Event<'static>; 4] {
    let session = SessionId::of_random(u64::MAX);
    let request = Request { session, sequence: 300, seen_below: 45 };
    [
        Event::Opened { session: WEB },
        Event::Ended { session },
        Event::Applied(Applied { request, reply: Some(b"answer".into()) }),
        Event::Applied(Applied { request, reply: None }),
    ]
}

#[test]
fn every_event_comes_back_and_no_truncation_or_change_of_its_bytes_is_a_panic() {
    for event in events_of_every_kind() {
        let bytes = encoded(&event);
        assert_eq!(encoded(&Event::decode(&bytes).expect("an event that was written")), bytes);
        assert!((0..bytes.len()).all(|len| Event::decode(&bytes[..len]).is_err()), "{event:?} cut");
        assert!(Event::decode(&[&bytes[..], &[0]].concat()).is_err());
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at].wrapping_add(1)] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = Event::decode(&changed);
            }
        }
    }
}

#[test]
fn the_bytes_of_an_event_stay_as_they_are() {
    let hex = |event: &Event<'_>| encoded(event).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = [
        "10 07",
        "11 ffffffffffffffff0f",
        "12 ffffffffffffffff0f ac02 2d 01 06 616e73776572",
        "12 ffffffffffffffff0f ac02 2d 00",
    ];
    for (event, expected) in events_of_every_kind().iter().zip(expected) {
        assert_eq!(hex(event), expected.replace(' ', ""), "{event:?}");
    }
}

#[test]
fn a_row_that_its_session_cannot_have_is_malformed() {
    let load = |state: &mut State, chunk, row: &[u8]| state.load(row_of(WEB, chunk), row);
    let mut state = open(WEB);
    assert!(load(&mut state, 0, &[0]).is_err(), "the session is there already");
    assert!(load(&mut State::default(), 3, &[0]).is_err(), "chunk 0 comes first");
    for (chunk, row) in [
        (1, &[0, 2, 8, 0][..]),
        (1, &[0, 17, 8, 0, 1, 8, 0]),
        (1, &[2, 1, 8, 0]),
        (1, &[0, 0x81, 2, 8, 0]),
        (1, &[0, 1, 8]),
        (1, &[0, 1, 8, 2]),
        (1, &[]),
    ] {
        assert!(load(&mut state, chunk, row).is_err(), "{row:?}");
    }
    assert!(load(&mut state, 1, &[0, 1, 8, 0, 17, 8, 1, 1, 9]).is_ok());
    assert!(state.load(RowKey { kind: 17, id: 0 }, &[0]).is_err());
}
