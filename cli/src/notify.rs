//! What a service tells the system that supervises it: sd_notify(3), without its library.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// It serves.
pub(crate) const READY: &str = "READY=1";
/// It has begun to end.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Sends `state` to the socket that the variable `NOTIFY_SOCKET` names; does nothing where there is none.
pub(crate) fn tell(state: &str) -> io::Result<()> {
    std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()).map_or(Ok(()), |name| send(&name, state))
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_is_told_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("towpath-notify-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let at_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(path.as_os_str(), READY).unwrap();
        send(OsStr::new(&format!("@{name}")), STOPPING).unwrap();
        for (socket, state) in [(at_path, READY), (at_name, STOPPING)] {
            let mut told = [0; 64];
            let bytes = socket.recv(&mut told).unwrap();
            assert_eq!(&told[..bytes], state.as_bytes());
        }
    }
}
