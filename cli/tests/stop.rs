//! How the command ends when it is told to from outside: by a signal, or by a reader that leaves.

mod place;

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use place::{Place, code, told};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const SIGNALS: [(&str, i32); 2] = [("INT", 130), ("TERM", 143)];

fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(status.success());
}

/// How it ended; it must do so by itself.
fn ended(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_stopped_append_tells_how_many_lines_are_in() {
    for (name, wanted) in SIGNALS {
        let place = Place::new("stop-append");
        place.text(&["stream", "create", "s"]);
        let mut child = place.piped(&["stream", "append", "s"]);
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"one\ntwo\nhal").unwrap();
        std::thread::sleep(Duration::from_millis(500));
        signal(&child, name);
        ended(&mut child);
        let output = child.wait_with_output().unwrap();
        let text = told(&output);
        let says = format!("stopped by SIG{name}; 2 lines of standard input appended before");
        assert!(code(&output) == wanted && text.contains(&says), "{text}");
        drop(input);
        assert_eq!(place.text(&["stream", "read", "s"]), "one\ntwo\n");
    }
}

#[test]
fn a_stopped_publish_tells_how_many_lines_are_in() {
    let place = Place::new("stop-publish");
    place.text(&["queue", "create", "q"]);
    let mut child = place.piped(&["publish", "", "q"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\ntwo\nhal").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "TERM");
    ended(&mut child);
    let output = child.wait_with_output().unwrap();
    let text = told(&output);
    let says = "stopped by SIGTERM; 2 lines of standard input published before";
    assert!(code(&output) == 143 && text.contains(says), "{text}");
    drop(input);
    assert_eq!(place.text(&["queue", "receive", "q", "--ack"]), "one\ntwo\n");
}

#[test]
fn a_stopped_follower_ends_quietly() {
    for (name, wanted) in SIGNALS {
        let place = Place::new("stop-follow");
        place.text(&["stream", "create", "s", "--partitions", "2"]);
        place.append(&["s"], b"a\n");
        let mut child = place.piped(&["stream", "read", "s", "--follow"]);
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
        signal(&child, name);
        ended(&mut child);
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), output.stdout.len(), output.stderr.len()), (wanted, 0, 0));
    }
}

#[test]
fn a_follower_whose_reader_leaves_ends_while_nothing_comes() {
    let place = Place::new("follow-pipe");
    place.text(&["stream", "create", "s"]);
    let mut child = place.piped(&["stream", "read", "s", "--follow", "--from", "latest"]);
    drop(child.stdout.take());
    assert!(ended(&mut child).success());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
    place.text(&["stream", "list"]);
}

#[test]
fn a_follower_that_writes_to_a_file_goes_on() {
    let place = Place::new("follow-file");
    place.text(&["stream", "create", "s"]);
    for to in [std::fs::File::create(place.path().join("out")).unwrap(), std::fs::File::create("/dev/null").unwrap()] {
        let mut command = place.towpath(&["stream", "read", "s", "--follow"]);
        let mut child = command.stdin(Stdio::null()).stdout(to).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        assert!(child.try_wait().unwrap().is_none());
        signal(&child, "TERM");
        assert_eq!(ended(&mut child).code(), Some(143));
    }
}

#[test]
fn what_is_stopped_removes_its_temporary_directory() {
    for (name, wanted) in SIGNALS {
        for arguments in
            [&["demo", "--records", "5000000", "--kills", "0"][..], &["bench", "append", "--records", "50000000"]]
        {
            let place = Place::new("stop-temporary");
            let mut child = place.temporary(arguments).spawn().unwrap();
            wait_until("no database was made", || {
                let names = place.names();
                names.first().is_some_and(|name| place.path().join(name).join("control").exists())
            });
            signal(&child, name);
            assert_eq!(ended(&mut child).code(), Some(wanted), "{arguments:?}");
            assert!(place.names().is_empty(), "{arguments:?}: {:?}", place.names());
        }
    }
}
