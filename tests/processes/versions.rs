//! A process and a host of different versions tell who must be upgraded.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use towpath::{Error, OpenMode, Options};

use crate::place::Place;
use crate::raw::{Answer, OTHER_PROTOCOL, PROTOCOL, answer, connect, greeting, hail};

#[test]
fn a_process_of_another_version_is_told_the_version_of_the_host() {
    let place = Place::new();
    let db = place.open();
    for protocol in [PROTOCOL - 1, PROTOCOL + 1, u32::MAX] {
        let mut socket = connect(&place.data());
        socket.write_all(&greeting(protocol, 7)).unwrap();
        let refused = Answer::Refused { reason: OTHER_PROTOCOL, number: u64::from(PROTOCOL) };
        assert_eq!(answer(&mut socket).unwrap(), refused);
    }
    assert!(db.attached_processes().unwrap().is_empty());
}

/// What a process of this version is told by a host that answers with these bytes.
fn told_by(answer: Vec<u8>, mode: OpenMode) -> Error {
    let place = Place::new();
    place.open().close().unwrap();
    let listener = UnixListener::bind(place.data().join("host.sock")).unwrap();
    let host = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut greeting = [0; 16];
        socket.read_exact(&mut greeting).unwrap();
        socket.write_all(&answer).unwrap();
        // Until it hangs up.
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let refused = Options::temporary().mode(mode).open(place.data()).map(drop).unwrap_err();
    host.join().unwrap();
    refused
}

#[test]
fn a_host_of_another_version_is_refused_with_who_must_be_upgraded() {
    let newer = (PROTOCOL + 1, "upgrade this process");
    for (theirs, whom) in [newer, (PROTOCOL - 1, "upgrade the process that hosts the database")] {
        let mut refusal = vec![OTHER_PROTOCOL];
        refusal.extend(u64::from(theirs).to_le_bytes());
        let welcome = vec![0; 77];
        for body in [refusal, welcome] {
            for mode in [OpenMode::Auto, OpenMode::Attach] {
                let refused = told_by(hail(b"TOWPATH<", theirs, &body), mode);
                assert!(matches!(refused, Error::OtherProtocol { ours: PROTOCOL, theirs: t } if t == theirs));
                assert!(refused.to_string().contains(whom), "{refused}");
            }
        }
    }
}
