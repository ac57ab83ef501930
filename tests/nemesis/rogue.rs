//! A client that does not say who it is.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What a host begins its answer to a greeting with, and where in it stands why it refuses: the greeting does not read.
const FROM_HOST: &[u8] = b"TOWPATH<";
const REASON_AT: usize = 16;
const UNREADABLE: u8 = 4;
const REFUSAL_BYTES: usize = REASON_AT + 9;

/// A request for figures: length, operation, and a number of three bytes.
const REQUEST: [u8; 8] = [4, 0, 0, 0, 8, 0x81, 0x80, 0x01];

/// Asks for figures without a greeting. `Err` if anything but a refusal comes back.
pub fn ask(data: &Path) -> Result<(), String> {
    let Ok(mut socket) = UnixStream::connect(data.join("host.sock")) else { return Ok(()) };
    let patience = Some(Duration::from_millis(500));
    socket.set_read_timeout(patience).and_then(|()| socket.set_write_timeout(patience)).map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    // The host may go away at any time, or be stopped: then nothing comes back, which is right.
    if socket.write_all(&REQUEST.repeat(8)).is_ok() {
        let _ = socket.take(1024).read_to_end(&mut answer);
    }
    let is_refusal = answer.starts_with(FROM_HOST) && answer.get(REASON_AT) == Some(&UNREADABLE);
    if answer.is_empty() || (is_refusal && answer.len() == REFUSAL_BYTES) {
        Ok(())
    } else {
        Err(format!("a client without a greeting was answered: {answer:?}"))
    }
}
