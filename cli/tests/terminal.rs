//! `towpath top` in a terminal.

mod place;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use place::Place;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const LEAVES_THE_SCREEN: &str = "\u{1b}[?1049l";

/// A command in a terminal of its own.
struct Terminal {
    keys: File,
    child: Child,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn run(mut command: Command, columns: u16, lines: u16) -> Terminal {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&controller, size).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let end = || OpenOptions::new().read(true).write(true).open(path).unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keys = File::from(controller);
        let mut screen = keys.try_clone().unwrap();
        let (sender, shown) = channel();
        // Ends when the command does: reading a terminal that nobody has open fails.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                if sender.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { keys, child, shown, text: String::new() }
    }

    fn shows(&mut self, text: &str) {
        let start = Instant::now();
        while !self.text.contains(text) {
            let bytes = self.shown.recv_timeout(PATIENCE.saturating_sub(start.elapsed()));
            self.text += &String::from_utf8_lossy(&bytes.unwrap_or_else(|_| panic!("no {text} in {:?}", self.text)));
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it goes on");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory that another process hosts, with a stream in it.
struct Hosted {
    place: Place,
    host: Child,
}

impl Hosted {
    fn start() -> Hosted {
        let place = Place::new("terminal");
        place.text(&["stream", "create", "orders"]);
        let mut host = place.towpath(&["host"]).stdout(Stdio::piped()).spawn().unwrap();
        // It tells so once it serves.
        host.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Hosted { place, host }
    }

    fn top(&self, columns: u16, lines: u16) -> Terminal {
        Terminal::run(self.place.towpath(&["top"]), columns, lines)
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        let _ = self.host.kill();
        let _ = self.host.wait();
    }
}

#[test]
fn a_key_ends_the_picture_and_the_terminal_is_as_it_was() {
    let hosted = Hosted::start();
    for key in [&b"q"[..], b"\x1b", b"\x03"] {
        let mut terminal = hosted.top(100, 30);
        terminal.shows("epoch");
        terminal.shows("orders");
        terminal.press(b"x");
        terminal.press(key);
        assert!(terminal.ended().success(), "{key:?}");
        terminal.shows(LEAVES_THE_SCREEN);
    }
}

#[test]
fn a_signal_ends_the_picture_and_the_terminal_is_as_it_was() {
    let hosted = Hosted::start();
    let mut terminal = hosted.top(100, 30);
    terminal.shows("epoch");
    let status = Command::new("sh").args(["-c", &format!("kill -TERM {}", terminal.child.id())]).status().unwrap();
    assert!(status.success());
    assert_eq!(terminal.ended().code(), Some(143));
    terminal.shows(LEAVES_THE_SCREEN);
}

#[test]
fn a_terminal_of_one_cell_is_drawn_on() {
    let hosted = Hosted::start();
    let mut terminal = hosted.top(1, 1);
    terminal.shows("h");
    terminal.press(b"q");
    assert!(terminal.ended().success());
}
