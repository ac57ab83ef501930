//! Commands beside other processes on the same directory.

mod place;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use place::{Place, code, told};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(status.success());
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How it ended; it must do so by itself.
fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("it goes on", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// A command that runs, and the lines that it writes. Killed with the test.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(place: &Place, arguments: &[&str]) -> Running {
        Running::of(place.piped(arguments))
    }

    fn of(mut child: Child) -> Running {
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }

    fn pid(&self) -> u64 {
        u64::from(self.child.id())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn write(&mut self, lines: &str) {
        self.child.stdin.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
    }

    /// Ends its standard input.
    fn end_input(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        ended(&mut self.child)
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn host_pid(place: &Place) -> u64 {
    let output = place.run(&["--mode", "attach", "stats", "--json"]);
    match output.status.success() {
        true => serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["host_pid"].as_u64().unwrap(),
        false => 0,
    }
}

/// A dedicated host, once it serves.
fn host(place: &Place, arguments: &[&str]) -> Running {
    let mut host = Running::start(place, &[&["host"], arguments].concat());
    assert_eq!(host.line(), format!("Process {} hosts {}.\n", host.pid(), place.data().display()));
    host
}

#[test]
fn a_command_that_hosts_hands_over_to_those_who_are_attached_when_it_ends() {
    let place = Place::new("hand-over");
    place.text(&["stream", "create", "s"]);
    let mut append = Running::start(&place, &["stream", "append", "s"]);
    wait_until("it does not host", || host_pid(&place) == append.pid());
    let mut follow = Running::start(&place, &["stream", "read", "s", "--follow"]);
    append.write("one\n");
    assert_eq!(follow.line(), "one\n");
    assert!(append.end_input().success());
    assert_eq!(append.line(), "Appended 1 record to 1 partition of s, on disk.\n");
    wait_until("nobody took over", || host_pid(&place) == follow.pid());
    place.append(&["s"], b"two\n");
    assert_eq!(follow.line(), "two\n");
    signal(&follow.child, "TERM");
    assert_eq!(ended(&mut follow.child).code(), Some(143));
    assert!(place.text(&["check"]).ends_with("Sound.\n"));
}

#[test]
fn commands_that_append_side_by_side_lose_and_repeat_nothing() {
    let place = Place::new("side-by-side");
    place.text(&["stream", "create", "s"]);
    let mut commands = ["a", "b", "c"].map(|who| (who, Running::start(&place, &["stream", "append", "s"])));
    for number in 0..50 {
        for (who, command) in &mut commands {
            command.write(&format!("{who} {number}\n"));
        }
    }
    for (_, command) in &mut commands {
        assert!(command.end_input().success(), "{}", command.errors());
    }
    let text = place.text(&["stream", "read", "s"]);
    for who in ["a", "b", "c"] {
        let own: Vec<&str> = text.lines().filter(|line| line.starts_with(who)).collect();
        let wanted: Vec<String> = (0..50).map(|number| format!("{who} {number}")).collect();
        assert_eq!(own, wanted);
    }
}

#[test]
fn an_append_goes_on_when_its_host_is_killed() {
    let place = Place::new("kill-host");
    place.text(&["stream", "create", "s"]);
    let mut dedicated = host(&place, &[]);
    let mut append = Running::start(&place, &["stream", "append", "s"]);
    append.write("one\n");
    wait_until("it does not append", || place.text(&["stream", "read", "s"]) == "one\n");
    dedicated.child.kill().unwrap();
    append.write("two\n");
    wait_until("nobody took over", || host_pid(&place) == append.pid());
    assert!(append.end_input().success(), "{}", append.errors());
    assert_eq!(place.text(&["stream", "read", "s"]), "one\ntwo\n");
}

#[test]
fn a_host_serves_until_a_signal_and_ends_in_order() {
    for name in ["TERM", "INT"] {
        let place = Place::new("host");
        let mut dedicated = host(&place, &[]);
        place.text(&["stream", "create", "s"]);
        place.append(&["s"], b"one\n");
        assert_eq!(host_pid(&place), dedicated.pid());
        signal(&dedicated.child, name);
        assert!(ended(&mut dedicated.child).success());
        assert_eq!(dedicated.errors(), "");
        assert_eq!(place.text(&["stream", "read", "s"]), "one\n");
    }
}

#[test]
fn who_hosts_already_is_told() {
    let place = Place::new("host-twice");
    let dedicated = host(&place, &[]);
    let second = place.run(&["host"]);
    let says = format!("process {} hosts {} already", dedicated.pid(), place.data().display());
    assert!(code(&second) == 75 && told(&second).contains(&says), "{}", told(&second));
    let check = place.run(&["check"]);
    let says = format!("in use by process {}", dedicated.pid());
    assert!(code(&check) == 75 && told(&check).contains(&says), "{}", told(&check));
}

#[test]
fn a_host_that_waits_takes_over() {
    let place = Place::new("host-wait");
    let directory = place.data().display().to_string();
    let mut first = host(&place, &[&directory]);
    let mut second = Running::start(&place, &["host", &directory, "--wait"]);
    let waits = format!("Process {} waits for process {}, which hosts {directory}.\n", second.pid(), first.pid());
    assert_eq!(second.line(), waits);
    first.child.kill().unwrap();
    assert_eq!(second.line(), format!("Process {} hosts {directory}.\n", second.pid()));
    let third = host_pid(&place);
    assert_eq!(third, second.pid());
}

#[test]
fn a_host_tells_its_supervisor_when_it_serves_and_when_it_ends() {
    let place = Place::new("notify");
    let path = place.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = place.towpath(&["host"]);
    command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut dedicated = Running::of(command.spawn().unwrap());
    let told = || {
        let mut bytes = [0; 64];
        let length = supervisor.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    assert_eq!(told(), "READY=1");
    signal(&dedicated.child, "TERM");
    assert_eq!(told(), "STOPPING=1");
    assert!(ended(&mut dedicated.child).success());
}

#[test]
fn a_host_logs_what_it_refuses() {
    let place = Place::new("host-log");
    let mut dedicated = host(&place, &[]);
    let mut stranger = UnixStream::connect(place.data().join("host.sock")).unwrap();
    // It may be told no before it has said everything.
    let _ = stranger.write_all(b"GET / HTTP/1.1\r\n\r\n");
    let _ = stranger.read_to_end(&mut Vec::new());
    signal(&dedicated.child, "TERM");
    assert!(ended(&mut dedicated.child).success());
    let log = dedicated.errors();
    assert!(log.contains("WARN") && log.contains("a connection was refused"), "{log}");
}

#[test]
fn the_mode_says_whether_a_directory_is_shared() {
    let place = Place::new("mode");
    place.text(&["stream", "create", "s"]);
    let nobody = place.run(&["--mode", "attach", "stream", "list"]);
    assert!(code(&nobody) == 3 && told(&nobody).contains("`towpath host`"), "{}", told(&nobody));
    let mut alone = Running::start(&place, &["--mode", "exclusive", "stream", "append", "s"]);
    wait_until("it does not open", || code(&place.run(&["--mode", "attach", "stream", "list"])) == 75);
    let shut_out = place.run(&["stream", "list"]);
    let says = format!("in use by process {}", alone.pid());
    assert!(code(&shut_out) == 75 && told(&shut_out).contains(&says), "{}", told(&shut_out));
    assert!(alone.end_input().success());
    for mode in ["attach", "exclusive"] {
        let output = place.run(&["host", "--mode", mode]);
        assert!(code(&output) == 2 && told(&output).contains("leave --mode away"), "{}", told(&output));
    }
}

#[test]
fn a_picture_shows_what_another_process_hosts() {
    let place = Place::new("top");
    place.text(&["stream", "create", "orders", "--partitions", "2"]);
    place.append(&["orders"], b"a\nb\nc\n");
    assert_eq!(code(&place.run(&["top", "--once"])), 3, "it hosts nothing itself");
    let dedicated = host(&place, &[]);
    let attached = place.text(&["top", place.data().to_str().unwrap()]);
    assert!(attached.contains(&format!("host      process {}, epoch", dedicated.pid())), "{attached}");
    assert!(attached.contains(" processes: 1 ") && !attached.contains('\u{1b}'), "{attached}");
    let row = attached.lines().find(|line| line.starts_with("orders")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["orders", "2", "3", "3", "B", "3", "0"]);
    let json: serde_json::Value = serde_json::from_str(&place.text(&["top", "--json"])).unwrap();
    assert_eq!(json["host_pid"], dedicated.pid());
    assert_eq!((&json["streams"][0]["records"], &json["streams"][0]["records_per_second"]), (&3.into(), &0.0.into()));
    assert_eq!(code(&place.run(&["top", "nowhere"])), 3);
}
