use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const SECOND: Option<u64> = Some(1_000_000);
const MOMENT: Option<u64> = Some(50_000);

fn shop() -> (tempfile::TempDir, HostDisk) {
    let place = tempfile::tempdir().unwrap();
    let disk = HostDisk::open(place.path(), false).unwrap();
    (place, disk)
}

/// Both ends of a connection: who connected, and who accepted.
fn connected(disk: &HostDisk, listener: &Listener) -> (Socket, Socket) {
    (disk.connect().unwrap(), listener.accept().unwrap())
}

fn received(socket: &Socket) -> String {
    let mut buffer = [0; 100];
    let len = socket.receive(&mut buffer).unwrap();
    String::from_utf8(buffer[..len].to_vec()).unwrap()
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).unwrap().file_type().is_socket()
}

/// Runs `blocked` in a thread and `end` while it blocks, and gives the outcome of the first.
fn ended_by<T: Send>(blocked: impl FnOnce() -> T + Send, end: impl FnOnce()) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(blocked);
        thread::sleep(Duration::from_millis(50));
        assert!(!thread.is_finished(), "it does not block");
        end();
        thread.join().unwrap()
    })
}

#[test]
fn what_one_end_sends_the_other_receives() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    client.send_all(b"one blue mug", SECOND).unwrap();
    assert_eq!(received(&host), "one blue mug");
    assert_eq!(host.try_receive(&mut [0; 9]).unwrap(), None);
    host.send_all(b"thank you", None).unwrap();
    assert_eq!(received(&client), "thank you");
    drop(client);
    assert_eq!(received(&host), "");
    assert_eq!(host.try_receive(&mut [0; 9]).unwrap(), Some(0));
}

#[test]
fn megabytes_arrive_whole() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    let sent: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let arrived = thread::scope(|scope| {
        scope.spawn(|| client.send_all(&sent, SECOND).unwrap());
        let (mut arrived, mut buffer) = (Vec::new(), vec![0; 70_000]);
        while arrived.len() < sent.len() {
            let len = host.receive(&mut buffer).unwrap();
            arrived.extend_from_slice(&buffer[..len]);
        }
        arrived
    });
    assert!(arrived == sent);
}

#[test]
fn nobody_listens_where_no_socket_is_or_a_stale_one() {
    let (place, disk) = shop();
    assert_eq!(disk.connect().unwrap_err().kind(), ErrorKind::NotFound);
    drop(disk.listen().unwrap());
    assert!(is_socket(&place.path().join("host.sock")));
    assert_eq!(disk.connect().unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_stale_socket_is_replaced() {
    let (place, disk) = shop();
    drop(disk.listen().unwrap());
    std::fs::write(place.path().join("host.sock.new"), "left by a listener that died").unwrap();
    let listener = disk.listen().unwrap();
    connected(&disk, &listener);
    assert_eq!(disk.list("").unwrap(), ["host.sock"]);
}

#[test]
fn the_socket_is_private() {
    let (place, disk) = shop();
    let _listener = disk.listen().unwrap();
    let mode = std::fs::metadata(place.path().join("host.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_long_path_is_no_obstacle() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a".repeat(150)).join("b".repeat(150));
    let disk = HostDisk::open(&path, true).unwrap();
    let listener = disk.listen().unwrap();
    connected(&disk, &listener);
    assert!(is_socket(&path.join("host.sock")));
}

#[test]
fn a_directory_renamed_while_it_listens_is_reached_under_both_descriptors() {
    let place = tempfile::tempdir().unwrap();
    let (before, after) = (place.path().join("before"), place.path().join("after"));
    let disk = HostDisk::open(&before, true).unwrap();
    let listener = disk.listen().unwrap();
    std::fs::rename(&before, &after).unwrap();
    connected(&disk, &listener);
    connected(&HostDisk::open(&after, false).unwrap(), &listener);
    let again = disk.listen().unwrap();
    connected(&disk, &again);
}

#[test]
fn a_connection_has_the_credentials_of_its_peer() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    let here = Peer { pid: std::process::id(), uid: rustix::process::geteuid().as_raw() };
    assert_eq!((client.peer().unwrap(), host.peer().unwrap()), (here, here));
}

#[test]
fn shutting_down_ends_accept_now_and_later() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let ended = ended_by(|| listener.accept().map(drop), || listener.shutdown());
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(disk.connect().unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn shutting_down_ends_receive_and_send_and_wait() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    assert_eq!(ended_by(|| client.receive(&mut [0; 9]), || client.shutdown()).unwrap(), 0);
    assert_eq!(received(&host), "", "the peer sees the end");

    let (client, _host) = connected(&disk, &listener);
    let sent = ended_by(|| client.send_all(&[1; 5_000_000], None), || client.shutdown());
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);

    let (client, _host) = connected(&disk, &listener);
    assert!(ended_by(|| wait(&client, None, false, None), || client.shutdown()).unwrap().hung_up);
}

#[test]
fn sending_to_a_peer_that_does_not_read_times_out() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, _host) = connected(&disk, &listener);
    let begun = Instant::now();
    assert_eq!(client.send_all(&[1; 5_000_000], Some(100_000)).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[test]
fn sending_to_a_peer_that_reads_slowly_does_not_time_out() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    thread::scope(|scope| {
        let sending = scope.spawn(|| client.send_all(&[1; 900_000], Some(250_000)));
        let mut buffer = vec![0; 30_000];
        while !sending.is_finished() {
            // Three quarters of what the kernel holds take longer than a stall.
            thread::sleep(Duration::from_millis(50));
            host.receive(&mut buffer).unwrap();
        }
        sending.join().unwrap().unwrap();
    });
}

#[test]
fn as_much_is_sent_as_there_is_room_for_and_more_when_there_is_room_again() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    let bytes = vec![1; 5_000_000];
    let sent = client.try_send(&bytes).unwrap();
    assert!(sent > 0 && sent < bytes.len());
    assert_eq!(client.try_send(&bytes).unwrap(), 0);
    let for_room = Interest { input: false, room: true };
    assert_eq!(wait_for(&client, None, for_room, MOMENT).unwrap(), Ready::default());
    let mut arrived = 0;
    while arrived < sent {
        arrived += host.receive(&mut [0; 70_000]).unwrap();
    }
    assert_eq!(wait_for(&client, None, for_room, SECOND).unwrap(), Ready { has_room: true, ..Ready::default() });
    assert!(client.try_send(&bytes).unwrap() > 0);
}

#[test]
fn sending_to_a_peer_that_has_gone_fails_without_a_signal() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    drop(host);
    assert_eq!(client.send_all(b"one blue mug", None).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_wait_for_input_is_ended_by_data() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    assert_eq!(wait(&host, None, true, MOMENT).unwrap(), Ready::default());
    let ready = ended_by(|| wait(&host, None, true, None), || client.send_all(b"one blue mug", None).unwrap());
    assert_eq!(ready.unwrap(), Ready { readable: true, ..Ready::default() });
}

#[test]
fn a_wait_that_is_not_for_input_is_ended_by_the_peer_that_hangs_up_and_not_by_data() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (client, host) = connected(&disk, &listener);
    client.send_all(b"one blue mug", None).unwrap();
    assert_eq!(wait(&host, None, false, MOMENT).unwrap(), Ready::default());
    let hang_up = || {
        client.send_all(b"two green plates", None).unwrap();
        thread::sleep(Duration::from_millis(50));
        drop(client);
    };
    assert!(ended_by(|| wait(&host, None, false, None), hang_up).unwrap().hung_up);
    assert_eq!(received(&host), "one blue mugtwo green plates", "what was sent before can be read");
}

#[test]
fn an_alarm_ends_a_wait_until_it_is_taken() {
    let (_place, disk) = shop();
    let listener = disk.listen().unwrap();
    let (_client, host) = connected(&disk, &listener);
    let alarm = Alarm::new().unwrap();
    let alarmed = Ready { alarmed: true, ..Ready::default() };
    assert_eq!(ended_by(|| wait(&host, Some(&alarm), false, None), || alarm.ring()).unwrap(), alarmed);
    alarm.ring();
    assert_eq!(wait(&host, Some(&alarm), true, None).unwrap(), alarmed);
    alarm.take();
    alarm.take();
    assert_eq!(wait(&host, Some(&alarm), true, MOMENT).unwrap(), Ready::default());
}
